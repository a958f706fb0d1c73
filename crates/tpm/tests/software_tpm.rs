//! Commands against a real swtpm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bench, available, bench, run};
use tpm::{
    Address, AttestationKey, EndorsementKey, EndorsementKind, HashAlgorithm, KeyKind, MAX_SEALED, PcrSelection,
    SealedBlob, SoftwareTpm, SoftwareTpmError, Tpm, TpmError,
};

fn select(text: &str) -> PcrSelection {
    text.parse().unwrap()
}

#[test]
fn it_describes_itself() {
    let Some(mut bench) = bench() else { return };
    let description = bench.tpm.description().unwrap();
    assert!(description.is_software(), "{description:?}");
    assert_eq!(description.manufacturer, "IBM");
    assert_eq!(description.banks, [HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
    assert_eq!(bench.tpm.random(100).unwrap().len(), 100);
    assert_ne!(bench.tpm.random(32).unwrap(), bench.tpm.random(32).unwrap());
    let first = bench.tpm.clock().unwrap();
    let second = bench.tpm.clock().unwrap();
    assert!(second.milliseconds >= first.milliseconds && second.reset_count == first.reset_count);
}

#[test]
fn a_small_value_is_written_to_nv_and_read_back() {
    let Some(mut bench) = bench() else { return };
    let index = 0x0140_0002;
    assert_eq!(bench.tpm.read_nv(index).unwrap(), None);
    bench.tpm.write_nv(index, &[7; 64]).unwrap();
    bench.tpm.write_nv(index, &[8; 64]).unwrap();
    assert_eq!(bench.tpm.read_nv(index).unwrap(), Some(vec![8; 64]));
    assert!(matches!(bench.tpm.write_nv(index, &[9; 65]), Err(TpmError::Refused { .. })));
}

#[test]
fn the_endorsement_key_is_the_certified_one_and_chains_to_its_authority() {
    let Some(mut bench) = bench() else { return };
    let preferred = bench.tpm.endorsement_key().unwrap();
    assert_eq!(preferred.kind, EndorsementKind::EccP384);
    let authority = SoftwareTpm::ca_certificates(bench.authority.path()).unwrap();
    let issuer = x509_parser::parse_x509_certificate(&authority[1]).unwrap().1;
    let root = x509_parser::parse_x509_certificate(&authority[0]).unwrap().1;
    assert_eq!(issuer.issuer(), root.subject());
    for kind in [EndorsementKind::EccP384, EndorsementKind::Rsa2048] {
        let key = bench.tpm.endorsement_key_of(kind).unwrap().unwrap();
        let der = key.certificate.unwrap();
        let (rest, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(rest.is_empty());
        assert_eq!(certificate.issuer(), issuer.subject());
    }
    assert_eq!(bench.tpm.endorsement_key_of(EndorsementKind::EccP256).unwrap(), None);
}

/// A credential by the stock tool: the contents of TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.
fn stock_credential(bench: &Bench, endorsement: &EndorsementKey, name: &[u8], secret: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let dir = bench.files.path();
    let length = u16::try_from(endorsement.public.len()).unwrap().to_be_bytes();
    std::fs::write(dir.join("ek.pub"), [&length[..], &endorsement.public].concat()).unwrap();
    std::fs::write(dir.join("secret"), secret).unwrap();
    let name = hex::encode(name);
    let arguments = ["-Q", "-T", "none", "-u", "ek.pub", "-s", "secret", "-n", &name, "-o", "credential"];
    let (good, printed) = run(dir, "tpm2_makecredential", &arguments);
    assert!(good, "{printed}");
    let file = std::fs::read(dir.join("credential")).unwrap();
    let first = 10 + usize::from(u16::from_be_bytes([file[8], file[9]]));
    (file[8..first].to_vec(), file[first..].to_vec())
}

fn activate(bench: &mut Bench, ek: &EndorsementKey, ak: &AttestationKey, made_for: &[u8]) -> Result<Vec<u8>, TpmError> {
    let (object, secret) = stock_credential(bench, ek, made_for, b"sixteen or more!");
    bench.tpm.activate_credential(ek, ak, &object, &secret).map(|opened| opened.to_vec())
}

#[test]
fn a_credential_for_both_keys_opens() {
    let Some(mut bench) = bench() else { return };
    if !available("tpm2_makecredential") {
        return;
    }
    let ak = bench.tpm.attestation_key(KeyKind::EccP256).unwrap();
    for kind in [EndorsementKind::Rsa2048, EndorsementKind::EccP384] {
        let ek = bench.tpm.endorsement_key_of(kind).unwrap().unwrap();
        let opened = activate(&mut bench, &ek, &ak, ak.name()).unwrap();
        assert_eq!(opened, b"sixteen or more!", "{kind:?}");
    }
}

#[test]
fn p1_ak_of_another_tpm_fails_activation() {
    let (Some(mut one), Some(mut other)) = (bench(), bench()) else {
        return;
    };
    if !available("tpm2_makecredential") {
        return;
    }
    let own = one.tpm.attestation_key(KeyKind::EccP256).unwrap();
    let foreign = other.tpm.attestation_key(KeyKind::EccP256).unwrap();
    for kind in [EndorsementKind::Rsa2048, EndorsementKind::EccP384] {
        let ek = one.tpm.endorsement_key_of(kind).unwrap().unwrap();
        // Made for this TPM's endorsement key and the other's attestation key: here the names differ ...
        let refused = activate(&mut one, &ek, &own, foreign.name());
        assert!(matches!(refused, Err(TpmError::CredentialRefused { .. })), "{refused:?}");
        // ... and the other TPM, which has that attestation key, has not the endorsement key.
        let (object, secret) = stock_credential(&one, &ek, foreign.name(), b"sixteen or more!");
        let its = other.tpm.endorsement_key_of(kind).unwrap().unwrap();
        let refused = other.tpm.activate_credential(&its, &foreign, &object, &secret);
        assert!(matches!(refused, Err(TpmError::CredentialRefused { .. })), "{refused:?}");
        other.tpm.clock().expect("the other TPM works on");
        let refused = other.tpm.activate_credential(&ek, &foreign, &object, &secret);
        assert!(matches!(refused, Err(TpmError::ForeignBlob)), "{refused:?}");
    }
}

#[test]
fn an_altered_credential_is_refused() {
    let Some(mut bench) = bench() else { return };
    if !available("tpm2_makecredential") {
        return;
    }
    let ak = bench.tpm.attestation_key(KeyKind::EccP256).unwrap();
    let ek = bench.tpm.endorsement_key().unwrap();
    let (object, secret) = stock_credential(&bench, &ek, ak.name(), b"sixteen or more!");
    for position in 2..object.len() {
        let mut altered = object.clone();
        altered[position] ^= 1;
        let refused = bench.tpm.activate_credential(&ek, &ak, &altered, &secret);
        assert!(matches!(refused, Err(TpmError::CredentialRefused { .. })), "{position}: {refused:?}");
    }
}

#[test]
fn a_credential_with_a_wrong_length_is_malformed() {
    let Some(mut bench) = bench() else { return };
    let ak = bench.tpm.attestation_key(KeyKind::EccP256).unwrap();
    let ek = bench.tpm.endorsement_key().unwrap();
    for (object, secret, expected) in [
        (&[0, 2, 1][..], &[0, 0][..], "TPM2B_ID_OBJECT"),
        (&[0, 1, 1], &[0, 1, 1, 1], "TPM2B_ENCRYPTED_SECRET"),
        (&[0, 1, 1], &[], "TPM2B_ENCRYPTED_SECRET"),
    ] {
        let refused = bench.tpm.activate_credential(&ek, &ak, object, secret);
        assert!(matches!(refused, Err(TpmError::CredentialMalformed { what }) if what == expected), "{refused:?}");
    }
}

#[test]
fn an_attestation_key_is_saved_and_loaded_by_its_own_tpm_only() {
    let (Some(mut one), Some(mut other)) = (bench(), bench()) else {
        return;
    };
    for kind in [KeyKind::EccP256, KeyKind::Rsa2048] {
        let key = one.tpm.attestation_key(kind).unwrap();
        let text = serde_json::to_string(key.saved()).unwrap();
        let (name, public) = (key.name().to_vec(), key.public().to_vec());
        one.tpm.flush(key).unwrap();
        let saved = serde_json::from_str(&text).unwrap();
        let again = one.tpm.load(&saved).unwrap();
        assert_eq!((again.name(), again.public()), (&name[..], &public[..]));
        one.tpm.flush(again).unwrap();
        let refused = other.tpm.load(&saved);
        assert!(matches!(refused, Err(TpmError::ForeignBlob)), "{refused:?}");
    }
}

#[test]
fn critical_data_extends_both_banks_to_the_published_values() {
    let Some(mut bench) = bench() else { return };
    for index in 0..3 {
        bench.tpm.measure(index, b"CRITICAL-DATA\n").unwrap();
    }
    let selection = select("sha1:0,1,2+sha256:0,1,2");
    let values = bench.tpm.read_pcrs(&selection).unwrap();
    let registers: Vec<_> = values.iter().map(|value| (value.bank, value.index)).collect();
    assert_eq!(registers, selection.registers().collect::<Vec<_>>());
    let joined: Vec<u8> = values.iter().flat_map(|value| value.value.clone()).collect();
    let digest = "e142247536471d7eab79beb66ce507761e57940883429ebdb50c4450968e6774";
    assert_eq!(hex::encode(HashAlgorithm::Sha256.hash(&[&joined])), digest);
    let key = bench.tpm.attestation_key(KeyKind::EccP256).unwrap();
    let quote = bench.tpm.quote(&key, &[7; 32], &selection).unwrap();
    assert!(hex::encode(&quote.attest).ends_with(&format!("0020{digest}")));
}

#[test]
fn many_registers_are_read_in_the_order_of_the_selection() {
    let Some(mut bench) = bench() else { return };
    let selection = select("sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,23+sha1:0,1,2,3,4,5,6,7,8,9,10");
    let values = bench.tpm.read_pcrs(&selection).unwrap();
    let registers: Vec<_> = values.iter().map(|value| (value.bank, value.index)).collect();
    assert_eq!(registers, selection.registers().collect::<Vec<_>>());
    assert!(matches!(
        bench.tpm.read_pcrs(&select("sha256:3+sha384:8")),
        Err(TpmError::InactiveBank { bank: HashAlgorithm::Sha384, index: 8 })
    ));
    assert!(matches!(
        bench.tpm.extend(8, &[(HashAlgorithm::Sha256, &[0; 20])]),
        Err(TpmError::DigestLength { bank: HashAlgorithm::Sha256, length: 20 })
    ));
}

#[test]
fn stock_checkquote_agrees_on_our_quotes() {
    let Some(mut bench) = bench() else { return };
    if !available("tpm2_checkquote") {
        return;
    }
    let dir = bench.files.path().to_owned();
    bench.tpm.measure(8, b"a role").unwrap();
    for kind in [KeyKind::EccP256, KeyKind::Rsa2048] {
        let key = bench.tpm.attestation_key(kind).unwrap();
        let quote = bench.tpm.quote(&key, &[0xab; 32], &select("sha256:0,8,12")).unwrap();
        let length = u16::try_from(key.public().len()).unwrap().to_be_bytes();
        std::fs::write(dir.join("ak.pub"), [&length[..], key.public()].concat()).unwrap();
        bench.tpm.flush(key).unwrap();
        std::fs::write(dir.join("quote"), &quote.attest).unwrap();
        std::fs::write(dir.join("signature"), &quote.signature).unwrap();
        let check = |nonce: &str| {
            run(
                &dir,
                "tpm2_checkquote",
                &["-u", "ak.pub", "-m", "quote", "-s", "signature", "-g", "sha256", "-q", nonce],
            )
        };
        let (good, printed) = check(&"ab".repeat(32));
        assert!(good, "{printed}");
        assert!(!check(&"ac".repeat(32)).0);
        let mut altered = quote.attest.clone();
        *altered.last_mut().unwrap() ^= 1;
        std::fs::write(dir.join("quote"), &altered).unwrap();
        assert!(!check(&"ab".repeat(32)).0);
    }
}

#[test]
fn sealed_secrets_open_until_a_register_changes() {
    let Some(mut bench) = bench() else { return };
    let secret = [0x5a; MAX_SEALED];
    let blob = bench.tpm.seal(&secret, &select("sha256:8,12")).unwrap();
    let text = serde_json::to_string(&blob).unwrap();
    assert!(!text.contains(&hex::encode([0x5a; 8])));
    let blob: SealedBlob = serde_json::from_str(&text).unwrap();
    assert_eq!(bench.tpm.unseal(&blob).unwrap().as_slice(), secret);
    bench.tpm.measure(9, b"another register").unwrap();
    assert_eq!(bench.tpm.unseal(&blob).unwrap().as_slice(), secret);
    bench.tpm.measure(12, b"one of them").unwrap();
    for _ in 0..5 {
        let refused = bench.tpm.unseal(&blob);
        assert!(matches!(refused, Err(TpmError::PolicyFailed)), "{refused:?}");
    }
    let refused = bench.tpm.seal(&[0; MAX_SEALED + 1], &select("sha256:8"));
    assert!(matches!(refused, Err(TpmError::SecretTooLong { length: 129 })));
    let refused = bench.tpm.seal(b"x", &select("sha512:8"));
    assert!(matches!(refused, Err(TpmError::InactiveBank { bank: HashAlgorithm::Sha512, index: 8 })));
}

#[test]
fn a_sealed_secret_opens_in_no_other_tpm_and_not_when_altered() {
    let (Some(mut one), Some(mut other)) = (bench(), bench()) else {
        return;
    };
    let blob = one.tpm.seal(b"secret", &select("sha256:8")).unwrap();
    let refused = other.tpm.unseal(&blob);
    assert!(matches!(refused, Err(TpmError::ForeignBlob)), "{refused:?}");
    let mut altered: serde_json::Value = serde_json::to_value(&blob).unwrap();
    let private = altered["object"]["private"].as_str().unwrap();
    let last = if private.ends_with('0') { "1" } else { "0" };
    altered["object"]["private"] = format!("{}{last}", &private[..private.len() - 1]).into();
    let refused = one.tpm.unseal(&serde_json::from_value(altered).unwrap());
    assert!(matches!(refused, Err(TpmError::ForeignBlob)), "{refused:?}");
    // Naming other registers than those sealed to does not help.
    let mut moved: serde_json::Value = serde_json::to_value(&blob).unwrap();
    moved["pcrs"] = "sha256:9".into();
    let refused = one.tpm.unseal(&serde_json::from_value(moved).unwrap());
    assert!(matches!(refused, Err(TpmError::PolicyFailed)), "{refused:?}");
}

#[test]
fn keys_and_secrets_survive_a_restart_and_the_clock_stays_safe() {
    let Some(Bench { mut tpm, software, files, .. }) = bench() else {
        return;
    };
    let saved = tpm.attestation_key(KeyKind::EccP256).unwrap().saved().clone();
    let blob = tpm.seal(b"state key", &select("sha256:8")).unwrap();
    let before = tpm.clock().unwrap();
    drop(tpm);
    drop(software);
    let software = SoftwareTpm::start(&files.path().join("tpm")).unwrap();
    let mut tpm = Tpm::open(&software.address()).unwrap();
    tpm.load(&saved).unwrap();
    assert_eq!(tpm.unseal(&blob).unwrap().as_slice(), b"state key");
    let after = tpm.clock().unwrap();
    assert!(after.safe && after.reset_count == before.reset_count + 1, "{before:?} {after:?}");
}

#[test]
fn a_reconnecting_role_finds_room() {
    let Some(Bench { tpm, software, files: _files, .. }) = bench() else {
        return;
    };
    drop(tpm);
    for _ in 0..6 {
        // Three objects fill a TPM: those of the connection before must be gone.
        let mut tpm = Tpm::open(&software.address()).unwrap();
        tpm.attestation_key(KeyKind::EccP256).unwrap();
        tpm.attestation_key(KeyKind::EccP256).unwrap();
    }
}

#[test]
fn two_tpms_run_side_by_side_under_one_authority() {
    if !available("swtpm") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    // A path longer than any socket's may be, with a comma that swtpm's options could not hold.
    let long = files.path().join("long, path ".repeat(12).trim()).join("x".repeat(120));
    let authority = files.path().join("authority");
    let keys: Vec<_> = ["broker", "worker"]
        .into_iter()
        .map(|role| {
            let state = long.join(role);
            SoftwareTpm::provision(&state, &authority).unwrap_or_else(|error| panic!("{error}"));
            let software = SoftwareTpm::start(&state).unwrap_or_else(|error| panic!("{error}"));
            let mut tpm = Tpm::open(&software.address()).unwrap();
            (tpm.endorsement_key().unwrap().public, tpm, software)
        })
        .collect();
    assert_ne!(keys[0].0, keys[1].0);
    assert_eq!(SoftwareTpm::ca_certificates(&authority).unwrap().len(), 2);
}

#[test]
fn provisioning_again_changes_nothing() {
    let Some(Bench { mut tpm, software, files, authority }) = bench() else {
        return;
    };
    let key = tpm.endorsement_key().unwrap();
    drop((tpm, software));
    let state = files.path().join("tpm");
    SoftwareTpm::provision(&state, authority.path()).unwrap();
    let software = SoftwareTpm::start(&state).unwrap();
    assert_eq!(Tpm::open(&software.address()).unwrap().endorsement_key().unwrap(), key);
}

#[test]
fn a_second_process_on_one_state_is_a_clear_error() {
    let Some(bench) = bench() else { return };
    let state = bench.files.path().join("tpm");
    let refused = SoftwareTpm::start(&state);
    assert!(matches!(&refused, Err(SoftwareTpmError::StateInUse { dir }) if *dir == state), "{refused:?}");
    let nothing = SoftwareTpm::start(bench.files.path());
    assert!(matches!(nothing, Err(SoftwareTpmError::NotProvisioned { .. })), "{nothing:?}");
}

#[test]
fn a_tpm_that_dies_midway_is_a_typed_error() {
    let Some(mut bench) = bench() else { return };
    let key = bench.tpm.attestation_key(KeyKind::EccP256).unwrap();
    Command::new("kill").args(["-KILL", &bench.software.process_id().to_string()]).status().unwrap();
    let refused = bench.tpm.quote(&key, &[0; 32], &select("sha256:8"));
    assert!(matches!(refused, Err(TpmError::Closed { .. })), "{refused:?}");
    for _ in 0..100 {
        if !bench.software.is_running() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let refused = Tpm::open(&bench.software.address());
    assert!(matches!(refused, Err(TpmError::Open { .. })), "{refused:?}");
}

/// Not a test of its own: holds a TPM until it is killed, for the test below.
#[test]
#[ignore = "started by `a_killed_owner_takes_its_tpm_along`"]
fn hold_a_tpm() {
    let Some(state) = std::env::var_os("GLOVEBOX_TEST_TPM_STATE") else { return };
    let software = SoftwareTpm::start(state.as_ref()).unwrap();
    println!("\nholding {} {}", software.process_id(), software.address());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_owner_takes_its_tpm_along() {
    let Some(Bench { tpm, software, files, .. }) = bench() else { return };
    drop((tpm, software));
    let state = files.path().join("tpm");
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_tpm", "--ignored", "--nocapture"])
        .env("GLOVEBOX_TEST_TPM_STATE", &state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let line = lines.find(|line| line.starts_with("holding ")).unwrap();
    let address: Address = line.split(' ').nth(2).unwrap().parse().unwrap();
    Tpm::open(&address).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let patience = Instant::now() + Duration::from_secs(5);
    let again = loop {
        match SoftwareTpm::start(&state) {
            Err(SoftwareTpmError::StateInUse { .. }) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => break outcome,
        }
    };
    again.unwrap();
    let Address::UnixSocket(socket) = address else { panic!("{address}") };
    assert!(!socket.exists());
}

#[test]
fn a_tcp_socket_serves_as_well() {
    let Some(Bench { tpm, software, files, .. }) = bench() else { return };
    drop((tpm, software));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("swtpm")
        .args(["socket", "--tpm2", "--tpmstate", "dir=tpm", "--flags", "not-need-init", "--server"])
        .arg(format!("type=tcp,port={port}"))
        .current_dir(files.path())
        .spawn()
        .unwrap();
    let address: Address = format!("tcp:127.0.0.1:{port}").parse().unwrap();
    let patience = Instant::now() + Duration::from_secs(5);
    let mut tpm = loop {
        match Tpm::open(&address) {
            Err(TpmError::Open { .. }) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(5)),
            outcome => break outcome.unwrap(),
        }
    };
    assert!(tpm.description().unwrap().is_software());
    tpm.shutdown().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
}

/// Answers each command with the next of the given responses.
fn pretender(responses: Vec<Vec<u8>>) -> (tempfile::TempDir, Address) {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        for response in responses {
            let mut command = [0; 4096];
            if socket.read(&mut command).unwrap_or(0) == 0 || socket.write_all(&response).is_err() {
                return;
            }
        }
    });
    (files, Address::UnixSocket(path))
}

fn response(parameters: &[u8]) -> Vec<u8> {
    let length = u32::try_from(10 + parameters.len()).unwrap().to_be_bytes();
    [&[0x80, 1][..], &length, &[0; 4], parameters].concat()
}

#[test]
fn what_is_no_tpm_is_told_apart() {
    let nothing = [0_u8, 0, 0, 0, 1, 0, 0, 0, 0]; // no more data, TPM_CAP_HANDLES, none
    let open = || vec![response(&[]), response(&nothing), response(&nothing), response(&nothing)];
    let (_files, address) = pretender(vec![b"HTTP/1.1 400 Bad Request\r\n".to_vec()]);
    let refused = Tpm::open(&address);
    assert!(matches!(refused, Err(TpmError::Malformed { what: "response length", .. })), "{refused:?}");
    for (answer, expected) in [
        (response(&[0, 9, 1]), "random bytes"),
        (response(&[0, 0]), "no random bytes"),
        (response(&[]), "random bytes"),
        (vec![0x90, 0, 0, 0, 0, 10, 0, 0, 0, 0], "response tag"),
    ] {
        let (_files, address) = pretender([open(), vec![answer]].concat());
        let refused = Tpm::open(&address).unwrap().random(8);
        assert!(matches!(refused, Err(TpmError::Malformed { what, .. }) if what == expected), "{refused:?}");
    }
    let (_files, address) = pretender(open());
    let refused = Tpm::open(&address).unwrap().random(8);
    assert!(matches!(refused, Err(TpmError::Closed { .. })), "{refused:?}");
    // A count of handles that no TPM has ends where the bytes do.
    let many = [0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0];
    let (_files, address) = pretender(vec![response(&[]), response(&many)]);
    let refused = Tpm::open(&address);
    assert!(matches!(refused, Err(TpmError::Malformed { what: "handle", .. })), "{refused:?}");
}

#[test]
fn a_missing_tpm_is_a_clear_error() {
    let refused = Tpm::open(&Address::Device("/dev/no-such-tpm".into())).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "cannot open the TPM at `device:/dev/no-such-tpm`\nhint: this machine may have no TPM, or its driver is not loaded"
    );
}

#[test]
fn each_step_is_quick() {
    if !available("swtpm") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let (state, authority) = (files.path().join("tpm"), files.path().join("ca"));
    let mut last = Instant::now();
    let mut lap = |step: &str| {
        eprintln!("{step}: {:?}", last.elapsed());
        last = Instant::now();
    };
    SoftwareTpm::provision(&state, &authority).unwrap();
    lap("provision with a new authority");
    SoftwareTpm::provision(&files.path().join("second"), &authority).unwrap();
    lap("provision");
    let software = SoftwareTpm::start(&state).unwrap();
    lap("start");
    let mut tpm = Tpm::open(&software.address()).unwrap();
    lap("open");
    tpm.endorsement_key().unwrap();
    lap("endorsement key with certificate");
    let key = tpm.attestation_key(KeyKind::EccP256).unwrap();
    lap("attestation key");
    for _ in 0..100 {
        tpm.quote(&key, &[0; 32], &select("sha256:0,1,2,3,4,5,6,7,8,12")).unwrap();
    }
    lap("100 quotes");
    let blob = tpm.seal(&[0; 32], &select("sha256:8")).unwrap();
    lap("seal");
    tpm.unseal(&blob).unwrap();
    lap("unseal");
}
