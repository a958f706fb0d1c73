//! Why a device's Evidence is refused.

use super::{ManifestOf, RevocationError, RimError};
use crate::{
    certificate::{CertificateFault, ChainError},
    platform::Refusal,
    reader::FormatError,
};

/// One variant per check of `docs/spec/platforms/nvidia.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NvidiaError {
    /// Step 1: the report.
    #[error("the report cannot be read")]
    Report(#[source] FormatError),
    /// Step 2: a certificate.
    #[error("the device's certificates cannot be read")]
    Certificate(#[source] CertificateFault),
    /// Step 2: the chain.
    #[error("the device's certificates do not lead to the pinned root")]
    Chain(#[source] ChainError),
    /// Step 2: fewer certificates than a device has.
    #[error("the chain has no certificate of the device itself between its firmware's and its maker's")]
    ChainTooShort,
    /// Step 2: a certificate was taken back, or what is said of that cannot be used.
    #[error("the device's certificates do not all stand")]
    Revocation(#[source] RevocationError),
    /// Step 3: no name of a known chip.
    #[error("the certificate is of no known chip: `{0}`")]
    UnknownDevice(String),
    /// Step 3: no number of the chip.
    #[error("the device's certificate has no number of the chip")]
    ChipId,
    /// Step 3: another kind of device than expected.
    #[error("the report is of the {actual}; expected is a {expected}")]
    OtherDevice {
        /// `GPU` or `switch`.
        expected: &'static str,
        /// The model.
        actual: String,
    },
    /// Step 5: a switch that gives another number than its certificate.
    #[error("the report names another chip than the certificate")]
    OtherChip,
    /// Step 4: the signature.
    #[error("the report's signature does not verify under the device's key")]
    Signature,
    /// Step 5: the certificate does not tell the firmware.
    #[error("the certificate does not say which firmware holds its key")]
    FwidMissing,
    /// Step 5: it tells it in a form that is not known.
    #[error("what the certificate says of the firmware cannot be read")]
    DiceExtension,
    /// Step 5: the report tells another.
    #[error("the report names another firmware than the certificate")]
    FwidMismatch,
    /// Step 6: the firmware is not for production.
    #[error("the certificate calls the firmware debug, recovery or not secure (flags {0:#010x})")]
    DebugFirmware(u32),
    /// Step 6: a state that is not known, or states that contradict one another.
    #[error("the device's mode is not one that is accepted")]
    Mode(#[source] FormatError),
    /// Step 6: the mode and the fabric contradict one another.
    #[error("the device says that it is in the mode `{0}`, and its protected-PCIe status says otherwise")]
    ModeContradicts(&'static str),
    /// Step 7: a manifest.
    #[error("a manifest of Reference Values is refused")]
    Rim(#[source] RimError),
    /// Step 7: nothing to compare with.
    #[error("there is no manifest to compare the measurements with")]
    NoManifest,
    /// Step 7: two manifests claim the same measurement.
    #[error("two manifests have Reference Values for the measurement {0}")]
    ManifestConflict(usize),
    /// Step 7: a measurement.
    #[error("the measurement {index} is `{actual}`, which the manifest does not list")]
    Measurement {
        /// Counted from 1, as the device does.
        index: usize,
        /// Its value, hexadecimal.
        actual: String,
    },
    /// Step 7: a measurement that the device did not send.
    #[error("the manifest has Reference Values for the measurement {0}, which the report does not have")]
    MeasurementMissing(usize),
    /// Step 7: all agrees, but the manifest is for something else.
    #[error("the manifest is for `{manifest}`; the device is `{device}`")]
    ManifestForOther {
        /// What the manifest is for: product and version.
        manifest: String,
        /// What the device says of itself.
        device: String,
    },
    /// Step 7: two manifests for the same part of the device.
    #[error("two manifests are for the device's {}", .0.name())]
    ManifestTwice(ManifestOf),
    /// Step 7: all agrees, and a part of the device was compared with nothing.
    #[error("no manifest is for the device's {}", .0.name())]
    ManifestMissing(ManifestOf),
}

impl Refusal for NvidiaError {
    fn step(&self) -> u8 {
        match self {
            NvidiaError::Report(_) => 1,
            NvidiaError::Certificate(_)
            | NvidiaError::Chain(_)
            | NvidiaError::ChainTooShort
            | NvidiaError::Revocation(_) => 2,
            NvidiaError::UnknownDevice(_) | NvidiaError::ChipId | NvidiaError::OtherDevice { .. } => 3,
            NvidiaError::Signature => 4,
            NvidiaError::FwidMissing
            | NvidiaError::DiceExtension
            | NvidiaError::FwidMismatch
            | NvidiaError::OtherChip => 5,
            NvidiaError::DebugFirmware(_) | NvidiaError::Mode(_) | NvidiaError::ModeContradicts(_) => 6,
            NvidiaError::Rim(_)
            | NvidiaError::NoManifest
            | NvidiaError::ManifestConflict(_)
            | NvidiaError::Measurement { .. }
            | NvidiaError::MeasurementMissing(_)
            | NvidiaError::ManifestForOther { .. }
            | NvidiaError::ManifestTwice(_)
            | NvidiaError::ManifestMissing(_) => 7,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            NvidiaError::Report(FormatError::Truncated { .. }) => "report-truncated",
            NvidiaError::Report(FormatError::Trailing { .. }) => "report-trailing-bytes",
            NvidiaError::Report(FormatError::TooLarge { .. }) => "report-too-large",
            NvidiaError::Report(FormatError::Value { .. }) => "report-malformed",
            NvidiaError::Certificate(_) => "certificate-malformed",
            NvidiaError::Chain(error) => match error.fault {
                CertificateFault::Expired => "certificate-expired",
                CertificateFault::NotYetValid => "certificate-not-yet-valid",
                CertificateFault::Untrusted => "root-not-trusted",
                CertificateFault::Malformed
                | CertificateFault::CriticalExtension
                | CertificateFault::NotAuthority
                | CertificateFault::Issuer
                | CertificateFault::Signature
                | CertificateFault::Algorithm
                | CertificateFault::Revoked => "chain-invalid",
            },
            NvidiaError::ChainTooShort => "chain-too-short",
            NvidiaError::Revocation(error) => match error {
                RevocationError::List(CertificateFault::Expired)
                | RevocationError::Response(CertificateFault::Expired) => "revocation-stale",
                RevocationError::List(_) => "revocation-list-invalid",
                RevocationError::Response(_) => "ocsp-response-invalid",
                RevocationError::Unknown(_) => "ocsp-unknown",
                RevocationError::Revoked(_) => "certificate-revoked",
            },
            NvidiaError::UnknownDevice(_) => "device-unknown",
            NvidiaError::ChipId => "chip-id-missing",
            NvidiaError::OtherDevice { .. } => "device-other",
            NvidiaError::OtherChip => "chip-id-mismatch",
            NvidiaError::Signature => "report-signature-invalid",
            NvidiaError::FwidMissing => "fwid-missing",
            NvidiaError::DiceExtension => "fwid-malformed",
            NvidiaError::FwidMismatch => "fwid-mismatch",
            NvidiaError::DebugFirmware(_) => "debug-firmware",
            NvidiaError::Mode(_) => "mode-unknown",
            NvidiaError::ModeContradicts(_) => "mode-contradicts",
            NvidiaError::Rim(error) => error.code(),
            NvidiaError::NoManifest | NvidiaError::ManifestMissing(_) => "rim-missing",
            NvidiaError::ManifestConflict(_) | NvidiaError::ManifestTwice(_) => "rim-conflict",
            NvidiaError::Measurement { .. } => "measurement-mismatch",
            NvidiaError::MeasurementMissing(_) => "measurement-missing",
            NvidiaError::ManifestForOther { .. } => "rim-version-mismatch",
        }
    }

    fn is_malformed(&self) -> bool {
        match self {
            NvidiaError::Report(_) | NvidiaError::Certificate(_) => true,
            NvidiaError::Rim(error) => error.is_malformed(),
            _ => false,
        }
    }
}
