//! What the broker hands out for others to check: the grounds of a run, its receipt, and the records that concern a party.
//!
//! All proofs of one document lead to one checkpoint, read together with them. Nothing here decides: whoever receives these
//! documents repeats the decisions.

use std::collections::{BTreeMap, BTreeSet};

use agreement::documents::ResultStatement;
use attest::reference::ReferenceValues;
use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Predicate, Signed},
    text::Bytes32,
};
use jiff::Timestamp;
use receipt::{AgreementInForce, Attested, Enrolment, Format, Grounds, Logged, Receipt, Released};
use tlog::{InclusionProof, Opening};
use wire::messages::{Consistency, LoggedRecord, Records as PartyRecords};

use crate::{
    identity::Keys,
    parties::speaker,
    records::{Kept, Records as _, table},
    refusal::Refusal,
    runs::{RunRecord, RunState},
    standing::Known,
    store::{Store, StoreError},
};

/// The grounds of a run, for a worker that must check them itself, with the auditors' documents that count now.
pub(crate) fn grounds(store: &Store, run: &Digest, record: &RunRecord, now: Timestamp) -> Result<Grounds, Refusal> {
    let mut plan = Plan::of(store, run, record)?;
    let documents = plan.known.reference_values.iter().filter(|document| now <= document.values().expires);
    for digest in documents.map(|document| *document.signed().digest()).collect::<Vec<_>>() {
        plan.add_values(store, &digest)?;
    }
    let proofs = Proofs::of(store, plan.leaves.values().copied().collect())?;
    plan.grounds(store, &proofs)
}

/// The receipt of a run whose result is out.
pub(crate) fn receipt(store: &Store, run: &Digest, record: &RunRecord, now: Timestamp) -> Result<Receipt, Refusal> {
    let RunState::Finished(held, outcome) = &record.state else { return Err(Refusal::WrongPhase) };
    if !outcome.is_out(now) {
        return Err(Refusal::WrongPhase);
    }
    let mut plan = Plan::of(store, run, record)?;
    plan.add::<Enrolment>(store, &held.enrolment)?;
    plan.add::<Released>(store, &held.released)?;
    plan.add::<Addressed<ResultStatement>>(store, &outcome.result)?;
    // Those on which the release stood, whatever became of them since.
    let (released, _) = store.statement::<Released>(&held.released)?.ok_or_else(missing)?;
    for digest in &released.value().reference_values {
        plan.add_values(store, digest)?;
    }
    plan.forget_rotations_after(&held.released);
    let proofs = Proofs::of(store, plan.leaves.values().copied().collect())?;
    Ok(Receipt {
        format: Format::V1,
        grounds: plan.grounds(store, &proofs)?,
        enrolment: plan.logged(store, &proofs, &held.enrolment)?,
        worker: Attested { evidence: held.evidence.clone(), binding: held.binding.clone() },
        released: plan.logged(store, &proofs, &held.released)?,
        rules: outcome.rules.clone(),
        result: plan.logged(store, &proofs, &outcome.result)?,
    })
}

/// The log's records that concern a party, from leaf `from` on, in the log's order, at most [`PAGE`].
pub(crate) fn records_of(store: &Store, keys: &Keys, asker: &PublicKey, from: u64) -> Result<PartyRecords, Refusal> {
    let line = speaker(store, keys, asker)?;
    let mut found: BTreeMap<u64, Digest> = BTreeMap::new();
    for key in &line.keys {
        for (row, stored) in store.scan(table::CONCERNS, key.as_bytes(), MOST_RECORDS)? {
            let leaf = row.get(32..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
            let digest = stored.record.try_into().ok().map(Digest::from_bytes);
            if let (Some(leaf), Some(digest)) = (leaf.filter(|leaf| *leaf >= from), digest) {
                found.insert(leaf, digest);
            }
        }
    }
    let page: BTreeMap<u64, Digest> = found.into_iter().take(PAGE).collect();
    let proofs = Proofs::of(store, page.keys().copied().collect())?;
    let mut records = Vec::new();
    for (leaf, digest) in page {
        let (kept, _) = store.read::<Kept>(table::STATEMENTS, digest.as_bytes())?.ok_or_else(missing)?;
        let (salt, proof) = proofs.get(leaf)?;
        records.push(LoggedRecord { kind: kept.kind, logged: Logged { statement: kept.envelope, salt, proof } });
    }
    Ok(PartyRecords { checkpoint: proofs.checkpoint, records })
}

/// That the log only grew since it had `from` entries.
pub(crate) fn consistency(store: &Store, from: u64) -> Result<Consistency, Refusal> {
    let (proof, checkpoint) = store.consistency(from).map_err(|error| match error {
        StoreError::Log(_) => Refusal::Malformed("the log has no such size".to_owned()),
        other => Refusal::from(other),
    })?;
    Ok(Consistency { checkpoint: text(checkpoint)?, proof })
}

/// Which statements a document needs, and where they stand in the log.
struct Plan {
    known: Known,
    run: Digest,
    in_force: Digest,
    /// The consents and offers that the statement of force names.
    named: BTreeSet<Digest>,
    /// The auditors' documents that it shows.
    reference_values: BTreeSet<Digest>,
    leaves: BTreeMap<Digest, u64>,
}

impl Plan {
    fn of(store: &Store, run: &Digest, record: &RunRecord) -> Result<Plan, Refusal> {
        let known = Known::load(store, &record.agreement, Some(&record.versions))?.ok_or_else(missing)?;
        let in_force = known.record.in_force.ok_or_else(missing)?;
        let (statement, leaf) = store.statement::<AgreementInForce>(&in_force)?.ok_or_else(missing)?;
        let named: BTreeSet<Digest> = statement.value().grounds.values().copied().collect();
        let mut leaves = BTreeMap::from([(in_force, leaf.ok_or_else(missing)?), (*run, record.leaf)]);
        let rotations = known.line.rotations.iter().map(|rotation| rotation.digest());
        for digest in named.iter().chain(rotations) {
            leaves.insert(*digest, known.leaf(digest).ok_or_else(missing)?);
        }
        Ok(Plan { known, run: *run, in_force, named, reference_values: BTreeSet::new(), leaves })
    }

    fn add<T: Predicate>(&mut self, store: &Store, digest: &Digest) -> Result<(), Refusal> {
        let (_, leaf) = store.statement::<T>(digest)?.ok_or_else(missing)?;
        self.leaves.insert(*digest, leaf.ok_or_else(missing)?);
        Ok(())
    }

    fn add_values(&mut self, store: &Store, digest: &Digest) -> Result<(), Refusal> {
        self.add::<ReferenceValues>(store, digest)?;
        self.reference_values.insert(*digest);
        Ok(())
    }

    /// Who rotated after the release had the place that the release saw; a receipt tells of that moment, whenever it is asked for.
    fn forget_rotations_after(&mut self, released: &Digest) {
        let Some(end) = self.leaves.get(released).copied() else { return };
        let leaves = &self.leaves;
        self.known.line.rotations.retain(|rotation| leaves.get(rotation.digest()).is_some_and(|leaf| *leaf < end));
    }

    fn grounds(&self, store: &Store, proofs: &Proofs) -> Result<Grounds, Refusal> {
        let named = |digest: &&Digest| self.named.contains(*digest);
        let consents = self.known.consents.iter().map(Signed::digest).filter(named);
        let offers = self.known.offers.iter().map(Signed::digest).filter(named);
        let rotations = self.known.line.rotations.iter().map(Signed::digest);
        Ok(Grounds {
            agreement: self.known.record.agreement.clone(),
            manifests: self.known.manifests.iter().map(|manifest| manifest.envelope().clone()).collect(),
            consents: consents.map(|digest| self.logged(store, proofs, digest)).collect::<Result<_, _>>()?,
            offers: offers.map(|digest| self.logged(store, proofs, digest)).collect::<Result<_, _>>()?,
            rotations: rotations.map(|digest| self.logged(store, proofs, digest)).collect::<Result<_, _>>()?,
            reference_values: self
                .reference_values
                .iter()
                .map(|digest| self.logged(store, proofs, digest))
                .collect::<Result<_, _>>()?,
            in_force: self.logged(store, proofs, &self.in_force)?,
            run: self.logged(store, proofs, &self.run)?,
            checkpoint: proofs.checkpoint.clone(),
        })
    }

    fn logged(&self, store: &Store, proofs: &Proofs, digest: &Digest) -> Result<Logged, Refusal> {
        let leaf = *self.leaves.get(digest).ok_or_else(missing)?;
        let (kept, _) = store.read::<Kept>(table::STATEMENTS, digest.as_bytes())?.ok_or_else(missing)?;
        let (salt, proof) = proofs.get(leaf)?;
        Ok(Logged { statement: kept.envelope, salt, proof })
    }
}

/// Proofs against one checkpoint.
struct Proofs {
    checkpoint: String,
    entries: BTreeMap<u64, (Opening, InclusionProof)>,
}

impl Proofs {
    fn of(store: &Store, leaves: BTreeSet<u64>) -> Result<Proofs, Refusal> {
        let leaves: Vec<u64> = leaves.into_iter().collect();
        let (checkpoint, proofs) = store.prove_all(&leaves)?;
        Ok(Proofs { checkpoint: text(checkpoint)?, entries: leaves.into_iter().zip(proofs).collect() })
    }

    fn get(&self, leaf: u64) -> Result<(Bytes32, InclusionProof), Refusal> {
        let (opening, proof) = self.entries.get(&leaf).ok_or_else(missing)?;
        Ok((Bytes32(opening.salt), proof.clone()))
    }
}

fn text(checkpoint: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(checkpoint).map_err(|_| Refusal::Internal("the checkpoint is not text"))
}

fn missing() -> Refusal {
    Refusal::Internal("a statement that the broker relies upon is missing")
}

/// The most records in one answer; `?from=` asks for those after it.
pub(crate) const PAGE: usize = 500;
const MOST_RECORDS: usize = 100_000;
