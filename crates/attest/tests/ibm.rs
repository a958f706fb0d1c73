//! The names by which IBM's signing key goes: other spellings of it are taken, other keys are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use attest::{
    certificate::{CertificateFault, TrustAnchor},
    ibm::{HostKeyDocument, IbmError, examine},
    platform::Genuine,
};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, RevokedCertParams, SerialNumber, date_time_ymd,
};

const IBM: &str = "International Business Machines Corporation";
const SERVICE: &str = "IBM Z Host Key Signing Service";

/// Attributes in an order.
type Name<'a> = &'a [(DnType, &'a str)];

fn spelt(place: &str, reordered: bool) -> Vec<(DnType, &str)> {
    let (country, state) = ((DnType::CountryName, "US"), (DnType::StateOrProvinceName, "New York"));
    let (place, organisation) = ((DnType::LocalityName, place), (DnType::OrganizationName, IBM));
    let (unit, common) = ((DnType::OrganizationalUnitName, SERVICE), (DnType::CommonName, IBM));
    if reordered {
        vec![country, organisation, unit, place, state, common]
    } else {
        vec![country, state, place, organisation, unit, common]
    }
}

fn params(name: Name<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    name.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params
}

/// A signing key under a root, and what of it may be spelt or identified otherwise.
struct Forge {
    signer: Vec<(DnType, &'static str)>,
    document: Vec<(DnType, &'static str)>,
    list: Vec<(DnType, &'static str)>,
    document_key: Option<Vec<u8>>,
    list_key: Option<Vec<u8>>,
    /// The document, the list, or both are of another key under the same name.
    other_key: [bool; 2],
    above: Above,
    /// What the signing key may be used for.
    usages: Vec<KeyUsagePurpose>,
    /// The document's serial number.
    serial: u64,
}

/// What stands above the signing key: an authority below the anchor, and the anchor's list of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    /// The anchor alone, which is among the intermediates.
    Anchor,
    /// An authority, with a list of the anchor that holds.
    Listed,
    /// The list is not there, of another time, of another issuer, or signed by somebody else.
    NoList,
    Expired,
    Future,
    OtherIssuer,
    Forged,
    /// The anchor revoked the authority, says so in one list of two, or the authority revoked the signing key.
    Revoked,
    RevokedBefore,
    SignerRevoked,
}

impl Forge {
    fn new() -> Forge {
        let name = || spelt("Poughkeepsie", false);
        Forge {
            signer: name(),
            document: name(),
            list: name(),
            document_key: None,
            list_key: None,
            other_key: [false; 2],
            above: Above::Anchor,
            usages: vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign],
            serial: 0x0a0b_0c00,
        }
    }

    fn examine(&self) -> Result<(), IbmError> {
        self.genuine().map(|_| ())
    }

    fn genuine(&self) -> Result<Genuine, IbmError> {
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut root = params(&[(DnType::CommonName, "Root")]);
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_key = key();
        let mut signer = params(&self.signer);
        signer.is_ca = IsCa::ExplicitNoCa;
        signer.key_usages.clone_from(&self.usages);
        let (signer_key, other_key) = (key(), key());
        // The issuer as the document or the list names it.
        let named = |name: Name<'_>, id: &KeyIdMethod| {
            let mut issuer = params(name);
            issuer.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
            issuer.key_identifier_method = id.clone();
            issuer
        };
        // The default is the identifier of the key that signs; the signer's own stands there whoever signs.
        let own = signer.key_identifier(&signer_key);
        let identified = |id: Option<&[u8]>| KeyIdMethod::PreSpecified(id.unwrap_or(&own).to_vec());
        let (document_id, list_id) = (identified(self.document_key.as_deref()), identified(self.list_key.as_deref()));
        let signs = |other: bool| if other { &other_key } else { &signer_key };
        let (document_issuer, list_issuer) = (named(&self.document, &document_id), named(&self.list, &list_id));
        let document_issuer = Issuer::from_params(&document_issuer, signs(self.other_key[0]));
        let list_issuer = Issuer::from_params(&list_issuer, signs(self.other_key[1]));
        let root_issuer = Issuer::from_params(&root, &root_key);
        let mut authority = params(&[(DnType::CommonName, "Authority")]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.serial_number = Some(SerialNumber::from(0x77_u64));
        signer.serial_number = Some(SerialNumber::from(0x78_u64));
        let authority_key = key();
        let authority_issuer = Issuer::from_params(&authority, &authority_key);
        let dated = |from: i32, until: i32, revoked: &[u64], key_identifier_method| CertificateRevocationListParams {
            this_update: date_time_ymd(from, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(|serial| revoked_serial(*serial)).collect(),
            key_identifier_method,
        };
        let list = |key_identifier_method| dated(2025, 2027, &[], key_identifier_method);
        let mut document = params(&[(DnType::CommonName, "Host")]);
        document.serial_number = Some(SerialNumber::from(self.serial));
        let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
        let by = |list: CertificateRevocationListParams, issuer: &Issuer<'_, &KeyPair>| {
            list.signed_by(issuer).unwrap().der().to_vec()
        };
        let method = KeyIdMethod::Sha256;
        let root_list = match self.above {
            Above::Anchor | Above::Listed | Above::SignerRevoked => Some(by(list(method), &root_issuer)),
            Above::NoList => None,
            Above::Expired => Some(by(dated(2024, 2025, &[], method), &root_issuer)),
            Above::Future => Some(by(dated(2026, 2027, &[], method), &root_issuer)),
            Above::OtherIssuer => Some(by(list(method), &Issuer::from_params(&params(&[]), &root_key))),
            Above::Forged => Some(by(list(method), &Issuer::from_params(&root, &other_key))),
            Above::Revoked | Above::RevokedBefore => Some(by(dated(2025, 2027, &[0x77], method), &root_issuer)),
        };
        let revoked: &[u64] = if self.above == Above::SignerRevoked { &[0x78] } else { &[] };
        let authority_list = by(dated(2025, 2027, revoked, KeyIdMethod::Sha256), &authority_issuer);
        let (issuer, intermediate, lists) = if self.above == Above::Anchor {
            (&root_issuer, root_der.clone(), root_list.into_iter().collect())
        } else {
            let der = authority.signed_by(&authority_key, &root_issuer).unwrap().der().to_vec();
            let another = (self.above == Above::RevokedBefore).then(|| by(list(KeyIdMethod::Sha256), &root_issuer));
            (&authority_issuer, der, root_list.into_iter().chain(another).chain([authority_list]).collect())
        };
        let evidence = HostKeyDocument {
            document: document.signed_by(&key(), &document_issuer).unwrap().der().to_vec(),
            signing_key: signer.signed_by(&signer_key, issuer).unwrap().der().to_vec(),
            intermediates: vec![intermediate],
            list: list(list_id).signed_by(&list_issuer).unwrap().der().to_vec(),
            authority_lists: lists,
        };
        let now: Timestamp = "2025-06-01T00:00:00Z".parse().unwrap();
        examine(&evidence, &[TrustAnchor::pin(&root_der).unwrap()], now)
    }
}

fn revoked_serial(serial: u64) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2025, 3, 1),
        reason_code: None,
        invalidity_date: None,
    }
}

#[test]
fn the_anchors_list_counts_for_the_authority_below_it() {
    let with = |above: Above| Forge { above, ..Forge::new() }.examine();
    assert_eq!((with(Above::Anchor), with(Above::Listed)), (Ok(()), Ok(())));
    assert_eq!(with(Above::NoList), Err(IbmError::ListMissing("Root".to_owned())));
    assert_eq!(with(Above::OtherIssuer), Err(IbmError::ListMissing("Root".to_owned())));
    assert_eq!(with(Above::Expired), Err(IbmError::AuthorityList(CertificateFault::Expired)));
    assert_eq!(with(Above::Future), Err(IbmError::AuthorityList(CertificateFault::NotYetValid)));
    assert_eq!(with(Above::Forged), Err(IbmError::AuthorityList(CertificateFault::Signature)));
    for above in [Above::Revoked, Above::RevokedBefore] {
        assert_eq!(with(above), Err(IbmError::AuthorityRevoked("Authority".to_owned())));
    }
    assert_eq!(with(Above::SignerRevoked), Err(IbmError::AuthorityRevoked(IBM.to_owned())));
}

#[test]
fn the_signing_key_is_known_in_every_spelling_of_its_name() {
    for (place, reordered) in [("Armonk", false), ("Armonk", true), ("Poughkeepsie", true), ("Poughkeepsie", false)] {
        let name = || spelt(place, reordered);
        assert_eq!(Forge { signer: name(), ..Forge::new() }.examine(), Ok(()), "signer {place} {reordered}");
        assert_eq!(Forge { document: name(), ..Forge::new() }.examine(), Ok(()), "document {place} {reordered}");
        assert_eq!(Forge { list: name(), ..Forge::new() }.examine(), Ok(()), "list {place} {reordered}");
    }
}

#[test]
fn another_name_is_not_the_signing_keys() {
    let mut fewer = spelt("Armonk", false);
    fewer.pop();
    let mut other = spelt("Armonk", false);
    other[5].1 = "International Business Machines";
    // Only the locality has two spellings.
    let mut state = spelt("Poughkeepsie", false);
    state[1].1 = "Armonk";
    for name in [fewer, other, state, spelt("Endicott", false)] {
        let document = Forge { document: name.clone(), ..Forge::new() }.examine();
        assert_eq!(document, Err(IbmError::Document(CertificateFault::Issuer)), "{name:?}");
        let list = Forge { list: name.clone(), ..Forge::new() }.examine();
        assert_eq!(list, Err(IbmError::List(CertificateFault::Issuer)), "{name:?}");
    }
}

#[test]
fn another_key_under_any_of_the_names_is_refused() {
    for place in ["Armonk", "Poughkeepsie"] {
        let name = || spelt(place, true);
        let document = Forge { document: name(), other_key: [true, false], ..Forge::new() }.examine();
        assert_eq!(document, Err(IbmError::Document(CertificateFault::Signature)));
        let list = Forge { list: name(), other_key: [false, true], ..Forge::new() }.examine();
        assert_eq!(list, Err(IbmError::List(CertificateFault::Signature)));
    }
}

#[test]
fn another_key_identifier_is_refused_although_the_signature_holds() {
    let other = || Some(vec![7; 20]);
    let document = Forge { document_key: other(), ..Forge::new() }.examine();
    assert_eq!(document, Err(IbmError::Document(CertificateFault::Issuer)));
    let list = Forge { list_key: other(), ..Forge::new() }.examine();
    assert_eq!(list, Err(IbmError::List(CertificateFault::Issuer)));
}

#[test]
fn a_key_of_another_organisation_unit_or_use_signs_no_documents() {
    let refused = Err(IbmError::SigningService);
    let (organisation, unit) = (3, 4);
    for (attribute, value) in [(organisation, "International Business Machines"), (unit, "IBM Z Host Key Signing")] {
        let mut name = spelt("Poughkeepsie", false);
        name[attribute].1 = value;
        let forge = Forge { signer: name.clone(), document: name.clone(), list: name, ..Forge::new() };
        assert_eq!(forge.examine(), refused, "{value}");
    }
    let used = |usages: &[KeyUsagePurpose]| Forge { usages: usages.to_vec(), ..Forge::new() }.examine();
    assert_eq!(used(&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign]), Ok(()));
    assert_eq!(used(&[KeyUsagePurpose::CrlSign]), refused);
    assert_eq!(used(&[]), refused);
}

#[test]
fn the_two_spellings_are_of_the_locality_alone() {
    let state = |state: &'static str| {
        let mut name = spelt("Armonk", false);
        name[1].1 = state;
        name
    };
    let with = |signer, document, list| Forge { signer, document, list, ..Forge::new() }.examine();
    assert_eq!(with(state("Armonk"), state("Armonk"), state("Armonk")), Ok(()));
    assert_eq!(with(state("Poughkeepsie"), state("Poughkeepsie"), state("Poughkeepsie")), Ok(()));
    let document = with(state("Poughkeepsie"), state("Armonk"), state("Poughkeepsie"));
    assert_eq!(document, Err(IbmError::Document(CertificateFault::Issuer)));
    let list = with(state("Poughkeepsie"), state("Poughkeepsie"), state("Armonk"));
    assert_eq!(list, Err(IbmError::List(CertificateFault::Issuer)));
}

#[test]
fn a_name_of_more_than_sixteen_attributes_is_nobodys() {
    let with = |count: u64| {
        let further = (0..count - 6).map(|number| (DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 2, number]), "more"));
        let name = || spelt("Armonk", false).into_iter().chain(further.clone()).collect();
        Forge { signer: name(), document: name(), list: name(), ..Forge::new() }.examine()
    };
    assert_eq!(with(16), Ok(()));
    assert_eq!(with(17), Err(IbmError::Document(CertificateFault::Issuer)));
    assert_eq!(with(18), Err(IbmError::Document(CertificateFault::Issuer)));
}

#[test]
fn a_document_tells_its_serial_number_its_key_and_who_signed_it() {
    for (serial, expected) in [(0x0a0b_0c00, "0xa0b0c00"), (0x1f, "0x1f"), (0x8000, "0x8000")] {
        let genuine = Forge { serial, ..Forge::new() }.genuine().unwrap();
        assert_eq!(genuine.claim("host_serial"), Some(expected));
        assert_eq!(genuine.claim("issuer"), Some(IBM));
        // An uncompressed point of P-384.
        let key = genuine.claim("host_key").unwrap();
        assert_eq!((key.len(), &key[..2], genuine.hardware_id()), (194, "04", Some(key)));
    }
}
