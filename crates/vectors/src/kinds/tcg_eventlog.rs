//! Cases of the kind `tcg-eventlog`: a firmware's log and the values that its registers had.

use std::collections::BTreeMap;

use attest::{
    FormatError, HashAlgorithm,
    event_log::{EventLog, ReplayError},
    platform::Assurance,
};

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let log = match EventLog::parse(&case.need("event_log")?) {
        Ok(log) => log,
        Err(error) => return Ok(Report::coded(malformed(&error), error.to_string(), true)),
    };
    let values: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_value(case.claims.get("replayed").cloned().unwrap_or_default())
            .map_err(|error| error.to_string())?;
    Ok(match held(&log, &values)? {
        Ok(()) => Report::accepted(Assurance::Affirmed, Vec::new()),
        Err((code, words)) => Report::coded(code, words, false),
    })
}

/// The code of a log that does not parse.
pub(super) fn malformed(error: &FormatError) -> &'static str {
    match error {
        FormatError::Truncated { .. } => "log-truncated",
        FormatError::Trailing { .. } | FormatError::TooLarge { .. } | FormatError::Value { .. } => "log-malformed",
    }
}

/// Whether the log replays to the listed values of every register that it speaks of, and its data to its digests.
pub(super) fn held(
    log: &EventLog,
    values: &BTreeMap<String, BTreeMap<String, String>>,
) -> Result<Result<(), (&'static str, String)>, String> {
    for bank in log.banks() {
        let Some(listed) = values.get(bank.name()) else { continue };
        let replayed = match log.replay(bank) {
            Ok(replayed) => replayed,
            Err(error) => return Ok(Err(("replay-mismatch", error.to_string()))),
        };
        for (pcr, value) in listed {
            let pcr: u8 = pcr.parse().map_err(|_| format!("`{pcr}` is no register"))?;
            // Others than the firmware extend some registers, too: those that the log does not speak of.
            if replayed.get(&pcr).is_some_and(|found| hex::encode(found) != *value) {
                return Ok(Err(("replay-mismatch", format!("register {pcr} of {}", bank.name()))));
            }
        }
        if let Err(error) = log.check_data(bank) {
            return Ok(Err((code(&error), error.to_string())));
        }
    }
    Ok(Ok(()))
}

const fn code(error: &ReplayError) -> &'static str {
    match error {
        ReplayError::Data { .. } => "event-data-mismatch",
        ReplayError::Bank(_) | ReplayError::Register { .. } | ReplayError::Locality(_) => "replay-mismatch",
    }
}

/// The bank of a name.
pub(super) fn bank(name: &str) -> Option<HashAlgorithm> {
    let known = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    known.into_iter().find(|bank| bank.name() == name)
}
