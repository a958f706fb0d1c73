//! Cases of the kind `azure-tdx-vtpm`.

use attest::{
    azure::examine_tdx,
    intel::{IntelEndorsements, Revocation, Rules},
    roots::Authority,
};

use super::{Stop, quotes::QuoteFiles};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let report = case.need("hcl_report")?;
    let td_quote = case.file("td_quote")?;
    let quote = QuoteFiles::read(case, "tpm_")?;
    let [tcb_info, qe_identity, chain] =
        [case.file("tcb_info")?, case.file("qe_identity")?, case.file("tcb_signing_chain")?];
    let [pck_crl, root_ca_crl] = [case.file("pck_crl")?, case.file("root_ca_crl")?];
    let endorsements = IntelEndorsements {
        pck_chain: None,
        tcb_info: tcb_info.as_deref(),
        qe_identity: qe_identity.as_deref(),
        tcb_signing_chain: chain.as_deref(),
        qe_identity_signing_chain: None,
        pck_crl: pck_crl.as_deref(),
        root_ca_crl: root_ca_crl.as_deref(),
    };
    // As for the kinds `sgx` and `tdx`: without the PCK authority's list, the authorities' alone.
    let revocation = if pck_crl.is_some() { Revocation::Complete } else { Revocation::Authorities };
    let rules = Rules { evaluation_floor: 0, revocation };
    let evidence = quote.as_ref().map(QuoteFiles::evidence);
    let anchors = case.anchors(Authority::IntelSgx.anchors())?;
    let outcome =
        examine_tdx(&report, td_quote.as_deref(), evidence.as_ref(), &endorsements, &anchors, &rules, case.now());
    Ok(match outcome {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
