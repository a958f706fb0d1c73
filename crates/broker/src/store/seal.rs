//! Encryption of records.
//!
//! Whoever holds the disk must neither read a record nor put one in another's place. Each is sealed with AES-256-GCM; the
//! associated data name its table, its key and its version, so that exchanging two ciphertexts fails. Keys of records are
//! not hidden: they should be digests or numbers.
//!
//! Nonces are random, so one key must not seal too often (NIST SP 800-38D: 2^32 times). Each opening of the store therefore
//! draws a new epoch, whose key is HKDF(store key, epoch), and a new epoch begins after 2^28 records.
//!
//! ```text
//! sealed record = 0x01 ‖ epoch (16) ‖ version (8, big-endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac, rand};
use zeroize::Zeroizing;

use super::StoreError;

/// The 32-byte key of a whole store. Elsewhere it is sealed to the broker's TPM.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; 32]>);

impl StoreKey {
    /// Takes an existing key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Draws a new key from the system's random numbers.
    pub fn generate() -> Result<Self, StoreError> {
        random().map(Self::from_bytes)
    }

    /// The key itself, for sealing it elsewhere.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}

/// Seals and opens the records of one store.
pub(super) struct Sealer {
    root: StoreKey,
    keys: Mutex<Keys>,
    digests: hmac::Key,
}

struct Keys {
    current: [u8; EPOCH_LEN],
    sealed: u64,
    known: HashMap<[u8; EPOCH_LEN], Arc<RandomizedNonceKey>>,
}

impl Sealer {
    pub(super) fn new(root: &StoreKey) -> Result<Self, StoreError> {
        let digests = derive(root, b"", b"glovebox store digest v1")?;
        let keys = Keys { current: random()?, sealed: 0, known: HashMap::new() };
        Ok(Self {
            root: root.clone(),
            keys: Mutex::new(keys),
            digests: hmac::Key::new(hmac::HMAC_SHA256, digests.as_slice()),
        })
    }

    /// Seals `plain` for this row, at this version.
    pub(super) fn seal(&self, row: &[u8], version: u64, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (epoch, key) = self.current()?;
        let mut body = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        body.extend_from_slice(plain);
        let nonce = key
            .seal_in_place_append_tag(Aad::from(associated(row, version)), &mut body)
            .map_err(|_| StoreError::Random)?;
        let mut sealed = Vec::with_capacity(HEADER_LEN + body.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&epoch);
        sealed.extend_from_slice(&version.to_be_bytes());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens what was sealed for this row. `None`: it was not, or not with this store's key.
    pub(super) fn open(&self, row: &[u8], sealed: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (format, rest) = sealed.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<EPOCH_LEN>()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *format != FORMAT {
            return None;
        }
        let version = u64::from_be_bytes(*version);
        let key = self.of_epoch(epoch).ok()?;
        let mut body = body.to_vec();
        let plain = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(associated(row, version)), &mut body)
            .ok()?
            .len();
        body.truncate(plain);
        Some((version, body))
    }

    /// A keyed digest of a sealed record in its row: what a state's sum is made of.
    pub(super) fn digest(&self, row: &[u8], sealed: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.digests);
        context.update(&(row.len() as u64).to_be_bytes());
        context.update(row);
        context.update(sealed);
        let mut digest = [0; 32];
        digest.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    fn current(&self) -> Result<([u8; EPOCH_LEN], Arc<RandomizedNonceKey>), StoreError> {
        let epoch = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            if keys.sealed >= MAX_SEALED {
                keys.current = random()?;
                keys.sealed = 0;
            }
            keys.sealed += 1;
            keys.current
        };
        Ok((epoch, self.of_epoch(&epoch)?))
    }

    fn of_epoch(&self, epoch: &[u8; EPOCH_LEN]) -> Result<Arc<RandomizedNonceKey>, StoreError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.known.get(epoch) {
            return Ok(Arc::clone(key));
        }
        let bytes = derive(&self.root, epoch, b"glovebox store epoch v1")?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes.as_slice()).map_err(|_| StoreError::WrongKey)?;
        let key = Arc::new(key);
        if keys.known.len() >= MAX_KNOWN {
            keys.known.clear();
        }
        keys.known.insert(*epoch, Arc::clone(&key));
        Ok(key)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// `N` bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| StoreError::Random)?;
    Ok(bytes)
}

fn derive(root: &StoreKey, salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(root.expose())
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .map_err(|_| StoreError::WrongKey)?;
    Ok(key)
}

/// A row begins with the length of its table's name and the version has eight bytes, so that no two places share a text.
fn associated(row: &[u8], version: u64) -> Vec<u8> {
    [b"glovebox store v1", row, &version.to_be_bytes()].concat()
}

const FORMAT: u8 = 1;
const EPOCH_LEN: usize = 16;
const HEADER_LEN: usize = 1 + EPOCH_LEN + 8 + NONCE_LEN;
const MAX_SEALED: u64 = 1 << 28;
const MAX_KNOWN: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn k8_a_sealed_record_opens_only_in_its_place_and_unchanged() {
        let sealer = Sealer::new(&StoreKey::from_bytes([1; 32])).unwrap();
        let sealed = sealer.seal(b"\x04runsa", 7, b"record").unwrap();
        assert_eq!(sealer.open(b"\x04runsa", &sealed), Some((7, b"record".to_vec())));
        // Another key of the table, another table, and a table whose name begins alike.
        for row in [b"\x04runsb".as_slice(), b"\x04leasea", b"\x05runsa", b"\x04runs", b""] {
            assert_eq!(sealer.open(row, &sealed), None);
        }
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(sealer.open(b"\x04runsa", &changed), None, "byte {position}");
            assert_eq!(sealer.open(b"\x04runsa", &sealed[..position]), None, "cut at {position}");
        }
        let other = Sealer::new(&StoreKey::from_bytes([2; 32])).unwrap();
        assert_eq!(other.open(b"\x04runsa", &sealed), None);
    }

    #[test]
    fn a_later_epoch_reads_an_earlier_one() {
        let key = StoreKey::from_bytes([1; 32]);
        let (earlier, later) = (Sealer::new(&key).unwrap(), Sealer::new(&key).unwrap());
        let sealed = earlier.seal(b"row", 1, b"record").unwrap();
        assert_ne!(later.seal(b"row", 1, b"record").unwrap()[1..17], sealed[1..17]);
        assert_eq!(later.open(b"row", &sealed), Some((1, b"record".to_vec())));
        assert_eq!(format!("{key:?} {later:?}"), "StoreKey Sealer");
    }
}
