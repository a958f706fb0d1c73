//! Ciphertext from wherever it lies into a folder of the worker's own, checked against the manifest.
//!
//! Storage is not trusted: a file is taken only when its length and digest are the manifest's, and it is read from the
//! worker's copy afterwards, so that nothing can be exchanged between check and use. More bytes than the manifest says are never read.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
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

/// A storage that says nothing for [`PATIENCE`] must not hold up a worker for good.
async fn patiently<T>(what: impl Future<Output = T>) -> Result<T, FetchError> {
    tokio::time::timeout(PATIENCE, what).await.map_err(|_| FetchError::Unreachable)
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
    let answer = patiently(store.get(path)).await?.map_err(|_| FetchError::Unreachable)?;
    let mut stream = answer.into_stream();
    let mut out = tempfile::Builder::new().suffix(".sealed").tempfile_in(folder).map_err(|_| FetchError::NoRoom)?;
    let mut hash = envelope::DigestWriter::new();
    let mut seen: u64 = 0;
    while let Some(chunk) = patiently(stream.next()).await? {
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

const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use agreement::documents::{Contents, SealedFile};
    use envelope::SigningKey;

    use super::*;

    /// A dataset of three files in a folder, as its owner sealed it.
    fn dataset(folder: &Path) -> Manifest {
        let mut files = Vec::new();
        for index in 0..3 {
            let name = format!("part-{index}.parquet");
            let bytes = format!("ciphertext of part {index}").into_bytes();
            std::fs::write(folder.join(&name), &bytes).unwrap();
            files.push(SealedFile { name, digest: Digest::of(&bytes), bytes: bytes.len() as u64 });
        }
        let key = SigningKey::from_seed(&[1; 32]).public();
        let location = format!("file://{}/", folder.display());
        let sealed = "2026-01-01T00:00:00Z".parse().unwrap();
        Manifest {
            name: "d".into(),
            owner: key,
            version: 1,
            sealed,
            location,
            files,
            broker: key,
            contents: Contents::Blob {},
        }
    }

    #[tokio::test]
    async fn exactly_the_manifests_files_are_fetched_and_removed_afterwards() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let manifest = dataset(there.path());
        let fetched = fetch(&manifest, here.path()).await.unwrap();
        assert_eq!(fetched.len(), 3);
        assert_eq!(std::fs::read(&fetched[2].path).unwrap(), b"ciphertext of part 2");
        drop(fetched);
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn d8_a_missing_partition_rejects_the_dataset() {
        for missing in 0..3 {
            let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let manifest = dataset(there.path());
            std::fs::remove_file(there.path().join(format!("part-{missing}.parquet"))).unwrap();
            assert_eq!(fetch(&manifest, here.path()).await.unwrap_err(), FetchError::Unreachable);
            assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0, "nothing is left behind");
        }
    }

    #[tokio::test]
    async fn d8_exchanged_cut_or_longer_partitions_reject_the_dataset() {
        let change: [fn(&Path); 3] = [
            |folder| {
                std::fs::rename(folder.join("part-0.parquet"), folder.join("x")).unwrap();
                std::fs::rename(folder.join("part-1.parquet"), folder.join("part-0.parquet")).unwrap();
                std::fs::rename(folder.join("x"), folder.join("part-1.parquet")).unwrap();
            },
            |folder| std::fs::write(folder.join("part-2.parquet"), b"ciphertext of part").unwrap(),
            |folder| std::fs::write(folder.join("part-2.parquet"), vec![b'c'; 1 << 20]).unwrap(),
        ];
        for change in change {
            let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let manifest = dataset(there.path());
            change(there.path());
            assert_eq!(fetch(&manifest, here.path()).await.unwrap_err(), FetchError::OtherContents);
        }
    }
}
