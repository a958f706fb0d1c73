//! A real TPM 2.0 (swtpm), driven by the stock tools: its quotes appraised here and by `tpm2_checkquote`, and its credentials made
//! here and activated there.
//!
//! Where swtpm or tpm2-tools are not installed the tests say so and pass, except where `CI=true`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use attest::{
    AppraisalError, AppraisalPolicy, AttestationResult, Bank, Clock, EndorsementKeys, EndorsementRoot, Endorsements,
    Evidence, HashAlgorithm, PcrValue, PolicyDocument, Tier, TpmEvidence, TpmPolicy, Verifier,
    binding::{BindingParts, ChannelKeys, Purpose},
    credential,
    event_log::EventLog,
    events::{Event, RoleName},
    tpm::{Activation, AkPublic, EkPublic, EnrolledAk, KeyClaim, TpmPublic, check_quote},
};
use envelope::{
    Digest,
    text::{Bytes, Bytes32},
};
use jiff::Timestamp;
use zeroize::Zeroizing;

const BANKS: [HashAlgorithm; 3] = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384];

#[test]
fn row_13_a_credential_is_activated_by_its_tpm_for_every_kind_of_endorsement_key() {
    let Some(tpm) = Tpm::start() else { return };
    for (kind, hash) in [
        ("rsa2048:aes128cfb", "sha256"),
        ("rsa2048:aes128cfb", "sha384"),
        ("rsa3072:aes256cfb", "sha256"),
        ("ecc256:aes128cfb", "sha256"),
        ("ecc384:aes256cfb", "sha384"),
    ] {
        let attributes = "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth";
        tpm.run(&["createprimary", "-C", "e", "-G", kind, "-g", hash, "-a", attributes, "-c", "ek.ctx"]);
        tpm.run(&["readpublic", "-c", "ek.ctx", "-o", "ek.pub"]);
        let ak = tpm.primary_ak("ecc", "ecdsa", "ak");
        let ek = EkPublic::new(TpmPublic::parse(&tpm.read("ek.pub")).unwrap()).unwrap();
        let made = credential::make(&ek, &ak.public().name(), &[0x5A; 32], &Zeroizing::new([0x17; 48])).unwrap();
        tpm.write("credential", &made.to_tool_file());
        let activate = ["activatecredential", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "credential", "-o", "secret"];
        assert!(tpm.try_run(&activate), "{kind} {hash}");
        assert_eq!(tpm.read("secret"), [0x5A; 32], "{kind} {hash}");
        // The digest by which policies list the key is that of what the stock tool prints.
        tpm.run(&["readpublic", "-c", "ek.ctx", "-f", "der", "-o", "ek.der"]);
        assert_eq!(ek.digest(), Digest::of(&tpm.read("ek.der")), "{kind}");
    }
}

#[test]
fn p1_ak_of_another_tpm_fails_activation() {
    let (Some(first), Some(second)) = (Tpm::start(), Tpm::start()) else { return };
    let keys = first.keys("ecc", "ecdsa");
    let foreign = second.keys("ecc", "ecdsa");
    // The certificate and endorsement key of the first TPM with the attestation key of the second.
    let claim = KeyClaim { ak_public: foreign.claim.ak_public.clone(), ..keys.claim.clone() };
    let policy = AppraisalPolicy::new(first.policy(&keys.claim)).unwrap();
    let (secret, seed) = (Zeroizing::new([1; 32]), Zeroizing::new([2; 48]));
    let (_, made) = Activation::begin(claim, &policy, now(), secret, &seed).unwrap();
    assert!(!first.activate(&made), "the first TPM does not have that attestation key");
    assert!(!second.activate(&made), "the second TPM does not have that endorsement key");
    // And a second endorsement key cannot use the first one's certificate.
    let claim = KeyClaim { ek_certificates: keys.claim.ek_certificates, ..foreign.claim };
    let (secret, seed) = (Zeroizing::new([1; 32]), Zeroizing::new([2; 48]));
    let refused = Activation::begin(claim, &policy, now(), secret, &seed).map(|_| ());
    assert_eq!(refused, Err(AppraisalError::CertificateKey));
}

#[test]
fn evidence_of_a_real_tpm_passes_with_every_scheme() {
    for (kind, scheme) in [("ecc", "ecdsa"), ("rsa", "rsassa"), ("rsa", "rsapss")] {
        let Some(tpm) = Tpm::start() else { return };
        let keys = tpm.keys(kind, scheme);
        let enrolled = tpm.enrol(&keys);
        let log = tpm.measure();
        let parts = parts(Purpose::WorkerRelease { agreement: Digest::of(b"agreement"), run: Digest::of(b"run") });
        let evidence = tpm.evidence(&keys, &parts, &log, Some([7; 32]));
        let appraise = |policy: PolicyDocument, evidence: TpmEvidence| {
            let policy = AppraisalPolicy::new(policy).unwrap();
            let endorsements = Endorsements::tpm(enrolled.clone());
            Verifier::appraise(&Evidence::Tpm(evidence), &endorsements, &parts.bind(), &policy, now())
        };
        let policy = tpm.policy(&keys.claim);
        let result: AttestationResult = appraise(policy.clone(), evidence.clone()).unwrap();
        assert_eq!(result.tier(), Tier::SoftwareTpm);
        assert_eq!(result.runs_since_start(), 1);
        let sha384 = PolicyDocument {
            tpm: TpmPolicy { bank: Bank::Sha384, ..policy.tpm.clone() },
            hardware: std::collections::BTreeMap::new(),
            auditors: None,
            ..policy.clone()
        };
        assert!(appraise(sha384, evidence.clone()).is_ok());
        let strict = PolicyDocument { tier_floor: Tier::default(), ..policy };
        let refused = AppraisalError::Tier { floor: Tier::Tpm, actual: Tier::SoftwareTpm };
        assert_eq!(appraise(strict, evidence), Err(refused));
    }
}

#[test]
fn row_20_stock_checkquote_agrees_on_every_mutation() {
    let Some(tpm) = Tpm::start() else { return };
    for (kind, scheme) in [("rsa", "rsassa"), ("ecc", "ecdsa")] {
        let ak = tpm.primary_ak(kind, scheme, "ak");
        tpm.quote("ak", scheme, "sha256:0,8,12", &[0xAB; 32]);
        let (quote, signature, pcrs) = (tpm.read("quote"), tpm.read("signature"), tpm.read("pcrs"));
        let values = tpm.values(&[(HashAlgorithm::Sha256, &[0, 8, 12])]);
        tpm.run(&["pcrextend", &format!("8:sha256={}", "11".repeat(32))]);
        tpm.quote("ak", scheme, "sha256:0,8,12", &[0xAB; 32]);
        let later_pcrs = tpm.read("pcrs");
        let later_values = tpm.values(&[(HashAlgorithm::Sha256, &[0, 8, 12])]);
        let compare = |quote: &[u8], signature: &[u8], nonce: &[u8], later: bool| {
            let (pcrs, values) = if later { (&later_pcrs, &later_values) } else { (&pcrs, &values) };
            let stock = tpm.checkquote("ak", quote, signature, nonce, pcrs);
            let ours = check_quote(ak.public().key(), quote, signature, nonce, values).map(|_| ());
            assert_eq!(stock, ours.is_ok(), "{kind}: stock {stock}, ours {ours:?}");
            ours
        };
        assert_eq!(compare(&quote, &signature, &[0xAB; 32], false), Ok(()));
        assert_eq!(compare(&quote, &signature, &[0xAC; 32], false), Err(AppraisalError::Binding));
        assert_eq!(compare(&quote, &signature, &[0xAB; 32], true), Err(AppraisalError::PcrDigest));
        for at in [0, 5, 40, quote.len() - 1] {
            let mut changed = quote.clone();
            changed[at] ^= 1;
            assert_eq!(compare(&changed, &signature, &[0xAB; 32], false), Err(AppraisalError::Signature));
        }
        for at in [8, 30, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert_eq!(compare(&quote, &changed, &[0xAB; 32], false), Err(AppraisalError::Signature));
        }
    }
}

#[test]
fn rows_16_and_21_known_measurements_give_known_digests() {
    let Some(tpm) = Tpm::start() else { return };
    let data = b"CRITICAL-DATA\n";
    let (sha1, sha256) = (HashAlgorithm::Sha1, HashAlgorithm::Sha256);
    for pcr in 0..3 {
        let digests = BANKS.map(|bank| format!("{}={}", bank.name(), hex::encode(bank.hash(&[data]))));
        tpm.run(&["pcrextend", &format!("{pcr}:{}", digests.join(","))]);
    }
    let values = tpm.values(&[(sha1, &[0, 1, 2]), (sha256, &[0, 1, 2])]);
    assert_eq!(hex::encode_upper(&values[0].value), "A3EBF00F6520B2C85DBBF3D32B6A8B3A30ABB748");
    assert_eq!(hex::encode_upper(&values[3].value), "AF42D77065F4791B6738DA5944E6B4074E3190F0993B5EE5D42DC4FBED424ABA");
    assert_eq!(sha256.extend(&[0; 32], &sha256.hash(&[data])), values[3].value);
    let ak = tpm.primary_ak("ecc", "ecdsa", "ak");
    tpm.quote("ak", "ecdsa", "sha1:0,1,2+sha256:0,1,2", &[1]);
    let quote = check_quote(ak.public().key(), &tpm.read("quote"), &tpm.read("signature"), &[1], &values).unwrap();
    assert_eq!(hex::encode(quote.pcr_digest), "e142247536471d7eab79beb66ce507761e57940883429ebdb50c4450968e6774");
}

fn now() -> Timestamp {
    // The certificates of the software TPM are made while the test runs.
    Timestamp::now()
}

fn parts(purpose: Purpose) -> BindingParts {
    let keys = ChannelKeys { channel: vec![1; 91], encapsulation: vec![2; 1216], signing: [3; 32] };
    BindingParts { purpose, keys, exporter: [4; 32], nonce: [5; 32] }
}

/// A software TPM with a certificate authority of its own, in a folder of its own.
struct Tpm {
    folder: tempfile::TempDir,
    server: Child,
    port: u16,
}

struct Keys {
    claim: KeyClaim,
    scheme: String,
}

impl Tpm {
    fn start() -> Option<Tpm> {
        for tool in ["swtpm", "swtpm_setup", "swtpm_localca", "tpm2_quote"] {
            if Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "`{tool}` is not installed");
                println!("skipped: `{tool}` is not installed");
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        std::fs::create_dir(folder.path().join("ca")).unwrap();
        write("options", "--platform-manufacturer A\n--platform-version 1\n--platform-model B\n".to_owned());
        write(
            "ca.conf",
            format!(
                "statedir={at}/ca\nsigningkey={at}/ca/key.pem\nissuercert={at}/ca/issuer.pem\ncertserial={at}/ca/serial\n"
            ),
        );
        write(
            "setup.conf",
            format!(
                "create_certs_tool=/usr/bin/swtpm_localca\ncreate_certs_tool_config={at}/ca.conf\n\
                 create_certs_tool_options={at}/options\n"
            ),
        );
        let setup = format!(
            "swtpm_setup --tpm2 --tpmstate {at}/state --create-ek-cert --pcr-banks sha1,sha256,sha384 --config {at}/setup.conf"
        );
        let mut words = setup.split(' ');
        let status = Command::new(words.next().unwrap()).args(words).stdout(Stdio::null()).status().unwrap();
        assert!(status.success());
        let port = two_free_ports();
        let server = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={at}/state")])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .spawn()
            .unwrap();
        let tpm = Tpm { folder, server, port };
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port + 1)).is_ok() {
                return Some(tpm);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the software TPM did not start");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    fn run(&self, arguments: &[&str]) {
        assert!(self.try_run(arguments), "tpm2_{}", arguments.join(" "));
    }

    /// Runs a tool of tpm2-tools in the TPM's folder, then removes what it left in the TPM.
    fn try_run(&self, arguments: &[&str]) -> bool {
        let tool = |arguments: &[&str]| {
            Command::new(format!("tpm2_{}", arguments[0]))
                .args(&arguments[1..])
                .env("TPM2TOOLS_TCTI", format!("swtpm:host=127.0.0.1,port={}", self.port))
                .current_dir(self.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        };
        let done = tool(arguments);
        tool(&["flushcontext", "-t"]);
        done
    }

    /// An attestation key that is a primary key; its context is `name`.ctx.
    fn primary_ak(&self, kind: &str, scheme: &str, name: &str) -> AkPublic {
        let kind = match kind {
            "rsa" => format!("rsa2048:{scheme}-sha256:null"),
            _ => format!("ecc256:{scheme}-sha256:null"),
        };
        let attributes = "restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth";
        let (context, public) = (format!("{name}.ctx"), format!("{name}.pub"));
        self.run(&["createprimary", "-C", "e", "-G", &kind, "-a", attributes, "-c", &context]);
        self.run(&["readpublic", "-c", &context, "-o", &public]);
        AkPublic::new(TpmPublic::parse(&self.read(&public)).unwrap()).unwrap()
    }

    /// The certified endorsement key and an attestation key below it.
    fn keys(&self, kind: &str, scheme: &str) -> Keys {
        self.run(&["createek", "-c", "ek.ctx", "-G", "rsa", "-u", "ek.pub"]);
        self.run(&[
            "createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", kind, "-g", "sha256", "-s", scheme, "-u", "ak.pub",
        ]);
        self.run(&["nvread", "0x1c00002", "-o", "ek.der"]);
        let claim = KeyClaim {
            ak_public: Bytes(self.read("ak.pub")),
            ek_public: Bytes(self.read("ek.pub")),
            ek_certificates: vec![Bytes(self.read("ek.der")), Bytes(der(&self.read("ca/issuer.pem")))],
        };
        Keys { claim, scheme: scheme.to_owned() }
    }

    fn policy(&self, claim: &KeyClaim) -> PolicyDocument {
        let certificate = Bytes(der(&self.read("ca/swtpm-localca-rootca-cert.pem")));
        PolicyDocument {
            tier_floor: Tier::SoftwareTpm,
            tpm: TpmPolicy {
                roots: vec![EndorsementRoot { certificate, tier: Tier::SoftwareTpm }],
                endorsement_keys: EndorsementKeys::Listed(vec![claim.ek_digest().unwrap()]),
                bank: Bank::Sha256,
                role: RoleName::try_from("worker").unwrap(),
                binaries: vec![Digest::of(b"binary")],
                reference_values: Vec::new(),
                clock: Clock::Safe,
            },
            hardware: std::collections::BTreeMap::new(),
            auditors: None,
        }
    }

    fn activate(&self, made: &credential::MadeCredential) -> bool {
        self.write("credential", &made.to_tool_file());
        self.run(&["startauthsession", "--policy-session", "-S", "session.ctx"]);
        self.run(&["policysecret", "-S", "session.ctx", "-c", "e"]);
        let keys = ["activatecredential", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "credential", "-o", "secret"];
        let done = self.try_run(&[&keys[..], &["-P", "session:session.ctx"]].concat());
        self.run(&["flushcontext", "session.ctx"]);
        done
    }

    fn enrol(&self, keys: &Keys) -> EnrolledAk {
        let policy = AppraisalPolicy::new(self.policy(&keys.claim)).unwrap();
        let (secret, seed) = (Zeroizing::new([1; 32]), Zeroizing::new([2; 48]));
        let (activation, made) = Activation::begin(keys.claim.clone(), &policy, now(), secret, &seed).unwrap();
        assert!(self.activate(&made));
        let parts = parts(Purpose::WorkerEnrol { ak_name: keys.claim.ak_name().unwrap() });
        let evidence = self.evidence(keys, &parts, &EventLog::new(&BANKS), None);
        activation.complete(&self.read("secret"), &evidence, &parts.bind()).unwrap()
    }

    /// What a launcher and a worker measure.
    fn measure(&self) -> EventLog {
        let mut log = EventLog::new(&BANKS);
        let role = RoleName::try_from("worker").unwrap();
        let run = Event::run(&[7; 32], &Digest::of(b"run"));
        for event in [Event::role(&role, &Digest::of(b"binary")), Event::system_ready(), run] {
            for pcr in event.pcrs() {
                let digests = BANKS.map(|bank| format!("{}={}", bank.name(), hex::encode(event.digest(bank))));
                self.run(&["pcrextend", &format!("{pcr}:{}", digests.join(","))]);
            }
            log.append(&event);
        }
        log
    }

    fn quote(&self, ak: &str, scheme: &str, selection: &str, nonce: &[u8]) {
        let (context, nonce) = (format!("{ak}.ctx"), hex::encode(nonce));
        let what = ["quote", "-c", &context, "-l", selection, "-q", &nonce, "-g", "sha256", "--scheme", scheme];
        self.run(&[&what[..], &["-m", "quote", "-s", "signature", "-o", "pcrs"]].concat());
    }

    fn checkquote(&self, ak: &str, quote: &[u8], signature: &[u8], nonce: &[u8], pcrs: &[u8]) -> bool {
        for (name, bytes) in [("checked", quote), ("checked.sig", signature), ("checked.pcrs", pcrs)] {
            self.write(name, bytes);
        }
        let (public, nonce) = (format!("{ak}.pub"), hex::encode(nonce));
        let files = ["checkquote", "-u", &public, "-m", "checked", "-s", "checked.sig", "-f", "checked.pcrs"];
        self.try_run(&[&files[..], &["-g", "sha256", "-q", &nonce]].concat())
    }

    fn values(&self, selection: &[(HashAlgorithm, &[u8])]) -> Vec<PcrValue> {
        let mut values = Vec::new();
        for (bank, pcrs) in selection {
            for index in *pcrs {
                self.run(&["pcrread", &format!("{}:{index}", bank.name()), "-o", "value"]);
                values.push(PcrValue { bank: *bank, index: *index, value: self.read("value") });
            }
        }
        values
    }

    fn evidence(&self, keys: &Keys, parts: &BindingParts, log: &EventLog, salt: Option<[u8; 32]>) -> TpmEvidence {
        self.quote("ak", &keys.scheme, "sha256:0,8,12+sha384:8,12", parts.bind().sha256());
        TpmEvidence {
            ak_public: keys.claim.ak_public.0.clone(),
            quote: self.read("quote"),
            signature: self.read("signature"),
            pcrs: self.values(&[(HashAlgorithm::Sha256, &[0, 8, 12]), (HashAlgorithm::Sha384, &[8, 12])]),
            event_log: log.encode(),
            run_salt: salt.map(Bytes32),
        }
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn der(pem: &[u8]) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(pem).unwrap().1.contents
}

fn two_free_ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no two free ports");
}
