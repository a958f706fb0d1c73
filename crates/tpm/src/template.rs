//! The public areas from which keys are made (TPMT_PUBLIC, TPM 2.0 Part 2), and reading them back.
//!
//! Endorsement keys follow the TCG EK Credential Profile 2.5: the low-range templates L-1 (RSA 2048) and L-2 (P-256), and the
//! high-range H-3 (P-384), since a certificate speaks of the key that exactly its template makes. The storage key and the
//! attestation keys are ours.

use crate::keys::KeyKind;
use crate::marshal::{Malformed, Reader, Writer};

/// The kinds of endorsement key that are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndorsementKind {
    /// NIST P-384, template H-3, certificate at NV index 0x01c00016.
    EccP384,
    /// NIST P-256, template L-2, certificate at NV index 0x01c0000a.
    EccP256,
    /// RSA with 2048 bits, template L-1, certificate at NV index 0x01c00002.
    Rsa2048,
}

impl EndorsementKind {
    /// All kinds, in the order in which they are tried: the fast ones first.
    pub const ALL: [EndorsementKind; 3] =
        [EndorsementKind::EccP384, EndorsementKind::EccP256, EndorsementKind::Rsa2048];

    /// Where the TPM's maker puts the certificate (EK Credential Profile, section 2.2.1.4).
    #[must_use]
    pub fn certificate_index(self) -> u32 {
        match self {
            EndorsementKind::EccP384 => 0x01c0_0016,
            EndorsementKind::EccP256 => 0x01c0_000a,
            EndorsementKind::Rsa2048 => 0x01c0_0002,
        }
    }

    /// Where the key may lie persistently.
    pub(crate) fn persistent_handles(self) -> &'static [u32] {
        match self {
            EndorsementKind::EccP384 => &[0x8101_0016],
            EndorsementKind::EccP256 => &[0x8101_0002, 0x8101_000a],
            EndorsementKind::Rsa2048 => &[0x8101_0001],
        }
    }

    /// The hash algorithm of the key's name, and so of its policy sessions.
    pub(crate) fn name_algorithm(self) -> u16 {
        match self {
            EndorsementKind::EccP384 => SHA384,
            EndorsementKind::EccP256 | EndorsementKind::Rsa2048 => SHA256,
        }
    }

    /// The branches of the policy's last step, when it has one: PolicyOR over "knows the endorsement secret" and
    /// "an NV index says so" (EK Credential Profile, section B.6).
    pub(crate) fn policy_branches(self) -> Option<[&'static [u8]; 2]> {
        match self {
            EndorsementKind::EccP384 => Some([&POLICY_A_SHA384, &POLICY_C_SHA384]),
            EndorsementKind::EccP256 | EndorsementKind::Rsa2048 => None,
        }
    }

    /// The template up to the unique field.
    pub(crate) fn template_prefix(self) -> Writer {
        match self {
            EndorsementKind::EccP384 => ecc_parent(SHA384, 0x0003_00f2, &POLICY_B_SHA384, 256, P384),
            EndorsementKind::EccP256 => ecc_parent(SHA256, 0x0003_00b2, &POLICY_A_SHA256, 128, P256),
            EndorsementKind::Rsa2048 => Writer::new()
                .u16(RSA)
                .u16(SHA256)
                .u32(0x0003_00b2)
                .sized(&POLICY_A_SHA256)
                .u16(AES)
                .u16(128)
                .u16(CFB)
                .u16(NULL)
                .u16(2048)
                .u32(0),
        }
    }

    /// The whole template.
    pub(crate) fn template(self) -> Writer {
        match self {
            EndorsementKind::EccP384 => self.template_prefix().sized(&[]).sized(&[]),
            EndorsementKind::EccP256 => self.template_prefix().sized(&[0; 32]).sized(&[0; 32]),
            EndorsementKind::Rsa2048 => self.template_prefix().sized(&[0; 256]),
        }
    }

    /// What an X.509 certificate holds as subjectPublicKey for the key with this public area: an uncompressed point
    /// (SEC 1) or an RSAPublicKey (RFC 8017, A.1.1).
    pub(crate) fn subject_public_key(self, public: &[u8]) -> Result<Vec<u8>, Malformed> {
        let prefix = self.template_prefix();
        let mut reader = Reader::new(public);
        if reader.take(prefix.as_bytes().len(), "template")? != prefix.as_bytes() {
            return Err(Malformed("template"));
        }
        let key = match self {
            EndorsementKind::EccP384 => point(&mut reader, 48)?,
            EndorsementKind::EccP256 => point(&mut reader, 32)?,
            EndorsementKind::Rsa2048 => rsa_public_key(reader.sized("modulus")?)?,
        };
        reader.end("unique")?;
        Ok(key)
    }
}

/// The storage key under which attestation keys and sealed secrets live: P-256, made anew from the owner seed each time.
pub(crate) fn storage_key() -> Writer {
    ecc_parent(SHA256, 0x0003_0472, &[], 128, P256).sized(&[]).sized(&[])
}

/// A key that signs only what the TPM itself says: restricted, made inside, never leaves.
pub(crate) fn attestation_key(kind: KeyKind) -> Writer {
    let head = |algorithm: u16| Writer::new().u16(algorithm).u16(SHA256).u32(0x0005_0472).sized(&[]).u16(NULL);
    match kind {
        KeyKind::EccP256 => head(ECC).u16(ECDSA).u16(SHA256).u16(P256).u16(NULL).sized(&[]).sized(&[]),
        KeyKind::Rsa2048 => head(RSA).u16(RSASSA).u16(SHA256).u16(2048).u32(0).sized(&[]),
    }
}

/// A sealed secret that opens by policy only.
pub(crate) fn sealed_object(policy: &[u8]) -> Writer {
    Writer::new().u16(KEYED_HASH).u16(SHA256).u32(0x0000_0492).sized(policy).u16(NULL).sized(&[])
}

fn ecc_parent(name: u16, attributes: u32, policy: &[u8], key_bits: u16, curve: u16) -> Writer {
    let head = Writer::new().u16(ECC).u16(name).u32(attributes).sized(policy);
    head.u16(AES).u16(key_bits).u16(CFB).u16(NULL).u16(curve).u16(NULL)
}

fn point(reader: &mut Reader<'_>, width: usize) -> Result<Vec<u8>, Malformed> {
    let mut key = vec![4];
    for what in ["point x", "point y"] {
        let coordinate = reader.sized(what)?;
        let padding = width.checked_sub(coordinate.len()).ok_or(Malformed(what))?;
        key.extend(std::iter::repeat_n(0, padding));
        key.extend_from_slice(coordinate);
    }
    Ok(key)
}

fn rsa_public_key(modulus: &[u8]) -> Result<Vec<u8>, Malformed> {
    // A 2048-bit modulus has its top bit set, so that every length below is fixed.
    if modulus.len() != 256 || modulus.first().is_none_or(|first| first & 0x80 == 0) {
        return Err(Malformed("modulus"));
    }
    let mut key = vec![0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
    key.extend_from_slice(modulus);
    key.extend_from_slice(&[0x02, 0x03, 0x01, 0x00, 0x01]);
    Ok(key)
}

const RSA: u16 = 0x0001;
const AES: u16 = 0x0006;
const KEYED_HASH: u16 = 0x0008;
pub(crate) const SHA256: u16 = 0x000b;
pub(crate) const SHA384: u16 = 0x000c;
pub(crate) const NULL: u16 = 0x0010;
const RSASSA: u16 = 0x0014;
const ECDSA: u16 = 0x0018;
const ECC: u16 = 0x0023;
const CFB: u16 = 0x0043;
const P256: u16 = 0x0003;
const P384: u16 = 0x0004;

/// PolicySecret(endorsement hierarchy), SHA-256.
const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// PolicySecret(endorsement hierarchy), SHA-384.
const POLICY_A_SHA384: [u8; 48] = [
    0x8b, 0xbf, 0x22, 0x66, 0x53, 0x7c, 0x17, 0x1c, 0xb5, 0x6e, 0x40, 0x3c, 0x4d, 0xc1, 0xd4, 0xb6, 0x4f, 0x43, 0x26,
    0x11, 0xdc, 0x38, 0x6e, 0x6f, 0x53, 0x20, 0x50, 0xc3, 0x27, 0x8c, 0x93, 0x0e, 0x14, 0x3e, 0x8b, 0xb1, 0x13, 0x38,
    0x24, 0xcc, 0xb4, 0x31, 0x05, 0x38, 0x71, 0xc6, 0xdb, 0x53,
];

/// PolicyAuthorizeNV, SHA-384.
const POLICY_C_SHA384: [u8; 48] = [
    0xd6, 0x03, 0x2c, 0xe6, 0x1f, 0x2f, 0xb3, 0xc2, 0x40, 0xeb, 0x3c, 0xf6, 0xa3, 0x32, 0x37, 0xef, 0x2b, 0x6a, 0x16,
    0xf4, 0x29, 0x3c, 0x22, 0xb4, 0x55, 0xe2, 0x61, 0xcf, 0xfd, 0x21, 0x7a, 0xd5, 0xb4, 0x94, 0x7c, 0x2d, 0x73, 0xe6,
    0x30, 0x05, 0xee, 0xd2, 0xdc, 0x2b, 0x35, 0x93, 0xd1, 0x65,
];

/// PolicyOR over A and C, SHA-384.
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48,
    0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09, 0x69, 0x96,
    0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];

#[cfg(test)]
mod tests {
    use attest::HashAlgorithm;

    use super::*;

    fn extend(bank: HashAlgorithm, old: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        bank.hash(&[old, &parts.concat()])
    }

    /// The policy digests are what the specification's steps give (TPM 2.0 Part 3, PolicySecret and PolicyOR).
    #[test]
    fn the_endorsement_policies_are_those_of_the_profile() {
        let endorsement = 0x4000_000b_u32.to_be_bytes();
        for (bank, expected) in
            [(HashAlgorithm::Sha256, &POLICY_A_SHA256[..]), (HashAlgorithm::Sha384, &POLICY_A_SHA384[..])]
        {
            let zero = vec![0; bank.size()];
            let named = extend(bank, &zero, &[&0x151_u32.to_be_bytes(), &endorsement]);
            assert_eq!(bank.hash(&[&named]), expected);
        }
        let branches = [&POLICY_A_SHA384[..], &POLICY_C_SHA384[..]];
        let either = extend(HashAlgorithm::Sha384, &[0; 48], &[&0x171_u32.to_be_bytes()[..], branches[0], branches[1]]);
        assert_eq!(either, POLICY_B_SHA384);
    }

    #[test]
    fn a_short_coordinate_is_padded_and_a_long_one_refused() {
        let short = EndorsementKind::EccP256.template_prefix().sized(&[7]).sized(&[8; 32]);
        let key =
            EndorsementKind::EccP256.subject_public_key(short.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!((key.len(), key[0], key[31], key[32]), (65, 4, 0, 7));
        let long = EndorsementKind::EccP256.template_prefix().sized(&[7; 33]).sized(&[8; 32]);
        assert_eq!(EndorsementKind::EccP256.subject_public_key(long.as_bytes()), Err(Malformed("point x")));
    }
}
