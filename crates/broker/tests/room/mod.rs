//! A whole room in one process: a broker and a worker on software TPMs of their own, and three parties.
#![allow(dead_code, unreachable_pub, reason = "shared by several test binaries")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{Arc, Mutex, Weak},
};

use agreement::documents::{
    Agreement, BrokerTerms, Charge, Column, ColumnRule, ColumnType, Computation, Consent, Contents, DatasetSource,
    DatasetTerms, Deposit, Engine, Identity, Manifest, PartyTerms, Proposal, ReleaseTerms, ResultStatement, Run,
    SealedFile, TableRules, WitnessTerms,
};
use attest::{
    AppraisalPolicy, Bank, Clock, EndorsementKeys, EndorsementRoot, PolicyDocument, Tier, TpmPolicy,
    binding::{BindingParts, ChannelKeys, Purpose},
    credential::MadeCredential,
    events::RoleName,
};
use broker::{Broker, Place, Settings};
use envelope::{
    Digest, PublicKey, SigningKey,
    keys::TableKey,
    statement::{Addressed, Envelope, Predicate, Signed},
    text::{Bytes, Bytes32},
    wrap::DecapsulationKey,
};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tower::ServiceExt as _;
use tpm::{Attester, KeyKind, SavedKey, SoftwareTpm, Tpm, measure};
use wire::{
    attested::AttestedBroker,
    channel::{ClientLeaf, LeafIdentity, Peer},
    client::{Broker as Connection, ClientError},
    messages::{
        Accepted, AgreementStatus, BrokerDescription, Challenge, ChallengeRequest, ChallengeUse, EnrolChallenge,
        EnrolProof, EnrolRequest, Enrolled, Finished, Keys, NextRun, ReleaseRequest, ReleasedKeys, RunStatus, Standing,
        WorkOrder, path,
    },
    server::Bounds,
};

pub const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

/// A software TPM on which a role was launched.
pub struct Machine {
    pub role: RoleName,
    pub binary: Digest,
    pub log: std::path::PathBuf,
    pub issuer: std::path::PathBuf,
    pub root: Vec<u8>,
    pub software: Option<SoftwareTpm>,
    pub files: TempDir,
    _authority: Arc<TempDir>,
}

/// A party with its datasets' keys.
pub struct Party {
    pub name: &'static str,
    pub key: SigningKey,
    pub identity: Identity,
}

/// A sealed dataset; no ciphertext is needed here.
pub struct Dataset {
    pub manifest: Signed<Manifest>,
    pub key: TableKey,
}

/// Everything together.
pub struct Room {
    pub broker: Arc<Broker>,
    pub address: SocketAddr,
    pub broker_machine: Machine,
    pub worker: Worker,
    pub parties: BTreeMap<&'static str, Party>,
    pub agreement: Agreement,
    pub trial: Dataset,
    pub outcomes: Dataset,
}

/// A worker's end.
pub struct Worker {
    pub machine: Machine,
    pub attester: Attester,
    pub saved: SavedKey,
    pub issuers: Vec<Vec<u8>>,
    pub signing: SigningKey,
    pub decapsulation: DecapsulationKey,
    pub leaf: LeafIdentity,
}

impl Machine {
    /// A new TPM with a role launched on it; nothing, with the reason printed, where swtpm is missing (a failure in CI).
    pub fn new(role: &str) -> Option<Machine> {
        if !available("swtpm") || !available("swtpm_setup") {
            return None;
        }
        let files = tempfile::tempdir().unwrap();
        let authority = authority();
        SoftwareTpm::provision(&files.path().join("tpm"), authority.path()).unwrap();
        let certificates = SoftwareTpm::ca_certificates(authority.path()).unwrap();
        let issuer = files.path().join("issuer.der");
        std::fs::write(&issuer, &certificates[1]).unwrap();
        let mut machine = Machine {
            role: role.try_into().unwrap(),
            binary: Digest::of(role.as_bytes()),
            log: files.path().join("event-log"),
            issuer,
            root: certificates[0].clone(),
            software: None,
            files,
            _authority: authority,
        };
        machine.launch();
        Some(machine)
    }

    /// Starts the TPM anew and launches the role.
    pub fn launch(&mut self) {
        self.software = None;
        let software = SoftwareTpm::start(&self.files.path().join("tpm")).unwrap();
        let mut tpm = Tpm::open(&software.address()).unwrap();
        let log = measure::launch(&mut tpm, &self.role, &self.binary).unwrap();
        std::fs::write(&self.log, log.encode()).unwrap();
        self.software = Some(software);
    }

    pub fn place(&self) -> Place {
        Place {
            tpm: self.software.as_ref().unwrap().address(),
            event_log: self.log.clone(),
            state: self.files.path().join("state"),
            issuers: vec![self.issuer.clone()],
        }
    }

    pub fn attester(&self, saved: Option<&SavedKey>) -> (Attester, SavedKey) {
        let mut tpm = Tpm::open(&self.software.as_ref().unwrap().address()).unwrap();
        let log = attest::event_log::EventLog::parse(&std::fs::read(&self.log).unwrap()).unwrap();
        let key = match saved {
            Some(saved) => tpm.load(saved).unwrap(),
            None => tpm.attestation_key(KeyKind::default()).unwrap(),
        };
        let saved = key.saved().clone();
        (Attester::new(tpm, key, log, "sha256:0,8,12".parse().unwrap()).unwrap(), saved)
    }

    pub fn policy(&self, endorsement_key: Digest) -> AppraisalPolicy {
        AppraisalPolicy::new(PolicyDocument {
            tier_floor: Tier::SoftwareTpm,
            tpm: TpmPolicy {
                roots: vec![EndorsementRoot { certificate: Bytes(self.root.clone()), tier: Tier::SoftwareTpm }],
                endorsement_keys: EndorsementKeys::Listed(vec![endorsement_key]),
                bank: Bank::Sha256,
                role: self.role.clone(),
                binaries: vec![self.binary],
                reference_values: vec![],
                clock: Clock::Unsafe,
            },
            hardware: std::collections::BTreeMap::new(),
            auditors: None,
        })
        .unwrap()
    }
}

impl Party {
    pub fn new(name: &'static str, seed: u8) -> Party {
        let key = SigningKey::from_seed(&[seed; 32]);
        let identity = Identity::vouch(&key, RECIPIENT).unwrap();
        Party { name, key, identity }
    }
}

impl Worker {
    pub fn new() -> Option<Worker> {
        Some(Worker::on(Machine::new("worker")?))
    }

    pub fn on(machine: Machine) -> Worker {
        let (attester, saved) = machine.attester(None);
        let signing = SigningKey::generate();
        let leaf = LeafIdentity::worker(&signing, Timestamp::now()).unwrap();
        let issuers = vec![std::fs::read(&machine.issuer).unwrap()];
        Worker { machine, attester, saved, issuers, signing, decapsulation: DecapsulationKey::generate(), leaf }
    }

    /// The machine is reset and launched again, with the same keys.
    pub fn restart(self) -> Worker {
        let Worker { mut machine, attester, saved, issuers, signing, decapsulation, leaf } = self;
        drop(attester);
        machine.launch();
        let (attester, saved) = machine.attester(Some(&saved));
        Worker { machine, attester, saved, issuers, signing, decapsulation, leaf }
    }

    /// How this worker's connection looks to the broker.
    pub fn peer(&self, exporter: [u8; 32]) -> Peer {
        let client = ClientLeaf { spki: self.leaf.spki().to_vec(), issuer: self.signing.public() };
        Peer {
            exporter,
            server_spki: Arc::from([0_u8; 4]),
            client: Some(client),
            remote: "192.0.2.1:1".parse().unwrap(),
        }
    }

    pub fn policy(&self) -> AppraisalPolicy {
        self.machine.policy(self.attester.key_claim(&self.issuers).ek_digest().unwrap())
    }

    pub fn keys(&self) -> ChannelKeys {
        ChannelKeys {
            channel: self.leaf.spki().to_vec(),
            encapsulation: self.decapsulation.public().as_bytes().to_vec(),
            signing: *self.signing.public().as_bytes(),
        }
    }

    pub fn enrol_request(&self) -> EnrolRequest {
        let claim = self.attester.key_claim(&self.issuers);
        EnrolRequest { ak_public: claim.ak_public, ek_public: claim.ek_public, ek_chain: claim.ek_certificates }
    }

    pub async fn enrol(&self, connection: &mut Connection) -> Result<Digest, ClientError> {
        let request = self.enrol_request();
        let asked: EnrolChallenge = connection.post(path::WORKER_ENROL, &request).await?;
        let made = MadeCredential {
            id_object: asked.credential.id_object.clone(),
            encrypted_secret: asked.credential.encrypted_secret.clone(),
        };
        let secret = Bytes(self.attester.activate(&made).unwrap().to_vec());
        let ak_name = self.attester.key_claim(&self.issuers).ak_name().unwrap();
        let parts = BindingParts {
            purpose: Purpose::WorkerEnrol { ak_name },
            keys: self.keys(),
            exporter: *connection.exporter(),
            nonce: asked.challenge.nonce.0,
        };
        let evidence = self.attester.evidence(&parts.bind()).unwrap();
        let proof =
            EnrolProof { request, token: asked.token, challenge: asked.challenge, secret, evidence, keys: self.keys() };
        let enrolled: Enrolled = connection.post(path::WORKER_PROVE, &proof).await?;
        Ok(*Signed::<attest::tpm::Enrolment>::verify(&enrolled.enrolment, connection.key()).unwrap().digest())
    }

    pub async fn challenge(&self, connection: &mut Connection, purpose: ChallengeUse) -> Challenge {
        connection.post(path::CHALLENGE, &ChallengeRequest { purpose }).await.unwrap()
    }

    /// A release request as it should be, and the binding behind it.
    pub fn request(
        &self,
        agreement: &Digest,
        run: &Digest,
        enrolment: &Digest,
        challenge: Challenge,
        exporter: [u8; 32],
    ) -> (ReleaseRequest, BindingParts) {
        let parts = self.parts(agreement, run, &challenge, exporter);
        (self.request_bound(&parts, run, enrolment, challenge), parts)
    }

    pub fn parts(&self, agreement: &Digest, run: &Digest, challenge: &Challenge, exporter: [u8; 32]) -> BindingParts {
        let (agreement, run) = (*agreement, *run);
        let purpose = match challenge.purpose {
            ChallengeUse::WorkerRenew => Purpose::WorkerRenew { agreement, run },
            _ => Purpose::WorkerRelease { agreement, run },
        };
        BindingParts { purpose, keys: self.keys(), exporter, nonce: challenge.nonce.0 }
    }

    /// A release request whose Evidence is bound to these parts, whatever they are.
    pub fn request_bound(
        &self,
        parts: &BindingParts,
        run: &Digest,
        enrolment: &Digest,
        challenge: Challenge,
    ) -> ReleaseRequest {
        self.attester.extend_run(run).unwrap();
        let evidence = self.attester.evidence(&parts.bind()).unwrap();
        ReleaseRequest { run: *run, enrolment: *enrolment, challenge, keys: self.keys(), evidence }
    }

    /// Attests and takes the keys of a run.
    pub async fn release(
        &self,
        connection: &mut Connection,
        agreement: &Digest,
        run: &Digest,
        enrolment: &Digest,
    ) -> Result<(ReleasedKeys, Keys), ClientError> {
        let challenge = self.challenge(connection, ChallengeUse::WorkerRelease).await;
        let (request, parts) = self.request(agreement, run, enrolment, challenge, *connection.exporter());
        let released: ReleasedKeys = connection.post(path::WORKER_RELEASE, &request).await?;
        let context = Keys::context(run, &released.lease.id, &Digest::from_bytes(*parts.bind().sha256()));
        let opened = self.decapsulation.unwrap(&released.wrapped, Keys::PURPOSE, &context).unwrap();
        let keys = serde_json::from_slice(&opened).unwrap();
        Ok((released, keys))
    }

    pub fn finished(&self, broker: &PublicKey, run: &Digest, lease: Bytes32, output: &[u8]) -> Finished {
        let rules = r#"{"rules":"as checked"}"#;
        let statement = ResultStatement {
            run: *run,
            plan: Digest::of(b"plan"),
            rules: Digest::of(rules.as_bytes()),
            output: Digest::of(output),
            bytes: output.len() as u64,
            lease,
        };
        let statement = address(statement, broker, &self.signing);
        Finished { statement: statement.envelope().clone(), rules: rules.to_owned(), output: Bytes(output.to_vec()) }
    }
}

impl Room {
    /// A room whose parties have agreed and deposited nothing yet.
    pub async fn open() -> Option<Room> {
        Room::with(|_| {}).await
    }

    /// As [`Room::open`], with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Option<Room> {
        let (machine, worker) = std::thread::scope(|scope| {
            let machine = scope.spawn(|| Machine::new("broker"));
            let worker = scope.spawn(Worker::new);
            (machine.join().unwrap(), worker.join().unwrap())
        });
        let (broker_machine, worker) = (machine?, worker?);
        let mut settings = Settings::new(broker_machine.place());
        settings.costly.burst = 1_000;
        change(&mut settings);
        let broker = tokio::task::spawn_blocking(move || Broker::start(settings)).await.unwrap().unwrap();
        let broker = Arc::new(broker);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Arc::clone(&broker).serve(listener, Bounds::default(), std::future::pending()));
        let parties = [Party::new("hospital", 1), Party::new("registry", 2), Party::new("university", 3)];
        let parties: BTreeMap<_, _> = parties.into_iter().map(|party| (party.name, party)).collect();
        let trial = dataset(&parties["hospital"], broker.key(), "trial", &["patient", "arm", "cd4"]);
        let outcomes = dataset(&parties["registry"], broker.key(), "outcomes", &["patient", "days"]);
        let description: BrokerDescription = Connection::connect(&address.to_string(), broker.key(), None)
            .await
            .unwrap()
            .get(path::BROKER, None)
            .await
            .unwrap();
        let claim = attest::tpm::KeyClaim {
            ak_public: description.ak_public.clone(),
            ek_public: description.ek_public.clone(),
            ek_certificates: description.ek_chain.clone(),
        };
        let policy = broker_machine.policy(claim.ek_digest().unwrap());
        let agreement = agreement(&parties, &trial, &outcomes, &broker, address, policy, worker.policy());
        Some(Room { broker, address, broker_machine, worker, parties, agreement, trial, outcomes })
    }

    pub fn digest(&self) -> Digest {
        self.agreement.digest().unwrap()
    }

    pub async fn connect(&self) -> Connection {
        Connection::connect(&self.address.to_string(), self.broker.key(), None).await.unwrap()
    }

    pub async fn connect_worker(&self) -> Connection {
        Connection::connect(&self.address.to_string(), self.broker.key(), Some(&self.worker.leaf)).await.unwrap()
    }

    pub fn sign<T: Predicate>(&self, body: T, party: &str) -> Envelope {
        address(body, self.broker.key(), &self.parties[party].key).envelope().clone()
    }

    /// What a party does before it consents: appraises the broker.
    pub async fn appraise(&self, connection: &mut Connection, party: &str) -> AttestedBroker {
        let description: BrokerDescription = connection.get(path::BROKER, None).await.unwrap();
        let key = self.parties[party].key.public();
        AttestedBroker::appraise(connection, &description, &self.agreement.broker.policy, &key, Timestamp::now())
            .await
            .unwrap()
    }

    pub async fn deposit(&self, party: &str, dataset: &Dataset) -> Accepted {
        let mut connection = self.connect().await;
        let broker = self.appraise(&mut connection, party).await;
        let context = Deposit::context(dataset.manifest.digest(), self.broker.key());
        let key = broker.wrap(dataset.key.as_bytes(), Deposit::PURPOSE, &context).unwrap();
        let deposit = Deposit { manifest: dataset.manifest.envelope().clone(), key };
        connection.post(path::DEPOSITS, &self.sign(deposit, party)).await.unwrap()
    }

    pub async fn propose(&self) -> AgreementStatus {
        let manifests = [&self.trial, &self.outcomes].map(|dataset| dataset.manifest.envelope().clone());
        let proposal = Proposal { agreement: self.agreement.clone(), manifests: manifests.to_vec() };
        self.connect().await.post(path::PROPOSALS, &self.sign(proposal, "university")).await.unwrap()
    }

    pub async fn consent(&self, party: &str) -> AgreementStatus {
        let mut connection = self.connect().await;
        let broker = self.appraise(&mut connection, party).await;
        let consent = Consent { agreement: self.digest(), broker_ak: *broker.ak() };
        connection.post(path::CONSENTS, &self.sign(consent, party)).await.unwrap()
    }

    /// Brings the agreement into force.
    pub async fn agree(&self) {
        self.propose().await;
        self.deposit("hospital", &self.trial).await;
        self.deposit("registry", &self.outcomes).await;
        self.consent("hospital").await;
        self.consent("registry").await;
        assert_eq!(self.consent("university").await.standing, Standing::InForce {});
    }

    pub fn run(&self) -> Run {
        let versions = [("trial", &self.trial), ("outcomes", &self.outcomes)];
        Run {
            agreement: self.digest(),
            computation: "by-arm".to_owned(),
            program: self.agreement.computations["by-arm"].digest(),
            versions: versions.map(|(name, dataset)| (name.to_owned(), *dataset.manifest.digest())).into(),
        }
    }

    pub async fn submit(&self, party: &str) -> Result<Digest, ClientError> {
        let status: RunStatus = self.connect().await.post(path::RUNS, &self.sign(self.run(), party)).await?;
        Ok(status.run)
    }

    /// An agreement in force, a run, and a worker that was shown it.
    pub async fn running(&self) -> (Connection, Digest, Digest) {
        self.agree().await;
        let run = self.submit("university").await.unwrap();
        let mut connection = self.connect_worker().await;
        let enrolment = self.worker.enrol(&mut connection).await.unwrap();
        let order: Option<WorkOrder> = connection.post(path::WORKER_NEXT, &NextRun { enrolment }).await.unwrap();
        assert_eq!(order.unwrap().run, run);
        (connection, run, enrolment)
    }
}

/// One request to the service without its channel: status and body.
pub async fn call(
    broker: &Arc<Broker>,
    peer: &Peer,
    method: &str,
    uri: &str,
    body: impl Into<Vec<u8>>,
) -> (u16, Vec<u8>) {
    let mut request =
        axum::http::Request::builder().method(method).uri(uri).body(axum::body::Body::from(body.into())).unwrap();
    request.extensions_mut().insert(peer.clone());
    let answer = Arc::clone(broker).router().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
}

/// As [`call`] with a document; the code of the refusal, or `done`.
pub async fn outcome<T: serde::Serialize>(broker: &Arc<Broker>, peer: &Peer, path: &str, document: &T) -> String {
    let (status, body) = call(broker, peer, "POST", path, serde_json::to_vec(document).unwrap()).await;
    if status < 300 {
        return "done".to_owned();
    }
    let problem: wire::messages::Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, wire::Code::parse(&problem.code).unwrap().status());
    problem.code
}

/// Somebody without a certificate.
pub fn anyone() -> Peer {
    Peer { exporter: [1; 32], server_spki: Arc::from([0_u8; 4]), client: None, remote: "192.0.2.9:1".parse().unwrap() }
}

/// A statement that is good for a minute.
pub fn address<T: Predicate>(body: T, broker: &PublicKey, key: &SigningKey) -> Signed<Addressed<T>> {
    let expires = Timestamp::now() + SignedDuration::from_mins(1);
    Signed::sign(Addressed { audience: *broker, nonce: Bytes32::random(), expires, body }, key).unwrap()
}

/// The code of a refusal.
pub fn code<T>(outcome: Result<T, ClientError>) -> String {
    match outcome {
        Err(ClientError::Refused(problem)) => problem.code,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

pub fn dataset(owner: &Party, broker: &PublicKey, name: &str, columns: &[&str]) -> Dataset {
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        kind: ColumnType::Bigint,
        nullable: false,
        rule: match *name {
            "patient" => ColumnRule::Entity { domain: "patient".to_owned() },
            "arm" => ColumnRule::Group {},
            _ => ColumnRule::Measure { lower: 0.0, upper: 5_000.0 },
        },
    };
    let manifest = Manifest {
        name: name.to_owned(),
        owner: owner.key.public(),
        version: 1,
        sealed: Timestamp::now(),
        location: "file:///nowhere/".to_owned(),
        files: vec![SealedFile { name: "part-0.parquet".to_owned(), digest: Digest::of(name.as_bytes()), bytes: 100 }],
        broker: *broker,
        contents: Contents::Table {
            columns: columns.iter().map(column).collect(),
            rules: TableRules { min_entities: 5, max_rows_per_entity: 1 },
        },
    };
    Dataset { manifest: Signed::sign(manifest, &owner.key).unwrap(), key: TableKey::generate() }
}

fn agreement(
    parties: &BTreeMap<&'static str, Party>,
    trial: &Dataset,
    outcomes: &Dataset,
    broker: &Broker,
    address: SocketAddr,
    policy: AppraisalPolicy,
    workers: AppraisalPolicy,
) -> Agreement {
    let dataset = |owner: &str, dataset: &Dataset| DatasetTerms {
        owner: owner.to_owned(),
        source: DatasetSource::Version(*dataset.manifest.digest()),
    };
    let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    Agreement {
        name: "trial-outcomes".to_owned(),
        purpose: "compare the arms".to_owned(),
        parties: parties
            .values()
            .map(|party| (party.name.to_owned(), PartyTerms { identity: party.identity.clone() }))
            .collect(),
        datasets: [
            ("trial".to_owned(), dataset("hospital", trial)),
            ("outcomes".to_owned(), dataset("registry", outcomes)),
        ]
        .into(),
        computations: [(
            "by-arm".to_owned(),
            Computation {
                engine: Engine::Sql,
                text: "select arm, avg(days) from trial join outcomes using (patient) group by arm".to_owned(),
                columns: [
                    ("trial".to_owned(), columns(&["patient", "arm"])),
                    ("outcomes".to_owned(), columns(&["patient", "days"])),
                ]
                .into(),
                recipients: ["university".to_owned()].into(),
                charge: Charge::Thresholds {},
            },
        )]
        .into(),
        broker: BrokerTerms { key: *broker.key(), log: broker.log_key(), address: address.to_string(), policy },
        workers,
        witnesses: WitnessTerms { required: 0, keys: vec![] },
        release: ReleaseTerms { tick_ms: 50, lease_seconds: 60, max_result_bytes: 1 << 20 },
        expires: Timestamp::now() + SignedDuration::from_hours(1),
        predecessor: None,
    }
}

/// The authority of the tests that run at the same time: making one takes longer than making a TPM.
fn authority() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(tempfile::tempdir().unwrap());
        SoftwareTpm::provision(&made.path().join("first"), made.path()).unwrap();
        *shared = Arc::downgrade(&made);
        made
    })
}

fn available(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "`{program}` is missing in CI");
        eprintln!("skipped: `{program}` is not installed");
    }
    found
}
