//! The messages of the KBS protocol 0.4.0 (Confidential Containers), as its clients write and read them.
//!
//! Names, cases and paddings are that protocol's and are mixed: outer members in kebab-case, two inner ones in snake_case; challenge
//! nonces in base64 with padding, members of keys and of JWE without. What is parsed here is form; nothing here proves anything.
//! `docs/spec/kbs.md` has the exchange, and what is weaker in it than in this broker's own API.
//!
//! Deliberately absent: `RSA1_5` and experimental key types.

use serde::{Deserialize, Serialize};

/// The only version that is spoken.
pub const VERSION: &str = "0.4.0";
/// The name of the session's cookie.
pub const COOKIE: &str = "kbs-session-id";
/// What every path begins with.
pub const PREFIX: &str = "/kbs/v0";
/// The beginning of every error's type.
pub const ERRORS: &str = "https://github.com/confidential-containers/kbs/errors/";

/// POST `/kbs/v0/auth`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub version: String,
    /// The kind of the primary Evidence.
    pub tee: String,
    /// Anything; `supported-hash-algorithms` is looked at.
    pub extra_params: serde_json::Value,
}

/// The answer: a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Challenge {
    /// Enters the report data as it stands here.
    pub nonce: String,
    /// Empty, or an object with `selected-hash-algorithm`.
    pub extra_params: serde_json::Value,
}

/// POST `/kbs/v0/attest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Attestation {
    /// What was measured at the start of the guest, where it was.
    #[serde(default)]
    pub init_data: Option<InitData>,
    /// What the report data is a digest of.
    pub runtime_data: RuntimeData,
    /// The Evidence.
    pub tee_evidence: CompositeEvidence,
}

/// Initial data of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitData {
    /// `toml`.
    pub format: String,
    /// The document.
    pub body: String,
}

/// What the report data is a digest of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RuntimeData {
    /// As the challenge had it.
    pub nonce: String,
    /// What secrets are encrypted to.
    pub tee_pubkey: TeeKey,
}

/// Evidence of a processor and of devices beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompositeEvidence {
    /// In the form of its kind.
    pub primary_evidence: serde_json::Value,
    /// Empty, or JSON in text.
    pub additional_evidence: String,
}

/// A JWK that secrets can be encrypted to. Which members go together is decided by whoever uses it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeeKey {
    /// `EC` or `RSA`.
    pub kty: String,
    /// `ECDH-ES+A256KW` or `RSA-OAEP-256`.
    pub alg: String,
    /// `P-256` or `P-521`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// A coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// A coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// A modulus, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// An exponent, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
}

/// The answer to an attestation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// A JWT.
    pub token: String,
}

/// An encrypted secret: a flattened JWE (RFC 7516, section 7.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwe {
    /// The header, base64url.
    pub protected: String,
    /// The content key, wrapped, base64url.
    pub encrypted_key: String,
    /// 12 bytes, base64url.
    pub iv: String,
    /// base64url.
    pub ciphertext: String,
    /// 16 bytes, base64url.
    pub tag: String,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// [`ERRORS`] and a word.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    pub detail: String,
}

/// What an Attester's report data must be a digest of, in canonical JSON (RFC 8785), for the primary Evidence.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BoundData<'a> {
    /// As it was received.
    pub additional_evidence: &'a str,
    /// Of the challenge.
    pub nonce: &'a str,
    /// As it was received.
    pub tee_pubkey: &'a TeeKey,
}
