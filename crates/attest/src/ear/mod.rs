//! Attestation Results as EAR: EAT claims and the AR4SI trustworthiness vector, in JWT and in CWT.
//!
//! [`Ear`] is what a Verifier says; anybody can write one down. What a Relying Party may act on is [`verify::VerifiedEar`], which only the check of a
//! signature makes. The overall status of an appraisal is the signed one and is never computed again from the vector: a reader that
//! computed its own would decide something the Verifier did not. [`TrustVector::status`] is for the Verifier, when it writes.
//!
//! Sources: draft-ietf-rats-ear (claims and their labels), draft-ietf-rats-ar4si (the vector), RFC 9711 (EAT), RFC 7519 and RFC 8392.
//! Absent: a status or a vector's value that is not known (refused), and a default for either.

mod cwt;
mod error;
pub mod issue;
pub mod jwt;
pub mod verify;

use std::collections::BTreeMap;

use serde_json::Value;

pub use cwt::IssueError;
pub use error::TokenError;

/// What a Verifier says.
#[derive(Debug, Clone, PartialEq)]
pub struct Ear {
    /// The profile (`eat_profile`, label 265).
    pub profile: String,
    /// Seconds since 1970 (`iat`, label 6).
    pub issued_at: i64,
    /// Seconds since 1970 (`exp`, label 4).
    pub expires: Option<i64>,
    /// Seconds since 1970 (`nbf`, label 5).
    pub not_before: Option<i64>,
    /// Who issued it (`iss`, label 1).
    pub issuer: Option<String>,
    /// Whom it is for (`aud`, label 3).
    pub audience: Option<String>,
    /// Its own identity (`jti`, in a CWT `cti`, label 7).
    pub token_id: Option<String>,
    /// The challenges that it answers (`eat_nonce`, label 10; RFC 9711, section 4.1), as the token writes them; base64url of the bytes in a CWT.
    /// Mostly one; each of several is answered.
    pub nonces: Vec<String>,
    /// Who appraised (`ear.verifier-id`, label 1004).
    pub verifier: VerifierId,
    /// The key that the Attester proved (`cnf`, RFC 7800), a JWK.
    pub confirmation: Option<Value>,
    /// The appraisals, by submodule; at least one (`submods`, label 266).
    pub submodules: BTreeMap<String, Appraisal>,
    /// Claims that are not known here, as the token writes them. Signed, and without influence on anything.
    pub extensions: BTreeMap<String, Value>,
}

/// The software that appraised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierId {
    /// Label 0.
    pub developer: String,
    /// Label 1.
    pub build: String,
}

/// The appraisal of one submodule.
#[derive(Debug, Clone, PartialEq)]
pub struct Appraisal {
    /// The overall status (`ear.status`, label 1000).
    pub status: Status,
    /// In detail (`ear.trustworthiness-vector`, label 1001).
    pub vector: Option<TrustVector>,
    /// The policy, by identity or digest (`ear.appraisal-policy-id`, label 1003).
    pub policy_id: Option<String>,
    /// Claims that are not known here, as the token writes them.
    pub extensions: BTreeMap<String, Value>,
}

/// The overall status of an appraisal. Ordered: a worse one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing is said.
    None,
    /// Recognised and not compromised.
    Affirming,
    /// With known faults.
    Warning,
    /// Unacceptable.
    Contraindicated,
}

/// The eight claims of AR4SI, each from −128 to 127; absent where the Verifier says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrustVector {
    /// Label 0.
    pub instance_identity: Option<i8>,
    /// Label 1.
    pub configuration: Option<i8>,
    /// Label 2.
    pub executables: Option<i8>,
    /// Label 3.
    pub file_system: Option<i8>,
    /// Label 4.
    pub hardware: Option<i8>,
    /// Label 5.
    pub runtime_opaque: Option<i8>,
    /// Label 6.
    pub storage_opaque: Option<i8>,
    /// Label 7.
    pub sourced_data: Option<i8>,
}

impl Status {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Status::None => "none",
            Status::Affirming => "affirming",
            Status::Warning => "warning",
            Status::Contraindicated => "contraindicated",
        }
    }

    /// The number in CBOR.
    pub const fn number(self) -> i8 {
        match self {
            Status::None => 0,
            Status::Affirming => 2,
            Status::Warning => 32,
            Status::Contraindicated => 96,
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// By its number.
    pub fn from_number(number: i64) -> Option<Status> {
        Status::ALL.into_iter().find(|status| i64::from(status.number()) == number)
    }

    /// The tier of one value of a vector (AR4SI, section 2.3.2).
    pub const fn of(value: i8) -> Status {
        match value {
            -1..=1 => Status::None,
            2..=31 | -32..=-2 => Status::Affirming,
            32..=95 | -96..=-33 => Status::Warning,
            96..=127 | -128..=-97 => Status::Contraindicated,
        }
    }

    const ALL: [Status; 4] = [Status::None, Status::Affirming, Status::Warning, Status::Contraindicated];
}

impl TrustVector {
    /// The claims that are said, by label and name, in the order of their labels.
    pub fn claims(&self) -> impl Iterator<Item = (i64, &'static str, i8)> + use<> {
        let claims = [
            (0, self.instance_identity),
            (1, self.configuration),
            (2, self.executables),
            (3, self.file_system),
            (4, self.hardware),
            (5, self.runtime_opaque),
            (6, self.storage_opaque),
            (7, self.sourced_data),
        ];
        claims.into_iter().zip(NAMES).filter_map(|((label, value), name)| Some((label, name, value?)))
    }

    /// The worst of its claims: the best status that a Verifier may give with this vector.
    pub fn status(&self) -> Status {
        self.claims().map(|(_, _, value)| Status::of(value)).max().unwrap_or(Status::None)
    }

    /// Sets the claim with this label, once.
    pub(crate) fn set(&mut self, label: i64, value: i8) -> Option<()> {
        let slot = match label {
            0 => &mut self.instance_identity,
            1 => &mut self.configuration,
            2 => &mut self.executables,
            3 => &mut self.file_system,
            4 => &mut self.hardware,
            5 => &mut self.runtime_opaque,
            6 => &mut self.storage_opaque,
            7 => &mut self.sourced_data,
            _ => return None,
        };
        *slot = Some(value);
        Some(())
    }

    /// The label of the claim with this name.
    pub(crate) fn label(name: &str) -> Option<i64> {
        NAMES.iter().zip(0..).find(|(known, _)| **known == name).map(|(_, label)| label)
    }
}

const NAMES: [&str; 8] = [
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
];
