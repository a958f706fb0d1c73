//! Cases of the kind `ibm-se`.

use attest::ibm::{HostKeyDocument, examine};

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let evidence = HostKeyDocument {
        document: case.need("host_key_document")?,
        signing_key: case.need("ibm_signing_key")?,
        intermediates: case.file("intermediate")?.into_iter().collect(),
        list: case.need("ibm_crl")?,
        authority_lists: [case.file("intermediate_crl")?, case.file("root_crl")?].into_iter().flatten().collect(),
    };
    let anchors: Vec<_> = case.custom_anchor()?.into_iter().collect();
    Ok(match examine(&evidence, &anchors, case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
