//! What makers of hardware sign about a client's machine, read from this broker's own before the decision.
//!
//! Clients send little of it: Intel's documents and revocation lists never, AMD's certificates seldom. It lies in the directory of `--endorsements`, as
//! `glovebox endorsements` keeps it, and is checked whenever it is read. The Evidence says which objects count, and is believed in that
//! alone: a false claim finds objects that do not fit.
//!
//! Deliberately absent: a network. What is not there is refused by its name, with the command that fetches it.

use attest::{
    intel::{self, IntelEndorsements},
    snp,
};
use endorsements::{ObjectId, OfQuote, OfReport, Reader, StoreError};
use jiff::Timestamp;

use super::evidence::EvidenceRefusal;
use crate::refusal::words;

/// Which objects the examination of some Evidence needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needs {
    /// None.
    Nothing,
    /// Those of a quote.
    Quote(OfQuote),
    /// Those of a report of SEV-SNP.
    Report {
        /// The certificate of its key, unless it came along.
        key: Option<ObjectId>,
        /// The certificates above, unless they came along.
        chain: Option<ObjectId>,
        /// The list of revoked intermediates: used where it is kept.
        list: ObjectId,
    },
}

/// The objects, each current and signed by its maker.
#[derive(Debug, Default)]
pub(crate) enum Collected {
    /// None.
    #[default]
    Nothing,
    /// Of a quote.
    Intel(Intel),
    /// Of a report of SEV-SNP.
    Amd(Amd),
}

/// Intel's part.
#[derive(Debug)]
pub(crate) struct Intel {
    tcb_info: Vec<u8>,
    tcb_info_chain: Option<Vec<u8>>,
    qe_identity: Vec<u8>,
    qe_identity_chain: Option<Vec<u8>>,
    pck_crl: Vec<u8>,
    root_ca_crl: Vec<u8>,
}

/// AMD's part, as far as the client did not send it.
#[derive(Debug, Default)]
pub(crate) struct Amd {
    pub(super) key: Option<Vec<u8>>,
    pub(super) chain: Option<Vec<u8>>,
    pub(super) list: Option<Vec<u8>>,
}

impl Needs {
    /// What a quote needs that must be of this kind.
    ///
    /// # Errors
    /// No quote, one of the other kind, or one that does not carry the certificates of its platform.
    pub(crate) fn of_quote(tee: intel::Tee, quote: &[u8]) -> Result<Needs, EvidenceRefusal> {
        let refused = |error: intel::IntelError| EvidenceRefusal::of_platform(&error);
        let platform = intel::claimed_platform(quote).map_err(refused)?;
        if platform.tee != tee {
            return Err(EvidenceRefusal::Form("the quote is of the other kind of Intel's"));
        }
        OfQuote::of(&platform).map(Needs::Quote).ok_or_else(|| refused(intel::IntelError::PckRoles))
    }

    /// What a report of SEV-SNP needs beyond what came along.
    ///
    /// # Errors
    /// No report; or one without its key's certificate that does not tell which certificate that is.
    pub(crate) fn of_report(report: &[u8], key: Option<&[u8]>, chain: bool) -> Result<Needs, EvidenceRefusal> {
        let untold = EvidenceRefusal::Form(
            "the report does not tell its chip: the certificate of its key must come along in `cert_chain`",
        );
        let report =
            snp::Report::parse(report).map_err(|error| EvidenceRefusal::of_platform(&snp::SnpError::from(error)))?;
        let generation = snp::claimed_generation(&report, key).ok_or_else(|| untold.clone())?;
        let of = OfReport::of(&report, generation);
        let key = match key {
            Some(_) => None,
            None => Some(of.key.ok_or(untold)?),
        };
        Ok(Needs::Report { key, chain: (!chain).then_some(of.chain), list: of.list })
    }

    /// Reads the objects.
    ///
    /// # Errors
    /// The first that is needed and cannot be used, by name.
    pub(crate) fn collect(self, reader: Option<&Reader>, now: Timestamp) -> Result<Collected, EvidenceRefusal> {
        let get = |id: &ObjectId| read(reader, id, now);
        match self {
            Needs::Nothing => Ok(Collected::Nothing),
            Needs::Quote(OfQuote { tcb_info, qe_identity, pck_crl, root_ca_crl }) => {
                let (info, identity) = (get(&tcb_info)?, get(&qe_identity)?);
                Ok(Collected::Intel(Intel {
                    tcb_info_chain: info.issuer_chain(),
                    tcb_info: info.body,
                    qe_identity_chain: identity.issuer_chain(),
                    qe_identity: identity.body,
                    pck_crl: get(&pck_crl)?.body,
                    root_ca_crl: get(&root_ca_crl)?.body,
                }))
            }
            Needs::Report { key, chain, list } => {
                let body = |id: Option<ObjectId>| id.map(|id| get(&id).map(|received| received.body)).transpose();
                let (key, chain) = (body(key)?, body(chain)?);
                let list = match reader.map(|reader| reader.get(&list, now)) {
                    None | Some(Err(StoreError::Absent(_))) => None,
                    Some(Ok(received)) => Some(received.body),
                    Some(Err(error)) => return Err(unusable(&list, &error)),
                };
                Ok(Collected::Amd(Amd { key, chain, list }))
            }
        }
    }
}

impl Collected {
    /// Intel's objects.
    ///
    /// # Errors
    /// Where others were collected, which is a fault of the caller.
    pub(super) fn intel(&self) -> Result<IntelEndorsements<'_>, EvidenceRefusal> {
        let Collected::Intel(intel) = self else {
            return Err(EvidenceRefusal::Endorsement("Intel's documents were not collected".to_owned()));
        };
        Ok(IntelEndorsements {
            pck_chain: None,
            tcb_info: Some(&intel.tcb_info),
            qe_identity: Some(&intel.qe_identity),
            tcb_signing_chain: intel.tcb_info_chain.as_deref(),
            qe_identity_signing_chain: intel.qe_identity_chain.as_deref(),
            pck_crl: Some(&intel.pck_crl),
            root_ca_crl: Some(&intel.root_ca_crl),
        })
    }

    /// AMD's objects, as far as there are some.
    pub(super) const fn amd(&self) -> Option<&Amd> {
        match self {
            Collected::Amd(amd) => Some(amd),
            Collected::Nothing | Collected::Intel(_) => None,
        }
    }
}

fn read(reader: Option<&Reader>, id: &ObjectId, now: Timestamp) -> Result<endorsements::Received, EvidenceRefusal> {
    let Some(reader) = reader else {
        return Err(EvidenceRefusal::Endorsement(format!(
            "`{id}`: this broker keeps no Endorsements\nhint: start it with --endorsements DIR, and fill DIR by `glovebox endorsements --directory DIR fetch {id}`"
        )));
    };
    reader.get(id, now).map_err(|error| unusable(id, &error))
}

/// What is told of an object; what lies behind a fault of this machine is nobody's.
fn unusable(id: &ObjectId, error: &StoreError) -> EvidenceRefusal {
    match error {
        StoreError::Absent(_)
        | StoreError::Refused { .. }
        | StoreError::Older { .. }
        | StoreError::Superseded { .. } => EvidenceRefusal::Endorsement(words(error)),
        StoreError::Damaged(_) | StoreError::Io { .. } => {
            tracing::error!(object = %id, reason = %words(error), "an Endorsement cannot be read");
            EvidenceRefusal::Endorsement(format!("`{id}` cannot be read"))
        }
    }
}
