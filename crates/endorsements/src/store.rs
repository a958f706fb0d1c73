//! The directory: one file per object, and one with the highest numbers seen.
//!
//! A file holds the object's exact bytes with the header that came beside them, so that neither is ever found without the other. It is
//! written aside, flushed, given its name, and the directory is flushed: whoever comes after an end in the middle finds the old file
//! or the new. Nothing that is read here is believed: [`Store::get`] checks as if the object had just come.
//!
//! The order of the two writes is object first, number second; the number that counts is the higher of the two, so an end between them
//! forgets nothing. Processes may share a directory: whoever writes holds its lock, and what others have seen is read again before any
//! number is compared or written. Readers need no lock, and no leave to write.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    check::{Anchors, CheckError, Checked, Seen, check_before_store, check_ever},
    floors::Floors,
    object::ObjectId,
};

/// An object as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// The exact bytes.
    #[serde(with = "envelope::text::base64")]
    pub body: Vec<u8>,
    /// The header with the signer's certificates, as it stood: percent-encoded PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// When it came.
    pub fetched: Timestamp,
}

/// Endorsements in one directory.
pub struct Store {
    directory: PathBuf,
    anchors: Anchors,
    /// What this process has seen; the file has what any process has.
    floors: Mutex<Floors>,
}

/// What is in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    pub(crate) object: ObjectId,
    pub(crate) received: Received,
}

/// Why an object was not kept or not given.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing of this name is here.
    #[error("`{0}` is not kept here\nhint: `glovebox endorsements fetch {0}` takes it from its maker")]
    Absent(ObjectId),
    /// It does not hold.
    #[error("`{object}` is refused")]
    Refused {
        /// Which.
        object: ObjectId,
        /// Why.
        #[source]
        source: CheckError,
    },
    /// A number below one that was seen.
    #[error(
        "`{object}` has the tcbEvaluationDataNumber {found}, and {floor} was seen before: it never goes back\nhint: whoever serves it is behind or replays; ask the maker's own service"
    )]
    Older {
        /// Which.
        object: ObjectId,
        /// Its number.
        found: u32,
        /// The highest that was seen.
        floor: u32,
    },
    /// Issued before the one that is kept.
    #[error("`{object}` was issued at {found}, before the one that is kept ({kept})")]
    Superseded {
        /// Which.
        object: ObjectId,
        /// Its time of issue.
        found: Timestamp,
        /// That of the one that is kept.
        kept: Timestamp,
    },
    /// A file that is not this store's.
    #[error("`{path}` is not a file of this store\nhint: remove it and fetch the object again", path = .0.display())]
    Damaged(PathBuf),
    /// The file system.
    #[error("`{path}` cannot be read or written", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Received {
    /// The signer's certificates, PEM.
    pub fn issuer_chain(&self) -> Option<Vec<u8>> {
        percent_decoded(self.chain.as_deref()?)
    }
}

impl Store {
    /// Opens a directory, which is made if need be. What an earlier writer left unfinished is removed.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] if the numbers cannot be read: without them nothing would be known to be older.
    pub fn open(directory: &Path, anchors: Anchors) -> Result<Store, StoreError> {
        let objects = directory.join(OBJECTS);
        fs::create_dir_all(&objects).map_err(|source| StoreError::Io { path: objects.clone(), source })?;
        // Who cannot write leaves it to others; who finds the lock taken would remove what is being written.
        if let Ok(lock) = lock_file(directory)
            && lock.try_lock().is_ok()
        {
            for place in [directory, &objects] {
                for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                    if entry.file_name().to_string_lossy().starts_with(ASIDE) {
                        let _ = fs::remove_file(entry.path());
                    }
                }
            }
        }
        let floors = Mutex::new(recorded(directory)?);
        Ok(Store { directory: directory.to_owned(), anchors, floors })
    }

    /// The makers' roots that count here.
    pub const fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// Keeps an object, once it was checked and is not older than what was seen.
    ///
    /// # Errors
    /// The first check that fails; nothing changed then.
    pub fn put(&self, id: &ObjectId, received: &Received, now: Timestamp) -> Result<Checked, StoreError> {
        let checked = self.check(id, received, now)?;
        let lock = lock_file(&self.directory).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|source| StoreError::Io { path: self.directory.join(LOCK), source })?;
        let mut floors = self.known()?;
        not_older(id, &checked, self.highest(id, &floors))?;
        // Whatever `now` is here: who imports as of an earlier time brings back nothing that was replaced.
        if let Some(before) = self.seen(id)
            && checked.issued < before.issued
            && checked.evaluation <= before.evaluation
        {
            return Err(StoreError::Superseded { object: id.clone(), found: checked.issued, kept: before.issued });
        }
        let kept = Kept { object: id.clone(), received: received.clone() };
        self.write(&self.path(id), &kept)?;
        let before = recorded(&self.directory)?;
        if let Some(number) = checked.evaluation {
            floors.raise(id, number);
        }
        if *floors != before {
            self.write(&self.directory.join(FLOORS), &*floors)?;
        }
        Ok(checked)
    }

    /// An object, checked as of now.
    ///
    /// # Errors
    /// [`StoreError::Absent`]; else why it cannot be used now.
    pub fn get(&self, id: &ObjectId, now: Timestamp) -> Result<(Received, Checked), StoreError> {
        // The floor first: a writer in between can only make the object newer.
        let floor = self.floor(id)?;
        let (received, checked) = self.read_checked(id, now)?;
        not_older(id, &checked, floor)?;
        Ok((received, checked))
    }

    /// What is kept, whatever its state, in the order of names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<ObjectId>, StoreError> {
        let objects = self.directory.join(OBJECTS);
        let entries = fs::read_dir(&objects).map_err(|source| StoreError::Io { path: objects, source })?;
        let mut found: Vec<ObjectId> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.replace('~', "/").parse().ok())
            .collect();
        found.sort();
        Ok(found)
    }

    /// The highest number seen of each, by any process.
    ///
    /// # Errors
    /// [`StoreError`] if the numbers cannot be read.
    pub fn floors(&self) -> Result<Floors, StoreError> {
        Ok(self.known()?.clone())
    }

    /// What the number of `id` may not be below: the highest that any process has seen, or that is kept. 0 if none was seen.
    ///
    /// # Errors
    /// [`StoreError`] if the numbers cannot be read.
    pub fn floor(&self, id: &ObjectId) -> Result<u32, StoreError> {
        let floors = self.known()?;
        Ok(self.highest(id, &floors))
    }

    /// What this process has seen and what others have written, together.
    fn known(&self) -> Result<MutexGuard<'_, Floors>, StoreError> {
        let mut floors = self.floors.lock().unwrap_or_else(PoisonError::into_inner);
        floors.merge(&recorded(&self.directory)?);
        Ok(floors)
    }

    fn highest(&self, id: &ObjectId, floors: &Floors) -> u32 {
        let kept = id.bound_by().into_iter().filter_map(|id| self.seen(&id)?.evaluation).max();
        kept.unwrap_or_default().max(floors.of(id))
    }

    /// What the kept object says of itself, however old it is; `None` if none is kept that its maker ever issued.
    fn seen(&self, id: &ObjectId) -> Option<Seen> {
        check_ever(id, &self.raw(id).ok()?, |other| self.raw(other).ok(), &self.anchors).ok()
    }

    /// The object as it lies there, unchecked: for export, whose reader checks.
    pub(crate) fn raw(&self, id: &ObjectId) -> Result<Received, StoreError> {
        read_object(&self.directory, id)
    }

    fn read_checked(&self, id: &ObjectId, now: Timestamp) -> Result<(Received, Checked), StoreError> {
        let received = self.raw(id)?;
        let checked = self.check(id, &received, now)?;
        Ok((received, checked))
    }

    fn check(&self, id: &ObjectId, received: &Received, now: Timestamp) -> Result<Checked, StoreError> {
        check_before_store(id, received, |other| self.raw(other).ok(), &self.anchors, now)
            .map_err(|source| StoreError::Refused { object: id.clone(), source })
    }

    fn path(&self, id: &ObjectId) -> PathBuf {
        object_path(&self.directory, id)
    }

    fn write(&self, path: &Path, document: &impl Serialize) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
        let bytes = serde_json::to_vec(document).map_err(|error| failed(io::Error::other(error)))?;
        let directory = path.parent().unwrap_or(&self.directory);
        let mut file = tempfile::Builder::new().prefix(ASIDE).tempfile_in(directory).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

fn object_path(directory: &Path, id: &ObjectId) -> PathBuf {
    directory.join(OBJECTS).join(id.file_name())
}

/// The object as it lies in the directory, unchecked.
pub(crate) fn read_object(directory: &Path, id: &ObjectId) -> Result<Received, StoreError> {
    let path = object_path(directory, id);
    let bytes = read(&path, MAX_FILE)?.ok_or_else(|| StoreError::Absent(id.clone()))?;
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged(path.clone()))?;
    if kept.object == *id { Ok(kept.received) } else { Err(StoreError::Damaged(path)) }
}

/// Whether an object's number is not below the floor.
pub(crate) fn not_older(id: &ObjectId, checked: &Checked, floor: u32) -> Result<(), StoreError> {
    match checked.evaluation {
        Some(found) if found < floor => Err(StoreError::Older { object: id.clone(), found, floor }),
        _ => Ok(()),
    }
}

/// The numbers as they are written.
pub(crate) fn recorded(directory: &Path) -> Result<Floors, StoreError> {
    let path = directory.join(FLOORS);
    match read(&path, MAX_FLOORS)? {
        None => Ok(Floors::default()),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged(path)),
    }
}

/// The file whose lock writers hold. The system releases it when a process ends, however it ends.
fn lock_file(directory: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).write(true).truncate(false).open(directory.join(LOCK))
}

/// A file of at most this many bytes; `None` if there is none.
fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let failed = |source| StoreError::Io { path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit { Err(StoreError::Damaged(path.to_owned())) } else { Ok(Some(bytes)) }
}

/// RFC 3986, section 2.1. `None` if a `%` is not followed by two hexadecimal digits.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let mut value = [0];
            hex::decode_to_slice(digits, &mut value).ok()?;
            decoded.extend(value);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

const OBJECTS: &str = "objects";
const FLOORS: &str = "floors.json";
const LOCK: &str = "lock";
const ASIDE: &str = ".aside-";
const MAX_FILE: u64 = 8 << 20;
const MAX_FLOORS: u64 = 1 << 20;
