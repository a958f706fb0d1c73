//! Parties, manifests, agreements, consents, offers and runs; and the decision whether an agreement is in force.
//!
//! Pure: no I/O, no clock. A time is an argument.

pub mod documents;
