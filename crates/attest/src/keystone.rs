//! Keystone on RISC-V: enclave reports signed by a security monitor that its device signs.
//!
//! A report is `report_t` of the Keystone SDK, 1,352 bytes, little-endian: the enclave's part (SHA3-512 measurement, length of the data, 1,024
//! bytes for it, Ed25519 signature of the monitor's key), the monitor's part (measurement, key, signature of the device's key), and
//! the device's key. The device's key inside the report proves nothing: it must be one that the caller pins. The monitor signs the
//! data only as far as its length says, so the rest must be zero. There are no certificates, no times, no revocation and no debug state
//! in this format; who pins a device's key vouches for the device.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use jiff::Timestamp;

use crate::{
    Tier,
    platform::{Assurance, Genuine, Platform, Refusal, Steps, claim, claim_hex, register},
    reader::{FormatError, Reader},
};

/// Why a Keystone report is refused. Numbers are the steps of `docs/spec/platforms/keystone.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeystoneError {
    /// Step 1.
    #[error("the report cannot be read")]
    Malformed(#[source] FormatError),
    /// Step 1: bytes after the data that nobody signed.
    #[error("the report has bytes after its data that are not zero and that nobody signed")]
    UnsignedData,
    /// Step 2.
    #[error("the report's device key is not one that is pinned")]
    DeviceKey,
    /// Step 3.
    #[error("the device's signature of the security monitor does not verify")]
    MonitorSignature,
    /// Step 4.
    #[error("the security monitor's signature of the enclave does not verify")]
    EnclaveSignature,
}

impl Refusal for KeystoneError {
    fn step(&self) -> u8 {
        match self {
            KeystoneError::Malformed(_) | KeystoneError::UnsignedData => 1,
            KeystoneError::DeviceKey => 2,
            KeystoneError::MonitorSignature => 3,
            KeystoneError::EnclaveSignature => 4,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            KeystoneError::Malformed(_) => "report-malformed",
            KeystoneError::UnsignedData => "unsigned-data",
            KeystoneError::DeviceKey => "device-key-not-trusted",
            KeystoneError::MonitorSignature => "monitor-signature-invalid",
            KeystoneError::EnclaveSignature => "enclave-signature-invalid",
        }
    }

    fn is_malformed(&self) -> bool {
        self.step() == 1
    }
}

impl From<FormatError> for KeystoneError {
    fn from(error: FormatError) -> KeystoneError {
        KeystoneError::Malformed(error)
    }
}

/// Examines a report. `devices` are the Ed25519 keys that are pinned.
///
/// # Errors
/// The first step that fails.
pub fn examine(report: &[u8], devices: &[[u8; 32]], now: Timestamp) -> Result<Genuine, KeystoneError> {
    let mut steps = Steps::default();
    let report = Report::parse(report)?;
    steps.pass(1, "the report is 1,352 bytes and holds nothing beside its data");
    if !devices.contains(&report.device_key) {
        return Err(KeystoneError::DeviceKey);
    }
    steps.pass(2, "the device's key is pinned");
    let monitor = [report.monitor_hash.as_slice(), report.monitor_key.as_slice()].concat();
    if !verifies(&report.device_key, &monitor, &report.monitor_signature) {
        return Err(KeystoneError::MonitorSignature);
    }
    steps.pass(3, "the device signed the security monitor's measurement and key");
    let size = (report.data.len() as u64).to_le_bytes();
    let enclave = [report.enclave_hash.as_slice(), &size, report.data].concat();
    if !verifies(&report.monitor_key, &enclave, &report.enclave_signature) {
        return Err(KeystoneError::EnclaveSignature);
    }
    steps.pass(4, "the security monitor signed the enclave's measurement and data");
    Ok(Genuine {
        platform: Platform::Keystone,
        assurance: Assurance::Affirmed,
        tier: Tier::Tpm,
        debug: false,
        bound: report.data.to_vec(),
        hardware_id: Some(hex::encode(report.device_key)),
        registers: vec![register("enclave_hash", &report.enclave_hash), register("sm_hash", &report.monitor_hash)],
        claims: vec![
            claim_hex("enclave_hash", &report.enclave_hash, "SHA3-512 of the enclave as it was started"),
            claim_hex(
                "sm_hash",
                &report.monitor_hash,
                "SHA3-512 of the security monitor, which is trusted with everything",
            ),
            claim_hex("sm_pubkey", &report.monitor_key, "the monitor's key of this boot"),
            claim_hex("data", report.data, "what the enclave put into its report"),
            claim("data_len", report.data.len(), "how many bytes of it"),
        ],
        steps: steps.done(),
        examined_at: now,
    })
}

struct Report<'a> {
    enclave_hash: [u8; 64],
    data: &'a [u8],
    enclave_signature: [u8; 64],
    monitor_hash: [u8; 64],
    monitor_key: [u8; 32],
    monitor_signature: [u8; 64],
    device_key: [u8; 32],
}

impl<'a> Report<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Report<'a>, KeystoneError> {
        let mut reader = Reader::new("Keystone report", bytes);
        let enclave_hash = reader.array()?;
        let size = u64::from_le_bytes(reader.array()?);
        let room = reader.take(MAX_DATA)?;
        let data = usize::try_from(size).ok().and_then(|size| room.split_at_checked(size));
        let (data, rest) = data.ok_or_else(|| reader.refuse("data length", size))?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(KeystoneError::UnsignedData);
        }
        let report = Report {
            enclave_hash,
            data,
            enclave_signature: reader.array()?,
            monitor_hash: reader.array()?,
            monitor_key: reader.array()?,
            monitor_signature: reader.array()?,
            device_key: reader.array()?,
        };
        reader.finish()?;
        Ok(report)
    }
}

fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

const MAX_DATA: usize = 1024;
