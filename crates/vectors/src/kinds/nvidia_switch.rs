//! Cases of the kind `nvidia-switch`.

use attest::nvidia::Kind;

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    super::nvidia_gpu::examine(case, Kind::Switch)
}
