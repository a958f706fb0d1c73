//! Parties, manifests, agreements, consents, offers and runs; and the decision whether an agreement is in force.
//!
//! Pure: no I/O, no clock. A time is an argument. Three layers, each relying on the one before it: [`documents`] are what
//! people and machines sign; [`shape`], [`keys`] and [`offers`] are the parts of the decision; [`in_force`] is the decision, and
//! [`permit`] what it allows one run to do. [`toml`] reads the files that people write, and [`words`] says what an agreement
//! means before anybody consents to it.

pub mod documents;
pub mod in_force;
pub mod keys;
pub mod offers;
pub mod permit;
pub mod shape;
pub mod sources;
mod stricter;
pub mod toml;
pub mod words;
