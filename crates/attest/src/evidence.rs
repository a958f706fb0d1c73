//! Evidence and Endorsements as they travel: typed, labelled by platform, with no field that is not known.
//!
//! The label is part of the type, so Evidence of one platform under another's label does not parse.

use serde::{Deserialize, Serialize};

use crate::{HashAlgorithm, tpm::EnrolledAk};

/// What an Attester sends, by platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Evidence {
    /// A TPM 2.0 quote with its registers and event log.
    Tpm(TpmEvidence),
}

/// A TPM 2.0 quote and what it takes to appraise it. All byte fields are base64url without padding in documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmEvidence {
    /// The attestation key: TPM2B_PUBLIC or TPMT_PUBLIC.
    #[serde(with = "envelope::text::base64")]
    pub ak_public: Vec<u8>,
    /// The signed bytes: TPMS_ATTEST.
    #[serde(with = "envelope::text::base64")]
    pub quote: Vec<u8>,
    /// TPMT_SIGNATURE over them.
    #[serde(with = "envelope::text::base64")]
    pub signature: Vec<u8>,
    /// The value of every selected register, each once, in any order.
    pub pcrs: Vec<PcrValue>,
    /// The TCG event log of this boot, crypto-agile format.
    #[serde(with = "envelope::text::base64")]
    pub event_log: Vec<u8>,
    /// The salt of the run that the binding speaks of; absent exactly when it speaks of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_salt: Option<envelope::text::Bytes32>,
}

/// The value of one register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PcrValue {
    /// The bank.
    pub bank: HashAlgorithm,
    /// The register, 0 to 23.
    pub index: u8,
    /// Its value.
    #[serde(with = "envelope::text::base64")]
    pub value: Vec<u8>,
}

/// What others vouch for, by platform, each already checked by the constructor of its type.
#[derive(Debug, Clone, Default)]
pub struct Endorsements {
    pub(crate) tpm: Option<EnrolledAk>,
}

impl Endorsements {
    /// The enrolment of an attestation key, for TPM Evidence.
    pub const fn tpm(enrolled: EnrolledAk) -> Endorsements {
        Endorsements { tpm: Some(enrolled) }
    }
}
