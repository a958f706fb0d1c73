//! The channel over real sockets: who is let in, and what both ends see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use envelope::SigningKey;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use wire::{
    channel::{LeafIdentity, Peer, client_config, server_config},
    client::{Broker, ClientError},
    server::{Bounds, serve},
};

fn now() -> Timestamp {
    Timestamp::now()
}

/// A broker that answers every request with what it knows of its peer.
async fn start(key: &SigningKey) -> String {
    let identity = LeafIdentity::broker(key, now()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = tower::service_fn(|request: Request<Incoming>| async move {
        let peer = request.extensions().get::<Peer>().unwrap().clone();
        let client = peer.client.map(|leaf| (envelope::text::encode(&leaf.spki), leaf.issuer.to_string()));
        let body = serde_json::to_vec(&(
            envelope::text::encode(&peer.exporter),
            envelope::text::encode(&peer.server_spki),
            client,
        ));
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body.unwrap()))))
    });
    tokio::spawn(async move { serve(listener, &identity, Bounds::default(), service, std::future::pending()).await });
    address
}

type Seen = (String, String, Option<(String, String)>);

#[tokio::test]
async fn both_ends_see_one_exporter_and_each_others_keys() {
    let (broker, worker) = (SigningKey::generate(), SigningKey::generate());
    let address = start(&broker).await;
    let leaf = LeafIdentity::worker(&worker, now()).unwrap();
    let mut connection = Broker::connect(&address, &broker.public(), Some(&leaf)).await.unwrap();
    let (exporter, spki, client): Seen = connection.get("/", None).await.unwrap();
    assert_eq!(exporter, envelope::text::encode(connection.exporter()));
    assert_eq!(spki, envelope::text::encode(connection.leaf_spki()));
    assert_eq!(client, Some((envelope::text::encode(leaf.spki()), worker.public().to_string())));
    let mut party = Broker::connect(&address, &broker.public(), None).await.unwrap();
    let (other, _, none): Seen = party.get("/", None).await.unwrap();
    assert_ne!(other, exporter, "two sessions never share an exporter");
    assert_eq!(none, None);
}

#[tokio::test]
async fn another_broker_is_not_taken_for_the_expected_one() {
    let address = start(&SigningKey::generate()).await;
    let expected = SigningKey::generate().public();
    let refused = Broker::connect(&address, &expected, None).await;
    assert!(matches!(refused, Err(ClientError::NotThatBroker { expected: key, .. }) if key == expected));
    let nobody = Broker::connect("127.0.0.1:1", &expected, None).await;
    assert!(matches!(nobody, Err(ClientError::Unreachable { .. })));
}

/// Handshakes with a configuration of the test's own and sends one byte, so that a late refusal of a client certificate shows.
async fn handshake(address: &str, config: rustls::ClientConfig) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(wire::channel::BROKER_NAME).unwrap();
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    tls.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    let mut byte = [0];
    tls.read_exact(&mut byte).await.map(|_| ())
}

#[tokio::test]
async fn h9_tls12_and_classical_groups_are_refused() {
    let broker = SigningKey::generate();
    let address = start(&broker).await;
    let good = client_config(&broker.public(), None).unwrap();
    assert!(handshake(&address, good).await.is_ok());

    let mut classical = rustls::crypto::aws_lc_rs::default_provider();
    classical.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let server = server_config(&LeafIdentity::broker(&broker, now()).unwrap()).unwrap();
    let algorithms = classical.signature_verification_algorithms;
    assert_eq!(server.crypto_provider().kx_groups.len(), 1);
    assert!(!algorithms.all.is_empty());
    let anyone = |provider: rustls::crypto::CryptoProvider, versions: &[&'static rustls::SupportedProtocolVersion]| {
        rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth()
    };
    let refused = handshake(&address, anyone(classical, &[&rustls::version::TLS13])).await.unwrap_err();
    assert!(refused.to_string().contains("HandshakeFailure"), "{refused}");
    // A client of TLS 1.2 alone is written by hand: the library here is built without TLS 1.2.
    let hello = tls12_hello();
    assert_eq!(raw_alert(&address, &hello).await, Some(70), "protocol_version");
}

#[tokio::test]
async fn h9_expired_and_foreign_client_certificates_are_refused() {
    let (broker, worker) = (SigningKey::generate(), SigningKey::generate());
    let address = start(&broker).await;
    let with = |leaf: &LeafIdentity| client_config(&broker.public(), Some(leaf)).unwrap();
    assert!(handshake(&address, with(&LeafIdentity::worker(&worker, now()).unwrap())).await.is_ok());

    let long_ago = now() - SignedDuration::from_hours(24 * 500);
    let expired = handshake(&address, with(&LeafIdentity::worker(&worker, long_ago).unwrap())).await.unwrap_err();
    assert!(expired.to_string().contains("CertificateExpired"), "{expired}");
    let to_come = now() + SignedDuration::from_hours(72);
    let early = handshake(&address, with(&LeafIdentity::worker(&worker, to_come).unwrap())).await.unwrap_err();
    assert!(early.to_string().contains("BadCertificate") || early.to_string().contains("Certificate"), "{early}");
    let server_leaf = LeafIdentity::broker(&worker, now()).unwrap();
    let wrong_use = handshake(&address, with(&server_leaf)).await.unwrap_err();
    assert!(wrong_use.to_string().contains("UnknownCA"), "{wrong_use}");
    let mut whole = client_config(&broker.public(), None).unwrap();
    whole.client_auth_cert_resolver = leaf_with_authority(false);
    assert!(handshake(&address, whole).await.is_ok());
    let mut glued = client_config(&broker.public(), None).unwrap();
    glued.client_auth_cert_resolver = leaf_with_authority(true);
    let foreign = handshake(&address, glued).await.unwrap_err();
    assert!(foreign.to_string().contains("UnknownCA"), "{foreign}");
}

#[tokio::test]
async fn c4_nothing_is_resumed() {
    let broker = SigningKey::generate();
    let address = start(&broker).await;
    let config = Arc::new(client_config(&broker.public(), None).unwrap());
    for _ in 0..2 {
        let stream = TcpStream::connect(&address).await.unwrap();
        let name = ServerName::try_from(wire::channel::BROKER_NAME).unwrap();
        let tls = TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

/// A broker that sends these bytes as its answer and then ends the connection, with or without TLS's own farewell.
async fn cut(key: &SigningKey, answer: &'static [u8], farewell: bool) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let config = Arc::new(server_config(&LeafIdentity::broker(key, now()).unwrap()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut tls = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap();
        let mut request = [0; 4096];
        let _ = tls.read(&mut request).await.unwrap();
        tls.write_all(answer).await.unwrap();
        tls.flush().await.unwrap();
        if farewell {
            tls.shutdown().await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn c6_an_answer_that_was_cut_is_never_taken_for_a_whole_one() {
    let cuts: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n\"abc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n\"abc\"\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
        b"",
    ];
    let key = SigningKey::generate();
    for farewell in [true, false] {
        for answer in cuts {
            let address = cut(&key, answer, farewell).await;
            let mut broker = Broker::connect(&address, &key.public(), None).await.unwrap();
            let got: Result<String, ClientError> = broker.get("/", None).await;
            assert!(matches!(got, Err(ClientError::Broken { .. })), "{got:?} for {answer:?}");
        }
        // Without a length the end of the body is the end of the connection, which TLS must have said (RFC 8446, section 6.1).
        let address = cut(&key, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\"abc\"", farewell).await;
        let mut broker = Broker::connect(&address, &key.public(), None).await.unwrap();
        let got: Result<String, ClientError> = broker.get("/", None).await;
        match farewell {
            true => assert_eq!(got.unwrap(), "abc"),
            false => assert!(matches!(got, Err(ClientError::Broken { .. })), "{got:?}"),
        }
    }
}

/// A leaf shown with the authority that issued it, or with a stranger's: what a forger would send.
fn leaf_with_authority(strangers: bool) -> Arc<rustls::sign::SingleCertAndKey> {
    let authority = || {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "glovebox");
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        (parameters.self_signed(&key).unwrap(), rcgen::Issuer::new(parameters, key))
    };
    let ((own, issuer), (stranger, _)) = (authority(), authority());
    let shown = if strangers { stranger } else { own };
    let mut leaf = rcgen::CertificateParams::new(vec!["worker.glovebox.internal".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).unwrap();
    let chain = vec![leaf.der().clone(), shown.der().clone()];
    Arc::new(rustls::sign::CertifiedKey::new(chain, signer).into())
}

#[derive(Debug)]
struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256, rustls::SignatureScheme::ED25519]
    }
}

/// A ClientHello (RFC 5246, section 7.4.1.2) that offers TLS 1.2 and no supported_versions extension.
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0xc0, 0x2f, 1, 0]);
    let extensions: &[u8] = &[0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 4, 3];
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend((body.len() as u16).to_be_bytes());
    handshake.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

/// The description of the fatal alert that comes back.
async fn raw_alert(address: &str, bytes: &[u8]) -> Option<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    match answer.as_slice() {
        [21, 3, _, 0, 2, 2, description, ..] => Some(*description),
        _ => None,
    }
}

#[tokio::test]
async fn h4_a_silent_client_is_let_go_and_one_that_speaks_up_is_not() {
    let (broker, worker) = (SigningKey::generate(), SigningKey::generate());
    let identity = LeafIdentity::broker(&broker, now()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = tower::service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"1"))))
    });
    let bounds = Bounds { patience: std::time::Duration::from_millis(600), ..Bounds::default() };
    assert!(wire::client::HEARTBEAT * 2 < Bounds::default().patience);
    tokio::spawn(async move { serve(listener, &identity, bounds, service, std::future::pending()).await });
    // A leaf of one's own making earns nobody more patience.
    let leaf = LeafIdentity::worker(&worker, now()).unwrap();
    let mut speaking = Broker::connect(&address, &broker.public(), Some(&leaf)).await.unwrap();
    let mut silent = Broker::connect(&address, &broker.public(), Some(&leaf)).await.unwrap();
    assert_eq!(silent.get::<u8>("/", None).await.unwrap(), 1);
    for _ in 0..8 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        speaking.beat().await.unwrap();
    }
    assert!(matches!(silent.get::<u8>("/", None).await, Err(ClientError::Broken { .. })));
    assert_eq!(speaking.get::<u8>("/", None).await.unwrap(), 1);
}
