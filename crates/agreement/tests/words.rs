//! What a party reads before it consents.
#![allow(clippy::type_complexity, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::collections::BTreeMap;

use agreement::{
    documents::*,
    words::{Change, Summary, Topic, quoted},
};
use attest::{AppraisalPolicy, EndorsementRoot, Tier, reference::AuditorRule};
use common::*;

fn manifests(room: &Room) -> BTreeMap<String, Manifest> {
    room.manifests.iter().map(|manifest| (manifest.value().name.clone(), manifest.value().clone())).collect()
}

fn summary(room: &Room) -> Summary {
    Summary::of(&room.sound(), &manifests(room), Some(&hospital().public()))
}

#[test]
fn the_summary_says_who_gets_what_from_which_columns_under_which_rules_where_and_until_when() {
    let text = summary(&Room::proposed()).to_string();
    for sentence in [
        "the result of `by-arm` can be opened by `university`, and by nobody else",
        "`by-arm` reads of `hospital` (owner `hospital` (you)): `arm` (shown for groups that are large enough); \
         `patient_id` (entity of `patient`: counted and joined on, never shown)",
        "at least 10 different entities stand behind each row of a result",
        "      | SELECT arm, count(DISTINCT patient_id)",
        "a machine of the tier `tpm` or stronger",
        "the broker ed25519:",
        "1 of 2 witnesses cosign the log",
        "multiples of 1000 ms",
        "after 60 s unless it proves itself again",
        "no run starts and no key is renewed after 2027-06-30T00:00:00Z",
        "What is signed is the digest sha256:",
    ] {
        assert!(text.contains(sentence), "{sentence}\n---\n{text}");
    }
}

#[test]
fn what_is_weak_is_said() {
    let mut room = Room::proposed();
    room.agreement.witnesses = WitnessTerms { required: 0, keys: vec![] };
    let mut document = policy_document("worker");
    document.tier_floor = Tier::SoftwareTpm;
    document.tpm.roots = vec![EndorsementRoot { certificate: certificate(AUTHORITY), tier: Tier::SoftwareTpm }];
    room.agreement.workers = AppraisalPolicy::new(document).unwrap();
    let text = Summary::of(&room.sound(), &BTreeMap::new(), None).to_string();
    assert!(text.contains("rollback is not witnessed"), "{text}");
    assert!(text.contains("does not prove which code ran"), "{text}");
    assert!(text.contains("whoever runs those machines could read the data"), "{text}");
    assert!(text.contains("its manifest is not at hand, so its rules are unknown"), "{text}");
    assert!(!text.contains("(you)"), "{text}");
}

#[test]
fn auditors_are_told_with_their_number_and_what_they_vouch_for() {
    let mut room = Room::proposed();
    let mut document = policy_document("worker");
    let keys = [stranger().public(), registry().public()];
    document.auditors = Some(AuditorRule { keys: keys.into(), required: 1, pcrs: [7, 8].into() });
    room.agreement.workers = AppraisalPolicy::new(document).unwrap();
    let text = Summary::of(&room.sound(), &BTreeMap::new(), Some(&registry().public())).to_string();
    let sentence = "no key leaves unless 1 of 2 auditors vouch for the machine, each in a signed document that has not expired and is \
                    logged: for register(s) 7, 8 of its TPM";
    assert!(text.contains(sentence), "{text}");
    assert!(text.contains(&format!("auditor {}\n", stranger().public())), "{text}");
    assert!(text.contains(&format!("auditor {}, who is `registry` (you)\n", registry().public())), "{text}");
    assert!(!Summary::of(&Room::proposed().sound(), &BTreeMap::new(), None).to_string().contains("auditor"));
}

#[test]
fn an_amendment_is_shown_by_what_changes() {
    let older = Room::proposed();
    let mut newer = Room::proposed();
    newer.agreement.release.lease_seconds = 30;
    newer.agreement.computations.get_mut("by-arm").unwrap().recipients = set(&["hospital", "university"]);
    let changes = summary(&newer).changes_from(&summary(&older));
    assert_eq!(changes.iter().map(|change| change.topic).collect::<Vec<_>>(), [Topic::Results, Topic::Release]);
    assert_eq!(
        changes[1],
        Change {
            topic: Topic::Release,
            about: "lease".into(),
            before: Some("a worker loses its keys after 60 s unless it proves itself again".into()),
            after: Some("a worker loses its keys after 30 s unless it proves itself again".into()),
        }
    );
    assert_eq!(summary(&older).changes_from(&summary(&older)), []);
}

#[test]
fn every_field_of_an_agreement_changes_its_words() {
    let cases: Vec<Box<dyn Fn(&mut Agreement)>> = vec![
        Box::new(|agreement| agreement.name.push('x')),
        Box::new(|agreement| agreement.purpose.push('x')),
        Box::new(|agreement| agreement.parties.get_mut("registry").unwrap().identity = identity(&stranger())),
        Box::new(|agreement| agreement.datasets.get_mut("registry").unwrap().owner = "hospital".into()),
        Box::new(|agreement| {
            agreement.datasets.get_mut("registry").unwrap().source =
                DatasetSource::Version(envelope::Digest::of(b"other"));
        }),
        Box::new(|agreement| agreement.computations.get_mut("by-arm").unwrap().text.push_str(" -- x")),
        Box::new(|agreement| {
            let computation = agreement.computations.get_mut("by-arm").unwrap();
            computation.columns.get_mut("registry").unwrap().insert("arm".into());
        }),
        Box::new(|agreement| agreement.broker.key = stranger().public()),
        Box::new(|agreement| agreement.broker.log.push('A')),
        Box::new(|agreement| agreement.broker.address = "127.0.0.1:1".into()),
        Box::new(|agreement| agreement.broker.policy = policy("worker")),
        Box::new(|agreement| agreement.workers = policy("broker")),
        Box::new(|agreement| agreement.witnesses.required = 2),
        Box::new(|agreement| agreement.witnesses.keys[0].push('A')),
        Box::new(|agreement| agreement.release.tick_ms += 1),
        Box::new(|agreement| agreement.release.max_result_bytes += 1),
        Box::new(|agreement| agreement.expires = now()),
        Box::new(|agreement| agreement.predecessor = Some(envelope::Digest::of(b"old"))),
    ];
    let older = Room::proposed();
    for (at, change) in cases.iter().enumerate() {
        let mut newer = older.clone();
        change(&mut newer.agreement);
        assert!(!summary(&newer).changes_from(&summary(&older)).is_empty(), "case {at}");
    }
}

#[test]
fn what_a_party_wrote_cannot_pass_for_our_words() {
    assert_eq!(quoted("a\n  - you are safe`\u{1b}[2J\u{202e}"), "`a\\n  - you are safe'\\u{1b}[2J\\u{202e}`");
    let mut room = Room::proposed();
    room.agreement.purpose = "x\nWhere it runs\n  - nowhere".into();
    room.agreement.computations.get_mut("by-arm").unwrap().text = "SELECT 1\nWho gets what\n  - nobody".into();
    let text = summary(&room).to_string();
    assert_eq!(text.lines().filter(|line| *line == "Where it runs").count(), 1);
    assert_eq!(text.lines().filter(|line| *line == "Who gets what").count(), 1);
}
