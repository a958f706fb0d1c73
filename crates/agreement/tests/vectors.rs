//! Decisions as documents: each file under `vectors/decisions` holds the facts as envelopes, a broker's key, a time, and the expected
//! verdict, so that another implementation can decide them too. Set `GLOVEBOX_BLESS=1` to write them anew.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, dropping_copy_types)]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use agreement::{documents::*, in_force::*};
use common::*;
use envelope::{
    Digest, PublicKey, canonical,
    statement::{Addressed, Envelope, Predicate, Signed},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    expect: String,
    now: Timestamp,
    broker: PublicKey,
    agreement: Agreement,
    manifests: Vec<Envelope>,
    consents: Vec<Envelope>,
    offers: Vec<Envelope>,
    rotations: Vec<Envelope>,
    revocations: Vec<Envelope>,
    runs_under_offer: BTreeMap<Digest, u64>,
    deposited: Vec<Digest>,
    superseded_by: Option<Digest>,
}

#[test]
fn every_decision_is_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/decisions");
    if std::env::var_os("GLOVEBOX_BLESS").is_some() {
        for (name, room, at) in cases() {
            let vector = Vector { expect: verdict(&room.decide_at(at)), ..vector(&room, at) };
            fs::write(folder.join(format!("{name}.json")), canonical::to_vec(&vector).unwrap()).unwrap();
        }
    }
    let mut count = 0;
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let vector: Vector = canonical::from_slice(&fs::read(&path).unwrap()).unwrap();
        let room = Room {
            agreement: vector.agreement.clone(),
            manifests: open(&vector.manifests),
            consents: open::<Addressed<Consent>>(&vector.consents),
            offers: open::<Addressed<Offer>>(&vector.offers),
            rotations: open::<Addressed<Rotation>>(&vector.rotations),
            revocations: open::<Addressed<Revocation>>(&vector.revocations),
            runs: vector.runs_under_offer.clone(),
            deposited: vector.deposited.iter().copied().collect(),
            superseded_by: vector.superseded_by,
        };
        let found = InForce::decide(&room.facts(), &vector.broker, vector.now);
        assert_eq!(verdict(&found), vector.expect, "{path:?}");
        count += 1;
    }
    assert_eq!(count, cases().len());
}

fn verdict(decision: &Result<InForce<Agreement>, NotInForce>) -> String {
    match decision {
        Ok(in_force) => format!("in force: {}", in_force.digest()),
        Err(refusal) => refusal.to_string().lines().next().unwrap().to_owned(),
    }
}

fn open<T: Predicate>(envelopes: &[Envelope]) -> Vec<Signed<T>> {
    envelopes.iter().map(|envelope| Signed::open(envelope).unwrap()).collect()
}

fn envelopes<T>(signed: &[Signed<T>]) -> Vec<Envelope> {
    signed.iter().map(|signed| signed.envelope().clone()).collect()
}

fn vector(room: &Room, now: Timestamp) -> Vector {
    Vector {
        expect: String::new(),
        now,
        broker: broker().public(),
        agreement: room.agreement.clone(),
        manifests: envelopes(&room.manifests),
        consents: envelopes(&room.consents),
        offers: envelopes(&room.offers),
        rotations: envelopes(&room.rotations),
        revocations: envelopes(&room.revocations),
        runs_under_offer: room.runs.clone(),
        deposited: room.deposited.iter().copied().collect(),
        superseded_by: room.superseded_by,
    }
}

fn cases() -> Vec<(&'static str, Room, Timestamp)> {
    let agreed = Room::agreed;
    let change = |change: &dyn Fn(&mut Room)| {
        let mut room = agreed();
        change(&mut room);
        room
    };
    let by_offer = |runs: u64| {
        change(&|room| {
            room.consents.remove(0);
            let offer = addressed(room.offer(), &hospital());
            room.runs.insert(*offer.digest(), runs);
            room.offers.push(offer);
        })
    };
    let what = agreed().agreement.digest().unwrap();
    let late = expiry() + SignedDuration::from_nanos(1);
    vec![
        ("in-force", agreed(), now()),
        ("in-force-by-offer", by_offer(2), now()),
        ("in-force-after-rotation", change(&|room| room.rotate(&university(), &key(11))), now()),
        ("last-moment", agreed(), expiry()),
        ("expired", agreed(), late),
        ("offer-spent", by_offer(3), now()),
        ("consent-missing", change(&|room| drop(room.consents.pop())), now()),
        ("consent-to-another-text", change(&|room| room.agreement.release.tick_ms += 1), now()),
        ("revoked", change(&|room| room.revoke(Revoked::Agreement(what), &registry())), now()),
        ("revoked-by-a-stranger", change(&|room| room.revoke(Revoked::Agreement(what), &stranger())), now()),
        ("manifest-missing", change(&|room| drop(room.manifests.pop())), now()),
        ("not-deposited", change(&|room| room.deposited.clear()), now()),
        ("superseded", change(&|room| room.superseded_by = Some(Digest::of(b"successor"))), now()),
        (
            "rotation-cycle",
            change(&|room| {
                room.rotate(&university(), &key(11));
                room.rotate(&key(11), &university());
            }),
            now(),
        ),
        (
            "no-tick",
            change(&|room| {
                room.agreement.release.tick_ms = 0;
                room.consent_all();
            }),
            now(),
        ),
    ]
}
