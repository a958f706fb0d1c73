//! The decision: each refusal with its exact variant, and the edges of time, rotation and revocation.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, dropping_copy_types)]

mod common;

use agreement::{
    documents::*,
    in_force::*,
    keys::RotationError,
    permit::RunRefusal,
    shape::ShapeError,
    sources::{ColumnFault, VersionFault},
};
use common::*;
use envelope::{Digest, statement::Signed};
use jiff::SignedDuration;

#[test]
fn an_agreement_with_every_consent_is_in_force() {
    let in_force = Room::agreed().decide().unwrap();
    assert_eq!(in_force.grounds().len(), 3);
    assert!(in_force.grounds().values().all(|ground| matches!(ground, Ground::Consent { .. })));
    assert_eq!(in_force.party_of(&hospital().public()), Some("hospital"));
    assert_eq!(in_force.party_of(&stranger().public()), None);
}

#[test]
fn each_missing_consent_is_named() {
    let mut room = Room::agreed();
    room.consents.remove(1);
    let missing = |party: &str| MissingConsent { party: party.into(), offers: vec![] };
    assert_eq!(room.decide(), Err(NotInForce::ConsentMissing(vec![missing("registry")])));
    room.consents.clear();
    let all = ["hospital", "registry", "university"].map(missing).to_vec();
    assert_eq!(room.decide(), Err(NotInForce::ConsentMissing(all)));
}

#[test]
fn a_consent_counts_for_its_signer_its_agreement_and_its_broker_only() {
    let missing = Err(NotInForce::ConsentMissing(vec![MissingConsent { party: "hospital".into(), offers: vec![] }]));
    let mut room = Room::agreed();
    let consent = room.consents.remove(0).value().body.clone();
    room.consents.push(addressed(consent.clone(), &stranger()));
    room.consents.push(addressed(Consent { agreement: Digest::of(b"other"), ..consent.clone() }, &hospital()));
    room.consents.push(addressed_to(consent.clone(), &hospital(), &stranger().public()));
    assert_eq!(room.decide(), missing);
    room.consents.push(addressed(consent, &hospital()));
    assert!(room.decide().is_ok());
}

#[test]
fn an_altered_agreement_loses_every_consent() {
    let mut room = Room::agreed();
    room.agreement.release.lease_seconds += 1;
    assert!(matches!(room.decide(), Err(NotInForce::ConsentMissing(missing)) if missing.len() == 3));
}

#[test]
fn h5_expiry_is_decided_by_the_given_time_to_the_nanosecond() {
    let room = Room::agreed();
    assert!(room.decide_at(expiry()).is_ok());
    let after = expiry() + SignedDuration::from_nanos(1);
    assert_eq!(room.decide_at(after), Err(NotInForce::Expired(expiry())));
    assert_eq!(room.decide_at(now() + SignedDuration::from_hours(24 * 365)), Err(NotInForce::Expired(expiry())));
    let in_force = room.decide_at(expiry()).unwrap();
    let run = addressed(room.run(), &university());
    assert!(in_force.permit(&run, expiry()).is_ok());
    assert_eq!(in_force.permit(&run, after), Err(RunRefusal::Expired(expiry())));
}

#[test]
fn any_party_can_revoke_and_nobody_else() {
    let what = |room: &Room| Revoked::Agreement(room.agreement.digest().unwrap());
    let mut room = Room::agreed();
    room.revoke(what(&room), &stranger());
    room.revocations.push(addressed_to(
        Revocation { what: what(&room), erase: true },
        &registry(),
        &stranger().public(),
    ));
    assert!(room.decide().is_ok());
    room.revoke(what(&room), &registry());
    assert_eq!(room.decide(), Err(NotInForce::Revoked { by: "registry".into() }));
}

#[test]
fn another_broker_has_no_say() {
    let room = Room::agreed();
    let other = InForce::decide(&room.facts(), &stranger().public(), now());
    assert_eq!(other, Err(NotInForce::OtherBroker(broker().public())));
}

#[test]
fn a_successor_takes_the_place_and_needs_all_older_parties() {
    let older = Room::agreed();
    let mut newer = Room::proposed();
    newer.agreement.predecessor = Some(older.agreement.digest().unwrap());
    newer.consent_all();
    let in_force = newer.decide().unwrap();
    assert!(in_force.supersedes(&older.sound()));

    let mut room = older.clone();
    room.superseded_by = Some(*in_force.digest());
    assert_eq!(room.decide(), Err(NotInForce::SupersededBy(*in_force.digest())));

    let mut coup = newer.clone();
    let mut taken = coup.agreement.parties.remove("registry").unwrap();
    taken.identity = identity(&stranger());
    coup.agreement.parties.insert("registry".into(), taken);
    coup.agreement.datasets.remove("registry");
    coup.agreement.computations.get_mut("by-arm").unwrap().columns.remove("registry");
    coup.consents.clear();
    [hospital(), stranger(), university()].iter().for_each(|key| coup.consent(key));
    assert!(!coup.decide().unwrap().supersedes(&older.sound()));

    let unrelated = Room::agreed().decide().unwrap();
    assert!(!unrelated.supersedes(&older.sound()));
}

#[test]
fn each_fault_of_a_manifest_has_its_own_refusal() {
    let dataset = || "hospital".to_owned();
    let mut room = Room::agreed();
    room.manifests.remove(0);
    assert_eq!(room.decide(), Err(NotInForce::ManifestMissing { dataset: dataset() }));

    let mut room = Room::agreed();
    room.deposited.remove(room.manifests[0].digest());
    assert_eq!(room.decide(), Err(NotInForce::NotDeposited { dataset: dataset() }));

    let mut room = Room::agreed();
    room.revoke(Revoked::Manifest(*room.manifests[0].digest()), &stranger());
    assert!(room.decide().is_ok());
    room.revoke(Revoked::Manifest(*room.manifests[0].digest()), &hospital());
    assert_eq!(room.decide(), Err(NotInForce::ManifestRevoked { dataset: dataset() }));

    let forged = Signed::sign(manifest_of("hospital", &hospital().public(), 1), &stranger()).unwrap();
    let room = with_manifest(forged);
    let signer = stranger().public();
    assert_eq!(room.decide(), Err(NotInForce::ManifestSigner { dataset: dataset(), signer }));

    let foreign = manifest("hospital", &stranger(), 1);
    assert_eq!(with_manifest(foreign).decide(), Err(NotInForce::ManifestSigner { dataset: dataset(), signer }));

    let elsewhere = Manifest { broker: stranger().public(), ..manifest_of("hospital", &hospital().public(), 1) };
    let room = with_manifest(Signed::sign(elsewhere, &hospital()).unwrap());
    let broker = stranger().public();
    assert_eq!(room.decide(), Err(NotInForce::ManifestBroker { dataset: dataset(), broker }));
}

/// A room whose hospital manifest is another one, named by the agreement.
fn with_manifest(manifest: Signed<Manifest>) -> Room {
    let mut room = Room::proposed();
    room.agreement.datasets.get_mut("hospital").unwrap().source = DatasetSource::Version(*manifest.digest());
    room.deposited.insert(*manifest.digest());
    room.manifests[0] = manifest;
    room.consent_all();
    room
}

#[test]
fn computations_read_columns_that_exist_and_are_not_hidden() {
    let column = |name: &str| {
        let mut room = Room::proposed();
        let computation = room.agreement.computations.get_mut("by-arm").unwrap();
        computation.columns.get_mut("hospital").unwrap().insert(name.into());
        room.consent_all();
        room.decide()
    };
    let refused = |fault| Err(NotInForce::Column { computation: "by-arm".into(), dataset: "hospital".into(), fault });
    assert_eq!(column("name"), refused(ColumnFault::Hidden("name".into())));
    assert_eq!(column("nmae"), refused(ColumnFault::Unknown("nmae".into())));
    let blob = Manifest { contents: Contents::Blob {}, ..manifest_of("hospital", &hospital().public(), 1) };
    let room = with_manifest(Signed::sign(blob, &hospital()).unwrap());
    assert_eq!(room.decide(), refused(ColumnFault::NotATable));
}

#[test]
fn two_versions_of_one_dataset_cannot_stand_side_by_side() {
    let mut room = Room::proposed();
    let second = manifest("hospital", &hospital(), 2);
    room.deposited.insert(*second.digest());
    let source = DatasetSource::Version(*second.digest());
    room.agreement.datasets.insert("later".into(), DatasetTerms { owner: "hospital".into(), source });
    room.manifests.push(second);
    room.consent_all();
    assert_eq!(room.decide(), Err(NotInForce::SameDataset { first: "hospital".into(), second: "later".into() }));
}

#[test]
fn a_series_admits_new_versions_without_new_consent_and_only_those_of_its_owner() {
    let mut room = Room::proposed();
    let series = room.manifests[0].value().series().unwrap();
    room.agreement.datasets.get_mut("hospital").unwrap().source = DatasetSource::Series(series);
    room.consent_all();
    assert!(room.decide().is_ok());

    let second = manifest("hospital", &hospital(), 2);
    let forged = Signed::sign(manifest_of("hospital", &hospital().public(), 3), &stranger()).unwrap();
    let mut looser = manifest_of("hospital", &hospital().public(), 4);
    looser.contents = match looser.contents {
        Contents::Table { columns, .. } => {
            Contents::Table { columns, rules: TableRules { min_entities: 1, max_rows_per_entity: 1 } }
        }
        Contents::Blob {} => Contents::Blob {},
    };
    let looser = Signed::sign(looser, &hospital()).unwrap();
    for manifest in [&second, &forged, &looser] {
        room.manifests.push(manifest.clone());
    }
    let run = |version: &Signed<Manifest>| {
        let mut run = room.run();
        run.versions.insert("hospital".into(), *version.digest());
        run
    };
    let refused = |fault| Err(RunRefusal::Version { dataset: "hospital".into(), fault });
    let permit = |room: &Room, version| room.permit(run(version), &university()).map(|_| ());
    assert_eq!(permit(&room, &second), refused(VersionFault::NotDeposited));
    assert_eq!(permit(&room, &forged), refused(VersionFault::Signer(stranger().public())));
    assert_eq!(permit(&room, &looser), refused(VersionFault::NotCovered));

    let mut deposited = room.clone();
    deposited.deposited.extend([*second.digest(), *forged.digest(), *looser.digest()]);
    assert_eq!(permit(&deposited, &second), Ok(()));
    assert_eq!(permit(&deposited, &forged), refused(VersionFault::Signer(stranger().public())));
    assert_eq!(permit(&deposited, &looser), refused(VersionFault::NotCovered));
    deposited.revoke(Revoked::Manifest(*second.digest()), &hospital());
    assert_eq!(permit(&deposited, &second), refused(VersionFault::Revoked));
}

#[test]
fn rotation_carries_a_party_on() {
    let (new, newer) = (key(11), key(12));
    let mut room = Room::agreed();
    room.rotate(&university(), &new);
    room.rotate(&new, &newer);
    let in_force = room.decide().unwrap();
    assert_eq!(in_force.party_of(&newer.public()), Some("university"));
    assert_eq!(in_force.party_of(&new.public()), None);
    let permitted = room.permit(room.run(), &newer).unwrap();
    assert_eq!(permitted.requester(), "university");
    assert_eq!(permitted.recipients()["university"], identity(&newer));
    for ended in [university(), new.clone()] {
        assert_eq!(room.permit(room.run(), &ended), Err(RunRefusal::EndedKey(ended.public(), "university".into())));
    }
    room.consents.pop();
    assert!(matches!(room.decide(), Err(NotInForce::ConsentMissing(_))));
    room.consent(&newer);
    assert!(room.decide().is_ok());
}

#[test]
fn an_owner_that_rotated_keeps_its_datasets_and_continues_its_series() {
    let new = key(11);
    let mut room = Room::proposed();
    let series = room.manifests[0].value().series().unwrap();
    room.agreement.datasets.get_mut("hospital").unwrap().source = DatasetSource::Series(series);
    room.agreement.parties.get_mut("hospital").unwrap().identity = identity(&new);
    room.rotate(&hospital(), &new);
    let second = Signed::sign(manifest_of("hospital", &hospital().public(), 2), &new).unwrap();
    room.deposited.insert(*second.digest());
    room.manifests.push(second.clone());
    [new, registry(), university()].iter().for_each(|key| room.consent(key));
    assert_eq!(room.decide().unwrap().sources().get("hospital").unwrap().usable().len(), 2);
}

#[test]
fn rotations_that_do_not_fit_are_refused() {
    let (a, b, c) = (key(11), key(12), key(13));
    let refused = |rotations: &[(&envelope::SigningKey, &envelope::SigningKey)]| {
        let mut room = Room::agreed();
        rotations.iter().for_each(|(from, to)| room.rotate(from, to));
        room.decide().map(|_| ())
    };
    let fault = |error| Err(NotInForce::Rotation(error));
    assert_eq!(refused(&[(&a, &b), (&a, &b)]), Ok(()));
    assert_eq!(refused(&[(&a, &b), (&a, &c)]), fault(RotationError::AlreadyEnded(a.public())));
    assert_eq!(refused(&[(&a, &c), (&b, &c)]), fault(RotationError::AlreadyTaken(c.public())));
    assert_eq!(refused(&[(&a, &a)]), fault(RotationError::Cycle(a.public())));
    assert_eq!(refused(&[(&a, &b), (&b, &c), (&c, &a)]), fault(RotationError::Cycle(a.public())));
    assert_eq!(
        refused(&[(&hospital(), &registry())]),
        Err(NotInForce::SameParty { first: "hospital".into(), second: "registry".into() })
    );

    let mut room = Room::agreed();
    let rotation = Rotation::new(hospital().public(), identity(&stranger()), &stranger());
    room.rotations.push(addressed(rotation.clone(), &stranger()));
    let (previous, signer) = (hospital().public(), stranger().public());
    assert_eq!(room.decide().map(|_| ()), fault(RotationError::Signer { previous, signer }));
    let unaccepted = Rotation { next: identity(&registry()), ..rotation.clone() };
    room.rotations = vec![addressed(unaccepted, &hospital())];
    assert_eq!(room.decide().map(|_| ()), fault(RotationError::NotAccepted(registry().public())));
    room.rotations = vec![addressed_to(rotation, &hospital(), &stranger().public())];
    assert_eq!(room.decide().map(|_| ()), fault(RotationError::Audience(previous)));
}

#[test]
fn a_permitted_run_says_exactly_what_it_may_read() {
    let room = Room::agreed();
    let run = addressed(room.run(), &registry());
    let permitted = room.decide().unwrap().permit(&run, now()).unwrap();
    assert_eq!(permitted.run(), run.digest());
    assert_eq!(permitted.inputs()["hospital"].columns, set(&["arm", "patient_id"]));
    assert_eq!(permitted.inputs()["registry"].columns, set(&["patient_id"]));
    assert_eq!(permitted.recipients().keys().collect::<Vec<_>>(), ["university"]);
    assert_eq!((permitted.release(), permitted.expires()), (&room.agreement.release, expiry()));
    assert!(permitted.offers().is_empty());
}

#[test]
fn each_fault_of_a_run_has_its_own_refusal() {
    let room = Room::agreed();
    let refused = |change: &dyn Fn(&mut Run), by: &envelope::SigningKey| {
        let mut run = room.run();
        change(&mut run);
        room.permit(run, by).unwrap_err()
    };
    let other = Digest::of(b"other");
    let by = university();
    assert_eq!(refused(&|_| (), &stranger()), RunRefusal::NotAParty(stranger().public()));
    assert_eq!(refused(&|run| run.agreement = other, &by), RunRefusal::OtherAgreement(other));
    assert_eq!(refused(&|run| run.computation = "by-leg".into(), &by), RunRefusal::UnknownComputation("by-leg".into()));
    let agreed = room.run().program;
    assert_eq!(
        refused(&|run| run.program = other, &by),
        RunRefusal::Program { computation: "by-arm".into(), agreed, stated: other }
    );
    let drop_version = |run: &mut Run| drop(run.versions.remove("registry"));
    assert_eq!(refused(&drop_version, &by), RunRefusal::VersionMissing("registry".into()));
    let add_version = |run: &mut Run| drop(run.versions.insert("other".into(), other));
    assert_eq!(refused(&add_version, &by), RunRefusal::VersionNotRead("other".into()));
    let swap_version = |run: &mut Run| drop(run.versions.insert("registry".into(), run.versions["hospital"]));
    let fault = VersionFault::NotCovered;
    assert_eq!(refused(&swap_version, &by), RunRefusal::Version { dataset: "registry".into(), fault });
    let elsewhere = addressed_to(room.run(), &by, &stranger().public());
    assert_eq!(room.decide().unwrap().permit(&elsewhere, now()), Err(RunRefusal::OtherBroker(stranger().public())));
}

#[test]
fn an_unsound_agreement_is_never_in_force() {
    let mut room = Room::proposed();
    room.agreement.release.tick_ms = 0;
    room.consent_all();
    assert_eq!(room.decide(), Err(NotInForce::Shape(ShapeError::Zero("tick_ms"))));
}
