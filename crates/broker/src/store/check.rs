//! What is checked before a store is served.
//!
//! The file lies on a disk that the operator controls. Opening it therefore recomputes everything: the sum over all
//! records, every commitment from the record it stands for, every hash of the tree from its children, and the root from
//! those; all must agree with the sealed head and with the signed checkpoint. A state that is whole but old passes here:
//! that it is the newest, only a witness or a party who remembers a later head can tell.

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableError};
use tlog::{Appender, LogKey, SignedCheckpoint, WitnessPolicy};

use super::StoreError;
use super::error::unreadable;
use super::layout::{CHECKPOINT, ENTRIES, Entry, HASHES, HEAD, Hashes, Head, LEAVES, RECORDS, STATE, Sum};
use super::seal::Sealer;

/// Checks the whole store and returns its head.
///
/// 1. The sealed head opens with the store's key.
/// 2. The checkpoint is signed by this log, and has the head's size and root.
/// 3. The sum over all records is the head's.
/// 4. Each entry opens, and its leaf is the commitment to it.
/// 5. Each tree hash follows from those below it, none is missing and none is left over.
pub(super) fn check(database: &Database, sealer: &Sealer, log: &LogKey) -> Result<Head, StoreError> {
    let transaction = database.begin_read().map_err(unreadable)?;
    let heads = match transaction.open_table(HEAD) {
        Err(TableError::TableDoesNotExist(_)) => return Err(StoreError::Unreadable("it was never finished".into())),
        table => table.map_err(unreadable)?,
    };
    let state = heads.get(STATE).map_err(unreadable)?.ok_or(StoreError::WrongKey)?;
    let head = Head::open(sealer, state.value()).ok_or(StoreError::WrongKey)?;
    let checkpoint = heads.get(CHECKPOINT).map_err(unreadable)?.ok_or(StoreError::OtherLog)?;
    let checkpoint =
        SignedCheckpoint::verify(checkpoint.value(), log, &WitnessPolicy::none()).map_err(|_| StoreError::OtherLog)?;
    if (checkpoint.size(), checkpoint.root()) != (head.size, head.root) {
        return Err(StoreError::LogMismatch(head.size.min(checkpoint.size())));
    }

    let mut records = Sum::default();
    for record in transaction.open_table(RECORDS).map_err(unreadable)?.iter().map_err(unreadable)? {
        let (row, sealed) = record.map_err(unreadable)?;
        records.add(sealer.digest(row.value(), sealed.value()));
    }
    if records != head.records {
        return Err(StoreError::StateMismatch);
    }

    let entries = transaction.open_table(ENTRIES).map_err(unreadable)?;
    let leaves = transaction.open_table(LEAVES).map_err(unreadable)?;
    let hashes = transaction.open_table(HASHES).map_err(unreadable)?;
    let mut done = 0;
    let mut stored = 0;
    // Each round reads only hashes that an earlier round has checked.
    while done < head.size {
        let upto = head.size.min(done + ROUND);
        let reader = Hashes(&hashes);
        let mut appender = Appender::new(&reader, done);
        for index in done..upto {
            let mismatch = StoreError::LogMismatch(index);
            let sealed = entries.get(index).map_err(unreadable)?.ok_or_else(|| mismatch.clone())?;
            let entry = Entry::open(sealer, index, sealed.value()).ok_or_else(|| mismatch.clone())?;
            let commitment = entry.opening().commitment();
            let leaf = leaves.get(index).map_err(unreadable)?;
            if leaf.is_none_or(|leaf| leaf.value() != *commitment.as_bytes()) {
                return Err(mismatch);
            }
            appender.append(&commitment).map_err(|_| mismatch)?;
        }
        let appended = appender.finish().map_err(|_| StoreError::LogMismatch(done))?;
        for (number, hash) in (appended.first..).zip(&appended.hashes) {
            let found = hashes.get(number).map_err(unreadable)?;
            if found.is_none_or(|found| found.value() != *hash.as_bytes()) {
                return Err(StoreError::LogMismatch(done));
            }
        }
        stored = appended.first + appended.hashes.len() as u64;
        if upto == head.size && appended.root != head.root {
            return Err(StoreError::LogMismatch(done));
        }
        done = upto;
    }
    let lengths =
        (entries.len().map_err(unreadable)?, leaves.len().map_err(unreadable)?, hashes.len().map_err(unreadable)?);
    if lengths != (head.size, head.size, stored) {
        return Err(StoreError::LogMismatch(head.size));
    }
    Ok(head)
}

const ROUND: u64 = 4096;
