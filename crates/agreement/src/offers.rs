//! Whether an offer stands in for its owner's consent.
//!
//! It does only when *every* field of the agreement is constrained by the offer and is no looser. Both documents are taken
//! apart field by field, without a rest pattern: a field that is added to either does not compile here until somebody has decided
//! how it is constrained. What the offer does not speak of does not match.
//!
//! Three fields of an agreement have no effect and are therefore free: its name, the local names of its parties and
//! datasets, and the broker's address (the broker's identity is its key). An agreement that would replace another one never matches:
//! an offer cannot say which agreements its owner would let go.

use std::collections::{BTreeMap, BTreeSet};

use envelope::{Digest, PublicKey};
use jiff::Timestamp;

use crate::{
    documents::{
        Agreement, BrokerTerms, Charge, Computation, DatasetId, DatasetSource, DatasetTerms, Offer, PartyTerms,
        ReleaseTerms, WitnessTerms,
    },
    shape::SoundAgreement,
    sources::Sources,
    stricter::{self, Looser},
};

/// An offer that matches an agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    party: String,
    runs_left: u64,
}

/// Where an agreement is looser than an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{clause}: the agreement has {found}; the offer admits {admitted}")]
pub struct Mismatch {
    /// The clause of the offer that failed.
    pub clause: Clause,
    /// What the agreement has there.
    pub found: String,
    /// What the offer admits there.
    pub admitted: String,
}

/// The clauses of an offer, in the order in which they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clause {
    /// The broker that the offer was sent to.
    Audience,
    /// The offer has been revoked.
    Revoked,
    /// Its signer is a party.
    Signer,
    /// No run after its end, and no agreement that outlives it.
    Expiry,
    /// How many runs.
    Runs,
    /// What a run costs.
    Price,
    /// What for.
    Purpose,
    /// Which agreement is replaced.
    Predecessor,
    /// The other parties.
    Parties,
    /// The signer's own datasets, and with them their rules.
    Datasets,
    /// Other owners' datasets.
    CoDatasets,
    /// The programs.
    Computations,
    /// The columns of the signer's datasets that a program reads.
    Columns,
    /// Who gets results.
    Recipients,
    /// What a run costs the privacy budget.
    Charge,
    /// Who holds the keys.
    Broker,
    /// The broker's log.
    BrokerLog,
    /// What the broker's Evidence must show.
    BrokerPolicy,
    /// What a worker's Evidence must show.
    WorkerPolicy,
    /// Who cosigns the log.
    Witnesses,
    /// When results leave.
    Tick,
    /// How long keys live.
    Lease,
    /// How large results may be.
    ResultSize,
}

/// Compares an offer with an agreement.
///
/// `signer` is the signing key, as the agreement has it, of the party whose offer this is; `runs_so_far` counts the runs that the offer has
/// admitted, without the one in question.
///
/// # Errors
/// The first clause in which the agreement is looser.
pub fn matches(
    offer: &Offer,
    signer: &PublicKey,
    sound: &SoundAgreement,
    sources: &Sources,
    runs_so_far: u64,
    now: Timestamp,
) -> Result<Matched, Mismatch> {
    let party = sound.party(signer).ok_or_else(|| {
        mismatch(Clause::Signer, "parties without its signer", format_args!("its signer `{signer}` as a party"))
    })?;
    let Offer {
        datasets: own_datasets,
        purpose: admitted_purpose,
        computations: admitted_computations,
        recipients: admitted_recipients,
        co_datasets,
        parties: admitted_parties,
        brokers,
        broker_policy,
        worker_policy,
        witnesses: least_witnesses,
        release: admitted_release,
        charge,
        max_runs,
        price,
        expires: offer_expires,
    } = offer;
    let Agreement {
        name: _, // a label without effect
        purpose,
        parties,
        datasets,
        computations,
        broker,
        workers,
        witnesses,
        release,
        expires,
        predecessor,
    } = sound.agreement();

    compare_expiry(*expires, *offer_expires, now)?;
    compare_runs(runs_so_far, *max_runs)?;
    ensure(*price == 0, Clause::Price, "no payment", format_args!("runs at a price of {price}"))?;
    ensure(
        purpose == admitted_purpose,
        Clause::Purpose,
        crate::words::quoted(purpose),
        crate::words::quoted(admitted_purpose),
    )?;
    if let Some(predecessor) = predecessor {
        return Err(mismatch(Clause::Predecessor, format_args!("the predecessor `{predecessor}`"), "none"));
    }
    compare_parties(parties, signer, admitted_parties)?;
    compare_datasets(datasets, party, own_datasets, co_datasets, sources)?;
    let compared =
        ComputationTerms { party, parties, datasets, sources, admitted_computations, admitted_recipients, charge };
    computations.iter().try_for_each(|(name, computation)| compared.compare(name, computation))?;
    compare_broker(broker, brokers)?;
    stricter::at_least(&broker.policy, broker_policy).map_err(|looser| policy(Clause::BrokerPolicy, looser))?;
    stricter::at_least(workers, worker_policy).map_err(|looser| policy(Clause::WorkerPolicy, looser))?;
    compare_witnesses(witnesses, least_witnesses)?;
    compare_release(release, admitted_release)?;
    Ok(Matched { party: party.to_owned(), runs_left: max_runs.saturating_sub(runs_so_far) })
}

impl Matched {
    /// The local name of the party that the offer speaks for.
    pub fn party(&self) -> &str {
        &self.party
    }

    /// How many runs the offer still admits, with the one in question; at least 1.
    pub const fn runs_left(&self) -> u64 {
        self.runs_left
    }
}

impl Mismatch {
    pub(crate) fn audience(found: &PublicKey, broker: &PublicKey) -> Mismatch {
        mismatch(Clause::Audience, format_args!("the broker `{broker}`"), format_args!("`{found}`"))
    }

    pub(crate) fn revoked() -> Mismatch {
        mismatch(Clause::Revoked, "need of an offer that stands", "nothing, since its owner revoked it")
    }
}

impl Clause {
    /// Its name, as people see it.
    pub const fn name(self) -> &'static str {
        match self {
            Clause::Audience => "audience",
            Clause::Revoked => "revocation",
            Clause::Signer => "signer",
            Clause::Expiry => "expiry",
            Clause::Runs => "number of runs",
            Clause::Price => "price",
            Clause::Purpose => "purpose",
            Clause::Predecessor => "predecessor",
            Clause::Parties => "parties",
            Clause::Datasets => "datasets",
            Clause::CoDatasets => "other owners' datasets",
            Clause::Computations => "computations",
            Clause::Columns => "columns",
            Clause::Recipients => "recipients",
            Clause::Charge => "privacy charge",
            Clause::Broker => "broker",
            Clause::BrokerLog => "the broker's log",
            Clause::BrokerPolicy => "the broker's appraisal policy",
            Clause::WorkerPolicy => "the workers' appraisal policy",
            Clause::Witnesses => "witnesses",
            Clause::Tick => "release tick",
            Clause::Lease => "lease",
            Clause::ResultSize => "result size",
        }
    }
}

impl std::fmt::Display for Clause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn compare_expiry(agreement: Timestamp, offer: Timestamp, now: Timestamp) -> Result<(), Mismatch> {
    ensure(now <= offer, Clause::Expiry, format_args!("a run at {now}"), format_args!("none after {offer}"))?;
    ensure(
        agreement <= offer,
        Clause::Expiry,
        format_args!("its end at {agreement}"),
        format_args!("{offer} at the latest"),
    )
}

fn compare_runs(so_far: u64, most: u64) -> Result<(), Mismatch> {
    ensure(
        so_far < most,
        Clause::Runs,
        format_args!("one more run than the {so_far} that the offer has admitted"),
        format_args!("{most} in all"),
    )
}

fn compare_parties(
    parties: &BTreeMap<String, PartyTerms>,
    signer: &PublicKey,
    admitted: &BTreeSet<PublicKey>,
) -> Result<(), Mismatch> {
    for (name, PartyTerms { identity }) in parties {
        let key = identity.signing();
        ensure(
            key == signer || admitted.contains(key),
            Clause::Parties,
            format_args!("`{name}` with the key `{key}`"),
            format_args!("{} other parties, without it", admitted.len()),
        )?;
    }
    Ok(())
}

fn compare_datasets(
    datasets: &BTreeMap<String, DatasetTerms>,
    party: &str,
    own: &[DatasetSource],
    others: &[DatasetSource],
    sources: &Sources,
) -> Result<(), Mismatch> {
    for (name, DatasetTerms { owner, source }) in datasets {
        let (clause, admitted) = if owner == party { (Clause::Datasets, own) } else { (Clause::CoDatasets, others) };
        ensure(
            admitted.iter().any(|admitted| covered(name, source, admitted, sources)),
            clause,
            format_args!("`{name}` ({})", crate::words::source(source)),
            listed(admitted.iter().map(crate::words::source)),
        )?;
    }
    Ok(())
}

/// A named version may stand where a series is admitted, if it is of that series; a series never where a version is.
fn covered(name: &str, source: &DatasetSource, admitted: &DatasetSource, sources: &Sources) -> bool {
    match (source, admitted) {
        (DatasetSource::Version(a), DatasetSource::Version(b)) => a == b,
        (DatasetSource::Series(a), DatasetSource::Series(b)) => a == b,
        (DatasetSource::Series(_), DatasetSource::Version(_)) => false,
        (DatasetSource::Version(version), DatasetSource::Series(series)) => sources
            .get(name)
            .and_then(|source| source.version(version).ok())
            .is_some_and(|manifest| manifest.series().is_ok_and(|id| id == *series)),
    }
}

/// What an offer says about computations, beside what the agreement says about what they refer to.
struct ComputationTerms<'a> {
    party: &'a str,
    parties: &'a BTreeMap<String, PartyTerms>,
    datasets: &'a BTreeMap<String, DatasetTerms>,
    sources: &'a Sources,
    admitted_computations: &'a BTreeMap<Digest, BTreeMap<DatasetId, BTreeSet<String>>>,
    admitted_recipients: &'a BTreeSet<PublicKey>,
    charge: &'a Charge,
}

impl ComputationTerms<'_> {
    fn compare(&self, name: &str, computation: &Computation) -> Result<(), Mismatch> {
        let digest = computation.digest();
        let Computation { engine: _, text: _, columns, recipients, charge } = computation; // the digest covers both
        let admitted = self.admitted_computations.get(&digest).ok_or_else(|| {
            let programs = format!("{} programs, without it", self.admitted_computations.len());
            mismatch(Clause::Computations, format_args!("`{name}` ({digest})"), programs)
        })?;
        for (dataset, columns) in columns.iter().filter(|(dataset, _)| self.owns(dataset)) {
            let id = self.sources.get(dataset).map(|source| *source.id());
            let admitted = id.and_then(|id| admitted.get(&id));
            let extra = columns.iter().find(|column| !admitted.is_some_and(|admitted| admitted.contains(*column)));
            let none = admitted.is_none().then_some("no column");
            if let Some(extra) = extra.map(String::as_str).or(none) {
                return Err(mismatch(
                    Clause::Columns,
                    format_args!("`{name}` reading {} of `{dataset}`", crate::words::quoted(extra)),
                    listed(admitted.into_iter().flatten()),
                ));
            }
        }
        for recipient in recipients {
            let key = self.parties.get(recipient).map(|terms| terms.identity.signing());
            ensure(
                key.is_some_and(|key| self.admitted_recipients.contains(key)),
                Clause::Recipients,
                format_args!("`{recipient}` as a recipient of `{name}`"),
                listed(self.admitted_recipients),
            )?;
        }
        ensure(
            charge == self.charge,
            Clause::Charge,
            format_args!("`{name}` at {}", crate::words::charge(charge)),
            crate::words::charge(self.charge),
        )
    }

    fn owns(&self, dataset: &str) -> bool {
        self.datasets.get(dataset).is_some_and(|terms| terms.owner == self.party)
    }
}

fn compare_broker(broker: &BrokerTerms, admitted: &BTreeMap<PublicKey, String>) -> Result<(), Mismatch> {
    let BrokerTerms { key, log, address: _, policy: _ } = broker; // an address is a hint; the policy is compared by itself
    let admitted_log =
        admitted.get(key).ok_or_else(|| mismatch(Clause::Broker, format_args!("`{key}`"), listed(admitted.keys())))?;
    ensure(log == admitted_log, Clause::BrokerLog, crate::words::quoted(log), crate::words::quoted(admitted_log))
}

/// At least as many cosignatures, and only of witnesses that the offer knows.
fn compare_witnesses(found: &WitnessTerms, least: &WitnessTerms) -> Result<(), Mismatch> {
    let WitnessTerms { required, keys } = found;
    let WitnessTerms { required: least_required, keys: known } = least;
    ensure(
        required >= least_required,
        Clause::Witnesses,
        format_args!("{required} cosignatures"),
        format_args!("{least_required} at least"),
    )?;
    match keys.iter().find(|key| !known.contains(key)) {
        Some(key) => Err(mismatch(Clause::Witnesses, crate::words::quoted(key), listed(known))),
        None => Ok(()),
    }
}

fn compare_release(found: &ReleaseTerms, admitted: &ReleaseTerms) -> Result<(), Mismatch> {
    let ReleaseTerms { tick_ms, lease_seconds, max_result_bytes } = found;
    let ReleaseTerms { tick_ms: tick, lease_seconds: lease, max_result_bytes: bytes } = admitted;
    ensure(tick_ms >= tick, Clause::Tick, format_args!("{tick_ms} ms"), format_args!("{tick} ms at least"))?;
    ensure(
        lease_seconds <= lease,
        Clause::Lease,
        format_args!("{lease_seconds} s"),
        format_args!("{lease} s at most"),
    )?;
    ensure(
        max_result_bytes <= bytes,
        Clause::ResultSize,
        format_args!("{max_result_bytes} bytes"),
        format_args!("{bytes} bytes at most"),
    )
}

fn policy(clause: Clause, looser: Looser) -> Mismatch {
    let Looser { part, found, admitted } = looser;
    mismatch(clause, format_args!("{part} {found}"), format_args!("{part} {admitted}"))
}

fn ensure(
    good: bool,
    clause: Clause,
    found: impl std::fmt::Display,
    admitted: impl std::fmt::Display,
) -> Result<(), Mismatch> {
    if good { Ok(()) } else { Err(mismatch(clause, found, admitted)) }
}

fn mismatch(clause: Clause, found: impl std::fmt::Display, admitted: impl std::fmt::Display) -> Mismatch {
    Mismatch { clause, found: found.to_string(), admitted: admitted.to_string() }
}

fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| crate::words::quoted(&item.to_string())).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
