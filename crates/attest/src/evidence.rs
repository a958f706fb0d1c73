//! Evidence and Endorsements as they travel: typed, labelled by platform, with no field that is not known.
//!
//! The label is part of the type, so Evidence of one platform under another's label does not parse.

use std::collections::BTreeMap;

use envelope::text::Bytes;
use serde::{Deserialize, Serialize};

use crate::{HashAlgorithm, platform::Platform, tpm::EnrolledAk};

/// What an Attester sends, by platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Evidence {
    /// A TPM 2.0 quote with its registers and event log.
    Tpm(TpmEvidence),
    /// The same from inside a confidential machine, whose hardware reports on the same exchange.
    ConfidentialVm(ConfidentialVmEvidence),
}

/// A virtual TPM's quote and a report of the hardware that the TPM and the worker run in, both bound to one exchange: the report proves
/// what was started and that the host cannot look in, the quote what has happened there since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfidentialVmEvidence {
    /// The quote of the TPM inside.
    pub tpm: TpmEvidence,
    /// The report of the hardware, its report data being the binding's SHA-512 form.
    pub hardware: HardwareEvidence,
}

/// Evidence of a platform with the Endorsements that go with it. These are signed by the platform's maker, so it does not matter who
/// brings them; they travel along so that a receipt can be verified offline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareEvidence {
    /// Whose Evidence it is. Evidence of another platform under this label is refused.
    pub platform: Platform,
    /// By role, as in `docs/spec/platforms/`: `report` and `vcek`, `quote` and `tcb_info`, and so on. A role that the platform does not know
    /// is refused.
    pub files: BTreeMap<String, Bytes>,
}

impl Evidence {
    /// The part that a TPM signed.
    pub const fn tpm(&self) -> &TpmEvidence {
        match self {
            Evidence::Tpm(tpm) => tpm,
            Evidence::ConfidentialVm(evidence) => &evidence.tpm,
        }
    }
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
