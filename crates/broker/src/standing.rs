//! From records to the decision whether an agreement is in force.
//!
//! [`Known`] gathers what bears upon one agreement, each statement with its signature checked again, and hands it to
//! [`InForce::decide`]. [`settle`] states and logs that an agreement came into force, the first time that this is so.
//!
//! A decision made outside a change may be overtaken by a revocation. Whoever acts on one therefore compares the version of all
//! standing within the change that takes effect ([`Records::standing_version`]).
//!
//! Everything that [`Known`] is gathered from moves that version. So what was gathered, and its signatures checked, at one version is what
//! would be gathered again while the version stands ([`Remembered`]); the decision itself is about a moment, and made each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use agreement::{
    documents::{Agreement, Consent, DatasetSource, Manifest, Offer, Revocation, Rotation},
    in_force::{Facts, Ground, InForce, NotInForce},
    keys::KeyHistory,
    shape::SoundAgreement,
};
use attest::reference::{Provided, ReferenceValues};
use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Envelope, Predicate, Signed},
};
use jiff::Timestamp;
use receipt::AgreementInForce;

use crate::{
    auditors,
    identity::Keys,
    records::{AgreementRecord, Records, log, pair, put, table, touch},
    refusal::Refusal,
    store::{Store, StoreError, Tx},
};

/// What is known that bears upon one agreement.
pub(crate) struct Known {
    pub(crate) record: AgreementRecord,
    pub(crate) manifests: Vec<Signed<Manifest>>,
    pub(crate) consents: Vec<Signed<Addressed<Consent>>>,
    pub(crate) offers: Vec<Signed<Addressed<Offer>>>,
    pub(crate) line: Line,
    /// What auditors say who must vouch for workers, as far as it was not withdrawn.
    pub(crate) reference_values: Vec<Provided>,
    revocations: Vec<Signed<Addressed<Revocation>>>,
    runs_under_offer: BTreeMap<Digest, u64>,
    deposited: BTreeSet<Digest>,
    leaves: BTreeMap<Digest, u64>,
}

/// What was known last of some agreements, with some versions of their datasets.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<Last>);

#[derive(Default)]
struct Last {
    /// Of all standing.
    version: u64,
    known: BTreeMap<(Digest, BTreeSet<Digest>), Arc<Known>>,
}

/// Keys that are or were some parties', with the rotations between them in the order of acceptance.
pub(crate) struct Line {
    pub(crate) keys: BTreeSet<PublicKey>,
    pub(crate) rotations: Vec<Signed<Addressed<Rotation>>>,
    leaves: BTreeMap<Digest, u64>,
}

impl Known {
    /// Gathers what is known of an agreement. With `versions`, of its manifests only those.
    pub(crate) fn load(
        records: &impl Records,
        digest: &Digest,
        versions: Option<&BTreeSet<Digest>>,
    ) -> Result<Option<Known>, StoreError> {
        let Some((record, _)) = records.read::<AgreementRecord>(table::AGREEMENTS, digest.as_bytes())? else {
            return Ok(None);
        };
        let line = Line::of(records, record.agreement.parties.values().map(|party| *party.identity.signing()))?;
        let mut known = Known {
            manifests: manifests(records, &record.agreement, versions)?,
            record,
            consents: Vec::new(),
            offers: Vec::new(),
            reference_values: Vec::new(),
            revocations: Vec::new(),
            runs_under_offer: BTreeMap::new(),
            deposited: BTreeSet::new(),
            leaves: line.leaves.clone(),
            line,
        };
        let consents = records.digests_after(table::CONSENTS, digest.as_bytes(), MANY)?;
        known.consents = known.statements(records, consents)?;
        let mut offers = Vec::new();
        for key in &known.line.keys {
            offers.extend(records.digests_after(table::OFFERS, key.as_bytes(), MANY)?);
        }
        known.offers = known.statements(records, offers)?;
        let mut revocable: Vec<Digest> = vec![*digest];
        revocable.extend(known.offers.iter().map(|offer| *offer.digest()));
        revocable.extend(known.manifests.iter().map(|manifest| *manifest.digest()));
        let mut revocations = Vec::new();
        for what in &revocable {
            revocations.extend(records.digests_after(table::REVOCATIONS, what.as_bytes(), MANY)?);
        }
        known.revocations = known.statements(records, revocations)?;
        let documents = auditors::documents(records, &known.record.agreement)?;
        for document in known.statements::<ReferenceValues>(records, documents)? {
            let altered = |_| StoreError::Altered(table::STATEMENTS.name().to_owned());
            known.reference_values.push(Provided::new(document).map_err(altered)?);
        }
        for offer in &known.offers {
            known.runs_under_offer.insert(*offer.digest(), runs_under(records, offer.digest())?);
        }
        for manifest in &known.manifests {
            if records.get(table::DEPOSITS, manifest.digest().as_bytes())?.is_some() {
                known.deposited.insert(*manifest.digest());
            }
        }
        Ok(Some(known))
    }

    /// Decides whether it is in force.
    pub(crate) fn decide(&self, broker: &PublicKey, now: Timestamp) -> Result<InForce<Agreement>, NotInForce> {
        self.decide_with(self.runs_under_offer.clone(), broker, now)
    }

    /// Decides it for one run that was admitted under these offers: whether that run still stands is asked as if it were new.
    pub(crate) fn decide_again(
        &self,
        offers: &BTreeSet<Digest>,
        broker: &PublicKey,
        now: Timestamp,
    ) -> Result<InForce<Agreement>, NotInForce> {
        let mut runs_under_offer = self.runs_under_offer.clone();
        for offer in offers {
            if let Some(runs) = runs_under_offer.get_mut(offer) {
                *runs = runs.saturating_sub(1);
            }
        }
        self.decide_with(runs_under_offer, broker, now)
    }

    fn decide_with(
        &self,
        runs_under_offer: BTreeMap<Digest, u64>,
        broker: &PublicKey,
        now: Timestamp,
    ) -> Result<InForce<Agreement>, NotInForce> {
        let facts = Facts {
            agreement: &self.record.agreement,
            manifests: &self.manifests,
            consents: &self.consents,
            offers: &self.offers,
            rotations: &self.line.rotations,
            revocations: &self.revocations,
            runs_under_offer,
            deposited: &self.deposited,
            superseded_by: self.record.superseded_by,
        };
        InForce::decide(&facts, broker, now)
    }

    /// The parties' keys as the agreement has them: under these, everything that concerns it is filed.
    pub(crate) fn parties(&self) -> BTreeSet<PublicKey> {
        self.record.agreement.parties.values().map(|party| *party.identity.signing()).collect()
    }

    /// The leaf of a statement that bears upon the agreement.
    pub(crate) fn leaf(&self, statement: &Digest) -> Option<u64> {
        self.leaves.get(statement).copied()
    }

    fn statements<T: Predicate>(
        &mut self,
        records: &impl Records,
        digests: Vec<Digest>,
    ) -> Result<Vec<Signed<T>>, StoreError> {
        let mut statements = Vec::new();
        for digest in digests {
            let Some((statement, leaf)) = records.statement::<T>(&digest)? else { continue };
            if let Some(leaf) = leaf {
                self.leaves.insert(digest, leaf);
            }
            statements.push(statement);
        }
        Ok(statements)
    }
}

impl Remembered {
    /// As [`Known::load`] from the last durable state, and without its work while nothing moved that any standing depends on.
    pub(crate) fn load(
        &self,
        store: &Store,
        digest: &Digest,
        versions: &BTreeSet<Digest>,
    ) -> Result<Option<Arc<Known>>, StoreError> {
        // Read first: what changes while the rest is read is then remembered under a version that does not come back.
        let version = store.standing_version()?;
        let which = (*digest, versions.clone());
        let found = |last: &Last| (last.version == version).then(|| last.known.get(&which).cloned()).flatten();
        if let Some(known) = found(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Some(known));
        }
        let Some(known) = Known::load(store, digest, Some(versions))?.map(Arc::new) else { return Ok(None) };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.version < version || last.known.len() >= MOST_REMEMBERED {
            *last = Last { version, known: BTreeMap::new() };
        }
        if last.version == version {
            last.known.insert(which, Arc::clone(&known));
        }
        Ok(Some(known))
    }
}

impl Line {
    /// All keys that came before or after these.
    pub(crate) fn of(records: &impl Records, keys: impl IntoIterator<Item = PublicKey>) -> Result<Line, StoreError> {
        let mut line = Line { keys: BTreeSet::new(), rotations: Vec::new(), leaves: BTreeMap::new() };
        let mut left: Vec<PublicKey> = keys.into_iter().collect();
        let mut found: BTreeMap<u64, Signed<Addressed<Rotation>>> = BTreeMap::new();
        while let Some(key) = left.pop() {
            if !line.keys.insert(key) {
                continue;
            }
            for table in [table::ROTATED_FROM, table::ROTATED_INTO] {
                let Some(pointer) = records.get(table, key.as_bytes())? else { continue };
                let Ok(digest) = pointer.record.try_into().map(Digest::from_bytes) else { continue };
                let Some((rotation, Some(leaf))) = records.statement::<Addressed<Rotation>>(&digest)? else { continue };
                let Rotation { previous, next, acceptance: _ } = &rotation.value().body;
                left.extend([*previous, *next.signing()]);
                line.leaves.insert(digest, leaf);
                found.insert(leaf, rotation);
            }
        }
        line.rotations = found.into_values().collect();
        Ok(line)
    }

    /// The history of these keys.
    pub(crate) fn history(&self, broker: &PublicKey) -> Result<KeyHistory, Refusal> {
        KeyHistory::of(&self.rotations, broker).map_err(|_| Refusal::Internal("stored rotations do not fit"))
    }
}

/// States, signs and logs that agreements of these parties came into force, as far as they now do for the first time.
pub(crate) fn settle(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    parties: &BTreeSet<PublicKey>,
    now: Timestamp,
) -> Result<(), Refusal> {
    touch(tx)?;
    let mut agreements = BTreeSet::new();
    for party in parties {
        agreements.extend(tx.digests_after(table::AGREEMENTS_OF, party.as_bytes(), MANY)?);
    }
    agreements.iter().try_for_each(|digest| settle_one(tx, keys, digest, now))
}

/// As [`settle`], of one agreement: what is said of it alone bears upon no other.
pub(crate) fn settle_one(tx: &mut Tx<'_, '_>, keys: &Keys, digest: &Digest, now: Timestamp) -> Result<(), Refusal> {
    let Some(known) = Known::load(tx, digest, None)? else { return Ok(()) };
    if known.record.in_force.is_some() {
        return Ok(());
    }
    let Ok(in_force) = known.decide(&keys.public, now) else { return Ok(()) };
    let statement = AgreementInForce { agreement: *digest, grounds: grounds(&in_force), since: now };
    let signed =
        Signed::sign(statement, &keys.signing).map_err(|_| Refusal::Internal("a statement cannot be signed"))?;
    log(tx, &signed, &known.parties())?;
    supersede(tx, &in_force, &known.record.agreement)?;
    let record = AgreementRecord { in_force: Some(*signed.digest()), ..known.record };
    put(tx, table::AGREEMENTS, digest.as_bytes(), &record)?;
    Ok(())
}

/// How many runs an offer has admitted.
pub(crate) fn runs_under(records: &impl Records, offer: &Digest) -> Result<u64, StoreError> {
    let stored = records.get(table::OFFER_RUNS, offer.as_bytes())?;
    Ok(stored.and_then(|stored| Some(u64::from_be_bytes(stored.record.try_into().ok()?))).unwrap_or(0))
}

/// The statements that an agreement in force stands on.
pub(crate) fn grounds(in_force: &InForce<Agreement>) -> BTreeMap<String, Digest> {
    let ground = |(party, ground): (&String, &Ground)| match ground {
        Ground::Consent { statement, broker_ak: _ } | Ground::Offer { statement } => (party.clone(), *statement),
    };
    in_force.grounds().iter().map(ground).collect()
}

fn supersede(tx: &mut Tx<'_, '_>, in_force: &InForce<Agreement>, agreement: &Agreement) -> Result<(), Refusal> {
    let Some(predecessor) = agreement.predecessor else { return Ok(()) };
    let Some((mut record, _)) = tx.read::<AgreementRecord>(table::AGREEMENTS, predecessor.as_bytes())? else {
        return Ok(());
    };
    let Ok(older) = SoundAgreement::new(record.agreement.clone()) else { return Ok(()) };
    if record.superseded_by.is_none() && in_force.supersedes(&older) {
        record.superseded_by = Some(*in_force.digest());
        put(tx, table::AGREEMENTS, predecessor.as_bytes(), &record)?;
    }
    Ok(())
}

fn manifests(
    records: &impl Records,
    agreement: &Agreement,
    versions: Option<&BTreeSet<Digest>>,
) -> Result<Vec<Signed<Manifest>>, StoreError> {
    let mut digests = BTreeSet::new();
    for terms in agreement.datasets.values() {
        match &terms.source {
            DatasetSource::Version(digest) => {
                digests.insert(*digest);
            }
            DatasetSource::Series(series) => {
                let series = Digest::of(series.to_string().as_bytes());
                let mut found = Vec::new();
                for version in versions.into_iter().flatten() {
                    let row = records.get(table::SERIES, &pair(series.as_bytes(), version.as_bytes()))?;
                    found.extend(row.map(|_| *version));
                }
                // A series of which the run reads nothing still has to have a version.
                if found.is_empty() {
                    found = records.digests_after(table::SERIES, series.as_bytes(), MANY)?;
                }
                digests.extend(found);
            }
        }
    }
    let mut manifests = Vec::new();
    for digest in digests {
        let Some((envelope, _)) = records.read::<Envelope>(table::MANIFESTS, digest.as_bytes())? else { continue };
        let signed = Signed::open(&envelope).map_err(|_| StoreError::Altered(table::MANIFESTS.name().to_owned()))?;
        manifests.push(signed);
    }
    Ok(manifests)
}

/// More of one thing than this is not looked at; what is accepted is bounded below it.
pub(crate) const MANY: usize = 1_024;
/// Agreements that are remembered at once; each is as large as what its parties sent.
const MOST_REMEMBERED: usize = 16;
