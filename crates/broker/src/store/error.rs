//! Why the store refused or failed.

use std::path::PathBuf;

use thiserror::Error;
use tlog::TlogError;

/// What can go wrong with the broker's state. All variants compare, so that callers and tests can tell them apart.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Another process, or another part of this one, has the file open.
    #[error(
        "another broker has the store `{0}` open\nhint: stop it first, or give this broker a state directory of its own"
    )]
    InUse(PathBuf),
    /// There is no store at this path.
    #[error("there is no store at `{0}`")]
    Missing(PathBuf),
    /// A new store was asked for where there is one.
    #[error("there is a store at `{0}` already")]
    Exists(PathBuf),
    /// The file is not a store, or was damaged so that it cannot even be read.
    #[error("the file is not a readable store: {0}")]
    Unreadable(String),
    /// The key does not open this store.
    #[error("the key does not open this store\nhint: the state directory belongs to another broker or another TPM")]
    WrongKey,
    /// The store holds another log than the one whose key was given.
    #[error("the store holds another log")]
    OtherLog,
    /// A record was altered, moved or exchanged: it does not authenticate in its place.
    #[error("a record of `{0}` was altered outside the broker")]
    Altered(String),
    /// The log's entries, hashes and checkpoint do not agree.
    #[error(
        "the log does not agree with its checkpoint at entry {0}\nhint: restore the newest state; an older or edited one cannot be served"
    )]
    LogMismatch(u64),
    /// The records are each authentic, but together not the state that was written last.
    #[error(
        "the records are not those that were written last\nhint: restore the newest state; an older or edited one cannot be served"
    )]
    StateMismatch,
    /// The storage failed once, so that nothing is certain about it any more; this process will not write or read again.
    #[error(
        "the store is closed after a storage failure: {0}\nhint: repair the disk or free some space, then restart the broker"
    )]
    Fenced(String),
    /// The store was closed, or a change panicked before it came to an end.
    #[error("the store did not carry out the change")]
    Abandoned,
    /// The record has another version than the caller saw.
    #[error("the record in `{table}` changed meanwhile (version {found}, expected {expected})")]
    Conflict {
        /// The record's table.
        table: &'static str,
        /// The version that the caller saw; 0 stands for "no record".
        expected: u64,
        /// The version that is there; 0 stands for "no record".
        found: u64,
    },
    /// The nonce was used before.
    #[error("the nonce was used before")]
    NonceUsed,
    /// The nonce's time is over, by the clock or by what was already forgotten.
    #[error("the nonce has expired")]
    NonceExpired,
    /// A key, a kind or a record is longer than the store takes, or empty where it must not be.
    #[error("{what} of {bytes} bytes does not fit the store")]
    Size {
        /// `key`, `kind`, `nonce` or `record`.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The system gave no random bytes.
    #[error("no random bytes from the system")]
    Random,
    /// The log's arithmetic refused.
    #[error(transparent)]
    Log(#[from] TlogError),
}

/// A failure of the storage underneath.
pub(super) fn storage(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Fenced(error.into().to_string())
}

/// A failure of the storage while it is being opened.
pub(super) fn unreadable(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Unreadable(error.into().to_string())
}
