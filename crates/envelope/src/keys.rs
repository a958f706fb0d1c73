//! Keys of a sealed table: one random key per dataset version, everything else derived.
//!
//! The owner deposits one [`TableKey`] with the broker; the broker derives the keys of the columns that a computation may
//! read and releases those alone. Derivation is HKDF-SHA-256 (RFC 5869) with an info that names dataset, version, file and
//! path, each length-prefixed, so no two columns of any two files share a key. They are used for AES-256-GCM inside Parquet.

use std::fmt;

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The random key of one dataset version. 32 bytes, wiped on drop, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TableKey([u8; 32]);

/// A key of one column, or of the footer, of one file. 32 bytes, wiped on drop, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ColumnKey([u8; 32]);

/// Which file of which dataset version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileId {
    /// The dataset's id, as its manifest has it.
    pub dataset: String,
    /// The version, counted from 1.
    pub version: u64,
    /// The file's place in the manifest, counted from 0.
    pub index: u32,
}

impl FileId {
    /// The AAD prefix of every encrypted module of the file (Parquet Modular Encryption, section 4.4). It is never stored in
    /// the file: a reader that does not know which file it expects cannot open any.
    pub fn aad_prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(self.dataset.len() + 44);
        put(&mut prefix, b"glovebox table v1");
        put(&mut prefix, self.dataset.as_bytes());
        prefix.extend_from_slice(&self.version.to_be_bytes());
        prefix.extend_from_slice(&self.index.to_be_bytes());
        prefix
    }
}

impl TableKey {
    /// A new key from the operating system's generator.
    pub fn generate() -> TableKey {
        let mut bytes = [0; 32];
        crate::identity::fill_random(&mut bytes);
        TableKey(bytes)
    }

    /// A stored or unwrapped key.
    pub const fn from_bytes(bytes: [u8; 32]) -> TableKey {
        TableKey(bytes)
    }

    /// The bytes, to be stored or wrapped.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of the file's footer.
    pub fn footer(&self, file: &FileId) -> ColumnKey {
        self.derive(file, b"footer", b"")
    }

    /// The key of one column of the file; `path` is the Parquet column path with dots.
    pub fn column(&self, file: &FileId, path: &str) -> ColumnKey {
        self.derive(file, b"column", path.as_bytes())
    }

    fn derive(&self, file: &FileId, role: &[u8], path: &[u8]) -> ColumnKey {
        let mut info = file.aad_prefix();
        put(&mut info, role);
        put(&mut info, path);
        let mut key = [0; 32];
        #[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8160 bytes; 32 are asked for")]
        Hkdf::<Sha256>::new(Some(b"glovebox table key v1"), &self.0).expand(&info, &mut key).expect("32 bytes fit");
        ColumnKey(key)
    }
}

impl ColumnKey {
    /// An unwrapped key.
    pub const fn from_bytes(bytes: [u8; 32]) -> ColumnKey {
        ColumnKey(bytes)
    }

    /// The bytes, for the cipher or to be wrapped.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableKey")
    }
}

impl fmt::Debug for ColumnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ColumnKey")
    }
}

fn put(to: &mut Vec<u8>, part: &[u8]) {
    to.extend_from_slice(&(part.len() as u64).to_be_bytes());
    to.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dataset: &str, version: u64, index: u32) -> FileId {
        FileId { dataset: dataset.into(), version, index }
    }

    #[test]
    fn every_part_of_the_name_changes_the_key() {
        let key = TableKey::from_bytes([7; 32]);
        let base = *key.column(&file("d", 1, 0), "a").as_bytes();
        let others = [
            *key.column(&file("e", 1, 0), "a").as_bytes(),
            *key.column(&file("d", 2, 0), "a").as_bytes(),
            *key.column(&file("d", 1, 1), "a").as_bytes(),
            *key.column(&file("d", 1, 0), "b").as_bytes(),
            *key.footer(&file("d", 1, 0)).as_bytes(),
            *TableKey::from_bytes([8; 32]).column(&file("d", 1, 0), "a").as_bytes(),
        ];
        assert!(others.iter().all(|other| *other != base));
        assert_ne!(key.column(&file("d", 1, 0), "").as_bytes(), key.footer(&file("d", 1, 0)).as_bytes());
    }

    #[test]
    fn derivation_is_fixed() {
        // Computed with another implementation of HKDF-SHA-256 from the layout that docs/spec/keys.md gives.
        let key = TableKey::from_bytes([7; 32]).column(&file("admissions", 3, 0), "age");
        assert_eq!(hex::encode(key.as_bytes()), "49b5b1511bb611f47e39e172004cc5505d56da3a03e09c06c87d6bf8c9f5d365");
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", TableKey::from_bytes([7; 32])), "TableKey");
    }
}
