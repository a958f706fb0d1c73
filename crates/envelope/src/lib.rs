//! The base of everything that is signed, digested or wrapped.
//!
//! Five small things live here and nothing else: [`Digest`], canonical JSON ([`canonical`]), signed statements
//! ([`statement`], DSSE around in-toto), keys wrapped to an attested encapsulation key ([`wrap`], HPKE), and the keys of a
//! sealed table ([`keys`]). With the feature `age`, blobs and results too ([`blob`]).
//!
//! The crate does no I/O and reads no clock: a time is an argument. The only thing it takes from its surroundings is the
//! operating system's randomness, when it makes a key. A document is parsed into a type or it does not exist; a signature
//! is checked by the constructor of [`statement::Signed`], so unverified contents cannot be reached by accident.

pub mod canonical;
mod digest;
mod identity;
pub mod keys;
pub mod statement;
pub mod text;
pub mod wrap;

#[cfg(feature = "age")]
pub mod blob;

pub use digest::{Digest, DigestError, DigestWriter};
pub use identity::{KeyError, PublicKey, SigningKey};
