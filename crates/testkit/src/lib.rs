//! A whole room in one process: forged authorities and TPMs, parties with fixed keys, a fixed clock, a log in memory.
//!
//! Everything a real TPM would never do can be done here, and everything that others sign can be signed wrongly, so that each
//! check is met by documents that are wrong in one thing only. [`Room::receipt`] tells the story of one run up to its receipt;
//! [`Twists`] change one thing at the moment when it is said, and everything after it is said correctly on top.
//!
//! Never published and never linked by a shipped binary: it is a development dependency of the crates that it tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod hygon;
pub mod intel;
mod machine;
mod room;
pub mod snp;
mod story;

pub use machine::{AK_ATTRIBUTES, Authority, Machine, QuoteFields};
pub use room::{Party, Room, now};
pub use story::{Said, Slot, Twists};
