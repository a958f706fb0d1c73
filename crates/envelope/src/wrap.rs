//! Keys and other small secrets wrapped to an encapsulation key: HPKE (RFC 9180) with X-Wing, HKDF-SHA-256 and AES-256-GCM.
//!
//! X-Wing joins X25519 and ML-KEM-768, so what is captured today stays closed to a later quantum computer as long as either
//! holds. Every wrapping names its purpose (`info`) and what it belongs to (`context`); a wrapped key moved elsewhere does not open.

use std::fmt;

use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256, kem::XWing};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::text::Bytes;

/// The public half: 1,216 bytes (X-Wing).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncapsulationKey(Bytes);

/// The private half. Wiped on drop, never printed.
#[derive(Clone)]
pub struct DecapsulationKey {
    private: <XWing as hpke::Kem>::PrivateKey,
    public: EncapsulationKey,
}

/// A secret wrapped to an encapsulation key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapped {
    /// HPKE's `enc`: 1,120 bytes.
    pub encapsulated: Bytes,
    /// Ciphertext and tag.
    pub ciphertext: Bytes,
}

/// Why a secret could not be wrapped or unwrapped. One outcome for every cryptographic failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The encapsulation key is not an X-Wing key.
    #[error("the encapsulation key is not an X-Wing public key of 1216 bytes")]
    Key,
    /// Wrapped to another key, for another purpose or context, or altered.
    #[error("the wrapped key does not open here: it was wrapped to another key, for another use, or altered")]
    Open,
}

impl DecapsulationKey {
    /// A new pair from the operating system's generator.
    pub fn generate() -> DecapsulationKey {
        let mut seed = Zeroizing::new([0; 32]);
        crate::identity::fill_random(seed.as_mut());
        DecapsulationKey::from_seed(&seed)
    }

    /// The pair of a stored seed of 32 bytes.
    pub fn from_seed(seed: &[u8; 32]) -> DecapsulationKey {
        let (private, public) = XWing::derive_keypair(seed);
        DecapsulationKey { private, public: EncapsulationKey(Bytes(public.to_bytes().to_vec())) }
    }

    /// The public half.
    pub const fn public(&self) -> &EncapsulationKey {
        &self.public
    }

    /// Unwraps a secret for the same purpose and context it was wrapped for.
    ///
    /// # Errors
    /// [`WrapError::Open`].
    pub fn unwrap(&self, wrapped: &Wrapped, purpose: &str, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let encapsulated =
            <XWing as hpke::Kem>::EncappedKey::from_bytes(&wrapped.encapsulated.0).map_err(|_| WrapError::Open)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.private,
            &encapsulated,
            purpose.as_bytes(),
            &wrapped.ciphertext.0,
            context,
        )
        .map(Zeroizing::new)
        .map_err(|_| WrapError::Open)
    }
}

impl EncapsulationKey {
    /// The bytes, as they go into a binding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.0
    }

    /// A key from its bytes.
    ///
    /// # Errors
    /// [`WrapError::Key`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<EncapsulationKey, WrapError> {
        <XWing as hpke::Kem>::PublicKey::from_bytes(&bytes).map_err(|_| WrapError::Key)?;
        Ok(EncapsulationKey(Bytes(bytes)))
    }

    /// Wraps a secret. `purpose` and `context` must be given again to unwrap it.
    ///
    /// # Errors
    /// [`WrapError::Key`] when this is not an X-Wing key.
    pub fn wrap(&self, secret: &[u8], purpose: &str, context: &[u8]) -> Result<Wrapped, WrapError> {
        let public = <XWing as hpke::Kem>::PublicKey::from_bytes(&self.0.0).map_err(|_| WrapError::Key)?;
        let (encapsulated, ciphertext) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public,
            purpose.as_bytes(),
            secret,
            context,
        )
        .map_err(|_| WrapError::Key)?;
        Ok(Wrapped { encapsulated: Bytes(encapsulated.to_bytes().to_vec()), ciphertext: Bytes(ciphertext) })
    }
}

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncapsulationKey({})", crate::Digest::of(self.as_bytes()).short())
    }
}

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecapsulationKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c5_a_wrapped_key_opens_only_where_it_belongs() {
        let (here, there) = (DecapsulationKey::generate(), DecapsulationKey::generate());
        let wrapped = here.public().wrap(b"secret", "release", b"run 1").unwrap();
        assert_eq!(here.unwrap(&wrapped, "release", b"run 1").unwrap().as_slice(), b"secret");
        assert_eq!(there.unwrap(&wrapped, "release", b"run 1"), Err(WrapError::Open));
        assert_eq!(here.unwrap(&wrapped, "deposit", b"run 1"), Err(WrapError::Open));
        assert_eq!(here.unwrap(&wrapped, "release", b"run 2"), Err(WrapError::Open));
    }

    #[test]
    fn altered_or_cut_wrappings_do_not_open() {
        let here = DecapsulationKey::from_seed(&[9; 32]);
        let wrapped = here.public().wrap(b"secret", "release", b"").unwrap();
        for position in 0..wrapped.ciphertext.0.len() {
            let mut altered = wrapped.clone();
            altered.ciphertext.0[position] ^= 1;
            assert_eq!(here.unwrap(&altered, "release", b""), Err(WrapError::Open));
        }
        for length in 0..wrapped.encapsulated.0.len() {
            let mut cut = wrapped.clone();
            cut.encapsulated.0.truncate(length);
            assert_eq!(here.unwrap(&cut, "release", b""), Err(WrapError::Open));
        }
        assert_eq!(EncapsulationKey::from_bytes(vec![0; 31]), Err(WrapError::Key));
    }

    #[test]
    fn the_pair_of_a_seed_is_fixed() {
        let one = DecapsulationKey::from_seed(&[9; 32]);
        assert_eq!(one.public(), DecapsulationKey::from_seed(&[9; 32]).public());
    }
}
