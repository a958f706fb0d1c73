//! A hash of the tree: 32 bytes, written as base64 as in checkpoints.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::TlogError;

/// A leaf hash, a node hash or a root (SHA-256, RFC 6962 section 2.1). Text form: canonical base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TreeHash([u8; 32]);

impl TreeHash {
    /// The root of the tree without leaves: SHA-256 of nothing.
    pub const EMPTY: Self = Self(tlog_tiles::EMPTY_HASH.0);

    /// Takes 32 bytes as they are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn inner(self) -> tlog_tiles::Hash {
        tlog_tiles::Hash(self.0)
    }
}

impl FromStr for TreeHash {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        let malformed = || TlogError::MalformedHash(text.chars().take(64).collect());
        let bytes = STANDARD.decode(text).map_err(|_| malformed())?;
        Ok(Self(bytes.try_into().map_err(|_| malformed())?))
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<tlog_tiles::Hash> for TreeHash {
    fn from(hash: tlog_tiles::Hash) -> Self {
        Self(hash.0)
    }
}

impl From<TreeHash> for String {
    fn from(hash: TreeHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for TreeHash {
    type Error = TlogError;

    fn try_from(text: String) -> Result<Self, TlogError> {
        text.parse()
    }
}
