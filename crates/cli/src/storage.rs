//! Where ciphertext goes and where input comes from: a path, or a URL that `object_store` knows (`file`, `s3`, `az`, `gs`,
//! `http`, `https`). Credentials are those of the environment, as each service's own tools read them.
//!
//! Deliberately absent: overwriting. An object that exists stays, and the upload fails.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart, path::Path as ObjectPath};
use url::Url;

use crate::{
    files::{self, FileError, Taken, Unnamed},
    interrupt,
};

/// A folder for ciphertext.
pub(crate) enum Folder {
    /// On this machine.
    Local(PathBuf),
    /// Behind a URL.
    Remote {
        /// Who serves it.
        store: Box<dyn ObjectStore>,
        /// Where in the store.
        prefix: ObjectPath,
        /// The whole URL, ending in `/`.
        url: Url,
    },
}

/// A file that a folder holds now; it can be taken back.
pub(crate) enum Published {
    /// On this machine.
    Local(PathBuf),
    /// Behind a URL.
    Remote(Box<dyn ObjectStore>, ObjectPath),
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// Not a URL that is known.
    #[error(
        "`{0}` is not a place that can be used\nhint: give a path, or a URL of the kind file, s3, az, gs, http or https"
    )]
    Url(String),
    /// The service refused or failed.
    #[error(
        "`{place}` cannot be {what}\nhint: check the address, the credentials in the environment, and that the service is up"
    )]
    Service {
        /// Where.
        place: String,
        /// `read` or `written`.
        what: &'static str,
        /// Why.
        source: object_store::Error,
    },
    /// There is such an object already.
    #[error("`{0}` exists already and was not touched\nhint: seal to another folder")]
    Exists(String),
    /// The user asked to end.
    #[error("interrupted; nothing was left half-written")]
    Interrupted,
    /// A file of this machine.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Folder {
    /// A folder from a path or a URL.
    pub(crate) fn of(text: &str) -> Result<Folder, StorageError> {
        if !text.contains("://") {
            return Ok(Folder::Local(PathBuf::from(text)));
        }
        let wrong = || StorageError::Url(text.to_owned());
        let url = if text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
        let url = Url::parse(&url).map_err(|_| wrong())?;
        if url.scheme() == "file" {
            return url.to_file_path().map(Folder::Local).map_err(|()| wrong());
        }
        let (store, prefix) = object_store::parse_url_opts(&url, std::env::vars()).map_err(|_| wrong())?;
        Ok(Folder::Remote { store, prefix, url })
    }

    /// The folder as a manifest names it: a URL that ends in `/`.
    pub(crate) fn location(&self) -> Result<String, StorageError> {
        match self {
            Folder::Remote { url, .. } => Ok(url.to_string()),
            Folder::Local(path) => {
                let absolute =
                    std::path::absolute(path).map_err(|source| FileError::Read { path: path.clone(), source })?;
                let url =
                    Url::from_directory_path(&absolute).map_err(|()| StorageError::Url(path.display().to_string()))?;
                Ok(url.to_string())
            }
        }
    }

    /// Where the file aside is written: beside its place where that is on this machine.
    pub(crate) fn aside(&self, name: &str, readers: files::Readers) -> Result<Unnamed, StorageError> {
        let path = match self {
            Folder::Local(path) => path.join(name),
            Folder::Remote { .. } => std::env::temp_dir().join(name),
        };
        Ok(Unnamed::create(&path, readers)?)
    }

    /// Gives a file aside its name here.
    pub(crate) async fn publish(self, mut aside: Unnamed, name: &str) -> Result<Published, StorageError> {
        match self {
            Folder::Local(path) => {
                aside.name(Taken::Keep)?;
                Ok(Published::Local(path.join(name)))
            }
            Folder::Remote { store, prefix, url } => {
                let to = prefix.join(name);
                let place = format!("{url}{name}");
                if store.head(&to).await.is_ok() {
                    return Err(StorageError::Exists(place));
                }
                upload(store.as_ref(), &to, &place, aside.file()).await?;
                Ok(Published::Remote(store, to))
            }
        }
    }
}

impl Published {
    /// Takes the file back.
    pub(crate) async fn remove(self) {
        match self {
            Published::Local(path) => drop(std::fs::remove_file(path)),
            Published::Remote(store, path) => drop(store.delete(&path).await),
        }
    }
}

/// Opens a file, or fetches a URL into a file that has no name.
pub(crate) async fn open(text: &str) -> Result<File, StorageError> {
    let local = |path: &Path| File::open(path).map_err(|source| FileError::Read { path: path.to_owned(), source });
    if !text.contains("://") {
        return Ok(local(Path::new(text))?);
    }
    let wrong = || StorageError::Url(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    if url.scheme() == "file" {
        return Ok(local(&url.to_file_path().map_err(|()| wrong())?)?);
    }
    let (store, path) = object_store::parse_url_opts(&url, std::env::vars()).map_err(|_| wrong())?;
    let failed = |source| StorageError::Service { place: text.to_owned(), what: "read", source };
    let here = |source| FileError::Write { path: std::env::temp_dir(), source };
    let mut file = tempfile::tempfile().map_err(here)?;
    let mut chunks = store.get(&path).await.map_err(failed)?.into_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
        file.write_all(&chunk).map_err(here)?;
    }
    file.rewind().map_err(here)?;
    Ok(file)
}

async fn upload(store: &dyn ObjectStore, to: &ObjectPath, place: &str, file: &mut File) -> Result<(), StorageError> {
    let failed = |source| StorageError::Service { place: place.to_owned(), what: "written", source };
    let here = |source| FileError::Read { path: PathBuf::from(place), source };
    let length =
        file.seek(std::io::SeekFrom::End(0)).and_then(|length| file.rewind().map(|()| length)).map_err(here)?;
    if length <= AT_ONCE {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(here)?;
        store.put(to, bytes.into()).await.map_err(failed)?;
        return Ok(());
    }
    let mut parts = WriteMultipart::new(store.put_multipart(to).await.map_err(failed)?);
    let mut buffer = vec![0; PART];
    loop {
        let count = file.read(&mut buffer).map_err(here)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        if interrupt::is_asked() {
            let _ = parts.abort().await;
            return Err(StorageError::Interrupted);
        }
        parts.wait_for_capacity(4).await.map_err(failed)?;
        parts.write(bytes);
    }
    parts.finish().await.map_err(failed)?;
    Ok(())
}

/// Up to this many bytes go in one request.
const AT_ONCE: u64 = 32 << 20;

/// What is read at a time, in bytes.
const PART: usize = 1 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_by_a_url_that_ends_in_a_slash() {
        assert_eq!(Folder::of("/data/sealed").unwrap().location().unwrap(), "file:///data/sealed/");
        assert_eq!(Folder::of("file:///data/sealed").unwrap().location().unwrap(), "file:///data/sealed/");
        assert_eq!(Folder::of("https://store.example/a/b").unwrap().location().unwrap(), "https://store.example/a/b/");
        assert!(matches!(Folder::of("gopher://x/"), Err(StorageError::Url(_))));
    }
}
