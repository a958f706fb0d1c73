//! Which agreements make sense by themselves, and that each has one spelling.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, dropping_copy_types)]

mod common;

use std::collections::BTreeMap;

use agreement::{documents::*, shape::*};
use attest::{AppraisalPolicy, PolicyDocument, reference::AuditorRule};
use common::*;
use envelope::canonical;
use proptest::prelude::*;

fn refused(change: impl FnOnce(&mut Agreement)) -> ShapeError {
    let mut agreement = Room::proposed().agreement;
    change(&mut agreement);
    SoundAgreement::new(agreement).unwrap_err()
}

fn by_arm(agreement: &mut Agreement) -> &mut Computation {
    agreement.computations.get_mut("by-arm").unwrap()
}

#[test]
fn names_are_names_and_no_paths() {
    for name in ["", "Upper", "../etc", "a b", "a/b", "1a", "-a", "a\u{202e}b", "a\n", "é", &"a".repeat(64)] {
        assert_eq!(
            refused(|agreement| agreement.name = name.into()),
            ShapeError::Name { of: Named::Agreement, name: name.into() },
        );
    }
    let renamed = refused(|agreement| {
        let dataset = agreement.datasets.remove("hospital").unwrap();
        agreement.datasets.insert("hos-pital".into(), dataset);
    });
    assert_eq!(renamed, ShapeError::Name { of: Named::Dataset, name: "hos-pital".into() });
}

#[test]
fn text_that_deceives_the_eye_is_refused() {
    for c in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{1b}', '\r', '\0', '\u{feff}', '\u{e0041}', '\u{85}'] {
        let fault = TextFault::Character(u32::from(c));
        assert_eq!(refused(|agreement| agreement.purpose = format!("good{c}bad")), ShapeError::Purpose(fault),);
        assert_eq!(
            refused(|agreement| by_arm(agreement).text.push(c)),
            ShapeError::ComputationText { computation: "by-arm".into(), fault },
        );
    }
    assert_eq!(refused(|agreement| agreement.purpose = " ".into()), ShapeError::Purpose(TextFault::Empty));
    assert_eq!(
        refused(|agreement| agreement.purpose = "x".repeat(MAX_PURPOSE + 1)),
        ShapeError::Purpose(TextFault::Long(MAX_PURPOSE)),
    );
}

#[test]
fn references_lead_somewhere() {
    let (hospital, registry) = ("hospital".to_owned(), "registry".to_owned());
    assert_eq!(
        refused(|agreement| agreement.datasets.get_mut("hospital").unwrap().owner = "nobody".into()),
        ShapeError::UnknownOwner { dataset: hospital.clone(), owner: "nobody".into() },
    );
    assert_eq!(
        refused(|agreement| drop(by_arm(agreement).recipients.insert("nobody".into()))),
        ShapeError::UnknownRecipient { computation: "by-arm".into(), recipient: "nobody".into() },
    );
    assert_eq!(refused(|agreement| by_arm(agreement).recipients.clear()), ShapeError::NoRecipient("by-arm".into()),);
    assert_eq!(refused(|agreement| by_arm(agreement).columns.clear()), ShapeError::ReadsNothing("by-arm".into()),);
    assert_eq!(
        refused(|agreement| drop(agreement.datasets.remove("registry"))),
        ShapeError::UnknownDataset { computation: "by-arm".into(), dataset: registry.clone() },
    );
    assert_eq!(
        refused(|agreement| agreement.parties.get_mut("registry").unwrap().identity = identity(&common::hospital())),
        ShapeError::SameParty { first: hospital.clone(), second: registry.clone() },
    );
    assert_eq!(
        refused(|agreement| {
            let source = agreement.datasets["hospital"].source;
            agreement.datasets.get_mut("registry").unwrap().source = source;
        }),
        ShapeError::SameDataset { first: hospital, second: registry },
    );
}

#[test]
fn numbers_can_be_meant() {
    assert_eq!(refused(|agreement| agreement.release.tick_ms = 0), ShapeError::Zero("tick_ms"));
    assert_eq!(refused(|agreement| agreement.release.lease_seconds = 0), ShapeError::Zero("lease_seconds"));
    assert_eq!(refused(|agreement| agreement.release.max_result_bytes = 0), ShapeError::Zero("max_result_bytes"));
    assert_eq!(
        refused(|agreement| agreement.witnesses.required = 3),
        ShapeError::Witnesses { required: 3, witnesses: 2 },
    );
    assert_eq!(
        refused(|agreement| agreement.witnesses.keys[1] = agreement.witnesses.keys[0].clone()),
        ShapeError::Witnesses { required: 1, witnesses: 1 },
    );
    assert_eq!(
        refused(|agreement| agreement.computations.clear()),
        ShapeError::Count { what: "computations", found: 0, most: 256 },
    );
    for address in ["host", "host:", ":1", "host:0", "host:65536", "ho st:1", "host:+1", "a/b:1"] {
        assert_eq!(
            refused(|agreement| agreement.broker.address = address.into()),
            ShapeError::BrokerAddress(address.into()),
        );
    }
    assert_eq!(refused(|agreement| agreement.broker.log = "log".into()), ShapeError::VerifierKey("log".into()));
    assert_eq!(
        refused(|agreement| drop(by_arm(agreement).columns.insert("hospital".into(), set(&["a\u{200b}"])))),
        ShapeError::Name { of: Named::Column, name: "a\u{200b}".into() },
    );
}

#[test]
fn auditors_are_of_workers_and_none_is_the_broker() {
    let with = |role: &str, auditor: &envelope::SigningKey| {
        let rule = AuditorRule { keys: [auditor.public()].into(), required: 1, pcrs: [8].into() };
        AppraisalPolicy::new(PolicyDocument { auditors: Some(rule), ..policy_document(role) }).unwrap()
    };
    let refused = |change: &dyn Fn(&mut Agreement)| refused(change);
    let of_broker = with("broker", &stranger());
    assert_eq!(refused(&|agreement| agreement.broker.policy = of_broker.clone()), ShapeError::BrokerAuditors);
    let by_broker = with("worker", &broker());
    assert_eq!(refused(&|agreement| agreement.workers = by_broker.clone()), ShapeError::BrokerAsAuditor);
    let mut agreement = Room::proposed().agreement;
    agreement.workers = with("worker", &hospital());
    assert!(SoundAgreement::new(agreement).is_ok(), "a party may vouch, too");
}

proptest! {
    #[test]
    fn an_agreement_has_one_spelling(
        name in "[a-z][a-z0-9_-]{0,20}",
        purpose in "[ -~äöü\n]{1,80}",
        tick_ms in 1u32..,
        max_result_bytes in 1u64..(1 << 53),
        seconds in 0i64..4_000_000_000,
        columns in proptest::collection::btree_set("[A-Za-z ]{1,9}", 0..5),
    ) {
        let mut agreement = Room::proposed().agreement;
        agreement.name = name;
        agreement.purpose = format!("x{purpose}");
        agreement.release.tick_ms = tick_ms;
        agreement.release.max_result_bytes = max_result_bytes;
        agreement.expires = jiff::Timestamp::from_second(seconds).unwrap();
        by_arm(&mut agreement).columns = BTreeMap::from([("hospital".to_owned(), columns)]);
        let bytes = canonical::to_vec(&agreement).unwrap();
        let read: Agreement = canonical::from_slice(&bytes).unwrap();
        prop_assert_eq!(&read, &agreement);
        prop_assert_eq!(read.digest().unwrap(), SoundAgreement::new(agreement).unwrap().digest().to_owned());
    }

    #[test]
    fn any_text_is_quoted_on_one_harmless_line(text in "\\PC*|.*") {
        let quoted = agreement::words::quoted(&text);
        prop_assert!(!quoted.chars().any(char::is_control));
        prop_assert_eq!(quoted.matches('`').count(), 2);
    }
}
