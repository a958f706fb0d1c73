//! Public keys of tokens, from whatever form they come in, and the algorithms that they verify.
//!
//! One type for COSE and JOSE, so that "the algorithm fits the key" is one table. ECDSA signatures are r ‖ s of fixed size (RFC 9053, section 2.1;
//! RFC 7518, section 3.4). HMAC and `none` do not exist here: a name that is not in [`Algorithm`] is refused where it is read. All
//! arithmetic is AWS-LC's.

use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519},
    prelude::FromDer,
    public_key::PublicKey as Parsed,
    x509::SubjectPublicKeyInfo,
};

use crate::cbor::{Form, Value};

/// The signature algorithms of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// Ed25519.
    EdDsa,
}

/// A public key that verifies tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationKey(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// SEC 1 uncompressed.
    Ec(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
    /// Both numbers big-endian without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

/// Why something is not a public key that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read as what it should be.
    #[error("the public key cannot be read")]
    Malformed,
    /// Another curve or kind.
    #[error("the public key is of a kind that is not accepted")]
    Kind,
    /// It holds a private part.
    #[error("the key is a private key")]
    Private,
}

/// Why a signature is not the key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerifyError {
    Mismatch,
    Signature,
}

impl Algorithm {
    /// By its COSE identifier (IANA "COSE Algorithms").
    pub const fn from_cose(id: i64) -> Option<Algorithm> {
        match id {
            -7 => Some(Algorithm::Es256),
            -35 => Some(Algorithm::Es384),
            -36 => Some(Algorithm::Es512),
            -37 => Some(Algorithm::Ps256),
            -38 => Some(Algorithm::Ps384),
            -39 => Some(Algorithm::Ps512),
            -8 => Some(Algorithm::EdDsa),
            _ => None,
        }
    }

    /// Its COSE identifier; `None` for RS256 and its kin, which COSE does not recommend and are not accepted there.
    pub const fn cose(self) -> Option<i64> {
        match self {
            Algorithm::Es256 => Some(-7),
            Algorithm::Es384 => Some(-35),
            Algorithm::Es512 => Some(-36),
            Algorithm::Ps256 => Some(-37),
            Algorithm::Ps384 => Some(-38),
            Algorithm::Ps512 => Some(-39),
            Algorithm::EdDsa => Some(-8),
            Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => None,
        }
    }

    /// By its name in JOSE (RFC 7518, section 3.1; RFC 8037). `none` and HMAC are no signatures.
    pub fn from_jose(name: &str) -> Option<Algorithm> {
        match name {
            "ES256" => Some(Algorithm::Es256),
            "ES384" => Some(Algorithm::Es384),
            "ES512" => Some(Algorithm::Es512),
            "PS256" => Some(Algorithm::Ps256),
            "PS384" => Some(Algorithm::Ps384),
            "PS512" => Some(Algorithm::Ps512),
            "RS256" => Some(Algorithm::Rs256),
            "RS384" => Some(Algorithm::Rs384),
            "RS512" => Some(Algorithm::Rs512),
            "EdDSA" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Es512 => "ES512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

impl VerificationKey {
    /// From a SubjectPublicKeyInfo, DER or PEM (`PUBLIC KEY`).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_spki(bytes: &[u8]) -> Result<VerificationKey, KeyError> {
        if bytes.len() > MAX_KEY {
            return Err(KeyError::Malformed);
        }
        if !bytes.starts_with(b"-----BEGIN ") {
            return VerificationKey::from_der(bytes);
        }
        let (rest, pem) = x509_parser::pem::parse_x509_pem(bytes).map_err(|_| KeyError::Malformed)?;
        if pem.label != "PUBLIC KEY" || !rest.iter().all(u8::is_ascii_whitespace) {
            return Err(KeyError::Malformed);
        }
        VerificationKey::from_der(&pem.contents)
    }

    fn from_der(der: &[u8]) -> Result<VerificationKey, KeyError> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyError::Malformed)?;
        if !rest.is_empty() {
            return Err(KeyError::Malformed);
        }
        VerificationKey::from_info(&spki)
    }

    /// From a parsed SubjectPublicKeyInfo, such as a certificate's.
    pub(crate) fn from_info(spki: &SubjectPublicKeyInfo<'_>) -> Result<VerificationKey, KeyError> {
        let bits = spki.subject_public_key.data.as_ref();
        if spki.algorithm.algorithm == OID_SIG_ED25519 {
            return VerificationKey::ed25519(bits);
        }
        if spki.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = spki.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let curve = curve.ok_or(KeyError::Malformed)?;
            let curve = match curve {
                curve if curve == OID_EC_P256 => Curve::P256,
                curve if curve == OID_NIST_EC_P384 => Curve::P384,
                curve if curve == OID_NIST_EC_P521 => Curve::P521,
                _ => return Err(KeyError::Kind),
            };
            return VerificationKey::point(curve, bits.to_vec());
        }
        match spki.parsed().map_err(|_| KeyError::Malformed)? {
            Parsed::RSA(key) => VerificationKey::rsa(key.modulus, key.exponent),
            _ => Err(KeyError::Kind),
        }
    }

    /// From an uncompressed point (SEC 1); its length tells the curve.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_point(point: &[u8]) -> Result<VerificationKey, KeyError> {
        let curve =
            [Curve::P256, Curve::P384, Curve::P521].into_iter().find(|curve| point.len() == 1 + 2 * curve.size());
        VerificationKey::point(curve.ok_or(KeyError::Kind)?, point.to_vec())
    }

    /// From a COSE_Key (RFC 9052, section 7; RFC 9053, section 7): EC2 with both coordinates, or OKP with Ed25519.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_cose_key(bytes: &[u8]) -> Result<VerificationKey, KeyError> {
        let key = Value::parse(bytes, Form::Deterministic).map_err(|_| KeyError::Malformed)?;
        VerificationKey::from_cose_value(&key)
    }

    pub(crate) fn from_cose_value(key: &Value<'_>) -> Result<VerificationKey, KeyError> {
        if key.at(-4).is_some() {
            return Err(KeyError::Private);
        }
        let number = |label: i64| key.at(label).and_then(Value::integer).ok_or(KeyError::Malformed);
        let part = |label: i64| key.at(label).and_then(Value::bytes).ok_or(KeyError::Malformed);
        match (number(1)?, number(-1)?) {
            (2, curve) => {
                let curve = match curve {
                    1 => Curve::P256,
                    2 => Curve::P384,
                    3 => Curve::P521,
                    _ => return Err(KeyError::Kind),
                };
                VerificationKey::coordinates(curve, part(-2)?, part(-3)?)
            }
            (1, 6) => VerificationKey::ed25519(part(-2)?),
            _ => Err(KeyError::Kind),
        }
    }

    /// From a JWK (RFC 7517) with a public key only.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<VerificationKey, KeyError> {
        if ["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|part| jwk.get(part).is_some()) {
            return Err(KeyError::Private);
        }
        let text = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str).ok_or(KeyError::Malformed);
        let part = |name: &str| {
            let text = text(name)?;
            if text.len() > MAX_KEY {
                return Err(KeyError::Malformed);
            }
            URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Malformed)
        };
        match text("kty")? {
            "EC" => {
                let curve = match text("crv")? {
                    "P-256" => Curve::P256,
                    "P-384" => Curve::P384,
                    "P-521" => Curve::P521,
                    _ => return Err(KeyError::Kind),
                };
                VerificationKey::coordinates(curve, &part("x")?, &part("y")?)
            }
            "OKP" if text("crv")? == "Ed25519" => VerificationKey::ed25519(&part("x")?),
            "RSA" => VerificationKey::rsa(&part("n")?, &part("e")?),
            _ => Err(KeyError::Kind),
        }
    }

    /// Whether it is on P-384, as all keys of AWS's attestation are.
    pub(crate) const fn is_p384(&self) -> bool {
        matches!(self.0, Kind::Ec(Curve::P384, _))
    }

    fn coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Result<VerificationKey, KeyError> {
        // With the sum of both, which every point has to have, this is the size of each.
        if x.len() != curve.size() {
            return Err(KeyError::Malformed);
        }
        VerificationKey::point(curve, [&[4], x, y].concat())
    }

    fn point(curve: Curve, point: Vec<u8>) -> Result<VerificationKey, KeyError> {
        let uncompressed = point.len() == 1 + 2 * curve.size() && point.first() == Some(&4);
        if uncompressed { Ok(VerificationKey(Kind::Ec(curve, point))) } else { Err(KeyError::Malformed) }
    }

    fn ed25519(key: &[u8]) -> Result<VerificationKey, KeyError> {
        if key.len() == 32 { Ok(VerificationKey(Kind::Ed25519(key.to_vec()))) } else { Err(KeyError::Malformed) }
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<VerificationKey, KeyError> {
        let trim = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
        let (modulus, exponent) = (trim(modulus), trim(exponent));
        // 2048 to 8192 bits, and an odd exponent above one that fits four bytes.
        let odd = exponent.last().is_some_and(|last| last % 2 == 1) && exponent != [1];
        if !(256..=1024).contains(&modulus.len()) || !odd || exponent.len() > 4 {
            return Err(KeyError::Kind);
        }
        Ok(VerificationKey(Kind::Rsa { modulus, exponent }))
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        let done = |verified: Result<(), aws_lc_rs::error::Unspecified>| verified.map_err(|_| VerifyError::Signature);
        let with = |scheme: &'static dyn VerificationAlgorithm, key: &[u8]| {
            done(UnparsedPublicKey::new(scheme, key).verify(message, signature))
        };
        let rsa = |parameters: &'static RsaParameters, n: &[u8], e: &[u8]| {
            done(RsaPublicKeyComponents { n, e }.verify(parameters, message, signature))
        };
        match (algorithm, &self.0) {
            (Algorithm::Es256, Kind::Ec(Curve::P256, key)) => with(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Algorithm::Es384, Kind::Ec(Curve::P384, key)) => with(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Algorithm::Es512, Kind::Ec(Curve::P521, key)) => with(&signature::ECDSA_P521_SHA512_FIXED, key),
            (Algorithm::EdDsa, Kind::Ed25519(key)) => with(&signature::ED25519, key),
            (Algorithm::Ps256, Kind::Rsa { modulus, exponent }) => {
                rsa(&signature::RSA_PSS_2048_8192_SHA256, modulus, exponent)
            }
            (Algorithm::Ps384, Kind::Rsa { modulus, exponent }) => {
                rsa(&signature::RSA_PSS_2048_8192_SHA384, modulus, exponent)
            }
            (Algorithm::Ps512, Kind::Rsa { modulus, exponent }) => {
                rsa(&signature::RSA_PSS_2048_8192_SHA512, modulus, exponent)
            }
            (Algorithm::Rs256, Kind::Rsa { modulus, exponent }) => {
                rsa(&signature::RSA_PKCS1_2048_8192_SHA256, modulus, exponent)
            }
            (Algorithm::Rs384, Kind::Rsa { modulus, exponent }) => {
                rsa(&signature::RSA_PKCS1_2048_8192_SHA384, modulus, exponent)
            }
            (Algorithm::Rs512, Kind::Rsa { modulus, exponent }) => {
                rsa(&signature::RSA_PKCS1_2048_8192_SHA512, modulus, exponent)
            }
            _ => Err(VerifyError::Mismatch),
        }
    }
}

impl Curve {
    const fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

const MAX_KEY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::indexing_slicing)]
    use aws_lc_rs::{
        encoding::AsDer,
        rand::SystemRandom,
        rsa::KeySize,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
            ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
            RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
            RsaEncoding, RsaKeyPair,
        },
    };

    use super::*;
    use crate::cbor::Encoder;

    /// The public key of a new pair: its point, and its SubjectPublicKeyInfo.
    fn on_curve(algorithm: &'static EcdsaSigningAlgorithm) -> (Vec<u8>, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
        let spki = pair.public_key().as_der().expect("a public key");
        (pair.public_key().as_ref().to_vec(), spki.as_ref().to_vec())
    }

    fn ed25519() -> (Vec<u8>, Vec<u8>) {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let spki = pair.public_key().as_der().expect("a public key");
        (pair.public_key().as_ref().to_vec(), spki.as_ref().to_vec())
    }

    /// A COSE_Key of these numbers and strings.
    fn cose_key(numbers: &[(i64, i64)], strings: &[(i64, &[u8])]) -> Vec<u8> {
        // Deterministic: 1 before -1, -2, -3, -4.
        let mut encoder = Encoder::default();
        encoder.map(numbers.len() + strings.len());
        for (label, number) in numbers {
            encoder.integer(*label);
            encoder.integer(*number);
        }
        for (label, string) in strings {
            encoder.integer(*label);
            encoder.bytes(string);
        }
        encoder.done()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn jwk(members: &[(&str, &str)]) -> Result<VerificationKey, KeyError> {
        let members = members.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        VerificationKey::from_jwk(&serde_json::Value::Object(members))
    }

    fn named(name: &str) -> Algorithm {
        Algorithm::from_jose(name).expect("a name of JOSE")
    }

    #[test]
    fn each_rsa_algorithm_of_jose_verifies_its_own_signatures_only() {
        let (pair, random) = (RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"), SystemRandom::new());
        let spki = pair.public_key().as_der().expect("a public key");
        let key = VerificationKey::from_spki(spki.as_ref()).expect("a key that is taken");
        let names = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
        let encodings: [&'static dyn RsaEncoding; 6] = [
            &RSA_PKCS1_SHA256,
            &RSA_PKCS1_SHA384,
            &RSA_PKCS1_SHA512,
            &RSA_PSS_SHA256,
            &RSA_PSS_SHA384,
            &RSA_PSS_SHA512,
        ];
        for (name, encoding) in names.into_iter().zip(encodings) {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &random, b"message", &mut signature).expect("a signature");
            for other in names {
                let expected = if other == name { Ok(()) } else { Err(VerifyError::Signature) };
                assert_eq!(key.verify(named(other), b"message", &signature), expected, "{name} as {other}");
            }
            for other in ["ES256", "ES384", "ES512", "EdDSA"] {
                let refused = key.verify(named(other), b"message", &signature);
                assert_eq!(refused, Err(VerifyError::Mismatch), "{name} as {other}");
            }
        }
    }

    #[test]
    fn names_of_jose_are_those_of_signatures() {
        for name in ["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
            assert_eq!(named(name).name(), name);
        }
        for name in ["none", "HS256", "HS512", "ES256K", "RS1", "rs256", ""] {
            assert_eq!(Algorithm::from_jose(name), None, "{name}");
        }
    }

    #[test]
    fn es512_is_on_p521() {
        let (algorithm, random) = (&ECDSA_P521_SHA512_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
        let key = VerificationKey::from_point(pair.public_key().as_ref()).expect("a key that is taken");
        let signature = pair.sign(&random, b"message").expect("a signature");
        assert_eq!(key.verify(named("ES512"), b"message", signature.as_ref()), Ok(()));
        assert_eq!(key.verify(named("ES384"), b"message", signature.as_ref()), Err(VerifyError::Mismatch));
    }
    #[test]
    fn algorithms_have_ianas_numbers_in_cose() {
        // IANA's registry "COSE Algorithms".
        let numbered = [
            ("ES256", -7),
            ("ES384", -35),
            ("ES512", -36),
            ("PS256", -37),
            ("PS384", -38),
            ("PS512", -39),
            ("EdDSA", -8),
        ];
        for (name, id) in numbered {
            assert_eq!((named(name).cose(), Algorithm::from_cose(id)), (Some(id), Some(named(name))), "{name}");
            assert_eq!(Algorithm::from_cose(-id), None);
        }
        for name in ["RS256", "RS384", "RS512"] {
            assert_eq!(named(name).cose(), None);
        }
        // RS256, RS1, ES256K, HMAC, and what is reserved.
        for id in [-257, -65535, -47, 5, 0] {
            assert_eq!(Algorithm::from_cose(id), None, "{id}");
        }
    }

    #[test]
    fn a_key_on_a_curve_is_the_same_in_every_form() {
        let curves = [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, Curve::P256, 1, "P-256"),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, Curve::P384, 2, "P-384"),
            (&ECDSA_P521_SHA512_FIXED_SIGNING, Curve::P521, 3, "P-521"),
        ];
        for (algorithm, curve, number, name) in curves {
            let (point, spki) = on_curve(algorithm);
            let key = VerificationKey(Kind::Ec(curve, point.clone()));
            let coordinates: Vec<&[u8]> = point[1..].chunks(curve.size()).collect();
            let [x, y] = coordinates[..] else { panic!("two coordinates") };
            assert_eq!(VerificationKey::from_point(&point), Ok(key.clone()), "{name}");
            assert_eq!(VerificationKey::from_spki(&spki), Ok(key.clone()), "{name}");
            assert_eq!(VerificationKey::from_spki(pem("PUBLIC KEY", &spki).as_bytes()), Ok(key.clone()), "{name}");
            let cose = |numbers: &[(i64, i64)], strings: &[(i64, &[u8])]| {
                VerificationKey::from_cose_key(&cose_key(numbers, strings))
            };
            assert_eq!(cose(&[(1, 2), (-1, number)], &[(-2, x), (-3, y)]), Ok(key.clone()), "{name}");
            let encoded = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
            let members = [("kty", "EC"), ("crv", name), ("x", &encoded[0]), ("y", &encoded[1])];
            assert_eq!(jwk(&members), Ok(key.clone()), "{name}");
            assert_eq!(key.is_p384(), curve == Curve::P384);
            // A coordinate of another size, a private part, a part that is missing, and other kinds.
            let longer = [y, &[0]].concat();
            for short in [[&x[1..], y], [x, &y[1..]], [&x[1..], &longer], [x, &longer]] {
                assert_eq!(cose(&[(1, 2), (-1, number)], &[(-2, short[0]), (-3, short[1])]), Err(KeyError::Malformed));
            }
            assert_eq!(cose(&[(1, 2), (-1, number)], &[(-2, x), (-3, y), (-4, &[7])]), Err(KeyError::Private));
            assert_eq!(cose(&[(1, 2), (-1, number)], &[(-2, x)]), Err(KeyError::Malformed));
            assert_eq!(cose(&[(1, 2), (-1, 8)], &[(-2, x), (-3, y)]), Err(KeyError::Kind));
            assert_eq!(cose(&[(1, 3), (-1, number)], &[(-2, x), (-3, y)]), Err(KeyError::Kind));
            assert_eq!(jwk(&members[..3]), Err(KeyError::Malformed));
            for part in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert_eq!(jwk(&[&members[..], &[(part, "AA")]].concat()), Err(KeyError::Private), "{part}");
            }
            let compressed = [&[2 + y[curve.size() - 1] % 2], x].concat();
            assert!(VerificationKey::from_point(&compressed).is_err());
            assert_eq!(VerificationKey::from_point(&[&[2], &point[1..]].concat()), Err(KeyError::Malformed));
        }
        let (point, spki) = on_curve(&ECDSA_P256K1_SHA256_FIXED_SIGNING);
        assert_eq!(VerificationKey::from_spki(&spki), Err(KeyError::Kind));
        let encoded = URL_SAFE_NO_PAD.encode(&point[1..33]);
        assert_eq!(jwk(&[("kty", "EC"), ("crv", "secp256k1"), ("x", &encoded), ("y", &encoded)]), Err(KeyError::Kind));
    }

    #[test]
    fn a_key_of_ed25519_is_the_same_in_every_form() {
        let (public, spki) = ed25519();
        let key = VerificationKey(Kind::Ed25519(public.clone()));
        assert_eq!(VerificationKey::from_spki(&spki), Ok(key.clone()));
        let cose = |curve: i64, public: &[u8]| {
            VerificationKey::from_cose_key(&cose_key(&[(1, 1), (-1, curve)], &[(-2, public)]))
        };
        assert_eq!(cose(6, &public), Ok(key.clone()));
        let of_jwk =
            |curve: &str, public: &[u8]| jwk(&[("kty", "OKP"), ("crv", curve), ("x", &URL_SAFE_NO_PAD.encode(public))]);
        assert_eq!(of_jwk("Ed25519", &public), Ok(key));
        for other in [&public[1..], &[&public[..], &[0]].concat()] {
            assert_eq!(cose(6, other), Err(KeyError::Malformed));
            assert_eq!(of_jwk("Ed25519", other), Err(KeyError::Malformed));
        }
        // X25519 and Ed448.
        for (curve, name) in [(4, "X25519"), (7, "Ed448")] {
            assert_eq!(cose(curve, &public), Err(KeyError::Kind));
            assert_eq!(of_jwk(name, &public), Err(KeyError::Kind));
        }
        assert_eq!(jwk(&[("kty", "oct"), ("x", "AA")]), Err(KeyError::Kind));
    }

    #[test]
    fn a_public_key_is_one_object_of_bounded_size() {
        let (_, spki) = on_curve(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let good = pem("PUBLIC KEY", &spki);
        let of = |bytes: &[u8]| VerificationKey::from_spki(bytes).map(|_| ());
        assert_eq!(of(format!("{good}\n \n").as_bytes()), Ok(()));
        assert_eq!(of(format!("{good}{good}").as_bytes()), Err(KeyError::Malformed));
        assert_eq!(of(pem("EC PRIVATE KEY", &spki).as_bytes()), Err(KeyError::Malformed));
        assert_eq!(of(pem("CERTIFICATE", &spki).as_bytes()), Err(KeyError::Malformed));
        assert_eq!(of(&[&spki[..], &[0]].concat()), Err(KeyError::Malformed));
        let padded = |size: usize| good.clone() + &" ".repeat(size - good.len());
        assert_eq!(of(padded(16 << 10).as_bytes()), Ok(()));
        for more in [1, 2] {
            assert_eq!(of(padded((16 << 10) + more).as_bytes()), Err(KeyError::Malformed));
        }
        // A part of a JWK is bounded before it is decoded.
        let modulus = |characters: usize| jwk(&[("kty", "RSA"), ("n", &"A".repeat(characters)), ("e", "AQAB")]);
        assert_eq!(modulus(16 << 10), Err(KeyError::Kind));
        for more in [4, 8] {
            assert_eq!(modulus((16 << 10) + more), Err(KeyError::Malformed));
        }
    }

    #[test]
    fn an_rsa_key_has_2048_to_8192_bits() {
        let of = |modulus: &[u8], exponent: &[u8]| {
            let [n, e] = [modulus, exponent].map(|number| URL_SAFE_NO_PAD.encode(number));
            jwk(&[("kty", "RSA"), ("n", &n), ("e", &e)])
        };
        let usual = [1, 0, 1];
        let key = |modulus: &[u8], exponent: &[u8]| {
            Ok(VerificationKey(Kind::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() }))
        };
        for size in [256, 257, 1024] {
            assert_eq!(of(&vec![0xC3; size], &usual), key(&vec![0xC3; size], &usual), "{size}");
            // Zeros before a number change nothing.
            assert_eq!(of(&[&[0, 0][..], &vec![0xC3; size]].concat(), &[0, 1, 0, 1]), key(&vec![0xC3; size], &usual));
        }
        for size in [0, 255, 1025] {
            assert_eq!(of(&vec![0xC3; size], &usual), Err(KeyError::Kind), "{size}");
        }
        assert_eq!(of(&[0xC3; 256], &[3]), key(&[0xC3; 256], &[3]));
        assert_eq!(of(&[0xC3; 256], &[1, 0, 0, 1]), key(&[0xC3; 256], &[1, 0, 0, 1]));
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0], &[1, 0, 0, 0, 1]] {
            assert_eq!(of(&[0xC3; 256], exponent), Err(KeyError::Kind), "{exponent:?}");
        }
    }
}
