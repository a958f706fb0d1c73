//! The names by which IBM's signing key goes: other spellings of it are taken, other keys are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use attest::{
    certificate::{CertificateFault, TrustAnchor},
    ibm::{HostKeyDocument, IbmError, examine},
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
    /// The anchor revoked the authority; or the authority the signing key.
    Revoked,
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
        }
    }

    fn examine(&self) -> Result<(), IbmError> {
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut root = params(&[(DnType::CommonName, "Root")]);
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_key = key();
        let mut signer = params(&self.signer);
        signer.is_ca = IsCa::ExplicitNoCa;
        signer.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
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
        let document = params(&[(DnType::CommonName, "Host")]);
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
            Above::Revoked => Some(by(dated(2025, 2027, &[0x77], method), &root_issuer)),
        };
        let revoked: &[u64] = if self.above == Above::SignerRevoked { &[0x78] } else { &[] };
        let authority_list = by(dated(2025, 2027, revoked, KeyIdMethod::Sha256), &authority_issuer);
        let (issuer, intermediate, lists) = if self.above == Above::Anchor {
            (&root_issuer, root_der.clone(), root_list.into_iter().collect())
        } else {
            let der = authority.signed_by(&authority_key, &root_issuer).unwrap().der().to_vec();
            (&authority_issuer, der, root_list.into_iter().chain([authority_list]).collect())
        };
        let evidence = HostKeyDocument {
            document: document.signed_by(&key(), &document_issuer).unwrap().der().to_vec(),
            signing_key: signer.signed_by(&signer_key, issuer).unwrap().der().to_vec(),
            intermediates: vec![intermediate],
            list: list(list_id).signed_by(&list_issuer).unwrap().der().to_vec(),
            authority_lists: lists,
        };
        let now: Timestamp = "2025-06-01T00:00:00Z".parse().unwrap();
        examine(&evidence, &[TrustAnchor::pin(&root_der).unwrap()], now).map(|_| ())
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
    assert_eq!(with(Above::Revoked), Err(IbmError::AuthorityRevoked("Authority".to_owned())));
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
