//! What stands in a leaf: a salted commitment.
//!
//! Anyone may read the log, so an entry must not tell what it is about, not even to somebody who can guess the record. The
//! entry is therefore a SHA-256 over the record's kind, its digest and 32 random bytes. Who is given an [`Opening`] can
//! check one entry and learns nothing about its neighbours. `docs/spec/log.md` has an example in bytes.

use std::fmt;

use envelope::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::TreeHash;

/// The 32 bytes of a log entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; 32]);

/// Discloses one entry: with it, anyone can recompute the commitment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// What the record is: `run`, `key-release`, …
    pub kind: String,
    /// The record's digest.
    pub record: Digest,
    /// The 32 random bytes that hide the record until it is disclosed; base64 as text.
    #[serde(serialize_with = "write_salt", deserialize_with = "read_salt")]
    pub salt: [u8; 32],
}

/// A type whose values are logged, so that [`crate::Included`] can name it.
pub trait Record {
    /// The kind under which such records are logged.
    const KIND: &'static str;

    /// The digest that the log's entry commits to.
    fn digest(&self) -> Digest;
}

impl Commitment {
    /// SHA-256 over the domain `glovebox leaf v1`, the kind, the record's digest and the salt, each preceded by its length in
    /// bytes as a 64-bit big-endian number.
    pub fn new(kind: &str, record: &Digest, salt: &[u8; 32]) -> Self {
        let parts: [&[u8]; 3] = [kind.as_bytes(), record.as_bytes(), salt];
        Self(*Digest::of_parts(DOMAIN, &parts).as_bytes())
    }

    /// Takes the 32 bytes of an entry that was read from a log.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The entry's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The leaf's hash in the tree: SHA-256(0x00 ‖ entry), RFC 6962 section 2.1.
    pub fn leaf_hash(&self) -> TreeHash {
        tlog_tiles::record_hash(&self.0).into()
    }
}

impl Opening {
    /// The commitment that this opens.
    pub fn commitment(&self) -> Commitment {
        Commitment::new(&self.kind, &self.record, &self.salt)
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({})", TreeHash::from_bytes(self.0))
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn write_salt<S: Serializer>(salt: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    TreeHash::from_bytes(*salt).serialize(serializer)
}

fn read_salt<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    TreeHash::deserialize(deserializer).map(|salt| *salt.as_bytes())
}

const DOMAIN: &str = "glovebox leaf v1";
