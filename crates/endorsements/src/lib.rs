//! Endorsements as inputs: what makers of hardware sign about it, kept where an appraisal can use it without a network.
//!
//! The makers' services publish security versions, identities and revocation lists; whoever appraises needs them current, and must not
//! depend on those services at that moment. A [`Cache`] takes each object from its maker's service ([`Client`]), checks it with the
//! Verifier's own checks ([`check_before_store`]), and keeps it exactly as it was received ([`Store`]). It gives it to our own Verifier
//! and, in the makers' own URL layouts, to others ([`serve`]). Machines without a network are filled from one file ([`bundle`]).
//!
//! The directory is not trusted: what is read from it is checked again, as if it had just come. What is expired is refused by name. What
//! Intel numbers (`tcbEvaluationDataNumber`) never goes back: the highest number ever seen is kept beside the objects ([`Floors`]), per kind, FMSPC and
//! schedule, and outlives their removal. Deliberately absent: registration of platforms, PCK certificates by platform manifest, and a way to keep an
//! object that does not verify. See `docs/spec/endorsements.md`.

mod allowance;
mod answer;
pub mod bundle;
mod cache;
mod check;
mod client;
mod floors;
mod needed;
mod object;
mod reader;
mod server;
mod store;

pub use cache::{Cache, CacheError, Clock};
pub use check::{Anchors, CheckError, Checked, check_before_store};
pub use client::{Client, ClientError, Service, Sources, TlsRoots};
pub use floors::Floors;
pub use needed::{OfQuote, OfReport};
pub use object::{AmdTcb, ChipId, NotAnObject, ObjectId, PckAuthority, Product, RimId, SigningKind, Tee, Update};
pub use reader::Reader;
pub use server::{ServeError, TlsIdentity, serve};
pub use store::{Received, Store, StoreError};
