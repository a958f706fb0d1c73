//! Cases of the kind `psa`: tokens of PSA devices.

use attest::arm::psa::{PsaEvidence, examine};

use super::{Stop, keys::keys};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let evidence = PsaEvidence { token: case.need("token")? };
    Ok(match examine(&evidence, &keys(case, "iak")?, case.now()) {
        Err(refusal) => Report::refused(&refusal),
        Ok(genuine) => Report::genuine(&genuine),
    })
}
