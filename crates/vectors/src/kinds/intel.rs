//! What the kinds `sgx` and `tdx` have in common.

use attest::{
    certificate::TrustAnchor,
    intel::{IntelEndorsements, IntelError, Revocation, Rules},
    platform::Genuine,
    roots::Authority,
};
use jiff::Timestamp;

use super::Stop;
use crate::{Case, Report};

/// An examination of one of the platforms.
pub(crate) type Examine =
    fn(&[u8], &IntelEndorsements<'_>, &[TrustAnchor], &Rules, Timestamp) -> Result<Genuine, IntelError>;

/// All that a case brings.
#[derive(Debug, Clone)]
pub struct Input {
    /// The quote.
    pub quote: Vec<u8>,
    /// The TCB info in its envelope.
    pub tcb_info: Option<Vec<u8>>,
    /// The identity of the quoting enclave in its envelope.
    pub qe_identity: Option<Vec<u8>>,
    /// The chain of their signer.
    pub tcb_signing_chain: Option<Vec<u8>>,
    /// The revocation list of the PCK authority.
    pub pck_crl: Option<Vec<u8>>,
    /// The revocation list of the root.
    pub root_ca_crl: Option<Vec<u8>>,
    /// The pinned authority.
    pub anchors: Vec<TrustAnchor>,
    /// The time.
    pub now: Timestamp,
}

impl Input {
    /// Reads a case's files.
    ///
    /// # Errors
    /// In words.
    pub fn of(case: &Case) -> Result<Input, String> {
        let anchors = case.anchors(Authority::IntelSgx.anchors())?;
        Ok(Input {
            quote: case.need("quote")?,
            tcb_info: case.file("tcb_info")?,
            qe_identity: case.file("qe_identity")?,
            tcb_signing_chain: case.file("tcb_signing_chain")?,
            pck_crl: case.file("pck_crl")?,
            root_ca_crl: case.file("root_ca_crl")?,
            anchors,
            now: case.now(),
        })
    }

    /// The rules of a caller who uses what it has: without the PCK authority's list, the authorities' alone.
    pub const fn rules(&self) -> Rules {
        let revocation = if self.pck_crl.is_some() { Revocation::Complete } else { Revocation::Authorities };
        Rules { evaluation_floor: 0, revocation }
    }

    /// The Endorsements.
    pub fn endorsements(&self) -> IntelEndorsements<'_> {
        IntelEndorsements {
            pck_chain: None,
            tcb_info: self.tcb_info.as_deref(),
            qe_identity: self.qe_identity.as_deref(),
            tcb_signing_chain: self.tcb_signing_chain.as_deref(),
            qe_identity_signing_chain: None,
            pck_crl: self.pck_crl.as_deref(),
            root_ca_crl: self.root_ca_crl.as_deref(),
        }
    }
}

pub(super) fn run(case: &Case, examine: Examine) -> Result<Report, Stop> {
    let input = Input::of(case)?;
    Ok(match examine(&input.quote, &input.endorsements(), &input.anchors, &input.rules(), input.now) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(refusal) => Report::refused(&refusal),
    })
}
