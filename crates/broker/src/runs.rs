//! Runs: from the request to the result, each step logged before anybody can rely on it.
//!
//! A run is logged when it is accepted and waits in a queue. A worker whose TPM the agreement admits is shown it with its
//! grounds, attests, and gets the keys under a lease. Without a live lease the broker takes no result, and a run whose lease ended
//! waits again: nobody saw a result that was not logged. A result is stored and logged in one change, and served
//! from the next tick on.
//!
//! What is decided before a change (an appraisal takes a millisecond and more) is compared within the change: if anything on which
//! standing depends moved in between, the decision is made again. So a revocation that was acknowledged stops every
//! release that comes after it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use agreement::{
    documents::Agreement, documents::ResultStatement, documents::Run, in_force::InForce, permit::Permitted,
};
use attest::{
    Endorsements, Evidence, Verifier,
    binding::{BindingParts, ChannelKeys, Purpose},
    reference::Vouched,
};
use envelope::{
    Digest, canonical,
    keys::TableKey,
    statement::{Addressed, Envelope, Signed},
    text::Bytes32,
};
use jiff::{SignedDuration, Timestamp};
use receipt::Released;
use serde::{Deserialize, Serialize};
use tlog::{Included, SignedCheckpoint, WitnessKey, WitnessPolicy};
use wire::{
    channel::Peer,
    messages::{
        Accepted, ChallengeUse, Failed, Finished, Lease, Phase, ReleaseRequest, ReleasedKeys, RenewRequest, RunRefusal,
        RunStatus,
    },
};
use zeroize::Zeroizing;

use crate::{
    enrol,
    identity::Keys,
    parties,
    records::{Records, log, pair, put, redeem, redeem_challenge, table, touch},
    refusal::Refusal,
    release::{ReleaseRefusal, Request, RequestedRun, WrappedKeys, release},
    service::Broker,
    standing::{Known, runs_under},
    store::{Store, StoreError, Tx},
};

/// A run as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRecord {
    pub(crate) agreement: Digest,
    pub(crate) versions: BTreeSet<Digest>,
    /// The offers that it was counted against.
    pub(crate) offers: BTreeSet<Digest>,
    pub(crate) leaf: u64,
    pub(crate) state: RunState,
    /// Why a worker was refused last, for the owners.
    pub(crate) hindrance: Option<RunRefusal>,
}

/// Where a run stands.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum RunState {
    Approved {},
    Running(Held),
    Finished(Held, Outcome),
    Refused(RunRefusal),
}

/// Keys that a worker holds.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    pub(crate) released: Digest,
    pub(crate) enrolment: Digest,
    pub(crate) evidence: Evidence,
    pub(crate) binding: BindingParts,
    lease: Bytes32,
    began: Timestamp,
    ends: Timestamp,
}

/// A result that is logged.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    pub(crate) result: Digest,
    pub(crate) rules: String,
    leaves: Timestamp,
}

/// Which worker was shown which run last, so that two do not start on one. Forgotten at a restart.
#[derive(Default)]
pub(crate) struct Claims(Mutex<HashMap<Digest, (Digest, Instant)>>);

/// The signing keys of the workers that hold a lease, and until when: nobody else may send as much as a result has.
#[derive(Default)]
pub(crate) struct Holders(Mutex<HashMap<[u8; 32], Timestamp>>);

/// Accepts a run: logged, and counted against the offers that it rests on.
pub(crate) fn submit(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<Run>>,
    now: Timestamp,
) -> Result<RunStatus, Refusal> {
    let run = &signed.value().body;
    let versions: BTreeSet<Digest> = run.versions.values().copied().collect();
    parties::may_see(tx, keys, table::AGREEMENTS_OF, signed.signer(), &run.agreement)?;
    let known = Known::load(tx, &run.agreement, Some(&versions))?.ok_or(Refusal::NotFound)?;
    let in_force = known.decide(&keys.public, now).map_err(Refusal::NotInForce)?;
    let permitted = in_force.permit(signed, now).map_err(Refusal::Run)?;
    if known.record.in_force.is_none() {
        return Err(Refusal::Conflict("the agreement has not been stated to be in force"));
    }
    redeem(tx, signed, now)?;
    let leaf = log(tx, signed, &known.parties())?;
    for offer in permitted.offers() {
        let runs = runs_under(tx, offer)?.saturating_add(1);
        tx.put(table::OFFER_RUNS, offer.as_bytes(), &runs.to_be_bytes())?;
    }
    if !permitted.offers().is_empty() {
        touch(tx)?;
    }
    let offers = permitted.offers().clone();
    let record =
        RunRecord { agreement: run.agreement, versions, offers, leaf, state: RunState::Approved {}, hindrance: None };
    put(tx, table::RUNS, signed.digest().as_bytes(), &record)?;
    for party in known.parties() {
        tx.put(table::RUNS_OF, &pair(party.as_bytes(), signed.digest().as_bytes()), b"")?;
    }
    tx.put(table::QUEUE, &leaf.to_be_bytes(), signed.digest().as_bytes())?;
    Ok(RunStatus { run: *signed.digest(), phase: Phase::Approved, refusal: None })
}

impl Broker {
    /// Releases the keys of a run to the worker at the other end of this connection.
    pub(crate) async fn release_keys(&self, request: ReleaseRequest, peer: &Peer) -> Result<ReleasedKeys, Refusal> {
        for _ in 0..ATTEMPTS {
            let now = self.clock.now()?;
            let version = self.store.standing_version()?;
            let decided = self.decide(&request, peer, now, ChallengeUse::WorkerRelease);
            let decided = match decided {
                Err(refusal) => return Err(self.hinder(&request, refusal).await),
                Ok(decided) => decided,
            };
            let ready = self.wrap(&request, &decided, now)?;
            if let Some(answer) = self.log_release(&request, decided, ready, version, now).await? {
                return Ok(answer);
            }
        }
        Err(Refusal::Conflict("the standing of the agreement keeps changing"))
    }

    /// Lets a lease go on, by the same appraisal.
    pub(crate) async fn renew(&self, request: RenewRequest, peer: &Peer) -> Result<Lease, Refusal> {
        let RenewRequest { lease, release } = request;
        for _ in 0..ATTEMPTS {
            let now = self.clock.now()?;
            let version = self.store.standing_version()?;
            let decided = match self.decide(&release, peer, now, ChallengeUse::WorkerRenew) {
                Err(refusal) => return Err(self.hinder(&release, refusal).await),
                Ok(decided) => decided,
            };
            let lasts = lasts(&decided.permitted, &decided.result, now);
            let (run, keys, challenge) = (release.run, decided.binding.keys.clone(), decided.challenge);
            let renewed = self.store.commit(move |tx| -> Result<bool, Refusal> {
                if tx.standing_version()? != version {
                    return Ok(false);
                }
                redeem_challenge(tx, &challenge, now)?;
                let (mut record, _) = tx.read::<RunRecord>(table::RUNS, run.as_bytes())?.ok_or(Refusal::NotFound)?;
                let RunState::Running(held) = &mut record.state else { return Err(Refusal::WrongPhase) };
                held.check_live(&lease, now)?;
                if !held.same_worker(&keys) {
                    return Err(Refusal::LeaseEnded);
                }
                held.ends = now.saturating_add(lasts).unwrap_or(now);
                put(tx, table::RUNS, run.as_bytes(), &record)?;
                Ok(true)
            });
            if renewed.await? {
                self.holders.add(release.keys.signing, now.saturating_add(lasts).unwrap_or(now), now);
                return Ok(Lease { id: lease, lasts_ms: milliseconds(lasts) });
            }
        }
        Err(Refusal::Conflict("the standing of the agreement keeps changing"))
    }

    /// Takes a result: checked against the attested key and the lease, stored and logged in one change.
    pub(crate) async fn finish(&self, finished: Finished, peer: &Peer) -> Result<Accepted, Refusal> {
        let now = self.clock.now()?;
        let Finished { statement, rules, output } = finished;
        let signed = parties::open::<ResultStatement>(&statement, &self.keys, now)?;
        let stated = signed.value().body.clone();
        if peer.client.as_ref().is_none_or(|leaf| leaf.issuer != *signed.signer()) {
            return Err(Refusal::Certificate);
        }
        if Digest::of(rules.as_bytes()) != stated.rules || rules.len() > MAX_RULES {
            return Err(Refusal::Malformed("the rules are not those of the statement".to_owned()));
        }
        let size = u64::try_from(output.0.len()).unwrap_or(u64::MAX);
        if Digest::of(&output.0) != stated.output || size != stated.bytes {
            return Err(Refusal::Malformed("the result is not the one of the statement".to_owned()));
        }
        let keys = self.keys.clone();
        let leaf = self.store.commit(move |tx| -> Result<u64, Refusal> {
            let (mut record, _) = tx.read::<RunRecord>(table::RUNS, stated.run.as_bytes())?.ok_or(Refusal::NotFound)?;
            let RunState::Running(held) = &record.state else { return Err(Refusal::WrongPhase) };
            if held.binding.keys.signing != *signed.signer().as_bytes() {
                return Err(Refusal::LeaseEnded);
            }
            held.check_live(&stated.lease, now)?;
            let known = Known::load(tx, &record.agreement, Some(&record.versions))?.ok_or(Refusal::NotFound)?;
            known.decide_again(&record.offers, &keys.public, now).map_err(Refusal::NotInForce)?;
            let terms = known.record.agreement.release;
            if size > largest(terms.max_result_bytes) {
                return Err(Refusal::Malformed("the result is larger than the agreement admits".to_owned()));
            }
            redeem(tx, &signed, now)?;
            let leaf = log(tx, &signed, &known.parties())?;
            tx.put(table::RESULTS, stated.run.as_bytes(), &output.0)?;
            tx.remove(table::QUEUE, &record.leaf.to_be_bytes());
            let leaves = tick(held.began, now, terms.tick_ms);
            let outcome = Outcome { result: *signed.digest(), rules, leaves };
            record.state = RunState::Finished(held.clone(), outcome);
            put(tx, table::RUNS, stated.run.as_bytes(), &record)?;
            Ok(leaf)
        });
        let statement = Digest::of(&decoded(&statement)?);
        Ok(Accepted { statement, leaf: leaf.await? })
    }

    /// Notes that a worker gave up. The code is one of a closed set, so that it carries nothing else.
    pub(crate) async fn fail(&self, failed: Failed, peer: &Peer) -> Result<Accepted, Refusal> {
        let now = self.clock.now()?;
        let Failed { run, lease, code } = failed;
        let leaf = peer.client.clone().ok_or(Refusal::Certificate)?;
        let claimed = self.claims.of(&run);
        let refusal = refusal_of(&code);
        let place = self.store.commit(move |tx| -> Result<u64, Refusal> {
            let (mut record, _) = tx.read::<RunRecord>(table::RUNS, run.as_bytes())?.ok_or(Refusal::NotFound)?;
            match &record.state {
                RunState::Running(held) => {
                    if held.binding.keys.signing != *leaf.issuer.as_bytes() {
                        return Err(Refusal::LeaseEnded);
                    }
                    held.check_live(&lease.ok_or(Refusal::LeaseEnded)?, now)?;
                }
                RunState::Approved {} => {
                    let enrolment = claimed.ok_or(Refusal::WrongPhase)?;
                    let (claimant, _) = tx
                        .read::<enrol::EnrolmentRecord>(table::ENROLMENTS, enrolment.as_bytes())?
                        .ok_or(Refusal::NotEnrolled)?;
                    if claimant.signing != leaf.issuer {
                        return Err(Refusal::WrongPhase);
                    }
                }
                RunState::Finished(_, _) | RunState::Refused(_) => return Err(Refusal::WrongPhase),
            }
            tx.remove(table::QUEUE, &record.leaf.to_be_bytes());
            let place = record.leaf;
            // Where the broker itself refused the worker, its own reason says more.
            record.state = RunState::Refused(record.hindrance.take().unwrap_or(refusal));
            put(tx, table::RUNS, run.as_bytes(), &record)?;
            Ok(place)
        });
        Ok(Accepted { statement: run, leaf: place.await? })
    }

    /// Everything that must hold before keys leave or a lease goes on: challenge, certificate, enrolment, agreement, run,
    /// Evidence and the auditors' word on it, in this order.
    fn decide(
        &self,
        request: &ReleaseRequest,
        peer: &Peer,
        now: Timestamp,
        purpose: ChallengeUse,
    ) -> Result<Decided, Refusal> {
        let challenge = self.challenges.recognise(&request.challenge, purpose, now)?;
        enrol::check_certificate(peer, &request.keys)?;
        let (_, enrolled) = enrol::of_peer(&self.store, &request.enrolment, peer)?;
        let (record, _) =
            self.store.read::<RunRecord>(table::RUNS, request.run.as_bytes())?.ok_or(Refusal::NotFound)?;
        let known = self.remembered.load(&self.store, &record.agreement, &record.versions)?;
        let known = known.ok_or(Refusal::NotFound)?;
        let in_force = known.decide_again(&record.offers, &self.keys.public, now).map_err(Refusal::NotInForce)?;
        let (run, _) = self.store.statement::<Addressed<Run>>(&request.run)?.ok_or(Refusal::NotFound)?;
        let permitted = in_force.permit(&run, now).map_err(Refusal::Run)?;
        let (agreement, run_id) = (*in_force.digest(), *run.digest());
        let binding = BindingParts {
            purpose: match purpose {
                ChallengeUse::WorkerRenew => Purpose::WorkerRenew { agreement, run: run_id },
                ChallengeUse::WorkerRelease | ChallengeUse::WorkerEnrol => {
                    Purpose::WorkerRelease { agreement, run: run_id }
                }
            },
            keys: request.keys.clone(),
            exporter: peer.exporter,
            nonce: challenge.nonce().0,
        };
        let policy = &in_force.agreement().workers;
        let result = Verifier::appraise(&request.evidence, &Endorsements::tpm(enrolled), &binding.bind(), policy, now)
            .map_err(Refusal::Evidence)?;
        let result = Vouched::check(result, policy, &known.reference_values).map_err(Refusal::NotVouched)?;
        Ok(Decided {
            known,
            in_force,
            permitted,
            run: RequestedRun(run),
            leaf: record.leaf,
            binding,
            result,
            challenge,
        })
    }

    fn wrap(&self, request: &ReleaseRequest, decided: &Decided, now: Timestamp) -> Result<Ready, Refusal> {
        let included = included(&self.store, &self.keys, decided)?;
        let lease = Bytes32::random();
        let deposits = deposits(&self.store, &decided.permitted)?;
        let asked = Request { run: &decided.run, binding: &decided.binding, deposits: &deposits, lease, now };
        let keys = release(&asked, &decided.in_force, &decided.result, &included).map_err(Refusal::Release)?;
        let evidence =
            canonical::digest(&request.evidence).map_err(|_| Refusal::Internal("Evidence cannot be digested"))?;
        let released = Released {
            run: request.run,
            agreement: *decided.in_force.digest(),
            columns: keys.columns().clone(),
            binding: *decided.result.result().binding(),
            evidence,
            enrolment: request.enrolment,
            lease,
            appraised: now,
            reference_values: decided.result.documents(),
        };
        let released =
            Signed::sign(released, &self.keys.signing).map_err(|_| Refusal::Internal("a release cannot be signed"))?;
        Ok(Ready { keys, lease, released })
    }

    /// Redeems the challenge and logs the release; nothing when standing moved in between.
    async fn log_release(
        &self,
        request: &ReleaseRequest,
        decided: Decided,
        ready: Ready,
        version: u64,
        now: Timestamp,
    ) -> Result<Option<ReleasedKeys>, Refusal> {
        let Ready { keys, lease, released } = ready;
        let answer = ReleasedKeys {
            wrapped: keys.wrapped().clone(),
            lease: Lease { id: lease, lasts_ms: milliseconds(keys.lasts()) },
            released: released.envelope().clone(),
        };
        let (run, enrolment, evidence) = (request.run, request.enrolment, request.evidence.clone());
        let Decided { known, binding, challenge, .. } = decided;
        let parties = known.parties();
        let ends = now.saturating_add(keys.lasts()).unwrap_or(now);
        let logged = self.store.commit(move |tx| -> Result<bool, Refusal> {
            if tx.standing_version()? != version {
                return Ok(false);
            }
            redeem_challenge(tx, &challenge, now)?;
            let (mut record, _) = tx.read::<RunRecord>(table::RUNS, run.as_bytes())?.ok_or(Refusal::NotFound)?;
            let began = match &record.state {
                RunState::Approved {} => now,
                RunState::Running(held) if held.ends < now => held.began,
                RunState::Running(_) | RunState::Finished(_, _) | RunState::Refused(_) => {
                    return Err(Refusal::WrongPhase);
                }
            };
            enrol::log_first_use(tx, &enrolment, &parties)?;
            log(tx, &released, &parties)?;
            let held = Held { released: *released.digest(), enrolment, evidence, binding, lease, began, ends };
            record.state = RunState::Running(held);
            record.hindrance = None;
            put(tx, table::RUNS, run.as_bytes(), &record)?;
            Ok(true)
        });
        let logged = logged.await?;
        if logged {
            self.holders.add(request.keys.signing, ends, now);
        }
        Ok(logged.then_some(answer))
    }

    /// Keeps the full reason for the owners. The run goes on waiting: another worker may do better.
    async fn hinder(&self, request: &ReleaseRequest, refusal: Refusal) -> Refusal {
        let told = matches!(
            refusal,
            Refusal::Evidence(_)
                | Refusal::NotVouched(_)
                | Refusal::Release(_)
                | Refusal::NotInForce(_)
                | Refusal::Run(_)
        );
        if told {
            let hindrance = RunRefusal { code: refusal.code().as_str().to_owned(), words: refusal.to_string() };
            let run = request.run;
            // If it cannot be kept, the store is fenced, and that is told elsewhere.
            let _ = self
                .store
                .commit(move |tx| -> Result<(), StoreError> {
                    let Some((mut record, _)) = tx.read::<RunRecord>(table::RUNS, run.as_bytes())? else {
                        return Ok(());
                    };
                    if matches!(record.state, RunState::Approved {}) && record.hindrance.as_ref() != Some(&hindrance) {
                        record.hindrance = Some(hindrance);
                        put(tx, table::RUNS, run.as_bytes(), &record)?;
                    }
                    Ok(())
                })
                .await;
        }
        refusal
    }
}

impl RunRecord {
    /// What the parties are told. A result exists for them from its tick on.
    pub(crate) fn status(&self, run: &Digest, now: Timestamp) -> RunStatus {
        let (phase, refusal) = match &self.state {
            RunState::Approved {} => (Phase::Approved, self.hindrance.clone()),
            RunState::Running(_) => (Phase::Running, None),
            RunState::Finished(_, outcome) if outcome.is_out(now) => (Phase::Released, None),
            RunState::Finished(_, _) => (Phase::Running, None),
            RunState::Refused(refusal) => (Phase::Refused, Some(refusal.clone())),
        };
        RunStatus { run: *run, phase, refusal }
    }

    /// Whether a worker may start on it.
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        match &self.state {
            RunState::Approved {} => true,
            RunState::Running(held) => held.ends < now,
            RunState::Finished(_, _) | RunState::Refused(_) => false,
        }
    }
}

impl Outcome {
    /// Whether its tick has come.
    pub(crate) fn is_out(&self, now: Timestamp) -> bool {
        now >= self.leaves
    }
}

impl Held {
    fn check_live(&self, lease: &Bytes32, now: Timestamp) -> Result<(), Refusal> {
        if self.lease == *lease && now <= self.ends { Ok(()) } else { Err(Refusal::LeaseEnded) }
    }

    fn same_worker(&self, keys: &ChannelKeys) -> bool {
        self.binding.keys.signing == keys.signing && self.binding.keys.encapsulation == keys.encapsulation
    }
}

impl Holders {
    /// Those whose leases outlived a restart.
    pub(crate) fn load(store: &Store) -> Result<Holders, StoreError> {
        let holders = Holders::default();
        for (_, stored) in store.scan(table::QUEUE, b"", usize::MAX)? {
            let Some((record, _)) = store.read::<RunRecord>(table::RUNS, &stored.record)? else { continue };
            if let RunState::Running(held) = &record.state {
                holders.add(held.binding.keys.signing, held.ends, Timestamp::UNIX_EPOCH);
            }
        }
        Ok(holders)
    }

    fn add(&self, signing: [u8; 32], ends: Timestamp, now: Timestamp) {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holders.retain(|_, ends| *ends >= now);
        let until = holders.entry(signing).or_insert(ends);
        *until = (*until).max(ends);
    }

    /// Whether this key holds a lease.
    pub(crate) fn has(&self, signing: &envelope::PublicKey, now: Timestamp) -> bool {
        let holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holders.get(signing.as_bytes()).is_some_and(|ends| *ends >= now)
    }
}

impl Claims {
    /// Claims a run for a worker, unless another has it.
    pub(crate) fn claim(&self, run: &Digest, enrolment: &Digest) -> bool {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        claims.retain(|_, (_, until)| *until > now);
        match claims.get(run) {
            Some((other, _)) if other != enrolment => false,
            _ if claims.len() >= MAX_CLAIMS => false,
            _ => {
                claims.insert(*run, (*enrolment, now + CLAIM));
                true
            }
        }
    }

    fn of(&self, run: &Digest) -> Option<Digest> {
        let claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claims.get(run).map(|(enrolment, _)| *enrolment)
    }
}

struct Decided {
    known: Arc<Known>,
    in_force: InForce<Agreement>,
    permitted: Permitted,
    run: RequestedRun,
    leaf: u64,
    binding: BindingParts,
    result: Vouched,
    challenge: crate::challenge::Recognised,
}

struct Ready {
    keys: WrappedKeys,
    lease: Bytes32,
    released: Signed<Released>,
}

/// The run's place in the log, from the broker's own durable head.
fn included(store: &Store, keys: &Keys, decided: &Decided) -> Result<Included<RequestedRun>, Refusal> {
    let proof = store.prove(decided.leaf)?;
    let witnesses = &decided.in_force.agreement().witnesses;
    let listed: Result<Vec<WitnessKey>, _> = witnesses.keys.iter().map(|key| key.parse()).collect();
    // How many are needed is compared in the release itself, where the refusal has its name.
    let policy = listed.and_then(|listed| WitnessPolicy::new(0, listed)).map_err(StoreError::from)?;
    let head = SignedCheckpoint::verify(&proof.checkpoint, &keys.log, &policy).map_err(StoreError::from)?;
    let included = Included::check(proof.opening, &proof.inclusion, &head).map_err(StoreError::from)?;
    Ok(included.resolve(&decided.run).map_err(StoreError::from)?)
}

fn deposits(store: &Store, permitted: &Permitted) -> Result<BTreeMap<Digest, TableKey>, Refusal> {
    let mut deposits = BTreeMap::new();
    for input in permitted.inputs().values() {
        let stored = store.get(table::DEPOSITS, input.digest.as_bytes())?;
        let bytes = Zeroizing::new(stored.map(|stored| stored.record).unwrap_or_default());
        let key = <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| Refusal::Release(ReleaseRefusal::KeyMissing(input.digest)))?;
        deposits.insert(input.digest, TableKey::from_bytes(key));
    }
    Ok(deposits)
}

fn lasts(permitted: &Permitted, worker: &Vouched, now: Timestamp) -> SignedDuration {
    let end = permitted.expires().min(worker.until());
    SignedDuration::from_secs(permitted.release().lease_seconds.into()).min(end.duration_since(now))
}

fn milliseconds(duration: SignedDuration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(0)
}

/// The first multiple of the tick after the run began that is not before `now`.
fn tick(began: Timestamp, now: Timestamp, tick_ms: u32) -> Timestamp {
    let tick = i128::from(tick_ms.max(1));
    let passed = now.duration_since(began).as_millis().max(0);
    let ticks = (passed + tick - 1) / tick;
    let wait = i64::try_from(ticks.max(1) * tick).unwrap_or(i64::MAX);
    began.saturating_add(SignedDuration::from_millis(wait)).unwrap_or(Timestamp::MAX)
}

/// A result of so many bytes, padded to the next power of two and sealed.
fn largest(result: u64) -> u64 {
    result.max(1_024).checked_next_power_of_two().unwrap_or(u64::MAX).saturating_mul(2).saturating_add(64 << 10)
}

fn refusal_of(code: &str) -> RunRefusal {
    let known = FAILURES.iter().find(|(known, _)| *known == code);
    let (code, words) = known.copied().unwrap_or(("failed", "the worker could not finish the run"));
    RunRefusal { code: code.to_owned(), words: words.to_owned() }
}

fn decoded(envelope: &Envelope) -> Result<Vec<u8>, Refusal> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(&envelope.payload)
        .map_err(|_| Refusal::Malformed("the payload is not base64".to_owned()))
}

/// The codes under which a worker may give up, none of which depends on data.
pub const FAILURES: &[(&str, &str)] = &[
    ("failed", "the worker could not finish the run"),
    ("grounds-refused", "the worker found that the grounds of the run do not hold"),
    (
        "broker-refused",
        "the worker refused the broker's own Evidence, or its key is not the one that the consents name",
    ),
    ("broker-unreachable", "the worker lost the broker, or was refused by it"),
    ("rules-refused", "the worker's own check of the computation refuses it"),
    ("columns-refused", "the worker's own check finds other columns than the agreement records"),
    ("ciphertext-unreachable", "a sealed file could not be fetched"),
    ("ciphertext-refused", "a sealed file is not the one of its manifest"),
    ("no-room", "the worker has no room for the sealed files"),
    ("attester-failed", "the worker's TPM failed"),
    ("keys-refused", "the released keys do not open here"),
    (
        "not-vouched",
        "the worker found that it is not what the agreement asks for, or that auditors do not vouch for it",
    ),
    ("lease-ended", "the lease ended before the run did"),
    ("inputs", "a sealed file does not open as the table of its manifest"),
    ("execution", "the computation could not be carried out"),
    ("too-large", "the result is larger than the agreement admits"),
    ("sealing", "the result could not be sealed"),
    ("seal-failed", "the result could not be sealed"),
];

const ATTEMPTS: usize = 5;
const MAX_RULES: usize = 1 << 20;
const MAX_CLAIMS: usize = 4_096;
const CLAIM: Duration = Duration::from_secs(30);
