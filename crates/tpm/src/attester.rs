//! The Attester of a role: TPM, attestation key and event log behind one lock.
//!
//! Evidence is a statement about registers together with the log that explains them, so extending, quoting and copying
//! the log happen in one critical section. An Attester that lost track (a run's event may or may not have reached the TPM)
//! says so from then on instead of handing out Evidence that cannot replay; restarting the TPM mends it.
//!
//! Each run gets a salt of its own from the operating system, kept here for as long as the Attester lives, and only
//! Evidence for that very run discloses it. Deliberately absent: a way to reach the registers past the log, and the log's
//! survival of the role's end: a role that restarts is launched, and so measured, anew.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use attest::binding::Binding;
use attest::credential::MadeCredential;
use attest::event_log::EventLog;
use attest::events::Event;
use attest::tpm::KeyClaim;
use attest::{Evidence, HashAlgorithm, TpmEvidence};
use envelope::Digest;
use envelope::text::{Bytes, Bytes32};
use zeroize::Zeroizing;

use crate::error::TpmError;
use crate::keys::{AttestationKey, EndorsementKey};
use crate::measure;
use crate::pcr::PcrSelection;
use crate::seal::SealedBlob;
use crate::tpm::{Clock, Tpm};

/// A role's voice towards Relying Parties. Shared between threads; each call takes the lock.
pub struct Attester {
    state: Mutex<State>,
    endorsement: EndorsementKey,
    ak_public: Vec<u8>,
    selection: PcrSelection,
}

impl Attester {
    /// Takes a TPM, a key loaded in it, the log of this boot, and the registers that Evidence shows: at least those that
    /// the appraisal policy requires.
    ///
    /// # Errors
    /// [`AttesterError::LogMismatch`] when the log does not replay to the registers as they are; otherwise what the TPM
    /// meets.
    pub fn new(
        mut tpm: Tpm,
        key: AttestationKey,
        log: EventLog,
        selection: PcrSelection,
    ) -> Result<Attester, AttesterError> {
        let endorsement = tpm.endorsement_key()?;
        let ak_public = key.public().to_vec();
        for value in tpm.read_pcrs(&selection)? {
            let replayed = log.replay(value.bank).unwrap_or_default();
            if replayed.get(&value.index).is_some_and(|expected| *expected != value.value) {
                return Err(AttesterError::LogMismatch { bank: value.bank, index: value.index });
            }
        }
        let state = Mutex::new(State { tpm, key, log, runs: BTreeMap::new(), lost: false });
        Ok(Attester { state, endorsement, ak_public, selection })
    }

    /// Measures the beginning of a run; once, however often it is called for the same run.
    ///
    /// # Errors
    /// What the TPM meets; from then on [`AttesterError::HistoryLost`].
    pub fn extend_run(&self, run: &Digest) -> Result<(), AttesterError> {
        let mut guard = self.lock()?;
        let state = &mut *guard;
        if state.runs.contains_key(run) {
            return Ok(());
        }
        let salt = Bytes32::random();
        if let Err(error) = measure::extend(&mut state.tpm, &mut state.log, &Event::run(&salt.0, run)) {
            state.lost = true;
            return Err(error.into());
        }
        state.runs.insert(*run, salt);
        Ok(())
    }

    /// Evidence for one use, as `binding` describes it. When that speaks of a run, its salt is disclosed.
    ///
    /// # Errors
    /// [`AttesterError::RunNotMeasured`] when [`Attester::extend_run`] was not called for it; otherwise what the TPM meets.
    pub fn evidence(&self, binding: &Binding) -> Result<Evidence, AttesterError> {
        let mut guard = self.lock()?;
        let state = &mut *guard;
        let run_salt = match binding.purpose().run() {
            Some(run) => Some(*state.runs.get(run).ok_or(AttesterError::RunNotMeasured { run: *run })?),
            None => None,
        };
        // A kernel may extend registers of its own between the two commands; then both are asked again.
        for _ in 0..ATTEMPTS {
            let pcrs = state.tpm.read_pcrs(&self.selection)?;
            let quote = state.tpm.quote(&state.key, binding.sha256(), &self.selection)?;
            let values: Vec<&[u8]> = pcrs.iter().map(|pcr| pcr.value.as_slice()).collect();
            if quote.attest.ends_with(&HashAlgorithm::Sha256.hash(&values)) {
                return Ok(Evidence::Tpm(TpmEvidence {
                    ak_public: self.ak_public.clone(),
                    quote: quote.attest,
                    signature: quote.signature,
                    pcrs,
                    event_log: state.log.encode(),
                    run_salt,
                }));
            }
        }
        Err(AttesterError::Unsettled)
    }

    /// The keys as they are claimed for enrolment; `issuers` are the certificates between the endorsement key's and the
    /// root (DER).
    #[must_use]
    pub fn key_claim(&self, issuers: &[Vec<u8>]) -> KeyClaim {
        let certificates = self.endorsement.certificate.iter().chain(issuers);
        KeyClaim {
            ak_public: Bytes(self.ak_public.clone()),
            ek_public: Bytes(self.endorsement.public.clone()),
            ek_certificates: certificates.map(|der| Bytes(der.clone())).collect(),
        }
    }

    /// The endorsement key.
    #[must_use]
    pub fn endorsement_key(&self) -> &EndorsementKey {
        &self.endorsement
    }

    /// Opens the challenge that proves both keys to live in this TPM.
    ///
    /// # Errors
    /// [`TpmError::CredentialRefused`] when it was made for other keys; otherwise what the TPM meets.
    pub fn activate(&self, challenge: &MadeCredential) -> Result<Zeroizing<Vec<u8>>, AttesterError> {
        let mut guard = self.lock()?;
        let state = &mut *guard;
        let (object, secret) = (&challenge.id_object.0, &challenge.encrypted_secret.0);
        Ok(state.tpm.activate_credential(&self.endorsement, &state.key, object, secret)?)
    }

    /// As [`Tpm::seal`].
    ///
    /// # Errors
    /// As there.
    pub fn seal(&self, secret: &[u8], pcrs: &PcrSelection) -> Result<SealedBlob, AttesterError> {
        Ok(self.lock()?.tpm.seal(secret, pcrs)?)
    }

    /// As [`Tpm::unseal`].
    ///
    /// # Errors
    /// As there.
    pub fn unseal(&self, blob: &SealedBlob) -> Result<Zeroizing<Vec<u8>>, AttesterError> {
        Ok(self.lock()?.tpm.unseal(blob)?)
    }

    /// As [`Tpm::clock`].
    ///
    /// # Errors
    /// As there.
    pub fn clock(&self) -> Result<Clock, AttesterError> {
        Ok(self.lock()?.tpm.clock()?)
    }

    /// The event log so far (TCG crypto-agile format).
    ///
    /// # Errors
    /// [`AttesterError::HistoryLost`].
    pub fn event_log(&self) -> Result<Vec<u8>, AttesterError> {
        Ok(self.lock()?.log.encode())
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, AttesterError> {
        let guard = self.state.lock().map_err(|_: PoisonError<_>| AttesterError::HistoryLost)?;
        if guard.lost { Err(AttesterError::HistoryLost) } else { Ok(guard) }
    }
}

impl fmt::Debug for Attester {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Attester({})", self.selection)
    }
}

struct State {
    tpm: Tpm,
    key: AttestationKey,
    log: EventLog,
    runs: BTreeMap<Digest, Bytes32>,
    lost: bool,
}

/// Why an Attester has no Evidence to give.
#[derive(Debug, thiserror::Error)]
pub enum AttesterError {
    /// The TPM failed or refused.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The log is not the history of this TPM's registers.
    #[error("the event log does not explain PCR {index} of the {} bank\nhint: restart the TPM, so that the role is measured anew", .bank.name())]
    LogMismatch {
        /// The bank.
        bank: HashAlgorithm,
        /// The register.
        index: u8,
    },
    /// Evidence was asked for a run that was not measured.
    #[error("run `{run}` was not measured")]
    RunNotMeasured {
        /// The run.
        run: Digest,
    },
    /// A measurement broke off, and whether the TPM took it is unknown.
    #[error(
        "a measurement broke off, so that the event log may not be complete\nhint: restart the TPM, so that the role is measured anew"
    )]
    HistoryLost,
    /// Registers kept changing while they were read.
    #[error(
        "the PCRs keep changing while they are quoted\nhint: select registers that the system does not extend all the time"
    )]
    Unsettled,
}

/// Attempts to read and quote the same values.
const ATTEMPTS: usize = 5;
