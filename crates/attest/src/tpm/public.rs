//! TPMT_PUBLIC (TPM 2.0 Part 2, section 12.2): the public part of a TPM's key, its name, and what makes a key an AK or an EK.
//!
//! A key's *name* is the hash of all of its public area, attributes included, so comparing names compares everything.
//! [`AkPublic`] and [`EkPublic`] are public areas whose attributes have been checked; nothing else may be used as one.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::RsaPublicKeyComponents,
};
use envelope::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    HashAlgorithm,
    reader::{FormatError, Reader},
    tpm::Scheme,
};

/// The name of a key: two bytes of hash algorithm and the hash of its public area (TPM 2.0 Part 1, "Names"). Hexadecimal in documents.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TpmName(Vec<u8>);

/// A parsed public area of an RSA or ECC key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmPublic {
    bytes: Vec<u8>,
    name_algorithm: HashAlgorithm,
    attributes: u32,
    symmetric_bits: Option<u16>,
    scheme: Option<Scheme>,
    key: PublicKey,
}

/// The key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA with the exponent 65537.
    Rsa {
        /// The modulus, big-endian without leading zeros.
        modulus: Vec<u8>,
    },
    /// A point of a NIST curve.
    Ecc {
        /// The curve.
        curve: Curve,
        /// SEC 1 uncompressed: 4, x, y.
        point: Vec<u8>,
    },
}

/// A curve (TPM_ECC_CURVE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

/// A key that signs what its TPM made, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkPublic {
    public: TpmPublic,
    scheme: Scheme,
}

/// A storage key fixed to its TPM, with AES-CFB as its symmetric algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EkPublic {
    public: TpmPublic,
    aes_bits: u16,
}

/// Why a key cannot be an attestation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AkFault {
    /// It would sign anything that is handed to it.
    #[error("it is not restricted")]
    NotRestricted,
    /// It does not sign.
    #[error("it is not a signing key")]
    NotSigning,
    /// It decrypts.
    #[error("it is a decryption key too")]
    Decrypts,
    /// It can leave its TPM.
    #[error("it is not fixed to its TPM")]
    NotFixedTpm,
    /// It can move to another parent.
    #[error("it is not fixed to its parent")]
    NotFixedParent,
    /// Its private part was made elsewhere.
    #[error("its private part was not made in the TPM")]
    ForeignOrigin,
    /// It names no signature scheme with SHA-256 or SHA-384.
    #[error("it has no signature scheme with sha256 or sha384")]
    NoScheme,
}

impl TpmPublic {
    /// Parses a TPM2B_PUBLIC or a TPMT_PUBLIC. (The two cannot be confused: a TPMT begins with 1 or 35, which no TPM2B's size is.)
    ///
    /// # Errors
    /// Anything but an RSA key of 2048 to 4096 bits with exponent 65537, or an ECC key on P-256 or P-384.
    pub fn parse(bytes: &[u8]) -> Result<TpmPublic, FormatError> {
        let mut sized = Reader::new("TPM2B_PUBLIC", bytes);
        let body = match sized.u16()? {
            ALG_RSA | ALG_ECC => bytes,
            size => {
                let body = sized.take(usize::from(size))?;
                sized.finish()?;
                body
            }
        };
        let mut reader = Reader::new("TPMT_PUBLIC", body);
        let kind = reader.u16()?;
        let name_id = reader.u16()?;
        let name_algorithm = match HashAlgorithm::from_id(name_id) {
            Some(known @ (HashAlgorithm::Sha256 | HashAlgorithm::Sha384)) => known,
            _ => return Err(reader.refuse("name algorithm", name_id)),
        };
        let attributes = reader.u32()?;
        if attributes & RESERVED != 0 {
            return Err(reader.refuse("attributes", attributes));
        }
        reader.sized()?; // authPolicy: covered by the name
        let symmetric_bits = symmetric(&mut reader)?;
        let scheme = Scheme::read_template(&mut reader)?;
        let key = match kind {
            ALG_RSA => rsa_key(&mut reader)?,
            ALG_ECC => ecc_key(&mut reader)?,
            other => return Err(reader.refuse("type", other)),
        };
        reader.finish()?;
        Ok(TpmPublic { bytes: body.to_vec(), name_algorithm, attributes, symmetric_bits, scheme, key })
    }

    /// The TPMT_PUBLIC.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key's name.
    pub fn name(&self) -> TpmName {
        let mut name = self.name_algorithm.id().to_be_bytes().to_vec();
        name.extend(self.name_algorithm.hash(&[&self.bytes]));
        TpmName(name)
    }

    /// The hash algorithm of its name.
    pub const fn name_algorithm(&self) -> HashAlgorithm {
        self.name_algorithm
    }

    /// The key itself.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    const fn has(&self, attribute: u32) -> bool {
        self.attributes & attribute != 0
    }
}

impl PublicKey {
    /// The key as SubjectPublicKeyInfo (RFC 5280; RFC 5480 for ECC), DER: what `tpm2_readpublic -f der` prints.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            PublicKey::Rsa { modulus } => {
                let components = RsaPublicKeyComponents { n: modulus.as_slice(), e: EXPONENT };
                // Serializing a modulus and an exponent cannot fail; an empty answer would match no certificate.
                AsDer::<PublicKeyX509Der<'static>>::as_der(&components)
                    .map(|der| der.as_ref().to_vec())
                    .unwrap_or_default()
            }
            PublicKey::Ecc { curve, point } => [curve.spki_prefix(), point].concat(),
        }
    }

    /// Whether a SubjectPublicKeyInfo's key bits (the contents of its BIT STRING) are this key.
    pub(crate) fn matches(&self, spki: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> bool {
        use x509_parser::public_key::PublicKey as Parsed;
        match (self, spki.parsed()) {
            (PublicKey::Rsa { modulus }, Ok(Parsed::RSA(rsa))) => {
                strip_zeros(rsa.modulus) == modulus.as_slice() && strip_zeros(rsa.exponent) == EXPONENT
            }
            (PublicKey::Ecc { point, .. }, Ok(Parsed::EC(ec))) => {
                // The whole structure is compared, so that the curve counts as well.
                ec.data() == point.as_slice() && spki.raw == self.spki()
            }
            _ => false,
        }
    }
}

impl Curve {
    /// The length of a coordinate in bytes.
    pub const fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    const fn spki_prefix(self) -> &'static [u8] {
        match self {
            Curve::P256 => &P256_SPKI,
            Curve::P384 => &P384_SPKI,
        }
    }
}

impl AkPublic {
    /// Takes a key as an attestation key (step 2).
    ///
    /// # Errors
    /// The first attribute that is wrong.
    pub fn new(public: TpmPublic) -> Result<AkPublic, AkFault> {
        let required = [
            (RESTRICTED, AkFault::NotRestricted),
            (SIGN, AkFault::NotSigning),
            (FIXED_TPM, AkFault::NotFixedTpm),
            (FIXED_PARENT, AkFault::NotFixedParent),
            (SENSITIVE_DATA_ORIGIN, AkFault::ForeignOrigin),
        ];
        for (attribute, fault) in required {
            if !public.has(attribute) {
                return Err(fault);
            }
        }
        if public.has(DECRYPT) {
            return Err(AkFault::Decrypts);
        }
        let scheme = public.scheme.filter(|scheme| scheme.fits(&public.key)).ok_or(AkFault::NoScheme)?;
        Ok(AkPublic { public, scheme })
    }

    /// The public area.
    pub const fn public(&self) -> &TpmPublic {
        &self.public
    }

    /// The one scheme with which it signs.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl EkPublic {
    /// Takes a key as an endorsement key (step 4): restricted, decrypting, fixed, made in its TPM, AES-128 or AES-256 in CFB mode.
    /// `None` for any other key.
    pub fn new(public: TpmPublic) -> Option<EkPublic> {
        let needed = RESTRICTED | DECRYPT | FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN;
        if public.attributes & needed != needed || public.has(SIGN) || public.scheme.is_some() {
            return None;
        }
        let aes_bits = public.symmetric_bits.filter(|bits| matches!(bits, 128 | 256))?;
        Some(EkPublic { public, aes_bits })
    }

    /// The public area.
    pub const fn public(&self) -> &TpmPublic {
        &self.public
    }

    /// The key size of its symmetric algorithm, AES in CFB mode.
    pub const fn aes_bits(&self) -> u16 {
        self.aes_bits
    }

    /// The SHA-256 of its SubjectPublicKeyInfo: what a policy lists.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.public.key.spki())
    }
}

impl TpmName {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TpmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for TpmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<TpmName> for String {
    fn from(name: TpmName) -> String {
        name.to_string()
    }
}

impl TryFrom<String> for TpmName {
    type Error = FormatError;

    fn try_from(text: String) -> Result<TpmName, FormatError> {
        let refuse = FormatError::Value { structure: "name of a key", field: "size", value: text.len() as u64 };
        let canonical = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let bytes = hex::decode(&text).ok().filter(|_| canonical).ok_or(refuse.clone())?;
        let mut reader = Reader::new("name of a key", &bytes);
        let algorithm = reader.u16()?;
        match HashAlgorithm::from_id(algorithm) {
            Some(known) if bytes.len() == known.size() + 2 => Ok(TpmName(bytes)),
            _ => Err(refuse),
        }
    }
}

/// TPMT_SYM_DEF_OBJECT: none, or AES in CFB mode with its key size.
fn symmetric(reader: &mut Reader<'_>) -> Result<Option<u16>, FormatError> {
    match reader.u16()? {
        ALG_NULL => Ok(None),
        ALG_AES => {
            let bits = reader.u16()?;
            match reader.u16()? {
                ALG_CFB => Ok(Some(bits)),
                other => Err(reader.refuse("mode", other)),
            }
        }
        other => Err(reader.refuse("symmetric algorithm", other)),
    }
}

fn rsa_key(reader: &mut Reader<'_>) -> Result<PublicKey, FormatError> {
    let bits = reader.u16()?;
    if !matches!(bits, 2048 | 3072 | 4096) {
        return Err(reader.refuse("key size", bits));
    }
    let exponent = reader.u32()?;
    if !matches!(exponent, 0 | 65537) {
        return Err(reader.refuse("exponent", exponent));
    }
    let modulus = reader.sized()?.to_vec();
    if modulus.len() != usize::from(bits / 8) || modulus.first().is_none_or(|byte| byte & 0x80 == 0) {
        return Err(reader.refuse("modulus size", modulus.len() as u64));
    }
    Ok(PublicKey::Rsa { modulus })
}

fn ecc_key(reader: &mut Reader<'_>) -> Result<PublicKey, FormatError> {
    let curve = match reader.u16()? {
        0x0003 => Curve::P256,
        0x0004 => Curve::P384,
        other => return Err(reader.refuse("curve", other)),
    };
    match reader.u16()? {
        ALG_NULL => {}
        other => return Err(reader.refuse("key derivation", other)),
    }
    let mut point = vec![4];
    for _ in 0..2 {
        let coordinate = reader.sized()?;
        let padding = curve.size().checked_sub(coordinate.len());
        let padding = padding.ok_or_else(|| reader.refuse("coordinate size", coordinate.len() as u64))?;
        point.extend(std::iter::repeat_n(0, padding));
        point.extend_from_slice(coordinate);
    }
    Ok(PublicKey::Ecc { curve, point })
}

fn strip_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

pub(super) const ALG_NULL: u16 = 0x0010;
const ALG_RSA: u16 = 0x0001;
const ALG_ECC: u16 = 0x0023;
const ALG_AES: u16 = 0x0006;
const ALG_CFB: u16 = 0x0043;
/// 65537, big-endian.
pub(super) const EXPONENT: &[u8] = &[1, 0, 1];

// TPMA_OBJECT (Part 2, section 8.3).
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;
const RESERVED: u32 = 0xFFF0_F309;

// SubjectPublicKeyInfo of an uncompressed point, up to the point.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384_SPKI: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).expect("a short field").to_be_bytes()[..], bytes].concat()
    }

    /// A TPMT_PUBLIC of an RSA key that signs with RSASSA and SHA-256.
    fn rsa_public(bits: u16, exponent: u32, modulus: &[u8]) -> Vec<u8> {
        let mut out = [ALG_RSA.to_be_bytes(), HashAlgorithm::Sha256.id().to_be_bytes()].concat();
        out.extend(0x0005_0072_u32.to_be_bytes());
        out.extend(sized(&[]));
        out.extend(ALG_NULL.to_be_bytes());
        out.extend([0x00, 0x14, 0x00, 0x0B]);
        out.extend(bits.to_be_bytes());
        out.extend(exponent.to_be_bytes());
        out.extend(sized(modulus));
        out
    }

    fn modulus(size: usize) -> Vec<u8> {
        vec![0xC3; size]
    }

    fn matches(key: &PublicKey, der: &[u8]) -> bool {
        let (_, parsed) = SubjectPublicKeyInfo::from_der(der).expect("a SubjectPublicKeyInfo");
        key.matches(&parsed)
    }

    #[test]
    fn an_rsa_key_has_one_of_three_sizes_all_of_its_bits_and_the_usual_exponent() {
        for bits in [2048, 3072, 4096] {
            let modulus = modulus(usize::from(bits / 8));
            for exponent in [0, 65537] {
                let bytes = rsa_public(bits, exponent, &modulus);
                let public = TpmPublic::parse(&bytes).expect("a key");
                assert_eq!(
                    (public.as_bytes(), public.key()),
                    (&bytes[..], &PublicKey::Rsa { modulus: modulus.clone() })
                );
            }
        }
        let refused = |bits, exponent, modulus: &[u8], field, value| {
            let structure = "TPMT_PUBLIC";
            let expected = FormatError::Value { structure, field, value };
            assert_eq!(TpmPublic::parse(&rsa_public(bits, exponent, modulus)), Err(expected));
        };
        for bits in [0, 1024, 2047, 2056, 8192] {
            refused(bits, 0, &modulus(256), "key size", bits.into());
        }
        for exponent in [1, 2, 3, 65536, 65539, u32::MAX] {
            refused(2048, exponent, &modulus(256), "exponent", exponent.into());
        }
        for size in [0, 1, 128, 255, 257, 512] {
            refused(2048, 0, &modulus(size), "modulus size", size as u64);
        }
        let short = [&[0x7F][..], &modulus(255)].concat();
        refused(2048, 0, &short, "modulus size", 256);
    }

    #[test]
    fn a_certificates_key_is_compared_whole() {
        let modulus = modulus(256);
        let key = PublicKey::Rsa { modulus: modulus.clone() };
        let der = |modulus: &[u8], exponent: &[u8]| {
            let components = RsaPublicKeyComponents { n: modulus, e: exponent };
            AsDer::<PublicKeyX509Der<'static>>::as_der(&components).expect("a key").as_ref().to_vec()
        };
        assert!(matches(&key, &der(&modulus, EXPONENT)));
        assert!(!matches(&key, &der(&modulus, &[3])));
        let mut other = modulus.clone();
        other.iter_mut().skip(255).for_each(|byte| *byte ^= 2);
        assert!(!matches(&key, &der(&other, EXPONENT)));
        assert!(!matches(&key, &der(&other, &[3])));
        // A point is one of its own curve: the same bytes under another name are another key.
        let point = [&[4][..], &[7; 64]].concat();
        let key = PublicKey::Ecc { curve: Curve::P256, point: point.clone() };
        let renamed = |der: &[u8]| {
            let mut der = der.to_vec();
            // The last arc of 1.2.840.10045.3.1.7, in front of the BIT STRING.
            let at = der.len() - point.len() - 4;
            assert_eq!(der.get(at), Some(&7));
            der.splice(at..=at, [1]);
            der
        };
        assert!(matches(&key, &key.spki()));
        assert!(!matches(&key, &renamed(&key.spki())));
        let mut other = point.clone();
        other.iter_mut().skip(64).for_each(|byte| *byte ^= 1);
        assert!(!matches(&key, &PublicKey::Ecc { curve: Curve::P256, point: other }.spki()));
        assert!(!matches(&key, &der(&modulus, EXPONENT)));
    }

    #[test]
    fn a_name_has_the_size_of_its_hash() {
        let name = |text: &str| TpmName::try_from(text.to_owned());
        for (algorithm, size) in [("0004", 20), ("000b", 32), ("000c", 48), ("000d", 64)] {
            let of = |size: usize| format!("{algorithm}{}", "ab".repeat(size));
            assert_eq!(name(&of(size)).map(String::from), Ok(of(size)));
            for other in [0, size - 1, size + 1] {
                assert!(name(&of(other)).is_err(), "{other}");
            }
        }
        for odd in [format!("000B{}", "ab".repeat(32)), format!("0001{}", "ab".repeat(32)), "zz".to_owned()] {
            assert!(name(&odd).is_err());
        }
        assert!(matches!(name(""), Err(FormatError::Truncated { .. })));
    }
}
