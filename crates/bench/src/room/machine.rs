//! A worker or broker machine: a software TPM into which a role's binary was measured.

use std::path::{Path, PathBuf};

use attest::{
    HashAlgorithm,
    event_log::EventLog,
    events::RoleName,
    tpm::{EkPublic, TpmPublic},
};
use envelope::Digest;
use tpm::{Address, Attester, KeyKind, PcrSelection, SoftwareTpm, Tpm, measure};

use crate::Failure;

/// A machine; its TPM ends with it.
pub struct Machine {
    endorsement_key: Digest,
    event_log: PathBuf,
    tpm: SoftwareTpm,
}

impl Machine {
    /// Makes a TPM under an authority, starts it and measures a role's binary.
    ///
    /// # Errors
    /// When swtpm is missing or fails.
    pub fn launch(folder: &Path, authority: &Path, role: &str, binary: &Digest) -> Result<Machine, Failure> {
        std::fs::create_dir_all(folder)?;
        let state = folder.join("tpm");
        SoftwareTpm::provision(&state, authority)?;
        let software = SoftwareTpm::start(&state)?;
        let mut tpm = Tpm::open(&software.address())?;
        let endorsement = tpm.endorsement_key()?;
        let endorsement = TpmPublic::parse(&endorsement.public).ok().and_then(EkPublic::new);
        let endorsement_key = endorsement.ok_or("the endorsement key cannot be read")?.digest();
        let log = measure::launch(&mut tpm, &RoleName::try_from(role)?, binary)?;
        let event_log = folder.join("event-log");
        std::fs::write(&event_log, log.encode())?;
        Ok(Machine { endorsement_key, event_log, tpm: software })
    }

    /// SHA-256 of the endorsement key's SubjectPublicKeyInfo.
    pub const fn endorsement_key(&self) -> &Digest {
        &self.endorsement_key
    }

    /// Where the launcher's event log lies.
    pub fn event_log(&self) -> &Path {
        &self.event_log
    }

    /// Where the TPM listens. It serves one connection at a time.
    pub fn address(&self) -> Address {
        self.tpm.address()
    }

    /// The machine's voice, with a new attestation key, as a worker opens it.
    ///
    /// # Errors
    /// What the TPM meets.
    pub fn attester(&self) -> Result<Attester, Failure> {
        let mut tpm = Tpm::open(&self.address())?;
        let log = EventLog::parse(&std::fs::read(&self.event_log)?)?;
        let key = tpm.attestation_key(KeyKind::EccP256)?;
        let registers: Vec<u8> = (0..=15).collect();
        let selection = PcrSelection::of(HashAlgorithm::Sha256, &registers)?;
        Ok(Attester::new(tpm, key, log, selection)?)
    }
}
