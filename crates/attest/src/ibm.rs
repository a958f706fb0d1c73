//! IBM Secure Execution: host-key documents.
//!
//! A guest for Secure Execution is encrypted to the key of a host. What says that a key belongs to a genuine IBM Z machine is its host-key
//! document: a certificate issued by IBM's signing key, which an authority has certified. This module decides whether such a document
//! holds at a given time, with the revocation lists of all three issuers, as IBM's documentation of `pvimg` asks. IBM's signing key is no
//! certificate authority in the sense of X.509 (its certificate says so), so that one link is checked by name, key identifier and signature.
//! IBM spells that key's name in more than one way: its documents and lists have the attributes in another order than its certificate, and
//! the locality is Armonk or Poughkeepsie (s390-tools, `rust/pv/src/verify`). So names are compared as sets, with the two places as one;
//! what ties document and list to the key is its signature, and its identifier where they tell one (RFC 5280, section 4.2.1.1).
//!
//! Absent: measurements of a running guest. The attestation of Secure Execution is a MAC under a key that only the requester has, so
//! nothing of it can be verified by others, and this Evidence can be bound to no exchange.

use jiff::Timestamp;
use x509_parser::{
    extensions::{ParsedExtension, X509Extension},
    oid_registry::OID_X509_LOCALITY_NAME,
    x509::X509Name,
};

use crate::{
    Tier,
    certificate::{Certificate, CertificateFault, ChainError, RevocationList, TrustAnchor, check_chain},
    platform::{Assurance, Genuine, Platform, Refusal, Steps, claim, claim_hex},
};

/// A host-key document with what vouches for it. Certificates and lists are PEM or DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyDocument {
    /// The document.
    pub document: Vec<u8>,
    /// The certificate of IBM's signing key.
    pub signing_key: Vec<u8>,
    /// The authorities above it, below the anchor.
    pub intermediates: Vec<Vec<u8>>,
    /// The revocation list of IBM's signing key.
    pub list: Vec<u8>,
    /// The revocation lists of the authorities and of the anchor, in any order.
    pub authority_lists: Vec<Vec<u8>>,
}

/// Why a document is refused. Numbers are the steps of `docs/spec/platforms/ibm-secure-execution.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IbmError {
    /// Step 1: something does not parse.
    #[error("the {what} cannot be read")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        fault: CertificateFault,
    },
    /// Step 2: the chain of IBM's signing key.
    #[error("the chain of IBM's signing key does not hold")]
    Chain(#[source] ChainError),
    /// Step 2: the key is not of the service that signs host keys.
    #[error("the signing key's certificate is not of IBM's host-key signing service")]
    SigningService,
    /// Step 3: a list of an authority.
    #[error("a revocation list of an authority does not hold")]
    AuthorityList(#[source] CertificateFault),
    /// Step 3: no list of an issuer.
    #[error("the revocation list of `{0}` is missing")]
    ListMissing(String),
    /// Step 3: IBM's signing key, or an authority, was revoked.
    #[error("the certificate of `{0}` was revoked")]
    AuthorityRevoked(String),
    /// Step 4: the document is not IBM's.
    #[error("the host-key document is not signed by IBM's signing key")]
    Document(#[source] CertificateFault),
    /// Step 5: its time.
    #[error("the host-key document is out of its time")]
    DocumentTime(#[source] CertificateFault),
    /// Step 6: the list of the signing key.
    #[error("the revocation list of IBM's signing key does not hold")]
    List(#[source] CertificateFault),
    /// Step 6: out of its time.
    #[error("the revocation list of IBM's signing key is out of its time")]
    ListTime(#[source] CertificateFault),
    /// Step 6.
    #[error("the host-key document was revoked")]
    Revoked,
}

impl Refusal for IbmError {
    fn step(&self) -> u8 {
        match self {
            IbmError::Malformed { .. } => 1,
            IbmError::Chain(_) | IbmError::SigningService => 2,
            IbmError::AuthorityList(_) | IbmError::ListMissing(_) | IbmError::AuthorityRevoked(_) => 3,
            IbmError::Document(_) => 4,
            IbmError::DocumentTime(_) => 5,
            IbmError::List(_) | IbmError::ListTime(_) | IbmError::Revoked => 6,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            IbmError::Malformed { .. } => "document-malformed",
            IbmError::Chain(ChainError { fault: CertificateFault::Untrusted, .. }) => "root-not-trusted",
            IbmError::Chain(ChainError { fault: CertificateFault::Expired, at: 0, .. }) => "signing-key-expired",
            IbmError::Chain(ChainError { fault: CertificateFault::Expired, .. }) => "authority-expired",
            IbmError::Chain(ChainError { fault: CertificateFault::NotYetValid, .. }) => "not-yet-valid",
            IbmError::Chain(_) => "chain-invalid",
            IbmError::SigningService => "signing-service",
            IbmError::AuthorityList(CertificateFault::Expired | CertificateFault::NotYetValid) => {
                "crl-not-valid-at-time"
            }
            IbmError::AuthorityList(_) | IbmError::List(_) => "crl-invalid",
            IbmError::ListMissing(_) => "crl-missing",
            IbmError::AuthorityRevoked(_) => "authority-revoked",
            IbmError::Document(_) => "host-key-document-signature-invalid",
            IbmError::DocumentTime(CertificateFault::NotYetValid) => "host-key-document-not-yet-valid",
            IbmError::DocumentTime(_) => "host-key-document-expired",
            IbmError::ListTime(_) => "crl-not-valid-at-time",
            IbmError::Revoked => "host-key-document-revoked",
        }
    }

    fn is_malformed(&self) -> bool {
        self.step() == 1
    }
}

/// Examines a host-key document at `now`, under the pinned authorities.
///
/// # Errors
/// The first step that fails.
pub fn examine(evidence: &HostKeyDocument, anchors: &[TrustAnchor], now: Timestamp) -> Result<Genuine, IbmError> {
    let mut steps = Steps::default();
    let [document, signing_key] =
        [one(&evidence.document, "host-key document")?, one(&evidence.signing_key, "signing key's certificate")?];
    let authorities: Vec<Vec<u8>> =
        evidence.intermediates.iter().map(|der| one(der, "authority's certificate")).collect::<Result<_, _>>()?;
    let document = parse(&document, "host-key document")?;
    let mut chain = vec![parse(&signing_key, "signing key's certificate")?];
    for der in &authorities {
        chain.push(parse(der, "authority's certificate")?);
    }
    steps.pass(1, "the document, the signing key and the authorities are certificates");
    check_chain(&chain, anchors, now).map_err(IbmError::Chain)?;
    let signer = chain.first().ok_or(IbmError::SigningService)?;
    if !is_host_key_signer(signer) {
        return Err(IbmError::SigningService);
    }
    steps.pass(2, "IBM's host-key signing service is certified by a pinned authority");
    let lists: Vec<Vec<u8>> = evidence
        .authority_lists
        .iter()
        .map(|list| der_of(list, "authority's revocation list"))
        .collect::<Result<_, _>>()?;
    check_authorities(&chain, anchors, &lists, now)?;
    steps.pass(3, "neither the signing key nor an authority was revoked");
    document.check_signed_by(signer, is_same_name).map_err(IbmError::Document)?;
    if !names_key_of(document.parsed().extensions(), signer) {
        return Err(IbmError::Document(CertificateFault::Issuer));
    }
    steps.pass(4, "IBM's signing key signed the document");
    document.check_validity(now).map_err(IbmError::DocumentTime)?;
    steps.pass(5, "the document is within its time");
    let list = der_of(&evidence.list, "revocation list")?;
    let list = RevocationList::check_named(&list, signer, is_same_name, now).map_err(|fault| match fault {
        CertificateFault::Expired | CertificateFault::NotYetValid => IbmError::ListTime(fault),
        other => IbmError::List(other),
    })?;
    if !names_key_of(list.parsed().extensions(), signer) {
        return Err(IbmError::List(CertificateFault::Issuer));
    }
    if list.revokes(&document) {
        return Err(IbmError::Revoked);
    }
    steps.pass(6, "the document was not revoked");
    Ok(Genuine {
        platform: Platform::IbmSecureExecution,
        assurance: Assurance::Affirmed,
        tier: Tier::ConfidentialVm,
        debug: false,
        bound: Vec::new(),
        hardware_id: Some(hex::encode(document.key_bits())),
        registers: Vec::new(),
        claims: vec![
            claim("host_serial", number(&document.serial()), "the serial number of the document"),
            claim_hex("host_key", document.key_bits(), "the host's public key, to which a guest is encrypted"),
            claim("issuer", signer.common_name(), "who signed it"),
        ],
        steps: steps.done(),
        examined_at: now,
    })
}

/// Each certificate of the signing key's chain below the anchor against the list of its issuer, which for the topmost is the anchor.
fn check_authorities(
    chain: &[Certificate<'_>],
    anchors: &[TrustAnchor],
    lists: &[Vec<u8>],
    now: Timestamp,
) -> Result<(), IbmError> {
    for (at, certificate) in chain.iter().enumerate() {
        let (issuer, found) = if let Some(issuer) = chain.get(at + 1) {
            (issuer.common_name(), of_issuer(lists, |list| RevocationList::check(list, issuer, now))?)
        } else if anchors.iter().any(|anchor| anchor.spki() == certificate.key().raw) {
            // The anchor itself: who pins it decides how long.
            continue;
        } else {
            let anchor = anchors.iter().find(|anchor| anchor.has_issued(certificate));
            let anchor = anchor.ok_or_else(|| IbmError::ListMissing(certificate.common_name()))?;
            let found = of_issuer(lists, |list| RevocationList::check_pinned(list, anchor, now))?;
            (anchor.common_name().to_owned(), found)
        };
        if found.is_empty() {
            return Err(IbmError::ListMissing(issuer));
        }
        // Of several that hold, an older one does not take back what a newer one says.
        if found.iter().any(|list| list.revokes(certificate)) {
            return Err(IbmError::AuthorityRevoked(certificate.common_name()));
        }
    }
    Ok(())
}

/// The lists that are of one issuer. One that claims to be and does not hold refuses the whole; others are of other issuers.
fn of_issuer<'a>(
    lists: &'a [Vec<u8>],
    check: impl Fn(&'a [u8]) -> Result<RevocationList<'a>, CertificateFault>,
) -> Result<Vec<RevocationList<'a>>, IbmError> {
    let mut found = Vec::new();
    for list in lists {
        match check(list) {
            Ok(list) => found.push(list),
            Err(CertificateFault::Issuer) => {}
            Err(fault) => return Err(IbmError::AuthorityList(fault)),
        }
    }
    Ok(found)
}

/// The names that IBM documents for the key that signs host keys.
fn is_host_key_signer(certificate: &Certificate<'_>) -> bool {
    let subject = certificate.parsed().subject();
    let organisation = subject.iter_organization().any(|name| name.as_str().is_ok_and(|name| name == IBM));
    let unit = subject.iter_organizational_unit().any(|name| name.as_str().is_ok_and(|name| name == SIGNING_SERVICE));
    let signs = certificate.parsed().extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => usage.digital_signature(),
        _ => false,
    });
    organisation && unit && signs
}

/// Whether two names have the same attributes, in any order, Armonk and Poughkeepsie being one place.
fn is_same_name(left: &X509Name<'_>, right: &X509Name<'_>) -> bool {
    match (attributes(left), attributes(right)) {
        (Some(left), Some(right)) => left == right,
        _ => false,
    }
}

/// Identifier and text of each attribute, sorted. `None` where one is no text, or where the name has more than any of IBM's.
fn attributes(name: &X509Name<'_>) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    for attribute in name.iter_attributes() {
        if found.len() == MAX_ATTRIBUTES {
            return None;
        }
        let text = match attribute.as_str().ok()? {
            ARMONK if *attribute.attr_type() == OID_X509_LOCALITY_NAME => POUGHKEEPSIE,
            other => other,
        };
        found.push((attribute.attr_type().to_id_string(), text.to_owned()));
    }
    found.sort_unstable();
    Some(found)
}

/// Whether the authority key identifier, where there is one with a key, is the subject key identifier of `signer`, where that has one.
fn names_key_of(extensions: &[X509Extension<'_>], signer: &Certificate<'_>) -> bool {
    let named = extensions.iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    let own = signer.parsed().extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    named.zip(own).is_none_or(|(named, own)| named == own)
}

fn one(bytes: &[u8], what: &'static str) -> Result<Vec<u8>, IbmError> {
    let found = Certificate::split(bytes).map_err(|fault| IbmError::Malformed { what, fault })?;
    let [der] = found.as_slice() else {
        return Err(IbmError::Malformed { what, fault: CertificateFault::Malformed });
    };
    Ok(der.clone())
}

fn parse<'a>(der: &'a [u8], what: &'static str) -> Result<Certificate<'a>, IbmError> {
    Certificate::parse(der).map_err(|fault| IbmError::Malformed { what, fault })
}

fn der_of(list: &[u8], what: &'static str) -> Result<Vec<u8>, IbmError> {
    RevocationList::der(list).map_err(|fault| IbmError::Malformed { what, fault })
}

fn number(serial: &[u8]) -> String {
    format!("0x{}", hex::encode(serial).trim_start_matches('0'))
}

const IBM: &str = "International Business Machines Corporation";
const ARMONK: &str = "Armonk";
const POUGHKEEPSIE: &str = "Poughkeepsie";
const MAX_ATTRIBUTES: usize = 16;
const SIGNING_SERVICE: &str = "IBM Z Host Key Signing Service";
