//! Auditors whose word on a measurement a policy asks for: who vouches, for what, until when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod forge;

use std::collections::{BTreeMap, BTreeSet};

use attest::{
    AppraisalPolicy, AttestationResult, ConfidentialVmEvidence, EndorsementKeys, Endorsements, Evidence,
    HardwareEvidence, HardwareRule, PolicyError, Tier, Verifier,
    platform::{Anchors, HardwareIds, MeasurementRule, Platform, PlatformPolicy},
    reference::{
        AuditorRule, AuditorRuleError, Lack, Lacking, Provided, ProvidedError, ReferenceValues, VouchError, Vouched,
    },
    snp::Generation,
};
use envelope::{Digest, PublicKey, SigningKey, statement::Signed, text::Bytes};
use forge::{Room, now, worker};
use jiff::{SignedDuration, Timestamp};
use testkit::snp;

fn auditor(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn rule(seeds: &[u8], required: u32) -> AuditorRule {
    AuditorRule {
        keys: seeds.iter().map(|seed| auditor(*seed).public()).collect(),
        required,
        pcrs: BTreeSet::from([8]),
    }
}

/// What the worker's program leaves in the register of roles.
fn good() -> MeasurementRule {
    ReferenceValues::of_program(&worker(), &Digest::of(b"the worker's binary"))
}

fn values(key: &SigningKey, measurements: MeasurementRule) -> ReferenceValues {
    ReferenceValues {
        provider: key.public(),
        platform: "tpm".to_owned(),
        what: "the worker of this test".to_owned(),
        measurements,
        evidence: Digest::of(b"the worker's binary"),
        issued: now() - SignedDuration::from_hours(1),
        expires: now() + SignedDuration::from_hours(1),
    }
}

fn provided(values: ReferenceValues, key: &SigningKey) -> Provided {
    Provided::new(Signed::sign(values, key).unwrap()).unwrap()
}

fn says(seed: u8) -> Provided {
    provided(values(&auditor(seed), good()), &auditor(seed))
}

fn altered(seed: u8, change: impl FnOnce(&mut ReferenceValues)) -> Provided {
    let mut values = values(&auditor(seed), good());
    change(&mut values);
    provided(values, &auditor(seed))
}

/// A worker's result under a policy that asks for these auditors, and the policy.
fn appraised(rule: AuditorRule) -> (AttestationResult, AppraisalPolicy) {
    let mut room = Room::new();
    room.policy.auditors = Some(rule);
    (room.appraise().unwrap(), AppraisalPolicy::new(room.policy.clone()).unwrap())
}

fn check(rule: AuditorRule, documents: &[Provided]) -> Result<Vouched, VouchError> {
    let (result, policy) = appraised(rule);
    Vouched::check(result, &policy, documents)
}

fn lacks(outcome: Result<Vouched, VouchError>) -> Vec<(PublicKey, Lack)> {
    match outcome.unwrap_err() {
        VouchError::TooFew { lacking, .. } => {
            lacking.into_iter().map(|Lacking { auditor, lack, .. }| (auditor, lack)).collect()
        }
        VouchError::Policy => panic!("another policy"),
    }
}

fn vouching(outcome: &Vouched) -> BTreeSet<PublicKey> {
    outcome.vouchers().iter().map(|voucher| voucher.auditor).collect()
}

#[test]
fn row_70a_without_an_auditors_word_the_result_is_not_enough() {
    let key = auditor(1).public();
    assert_eq!(lacks(check(rule(&[1], 1), &[])), [(key, Lack::Unstated)]);
    // Nobody else's word stands in for it.
    assert_eq!(lacks(check(rule(&[1], 1), &[says(2)])), [(key, Lack::Unstated)]);
    let vouched = check(rule(&[1], 1), &[says(2), says(1)]).unwrap();
    assert_eq!(vouching(&vouched), BTreeSet::from([key]));
    assert_eq!(vouched.documents(), BTreeSet::from([*says(1).signed().digest()]));
    assert_eq!(vouched.vouchers()[0].until, now() + SignedDuration::from_hours(1));
    // Where nobody is asked for, nobody's word matters.
    let room = Room::new();
    let vouched = Vouched::check(room.appraise().unwrap(), &AppraisalPolicy::new(room.policy).unwrap(), &[says(1)]);
    assert!(vouched.unwrap().documents().is_empty());
}

#[test]
fn as_many_auditors_vouch_as_the_policy_says_each_for_every_register() {
    for required in 1..=3_u32 {
        for given in 0..=3_u8 {
            let documents: Vec<Provided> = (0..given).map(says).collect();
            let outcome = check(rule(&[0, 1, 2], required), &documents);
            match outcome {
                Ok(vouched) => {
                    assert!(u32::from(given) >= required, "{given} of {required}");
                    assert_eq!(vouched.vouchers().len(), usize::try_from(required).unwrap());
                }
                Err(VouchError::TooFew { required: asked, found, lacking }) => {
                    assert!(u32::from(given) < required, "{given} of {required}");
                    assert_eq!((asked, found, lacking.len()), (required, usize::from(given), 3 - usize::from(given)));
                }
                Err(VouchError::Policy) => panic!("another policy"),
            }
        }
    }
    // Two documents of one auditor are one auditor.
    let twice = [says(1), altered(1, |values| values.what = "again".to_owned())];
    assert_eq!(lacks(check(rule(&[1, 2], 2), &twice)), [(auditor(2).public(), Lack::Unstated)]);
    // One register here, the other there: together they are one auditor's word. From two auditors they are nobody's.
    let both = || AuditorRule { pcrs: BTreeSet::from([7, 8]), ..rule(&[1, 2], 1) };
    let seven = MeasurementRule::from([("pcr7".to_owned(), BTreeSet::from(["00".repeat(32)]))]);
    let of = |seed: u8| provided(values(&auditor(seed), seven.clone()), &auditor(seed));
    assert_eq!(check(both(), &[says(1), of(1)]).unwrap().documents().len(), 2);
    assert_eq!(lacks(check(both(), &[says(1), of(2)])).len(), 2);
}

#[test]
fn a_document_counts_from_its_first_moment_to_its_last() {
    let tick = SignedDuration::from_nanos(1);
    let term = |issued: Timestamp, expires: Timestamp| {
        let document = altered(1, |values| (values.issued, values.expires) = (issued, expires));
        check(rule(&[1], 1), &[document])
    };
    let hour = SignedDuration::from_hours(1);
    assert!(term(now() - hour, now()).is_ok());
    assert!(term(now(), now() + hour).is_ok());
    let key = auditor(1).public();
    assert_eq!(lacks(term(now() - hour, now() - tick)), [(key, Lack::Expired(now() - tick))]);
    assert_eq!(lacks(term(now() + tick, now() + hour)), [(key, Lack::NotYet(now() + tick))]);
    // A newer document takes an expired one's place, in whatever order they are given.
    let old = altered(1, |values| values.expires = now() - tick);
    for documents in [[old.clone(), says(1)], [says(1), old]] {
        let vouched = check(rule(&[1], 1), &documents).unwrap();
        assert_eq!(vouched.documents(), BTreeSet::from([*says(1).signed().digest()]));
    }
}

#[test]
fn of_documents_that_do_not_vouch_the_nearest_to_doing_so_is_told() {
    let hour = SignedDuration::from_hours(1);
    let other = ReferenceValues::of_program(&worker(), &Digest::of(b"another program"));
    let until = |expires: Timestamp, change: &dyn Fn(&mut ReferenceValues)| {
        altered(1, |values| {
            (values.issued, values.expires) = (now() - hour * 9, expires);
            change(values);
        })
    };
    let silent = |hours: i32| until(now() + hour * hours, &|values| values.platform = "sev-snp".to_owned());
    let unlike = |hours: i32| until(now() + hour * hours, &|values| values.measurements = other.clone());
    let future = |hours: i32, from: i32| until(now() + hour * hours, &|values| values.issued = now() + hour * from);
    let expired = |hours: i32| until(now() - hour * hours, &|_| {});
    let told = |documents: &[Provided]| {
        let mut found = lacks(check(rule(&[1], 1), documents));
        let backwards: Vec<Provided> = documents.iter().rev().cloned().collect();
        assert_eq!(lacks(check(rule(&[1], 1), &backwards)), found);
        found.remove(0).1
    };
    let value = good()["pcr8"].first().unwrap().clone();
    // Nearer to vouching and sooner to expire, or later.
    assert_eq!(told(&[unlike(2), silent(3)]), Lack::OtherValue(value.clone()));
    assert_eq!(told(&[unlike(3), silent(2)]), Lack::OtherValue(value));
    assert_eq!(told(&[future(5, 1), unlike(6)]), Lack::NotYet(now() + hour));
    assert_eq!(told(&[future(6, 1), unlike(5)]), Lack::NotYet(now() + hour));
    assert_eq!(told(&[expired(2), future(5, 1), unlike(6), silent(7)]), Lack::Expired(now() - hour * 2));
    // Of two that are as near the last to expire is told.
    assert_eq!(told(&[expired(3), expired(2), expired(4)]), Lack::Expired(now() - hour * 2));
    assert_eq!(told(&[future(5, 1), future(6, 2)]), Lack::NotYet(now() + hour * 2));
    // And of two that vouch it is the last to expire that counts.
    let vouched = check(rule(&[1], 1), &[until(now() + hour * 3, &|_| {}), says(1)]).unwrap();
    assert_eq!(vouched.until(), now() + hour * 3);
}

#[test]
fn auditors_vouch_together_until_the_first_document_expires() {
    let hour = SignedDuration::from_hours(1);
    let until = |seed: u8, hours: i32| altered(seed, |values| values.expires = now() + hour * hours);
    let together = |required: u32| check(rule(&[1, 2], required), &[until(1, 5), until(2, 3)]).unwrap();
    assert_eq!(together(2).until(), now() + hour * 3);
    let documents = [until(1, 5), until(2, 3)].map(|document| *document.signed().digest());
    assert_eq!(together(2).documents(), BTreeSet::from(documents));
    // As many as must, by key.
    let first = [(auditor(1).public(), 5), (auditor(2).public(), 3)].into_iter().min().unwrap();
    let one = together(1);
    assert_eq!((vouching(&one), one.until()), (BTreeSet::from([first.0]), now() + hour * first.1));
    // Where nobody must, there is no end.
    let room = Room::new();
    let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
    let nobody = Vouched::check(room.appraise().unwrap(), &policy, &[]).unwrap();
    assert_eq!((nobody.until(), nobody.vouchers().len()), (Timestamp::MAX, 0));
}

#[test]
fn each_lack_is_told_with_what_can_be_done() {
    let hour = SignedDuration::from_hours(1);
    let words = |documents: &[Provided]| check(rule(&[1], 1), documents).unwrap_err().to_string();
    let key = auditor(1).public();
    let told = |lack: &str, remedy: &str| {
        format!("0 of the auditors vouch for this worker, and 1 must: {lack}\nhint: {remedy}")
    };
    let unstated = "the auditor makes a document with `glovebox evidence reference`; anyone brings it with `glovebox evidence endorse`";
    assert_eq!(words(&[]), told(&format!("`{key}` says nothing of `pcr8` (tpm)"), unstated));
    let other = altered(1, |values| {
        values.measurements = ReferenceValues::of_program(&worker(), &Digest::of(b"another program"));
    });
    let shown = good()["pcr8"].first().unwrap().clone();
    let otherwise = "the worker runs something else than the auditor looked at; ask both which it should be";
    assert_eq!(words(&[other]), told(&format!("`{key}` lists other values of `pcr8` than `{shown}`"), otherwise));
    let (from, until) = (now() + hour, now() - hour);
    let future = altered(1, |values| (values.issued, values.expires) = (from, from + hour));
    let wait = "wait until then, or compare the clocks";
    assert_eq!(words(&[future]), told(&format!("what `{key}` says of `pcr8` counts only from {from} on"), wait));
    let expired = altered(1, |values| (values.issued, values.expires) = (until - hour, until));
    let renew = "ask the auditor for a new document, and bring it with `glovebox evidence endorse`";
    let refused = words(std::slice::from_ref(&expired));
    assert_eq!(refused, told(&format!("what `{key}` says of `pcr8` expired at {until}"), renew));
    // Of several auditors what the nearest of them lacks decides what can be done.
    let several = check(rule(&[1, 2], 2), &[expired]).unwrap_err().to_string();
    assert!(several.ends_with(&format!("\nhint: {renew}")), "{several}");
}

#[test]
fn another_platform_register_or_value_is_no_word_on_this_one() {
    let key = auditor(1).public();
    let outcome = |change: &dyn Fn(&mut ReferenceValues)| lacks(check(rule(&[1], 1), &[altered(1, change)]));
    assert_eq!(outcome(&|values| values.platform = "sev-snp".to_owned()), [(key, Lack::Unstated)]);
    let moved = |values: &mut ReferenceValues| {
        let value = values.measurements.remove("pcr8").unwrap();
        values.measurements.insert("pcr7".to_owned(), value);
    };
    assert_eq!(outcome(&moved), [(key, Lack::Unstated)]);
    let shown = good()["pcr8"].first().unwrap().clone();
    let other = |values: &mut ReferenceValues| {
        values.measurements = ReferenceValues::of_program(&worker(), &Digest::of(b"another program"));
    };
    assert_eq!(outcome(&other), [(key, Lack::OtherValue(shown.clone()))]);
    // The other bank's value of the same program is not this bank's.
    let bank = |values: &mut ReferenceValues| drop(values.measurements.remove("pcr8"));
    assert_eq!(outcome(&bank), [(key, Lack::Unstated)]);
    let words = check(rule(&[1], 1), &[altered(1, other)]).unwrap_err().to_string();
    assert!(words.starts_with("0 of the auditors vouch for this worker, and 1 must: "), "{words}");
    assert!(words.contains(&format!("`{key}` lists other values of `pcr8` than `{shown}`")), "{words}");
    assert!(words.contains("\nhint: "), "{words}");
}

#[test]
fn a_document_is_its_own_providers_and_can_be_meant() {
    let sign = |change: &dyn Fn(&mut ReferenceValues), key: &SigningKey| {
        let mut values = values(&auditor(1), good());
        change(&mut values);
        Provided::new(Signed::sign(values, key).unwrap())
    };
    let refused = |change: &dyn Fn(&mut ReferenceValues)| sign(change, &auditor(1)).unwrap_err();
    let (provider, signer) = (auditor(1).public(), auditor(2).public());
    assert_eq!(sign(&|_| {}, &auditor(2)).unwrap_err(), ProvidedError::Provider { provider, signer });
    assert!(matches!(refused(&|values| values.expires = values.issued), ProvidedError::Term { .. }));
    assert_eq!(refused(&|values| values.measurements.clear()), ProvidedError::Nothing);
    for bad in ["", "0", "AB", "0g"] {
        let change = |values: &mut ReferenceValues| {
            values.measurements.insert("pcr7".to_owned(), BTreeSet::from([bad.to_owned()]));
        };
        assert_eq!(refused(&change), ProvidedError::Value("pcr7".to_owned()));
    }
    let none = |values: &mut ReferenceValues| drop(values.measurements.insert("pcr7".to_owned(), BTreeSet::new()));
    assert_eq!(refused(&none), ProvidedError::Value("pcr7".to_owned()));
    assert_eq!(refused(&|values| values.what = "good\u{202e}".to_owned()), ProvidedError::What);
    assert!(sign(&|values| values.what = "x".repeat(500), &auditor(1)).is_ok());
    assert_eq!(refused(&|values| values.what = "x".repeat(501)), ProvidedError::What);
    assert_eq!(refused(&|values| values.what = "x".repeat(502)), ProvidedError::What);
    let backwards = |values: &mut ReferenceValues| values.expires = values.issued - SignedDuration::from_nanos(1);
    assert!(matches!(refused(&backwards), ProvidedError::Term { .. }));
    assert!(sign(&|values| values.expires = values.issued + SignedDuration::from_nanos(1), &auditor(1)).is_ok());
}

#[test]
fn rules_that_cannot_be_meant_are_no_policy() {
    let refused = |rule: AuditorRule| {
        let mut document = Room::new().policy;
        document.auditors = Some(rule);
        match AppraisalPolicy::new(document).unwrap_err() {
            PolicyError::Auditors(error) => error,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(rule(&[], 0)), AuditorRuleError::Auditors(0));
    let taken = |rule: AuditorRule| {
        let mut document = Room::new().policy;
        document.auditors = Some(rule);
        AppraisalPolicy::new(document).map(|_| ())
    };
    let many: Vec<u8> = (0..18).collect();
    assert_eq!(taken(rule(&many[..16], 16)), Ok(()));
    assert_eq!(refused(rule(&many[..17], 1)), AuditorRuleError::Auditors(17));
    assert_eq!(refused(rule(&many, 1)), AuditorRuleError::Auditors(18));
    for required in [0, 3, u32::MAX] {
        assert_eq!(refused(rule(&[1, 2], required)), AuditorRuleError::Required { required, listed: 2 });
    }
    let of = |pcrs: &[u8]| AuditorRule { pcrs: pcrs.iter().copied().collect(), ..rule(&[1], 1) };
    assert_eq!(refused(of(&[])), AuditorRuleError::NoRegister);
    assert_eq!(refused(of(&[8, 12])), AuditorRuleError::Register(12));
    assert_eq!(taken(of(&[0, 11, 13, 23])), Ok(()));
    assert_eq!(refused(of(&[24])), AuditorRuleError::Register(24));
    assert_eq!(refused(of(&[25])), AuditorRuleError::Register(25));
}

#[test]
fn a_policy_without_auditors_is_written_as_ever_and_one_with_them_has_them_quoted() {
    let mut room = Room::new();
    let plain = AppraisalPolicy::new(room.policy.clone()).unwrap();
    assert!(!serde_json::to_string(&plain).unwrap().contains("auditors"));
    room.policy.auditors = Some(AuditorRule { pcrs: BTreeSet::from([3]), ..rule(&[1], 1) });
    let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
    assert_ne!(policy.digest(), plain.digest());
    assert_eq!(room.appraise(), Err(attest::AppraisalError::PcrNotQuoted(3)));
    // A result that was earned under one policy is none under another.
    let result = Room::new().appraise().unwrap();
    assert_eq!(Vouched::check(result, &policy, &[says(1)]), Err(VouchError::Policy));
}

#[test]
fn of_confidential_hardware_every_listed_register_must_be_vouched_for() {
    let amd = snp::Amd::new(Generation::Genoa);
    let key = amd.key(&amd.chip_fields());
    let mut room = Room::with_tpm(Tier::SoftwareTpm, |_| {});
    room.policy.tpm.endorsement_keys = EndorsementKeys::Any;
    room.policy.auditors = Some(rule(&[1], 1));
    let measured = MeasurementRule::from([("measurement".to_owned(), BTreeSet::from(["ab".repeat(48)]))]);
    let hardware = HardwareRule {
        anchors: Anchors::Pinned(vec![Bytes(amd.root())]),
        policy: PlatformPolicy {
            tier_floor: Tier::SoftwareTpm,
            admits: BTreeSet::from(["revocation-unknown".to_owned()]),
            hardware: HardwareIds::Any,
            measurements: measured.clone(),
        },
        snp: attest::snp::SnpPolicy::default(),
        evaluation_floor: 0,
    };
    room.policy.hardware.insert(Platform::SevSnp, hardware);
    let mut report = amd.report();
    snp::put(&mut report, snp::at::REPORT_DATA, room.binding().sha512());
    snp::put(&mut report, snp::at::MEASUREMENT, &[0xAB; 48]);
    key.sign(&mut report);
    let files = [("report", report), ("vcek", key.certificate.clone()), ("cert_chain", amd.chain())];
    let files: BTreeMap<_, _> = files.into_iter().map(|(role, bytes)| (role.to_owned(), Bytes(bytes))).collect();
    let hardware = HardwareEvidence { platform: Platform::SevSnp, files };
    let evidence = Evidence::ConfidentialVm(ConfidentialVmEvidence { tpm: room.evidence(), hardware });
    let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
    let endorsements = Endorsements::tpm(room.enrolled.clone());
    let result = Verifier::appraise(&evidence, &endorsements, &room.binding(), &policy, now()).unwrap();

    let Err(VouchError::TooFew { lacking, .. }) = Vouched::check(result.clone(), &policy, &[says(1)]) else {
        panic!("nobody vouches for the hardware")
    };
    assert_eq!((lacking[0].platform, lacking[0].register.as_str()), (Platform::SevSnp, "measurement"));
    let chip = altered(1, |values| (values.platform, values.measurements) = ("sev-snp".to_owned(), measured));
    assert_eq!(Vouched::check(result, &policy, &[says(1), chip]).unwrap().documents().len(), 2);
}
