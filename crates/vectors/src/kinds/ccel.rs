//! Cases of the kind `ccel`: a confidential machine's event log, with or without the quote that it explains.

use attest::{
    ccel::{CcEventLog, CcelError},
    ima::MeasurementList,
    intel::{Body, Quote},
    platform::{Assurance, Register},
};
use serde_json::Value;

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let log = case.need("event_log")?;
    let ima = case.file("ima_log")?;
    let reported = reported(case)?;
    let list = match ima.as_deref().map(MeasurementList::parse).transpose() {
        Ok(list) => list,
        Err(error) => return Ok(Report::coded(error.code(), error.to_string(), error.is_malformed())),
    };
    let outcome = CcEventLog::parse(&log).and_then(|mut log| {
        if let Some(list) = &list {
            log.continue_with(list);
        }
        held(log, &reported)
    });
    Ok(match outcome {
        Ok(log) => Report::accepted(Assurance::Affirmed, Vec::new()).with_values(values(&log, reported)),
        Err(error) => Report::coded(error.code(), error.to_string(), error.is_malformed()),
    })
}

/// What the case says of the machine's registers.
enum Reported {
    /// A quote of the machine.
    Quoted(Box<Quoted>),
    /// The values that are listed.
    Listed(Vec<Vec<u8>>),
    /// Nothing: the log alone decides.
    Nothing,
}

struct Quoted {
    rtmr: Vec<Vec<u8>>,
    others: [Register; 2],
}

impl Reported {
    fn rtmr(&self) -> Option<&[Vec<u8>]> {
        match self {
            Reported::Quoted(quoted) => Some(&quoted.rtmr),
            Reported::Listed(listed) => Some(listed),
            Reported::Nothing => None,
        }
    }
}

fn held(log: CcEventLog, reported: &Reported) -> Result<CcEventLog, CcelError> {
    match reported.rtmr() {
        Some(registers) => log.check(&registers.iter().map(Vec::as_slice).collect::<Vec<_>>())?,
        None => {
            log.check_order()?;
            log.check_data()?;
        }
    }
    Ok(log)
}

fn reported(case: &Case) -> Result<Reported, Stop> {
    if let Some(quote) = case.file("quote")? {
        let quote = Quote::parse(&quote).map_err(|error| Stop::refused(&error))?;
        let Body::TrustDomain(report) = &quote.body else {
            return Err("the quote is not of a trust domain".into());
        };
        let others = [named("mrtd", report.mr_td.to_vec()), named("report_data", report.report_data.to_vec())];
        let rtmr = report.rtmr.iter().map(|value| value.to_vec()).collect();
        return Ok(Reported::Quoted(Box::new(Quoted { rtmr, others })));
    }
    let banks = case.claims.get("replayed").and_then(Value::as_object);
    let Some(values) = banks.and_then(|banks| banks.values().next()).and_then(Value::as_object) else {
        return Ok(Reported::Nothing);
    };
    let register = |rtmr: usize| {
        let value = values.get(&format!("RTMR{rtmr}")).and_then(Value::as_str).unwrap_or_default();
        hex::decode(value).map_err(|error| format!("RTMR{rtmr}: {error}"))
    };
    Ok(Reported::Listed((0..4).map(register).collect::<Result<_, _>>()?))
}

/// What a case may expect: the registers of the quote, or else those of the log.
fn values(log: &CcEventLog, reported: Reported) -> Vec<Register> {
    let number = |(index, value): (usize, Vec<u8>)| named(&format!("rtmr{index}"), value);
    match reported {
        Reported::Quoted(quoted) => quoted.rtmr.into_iter().enumerate().map(number).chain(quoted.others).collect(),
        Reported::Listed(_) | Reported::Nothing => {
            log.replay().into_iter().map(|(index, value)| number((usize::from(index), value))).collect()
        }
    }
}

fn named(name: &str, value: Vec<u8>) -> Register {
    Register { name: name.to_owned(), value }
}
