//! Cases of the kind `tpm-quote`.

use super::quotes::{QuoteFiles, key, used};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let files = QuoteFiles::read(case, "")?.ok_or("the case has no quote")?;
    match attest::tpm::examine(&files.evidence(), &key(case)?, case.now()) {
        Ok(genuine) => used(case, &genuine),
        Err(fault) => Ok(Report::refused(&fault)),
    }
}
