//! Speaks to a TPM 2.0, so that a role can be an Attester.
//!
//! This crate carries the commands that Glovebox needs over a Linux device or a socket, in safe Rust and with no C
//! library: who the TPM is ([`EndorsementKey`]), a key that only signs what the TPM itself says ([`AttestationKey`]),
//! quotes over PCRs, proof that both keys live in one TPM (credential activation), and secrets that open only while the
//! PCRs are as they were ([`Tpm::seal`]). [`SoftwareTpm`] provisions and starts a software TPM for a laptop, and
//! [`Attester`] keeps TPM, key and event log together under one lock, so that a quote never falls between a
//! measurement and its log entry.
//!
//! The wire format is marshalled by hand in two small modules (`marshal`, `command`): twenty commands are few, and the
//! bytes that get signed must leave this crate exactly as the TPM sent them, never parsed and written again.
//!
//! Nothing here decides whether Evidence is good: that is the Verifier's work, in crate `attest`. Deliberately absent:
//! owner passwords (the hierarchies are used with empty authorization, or the machine's persistent storage key is), secrets
//! in NV, sessions that encrypt the wire. Whoever can tap the bus between processor and TPM, or who runs the software
//! TPM, sees what passes; the assurance tiers `tpm` and `software-tpm` say so.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod address;
mod attester;
mod command;
mod error;
mod keys;
mod marshal;
pub mod measure;
mod nv;
mod pcr;
mod seal;
mod software;
mod template;
mod tpm;
mod transport;

pub use address::{Address, AddressError};
pub use attest::{HashAlgorithm, PcrValue};
pub use attester::{Attester, AttesterError};
pub use error::{ResponseCode, TpmError};
pub use keys::{AttestationKey, EndorsementKey, KeyKind, Quote, SavedKey};
pub use pcr::{PcrSelection, SelectionError};
pub use seal::{MAX_SEALED, SealedBlob};
pub use software::{SoftwareTpm, SoftwareTpmError};
pub use template::EndorsementKind;
pub use tpm::{Clock, Description, Tpm};
