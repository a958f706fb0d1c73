//! What an agreement in force lets one run do.
//!
//! A [`Permitted`] run is the answer to everything that a broker or a worker must know to serve it: which versions, which
//! columns of each and no others, under which rules, for whom the result is sealed, and how long keys live. It has one
//! constructor, [`InForce::permit`]. The expiry of the run's *statement* is for whoever accepts it, once; the expiry of the agreement
//! is looked at again here, because a lease is renewed by permitting the run again.

use std::collections::{BTreeMap, BTreeSet};

use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Signed},
};
use jiff::Timestamp;

use crate::{
    documents::{Agreement, Charge, Computation, Identity, Manifest, ReleaseTerms, Run},
    in_force::{Ground, InForce},
    sources::VersionFault,
};

/// A run that an agreement in force permits.
#[derive(Debug, Clone, PartialEq)]
pub struct Permitted {
    run: Digest,
    agreement: Digest,
    requester: String,
    name: String,
    computation: Computation,
    inputs: BTreeMap<String, Input>,
    recipients: BTreeMap<String, Identity>,
    release: ReleaseTerms,
    expires: Timestamp,
    offers: BTreeSet<Digest>,
}

/// One dataset version that a run reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The statement digest of its manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The local name of its owner.
    pub owner: String,
    /// The columns that the run may read; never hidden ones.
    pub columns: BTreeSet<String>,
}

/// Why a run is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunRefusal {
    /// The agreement has ended since it was found in force.
    #[error("the agreement expired at {0}")]
    Expired(Timestamp),
    /// Meant for another broker.
    #[error("the run is addressed to the broker `{0}`, not to this one")]
    OtherBroker(PublicKey),
    /// Of another agreement.
    #[error("the run is of the agreement `{0}`, not of this one")]
    OtherAgreement(Digest),
    /// Signed by a party's key that was rotated away.
    #[error("the run is signed by `{0}`, a key that `{1}` has replaced\nhint: submit it again with the new key")]
    EndedKey(PublicKey, String),
    /// Signed by a stranger.
    #[error("the run is signed by `{0}`, who is not a party to the agreement")]
    NotAParty(PublicKey),
    /// No such computation.
    #[error("the agreement has no computation {}", crate::words::quoted(.0))]
    UnknownComputation(String),
    /// Another program under that name.
    #[error("the run's program is `{stated}`; the agreement's computation `{computation}` is `{agreed}`")]
    Program {
        /// The computation.
        computation: String,
        /// What the agreement has.
        agreed: Digest,
        /// What the run says.
        stated: Digest,
    },
    /// A dataset that the computation reads has no version.
    #[error("the run names no version of dataset `{0}`, which the computation reads")]
    VersionMissing(String),
    /// A version of a dataset that the computation does not read.
    #[error("the run names a version of dataset {}, which the computation does not read", crate::words::quoted(.0))]
    VersionNotRead(String),
    /// A version that cannot be read.
    #[error("the run cannot read that version of dataset `{dataset}`")]
    Version {
        /// The dataset.
        dataset: String,
        /// Why.
        #[source]
        fault: VersionFault,
    },
}

impl InForce<Agreement> {
    /// Decides whether the agreement permits a run at `now`.
    ///
    /// # Errors
    /// The first reason why it does not, in the order of [`RunRefusal`].
    pub fn permit(&self, run: &Signed<Addressed<Run>>, now: Timestamp) -> Result<Permitted, RunRefusal> {
        let agreement = self.agreement();
        if now > agreement.expires {
            return Err(RunRefusal::Expired(agreement.expires));
        }
        let Addressed { audience, nonce: _, expires: _, body } = run.value();
        if *audience != agreement.broker.key {
            return Err(RunRefusal::OtherBroker(*audience));
        }
        let Run { agreement: of, computation: name, program, versions } = body;
        if of != self.digest() {
            return Err(RunRefusal::OtherAgreement(*of));
        }
        let requester = self.requester(run.signer())?;
        let computation =
            agreement.computations.get(name).ok_or_else(|| RunRefusal::UnknownComputation(name.clone()))?;
        let agreed = computation.digest();
        if *program != agreed {
            return Err(RunRefusal::Program { computation: name.clone(), agreed, stated: *program });
        }
        let inputs = self.inputs(computation, versions)?;
        Ok(Permitted {
            run: *run.digest(),
            agreement: *self.digest(),
            requester,
            name: name.clone(),
            computation: computation.clone(),
            inputs,
            recipients: self.recipients(computation),
            release: agreement.release,
            expires: agreement.expires,
            offers: self.grounds().values().filter_map(offer).collect(),
        })
    }

    fn requester(&self, signer: &PublicKey) -> Result<String, RunRefusal> {
        if let Some(name) = self.party_of(signer) {
            return Ok(name.to_owned());
        }
        let mut parties = self.agreement().parties.iter();
        match parties.find(|(_, terms)| self.keys().same_party(signer, terms.identity.signing())) {
            Some((name, _)) => Err(RunRefusal::EndedKey(*signer, name.clone())),
            None => Err(RunRefusal::NotAParty(*signer)),
        }
    }

    fn inputs(
        &self,
        computation: &Computation,
        versions: &BTreeMap<String, Digest>,
    ) -> Result<BTreeMap<String, Input>, RunRefusal> {
        if let Some(extra) = versions.keys().find(|dataset| !computation.columns.contains_key(*dataset)) {
            return Err(RunRefusal::VersionNotRead(extra.clone()));
        }
        let mut inputs = BTreeMap::new();
        for (dataset, columns) in &computation.columns {
            let missing = || RunRefusal::VersionMissing(dataset.clone());
            let digest = versions.get(dataset).ok_or_else(missing)?;
            let source = self.sources().get(dataset).ok_or_else(missing)?;
            let manifest =
                source.version(digest).map_err(|fault| RunRefusal::Version { dataset: dataset.clone(), fault })?;
            let owner = self.agreement().datasets.get(dataset).map(|terms| terms.owner.clone()).ok_or_else(missing)?;
            let input = Input { digest: *digest, manifest: manifest.clone(), owner, columns: columns.clone() };
            inputs.insert(dataset.clone(), input);
        }
        Ok(inputs)
    }

    /// Recipients come from the agreement alone; a party that rotated receives with its current identity.
    fn recipients(&self, computation: &Computation) -> BTreeMap<String, Identity> {
        let parties = self.agreement().parties.iter().filter(|(name, _)| computation.recipients.contains(*name));
        parties.map(|(name, terms)| (name.clone(), self.keys().current(&terms.identity).clone())).collect()
    }
}

impl Permitted {
    /// The run's id: the digest of its signed statement.
    pub const fn run(&self) -> &Digest {
        &self.run
    }

    /// The agreement's digest.
    pub const fn agreement(&self) -> &Digest {
        &self.agreement
    }

    /// The local name of the party that asked for it.
    pub fn requester(&self) -> &str {
        &self.requester
    }

    /// The computation's name in the agreement.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The computation.
    pub const fn computation(&self) -> &Computation {
        &self.computation
    }

    /// What it reads, by dataset name.
    pub const fn inputs(&self) -> &BTreeMap<String, Input> {
        &self.inputs
    }

    /// Whom the result is sealed to, by local name; at least one.
    pub const fn recipients(&self) -> &BTreeMap<String, Identity> {
        &self.recipients
    }

    /// Tick, lease and size.
    pub const fn release(&self) -> &ReleaseTerms {
        &self.release
    }

    /// What it costs each dataset's privacy budget.
    pub const fn charge(&self) -> &Charge {
        &self.computation.charge
    }

    /// No lease of it outlives this.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The offers that it counts against, by statement digest.
    pub const fn offers(&self) -> &BTreeSet<Digest> {
        &self.offers
    }
}

fn offer(ground: &Ground) -> Option<Digest> {
    match ground {
        Ground::Consent { statement: _, broker_ak: _ } => None,
        Ground::Offer { statement } => Some(*statement),
    }
}
