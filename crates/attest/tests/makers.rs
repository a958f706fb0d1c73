//! Keystone, Hygon CSV and IBM Secure Execution: real and synthetic Evidence, each changed in one thing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;

use attest::{
    FormatError, Tier,
    certificate::{CertificateFault, TrustAnchor},
    hygon::{self, CsvError, CsvEvidence, HYGON_ROOT, Link},
    ibm::{self, HostKeyDocument, IbmError},
    keystone::{self, KeystoneError},
    platform::{Assurance, HardwareIds, PlatformPolicy, Refusal, Unfit},
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sm3::Sm3;

/// A file of the corpus, or `None` where it is not here.
fn corpus(path: &str) -> Option<Vec<u8>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
    let folder = workspace.join(folder);
    let found = std::fs::read(folder.join(path)).ok();
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
        println!("skipped: no test vectors at {}", folder.display());
    }
    found
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    changed
}

fn keystone() -> Option<(Vec<u8>, [u8; 32])> {
    let report = corpus("keystone/synthetic-a/report.bin")?;
    let key = corpus("keystone/synthetic-a/dev_public_key.bin")?.try_into().unwrap();
    Some((report, key))
}

#[test]
fn a1_every_bit_of_a_keystone_report_is_signed_or_must_be_zero() {
    let Some((report, key)) = keystone() else { return };
    let genuine = keystone::examine(&report, &[key], now()).unwrap();
    assert_eq!(genuine.bound(), b"nonce-1234");
    for bit in 0..report.len() * 8 {
        assert!(keystone::examine(&flipped(&report, bit), &[key], now()).is_err(), "bit {bit}");
    }
}

#[test]
fn a2_a_keystone_report_of_another_size_is_malformed() {
    let Some((report, key)) = keystone() else { return };
    for size in 0..report.len() {
        let refused = keystone::examine(&report[..size], &[key], now()).unwrap_err();
        assert!(refused.is_malformed(), "{size}: {refused:?}");
    }
    let longer = [report.as_slice(), &[0]].concat();
    assert!(keystone::examine(&longer, &[key], now()).unwrap_err().is_malformed());
}

#[test]
fn a_keystone_device_that_nobody_pinned_is_refused() {
    let Some((report, key)) = keystone() else { return };
    assert_eq!(keystone::examine(&report, &[], now()), Err(KeystoneError::DeviceKey));
    assert_eq!(keystone::examine(&report, &[[7; 32]], now()), Err(KeystoneError::DeviceKey));
    assert!(keystone::examine(&report, &[[7; 32], key], now()).is_ok());
    let hash = 64 + 8 + 1024 + 64;
    assert_eq!(keystone::examine(&flipped(&report, hash * 8), &[key], now()), Err(KeystoneError::MonitorSignature));
    assert_eq!(keystone::examine(&flipped(&report, 0), &[key], now()), Err(KeystoneError::EnclaveSignature));
    assert_eq!(keystone::examine(&flipped(&report, 1000 * 8), &[key], now()), Err(KeystoneError::UnsignedData));
}

/// A report of an enclave with this in the place of its data, of which so many bytes count, signed by a monitor that its device signed.
fn enclave(room: &[u8; 1024], size: u64) -> (Vec<u8>, [u8; 32]) {
    let [device, monitor] = [1, 2].map(|seed| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap());
    let [device_key, monitor_key] = [&device, &monitor].map(|key| key.public_key().as_ref().try_into().unwrap());
    let [device_key, monitor_key]: [[u8; 32]; 2] = [device_key, monitor_key];
    let data = &room[..usize::try_from(size).unwrap().min(1024)];
    let by_monitor = monitor.sign(&[&[3; 64], &size.to_le_bytes()[..], data].concat());
    let by_device = device.sign(&[&[4; 64], &monitor_key[..]].concat());
    let report: [&[u8]; 8] = [
        &[3; 64],
        &size.to_le_bytes(),
        room,
        by_monitor.as_ref(),
        &[4; 64],
        &monitor_key,
        by_device.as_ref(),
        &device_key,
    ];
    (report.concat(), device_key)
}

#[test]
fn an_enclave_signs_up_to_1024_bytes_of_data_and_zeros_behind_them() {
    let with = |room: &[u8; 1024], size: u64| {
        let (report, key) = enclave(room, size);
        keystone::examine(&report, &[key], now())
            .map(|genuine| (genuine.bound().len(), genuine.register("sm_hash").map(<[u8]>::to_vec)))
    };
    let monitor = Some(vec![4; 64]);
    assert_eq!(with(&[0; 1024], 0), Ok((0, monitor.clone())));
    for size in [1, 1023, 1024_u16] {
        let mut room = [0; 1024];
        room[..usize::from(size)].fill(7);
        assert_eq!(with(&room, u64::from(size)), Ok((usize::from(size), monitor.clone())));
        // One byte more than is signed.
        assert_eq!(with(&room, u64::from(size) - 1), Err(KeystoneError::UnsignedData), "{size}");
    }
    for value in [1025, 1026, u64::from(u32::MAX) + 1, u64::MAX] {
        let refused = FormatError::Value { structure: "Keystone report", field: "data length", value };
        assert_eq!(with(&[7; 1024], value), Err(KeystoneError::Malformed(refused)), "{value}");
    }
}

fn csv() -> Option<CsvEvidence> {
    let file = |name: &str| corpus(&format!("hygon-csv/csv-rs-report/{name}"));
    Some(CsvEvidence { report: file("report.bin")?, cek: file("cek.cert")?, hsk: file("hsk.cert")? })
}

#[test]
fn a1_every_byte_of_a_csv_report_is_signed_or_under_its_mac() {
    let Some(evidence) = csv() else { return };
    let genuine = hygon::examine(&evidence, HYGON_ROOT, now()).unwrap();
    assert_eq!((genuine.assurance(), genuine.bound().len()), (Assurance::Affirmed, 64));
    assert_eq!(genuine.claim("serial"), Some("NZA9T14052605"));
    for at in 0..evidence.report.len() {
        let changed = CsvEvidence { report: flipped(&evidence.report, at * 8 + at % 8), ..evidence.clone() };
        assert!(hygon::examine(&changed, HYGON_ROOT, now()).is_err(), "byte {at}");
    }
    let changed = CsvEvidence { report: flipped(&evidence.report, 0), ..evidence.clone() };
    assert_eq!(hygon::examine(&changed, HYGON_ROOT, now()), Err(CsvError::Signature));
    let changed = CsvEvidence { report: flipped(&evidence.report, 2430 * 8), ..evidence };
    assert_eq!(hygon::examine(&changed, HYGON_ROOT, now()), Err(CsvError::Mac));
}

#[test]
fn what_a_csv_machine_was_set_up_with_can_be_pinned() {
    let Some(evidence) = csv() else { return };
    let genuine = hygon::examine(&evidence, HYGON_ROOT, now()).unwrap();
    let names: Vec<&str> = genuine.registers().iter().map(|register| register.name.as_str()).collect();
    assert_eq!(names, ["measure", "policy", "vm_id", "vm_version", "user_pubkey_digest"]);
    for name in names {
        let value = hex::encode(genuine.register(name).unwrap());
        assert_eq!(genuine.claim(name), Some(value.as_str()));
        let pinned = |value: String| PlatformPolicy {
            tier_floor: Tier::ConfidentialVm,
            admits: ["affirmed".to_owned()].into(),
            hardware: HardwareIds::Any,
            measurements: [(name.to_owned(), [value].into())].into(),
        };
        assert!(genuine.fits(&pinned(value.clone())).is_ok());
        let other = if value.ends_with('0') { "1" } else { "0" };
        let refused = genuine.fits(&pinned([&value[..value.len() - 1], other].concat()));
        assert!(matches!(refused, Err(Unfit::Measurement { register, .. }) if register == name));
    }
}

#[test]
fn the_keys_above_a_csv_report_lead_to_the_pinned_root() {
    let Some(evidence) = csv() else { return };
    let root = flipped(HYGON_ROOT, 0x240 * 8);
    assert_eq!(hygon::examine(&evidence, &root, now()), Err(CsvError::Chain(Link::Root)));
    let hsk = CsvEvidence { hsk: flipped(&evidence.hsk, 0x10 * 8), ..evidence.clone() };
    assert_eq!(hygon::examine(&hsk, HYGON_ROOT, now()), Err(CsvError::Chain(Link::SigningKey)));
    let cek = CsvEvidence { cek: flipped(&evidence.cek, 0x1A4 * 8), ..evidence.clone() };
    assert_eq!(hygon::examine(&cek, HYGON_ROOT, now()), Err(CsvError::Chain(Link::ChipKey)));
    for part in [&evidence.report, &evidence.cek, &evidence.hsk] {
        for size in (0..part.len()).step_by(7) {
            let cut = part[..size].to_vec();
            for changed in [
                CsvEvidence { report: cut.clone(), ..evidence.clone() },
                CsvEvidence { cek: cut.clone(), ..evidence.clone() },
                CsvEvidence { hsk: cut, ..evidence.clone() },
            ] {
                assert!(hygon::examine(&changed, HYGON_ROOT, now()).unwrap_err().is_malformed());
            }
        }
    }
}

/// A forged report of version 1 in which these bytes behind the signature stand otherwise, under a MAC that is made anew.
fn with_outer(hygon: &testkit::hygon::Hygon, at: usize, bytes: &[u8]) -> CsvEvidence {
    let body = hygon.body(false);
    let mut report = hygon.report(&body);
    report[at..at + bytes.len()].copy_from_slice(bytes);
    let outer = OUTER..report.len() - 32;
    let mut mac = Hmac::<Sm3>::new_from_slice(&body[128..144]).unwrap();
    mac.update(&report[outer.clone()]);
    report[outer.end..].copy_from_slice(&mac.finalize().into_bytes());
    CsvEvidence { report, cek: hygon.cek(), hsk: hygon.hsk() }
}

/// Where certificate, serial number and reserved bytes of a report of version 1 begin, and its serial number.
const OUTER: usize = 336;
const SERIAL: usize = OUTER + 2084;

#[test]
fn the_outer_part_of_a_csv_report_is_under_its_mac() {
    let hygon = testkit::hygon::Hygon::default();
    for (extended, outer) in [(false, OUTER), (true, 1168)] {
        let good = CsvEvidence { report: hygon.report(&hygon.body(extended)), cek: hygon.cek(), hsk: hygon.hsk() };
        assert!(hygon::examine(&good, &hygon.root(), now()).is_ok());
        let serial = outer + 2084;
        assert_eq!(good.report.len(), serial + 64 + 32 + 32);
        // The serial number, the reserved bytes, and the MAC itself, from the first byte to the last.
        for at in [serial, serial + 63, serial + 64, serial + 95, serial + 96, serial + 127] {
            let changed = CsvEvidence { report: flipped(&good.report, at * 8 + 7), ..good.clone() };
            assert_eq!(hygon::examine(&changed, &hygon.root(), now()), Err(CsvError::Mac), "{at}");
        }
    }
    // Whoever sees the report can make the MAC anew.
    let remade = with_outer(&hygon, SERIAL + 64, &[7; 32]);
    assert!(hygon::examine(&remade, &hygon.root(), now()).is_ok());
}

#[test]
fn a_csv_report_tells_the_chips_key_and_its_serial_number() {
    let hygon = testkit::hygon::Hygon::default();
    let cek = hygon.cek();
    // Two coordinates, little-endian in slots of 72 bytes behind version, usage, algorithm and curve.
    let coordinate = |at: usize| cek[at..at + 32].iter().rev().copied().collect::<Vec<u8>>();
    let key = hex::encode([coordinate(20), coordinate(92)].concat());
    for extended in [false, true] {
        let evidence = CsvEvidence { report: hygon.report(&hygon.body(extended)), cek: cek.clone(), hsk: hygon.hsk() };
        let genuine = hygon::examine(&evidence, &hygon.root(), now()).unwrap();
        assert_eq!(genuine.hardware_id(), Some(key.as_str()));
        assert_eq!(genuine.claim("serial"), Some("7".repeat(64).as_str()));
        assert_eq!(genuine.claim("anonce"), Some(if extended { "0" } else { "305419896" }));
    }
    // The number ends with its first zero, and what is neither digit nor letter is left out.
    let mask = 0x1234_5678_u32.to_le_bytes();
    for (text, expected) in [(&b"NZA9T\0X"[..], "NZA9T"), (b"A-1 b\xff\n2\0", "A1b2"), (b"\0", "")] {
        let masked: Vec<u8> = text.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let genuine = hygon::examine(&with_outer(&hygon, SERIAL, &masked), &hygon.root(), now()).unwrap();
        assert_eq!(genuine.claim("serial"), Some(expected));
    }
    let Some(evidence) = csv() else { return };
    let genuine = hygon::examine(&evidence, HYGON_ROOT, now()).unwrap();
    assert_eq!(genuine.claim("serial"), Some("NZA9T14052605"));
}

#[test]
fn a_signature_that_a_csv_report_says_is_of_another_kind_is_refused() {
    let hygon = testkit::hygon::Hygon::default();
    let good = hygon.report(&hygon.body(false));
    // Usage and algorithm stand masked behind the body, and are told unmasked.
    for (at, field, value) in
        [(180, "signature usage", 0x1003), (183, "signature usage", 0x0100_1002), (184, "signature algorithm", 5)]
    {
        let evidence = CsvEvidence { report: flipped(&good, at * 8), cek: hygon.cek(), hsk: hygon.hsk() };
        let refused = FormatError::Value { structure: "CSV report", field, value };
        assert_eq!(hygon::examine(&evidence, &hygon.root(), now()), Err(CsvError::Malformed(refused)));
    }
    // Of version 2 they stand in the body, which is signed.
    for (at, field, value) in [(0, "signature usage", 0x1003), (4, "signature algorithm", 5)] {
        let mut body = hygon.body(true);
        body[testkit::hygon::at::EXTENDED + at] ^= 1;
        let evidence = CsvEvidence { report: hygon.report(&body), cek: hygon.cek(), hsk: hygon.hsk() };
        let refused = FormatError::Value { structure: "CSV report body", field, value };
        assert_eq!(hygon::examine(&evidence, &hygon.root(), now()), Err(CsvError::Malformed(refused)));
    }
}

fn host_key() -> Option<(HostKeyDocument, Vec<TrustAnchor>)> {
    let file = |name: &str| corpus(&format!("ibm-se/good/{name}"));
    let evidence = HostKeyDocument {
        document: file("host.crt")?,
        signing_key: file("ibm.crt")?,
        intermediates: vec![file("inter_ca.crt")?],
        list: file("ibm.crl")?,
        authority_lists: vec![file("inter_ca.crl")?, file("root_ca.crl")?],
    };
    Some((evidence, vec![TrustAnchor::pin(&file("root_ca.crt")?).unwrap()]))
}

#[test]
fn a_host_key_document_needs_every_list_and_a_pinned_authority() {
    let Some((evidence, anchors)) = host_key() else { return };
    let examine = |evidence: &HostKeyDocument| ibm::examine(evidence, &anchors, now());
    assert_eq!(examine(&evidence).unwrap().bound(), b"");
    let nobody = ibm::examine(&evidence, &[], now()).unwrap_err();
    assert_eq!(nobody.code(), "root-not-trusted");
    let unlisted = HostKeyDocument { authority_lists: vec![], ..evidence.clone() };
    assert!(matches!(examine(&unlisted), Err(IbmError::ListMissing(_))));
    // The list of another issuer is not the signing key's.
    let other = HostKeyDocument { list: evidence.authority_lists[0].clone(), ..evidence.clone() };
    assert_eq!(examine(&other), Err(IbmError::List(CertificateFault::Issuer)));
    // A certificate that IBM's authority issued to something else than the signing service signs no documents.
    let promoted =
        HostKeyDocument { signing_key: evidence.intermediates[0].clone(), intermediates: vec![], ..evidence.clone() };
    assert_eq!(examine(&promoted), Err(IbmError::SigningService));
    let early = ibm::examine(&evidence, &anchors, "2020-01-01T00:00:00Z".parse().unwrap()).unwrap_err();
    assert_eq!(early.code(), "not-yet-valid");
    let nothing = HostKeyDocument { document: b"nothing".to_vec(), ..evidence };
    assert!(examine(&nothing).unwrap_err().is_malformed());
}

#[test]
fn csv_reports_of_both_versions_hold_under_a_pinned_root_and_tell_their_registers() {
    let hygon = testkit::hygon::Hygon::default();
    let examine = |body: &[u8]| {
        let evidence = CsvEvidence { report: hygon.report(body), cek: hygon.cek(), hsk: hygon.hsk() };
        hygon::examine(&evidence, &hygon.root(), now())
    };
    for extended in [false, true] {
        let genuine = examine(&hygon.body(extended)).unwrap();
        assert_eq!((genuine.bound(), genuine.assurance()), (&[0x5A; 64][..], Assurance::Affirmed));
        assert_eq!(genuine.register("measure"), Some(&[0xA5; 32][..]));
        assert_eq!(genuine.register("rtmr0"), extended.then_some(&[0xA5; 32][..]));
        assert_eq!(genuine.register("rtmr4"), extended.then_some(&[0; 32][..]));
        assert_eq!(genuine.claim("rtmr_version"), extended.then_some("0"));
        let mut debugged = hygon.body(extended);
        debugged[testkit::hygon::at::POLICY] = 0;
        assert_eq!(examine(&debugged), Err(CsvError::Debug));
        let evidence = CsvEvidence { report: hygon.report(&hygon.body(extended)), cek: hygon.cek(), hsk: hygon.hsk() };
        assert_eq!(hygon::examine(&evidence, HYGON_ROOT, now()), Err(CsvError::Chain(Link::SigningKey)));
    }
    // Of version 2 the body is signed as it stands.
    let report = hygon.report(&hygon.body(true));
    for at in (0..testkit::hygon::at::EXTENDED_END + 64).step_by(13) {
        let evidence = CsvEvidence { report: flipped(&report, at * 8 + 3), cek: hygon.cek(), hsk: hygon.hsk() };
        assert!(hygon::examine(&evidence, &hygon.root(), now()).is_err(), "byte {at}");
    }
    let mut other = hygon.body(true);
    other[testkit::hygon::at::EXTENDED] ^= 1;
    assert!(examine(&other).unwrap_err().is_malformed());
}
