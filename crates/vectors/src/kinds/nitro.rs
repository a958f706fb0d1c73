//! Cases of the kind `nitro`: documents of Nitro Enclaves.

use std::collections::{BTreeMap, BTreeSet};

use attest::{
    Tier,
    certificate::TrustAnchor,
    nitro::{NitroEvidence, examine},
    platform::{Genuine, HardwareIds, PlatformPolicy},
    roots::Authority,
};

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let evidence = NitroEvidence { document: case.need("document")? };
    Ok(match examine(&evidence, &anchors(case)?, case.now()) {
        Err(refusal) => Report::refused(&refusal),
        Ok(genuine) => held(case, genuine, &["expected_nonce"]),
    })
}

pub(crate) fn anchors(case: &Case) -> Result<Vec<TrustAnchor>, String> {
    Ok(case.custom_anchor()?.map_or_else(|| Authority::AwsNitro.anchors(), |anchor| vec![anchor]))
}

/// Holds genuine Evidence against what the case asks for: `expected_REGISTER` as a measurement, one of `nonces` as what must be bound. What the case
/// says nothing of is what the Evidence has, so that it is never the ground of a refusal.
pub(super) fn held(case: &Case, genuine: Genuine, nonces: &[&str]) -> Report {
    let mut measurements = BTreeMap::new();
    for register in genuine.registers() {
        measurements.insert(register.name.clone(), BTreeSet::from([hex::encode(&register.value)]));
    }
    for (name, value) in case.policy.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default().to_lowercase();
        if let Some(register) = name.strip_prefix("expected_").filter(|_| !nonces.contains(&name.as_str())) {
            measurements.insert(register.to_owned(), BTreeSet::from([value]));
        }
    }
    let policy = PlatformPolicy {
        tier_floor: Tier::SoftwareTpm,
        admits: BTreeSet::from([genuine.assurance().name().to_owned()]),
        hardware: HardwareIds::Any,
        measurements,
    };
    let report = Report::genuine(&genuine);
    let bound = nonces.iter().find_map(|name| case.asks(name));
    let unfit = match bound {
        None => genuine.fits(&policy).err(),
        Some(bound) => genuine.appraise(&hex::decode(bound).unwrap_or_default(), &policy).err(),
    };
    match unfit {
        None => report,
        Some(unfit) => Report::coded(unfit.code(), unfit.to_string(), false),
    }
}
