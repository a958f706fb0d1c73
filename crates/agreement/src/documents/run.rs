//! A run and its result, as they are signed.

use std::collections::BTreeMap;

use envelope::{
    Digest,
    statement::{Predicate, Subject},
    text::Bytes32,
};
use serde::{Deserialize, Serialize};

/// A request for one execution. The run's id is the digest of this statement as its requester signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The agreement's digest.
    pub agreement: Digest,
    /// The computation's name in the agreement.
    pub computation: String,
    /// The computation's digest.
    pub program: Digest,
    /// By dataset name: the statement digest of the manifest of the version to read. All datasets that the computation reads.
    pub versions: BTreeMap<String, Digest>,
}

/// What a worker says of a finished run, signed by its attested signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultStatement {
    /// The run's id.
    pub run: Digest,
    /// The digest of the guarded plan that ran.
    pub plan: Digest,
    /// The digest of the rules that were applied: the computation's explanation in canonical form.
    pub rules: Digest,
    /// The digest of the padded, sealed result (an age file).
    pub output: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// The lease under which it was made.
    pub lease: Bytes32,
}

impl Predicate for Run {
    const TYPE: &'static str = "urn:glovebox:run:v1";

    fn subject(&self) -> Subject {
        Subject { name: self.computation.clone(), digest: self.agreement }
    }
}

impl Predicate for ResultStatement {
    const TYPE: &'static str = "urn:glovebox:result:v1";

    fn subject(&self) -> Subject {
        Subject { name: "run".to_owned(), digest: self.run }
    }
}
