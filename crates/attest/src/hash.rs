//! The hash algorithms of a TPM, by their TCG identifiers.
//!
//! SHA-1 is here because event logs and quotes carry it and must be read; nothing is ever *decided* on a SHA-1 value, which
//! is why [`Bank`], the type that a policy names, has no such member.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

/// A hash algorithm that a TPM may use for a PCR bank, a name or a signature (TCG Algorithm Registry, TPM_ALG_ID).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashAlgorithm {
    /// `0x0004`; read, never relied upon.
    Sha1,
    /// `0x000B`.
    Sha256,
    /// `0x000C`.
    Sha384,
    /// `0x000D`.
    Sha512,
    /// `0x0012`; in logs of Chinese platforms.
    Sm3,
}

/// A PCR bank that a policy may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bank {
    /// The SHA-256 bank, 32-byte registers.
    Sha256,
    /// The SHA-384 bank, 48-byte registers.
    Sha384,
}

impl HashAlgorithm {
    /// The algorithm with this TPM_ALG_ID, if it is a hash known here.
    pub const fn from_id(id: u16) -> Option<HashAlgorithm> {
        match id {
            0x0004 => Some(HashAlgorithm::Sha1),
            0x000B => Some(HashAlgorithm::Sha256),
            0x000C => Some(HashAlgorithm::Sha384),
            0x000D => Some(HashAlgorithm::Sha512),
            0x0012 => Some(HashAlgorithm::Sm3),
            _ => None,
        }
    }

    /// Its TPM_ALG_ID.
    pub const fn id(self) -> u16 {
        match self {
            HashAlgorithm::Sha1 => 0x0004,
            HashAlgorithm::Sha256 => 0x000B,
            HashAlgorithm::Sha384 => 0x000C,
            HashAlgorithm::Sha512 => 0x000D,
            HashAlgorithm::Sm3 => 0x0012,
        }
    }

    /// The length of its digests in bytes.
    pub const fn size(self) -> usize {
        match self {
            HashAlgorithm::Sha1 => 20,
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha384 => 48,
            HashAlgorithm::Sha512 => 64,
            HashAlgorithm::Sm3 => 32,
        }
    }

    /// Its name in lower case, as tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            HashAlgorithm::Sha1 => "sha1",
            HashAlgorithm::Sha256 => "sha256",
            HashAlgorithm::Sha384 => "sha384",
            HashAlgorithm::Sha512 => "sha512",
            HashAlgorithm::Sm3 => "sm3",
        }
    }

    /// The digest of the parts, one after the other.
    pub fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self {
            HashAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
            HashAlgorithm::Sm3 => return sm3(parts),
        };
        // In one call: what the library sets up for a hash in pieces costs more than hashing the few bytes of an event.
        let digest = match parts {
            [whole] => digest::digest(algorithm, whole),
            several => digest::digest(algorithm, &several.concat()),
        };
        digest.as_ref().to_vec()
    }

    /// The value of a register after `digest` is extended into it: H(register ‖ digest) (TPM 2.0 Part 1, "PCR Operations").
    pub fn extend(self, register: &[u8], digest: &[u8]) -> Vec<u8> {
        self.hash(&[register, digest])
    }
}

impl Bank {
    /// The bank's algorithm.
    pub const fn algorithm(self) -> HashAlgorithm {
        match self {
            Bank::Sha256 => HashAlgorithm::Sha256,
            Bank::Sha384 => HashAlgorithm::Sha384,
        }
    }
}

fn sm3(parts: &[&[u8]]) -> Vec<u8> {
    use sm3::Digest as _;
    let mut hash = sm3::Sm3::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().to_vec()
}
