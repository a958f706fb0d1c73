//! An owner's standing terms, so that the owner's machine may be off when others agree and run.

use std::collections::{BTreeMap, BTreeSet};

use attest::AppraisalPolicy;
use envelope::{
    Digest, PublicKey,
    statement::{Predicate, Subject},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Charge, DatasetId, DatasetSource, ReleaseTerms, WitnessTerms};

/// Terms under which the signer consents in advance. Every field constrains; there is no way to leave one out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The signer's datasets that the terms are for.
    pub datasets: Vec<DatasetSource>,
    /// What for, word for word as an agreement must say it.
    pub purpose: String,
    /// The computations admitted, by digest, each with the columns of each of the signer's datasets that it may read.
    pub computations: BTreeMap<Digest, BTreeMap<DatasetId, BTreeSet<String>>>,
    /// Who may receive results.
    pub recipients: BTreeSet<PublicKey>,
    /// Other owners' datasets that may be joined.
    pub co_datasets: Vec<DatasetSource>,
    /// Who may be a party, besides the signer.
    pub parties: BTreeSet<PublicKey>,
    /// The brokers that may hold the key, each with its log's verifier key.
    pub brokers: BTreeMap<PublicKey, String>,
    /// What a broker's Evidence must at least show; an agreement's policy must be equal or stricter.
    pub broker_policy: AppraisalPolicy,
    /// What a worker's Evidence must at least show.
    pub worker_policy: AppraisalPolicy,
    /// At least this witness policy.
    pub witnesses: WitnessTerms,
    /// Ticks at least, leases and result sizes at most.
    pub release: ReleaseTerms,
    /// The largest charge of a run.
    pub charge: Charge,
    /// How many runs under this offer, over all agreements.
    pub max_runs: u64,
    /// What a run costs its requester; only 0 is admitted until there is a way to pay.
    pub price: u64,
    /// No run starts after this, and no agreement that outlives it matches.
    pub expires: Timestamp,
}

impl Predicate for Offer {
    const TYPE: &'static str = "urn:glovebox:offer:v1";

    fn subject(&self) -> Subject {
        Subject {
            name: "offer".to_owned(),
            digest: envelope::canonical::digest(&self.datasets).unwrap_or(Digest::from_bytes([0; 32])),
        }
    }
}
