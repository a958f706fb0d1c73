//! Cases of the kind `ccel`: a confidential machine's event log, with or without the quote that it explains.

use attest::{
    ccel::{CcEventLog, CcelError},
    ima::MeasurementList,
    intel::{Body, Quote},
    platform::Assurance,
};
use serde_json::Value;

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let log = case.need("event_log")?;
    let ima = case.file("ima_log")?;
    let registers = registers(case)?;
    let list = match ima.as_deref().map(MeasurementList::parse).transpose() {
        Ok(list) => list,
        Err(error) => return Ok(Report::coded(error.code(), error.to_string(), error.is_malformed())),
    };
    let outcome = CcEventLog::parse(&log).and_then(|mut log| {
        if let Some(list) = &list {
            log.continue_with(list);
        }
        held(&log, &registers)
    });
    Ok(match outcome {
        Ok(()) => Report::accepted(Assurance::Affirmed, Vec::new()),
        Err(error) => Report::coded(error.code(), error.to_string(), error.is_malformed()),
    })
}

fn held(log: &CcEventLog, registers: &[Vec<u8>]) -> Result<(), CcelError> {
    log.check(&registers.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The registers of the quote, or those that the case lists.
fn registers(case: &Case) -> Result<Vec<Vec<u8>>, String> {
    if let Some(quote) = case.file("quote")? {
        let quote = Quote::parse(&quote).map_err(|error| error.to_string())?;
        let Body::TrustDomain(report) = &quote.body else {
            return Err("the quote is not of a trust domain".to_owned());
        };
        return Ok(report.rtmr.iter().map(|value| value.to_vec()).collect());
    }
    let banks = case.claims.get("replayed").and_then(Value::as_object).ok_or("no replayed values are listed")?;
    let values = banks.values().next().and_then(Value::as_object).ok_or("no replayed values are listed")?;
    let register = |rtmr: usize| {
        let value = values.get(&format!("RTMR{rtmr}")).and_then(Value::as_str).unwrap_or_default();
        hex::decode(value).map_err(|error| error.to_string())
    };
    (0..4).map(register).collect()
}
