//! Documents that Intel signs as JSON: the TCB info and the quoting enclave's identity.
//!
//! A document stands in an envelope of two members, the document and its signature. What is signed are the document's exact bytes as they stand
//! in the envelope, so they are cut out and never written again. Nothing in a document is read before its signature is
//! checked. The signer is a certificate of that purpose which the pinned root issued itself, the one that came with the document and no other.
//! Source: Intel, "Provisioning Certification Service" API version 4 (and 3 for TCB info version 2).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Document, Holder, IntelError, Rules, certification, is_named};
use crate::certificate::{Certificate, ChainError, RevocationList, TrustAnchor, check_chain};

/// Everything that is needed besides the quote, as Intel's services give it. What is absent is `None`; the examination says what follows.
#[derive(Debug, Clone, Copy, Default)]
pub struct IntelEndorsements<'a> {
    /// The PCK certificate chain (PEM, leaf first), for quotes that do not carry it. A quote's own is preferred.
    pub pck_chain: Option<&'a [u8]>,
    /// The TCB info of the platform's FMSPC, in its envelope.
    pub tcb_info: Option<&'a [u8]>,
    /// The identity of the quoting enclave, in its envelope.
    pub qe_identity: Option<&'a [u8]>,
    /// The chain of the certificate that signed the TCB info (PEM).
    pub tcb_signing_chain: Option<&'a [u8]>,
    /// The chain of the certificate that signed the identity, where it came with another.
    pub qe_identity_signing_chain: Option<&'a [u8]>,
    /// The revocation list of the PCK certificate's issuer (DER).
    pub pck_crl: Option<&'a [u8]>,
    /// The revocation list of the root (DER).
    pub root_ca_crl: Option<&'a [u8]>,
}

/// The members that every signed document has.
#[derive(Debug, Clone)]
pub(super) struct Head<'a> {
    pub(super) issue_date: &'a str,
    pub(super) next_update: &'a str,
    pub(super) evaluation: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TcbInfoEnvelope<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    body: &'a RawValue,
    signature: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QeIdentityEnvelope<'a> {
    #[serde(borrow, rename = "enclaveIdentity")]
    body: &'a RawValue,
    signature: &'a str,
}

/// A signer of documents, found good.
pub(super) struct Signer<'a> {
    chain: &'a [u8],
    key: Vec<u8>,
}

impl<'a> Signer<'a> {
    /// Walks the chain of a signer to the root, which must not have taken it back.
    pub(super) fn check(
        document: Document,
        chain: &'a [u8],
        root_list: Option<&RevocationList<'_>>,
        root: &Certificate<'_>,
        anchors: &[TrustAnchor],
        now: Timestamp,
    ) -> Result<Signer<'a>, IntelError> {
        let unreadable = |fault| IntelError::TcbChain(document, ChainError { at: 0, subject: String::new(), fault });
        let ders = certification::chain(chain).map_err(unreadable)?;
        // The root is mostly the very one of the platform's chain, which is parsed already.
        let parse = |der| if root.der() == der { Ok(root.clone()) } else { Certificate::parse(der) };
        let certificates: Result<Vec<_>, _> = ders.iter().map(|der| parse(der.as_slice())).collect();
        let certificates = certificates.map_err(unreadable)?;
        check_chain(&certificates, anchors, now).map_err(|error| IntelError::TcbChain(document, error))?;
        let [signer, root] = certificates.as_slice() else { return Err(IntelError::TcbRoles(document)) };
        if !is_named(signer, TCB_SIGNER) || !anchors.iter().any(|anchor| anchor.spki() == root.key().raw) {
            return Err(IntelError::TcbRoles(document));
        }
        if root_list.is_some_and(|list| list.revokes(signer)) {
            return Err(IntelError::Revoked(Holder::TcbSigner));
        }
        Ok(Signer { chain, key: signer.key_bits().to_vec() })
    }

    /// Whether this is the signer that came with `chain`.
    pub(super) fn has(&self, chain: &[u8]) -> bool {
        self.chain == chain
    }

    /// Opens an envelope: the document's exact bytes, once their signature is right.
    pub(super) fn open<'d>(&self, document: Document, envelope: &'d [u8]) -> Result<&'d str, IntelError> {
        let malformed = IntelError::DocumentMalformed(document);
        if envelope.len() > MAX_DOCUMENT {
            return Err(malformed);
        }
        let (body, signature) = match document {
            Document::TcbInfo => {
                serde_json::from_slice(envelope).map(|read: TcbInfoEnvelope| (read.body, read.signature))
            }
            Document::QeIdentity => {
                serde_json::from_slice(envelope).map(|read: QeIdentityEnvelope| (read.body, read.signature))
            }
        }
        .map_err(|_| malformed.clone())?;
        let mut bytes = [0; 64];
        hex::decode_to_slice(signature, &mut bytes).map_err(|_| malformed)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.key);
        key.verify(body.get().as_bytes(), &bytes).map_err(|_| IntelError::DocumentSignature(document))?;
        Ok(body.get())
    }
}

impl Head<'_> {
    /// Step 10: the document speaks of now, and is not older than what was seen.
    pub(super) fn check(&self, document: Document, rules: &Rules, now: Timestamp) -> Result<(), IntelError> {
        let malformed = |_| IntelError::DocumentMalformed(document);
        let from: Timestamp = self.issue_date.parse().map_err(malformed)?;
        let until: Timestamp = self.next_update.parse().map_err(malformed)?;
        if now < from {
            return Err(IntelError::DocumentNotYetValid(document));
        }
        if now > until {
            return Err(IntelError::DocumentExpired(document));
        }
        let (number, floor) = (self.evaluation, rules.evaluation_floor);
        if number < floor {
            return Err(IntelError::DocumentOlder { document, number, floor });
        }
        Ok(())
    }
}

/// Bytes in hexadecimal of exactly this length.
pub(super) fn bytes<const N: usize>(document: Document, text: &str) -> Result<[u8; N], IntelError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| IntelError::DocumentMalformed(document))?;
    Ok(bytes)
}

/// Whether a value has the expected bits wherever the mask has ones.
pub(super) fn masked(value: &[u8], mask: &[u8], expected: &[u8]) -> bool {
    value.iter().zip(mask).zip(expected).all(|((value, mask), expected)| value & mask == expected & mask)
}

const TCB_SIGNER: &str = "Intel SGX TCB Signing";
const MAX_DOCUMENT: usize = 512 * 1024;
