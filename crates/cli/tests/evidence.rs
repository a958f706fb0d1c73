//! `glovebox evidence` on Evidence of real machines: what it says, and how it exits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// The corpus, or `None` where it is not here.
fn corpus() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
    let folder = workspace.join(folder);
    if folder.join("manifest.json").is_file() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
    println!("skipped: no test vectors at {}", folder.display());
    None
}

fn glovebox(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glovebox")).args(arguments).output().unwrap()
}

/// Appraises the files of one case at its time.
fn appraise(case: &str, at: &str, more: &[&str]) -> (Option<i32>, Value) {
    let folder = corpus().unwrap().join(case);
    let arguments = [&["--json", "evidence", "appraise", folder.to_str().unwrap(), "--at", at], more].concat();
    let output = glovebox(&arguments);
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|_| panic!("{case}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), document)
}

#[test]
fn genuine_evidence_of_any_platform_is_told_step_by_step() {
    if corpus().is_none() {
        return;
    }
    let cases = [
        ("snp/attestation-rs-live-evidence-genoa", "2026-03-21T23:50:30Z", "sev-snp", "confidential-vm", 7),
        ("tdx/dstack-attestation", "2026-03-11T03:08:59Z", "tdx", "confidential-vm", 13),
        ("azure-snp-vtpm/trustee-evidence-genoa", "2025-02-23T02:21:48Z", "azure-snp", "confidential-vm", 4),
        ("azure-tdx-vtpm/attestation-rs-live", "2026-03-31T22:20:07Z", "azure-tdx", "confidential-vm", 4),
        ("gcp-vtpm/vaportpm-gcp-amd", "2026-02-03T06:57:47Z", "gcp-vtpm", "tpm", 4),
    ];
    for (case, at, platform, tier, steps) in cases {
        let (status, document) = appraise(case, at, &[]);
        assert_eq!(status, Some(0), "{case}: {document}");
        assert_eq!(document["verdict"], "genuine", "{case}");
        assert_eq!(document["platform"], platform, "{case}");
        assert_eq!(document["tier"], tier, "{case}");
        assert_eq!(document["steps"].as_array().unwrap().len(), steps, "{case}");
    }
}

#[test]
fn refused_evidence_names_the_step_the_reason_and_a_remedy() {
    if corpus().is_none() {
        return;
    }
    let cases = [
        ("snp/trustee-turin-report-neg-sig", "2026-07-28T08:56:51Z", Some(5), "report-signature-invalid"),
        ("tdx/go-tdx-guest-cos-113-tdx-quote-neg-body", "2024-12-18T12:54:11Z", Some(6), "quote-signature"),
        ("azure-tdx-vtpm/attestation-rs-live-neg-akswap", "2026-03-31T22:20:07Z", Some(2), "hcl-binding-mismatch"),
        // Genuine, and the maker warns.
        ("sgx/dcap-qvl-sgx-quote", "2025-07-04T10:28:44Z", None, "not-affirmed"),
        // Genuine, of a generation that the defaults refuse.
        ("snp/trustee-test-report", "2023-02-23T17:58:26Z", None, "generation-not-accepted"),
        ("nitro/dstack-nitro-attestation-2", "2035-01-01T00:00:00Z", Some(3), "certificate-expired"),
    ];
    for (case, at, step, code) in cases {
        let (status, document) = appraise(case, at, &[]);
        assert_eq!(status, Some(1), "{case}: {document}");
        assert_eq!(document["failed"]["code"], code, "{case}: {document}");
        assert_eq!(document["failed"]["step"].as_u64(), step, "{case}");
        assert!(document["failed"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{case}");
    }
    let (status, document) =
        appraise("snp/attestation-rs-live-evidence-genoa", "2026-03-21T23:50:30Z", &["--nonce", "00"]);
    assert_eq!((status, &document["failed"]["code"]), (Some(1), &Value::from("not-bound")));
}

#[test]
fn reference_values_are_stated_of_a_program_and_of_no_corim_that_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (home, out) = (path("home"), path("out.reference"));
    assert!(glovebox(&["--home", &home, "init", "--name", "auditor"]).status.success());
    std::fs::write(folder.path().join("program"), "a program").unwrap();
    let state = |more: &[&str]| {
        let given = ["--json", "--home", &home, "evidence", "reference", "--out", &out, "--what", "a build"];
        glovebox(&[given.as_slice(), more].concat())
    };
    let output = state(&["--program", &path("program"), "--register", "pcr8"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let registers = document["values"]["measurements"].as_object().unwrap();
    assert_eq!(registers.keys().collect::<Vec<_>>(), ["pcr8"]);
    // Not twice over one another, nothing without an end, and nothing that begins after it.
    assert_eq!(state(&["--program", &path("program")]).status.code(), Some(1));
    let over = state(&["--program", &path("program"), "--force", "--expires", "2020-01-01T00:00:00Z"]);
    assert_ne!(over.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&over.stdout).contains("which is not after they begin"), "{over:?}");
    let Some(corpus) = corpus() else { return };
    let file = |name: &str| corpus.join("corim/signed-valid-tc").join(name).to_str().unwrap().to_owned();
    let import = ["--corim", &file("corim.cbor"), "--corim-key", &file("signer.jwk"), "--platform", "psa", "--force"];
    let expired = state(&import);
    assert!(String::from_utf8_lossy(&expired.stdout).contains("the CoRIM is refused (expired)"), "{expired:?}");
    let ended = state(&[import.as_slice(), &["--at", "2025-06-01T00:00:00Z"]].concat());
    assert!(String::from_utf8_lossy(&ended.stdout).contains("which is not after they begin"), "{ended:?}");
}

#[test]
fn what_is_no_evidence_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("note.txt");
    std::fs::write(&file, "hello").unwrap();
    let output = glovebox(&["evidence", "appraise", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("none of the files is Evidence") && words.contains("\nhint: "), "{words}");
    let output = glovebox(&["evidence", "show", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("not known"));
}

const TCB: &str = "tdx/tcb/00806f050000";
/// A quote whose documents have the number 19, and such a document with the number 21; when both count.
const WITH_19: &str = "tdx/attested-tls-gcp-tdx-1782809233226668671";
const WITH_21: &str = "tdx/attested-tls-gcp-tdx-1782809233226668671-eval21-202606";
const BOTH: &str = "2026-07-05T00:00:00Z";

/// A cache that has seen the document with the number 21.
fn cache_with_21() -> tempfile::TempDir {
    let case = corpus().unwrap().join(WITH_21);
    let directory = tempfile::tempdir().unwrap();
    let store = endorsements::Store::open(directory.path(), endorsements::Anchors::shipped()).unwrap();
    let now = BOTH.parse().unwrap();
    let received = endorsements::Received {
        body: std::fs::read(case.join("tcb_info.json")).unwrap(),
        chain: Some(std::fs::read_to_string(case.join("tcb_signing_chain.pem")).unwrap()),
        fetched: now,
    };
    store.put(&TCB.parse().unwrap(), &received, now).unwrap();
    directory
}

#[test]
fn t5_files_do_not_bring_back_what_a_cache_has_seen_to_be_replaced() {
    if corpus().is_none() {
        return;
    }
    let number = |document: &Value| {
        let claims = document["claims"].as_array().unwrap();
        claims.iter().find(|claim| claim["name"] == "tcb_evaluation_data_number").map(|claim| claim["value"].clone())
    };
    let (_, alone) = appraise(WITH_19, BOTH, &[]);
    assert_eq!(number(&alone), Some("19".into()), "{alone}");
    let cache = cache_with_21();
    let named = ["--endorsements", cache.path().to_str().unwrap()];
    // The cache's own document counts, whatever the files hold.
    let (_, document) = appraise(WITH_19, BOTH, &named);
    assert_eq!(number(&document), Some("21".into()), "{document}");
    // It is gone, and its number is not.
    std::fs::remove_file(cache.path().join("objects/tdx~tcb~00806f050000.json")).unwrap();
    let (status, document) = appraise(WITH_19, BOTH, &named);
    assert_eq!((status, &document["failed"]["code"]), (Some(1), &Value::from("tcb-evaluation-older")), "{document}");
    // Numbers that cannot be read are not taken for none.
    std::fs::write(cache.path().join("floors.json"), "{").unwrap();
    let folder = corpus().unwrap().join(WITH_19);
    let output = glovebox(&[&["evidence", "appraise", folder.to_str().unwrap(), "--at", BOTH], &named[..]].concat());
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_cache_is_refused_where_the_platform_has_no_use_for_it() {
    let Some(corpus) = corpus() else { return };
    let cache = cache_with_21();
    let folder = corpus.join("nvidia-gpu/hopper-550.90");
    let output =
        glovebox(&["evidence", "appraise", folder.to_str().unwrap(), "--endorsements", cache.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("a cache of Endorsements has nothing for it") && words.contains("\nhint: "), "{words}");
}

#[test]
fn a6_an_empty_nonce_is_no_nonce() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("nitro/dstack-nitro-attestation-2");
    for nonce in ["", "0"] {
        let output = glovebox(&["evidence", "appraise", folder.to_str().unwrap(), "--nonce", nonce]);
        assert_eq!(output.status.code(), Some(2), "{nonce}");
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.contains("the nonce is") && words.contains("\nhint: "), "{words}");
    }
}

#[test]
fn reference_values_are_stated_of_affirmed_evidence_only() {
    let Some(corpus) = corpus() else { return };
    // Genuine, and the maker warns.
    let folder = corpus.join("sgx/dcap-qvl-sgx-quote");
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("values.json");
    let named = ["--at", "2025-07-04T10:28:44Z", "--what", "x", "--out", out.to_str().unwrap()];
    let output = glovebox(&[&["evidence", "reference", folder.to_str().unwrap()], &named[..]].concat());
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && words.contains("genuine and not affirmed"), "{words}");
    assert!(!out.exists());
}

/// What is said of the files of one case, with the exit status.
fn said(case: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let folder = corpus().unwrap().join(case);
    let output = glovebox(&[&["evidence", "appraise", folder.to_str().unwrap()], more].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const GENOA: (&str, &str) = ("snp/attestation-rs-live-evidence-genoa", "2026-03-21T23:50:30Z");
const MILAN: (&str, &str) = ("snp/trustee-test-report", "2023-02-23T17:58:26Z");

#[test]
fn what_is_known_and_no_evidence_is_told_by_name() {
    if corpus().is_none() {
        return;
    }
    for (case, told) in [
        ("ear/rust-ear-0", "holds an EAR: an Attestation Result in a JWT; another Verifier made it already"),
        ("eat/azure-maa", "holds a JWT; it is the word of a service about Evidence that it saw"),
        (
            "risc0/groth16-v3.0",
            "holds the parameters of a RISC Zero receipt; the library alone examines such a receipt",
        ),
        ("ibm-se/good", "holds X.509 certificates; that says whose a key is, and nothing of what runs"),
        ("gcp-vtpm/openpcc-ak-chain", "holds X.509 certificates; that says whose a key is, and nothing of what runs"),
        ("ima/keylime-sha1", "holds a log of IMA; nothing signs it but a quote of its registers"),
        (
            "nvidia-rim/1010-0205-862-9600740020-prod",
            "holds a manifest of Reference Values (RIM); that says what would be",
        ),
    ] {
        let (status, _, words) = said(case, &[]);
        assert_eq!(status, Some(2), "{case}");
        assert!(words.contains(told) && words.contains("\nhint: "), "{case}: {words}");
    }
}

#[test]
fn a_log_beside_a_trust_domains_quote_is_held_against_its_registers() {
    if corpus().is_none() {
        return;
    }
    for (case, code) in [
        ("ccel/gcp-cos-113", "not-affirmed"),
        ("ccel/gcp-cos-113-neg-drop", "replay-mismatch"),
        ("ccel/gcp-cos-113-neg-digest", "replay-mismatch"),
        ("ccel/gcp-cos-113-neg-eventdata", "event-data-mismatch"),
    ] {
        let (status, told) = appraise(case, "2024-12-18T12:54:11Z", &[]);
        assert_eq!((status, &told["failed"]["code"]), (Some(1), &Value::from(code)), "{case}: {told}");
    }
}

#[test]
fn evidence_under_a_key_that_nobody_ships_takes_one_that_is_named() {
    let Some(corpus) = corpus() else { return };
    let file = |case: &str, name: &str| corpus.join(case).join(name).to_str().unwrap().to_owned();
    let quote = "tpm-quote/gce-cos-85-nonce9009-sha256";
    let (status, _, words) = said(quote, &[]);
    assert_eq!(status, Some(2));
    assert!(
        words.contains("nothing here vouches for its attestation key\nhint: `glovebox evidence appraise --key"),
        "{words}"
    );
    let key = file(quote, "ak_pub.pem");
    let (status, document) = appraise(quote, "2026-01-01T00:00:00Z", &["--key", &key, "--nonce", "9009"]);
    assert_eq!((status, &document["tier"]), (Some(0), &Value::from("software-tpm")), "{document}");
    // Not even a policy that accepts any TPM accepts it, unless it says so.
    let directory = tempfile::tempdir().unwrap();
    let pcr0 = document["registers"].as_array().unwrap().iter().find(|register| register["name"] == "pcr0").unwrap();
    let policy = directory.path().join("policy.toml");
    for (floor, outcome) in [("", "tier-too-low"), ("tier_floor = \"software-tpm\"\n", "")] {
        let text = format!("{floor}hardware = \"any\"\n[measurements]\npcr0 = [{}]\n", pcr0["value"]);
        std::fs::write(&policy, text).unwrap();
        let asked = ["--key", &key, "--nonce", "9009", "--policy", policy.to_str().unwrap()];
        let (_, document) = appraise(quote, "2026-01-01T00:00:00Z", &asked);
        assert_eq!(document["failed"]["code"].as_str().unwrap_or_default(), outcome, "{document}");
    }
    for case in ["-neg-sig", "-neg-pcr", "-neg-eventlog"] {
        let (status, document) = appraise(&format!("{quote}{case}"), "2026-01-01T00:00:00Z", &["--key", &key]);
        assert_eq!((status, &document["verdict"]), (Some(1), &Value::from("refused")), "{case}");
    }
    let (_, words, _) = said(quote, &["--key", &key]);
    assert!(words.starts_with("genuine under a key that you named; neither a nonce nor a policy was given"), "{words}");
    let keystone = "keystone/synthetic-a";
    assert!(said(keystone, &[]).2.contains("hint: `glovebox evidence appraise --key FILE`"));
    let device = file(keystone, "dev_public_key.bin");
    let (status, document) = appraise(keystone, "2026-01-01T00:00:00Z", &["--key", &device]);
    assert_eq!((status, &document["platform"], &document["tier"]), (Some(0), &"keystone".into(), &"tpm".into()));
    let (status, document) =
        appraise("keystone/synthetic-a-neg-enclavesig", "2026-01-01T00:00:00Z", &["--key", &device]);
    assert_eq!((status, &document["failed"]["code"]), (Some(1), &"enclave-signature-invalid".into()));
    // A key is never left aside.
    let (status, _, words) = said(keystone, &["--key", &key]);
    assert_eq!(status, Some(2));
    assert!(words.contains("a file named with `--key` does not hold a device's key of 32 bytes"), "{words}");
    let (status, _, words) = said(GENOA.0, &["--key", &key]);
    assert_eq!(status, Some(2));
    assert!(words.contains("so a key that you name has no place"), "{words}");
}

#[test]
fn the_verdict_comes_first_and_milan_is_told_what_would_admit_it() {
    if corpus().is_none() {
        return;
    }
    let (status, words, _) = said(MILAN.0, &["--at", MILAN.1]);
    assert_eq!(status, Some(1));
    let first: Vec<&str> = words.lines().take(5).collect();
    assert_eq!(
        first,
        [
            "refused (generation-not-accepted): the chip is of the generation Milan, which is accepted only where a policy names it",
            "hint: to admit it, write `[snp]` and below it `generations = [\"milan\"]` in a policy (`--policy FILE`)",
            "",
            "a report of SEV-SNP (version 2)",
            "  1. passed: the report is of version 2 and well formed",
        ]
    );
    assert!(words.contains("\n  7. passed: "), "{words}");
    let (status, words, _) = said(GENOA.0, &["--at", GENOA.1]);
    assert_eq!(status, Some(0));
    let verdict = "genuine as far as can be told without the makers' revocation lists; neither a nonce nor a policy was given, so it is \
                   bound to nothing here";
    assert_eq!(words.lines().next(), Some(verdict));
    // What was measured is told once.
    let measured = words.lines().find_map(|line| line.strip_prefix("measured   measurement ")).unwrap();
    assert_eq!(words.matches(measured).count(), 1);
}

#[test]
fn one_value_is_spelt_alike_by_show_and_by_appraise() {
    let Some(corpus) = corpus() else { return };
    let output = glovebox(&["evidence", "show", corpus.join(GENOA.0).to_str().unwrap()]);
    let shown = String::from_utf8(output.stdout).unwrap();
    let (_, appraised, _) = said(GENOA.0, &["--at", GENOA.1]);
    for (name, value) in [
        ("current_tcb", "0x1b1b00000000000a"),
        ("reported_tcb", "0x1b1b00000000000a"),
        ("platform_info", "0x0000000000000025"),
    ] {
        assert!(shown.contains(&format!("  {name:<24} {value}  (")), "{shown}");
        assert!(appraised.contains(&format!("claim      {name} = {value}  (")), "{appraised}");
    }
    assert!(shown.contains(&format!("  {:<24} 0x0000000000030000", "policy")), "{shown}");
    assert!(appraised.contains("measured   policy 0000000000030000\n"), "{appraised}");
    let (_, document) = appraise(GENOA.0, GENOA.1, &[]);
    let policy = document["claims"].as_array().unwrap().iter().find(|claim| claim["name"] == "policy").unwrap();
    assert_eq!(policy["value"], "0x0000000000030000");
    assert!(shown.contains(&format!("  {:<24} 00  (its number", "0.serial")), "{shown}");
}

#[test]
fn a6_a_policy_without_a_nonce_admits_nothing() {
    let Some(corpus) = corpus() else { return };
    // The text of the specification.
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/appraisal.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, sample) = page.split_once("```toml\n").unwrap();
    let (sample, _) = sample.split_once("```").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.toml");
    std::fs::write(&policy, sample).unwrap();
    let asked = ["--policy", policy.to_str().unwrap()];
    let (status, document) = appraise(GENOA.0, GENOA.1, &asked);
    assert_eq!((status, &document["failed"]["code"]), (Some(1), &"nonce-missing".into()), "{document}");
    let (_, words, _) = said(GENOA.0, &[&asked[..], &["--at", GENOA.1]].concat());
    let first = "refused (nonce-missing): it is as the policy asks, on the tier confidential-vm, and is bound to nothing here: it may be replayed\n\
                 hint: give what this exchange must have bound into it with `--nonce HEX`\n";
    assert!(words.starts_with(first), "{words}");
    let report = std::fs::read(corpus.join(GENOA.0).join("report.bin")).unwrap();
    let bound: String = report[0x50..0x90].iter().map(|byte| format!("{byte:02x}")).collect();
    let (status, document) = appraise(GENOA.0, GENOA.1, &[&asked[..], &["--nonce", &bound]].concat());
    assert_eq!((status, &document["verdict"]), (Some(0), &"appraised".into()), "{document}");
    // What the sample does not name is not admitted.
    let (status, document) = appraise(MILAN.0, MILAN.1, &asked);
    assert_eq!((status, &document["failed"]["code"]), (Some(1), &"generation-not-accepted".into()));
    std::fs::write(&policy, sample.replace("d9912ba3", "d9912ba4")).unwrap();
    let (status, document) = appraise(GENOA.0, GENOA.1, &[&asked[..], &["--nonce", &bound]].concat());
    assert_eq!((status, &document["failed"]["code"]), (Some(1), &"measurement-refused".into()));
}
