//! Cases of the kind `ibm-se`.

use attest::ibm::{HostKeyDocument, IbmError, examine};

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let missing = || IbmError::ListMissing("IBM's signing key".to_owned());
    let list = case.file("ibm_crl")?.ok_or_else(|| Stop::refused(&missing()))?;
    let evidence = HostKeyDocument {
        document: case.need("host_key_document")?,
        // A certificate that is missing is refused as one that cannot be read.
        signing_key: case.file("ibm_signing_key")?.unwrap_or_default(),
        intermediates: case.file("intermediate")?.into_iter().collect(),
        list,
        authority_lists: [case.file("intermediate_crl")?, case.file("root_crl")?].into_iter().flatten().collect(),
    };
    let anchors: Vec<_> = case.custom_anchor()?.into_iter().collect();
    Ok(match examine(&evidence, &anchors, case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
