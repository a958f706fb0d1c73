//! Cases of the kind `gcp-vtpm`.

use attest::{gcp, platform::Assurance, roots::Authority};

use super::quotes::{QuoteFiles, key, used};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let chain = case.need("ak_cert_chain")?;
    let anchors = Authority::GcpVtpm.anchors();
    let Some(files) = QuoteFiles::read(case, "")? else {
        return Ok(match gcp::certified_key(&chain, &anchors, case.now()) {
            Ok(_) => Report::accepted(Assurance::Affirmed, Vec::new()),
            Err(error) => Report::refused(&error),
        });
    };
    match gcp::examine(&files.evidence(), Some(&key(case)?), &chain, &anchors, case.now()) {
        Ok(genuine) => used(case, &genuine),
        Err(error) => Ok(Report::refused(&error)),
    }
}
