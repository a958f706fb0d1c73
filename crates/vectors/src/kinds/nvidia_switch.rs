//! Cases of the kind `nvidia-switch`.

use attest::nvidia::Kind;

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    super::nvidia_gpu::examine(case, Kind::Switch)
}
