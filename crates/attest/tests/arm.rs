//! Tokens of Arm CCA and PSA by keys of our own, each wrong in one thing, and real ones with every bit changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod cbor;
mod corpus;

use attest::{
    CoseError, HashAlgorithm, Tier,
    arm::{
        ClaimFault,
        cca::{self, CcaError, CcaEvidence},
        psa::{self, PsaError, PsaEvidence},
    },
    keys::{KeyError, VerificationKey},
    platform::{Genuine, HardwareIds, PlatformPolicy, Refusal as _, Unfit},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        KeyPair as _,
    },
};
use corpus::{Case, flip};
use jiff::Timestamp;

const ES256: i64 = -7;
const ES384: i64 = -35;
/// Labels of both kinds of token (RFC 9711, RFC 9783, draft-ffm-rats-cca-token).
const NONCE: i64 = 10;
const PROFILE: i64 = 265;
const LIFECYCLE: i64 = 2395;
const COMPONENTS: i64 = 2399;
const PLATFORM: i64 = 44234;
const REALM_KEY: i64 = 44237;
const REM: i64 = 44239;
const KEY_HASH: i64 = 44240;
const REALM: i64 = 44241;

type Fields = Vec<(i64, Vec<u8>)>;

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn key(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

fn p384() -> EcdsaKeyPair {
    key(&ECDSA_P384_SHA384_FIXED_SIGNING)
}

fn public(pair: &EcdsaKeyPair) -> VerificationKey {
    VerificationKey::from_point(pair.public_key().as_ref()).unwrap()
}

fn signed(pair: &EcdsaKeyPair, algorithm: i64, payload: &[u8]) -> Vec<u8> {
    let sign = |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
    cbor::tag(18, &cbor::sign1(&cbor::protected(algorithm), &cbor::map(&[]), payload, sign))
}

fn set(fields: &mut Fields, label: i64, value: Vec<u8>) {
    match fields.iter_mut().find(|(known, _)| *known == label) {
        Some((_, known)) => *known = value,
        None => fields.push((label, value)),
    }
}

fn component(kind: &str) -> Vec<u8> {
    let measured = [(1, cbor::text(kind)), (2, cbor::bytes(&[0xA5; 32])), (5, cbor::bytes(&[0x5A; 32]))];
    cbor::labelled(&measured)
}

fn instance_id() -> Vec<u8> {
    cbor::bytes(&[&[1][..], &[0x77; 32]].concat())
}

/// A platform and a realm on it, with keys of our own and claims that are free to be wrong.
struct Realm {
    platform_key: EcdsaKeyPair,
    realm_key: EcdsaKeyPair,
    platform: Fields,
    realm: Fields,
}

impl Realm {
    /// The realm's key as a raw point, as before the profile of 2023.
    fn new() -> Realm {
        let (platform_key, realm_key) = (p384(), p384());
        let platform = vec![
            (PROFILE, cbor::text("http://arm.com/CCA-SSD/1.0.0")),
            (NONCE, Vec::new()),
            (2396, cbor::bytes(&[0x11; 32])),
            (256, instance_id()),
            (2401, cbor::bytes(&[0xCF; 4])),
            (LIFECYCLE, cbor::int(0x3003)),
            (COMPONENTS, cbor::array(&[component("BL"), component("RMM")])),
            (2400, cbor::text("https://verifier.example")),
            (2402, cbor::text("sha-256")),
        ];
        let realm = vec![
            (NONCE, cbor::bytes(&[0x42; 64])),
            (44235, cbor::bytes(&[0x33; 64])),
            (44236, cbor::text("sha-256")),
            (REALM_KEY, Vec::new()),
            (44238, cbor::bytes(&[0x44; 32])),
            (REM, cbor::array(&vec![cbor::bytes(&[0x55; 32]); 4])),
            (KEY_HASH, cbor::text("sha-256")),
        ];
        let mut new = Realm { platform_key, realm_key, platform, realm };
        let point = new.realm_key.public_key().as_ref().to_vec();
        new.carry(&point, HashAlgorithm::Sha256);
        new
    }

    /// By the profile of 2023: the realm's key is a COSE_Key.
    fn of_2023() -> Realm {
        let mut new = Realm::new();
        set(&mut new.platform, PROFILE, cbor::text("tag:arm.com,2023:cca_platform#1.0.0"));
        set(&mut new.realm, PROFILE, cbor::text("tag:arm.com,2023:realm#1.0.0"));
        let key = cose_key(&new.realm_key);
        new.carry(&key, HashAlgorithm::Sha256);
        new
    }

    /// Puts these bytes as the realm's key into its token, and their hash into the platform's.
    fn carry(&mut self, bytes: &[u8], hash: HashAlgorithm) {
        set(&mut self.realm, REALM_KEY, cbor::bytes(bytes));
        set(&mut self.platform, NONCE, cbor::bytes(&hash.hash(&[bytes])));
    }

    fn platform_token(&self) -> Vec<u8> {
        signed(&self.platform_key, ES384, &cbor::labelled(&self.platform))
    }

    fn realm_token(&self) -> Vec<u8> {
        signed(&self.realm_key, ES384, &cbor::labelled(&self.realm))
    }

    fn token(&self) -> Vec<u8> {
        collection(&self.platform_token(), &self.realm_token())
    }

    fn keys(&self) -> Vec<VerificationKey> {
        vec![public(&self.platform_key)]
    }

    fn examine(&self) -> Result<Genuine, CcaError> {
        self.examine_bytes(self.token())
    }

    fn examine_bytes(&self, token: Vec<u8>) -> Result<Genuine, CcaError> {
        cca::examine(&CcaEvidence { token }, &self.keys(), now())
    }

    fn refusal(&self) -> CcaError {
        self.examine().unwrap_err()
    }
}

fn cose_key(pair: &EcdsaKeyPair) -> Vec<u8> {
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(point.len() / 2);
    cbor::labelled(&[(1, cbor::int(2)), (-1, cbor::int(2)), (-2, cbor::bytes(x)), (-3, cbor::bytes(y))])
}

fn collection(platform: &[u8], realm: &[u8]) -> Vec<u8> {
    cbor::tag(399, &cbor::labelled(&[(PLATFORM, cbor::bytes(platform)), (REALM, cbor::bytes(realm))]))
}

/// Evidence that is genuine is appraised for these bytes and this measurement alone.
fn policy(register: &str, value: &[u8]) -> PlatformPolicy {
    PlatformPolicy {
        tier_floor: Tier::Tpm,
        admits: ["affirmed".to_owned()].into(),
        hardware: HardwareIds::Any,
        measurements: [(register.to_owned(), [hex::encode(value)].into())].into(),
    }
}

#[test]
fn a_realm_of_either_profile_in_which_all_is_right_passes_seven_steps() {
    for realm in [Realm::new(), Realm::of_2023()] {
        let genuine = realm.examine().unwrap();
        assert_eq!(genuine.steps().iter().map(|step| step.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(genuine.register("rim"), Some(&[0x44; 32][..]));
        assert_eq!(genuine.register("rem3"), Some(&[0x55; 32][..]));
        assert_eq!(genuine.register("platform.RMM"), Some(&[0xA5; 32][..]));
        assert_eq!(genuine.bound(), [0x42; 64]);
        assert!(genuine.clone().appraise(&[0x42; 64], &policy("rim", &[0x44; 32])).is_ok());
        let appraised = genuine.clone().appraise(&[0x43; 64], &policy("rim", &[0x44; 32]));
        assert_eq!(appraised.err(), Some(Unfit::NotBound));
        assert!(genuine.appraise(&[0x42; 64], &policy("rim", &[0x45; 32])).is_err());
    }
}

#[test]
fn n4_a_realm_whose_key_the_platform_does_not_vouch_for_is_refused() {
    let realm = Realm::new();
    let other = Realm::new();
    // Each token verifies by itself; the platform's challenge is the hash of another key.
    let mixed = collection(&realm.platform_token(), &other.realm_token());
    assert_eq!(realm.examine_bytes(mixed), Err(CcaError::RakUnbound));
    let both = [realm.keys(), other.keys()].concat();
    let crossed = collection(&other.platform_token(), &realm.realm_token());
    assert_eq!(cca::examine(&CcaEvidence { token: crossed }, &both, now()), Err(CcaError::RakUnbound));
    // The hash of the same key by another function than the realm declares, or of its other spelling.
    let point = realm.realm_key.public_key().as_ref().to_vec();
    for hash in [HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        let mut other = Realm::new();
        let point = other.realm_key.public_key().as_ref().to_vec();
        other.carry(&point, hash);
        assert_eq!(other.refusal(), CcaError::RakUnbound);
        set(&mut other.realm, KEY_HASH, cbor::text(if hash == HashAlgorithm::Sha384 { "sha-384" } else { "sha-512" }));
        assert!(other.examine().is_ok(), "{hash:?}");
    }
    let mut spelt = Realm::of_2023();
    let point_of_2023 = spelt.realm_key.public_key().as_ref().to_vec();
    set(&mut spelt.platform, NONCE, cbor::bytes(&HashAlgorithm::Sha256.hash(&[&point_of_2023])));
    assert_eq!(spelt.refusal(), CcaError::RakUnbound);
    // A challenge that is the hash's beginning, or a nonce of whoever asked.
    let mut asked = Realm::new();
    set(&mut asked.platform, NONCE, cbor::bytes(&[0x42; 64]));
    assert_eq!(asked.refusal(), CcaError::RakUnbound);
    let mut short = Realm::new();
    set(&mut short.platform, NONCE, cbor::bytes(&HashAlgorithm::Sha256.hash(&[&point])[..31]));
    assert_eq!(short.refusal(), CcaError::PlatformClaims(ClaimFault::Invalid("platform_challenge")));
}

#[test]
fn n4_a_platform_that_can_be_debugged_or_is_not_secured_is_refused() {
    let lifecycle = |value: i64| {
        let mut realm = Realm::new();
        set(&mut realm.platform, LIFECYCLE, cbor::int(value));
        realm.examine().map(|_| ())
    };
    for high in 0..=0xFF_u16 {
        let value = high << 8 | 0x03;
        let expected = match high {
            0x30 => Ok(()),
            0x40 | 0x50 => Err(CcaError::Debug(value)),
            _ => Err(CcaError::NotSecured(value)),
        };
        assert_eq!(lifecycle(i64::from(value)), expected, "{value:#x}");
    }
    for (edge, secured) in [(0x2FFF, false), (0x3000, true), (0x30FF, true), (0x3100, false)] {
        assert_eq!(lifecycle(edge).is_ok(), secured, "{edge:#x}");
    }
    for odd in [-1, 0x1_3000] {
        assert_eq!(lifecycle(odd), Err(CcaError::PlatformClaims(ClaimFault::Invalid("lifecycle"))));
    }
    // A device of PSA has the same states.
    for high in 0..=0xFF_u16 {
        let value = high << 8;
        let mut device = Device::new();
        set(&mut device.fields, LIFECYCLE, cbor::int(i64::from(value)));
        let expected = match high {
            0x30 => Ok(()),
            0x40 | 0x50 => Err(PsaError::Debug(value)),
            _ => Err(PsaError::NotSecured(value)),
        };
        assert_eq!(device.examine().map(|_| ()), expected, "{value:#x}");
    }
}

#[test]
fn n4_tokens_by_other_keys_than_the_platforms_and_the_realms_are_refused() {
    let realm = Realm::new();
    let mut strange = Realm::new();
    strange.platform.clone_from(&realm.platform);
    let forged = collection(&strange.platform_token(), &realm.realm_token());
    assert_eq!(realm.examine_bytes(forged), Err(CcaError::PlatformSignature));
    assert_eq!(cca::examine(&CcaEvidence { token: realm.token() }, &[], now()), Err(CcaError::KeyUnknown));
    // One of several trusted keys is enough; the key that the realm carries is none of the platform's.
    let keys = [strange.keys(), realm.keys()].concat();
    assert!(cca::examine(&CcaEvidence { token: realm.token() }, &keys, now()).is_ok());
    let own = signed(&realm.realm_key, ES384, &cbor::labelled(&realm.platform));
    assert_eq!(realm.examine_bytes(collection(&own, &realm.realm_token())), Err(CcaError::PlatformSignature));
    // The realm's token names the vouched key and is signed by another.
    let posing = signed(&strange.realm_key, ES384, &cbor::labelled(&realm.realm));
    assert_eq!(realm.examine_bytes(collection(&realm.platform_token(), &posing)), Err(CcaError::RealmSignature));
    let platforms = signed(&realm.platform_key, ES384, &cbor::labelled(&realm.realm));
    assert_eq!(realm.examine_bytes(collection(&realm.platform_token(), &platforms)), Err(CcaError::RealmSignature));
}

#[test]
fn n4_a_realms_key_is_on_p384_and_spelt_as_its_profile_says() {
    let mut small = Realm::new();
    small.realm_key = key(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let point = small.realm_key.public_key().as_ref().to_vec();
    small.carry(&point, HashAlgorithm::Sha256);
    let inner = signed(&small.realm_key, ES256, &cbor::labelled(&small.realm));
    let refused = small.examine_bytes(collection(&small.platform_token(), &inner));
    assert_eq!(refused, Err(CcaError::RealmKey(KeyError::Kind)));
    // The spelling of one profile in the other.
    let mut raw = Realm::of_2023();
    let point = raw.realm_key.public_key().as_ref().to_vec();
    raw.carry(&point, HashAlgorithm::Sha256);
    assert_eq!(raw.refusal(), CcaError::RealmKey(KeyError::Malformed));
    let mut cose = Realm::new();
    let written = cose_key(&cose.realm_key);
    cose.carry(&written, HashAlgorithm::Sha256);
    assert!(matches!(cose.refusal(), CcaError::RealmKey(_)));
    let mut empty = Realm::new();
    empty.carry(&[], HashAlgorithm::Sha256);
    assert_eq!(empty.refusal(), CcaError::RealmKey(KeyError::Kind));
}

#[test]
fn claims_that_are_missing_or_of_another_size_are_named() {
    let platform = [
        (PROFILE, "platform_profile"),
        (NONCE, "platform_challenge"),
        (2396, "implementation_id"),
        (256, "instance_id"),
        (2401, "config"),
        (LIFECYCLE, "lifecycle"),
        (COMPONENTS, "software_components"),
        (2402, "platform_hash_alg"),
    ];
    for (label, name) in platform {
        let mut realm = Realm::new();
        realm.platform.retain(|(known, _)| *known != label);
        assert_eq!(realm.refusal(), CcaError::PlatformClaims(ClaimFault::Missing(name)));
        let mut realm = Realm::new();
        set(&mut realm.platform, label, cbor::labelled(&[]));
        assert_eq!(realm.refusal(), CcaError::PlatformClaims(ClaimFault::Invalid(name)));
    }
    let realms = [
        (NONCE, "realm_challenge"),
        (44235, "rpv"),
        (44236, "realm_hash_alg"),
        (REALM_KEY, "realm_public_key"),
        (44238, "rim"),
        (REM, "rem"),
        (KEY_HASH, "rak_hash_alg"),
    ];
    for (label, name) in realms {
        let mut realm = Realm::new();
        realm.realm.retain(|(known, _)| *known != label);
        assert_eq!(realm.refusal(), CcaError::RealmClaims(ClaimFault::Missing(name)));
        let mut realm = Realm::new();
        set(&mut realm.realm, label, cbor::labelled(&[]));
        assert_eq!(realm.refusal(), CcaError::RealmClaims(ClaimFault::Invalid(name)));
    }
    let invalid = |label: i64, value: Vec<u8>| {
        let mut realm = Realm::new();
        set(&mut realm.platform, label, value);
        realm.refusal()
    };
    let fault = |name| CcaError::PlatformClaims(ClaimFault::Invalid(name));
    assert_eq!(invalid(2396, cbor::bytes(&[1; 31])), fault("implementation_id"));
    // A UEID of another type than a hash, or of another length.
    assert_eq!(invalid(256, cbor::bytes(&[&[2][..], &[0; 32]].concat())), fault("instance_id"));
    assert_eq!(invalid(256, cbor::bytes(&[1; 32])), fault("instance_id"));
    assert_eq!(invalid(2401, cbor::bytes(&[0; 1025])), fault("config"));
    assert_eq!(invalid(2402, cbor::text("sha-1")), fault("platform_hash_alg"));
    assert_eq!(invalid(2400, cbor::text(&"v".repeat(513))), fault("verification_service"));
    assert_eq!(invalid(2400, cbor::text("a\nb")), fault("verification_service"));
    assert_eq!(invalid(COMPONENTS, cbor::array(&[])), fault("software_components"));
    assert_eq!(invalid(COMPONENTS, cbor::array(&vec![component("x"); 65])), fault("software_components"));
    assert_eq!(invalid(COMPONENTS, cbor::array(&[cbor::int(1)])), fault("software_components"));
    // What is as large as is read is read.
    for (label, value) in [
        (2401, cbor::bytes(&[0; 1024])),
        (2400, cbor::text(&"v".repeat(512))),
        (COMPONENTS, cbor::array(&vec![component("x"); 64])),
    ] {
        let mut realm = Realm::new();
        set(&mut realm.platform, label, value);
        assert!(realm.examine().is_ok(), "{label}");
    }
    let unsigned = cbor::labelled(&[(2, cbor::bytes(&[0; 32]))]);
    let missing = CcaError::PlatformClaims(ClaimFault::Missing("signer_id"));
    assert_eq!(invalid(COMPONENTS, cbor::array(&[unsigned])), missing);
    let unknown = CcaError::PlatformClaims(ClaimFault::Profile("http://arm.com/CCA-SSD/2.0.0".to_owned()));
    assert_eq!(invalid(PROFILE, cbor::text("http://arm.com/CCA-SSD/2.0.0")), unknown);
    let mut realm = Realm::new();
    set(&mut realm.realm, PROFILE, cbor::text("tag:arm.com,2023:realm#2"));
    let unknown = ClaimFault::Profile("tag:arm.com,2023:realm#2".to_owned());
    assert_eq!(realm.refusal(), CcaError::RealmClaims(unknown));
    for count in [3, 5] {
        let mut realm = Realm::new();
        set(&mut realm.realm, REM, cbor::array(&vec![cbor::bytes(&[0; 32]); count]));
        assert_eq!(realm.refusal(), CcaError::RealmClaims(ClaimFault::Invalid("rem")), "{count}");
    }
    let mut realm = Realm::new();
    set(&mut realm.realm, REALM_KEY, cbor::bytes(&[4; 1025]));
    assert_eq!(realm.refusal(), CcaError::RealmClaims(ClaimFault::Invalid("realm_public_key")));
    // What a profile does not define is kept for people under its label.
    let mut realm = Realm::new();
    realm.realm.push((99_999, cbor::int(1)));
    assert_eq!(realm.examine().unwrap().claim("unknown_99999"), Some("present"));
}

#[test]
fn components_of_one_name_are_no_register() {
    let mut realm = Realm::new();
    set(&mut realm.platform, COMPONENTS, cbor::array(&[component("BL"), component("BL"), component("RMM")]));
    let genuine = realm.examine().unwrap();
    assert_eq!(genuine.register("platform.BL"), None);
    assert!(genuine.register("platform.RMM").is_some());
}

#[test]
fn what_is_no_collection_of_two_signed_tokens_is_refused() {
    let realm = Realm::new();
    let (platform, inner) = (realm.platform_token(), realm.realm_token());
    let refused = |token: Vec<u8>| realm.examine_bytes(token).unwrap_err();
    let entries = [(PLATFORM, cbor::bytes(&platform)), (REALM, cbor::bytes(&inner))];
    assert_eq!(refused(cbor::labelled(&entries)), CcaError::NotCollection);
    assert_eq!(refused(cbor::tag(398, &cbor::labelled(&entries))), CcaError::NotCollection);
    assert_eq!(refused(cbor::tag(399, &cbor::labelled(&entries[..1]))), CcaError::NotCollection);
    assert_eq!(refused(cbor::tag(399, &cbor::labelled(&entries[1..]))), CcaError::NotCollection);
    let more = [entries.to_vec(), vec![(1, cbor::int(1))]].concat();
    assert_eq!(refused(cbor::tag(399, &cbor::labelled(&more))), CcaError::NotCollection);
    let twice = [entries.to_vec(), vec![entries[1].clone()]].concat();
    assert_eq!(refused(cbor::tag(399, &cbor::labelled(&twice))).code(), "duplicate-key");
    assert_eq!(refused(platform.clone()), CcaError::NotCollection);
    assert_eq!(refused(vec![0; 65_537]), CcaError::TooLarge(65_537));
    assert!(matches!(refused(vec![0; 65_536]), CcaError::Collection(_)));
    // Whoever can check a MAC could have made it.
    let mac = cbor::tag(17, &platform[1..]);
    assert_eq!(refused(collection(&mac, &inner)), CcaError::PlatformEnvelope(CoseError::Type(17)));
    assert_eq!(refused(collection(&platform, &mac)), CcaError::RealmEnvelope(CoseError::Type(17)));
    // An envelope without its tag is one, too.
    assert!(realm.examine_bytes(collection(&platform[1..], &inner[1..])).is_ok());
}

/// A device of PSA with a key of our own.
struct Device {
    key: EcdsaKeyPair,
    fields: Fields,
}

impl Device {
    fn new() -> Device {
        let fields = vec![
            (PROFILE, cbor::text("tag:psacertified.org,2023:psa#tfm")),
            (2394, cbor::int(-1)),
            (LIFECYCLE, cbor::int(0x3000)),
            (2396, cbor::bytes(&[0x11; 32])),
            (268, cbor::bytes(&[0x22; 32])),
            (2398, cbor::text("1234567890123-12345")),
            (COMPONENTS, cbor::array(&[component("SPE")])),
            (NONCE, cbor::bytes(&[0x42; 32])),
            (256, instance_id()),
            (2400, cbor::text("https://verifier.example")),
        ];
        Device { key: key(&ECDSA_P256_SHA256_FIXED_SIGNING), fields }
    }

    fn token(&self) -> Vec<u8> {
        signed(&self.key, ES256, &cbor::labelled(&self.fields))
    }

    fn examine(&self) -> Result<Genuine, PsaError> {
        self.examine_bytes(self.token())
    }

    fn examine_bytes(&self, token: Vec<u8>) -> Result<Genuine, PsaError> {
        psa::examine(&PsaEvidence { token }, &[public(&self.key)], now())
    }
}

#[test]
fn a_device_in_which_all_is_right_passes_four_steps() {
    let genuine = Device::new().examine().unwrap();
    assert_eq!(genuine.steps().iter().map(|step| step.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(genuine.tier(), Tier::Tpm);
    assert!(genuine.clone().appraise(&[0x42; 32], &policy("SPE", &[0xA5; 32])).is_ok());
    assert_eq!(genuine.appraise(&[0x43; 32], &policy("SPE", &[0xA5; 32])).err(), Some(Unfit::NotBound));
}

#[test]
fn a_device_by_another_key_or_with_other_claims_is_refused() {
    let device = Device::new();
    let token = device.token();
    let judged =
        |keys: &[VerificationKey]| psa::examine(&PsaEvidence { token: token.clone() }, keys, now()).map(|_| ());
    assert_eq!(judged(&[]), Err(PsaError::KeyUnknown));
    assert_eq!(judged(&[public(&Device::new().key)]), Err(PsaError::Signature));
    // A key of another kind cannot have signed it.
    assert_eq!(judged(&[public(&p384())]), Err(PsaError::Signature));
    assert_eq!(judged(&[public(&p384()), public(&device.key)]), Ok(()));
    assert_eq!(device.examine_bytes(vec![0; 65_537]), Err(PsaError::TooLarge(65_537)));
    assert!(matches!(device.examine_bytes(vec![0; 65_536]), Err(PsaError::Envelope(_))));
    let mac = cbor::tag(17, &token[1..]);
    assert_eq!(device.examine_bytes(mac), Err(PsaError::Envelope(CoseError::Type(17))));
    let refused = |change: &dyn Fn(&mut Fields)| {
        let mut device = Device::new();
        change(&mut device.fields);
        device.examine().map(|_| ())
    };
    let names = [
        (PROFILE, "profile"),
        (2394, "client_id"),
        (LIFECYCLE, "lifecycle"),
        (2396, "implementation_id"),
        (COMPONENTS, "software_components"),
        (NONCE, "nonce"),
        (256, "instance_id"),
    ];
    for (label, name) in names {
        let without = refused(&|fields| fields.retain(|(known, _)| *known != label));
        assert_eq!(without, Err(PsaError::Claims(ClaimFault::Missing(name))));
    }
    let invalid = [
        (2394, cbor::int(1 << 31), "client_id"),
        (268, cbor::bytes(&[0; 7]), "boot_seed"),
        (268, cbor::bytes(&[0; 33]), "boot_seed"),
        (2398, cbor::text("123456789012-12345"), "certification_reference"),
        (2398, cbor::text("1234567890123-1234"), "certification_reference"),
        (2398, cbor::text("1234567890123-1234x"), "certification_reference"),
        (2398, cbor::text("12345678901234"), "certification_reference"),
        (2400, cbor::int(1), "verification_service"),
        (NONCE, cbor::bytes(&[0; 33]), "nonce"),
        (-75000, cbor::text("PSA_IOT_PROFILE_1"), "profile"),
    ];
    for (label, value, name) in invalid {
        let changed = refused(&|fields| set(fields, label, value.clone()));
        assert_eq!(changed, Err(PsaError::Claims(ClaimFault::Invalid(name))), "{label}");
    }
    for (label, value) in
        [(268, cbor::bytes(&[0; 8])), (2398, cbor::text("1234567890123")), (2394, cbor::int(i64::from(i32::MIN)))]
    {
        assert_eq!(refused(&|fields| set(fields, label, value.clone())), Ok(()), "{label}");
    }
    let unknown = refused(&|fields| set(fields, PROFILE, cbor::text("tag:psacertified.org,2024:psa")));
    let profile = ClaimFault::Profile("tag:psacertified.org,2024:psa".to_owned());
    assert_eq!(unknown, Err(PsaError::Claims(profile)));
}

#[test]
fn the_first_psa_profile_may_leave_its_name_and_signers_out() {
    let mut device = Device::new();
    let new = device.fields.clone();
    let of = |label: i64| new.iter().find(|(known, _)| *known == label).unwrap().1.clone();
    device.fields = vec![
        (-75001, of(2394)),
        (-75002, of(LIFECYCLE)),
        (-75003, of(2396)),
        (-75004, of(268)),
        (-75006, cbor::array(&[cbor::labelled(&[(2, cbor::bytes(&[0xA5; 32]))])])),
        (-75008, of(NONCE)),
        (-75009, of(256)),
    ];
    assert_eq!(device.examine().unwrap().claim("profile"), Some("PSA_IOT_PROFILE_1"));
    device.fields.retain(|(label, _)| *label != -75008);
    assert_eq!(device.examine().unwrap_err(), PsaError::Claims(ClaimFault::Missing("profile")));
}

#[test]
fn a1_every_bit_of_a_realms_and_a_devices_token_counts() {
    let realm = Realm::of_2023();
    let token = realm.token();
    for bit in 0..token.len() * 8 {
        assert!(realm.examine_bytes(flip(&token, bit)).is_err(), "bit {bit}");
    }
    let device = Device::new();
    let token = device.token();
    for bit in 0..token.len() * 8 {
        assert!(device.examine_bytes(flip(&token, bit)).is_err(), "bit {bit}");
    }
}

#[test]
fn a1_every_bit_of_a_real_realms_and_a_real_devices_token_counts() {
    let Some(case) = Case::one("cca/tf-rmm-token-01") else { return };
    let (token, keys) = (case.bytes("token"), [VerificationKey::from_spki(&case.bytes("cpak")).unwrap()]);
    let judged = |token: Vec<u8>| cca::examine(&CcaEvidence { token }, &keys, now());
    assert!(judged(token.clone()).is_ok());
    for bit in 0..token.len() * 8 {
        assert!(judged(flip(&token, bit)).is_err(), "bit {bit}");
    }
    let case = Case::one("psa/tf-m-2.0.0").unwrap();
    let (token, keys) = (case.bytes("token"), [VerificationKey::from_spki(&case.bytes("iak")).unwrap()]);
    let judged = |token: Vec<u8>| psa::examine(&PsaEvidence { token }, &keys, now());
    assert!(judged(token.clone()).is_ok());
    for bit in 0..token.len() * 8 {
        assert!(judged(flip(&token, bit)).is_err(), "bit {bit}");
    }
}

#[test]
fn a1_what_is_not_signed_in_a_token_are_the_tags_and_the_headers_outside() {
    let realm = Realm::new();
    let outside = cbor::labelled(&[(4, cbor::bytes(b"the name of a key"))]);
    let sign = |pair: &EcdsaKeyPair, fields: &Fields| {
        let sign = |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        cbor::sign1(&cbor::protected(ES384), &outside, &cbor::labelled(fields), sign)
    };
    let (platform, inner) = (sign(&realm.platform_key, &realm.platform), sign(&realm.realm_key, &realm.realm));
    let token = collection(&platform, &inner);
    let names: Vec<usize> = (0..token.len()).filter(|at| token[*at..].starts_with(b"the name of a key")).collect();
    assert_eq!(names.len(), 2);
    for bit in 0..token.len() * 8 {
        let place = bit / 8;
        // The label of the header may become another that is not known either, and its value anything.
        let unsigned = names.iter().any(|name| (name - 2..name + 17).contains(&place));
        let outcome = realm.examine_bytes(flip(&token, bit));
        assert!(outcome.is_err() || unsigned, "bit {bit}");
    }
    assert!(names.iter().all(|name| realm.examine_bytes(flip(&token, name * 8)).is_ok()));
}

#[test]
fn a2_tokens_cut_anywhere_or_with_a_byte_more_are_malformed() {
    let (realm, device) = (Realm::new(), Device::new());
    let (token, other) = (realm.token(), device.token());
    for size in 0..token.len() {
        let refused = realm.examine_bytes(token[..size].to_vec()).unwrap_err();
        assert!(refused.is_malformed() && refused.step() == 1, "{size}: {refused:?}");
    }
    for size in 0..other.len() {
        let refused = device.examine_bytes(other[..size].to_vec()).unwrap_err();
        assert!(refused.is_malformed() && refused.step() == 1, "{size}: {refused:?}");
    }
    assert_eq!(realm.examine_bytes([&token[..], &[0]].concat()).unwrap_err().code(), "trailing-bytes");
    assert_eq!(device.examine_bytes([&other[..], &[0]].concat()).unwrap_err().code(), "trailing-bytes");
    // The tokens inside, each cut or longer, in a collection that is whole.
    let (platform, inner) = (realm.platform_token(), realm.realm_token());
    for size in 0..platform.len() {
        let cut = realm.examine_bytes(collection(&platform[..size], &inner)).unwrap_err();
        assert!(matches!(cut, CcaError::PlatformEnvelope(_)), "{size}: {cut:?}");
    }
    for size in 0..inner.len() {
        let cut = realm.examine_bytes(collection(&platform, &inner[..size])).unwrap_err();
        assert!(matches!(cut, CcaError::RealmEnvelope(_)), "{size}: {cut:?}");
    }
    let longer = realm.examine_bytes(collection(&[&platform[..], &[0]].concat(), &inner)).unwrap_err();
    assert_eq!(longer.code(), "trailing-bytes");
    let longer = realm.examine_bytes(collection(&platform, &[&inner[..], &[0]].concat())).unwrap_err();
    assert_eq!(longer.code(), "trailing-bytes");
}

#[test]
fn a7_evidence_of_other_platforms_is_no_token_of_arm() {
    let (realm, device) = (Realm::new(), Device::new());
    assert!(realm.examine_bytes(device.token()).unwrap_err().is_malformed());
    assert_eq!(device.examine_bytes(realm.token()), Err(PsaError::Envelope(CoseError::Type(399))));
    // A token of the other kind by the very same key.
    let mut platform = Device { key: p384(), fields: realm.platform.clone() };
    let token = signed(&platform.key, ES384, &cbor::labelled(&platform.fields));
    assert!(matches!(platform.examine_bytes(token), Err(PsaError::Claims(ClaimFault::Profile(_)))));
    platform.fields.retain(|(label, _)| *label != PROFILE);
    let token = signed(&platform.key, ES384, &cbor::labelled(&platform.fields));
    assert_eq!(platform.examine_bytes(token), Err(PsaError::Claims(ClaimFault::Missing("profile"))));
    for (id, role) in [
        ("snp/trustee-turin-report", "report"),
        ("nitro/attestation-doc-validation-valid-attestation-doc-base", "document"),
        ("tdx/attestation-rs-live-evidence", "quote"),
        ("keystone/synthetic-a", "report"),
    ] {
        let Some(case) = Case::one(id) else { return };
        let bytes = case.bytes(role);
        let (of_realm, of_device) = (realm.examine_bytes(bytes.clone()), device.examine_bytes(bytes));
        assert_eq!(of_realm.map_err(|error| error.step()).unwrap_err(), 1, "{id}");
        assert!(of_device.map_err(|error| error.step()).unwrap_err() <= 2, "{id}");
    }
}
