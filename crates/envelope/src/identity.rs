//! Ed25519 signing keys (RFC 8032) and their public halves.

use std::{fmt, str::FromStr};

use ed25519_dalek::Signer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::text;

/// A key that signs statements. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

/// An Ed25519 public key. Its text form is `ed25519:` and base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Why a text or some bytes are not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `ed25519:` and 43 base64url digits.
    #[error("`{0}` is not a public key: it must be `ed25519:` and 43 base64url digits")]
    Text(String),
    /// The bytes are not a point of the curve, or a point of small order.
    #[error("the bytes are not a usable Ed25519 public key")]
    Point,
}

impl SigningKey {
    /// A new key from the operating system's generator.
    pub fn generate() -> SigningKey {
        let mut seed = Zeroizing::new([0; 32]);
        fill_random(seed.as_mut());
        SigningKey::from_seed(&seed)
    }

    /// The key of a stored seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> SigningKey {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, to be stored.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// A signature of 64 bytes over a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The key in PKCS #8 (RFC 8410), for certificate libraries.
    ///
    /// # Errors
    /// [`KeyError::Point`] if the encoder refuses, which it does for no key made here.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        use ed25519_dalek::pkcs8::EncodePrivateKey as _;
        let document = self.0.to_pkcs8_der().map_err(|_| KeyError::Point)?;
        Ok(Zeroizing::new(document.as_bytes().to_vec()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl PublicKey {
    /// A key from its 32 bytes (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`KeyError::Point`] when they are no point or one of small order, under which many messages share a signature.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<PublicKey, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Point)?;
        if key.is_weak() { Err(KeyError::Point) } else { Ok(PublicKey(bytes)) }
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the signature is this key's over the message, by the strict rules (no malleable or small-order values).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        ed25519_dalek::VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }

    /// The first eight digits of the text form, for a person's eye only.
    pub fn short(&self) -> String {
        text::encode(&self.0).chars().take(8).collect()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", text::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(input: &str) -> Result<PublicKey, KeyError> {
        let wrong = || KeyError::Text(crate::digest::clip(input));
        let digits = input.strip_prefix("ed25519:").ok_or_else(wrong)?;
        let bytes = text::decode(digits).and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?;
        PublicKey::from_bytes(bytes)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Fills from the operating system's generator. Without it no key can be made and nothing may go on.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    #[expect(
        clippy::expect_used,
        reason = "without the system's generator no key may be made; there is nothing to fall back to"
    )]
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_order_keys_are_refused() {
        assert_eq!(PublicKey::from_bytes([0; 32]), Err(KeyError::Point));
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(PublicKey::from_bytes(one), Err(KeyError::Point));
    }

    #[test]
    fn a_signature_holds_for_one_message_and_one_key() {
        let (a, b) = (SigningKey::generate(), SigningKey::generate());
        let signature = a.sign(b"message");
        assert!(a.public().verifies(b"message", &signature));
        assert!(!a.public().verifies(b"massage", &signature));
        assert!(!b.public().verifies(b"message", &signature));
        assert!(!a.public().verifies(b"message", &signature[..63]));
        assert_eq!(a.public().to_string().parse(), Ok(a.public()));
    }
}
