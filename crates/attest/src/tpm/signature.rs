//! TPMT_SIGNATURE (TPM 2.0 Part 2, section 11.3.4) and the schemes that are accepted.
//!
//! A scheme is a pair of algorithm and hash; SHA-1 is in none. The scheme of the key decides, and the signature must be of
//! that scheme: the Attester has no choice to make.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RsaParameters, RsaPssSaltLength, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use crate::{
    HashAlgorithm,
    reader::{FormatError, Reader},
    tpm::{
        Curve, PublicKey,
        public::{ALG_NULL, EXPONENT},
    },
};

/// A signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    algorithm: Algorithm,
    hash: HashAlgorithm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rsassa,
    Rsapss,
    Ecdsa,
}

/// A parsed signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    scheme: Scheme,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Rsa(Vec<u8>),
    Ecdsa { r: Vec<u8>, s: Vec<u8> },
}

impl Scheme {
    /// The hash of the scheme, which is also that of a quote's PCR digest.
    pub const fn hash(self) -> HashAlgorithm {
        self.hash
    }

    /// TPMT_RSA_SCHEME or TPMT_ECC_SCHEME in a public area: none, or one that is accepted.
    pub(super) fn read_template(reader: &mut Reader<'_>) -> Result<Option<Scheme>, FormatError> {
        match reader.u16()? {
            ALG_NULL => Ok(None),
            id => Scheme::read_hash(id, reader).map(Some),
        }
    }

    /// Whether a key can sign with this scheme: RSA with its own, P-256 with SHA-256, P-384 with SHA-384.
    pub(super) const fn fits(self, key: &PublicKey) -> bool {
        matches!(
            (self.algorithm, self.hash, key),
            (Algorithm::Rsassa | Algorithm::Rsapss, _, PublicKey::Rsa { .. })
                | (Algorithm::Ecdsa, HashAlgorithm::Sha256, PublicKey::Ecc { curve: Curve::P256, .. })
                | (Algorithm::Ecdsa, HashAlgorithm::Sha384, PublicKey::Ecc { curve: Curve::P384, .. })
        )
    }

    fn read_hash(id: u16, reader: &mut Reader<'_>) -> Result<Scheme, FormatError> {
        let algorithm = match id {
            0x0014 => Algorithm::Rsassa,
            0x0016 => Algorithm::Rsapss,
            0x0018 => Algorithm::Ecdsa,
            other => return Err(reader.refuse("scheme", other)),
        };
        let hash = reader.u16()?;
        match HashAlgorithm::from_id(hash) {
            Some(known @ (HashAlgorithm::Sha256 | HashAlgorithm::Sha384)) => Ok(Scheme { algorithm, hash: known }),
            _ => Err(reader.refuse("hash of the scheme", hash)),
        }
    }
}

impl Signature {
    /// Parses a TPMT_SIGNATURE of an accepted scheme.
    ///
    /// # Errors
    /// Another scheme, SHA-1, truncated or trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Signature, FormatError> {
        let mut reader = Reader::new("TPMT_SIGNATURE", bytes);
        let id = reader.u16()?;
        let scheme = Scheme::read_hash(id, &mut reader)?;
        let value = match scheme.algorithm {
            Algorithm::Rsassa | Algorithm::Rsapss => Value::Rsa(reader.sized()?.to_vec()),
            Algorithm::Ecdsa => Value::Ecdsa { r: reader.sized()?.to_vec(), s: reader.sized()?.to_vec() },
        };
        reader.finish()?;
        Ok(Signature { scheme, value })
    }

    /// The scheme that it says it is of.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether this is the key's signature of the message.
    pub fn verifies(&self, key: &PublicKey, message: &[u8]) -> bool {
        if !self.scheme.fits(key) {
            return false;
        }
        match (&self.value, key) {
            (Value::Rsa(signature), PublicKey::Rsa { modulus }) => {
                let key = RsaPublicKeyComponents { n: modulus.as_slice(), e: EXPONENT };
                self.scheme.rsa_parameters().iter().any(|parameters| key.verify(parameters, message, signature).is_ok())
            }
            (Value::Ecdsa { r, s }, PublicKey::Ecc { curve, point }) => {
                let Some(signature) = fixed(r, s, curve.size()) else { return false };
                match curve {
                    Curve::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &signature),
                    Curve::P384 => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, &signature),
                }
                .is_ok()
            }
            _ => false,
        }
    }
}

impl Scheme {
    /// The ways in which TPMs have made RSA signatures of this scheme. RSASSA has one. For RSAPSS, Part 1 section B.7 takes the
    /// salt as long as the hash where FIPS asks for it, and else as long as the modulus allows; a verifier of either learns no less.
    const fn rsa_parameters(self) -> &'static [RsaParameters] {
        match (self.algorithm, self.hash) {
            (Algorithm::Rsapss, HashAlgorithm::Sha384) => RSAPSS_SHA384,
            (Algorithm::Rsapss, _) => RSAPSS_SHA256,
            (_, HashAlgorithm::Sha384) => &[RSA_PKCS1_2048_8192_SHA384],
            _ => &[RSA_PKCS1_2048_8192_SHA256],
        }
    }
}

/// r and s, each padded to the size of a coordinate.
fn fixed(r: &[u8], s: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(2 * size);
    for part in [r, s] {
        out.extend(std::iter::repeat_n(0, size.checked_sub(part.len())?));
        out.extend_from_slice(part);
    }
    Some(out)
}

const RSAPSS_SHA256: &[RsaParameters] =
    &[RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Max)];
const RSAPSS_SHA384: &[RsaParameters] =
    &[RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA384.with_pss_salt_length(RsaPssSaltLength::Max)];

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        rand::SystemRandom,
        rsa::KeySize,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
            KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RSA_PSS_SHA384, RsaEncoding, RsaKeyPair,
        },
    };

    use super::*;

    fn wrapped(scheme: u16, hash: u16, parts: &[&[u8]]) -> Signature {
        let mut bytes = [scheme.to_be_bytes(), hash.to_be_bytes()].concat();
        for part in parts {
            bytes.extend(u16::try_from(part.len()).expect("a short part").to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Signature::parse(&bytes).expect("a signature")
    }

    #[test]
    fn each_rsa_scheme_verifies_its_own_signatures_only() {
        let (pair, random) = (RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"), SystemRandom::new());
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
        let key = PublicKey::from_spki(spki.as_ref()).expect("a key that is taken");
        let schemes: [(u16, u16, &'static dyn RsaEncoding); 4] = [
            (0x0014, 0x000B, &RSA_PKCS1_SHA256),
            (0x0014, 0x000C, &RSA_PKCS1_SHA384),
            (0x0016, 0x000B, &RSA_PSS_SHA256),
            (0x0016, 0x000C, &RSA_PSS_SHA384),
        ];
        for (scheme, hash, encoding) in schemes {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &random, b"message", &mut signature).expect("a signature");
            for (other, of, _) in schemes {
                let verifies = wrapped(other, of, &[&signature]).verifies(&key, b"message");
                assert_eq!(verifies, (other, of) == (scheme, hash), "{scheme:#x} {hash:#x} as {other:#x} {of:#x}");
            }
            assert!(!wrapped(scheme, hash, &[&signature]).verifies(&key, b"another"));
        }
    }

    #[test]
    fn a_curve_signs_with_its_own_hash_only() {
        let curves: [(Curve, &'static EcdsaSigningAlgorithm, u16); 2] = [
            (Curve::P256, &ECDSA_P256_SHA256_FIXED_SIGNING, 0x000B),
            (Curve::P384, &ECDSA_P384_SHA384_FIXED_SIGNING, 0x000C),
        ];
        for (curve, algorithm, hash) in curves {
            let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
            let key = PublicKey::Ecc { curve, point: pair.public_key().as_ref().to_vec() };
            let signature = pair.sign(&SystemRandom::new(), b"message").expect("a signature");
            let (r, s) = signature.as_ref().split_at(curve.size());
            for labelled in [0x000B, 0x000C] {
                let verifies = wrapped(0x0018, labelled, &[r, s]).verifies(&key, b"message");
                assert_eq!(verifies, labelled == hash, "{curve:?} as {labelled:#x}");
            }
        }
    }
}
