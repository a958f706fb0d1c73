//! What others have broken elsewhere, tried on the broker; numbers are those of the adversarial suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agreement::documents::Consent;
use attest::binding::{BindingParts, Purpose};
use broker::{Broker, Settings, StartError, clock::Reading, limits::Rate, service::Storage, store::Store};
use envelope::{
    Digest, SigningKey,
    statement::{Addressed, Envelope, Signed},
    text::{Bytes, Bytes32},
};
use jiff::{SignedDuration, Timestamp};
use redb::{StorageBackend, backends::InMemoryBackend};
use room::{Room, Worker, anyone, call, code, outcome};
use wire::{
    channel::Peer,
    messages::{ChallengeRequest, ChallengeUse, EnrolChallenge, EnrolProof, Problem, ReleaseRequest, path},
};

/// A room with a run that waits, the worker's enrolment, and the worker's connection as the broker sees it.
async fn waiting() -> Option<(Room, Digest, Digest, Peer)> {
    let room = Room::open().await?;
    let (connection, run, enrolment) = room.running().await;
    let peer = room.worker.peer(*connection.exporter());
    Some((room, run, enrolment, peer))
}

async fn challenge(room: &Room, purpose: ChallengeUse) -> wire::messages::Challenge {
    let request = serde_json::to_vec(&ChallengeRequest { purpose }).unwrap();
    let (status, body) = call(&room.broker, &anyone(), "POST", path::CHALLENGE, request).await;
    assert_eq!(status, 200);
    serde_json::from_slice(&body).unwrap()
}

/// What becomes of a release whose Evidence is bound to altered parts, everything else being right.
async fn bound_to(alter: impl FnOnce(&mut BindingParts)) -> Option<String> {
    let (room, run, enrolment, peer) = waiting().await?;
    let challenge = challenge(&room, ChallengeUse::WorkerRelease).await;
    let mut parts = room.worker.parts(&room.digest(), &run, &challenge, peer.exporter);
    alter(&mut parts);
    // The attester measures the run that the binding speaks of.
    if let Some(other) = parts.purpose.run().filter(|other| **other != run) {
        room.worker.attester.extend_run(other).unwrap();
    }
    let request = room.worker.request_bound(&parts, &run, &enrolment, challenge);
    Some(outcome(&room.broker, &peer, path::WORKER_RELEASE, &request).await)
}

macro_rules! binder {
    ($($name:ident: $alter:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let Some(outcome) = bound_to($alter).await else { return };
            assert_eq!(outcome, "evidence-refused");
        }
    )*};
}

binder! {
    c1_evidence_of_another_session_is_refused: |parts| parts.exporter[0] ^= 1;
    c7_without_the_channel_key_a_relay_would_pass: |parts| parts.keys.channel[30] ^= 1;
    c7_without_the_encapsulation_key_keys_would_go_astray: |parts| parts.keys.encapsulation[0] ^= 1;
    c7_without_the_signing_key_results_would_be_anyones: |parts| parts.keys.signing = *SigningKey::generate().public().as_bytes();
    c7_without_the_nonce_old_evidence_would_pass: |parts| parts.nonce[0] ^= 1;
    c7_without_the_context_another_run_would_pass: |parts| {
        let Purpose::WorkerRelease { agreement, .. } = parts.purpose else { panic!() };
        parts.purpose = Purpose::WorkerRelease { agreement, run: Digest::of(b"another run") };
    };
    c7_without_the_agreement_another_one_would_pass: |parts| {
        let Purpose::WorkerRelease { run, .. } = parts.purpose else { panic!() };
        parts.purpose = Purpose::WorkerRelease { agreement: Digest::of(b"another agreement"), run };
    };
    c3_evidence_for_a_renewal_is_none_for_a_release: |parts| {
        let Purpose::WorkerRelease { agreement, run } = parts.purpose else { panic!() };
        parts.purpose = Purpose::WorkerRenew { agreement, run };
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_keys_asked_for_another_encapsulation_key_are_refused() {
    let Some((room, run, enrolment, peer)) = waiting().await else { return };
    let challenge = challenge(&room, ChallengeUse::WorkerRelease).await;
    let (mut request, _) = room.worker.request(&room.digest(), &run, &enrolment, challenge, peer.exporter);
    request.keys.encapsulation = envelope::wrap::DecapsulationKey::generate().public().as_bytes().to_vec();
    assert_eq!(outcome(&room.broker, &peer, path::WORKER_RELEASE, &request).await, "evidence-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_connection_without_the_workers_certificate_is_refused() {
    let Some((room, run, enrolment, peer)) = waiting().await else { return };
    let challenge = challenge(&room, ChallengeUse::WorkerRelease).await;
    let (request, _) = room.worker.request(&room.digest(), &run, &enrolment, challenge, peer.exporter);
    let mut bare = peer.clone();
    bare.client = None;
    assert_eq!(outcome(&room.broker, &bare, path::WORKER_RELEASE, &request).await, "unauthenticated");
    let mut other = peer.clone();
    other.client.as_mut().unwrap().issuer = SigningKey::generate().public();
    assert_eq!(outcome(&room.broker, &other, path::WORKER_RELEASE, &request).await, "unauthenticated");
    assert_eq!(outcome(&room.broker, &peer, path::WORKER_RELEASE, &request).await, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_of_a_hundred_racers_with_one_challenge_one_gets_keys() {
    let Some((room, run, enrolment, peer)) = waiting().await else { return };
    let challenge = challenge(&room, ChallengeUse::WorkerRelease).await;
    let (request, _) = room.worker.request(&room.digest(), &run, &enrolment, challenge, peer.exporter);
    let request = Arc::new(request);
    let racers: Vec<_> = (0..100)
        .map(|_| {
            let (broker, peer, request) = (Arc::clone(&room.broker), peer.clone(), Arc::clone(&request));
            tokio::spawn(async move { outcome::<ReleaseRequest>(&broker, &peer, path::WORKER_RELEASE, &request).await })
        })
        .collect();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for racer in racers {
        *outcomes.entry(racer.await.unwrap()).or_default() += 1;
    }
    assert_eq!(outcomes, BTreeMap::from([("done".to_owned(), 1), ("replayed".to_owned(), 99)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_challenge_of_another_broker_or_use_is_refused() {
    let Some((room, run, enrolment, peer)) = waiting().await else { return };
    let foreign = broker::challenge::Challenges::new().issue(ChallengeUse::WorkerRelease, Timestamp::now());
    let (request, _) = room.worker.request(&room.digest(), &run, &enrolment, foreign, peer.exporter);
    assert_eq!(outcome(&room.broker, &peer, path::WORKER_RELEASE, &request).await, "unknown-challenge");
    let renewal = challenge(&room, ChallengeUse::WorkerRenew).await;
    let (request, _) = room.worker.request(&room.digest(), &run, &enrolment, renewal, peer.exporter);
    assert_eq!(outcome(&room.broker, &peer, path::WORKER_RELEASE, &request).await, "unknown-challenge");
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_after_a_reset_of_its_tpm_a_worker_enrols_again() {
    let Some(mut room) = Room::open().await else { return };
    let (connection, run, enrolment) = room.running().await;
    drop(connection);
    let Worker { .. } = &room.worker;
    let worker = std::mem::replace(&mut room.worker, Worker::new().unwrap());
    room.worker = tokio::task::spawn_blocking(|| worker.restart()).await.unwrap();
    let mut connection = room.connect_worker().await;
    assert_eq!(code(room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await), "not-enrolled");
    let again = room.worker.enrol(&mut connection).await.unwrap();
    assert_ne!(again, enrolment);
    assert!(room.worker.release(&mut connection, &room.digest(), &run, &again).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_hundred_strangers_cannot_take_over_an_enrolled_key() {
    let Some((room, run, enrolment, peer)) = waiting().await else { return };
    let Some(stranger) = Worker::new() else { return };
    let their_peer = stranger.peer([9; 32]);
    let mut request = room.worker.enrol_request();
    let theirs = stranger.enrol_request();
    (request.ek_public, request.ek_chain) = (theirs.ek_public, theirs.ek_chain);
    let mut racers = Vec::new();
    for _ in 0..100 {
        let (broker, peer, request) = (Arc::clone(&room.broker), their_peer.clone(), request.clone());
        let body = serde_json::to_vec(&request).unwrap();
        let (status, body) = call(&broker, &peer, "POST", path::WORKER_ENROL, body).await;
        assert_eq!(status, 200);
        let asked: EnrolChallenge = serde_json::from_slice(&body).unwrap();
        // Its TPM does not open a credential for a key that it does not hold; it guesses.
        let made = attest::credential::MadeCredential {
            id_object: asked.credential.id_object.clone(),
            encrypted_secret: asked.credential.encrypted_secret.clone(),
        };
        if racers.is_empty() {
            assert!(stranger.attester.activate(&made).is_err());
        }
        let binding = BindingParts {
            purpose: Purpose::WorkerEnrol { ak_name: room.worker.attester.key_claim(&[]).ak_name().unwrap() },
            keys: stranger.keys(),
            exporter: their_peer.exporter,
            nonce: asked.challenge.nonce.0,
        };
        let evidence = stranger.attester.evidence(&binding.bind()).unwrap();
        let proof = EnrolProof {
            request,
            token: asked.token,
            challenge: asked.challenge,
            secret: Bytes(vec![7; 32]),
            evidence,
            keys: stranger.keys(),
        };
        racers.push(tokio::spawn(async move { outcome(&broker, &peer, path::WORKER_PROVE, &proof).await }));
    }
    for racer in racers {
        assert_eq!(racer.await.unwrap(), "evidence-refused");
    }
    let challenge = challenge(&room, ChallengeUse::WorkerRelease).await;
    let (request, _) = room.worker.request(&room.digest(), &run, &enrolment, challenge, peer.exporter);
    assert_eq!(outcome(&room.broker, &peer, path::WORKER_RELEASE, &request).await, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn k5_a_second_broker_on_one_state_is_refused() {
    let Some(room) = Room::open().await else { return };
    let place = room.broker_machine.place();
    let state = place.state.clone();
    let second = tokio::task::spawn_blocking(move || Broker::start(Settings::new(place))).await.unwrap();
    assert!(matches!(second.err(), Some(StartError::InUse(path)) if path == state));
}

/// Memory that fails every write once it is told to.
#[derive(Debug)]
struct Failing {
    memory: InMemoryBackend,
    failing: Arc<AtomicBool>,
}

impl Failing {
    fn check(&self) -> std::io::Result<()> {
        if self.failing.load(Ordering::SeqCst) { Err(std::io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.memory.write(offset, data)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_without_the_log_no_key_leaves() {
    let failing = Arc::new(AtomicBool::new(false));
    let disk = Arc::clone(&failing);
    let room = Room::with(move |settings| {
        settings.storage = Storage::Own(Arc::new(move |key, signer| {
            Store::create_on(Failing { memory: InMemoryBackend::new(), failing: Arc::clone(&disk) }, key, signer)
        }));
    });
    let Some(room) = room.await else { return };
    let (connection, run, enrolment) = room.running().await;
    let peer = room.worker.peer(*connection.exporter());
    failing.store(true, Ordering::SeqCst);
    let first = challenge(&room, ChallengeUse::WorkerRelease).await;
    let (request, _) = room.worker.request(&room.digest(), &run, &enrolment, first, peer.exporter);
    assert_eq!(outcome(&room.broker, &peer, path::WORKER_RELEASE, &request).await, "fenced");
    // The disk comes back; what was uncertain stays so until a restart.
    failing.store(false, Ordering::SeqCst);
    assert_eq!(outcome(&room.broker, &peer, path::WORKER_RELEASE, &request).await, "fenced");
}

#[tokio::test(flavor = "multi_thread")]
async fn h1_statements_are_for_this_broker_now_once_and_by_a_party() {
    let Some(room) = Room::open().await else { return };
    room.propose().await;
    let consent = Consent { agreement: room.digest(), broker_ak: Digest::of(b"ak") };
    let hospital = &room.parties["hospital"].key;
    let send = async |envelope: &Envelope| outcome(&room.broker, &anyone(), path::CONSENTS, envelope).await;
    let with = |seconds: i64, audience, key: &SigningKey| {
        let expires = Timestamp::now() + SignedDuration::from_secs(seconds);
        let body = consent.clone();
        Signed::sign(Addressed { audience, nonce: Bytes32::random(), expires, body }, key).unwrap().envelope().clone()
    };
    let mine = *room.broker.key();
    let good = with(60, mine, hospital);
    assert_eq!(send(&good).await, "done");
    assert_eq!(send(&good).await, "replayed");
    assert_eq!(send(&with(60, SigningKey::generate().public(), hospital)).await, "other-audience");
    assert_eq!(send(&with(-1, mine, hospital)).await, "expired");
    assert_eq!(send(&with(601, mine, hospital)).await, "expired");
    // Whoever signs with a key of their own is no party, and learns no more than if there were no agreement.
    let stranger = SigningKey::generate();
    assert_eq!(send(&with(60, mine, &stranger)).await, "not-found");
    let mut own_key_id = with(60, mine, hospital);
    own_key_id.signatures[0].keyid = stranger.public().to_string();
    assert_eq!(send(&own_key_id).await, "unauthenticated");
    let mut two = with(60, mine, hospital);
    two.signatures.push(two.signatures[0].clone());
    assert_eq!(send(&two).await, "unauthenticated");
    let mut unsigned = with(60, mine, hospital);
    unsigned.signatures.clear();
    assert_eq!(send(&unsigned).await, "unauthenticated");
    // A statement of one kind at the endpoint of another.
    assert_eq!(outcome(&room.broker, &anyone(), path::RUNS, &with(60, mine, hospital)).await, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_a_flood_of_challenges_from_one_source_meets_429() {
    let rate = Rate { per_second: 10, burst: 50 };
    let Some(room) = Room::with(|settings| settings.rate = rate).await else { return };
    let flood = Peer { remote: "198.51.100.7:1".parse().unwrap(), ..anyone() };
    let request = serde_json::to_vec(&ChallengeRequest { purpose: ChallengeUse::WorkerRelease }).unwrap();
    let (mut served, mut refused) = (0, 0);
    for _ in 0..10_000 {
        match call(&room.broker, &flood, "POST", path::CHALLENGE, request.clone()).await.0 {
            200 => served += 1,
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!((50..500).contains(&served) && refused > 9_000, "{served} served, {refused} refused");
    // Another source is not touched.
    assert_eq!(call(&room.broker, &anyone(), "POST", path::CHALLENGE, request).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn h3_odd_paths_and_bodies_are_malformed() {
    let Some(room) = Room::open().await else { return };
    for uri in ["/v1/../v1/broker", "/v1/%2e%2e/v1/broker", "/v1/broker%00", "//v1/broker", "/log/tile/0/../0/000"] {
        assert_eq!(call(&room.broker, &anyone(), "GET", uri, "").await.0, 400, "{uri}");
    }
    let deep = "[".repeat(100_000);
    let bodies = [
        r#"{"use":"worker-release","use":"worker-renew"}"#,
        r#"{"use":"worker-release","more":1}"#,
        r#"{"use":"worker-release"} {}"#,
        r#"{"use":"none"}"#,
        "",
        deep.as_str(),
    ];
    for body in bodies {
        let (status, answer) = call(&room.broker, &anyone(), "POST", path::CHALLENGE, body).await;
        let problem: Problem = serde_json::from_slice(&answer).unwrap();
        assert_eq!((status, problem.code.as_str()), (400, "malformed"), "{}", body.get(..40).unwrap_or(body));
    }
    let large = vec![b' '; broker::limits::MAX_REQUEST + 1];
    assert_eq!(call(&room.broker, &anyone(), "POST", path::CHALLENGE, large).await.0, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn h5_a_clock_that_jumps_a_year_serves_no_effect_and_revives_no_nonce() {
    let offset = Arc::new(Mutex::new(SignedDuration::ZERO));
    let origin = std::time::Instant::now();
    let hand = Arc::clone(&offset);
    let room = Room::with(move |settings| {
        settings.time =
            Arc::new(move || Reading { wall: Timestamp::now() + *hand.lock().unwrap(), steady: origin.elapsed() });
    });
    let Some(room) = room.await else { return };
    room.propose().await;
    let consent = Consent { agreement: room.digest(), broker_ak: Digest::of(b"ak") };
    let envelope = room.sign(consent, "hospital");
    let send = async || outcome(&room.broker, &anyone(), path::CONSENTS, &envelope).await;
    assert_eq!(send().await, "done");
    let year = SignedDuration::from_hours(24 * 365);
    for jump in [year, -year] {
        *offset.lock().unwrap() = jump;
        assert_eq!(send().await, "fenced");
        let request = ChallengeRequest { purpose: ChallengeUse::WorkerRelease };
        assert_eq!(outcome(&room.broker, &anyone(), path::CHALLENGE, &request).await, "fenced");
    }
    *offset.lock().unwrap() = SignedDuration::ZERO;
    assert_eq!(send().await, "replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn h8_what_is_not_there_and_what_is_anothers_are_answered_alike() {
    let Some(room) = Room::open().await else { return };
    room.agree().await;
    let run = room.submit("university").await.unwrap();
    let stranger = SigningKey::generate();
    let ask = async |path: String| {
        let mut connection = room.connect().await;
        match connection.get_bytes(&path, Some((&stranger, Timestamp::now()))).await {
            Err(wire::client::ClientError::Refused(problem)) => problem,
            other => panic!("{other:?}"),
        }
    };
    let nothing = Digest::of(b"nothing").to_string();
    for (template, known) in
        [(path::RUN, run), (path::RESULT, run), (path::RECEIPT, run), (path::AGREEMENT, room.digest())]
    {
        let at = |digest: &str| template.replace("{run}", digest).replace("{digest}", digest);
        let (absent, anothers) = (ask(at(&nothing)).await, ask(at(&known.to_string())).await);
        assert_eq!(absent, anothers);
        assert_eq!(absent.code, "not-found");
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
}
