//! Cases of the kind `ima`.

use attest::{
    HashAlgorithm,
    ima::{ImaError, MeasurementList},
    platform::{Assurance, Claim},
};

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let outcome = MeasurementList::parse(&case.need("ima_log")?).and_then(|list| held(case, list));
    Ok(match outcome {
        Ok(list) => {
            let entries =
                Claim { name: "entries".to_owned(), value: list.entries().len().to_string(), words: String::new() };
            Report::accepted(Assurance::Affirmed, vec![entries])
        }
        Err(error) => Report::coded(error.code(), error.to_string(), error.is_malformed()),
    })
}

/// Against the register's value where the case states one.
fn held(case: &Case, list: MeasurementList) -> Result<MeasurementList, ImaError> {
    for bank in [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
        let expected = case.policy.get("expected_pcr10").and_then(|values| values.get(bank.name()));
        if let Some(value) = expected.and_then(|value| value.as_str()).and_then(|value| hex::decode(value).ok()) {
            list.check_replay(10, bank, &value)?;
        }
    }
    Ok(list)
}
