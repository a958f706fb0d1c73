//! Cases of the kind `cca`: tokens of Arm CCA.

use attest::{
    arm::cca::{CcaEvidence, examine},
    keys::VerificationKey,
};

use super::nitro::held;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let evidence = CcaEvidence { token: case.need("token")? };
    Ok(match examine(&evidence, &keys(case, "cpak")?, case.now()) {
        Err(refusal) => Report::refused(&refusal),
        Ok(genuine) => held(case, genuine, &["expected_realm_challenge", "expected_nonce", "expected_challenge"]),
    })
}

/// The key in this role, or none.
pub(super) fn keys(case: &Case, role: &str) -> Result<Vec<VerificationKey>, String> {
    let Some(file) = case.file(role)? else { return Ok(Vec::new()) };
    Ok(vec![VerificationKey::from_spki(&file).map_err(|error| error.to_string())?])
}
