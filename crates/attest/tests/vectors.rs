//! Quotes and event logs of real machines, each with its exact outcome.
//!
//! The cases `tpm-quote` and `tcg-eventlog` of the manifest under `GLOVEBOX_VECTORS` (default `../shared/vectors`, from the root of
//! the workspace). Absent, the tests say so and pass, except where `CI=true`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use attest::{
    AppraisalError, FormatError, HashAlgorithm, PcrValue,
    event_log::{EventLog, LogFormat, ReplayError},
    tpm::{PublicKey, Quote, check_quote},
};
use serde_json::Value;
use x509_parser::prelude::FromDer;

const BANKS: [HashAlgorithm; 3] = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384];

#[test]
fn quotes_of_real_machines_have_the_expected_outcome() {
    let Some(cases) = Case::all("tpm-quote") else { return };
    assert_eq!(cases.len(), 10);
    for case in cases {
        let expected: Result<(), AppraisalError> = match case.expected("reason") {
            None => Ok(()),
            Some("signature-invalid") => Err(AppraisalError::Signature),
            Some("pcr-digest-mismatch") => Err(AppraisalError::PcrDigest),
            // The quote itself is right; the log is not.
            Some("event-log-replay-mismatch") => Ok(()),
            Some(other) => panic!("unknown reason {other}"),
        };
        let outcome = case.check_quote(&case.bytes("quote_msg"), &case.signature());
        assert_eq!(outcome.as_ref().map(|_| ()), expected.as_ref().map(|_| ()), "{}", case.id);
        assert_eq!(outcome.as_ref().err(), expected.as_ref().err(), "{}", case.id);
        if let Ok(quote) = outcome {
            case.compare(&quote);
        }
        if case.has("event_log") && case.claims["event_log_replays_to_pcrs"] == true {
            let log = EventLog::parse(&case.bytes("event_log")).unwrap();
            let replays = case.values().iter().all(|value| case.replayed(&log, value));
            let spoilt = matches!(case.expected("reason"), Some("event-log-replay-mismatch" | "pcr-digest-mismatch"));
            assert_eq!(replays, !spoilt, "{}", case.id);
        }
    }
}

#[test]
fn a1_every_bit_of_a_real_quote_and_of_its_signature_counts() {
    let Some(cases) = Case::all("tpm-quote") else { return };
    for case in cases.iter().filter(|case| case.expected("result") == Some("accept")) {
        let (quote, signature) = (case.bytes("quote_msg"), case.signature());
        for bit in 0..quote.len() * 8 {
            let refused = case.check_quote(&flip(&quote, bit), &signature);
            assert_eq!(refused, Err(AppraisalError::Signature), "{} bit {bit}", case.id);
        }
        for bit in 0..signature.len() * 8 {
            let refused = case.check_quote(&quote, &flip(&signature, bit)).unwrap_err();
            let format = bit < 6 * 8 && matches!(refused, AppraisalError::Malformed(_));
            assert!(format || refused == AppraisalError::Signature, "{} bit {bit}: {refused:?}", case.id);
        }
    }
}

#[test]
fn a2_real_quotes_and_logs_cut_anywhere_are_refused() {
    let Some(cases) = Case::all("tpm-quote") else { return };
    for case in cases.iter().filter(|case| case.expected("result") == Some("accept")) {
        let quote = case.bytes("quote_msg");
        for size in 0..quote.len() {
            assert!(Quote::parse(&quote[..size]).is_err());
        }
        assert!(Quote::parse(&[quote.as_slice(), &[0]].concat()).is_err());
    }
    let logs = Case::all("tcg-eventlog").unwrap();
    let log = logs.iter().find(|case| case.id == "tcg-eventlog/tpm2-tools-sd-boot").unwrap().bytes("event_log");
    let whole = EventLog::parse(&log).unwrap();
    for size in 0..log.len() {
        // Only at the end of an event does a shorter log parse, and it is then a true beginning of the whole.
        if let Ok(shorter) = EventLog::parse(&log[..size]) {
            assert_eq!(whole.entries()[..shorter.entries().len()], *shorter.entries());
            assert!(shorter.entries().len() < whole.entries().len());
        }
    }
}

#[test]
fn event_logs_of_real_machines_replay_to_the_expected_values() {
    let Some(cases) = Case::all("tcg-eventlog") else { return };
    assert_eq!(cases.len(), 25);
    for case in cases {
        let parsed = EventLog::parse(&case.bytes("event_log"));
        let replays = |log: &EventLog| case.claimed().iter().all(|value| case.replayed(log, value));
        match case.expected("reason") {
            None => {
                let log = parsed.unwrap_or_else(|error| panic!("{}: {error}", case.id));
                case.compare_log(&log);
                assert!(replays(&log), "{}", case.id);
                for bank in log.banks() {
                    assert_eq!(log.check_data(bank), Ok(()), "{}", case.id);
                }
                assert_eq!(EventLog::parse(&log.encode()).as_ref(), Ok(&log));
            }
            Some("replay-mismatch") => assert!(!replays(&parsed.unwrap()), "{}", case.id),
            Some(reason) if reason.starts_with("event-data-digest-mismatch") => {
                let log = parsed.unwrap();
                assert!(replays(&log), "{}", case.id);
                assert!(matches!(log.check_data(HashAlgorithm::Sha256), Err(ReplayError::Data { .. })), "{}", case.id);
            }
            Some("truncated") => {
                assert!(matches!(parsed, Err(FormatError::Truncated { .. })), "{}", case.id);
            }
            Some("length-overflow") => {
                assert!(matches!(parsed, Err(FormatError::Truncated { needed: 0xFFFF_FFFF, .. })), "{}", case.id);
            }
            Some(other) => panic!("unknown reason {other}"),
        }
    }
}

struct Case {
    id: String,
    directory: PathBuf,
    files: Value,
    expected: Value,
    claims: Value,
}

impl Case {
    fn all(kind: &str) -> Option<Vec<Case>> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
        let folder = workspace.join(folder);
        let Ok(manifest) = std::fs::read(folder.join("manifest.json")) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
            println!("skipped: no test vectors at {}", folder.display());
            return None;
        };
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let cases = manifest["cases"].as_array().unwrap().iter().filter(|case| case["kind"] == kind);
        let case = |case: &Value| Case {
            id: case["id"].as_str().unwrap().to_owned(),
            directory: folder.join(case["dir"].as_str().unwrap()),
            files: case["files"].clone(),
            expected: case["expected"].clone(),
            claims: case["claims"].clone(),
        };
        Some(cases.map(case).collect())
    }

    fn has(&self, file: &str) -> bool {
        self.files[file].is_object()
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.directory.join(self.files[file]["path"].as_str().unwrap())).unwrap()
    }

    fn expected(&self, field: &str) -> Option<&str> {
        self.expected[field].as_str()
    }

    /// The signature as a TPMT_SIGNATURE: these are RSASSA with SHA-256.
    fn signature(&self) -> Vec<u8> {
        let raw = self.bytes("quote_sig");
        [&[0x00, 0x14, 0x00, 0x0B][..], &(raw.len() as u16).to_be_bytes(), &raw].concat()
    }

    fn key(&self) -> PublicKey {
        let pem = self.bytes("ak_pub");
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        let (_, spki) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&pem.contents).unwrap();
        let x509_parser::public_key::PublicKey::RSA(rsa) = spki.parsed().unwrap() else { panic!("not RSA") };
        let key = PublicKey::Rsa { modulus: rsa.modulus.strip_prefix(&[0]).unwrap().to_vec() };
        assert_eq!(key.spki(), pem.contents);
        key
    }

    fn values(&self) -> Vec<PcrValue> {
        values(&serde_json::from_slice(&self.bytes("pcrs")).unwrap())
    }

    fn claimed(&self) -> Vec<PcrValue> {
        values(&serde_json::from_value(self.claims["replayed"].clone()).unwrap())
    }

    fn check_quote(&self, quote: &[u8], signature: &[u8]) -> Result<Quote, AppraisalError> {
        let qualifying_data = hex::decode(self.claims["extra_data"].as_str().unwrap()).unwrap();
        check_quote(&self.key(), quote, signature, &qualifying_data, &self.values())
    }

    fn compare(&self, quote: &Quote) {
        let claims = &self.claims;
        assert_eq!(claims["pcr_digest"], hex::encode(&quote.pcr_digest));
        assert_eq!(claims["qualified_signer"], hex::encode(&quote.qualified_signer));
        assert_eq!(claims["clock"], quote.clock);
        assert_eq!(claims["reset_count"], quote.reset_count);
        assert_eq!(claims["restart_count"], quote.restart_count);
        assert_eq!(claims["firmware"], format!("{:016x}", quote.firmware_version));
        let [selection] = quote.selections.as_slice() else { panic!("{}", self.id) };
        assert_eq!(claims["pcr_bank"], selection.bank.name());
        assert_eq!(claims["pcr_selection"], serde_json::to_value(&selection.pcrs).unwrap());
    }

    fn compare_log(&self, log: &EventLog) {
        let header = match log.format() {
            LogFormat::CryptoAgile => 1,
            LogFormat::LegacySha1 => 0,
        };
        // The listed values stop before an event of register 0xFFFFFFFF, which is never extended.
        let count = log.entries().iter().filter(|entry| entry.pcr != u32::MAX).count() + header;
        assert_eq!(self.claims["event_count"], count, "{}", self.id);
        let banks: Vec<&str> = log.banks().into_iter().map(HashAlgorithm::name).collect();
        assert_eq!(self.claims["banks"], serde_json::to_value(banks).unwrap(), "{}", self.id);
    }

    /// Whether a log gives this value, or does not speak of the register: others than the firmware extend some of them.
    fn replayed(&self, log: &EventLog, value: &PcrValue) -> bool {
        log.replay(value.bank).unwrap().get(&value.index).is_none_or(|replayed| *replayed == value.value)
    }
}

fn values(banks: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<PcrValue> {
    let bank = |name: &str| BANKS.into_iter().find(|bank| bank.name() == name).unwrap();
    let value = |name: &str, index: &str, value: &str| PcrValue {
        bank: bank(name),
        index: index.parse().unwrap(),
        value: hex::decode(value).unwrap(),
    };
    banks.iter().flat_map(|(name, pcrs)| pcrs.iter().map(|(pcr, hex)| value(name, pcr, hex))).collect()
}

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    changed
}
