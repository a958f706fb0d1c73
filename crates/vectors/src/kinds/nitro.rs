//! Cases of the kind `nitro`: documents of Nitro Enclaves.

use attest::{
    certificate::TrustAnchor,
    nitro::{NitroEvidence, examine},
    roots::Authority,
};

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let evidence = NitroEvidence { document: case.need("document")? };
    Ok(match examine(&evidence, &anchors(case)?, case.now()) {
        Err(refusal) => Report::refused(&refusal),
        Ok(genuine) => Report::genuine(&genuine),
    })
}

pub(crate) fn anchors(case: &Case) -> Result<Vec<TrustAnchor>, String> {
    case.anchors(Authority::AwsNitro.anchors())
}
