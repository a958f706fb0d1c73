//! The vTPM of Google Cloud machines: a TPM's quote by a key that Google certified.
//!
//! The attestation key's certificate leads to Google's EK/AK authority and carries an extension with the machine's zone, project and
//! name (OID 1.3.6.1.4.1.11129.2.1.21). What the quote proves is what any TPM's proves; that Google runs the TPM is who is trusted.

use jiff::Timestamp;

use crate::{
    certificate::{Certificate, CertificateFault, ChainError, TrustAnchor, check_chain},
    platform::{Genuine, Platform, Refusal, Steps},
    tpm::{PublicKey, QuoteEvidence, QuoteFault},
};

/// Why the Evidence is refused. Numbers are the steps of `docs/spec/platforms/gcp-vtpm.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GcpError {
    /// Step 1.
    #[error("the certificates of the attestation key cannot be read")]
    Certificate(#[source] CertificateFault),
    /// Step 2.
    #[error("the chain of the attestation key does not hold")]
    Chain(#[source] ChainError),
    /// Step 2: it is not a certificate of a Google Cloud machine's key.
    #[error("the certificate is not one of a Google Cloud machine's attestation key")]
    NotAnInstance,
    /// Step 3: the certificate is for another key.
    #[error("the attestation key is not the one that was certified")]
    OtherKey,
    /// Step 4.
    #[error("the quote is refused")]
    Quote(#[source] QuoteFault),
}

impl Refusal for GcpError {
    fn step(&self) -> u8 {
        match self {
            GcpError::Certificate(_) => 1,
            GcpError::Chain(_) | GcpError::NotAnInstance => 2,
            GcpError::OtherKey => 3,
            GcpError::Quote(_) => 4,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            GcpError::Certificate(_) => "certificate-malformed",
            GcpError::Chain(ChainError { fault: CertificateFault::Untrusted, .. }) => "root-not-trusted",
            GcpError::Chain(ChainError { fault: CertificateFault::Expired, .. }) => "certificate-expired",
            GcpError::Chain(_) => "chain-invalid",
            GcpError::NotAnInstance => "not-an-instance",
            GcpError::OtherKey => "attestation-key-not-certified",
            GcpError::Quote(fault) => fault.code(),
        }
    }

    fn is_malformed(&self) -> bool {
        match self {
            GcpError::Certificate(_) => true,
            GcpError::Quote(fault) => fault.is_malformed(),
            GcpError::Chain(_) | GcpError::NotAnInstance | GcpError::OtherKey => false,
        }
    }
}

/// Examines a quote. `chain` is the attestation key's certificate and those above it (PEM or DER), `key` the key in the Evidence, if it is
/// given beside its certificate.
///
/// # Errors
/// The first step that fails.
pub fn examine(
    quote: &QuoteEvidence<'_>,
    key: Option<&PublicKey>,
    chain: &[u8],
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<Genuine, GcpError> {
    let certified = certified_key(chain, anchors, now)?;
    if key.is_some_and(|key| *key != certified) {
        return Err(GcpError::OtherKey);
    }
    let mut genuine = crate::tpm::examine(quote, &certified, now).map_err(GcpError::Quote)?;
    let mut steps = Steps::default();
    steps.pass(1, "the attestation key has a certificate");
    steps.pass(2, "Google's authority certified it for one of its machines");
    steps.pass(3, "it is the key of the Evidence");
    steps.pass(4, "the quote is the key's, over these registers");
    genuine.platform = Platform::GcpVtpm;
    genuine.steps = steps.done();
    Ok(genuine)
}

/// The key that Google's authority certified; steps 1 and 2 by themselves.
///
/// # Errors
/// The first step that fails.
pub fn certified_key(chain: &[u8], anchors: &[TrustAnchor], now: Timestamp) -> Result<PublicKey, GcpError> {
    let ders = Certificate::split(chain).map_err(GcpError::Certificate)?;
    let certificates: Vec<Certificate<'_>> =
        ders.iter().map(|der| Certificate::parse(der)).collect::<Result<_, _>>().map_err(GcpError::Certificate)?;
    check_chain(&certificates, anchors, now).map_err(GcpError::Chain)?;
    let leaf = certificates.first().ok_or(GcpError::Certificate(CertificateFault::Malformed))?;
    let usage = leaf.parsed().key_usage().ok().flatten();
    let signs = usage.is_some_and(|usage| usage.value.digital_signature());
    if !signs || leaf.extension(INSTANCE).is_none() {
        return Err(GcpError::NotAnInstance);
    }
    PublicKey::from_spki(leaf.key().raw).ok_or(GcpError::NotAnInstance)
}

const INSTANCE: &str = "1.3.6.1.4.1.11129.2.1.21";
