//! Secrets on their way to an Attester: JWE (RFC 7516), flattened, with A256GCM.
//!
//! The content key is wrapped to the key that the report data was bound to: ECDH-ES+A256KW on P-256 or P-521 (RFC 7518, section
//! 4.6), or RSA-OAEP-256 (section 4.3). Stock clients do not keep the header as received but write it again, and use that as the
//! associated data; so the header is written exactly as they do: `alg`, `enc`, then the rest in ascending order, no spaces, no `apu`,
//! no `apv`.
//!
//! Every primitive is AWS-LC's. Deliberately absent: `RSA1_5`, RSA keys with another exponent than 65537, decryption.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, ECDH_P521, PrivateKey, UnparsedPublicKey},
    encoding::{AsDer, PublicKeyX509Der},
    kdf::{SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest},
    key_wrap::{AES_256, AesKek, KeyWrap as _},
    rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey},
    signature::RsaPublicKeyComponents,
};
use envelope::text::{Bytes32, decode, encode};
use wire::kbs::{Jwe, TeeKey};
use zeroize::Zeroizing;

/// A key to which secrets can be encrypted: one of the kinds that are served, well formed.
#[derive(Debug, Clone)]
pub struct Recipient {
    key: TeeKey,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// SEC 1, uncompressed.
    Ec(Curve, Vec<u8>),
    /// SubjectPublicKeyInfo, DER.
    Rsa(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P521,
}

/// Why nothing can be encrypted to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JweError {
    /// Of another kind.
    #[error(
        "the tee-pubkey is of a kind that is not served\nhint: EC P-256 or P-521 with ECDH-ES+A256KW, or RSA with RSA-OAEP-256"
    )]
    Kind,
    /// Not a key of its kind.
    #[error("the tee-pubkey is not a key of its kind")]
    Key,
    /// The library failed.
    #[error("the secret could not be encrypted")]
    Encrypt,
}

impl Recipient {
    /// Checks form and kind. That a point lies on its curve is checked too.
    ///
    /// # Errors
    /// [`JweError::Kind`], [`JweError::Key`].
    pub fn new(key: TeeKey) -> Result<Recipient, JweError> {
        let TeeKey { kty, alg, crv, x, y, n, e } = &key;
        let kind = match (kty.as_str(), alg.as_str(), crv.as_deref(), x, y, n, e) {
            ("EC", EC_ALG, Some(curve), Some(x), Some(y), None, None) => {
                let curve = match curve {
                    "P-256" => Curve::P256,
                    "P-521" => Curve::P521,
                    _ => return Err(JweError::Kind),
                };
                let coordinate = |text: &str| decode(text).filter(|bytes| bytes.len() == curve.size());
                let (x, y) = (coordinate(x).ok_or(JweError::Key)?, coordinate(y).ok_or(JweError::Key)?);
                let point = [&[4], x.as_slice(), &y].concat();
                let parsed = UnparsedPublicKey::new(curve.algorithm(), point.as_slice());
                agreement::ParsedPublicKey::try_from(&parsed).map_err(|_| JweError::Key)?;
                Kind::Ec(curve, point)
            }
            ("RSA", RSA_ALG, None, None, None, Some(n), Some(e)) => {
                let (n, e) = (decode(n).ok_or(JweError::Key)?, decode(e).ok_or(JweError::Key)?);
                if e != EXPONENT || !RSA_BYTES.contains(&n.len()) || n.first().is_none_or(|first| first & 0x80 == 0) {
                    return Err(JweError::Key);
                }
                let components = RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
                let der = AsDer::<PublicKeyX509Der<'static>>::as_der(&components).map_err(|_| JweError::Key)?;
                PublicEncryptingKey::from_der(der.as_ref()).map_err(|_| JweError::Key)?;
                Kind::Rsa(der.as_ref().to_vec())
            }
            _ => return Err(JweError::Kind),
        };
        Ok(Recipient { key, kind })
    }

    /// The key as it was given.
    pub const fn key(&self) -> &TeeKey {
        &self.key
    }

    /// Encrypts a secret so that only this key's holder reads it.
    ///
    /// # Errors
    /// [`JweError::Encrypt`].
    pub fn encrypt(&self, secret: &[u8]) -> Result<Jwe, JweError> {
        let content_key = Zeroizing::new(Bytes32::random().0);
        let (header, encrypted_key) = match &self.kind {
            Kind::Ec(curve, point) => agree(*curve, point, &content_key)?,
            Kind::Rsa(der) => (rsa_header(), oaep(der, &content_key)?),
        };
        let protected = encode(header.as_bytes());
        let random = Bytes32::random().0;
        let iv: [u8; 12] = random.first_chunk().copied().ok_or(JweError::Encrypt)?;
        let key = UnboundKey::new(&AES_256_GCM, content_key.as_slice()).map_err(|_| JweError::Encrypt)?;
        let mut text = secret.to_vec();
        let tag = LessSafeKey::new(key)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::from(protected.as_bytes()), &mut text)
            .map_err(|_| JweError::Encrypt)?;
        Ok(Jwe {
            protected,
            encrypted_key: encode(&encrypted_key),
            iv: encode(&iv),
            ciphertext: encode(&text),
            tag: encode(tag.as_ref()),
        })
    }
}

impl Curve {
    const fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P521 => 66,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P521 => "P-521",
        }
    }

    fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Curve::P256 => &ECDH_P256,
            Curve::P521 => &ECDH_P521,
        }
    }
}

/// The header and the content key under a key that both sides agree on (RFC 7518, section 4.6).
fn agree(curve: Curve, point: &[u8], content_key: &[u8; 32]) -> Result<(String, Vec<u8>), JweError> {
    let own = PrivateKey::generate(curve.algorithm()).map_err(|_| JweError::Encrypt)?;
    let public = own.compute_public_key().map_err(|_| JweError::Encrypt)?;
    let coordinates = public.as_ref().strip_prefix(&[4]).ok_or(JweError::Encrypt)?;
    let (x, y) = coordinates.split_at_checked(curve.size()).ok_or(JweError::Encrypt)?;
    let header = format!(
        "{{\"alg\":\"{EC_ALG}\",\"enc\":\"{ENC}\",\"epk\":{{\"crv\":\"{}\",\"kty\":\"EC\",\"x\":\"{}\",\"y\":\"{}\"}}}}",
        curve.name(),
        encode(x),
        encode(y)
    );
    let peer = UnparsedPublicKey::new(curve.algorithm(), point);
    let mut kek = Zeroizing::new([0; 32]);
    agreement::agree(&own, peer, JweError::Encrypt, |secret| {
        // The Concat KDF of NIST SP 800-56A is the one-step KDF of SP 800-56C with a hash.
        let hash = get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha256).ok_or(JweError::Encrypt)?;
        sskdf_digest(hash, secret, &kdf_info(), kek.as_mut_slice()).map_err(|_| JweError::Encrypt)
    })?;
    let mut wrapped = [0; 40];
    let kek = AesKek::new(&AES_256, kek.as_slice()).map_err(|_| JweError::Encrypt)?;
    let wrapped = kek.wrap(content_key, &mut wrapped).map_err(|_| JweError::Encrypt)?.to_vec();
    Ok((header, wrapped))
}

/// AlgorithmID, PartyUInfo, PartyVInfo and SuppPubInfo (RFC 7518, section 4.6.2).
fn kdf_info() -> Vec<u8> {
    let length = |bytes: u32| bytes.to_be_bytes();
    let name = u32::try_from(EC_ALG.len()).unwrap_or(u32::MAX);
    [&length(name), EC_ALG.as_bytes(), &length(0), &length(0), &length(256)].concat()
}

fn rsa_header() -> String {
    format!("{{\"alg\":\"{RSA_ALG}\",\"enc\":\"{ENC}\"}}")
}

fn oaep(der: &[u8], content_key: &[u8; 32]) -> Result<Vec<u8>, JweError> {
    let key = PublicEncryptingKey::from_der(der).map_err(|_| JweError::Encrypt)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| JweError::Encrypt)?;
    let mut out = vec![0; key.ciphertext_size()];
    let written = key.encrypt(&OAEP_SHA256_MGF1SHA256, content_key, &mut out, None).map_err(|_| JweError::Encrypt)?;
    Ok(written.to_vec())
}

const EC_ALG: &str = "ECDH-ES+A256KW";
const RSA_ALG: &str = "RSA-OAEP-256";
const ENC: &str = "A256GCM";
const EXPONENT: [u8; 3] = [1, 0, 1];
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn ec(curve: Curve) -> TeeKey {
        let key = PrivateKey::generate(curve.algorithm()).unwrap();
        let public = key.compute_public_key().unwrap();
        let (x, y) = public.as_ref()[1..].split_at(curve.size());
        TeeKey {
            kty: "EC".into(),
            alg: EC_ALG.into(),
            crv: Some(curve.name().into()),
            x: Some(encode(x)),
            y: Some(encode(y)),
            n: None,
            e: None,
        }
    }

    #[test]
    fn the_header_is_written_as_stock_clients_write_it_again() {
        for curve in [Curve::P256, Curve::P521] {
            let jwe = Recipient::new(ec(curve)).unwrap().encrypt(b"secret").unwrap();
            let header = String::from_utf8(decode(&jwe.protected).unwrap()).unwrap();
            let begins = format!(
                r#"{{"alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":{{"crv":"{}","kty":"EC","x":""#,
                curve.name()
            );
            assert!(header.starts_with(&begins), "{header}");
            assert!(!header.contains(' ') && !header.contains("apu"));
            assert_eq!(decode(&jwe.encrypted_key).unwrap().len(), 40);
            assert_eq!((decode(&jwe.iv).unwrap().len(), decode(&jwe.tag).unwrap().len()), (12, 16));
        }
        assert_eq!(rsa_header(), r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#);
    }

    #[test]
    fn keys_of_another_kind_off_their_curve_or_with_members_of_both_kinds_are_refused() {
        let good = ec(Curve::P256);
        let refused = |key: TeeKey| Recipient::new(key).err();
        assert_eq!(refused(TeeKey { alg: "RSA1_5".into(), ..good.clone() }), Some(JweError::Kind));
        assert_eq!(refused(TeeKey { crv: Some("P-384".into()), ..good.clone() }), Some(JweError::Kind));
        assert_eq!(refused(TeeKey { n: Some("AQAB".into()), ..good.clone() }), Some(JweError::Kind));
        assert_eq!(refused(TeeKey { x: Some(encode(&[1; 32])), ..good.clone() }), Some(JweError::Key));
        assert_eq!(refused(TeeKey { x: Some(encode(&[1; 31])), ..good }), Some(JweError::Key));
        let rsa = |n: &[u8], e: &[u8]| TeeKey {
            kty: "RSA".into(),
            alg: RSA_ALG.into(),
            crv: None,
            x: None,
            y: None,
            n: Some(encode(n)),
            e: Some(encode(e)),
        };
        assert_eq!(refused(rsa(&[0xff; 128], &EXPONENT)), Some(JweError::Key));
        assert_eq!(refused(rsa(&[0xff; 256], &[3])), Some(JweError::Key));
    }
}
