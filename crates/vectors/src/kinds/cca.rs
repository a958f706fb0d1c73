//! Cases of the kind `cca`: tokens of Arm CCA.

use attest::arm::cca::{CcaEvidence, examine};

use super::{Stop, keys::keys};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let evidence = CcaEvidence { token: case.need("token")? };
    Ok(match examine(&evidence, &keys(case, "cpak")?, case.now()) {
        Err(refusal) => Report::refused(&refusal),
        Ok(genuine) => Report::genuine(&genuine),
    })
}
