//! Why a token is refused.

use crate::{CborError, CoseError, keys::Algorithm, platform::Refusal};

/// Why a token is not one, or is not believed. Texts of the token are bounded and printable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// More bytes than are ever read.
    #[error("the token has {0} bytes; at most 256 KiB are read")]
    TooLarge(usize),
    /// Not header, claims and signature.
    #[error("the token has {0} parts; exactly three are expected")]
    Parts(usize),
    /// Not base64url without padding.
    #[error("the {0} of the token is not base64url without padding")]
    Base64(&'static str),
    /// Not a JSON object, or one with a name twice.
    #[error("the {0} of the token is not a JSON object in which each name stands once")]
    Json(&'static str),
    /// The claims of a CWT are not CBOR.
    #[error("the claims of the token cannot be read")]
    Cbor(#[source] CborError),
    /// The envelope of a CWT.
    #[error("the signed envelope of the token")]
    Cose(#[source] CoseError),
    /// No algorithm, `none`, HMAC, or another that is not accepted.
    #[error("the token's algorithm `{0}` is not accepted")]
    Algorithm(String),
    /// A header that must be understood and is not.
    #[error("the token's header asks for something that is not known here")]
    Critical,
    /// None of the keys at hand is named by the token.
    #[error(
        "no key is known that could have signed the token\nhint: give the issuer's key; a key inside the token proves nothing"
    )]
    KeyUnknown,
    /// The algorithm is of another kind of key.
    #[error("the token is of {}, which is not of the key's kind", .0.name())]
    KeyMismatch(Algorithm),
    /// The signature.
    #[error("the signature of the token does not verify under any key at hand")]
    Signature,
    /// A mandatory claim is missing.
    #[error("the token has no claim `{0}`")]
    Missing(&'static str),
    /// A claim of another type or size.
    #[error("the claim `{0}` of the token is not what it should be")]
    Claim(&'static str),
    /// A status that is not known.
    #[error("the status `{0}` is not known")]
    Status(String),
    /// A claim of the trustworthiness vector that is not known, or not a number from −128 to 127.
    #[error("the trustworthiness claim `{0}` is not known or out of range")]
    Vector(String),
    /// Past its end.
    #[error("the token has expired")]
    Expired,
    /// Before its beginning, or issued in the future.
    #[error("the token is not valid yet\nhint: check the clock")]
    NotYetValid,
    /// For another Relying Party.
    #[error("the token is for another audience")]
    Audience,
    /// Used before.
    #[error("the token was used before")]
    Replayed,
}

impl Refusal for TokenError {
    fn step(&self) -> u8 {
        match self {
            TokenError::TooLarge(_)
            | TokenError::Parts(_)
            | TokenError::Base64(_)
            | TokenError::Json(_)
            | TokenError::Cbor(_) => 1,
            TokenError::Cose(CoseError::Signature) => 4,
            TokenError::Cose(_) => 1,
            TokenError::Algorithm(_) | TokenError::Critical => 2,
            TokenError::KeyUnknown | TokenError::KeyMismatch(_) => 3,
            TokenError::Signature => 4,
            TokenError::Expired | TokenError::NotYetValid => 5,
            TokenError::Missing(_) | TokenError::Claim(_) | TokenError::Status(_) | TokenError::Vector(_) => 6,
            TokenError::Audience | TokenError::Replayed => 7,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            TokenError::TooLarge(_) => "too-large",
            TokenError::Parts(_) => "not-three-parts",
            TokenError::Base64(_) => "base64",
            TokenError::Json(_) => "json",
            TokenError::Cbor(error) => error.code(),
            TokenError::Cose(error) => error.code(),
            TokenError::Algorithm(_) => "algorithm-not-allowed",
            TokenError::Critical => "critical-header",
            TokenError::KeyUnknown => "verification-key-unknown",
            TokenError::KeyMismatch(_) => "algorithm-mismatch",
            TokenError::Signature => "signature",
            TokenError::Missing(_) => "claim-missing",
            TokenError::Claim(_) => "claim-invalid",
            TokenError::Status(_) => "status-unknown",
            TokenError::Vector(_) => "vector-invalid",
            TokenError::Expired => "expired",
            TokenError::NotYetValid => "not-yet-valid",
            TokenError::Audience => "audience",
            TokenError::Replayed => "replayed",
        }
    }

    fn is_malformed(&self) -> bool {
        match self {
            TokenError::TooLarge(_)
            | TokenError::Parts(_)
            | TokenError::Base64(_)
            | TokenError::Json(_)
            | TokenError::Cbor(_) => true,
            TokenError::Cose(error) => error.is_malformed(),
            TokenError::Algorithm(_)
            | TokenError::Critical
            | TokenError::KeyUnknown
            | TokenError::KeyMismatch(_)
            | TokenError::Signature
            | TokenError::Missing(_)
            | TokenError::Claim(_)
            | TokenError::Status(_)
            | TokenError::Vector(_)
            | TokenError::Expired
            | TokenError::NotYetValid
            | TokenError::Audience
            | TokenError::Replayed => false,
        }
    }
}

/// Text from outside, as a message may quote it.
pub(super) fn quoted(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}
