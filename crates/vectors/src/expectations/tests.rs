#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeSet, sync::OnceLock};

use serde_json::{Value, json};

use super::{Expectation, Test, hold, is_same};
use crate::{Case, Folder, Outcome, Report, default_folder, kinds};

/// Accepted cases of a folder, four of each kind, with what their examinations found; none where there is no folder.
fn accepted() -> Vec<(Case, Report)> {
    static ACCEPTED: OnceLock<Vec<(Case, Report)>> = OnceLock::new();
    ACCEPTED.get_or_init(examined).clone()
}

fn examined() -> Vec<(Case, Report)> {
    let Ok(folder) = Folder::open(&default_folder()) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors");
        println!("skipped: no test vectors");
        return Vec::new();
    };
    let mut found: Vec<(Case, Report)> = Vec::new();
    for case in folder.cases() {
        if found.iter().filter(|(other, _)| other.kind == case.kind).count() < 4
            && let Ok(report) = kinds::examine(case)
            && matches!(report.outcome, Outcome::Accepted(_))
        {
            found.push((case.clone(), report));
        }
    }
    found
}

fn asking(policy: Value, case: &Case) -> Case {
    let mut case = case.clone();
    case.policy = policy;
    case
}

fn under(policy: Value, case: &Case, report: &Report) -> Result<Report, String> {
    hold(&asking(policy, case), report.clone())
}

/// Whether a case that expects this under this name is accepted.
fn is_met(name: &str, value: &Value, case: &Case, report: &Report) -> bool {
    let member = format!("expected_{name}");
    let held = under(json!({ member: value }), case, report);
    match held.unwrap_or_else(|words| panic!("{} {name}: {words}", case.id)).outcome {
        Outcome::Accepted(_) => true,
        Outcome::Refused { .. } => false,
        Outcome::Malformed { .. } => panic!("{} {name}: an expectation is not malformed", case.id),
    }
}

/// All that a report says, by name.
fn said(report: &Report) -> Vec<(String, String)> {
    let claims = report.claims.iter().map(|claim| (claim.name.clone(), claim.value.clone()));
    let registers = report.evidence().map(attest::platform::Genuine::registers).unwrap_or_default();
    let registers = registers.iter().chain(report.values());
    let registers = registers.map(|register| (register.name.clone(), hex::encode(&register.value)));
    let bound = report.evidence().map(|genuine| ("nonce".to_owned(), hex::encode(genuine.bound())));
    let hardware = report.evidence().and_then(attest::platform::Genuine::hardware_id);
    let hardware = hardware.map(|id| ("hardware_id".to_owned(), id.to_owned()));
    let all = claims.chain(registers).chain(bound).chain(hardware);
    all.filter(|(name, value)| !name.contains(':') && !value.is_empty()).collect()
}

fn other(value: &str) -> String {
    match value.strip_prefix("0x").unwrap_or(value).as_bytes() {
        [b'1', ..] => value.replacen('1', "2", 1),
        _ if value.starts_with("0x") => value.replacen("0x", "0x1", 1),
        [first, ..] if first.is_ascii() => format!("1{}", value.get(1..).unwrap_or_default()),
        _ => format!("{value}x"),
    }
}

#[test]
fn what_evidence_says_is_met_and_each_change_of_it_refused() {
    let mut kinds = BTreeSet::new();
    for (case, report) in accepted() {
        if report.evidence().is_some_and(attest::platform::Genuine::is_debug) {
            continue;
        }
        for (name, value) in said(&report) {
            assert!(is_met(&name, &json!(value), &case, &report), "{}: {name} is {value}", case.id);
            let other = other(&value);
            assert!(!is_met(&name, &json!(other), &case, &report), "{}: {name} is not {other}", case.id);
            assert!(is_met(&name, &json!([other, value]), &case, &report), "{}: {name} is listed", case.id);
            assert!(!is_met(&name, &json!([other]), &case, &report), "{}: {name} is not listed", case.id);
            assert!(!is_met(&name, &json!([]), &case, &report), "{}: {name} in an empty list", case.id);
            assert!(!is_met(&name, &json!(true), &case, &report) || value == "true" || value == "1");
            kinds.insert(case.kind.clone());
        }
    }
    // Of the kind `eat` no case is accepted, and an event log of a TPM names its banks.
    assert!(kinds.is_empty() || kinds.len() == 22, "{kinds:?}");
}

#[test]
fn registers_of_a_log_are_expected_by_bank() {
    let case = accepted().into_iter().find(|(case, _)| case.kind == "tcg-eventlog");
    let Some((case, report)) = case else { return };
    for register in report.values() {
        let (bank, name) = register.name.split_once(':').unwrap();
        let value = hex::encode(&register.value);
        for (value, met) in [(value.to_uppercase(), true), (other(&value), false)] {
            assert_eq!(is_met(name, &json!({ bank: value }), &case, &report), met);
            let number = name.trim_start_matches("pcr");
            assert_eq!(is_met("pcrs", &json!({ bank: { number: value } }), &case, &report), met);
        }
        assert!(is_met(name, &json!(value), &case, &report));
    }
    assert!(!is_met("pcr23", &json!({ "sha256": "00" }), &case, &report));
}

#[test]
fn an_expectation_that_names_nothing_is_told_by_its_name() {
    for (case, report) in accepted() {
        let unknown = [
            json!({ "expected_bogus": "00" }),
            json!({ "bogus": true }),
            json!({ "min_bogus": 1 }),
            json!({ "expected_pcrs": { "bogus": "00" } }),
            json!({ "min_bogus": { "bogus": 1 } }),
        ];
        for policy in unknown {
            let told = under(policy, &case, &report).unwrap_err();
            assert!(told.contains("bogus"), "{}: {told}", case.id);
        }
        for policy in [json!([]), json!("none"), json!({ "expected_pcrs": {} }), json!({ "expected_pcr0": [["00"]] })] {
            assert!(under(policy, &case, &report).is_err(), "{}", case.id);
        }
    }
}

#[test]
fn one_unknown_expectation_beside_a_known_one_is_told() {
    for (case, report) in accepted().into_iter().filter(|(case, _)| case.id == "ima/rust-keylime-runtime") {
        let policy = json!({ "expected_pcrs": { "10": "00", "bogus": "00" } });
        let outcome = kinds::run(&asking(policy, &case));
        assert!(matches!(outcome, Ok(Report { outcome: Outcome::Refused { .. }, .. })));
        let own = case.claims.pointer("/pcr10/sha256").cloned().unwrap_or_default();
        let policy = json!({ "expected_pcrs": { "10": { "sha256": own }, "bogus": "00" } });
        assert!(kinds::run(&asking(policy, &case)).unwrap_err().contains("bogus"));
        let policy = json!({ "expected_pcr10": own });
        let outcome = kinds::run(&asking(policy, &case)).unwrap().outcome;
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome}");
        assert!(report.evidence().is_none());
    }
}

#[test]
fn what_a_case_does_not_expect_changes_nothing() {
    for (case, report) in accepted() {
        for policy in [Value::Null, json!({}), json!({ "expected_nonce": null, "expected_bogus": null })] {
            assert_eq!(under(policy, &case, &report), Ok(report.clone()), "{}", case.id);
        }
    }
}

#[test]
fn a_floor_of_versions_is_held_and_not_told_as_unknown() {
    for (case, _) in accepted().into_iter().filter(|(case, _)| case.kind == "snp" && case.has("report")) {
        let outcome = |floor: Value| {
            let case = asking(json!({ "min_tcb": floor }), &case);
            kinds::run(&case).map(|report| report.outcome)
        };
        let admitted = outcome(json!({ "bl": 0 }));
        assert!(matches!(admitted, Ok(Outcome::Accepted(_))), "{}: {admitted:?}", case.id);
        let high = outcome(json!({ "bl": 255, "tee": null }));
        assert!(matches!(high, Ok(Outcome::Refused { ref code, .. }) if code == "tcb-out-of-date"), "{high:?}");
        for floor in [json!({ "bogus": 1 }), json!({ "bl": 256 }), json!("00"), json!(true)] {
            assert!(outcome(floor).is_err());
        }
    }
}

#[test]
fn a_policy_is_read_by_bank_by_number_and_in_order() {
    let read = |policy: Value| -> Vec<(String, Option<&'static str>, usize)> {
        let found = Expectation::of(&policy, |_| false).unwrap();
        let told = found.into_iter().map(|expectation| {
            let Test::OneOf(values) = expectation.test else { panic!("no order was asked for") };
            (expectation.name.to_string(), expectation.bank.map(attest::HashAlgorithm::name), values.len())
        });
        told.collect()
    };
    let one = |name: &str, bank| (name.to_owned(), bank, 1);
    let policy = json!({ "expected_pcr10": { "SHA256": "01", "sha1": "00", "sha384": null } });
    assert_eq!(read(policy), [one("pcr10", Some("sha256")), one("pcr10", Some("sha1"))]);
    let policy = json!({ "expected_pcrs": { "sha256": { "0": "00", "7": "01" } } });
    assert_eq!(read(policy), [one("pcr0", Some("sha256")), one("pcr7", Some("sha256"))]);
    assert_eq!(read(json!({ "expected_rtmrs": { "RTMR1": "00" } })), [one("rtmr1", None)]);
    assert_eq!(read(json!({ "expected_rem": ["00", "01"] })), [one("rem0", None), one("rem1", None)]);
    assert_eq!(read(json!({ "measurement": ["00", "01"] })), [("measurement".to_owned(), None, 2)]);
    assert_eq!(read(json!({ "expected_measurements": ["00"] })), [one("measurement", None)]);
}

#[test]
fn values_are_the_same_in_either_case_and_either_base() {
    for (value, text) in [
        (json!("ABcd"), "abcd"),
        (json!("0xabcd"), "abcd"),
        (json!("0x3001F"), "0x3001f"),
        (json!(0x3001F), "0x3001f"),
        (json!("196639"), "0x3001f"),
        (json!(7), "7"),
        (json!("0x0a"), "10"),
        (json!(false), "false"),
        (json!(true), "1"),
        (json!("a text"), "a text"),
    ] {
        assert!(is_same(&value, text), "{value} is {text}");
    }
    for (value, text) in [
        (json!("25"), "0x25"),
        (json!("0x10"), "10"),
        (json!(7), "07"),
        (json!(7), "seven"),
        (json!(true), "false"),
        (json!("A text"), "a text"),
        (json!("abcd00"), "abcd"),
        (json!(null), ""),
        (json!(""), "abcd"),
    ] {
        assert!(!is_same(&value, text), "{value} is not {text}");
    }
}
