//! A Reference Integrity Manifest (RIM): what NVIDIA says a device with this driver or this VBIOS measures, as a SWID tag in XML with
//! an enveloped signature (TCG Reference Integrity Manifest Information Model; W3C XML Signature 1.1).
//!
//! Only what these manifests use is read: one signature as the last child of the root, over the whole document, by ECDSA P-384 with
//! SHA-384, with inclusive canonicalisation, and its certificates inside, signer first. All that is taken from a manifest stands
//! under that signature: the root's attributes, one `Meta`, one `Payload`. Signers are certified for about two years; a manifest past that
//! is refused, and its maker issues it anew.
//!
//! Deliberately absent: references to anything outside, transforms other than the two, keys that are named and not certified.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use roxmltree::{Document, Node};
use subtle::ConstantTimeEq;

use super::{
    revocation::{self, Known, RevocationError, Statements},
    xml::{self, XmlFault},
};
use crate::{
    HashAlgorithm,
    certificate::{Certificate, CertificateFault, ChainError, TrustAnchor, check_chain},
    platform::{Claim, Refusal, claim},
};

/// A manifest whose signature leads to a pinned root at the given time. Made by [`Rim::verify`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rim {
    tag_id: String,
    product: String,
    edition: String,
    version: String,
    signer: String,
    revocation: Known,
    measurements: BTreeMap<usize, Vec<[u8; 48]>>,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RimError {
    /// Not XML of the subset.
    #[error("the manifest cannot be read")]
    Xml(#[source] XmlFault),
    /// Not the structure of a manifest.
    #[error("the manifest has no or an unexpected `{0}`")]
    Structure(&'static str),
    /// A value that cannot be one.
    #[error("the manifest's measurement {index} has no valid `{field}`")]
    Measurement {
        /// Its index, counted from 0.
        index: usize,
        /// The attribute.
        field: &'static str,
    },
    /// An algorithm other than those that these manifests are signed with.
    #[error("the manifest's signature is of an algorithm that is not accepted")]
    Algorithm,
    /// A certificate inside.
    #[error("the manifest's certificates cannot be read")]
    Certificate(#[source] CertificateFault),
    /// The chain.
    #[error("the manifest's signer is not certified by the pinned root")]
    Chain(#[source] ChainError),
    /// A certificate of the chain was taken back, or what is said of that cannot be used.
    #[error("the manifest's signer or an authority above it does not stand")]
    Revocation(#[source] RevocationError),
    /// The document is not what was signed.
    #[error("the manifest's content is not what its signature covers")]
    Digest,
    /// The signature.
    #[error("the manifest's signature does not verify under its signer's key")]
    Signature,
}

impl Refusal for RimError {
    fn step(&self) -> u8 {
        7
    }

    fn code(&self) -> &'static str {
        match self {
            RimError::Xml(_) => "rim-malformed",
            RimError::Structure(_) => "rim-structure",
            RimError::Measurement { .. } => "rim-measurement-malformed",
            RimError::Algorithm => "rim-algorithm",
            RimError::Certificate(_) => "rim-certificate-malformed",
            RimError::Chain(error) => match error.fault {
                CertificateFault::Expired => "rim-certificate-expired",
                CertificateFault::NotYetValid => "rim-certificate-not-yet-valid",
                CertificateFault::Untrusted => "rim-chain-untrusted",
                CertificateFault::Malformed
                | CertificateFault::CriticalExtension
                | CertificateFault::NotAuthority
                | CertificateFault::Issuer
                | CertificateFault::Signature
                | CertificateFault::Algorithm
                | CertificateFault::Revoked => "rim-chain-invalid",
            },
            RimError::Revocation(RevocationError::Revoked(_)) => "rim-certificate-revoked",
            RimError::Revocation(_) => "rim-revocation-unusable",
            RimError::Digest => "rim-digest-mismatch",
            RimError::Signature => "rim-signature-invalid",
        }
    }

    fn is_malformed(&self) -> bool {
        matches!(self, RimError::Xml(_) | RimError::Structure(_) | RimError::Measurement { .. })
    }
}

impl Rim {
    /// Verifies a manifest (XML, at most 256 KiB) at a time, under pinned roots; ordinarily [`crate::roots::Authority::NvidiaRim`]. What is
    /// given of revocation is held against the signer's chain.
    ///
    /// # Errors
    /// The first check that fails: form, chain, digest of the content, signature, structure of the content.
    pub fn verify(
        xml: &[u8],
        anchors: &[TrustAnchor],
        revocation: &Statements<'_>,
        now: Timestamp,
    ) -> Result<Rim, RimError> {
        let document = xml::parse(xml).map_err(RimError::Xml)?;
        let root = document.root_element();
        if !root.has_tag_name((SWID, "SoftwareIdentity")) {
            return Err(RimError::Structure("SoftwareIdentity"));
        }
        let signature = only_child(root, DSIG, "Signature").ok_or(RimError::Structure("Signature"))?;
        if root.last_element_child() != Some(signature) {
            return Err(RimError::Structure("Signature"));
        }
        let signer = check_signer(signature, anchors, revocation, now)?;
        check_signature(&document, signature, &signer.key)?;
        read(root, signer)
    }

    /// The tag's identity.
    pub fn tag_id(&self) -> &str {
        &self.tag_id
    }

    /// The chip that it is for, such as `GH100`.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// `GPU` or `SWITCH`.
    pub fn edition(&self) -> &str {
        &self.edition
    }

    /// The version of the driver or VBIOS that it is for (colloquial version).
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The common name of its signer.
    pub fn signer(&self) -> &str {
        &self.signer
    }

    /// Whether the makers say of every certificate of the signer's chain that it was not revoked.
    pub const fn is_revocation_known(&self) -> bool {
        self.revocation.is_whole()
    }

    /// The accepted values of every active measurement, by the manifest's index: the device's measurement `i + 1`.
    pub const fn measurements(&self) -> &BTreeMap<usize, Vec<[u8; 48]>> {
        &self.measurements
    }

    /// What it says, for people.
    pub fn claims(&self) -> Vec<Claim> {
        vec![
            claim("tag_id", &self.tag_id, "the identity of this manifest"),
            claim("product", &self.product, "the chip that it is for"),
            claim("edition", &self.edition, "the kind of device"),
            claim("colloquial_version", &self.version, "the driver or VBIOS that it is for"),
            claim("signer_name", &self.signer, "who signed it"),
            claim("active", self.measurements.len(), "how many measurements it has Reference Values for"),
        ]
    }
}

/// Who signed.
struct Signer {
    key: Vec<u8>,
    name: String,
    revocation: Known,
}

/// The signer, once its chain leads to a pinned root.
fn check_signer(
    signature: Node<'_, '_>,
    anchors: &[TrustAnchor],
    statements: &Statements<'_>,
    now: Timestamp,
) -> Result<Signer, RimError> {
    let info = only_child(signature, DSIG, "KeyInfo").ok_or(RimError::Structure("KeyInfo"))?;
    let data = only_child(info, DSIG, "X509Data").ok_or(RimError::Structure("X509Data"))?;
    let mut ders = Vec::new();
    for certificate in data.children().filter(Node::is_element) {
        if !certificate.has_tag_name((DSIG, "X509Certificate")) || ders.len() >= MAX_CERTIFICATES {
            return Err(RimError::Structure("X509Data"));
        }
        ders.push(base64(certificate).ok_or(RimError::Structure("X509Certificate"))?);
    }
    let chain: Result<Vec<_>, _> = ders.iter().map(|der| Certificate::parse(der)).collect();
    let chain = chain.map_err(RimError::Certificate)?;
    check_chain(&chain, anchors, now).map_err(RimError::Chain)?;
    let revocation = revocation::check(&chain, statements, anchors, now).map_err(RimError::Revocation)?;
    let signer = chain.first().ok_or(RimError::Structure("X509Certificate"))?;
    let usage = signer.parsed().key_usage().map_err(|_| RimError::Certificate(CertificateFault::Malformed))?;
    if !usage.is_some_and(|usage| usage.value.digital_signature()) {
        return Err(RimError::Algorithm);
    }
    Ok(Signer { key: signer.key_bits().to_vec(), name: signer.common_name(), revocation })
}

/// Core validation (XML Signature 1.1, section 3.2): the digest of the content, then the signature over what states that digest.
fn check_signature(document: &Document<'_>, signature: Node<'_, '_>, key: &[u8]) -> Result<(), RimError> {
    let info = only_child(signature, DSIG, "SignedInfo").ok_or(RimError::Structure("SignedInfo"))?;
    algorithm(info, "CanonicalizationMethod", &CANONICAL)?;
    algorithm(info, "SignatureMethod", &["http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"])?;
    let reference = only_child(info, DSIG, "Reference").ok_or(RimError::Structure("Reference"))?;
    if reference.attribute("URI") != Some("") || info.children().filter(Node::is_element).count() != 3 {
        return Err(RimError::Structure("Reference"));
    }
    let transforms = only_child(reference, DSIG, "Transforms").ok_or(RimError::Structure("Transforms"))?;
    let mut transforms = transforms.children().filter(Node::is_element);
    let enveloped = transforms.next().ok_or(RimError::Algorithm)?;
    let canonical = transforms.next().ok_or(RimError::Algorithm)?;
    let named = |node: Node<'_, '_>, accepted: &[&str]| {
        node.has_tag_name((DSIG, "Transform"))
            && node.children().all(|child| child.is_text())
            && node.attribute("Algorithm").is_some_and(|algorithm| accepted.contains(&algorithm))
    };
    if !named(enveloped, &[ENVELOPED]) || !named(canonical, &CANONICAL) || transforms.next().is_some() {
        return Err(RimError::Algorithm);
    }
    algorithm(reference, "DigestMethod", &["http://www.w3.org/2001/04/xmldsig-more#sha384"])?;
    let stated = only_child(reference, DSIG, "DigestValue").and_then(base64);
    let stated = stated.ok_or(RimError::Structure("DigestValue"))?;
    let content = xml::canonical_without(document, signature.id()).ok_or(RimError::Structure("SoftwareIdentity"))?;
    let actual = HashAlgorithm::Sha384.hash(&[content.as_bytes()]);
    if !bool::from(actual.as_slice().ct_eq(stated.as_slice())) {
        return Err(RimError::Digest);
    }
    let value = only_child(signature, DSIG, "SignatureValue").and_then(base64);
    let value = value.ok_or(RimError::Structure("SignatureValue"))?;
    let signed = xml::canonical_subtree(document, info).ok_or(RimError::Structure("SignedInfo"))?;
    let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key);
    key.verify(signed.as_bytes(), &value).map_err(|_| RimError::Signature)
}

fn algorithm(parent: Node<'_, '_>, name: &'static str, accepted: &[&str]) -> Result<(), RimError> {
    let method = only_child(parent, DSIG, name).ok_or(RimError::Structure(name))?;
    // A method with parameters (a list of prefixes, a length) would mean something else.
    let plain = method.children().all(|child| child.is_text());
    let named = method.attribute("Algorithm").is_some_and(|algorithm| accepted.contains(&algorithm));
    if plain && named { Ok(()) } else { Err(RimError::Algorithm) }
}

/// The content that was signed.
fn read(root: Node<'_, '_>, signer: Signer) -> Result<Rim, RimError> {
    let meta = only_child(root, SWID, "Meta").ok_or(RimError::Structure("Meta"))?;
    let payload = only_child(root, SWID, "Payload").ok_or(RimError::Structure("Payload"))?;
    let text = |node: Node<'_, '_>, name: &'static str| {
        let value = node.attribute(name).filter(|value| value.len() <= 128 && value.chars().all(printable));
        value.map(str::to_owned).ok_or(RimError::Structure(name))
    };
    let mut measurements = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for resource in payload.children().filter(Node::is_element) {
        if !resource.has_tag_name((SWID, "Resource")) || resource.attribute("type") != Some("Measurement") {
            return Err(RimError::Structure("Resource"));
        }
        let index = resource.attribute("index").and_then(|index| index.parse::<u8>().ok()).map(usize::from);
        let index = index.filter(|index| *index < 255).ok_or(RimError::Structure("index"))?;
        if !seen.insert(index) {
            return Err(RimError::Measurement { index, field: "index" });
        }
        match resource.attribute("active") {
            Some("True") => {
                measurements.insert(index, alternatives(resource, index)?);
            }
            Some("False") => {}
            _ => return Err(RimError::Measurement { index, field: "active" }),
        }
    }
    if measurements.is_empty() {
        return Err(RimError::Structure("Resource"));
    }
    Ok(Rim {
        tag_id: text(root, "tagId")?,
        product: text(meta, "product")?,
        edition: text(meta, "edition")?,
        version: text(meta, "colloquialVersion")?,
        signer: signer.name,
        revocation: signer.revocation,
        measurements,
    })
}

/// The accepted values: as many as the entry says, each under its number.
fn alternatives(resource: Node<'_, '_>, index: usize) -> Result<Vec<[u8; 48]>, RimError> {
    let fault = |field| RimError::Measurement { index, field };
    if resource.attribute("size") != Some("48") {
        return Err(fault("size"));
    }
    let count = resource.attribute("alternatives").and_then(|count| count.parse::<usize>().ok());
    let count = count.filter(|count| (1..=MAX_ALTERNATIVES).contains(count)).ok_or(fault("alternatives"))?;
    let hashes = resource.attributes().filter(|attribute| attribute.name().starts_with("Hash")).count();
    if hashes != count {
        return Err(fault("alternatives"));
    }
    let value = |number: usize| {
        let text = resource.attribute((SHA384, format!("Hash{number}").as_str()))?;
        let mut value = [0; 48];
        hex::decode_to_slice(text, &mut value).ok()?;
        Some(value)
    };
    (0..count).map(|number| value(number).ok_or(fault("Hash"))).collect()
}

/// The one child of this name; `None` also when there are several.
fn only_child<'a, 'input>(parent: Node<'a, 'input>, namespace: &str, name: &str) -> Option<Node<'a, 'input>> {
    let mut found = parent.children().filter(|child| child.has_tag_name((namespace, name)));
    let first = found.next();
    if found.next().is_some() { None } else { first }
}

/// The bytes of an element that holds base64 and nothing else.
fn base64(node: Node<'_, '_>) -> Option<Vec<u8>> {
    if node.children().any(|child| !child.is_text()) {
        return None;
    }
    let mut text = String::new();
    for child in node.children() {
        text.extend(child.text()?.chars().filter(|character| !character.is_ascii_whitespace()));
    }
    STANDARD.decode(text).ok()
}

fn printable(character: char) -> bool {
    character == ' ' || character.is_ascii_graphic()
}

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// Inclusive canonicalisation without comments, 1.1 and 1.0; the same on what [`xml`] admits.
const CANONICAL: [&str; 2] =
    ["http://www.w3.org/2006/12/xml-c14n11", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"];
const MAX_CERTIFICATES: usize = 8;
const MAX_ALTERNATIVES: usize = 32;
