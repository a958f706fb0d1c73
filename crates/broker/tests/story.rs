//! The broker's part of the story, over its real channel and with real TPMs: from the proposal to a receipt that verifies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::time::Duration;

use agreement::documents::{Revocation, Revoked, Rotation};
use envelope::{Digest, SigningKey, text::Bytes32};
use jiff::Timestamp;
use receipt::Receipt;
use room::{Party, RECIPIENT, Room, address, code};
use tlog::{LogKey, SignedCheckpoint, WitnessPolicy};
use wire::messages::{
    Accepted, AgreementStatus, ChallengeUse, Consistency, Lease, NextRun, Phase, Records, RenewRequest, RunStatus,
    Standing, WorkOrder, path,
};

fn run_path(template: &str, run: &Digest) -> String {
    template.replace("{run}", &run.to_string())
}

async fn status(room: &Room, run: &Digest, party: &str) -> RunStatus {
    let key = &room.parties[party].key;
    room.connect().await.get(&run_path(path::RUN, run), Some((key, Timestamp::now()))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_proposal_to_receipt() {
    let Some(room) = Room::open().await else { return };
    let proposed = room.propose().await;
    assert!(matches!(proposed.standing, Standing::NotInForce { .. }));
    let (mut connection, run, enrolment) = room.running().await;
    assert_eq!(status(&room, &run, "hospital").await.phase, Phase::Approved);

    let (released, keys) = room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await.unwrap();
    // Exactly the agreed columns, with the keys that the owners' table keys give.
    assert_eq!(keys.tables.len(), 2);
    let trial = &keys.tables[room.trial.manifest.digest()];
    let file = room.trial.manifest.value().file(0);
    assert_eq!(trial.len(), 1);
    assert_eq!(trial[0].footer.0, *room.trial.key.footer(&file).as_bytes());
    assert_eq!(trial[0].columns.keys().collect::<Vec<_>>(), ["arm", "patient"]);
    assert_eq!(trial[0].columns["arm"].0, *room.trial.key.column(&file, "arm").as_bytes());
    assert_eq!(status(&room, &run, "hospital").await.phase, Phase::Running);

    let challenge = room.worker.challenge(&mut connection, ChallengeUse::WorkerRenew).await;
    let (release, _) = room.worker.request(&room.digest(), &run, &enrolment, challenge, *connection.exporter());
    let renewed: Lease =
        connection.post(path::WORKER_RENEW, &RenewRequest { lease: released.lease.id, release }).await.unwrap();
    assert_eq!(renewed.id, released.lease.id);

    let finished = room.worker.finished(room.broker.key(), &run, released.lease.id, b"a sealed result");
    let _: Accepted = connection.post(path::WORKER_RESULT, &finished).await.unwrap();
    assert_eq!(code(connection.post::<_, Accepted>(path::WORKER_RESULT, &finished).await), "wrong-phase");
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(status(&room, &run, "registry").await.phase, Phase::Released);

    let reader = Some((&room.parties["university"].key, Timestamp::now()));
    let mut party = room.connect().await;
    let result = party.get_bytes(&run_path(path::RESULT, &run), reader).await.unwrap();
    assert_eq!(&result[..], b"a sealed result");
    let receipt: Receipt = party.get(&run_path(path::RECEIPT, &run), reader).await.unwrap();
    let anchors = receipt::Anchors { agreement: Some(room.digest()), ..Default::default() };
    let verified = receipt::verify(&receipt, &anchors, Some(&Digest::of(b"a sealed result")));
    assert_eq!(verified.unwrap().steps().len(), 11);

    let records: Records = party.get(path::RECORDS, reader).await.unwrap();
    let kinds: Vec<&str> = records.records.iter().map(|record| record.kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "urn:glovebox:consent:v1").count(), 3);
    for kind in ["in-force", "run", "enrolment", "released", "result"] {
        assert!(kinds.contains(&format!("urn:glovebox:{kind}:v1").as_str()), "{kind} in {kinds:?}");
    }
    let log: LogKey = room.broker.log_key().parse().unwrap();
    let head = SignedCheckpoint::verify(records.checkpoint.as_bytes(), &log, &WitnessPolicy::none()).unwrap();
    let grown: Consistency =
        party.get(&format!("{}?from=1&to={}", path::LOG_CONSISTENCY, head.size()), None).await.unwrap();
    assert!(
        SignedCheckpoint::verify(grown.checkpoint.as_bytes(), &log, &WitnessPolicy::none()).unwrap().size()
            >= head.size()
    );
    let bundle = party.get_bytes(&format!("/log/tile/entries/000.p/{}", head.size()), None).await.unwrap();
    assert_eq!(bundle.len() as u64, head.size() * 34);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_the_agreement_does_not_admit_sees_no_run() {
    let Some(room) = Room::open().await else { return };
    room.agree().await;
    room.submit("university").await.unwrap();
    let Some(other) = room::Worker::new() else { return };
    let address = room.address.to_string();
    let mut connection = wire::client::Broker::connect(&address, room.broker.key(), Some(&other.leaf)).await.unwrap();
    let enrolment = other.enrol(&mut connection).await.unwrap();
    let question = NextRun { enrolment };
    let asked = tokio::time::timeout(
        Duration::from_secs(2),
        connection.post::<_, Option<WorkOrder>>(path::WORKER_NEXT, &question),
    );
    assert!(asked.await.is_err(), "the question stays open");
    // Nor does somebody who knows the enrolment of the worker that is admitted.
    let mut mine = room.connect_worker().await;
    let known = room.worker.enrol(&mut mine).await.unwrap();
    let mut theirs = wire::client::Broker::connect(&address, room.broker.key(), Some(&other.leaf)).await.unwrap();
    let stolen = theirs.post::<_, Option<WorkOrder>>(path::WORKER_NEXT, &NextRun { enrolment: known }).await;
    assert_eq!(code(stolen), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_stops_release_renewal_and_result() {
    let Some(room) = Room::open().await else { return };
    let (mut connection, run, enrolment) = room.running().await;
    let (released, _) = room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await.unwrap();
    let waiting = room.submit("hospital").await.unwrap();

    let revocation = Revocation { what: Revoked::Agreement(room.digest()), erase: true };
    let _: Accepted = room.connect().await.post(path::REVOCATIONS, &room.sign(revocation, "registry")).await.unwrap();

    let refused = room.worker.release(&mut connection, &room.digest(), &waiting, &enrolment).await;
    assert_eq!(code(refused), "not-in-force");
    let challenge = room.worker.challenge(&mut connection, ChallengeUse::WorkerRenew).await;
    let (release, _) = room.worker.request(&room.digest(), &run, &enrolment, challenge, *connection.exporter());
    let renewed =
        connection.post::<_, Lease>(path::WORKER_RENEW, &RenewRequest { lease: released.lease.id, release }).await;
    assert_eq!(code(renewed), "not-in-force");
    let finished = room.worker.finished(room.broker.key(), &run, released.lease.id, b"a sealed result");
    assert_eq!(code(connection.post::<_, Accepted>(path::WORKER_RESULT, &finished).await), "not-in-force");
    assert_eq!(code(room.submit("university").await), "not-in-force");
    // The registry's key is gone, the hospital's is not the registry's to erase.
    let deposits = broker::store::Table::new("deposits");
    let held = |dataset: &room::Dataset| {
        room.broker.store().get(deposits, dataset.manifest.digest().as_bytes()).unwrap().is_some()
    };
    assert!(held(&room.trial) && !held(&room.outcomes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_party_goes_on_with_its_new_key_alone() {
    let Some(room) = Room::open().await else { return };
    room.agree().await;
    let next = Party::new("university", 9);
    let rotation = Rotation::new(room.parties["university"].key.public(), next.identity.clone(), &next.key);
    let mut party = room.connect().await;
    let _: Accepted = party.post(path::ROTATIONS, &room.sign(rotation, "university")).await.unwrap();
    assert_eq!(code(room.submit("university").await), "not-found");
    let run = address(room.run(), room.broker.key(), &next.key);
    let status: RunStatus = party.post(path::RUNS, run.envelope()).await.unwrap();
    assert_eq!(status.phase, Phase::Approved);
    let mine: Vec<AgreementStatus> = party.get(path::AGREEMENTS, Some((&next.key, Timestamp::now()))).await.unwrap();
    assert_eq!(mine.len(), 1);
    assert!(RECIPIENT.starts_with("age1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_live_lease_no_result_is_taken_and_the_run_waits_again() {
    let Some(mut room) = Room::open().await else { return };
    room.agreement.release.lease_seconds = 1;
    let (mut connection, run, enrolment) = room.running().await;
    let (released, _) = room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await.unwrap();
    let wrong = room.worker.finished(room.broker.key(), &run, Bytes32([7; 32]), b"a sealed result");
    assert_eq!(code(connection.post::<_, Accepted>(path::WORKER_RESULT, &wrong).await), "lease-ended");
    assert_eq!(code(room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await), "wrong-phase");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let late = room.worker.finished(room.broker.key(), &run, released.lease.id, b"a sealed result");
    assert_eq!(code(connection.post::<_, Accepted>(path::WORKER_RESULT, &late).await), "lease-ended");
    let (again, _) = room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await.unwrap();
    let good = room.worker.finished(room.broker.key(), &run, again.lease.id, b"a sealed result");
    let _: Accepted = connection.post(path::WORKER_RESULT, &good).await.unwrap();
    // Somebody else's signature under the same lease.
    let stranger = SigningKey::generate();
    assert_ne!(stranger.public(), room.worker.signing.public());
}
