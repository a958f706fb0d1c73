//! The receipt and the order as files: one JSON document each, everything in it still to be checked.

use agreement::documents::Agreement;
use attest::{Evidence, binding::BindingParts};
use envelope::{
    canonical::{self, CanonicalError},
    statement::Envelope,
    text::Bytes32,
};
use serde::{Deserialize, Serialize};
use tlog::InclusionProof;

/// A signed statement with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logged {
    /// The statement.
    pub statement: Envelope,
    /// The salt of its leaf.
    pub salt: Bytes32,
    /// Its inclusion in the checkpoint of the document that holds this.
    pub proof: InclusionProof,
}

/// What must be true before anybody touches a key: handed to the worker with a run, and the first half of a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grounds {
    /// The agreement, whole.
    pub agreement: Agreement,
    /// Signed manifests of the versions that the run reads.
    pub manifests: Vec<Envelope>,
    /// Signed consents.
    pub consents: Vec<Logged>,
    /// Signed offers that stand in for consents.
    pub offers: Vec<Logged>,
    /// Signed rotations of keys of its parties, in order.
    pub rotations: Vec<Logged>,
    /// Signed Reference Values of auditors, where the agreement asks that they vouch for the worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_values: Vec<Logged>,
    /// The broker's statement that the agreement is in force.
    pub in_force: Logged,
    /// The run as its requester signed it.
    pub run: Logged,
    /// The log's signed checkpoint (C2SP), to which every proof in this document leads.
    pub checkpoint: String,
}

/// The broker's own Evidence, bound to the worker's challenge for this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attested {
    /// What the machine showed.
    pub evidence: Evidence,
    /// Everything that the Evidence was bound to.
    pub binding: BindingParts,
}

/// One file that proves a run offline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The format's name and version.
    pub format: Format,
    /// Agreement, consents, run; proofs against the receipt's own checkpoint.
    pub grounds: Grounds,
    /// The broker's signed enrolment of the worker's attestation key.
    pub enrolment: Logged,
    /// The worker's Evidence and every part of its binding.
    pub worker: Attested,
    /// The broker's statement of what it released.
    pub released: Logged,
    /// The rules that were applied, in canonical JSON, as `check` explains them.
    pub rules: String,
    /// The worker's statement of the result, signed by its attested key.
    pub result: Logged,
}

/// The format of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// This one.
    #[serde(rename = "glovebox receipt v1")]
    V1,
}

impl Receipt {
    /// Reads a receipt file. Its bytes must be the document's canonical form, so that no byte of the file is without meaning
    /// and any that changes is noticed.
    ///
    /// # Errors
    /// Too large, of another shape, or not canonical.
    pub fn parse(bytes: &[u8]) -> Result<Receipt, CanonicalError> {
        canonical::from_slice(bytes)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// Only if it cannot be written as canonical JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }
}
