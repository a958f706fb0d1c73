//! Cases of the kind `ima`.

use attest::{
    HashAlgorithm,
    ima::{ImaError, MeasurementList},
    platform::{Assurance, Claim},
};

use super::Stop;
use crate::{Case, Report, expectations::Expectation};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let list = match MeasurementList::parse(&case.need("ima_log")?) {
        Ok(list) => list,
        Err(error) => return Ok(refused(&error)),
    };
    let entries = Claim { name: "entries".to_owned(), value: list.entries().len().to_string(), words: String::new() };
    let mut report = Report::accepted(Assurance::Affirmed, vec![entries]);
    for expectation in Expectation::of(&case.policy, |_| false)? {
        let Some(pcr) = expectation.name.number_behind("pcr") else { continue };
        if let Err(error) = held(&list, pcr, &expectation) {
            return Ok(refused(&error));
        }
        report = report.settling(&expectation.name.to_string());
    }
    Ok(report)
}

/// Against the values of a register, of which one must be met. Their size tells the bank where the case does not.
fn held(list: &MeasurementList, pcr: u8, expectation: &Expectation) -> Result<(), ImaError> {
    let bank = expectation.bank.unwrap_or(HashAlgorithm::Sha256);
    let mut outcome = Err(ImaError::Replay { pcr, bank });
    for value in expectation.values() {
        let bank = expectation.bank.or_else(|| BANKS.into_iter().find(|bank| bank.size() == value.len()));
        outcome = outcome.or_else(|error| list.check_replay(pcr, bank.ok_or(error)?, &value));
    }
    outcome
}

fn refused(error: &ImaError) -> Report {
    Report::coded(error.code(), error.to_string(), error.is_malformed())
}

const BANKS: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
