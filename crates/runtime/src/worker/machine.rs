//! The machine that the worker runs on: its TPM, its keys, and the Evidence it can give.

use std::{fs, io, path::Path};

use attest::{HashAlgorithm, event_log::EventLog};
use envelope::{SigningKey, wrap::DecapsulationKey};
use jiff::Timestamp;
use tpm::{Attester, AttesterError, KeyKind, PcrSelection, SavedKey, Tpm, TpmError};
use wire::channel::{ChannelError, LeafIdentity};

use super::{
    Config,
    hardware::{Hardware, HardwareError},
};

/// A machine that can attest, with keys that live as long as its process.
pub struct Machine {
    pub(super) attester: Attester,
    pub(super) hardware: Option<Hardware>,
    pub(super) issuers: Vec<Vec<u8>>,
    pub(super) signing: SigningKey,
    pub(super) decapsulation: DecapsulationKey,
    pub(super) leaf: LeafIdentity,
}

/// Why a machine cannot attest.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file cannot be read or written.
    #[error("`{path}` cannot be used: {reason}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The event log is none.
    #[error("`{0}` is not a TCG event log\nhint: give the log that the launcher wrote when it started this role")]
    EventLog(String),
    /// The saved attestation key cannot be read.
    #[error("`{0}` is not a saved attestation key\nhint: remove it to make a new key, which must then be enrolled")]
    SavedKey(String),
    /// The TPM failed.
    #[error("the TPM cannot be used")]
    Tpm(#[from] TpmError),
    /// The machine cannot attest.
    #[error("the machine cannot attest")]
    Attester(#[from] AttesterError),
    /// The hardware beneath.
    #[error("the confidential hardware cannot be used")]
    Hardware(#[from] HardwareError),
    /// No channel identity.
    #[error("no channel identity could be made")]
    Channel(#[from] ChannelError),
    /// The selection of registers.
    #[error("the registers cannot be selected")]
    Selection,
}

impl Machine {
    /// Opens the TPM, loads or makes the attestation key, and draws the keys of this process.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn open(config: &Config) -> Result<Machine, MachineError> {
        let mut tpm = Tpm::open(&config.tpm)?;
        let log = EventLog::parse(&read(&config.event_log)?)
            .map_err(|_| MachineError::EventLog(config.event_log.display().to_string()))?;
        fs::create_dir_all(&config.state).map_err(|error| file(&config.state, &error))?;
        let key = attestation_key(&mut tpm, &config.state.join("attestation-key.json"))?;
        let registers: Vec<u8> = (0..=15).collect();
        let selection = PcrSelection::of(HashAlgorithm::Sha256, &registers).map_err(|_| MachineError::Selection)?;
        let attester = Attester::new(tpm, key, log, selection)?;
        let signing = SigningKey::generate();
        let leaf = LeafIdentity::worker(&signing, Timestamp::now())?;
        let issuers = config.issuers.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        let hardware = config.hardware.as_ref().map(Hardware::open).transpose()?;
        Ok(Machine { attester, hardware, issuers, signing, decapsulation: DecapsulationKey::generate(), leaf })
    }
}

fn attestation_key(tpm: &mut Tpm, path: &Path) -> Result<tpm::AttestationKey, MachineError> {
    let text = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => {
            let saved: SavedKey = serde_json::from_slice(&bytes).map_err(|_| MachineError::SavedKey(text))?;
            Ok(tpm.load(&saved)?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = tpm.attestation_key(KeyKind::EccP256)?;
            let bytes = serde_json::to_vec(key.saved()).map_err(|_| MachineError::SavedKey(text))?;
            write_new(path, &bytes).map_err(|error| file(path, &error))?;
            Ok(key)
        }
        Err(error) => Err(file(path, &error)),
    }
}

/// Whole or not at all: a temporary file, synced, renamed.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let temporary = path.with_extension("new");
    let mut out = fs::File::create(&temporary)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&temporary, path)
}

fn read(path: &Path) -> Result<Vec<u8>, MachineError> {
    fs::read(path).map_err(|error| file(path, &error))
}

fn file(path: &Path, error: &io::Error) -> MachineError {
    MachineError::File { path: path.display().to_string(), reason: error.to_string() }
}
