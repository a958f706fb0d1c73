//! Ciphertext from wherever it lies into a folder of the worker's own, checked against the manifest.
//!
//! Storage is not trusted: a file is taken only when its length and digest are the manifest's, and it is read from the
//! worker's copy afterwards, so that nothing can be exchanged between check and use. More bytes than the manifest says are never read.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use agreement::documents::Manifest;
use envelope::Digest;
use futures::StreamExt as _;
use object_store::{ObjectStoreExt as _, parse_url_opts, path::Path as ObjectPath};

/// One file of ciphertext, checked, in the worker's folder. Removed when dropped.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) path: PathBuf,
}

/// Why ciphertext could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    /// The location cannot be read.
    #[error("the ciphertext cannot be fetched from its location")]
    Unreachable,
    /// It is not the manifest's.
    #[error("the ciphertext is not what the manifest says")]
    OtherContents,
    /// The worker has no room for it.
    #[error("the ciphertext cannot be kept while it is read")]
    NoRoom,
}

/// Fetches every file of a manifest, in order: one fewer or one more is another dataset (D8).
pub(super) async fn fetch(manifest: &Manifest, folder: &Path) -> Result<Vec<Fetched>, FetchError> {
    let mut fetched = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        let location = format!("{}{}", manifest.location, file.name);
        let url = location.parse().map_err(|_| FetchError::Unreachable)?;
        let (store, path) = parse_url_opts(&url, settings()).map_err(|_| FetchError::Unreachable)?;
        fetched.push(fetch_one(store.as_ref(), &path, file.bytes, &file.digest, folder).await?);
    }
    Ok(fetched)
}

/// The environment's settings of storages; what is not text is none of them (`std::env::vars` would panic at it).
fn settings() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

async fn fetch_one(
    store: &dyn object_store::ObjectStore,
    path: &ObjectPath,
    bytes: u64,
    digest: &Digest,
    folder: &Path,
) -> Result<Fetched, FetchError> {
    let answer = store.get(path).await.map_err(|_| FetchError::Unreachable)?;
    let mut stream = answer.into_stream();
    let mut out = tempfile::Builder::new().suffix(".sealed").tempfile_in(folder).map_err(|_| FetchError::NoRoom)?;
    let mut hash = envelope::DigestWriter::new();
    let mut seen: u64 = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| FetchError::Unreachable)?;
        seen = seen.saturating_add(chunk.len() as u64);
        if seen > bytes {
            return Err(FetchError::OtherContents);
        }
        hash.update(&chunk);
        out.write_all(&chunk).map_err(|_| FetchError::NoRoom)?;
    }
    if seen != bytes || hash.finish() != *digest {
        return Err(FetchError::OtherContents);
    }
    let (_, path) = out.keep().map_err(|_| FetchError::NoRoom)?;
    Ok(Fetched { path })
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
