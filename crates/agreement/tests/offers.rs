//! Offers: each clause, when the agreement is looser than it in that clause alone.
#![allow(
    clippy::type_complexity,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    dropping_copy_types
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use agreement::{
    documents::*,
    in_force::*,
    offers::{Clause, matches},
};
use attest::{
    AppraisalPolicy, Bank, Clock, EndorsementKeys, EndorsementRoot, HardwareRule, PolicyDocument, Tier,
    platform::{Anchors, HardwareIds, Platform, PlatformPolicy},
    reference::AuditorRule,
};
use common::*;
use envelope::{Digest, PublicKey, SigningKey};
use jiff::SignedDuration;

/// The clause that fails when an agreement or an offer is changed in one way; `None` if they still match.
fn clause(change: impl FnOnce(&mut Agreement, &mut Offer)) -> Option<Clause> {
    let room = Room::proposed();
    let mut offer = room.offer();
    let mut changed = room.clone();
    change(&mut changed.agreement, &mut offer);
    let signer = hospital().public();
    matches(&offer, &signer, &changed.sound(), &changed.sources(), 0, now()).err().map(|mismatch| mismatch.clause)
}

fn by_arm(agreement: &mut Agreement) -> &mut Computation {
    agreement.computations.get_mut("by-arm").unwrap()
}

fn policy_with(role: &str, change: impl FnOnce(&mut PolicyDocument)) -> AppraisalPolicy {
    let mut document = policy_document(role);
    change(&mut document);
    AppraisalPolicy::new(document).unwrap()
}

#[test]
fn an_offer_matches_what_it_describes() {
    assert_eq!(clause(|_, _| ()), None);
}

#[test]
fn labels_without_effect_are_free() {
    assert_eq!(clause(|agreement, _| agreement.name = "renamed".into()), None);
    assert_eq!(clause(|agreement, _| agreement.broker.address = "elsewhere.example:1".into()), None);
}

#[test]
fn every_looser_field_of_the_agreement_fails_its_clause() {
    let cases: Vec<(Clause, Box<dyn Fn(&mut Agreement)>)> = vec![
        (Clause::Expiry, Box::new(|agreement| agreement.expires += SignedDuration::from_nanos(1))),
        (Clause::Purpose, Box::new(|agreement| agreement.purpose.push('!'))),
        (Clause::Predecessor, Box::new(|agreement| agreement.predecessor = Some(Digest::of(b"old")))),
        (
            Clause::Parties,
            Box::new(|agreement| {
                agreement.parties.insert("extra".into(), PartyTerms { identity: identity(&stranger()) });
            }),
        ),
        (Clause::Computations, Box::new(|agreement| by_arm(agreement).text.push(' '))),
        (
            Clause::Computations,
            Box::new(|agreement| {
                let mut second = by_arm(agreement).clone();
                second.text = "SELECT 1".into();
                agreement.computations.insert("second".into(), second);
            }),
        ),
        (
            Clause::Columns,
            Box::new(|agreement| {
                by_arm(agreement).columns.get_mut("hospital").unwrap().insert("cd4".into());
            }),
        ),
        (Clause::Recipients, Box::new(|agreement| drop(by_arm(agreement).recipients.insert("registry".into())))),
        (Clause::BrokerLog, Box::new(|agreement| agreement.broker.log = "other+00000000+AAAA".into())),
        (Clause::Witnesses, Box::new(|agreement| agreement.witnesses.required = 0)),
        (Clause::Witnesses, Box::new(|agreement| agreement.witnesses.keys.push("w3+00000003+CCCC".into()))),
        (Clause::Tick, Box::new(|agreement| agreement.release.tick_ms -= 1)),
        (Clause::Lease, Box::new(|agreement| agreement.release.lease_seconds += 1)),
        (Clause::ResultSize, Box::new(|agreement| agreement.release.max_result_bytes += 1)),
    ];
    for (expected, change) in cases {
        assert_eq!(clause(|agreement, _| change(agreement)), Some(expected));
    }
}

#[test]
fn every_tighter_field_of_the_offer_fails_its_clause() {
    let cases: Vec<(Clause, Box<dyn Fn(&mut Offer)>)> = vec![
        (Clause::Expiry, Box::new(|offer| offer.expires = expiry() - SignedDuration::from_nanos(1))),
        (Clause::Expiry, Box::new(|offer| offer.expires = now() - SignedDuration::from_nanos(1))),
        (Clause::Runs, Box::new(|offer| offer.max_runs = 0)),
        (Clause::Price, Box::new(|offer| offer.price = 1)),
        (Clause::Purpose, Box::new(|offer| offer.purpose = "another".into())),
        (Clause::Parties, Box::new(|offer| drop(offer.parties.remove(&university().public())))),
        (Clause::Datasets, Box::new(|offer| offer.datasets.clear())),
        (Clause::CoDatasets, Box::new(|offer| offer.co_datasets.clear())),
        (Clause::Computations, Box::new(|offer| offer.computations.clear())),
        (
            Clause::Columns,
            Box::new(|offer| {
                offer.computations.values_mut().for_each(BTreeMap::clear);
            }),
        ),
        (
            Clause::Columns,
            Box::new(|offer| {
                offer
                    .computations
                    .values_mut()
                    .flat_map(BTreeMap::values_mut)
                    .for_each(|columns| drop(columns.remove("arm")));
            }),
        ),
        (Clause::Recipients, Box::new(|offer| offer.recipients = BTreeSet::<PublicKey>::new())),
        (Clause::Broker, Box::new(|offer| offer.brokers.clear())),
        (Clause::BrokerLog, Box::new(|offer| drop(offer.brokers.insert(broker().public(), "x+0+y".into())))),
        (Clause::Witnesses, Box::new(|offer| offer.witnesses.required = 2)),
        (Clause::Witnesses, Box::new(|offer| drop(offer.witnesses.keys.pop()))),
        (Clause::Tick, Box::new(|offer| offer.release.tick_ms += 1)),
        (Clause::Lease, Box::new(|offer| offer.release.lease_seconds -= 1)),
        (Clause::ResultSize, Box::new(|offer| offer.release.max_result_bytes -= 1)),
    ];
    for (expected, change) in cases {
        assert_eq!(clause(|_, offer| change(offer)), Some(expected));
    }
}

#[test]
fn another_broker_a_stranger_and_spent_runs_do_not_match() {
    let room = Room::proposed();
    let (offer, sound, sources) = (room.offer(), room.sound(), room.sources());
    let with = |offer: &Offer, signer: &PublicKey, runs| {
        matches(offer, signer, &sound, &sources, runs, now()).map(|m| m.runs_left()).map_err(|m| m.clause)
    };
    assert_eq!(with(&offer, &hospital().public(), 2), Ok(1));
    assert_eq!(with(&offer, &hospital().public(), 3), Err(Clause::Runs));
    assert_eq!(with(&offer, &stranger().public(), 0), Err(Clause::Signer));
    assert_eq!(with(&offer, &registry().public(), 0), Err(Clause::Parties));
    let elsewhere = Offer { brokers: BTreeMap::from([(stranger().public(), LOG.into())]), ..offer };
    assert_eq!(with(&elsewhere, &hospital().public(), 0), Err(Clause::Broker));
}

#[test]
fn a_looser_policy_fails_its_clause_and_a_stricter_one_matches() {
    let looser: Vec<Box<dyn Fn(&mut PolicyDocument)>> = vec![
        Box::new(|policy| policy.tier_floor = Tier::SoftwareTpm),
        Box::new(|policy| {
            policy.tpm.roots.push(EndorsementRoot { certificate: certificate(OTHER_AUTHORITY), tier: Tier::Tpm });
        }),
        Box::new(|policy| policy.tpm.endorsement_keys = EndorsementKeys::Any),
        Box::new(|policy| policy.tpm.endorsement_keys = EndorsementKeys::Listed(vec![Digest::of(b"another")])),
        Box::new(|policy| policy.tpm.binaries.push(Digest::of(b"another"))),
        Box::new(|policy| policy.tpm.reference_values.clear()),
        Box::new(|policy| policy.tpm.reference_values[0].values.push("cd".repeat(32))),
        Box::new(|policy| policy.tpm.clock = Clock::Unsafe),
        Box::new(|policy| policy.tpm.role = attest::events::RoleName::try_from("other").unwrap()),
        Box::new(|policy| {
            policy.tpm.bank = Bank::Sha384;
            policy.tpm.reference_values[0].values[0] = "ab".repeat(48);
        }),
    ];
    for change in &looser {
        let worker = policy_with("worker", change);
        assert_eq!(clause(|agreement, _| agreement.workers = worker), Some(Clause::WorkerPolicy));
        let broker = policy_with("broker", change);
        assert_eq!(clause(|agreement, _| agreement.broker.policy = broker), Some(Clause::BrokerPolicy));
    }
    let stricter: Vec<Box<dyn Fn(&mut PolicyDocument)>> = vec![
        Box::new(|policy| policy.tier_floor = Tier::ConfidentialVm),
        Box::new(|policy| policy.tpm.endorsement_keys = EndorsementKeys::Listed(vec![])),
        Box::new(|policy| {
            policy.tpm.reference_values.push(attest::ReferenceValue { pcr: 4, values: vec!["00".repeat(32)] });
        }),
    ];
    for change in &stricter {
        let worker = policy_with("worker", change);
        assert_eq!(clause(|agreement, _| agreement.workers = worker), None);
    }
    let certified_higher = policy_with("worker", |policy| policy.tpm.roots[0].tier = Tier::SoftwareTpm);
    assert_eq!(clause(|_, offer| offer.worker_policy = certified_higher), Some(Clause::WorkerPolicy));
}

#[test]
fn auditors_may_be_asked_for_and_no_fewer_and_no_others_than_an_offer_asks_for() {
    let rule = |keys: &[SigningKey], required: u32, pcrs: &[u8]| AuditorRule {
        keys: keys.iter().map(SigningKey::public).collect(),
        required,
        pcrs: pcrs.iter().copied().collect(),
    };
    let offered = rule(&[key(40), key(41), key(42)], 2, &[7, 8]);
    let with = |found: Option<AuditorRule>, least: Option<AuditorRule>| {
        let found = policy_with("worker", |policy| policy.auditors = found);
        let least = policy_with("worker", |policy| policy.auditors = least);
        clause(|agreement, offer| (agreement.workers, offer.worker_policy) = (found, least))
    };
    for as_strict in [
        offered.clone(),
        rule(&[key(40), key(41), key(42)], 3, &[7, 8]),
        rule(&[key(40), key(41)], 2, &[7, 8]),
        rule(&[key(40), key(41), key(42)], 2, &[4, 7, 8]),
    ] {
        assert_eq!(with(Some(as_strict.clone()), Some(offered.clone())), None, "{as_strict:?}");
        assert_eq!(with(Some(as_strict), None), None);
    }
    for looser in [
        None,
        Some(rule(&[key(40), key(41), key(42)], 1, &[7, 8])),
        Some(rule(&[key(40), key(41), key(43)], 2, &[7, 8])),
        Some(rule(&[key(40), key(41), key(42)], 2, &[8])),
    ] {
        assert_eq!(with(looser.clone(), Some(offered.clone())), Some(Clause::WorkerPolicy), "{looser:?}");
    }
}

#[test]
fn hardware_may_be_narrowed_and_neither_widened_nor_left_out() {
    let set =
        |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<std::collections::BTreeSet<_>>();
    let rule = || HardwareRule {
        anchors: Anchors::Makers,
        policy: PlatformPolicy {
            tier_floor: Tier::ConfidentialVm,
            admits: set(&["affirmed", "conditional"]),
            hardware: HardwareIds::Listed(set(&["aa", "bb"])),
            measurements: BTreeMap::from([("measurement".to_owned(), set(&["01", "02"]))]),
        },
        snp: attest::snp::SnpPolicy::default(),
        evaluation_floor: 7,
    };
    let asking = |change: &dyn Fn(&mut BTreeMap<Platform, HardwareRule>)| {
        let mut rules = BTreeMap::from([(Platform::SevSnp, rule()), (Platform::Tdx, rule())]);
        change(&mut rules);
        policy_with("worker", |policy| policy.hardware = rules)
    };
    let clause_of = |change: &dyn Fn(&mut BTreeMap<Platform, HardwareRule>)| {
        let (found, least) = (asking(change), asking(&|_| {}));
        clause(|agreement, offer| {
            agreement.workers = found;
            offer.worker_policy = least;
        })
    };
    let snp = |rules: &mut BTreeMap<Platform, HardwareRule>, change: &dyn Fn(&mut HardwareRule)| {
        change(rules.get_mut(&Platform::SevSnp).unwrap());
    };
    let narrower: [&dyn Fn(&mut BTreeMap<Platform, HardwareRule>); 6] = [
        &|_| {},
        &|rules| drop(rules.remove(&Platform::Tdx)),
        &|rules| snp(rules, &|rule| rule.policy.admits = set(&["affirmed"])),
        &|rules| snp(rules, &|rule| rule.policy.hardware = HardwareIds::Listed(set(&["aa"]))),
        &|rules| snp(rules, &|rule| drop(rule.policy.measurements.insert("measurement".to_owned(), set(&["02"])))),
        &|rules| snp(rules, &|rule| drop(rule.policy.measurements.insert("host_data".to_owned(), set(&["00"])))),
    ];
    for change in narrower {
        assert_eq!(clause_of(change), None);
    }
    let wider: [&dyn Fn(&mut BTreeMap<Platform, HardwareRule>); 12] = [
        &|rules| snp(rules, &|rule| rule.evaluation_floor = 6),
        &|rules| snp(rules, &|rule| drop(rule.snp.generations.insert(attest::snp::Generation::Milan))),
        &|rules| snp(rules, &|rule| drop(rule.snp.vmpl.insert(1))),
        &BTreeMap::clear,
        &|rules| drop(rules.insert(Platform::AzureSnp, rule())),
        &|rules| snp(rules, &|rule| rule.anchors = Anchors::Pinned(vec![certificate(OTHER_AUTHORITY)])),
        &|rules| snp(rules, &|rule| rule.policy.tier_floor = Tier::Tpm),
        &|rules| snp(rules, &|rule| drop(rule.policy.admits.insert("out-of-date".to_owned()))),
        &|rules| snp(rules, &|rule| rule.policy.hardware = HardwareIds::Any),
        &|rules| snp(rules, &|rule| rule.policy.hardware = HardwareIds::Listed(set(&["aa", "cc"]))),
        &|rules| {
            snp(rules, &|rule| drop(rule.policy.measurements.insert("measurement".to_owned(), set(&["01", "03"]))))
        },
        &|rules| {
            snp(rules, &|rule| rule.policy.measurements = BTreeMap::from([("host_data".to_owned(), set(&["01"]))]));
        },
    ];
    for change in wider {
        assert_eq!(clause_of(change), Some(Clause::WorkerPolicy));
    }
    // An offer that speaks of no hardware does not match a policy under which the TPM by itself need not be strong.
    let asks = asking(&|_| {});
    assert_eq!(clause(|agreement, _| agreement.workers = asks), Some(Clause::WorkerPolicy));
}

#[test]
fn a_version_may_stand_for_its_series_and_not_the_other_way() {
    let series = DatasetSource::Series(Room::proposed().manifests[0].value().series().unwrap());
    let other = DatasetSource::Series(Room::proposed().manifests[1].value().series().unwrap());
    assert_eq!(clause(|_, offer| offer.datasets = vec![series]), None);
    assert_eq!(clause(|_, offer| offer.datasets = vec![other]), Some(Clause::Datasets));
    assert_eq!(clause(|_, offer| offer.co_datasets = vec![other]), None);
    let to_series = |agreement: &mut Agreement, _: &mut Offer| {
        agreement.datasets.get_mut("hospital").unwrap().source = series;
    };
    assert_eq!(clause(to_series), Some(Clause::Datasets));
}

#[test]
fn an_offer_stands_in_for_a_consent_until_it_is_spent_or_revoked() {
    let mut room = Room::agreed();
    room.consents.remove(0);
    let offer = addressed(room.offer(), &hospital());
    room.offers.push(offer.clone());
    let in_force = room.decide().unwrap();
    assert_eq!(in_force.grounds()["hospital"], Ground::Offer { statement: *offer.digest() });
    let permitted = room.permit(room.run(), &university()).unwrap();
    assert_eq!(permitted.offers().iter().collect::<Vec<_>>(), [offer.digest()]);

    let failed = |room: &Room| match room.decide() {
        Err(NotInForce::ConsentMissing(missing)) => {
            assert_eq!((missing.len(), missing[0].party.as_str()), (1, "hospital"));
            missing[0].offers.iter().map(|(digest, mismatch)| (*digest, mismatch.clause)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let mut spent = room.clone();
    spent.runs.insert(*offer.digest(), 3);
    assert_eq!(failed(&spent), [(*offer.digest(), Clause::Runs)]);

    let mut revoked = room.clone();
    revoked.revoke(Revoked::Offer(*offer.digest()), &stranger());
    assert!(revoked.decide().is_ok());
    revoked.revoke(Revoked::Offer(*offer.digest()), &hospital());
    assert_eq!(failed(&revoked), [(*offer.digest(), Clause::Revoked)]);

    let mut elsewhere = room.clone();
    elsewhere.offers = vec![addressed_to(room.offer(), &hospital(), &stranger().public())];
    assert_eq!(failed(&elsewhere), [(*elsewhere.offers[0].digest(), Clause::Audience)]);

    let mut forged = room.clone();
    forged.offers = vec![addressed(room.offer(), &stranger())];
    assert_eq!(failed(&forged), []);

    let mut rotated = room;
    rotated.rotate(&hospital(), &key(11));
    assert!(rotated.decide().is_ok(), "an offer signed before the rotation stands");
}
