//! One file with many objects, for machines without a network.
//!
//! It is a JSON document with the objects as they were received and a digest over them, which tells a damaged file from a whole one and
//! proves nothing more: every object is checked on the way in as if its maker's service had sent it. Numbers seen are not in it. They
//! follow from the objects, and a file must not be able to raise them without Intel's signature.

use envelope::{Digest, canonical};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    check::Checked,
    object::ObjectId,
    store::{Kept, Store, StoreError},
};

/// What became of each object of a file.
pub type Imported = Vec<(ObjectId, Result<Checked, StoreError>)>;

/// Why a file is not one.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Larger than is read.
    #[error("the file has {size} bytes; at most {limit} are read", limit = MAX_BUNDLE)]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// It does not parse.
    #[error("the file is not an export of Endorsements\nhint: `glovebox endorsements export FILE` makes one")]
    Malformed,
    /// Its digest is another.
    #[error("the file is damaged: its digest does not match its contents\nhint: copy it again")]
    Damaged,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    format: String,
    digest: Digest,
    objects: Vec<Kept>,
}

/// Everything that is kept, as one file.
///
/// # Errors
/// [`BundleError::Store`]; [`BundleError::TooLarge`] when it would not be read back.
pub fn export(store: &Store) -> Result<Vec<u8>, BundleError> {
    let mut objects = Vec::new();
    for id in store.list()? {
        objects.push(Kept { received: store.raw(&id)?, object: id });
    }
    let digest = canonical::digest(&objects).map_err(|_| BundleError::Malformed)?;
    let bundle = Bundle { format: FORMAT.to_owned(), digest, objects };
    let bytes = serde_json::to_vec(&bundle).map_err(|_| BundleError::Malformed)?;
    if bytes.len() > MAX_BUNDLE { Err(BundleError::TooLarge { size: bytes.len() }) } else { Ok(bytes) }
}

/// Fills a store from a file; each object is checked, and those that do not hold are left out and reported.
///
/// # Errors
/// [`BundleError`] when the file as a whole is not one; nothing changed then.
pub fn import(store: &Store, bytes: &[u8], now: Timestamp) -> Result<Imported, BundleError> {
    if bytes.len() > MAX_BUNDLE {
        return Err(BundleError::TooLarge { size: bytes.len() });
    }
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|_| BundleError::Malformed)?;
    if bundle.format != FORMAT {
        return Err(BundleError::Malformed);
    }
    let digest = canonical::digest(&bundle.objects).map_err(|_| BundleError::Malformed)?;
    if digest != bundle.digest {
        return Err(BundleError::Damaged);
    }
    // What others are checked under comes first.
    let (later, first): (Vec<Kept>, Vec<Kept>) =
        bundle.objects.into_iter().partition(|kept| kept.object.needs().is_some());
    let put = |kept: Kept| {
        let outcome = store.put(&kept.object, &kept.received, now);
        (kept.object, outcome)
    };
    Ok(first.into_iter().chain(later).map(put).collect())
}

const FORMAT: &str = "glovebox-endorsements-1";
const MAX_BUNDLE: usize = 16 << 20;
