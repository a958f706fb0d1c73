//! One change of the state: records and log entries that become durable together, or not at all.
//!
//! Changes run one after the other on the writer's thread, so that what a change reads cannot move under it: reading,
//! deciding and writing in one closure is linearizable without locks. A change that returns an error leaves nothing behind
//! and does not disturb the others of its batch, since it writes into a buffer of its own until it has succeeded.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{ReadableTable, WriteTransaction};
use tlog::{Appender, Checkpoint, Commitment, LogSigner};

use super::error::storage;
use super::layout::{
    self, CHECKPOINT, ENTRIES, Entry, HASHES, HEAD, Hashes, Head, LEAVES, MAX_KEY, MAX_KIND, MAX_RECORD, NONCE_CLOCK,
    NONCE_EXPIRY, NONCES, RECORDS, STATE, Table,
};
use super::seal::{Sealer, random};
use super::{StoreError, Stored};

/// A change in the making. It sees all changes before it, and its own.
pub struct Tx<'a, 't> {
    batch: &'a Batch<'t>,
    writes: BTreeMap<Vec<u8>, Option<Stored>>,
    entries: Vec<Entry>,
    made: u64,
}

impl<'a, 't> Tx<'a, 't> {
    /// Reads a record.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        let row = layout::row(table, key);
        match self.writes.get(&row) {
            Some(written) => Ok(written.clone()),
            None => self.batch.read(table, &row),
        }
    }

    /// The records of a table whose keys begin with `prefix`, in the order of their keys, at most `limit`.
    pub fn scan(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Stored)>, StoreError> {
        let start = layout::row(table, prefix);
        let skip = start.len() - prefix.len();
        let end = layout::after(&start);
        let upper = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone()));
        let mut own = self.writes.range((Bound::Included(start.clone()), upper)).peekable();
        let mut found = Vec::new();
        let bounds = (Bound::Included(start.as_slice()), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        let mut stored = self.batch.records.range::<&[u8]>(bounds).map_err(storage)?;
        let mut next = stored.next().transpose().map_err(storage)?;
        while found.len() < limit {
            let theirs = next.as_ref().map(|(row, _)| row.value().to_vec());
            let (row, value) = match (own.peek(), theirs) {
                (None, None) => break,
                (Some((mine, _)), Some(theirs)) if **mine > theirs => {
                    let value = self.batch.read(table, &theirs)?;
                    next = stored.next().transpose().map_err(storage)?;
                    (theirs, value)
                }
                (None, Some(theirs)) => {
                    let value = self.batch.read(table, &theirs)?;
                    next = stored.next().transpose().map_err(storage)?;
                    (theirs, value)
                }
                (Some((mine, value)), theirs) => {
                    let pair = ((*mine).clone(), (*value).clone());
                    if theirs.as_ref() == Some(mine) {
                        next = stored.next().transpose().map_err(storage)?;
                    }
                    own.next();
                    pair
                }
            };
            if let Some(value) = value {
                found.push((row.get(skip..).unwrap_or_default().to_vec(), value));
            }
        }
        Ok(found)
    }

    /// Writes a record, whether there was one or not, and returns its new version.
    pub fn put(&mut self, table: Table, key: &[u8], record: &[u8]) -> Result<u64, StoreError> {
        if key.len() > MAX_KEY {
            return Err(StoreError::Size { what: "key", bytes: key.len() });
        }
        if record.len() > MAX_RECORD {
            return Err(StoreError::Size { what: "record", bytes: record.len() });
        }
        self.made += 1;
        let version = self.batch.head.sequence + self.made;
        self.writes.insert(layout::row(table, key), Some(Stored { version, record: record.to_vec() }));
        Ok(version)
    }

    /// Writes a record if its version is still `expected`, where 0 stands for "there is none".
    pub fn replace(&mut self, table: Table, key: &[u8], expected: u64, record: &[u8]) -> Result<u64, StoreError> {
        let found = self.get(table, key)?.map_or(0, |stored| stored.version);
        if found != expected {
            return Err(StoreError::Conflict { table: table.name(), expected, found });
        }
        self.put(table, key, record)
    }

    /// Removes a record, if there is one.
    pub fn remove(&mut self, table: Table, key: &[u8]) {
        self.writes.insert(layout::row(table, key), None);
    }

    /// Appends a record to the log and returns its index. The log publishes a salted commitment only; the record's bytes are
    /// kept encrypted for the parties concerned.
    pub fn append(&mut self, kind: &str, record: &[u8]) -> Result<u64, StoreError> {
        if kind.is_empty() || kind.len() > MAX_KIND {
            return Err(StoreError::Size { what: "kind", bytes: kind.len() });
        }
        if record.len() > MAX_RECORD {
            return Err(StoreError::Size { what: "record", bytes: record.len() });
        }
        let index = self.batch.size() + self.entries.len() as u64;
        self.entries.push(Entry { kind: kind.to_owned(), salt: random()?, record: record.to_vec() });
        Ok(index)
    }

    /// Redeems a nonce that is good until `expiry`; `now` and `expiry` are seconds since 1970. Each nonce can be redeemed
    /// once, in the same change as its effect. Expired nonces are forgotten a few at a time, and the time up to which some were
    /// forgotten is remembered, so that a clock that is turned back revives none.
    pub fn redeem(&mut self, nonce: &[u8], expiry: u64, now: u64) -> Result<(), StoreError> {
        if nonce.is_empty() || nonce.len() > MAX_NONCE {
            return Err(StoreError::Size { what: "nonce", bytes: nonce.len() });
        }
        let forgotten = self.get(NONCE_CLOCK, b"")?.and_then(|stored| number(&stored.record)).unwrap_or(0);
        if expiry <= now.max(forgotten) {
            return Err(StoreError::NonceExpired);
        }
        if self.get(NONCES, nonce)?.is_some() {
            return Err(StoreError::NonceUsed);
        }
        let mut latest = forgotten;
        for (key, _) in self.scan(NONCE_EXPIRY, b"", FORGET_AT_ONCE)? {
            let Some((expired, old)) = key.split_first_chunk::<8>() else { continue };
            let expired = u64::from_be_bytes(*expired);
            if expired > now {
                break;
            }
            self.remove(NONCES, old);
            self.remove(NONCE_EXPIRY, &key);
            latest = latest.max(expired);
        }
        if latest > forgotten {
            self.put(NONCE_CLOCK, b"", &latest.to_be_bytes())?;
        }
        self.put(NONCES, nonce, &expiry.to_be_bytes())?;
        self.put(NONCE_EXPIRY, &[&expiry.to_be_bytes(), nonce].concat(), b"")?;
        Ok(())
    }
}

/// The changes that one durable commit carries.
pub(super) struct Batch<'t> {
    records: redb::Table<'t, &'static [u8], &'static [u8]>,
    entries: redb::Table<'t, u64, &'static [u8]>,
    leaves: redb::Table<'t, u64, [u8; 32]>,
    hashes: redb::Table<'t, u64, [u8; 32]>,
    heads: redb::Table<'t, &'static str, &'static [u8]>,
    sealer: &'t Sealer,
    head: Head,
    appended: Vec<Commitment>,
    changed: bool,
}

impl<'t> Batch<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction, sealer: &'t Sealer, head: Head) -> Result<Self, StoreError> {
        Ok(Self {
            records: transaction.open_table(RECORDS).map_err(storage)?,
            entries: transaction.open_table(ENTRIES).map_err(storage)?,
            leaves: transaction.open_table(LEAVES).map_err(storage)?,
            hashes: transaction.open_table(HASHES).map_err(storage)?,
            heads: transaction.open_table(HEAD).map_err(storage)?,
            sealer,
            head,
            appended: Vec::new(),
            changed: false,
        })
    }

    /// Runs one change. The outer error is the storage's and ends the whole batch; the inner one is the change's own.
    pub(super) fn run<T, E>(
        &mut self,
        change: impl FnOnce(&mut Tx<'_, 't>) -> Result<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        let mut tx = Tx { batch: self, writes: BTreeMap::new(), entries: Vec::new(), made: 0 };
        let value = match change(&mut tx) {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        };
        let Tx { writes, entries, made, .. } = tx;
        self.changed |= !writes.is_empty() || !entries.is_empty();
        self.head.sequence += made;
        for (row, value) in writes {
            self.write(&row, value)?;
        }
        for entry in entries {
            let index = self.size();
            let commitment = entry.opening().commitment();
            self.entries.insert(index, entry.seal(self.sealer, index)?.as_slice()).map_err(storage)?;
            self.leaves.insert(index, *commitment.as_bytes()).map_err(storage)?;
            self.appended.push(commitment);
        }
        Ok(Ok(value))
    }

    /// Extends the tree, signs its new head and writes both. Returns the new head, or nothing when nothing changed.
    pub(super) fn finish(mut self, signer: &LogSigner) -> Result<Option<Head>, StoreError> {
        if !self.changed {
            return Ok(None);
        }
        let appended = {
            let reader = Hashes(&self.hashes);
            let mut appender = Appender::new(&reader, self.head.size);
            for commitment in &self.appended {
                appender.append(commitment)?;
            }
            appender.finish()?
        };
        for (number, hash) in (appended.first..).zip(&appended.hashes) {
            self.hashes.insert(number, *hash.as_bytes()).map_err(storage)?;
        }
        self.head.size = appended.size;
        self.head.root = appended.root;
        self.write_head(signer)?;
        Ok(Some(self.head))
    }

    /// Writes the signed checkpoint and the sealed head as they stand.
    pub(super) fn write_head(&mut self, signer: &LogSigner) -> Result<(), StoreError> {
        let checkpoint = Checkpoint::new(signer.key().origin(), self.head.size, self.head.root)?.sign(signer)?;
        self.heads.insert(CHECKPOINT, checkpoint.as_bytes()).map_err(storage)?;
        self.heads.insert(STATE, self.head.seal(self.sealer)?.as_slice()).map_err(storage)?;
        Ok(())
    }

    fn size(&self) -> u64 {
        self.head.size + self.appended.len() as u64
    }

    fn read(&self, table: Table, row: &[u8]) -> Result<Option<Stored>, StoreError> {
        let Some(sealed) = self.records.get(row).map_err(storage)? else { return Ok(None) };
        Stored::open(self.sealer, table, row, sealed.value()).map(Some)
    }

    fn write(&mut self, row: &[u8], value: Option<Stored>) -> Result<(), StoreError> {
        let old = match value {
            Some(Stored { version, record }) => {
                let sealed = self.sealer.seal(row, version, &record)?;
                self.head.records.add(self.sealer.digest(row, &sealed));
                self.records.insert(row, sealed.as_slice()).map_err(storage)?
            }
            None => self.records.remove(row).map_err(storage)?,
        };
        if let Some(old) = old {
            self.head.records.remove(self.sealer.digest(row, old.value()));
        }
        Ok(())
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

const MAX_NONCE: usize = 64;
const FORGET_AT_ONCE: usize = 4;
