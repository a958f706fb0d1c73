//! The Attestation Result: what was appraised, step by step, in words that `verify` prints.
//!
//! It is made by an appraisal and by nothing else. It can be written, so that a receipt may keep a snapshot, and not read:
//! whoever wants one again appraises again.

use envelope::Digest;
use jiff::Timestamp;
use serde::Serialize;

use crate::{HashAlgorithm, Tier, platform::Appraised, tpm::TpmName};

/// One step of `docs/spec/appraisal.md` that was passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its number in the specification.
    pub number: u8,
    /// What was established, in a sentence.
    pub words: String,
}

/// A register as quoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measurement {
    /// The bank.
    pub bank: HashAlgorithm,
    /// The register.
    pub pcr: u8,
    /// Its value in hexadecimal.
    pub value: String,
}

/// Evidence that passed every step. Its fields can be read and not written; see [`crate::Verifier::appraise`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttestationResult {
    pub(crate) tier: Tier,
    pub(crate) role: String,
    pub(crate) role_binary: Digest,
    pub(crate) ak_name: TpmName,
    pub(crate) endorsement_key: Digest,
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
    pub(crate) firmware: String,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) event_log: Digest,
    pub(crate) runs_since_start: u32,
    pub(crate) binding: Digest,
    pub(crate) policy: Digest,
    pub(crate) appraised_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hardware: Option<Appraised>,
    pub(crate) steps: Vec<Step>,
}

impl AttestationResult {
    /// The tier, as those who vouch for the Attester place it.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// The role that was started, as measured.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The SHA-256 of that role's binary, as measured.
    pub const fn role_binary(&self) -> &Digest {
        &self.role_binary
    }

    /// The name of the attestation key that signed.
    pub const fn ak_name(&self) -> &TpmName {
        &self.ak_name
    }

    /// The digest of the endorsement key's SubjectPublicKeyInfo.
    pub const fn endorsement_key(&self) -> &Digest {
        &self.endorsement_key
    }

    /// How often the TPM has been reset, as quoted.
    pub const fn reset_count(&self) -> u32 {
        self.reset_count
    }

    /// How often it has been restarted or resumed since, as quoted.
    pub const fn restart_count(&self) -> u32 {
        self.restart_count
    }

    /// The TPM's firmware version, 16 hexadecimal digits.
    pub fn firmware(&self) -> &str {
        &self.firmware
    }

    /// Every register that was quoted.
    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    /// The digest of the event log that was replayed.
    pub const fn event_log(&self) -> &Digest {
        &self.event_log
    }

    /// How many runs this machine has measured since its start.
    pub const fn runs_since_start(&self) -> u32 {
        self.runs_since_start
    }

    /// The SHA-256 form of the binding that was found in the Evidence.
    pub const fn binding(&self) -> &Digest {
        &self.binding
    }

    /// The digest of the Appraisal Policy that was applied.
    pub const fn policy(&self) -> &Digest {
        &self.policy
    }

    /// The time that was given to the appraisal.
    pub const fn appraised_at(&self) -> Timestamp {
        self.appraised_at
    }

    /// The confidential hardware beneath, where the policy asked for it.
    pub const fn hardware(&self) -> Option<&Appraised> {
        self.hardware.as_ref()
    }

    /// The steps that were passed, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}
