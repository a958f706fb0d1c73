//! What lies where in the file.
//!
//! | redb table | key | value |
//! |---|---|---|
//! | `records` | table name with its length in front, then the record's key | sealed record |
//! | `entries` | index in the log | sealed kind, salt and record bytes |
//! | `leaves` | index in the log | the entry that everyone may read: 32 bytes of commitment |
//! | `hashes` | number of the tree hash | 32 bytes |
//! | `head` | `checkpoint` | signed note |
//! | `head` | `state` | sealed [`Head`] |
//!
//! The head ties everything together: the log's size and root, and a sum over all records. The sum is the exclusive or of a
//! keyed digest of each record (a multiset hash with a secret key and a count), so that it can follow each change, and so that
//! a file put together from records of different times is noticed when the store is opened.

use redb::{ReadableTable, TableDefinition};
use tlog::{HashReader, TlogError, TreeHash};

use super::StoreError;
use super::seal::Sealer;

/// The name of a table of records. Names with `/` belong to the store itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table(&'static str);

impl Table {
    /// A table of the broker; meant for constants, where a bad name does not compile. 1 to 64 bytes without `/`.
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= 64, "a table's name has 1 to 64 bytes");
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            assert!(*first != b'/' && first.is_ascii_graphic(), "a table's name is visible ASCII without `/`");
            rest = after;
        }
        Self(name)
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.0
    }
}

/// What the last commit left: where the log stands, and a sum over all records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Counts every write of a record there ever was; the versions of records are taken from it and so never come back.
    pub(super) sequence: u64,
    pub(super) size: u64,
    pub(super) root: TreeHash,
    pub(super) records: Sum,
}

/// A multiset hash of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    count: u64,
    bits: [u8; 32],
}

impl Head {
    pub(super) const EMPTY: Self =
        Self { sequence: 0, size: 0, root: TreeHash::EMPTY, records: Sum { count: 0, bits: [0; 32] } };

    pub(super) fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>, StoreError> {
        let mut plain = Vec::new();
        plain.extend_from_slice(&self.size.to_be_bytes());
        plain.extend_from_slice(self.root.as_bytes());
        plain.extend_from_slice(&self.records.count.to_be_bytes());
        plain.extend_from_slice(&self.records.bits);
        sealer.seal(&row(HEAD_ROW, b""), self.sequence, &plain)
    }

    pub(super) fn open(sealer: &Sealer, sealed: &[u8]) -> Option<Self> {
        let (sequence, plain) = sealer.open(&row(HEAD_ROW, b""), sealed)?;
        let (size, rest) = plain.split_first_chunk::<8>()?;
        let (root, rest) = rest.split_first_chunk::<32>()?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let bits = <[u8; 32]>::try_from(rest).ok()?;
        let records = Sum { count: u64::from_be_bytes(*count), bits };
        Some(Self { sequence, size: u64::from_be_bytes(*size), root: TreeHash::from_bytes(*root), records })
    }
}

impl Sum {
    pub(super) fn add(&mut self, digest: [u8; 32]) {
        self.count = self.count.wrapping_add(1);
        self.mix(digest);
    }

    pub(super) fn remove(&mut self, digest: [u8; 32]) {
        self.count = self.count.wrapping_sub(1);
        self.mix(digest);
    }

    fn mix(&mut self, digest: [u8; 32]) {
        self.bits.iter_mut().zip(digest).for_each(|(bits, other)| *bits ^= other);
    }
}

/// The key of a record in `records`, which is also its place in the associated data.
pub(super) fn row(table: Table, key: &[u8]) -> Vec<u8> {
    let name = table.name().as_bytes();
    let mut row = Vec::with_capacity(1 + name.len() + key.len());
    row.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    row.extend_from_slice(name);
    row.extend_from_slice(key);
    row
}

/// The first row after all those that begin with `prefix`, if there can be one.
pub(super) fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// An entry of the log, as the parties concerned may read it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: String,
    pub(super) salt: [u8; 32],
    pub(super) record: Vec<u8>,
}

impl Entry {
    pub(super) fn opening(&self) -> tlog::Opening {
        tlog::Opening { kind: self.kind.clone(), record: envelope::Digest::of(&self.record), salt: self.salt }
    }

    pub(super) fn seal(&self, sealer: &Sealer, index: u64) -> Result<Vec<u8>, StoreError> {
        let length =
            u8::try_from(self.kind.len()).map_err(|_| StoreError::Size { what: "kind", bytes: self.kind.len() })?;
        let plain = [&[length], self.kind.as_bytes(), &self.salt, &self.record].concat();
        sealer.seal(&row(LOG_ROW, &index.to_be_bytes()), 0, &plain)
    }

    pub(super) fn open(sealer: &Sealer, index: u64, sealed: &[u8]) -> Option<Self> {
        let (_, plain) = sealer.open(&row(LOG_ROW, &index.to_be_bytes()), sealed)?;
        let (length, rest) = plain.split_first()?;
        let (kind, rest) = rest.split_at_checked(usize::from(*length))?;
        let (salt, record) = rest.split_first_chunk::<32>()?;
        let kind = String::from_utf8(kind.to_vec()).ok()?;
        Some(Self { kind, salt: *salt, record: record.to_vec() })
    }
}

/// The stored tree hashes, as the log's arithmetic reads them.
pub(super) struct Hashes<'a, T>(pub(super) &'a T);

impl<T: ReadableTable<u64, [u8; 32]>> HashReader for Hashes<'_, T> {
    fn read_hashes(&self, numbers: &[u64]) -> Result<Vec<TreeHash>, TlogError> {
        let hash = |number: &u64| match self.0.get(number) {
            Ok(Some(hash)) => Ok(TreeHash::from_bytes(hash.value())),
            Ok(None) | Err(_) => Err(TlogError::MissingHash(*number)),
        };
        numbers.iter().map(hash).collect()
    }
}

pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
pub(super) const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
pub(super) const LEAVES: TableDefinition<'_, u64, [u8; 32]> = TableDefinition::new("leaves");
pub(super) const HASHES: TableDefinition<'_, u64, [u8; 32]> = TableDefinition::new("hashes");
pub(super) const HEAD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("head");
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const STATE: &str = "state";

pub(super) const NONCES: Table = Table("store/nonces");
pub(super) const NONCE_EXPIRY: Table = Table("store/nonce-expiry");
pub(super) const NONCE_CLOCK: Table = Table("store/nonce-clock");
const HEAD_ROW: Table = Table("store/head");
const LOG_ROW: Table = Table("store/log");

pub(super) const MAX_KEY: usize = 256;
pub(super) const MAX_KIND: usize = 64;
pub(super) const MAX_RECORD: usize = 64 * 1024 * 1024;
