//! TPM 2.0: its structures, credential activation, and the appraisal of its quotes.
//!
//! Structures are parsed in safe Rust from the tables of TPM 2.0 Part 2; every parser is a function of a slice, uses up its bytes
//! exactly, and returns a type that holds only what was checked. Signatures, OAEP, AES and HMAC are AWS-LC's.

mod activation;
mod appraise;
pub mod credential;
mod endorsement;
mod public;
mod quote;
mod signature;
mod vtpm;

pub use activation::{Activation, EnrolledAk, Enrolment, KeyClaim, Vouching};
pub use appraise::check_quote;
pub use public::{AkFault, AkPublic, Curve, EkPublic, PublicKey, TpmName, TpmPublic};
pub use quote::{PcrSelection, Quote, QuoteError};
pub use signature::{Scheme, Signature};
pub use vtpm::{CheckedQuote, QuoteEvidence, QuoteFault, examine};

pub(crate) use appraise::appraise;
