//! Evidence of any platform in a person's hands: what files are, what is in them, and what they prove.
//!
//! Everything that decides is `attest`'s. Here files find their roles, Endorsements are taken from a folder or from a cache's directory, and the
//! outcome becomes words.

mod cbor;
mod elsewhere;
pub(crate) mod examine;
pub(crate) mod fields;
pub(crate) mod gather;
mod log;
mod parts;
mod platforms;
pub(crate) mod policy;
pub(crate) mod reference;
pub(crate) mod told;
mod written;
