//! One connection to the broker: enrolment, then run after run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use agreement::documents::ResultStatement;
use attest::{
    Endorsements, Verifier,
    binding::{BindingParts, ChannelKeys, Purpose},
    reference::Vouched,
    tpm::EnrolledAk,
};
use envelope::{
    Digest, canonical,
    statement::{Addressed, Envelope, Signed},
    text::{Bytes, Bytes32},
};
use jiff::{SignedDuration, Timestamp};
use receipt::{CheckedGrounds, Enrolment, Grounds, Released, check_grounds, check_vouched};
use wire::{
    attested::{AttestedBroker, BrokerError},
    client::{Broker, ClientError, HEARTBEAT},
    messages::{
        Accepted, Activation, BrokerDescription, Challenge, ChallengeRequest, ChallengeUse, EnrolChallenge, EnrolProof,
        EnrolRequest, Enrolled, Failed, Finished, Keys, Lease, NextRun, ReleaseRequest, ReleasedKeys, RenewRequest,
        WorkOrder, path,
    },
};
use zeroize::Zeroizing;

use super::{
    Config, Machine,
    engine::{self, Answer},
    fetch::{self, FetchError, Fetched},
    hardware::HardwareError,
};
use crate::sql::CheckedPlan;

/// A connection on which this worker is enrolled.
pub struct Session<'a> {
    config: &'a Config,
    machine: &'a Machine,
    broker: Broker,
    description: BrokerDescription,
    enrolment: Signed<Enrolment>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The channel, or a refusal by the broker.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The TPM.
    #[error("the machine cannot attest: {0}")]
    Attester(#[from] tpm::AttesterError),
    /// The broker's enrolment is not a statement of this broker about this key.
    #[error("the broker's enrolment does not speak of this worker's key")]
    Enrolment,
}

/// Why a run ended without a result. Its code is all that leaves; none depends on data.
#[derive(Debug, thiserror::Error)]
enum RunFailure {
    #[error("the grounds do not hold")]
    Grounds(#[source] receipt::GroundsError),
    #[error("the order is not about the run it names")]
    Order,
    #[error("the broker's Evidence does not pass")]
    Broker(#[source] BrokerError),
    #[error("the broker's attestation key is not the one that the parties activated")]
    BrokerKey,
    #[error("auditors do not vouch for this worker as the agreement asks")]
    NotVouched(#[source] receipt::GroundsError),
    #[error("by its own appraisal this worker is not what the agreement asks for")]
    Appraisal(#[source] attest::AppraisalError),
    #[error("the query does not pass the rules")]
    Rules,
    #[error("the query reads columns that the agreement does not record")]
    Columns,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the machine cannot attest")]
    Attester(#[from] tpm::AttesterError),
    #[error("the confidential hardware beneath gives no Evidence")]
    Hardware(#[from] HardwareError),
    #[error("the agreement asks for confidential hardware, and this worker was started without any")]
    NoHardware,
    #[error("the keys were refused or do not open here")]
    Keys,
    #[error("the lease ended")]
    LeaseEnded,
    #[error("the engine: {0}")]
    Engine(&'static str),
    #[error("the result could not be sealed or signed")]
    Seal,
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Keys that were released, to a worker for which auditors vouch where they must, and until when.
struct Held {
    keys: Keys,
    _vouched: Vouched,
    lease: Lease,
    deadline: Instant,
    binding: BindingParts,
    asked: Instant,
}

impl<'a> Session<'a> {
    /// Connects, and has the attestation key enrolled.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn open(config: &'a Config, machine: &'a Machine) -> Result<Session<'a>, SessionError> {
        let mut broker = Broker::connect(&config.address, &config.broker, Some(&machine.leaf)).await?;
        let description: BrokerDescription = broker.get(path::BROKER, None).await?;
        let enrolment = enrol(machine, &mut broker).await?;
        Ok(Session { config, machine, broker, description, enrolment })
    }

    /// Takes runs until the connection ends.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn serve(&mut self) -> Result<(), SessionError> {
        loop {
            let question = NextRun { enrolment: *self.enrolment.digest() };
            let order: Option<WorkOrder> = self.broker.post(path::WORKER_NEXT, &question).await?;
            let Some(order) = order else { continue };
            tracing::info!(run = %order.run.short(), "run taken");
            let mut lease = None;
            match self.run(&order, &mut lease).await {
                Ok(()) => tracing::info!(run = %order.run.short(), "result handed to the broker"),
                Err(failure) => {
                    tracing::warn!(run = %order.run.short(), code = failure.code(), "run ended: {failure}");
                    let failed = Failed { run: order.run, lease, code: failure.code().to_owned() };
                    let _: Accepted = self.broker.post(path::WORKER_FAILED, &failed).await?;
                }
            }
        }
    }

    async fn run(&mut self, order: &WorkOrder, lease: &mut Option<Bytes32>) -> Result<(), RunFailure> {
        let grounds = check_grounds(&order.grounds, Timestamp::now()).map_err(RunFailure::Grounds)?;
        if *grounds.run().digest() != order.run || grounds.in_force().agreement().broker.key != self.config.broker {
            return Err(RunFailure::Order);
        }
        self.appraise_broker(&grounds).await?;
        let plan = engine::plan(grounds.permitted()).await?;
        let folder = self.folder()?;
        let inputs = self.beating(fetch_all(&grounds, &folder)).await??;

        self.machine.attester.extend_run(&order.run)?;
        let mut held = self.release(&grounds, &order.grounds).await?;
        *lease = Some(held.lease.id);
        let rules = engine::rules(&plan)?;
        let plan_digest = plan.digest();
        let answer = self.execute(&grounds, plan, inputs, &mut held).await?;
        self.hand_over(&grounds, answer, &mut held, plan_digest, rules).await
    }

    /// Step 2: the broker's machine, and the key that the parties' consents name.
    async fn appraise_broker(&mut self, grounds: &CheckedGrounds) -> Result<(), RunFailure> {
        let policy = &grounds.in_force().agreement().broker.policy;
        let asker = self.machine.signing.public();
        let attested = AttestedBroker::appraise(&mut self.broker, &self.description, policy, &asker, Timestamp::now())
            .await
            .map_err(RunFailure::Broker)?;
        if grounds.broker_aks().iter().all(|ak| ak == attested.ak()) { Ok(()) } else { Err(RunFailure::BrokerKey) }
    }

    /// Step 5: Evidence for this run on this connection, against the keys. They stay wrapped until the worker has itself found that the auditors
    /// whom the agreement asks for vouch for what it measured.
    async fn release(&mut self, grounds: &CheckedGrounds, shown: &Grounds) -> Result<Held, RunFailure> {
        let permitted = grounds.permitted();
        let purpose = Purpose::WorkerRelease { agreement: *permitted.agreement(), run: *permitted.run() };
        let (request, binding) = self.evidence(ChallengeUse::WorkerRelease, purpose, grounds).await?;
        let asked = Instant::now();
        let released: ReleasedKeys = self.broker.post(path::WORKER_RELEASE, &request).await?;
        let bound = Digest::from_bytes(*binding.bind().sha256());
        self.check_released(&released, grounds, &request, &bound)?;
        let vouched = self.vouched(grounds, shown, &request, &binding)?;
        let lease = released.lease;
        let context = Keys::context(permitted.run(), &lease.id, &bound);
        let opened = self
            .machine
            .decapsulation
            .unwrap(&released.wrapped, Keys::PURPOSE, &context)
            .map_err(|_| RunFailure::Keys)?;
        let keys: Keys = serde_json::from_slice(&opened).map_err(|_| RunFailure::Keys)?;
        let deadline = deadline(asked, lease.lasts_ms, permitted.release().lease_seconds);
        Ok(Held { keys, _vouched: vouched, lease, deadline, binding, asked })
    }

    /// The appraisal that the broker made and that a receipt repeats, and the auditors' word on its result.
    fn vouched(
        &self,
        grounds: &CheckedGrounds,
        shown: &Grounds,
        request: &ReleaseRequest,
        binding: &BindingParts,
    ) -> Result<Vouched, RunFailure> {
        let enrolled = EnrolledAk::vouched(&self.enrolment, self.broker.key()).map_err(RunFailure::Appraisal)?;
        let policy = &grounds.in_force().agreement().workers;
        let endorsements = Endorsements::tpm(enrolled);
        let result = Verifier::appraise(&request.evidence, &endorsements, &binding.bind(), policy, Timestamp::now())
            .map_err(RunFailure::Appraisal)?;
        let (vouched, _) = check_vouched(shown, grounds, result).map_err(RunFailure::NotVouched)?;
        Ok(vouched)
    }

    /// What the broker signed about the release is what happened here: a receipt that said anything else would not verify.
    fn check_released(
        &self,
        answer: &ReleasedKeys,
        grounds: &CheckedGrounds,
        request: &ReleaseRequest,
        bound: &Digest,
    ) -> Result<(), RunFailure> {
        let signed = Signed::<Released>::verify(&answer.released, self.broker.key()).map_err(|_| RunFailure::Keys)?;
        // On which documents of auditors it stands is for the receipt; this worker looks at those that count by its own clock.
        let Released {
            run,
            agreement,
            columns,
            binding,
            evidence,
            enrolment,
            lease,
            appraised: _,
            reference_values: _,
        } = signed.value();
        let permitted = grounds.permitted();
        let agreed: BTreeMap<_, _> =
            permitted.inputs().values().map(|input| (input.digest, input.columns.clone())).collect();
        let shown = canonical::digest(&request.evidence).map_err(|_| RunFailure::Keys)?;
        let same = run == permitted.run()
            && agreement == permitted.agreement()
            && *columns == agreed
            && binding == bound
            && *evidence == shown
            && enrolment == self.enrolment.digest()
            && *lease == answer.lease.id;
        if same { Ok(()) } else { Err(RunFailure::Keys) }
    }

    /// Step 6: the engine works in a task of its own while the lease is renewed here.
    async fn execute(
        &mut self,
        grounds: &CheckedGrounds,
        plan: CheckedPlan,
        inputs: BTreeMap<String, Vec<Fetched>>,
        held: &mut Held,
    ) -> Result<Answer, RunFailure> {
        let permitted = grounds.permitted().clone();
        let sources = engine::sources(&permitted, inputs, &held.keys)?;
        let mut work = AbortOnDrop(tokio::spawn(engine::execute(permitted, plan, sources)));
        self.under_lease(grounds, held, &mut work.0)
            .await?
            .map_err(|_| RunFailure::Engine("failed"))?
            .map_err(RunFailure::from)
    }

    /// Waits for something while the lease is renewed at half of its time; when it is not renewed before its end, the wait is over.
    async fn under_lease<T>(
        &mut self,
        grounds: &CheckedGrounds,
        held: &mut Held,
        what: impl Future<Output = T>,
    ) -> Result<T, RunFailure> {
        tokio::pin!(what);
        let mut renewal = half_way(held.deadline);
        loop {
            let next = renewal.min(Instant::now() + HEARTBEAT);
            tokio::select! {
                done = &mut what => {
                    return if Instant::now() < held.deadline { Ok(done) } else { Err(RunFailure::LeaseEnded) };
                }
                () = tokio::time::sleep_until(next.into()) => {}
            }
            let end = held.deadline.into();
            if Instant::now() < renewal {
                tokio::time::timeout_at(end, self.broker.beat()).await.map_err(|_| RunFailure::LeaseEnded)??;
            } else {
                let renewed = tokio::time::timeout_at(end, self.renew(grounds, &held.lease)).await;
                held.deadline = renewed.map_err(|_| RunFailure::LeaseEnded)?.map_err(|_| RunFailure::LeaseEnded)?;
                renewal = half_way(held.deadline);
            }
        }
    }

    /// Waits for something while the broker hears that this worker is still there.
    async fn beating<T>(&mut self, what: impl Future<Output = T>) -> Result<T, RunFailure> {
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return Ok(done),
                () = tokio::time::sleep(HEARTBEAT) => self.broker.beat().await?,
            }
        }
    }

    async fn renew(&mut self, grounds: &CheckedGrounds, lease: &Lease) -> Result<Instant, RunFailure> {
        let permitted = grounds.permitted();
        let purpose = Purpose::WorkerRenew { agreement: *permitted.agreement(), run: *permitted.run() };
        let (release, _) = self.evidence(ChallengeUse::WorkerRenew, purpose, grounds).await?;
        let asked = Instant::now();
        let renewed: Lease = self.broker.post(path::WORKER_RENEW, &RenewRequest { lease: lease.id, release }).await?;
        if renewed.id != lease.id {
            return Err(RunFailure::LeaseEnded);
        }
        Ok(deadline(asked, renewed.lasts_ms, permitted.release().lease_seconds))
    }

    /// A fresh challenge and Evidence bound to it, this connection and this worker's keys.
    async fn evidence(
        &mut self,
        purpose: ChallengeUse,
        bound: Purpose,
        grounds: &CheckedGrounds,
    ) -> Result<(ReleaseRequest, BindingParts), RunFailure> {
        let challenge: Challenge = self.broker.post(path::CHALLENGE, &ChallengeRequest { purpose }).await?;
        let keys = channel_keys(self.machine);
        let binding = BindingParts {
            purpose: bound,
            keys: keys.clone(),
            exporter: *self.broker.exporter(),
            nonce: challenge.nonce.0,
        };
        let mut evidence = self.machine.attester.evidence(&binding.bind())?;
        // Only where the agreement asks for hardware: elsewhere its Evidence would be refused as unread.
        if !grounds.in_force().agreement().workers.hardware().is_empty() {
            let hardware = self.machine.hardware.as_ref().ok_or(RunFailure::NoHardware)?;
            evidence = hardware.beneath(&evidence, &binding.bind())?;
        }
        let run = *grounds.permitted().run();
        let request = ReleaseRequest { run, enrolment: *self.enrolment.digest(), challenge, keys, evidence };
        Ok((request, binding))
    }

    /// Step 7: at the tick, sealed, signed, to the broker alone.
    async fn hand_over(
        &mut self,
        grounds: &CheckedGrounds,
        answer: Answer,
        held: &mut Held,
        plan: Digest,
        rules: String,
    ) -> Result<(), RunFailure> {
        let permitted = grounds.permitted();
        let sealed = engine::seal(permitted, answer)?;
        let statement = ResultStatement {
            run: *permitted.run(),
            plan,
            rules: Digest::of(rules.as_bytes()),
            output: Digest::of(&sealed),
            bytes: sealed.len() as u64,
            lease: held.lease.id,
        };
        let addressed = Addressed {
            audience: self.config.broker,
            nonce: Bytes32::random(),
            expires: Timestamp::now() + SignedDuration::from_mins(5),
            body: statement,
        };
        let signed = Signed::sign(addressed, &self.machine.signing).map_err(|_| RunFailure::Seal)?;
        debug_assert_eq!(held.binding.keys.signing, *self.machine.signing.public().as_bytes());
        self.under_lease(grounds, held, until_tick(held.asked, permitted.release().tick_ms)).await?;
        let finished = Finished { statement: signed.envelope().clone(), rules, output: Bytes(sealed) };
        let _: Accepted = self.broker.post(path::WORKER_RESULT, &finished).await?;
        Ok(())
    }

    fn folder(&self) -> Result<PathBuf, RunFailure> {
        let folder = self.config.state.join("ciphertext");
        std::fs::create_dir_all(&folder).map_err(|_| RunFailure::Fetch(FetchError::NoRoom))?;
        Ok(folder)
    }
}

impl SessionError {
    /// A short name for logs.
    pub const fn code(&self) -> &'static str {
        match self {
            SessionError::Client(_) => "broker",
            SessionError::Attester(_) => "attester",
            SessionError::Enrolment => "enrolment",
        }
    }
}

impl RunFailure {
    /// The closed set of codes that leave with a failed run.
    const fn code(&self) -> &'static str {
        match self {
            RunFailure::Grounds(_) | RunFailure::Order => "grounds-refused",
            RunFailure::Broker(_) | RunFailure::BrokerKey => "broker-refused",
            RunFailure::NotVouched(_) | RunFailure::Appraisal(_) => "not-vouched",
            RunFailure::Rules => "rules-refused",
            RunFailure::Columns => "columns-refused",
            RunFailure::Fetch(FetchError::Unreachable) => "ciphertext-unreachable",
            RunFailure::Fetch(FetchError::OtherContents) => "ciphertext-refused",
            RunFailure::Fetch(FetchError::NoRoom) => "no-room",
            RunFailure::Attester(_) | RunFailure::Hardware(_) => "attester-failed",
            RunFailure::NoHardware => "no-hardware",
            RunFailure::Keys => "keys-refused",
            RunFailure::LeaseEnded => "lease-ended",
            RunFailure::Engine(code) => code,
            RunFailure::Seal => "seal-failed",
            RunFailure::Client(_) => "broker-unreachable",
        }
    }
}

impl From<engine::EngineError> for RunFailure {
    fn from(error: engine::EngineError) -> RunFailure {
        match error {
            engine::EngineError::Rules => RunFailure::Rules,
            engine::EngineError::Columns => RunFailure::Columns,
            engine::EngineError::Keys => RunFailure::Keys,
            engine::EngineError::Seal => RunFailure::Seal,
            engine::EngineError::Ciphertext => RunFailure::Fetch(FetchError::OtherContents),
            engine::EngineError::Run(code) => RunFailure::Engine(code),
        }
    }
}

async fn enrol(machine: &Machine, broker: &mut Broker) -> Result<Signed<Enrolment>, SessionError> {
    let claim = machine.attester.key_claim(&machine.issuers);
    let request = EnrolRequest {
        ak_public: claim.ak_public.clone(),
        ek_public: claim.ek_public.clone(),
        ek_chain: claim.ek_certificates.clone(),
    };
    let asked: EnrolChallenge = broker.post(path::WORKER_ENROL, &request).await?;
    let Activation { id_object, encrypted_secret } = asked.credential;
    let made = attest::credential::MadeCredential { id_object, encrypted_secret };
    let secret = machine.attester.activate(&made)?;
    let ak_name = claim.ak_name().map_err(|_| SessionError::Enrolment)?;
    let keys = channel_keys(machine);
    let binding = BindingParts {
        purpose: Purpose::WorkerEnrol { ak_name },
        keys: keys.clone(),
        exporter: *broker.exporter(),
        nonce: asked.challenge.nonce.0,
    };
    let evidence = machine.attester.evidence(&binding.bind())?;
    let secret = Bytes(Zeroizing::new(secret.to_vec()).to_vec());
    let proof = EnrolProof { request, token: asked.token, challenge: asked.challenge, secret, evidence, keys };
    let enrolled: Enrolled = broker.post(path::WORKER_PROVE, &proof).await?;
    let statement = checked_enrolment(&enrolled.enrolment, broker)?;
    if statement.value().keys != claim {
        return Err(SessionError::Enrolment);
    }
    Ok(statement)
}

fn checked_enrolment(envelope: &Envelope, broker: &Broker) -> Result<Signed<Enrolment>, SessionError> {
    Signed::<Enrolment>::verify(envelope, broker.key()).map_err(|_| SessionError::Enrolment)
}

fn channel_keys(machine: &Machine) -> ChannelKeys {
    ChannelKeys {
        channel: machine.leaf.spki().to_vec(),
        encapsulation: machine.decapsulation.public().as_bytes().to_vec(),
        signing: *machine.signing.public().as_bytes(),
    }
}

async fn fetch_all(
    grounds: &CheckedGrounds,
    folder: &std::path::Path,
) -> Result<BTreeMap<String, Vec<Fetched>>, RunFailure> {
    let mut inputs = BTreeMap::new();
    for (name, input) in grounds.permitted().inputs() {
        inputs.insert(name.clone(), fetch::fetch(&input.manifest, folder).await?);
    }
    Ok(inputs)
}

/// When a lease ends: as the broker says, and never later than the agreement lets a lease last.
fn deadline(asked: Instant, lasts_ms: u64, agreed_seconds: u32) -> Instant {
    asked + Duration::from_millis(lasts_ms).min(Duration::from_secs(agreed_seconds.into()))
}

fn half_way(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

/// Sleeps until shortly before a multiple of the tick since the keys were asked for, so that how long the work took tells
/// little. The broker lets results leave at those multiples; the lead is for the way there.
async fn until_tick(since: Instant, tick_ms: u32) {
    let tick = Duration::from_millis(u64::from(tick_ms.max(1)));
    let lead = (tick / 10).min(LONGEST_LEAD);
    let ticks = (since.elapsed() + lead).as_millis() / tick.as_millis() + 1;
    let at = since + tick * u32::try_from(ticks).unwrap_or(u32::MAX) - lead;
    tokio::time::sleep_until(at.into()).await;
}

/// The most that a result is early at the broker.
const LONGEST_LEAD: Duration = Duration::from_millis(100);

/// Ends the work, and with it every key it holds, when its owner gives up.
struct AbortOnDrop(tokio::task::JoinHandle<Result<Answer, engine::EngineError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_as_the_broker_says_and_never_later_than_agreed() {
        let asked = Instant::now();
        assert_eq!(deadline(asked, 10_000, 60), asked + Duration::from_secs(10));
        assert_eq!(deadline(asked, 61_000, 60), asked + Duration::from_secs(60));
        assert_eq!(deadline(asked, u64::MAX, 60), asked + Duration::from_secs(60));
        assert_eq!(deadline(asked, 0, 60), asked);
    }
}
