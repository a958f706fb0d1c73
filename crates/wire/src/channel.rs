//! The channel: TLS 1.3 (RFC 8446) with X25519MLKEM768, where identity is a signing key.
//!
//! A role's Ed25519 signing key acts as the authority over its TLS leaf, whose key is drawn anew at each start. A client that
//! expects the key K verifies the leaf's path to K with the ordinary library and one pinned trust anchor; names mean nothing.
//! A worker shows a leaf in the same way, and the server learns which key issued it. Both ends can draw the exporter
//! that a binding needs.
//!
//! One listener apart ([`open_server_config`]) admits X25519 alone, for clients of another protocol that have nothing else; nothing is bound to
//! its channel. Deliberately absent: TLS 1.2, other groups, resumption, tickets, 0-RTT, renegotiation.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::{PublicKey, SigningKey};
use jiff::{Timestamp, ToSpan as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName as TlsName, RootCertStore, ServerConfig, SignatureScheme,
    client::{Resumption, WebPkiServerVerifier, danger::HandshakeSignatureValid},
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, TrustAnchor, UnixTime, pem::PemObject as _,
    },
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// The name that every broker's leaf carries. It identifies nobody; the issuing key does.
pub const BROKER_NAME: &str = "broker.glovebox.internal";
const WORKER_NAME: &str = "worker.glovebox.internal";
const AUTHORITY_NAME: &str = "glovebox";
const LEAF_DAYS: i64 = 398;

/// A TLS leaf with its private key, issued by a role's signing key. Made anew at each start.
pub struct LeafIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    spki: Vec<u8>,
}

/// What the server knows of one connection; every request carries it as an extension.
#[derive(Debug, Clone)]
pub struct Peer {
    /// 32 bytes under [`attest::binding::EXPORTER_LABEL`].
    pub exporter: [u8; 32],
    /// The server's own leaf key: SubjectPublicKeyInfo, DER.
    pub server_spki: Arc<[u8]>,
    /// The client's leaf, if it showed one.
    pub client: Option<ClientLeaf>,
    /// Where it comes from.
    pub remote: SocketAddr,
}

/// A client's verified leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLeaf {
    /// Its key: SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The signing key that issued it.
    pub issuer: PublicKey,
}

/// Why a channel could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Certificate(#[source] rcgen::Error),
    /// The clock is outside what certificates can say.
    #[error("the clock is off: {0} cannot stand in a certificate")]
    Clock(Timestamp),
    /// No certificates, or no key.
    #[error("the certificate chain or its key cannot be read from PEM")]
    Pem,
    /// The TLS library refused the set-up or the handshake.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl LeafIdentity {
    /// Issues a leaf for a broker.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn broker(signing: &SigningKey, now: Timestamp) -> Result<LeafIdentity, ChannelError> {
        issue(signing, &[BROKER_NAME.to_owned()], ExtendedKeyUsagePurpose::ServerAuth, now)
    }

    /// Issues a leaf for a listener that clients reach by name.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn named(signing: &SigningKey, names: &[String], now: Timestamp) -> Result<LeafIdentity, ChannelError> {
        issue(signing, names, ExtendedKeyUsagePurpose::ServerAuth, now)
    }

    /// Takes a chain, leaf first, and its key from PEM.
    ///
    /// # Errors
    /// [`ChannelError::Pem`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<LeafIdentity, ChannelError> {
        let chain =
            CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(|_| ChannelError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| ChannelError::Pem)?;
        let spki = chain.first().and_then(spki_of).ok_or(ChannelError::Pem)?;
        Ok(LeafIdentity { chain, key, spki })
    }

    /// The last certificate of the chain, PEM: what a client trusts that knows this listener by its issuer.
    pub fn authority_pem(&self) -> String {
        let text = STANDARD.encode(self.chain.last().map(AsRef::as_ref).unwrap_or_default());
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// Issues a leaf for a worker.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn worker(signing: &SigningKey, now: Timestamp) -> Result<LeafIdentity, ChannelError> {
        issue(signing, &[WORKER_NAME.to_owned()], ExtendedKeyUsagePurpose::ClientAuth, now)
    }

    /// The leaf's key: SubjectPublicKeyInfo, DER. It enters bindings as the channel key.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}

impl std::fmt::Debug for LeafIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeafIdentity").finish_non_exhaustive()
    }
}

/// The configuration of a broker's listener.
///
/// # Errors
/// Only if the library refuses a leaf made here.
pub fn server_config(identity: &LeafIdentity) -> Result<ServerConfig, ChannelError> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(IssuedByAnyKey { provider }))
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The configuration of a listener for clients that have no hybrid group: X25519 is admitted too. TLS 1.3 all the same.
///
/// # Errors
/// Only if the library refuses the leaf.
pub fn open_server_config(identity: &LeafIdentity) -> Result<ServerConfig, ChannelError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups =
        vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768, rustls::crypto::aws_lc_rs::kx_group::X25519];
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The configuration of a client that expects one broker.
///
/// # Errors
/// Only if the library refuses a leaf made here.
pub fn client_config(expected: &PublicKey, own: Option<&LeafIdentity>) -> Result<ClientConfig, ChannelError> {
    let provider = provider();
    let roots = RootCertStore { roots: vec![anchor(expected)] };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(verifier);
    let mut config = match own {
        Some(leaf) => builder.with_client_auth_cert(leaf.chain.clone(), leaf.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The server name that clients of a broker put into the handshake.
pub(crate) fn broker_name() -> ServerName<'static> {
    #[expect(clippy::expect_used, reason = "a constant")]
    ServerName::try_from(BROKER_NAME).expect("the constant is a DNS name")
}

/// The key of a certificate: SubjectPublicKeyInfo, DER.
pub(crate) fn spki_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(certificate.subject_public_key_info().to_vec())
}

/// The key that issued a client's leaf, from the chain that the verifier below accepted.
pub(crate) fn client_leaf(chain: &[CertificateDer<'_>]) -> Option<ClientLeaf> {
    let [leaf, authority] = chain else { return None };
    Some(ClientLeaf { spki: spki_of(leaf)?, issuer: authority_key(authority)? })
}

/// TLS 1.3, one hybrid group.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768];
    Arc::new(provider)
}

fn issue(
    signing: &SigningKey,
    names: &[String],
    usage: ExtendedKeyUsagePurpose,
    now: Timestamp,
) -> Result<LeafIdentity, ChannelError> {
    let pkcs8 = signing.to_pkcs8().map_err(|_| ChannelError::Certificate(rcgen::Error::CouldNotParseKeyPair))?;
    let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let authority_key = KeyPair::try_from(&pkcs8).map_err(ChannelError::Certificate)?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name = common_name(AUTHORITY_NAME);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    (authority.not_before, authority.not_after) = validity(now)?;
    let authority_certificate = authority.self_signed(&authority_key).map_err(ChannelError::Certificate)?;

    let leaf_key = KeyPair::generate().map_err(ChannelError::Certificate)?;
    let mut leaf = CertificateParams::new(names).map_err(ChannelError::Certificate)?;
    leaf.distinguished_name = common_name(names.first().map_or("", String::as_str));
    leaf.extended_key_usages = vec![usage];
    (leaf.not_before, leaf.not_after) = validity(now)?;
    let issuer = Issuer::new(authority, authority_key);
    let certificate = leaf.signed_by(&leaf_key, &issuer).map_err(ChannelError::Certificate)?;
    let spki = spki_of(certificate.der()).ok_or(ChannelError::Clock(now))?;
    Ok(LeafIdentity {
        chain: vec![certificate.der().clone(), authority_certificate.der().clone()],
        key: PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into(),
        spki,
    })
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From yesterday (clocks differ) for [`LEAF_DAYS`]; a leaf lives as long as its process.
fn validity(now: Timestamp) -> Result<(time::OffsetDateTime, time::OffsetDateTime), ChannelError> {
    let at = |span: jiff::Span| {
        now.checked_add(span).ok().and_then(|then| time::OffsetDateTime::from_unix_timestamp(then.as_second()).ok())
    };
    match (at((-24).hours()), at((LEAF_DAYS * 24).hours())) {
        (Some(from), Some(until)) => Ok((from, until)),
        _ => Err(ChannelError::Clock(now)),
    }
}

/// The trust anchor that stands for a signing key: the fixed authority name and an Ed25519 SubjectPublicKeyInfo (RFC 8410).
fn anchor(key: &PublicKey) -> TrustAnchor<'static> {
    TrustAnchor {
        subject: AUTHORITY_SUBJECT.to_vec().into(),
        subject_public_key_info: [ED25519_SPKI, key.as_bytes().as_slice()].concat().into(),
        name_constraints: None,
    }
}

fn authority_key(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
    let anchor = webpki::anchor_from_trusted_cert(certificate).ok()?;
    let bytes = anchor.subject_public_key_info.strip_prefix(ED25519_SPKI)?;
    PublicKey::from_bytes(bytes.try_into().ok()?).ok()
}

/// Accepts a client leaf whose path leads to the Ed25519 key of the authority that it shows, whichever key that is: who
/// the key belongs to is decided by the binding in its Evidence. Validity, signature, name of the authority and usage are checked.
#[derive(Debug)]
struct IssuedByAnyKey {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for IssuedByAnyKey {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[TlsName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let refused = |reason| rustls::Error::InvalidCertificate(reason);
        let [authority] = intermediates else { return Err(refused(rustls::CertificateError::UnknownIssuer)) };
        let key = authority_key(authority).ok_or(refused(rustls::CertificateError::UnknownIssuer))?;
        let anchors = [anchor(&key)];
        let leaf =
            webpki::EndEntityCert::try_from(end_entity).map_err(|_| refused(rustls::CertificateError::BadEncoding))?;
        leaf.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &anchors,
            &[],
            now,
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(|error| match error {
            webpki::Error::CertExpired { .. } => refused(rustls::CertificateError::Expired),
            webpki::Error::CertNotValidYet { .. } => refused(rustls::CertificateError::NotValidYet),
            _ => refused(rustls::CertificateError::UnknownIssuer),
        })?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// RDNSequence contents of `CN=glovebox` with a UTF8String, as the certificate library writes it.
const AUTHORITY_SUBJECT: &[u8] = b"\x31\x11\x30\x0f\x06\x03\x55\x04\x03\x0c\x08glovebox";
/// SubjectPublicKeyInfo contents of an Ed25519 key before its 32 bytes (RFC 8410, section 4).
const ED25519_SPKI: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
