//! A client's key, and what was encrypted to it: ECDH-ES+A256KW on P-256 with A256GCM (RFC 7518).

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    kdf::{SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest},
    key_wrap::{AES_256, AesKek, KeyWrap as _},
};
use envelope::text::{decode, encode};
use serde::Deserialize;
use wire::kbs::{Jwe, TeeKey};

use crate::Failure;

/// A key pair of one session.
pub(super) struct Key {
    private: PrivateKey,
    public: TeeKey,
}

impl Key {
    pub(super) fn generate() -> Result<Key, Failure> {
        let private = PrivateKey::generate(&ECDH_P256).map_err(|_| "a key cannot be made")?;
        let point = private.compute_public_key().map_err(|_| "a key cannot be made")?;
        let (x, y) = point.as_ref().get(1..).and_then(|point| point.split_at_checked(32)).ok_or("no point")?;
        let public = TeeKey {
            kty: "EC".to_owned(),
            alg: ALGORITHM.to_owned(),
            crv: Some("P-256".to_owned()),
            x: Some(encode(x)),
            y: Some(encode(y)),
            n: None,
            e: None,
        };
        Ok(Key { private, public })
    }

    pub(super) const fn public(&self) -> &TeeKey {
        &self.public
    }

    pub(super) fn decrypt(&self, jwe: &Jwe) -> Result<Vec<u8>, Failure> {
        let part = |text: &str| decode(text).ok_or("the JWE is not in base64url");
        let Header { epk } = serde_json::from_slice(&part(&jwe.protected)?)?;
        let point = [vec![4], part(&epk.x)?, part(&epk.y)?].concat();
        let mut kek = [0; 32];
        agreement::agree(&self.private, UnparsedPublicKey::new(&ECDH_P256, point), "no agreement", |secret| {
            let hash = get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha256).ok_or("no hash")?;
            sskdf_digest(hash, secret, &info(), &mut kek).map_err(|_| "no key")
        })?;
        let mut content_key = [0; 32];
        let kek = AesKek::new(&AES_256, &kek).map_err(|_| "no key")?;
        kek.unwrap(&part(&jwe.encrypted_key)?, &mut content_key).map_err(|_| "the key does not unwrap")?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &content_key).map_err(|_| "no key")?);
        let nonce = Nonce::try_assume_unique_for_key(&part(&jwe.iv)?).map_err(|_| "no nonce")?;
        let mut text = [part(&jwe.ciphertext)?, part(&jwe.tag)?].concat();
        let aad = Aad::from(jwe.protected.as_bytes());
        Ok(key.open_in_place(nonce, aad, &mut text).map_err(|_| "the JWE does not open")?.to_vec())
    }
}

#[derive(Deserialize)]
struct Header {
    epk: Ephemeral,
}

#[derive(Deserialize)]
struct Ephemeral {
    x: String,
    y: String,
}

/// AlgorithmID, PartyUInfo, PartyVInfo and SuppPubInfo (RFC 7518, section 4.6.2).
fn info() -> Vec<u8> {
    let length = |bytes: u32| bytes.to_be_bytes();
    let name = u32::try_from(ALGORITHM.len()).unwrap_or_default();
    [&length(name), ALGORITHM.as_bytes(), &length(0), &length(0), &length(256)].concat()
}

const ALGORITHM: &str = "ECDH-ES+A256KW";
