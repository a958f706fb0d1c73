//! Attestation Results as a JWT: EAR (draft-ietf-rats-ear-00) over EAT (RFC 9711), with the trustworthiness vector of AR4SI
//! (draft-ietf-rats-ar4si).
//!
//! A result says who verified (issuer, verifier), for whom (audience), once (`jti`), until when (at most [`LONGEST`]), which key the
//! Attester holds (`cnf`, RFC 7800), under which policy, and what was found. Signing is the caller's: this module has no key.
//! The header is one constant text with a key's name in it: no `jwk`, no `alg` to choose, so that whoever checks compares it whole.
//!
//! Deliberately absent: parsing of others' results, and a claim that could be left out.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use envelope::Digest;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Tier, platform::Assurance};

/// The longest life of a result.
pub const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// The profile that other verifiers name too.
pub const PROFILE: &str = "tag:github.com,2023:veraison/ear";

/// The claims of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// [`PROFILE`].
    pub eat_profile: String,
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: String,
    /// Names this result.
    pub jti: String,
    /// Seconds since 1970.
    pub iat: i64,
    /// Seconds since 1970; no more than [`LONGEST`] after `iat`.
    pub exp: i64,
    /// The Attester's key.
    pub cnf: Confirmation,
    /// Who verified.
    #[serde(rename = "ear.verifier-id")]
    pub verifier: VerifierId,
    /// What was found, by part of the Attester. There is a `cpu0`.
    pub submods: BTreeMap<String, Submodule>,
}

/// The key that the Attester proved (RFC 7800, section 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// A JWK.
    pub jwk: Value,
}

/// Who verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierId {
    /// Who made the Verifier.
    pub developer: String,
    /// Which version.
    pub build: String,
}

/// What was found about one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submodule {
    /// The weakest of the vector.
    #[serde(rename = "ear.status")]
    pub status: Status,
    /// By aspect.
    #[serde(rename = "ear.trustworthiness-vector")]
    pub vector: Vector,
    /// The policy of the appraisal: its digest.
    #[serde(rename = "ear.appraisal-policy-id")]
    pub policy: Digest,
    /// Everything that the Evidence says.
    #[serde(rename = "ear.veraison.annotated-evidence")]
    pub evidence: Value,
}

/// A tier of trust (AR4SI, section 2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing is said.
    None,
    /// Trusted.
    Affirming,
    /// To be used with care.
    Warning,
    /// Not to be trusted.
    Contraindicated,
}

/// What is said of each aspect (AR4SI, section 2.3.4). Zero says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Vector {
    /// Which Attester it is.
    pub instance_identity: i8,
    /// Its configuration.
    pub configuration: i8,
    /// What it runs.
    pub executables: i8,
    /// Its files.
    pub file_system: i8,
    /// Its hardware and firmware.
    pub hardware: i8,
    /// Whether its memory is hidden from outside.
    pub runtime_opaque: i8,
    /// Whether what it stores is.
    pub storage_opaque: i8,
    /// Whether its data come from who they should.
    pub sourced_data: i8,
}

/// Why a result cannot be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// It would live too long, or not at all.
    #[error("an Attestation Result lives for at most {} minutes", LONGEST.as_mins())]
    Life,
    /// It cannot be written or signed.
    #[error("the Attestation Result cannot be written or signed")]
    Signature,
}

impl Vector {
    /// What the examination of a platform lets one say. Software was measured and compared with nothing here, so nothing is said of it.
    pub fn of(tier: Tier, assurance: Assurance, identified: bool) -> Vector {
        let hardware = match assurance {
            Assurance::Affirmed if tier == Tier::SoftwareTpm => UNRECOGNISED_HARDWARE,
            Assurance::Affirmed => GENUINE,
            Assurance::Conditional(_) | Assurance::OutOfDate(_) | Assurance::RevocationUnknown => UNSAFE_HARDWARE,
            Assurance::SignatureOnly => UNSAFE_HARDWARE,
            Assurance::ParsedOnly => CONTRAINDICATED_HARDWARE,
        };
        let runtime_opaque = if tier >= Tier::Sgx && tier != Tier::SeveralVendors { ENCRYPTED_MEMORY } else { 0 };
        Vector {
            instance_identity: if identified { RECOGNISED_INSTANCE } else { 0 },
            hardware,
            runtime_opaque,
            ..Vector::default()
        }
    }

    /// The weakest of all that is said.
    pub fn status(&self) -> Status {
        let Vector {
            instance_identity,
            configuration,
            executables,
            file_system,
            hardware,
            runtime_opaque,
            storage_opaque,
            sourced_data,
        } = *self;
        let all = [
            instance_identity,
            configuration,
            executables,
            file_system,
            hardware,
            runtime_opaque,
            storage_opaque,
            sourced_data,
        ];
        all.into_iter().map(status).max().unwrap_or(Status::None)
    }
}

/// The header of every result that a key of this name signs, as it travels.
pub fn header(key: &str) -> String {
    // Both parts are plain text: a thumbprint is base64url.
    URL_SAFE_NO_PAD.encode(format!("{{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"{key}\"}}"))
}

/// Writes a result. `key` names the signing key, `sign` signs with ES256 (RFC 7518, section 3.4: 64 bytes).
///
/// # Errors
/// [`IssueError`].
pub fn jwt(claims: &Claims, key: &str, sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Result<String, IssueError> {
    let life = claims.exp.checked_sub(claims.iat).ok_or(IssueError::Life)?;
    if !(1..=LONGEST.as_secs()).contains(&life) {
        return Err(IssueError::Life);
    }
    let payload = serde_json::to_vec(claims).map_err(|_| IssueError::Signature)?;
    let mut text = header(key);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut text);
    let signature = sign(text.as_bytes()).filter(|signature| signature.len() == 64).ok_or(IssueError::Signature)?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(text)
}

/// Seconds since 1970.
pub fn seconds(time: Timestamp) -> i64 {
    time.as_second()
}

fn status(value: i8) -> Status {
    match value {
        -1..=1 => Status::None,
        -32..=-2 | 2..=31 => Status::Affirming,
        -96..=-33 | 32..=95 => Status::Warning,
        _ => Status::Contraindicated,
    }
}

// AR4SI, section 2.3.4.
const RECOGNISED_INSTANCE: i8 = 2;
const GENUINE: i8 = 2;
const UNSAFE_HARDWARE: i8 = 32;
/// Hardware that nobody vouches for is used with care, not called forged.
const UNRECOGNISED_HARDWARE: i8 = 32;
const CONTRAINDICATED_HARDWARE: i8 = 96;
const ENCRYPTED_MEMORY: i8 = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn claims() -> Claims {
        let vector = Vector::of(Tier::Tpm, Assurance::Affirmed, true);
        let part = Submodule {
            status: vector.status(),
            vector,
            policy: Digest::of(b"policy"),
            evidence: serde_json::json!({}),
        };
        Claims {
            eat_profile: PROFILE.to_owned(),
            iss: "broker".to_owned(),
            aud: "broker".to_owned(),
            jti: "1".to_owned(),
            iat: 1_000,
            exp: 1_300,
            cnf: Confirmation { jwk: serde_json::json!({ "kty": "EC" }) },
            verifier: VerifierId { developer: "glovebox".to_owned(), build: "1".to_owned() },
            submods: BTreeMap::from([("cpu0".to_owned(), part)]),
        }
    }

    #[test]
    fn a_result_has_three_parts_and_reads_back() {
        let text = jwt(&claims(), "key", |_| Some(vec![7; 64])).unwrap();
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(parts[0], header("key"));
        assert_eq!(serde_json::from_slice::<Claims>(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap(), claims());
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn a_result_lives_for_five_minutes_and_no_longer() {
        for exp in [1_000, 999, 1_301, i64::MAX] {
            assert_eq!(jwt(&Claims { exp, ..claims() }, "key", |_| Some(vec![7; 64])), Err(IssueError::Life));
        }
        assert_eq!(jwt(&claims(), "key", |_| Some(vec![7; 63])), Err(IssueError::Signature));
        assert_eq!(jwt(&claims(), "key", |_| None), Err(IssueError::Signature));
    }

    #[test]
    fn the_status_is_the_weakest_of_the_vector() {
        assert_eq!(Vector::default().status(), Status::None);
        assert_eq!(Vector::of(Tier::ConfidentialVm, Assurance::Affirmed, true).status(), Status::Affirming);
        assert_eq!(Vector::of(Tier::SoftwareTpm, Assurance::Affirmed, true).status(), Status::Warning);
        assert_eq!(Vector::of(Tier::ConfidentialVm, Assurance::ParsedOnly, true).status(), Status::Contraindicated);
    }
}
