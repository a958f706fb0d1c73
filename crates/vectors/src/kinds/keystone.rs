//! Cases of the kind `keystone`.

use attest::keystone::examine;

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    // Without a key, and with bytes that are none, no device is trusted.
    let device: Option<[u8; 32]> = case.file("dev_pub")?.and_then(|key| key.try_into().ok());
    let devices: Vec<[u8; 32]> = device.into_iter().collect();
    Ok(match examine(&case.need("report")?, &devices, case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
