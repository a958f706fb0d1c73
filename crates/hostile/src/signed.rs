//! Signatures over inputs, by keys that only these entries pin: so what a parser reads behind a signature is met by any bytes too.

use std::sync::OnceLock;

use attest::{certificate::TrustAnchor, ear::jwt::TokenKey, keys::VerificationKey};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use envelope::SigningKey;
use serde_json::json;

/// The key of every token here, Ed25519.
pub(crate) fn key() -> &'static VerificationKey {
    static KEY: OnceLock<VerificationKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let public = signing().public();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public.as_bytes()) });
        VerificationKey::from_jwk(&jwk).expect("an Ed25519 key")
    })
}

/// The same, as keys of issuers.
pub(crate) fn issuers() -> Vec<TokenKey> {
    vec![TokenKey { id: None, key: key().clone() }]
}

/// These bytes as the payload of a COSE_Sign1.
pub(crate) fn cose(payload: &[u8]) -> Vec<u8> {
    let to_sign = [b"\x84\x6aSignature1\x43\xa1\x01\x27\x40".as_slice(), &string(payload)].concat();
    let signature = signing().sign(&to_sign);
    [b"\xd2\x84\x43\xa1\x01\x27\xa0".as_slice(), &string(payload), &string(&signature)].concat()
}

/// These bytes as the claims of a JWT.
pub(crate) fn jwt(claims: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(br#"{"alg":"EdDSA"}"#), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(signing().sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Who signs Intel's documents here.
pub(crate) struct DocumentSigner {
    key: EcdsaKeyPair,
    /// PEM, the signer first.
    pub(crate) chain: Vec<u8>,
    /// Its root.
    pub(crate) anchor: TrustAnchor,
}

impl DocumentSigner {
    /// The one of this process.
    pub(crate) fn get() -> &'static DocumentSigner {
        static SIGNER: OnceLock<DocumentSigner> = OnceLock::new();
        SIGNER.get_or_init(|| DocumentSigner::make().expect("two certificates"))
    }

    /// A document in its envelope. `name` is `tcbInfo` or `enclaveIdentity`.
    pub(crate) fn envelope(&self, name: &str, document: &[u8]) -> Vec<u8> {
        let document = document.trim_ascii();
        let signature = self.key.sign(&SystemRandom::new(), document).expect("a signature");
        let signature = hex::encode(signature);
        [format!("{{\"{name}\":").as_bytes(), document, format!(",\"signature\":\"{signature}\"}}").as_bytes()].concat()
    }

    fn make() -> Result<DocumentSigner, rcgen::Error> {
        let (root_key, key) = (rcgen::KeyPair::generate()?, rcgen::KeyPair::generate()?);
        let mut root = named("A root of tests");
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let signed_root = root.self_signed(&root_key)?;
        let issuer = rcgen::Issuer::from_params(&root, &root_key);
        let signer = named("Intel SGX TCB Signing").signed_by(&key, &issuer)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der());
        Ok(DocumentSigner {
            key: pair.expect("a key on P-256"),
            chain: format!("{}{}", signer.pem(), signed_root.pem()).into_bytes(),
            anchor: TrustAnchor::pin(signed_root.der()).expect("a root"),
        })
    }
}

fn named(name: &str) -> rcgen::CertificateParams {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters
}

/// A signature of [`key`].
pub(crate) fn signature(bytes: &[u8]) -> Vec<u8> {
    signing().sign(bytes).to_vec()
}

fn signing() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::from_seed(&[7; 32]))
}

/// A byte string in CBOR.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).expect("an input below 4 GiB");
    let head: Vec<u8> = match size {
        0..24 => vec![0x40 | size.to_be_bytes()[3]],
        24..0x100 => vec![0x58, size.to_be_bytes()[3]],
        0x100..0x1_0000 => [&[0x59], &size.to_be_bytes()[2..]].concat(),
        _ => [&[0x5a], size.to_be_bytes().as_slice()].concat(),
    };
    [head.as_slice(), bytes].concat()
}
