//! Why a Nitro document is refused.

use crate::{
    AppraisalError, CborError, CoseError,
    certificate::{CertificateFault, ChainError},
    platform::Refusal,
    tpm::QuoteError,
};

/// Why Evidence of Nitro Enclaves or NitroTPM is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NitroError {
    /// More bytes than a document has.
    #[error("the document has {0} bytes; at most 32 KiB are read")]
    TooLarge(usize),
    /// The signed envelope.
    #[error("the document's envelope")]
    Envelope(#[source] CoseError),
    /// Another algorithm than the one AWS signs with.
    #[error("the document is signed with {0}, not with ES384")]
    Algorithm(&'static str),
    /// A header outside of the signature.
    #[error("the document's envelope has an unprotected header, which AWS never writes")]
    Unprotected,
    /// The payload is not CBOR that is taken.
    #[error("the document's payload cannot be read")]
    Payload(#[source] CborError),
    /// A mandatory field is missing, or the document is of the other kind.
    #[error("the document has no `{0}`")]
    Missing(&'static str),
    /// A field of another type, size or value than specified.
    #[error("the document's `{0}` is not what it should be")]
    Field(&'static str),
    /// A field that is not specified.
    #[error("the document has a field that is not specified")]
    UnknownField,
    /// The certificates.
    #[error("the document's certificate chain")]
    Chain(#[source] ChainError),
    /// The leaf is an authority, or its key may not sign or is not on P-384.
    #[error("the document's certificate is not one that signs documents")]
    Leaf,
    /// The signature.
    #[error("the document's signature does not verify under its certificate")]
    Signature,
    /// The document's own time is not within its certificate's validity.
    #[error("the document was made outside of its certificate's validity")]
    Timestamp,
    /// The document's own time is after the given one.
    #[error("the document was made in the future\nhint: check the clock")]
    Future,
    /// A register that every enclave has.
    #[error("the document has no register {0}")]
    PcrMissing(u8),
    /// The enclave is in debug mode.
    #[error("the enclave is in debug mode: its image is not measured and its console can be read")]
    Debug,
    /// The document carries no key that could have signed the quote, or no nonce to bind it.
    #[error("the document does not bind the TPM's quote: it needs the attestation key in `public_key` and a `nonce`")]
    QuoteUnbound,
    /// The quote is none.
    #[error("the TPM's quote cannot be read")]
    QuoteForm(#[source] QuoteError),
    /// The TPM's quote.
    #[error("the TPM's quote")]
    Quote(#[source] AppraisalError),
}

impl Refusal for NitroError {
    fn step(&self) -> u8 {
        match self {
            NitroError::TooLarge(_) | NitroError::Envelope(_) | NitroError::Algorithm(_) | NitroError::Unprotected => 1,
            NitroError::Payload(_) | NitroError::Missing(_) | NitroError::Field(_) | NitroError::UnknownField => 2,
            NitroError::Chain(_) | NitroError::Leaf => 3,
            NitroError::Signature => 4,
            NitroError::Timestamp | NitroError::Future => 5,
            NitroError::PcrMissing(_) | NitroError::Debug => 6,
            NitroError::QuoteUnbound | NitroError::QuoteForm(_) | NitroError::Quote(_) => 7,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            NitroError::TooLarge(_) => "too-large",
            NitroError::Envelope(error) => error.code(),
            NitroError::Algorithm(_) => "algorithm-not-allowed",
            NitroError::Unprotected => "unprotected-header",
            NitroError::Payload(error) => error.code(),
            NitroError::Missing(_) => "field-missing",
            NitroError::Field(_) => "field-invalid",
            NitroError::UnknownField => "field-unknown",
            NitroError::Chain(error) => match error.fault {
                CertificateFault::Malformed => "certificate-malformed",
                CertificateFault::CriticalExtension => "critical-extension",
                CertificateFault::Expired => "certificate-expired",
                CertificateFault::NotYetValid => "certificate-not-yet-valid",
                CertificateFault::NotAuthority => "issuer-not-authority",
                CertificateFault::Issuer => "chain-broken",
                CertificateFault::Signature => "chain-signature",
                CertificateFault::Algorithm => "chain-algorithm",
                CertificateFault::Revoked => "certificate-revoked",
                CertificateFault::Untrusted => "root-untrusted",
            },
            NitroError::Leaf => "leaf-invalid",
            NitroError::Signature => "signature",
            NitroError::Timestamp => "timestamp-outside-validity",
            NitroError::Future => "timestamp-in-future",
            NitroError::PcrMissing(_) => "pcr-missing",
            NitroError::Debug => "debug",
            NitroError::QuoteUnbound => "quote-unbound",
            NitroError::QuoteForm(_) => "quote-malformed",
            NitroError::Quote(error) => error.code(),
        }
    }

    fn is_malformed(&self) -> bool {
        match self {
            NitroError::TooLarge(_)
            | NitroError::Payload(_)
            | NitroError::Missing(_)
            | NitroError::Field(_)
            | NitroError::UnknownField
            | NitroError::QuoteForm(_) => true,
            NitroError::Envelope(error) => error.is_malformed(),
            NitroError::Algorithm(_)
            | NitroError::Unprotected
            | NitroError::Chain(_)
            | NitroError::Leaf
            | NitroError::Signature
            | NitroError::Timestamp
            | NitroError::Future
            | NitroError::PcrMissing(_)
            | NitroError::Debug
            | NitroError::QuoteUnbound
            | NitroError::Quote(_) => false,
        }
    }
}
