//! Cases of the kind `keystone`.

use attest::keystone::examine;

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let device: [u8; 32] = case.need("dev_pub")?.try_into().map_err(|_| "the device's key is not one".to_owned())?;
    Ok(match examine(&case.need("report")?, &[device], case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
