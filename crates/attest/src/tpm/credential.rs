//! MakeCredential in software (TPM 2.0 Part 1, sections 24, B.10.3 and C.6.4): a secret that only the TPM of an endorsement key can
//! open, and only while it holds the attestation key of a given name.
//!
//! The seed (RSA) or the ephemeral private key (ECC) is an argument; only OAEP draws its padding from AWS-LC's generator, since no
//! interface lets it be passed. Nothing here decrypts.

use aws_lc_rs::{
    agreement::{self, ECDH_P256, ECDH_P384, PrivateKey, UnparsedPublicKey},
    cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    hmac,
    rsa::{OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepPublicEncryptingKey, PublicEncryptingKey},
    signature::RsaPublicKeyComponents,
};
use envelope::text::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    HashAlgorithm,
    tpm::{Curve, EkPublic, PublicKey, TpmName, public::EXPONENT},
};

/// What TPM2_ActivateCredential takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeCredential {
    /// TPM2B_ID_OBJECT, with its size.
    pub id_object: Bytes,
    /// TPM2B_ENCRYPTED_SECRET, with its size.
    pub encrypted_secret: Bytes,
}

/// Why a credential cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Longer than the endorsement key's name algorithm allows.
    #[error("the secret is longer than a digest of the endorsement key's name algorithm")]
    SecretTooLong,
    /// The endorsement key is no valid key, or the random bytes are no valid private key of its curve.
    #[error("the endorsement key cannot be encrypted to")]
    Key,
}

impl MadeCredential {
    /// The file format of `tpm2_makecredential` and `tpm2_activatecredential`.
    pub fn to_tool_file(&self) -> Vec<u8> {
        let header = [0xBA, 0xDC, 0xC0, 0xDE, 0, 0, 0, 1];
        [header.as_slice(), &self.id_object.0, &self.encrypted_secret.0].concat()
    }
}

/// Makes a credential that returns `secret` to the TPM of `ek` if it holds the key named `ak_name`.
///
/// `randomness` is fresh for each call; as many of its bytes are used as the endorsement key's name algorithm has (RSA) or its
/// curve (ECC). With the same bytes the same seed results, which is how a stateless broker makes its challenge again.
///
/// # Errors
/// Named in [`CredentialError`].
pub fn make(
    ek: &EkPublic,
    ak_name: &TpmName,
    secret: &[u8],
    randomness: &Zeroizing<[u8; 48]>,
) -> Result<MadeCredential, CredentialError> {
    let hash = ek.public().name_algorithm();
    if secret.len() > hash.size() {
        return Err(CredentialError::SecretTooLong);
    }
    let (seed, encrypted_secret) = share_seed(ek, hash, randomness)?;
    let symmetric_key = kdf_a(hash, &seed, "STORAGE", ak_name.as_bytes(), usize::from(ek.aes_bits()));
    let mut identity = Zeroizing::new(sized(secret));
    encrypt_cfb(&symmetric_key, &mut identity)?;
    let integrity_key = kdf_a(hash, &seed, "INTEGRITY", &[], hash.size() * 8);
    let integrity = hmac_parts(hash, &integrity_key, &[&identity, ak_name.as_bytes()]);
    let id_object = sized(&[sized(&integrity).as_slice(), &identity].concat());
    Ok(MadeCredential { id_object: Bytes(id_object), encrypted_secret: Bytes(sized(&encrypted_secret)) })
}

/// The seed, and the form in which only the endorsement key's TPM can recover it.
fn share_seed(
    ek: &EkPublic,
    hash: HashAlgorithm,
    randomness: &Zeroizing<[u8; 48]>,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), CredentialError> {
    match ek.public().key() {
        PublicKey::Rsa { modulus } => {
            let seed = Zeroizing::new(randomness.get(..hash.size()).ok_or(CredentialError::Key)?.to_vec());
            let components = RsaPublicKeyComponents { n: modulus.as_slice(), e: EXPONENT };
            let key: PublicEncryptingKey = components.try_into().map_err(|_| CredentialError::Key)?;
            let key = OaepPublicEncryptingKey::new(key).map_err(|_| CredentialError::Key)?;
            let algorithm = match hash {
                HashAlgorithm::Sha384 => &OAEP_SHA384_MGF1SHA384,
                _ => &OAEP_SHA256_MGF1SHA256,
            };
            let mut ciphertext = vec![0; key.ciphertext_size()];
            key.encrypt(algorithm, &seed, &mut ciphertext, Some(b"IDENTITY\0")).map_err(|_| CredentialError::Key)?;
            Ok((seed, ciphertext))
        }
        PublicKey::Ecc { curve, point } => {
            let algorithm = match curve {
                Curve::P256 => &ECDH_P256,
                Curve::P384 => &ECDH_P384,
            };
            let size = curve.size();
            let scalar = randomness.get(..size).ok_or(CredentialError::Key)?;
            let ephemeral = PrivateKey::from_private_key(algorithm, scalar).map_err(|_| CredentialError::Key)?;
            let public = ephemeral.compute_public_key().map_err(|_| CredentialError::Key)?;
            let (x, y) = coordinates(public.as_ref(), size).ok_or(CredentialError::Key)?;
            let (party_v, _) = coordinates(point, size).ok_or(CredentialError::Key)?;
            let peer = UnparsedPublicKey::new(algorithm, point);
            let seed = agreement::agree(&ephemeral, peer, CredentialError::Key, |z| Ok(kdf_e(hash, z, x, party_v)))?;
            Ok((seed, [sized(x), sized(y)].concat()))
        }
    }
}

/// KDFa (Part 1, section 11.4.10.2) with contextU = `context` and no contextV; `bits` at most two digests.
fn kdf_a(hash: HashAlgorithm, key: &[u8], label: &str, context: &[u8], bits: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(128));
    let mut counter = 0_u32;
    while out.len() < bits / 8 {
        counter += 1;
        let parts = [&counter.to_be_bytes(), label.as_bytes(), &[0], context, &(bits as u32).to_be_bytes()];
        out.extend(hmac_parts(hash, key, &parts));
    }
    out.truncate(bits / 8);
    out
}

/// KDFe (Part 1, section 11.4.10.3) for "IDENTITY": one digest of seed from the shared x coordinate.
fn kdf_e(hash: HashAlgorithm, z: &[u8], party_u: &[u8], party_v: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(hash.hash(&[&1_u32.to_be_bytes(), z, b"IDENTITY\0", party_u, party_v]))
}

fn hmac_parts(hash: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let algorithm = match hash {
        HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA256,
    };
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

/// AES-CFB with an IV of zeros: the key serves for this one message.
fn encrypt_cfb(key: &[u8], message: &mut [u8]) -> Result<(), CredentialError> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| CredentialError::Key)?;
    let key = EncryptingKey::cfb128(key).map_err(|_| CredentialError::Key)?;
    let context = EncryptionContext::Iv128([0; 16].into());
    key.less_safe_encrypt(message, context).map(|_| ()).map_err(|_| CredentialError::Key)
}

fn coordinates(point: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (tag, rest) = point.split_first()?;
    let (x, y) = rest.split_at_checked(size)?;
    (*tag == 4 && y.len() == size).then_some((x, y))
}

/// A TPM2B. Everything passed here is shorter than a modulus.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}
