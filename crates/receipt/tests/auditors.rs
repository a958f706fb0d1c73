//! Receipts of runs for which auditors had to vouch: whose word, on what, until when, and that it was in the log first.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::collections::BTreeSet;

use agreement::documents::Agreement;
use attest::{
    AppraisalPolicy, HashAlgorithm, PolicyDocument,
    reference::{AuditorRule, Lack, ReferenceValues, VouchError},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Found, failure, found};
use envelope::{Digest, SigningKey, statement::StatementError};
use jiff::SignedDuration;
use receipt::{Anchors, GroundsError, Reason, Receipt, verify};
use testkit::{Room, Slot, Twists, now};

fn auditor() -> SigningKey {
    SigningKey::from_seed(&[50; 32])
}

/// The agreement asks for one auditor's word.
fn asks(_: &Room, agreement: &mut Agreement) {
    let rule = AuditorRule {
        keys: [auditor().public(), SigningKey::from_seed(&[51; 32]).public()].into(),
        required: 1,
        pcrs: [8].into(),
    };
    let document = PolicyDocument { auditors: Some(rule), ..PolicyDocument::from(agreement.workers.clone()) };
    agreement.workers = AppraisalPolicy::new(document).unwrap();
}

/// What the auditor says of the worker's machine.
fn word(room: &Room) -> ReferenceValues {
    let measured = &room.worker_machine.log.replay(HashAlgorithm::Sha256).unwrap()[&8];
    ReferenceValues {
        provider: auditor().public(),
        platform: "tpm".to_owned(),
        what: "the worker".to_owned(),
        measurements: [("pcr8".to_owned(), BTreeSet::from([hex(measured)]))].into(),
        evidence: Digest::of(b"a program"),
        issued: now() - SignedDuration::from_hours(1),
        expires: now() + SignedDuration::from_hours(1),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn good() -> Twists {
    Twists { agreement: asks, values: |room, said| said.push((word(room), auditor())), ..Twists::default() }
}

/// That it fails at the auditors' step, and for which reason.
fn fails(receipt: &Receipt, room: &Room, expected: impl FnOnce(Found<'_>) -> bool) {
    let failure = failure(receipt, &Anchors::default(), Some(&room.output()));
    assert_eq!((failure.number, failure.name), (11, "auditors"), "{failure:?}");
    let found = found(&failure);
    let told = format!("{found:?}");
    assert!(expected(found), "{told}");
}

fn twisted(twists: &Twists, expected: impl FnOnce(Found<'_>) -> bool) {
    let mut room = Room::new();
    let receipt = room.twisted(twists);
    fails(&receipt, &room, expected);
}

fn lack(found: Found<'_>) -> Lack {
    match found {
        Found::Grounds(GroundsError::NotVouched(VouchError::TooFew { lacking, .. })) => {
            lacking.iter().find(|lacking| lacking.auditor == auditor().public()).unwrap().lack.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn row_70a_an_auditors_word_in_the_log_before_the_release_is_a_step_of_its_own() {
    let mut room = Room::new();
    let receipt = Receipt::parse(&room.twisted(&good()).to_bytes().unwrap()).unwrap();
    let verified = verify(&receipt, &Anchors::default(), Some(&room.output())).unwrap();
    let step = verified.steps().last().unwrap();
    assert_eq!((step.number, step.name), (11, "auditors"));
    let words = format!(
        "1 of 2 auditors vouch for what the worker measured, in documents that were in the log before the release: {} until ",
        auditor().public()
    );
    assert!(step.words.contains(&words), "{}", step.words);
    assert_eq!(verified.vouchers()[0].auditor, auditor().public());
    // Where the agreement asks for nobody, the step says that.
    let receipt = Room::new().receipt();
    let verified = verify(&receipt, &Anchors::default(), None).unwrap();
    assert_eq!(verified.steps()[10].words, "the agreement asks for no auditor's word on the worker");
    let written = String::from_utf8(receipt.to_bytes().unwrap()).unwrap();
    assert!(!written.contains("\"reference_values\":[],\"rotations\""), "what is empty is not written");
}

#[test]
fn without_the_auditors_word_the_receipt_is_refused() {
    twisted(&Twists { values: |_, _| {}, ..good() }, |found| lack(found) == Lack::Unstated);
    let stranger = |room: &Room, said: &mut testkit::Said<ReferenceValues>| {
        let key = room.stranger.signing.clone();
        said.push((ReferenceValues { provider: key.public(), ..word(room) }, key));
    };
    twisted(&Twists { values: stranger, ..good() }, |found| lack(found) == Lack::Unstated);
    let forged = |room: &Room, said: &mut testkit::Said<ReferenceValues>| {
        said.push((word(room), room.stranger.signing.clone()));
    };
    twisted(&Twists { values: forged, ..good() }, |found| matches!(found, Found::Grounds(GroundsError::Provided(_))));
}

#[test]
fn the_time_of_the_release_decides_whether_a_document_counted() {
    let tick = SignedDuration::from_nanos(1);
    assert_eq!(tick.as_nanos(), 1);
    let last_moment = |room: &Room, said: &mut testkit::Said<ReferenceValues>| {
        said.push((ReferenceValues { expires: now(), ..word(room) }, auditor()));
    };
    let mut room = Room::new();
    let receipt = room.twisted(&Twists { values: last_moment, ..good() });
    verify(&receipt, &Anchors::default(), None).unwrap();
    let over = |room: &Room, said: &mut testkit::Said<ReferenceValues>| {
        let expires = now() - SignedDuration::from_nanos(1);
        said.push((ReferenceValues { expires, ..word(room) }, auditor()));
    };
    twisted(&Twists { values: over, ..good() }, |found| matches!(lack(found), Lack::Expired(_)));
    let other = |room: &Room, said: &mut testkit::Said<ReferenceValues>| {
        let measurements = [("pcr8".to_owned(), BTreeSet::from(["00".repeat(32)]))].into();
        said.push((ReferenceValues { measurements, ..word(room) }, auditor()));
    };
    twisted(&Twists { values: other, ..good() }, |found| matches!(lack(found), Lack::OtherValue(_)));
}

#[test]
fn exactly_the_documents_that_counted_are_shown_and_stood_in_the_log_before() {
    let late = |order: &mut Vec<Slot>| {
        order.retain(|slot| *slot != Slot::Values(0));
        order.push(Slot::Values(0));
    };
    twisted(&Twists { order: late, ..good() }, |found| {
        matches!(found, Found::Order("a document of an auditor", "the release"))
    });
    let unlogged = |order: &mut Vec<Slot>| order.retain(|slot| *slot != Slot::Values(0));
    twisted(&Twists { order: unlogged, ..good() }, |found| {
        matches!(found, Found::NotLogged("document of an auditor", _))
    });
    let more = |room: &Room, said: &mut testkit::Said<ReferenceValues>| {
        said.push((word(room), auditor()));
        said.push((ReferenceValues { what: "again".to_owned(), ..word(room) }, auditor()));
    };
    let stray = |found: Found<'_>| matches!(found, Found::Grounds(GroundsError::Stray("document of an auditor")));
    twisted(&Twists { values: more, ..good() }, stray);
    let unasked = Twists { agreement: |_, _| {}, ..good() };
    twisted(&unasked, stray);
    let unnamed = Twists { released: |_, stated, _| stated.reference_values.clear(), ..good() };
    twisted(&unnamed, |found| matches!(found, Found::Other(Reason::Released(_))));
    let mut room = Room::new();
    let mut receipt = room.twisted(&good());
    receipt.grounds.reference_values.push(receipt.grounds.reference_values[0].clone());
    fails(&receipt, &room, stray);
}

#[test]
fn a1_a_flipped_bit_in_any_byte_of_an_auditors_document_fails_its_step() {
    let mut room = Room::new();
    let receipt = room.twisted(&good());
    let payload = STANDARD.decode(&receipt.grounds.reference_values[0].statement.payload).unwrap();
    let altered = |change: &dyn Fn(&mut envelope::statement::Envelope)| {
        let mut receipt = receipt.clone();
        change(&mut receipt.grounds.reference_values[0].statement);
        fails(&receipt, &room, |found| {
            matches!(found, Found::Statement("document of an auditor", StatementError::Signature(_)))
        });
    };
    for at in (0..payload.len()).step_by(41) {
        let mut bytes = payload.clone();
        bytes[at] ^= 1 << (at % 8);
        altered(&|statement| statement.payload = STANDARD.encode(&bytes));
    }
    let signature = STANDARD.decode(&receipt.grounds.reference_values[0].statement.signatures[0].sig).unwrap();
    for at in (0..signature.len()).step_by(13) {
        let mut bytes = signature.clone();
        bytes[at] ^= 1;
        altered(&|statement| statement.signatures[0].sig = STANDARD.encode(&bytes));
    }
}
