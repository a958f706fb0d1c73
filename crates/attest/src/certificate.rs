//! X.509 certificates as makers of hardware use them: a chain of known shape under a pinned key, with revocation lists.
//!
//! A chain is given in order, leaf first, and is walked once; there is no search for a path, no fetching, no system trust store and no
//! name of a host. Every link checks the issuer's name, the issuer's signature, validity at the given time, the right to issue
//! (basic constraints, path length, key usage) and that no critical extension is unknown. What is pinned is the anchor's *key*: a
//! certificate of the same name with another key is nobody. Parsing is `x509-parser`'s, signatures are AWS-LC's. Why not `webpki`:
//! `docs/decisions/0005-certificate-chains.md`.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use jiff::Timestamp;
use x509_parser::{
    certificate::X509Certificate,
    extensions::ParsedExtension,
    oid_registry::{
        OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384,
        OID_NIST_HASH_SHA512, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
        OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, OID_SIG_ED25519, Oid,
    },
    prelude::FromDer,
    revocation_list::CertificateRevocationList,
    signature_algorithm::SignatureAlgorithm,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name},
};

/// What is wrong with one certificate or revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// It does not parse, or is longer than is ever read.
    #[error("it cannot be read")]
    Malformed,
    /// An extension that must be understood is not.
    #[error("it has a critical extension that is not known here")]
    CriticalExtension,
    /// Past its end.
    #[error("it has expired")]
    Expired,
    /// Before its beginning.
    #[error("it is not valid yet\nhint: check the clock")]
    NotYetValid,
    /// It may not issue, or not at this depth.
    #[error("its issuer is not a certificate authority, or not for a chain of this length")]
    NotAuthority,
    /// The names do not lead to one another.
    #[error("it names another issuer than the certificate above it")]
    Issuer,
    /// The signature.
    #[error("its signature does not verify under the issuer's key")]
    Signature,
    /// A signature algorithm that is not accepted.
    #[error("its signature is of an algorithm that is not accepted")]
    Algorithm,
    /// Its issuer took it back.
    #[error("it was revoked")]
    Revoked,
    /// No pinned key is at the end of the chain.
    #[error("no pinned authority issued it")]
    Untrusted,
}

/// Where in a chain which fault was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate {at} of the chain (`{subject}`)")]
pub struct ChainError {
    /// Counted from the leaf, which is 0.
    pub at: usize,
    /// Its subject's common name, or empty; at most 80 printable characters.
    pub subject: String,
    /// What is wrong.
    #[source]
    pub fault: CertificateFault,
}

/// A parsed certificate, without any statement about who issued it.
#[derive(Debug, Clone)]
pub struct Certificate<'a> {
    der: &'a [u8],
    parsed: X509Certificate<'a>,
}

/// An authority, pinned by its key and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchor {
    spki: Vec<u8>,
    subject: Vec<u8>,
    common_name: String,
}

/// A revocation list whose signature has been checked against its issuer and whose time is now.
#[derive(Debug, Clone)]
pub struct RevocationList<'a> {
    parsed: CertificateRevocationList<'a>,
}

/// Whether an issuer's name, which comes first, is a certificate's subject. Names are equal byte for byte, unless a maker's are known not to be.
pub(crate) type SameName = fn(&X509Name<'_>, &X509Name<'_>) -> bool;

impl<'a> Certificate<'a> {
    /// Parses one DER certificate, which must use up its bytes.
    ///
    /// # Errors
    /// [`CertificateFault::Malformed`].
    pub fn parse(der: &'a [u8]) -> Result<Certificate<'a>, CertificateFault> {
        if der.len() > MAX_SIZE {
            return Err(CertificateFault::Malformed);
        }
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateFault::Malformed)?;
        if !is_strict(der, parsed.tbs_certificate.as_ref()) {
            return Err(CertificateFault::Malformed);
        }
        Ok(Certificate { der, parsed })
    }

    /// Parses a PEM bundle or a concatenation of DER certificates, in order; trailing zeros are ignored (stores pad with them).
    ///
    /// # Errors
    /// [`CertificateFault::Malformed`], also for an empty bundle or one of more than 16 certificates.
    pub fn split(bundle: &[u8]) -> Result<Vec<Vec<u8>>, CertificateFault> {
        let mut found = Vec::new();
        if bundle.len() > MAX_BUNDLE {
            return Err(CertificateFault::Malformed);
        }
        if bundle.windows(11).any(|window| window == b"-----BEGIN ") {
            for pem in x509_parser::pem::Pem::iter_from_buffer(bundle) {
                let pem = pem.map_err(|_| CertificateFault::Malformed)?;
                found.push(pem.contents);
            }
        } else {
            let mut rest = bundle;
            while !rest.is_empty() && rest.iter().any(|byte| *byte != 0) {
                let (after, _) = X509Certificate::from_der(rest).map_err(|_| CertificateFault::Malformed)?;
                let size = rest.len().saturating_sub(after.len());
                found.push(rest.get(..size).unwrap_or_default().to_vec());
                rest = after;
            }
        }
        if found.is_empty() || found.len() > MAX_CHAIN { Err(CertificateFault::Malformed) } else { Ok(found) }
    }

    /// The bytes it was parsed from.
    pub const fn der(&self) -> &'a [u8] {
        self.der
    }

    /// The parsed certificate, for its extensions.
    pub const fn parsed(&self) -> &X509Certificate<'a> {
        &self.parsed
    }

    /// Its public key.
    pub const fn key(&self) -> &SubjectPublicKeyInfo<'a> {
        &self.parsed.tbs_certificate.subject_pki
    }

    /// The public key's bit string: for an elliptic curve the uncompressed point.
    pub fn key_bits(&self) -> &[u8] {
        &self.parsed.tbs_certificate.subject_pki.subject_public_key.data
    }

    /// Its serial number, big-endian, without leading zeros.
    pub fn serial(&self) -> Vec<u8> {
        trimmed(self.parsed.raw_serial()).to_vec()
    }

    /// The subject's common name, printable and at most 80 characters.
    pub fn common_name(&self) -> String {
        common_name(self.parsed.subject())
    }

    /// The value of the extension with this dotted identifier.
    pub fn extension(&self, oid: &str) -> Option<&'a [u8]> {
        let found = self.parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == oid);
        found.map(|extension| extension.value)
    }

    /// Whether `now` lies within its validity.
    ///
    /// # Errors
    /// [`CertificateFault::Expired`], [`CertificateFault::NotYetValid`].
    pub fn check_validity(&self, now: Timestamp) -> Result<(), CertificateFault> {
        let validity = self.parsed.validity();
        check_period(validity.not_before.timestamp(), validity.not_after.timestamp(), now)
    }

    /// Whether this certificate's key signed `message`, with the algorithm that `algorithm` names.
    fn verifies(
        &self,
        algorithm: &AlgorithmIdentifier<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CertificateFault> {
        verify_with(self.key(), algorithm, message, signature)
    }

    /// Whether `signer`, which need not be an authority, signed this certificate under a name that `same` says is its own.
    ///
    /// # Errors
    /// [`CertificateFault::Issuer`], [`CertificateFault::Signature`], [`CertificateFault::Algorithm`], [`CertificateFault::CriticalExtension`].
    pub(crate) fn check_signed_by(&self, signer: &Certificate<'_>, same: SameName) -> Result<(), CertificateFault> {
        self.check_extensions()?;
        if !same(self.parsed.issuer(), signer.parsed.subject()) {
            return Err(CertificateFault::Issuer);
        }
        let tbs = self.parsed.tbs_certificate.as_ref();
        signer.verifies(&self.parsed.signature_algorithm, tbs, &self.parsed.signature_value.data)
    }

    /// One link: whether `issuer`, at `depth` certificates above the leaf, issued this certificate.
    fn check_issued_by(&self, issuer: &Certificate<'_>, below: usize) -> Result<(), CertificateFault> {
        if self.parsed.issuer().as_raw() != issuer.parsed.subject().as_raw() {
            return Err(CertificateFault::Issuer);
        }
        let tbs = self.parsed.tbs_certificate.as_ref();
        issuer.verifies(&self.parsed.signature_algorithm, tbs, &self.parsed.signature_value.data)?;
        issuer.check_authority(below)
    }

    /// Whether it may issue, with `below` authorities between it and the leaf.
    fn check_authority(&self, below: usize) -> Result<(), CertificateFault> {
        let constraints = self.parsed.basic_constraints().map_err(|_| CertificateFault::Malformed)?;
        let constraints = constraints.ok_or(CertificateFault::NotAuthority)?.value;
        let deep = constraints
            .path_len_constraint
            .is_some_and(|limit| usize::try_from(limit).is_ok_and(|limit| limit < below));
        if !constraints.ca || deep {
            return Err(CertificateFault::NotAuthority);
        }
        let usage = self.parsed.key_usage().map_err(|_| CertificateFault::Malformed)?;
        match usage {
            Some(usage) if !usage.value.key_cert_sign() => Err(CertificateFault::NotAuthority),
            _ => Ok(()),
        }
    }

    fn check_extensions(&self) -> Result<(), CertificateFault> {
        let unknown = self.parsed.extensions().iter().any(|extension| {
            extension.critical
                && !matches!(
                    extension.parsed_extension(),
                    ParsedExtension::BasicConstraints(_)
                        | ParsedExtension::KeyUsage(_)
                        | ParsedExtension::ExtendedKeyUsage(_)
                        | ParsedExtension::SubjectAlternativeName(_)
                        | ParsedExtension::AuthorityKeyIdentifier(_)
                        | ParsedExtension::SubjectKeyIdentifier(_)
                        | ParsedExtension::CertificatePolicies(_)
                        | ParsedExtension::CRLDistributionPoints(_)
                )
        });
        if unknown { Err(CertificateFault::CriticalExtension) } else { Ok(()) }
    }
}

impl TrustAnchor {
    /// Pins the key and name of a certificate (DER or PEM). Its own dates do not count: who pins it decides how long.
    ///
    /// # Errors
    /// [`CertificateFault::Malformed`].
    pub fn pin(certificate: &[u8]) -> Result<TrustAnchor, CertificateFault> {
        let ders = Certificate::split(certificate)?;
        let [der] = ders.as_slice() else { return Err(CertificateFault::Malformed) };
        let certificate = Certificate::parse(der)?;
        Ok(TrustAnchor {
            spki: certificate.key().raw.to_vec(),
            subject: certificate.parsed.subject().as_raw().to_vec(),
            common_name: certificate.common_name(),
        })
    }

    /// The common name of the authority.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The DER of its SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn is(&self, certificate: &Certificate<'_>) -> bool {
        self.spki == certificate.key().raw
    }

    /// Whether this very authority signed the certificate under its name.
    pub fn has_issued(&self, certificate: &Certificate<'_>) -> bool {
        self.issued(certificate).is_ok()
    }

    fn issued(&self, certificate: &Certificate<'_>) -> Result<(), CertificateFault> {
        if self.subject != certificate.parsed.issuer().as_raw() {
            return Err(CertificateFault::Untrusted);
        }
        let (_, key) = SubjectPublicKeyInfo::from_der(&self.spki).map_err(|_| CertificateFault::Untrusted)?;
        let tbs = certificate.parsed.tbs_certificate.as_ref();
        let signature = &certificate.parsed.signature_value.data;
        match verify_with(&key, &certificate.parsed.signature_algorithm, tbs, signature) {
            Err(CertificateFault::Signature) => Err(CertificateFault::Untrusted),
            other => other,
        }
    }
}

impl<'a> RevocationList<'a> {
    /// The DER of a list that may be PEM.
    ///
    /// # Errors
    /// [`CertificateFault::Malformed`].
    pub fn der(list: &[u8]) -> Result<Vec<u8>, CertificateFault> {
        if list.len() > MAX_CRL {
            return Err(CertificateFault::Malformed);
        }
        if list.first() == Some(&0x30) {
            return Ok(list.to_vec());
        }
        let (_, pem) = x509_parser::pem::parse_x509_pem(list).map_err(|_| CertificateFault::Malformed)?;
        Ok(pem.contents)
    }

    /// Parses a CRL (DER) and checks that `issuer` signed it and that `now` lies between its updates.
    ///
    /// # Errors
    /// The fault of the list.
    pub fn check(
        der: &'a [u8],
        issuer: &Certificate<'_>,
        now: Timestamp,
    ) -> Result<RevocationList<'a>, CertificateFault> {
        RevocationList::check_named(der, issuer, |lister, issuer| lister.as_raw() == issuer.as_raw(), now)
    }

    /// As [`RevocationList::check`], for a list whose issuer's name need only be what `same` takes for the same.
    ///
    /// # Errors
    /// The fault of the list.
    pub(crate) fn check_named(
        der: &'a [u8],
        issuer: &Certificate<'_>,
        same: SameName,
        now: Timestamp,
    ) -> Result<RevocationList<'a>, CertificateFault> {
        RevocationList::check_by(der, |lister| same(lister, issuer.parsed.subject()), issuer.key(), now)
    }

    /// As [`RevocationList::check`], by a pinned authority, whose certificate need not be at hand.
    ///
    /// # Errors
    /// The fault of the list.
    pub fn check_pinned(
        der: &'a [u8],
        anchor: &TrustAnchor,
        now: Timestamp,
    ) -> Result<RevocationList<'a>, CertificateFault> {
        let (_, key) = SubjectPublicKeyInfo::from_der(&anchor.spki).map_err(|_| CertificateFault::Untrusted)?;
        RevocationList::check_by(der, |lister| lister.as_raw() == anchor.subject, &key, now)
    }

    fn check_by(
        der: &'a [u8],
        is_issuer: impl FnOnce(&X509Name<'_>) -> bool,
        key: &SubjectPublicKeyInfo<'_>,
        now: Timestamp,
    ) -> Result<RevocationList<'a>, CertificateFault> {
        if der.len() > MAX_CRL {
            return Err(CertificateFault::Malformed);
        }
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|_| CertificateFault::Malformed)?;
        if !is_strict(der, parsed.tbs_cert_list.as_ref()) {
            return Err(CertificateFault::Malformed);
        }
        // A list for some reasons, some certificates or changes only is not the whole list (RFC 5280, section 5.2).
        if parsed.extensions().iter().any(|extension| extension.critical) {
            return Err(CertificateFault::CriticalExtension);
        }
        if !is_issuer(parsed.issuer()) {
            return Err(CertificateFault::Issuer);
        }
        let tbs = parsed.tbs_cert_list.as_ref();
        verify_with(key, &parsed.signature_algorithm, tbs, &parsed.signature_value.data)?;
        let until = parsed.next_update().ok_or(CertificateFault::Malformed)?;
        check_period(parsed.last_update().timestamp(), until.timestamp(), now)?;
        Ok(RevocationList { parsed })
    }

    /// The parsed list, for its extensions.
    pub(crate) const fn parsed(&self) -> &CertificateRevocationList<'a> {
        &self.parsed
    }

    /// Whether it lists a certificate of its issuer, by serial number.
    pub fn revokes(&self, certificate: &Certificate<'_>) -> bool {
        let serial = certificate.serial();
        self.parsed.iter_revoked_certificates().any(|revoked| trimmed(revoked.raw_serial()) == serial.as_slice())
    }

    /// When it was issued.
    pub fn last_update(&self) -> Timestamp {
        Timestamp::from_second(self.parsed.last_update().timestamp()).unwrap_or(Timestamp::MIN)
    }

    /// When its issuer means to have issued the next one: from then on this one is refused.
    pub fn next_update(&self) -> Timestamp {
        let until = self.parsed.next_update().map_or(i64::MIN, |until| until.timestamp());
        Timestamp::from_second(until).unwrap_or(Timestamp::MIN)
    }

    /// The common name of the issuer that a list claims, unchecked: for finding out whose it is, and for nothing else.
    pub fn claimed_issuer(der: &[u8]) -> Option<String> {
        let (_, parsed) = CertificateRevocationList::from_der(der.get(..der.len().min(MAX_CRL))?).ok()?;
        Some(common_name(parsed.issuer()))
    }

    /// The two times that a list gives of itself, unchecked: for words about one that was refused, and for nothing else.
    pub fn claimed_period(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
        let (_, parsed) = CertificateRevocationList::from_der(der.get(..der.len().min(MAX_CRL))?).ok()?;
        let from = Timestamp::from_second(parsed.last_update().timestamp()).ok()?;
        Some((from, Timestamp::from_second(parsed.next_update()?.timestamp()).ok()?))
    }
}

/// Walks a chain, leaf first, to one of the anchors. The last certificate is either the anchor itself (by its key) or issued by it.
///
/// Revocation is the caller's, which knows which lists its platform has: [`RevocationList`].
///
/// # Errors
/// The first fault met from the leaf upward, with its place; a chain whose every link holds and that ends nowhere is `Untrusted` at its
/// last certificate.
pub fn check_chain(chain: &[Certificate<'_>], anchors: &[TrustAnchor], now: Timestamp) -> Result<(), ChainError> {
    let empty = ChainError { at: 0, subject: String::new(), fault: CertificateFault::Malformed };
    let last = chain.last().ok_or(empty.clone())?;
    if chain.len() > MAX_CHAIN {
        return Err(empty);
    }
    let at = |at: usize, fault: CertificateFault| ChainError {
        at,
        subject: chain.get(at).map(Certificate::common_name).unwrap_or_default(),
        fault,
    };
    for (index, certificate) in chain.iter().enumerate() {
        certificate.check_extensions().map_err(|fault| at(index, fault))?;
        if let Some(issuer) = chain.get(index + 1) {
            certificate.check_issued_by(issuer, index).map_err(|fault| at(index, fault))?;
        }
    }
    let end = chain.len() - 1;
    if !anchors.iter().any(|anchor| anchor.is(last)) {
        let mut found = Err(CertificateFault::Untrusted);
        for anchor in anchors {
            found = anchor.issued(last);
            if found.is_ok() {
                break;
            }
        }
        found.map_err(|fault| at(end, fault))?;
    }
    for (index, certificate) in chain.iter().enumerate() {
        certificate.check_validity(now).map_err(|fault| at(index, fault))?;
    }
    Ok(())
}

/// The algorithm of a public key and a hash, for ECDSA signatures in DER.
pub(crate) fn ecdsa_asn1(key: &SubjectPublicKeyInfo<'_>, hash: Hash) -> Option<&'static dyn VerificationAlgorithm> {
    let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
    if curve == OID_EC_P256 {
        return Some(match hash {
            Hash::Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            Hash::Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
            Hash::Sha512 => &signature::ECDSA_P256_SHA512_ASN1,
        });
    }
    if curve == OID_NIST_EC_P384 {
        return Some(match hash {
            Hash::Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
            Hash::Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
            Hash::Sha512 => &signature::ECDSA_P384_SHA512_ASN1,
        });
    }
    if curve == OID_NIST_EC_P521 {
        return Some(match hash {
            Hash::Sha256 => &signature::ECDSA_P521_SHA256_ASN1,
            Hash::Sha384 => &signature::ECDSA_P521_SHA384_ASN1,
            Hash::Sha512 => &signature::ECDSA_P521_SHA512_ASN1,
        });
    }
    None
}

/// The hashes of signatures on certificates. SHA-1 is in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// Verifies a signature of an X.509 structure.
pub(crate) fn verify_with(
    key: &SubjectPublicKeyInfo<'_>,
    algorithm: &AlgorithmIdentifier<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), CertificateFault> {
    let scheme = scheme(key, algorithm).ok_or(CertificateFault::Algorithm)?;
    let key = UnparsedPublicKey::new(scheme, key.subject_public_key.data.as_ref());
    key.verify(message, signature).map_err(|_| CertificateFault::Signature)
}

fn scheme(
    key: &SubjectPublicKeyInfo<'_>,
    algorithm: &AlgorithmIdentifier<'_>,
) -> Option<&'static dyn VerificationAlgorithm> {
    let oid = &algorithm.algorithm;
    let is = |known: Oid<'static>| *oid == known;
    if is(OID_SIG_ECDSA_WITH_SHA256) {
        return ecdsa_asn1(key, Hash::Sha256);
    }
    if is(OID_SIG_ECDSA_WITH_SHA384) {
        return ecdsa_asn1(key, Hash::Sha384);
    }
    if is(OID_SIG_ECDSA_WITH_SHA512) {
        return ecdsa_asn1(key, Hash::Sha512);
    }
    if is(OID_SIG_ED25519) {
        return Some(&signature::ED25519);
    }
    if is(OID_PKCS1_SHA256WITHRSA) {
        return Some(&signature::RSA_PKCS1_2048_8192_SHA256);
    }
    if is(OID_PKCS1_SHA384WITHRSA) {
        return Some(&signature::RSA_PKCS1_2048_8192_SHA384);
    }
    if is(OID_PKCS1_SHA512WITHRSA) {
        return Some(&signature::RSA_PKCS1_2048_8192_SHA512);
    }
    match SignatureAlgorithm::try_from(algorithm).ok()? {
        SignatureAlgorithm::RSASSA_PSS(parameters) => {
            let hash = parameters.hash_algorithm_oid();
            let mask = parameters.mask_gen_algorithm().ok()?;
            let fits =
                |size: u32| parameters.salt_length() == size && parameters.trailer_field() == 1 && mask.hash == *hash;
            if *hash == OID_NIST_HASH_SHA256 && fits(32) {
                Some(&signature::RSA_PSS_2048_8192_SHA256)
            } else if *hash == OID_NIST_HASH_SHA384 && fits(48) {
                Some(&signature::RSA_PSS_2048_8192_SHA384)
            } else if *hash == OID_NIST_HASH_SHA512 && fits(64) {
                Some(&signature::RSA_PSS_2048_8192_SHA512)
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Whether the bytes around what is signed are the only ones that DER allows: a sequence of the signed part, the same algorithm
/// that the signed part names, and a whole number of signature bytes, with nothing behind. The parser is more lenient, and nobody signs these.
fn is_strict(der: &[u8], signed: &[u8]) -> bool {
    let Some((0x30, content, [])) = element(der) else { return false };
    let Some(rest) = content.strip_prefix(signed) else { return false };
    let Some((0x30, _, after)) = element(rest) else { return false };
    let algorithm = rest.get(..rest.len().saturating_sub(after.len())).unwrap_or_default();
    named_algorithm(signed) == Some(algorithm) && matches!(element(after), Some((0x03, [0, ..], [])))
}

/// The algorithm that a signed part names, as it stands there: after a certificate's version (context tag 0) and serial number, after
/// a list's version (RFC 5280, sections 4.1 and 5.1). It is looked for nowhere else, so its length costs nothing.
fn named_algorithm(signed: &[u8]) -> Option<&[u8]> {
    let (_, mut rest, _) = element(signed)?;
    for leading in [0xA0, 0x02] {
        match element(rest)? {
            (tag, _, after) if tag == leading => rest = after,
            _ => {}
        }
    }
    let (tag, _, after) = element(rest)?;
    let named = rest.get(..rest.len().saturating_sub(after.len()))?;
    (tag == 0x30).then_some(named)
}

/// The first element of DER: its tag, its content, and what follows. Lengths are of the shortest form (X.690, section 10.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (size, rest) = match first {
        0..=0x7F => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let size = digits.iter().fold(0_usize, |size, digit| (size << 8) | usize::from(*digit));
            let shortest = digits.first() != Some(&0) && size >= 0x80;
            (shortest.then_some(size)?, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(size)?;
    Some((*tag, content, after))
}

fn check_period(from: i64, until: i64, now: Timestamp) -> Result<(), CertificateFault> {
    let now = now.as_second();
    if now < from {
        Err(CertificateFault::NotYetValid)
    } else if now > until {
        Err(CertificateFault::Expired)
    } else {
        Ok(())
    }
}

fn common_name(name: &X509Name<'_>) -> String {
    let first = name.iter_common_name().next().and_then(|attribute| attribute.as_str().ok()).unwrap_or_default();
    first.chars().filter(|character| !character.is_control()).take(80).collect()
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

const MAX_SIZE: usize = 64 * 1024;
const MAX_BUNDLE: usize = 512 * 1024;
const MAX_CHAIN: usize = 16;
/// What is read takes up to eight times as much memory, before any signature is checked.
const MAX_CRL: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
        let length = match content.len() {
            0..0x80 => vec![size[3]],
            0x80..0x1_0000 => vec![0x82, size[2], size[3]],
            _ => [&[0x84][..], &size].concat(),
        };
        [&[tag][..], &length, content].concat()
    }

    /// What is signed, with this algorithm in it, in the frame of a certificate or list that names `outside`.
    fn framed(leading: &[Vec<u8>], inside: &[u8], outside: &[u8]) -> bool {
        let signed = der(0x30, &[leading.concat(), inside.to_vec(), der(0x30, b"more")].concat());
        is_strict(&der(0x30, &[&signed[..], outside, &der(0x03, &[0, 1, 2])].concat()), &signed)
    }

    #[test]
    fn an_algorithm_is_found_at_its_own_place_or_not_at_all() {
        let (version, serial) = (der(0xA0, &[2, 1, 2]), der(0x02, &[1]));
        let algorithm = der(0x30, &[0x06, 1, 1]);
        let certificate = [version, serial.clone()];
        assert!(framed(&certificate, &algorithm, &algorithm));
        assert!(framed(&certificate[1..], &algorithm, &algorithm), "a certificate of the first version, or a list");
        assert!(framed(&[], &algorithm, &algorithm), "a list of the first version");
        assert!(!framed(&certificate, &der(0x30, &[0x06, 1, 2]), &algorithm));
        assert!(!framed(&certificate, &[&serial[..], &algorithm].concat(), &algorithm), "a second serial number");
        // The same bytes elsewhere in what is signed are not the algorithm, and are not searched for.
        let elsewhere = [der(0x30, &[0x06, 1, 2]), algorithm.clone()].concat();
        assert!(!framed(&certificate, &elsewhere, &algorithm));
        // A periodic parameter of megabytes, spelt with a longer length inside than outside.
        let parameter = der(0x04, &vec![0x30; 4 << 20]);
        let content = [&[0x06, 1, 1][..], &parameter].concat();
        let long = [&[0x30, 0x88, 0, 0, 0, 0][..], &u32::try_from(content.len()).unwrap_or(0).to_be_bytes(), &content]
            .concat();
        assert!(!framed(&certificate, &long, &der(0x30, &content)));
    }
}

#[cfg(test)]
mod scheme_tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        [&[tag, content.len() as u8], content.as_slice()].concat()
    }

    /// 2.16.840.1.101.3.4.2.N: 1 is SHA-256, 2 SHA-384, 3 SHA-512.
    fn hash(last: u8) -> Vec<u8> {
        der(0x30, &[&[0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last], &[0x05, 0x00]])
    }

    /// Whether RSASSA-PSS with these parameters (RFC 4055, section 3.1) is a scheme that is known.
    fn pss(digest: u8, mask: u8, salt: u8, trailer: u8) -> bool {
        let mgf1 = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x08];
        let mask = der(0x30, &[&mgf1, &hash(mask)]);
        let parameters = der(
            0x30,
            &[
                &der(0xA0, &[&hash(digest)]),
                &der(0xA1, &[&mask]),
                &der(0xA2, &[&[0x02, 0x01, salt]]),
                &der(0xA3, &[&[0x02, 0x01, trailer]]),
            ],
        );
        let pss = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A];
        let algorithm = der(0x30, &[&pss, &parameters]);
        let (_, algorithm) = AlgorithmIdentifier::from_der(&algorithm).unwrap();
        let key = curve(&[0x2B, 0x81, 0x04, 0x00, 0x22]);
        let (_, key) = SubjectPublicKeyInfo::from_der(&key).unwrap();
        scheme(&key, &algorithm).is_some()
    }

    /// A key on the curve of this OID.
    fn curve(oid: &[u8]) -> Vec<u8> {
        let ec = [0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
        der(0x30, &[&der(0x30, &[&ec, &der(0x06, &[oid])]), &[0x03, 0x02, 0x00, 0x04]])
    }

    #[test]
    fn parameters_of_pss_fit_one_another() {
        for (digest, salt) in [(1, 32), (2, 48), (3, 64)] {
            assert!(pss(digest, digest, salt, 1), "{digest}");
            assert!(!pss(digest, digest % 3 + 1, salt, 1), "another mask");
            assert!(!pss(digest, digest, salt - 1, 1) && !pss(digest, digest, 20, 1), "another salt");
            assert!(!pss(digest, digest, salt, 2), "another trailer");
        }
        assert!(!pss(4, 4, 28, 1), "SHA-224");
    }

    #[test]
    fn ecdsa_is_known_on_three_curves() {
        let known = |oid: &[u8]| {
            let key = curve(oid);
            let (_, key) = SubjectPublicKeyInfo::from_der(&key).unwrap();
            [Hash::Sha256, Hash::Sha384, Hash::Sha512].map(|hash| ecdsa_asn1(&key, hash).is_some())
        };
        let (p384, p521, p224) =
            (&[0x2B, 0x81, 0x04, 0x00, 0x22], &[0x2B, 0x81, 0x04, 0x00, 0x23], &[0x2B, 0x81, 0x04, 0x00, 0x21]);
        assert_eq!(known(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]), [true; 3]);
        assert_eq!((known(p384), known(p521), known(p224)), ([true; 3], [true; 3], [false; 3]));
    }

    #[test]
    fn lengths_have_their_shortest_form() {
        let of = |head: &[u8], size: usize| {
            let bytes = [head, &vec![7; size]].concat();
            element(&bytes).map(|(tag, content, after)| (tag, content.len(), after.len()))
        };
        assert_eq!(of(&[0x30, 0x7F], 127), Some((0x30, 127, 0)));
        assert_eq!(of(&[0x30, 0x81, 0x80], 130), Some((0x30, 128, 2)));
        assert_eq!(of(&[0x30, 0x82, 0x01, 0x02], 258), Some((0x30, 258, 0)));
        assert_eq!(of(&[0x30, 0x81, 0x7F], 127), None);
        assert_eq!(of(&[0x30, 0x82, 0x00, 0x80], 128), None);
        assert_eq!(of(&[0x30, 0x80], 4), None);
        assert_eq!(of(&[0x30, 0x81, 0x80], 127), None);
    }
}
