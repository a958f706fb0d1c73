//! Whether a certificate of a device's chain was taken back: revocation lists and OCSP responses of its authorities (RFC 6960), as the caller
//! fetched and kept them.
//!
//! Every statement that is given is checked, and one that is stale, of another chain or signed by nobody is refused rather than passed over:
//! who asks for revocation wants an answer. How many certificates the statements speak of is told. An OCSP response is signed by the
//! authority itself or by a responder that it certified for this; it has a time until which it holds. Deliberately absent: nonces of OCSP, since
//! responses are kept and served again, the hash SHA-1, and signatures other than ECDSA.

use jiff::Timestamp;
use x509_parser::{
    asn1_rs::{Any, Class, FromDer, Tag},
    x509::AlgorithmIdentifier,
};

use crate::{
    HashAlgorithm,
    certificate::{Certificate, CertificateFault, RevocationList, TrustAnchor, check_chain, verify_with},
};

/// What the caller has fetched.
#[derive(Debug, Clone, Default)]
pub struct Statements<'a> {
    /// Revocation lists, DER.
    pub lists: Vec<&'a [u8]>,
    /// OCSP responses, DER, each about one certificate.
    pub responses: Vec<&'a [u8]>,
}

/// Why a certificate does not stand, or a statement on it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// A revocation list.
    #[error("a revocation list cannot be used")]
    List(#[source] CertificateFault),
    /// An OCSP response.
    #[error("an OCSP response cannot be used")]
    Response(#[source] CertificateFault),
    /// The responder does not know the certificate.
    #[error("the maker's responder does not know the certificate `{0}`")]
    Unknown(String),
    /// Its issuer took it back.
    #[error("the certificate `{0}` was revoked")]
    Revoked(String),
}

/// Of how many certificates of a chain the statements speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// That were found to stand.
    pub(super) stand: usize,
    /// All below the pinned root, whether or not the root is in the chain.
    pub(super) below_root: usize,
}

impl Known {
    /// Whether they speak of every one.
    pub(super) const fn is_whole(self) -> bool {
        self.stand >= self.below_root
    }
}

/// Holds a chain (leaf first, already walked) against the statements, and tells of how many of its certificates they speak.
pub(super) fn check(
    chain: &[Certificate<'_>],
    statements: &Statements<'_>,
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<Known, RevocationError> {
    let mut covered = std::collections::BTreeSet::new();
    for der in &statements.lists {
        covered.extend(check_list(chain, der, now)?);
    }
    for der in &statements.responses {
        covered.insert(check_response(chain, der, anchors, now)?);
    }
    let is_pinned = |last: &Certificate<'_>| anchors.iter().any(|anchor| anchor.spki() == last.key().raw);
    let root = usize::from(chain.last().is_some_and(is_pinned));
    Ok(Known { stand: covered.len(), below_root: chain.len().saturating_sub(root) })
}

/// The places of the certificates that a list speaks of.
fn check_list(chain: &[Certificate<'_>], der: &[u8], now: Timestamp) -> Result<Vec<usize>, RevocationError> {
    for (above, issuer) in chain.iter().enumerate().skip(1) {
        let list = match RevocationList::check(der, issuer, now) {
            Err(CertificateFault::Issuer) => continue,
            other => other.map_err(RevocationError::List)?,
        };
        let name = issuer.parsed().subject().as_raw();
        let below = chain.iter().enumerate().take(above);
        let issued: Vec<_> = below.filter(|(_, below)| below.parsed().issuer().as_raw() == name).collect();
        if let Some((_, revoked)) = issued.iter().find(|(_, certificate)| list.revokes(certificate)) {
            return Err(RevocationError::Revoked(revoked.common_name()));
        }
        return Ok(issued.into_iter().map(|(place, _)| place).collect());
    }
    Err(RevocationError::List(CertificateFault::Issuer))
}

/// The place of the certificate that a response speaks of.
fn check_response(
    chain: &[Certificate<'_>],
    der: &[u8],
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<usize, RevocationError> {
    let fault = RevocationError::Response;
    let response = Response::parse(der).ok_or(fault(CertificateFault::Malformed))?;
    let pairs = chain.iter().zip(chain.iter().skip(1)).enumerate();
    let mut meant = pairs.filter(|(_, (certificate, issuer))| response.is_about(certificate, issuer));
    let (place, (certificate, _)) = meant.next().ok_or(fault(CertificateFault::Issuer))?;
    let above = chain.get(place + 1..).unwrap_or_default();
    response.check_signature(above, anchors, now).map_err(fault)?;
    if now < response.from {
        return Err(fault(CertificateFault::NotYetValid));
    }
    if now > response.until {
        return Err(fault(CertificateFault::Expired));
    }
    match response.status {
        Status::Good => Ok(place),
        Status::Revoked => Err(RevocationError::Revoked(certificate.common_name())),
        Status::Unknown => Err(RevocationError::Unknown(certificate.common_name())),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

/// A basic OCSP response about one certificate.
struct Response<'a> {
    /// The bytes that are signed.
    signed: &'a [u8],
    algorithm: AlgorithmIdentifier<'a>,
    signature: &'a [u8],
    /// The responder's certificate, if it comes along.
    responder: Option<&'a [u8]>,
    hash: HashAlgorithm,
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: Status,
    from: Timestamp,
    until: Timestamp,
}

impl<'a> Response<'a> {
    fn parse(der: &'a [u8]) -> Option<Response<'a>> {
        if der.len() > MAX_RESPONSE {
            return None;
        }
        let mut outer = Elements::of_whole(der)?;
        let successful = outer.universal(Tag::Enumerated)?;
        let mut bytes = Elements(outer.context(0)?);
        outer.end()?;
        let mut bytes = bytes.sequence().filter(|_| bytes.0.is_empty())?;
        let kind = bytes.universal(Tag::Oid)?;
        let basic = bytes.universal(Tag::OctetString)?;
        bytes.end()?;
        if successful != [0] || kind != BASIC {
            return None;
        }
        let mut basic = Elements::of_whole(basic)?;
        let signed = basic.whole()?;
        let algorithm = basic.whole().filter(|whole| ALGORITHMS.contains(whole))?;
        let (_, algorithm) = AlgorithmIdentifier::from_der(algorithm).ok()?;
        // A bit string begins with the number of its unused bits.
        let signature = basic.universal(Tag::BitString)?.strip_prefix(&[0])?;
        let responder = match basic.0 {
            [] => None,
            _ => Some(Elements(basic.context(0)?).sequence()?.whole()?),
        };
        basic.end()?;
        Response::parse_data(signed, algorithm, signature, responder)
    }

    /// ResponseData and its one SingleResponse.
    fn parse_data(
        signed: &'a [u8],
        algorithm: AlgorithmIdentifier<'a>,
        signature: &'a [u8],
        responder: Option<&'a [u8]>,
    ) -> Option<Response<'a>> {
        let mut data = Elements::of_whole(signed)?;
        // The responder's name [1] or key [2]: the signature says the same. A version [0] other than the first is written out.
        let responder_id = data.element()?;
        if responder_id.class() != Class::ContextSpecific || !matches!(responder_id.tag().0, 1 | 2) {
            return None;
        }
        let _produced = data.universal(Tag::GeneralizedTime)?;
        let mut responses = data.sequence()?;
        data.extensions()?;
        let mut single = responses.sequence()?;
        responses.end()?;
        let mut id = single.sequence()?;
        let mut hash = id.sequence()?;
        let hash = match hash.universal(Tag::Oid)? {
            SHA256 => HashAlgorithm::Sha256,
            SHA384 => HashAlgorithm::Sha384,
            _ => return None,
        };
        let issuer_name = id.universal(Tag::OctetString)?;
        let issuer_key = id.universal(Tag::OctetString)?;
        let serial = id.universal(Tag::Integer)?;
        id.end()?;
        let status = single.element()?;
        let status = match (status.class(), status.tag().0) {
            (Class::ContextSpecific, 0) => Status::Good,
            (Class::ContextSpecific, 1) => Status::Revoked,
            (Class::ContextSpecific, 2) => Status::Unknown,
            _ => return None,
        };
        let from = time(single.universal(Tag::GeneralizedTime)?)?;
        // Without a time until which it holds a kept response cannot be told from a stale one.
        let mut until = Elements(single.context(0)?);
        let until = time(until.universal(Tag::GeneralizedTime)?)?;
        single.extensions()?;
        let serial = serial.strip_prefix(&[0]).unwrap_or(serial);
        Some(Response {
            signed,
            algorithm,
            signature,
            responder,
            hash,
            issuer_name,
            issuer_key,
            serial,
            status,
            from,
            until,
        })
    }

    fn is_about(&self, certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
        self.serial == certificate.serial()
            && self.issuer_name == self.hash.hash(&[issuer.parsed().subject().as_raw()])
            && self.issuer_key == self.hash.hash(&[issuer.key_bits()])
    }

    /// Whether the authority signed it, or a responder that the authority certified. `above` begins with the authority.
    fn check_signature(
        &self,
        above: &[Certificate<'_>],
        anchors: &[TrustAnchor],
        now: Timestamp,
    ) -> Result<(), CertificateFault> {
        let authority = above.first().ok_or(CertificateFault::Issuer)?;
        let by_authority = verify_with(authority.key(), &self.algorithm, self.signed, self.signature);
        let (Err(refused), Some(responder)) = (by_authority, self.responder) else { return by_authority };
        let responder = Certificate::parse(responder)?;
        if responder.key().raw == authority.key().raw {
            return Err(refused);
        }
        let chain: Vec<Certificate<'_>> = std::iter::once(responder.clone()).chain(above.iter().cloned()).collect();
        check_chain(&chain, anchors, now).map_err(|error| error.fault)?;
        let usage = responder.parsed().extended_key_usage().map_err(|_| CertificateFault::Malformed)?;
        if !usage.is_some_and(|usage| usage.value.ocsp_signing) {
            return Err(CertificateFault::NotAuthority);
        }
        verify_with(responder.key(), &self.algorithm, self.signed, self.signature)
    }
}

/// The elements of a SEQUENCE that have not been read yet.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The content of a SEQUENCE that uses up its bytes.
    fn of_whole(der: &'a [u8]) -> Option<Elements<'a>> {
        let mut outer = Elements(der);
        let inside = outer.sequence()?;
        outer.end()?;
        Some(inside)
    }

    fn element(&mut self) -> Option<Any<'a>> {
        let (rest, element) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(element)
    }

    /// The next element with its tag and length.
    fn whole(&mut self) -> Option<&'a [u8]> {
        let before = self.0;
        self.element()?;
        before.get(..before.len().checked_sub(self.0.len())?)
    }

    /// The content of the next element, which must be of this type.
    fn universal(&mut self, tag: Tag) -> Option<&'a [u8]> {
        let element = self.element()?;
        let constructed = element.header.constructed() == (tag == Tag::Sequence);
        (constructed && element.class() == Class::Universal && element.tag() == tag).then_some(element.data)
    }

    /// The content of the next element, which must have this context-specific tag.
    fn context(&mut self, tag: u32) -> Option<&'a [u8]> {
        let element = self.element()?;
        let explicit = element.header.constructed() && element.class() == Class::ContextSpecific;
        (explicit && element.tag().0 == tag).then_some(element.data)
    }

    fn sequence(&mut self) -> Option<Elements<'a>> {
        self.universal(Tag::Sequence).map(Elements)
    }

    /// The end of a structure, before which extensions [1] may stand: none that must be understood.
    fn extensions(&mut self) -> Option<()> {
        if self.0.is_empty() {
            return Some(());
        }
        let mut wrapped = Elements(self.context(1)?);
        let mut extensions = wrapped.sequence()?;
        wrapped.end()?;
        while !extensions.0.is_empty() {
            let mut extension = extensions.sequence()?;
            extension.universal(Tag::Oid)?;
            // In DER a flag that is written is set.
            extension.universal(Tag::OctetString)?;
            extension.end()?;
        }
        self.end()
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// A GeneralizedTime in its DER form: `YYYYMMDDHHMMSSZ`.
fn time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 15)?;
    let (date, clock) = text.strip_suffix('Z')?.split_at_checked(8)?;
    let (year, date) = date.split_at_checked(4)?;
    let (month, day) = date.split_at_checked(2)?;
    let (hour, clock) = clock.split_at_checked(2)?;
    let (minute, second) = clock.split_at_checked(2)?;
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
/// ECDSA with SHA-384 and with SHA-256, as their identifiers are written in DER.
const ALGORITHMS: [&[u8]; 2] = [
    &[0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03],
    &[0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02],
];
const MAX_RESPONSE: usize = 64 * 1024;
