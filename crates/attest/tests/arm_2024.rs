//! CCA tokens by the profiles of 2024: the wrapper, and each claim that they add.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use attest::{
    arm::{
        ClaimFault,
        cca::{CcaError, CcaEvidence, examine},
    },
    keys::VerificationKey,
    platform::{Genuine, Refusal},
};
use aws_lc_rs::{
    digest::{SHA512, digest},
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use jiff::Timestamp;

const PLATFORM: &str = "tag:arm.com,2024:cca_platform#2.0.0";
const REALM: &str = "tag:arm.com,2024:realm#2.0.0";

fn head(major: u8, number: u64) -> Vec<u8> {
    let major = major << 5;
    match number {
        0..=23 => vec![major | number as u8],
        24..=0xFF => vec![major | 24, number as u8],
        0x100..=0xFFFF => [&[major | 25][..], &(number as u16).to_be_bytes()].concat(),
        _ => [&[major | 26][..], &(number as u32).to_be_bytes()].concat(),
    }
}

fn number(value: i64) -> Vec<u8> {
    if value < 0 { head(1, (-1 - value) as u64) } else { head(0, value as u64) }
}

fn bytes(value: &[u8]) -> Vec<u8> {
    [head(2, value.len() as u64), value.to_vec()].concat()
}

fn text(value: &str) -> Vec<u8> {
    [head(3, value.len() as u64), value.as_bytes().to_vec()].concat()
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len() as u64), items.concat()].concat()
}

fn map(entries: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = head(5, entries.len() as u64);
    entries.iter().for_each(|(label, value)| out.extend([number(*label), value.clone()].concat()));
    out
}

fn tag(tag: u64, value: &[u8]) -> Vec<u8> {
    [head(6, tag), value.to_vec()].concat()
}

fn yes() -> Vec<u8> {
    vec![0xf5]
}

/// Claims by label; a test adds, replaces or takes away.
#[derive(Clone)]
struct Token(Vec<(i64, Vec<u8>)>);

impl Token {
    fn with(mut self, label: i64, value: Vec<u8>) -> Token {
        self.0.retain(|(other, _)| *other != label);
        self.0.push((label, value));
        self
    }

    fn without(mut self, label: i64) -> Token {
        self.0.retain(|(other, _)| *other != label);
        self
    }
}

fn platform() -> Token {
    let component = map(&[(2, bytes(&[3; 32])), (5, bytes(&[4; 32]))]);
    Token(vec![
        (265, text(PLATFORM)),
        (2396, bytes(&[0; 32])),
        (256, bytes(&[&[1][..], &[2; 32]].concat())),
        (2401, bytes(&[1, 2, 3])),
        (2395, number(0x3000)),
        (2399, array(&[component])),
        (2402, text("sha-256")),
        (2394, number(1)),
    ])
}

fn realm() -> Token {
    Token(vec![
        (265, text(REALM)),
        (10, bytes(&[0x41; 64])),
        (44235, bytes(&[0x42; 64])),
        (44236, text("sha-256")),
        (44238, bytes(&[0x43; 64])),
        (44239, array(&vec![bytes(&[0x44; 64]); 4])),
        (44240, text("sha-512")),
        (44243, text("private")),
    ])
}

/// A device behind SPDM, whose memory is encrypted.
fn device() -> Token {
    Token(vec![
        (1, text("sha-256")),
        (2, bytes(&[5; 32])),
        (3, bytes(&[6; 64])),
        (4, yes()),
        (5, text("spdm-1.2.0")),
        (6, bytes(&[7; 48])),
        (7, text("cxl-type-3")),
        (8, number(0)),
    ])
}

fn boot_key() -> Token {
    Token(vec![(1, text("DM")), (2, number(0)), (3, number(1)), (4, bytes(&[8; 32]))])
}

fn sign(key: &EcdsaKeyPair, payload: &[u8]) -> Vec<u8> {
    let protected = map(&[(1, number(-35))]);
    let signed = array(&[text("Signature1"), bytes(&protected), bytes(&[]), bytes(payload)]);
    let signature = key.sign(&SystemRandom::new(), &signed).unwrap();
    tag(18, &array(&[bytes(&protected), map(&[]), bytes(payload), bytes(signature.as_ref())]))
}

/// How the two tokens are put together.
type Collect = fn(&[u8], &[u8]) -> Vec<u8>;

fn first(platform: &[u8], realm: &[u8]) -> Vec<u8> {
    tag(399, &map(&[(44234, bytes(platform)), (44241, bytes(realm))]))
}

fn wrapped(platform: &[u8], realm: &[u8]) -> Vec<u8> {
    let part = |token: &[u8]| array(&[number(263), bytes(token)]);
    tag(907, &map(&[(44234, part(platform)), (44241, part(realm))]))
}

fn collected(platform: Token, realm: Token, collect: Collect) -> Result<Genuine, CcaError> {
    let key = || EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let (platform_key, realm_key) = (key(), key());
    let point = realm_key.public_key().as_ref();
    let cose_key = map(&[(1, number(2)), (-1, number(2)), (-2, bytes(&point[1..49])), (-3, bytes(&point[49..]))]);
    let challenge = digest(&SHA512, &cose_key);
    let platform = platform.with(10, bytes(challenge.as_ref()));
    let realm = realm.with(44237, bytes(&cose_key));
    let token = collect(&sign(&platform_key, &map(&platform.0)), &sign(&realm_key, &map(&realm.0)));
    let trusted = VerificationKey::from_point(platform_key.public_key().as_ref()).unwrap();
    examine(&CcaEvidence { token }, &[trusted], Timestamp::UNIX_EPOCH)
}

fn of_platform(token: Token) -> Result<Genuine, ClaimFault> {
    collected(token, realm(), wrapped).map_err(|error| match error {
        CcaError::PlatformClaims(fault) => fault,
        other => panic!("{other}"),
    })
}

fn of_realm(token: Token) -> Result<Genuine, ClaimFault> {
    collected(platform(), token, wrapped).map_err(|error| match error {
        CcaError::RealmClaims(fault) => fault,
        other => panic!("{other}"),
    })
}

#[test]
fn tokens_of_2024_are_genuine_in_either_collection() {
    for collect in [first as Collect, wrapped] {
        let genuine = collected(platform(), realm(), collect).unwrap();
        assert_eq!(genuine.bound(), [0x41; 64]);
        assert_eq!(genuine.claim("client_id"), Some("1"));
        assert_eq!(genuine.claim("mec_policy"), Some("private"));
        assert_eq!(genuine.claim("realm_profile"), Some(REALM));
    }
    let extensions = array(&[map(&device().0)]);
    let platform = platform()
        .with(2403, bytes(&[1]))
        .with(2404, extensions)
        .with(2405, array(&[map(&boot_key().0)]))
        .with(2406, bytes(&[2]))
        .with(2400, text("https://verifier.example"));
    let realm = realm().with(44243, text("shared")).with(256, bytes(&[1; 33])).with(44244, number(1));
    let genuine = collected(platform, realm, wrapped).unwrap();
    assert_eq!(genuine.claim("extension_0"), Some("cxl-type-3 over spdm-1.2.0"));
    assert_eq!(genuine.claim("tbb_rotpk_0"), Some(hex::encode([8; 32]).as_str()));
    assert_eq!(genuine.claim("realm_instance_id"), Some(hex::encode([1; 33]).as_str()));
    assert_eq!(genuine.claim("mec_policy"), Some("shared"));
}

#[test]
fn a_wrapper_of_another_shape_is_no_collection() {
    let refused = |collect: Collect| collected(platform(), realm(), collect).map(|_| ());
    let not: Result<(), _> = Err(CcaError::NotCollection);
    assert_eq!(refused(|platform, realm| tag(906, &wrapped(platform, realm)[3..])), not);
    assert_eq!(refused(|platform, realm| wrapped(platform, realm)[3..].to_vec()), not);
    // Each tag has its own form of the parts.
    assert_eq!(refused(|platform, realm| tag(907, &first(platform, realm)[3..])), not);
    assert_eq!(refused(|platform, realm| tag(399, &wrapped(platform, realm)[3..])), not);
    let part = |kind: i64, token: &[u8], more: &[Vec<u8>]| array(&[&[number(kind), bytes(token)][..], more].concat());
    let of = |platform: Vec<u8>, realm: Vec<u8>| tag(907, &map(&[(44234, platform), (44241, realm)]));
    assert_eq!(CcaError::NotCollection.code(), "not-a-cca-token");
    for token in [
        of(part(262, b"", &[]), part(263, b"", &[])),
        of(part(263, b"", &[]), part(263, b"", &[number(1)])),
        of(array(&[number(263)]), part(263, b"", &[])),
        of(array(&[number(263), text("")]), part(263, b"", &[])),
        tag(907, &map(&[(44234, part(263, b"", &[]))])),
        tag(907, &map(&[(44234, part(263, b"", &[])), (44241, part(263, b"", &[])), (1, number(1))])),
    ] {
        let refused = examine(&CcaEvidence { token }, &[], Timestamp::UNIX_EPOCH).map(|_| ());
        assert_eq!(refused, not);
    }
}

#[test]
fn each_claim_that_the_platforms_profile_adds_is_checked() {
    let refused = |token: Token| of_platform(token).map(|_| ()).unwrap_err();
    let invalid = ClaimFault::Invalid;
    assert_eq!(refused(platform().without(2394)), ClaimFault::Missing("client_id"));
    for client in [number(0), number(2), number(-1), text("1")] {
        assert_eq!(refused(platform().with(2394, client)), invalid("client_id"));
    }
    for (label, name) in [(2403, "manufacturing_config"), (2406, "peer_signers")] {
        for value in [bytes(&[]), text("x"), bytes(&[0; 1025])] {
            assert_eq!(refused(platform().with(label, value)), invalid(name));
        }
    }
    for (label, name, item) in [(2404, "extension", device()), (2405, "tbb_rotpk", boot_key())] {
        let items = |count: usize| array(&vec![map(&item.0); count]);
        assert!(of_platform(platform().with(label, items(64))).is_ok(), "{name}");
        for value in [items(0), items(65), bytes(b"x"), array(&[number(1)])] {
            assert_eq!(refused(platform().with(label, value)), invalid(name));
        }
    }
    // A profile of before does not know them.
    let before = platform().with(265, text("tag:arm.com,2023:cca_platform#1.0.0")).without(2394);
    assert_eq!(of_platform(before).unwrap().claim("client_id"), None);
    let later = platform().with(265, text("tag:arm.com,2025:cca_platform#3.0.0"));
    assert_eq!(refused(later), ClaimFault::Profile("tag:arm.com,2025:cca_platform#3.0.0".to_owned()));
}

#[test]
fn a_device_outside_has_what_its_protocol_and_type_ask_for() {
    let told = |device: Token| of_platform(platform().with(2404, array(&[map(&device.0)]))).map(|_| ());
    let missing = |name| Err(ClaimFault::Missing(name));
    let invalid = Err(ClaimFault::Invalid("extension"));
    assert_eq!(told(device()), Ok(()));
    let names = [
        (2, "device_measurements_digest"),
        (3, "certificate_chain_digest"),
        (4, "uses_ide"),
        (5, "protocol"),
        (6, "vca_digest"),
        (7, "device_type"),
        (8, "encryption_type"),
    ];
    for (label, name) in names {
        assert_eq!(told(device().without(label)), missing(name));
        assert_eq!(told(device().with(label, array(&[]))), invalid, "{name}");
    }
    assert_eq!(told(device().without(1)), Ok(()));
    assert_eq!(told(device().with(1, text("md5"))), invalid);
    for label in [2, 3, 6] {
        assert_eq!(told(device().with(label, bytes(&[1; 20]))), invalid);
    }
    for label in [5, 7] {
        assert_eq!(told(device().with(label, text(""))), invalid);
    }
    assert_eq!(told(device().with(8, number(2))), Ok(()));
    assert_eq!(told(device().with(8, number(3))), invalid);
    assert_eq!(told(device().with(9, number(0))), invalid);
    // Other protocols have no such digest, and other devices no such encryption.
    assert_eq!(told(device().with(5, text("spdm-1.1.0"))), invalid);
    assert_eq!(told(device().with(5, text("other-1.2.3")).without(6)), Ok(()));
    assert_eq!(told(device().with(5, text("spdm-1.4.0"))), Ok(()));
    assert_eq!(told(device().with(7, text("other"))), invalid);
    assert_eq!(told(device().with(7, text("other")).without(8)), Ok(()));
}

#[test]
fn a_key_that_boot_trusts_has_all_of_its_parts() {
    let told = |key: Token| of_platform(platform().with(2405, array(&[map(&key.0)]))).map(|_| ());
    let invalid = Err(ClaimFault::Invalid("tbb_rotpk"));
    assert_eq!(told(boot_key()), Ok(()));
    assert_eq!(told(boot_key().with(2, number(-1))), Ok(()));
    for label in 1..=4 {
        assert_eq!(told(boot_key().without(label)), Err(ClaimFault::Missing("tbb_rotpk")));
        assert_eq!(told(boot_key().with(label, array(&[]))), invalid);
    }
    assert_eq!(told(boot_key().with(1, text(""))), invalid);
    assert_eq!(told(boot_key().with(4, bytes(&[8; 33]))), invalid);
    assert_eq!(told(boot_key().with(5, number(1))), invalid);
}

#[test]
fn each_claim_that_the_realms_profile_adds_is_checked() {
    let refused = |token: Token| of_realm(token).map(|_| ()).unwrap_err();
    assert_eq!(refused(realm().without(44243)), ClaimFault::Missing("mec_policy"));
    for policy in [text("hello"), text("Private"), number(2), bytes(b"private")] {
        assert_eq!(refused(realm().with(44243, policy)), ClaimFault::Invalid("mec_policy"));
    }
    for (value, word) in [(number(0), "shared"), (number(1), "private"), (text("shared"), "shared")] {
        assert_eq!(of_realm(realm().with(44243, value)).unwrap().claim("mec_policy"), Some(word));
    }
    for id in [bytes(&[2; 33]), bytes(&[1; 32]), text("x")] {
        assert_eq!(refused(realm().with(256, id)), ClaimFault::Invalid("instance_id"));
    }
    for policy in [number(2), text("allow")] {
        assert_eq!(refused(realm().with(44244, policy)), ClaimFault::Invalid("lfa_policy"));
    }
    let before = realm().with(265, text("tag:arm.com,2023:realm#1.0.0")).without(44243);
    assert_eq!(of_realm(before).unwrap().claim("mec_policy"), None);
    let later = realm().with(265, text("tag:arm.com,2025:realm#3.0.0"));
    assert_eq!(refused(later), ClaimFault::Profile("tag:arm.com,2025:realm#3.0.0".to_owned()));
}
