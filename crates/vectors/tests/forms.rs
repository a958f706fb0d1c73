//! Cases in the form of the manifest with other contents: what is missing or junk is refused, and one bad case is one finding.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, missing_docs)]

use std::{path::PathBuf, sync::OnceLock};

use attest::ear::{Appraisal, Ear, Status, VerifierId};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use envelope::Digest;
use serde_json::{Value, json};
use vectors::{Agreement, Case, Folder, Outcome, Reasons, compare, default_folder, kinds};

/// The folder's manifest, if there is a folder.
fn manifest() -> Option<&'static Value> {
    static MANIFEST: OnceLock<Option<Value>> = OnceLock::new();
    MANIFEST.get_or_init(read).as_ref()
}

fn read() -> Option<Value> {
    let bytes = std::fs::read(default_folder().join("manifest.json"));
    assert!(bytes.is_ok() || std::env::var("CI").as_deref() != Ok("true"), "no test vectors");
    serde_json::from_slice(&bytes.ok()?).unwrap()
}

/// A folder of its own, removed at the end.
struct Bench {
    path: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let path = std::env::temp_dir().join(format!("glovebox-vectors-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Bench { path }
    }

    /// A file with its entry for a manifest.
    fn file(&self, name: &str, bytes: &[u8]) -> Value {
        let path = self.path.join(name);
        std::fs::write(&path, bytes).unwrap();
        let digest = Digest::of(bytes).to_string();
        json!({ "path": path, "sha256": digest.trim_start_matches("sha256:") })
    }

    fn case(&self, case: Value) -> Case {
        let manifest = json!({ "cases": [case] });
        std::fs::write(self.path.join("manifest.json"), manifest.to_string()).unwrap();
        Folder::open(&self.path).unwrap().cases()[0].clone()
    }

    /// A case of the shared folder, changed.
    fn changed(&self, id: &str, change: impl FnOnce(&mut Value)) -> Option<Case> {
        let cases = manifest()?;
        let mut case = cases["cases"].as_array().unwrap().iter().find(|case| case["id"] == id)?.clone();
        case["dir"] = json!(default_folder().join(case["dir"].as_str().unwrap()).canonicalize().unwrap());
        change(&mut case);
        Some(self.case(case))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn code(case: &Case) -> String {
    match kinds::run(case) {
        Ok(report) => match report.outcome {
            Outcome::Accepted(assurance) => assurance.name().to_owned(),
            Outcome::Malformed { code, .. } | Outcome::Refused { code, .. } => code,
        },
        Err(words) => panic!("{}: {words}", case.id),
    }
}

fn remove(case: &mut Value, role: &str) {
    case["files"].as_object_mut().unwrap().remove(role).unwrap();
}

#[test]
fn a_missing_list_and_a_key_that_is_none_are_refused() {
    let bench = Bench::new("missing");
    let junk = bench.file("junk", b"no key");
    let Some(case) = bench.changed("ibm-se/good", |case| remove(case, "ibm_crl")) else { return };
    assert_eq!(code(&case), "crl-missing");
    for id in ["tpm-quote/gce-cos-85-nonce9009-sha256", "gcp-vtpm/vaportpm-gcp-amd"] {
        let case = bench.changed(id, |case| case["files"]["ak_pub"] = junk.clone()).unwrap();
        assert_eq!(code(&case), "attestation-key-unfit");
    }
    let case = bench.changed("tpm-quote/gce-cos-85-nonce9009-sha256", |case| remove(case, "ak_pub")).unwrap();
    assert_eq!(code(&case), "attestation-key-unfit");
    let case = bench.changed("keystone/synthetic-a", |case| case["files"]["dev_pub"] = junk.clone()).unwrap();
    assert_eq!(code(&case), "device-key-not-trusted");
    for (id, role) in [("cca/tf-rmm-token-01", "cpak"), ("psa/tf-m-2.0.0", "iak"), ("ear/rust-ear-0", "key")] {
        let case = bench.changed(id, |case| case["files"][role] = junk.clone()).unwrap();
        assert_eq!(code(&case), "key-malformed", "{id}");
    }
}

#[test]
fn an_event_log_without_values_is_parsed_and_replayed() {
    let bench = Bench::new("replay");
    for id in ["tcg-eventlog/arch-linux-workstation", "ccel/gcp-cos-113"] {
        for claims in [Value::Null, json!({}), json!({ "replayed": null })] {
            let without = |case: &mut Value| {
                case["claims"] = claims;
                case["files"].as_object_mut().unwrap().remove("quote");
            };
            let Some(case) = bench.changed(id, without) else { return };
            assert_eq!(code(&case), "affirmed", "{id}");
        }
    }
}

#[test]
fn what_is_expected_of_the_outcome_decides_nothing() {
    let bench = Bench::new("expected");
    let Some(manifest) = manifest() else { return };
    // One of each kind and result.
    let mut seen = std::collections::BTreeSet::new();
    for case in manifest["cases"].as_array().unwrap() {
        if !seen.insert((case["kind"].to_string(), case["expected"]["result"].to_string())) {
            continue;
        }
        let id = case["id"].as_str().unwrap();
        let outcome = |expected: Value| {
            let case = bench.changed(id, |case| case["expected"] = expected).unwrap();
            kinds::run(&case).map(|report| report.outcome)
        };
        let alike = outcome(Value::Null);
        assert_eq!(outcome(case["expected"].clone()), alike, "{id}");
        assert_eq!(outcome(json!({ "result": "accept", "signature": "valid" })), alike, "{id}");
    }
}

#[test]
fn a_token_file_may_end_in_a_line_break_and_a_changed_signature_is_one() {
    let bench = Bench::new("token");
    let Some(case) = bench.changed("ear/veraison-arc-1", |_| {}) else { return };
    let token = String::from_utf8(case.need("token").unwrap()).unwrap();
    let with = |name: &str, token: &str| {
        let file = bench.file(name, token.as_bytes());
        code(&bench.changed("ear/veraison-arc-1", |case| case["files"]["token"] = file).unwrap())
    };
    assert_eq!(with("unix", &format!("{token}\n")), "affirmed");
    assert_eq!(with("dos", &format!("{token}\r\n")), "affirmed");
    assert_eq!(with("before", &format!("\n{token}")), "base64");
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(with("signature", &format!("{signed}.{}", "A".repeat(86))), "signature");
}

#[test]
fn a_result_in_cbor_is_a_cwt() {
    let bench = Bench::new("cwt");
    let keys = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (pair, stranger) = (keys(), keys());
    let appraisal = Appraisal {
        status: Status::Affirming,
        vector: None,
        policy_id: None,
        extensions: std::iter::empty().collect(),
    };
    let ear = Ear {
        profile: "tag:github.com,2023:veraison/ear".to_owned(),
        issued_at: 1_700_000_000,
        expires: None,
        not_before: None,
        issuer: Some("verifier".to_owned()),
        audience: None,
        token_id: None,
        nonces: vec!["AAECAwQFBgc".to_owned()],
        verifier: VerifierId { developer: "a".to_owned(), build: "b".to_owned() },
        confirmation: None,
        submodules: [("vm".to_owned(), appraisal)].into(),
        extensions: std::iter::empty().collect(),
    };
    let sign = |message: &[u8]| pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec());
    let token = bench.file("token.cwt", &ear.to_cwt(attest::keys::Algorithm::Es256, sign).unwrap());
    let spki =
        |pair: &EcdsaKeyPair| AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec();
    let (key, other) = (bench.file("key.der", &spki(&pair)), bench.file("other.der", &spki(&stranger)));
    let outcome = |key: &Value, policy: Value| {
        let files = json!({ "token": token, "key": key });
        let case = json!({ "id": "cwt", "kind": "ear", "dir": "", "files": files, "policy": policy });
        let mut case = bench.case(case);
        case.reference_time = Some("2023-12-01T00:00:00Z".parse().unwrap());
        code(&case)
    };
    assert_eq!(outcome(&key, Value::Null), "affirmed");
    assert_eq!(outcome(&other, Value::Null), "signature");
    for (policy, expected) in [
        (json!({ "expected_nonce": "0001020304050607" }), "affirmed"),
        (json!({ "expected_eat_nonce": "AAECAwQFBgc" }), "affirmed"),
        (json!({ "expected_nonce": "0001020304050608" }), "not-bound"),
        (json!({ "expected_issuer": "verifier" }), "affirmed"),
        (json!({ "expected_issuer": "another" }), "issuer-mismatch"),
        (json!({ "expected_audience": "us" }), "measurement-missing"),
    ] {
        assert_eq!(outcome(&key, policy.clone()), expected, "{policy}");
    }
}

#[test]
fn one_bad_case_is_one_finding() {
    let bench = Bench::new("bad");
    let reasons = Reasons::shipped().unwrap();
    let bad = [
        json!({}),
        json!(null),
        json!("a case"),
        json!({ "id": 7, "kind": "snp", "files": [] }),
        json!({ "id": "a", "kind": "none such" }),
        json!({ "id": "a", "kind": "snp", "dir": "none", "files": { "report": { "path": "none" } } }),
        json!({ "id": "a", "kind": "nitro", "reference_time": "yesterday", "files": {} }),
        json!({ "id": "a", "kind": "tdx", "files": { "quote": { "path": 7 } } }),
    ];
    for case in bad {
        let finding = compare(&bench.case(case.clone()), &reasons, true);
        assert!(matches!(finding.agreement, Agreement::Disagrees(_)), "{case}: {finding:?}");
    }
}
