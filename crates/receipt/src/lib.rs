//! One file that proves a run offline.
//!
//! A receipt holds what the broker, the worker and the parties signed, with the log's proofs, and nothing that only the broker
//! could say: no row counts, no suppression counts, no durations. [`verify`] repeats every decision from the file alone
//! and from the trust anchors that the verifier chooses; the worker runs the first half of the same steps
//! before it uses a key.
//!
//! Deliberately absent: I/O, a clock, and a verdict without its steps.

mod document;
mod grounds;
mod statements;
mod verify;

pub use document::{Attested, Format, Grounds, Logged, Receipt};
pub use grounds::{CheckedGrounds, GroundsError, check_grounds, check_vouched};
pub use statements::{
    AgreementInForce, Released, SecretDestroyed, SecretPolicySet, SecretReleased, SecretStored, opening,
};
pub use verify::{Anchors, Failure, Reason, Step, VerifiedReceipt, verify};

#[doc(no_inline)]
pub use attest::tpm::Enrolment;
