//! Appraisal of Evidence: whether a machine is what an agreement asked for.
//!
//! The words are those of RFC 9334. An Attester (a worker, a broker) sends [`Evidence`]; whoever vouches for its keys supplies
//! [`Endorsements`]; the agreement carries the [`AppraisalPolicy`] with its Reference Values; and
//! [`Verifier::appraise`] turns these, the [`binding::Binding`] of this very exchange and the time into an
//! [`AttestationResult`] or one named [`AppraisalError`].
//!
//! What is mandatory is code, and a policy can only narrow it: there is no expectation that may be left out. An
//! [`AttestationResult`] has private fields and one constructor, which is the appraisal; it can be written (a receipt keeps a
//! snapshot) and never read back, so nobody can hold one that was not earned.
//!
//! A policy can also ask that auditors vouch for what was measured; [`reference::Vouched`] is a result for which they do.
//!
//! Each platform is a module behind [`Evidence`]; this version knows TPM 2.0 ([`tpm`]). Deliberately absent: I/O, clocks,
//! the environment, fetching of anything, C parsers, and a mode that skips. Times, certificates and random bytes are arguments.
//! The numbered steps are those of `docs/spec/appraisal.md`.

pub mod arm;
pub mod azure;
pub mod binding;
pub mod boot;
mod cbor;
pub mod ccel;
pub mod certificate;
mod confidential_vm;
pub mod corim;
mod cose;
pub mod detect;
pub mod ear;
mod error;
pub mod event_log;
pub mod events;
mod evidence;
pub mod gcp;
mod hash;
pub mod hygon;
pub mod ibm;
pub mod ima;
pub mod intel;
pub mod keys;
pub mod keystone;
pub mod nitro;
pub mod nvidia;
pub mod platform;
mod policy;
mod reader;
pub mod reference;
mod result;
pub mod risc0;
pub mod roots;
pub mod snp;
mod tier;
pub mod tpm;

pub use cbor::CborError;
pub use cose::CoseError;
pub use error::{AppraisalError, ChainFault};
pub use evidence::{ConfidentialVmEvidence, Endorsements, Evidence, HardwareEvidence, PcrValue, TpmEvidence};
pub use hash::{Bank, HashAlgorithm};
pub use policy::{
    AppraisalPolicy, Clock, EndorsementKeys, EndorsementRoot, HardwareRule, PolicyDocument, PolicyError,
    ReferenceValue, TpmPolicy,
};
pub use reader::FormatError;
pub use result::{AttestationResult, Measurement, Step};
pub use tier::Tier;
pub use tpm::credential;

use jiff::Timestamp;

/// The role that appraises (RFC 9334, section 7). It has no state: all it needs is an argument.
pub struct Verifier;

impl Verifier {
    /// Appraises Evidence for one use.
    ///
    /// `binding` is what this exchange must have put into the Evidence, computed by the caller from its own view of the channel;
    /// `now` decides the validity of certificates. Every check of `docs/spec/appraisal.md` runs, in its order.
    ///
    /// # Errors
    /// The first step that fails, by name.
    pub fn appraise(
        evidence: &Evidence,
        endorsements: &Endorsements,
        binding: &binding::Binding,
        policy: &AppraisalPolicy,
        now: Timestamp,
    ) -> Result<AttestationResult, AppraisalError> {
        let enrolled = endorsements.tpm.as_ref().ok_or(AppraisalError::EndorsementMissing)?;
        let result = tpm::appraise(evidence.tpm(), enrolled, binding, policy, now)?;
        match (evidence, policy.hardware().is_empty()) {
            (Evidence::Tpm(_), true) => Ok(result),
            (Evidence::Tpm(_), false) => Err(AppraisalError::HardwareMissing),
            (Evidence::ConfidentialVm(_), true) => Err(AppraisalError::HardwareUnexpected),
            (Evidence::ConfidentialVm(evidence), false) => {
                confidential_vm::appraise(&evidence.hardware, result, binding, policy, now)
            }
        }
    }
}
