//! Cases of the kind `sgx`.

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    super::intel::run(case, attest::intel::sgx::examine)
}
