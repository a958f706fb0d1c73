//! Cases of the kind `sgx`.

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    super::intel::run(case, attest::intel::sgx::examine)
}
