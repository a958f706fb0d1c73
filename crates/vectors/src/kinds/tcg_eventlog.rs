//! Cases of the kind `tcg-eventlog`: a firmware's log and the values that its registers had.

use std::collections::BTreeMap;

use attest::{
    FormatError, HashAlgorithm,
    event_log::{EventLog, ReplayError},
    platform::{Assurance, Register},
};

use serde_json::Value;

use super::Stop;
use crate::{Case, Report};

/// By bank, the value of each register.
type Listed = BTreeMap<String, BTreeMap<String, String>>;

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let log = match EventLog::parse(&case.need("event_log")?) {
        Ok(log) => log,
        Err(error) => return Ok(Report::coded(malformed(&error), error.to_string(), true)),
    };
    // Where the case lists no values, the log alone decides.
    let values = match case.claims.get("replayed") {
        None | Some(Value::Null) => Listed::new(),
        Some(listed) => serde_json::from_value(listed.clone()).map_err(|error| format!("`replayed`: {error}"))?,
    };
    Ok(match held(&log, &values)? {
        Ok(()) => Report::accepted(Assurance::Affirmed, Vec::new()).with_values(registers(&log)),
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
pub(super) fn held(log: &EventLog, values: &Listed) -> Result<Result<(), (&'static str, String)>, String> {
    for bank in log.banks().into_iter().filter(|bank| values.is_empty() || values.contains_key(bank.name())) {
        let replayed = match log.replay(bank) {
            Ok(replayed) => replayed,
            Err(error) => return Ok(Err(("replay-mismatch", error.to_string()))),
        };
        for (pcr, value) in values.get(bank.name()).into_iter().flatten() {
            let pcr: u8 = pcr.parse().map_err(|_| format!("`{pcr}` is no register"))?;
            // Others than the firmware extend some registers, too: those that the log does not speak of.
            if replayed.get(&pcr).is_some_and(|found| !hex::encode(found).eq_ignore_ascii_case(value)) {
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

/// What the log replays to, in every bank.
fn registers(log: &EventLog) -> Vec<Register> {
    let of = |bank: HashAlgorithm| {
        let replayed = log.replay(bank).unwrap_or_default().into_iter();
        replayed.map(move |(pcr, value)| Register { name: format!("{}:pcr{pcr}", bank.name()), value })
    };
    log.banks().into_iter().flat_map(of).collect()
}
