//! Cases of the kind `gcp-vtpm`.

use attest::{gcp, platform::Assurance, roots::Authority};

use super::{
    Stop,
    quotes::{QuoteFiles, key},
};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    // A chain that is missing is refused as one that cannot be read.
    let chain = case.file("ak_cert_chain")?.unwrap_or_default();
    let anchors = case.anchors(Authority::GcpVtpm.anchors())?;
    let Some(files) = QuoteFiles::read(case, "")? else {
        return Ok(match gcp::certified_key(&chain, &anchors, case.now()) {
            Ok(_) => Report::accepted(Assurance::Affirmed, Vec::new()),
            Err(error) => Report::refused(&error),
        });
    };
    let key = case.has("ak_pub").then(|| key(case)).transpose()?;
    Ok(match gcp::examine(&files.evidence(), key.as_ref(), &chain, &anchors, case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
