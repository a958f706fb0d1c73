//! A client of the KBS protocol, as far as an exchange needs one: TLS 1.3, one connection, requests one after another.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::kbs::{Attestation, COOKIE, Challenge, Jwe, Token, VERSION};

use crate::Failure;

/// Where a KBS listener is, and whom its clients trust.
pub(super) struct Kbs {
    address: String,
    connector: TlsConnector,
}

/// A connection to it.
pub(super) struct Connection {
    requests: SendRequest<Full<Bytes>>,
}

impl Kbs {
    pub(super) fn new(address: &str, authority: &str) -> Result<Kbs, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Kbs { address: address.to_owned(), connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let tls = self.connector.connect(ServerName::try_from(NAME)?, stream).await?;
        let (requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        // It ends when the requests' end is dropped.
        tokio::spawn(connection);
        Ok(Connection { requests })
    }
}

impl Connection {
    /// Begins a session; gives its cookie and its nonce.
    pub(super) async fn auth(&mut self) -> Result<(String, String), Failure> {
        let body = format!(r#"{{"version":"{VERSION}","tee":"snp","extra-params":""}}"#);
        let request = Request::post("/kbs/v0/auth").header(header::HOST, NAME).body(Full::from(body))?;
        let answer = self.send(request).await?;
        let cookie = answer.headers().get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next()).filter(|cookie| cookie.starts_with(COOKIE));
        let cookie = cookie.ok_or("no cookie was set")?.to_owned();
        let challenge: Challenge = read(answer).await?;
        Ok((cookie, challenge.nonce))
    }

    pub(super) async fn attest(&mut self, session: &str, attestation: Attestation) -> Result<Token, Failure> {
        let body = serde_json::to_vec(&attestation)?;
        let request = Request::post("/kbs/v0/attest").header(header::HOST, NAME).header(header::COOKIE, session);
        let answer = self.send(request.body(Full::from(body))?).await?;
        read(answer).await
    }

    pub(super) async fn get(&mut self, session: &str, path: &str) -> Result<Jwe, Failure> {
        let request = Request::get(format!("/kbs/v0/resource/{path}"));
        let request = request.header(header::HOST, NAME).header(header::COOKIE, session);
        let answer = self.send(request.body(Full::default())?).await?;
        read(answer).await
    }

    /// What a party with a stock tool does.
    pub(super) async fn put(&mut self, path: &str, token: &str, body: Vec<u8>) -> Result<(), Failure> {
        let request = Request::post(path).header(header::HOST, NAME);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}")).body(Full::from(body))?;
        self.send(request).await?.into_body().collect().await?;
        Ok(())
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<hyper::body::Incoming>, Failure> {
        self.requests.ready().await?;
        let path = request.uri().path().to_owned();
        let answer = self.requests.send_request(request).await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let (status, body) = (answer.status(), answer.into_body().collect().await?.to_bytes());
        Err(format!("{path} was answered with {status}: {}", String::from_utf8_lossy(&body)).into())
    }
}

async fn read<T: DeserializeOwned>(answer: Response<hyper::body::Incoming>) -> Result<T, Failure> {
    Ok(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?)
}

const NAME: &str = "broker.glovebox.internal";
