//! The decision to release a key, and the state it needs.

pub mod store;
