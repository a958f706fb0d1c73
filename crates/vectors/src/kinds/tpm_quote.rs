//! Cases of the kind `tpm-quote`.

use super::{
    Stop,
    quotes::{QuoteFiles, key},
};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let files = QuoteFiles::read(case, "")?.ok_or("the case has no quote")?;
    Ok(match attest::tpm::examine(&files.evidence(), &key(case)?, case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(fault) => Report::refused(&fault),
    })
}
