//! What the attested broker states, signs and logs before it takes effect.

use std::collections::{BTreeMap, BTreeSet};

use envelope::{
    Digest, PublicKey,
    statement::{Predicate, Signed, Subject},
    text::Bytes32,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An agreement that every party consented to, or that an offer matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementInForce {
    /// The agreement's digest.
    pub agreement: Digest,
    /// The statement digests of the consents and offers it stands on, by the party's name in the agreement.
    pub grounds: BTreeMap<String, Digest>,
    /// The broker's clock.
    pub since: Timestamp,
}

/// Keys released to one worker for one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// The run's id.
    pub run: Digest,
    /// The agreement's digest.
    pub agreement: Digest,
    /// By manifest: the columns whose keys were released. Never more than the agreement records for the computation.
    pub columns: BTreeMap<Digest, BTreeSet<String>>,
    /// The binding (its SHA-256 form) that the worker's Evidence held.
    pub binding: Digest,
    /// The digest of the Evidence's canonical JSON.
    pub evidence: Digest,
    /// The statement digest of the worker's enrolment.
    pub enrolment: Digest,
    /// The lease's id.
    pub lease: Bytes32,
    /// The time that was given to the appraisal, by the broker's clock.
    pub appraised: Timestamp,
    /// The statement digests of the auditors' documents on which it stands, where the agreement asks for any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reference_values: BTreeSet<Digest>,
}

/// A secret is in the broker's custody. Neither the secret nor its digest is in the log, which forgets nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretStored {
    /// `REPOSITORY/TYPE/TAG`.
    pub path: String,
    /// Whose it is.
    pub owner: PublicKey,
    /// Grows with every replacement.
    pub version: u64,
    /// The owner's statement; `None` where it came through an administrator's client of the KBS protocol.
    pub push: Option<Digest>,
    /// Its own conditions: the digest of their text.
    pub policy: Option<Digest>,
    /// The broker's clock.
    pub since: Timestamp,
}

/// A secret was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretDestroyed {
    /// `REPOSITORY/TYPE/TAG`.
    pub path: String,
    /// Whose it was.
    pub owner: PublicKey,
    /// The last version.
    pub version: u64,
    /// The broker's clock.
    pub at: Timestamp,
}

/// The conditions of those of a party's secrets that have none of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretPolicySet {
    /// Whose.
    pub owner: PublicKey,
    /// The digest of their text.
    pub policy: Digest,
    /// The broker's clock.
    pub since: Timestamp,
}

/// A secret left to an Attester.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretReleased {
    /// `REPOSITORY/TYPE/TAG`.
    pub path: String,
    /// Whose it is.
    pub owner: PublicKey,
    /// Which version left.
    pub version: u64,
    /// The conditions that were met: the digest of their text.
    pub policy: Digest,
    /// The attestation on which it left (the token's `jti`). Further requests on it for the same version are the same release.
    pub attestation: String,
    /// The SHA-256 thumbprint (RFC 7638) of the key that it was encrypted to.
    pub holder: String,
    /// The digest of what was found in the Evidence, in canonical JSON.
    pub result: Digest,
    /// The kind of Evidence.
    pub tee: String,
    /// The broker's clock.
    pub at: Timestamp,
}

impl Predicate for SecretStored {
    const TYPE: &'static str = "urn:glovebox:secret-stored:v1";

    fn subject(&self) -> Subject {
        secret(&self.path)
    }
}

impl Predicate for SecretDestroyed {
    const TYPE: &'static str = "urn:glovebox:secret-destroyed:v1";

    fn subject(&self) -> Subject {
        secret(&self.path)
    }
}

impl Predicate for SecretPolicySet {
    const TYPE: &'static str = "urn:glovebox:secret-policy-set:v1";

    fn subject(&self) -> Subject {
        Subject { name: "policy".to_owned(), digest: self.policy }
    }
}

impl Predicate for SecretReleased {
    const TYPE: &'static str = "urn:glovebox:secret-released:v1";

    fn subject(&self) -> Subject {
        secret(&self.path)
    }
}

fn secret(path: &str) -> Subject {
    Subject { name: path.to_owned(), digest: Digest::of(path.as_bytes()) }
}

impl Predicate for AgreementInForce {
    const TYPE: &'static str = "urn:glovebox:in-force:v1";

    fn subject(&self) -> Subject {
        Subject { name: "agreement".to_owned(), digest: self.agreement }
    }
}

impl Predicate for Released {
    const TYPE: &'static str = "urn:glovebox:released:v1";

    fn subject(&self) -> Subject {
        Subject { name: "run".to_owned(), digest: self.run }
    }
}

/// The kind under which a statement is logged is its predicate type, and the record is the statement's digest.
pub fn opening<T: Predicate>(statement: &Signed<T>, salt: &Bytes32) -> tlog::Opening {
    tlog::Opening { kind: T::TYPE.to_owned(), record: *statement.digest(), salt: salt.0 }
}
