//! Writing files so that they are whole or not there.
//!
//! Every file that a verb leaves behind is written aside, flushed to the disk and then given its name, and the directory is
//! flushed too. A name that is taken stays as it is unless the caller was asked to replace it. A full disk or an interruption
//! ends with the file aside removed; what a killed process left aside is removed by the next writer in that directory, which
//! can tell it from a living one by a lock.
//!
//! Deliberately absent: appending, and any write in place.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read as _, Write},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use envelope::{Digest, DigestWriter};
use tempfile::NamedTempFile;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner only (mode 0600).
    Owner,
    /// Everyone (mode 0644).
    Everyone,
}

/// Whether a name that is taken may be given to the new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It stays with the old file, and writing fails.
    Keep,
    /// The user asked for it, or the file is the program's own record.
    Replace,
}

/// A file that has no name yet. Dropped, it is gone.
pub(crate) struct Unnamed {
    file: NamedTempFile,
    path: PathBuf,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("cannot read `{path}`{hint}", path = .path.display(), hint = hint(.source))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write `{path}`; nothing was left half-written{hint}", path = .path.display(), hint = hint(.source))]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The name is taken.
    #[error("`{path}` exists already and was not touched\nhint: choose another name, or pass `--force` where the command has it", path = .0.display())]
    Exists(PathBuf),
    /// Larger than what is read at once.
    #[error("`{path}` has more than {limit} bytes, which is more than is read", path = .path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// Not text.
    #[error("`{path}` is not UTF-8 text", path = .0.display())]
    NotText(PathBuf),
}

/// The largest document that is read into memory, in bytes.
pub(crate) const MAX_READ: u64 = 64 << 20;

impl Unnamed {
    /// A file aside, in the directory that `path` will be in; the directory is made if need be.
    pub(crate) fn create(path: &Path, readers: Readers) -> Result<Unnamed, FileError> {
        let failed = |source| FileError::Write { path: path.to_owned(), source };
        let directory = parent(path);
        fs::create_dir_all(directory).map_err(failed)?;
        remove_abandoned(directory);
        let mode = match readers {
            Readers::Owner => 0o600,
            Readers::Everyone => 0o644,
        };
        let file = tempfile::Builder::new()
            .prefix(ASIDE)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory)
            .map_err(failed)?;
        // Only tells other writers that this one lives; the file system may lack locks.
        let _ = file.as_file().try_lock();
        Ok(Unnamed { file, path: path.to_owned() })
    }

    /// The open file.
    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Writes all bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(|source| FileError::Write { path: self.path.clone(), source })
    }

    /// Flushes the contents and gives the file its name.
    pub(crate) fn name(self, taken: Taken) -> Result<(), FileError> {
        let Unnamed { file, path } = self;
        let failed = |source| FileError::Write { path: path.clone(), source };
        file.as_file().sync_all().map_err(failed)?;
        match taken {
            Taken::Replace => drop(file.persist(&path).map_err(|error| failed(error.error))?),
            Taken::Keep => match file.persist_noclobber(&path) {
                Ok(_) => {}
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(FileError::Exists(path));
                }
                Err(error) => return Err(failed(error.error)),
            },
        }
        File::open(parent(&path)).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

/// Writes a whole file.
pub(crate) fn write(path: &Path, bytes: &[u8], readers: Readers, taken: Taken) -> Result<(), FileError> {
    if taken == Taken::Keep && path.exists() {
        return Err(FileError::Exists(path.to_owned()));
    }
    let mut file = Unnamed::create(path, readers)?;
    file.write(bytes)?;
    file.name(taken)
}

/// The SHA-256 of a file of any size.
pub(crate) fn digest(path: &Path) -> Result<Digest, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = DigestWriter::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..count) {
            Some(bytes) if !bytes.is_empty() => hash.update(bytes),
            Some(_) | None => return Ok(hash.finish()),
        }
    }
}

/// Reads a whole file of at most [`MAX_READ`] bytes; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(MAX_READ + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).and_then(|file| file.take(MAX_READ + 1).read_to_end(&mut bytes)).map_err(failed)?;
    }
    if bytes.len() as u64 > MAX_READ {
        return Err(FileError::TooLarge { path: path.to_owned(), limit: MAX_READ });
    }
    Ok(bytes)
}

/// Reads a whole text file.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    String::from_utf8(read(path)?).map_err(|_| FileError::NotText(path.to_owned()))
}

/// Makes a directory that only its owner may enter, with its parents.
pub(crate) fn private_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::Write { path: path.to_owned(), source })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Removes what killed writers left. A living writer holds its file's lock.
fn remove_abandoned(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(ASIDE) {
            let path = entry.path();
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "\nhint: check the spelling of the path",
        io::ErrorKind::PermissionDenied => "\nhint: check who owns the file and its directory",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: make room on the disk and run the command again"
        }
        _ => "",
    }
}

/// How the name of a file aside begins.
const ASIDE: &str = ".glovebox-aside-";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_taken_name_is_kept_unless_replacing_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, b"one", Readers::Owner, Taken::Keep).unwrap();
        assert!(matches!(write(&path, b"two", Readers::Owner, Taken::Keep), Err(FileError::Exists(_))));
        assert_eq!(read(&path).unwrap(), b"one");
        write(&path, b"two", Readers::Everyone, Taken::Replace).unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn a_secret_file_is_its_owners_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, b"one", Readers::Owner, Taken::Keep).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_named_is_gone_and_what_a_killed_writer_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut unfinished = Unnamed::create(&path, Readers::Owner).unwrap();
        unfinished.write(b"half").unwrap();
        let left = directory.path().join(format!("{ASIDE}left"));
        fs::write(&left, b"half").unwrap();
        // Another writer comes: what is alive stays, what is abandoned goes.
        write(&directory.path().join("b"), b"whole", Readers::Owner, Taken::Keep).unwrap();
        assert!(!left.exists());
        assert_eq!(names(directory.path()).len(), 2);
        drop(unfinished);
        assert_eq!(names(directory.path()), ["b"]);
    }
}
