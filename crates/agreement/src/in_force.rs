//! The decision whether an agreement is in force.
//!
//! An agreement is in force when, by the facts that a broker has recorded and at a given time,
//!
//! 1. it makes sense by itself ([`SoundAgreement`]) and names this broker,
//! 2. it has not expired, no party has revoked it, and no successor has taken its place,
//! 3. every dataset has a version that its owner signed, deposited with this broker and has not revoked,
//! 4. every party has consented, or has an offer that matches it ([`crate::offers`]).
//!
//! The broker decides this before each effect, and the worker decides it again from the same documents. [`InForce`] has one
//! constructor, which is the decision; what it lets a run do is decided in [`crate::permit`]. It is a statement about one moment,
//! so nobody keeps one: a lease is renewed with a new decision.
//!
//! Deliberately absent: the expiry of the *statements* (a consent is addressed to the broker and must reach it in
//! time; what it accepted then stays consented), the freshness of nonces, and the clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
};

use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Signed},
};
use jiff::Timestamp;

use crate::{
    documents::{Agreement, Consent, Manifest, Offer, Revocation, Revoked, Rotation},
    keys::{KeyHistory, RotationError},
    offers::{self, Mismatch},
    shape::{ShapeError, SoundAgreement},
    sources::{ColumnFault, Sources},
};

/// What a broker has recorded that bears upon one agreement. More than that does no harm: what does not bear is ignored.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The agreement in question.
    pub agreement: &'a Agreement,
    /// Manifests of its datasets.
    pub manifests: &'a [Signed<Manifest>],
    /// Consents, as the broker accepted them.
    pub consents: &'a [Signed<Addressed<Consent>>],
    /// Offers of its parties.
    pub offers: &'a [Signed<Addressed<Offer>>],
    /// Rotations, in the order of acceptance.
    pub rotations: &'a [Signed<Addressed<Rotation>>],
    /// Revocations.
    pub revocations: &'a [Signed<Addressed<Revocation>>],
    /// How many runs each offer (by statement digest) has admitted, over all agreements, not counting the run in question.
    pub runs_under_offer: BTreeMap<Digest, u64>,
    /// The manifests (by statement digest) whose keys the broker holds.
    pub deposited: &'a BTreeSet<Digest>,
    /// The agreement that took this one's place when it came into force ([`InForce::supersedes`]). It stays in place though
    /// the successor ends.
    pub superseded_by: Option<Digest>,
}

/// Something that is in force, decided at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce<T> {
    sound: SoundAgreement,
    sources: Sources,
    keys: KeyHistory,
    grounds: BTreeMap<String, Ground>,
    kind: PhantomData<fn() -> T>,
}

/// On what a party's agreement rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// It consented.
    Consent {
        /// The consent's statement digest.
        statement: Digest,
        /// The TPM name of the broker's AK that the party itself activated.
        broker_ak: Digest,
    },
    /// Its offer matches.
    Offer {
        /// The offer's statement digest. The broker counts the runs it admits.
        statement: Digest,
    },
}

/// A party whose consent is missing, and why its offers do not stand in for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingConsent {
    /// Its local name.
    pub party: String,
    /// Each of its offers that are for these datasets, by statement digest, and the clause that failed.
    pub offers: Vec<(Digest, Mismatch)>,
}

/// Why an agreement is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    /// It makes no sense by itself.
    #[error("the agreement is not sound")]
    Shape(#[source] ShapeError),
    /// It names another broker.
    #[error("the agreement names the broker `{0}`, not this one")]
    OtherBroker(PublicKey),
    /// The recorded rotations do not fit one another.
    #[error("the parties' rotations do not fit one another")]
    Rotation(#[source] RotationError),
    /// Two parties have become one.
    #[error("parties `{first}` and `{second}` have become the same by rotation")]
    SameParty {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// Too late.
    #[error("the agreement expired at {0}\nhint: make a new agreement that names this one as its predecessor")]
    Expired(Timestamp),
    /// A party ended it.
    #[error("`{by}` revoked the agreement")]
    Revoked {
        /// The party's local name.
        by: String,
    },
    /// A later agreement of the same parties took its place.
    #[error("the agreement `{0}` has taken this one's place")]
    SupersededBy(Digest),
    /// No manifest for a dataset.
    #[error("the manifest of dataset `{dataset}` is missing\nhint: its owner sends it with `glovebox agree`")]
    ManifestMissing {
        /// The dataset.
        dataset: String,
    },
    /// A manifest that the owner did not sign.
    #[error("the manifest of dataset `{dataset}` is signed by `{signer}`, who is not its owner")]
    ManifestSigner {
        /// The dataset.
        dataset: String,
        /// Who signed.
        signer: PublicKey,
    },
    /// A manifest whose key another broker holds.
    #[error("the key of dataset `{dataset}` is held by another broker, `{broker}`")]
    ManifestBroker {
        /// The dataset.
        dataset: String,
        /// Who holds it.
        broker: PublicKey,
    },
    /// The owner revoked the version, or all versions of the series.
    #[error("the owner of dataset `{dataset}` revoked it")]
    ManifestRevoked {
        /// The dataset.
        dataset: String,
    },
    /// The key has not come.
    #[error(
        "the key of dataset `{dataset}` has not been deposited\nhint: its owner deposits it with `glovebox agree` or `glovebox offer`"
    )]
    NotDeposited {
        /// The dataset.
        dataset: String,
    },
    /// Two versions of one dataset under two names, whose difference would show single entities.
    #[error("datasets `{first}` and `{second}` are versions of the same")]
    SameDataset {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A computation reads what it cannot read.
    #[error("computation `{computation}` cannot read dataset `{dataset}`")]
    Column {
        /// The computation.
        computation: String,
        /// The dataset.
        dataset: String,
        /// Why.
        #[source]
        fault: ColumnFault,
    },
    /// Not every party has consented.
    #[error(
        "not every party has consented: {}\nhint: send it to them, as the file that `glovebox agree NAME --export FILE` writes; each agrees to that file",
        names(.0)
    )]
    ConsentMissing(Vec<MissingConsent>),
}

impl InForce<Agreement> {
    /// Decides whether an agreement is in force at `now` with the broker that has this signing key.
    ///
    /// # Errors
    /// The first reason why it is not, in the order of the module's list.
    pub fn decide(facts: &Facts<'_>, broker: &PublicKey, now: Timestamp) -> Result<InForce<Agreement>, NotInForce> {
        let sound = SoundAgreement::new(facts.agreement.clone()).map_err(NotInForce::Shape)?;
        let agreement = sound.agreement();
        if agreement.broker.key != *broker {
            return Err(NotInForce::OtherBroker(agreement.broker.key));
        }
        let keys = KeyHistory::of(facts.rotations, broker).map_err(NotInForce::Rotation)?;
        check_parties_differ(agreement, &keys)?;
        if now > agreement.expires {
            return Err(NotInForce::Expired(agreement.expires));
        }
        if let Some(by) = revoked_by(&sound, facts, &keys, broker) {
            return Err(NotInForce::Revoked { by });
        }
        if let Some(successor) = facts.superseded_by {
            return Err(NotInForce::SupersededBy(successor));
        }
        let sources = Sources::of(&sound, facts, &keys, broker)?;
        let grounds = grounds(&sound, &sources, facts, &keys, broker, now)?;
        Ok(InForce { sound, sources, keys, grounds, kind: PhantomData })
    }

    /// The document.
    pub const fn agreement(&self) -> &Agreement {
        self.sound.agreement()
    }

    /// The agreement's digest.
    pub const fn digest(&self) -> &Digest {
        self.sound.digest()
    }

    /// The usable versions of its datasets.
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Who took whose place.
    pub const fn keys(&self) -> &KeyHistory {
        &self.keys
    }

    /// On what each party's agreement rests, by local name; every party is there.
    pub const fn grounds(&self) -> &BTreeMap<String, Ground> {
        &self.grounds
    }

    /// The local name of the party whose *current* signing key this is.
    pub fn party_of(&self, key: &PublicKey) -> Option<&str> {
        let mut parties = self.agreement().parties.iter();
        parties.find(|(_, terms)| self.keys.current(&terms.identity).signing() == key).map(|(name, _)| name.as_str())
    }

    /// Whether this agreement takes the place of an older one: it names it, and all the older one's parties are parties to
    /// this one too, so that nobody's agreement is replaced behind their back.
    pub fn supersedes(&self, older: &SoundAgreement) -> bool {
        let is_party = |key: &PublicKey| {
            self.agreement().parties.values().any(|terms| self.keys.same_party(terms.identity.signing(), key))
        };
        self.agreement().predecessor.as_ref() == Some(older.digest())
            && older.agreement().parties.values().all(|terms| is_party(terms.identity.signing()))
    }
}

fn check_parties_differ(agreement: &Agreement, keys: &KeyHistory) -> Result<(), NotInForce> {
    let mut seen = BTreeMap::new();
    for (name, terms) in &agreement.parties {
        if let Some(first) = seen.insert(*keys.current(&terms.identity).signing(), name.clone()) {
            return Err(NotInForce::SameParty { first, second: name.clone() });
        }
    }
    Ok(())
}

/// A revocation only ends things, so every key that a party has or had is heard.
fn revoked_by(sound: &SoundAgreement, facts: &Facts<'_>, keys: &KeyHistory, broker: &PublicKey) -> Option<String> {
    let mut mine = facts.revocations.iter().filter(|revocation| {
        revocation.value().audience == *broker && revocation.value().body.what == Revoked::Agreement(*sound.digest())
    });
    mine.find_map(|revocation| {
        let mut parties = sound.agreement().parties.iter();
        let party = parties.find(|(_, terms)| keys.same_party(revocation.signer(), terms.identity.signing()));
        party.map(|(name, _)| name.clone())
    })
}

fn grounds(
    sound: &SoundAgreement,
    sources: &Sources,
    facts: &Facts<'_>,
    keys: &KeyHistory,
    broker: &PublicKey,
    now: Timestamp,
) -> Result<BTreeMap<String, Ground>, NotInForce> {
    let (mut grounds, mut missing) = (BTreeMap::new(), Vec::new());
    for (name, terms) in &sound.agreement().parties {
        let key = terms.identity.signing();
        let consent = consent_of(key, sound.digest(), facts, keys, broker);
        match consent.map_or_else(|| offer_of(key, sound, sources, facts, keys, broker, now), Ok) {
            Ok(ground) => {
                grounds.insert(name.clone(), ground);
            }
            Err(offers) => missing.push(MissingConsent { party: name.clone(), offers }),
        }
    }
    if missing.is_empty() { Ok(grounds) } else { Err(NotInForce::ConsentMissing(missing)) }
}

fn consent_of(
    key: &PublicKey,
    agreement: &Digest,
    facts: &Facts<'_>,
    keys: &KeyHistory,
    broker: &PublicKey,
) -> Option<Ground> {
    let mut consents = facts.consents.iter();
    let consent = consents.find(|consent| {
        consent.value().audience == *broker
            && consent.value().body.agreement == *agreement
            && keys.succeeds(consent.signer(), key)
    })?;
    Some(Ground::Consent { statement: *consent.digest(), broker_ak: consent.value().body.broker_ak })
}

/// The first offer of the party that matches, or why each does not.
fn offer_of(
    key: &PublicKey,
    sound: &SoundAgreement,
    sources: &Sources,
    facts: &Facts<'_>,
    keys: &KeyHistory,
    broker: &PublicKey,
    now: Timestamp,
) -> Result<Ground, Vec<(Digest, Mismatch)>> {
    let mut mismatches = Vec::new();
    for offer in facts.offers.iter().filter(|offer| keys.same_party(offer.signer(), key)) {
        let runs = facts.runs_under_offer.get(offer.digest()).copied().unwrap_or(0);
        let matched = if offer.value().audience != *broker {
            Err(Mismatch::audience(&offer.value().audience, broker))
        } else if is_offer_revoked(offer, facts, keys, broker) {
            Err(Mismatch::revoked())
        } else {
            offers::matches(&offer.value().body, key, sound, sources, runs, now).map(|_| ())
        };
        match matched {
            Ok(()) => return Ok(Ground::Offer { statement: *offer.digest() }),
            Err(mismatch) => mismatches.push((*offer.digest(), mismatch)),
        }
    }
    Err(mismatches)
}

fn is_offer_revoked(
    offer: &Signed<Addressed<Offer>>,
    facts: &Facts<'_>,
    keys: &KeyHistory,
    broker: &PublicKey,
) -> bool {
    facts.revocations.iter().any(|revocation| {
        revocation.value().audience == *broker
            && revocation.value().body.what == Revoked::Offer(*offer.digest())
            && keys.same_party(revocation.signer(), offer.signer())
    })
}

fn names(missing: &[MissingConsent]) -> String {
    let one = |missing: &MissingConsent| {
        let why = missing.offers.iter().map(|(_, mismatch)| format!(" (its offer does not match: {mismatch})"));
        format!("`{}`{}", missing.party, why.collect::<String>())
    };
    missing.iter().map(one).collect::<Vec<_>>().join(", ")
}
