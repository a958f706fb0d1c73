//! The decision to release a key, and the state it needs.

fn main() {}
