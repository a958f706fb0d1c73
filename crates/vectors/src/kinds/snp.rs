//! Cases of the kind `snp`.

use std::collections::{BTreeMap, BTreeSet};

use attest::{
    certificate::{Certificate, TrustAnchor},
    platform::{Assurance, HardwareIds, PlatformPolicy},
    snp::{
        Generation, SigningKey, SnpError, SnpEvidence, SnpGenuine, SnpPolicy, Tcb, anchors, examine,
        examine_authorities,
    },
};
use jiff::Timestamp;
use serde_json::Value;

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

pub(super) fn run(case: &Case) -> Result<Report, String> {
    if !case.has("report") {
        let (vcek, list) = (case.file("vcek")?, case.file("crl")?);
        return authorities(case, vcek.as_deref(), chain(case)?, list.as_deref());
    }
    Ok(match Input::of(case)?.examine(&anchors()) {
        Ok(genuine) => used(case, genuine)?,
        Err(error) => Report::refused(&error),
    })
}

/// What the case's verifier asks for beyond a genuine report.
fn used(case: &Case, snp: SnpGenuine) -> Result<Report, String> {
    let report = Report::genuine(snp.genuine());
    let mut genuine = snp.genuine().clone();
    if let Some(floor) = case.policy.get("min_tcb") {
        let lenient = lenient(snp.generation(), floor, snp.report().vmpl)?;
        match snp.admit(&lenient) {
            Ok(admitted) => genuine = admitted,
            Err(unfit) => return Ok(Report::coded(unfit.code(), unfit.to_string(), false)),
        }
    }
    let expected = case.asks("expected_report_data").map(hex::decode).transpose().map_err(|error| error.to_string())?;
    let measurement = case.asks("expected_measurement");
    if expected.is_none() && measurement.is_none() {
        return Ok(report);
    }
    let bound = expected.unwrap_or_else(|| genuine.bound().to_vec());
    let actual = genuine.register("measurement").map(hex::encode).unwrap_or_default();
    let accepted = BTreeSet::from([measurement.map_or(actual, str::to_owned)]);
    let policy = PlatformPolicy {
        tier_floor: attest::Tier::ConfidentialVm,
        admits: [Assurance::Affirmed, Assurance::RevocationUnknown].map(|assurance| assurance.name().to_owned()).into(),
        hardware: HardwareIds::Any,
        measurements: BTreeMap::from([("measurement".to_owned(), accepted)]),
    };
    Ok(match genuine.appraise(&bound, &policy) {
        Ok(_) => report,
        Err(unfit) => Report::coded(unfit.code(), unfit.to_string(), false),
    })
}

/// A policy that asks for the floor alone: which machines are acceptable otherwise is not what these cases are about.
fn lenient(generation: Generation, floor: &Value, vmpl: u32) -> Result<SnpPolicy, String> {
    let level = |name: &str| floor.get(name).and_then(Value::as_u64).and_then(|level| u8::try_from(level).ok());
    let need = |name: &str| level(name).ok_or_else(|| format!("the floor has no `{name}`"));
    let floor = Tcb {
        fmc: level("fmc"),
        bootloader: need("bl")?,
        tee: need("tee")?,
        snp: need("snp")?,
        microcode: need("ucode")?,
    };
    Ok(SnpPolicy {
        generations: BTreeSet::from([generation]),
        minimum_tcb: BTreeMap::from([(generation, floor)]),
        vmpl: BTreeSet::from([vmpl]),
        signing_keys: BTreeSet::from([SigningKey::Vcek, SigningKey::Vlek]),
        revocation_list: false,
    })
}

/// Cases of certificates alone.
fn authorities(case: &Case, key: Option<&[u8]>, chain: Option<Vec<u8>>, list: Option<&[u8]>) -> Result<Report, String> {
    let bundle = chain.ok_or("the case has neither a chain nor the authorities one by one")?;
    let outcome = match key {
        Some(key) => attest::snp::examine_key(key, &bundle, &anchors(), case.now()),
        None => examine_authorities(&bundle, list, &anchors(), case.now()),
    };
    Ok(match outcome {
        Ok(()) => Report::accepted(Assurance::Affirmed, Vec::new()),
        Err(error) => Report::refused(&error),
    })
}
