//! The Merkle log's arithmetic: tiles, checkpoints, proofs, witnesses.
