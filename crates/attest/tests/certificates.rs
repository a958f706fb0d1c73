//! Chains of makers' certificates: each link can be wrong in one thing, and the refusal names the link and the thing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use attest::certificate::{Certificate, CertificateFault, ChainError, RevocationList, TrustAnchor, check_chain};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

/// Root, intermediate and leaf, each described by parameters that a test may spoil.
struct Chain {
    root: (CertificateParams, KeyPair),
    intermediate: (CertificateParams, KeyPair),
    leaf: (CertificateParams, KeyPair),
}

impl Chain {
    fn new() -> Chain {
        let authority = |name: &str| {
            let mut params = named(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        Chain {
            root: (authority("Root"), key()),
            intermediate: (authority("Intermediate"), key()),
            leaf: (named("Leaf"), KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()),
        }
    }

    fn root(&self) -> Vec<u8> {
        self.root.0.self_signed(&self.root.1).unwrap().der().to_vec()
    }

    fn ders(&self) -> [Vec<u8>; 3] {
        let root = Issuer::from_params(&self.root.0, &self.root.1);
        let intermediate = self.intermediate.0.signed_by(&self.intermediate.1, &root).unwrap();
        let issuer = Issuer::from_params(&self.intermediate.0, &self.intermediate.1);
        let leaf = self.leaf.0.signed_by(&self.leaf.1, &issuer).unwrap();
        [leaf.der().to_vec(), intermediate.der().to_vec(), self.root()]
    }

    fn check(&self) -> Result<(), ChainError> {
        check(&self.ders(), &[anchor(&self.root())], now())
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn anchor(der: &[u8]) -> TrustAnchor {
    TrustAnchor::pin(der).unwrap()
}

fn check(ders: &[Vec<u8>], anchors: &[TrustAnchor], now: Timestamp) -> Result<(), ChainError> {
    let chain: Vec<Certificate<'_>> = ders.iter().map(|der| Certificate::parse(der).unwrap()).collect();
    check_chain(&chain, anchors, now)
}

fn fault(at: usize, subject: &str, fault: CertificateFault) -> Result<(), ChainError> {
    Err(ChainError { at, subject: subject.to_owned(), fault })
}

#[test]
fn a_whole_chain_holds_with_and_without_its_root() {
    let chain = Chain::new();
    let ders = chain.ders();
    let anchors = [anchor(&chain.root())];
    assert_eq!(check(&ders, &anchors, now()), Ok(()));
    assert_eq!(check(&ders[..2], &anchors, now()), Ok(()));
    // The order of several anchors does not matter.
    let other = anchor(&Chain::new().root());
    assert_eq!(check(&ders[..2], &[other, anchors[0].clone()], now()), Ok(()));
}

#[test]
fn a_chain_that_ends_elsewhere_is_untrusted_even_under_the_same_name() {
    let (chain, other) = (Chain::new(), Chain::new());
    let anchors = [anchor(&other.root())];
    assert_eq!(check(&chain.ders(), &anchors, now()), fault(2, "Root", CertificateFault::Untrusted));
    assert_eq!(check(&chain.ders()[..2], &anchors, now()), fault(1, "Intermediate", CertificateFault::Untrusted));
    assert_eq!(check(&chain.ders()[..1], &anchors, now()), fault(0, "Leaf", CertificateFault::Untrusted));
    assert_eq!(check(&chain.ders(), &[], now()), fault(2, "Root", CertificateFault::Untrusted));
    assert_eq!(check(&[], &anchors, now()), fault(0, "", CertificateFault::Malformed));
}

#[test]
fn every_certificate_has_its_time() {
    let time = |text: &str| -> Timestamp { text.parse().unwrap() };
    let chain = Chain::new();
    let (ders, anchors) = (chain.ders(), [anchor(&chain.root())]);
    assert_eq!(check(&ders, &anchors, time("2025-01-01T00:00:00Z")), Ok(()));
    assert_eq!(check(&ders, &anchors, time("2027-01-01T00:00:00Z")), Ok(()));
    assert_eq!(check(&ders, &anchors, time("2027-01-01T00:00:01Z")), fault(0, "Leaf", CertificateFault::Expired));
    assert_eq!(check(&ders, &anchors, time("2024-12-31T23:59:59Z")), fault(0, "Leaf", CertificateFault::NotYetValid));
    let mut chain = Chain::new();
    chain.intermediate.0.not_after = date_time_ymd(2025, 6, 1);
    assert_eq!(chain.check(), fault(1, "Intermediate", CertificateFault::Expired));
    let mut chain = Chain::new();
    chain.root.0.not_after = date_time_ymd(2025, 6, 1);
    assert_eq!(chain.check(), fault(2, "Root", CertificateFault::Expired));
}

#[test]
fn only_authorities_issue_and_only_as_deep_as_they_may() {
    let mut chain = Chain::new();
    chain.intermediate.0.is_ca = IsCa::NoCa;
    assert_eq!(chain.check(), fault(0, "Leaf", CertificateFault::NotAuthority));
    let mut chain = Chain::new();
    chain.intermediate.0.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(chain.check(), fault(0, "Leaf", CertificateFault::NotAuthority));
    let mut chain = Chain::new();
    chain.intermediate.0.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert_eq!(chain.check(), fault(0, "Leaf", CertificateFault::NotAuthority));
    let mut chain = Chain::new();
    chain.root.0.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert_eq!(chain.check(), fault(1, "Intermediate", CertificateFault::NotAuthority));
    let mut chain = Chain::new();
    chain.root.0.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    assert_eq!(chain.check(), Ok(()));
}

#[test]
fn names_and_signatures_lead_from_link_to_link() {
    let (chain, other) = (Chain::new(), Chain::new());
    let anchors = [anchor(&chain.root())];
    // Same name, other key: the signature does not verify.
    let [leaf, intermediate, root] = chain.ders();
    let [_, stranger, _] = other.ders();
    let mixed = [leaf.clone(), stranger, root.clone()];
    assert_eq!(check(&mixed, &anchors, now()), fault(0, "Leaf", CertificateFault::Signature));
    // Out of order.
    let swapped = [intermediate.clone(), leaf.clone(), root.clone()];
    assert_eq!(check(&swapped, &anchors, now()), fault(0, "Intermediate", CertificateFault::Issuer));
    assert_eq!(check(&[leaf, root], &anchors, now()), fault(0, "Leaf", CertificateFault::Issuer));
}

#[test]
fn a1_every_bit_of_a_leaf_counts() {
    let chain = Chain::new();
    let [leaf, intermediate, root] = chain.ders();
    let anchors = [anchor(&root)];
    for bit in 0..leaf.len() * 8 {
        let mut changed = leaf.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(parsed) = Certificate::parse(&changed) else { continue };
        let chain = [parsed, Certificate::parse(&intermediate).unwrap(), Certificate::parse(&root).unwrap()];
        assert!(check_chain(&chain, &anchors, now()).is_err(), "bit {bit}");
    }
    for size in 0..leaf.len() {
        assert_eq!(Certificate::parse(&leaf[..size]).err(), Some(CertificateFault::Malformed));
    }
    let longer = [leaf.as_slice(), &[0]].concat();
    assert_eq!(Certificate::parse(&longer).err(), Some(CertificateFault::Malformed));
}

#[test]
fn an_unknown_critical_extension_is_refused_and_an_uncritical_one_is_read() {
    let mut chain = Chain::new();
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![0x05, 0x00]);
    chain.leaf.0.custom_extensions = vec![extension.clone()];
    assert_eq!(chain.check(), Ok(()));
    let [leaf, ..] = chain.ders();
    assert_eq!(Certificate::parse(&leaf).unwrap().extension("1.3.6.1.4.1.99999.1"), Some(&[0x05, 0x00][..]));
    extension.set_criticality(true);
    chain.leaf.0.custom_extensions = vec![extension];
    assert_eq!(chain.check(), fault(0, "Leaf", CertificateFault::CriticalExtension));
}

#[test]
fn other_keys_of_authorities_are_known_too() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
        let mut chain = Chain::new();
        chain.root.1 = KeyPair::generate_for(algorithm).unwrap();
        chain.intermediate.1 = KeyPair::generate_for(algorithm).unwrap();
        assert_eq!(chain.check(), Ok(()));
    }
}

#[test]
fn revocation_lists_are_signed_current_and_whole() {
    let chain = Chain::new();
    let [leaf, intermediate, root] = chain.ders();
    let (leaf, intermediate) = (Certificate::parse(&leaf).unwrap(), Certificate::parse(&intermediate).unwrap());
    let list = |serials: &[Vec<u8>]| {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date_time_ymd(2025, 5, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 12, 1),
            next_update: date_time_ymd(2026, 2, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&chain.intermediate.0, &chain.intermediate.1);
        params.signed_by(&issuer).unwrap().der().to_vec()
    };
    let revoking = list(&[vec![1, 2, 3], leaf.serial()]);
    assert!(RevocationList::check(&revoking, &intermediate, now()).unwrap().revokes(&leaf));
    let sparing = list(&[vec![1, 2, 3]]);
    let read = RevocationList::check(&sparing, &intermediate, now()).unwrap();
    let period = ("2025-12-01T00:00:00Z".parse().unwrap(), "2026-02-01T00:00:00Z".parse().unwrap());
    assert_eq!((read.last_update(), read.next_update()), period);
    assert_eq!(RevocationList::claimed_period(&sparing), Some(period));
    assert_eq!(RevocationList::claimed_issuer(&sparing).as_deref(), Some("Intermediate"));
    assert_eq!(RevocationList::claimed_period(&sparing[1..]), None);
    assert_eq!(RevocationList::claimed_issuer(&sparing[1..]), None);
    assert!(!RevocationList::check(&sparing, &intermediate, now()).unwrap().revokes(&leaf));
    let refused = |der: &[u8], issuer: &Certificate<'_>, now: Timestamp| RevocationList::check(der, issuer, now).err();
    let time = |text: &str| -> Timestamp { text.parse().unwrap() };
    assert_eq!(refused(&sparing, &intermediate, time("2026-02-01T00:00:01Z")), Some(CertificateFault::Expired));
    assert_eq!(refused(&sparing, &intermediate, time("2025-11-30T23:59:59Z")), Some(CertificateFault::NotYetValid));
    // Another algorithm outside than inside, though its bytes stand in the signed part: as a serial number.
    let sha = |last: u8| vec![0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, last];
    let mut quoting = list(&[sha(2)]);
    let outside = quoting.windows(12).rposition(|window| window == sha(3)).unwrap();
    quoting[outside + 11] = 2;
    assert_eq!(refused(&quoting, &intermediate, now()), Some(CertificateFault::Malformed));
    let other = Chain::new().ders();
    assert_eq!(refused(&sparing, &Certificate::parse(&other[1]).unwrap(), now()), Some(CertificateFault::Signature));
    assert_eq!(refused(&sparing, &Certificate::parse(&root).unwrap(), now()), Some(CertificateFault::Issuer));
    assert_eq!(refused(&sparing[..sparing.len() - 1], &intermediate, now()), Some(CertificateFault::Malformed));
    for bit in 0..revoking.len() * 8 {
        let mut changed = revoking.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(RevocationList::check(&changed, &intermediate, now()).is_err(), "bit {bit}");
    }
}

#[test]
fn bundles_come_as_pem_or_der_and_may_be_padded_with_zeros() {
    let chain = Chain::new();
    let ders = chain.ders();
    let mut padded = ders.concat();
    padded.extend([0; 100]);
    assert_eq!(Certificate::split(&padded), Ok(ders.to_vec()));
    let root = chain.root.0.self_signed(&chain.root.1).unwrap();
    let parsed = Certificate::split(root.pem().as_bytes()).unwrap();
    assert_eq!(parsed, [root.der().to_vec()]);
    for bad in [&b""[..], b"\0\0\0", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAA"] {
        assert_eq!(Certificate::split(bad), Err(CertificateFault::Malformed));
    }
    let many = ders.concat().repeat(6);
    assert_eq!(Certificate::split(&many), Err(CertificateFault::Malformed));
}

/// A self-signed certificate of exactly this size.
fn certificate_of(size: usize) -> Vec<u8> {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let made = |filling: usize| {
        let mut params = named("Large");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serial_number = Some(SerialNumber::from(7_u64));
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999], vec![0; filling]));
        params.self_signed(&key).unwrap().der().to_vec()
    };
    let filling = size - 1_000;
    let der = made(filling + size - made(filling).len());
    assert_eq!(der.len(), size);
    der
}

#[test]
fn sizes_are_bounded_to_the_byte() {
    let malformed = Some(CertificateFault::Malformed);
    assert_eq!(Certificate::parse(&certificate_of(65_536)).err(), None);
    assert_eq!(Certificate::parse(&certificate_of(65_537)).err(), malformed);
    let root = Chain::new().root();
    let padded = |size: usize| [root.as_slice(), &vec![0; size - root.len()]].concat();
    assert_eq!(Certificate::split(&padded(512 * 1024)).unwrap().len(), 1);
    assert_eq!(Certificate::split(&padded(512 * 1024 + 1)).err(), malformed);
    assert_eq!(Certificate::split(&root.repeat(16)).unwrap().len(), 16);
    assert_eq!(Certificate::split(&root.repeat(17)).err(), malformed);
    // One that signed itself is a chain of any length, and 16 are the most that are walked.
    let parsed = |count: usize| vec![Certificate::parse(&root).unwrap(); count];
    assert_eq!(check_chain(&parsed(16), &[anchor(&root)], now()), Ok(()));
    assert_eq!(check_chain(&parsed(17), &[anchor(&root)], now()), fault(0, "", CertificateFault::Malformed));
    assert_eq!(check_chain(&[], &[anchor(&root)], now()), fault(0, "", CertificateFault::Malformed));
    let list = |size: usize| [&[0x30], vec![0; size - 1].as_slice()].concat();
    assert_eq!(RevocationList::der(&list(4 << 20)).map(|der| der.len()), Ok(4 << 20));
    assert_eq!(RevocationList::der(&list((4 << 20) + 1)).err(), malformed);
}

/// A list of exactly this size, by the key of `issuer`.
fn list_of(size: usize, issuer: &Issuer<'_, &KeyPair>) -> Vec<u8> {
    let made = |count: usize, last: usize| {
        let revoked = |bytes: usize| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&vec![1; bytes]),
            revocation_time: date_time_ymd(2025, 6, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let mut entries: Vec<RevokedCertParams> = (0..count).map(|_| revoked(20)).collect();
        entries.push(revoked(last));
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 6, 1),
            next_update: date_time_ymd(2026, 6, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: entries,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().der().to_vec()
    };
    let each = made(1_001, 1).len() - made(1_000, 1).len();
    let most = size / each - 10;
    let more = size - made(most, 1).len();
    let der = made(most + more / each, 1 + more % each);
    assert_eq!(der.len(), size);
    der
}

#[test]
fn a_revocation_list_is_read_up_to_4_mib_and_no_further() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = named("Root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key).unwrap().der().to_vec();
    let root = Certificate::parse(&root).unwrap();
    let issuer = Issuer::from_params(&params, &key);
    assert!(RevocationList::check(&list_of(4 << 20, &issuer), &root, now()).is_ok());
    let longer = list_of((4 << 20) + 1, &issuer);
    assert_eq!(RevocationList::check(&longer, &root, now()).err(), Some(CertificateFault::Malformed));
}

#[test]
fn what_stands_around_the_signed_part_has_one_spelling() {
    // ecdsa-with-SHA256 and ecdsa-with-SHA384, each as an AlgorithmIdentifier.
    let algorithm = |last: u8| [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, last];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = named("Root");
    let quoting = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999], algorithm(2).to_vec());
    params.custom_extensions.push(quoting);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let parsed = Certificate::parse(&der).unwrap();
    assert_eq!(parsed.der(), der);
    // The algorithm outside is another than the one inside, though its bytes stand in the signed part.
    let outside = der.windows(12).rposition(|window| window == algorithm(3)).unwrap();
    let mut other = der.clone();
    other[outside + 11] = 2;
    assert_eq!(Certificate::parse(&other).err(), Some(CertificateFault::Malformed));
    // A signature that is said not to use up its last byte.
    let unused = der.len() - parsed.parsed().signature_value.data.len() - 1;
    assert_eq!(der[unused], 0);
    let mut other = der.clone();
    other[unused] = 1;
    assert_eq!(Certificate::parse(&other).err(), Some(CertificateFault::Malformed));
}

#[test]
fn an_authority_has_issued_what_it_signed_under_its_name() {
    let (chain, other) = (Chain::new(), Chain::new());
    let ([leaf, intermediate, root], stranger) = (chain.ders(), other.root());
    let issued = |root: &[u8], der: &[u8]| anchor(root).has_issued(&Certificate::parse(der).unwrap());
    assert!(issued(&root, &intermediate));
    assert!(!issued(&root, &leaf) && !issued(&stranger, &intermediate));
}

#[test]
fn a_chain_may_end_in_another_certificate_of_a_pinned_key() {
    let (chain, other) = (Chain::new(), Chain::new());
    // The root's key and name, certified by somebody else: who is pinned is the key.
    let cross = chain.root.0.signed_by(&chain.root.1, &Issuer::from_params(&other.root.0, &other.root.1)).unwrap();
    let [leaf, intermediate, root] = chain.ders();
    let ders = [leaf, intermediate, cross.der().to_vec()];
    assert_eq!(check(&ders, &[anchor(&root)], now()), Ok(()));
    assert_eq!(check(&ders, &[anchor(&Chain::new().root())], now()), fault(2, "Root", CertificateFault::Untrusted));
}
