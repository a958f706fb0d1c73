//! The binding: one value that ties Evidence to its use, computed by both ends.
//!
//! ```text
//! binding = H("glovebox binding v1" ‖ purpose ‖ H(channel ‖ encapsulation ‖ signing) ‖ exporter ‖ nonce ‖ context)
//! ```
//!
//! Every part is preceded by its length as eight big-endian bytes, inside the inner hash too, so that no two sequences of
//! parts meet. H is SHA-256 where a TPM wants qualifying data and SHA-512 where a platform has 64 bytes of report data;
//! neither is ever truncated or padded. The purpose carries its own context, so a context of the wrong kind cannot be written.
//! What each part stops: the purpose, reflection; the leaf's key and the exporter, relay onto another session; the nonce,
//! replay; the encapsulation and signing keys, keys or results handed to somebody else; the context, use for another run.
//!
//! Deliberately absent: a binding without one of its parts.

use envelope::{Digest, text::Bytes32};
use serde::{Deserialize, Serialize};

use crate::{HashAlgorithm, tpm::TpmName};

/// The one label under which the TLS exporter (RFC 8446, section 7.5) of a binding is drawn, with an empty context and 32
/// bytes. Nothing else uses it, so that a receipt may publish the value.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-glovebox-binding-v1";

/// What Evidence is for, with the context that fixes it. A closed set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Purpose {
    /// A worker shows its attestation key to a broker for the first time.
    WorkerEnrol {
        /// The name of the attestation key (TPM 2.0 Part 1, "Names").
        ak_name: TpmName,
    },
    /// A worker asks for the keys of a run.
    WorkerRelease {
        /// The agreement's digest.
        agreement: Digest,
        /// The run's digest.
        run: Digest,
    },
    /// A worker asks for a longer lease on the keys it has.
    WorkerRenew {
        /// The agreement's digest.
        agreement: Digest,
        /// The run's digest.
        run: Digest,
    },
    /// A broker shows itself to a party that is about to deposit keys.
    BrokerDeposit {
        /// The party's signing key (Ed25519).
        #[serde(with = "array")]
        party: [u8; 32],
    },
}

/// The three public keys of the Attester's end of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelKeys {
    /// SubjectPublicKeyInfo (DER) of the Attester's TLS leaf.
    #[serde(with = "envelope::text::base64")]
    pub channel: Vec<u8>,
    /// Its HPKE public key.
    #[serde(with = "envelope::text::base64")]
    pub encapsulation: Vec<u8>,
    /// Its Ed25519 key, which signs results.
    #[serde(with = "array")]
    pub signing: [u8; 32],
}

/// Every part of a binding; a receipt publishes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingParts {
    /// What the Evidence is for.
    pub purpose: Purpose,
    /// Whose it is.
    pub keys: ChannelKeys,
    /// The exporter of the TLS session under [`EXPORTER_LABEL`].
    #[serde(with = "array")]
    pub exporter: [u8; 32],
    /// The Relying Party's fresh challenge.
    #[serde(with = "array")]
    pub nonce: [u8; 32],
}

/// A computed binding, and the purpose it was computed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    purpose: Purpose,
    sha256: [u8; 32],
    sha512: [u8; 64],
}

impl Purpose {
    /// The label that enters the binding.
    pub const fn label(&self) -> &'static str {
        match self {
            Purpose::WorkerEnrol { .. } => "worker-enrol",
            Purpose::WorkerRelease { .. } => "worker-release",
            Purpose::WorkerRenew { .. } => "worker-renew",
            Purpose::BrokerDeposit { .. } => "broker-deposit",
        }
    }

    /// The run that the Attester must have measured, for the purposes that speak of one.
    pub const fn run(&self) -> Option<&Digest> {
        match self {
            Purpose::WorkerRelease { run, .. } | Purpose::WorkerRenew { run, .. } => Some(run),
            Purpose::WorkerEnrol { .. } | Purpose::BrokerDeposit { .. } => None,
        }
    }

    fn context(&self) -> Vec<u8> {
        match self {
            Purpose::WorkerEnrol { ak_name } => encode(&[ak_name.as_bytes()]),
            Purpose::WorkerRelease { agreement, run } | Purpose::WorkerRenew { agreement, run } => {
                encode(&[agreement.as_bytes(), run.as_bytes()])
            }
            Purpose::BrokerDeposit { party } => encode(&[party]),
        }
    }
}

impl BindingParts {
    /// Computes the binding. Attester and Relying Party both call this, each with the parts that it sees itself.
    pub fn bind(&self) -> Binding {
        let mut sha256 = [0; 32];
        let mut sha512 = [0; 64];
        sha256.copy_from_slice(&self.digest(HashAlgorithm::Sha256));
        sha512.copy_from_slice(&self.digest(HashAlgorithm::Sha512));
        Binding { purpose: self.purpose.clone(), sha256, sha512 }
    }

    fn digest(&self, algorithm: HashAlgorithm) -> Vec<u8> {
        let keys = encode(&[&self.keys.channel, &self.keys.encapsulation, &self.keys.signing]);
        let message = encode(&[
            DOMAIN,
            self.purpose.label().as_bytes(),
            &algorithm.hash(&[&keys]),
            &self.exporter,
            &self.nonce,
            &self.purpose.context(),
        ]);
        algorithm.hash(&[&message])
    }
}

impl Binding {
    /// The form for a TPM's qualifying data: 32 bytes.
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The form for 64 bytes of report data.
    pub const fn sha512(&self) -> &[u8; 64] {
        &self.sha512
    }

    /// What it was computed for.
    pub const fn purpose(&self) -> &Purpose {
        &self.purpose
    }
}

/// Each part after its length as eight big-endian bytes.
fn encode(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Thirty-two bytes as base64url in documents.
mod array {
    use super::{Bytes32, Deserialize, Serialize};

    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        Bytes32(*bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        Ok(Bytes32::deserialize(deserializer)?.0)
    }
}

const DOMAIN: &[u8] = b"glovebox binding v1";
