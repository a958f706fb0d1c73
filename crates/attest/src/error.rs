//! Why Evidence is refused: one variant for each check, numbered by its step.
//!
//! There are two messages. `Display` is for the owners of the data: it says what was found. [`AppraisalError::code`] is for the
//! Attester and for metrics: a fixed word that names the check and tells nothing about the policy's contents.

use envelope::Digest;

use crate::{
    HashAlgorithm, Tier,
    event_log::ReplayError,
    events::RoleName,
    platform::{HardwareFault, Platform, Unfit},
    reader::FormatError,
    tpm::{AkFault, TpmName},
};

/// The first check that failed. Exhaustive: a new check is a new variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppraisalError {
    /// Step 1.
    #[error("the Evidence cannot be read")]
    Malformed(#[source] FormatError),
    /// Step 2.
    #[error("the attestation key is not fit to sign quotes")]
    AttestationKey(#[source] AkFault),
    /// Step 3: nobody vouches for the key.
    #[error("no Endorsement of the attestation key was given\nhint: enrol the machine first")]
    EndorsementMissing,
    /// Step 3: it is not the key that was enrolled.
    #[error("the attestation key is `{actual}`; enrolled is `{enrolled}`\nhint: enrol the machine again")]
    NotEnrolled {
        /// The name of the enrolled key.
        enrolled: TpmName,
        /// The name of the key in the Evidence.
        actual: TpmName,
    },
    /// Step 3: the enrolment is for another key than the binding speaks of.
    #[error("the binding speaks of another attestation key than the Evidence")]
    EnrolsAnotherKey,
    /// Step 3: the enrolment was signed by somebody else than the broker that was named.
    #[error("the enrolment was not signed by the broker that the caller named")]
    EnrolmentSigner,
    /// Step 3: activation was not proved.
    #[error("the credential was not activated: the attestation key does not live in the TPM of that endorsement key")]
    NotActivated,
    /// Step 3: the purpose of the binding does not go with an activation.
    #[error("an attestation key is activated for enrolment or deposit only")]
    ActivationPurpose,
    /// Step 4: the endorsement key is unfit.
    #[error("the endorsement key is not a storage key fixed to its TPM, of a kind that is supported")]
    EndorsementKey,
    /// Step 4: no certificate, or one that cannot be read.
    #[error("the endorsement key's certificate is missing or cannot be read")]
    Certificate,
    /// Step 4: the certificate is for another key.
    #[error("the certificate is for another endorsement key than the one enrolled")]
    CertificateKey,
    /// Step 4: the chain does not hold.
    #[error("the endorsement key's certificate does not lead to a pinned root")]
    Chain(#[source] ChainFault),
    /// Step 4: not on the list.
    #[error("the endorsement key `{0}` is not listed by the policy\nhint: add its digest to `endorsement_keys`")]
    EndorsementKeyNotListed(Digest),
    /// Step 4: TPMs in software must be listed one by one.
    #[error("the endorsement key is of a TPM in software, which the policy must list by its digest")]
    SoftwareTpmNotListed,
    /// Step 5.
    #[error("the tier is `{actual}`, {}; the policy asks for `{floor}` or stronger", .actual.words())]
    Tier {
        /// What the policy asks for.
        floor: Tier,
        /// What it is.
        actual: Tier,
    },
    /// Step 6: the signature is of another scheme than the key's.
    #[error("the signature's scheme is not that of the attestation key")]
    SignatureScheme,
    /// Step 6.
    #[error("the signature does not verify under the attestation key")]
    Signature,
    /// Step 7: not made inside a TPM.
    #[error("the signed bytes begin with {0:#010x}, not with TPM_GENERATED")]
    NotGenerated(u32),
    /// Step 7: something else than a quote.
    #[error("the signed structure is of type {0:#06x}, not a quote")]
    NotQuote(u16),
    /// Step 8.
    #[error("the quote is not bound to this exchange: it was made for another purpose, channel, challenge or run")]
    Binding,
    /// Step 9.
    #[error(
        "the TPM was reset or restarted since it was enrolled ({enrolled:?} then, {actual:?} now)\nhint: enrol the machine again"
    )]
    Restarted {
        /// Reset and restart count at enrolment.
        enrolled: (u32, u32),
        /// The same as quoted.
        actual: (u32, u32),
    },
    /// Step 9.
    #[error(
        "the TPM does not vouch that its clock has not gone back\nhint: shut the TPM down orderly, or accept `unsafe`"
    )]
    ClockNotSafe,
    /// Step 10: nothing but SHA-1.
    #[error("the quote covers the sha1 bank only\nhint: quote the sha256 or sha384 bank")]
    Sha1Only,
    /// Step 10: the policy's bank is absent.
    #[error("the quote does not cover the {} bank", .0.name())]
    BankNotQuoted(HashAlgorithm),
    /// Step 10: a required register is absent.
    #[error("the quote does not cover register {0}, which the policy requires")]
    PcrNotQuoted(u8),
    /// Step 11: a selected register without a value.
    #[error("the value of register {pcr} of the {} bank is missing", .bank.name())]
    PcrValueMissing {
        /// The bank.
        bank: HashAlgorithm,
        /// The register.
        pcr: u8,
    },
    /// Step 11: a value that was not selected, occurs twice, or has the wrong size.
    #[error("the value given for register {pcr} of the {} bank is not selected, repeated, or of the wrong size", .bank.name())]
    PcrValueUnexpected {
        /// The bank.
        bank: HashAlgorithm,
        /// The register.
        pcr: u8,
    },
    /// Step 11.
    #[error("the registers' values do not hash to the digest that was quoted")]
    PcrDigest,
    /// Step 12: a SHA-1 log.
    #[error(
        "the event log is of the SHA-1 format\nhint: use the crypto-agile log that the firmware hands over for TPM 2.0"
    )]
    LegacyLog,
    /// Step 12: the log cannot be replayed.
    #[error("the event log cannot be replayed")]
    Replay(#[source] ReplayError),
    /// Step 12: the log and the register disagree.
    #[error("replaying the event log does not give the quoted value of register {0}")]
    ReplayMismatch(u8),
    /// Step 13.
    #[error("the event log's data is not what was measured")]
    EventData(#[source] ReplayError),
    /// Step 14.
    #[error("register {pcr} has the value `{value}`, which is not among the Reference Values")]
    ReferenceValue {
        /// The register.
        pcr: u8,
        /// Its value in hexadecimal.
        value: String,
    },
    /// Step 15: an event that is not ours, or one of ours in the wrong register.
    #[error("event {index} of the log, in register {pcr}, does not belong there")]
    ForeignEvent {
        /// Counted from zero.
        index: usize,
        /// The register.
        pcr: u8,
    },
    /// Step 15: an event of ours whose digest is not that of its data.
    #[error("event {index} of the log, in register {pcr}: the digest is not that of the event's data")]
    EventNotMeasured {
        /// Counted from zero.
        index: usize,
        /// The register.
        pcr: u8,
    },
    /// Step 15: an event out of order or repeated.
    #[error("event {index} of the log, in register {pcr}, is repeated or out of order")]
    EventOrder {
        /// Counted from zero.
        index: usize,
        /// The register.
        pcr: u8,
    },
    /// Step 15: register 8 or 12 was not closed or opened by `system-ready`.
    #[error("register {0} has no `system-ready` event")]
    NotReady(u8),
    /// Step 15: no role was measured.
    #[error("no role was measured before `system-ready`")]
    RoleMissing,
    /// Step 15: another role.
    #[error("the role `{actual}` was started; the policy asks for `{expected}`")]
    Role {
        /// The policy's.
        expected: RoleName,
        /// The measured one.
        actual: RoleName,
    },
    /// Step 15: another binary.
    #[error(
        "the role's binary is `{0}`, which is not among the Reference Values\nhint: a signed but unlisted build is refused too"
    )]
    RoleBinary(Digest),
    /// Step 15: the salt of the run is missing, or given where there is no run.
    #[error("a run's salt must be disclosed exactly when the binding speaks of a run")]
    RunSalt,
    /// Step 15.
    #[error("the run that the binding speaks of was not measured on this machine since its start")]
    RunNotMeasured,
    /// Step 16: the policy asks for confidential hardware, and the Evidence brings none.
    #[error(
        "the policy asks for confidential hardware, and the Evidence has no report of any\nhint: start the worker where it has such hardware"
    )]
    HardwareMissing,
    /// Step 16: hardware that the policy does not speak of.
    #[error("the Evidence has a report of hardware, and the policy speaks of none")]
    HardwareUnexpected,
    /// Step 16: another platform than those listed.
    #[error("the policy does not list {0} hardware")]
    HardwareNotListed(Platform),
    /// Step 16: it is not genuine.
    #[error("the hardware's Evidence does not hold")]
    Hardware(#[source] HardwareFault),
    /// Step 16: it is genuine and not what the policy lists.
    #[error("the hardware is not what the policy lists")]
    HardwareUnfit(#[source] Unfit),
}

/// Why a chain of certificates does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// No pinned root issued it.
    #[error("no pinned root is at the end of the chain")]
    UnknownIssuer,
    /// Past its end.
    #[error("a certificate of the chain has expired")]
    Expired,
    /// Before its beginning.
    #[error("a certificate of the chain is not valid yet\nhint: check the clock")]
    NotYetValid,
    /// A signature in the chain is wrong.
    #[error("a signature in the chain does not verify")]
    Signature,
    /// Not a certificate of an endorsement key (extended key usage 2.23.133.8.1, or key usage).
    #[error("the certificate is not meant for an endorsement key")]
    Usage,
    /// Anything else that path validation refuses.
    #[error("path validation refuses the chain: {0}")]
    Other(String),
}

impl AppraisalError {
    /// The step of `docs/spec/appraisal.md` that failed.
    pub const fn step(&self) -> u8 {
        match self {
            AppraisalError::Malformed(_) => 1,
            AppraisalError::AttestationKey(_) => 2,
            AppraisalError::EndorsementMissing
            | AppraisalError::NotEnrolled { .. }
            | AppraisalError::EnrolsAnotherKey
            | AppraisalError::EnrolmentSigner
            | AppraisalError::NotActivated
            | AppraisalError::ActivationPurpose => 3,
            AppraisalError::EndorsementKey
            | AppraisalError::Certificate
            | AppraisalError::CertificateKey
            | AppraisalError::Chain(_)
            | AppraisalError::EndorsementKeyNotListed(_)
            | AppraisalError::SoftwareTpmNotListed => 4,
            AppraisalError::Tier { .. } => 5,
            AppraisalError::SignatureScheme | AppraisalError::Signature => 6,
            AppraisalError::NotGenerated(_) | AppraisalError::NotQuote(_) => 7,
            AppraisalError::Binding => 8,
            AppraisalError::Restarted { .. } | AppraisalError::ClockNotSafe => 9,
            AppraisalError::Sha1Only | AppraisalError::BankNotQuoted(_) | AppraisalError::PcrNotQuoted(_) => 10,
            AppraisalError::PcrValueMissing { .. }
            | AppraisalError::PcrValueUnexpected { .. }
            | AppraisalError::PcrDigest => 11,
            AppraisalError::LegacyLog | AppraisalError::Replay(_) | AppraisalError::ReplayMismatch(_) => 12,
            AppraisalError::EventData(_) => 13,
            AppraisalError::ReferenceValue { .. } => 14,
            AppraisalError::ForeignEvent { .. }
            | AppraisalError::EventNotMeasured { .. }
            | AppraisalError::EventOrder { .. }
            | AppraisalError::NotReady(_)
            | AppraisalError::RoleMissing
            | AppraisalError::Role { .. }
            | AppraisalError::RoleBinary(_)
            | AppraisalError::RunSalt
            | AppraisalError::RunNotMeasured => 15,
            AppraisalError::HardwareMissing
            | AppraisalError::HardwareUnexpected
            | AppraisalError::HardwareNotListed(_)
            | AppraisalError::Hardware(_)
            | AppraisalError::HardwareUnfit(_) => 16,
        }
    }

    /// The word for the step that failed: all that an Attester is told.
    pub const fn code(&self) -> &'static str {
        match self.step() {
            1 => "evidence-malformed",
            2 => "attestation-key-unfit",
            3 => "attestation-key-not-enrolled",
            4 => "endorsement-refused",
            5 => "tier-too-low",
            6 => "signature-invalid",
            7 => "not-a-quote",
            8 => "not-bound",
            9 => "re-enrol",
            10 => "selection-insufficient",
            11 => "registers-mismatch",
            12 => "replay-mismatch",
            13 => "event-data-mismatch",
            14 => "measurement-refused",
            15 => "history-refused",
            _ => "hardware-refused",
        }
    }
}

impl From<FormatError> for AppraisalError {
    fn from(error: FormatError) -> AppraisalError {
        AppraisalError::Malformed(error)
    }
}
