//! What the attested broker states, signs and logs before it takes effect.

use std::collections::{BTreeMap, BTreeSet};

use envelope::{
    Digest,
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
