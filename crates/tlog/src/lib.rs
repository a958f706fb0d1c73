//! The Merkle log's arithmetic.
//!
//! A broker writes everything that has an effect into an append-only Merkle log (RFC 6962, section 2) before the effect
//! takes place. This crate decides four questions about such a log, and nothing else:
//!
//! 1. *What is in a leaf?* A salted commitment ([`Commitment`]) of 32 bytes, so that the log can be public while the
//!    records stay with the parties concerned; an [`Opening`] discloses one leaf.
//! 2. *Is this the log's head?* [`SignedCheckpoint::verify`] checks the log's signature and the cosignatures of the
//!    witnesses that a [`WitnessPolicy`] names, and returns a [`VerifiedCheckpoint`].
//! 3. *Is this record in it?* [`Included::check`].
//! 4. *Has the log only grown since I last looked?* [`Head::advance`].
//!
//! The formats are those of C2SP: tlog-checkpoint, signed-note, tlog-cosignature (Ed25519, v1), tlog-tiles and
//! tlog-proof, so that stock clients can read what a broker serves under `/log/`.
//!
//! Deliberately absent: storage (a caller hands in a [`HashReader`]), clocks (the times that witnesses state are returned,
//! not judged), randomness (salts are arguments), and the network. Keys are never generated here.

mod checkpoint;
mod error;
mod hash;
mod key;
mod leaf;
mod memory;
mod proof;
mod tile;
mod tree;
mod witness;

pub use checkpoint::{Checkpoint, SignedCheckpoint, VerifiedCheckpoint};
pub use error::TlogError;
pub use hash::TreeHash;
pub use key::{LogKey, LogSigner, WitnessKey, WitnessSigner};
pub use leaf::{Commitment, Opening, Record};
pub use memory::LogTree;
pub use proof::{ConsistencyProof, Head, Included, InclusionProof, LogProof, MAX_PROOF_LINES};
pub use tile::{Tile, TileKind, decode_bundle, encode_bundle, tile_path};
pub use tree::{Appended, Appender, HashReader, prove_consistency, prove_inclusion, root};
pub use witness::{Cosigned, Rollback, WitnessPolicy};
