//! The broker's durable state: one file of encrypted records, and the log.
//!
//! It decides when something has happened. A change ([`Tx`]) writes records and appends to the log; when
//! [`Store::commit`] returns, both are durable together, in a tree whose signed checkpoint is durable too. So an effect that was
//! acknowledged is in the log, an effect that could not be logged has not happened, and a crash at any point leaves
//! the state before or after a change and nothing between.
//!
//! The disk belongs to the operator, whom nobody trusts: records are sealed (`seal`), and on opening the whole state is
//! checked against its head (`check`). After a failure of the storage the store fences itself (`writer`).
//!
//! Deliberately absent: what the records mean (the broker's other modules), a clock (times are arguments), sealing of the
//! store's key (the TPM's business), and a defence against restoring the whole file as it was earlier: only witnesses and parties
//! who remember a later head can notice that, see [`Store::consistency`].

mod check;
mod error;
mod layout;
mod log;
mod seal;
mod tx;
mod writer;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use redb::{Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend};
use tlog::LogSigner;
use tokio::sync::{mpsc, oneshot};

pub use self::error::StoreError;
pub use self::layout::Table;
pub use self::log::{Proof, Proofs};
pub use self::seal::StoreKey;
pub use self::tx::Tx;

use self::error::{storage, unreadable};
use self::layout::{Head, RECORDS};
use self::seal::Sealer;

/// The broker's state. Share it in an `Arc`; dropping it waits for the writer to finish.
pub struct Store {
    shared: Arc<Shared>,
    jobs: Option<mpsc::Sender<Box<dyn writer::Job>>>,
    writer: Option<JoinHandle<()>>,
}

/// A record and its version.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Grows with every write to the store and never comes back, so that equal versions mean an unchanged record.
    pub version: u64,
    /// The record's bytes.
    pub record: Vec<u8>,
}

impl Store {
    /// Makes a new, empty store at `path`, readable by its owner only. A crash on the way leaves no store there.
    pub fn create(path: &Path, key: &StoreKey, signer: LogSigner) -> Result<Self, StoreError> {
        if path.exists() {
            return Err(StoreError::Exists(path.to_owned()));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        let failed = |error: std::io::Error| StoreError::Unreadable(format!("`{}`: {error}", path.display()));
        if unfinished.exists() {
            fs::remove_file(&unfinished).map_err(failed)?;
        }
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished).map_err(failed)?;
        let database = builder().create_file(file).map_err(|error| opening(error, path))?;
        let store = Self::create_in(database, key, signer)?;
        fs::rename(&unfinished, path).map_err(failed)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok(store)
    }

    /// Opens the store at `path`, which only one process can do at a time, and checks all of it.
    pub fn open(path: &Path, key: &StoreKey, signer: LogSigner) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let database = builder().open(path).map_err(|error| opening(error, path))?;
        Self::open_in(database, key, signer)
    }

    /// Makes a new store on a storage of the caller's own: memory, or one that fails on purpose.
    pub fn create_on(backend: impl StorageBackend, key: &StoreKey, signer: LogSigner) -> Result<Self, StoreError> {
        let database = builder().create_with_backend(backend).map_err(unreadable)?;
        Self::create_in(database, key, signer)
    }

    /// Opens and checks a store on a storage of the caller's own.
    pub fn open_on(backend: impl StorageBackend, key: &StoreKey, signer: LogSigner) -> Result<Self, StoreError> {
        let database = builder().create_with_backend(backend).map_err(unreadable)?;
        Self::open_in(database, key, signer)
    }

    /// Carries out a change. Returns when it is durable, together with whatever else its batch carried. A change whose caller stops
    /// waiting is carried out all the same.
    pub async fn commit<T, E, F>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_, '_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = job(change);
        let jobs = self.jobs.as_ref().ok_or(StoreError::Abandoned)?;
        jobs.send(job).await.map_err(|_| StoreError::Abandoned)?;
        answer.await.unwrap_or_else(|_| Err(E::from(StoreError::Abandoned)))
    }

    /// As [`Store::commit`], for threads outside an asynchronous runtime.
    pub fn commit_blocking<T, E, F>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_, '_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = job(change);
        let jobs = self.jobs.as_ref().ok_or(StoreError::Abandoned)?;
        jobs.blocking_send(job).map_err(|_| StoreError::Abandoned)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(E::from(StoreError::Abandoned)))
    }

    /// Reads a record as of the last durable commit.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        let row = layout::row(table, key);
        self.read(|transaction| {
            let records = transaction.open_table(RECORDS).map_err(storage)?;
            let Some(sealed) = records.get(row.as_slice()).map_err(storage)? else { return Ok(None) };
            Stored::open(&self.shared.sealer, table, &row, sealed.value()).map(Some)
        })
    }

    /// The records of a table whose keys begin with `prefix`, in the order of their keys, at most `limit`, as of the last durable
    /// commit.
    pub fn scan(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Stored)>, StoreError> {
        let start = layout::row(table, prefix);
        let skip = start.len() - prefix.len();
        let end = layout::after(&start);
        let bounds = (Bound::Included(start.as_slice()), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        self.read(|transaction| {
            let records = transaction.open_table(RECORDS).map_err(storage)?;
            let mut found = Vec::new();
            for record in records.range::<&[u8]>(bounds).map_err(storage)?.take(limit) {
                let (row, sealed) = record.map_err(storage)?;
                let stored = Stored::open(&self.shared.sealer, table, row.value(), sealed.value())?;
                found.push((row.value().get(skip..).unwrap_or_default().to_vec(), stored));
            }
            Ok(found)
        })
    }

    /// Whether the store still serves; the error says why not.
    pub fn alive(&self) -> Result<(), StoreError> {
        self.shared.alive()
    }

    fn create_in(database: Database, key: &StoreKey, signer: LogSigner) -> Result<Self, StoreError> {
        let sealer = Sealer::new(key)?;
        let mut transaction = database.begin_write().map_err(unreadable)?;
        transaction.set_two_phase_commit(true);
        tx::Batch::open(&transaction, &sealer, Head::EMPTY)?.write_head(&signer)?;
        transaction.commit().map_err(unreadable)?;
        Self::start(database, sealer, signer, Head::EMPTY)
    }

    fn open_in(database: Database, key: &StoreKey, signer: LogSigner) -> Result<Self, StoreError> {
        let sealer = Sealer::new(key)?;
        let head = check::check(&database, &sealer, signer.key())?;
        Self::start(database, sealer, signer, head)
    }

    fn start(database: Database, sealer: Sealer, signer: LogSigner, head: Head) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared { database, sealer, fenced: OnceLock::new() });
        let (jobs, queue) = mpsc::channel(QUEUE);
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("store writer".into())
            .spawn(move || writer::run(&for_writer, &signer, head, queue))
            .map_err(|error| StoreError::Unreadable(error.to_string()))?;
        Ok(Self { shared, jobs: Some(jobs), writer: Some(writer) })
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.alive()?;
        let transaction = self.shared.database.begin_read().map_err(storage)?;
        let outcome = work(&transaction);
        if let Err(error @ StoreError::Fenced(_)) = &outcome {
            self.shared.fence(error);
        }
        outcome
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already failed its callers.
            let _ = writer.join();
        }
    }
}

impl Stored {
    fn open(sealer: &Sealer, table: Table, row: &[u8], sealed: &[u8]) -> Result<Self, StoreError> {
        let (version, record) = sealer.open(row, sealed).ok_or_else(|| StoreError::Altered(table.name().to_owned()))?;
        Ok(Self { version, record })
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} bytes at version {})", self.record.len(), self.version)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("fenced", &self.shared.fenced.get()).finish_non_exhaustive()
    }
}

/// What readers and the writer share.
struct Shared {
    database: Database,
    sealer: Sealer,
    fenced: OnceLock<String>,
}

impl Shared {
    fn alive(&self) -> Result<(), StoreError> {
        self.fenced.get().map_or(Ok(()), |why| Err(StoreError::Fenced(why.clone())))
    }

    fn fence(&self, error: &StoreError) {
        let why = match error {
            StoreError::Fenced(why) => why.clone(),
            other => other.to_string(),
        };
        let _ = self.fenced.set(why);
    }
}

type Answer<T, E> = oneshot::Receiver<Result<T, E>>;

fn job<T, E, F>(change: F) -> (Box<dyn writer::Job>, Answer<T, E>)
where
    F: FnOnce(&mut Tx<'_, '_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(writer::Change::new(change, reply)), answer)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn opening(error: DatabaseError, path: &Path) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        other => unreadable(other),
    }
}

const CACHE_BYTES: usize = 64 * 1024 * 1024;
const QUEUE: usize = 1024;
