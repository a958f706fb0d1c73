//! Who the broker is: a TPM that attests for it, and keys that only this program on this TPM can use.
//!
//! Two random keys are sealed to the TPM under the register of the role: the store's key and the log's seed. The others (signing
//! seed, encapsulation seed, attestation key) lie in the store. So another program on this machine, or this program on another,
//! gets nothing; a changed binary is another program, and gets its keys only by succession.
//!
//! Deliberately absent: protection against the return of an older state directory, for which sealing is no remedy; the log's
//! heads are.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use attest::{
    Evidence, HashAlgorithm,
    binding::{Binding, ChannelKeys},
    credential::MadeCredential,
    event_log::EventLog,
    events::ROLE_PCR,
};
use envelope::{PublicKey, SigningKey, text::Bytes, text::Bytes32, wrap::DecapsulationKey};
use jiff::Timestamp;
use tlog::{LogKey, LogSigner};
use tpm::{Address, Attester, KeyKind, PcrSelection, SavedKey, SealedBlob, Tpm};
use wire::messages::BrokerDescription;
use zeroize::Zeroizing;

use crate::{
    records::{Records as _, table},
    service::Storage,
    store::{Store, StoreError, StoreKey},
};

/// Where the broker finds its machine and its state.
#[derive(Debug, Clone)]
pub struct Place {
    /// The TPM.
    pub tpm: Address,
    /// The event log that the launcher wrote (TCG crypto-agile).
    pub event_log: PathBuf,
    /// The directory of its state; made at the first start.
    pub state: PathBuf,
    /// Certificates (DER) between the endorsement key's and a root.
    pub issuers: Vec<PathBuf>,
}

/// The broker's own keys.
pub(crate) struct Keys {
    pub(crate) signing: SigningKey,
    pub(crate) public: PublicKey,
    pub(crate) encapsulation: DecapsulationKey,
    pub(crate) log: LogKey,
}

/// The TPM with the broker's attestation key in it.
pub(crate) struct Machine {
    attester: Attester,
    issuers: Vec<Vec<u8>>,
}

/// Why the broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another broker uses the state directory.
    #[error(
        "another broker uses the state directory `{0}`\nhint: stop it first, or give this broker a directory of its own"
    )]
    InUse(PathBuf),
    /// A file or directory cannot be used.
    #[error("`{path}` cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The event log is none.
    #[error("the event log `{path}` cannot be read\nhint: the launcher writes it before it starts the broker")]
    EventLog {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: attest::FormatError,
    },
    /// The TPM.
    #[error("the TPM at `{address}` does not serve")]
    Tpm {
        /// Where.
        address: Address,
        /// Why.
        #[source]
        error: Box<tpm::AttesterError>,
    },
    /// The state was sealed by another program or another TPM.
    #[error(
        "the state in `{path}` does not open for this program on this TPM\nhint: it was sealed by another version of the program or on another machine; start that one, or begin with an empty directory"
    )]
    Sealed {
        /// The state directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: Box<tpm::AttesterError>,
    },
    /// The state directory lacks a part.
    #[error("the state in `{path}` is incomplete: {what}")]
    Incomplete {
        /// The state directory.
        path: PathBuf,
        /// What is missing or unreadable.
        what: &'static str,
    },
    /// The store.
    #[error("the store cannot be served")]
    Store(#[from] StoreError),
    /// The channel.
    #[error("the channel cannot be set up")]
    Channel(#[from] wire::channel::ChannelError),
}

/// Everything that is there once the state is open. The lock on the directory lives as long as the broker.
pub(crate) struct Opened {
    pub(crate) keys: Keys,
    pub(crate) machine: Machine,
    pub(crate) store: Store,
    pub(crate) lock: File,
}

/// Opens the TPM and the state, making what is missing at the first start.
pub(crate) fn open(place: &Place, storage: &Storage) -> Result<Opened, StartError> {
    let lock = lock(&place.state)?;
    let tpm_error = |error| StartError::Tpm { address: place.tpm.clone(), error: Box::new(error) };
    let mut tpm = Tpm::open(&place.tpm).map_err(|error| tpm_error(error.into()))?;
    let log = read_event_log(&place.event_log)?;
    let secret = state_secret(&mut tpm, &place.state)?;
    let (store_key, log_seed) = secret.split_at_checked(32).ok_or_else(|| incomplete(place, "the sealed key"))?;
    let bytes = |half: &[u8]| <[u8; 32]>::try_from(half).map_err(|_| incomplete(place, "the sealed key"));
    let log_signer = log_signer(&Zeroizing::new(bytes(log_seed)?))?;
    let log_key = log_signer.key().clone();
    let path = place.state.join(STORE_FILE);
    let key = StoreKey::from_bytes(bytes(store_key)?);
    let store = match storage {
        Storage::Own(open) => open(&key, log_signer)?,
        Storage::File => match Store::open(&path, &key, log_signer.clone()) {
            Err(StoreError::Missing(_)) => Store::create(&path, &key, log_signer)?,
            opened => opened?,
        },
    };
    let signing = SigningKey::from_seed(&*seed(&store, SIGNING)?);
    let encapsulation = DecapsulationKey::from_seed(&*seed(&store, ENCAPSULATION)?);
    let attestation = attestation_key(&mut tpm, &store).map_err(|error| match error {
        AkError::Tpm(error) => tpm_error(error.into()),
        AkError::Store(error) => StartError::Store(error),
    })?;
    let selection = selection(&mut tpm).map_err(|error| tpm_error(error.into()))?;
    let attester = Attester::new(tpm, attestation, log, selection).map_err(tpm_error)?;
    let issuers = place.issuers.iter().map(|path| fs::read(path).map_err(file(path))).collect::<Result<_, _>>()?;
    let public = signing.public();
    let keys = Keys { signing, public, encapsulation, log: log_key };
    Ok(Opened { keys, machine: Machine { attester, issuers }, store, lock })
}

impl Keys {
    /// What the broker binds its Evidence to, on a connection whose leaf has this key.
    pub(crate) fn channel(&self, leaf: &[u8]) -> ChannelKeys {
        ChannelKeys {
            channel: leaf.to_vec(),
            encapsulation: self.encapsulation.public().as_bytes().to_vec(),
            signing: *self.public.as_bytes(),
        }
    }

    /// The broker's description; its clock is told as it is.
    pub(crate) fn describe(&self, machine: &Machine, time: Timestamp) -> BrokerDescription {
        let claim = machine.attester.key_claim(&machine.issuers);
        BrokerDescription {
            key: self.public,
            log: self.log.to_string(),
            encapsulation: self.encapsulation.public().clone(),
            ak_public: claim.ak_public,
            ek_public: claim.ek_public,
            ek_chain: claim.ek_certificates,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time,
        }
    }
}

impl Machine {
    /// Evidence for one use. Blocks while the TPM works.
    pub(crate) fn evidence(&self, binding: &Binding) -> Result<Evidence, tpm::AttesterError> {
        self.attester.evidence(binding)
    }

    /// Opens a credential made for this TPM and this attestation key. Blocks while the TPM works.
    pub(crate) fn activate(
        &self,
        id_object: &Bytes,
        encrypted_secret: &Bytes,
    ) -> Result<Zeroizing<Vec<u8>>, tpm::AttesterError> {
        let made = MadeCredential { id_object: id_object.clone(), encrypted_secret: encrypted_secret.clone() };
        self.attester.activate(&made)
    }
}

/// One process per state directory, also where the store is not there yet.
fn lock(state: &Path) -> Result<File, StartError> {
    fs::create_dir_all(state).map_err(file(state))?;
    let path = state.join(LOCK_FILE);
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(file(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(state.to_owned())),
        Err(TryLockError::Error(error)) => Err(StartError::File { path, error }),
    }
}

fn read_event_log(path: &Path) -> Result<EventLog, StartError> {
    let bytes = fs::read(path).map_err(file(path))?;
    EventLog::parse(&bytes).map_err(|error| StartError::EventLog { path: path.to_owned(), error })
}

/// 64 bytes: the store's key, then the log's seed.
fn state_secret(tpm: &mut Tpm, state: &Path) -> Result<Zeroizing<Vec<u8>>, StartError> {
    let path = state.join(SEALED_FILE);
    let sealed = |error: tpm::TpmError| StartError::Sealed { path: state.to_owned(), error: Box::new(error.into()) };
    let incomplete = |what| StartError::Incomplete { path: state.to_owned(), what };
    if path.exists() {
        let bytes = fs::read(&path).map_err(file(&path))?;
        let blob: SealedBlob = serde_json::from_slice(&bytes).map_err(|_| incomplete("the sealed key is damaged"))?;
        return tpm.unseal(&blob).map_err(sealed);
    }
    if state.join(STORE_FILE).exists() {
        return Err(incomplete("the sealed key is missing"));
    }
    let secret = Zeroizing::new([Bytes32::random().0, Bytes32::random().0].concat());
    let registers = role_register(tpm).map_err(sealed)?;
    let blob = tpm.seal(&secret, &registers).map_err(sealed)?;
    let bytes = serde_json::to_vec(&blob).map_err(|_| incomplete("the sealed key cannot be written"))?;
    write_atomically(&path, &bytes)?;
    Ok(secret)
}

fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StartError> {
    let unfinished = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(file(path))
}

fn log_signer(seed: &[u8; 32]) -> Result<LogSigner, StartError> {
    let secret = ed25519_dalek::SigningKey::from_bytes(seed);
    let name: String = secret.verifying_key().to_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    LogSigner::new(&format!("glovebox.internal/log/{name}"), secret).map_err(|error| StartError::Store(error.into()))
}

/// A seed of the store, drawn at the first start.
fn seed(store: &Store, name: &'static [u8]) -> Result<Zeroizing<[u8; 32]>, StartError> {
    let stored = store.commit_blocking(move |tx| -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if let Some(stored) = tx.get(table::KEYS, name)? {
            return Ok(Zeroizing::new(stored.record));
        }
        let seed = Zeroizing::new(Bytes32::random().0.to_vec());
        tx.put(table::KEYS, name, &seed)?;
        Ok(seed)
    })?;
    let seed: [u8; 32] =
        stored.as_slice().try_into().map_err(|_| StoreError::Altered(table::KEYS.name().to_owned()))?;
    Ok(Zeroizing::new(seed))
}

enum AkError {
    Tpm(tpm::TpmError),
    Store(StoreError),
}

/// The attestation key, made at the first start and kept: parties' consents name it.
fn attestation_key(tpm: &mut Tpm, store: &Store) -> Result<tpm::AttestationKey, AkError> {
    if let Some((saved, _)) = store.read::<SavedKey>(table::KEYS, ATTESTATION).map_err(AkError::Store)? {
        return tpm.load(&saved).map_err(AkError::Tpm);
    }
    let key = tpm.attestation_key(KeyKind::default()).map_err(AkError::Tpm)?;
    let saved = key.saved().clone();
    store
        .commit_blocking(move |tx| crate::records::put(tx, table::KEYS, ATTESTATION, &saved))
        .map_err(AkError::Store)?;
    Ok(key)
}

/// Everything that firmware, launchers and roles measure, in each bank that is good for anything.
fn selection(tpm: &mut Tpm) -> Result<PcrSelection, tpm::TpmError> {
    let indices: Vec<u8> = (0..16).collect();
    select(tpm, &indices)
}

fn role_register(tpm: &mut Tpm) -> Result<PcrSelection, tpm::TpmError> {
    select(tpm, &[ROLE_PCR])
}

fn select(tpm: &mut Tpm, indices: &[u8]) -> Result<PcrSelection, tpm::TpmError> {
    let sha256 = HashAlgorithm::Sha256;
    let mut selection = PcrSelection::of(sha256, indices).ok();
    for bank in tpm.banks()? {
        if bank != HashAlgorithm::Sha1 && bank != sha256 {
            selection = selection.and_then(|selection| selection.and(bank, indices).ok());
        }
    }
    selection.ok_or(tpm::TpmError::InactiveBank { bank: sha256, index: ROLE_PCR })
}

fn incomplete(place: &Place, what: &'static str) -> StartError {
    StartError::Incomplete { path: place.state.clone(), what }
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> StartError {
    let path = path.to_owned();
    move |error| StartError::File { path, error }
}

const STORE_FILE: &str = "broker.redb";
const SEALED_FILE: &str = "state-key.json";
const LOCK_FILE: &str = "lock";
const SIGNING: &[u8] = b"signing";
const ENCAPSULATION: &[u8] = b"encapsulation";
const ATTESTATION: &[u8] = b"attestation";
