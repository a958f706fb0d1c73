//! What a party, or a stranger who knows only public keys and digests, could try against the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::sync::Arc;

use agreement::documents::{Consent, Identity, Manifest, Proposal, Revocation, Revoked, Rotation};
use envelope::{
    Digest, SigningKey,
    statement::{Addressed, Predicate, Signed},
};
use jiff::Timestamp;
use room::{Party, RECIPIENT, Room, address, anyone, code, outcome};
use wire::messages::{AgreementStatus, RunStatus, Standing, path};

/// The same payload under another signature.
fn copied<T: Predicate>(signed: &Signed<Addressed<T>>, key: &SigningKey) -> Signed<Addressed<T>>
where
    Addressed<T>: Clone,
{
    let copy = Signed::sign(signed.value().clone(), key).unwrap();
    assert_eq!(copy.digest(), signed.digest());
    assert_ne!(copy.signer(), signed.signer());
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_another_party_signs_again_is_not_a_second_run_of_the_same_name() {
    let Some(room) = Room::open().await else { return };
    room.agree().await;
    let run = address(room.run(), room.broker.key(), &room.parties["university"].key);
    let status: RunStatus = room.connect().await.post(path::RUNS, run.envelope()).await.unwrap();
    let mut worker = room.connect_worker().await;
    let enrolment = room.worker.enrol(&mut worker).await.unwrap();
    room.worker.release(&mut worker, &room.digest(), &status.run, &enrolment).await.unwrap();
    // It would set the run back to its beginning: keys twice, under one lease's name, and another requester in the receipt.
    let again = copied(&run, &room.parties["registry"].key);
    assert_eq!(outcome(&room.broker, &anyone(), path::RUNS, again.envelope()).await, "replayed");
    let second = room.worker.release(&mut worker, &room.digest(), &status.run, &enrolment).await;
    assert_eq!(code(second), "wrong-phase");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_another_party_signs_again_does_not_take_the_first_ones_place() {
    let Some(room) = Room::open().await else { return };
    room.propose().await;
    room.deposit("hospital", &room.trial).await;
    room.deposit("registry", &room.outcomes).await;
    room.consent("hospital").await;
    room.consent("registry").await;
    let mut connection = room.connect().await;
    let consent =
        Consent { agreement: room.digest(), broker_ak: Digest::of(b"another AK, so that it is not one that is known") };
    let consent = address(consent, room.broker.key(), &room.parties["university"].key);
    let status: AgreementStatus = connection.post(path::CONSENTS, consent.envelope()).await.unwrap();
    assert_eq!(status.standing, Standing::InForce {});
    let again = copied(&consent, &room.parties["registry"].key);
    assert_eq!(outcome(&room.broker, &anyone(), path::CONSENTS, again.envelope()).await, "replayed");
    assert!(room.submit("university").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_puts_no_manifest_in_the_place_of_the_owners() {
    let Some(room) = Room::open().await else { return };
    let stranger = Party::new("stranger", 77);
    let mut agreement = room.agreement.clone();
    let place = agreement.parties.get_mut("university").unwrap();
    place.identity = stranger.identity.clone();
    let forged: Signed<Manifest> = Signed::sign(room.trial.manifest.value().clone(), &stranger.key).unwrap();
    assert_eq!(forged.digest(), room.trial.manifest.digest());
    let proposal = Proposal { agreement, manifests: vec![forged.envelope().clone()] };
    let proposal = address(proposal, room.broker.key(), &stranger.key);
    assert_eq!(outcome(&room.broker, &anyone(), path::PROPOSALS, proposal.envelope()).await, "not-permitted");
    room.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_use_up_the_agreements_of_whom_they_name() {
    let Some(room) = Room::open().await else { return };
    let stranger = Party::new("stranger", 78);
    let proposal = |number: usize| {
        let mut agreement = room.agreement.clone();
        agreement.name = format!("spam-{number}");
        agreement.parties.get_mut("university").unwrap().identity = stranger.identity.clone();
        let proposal = address(Proposal { agreement, manifests: vec![] }, room.broker.key(), &stranger.key);
        let (broker, envelope) = (Arc::clone(&room.broker), proposal.envelope().clone());
        tokio::spawn(async move { outcome(&broker, &anyone(), path::PROPOSALS, &envelope).await })
    };
    let flood: Vec<_> = (0..1_000).map(proposal).collect();
    for proposed in flood {
        assert_eq!(proposed.await.unwrap(), "done");
    }
    assert_eq!(proposal(1_000).await.unwrap(), "conflict");
    // The hospital and the registry were named a thousand times; they agree with the university all the same.
    room.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_party_neither_fills_the_log_with_revocations_nor_makes_its_line_endless() {
    let Some(room) = Room::open().await else { return };
    room.propose().await;
    let revoke = |party: &str| room.sign(Revocation { what: Revoked::Agreement(room.digest()), erase: false }, party);
    let mut said = Vec::new();
    for _ in 0..17 {
        said.push(outcome(&room.broker, &anyone(), path::REVOCATIONS, &revoke("university")).await);
    }
    assert_eq!((said[15].as_str(), said[16].as_str()), ("done", "conflict"));
    assert_eq!(outcome(&room.broker, &anyone(), path::REVOCATIONS, &revoke("hospital")).await, "done");

    let mut key = SigningKey::from_seed(&[100; 32]);
    let mut last = String::new();
    for number in 0..65_u8 {
        let next = SigningKey::from_seed(&[101 + number; 32]);
        let identity = Identity::vouch(&next, RECIPIENT).unwrap();
        let rotation = address(Rotation::new(key.public(), identity, &next), room.broker.key(), &key);
        last = outcome(&room.broker, &anyone(), path::ROTATIONS, rotation.envelope()).await;
        key = next;
    }
    assert_eq!(last, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_rotates_into_a_key_that_is_not_theirs_or_reads_by_it() {
    let Some(room) = Room::open().await else { return };
    room.agree().await;
    let thief = SigningKey::from_seed(&[90; 32]);
    let hospital = &room.parties["hospital"];
    let stolen = Rotation::new(thief.public(), hospital.identity.clone(), &thief);
    let stolen = address(stolen, room.broker.key(), &thief);
    assert_eq!(outcome(&room.broker, &anyone(), path::ROTATIONS, stolen.envelope()).await, "not-permitted");
    // Nor into the place: the rotation of the hospital's key is the hospital's to sign.
    let mine = Identity::vouch(&thief, RECIPIENT).unwrap();
    let taken = address(Rotation::new(hospital.key.public(), mine, &thief), room.broker.key(), &thief);
    assert_eq!(outcome(&room.broker, &anyone(), path::ROTATIONS, taken.envelope()).await, "not-permitted");
    let at = path::AGREEMENT.replace("{digest}", &room.digest().to_string());
    let read = room.connect().await.get::<AgreementStatus>(&at, Some((&thief, Timestamp::now()))).await;
    assert_eq!(code(read), "not-found");
}
