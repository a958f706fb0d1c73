//! Auditors at a real broker: no key leaves without the word that the agreement asks for, and the word ends when it should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::time::Duration;

use agreement::documents::{ReferenceDeposit, Revocation, Revoked};
use attest::{
    AppraisalPolicy, PolicyDocument,
    reference::{AuditorRule, ReferenceValues},
};
use envelope::{Digest, SigningKey, statement::Signed};
use jiff::{SignedDuration, Timestamp};
use receipt::{Receipt, Released};
use room::{Party, Room, address, anyone, code, outcome};
use wire::messages::{Accepted, ChallengeUse, Lease, RenewRequest, RunStatus, path};

fn auditor() -> Party {
    Party::new("auditor", 60)
}

/// A room whose agreement asks for the auditor's word on workers.
async fn audited() -> Option<Room> {
    let mut room = Room::open().await?;
    let rule = AuditorRule { keys: [auditor().key.public()].into(), required: 1, pcrs: [8].into() };
    let document = PolicyDocument { auditors: Some(rule), ..PolicyDocument::from(room.agreement.workers.clone()) };
    room.agreement.workers = AppraisalPolicy::new(document).unwrap();
    Some(room)
}

/// The auditor's word on the worker's program.
fn word(room: &Room, lasts: SignedDuration) -> ReferenceValues {
    let tpm = room.agreement.workers.tpm();
    let now = Timestamp::now();
    ReferenceValues {
        provider: auditor().key.public(),
        platform: "tpm".to_owned(),
        what: "the worker".to_owned(),
        measurements: ReferenceValues::of_program(&tpm.role, &tpm.binaries[0]),
        evidence: tpm.binaries[0],
        issued: now - SignedDuration::from_secs(5),
        expires: now + lasts,
    }
}

fn hour() -> SignedDuration {
    SignedDuration::from_hours(1)
}

/// Somebody brings a document.
async fn bring(room: &Room, document: &Signed<ReferenceValues>, by: &SigningKey) -> String {
    let deposit = address(ReferenceDeposit { document: document.envelope().clone() }, room.broker.key(), by);
    outcome(&room.broker, &anyone(), path::REFERENCE_VALUES, deposit.envelope()).await
}

async fn withdraw(room: &Room, document: &Digest, by: &SigningKey) -> String {
    let revocation = Revocation { what: Revoked::ReferenceValues(*document), erase: false };
    let revocation = address(revocation, room.broker.key(), by);
    outcome(&room.broker, &anyone(), path::REVOCATIONS, revocation.envelope()).await
}

fn run_path(template: &str, run: &Digest) -> String {
    template.replace("{run}", &run.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_70a_no_key_leaves_without_the_auditors_word_nor_after_it_was_withdrawn() {
    let Some(room) = audited().await else { return };
    let (mut connection, run, enrolment) = room.running().await;
    let refused = room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await;
    assert_eq!(code(refused), "not-vouched");
    let hospital = Some((&room.parties["hospital"].key, Timestamp::now()));
    let status: RunStatus = room.connect().await.get(&run_path(path::RUN, &run), hospital).await.unwrap();
    let told = status.refusal.unwrap();
    assert_eq!(told.code, "not-vouched");
    let words =
        format!("`{}` says nothing of `pcr8` (tpm)\nhint: the auditor makes a document", auditor().key.public());
    assert!(told.words.contains(&words), "{}", told.words);

    // Another party brings what the auditor signed.
    let document = Signed::sign(word(&room, hour()), &auditor().key).unwrap();
    assert_eq!(bring(&room, &document, &room.parties["registry"].key).await, "done");
    let (released, _) = room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await.unwrap();
    let stated = Signed::<Released>::verify(&released.released, room.broker.key()).unwrap();
    assert_eq!(stated.value().reference_values, [*document.digest()].into());
    let renew = async |connection: &mut wire::client::Broker, run: &Digest, lease| {
        let challenge = room.worker.challenge(connection, ChallengeUse::WorkerRenew).await;
        let (release, _) = room.worker.request(&room.digest(), run, &enrolment, challenge, *connection.exporter());
        connection.post::<_, Lease>(path::WORKER_RENEW, &RenewRequest { lease, release }).await
    };
    assert!(renew(&mut connection, &run, released.lease.id).await.is_ok());
    let finished = room.worker.finished(room.broker.key(), &run, released.lease.id, b"a sealed result");
    let _: Accepted = connection.post(path::WORKER_RESULT, &finished).await.unwrap();

    // Only the auditor withdraws it; then neither a release nor a renewal stands on it.
    let second = room.submit("university").await.unwrap();
    let (held, _) = room.worker.release(&mut connection, &room.digest(), &second, &enrolment).await.unwrap();
    assert_eq!(withdraw(&room, document.digest(), &room.parties["registry"].key).await, "not-found");
    assert_eq!(withdraw(&room, document.digest(), &auditor().key).await, "done");
    assert_eq!(code(renew(&mut connection, &second, held.lease.id).await), "not-vouched");
    let third = room.submit("university").await.unwrap();
    let refused = room.worker.release(&mut connection, &room.digest(), &third, &enrolment).await;
    assert_eq!(code(refused), "not-vouched");
    assert_eq!(bring(&room, &document, &auditor().key).await, "conflict");

    // The receipt of what went before carries the document on which it stood.
    let receipt: Receipt = room.connect().await.get(&run_path(path::RECEIPT, &run), hospital).await.unwrap();
    assert_eq!(receipt.grounds.reference_values.len(), 1);
    let verified = receipt::verify(&receipt, &receipt::Anchors::default(), None).unwrap();
    assert_eq!(verified.vouchers()[0].auditor, auditor().key.public());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditors_word_ends_with_its_last_moment() {
    let Some(room) = audited().await else { return };
    let (mut connection, run, enrolment) = room.running().await;
    let brief = Signed::sign(word(&room, SignedDuration::from_secs(15)), &auditor().key).unwrap();
    assert_eq!(bring(&room, &brief, &auditor().key).await, "done");
    assert!(room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await.is_ok());
    while Timestamp::now() <= brief.value().expires {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // An idle connection is closed in the meantime.
    let mut connection = room.connect_worker().await;
    let second = room.submit("university").await.unwrap();
    let refused = room.worker.release(&mut connection, &room.digest(), &second, &enrolment).await;
    assert_eq!(code(refused), "not-vouched");
    let reader = Some((&room.parties["hospital"].key, Timestamp::now()));
    let status: RunStatus = room.connect().await.get(&run_path(path::RUN, &second), reader).await.unwrap();
    let words = format!("what `{}` says of `pcr8` expired at {}", auditor().key.public(), brief.value().expires);
    assert!(status.refusal.as_ref().unwrap().words.contains(&words), "{status:?}");
    let longer = Signed::sign(word(&room, hour()), &auditor().key).unwrap();
    assert_eq!(bring(&room, &longer, &auditor().key).await, "done");
    assert!(room.worker.release(&mut connection, &room.digest(), &second, &enrolment).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_documents_of_auditors_whom_an_agreement_names_are_taken() {
    let Some(room) = audited().await else { return };
    let document = Signed::sign(word(&room, hour()), &auditor().key).unwrap();
    assert_eq!(bring(&room, &document, &auditor().key).await, "not-permitted");
    room.propose().await;
    // Another signature under the auditor's name, or the auditor's words under another name.
    let stranger = Party::new("stranger", 77).key;
    let forged = Signed::sign(word(&room, hour()), &stranger).unwrap();
    assert_eq!(bring(&room, &forged, &stranger).await, "unauthenticated");
    let own = ReferenceValues { provider: stranger.public(), ..word(&room, hour()) };
    assert_eq!(bring(&room, &Signed::sign(own, &stranger).unwrap(), &stranger).await, "not-permitted");
    let over = ReferenceValues { expires: Timestamp::now() - SignedDuration::from_secs(1), ..word(&room, hour()) };
    assert_eq!(bring(&room, &Signed::sign(over, &auditor().key).unwrap(), &stranger).await, "conflict");
    // The same document twice is one entry of the log.
    let mut entries = Vec::new();
    for by in [&stranger, &auditor().key] {
        let deposit = ReferenceDeposit { document: document.envelope().clone() };
        let deposit = address(deposit, room.broker.key(), by);
        let accepted: Accepted = room.connect().await.post(path::REFERENCE_VALUES, deposit.envelope()).await.unwrap();
        assert_eq!(accepted.statement, *document.digest());
        entries.push(accepted.leaf);
    }
    assert_eq!(entries[0], entries[1]);
    // Many of them have an end.
    let mut last = String::new();
    for index in 0..80 {
        let what = format!("the worker, {index}");
        let more = Signed::sign(ReferenceValues { what, ..word(&room, hour()) }, &auditor().key).unwrap();
        last = bring(&room, &more, &auditor().key).await;
    }
    assert_eq!(last, "conflict");
}
