//! Cases of the kind `snp`.

use std::collections::BTreeMap;

use attest::{
    certificate::{Certificate, TrustAnchor},
    platform::Assurance,
    snp::{Generation, SnpError, SnpEvidence, SnpGenuine, SnpUnfit, Tcb, anchors, examine, examine_authorities},
};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Stop;
use crate::{Case, Report};

/// A report, and all that comes with it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The report.
    pub report: Vec<u8>,
    /// The certificate of the key that signed it.
    pub key: Option<Vec<u8>>,
    /// AMD's intermediate and root.
    pub chain: Option<Vec<u8>>,
    /// AMD's list of revoked intermediates.
    pub list: Option<Vec<u8>>,
    /// The time.
    pub now: Timestamp,
}

impl Input {
    /// Reads a case's files.
    ///
    /// # Errors
    /// In words.
    pub fn of(case: &Case) -> Result<Input, String> {
        let vcek = case.file("vcek")?;
        Ok(Input {
            report: case.need("report")?,
            key: if vcek.is_some() { vcek } else { case.file("vlek")? },
            chain: chain(case)?,
            list: case.file("crl")?,
            now: case.now(),
        })
    }

    /// Its certificates in DER, one by one: the key's, the intermediate's, the root's; `None` if there are others.
    pub fn certificates(&self) -> Option<[Vec<u8>; 3]> {
        let [key] = Certificate::split(self.key.as_deref()?).ok()?.try_into().ok()?;
        let mut above = Certificate::split(self.chain.as_deref()?).ok()?;
        above.sort_by_key(|der| Certificate::parse(der).is_ok_and(|above| above.common_name().starts_with("ARK")));
        let [intermediate, root] = above.try_into().ok()?;
        Some([key, intermediate, root])
    }

    /// Examines it under AMD's roots.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn examine(&self, anchors: &[TrustAnchor]) -> Result<SnpGenuine, SnpError> {
        let Input { report, key, chain, list, now } = self;
        let (key, chain, list) = (key.as_deref(), chain.as_deref(), list.as_deref());
        examine(&SnpEvidence { report, key, chain, list }, anchors, *now)
    }
}

/// The authorities come in one file, or in one each.
fn chain(case: &Case) -> Result<Option<Vec<u8>>, String> {
    Ok(match (case.file("cert_chain")?, case.file("ask")?, case.file("ark")?) {
        (Some(bundle), _, _) => Some(bundle),
        (None, None, None) => None,
        (None, ask, ark) => Some([ask.unwrap_or_default(), ark.unwrap_or_default()].concat()),
    })
}

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    if !case.has("report") {
        let (vcek, list) = (case.file("vcek")?, case.file("crl")?);
        return authorities(case, vcek.as_deref(), chain(case)?, list.as_deref());
    }
    Ok(match Input::of(case)?.examine(&case.anchors(anchors())?) {
        Ok(genuine) => used(case, &genuine)?,
        Err(error) => Report::refused(&error),
    })
}

/// Held against the lowest versions that the case asks for. A policy for SEV-SNP would ask for more: which machines are acceptable otherwise
/// is not what these cases are about.
fn used(case: &Case, snp: &SnpGenuine) -> Result<Report, Stop> {
    let report = Report::genuine(snp.genuine());
    let floors = floors(case)?;
    if floors.is_empty() {
        return Ok(report);
    }
    let floor = floors.get(&snp.generation()).ok_or("the floor of security versions is not of this generation")?;
    for raw in [snp.report().reported_tcb, snp.report().launch_tcb] {
        let unfit = match Tcb::read(raw, snp.generation()) {
            None => SnpUnfit::Reserved,
            Some(actual) if !actual.is_at_least(floor) => SnpUnfit::BelowFloor { floor: *floor, actual },
            Some(_) => continue,
        };
        return Ok(Report::coded(unfit.code(), unfit.to_string(), false));
    }
    Ok(report.settling(FLOOR))
}

/// The lowest versions that a case asks for, for whichever generation the chip is of; none where it asks for none.
pub(super) fn floors(case: &Case) -> Result<BTreeMap<Generation, Tcb>, Stop> {
    let generations = [Generation::Milan, Generation::Genoa, Generation::Turin];
    let Some(stated) = case.policy.get(FLOOR).filter(|floor| !floor.is_null()) else { return Ok(BTreeMap::new()) };
    let raw: Option<[u8; 8]> = match stated {
        Value::Number(number) => number.as_u64().map(u64::to_le_bytes),
        Value::String(digits) => hex::decode(digits).ok().and_then(|raw| raw.try_into().ok()),
        Value::Object(parts) => {
            let parts = Parts::read(parts)?;
            return Ok(generations.into_iter().map(|generation| (generation, parts.of(generation))).collect());
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    };
    let raw = raw.ok_or("the floor of security versions cannot be read")?;
    let read = |generation| Some((generation, Tcb::read(raw, generation)?));
    let floors: BTreeMap<_, _> = generations.into_iter().filter_map(read).collect();
    if floors.len() < generations.len() && case.kind != "snp" || floors.is_empty() {
        return Err("the floor of security versions cannot be read for every generation".into());
    }
    Ok(floors)
}

/// The versions of a floor by their names; what is not named is not asked for.
#[derive(Default)]
struct Parts {
    fmc: u8,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

impl Parts {
    fn read(stated: &Map<String, Value>) -> Result<Parts, Stop> {
        let mut parts = Parts::default();
        for (name, value) in stated.iter().filter(|(_, value)| !value.is_null()) {
            let level = value.as_u64().and_then(|level| u8::try_from(level).ok());
            let level = level.ok_or_else(|| format!("the floor's `{name}` is no version"))?;
            match name.as_str() {
                "fmc" => parts.fmc = level,
                "bl" | "bootloader" => parts.bootloader = level,
                "tee" => parts.tee = level,
                "snp" => parts.snp = level,
                "ucode" | "microcode" => parts.microcode = level,
                _ => return Err(Stop::Unusable(format!("the floor has an unknown `{name}`"))),
            }
        }
        Ok(parts)
    }

    fn of(&self, generation: Generation) -> Tcb {
        let fmc = (generation == Generation::Turin).then_some(self.fmc);
        Tcb { fmc, bootloader: self.bootloader, tee: self.tee, snp: self.snp, microcode: self.microcode }
    }
}

/// Cases of certificates alone.
fn authorities(case: &Case, key: Option<&[u8]>, chain: Option<Vec<u8>>, list: Option<&[u8]>) -> Result<Report, Stop> {
    let anchors = case.anchors(anchors())?;
    let bundle = chain.ok_or("the case has neither a chain nor the authorities one by one")?;
    let outcome = match key {
        Some(key) => attest::snp::examine_key(key, &bundle, &anchors, case.now()),
        None => examine_authorities(&bundle, list, &anchors, case.now()),
    };
    Ok(match outcome {
        Ok(()) => Report::accepted(Assurance::Affirmed, Vec::new()),
        Err(error) => Report::refused(&error),
    })
}

const FLOOR: &str = "min_tcb";
