//! Sealing and opening of tables: Parquet with modular encryption, and what makes it safe to rely on.
//!
//! [`seal_table`] reads a table that its owner has (CSV, JSON lines, Arrow IPC, Parquet), settles its [`Schema`] and
//! writes Parquet in which the footer and each column have a key of their own, so that a broker can release some columns
//! of a table and keep the others. [`Sealed::check`] is the way back: it takes a file that a stranger may have made and
//! returns a value only if the file is exactly the manifest's, is encrypted throughout, and can be handed to a Parquet
//! reader without that reader being led into a huge allocation or a panic. A reader's keys come from that value alone.
//!
//! Modular encryption leaves four traps open, and each is closed here: bloom filters are written in the clear (never
//! written, refused when found); a plain file is accepted by a reader that holds keys (refused by its magic); a build
//! without encryption writes plain text ([`self_check`] and the check of every file written); and a file that stores its
//! own AAD prefix opens wherever it is put (refused; the prefix names dataset, version and file and comes from the reader).
//!
//! Deliberately absent: paths, networks and clocks (callers bring streams); nested columns; page indexes, which a reader
//! without all column keys could not load; and any way to open a file without checking it.

mod cells;
mod columnar;
mod csv;
mod error;
mod export;
mod ipc_schema;
mod jsonl;
mod open;
mod schema;
mod seal;
mod source;
mod thrift;

pub use error::{InputError, SealError};
pub use export::export_uniform;
pub use open::{Contents, OpenError, Sealed, ThriftError};
pub use schema::{Column, Declared, Schema, SqlType};
pub use seal::{SealedFile, SelfCheckError, seal_batches, seal_table, self_check};
pub use source::{Format, ReadSeek, Source, SourceKey, infer_schema};
