//! `dcap-qvl` on quotes of SGX and TDX.

use dcap_qvl::{QuoteCollateralV3, verify::QuoteVerifier};
use serde_json::{Value, value::RawValue};

use crate::{Case, kinds::intel::Input};

/// `dcap-qvl` with everything that one case needs, in its own form.
pub struct DcapQvl {
    verifier: QuoteVerifier,
    collateral: QuoteCollateralV3,
    now: u64,
}

impl DcapQvl {
    /// Prepares a case; `None` where it lacks what `dcap-qvl` must have.
    ///
    /// # Errors
    /// In words, when a file cannot be read.
    pub fn of(case: &Case, input: &Input) -> Result<Option<DcapQvl>, String> {
        let root = case.file("trust_anchor")?;
        let crl_chain = case.file("pck_crl_issuer_chain")?;
        Ok(DcapQvl::prepare(input, root.as_deref(), crl_chain.as_deref()))
    }

    /// Prepares an input; `None` where it lacks what `dcap-qvl` must have, or where an envelope cannot be opened (a refusal).
    pub fn prepare(input: &Input, root: Option<&[u8]>, crl_chain: Option<&[u8]>) -> Option<DcapQvl> {
        let verifier = match root {
            None => QuoteVerifier::new_prod(),
            Some(pem) => QuoteVerifier::new(attest::certificate::Certificate::split(pem).ok()?.into_iter().next()?),
        };
        let (tcb_info, tcb_info_signature) = opened(input.tcb_info.as_deref()?, "tcbInfo")?;
        let (qe_identity, qe_identity_signature) = opened(input.qe_identity.as_deref()?, "enclaveIdentity")?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let chain = text(input.tcb_signing_chain.as_deref()?)?;
        let collateral = QuoteCollateralV3 {
            pck_crl_issuer_chain: text(crl_chain?)?,
            root_ca_crl: input.root_ca_crl.clone()?,
            pck_crl: input.pck_crl.clone()?,
            tcb_info_issuer_chain: chain.clone(),
            tcb_info,
            tcb_info_signature,
            qe_identity_issuer_chain: chain,
            qe_identity,
            qe_identity_signature,
            pck_certificate_chain: None,
        };
        Some(DcapQvl { verifier, collateral, now: u64::try_from(input.now.as_second()).ok()? })
    }

    /// Its word on a quote: the status, or why not.
    ///
    /// # Errors
    /// Its message.
    pub fn verify(&self, quote: &[u8]) -> Result<String, String> {
        let verified = self.verifier.verify(quote, &self.collateral, self.now);
        verified.map(|report| report.status).map_err(|error| format!("{error:#}"))
    }
}

/// The exact text of the document inside an envelope, and its signature.
fn opened(envelope: &[u8], member: &str) -> Option<(String, Vec<u8>)> {
    let members: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_slice(envelope).ok()?;
    let signature: Value = serde_json::from_str(members.get("signature")?.get()).ok()?;
    Some((members.get(member)?.get().to_owned(), hex::decode(signature.as_str()?).ok()?))
}
