//! A client of one broker: one TLS connection, known by the broker's key, over which requests go one after another.
//!
//! One connection is one attested session: its exporter enters every binding made over it. When it breaks, the caller
//! connects again and attests again; nothing is inherited.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use envelope::{PublicKey, SigningKey, canonical};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, task::AbortHandle};
use tokio_rustls::TlsConnector;

use crate::{
    channel::{self, ChannelError, LeafIdentity, broker_name, spki_of},
    messages::{Problem, path},
    signature,
};

/// The largest answer that is read: a sealed result with its padding. Documents are bounded by [`canonical::MAX_DOCUMENT`].
pub const MAX_ANSWER: usize = 256 << 20;
/// How often a client that needs its connection for longer says something ([`Broker::beat`]): a broker lets go of silent ones.
pub const HEARTBEAT: Duration = Duration::from_secs(4);
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// A connection to one broker.
pub struct Broker {
    key: PublicKey,
    address: String,
    exporter: [u8; 32],
    leaf_spki: Vec<u8>,
    requests: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

/// Why a request to a broker came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers there.
    #[error(
        "the broker at `{address}` cannot be reached: {reason}\nhint: check the address and that the broker is running"
    )]
    Unreachable {
        /// As given.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Something answers, but not the broker of that key, or not in a way that is admitted.
    #[error(
        "what answers at `{address}` is not the broker `{expected}`: {reason}\nhint: compare the broker's key with its operator; check this machine's clock"
    )]
    NotThatBroker {
        /// As given.
        address: String,
        /// The key that was expected.
        expected: PublicKey,
        /// What the handshake said.
        reason: String,
    },
    /// The broker refused.
    #[error("the broker refused ({}): {}{}", .0.code, .0.message, hint(.0))]
    Refused(Problem),
    /// The connection broke or was too slow.
    #[error("the connection to `{address}` broke: {reason}\nhint: try again; nothing that was acknowledged is lost")]
    Broken {
        /// As given.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The answer is not what the API describes.
    #[error("the broker's answer cannot be read: {0}")]
    Answer(String),
    /// A local fault of TLS.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

impl Broker {
    /// Connects to `host:port` and requires the broker of that key. A worker shows its leaf; a party shows none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn connect(address: &str, key: &PublicKey, own: Option<&LeafIdentity>) -> Result<Broker, ClientError> {
        let unreachable = |reason: String| ClientError::Unreachable { address: address.to_owned(), reason };
        let stream = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable("no answer within 10 seconds".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(Arc::new(channel::client_config(key, own)?));
        let other = |reason: String| ClientError::NotThatBroker { address: address.to_owned(), expected: *key, reason };
        let tls = tokio::time::timeout(CONNECT_PATIENCE, connector.connect(broker_name(), stream))
            .await
            .map_err(|_| unreachable("no TLS handshake within 10 seconds".to_owned()))?
            .map_err(|error| other(error.to_string()))?;
        let session = tls.get_ref().1;
        let mut exporter = [0; 32];
        session
            .export_keying_material(&mut exporter, attest::binding::EXPORTER_LABEL, None)
            .map_err(ChannelError::Tls)?;
        let leaf_spki = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(spki_of)
            .ok_or_else(|| other("it showed no certificate".to_owned()))?;
        let (requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        })
        .abort_handle();
        Ok(Broker { key: *key, address: address.to_owned(), exporter, leaf_spki, requests, driver })
    }

    /// The exporter of this connection, for bindings.
    pub const fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }

    /// The key of the broker's leaf on this connection: SubjectPublicKeyInfo, DER.
    pub fn leaf_spki(&self) -> &[u8] {
        &self.leaf_spki
    }

    /// The broker's signing key, proven by the handshake.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Posts a request and reads the answer. An answer without content (204) reads as `null`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<Q: Serialize + Sync, A: DeserializeOwned>(
        &mut self,
        path: &str,
        question: &Q,
    ) -> Result<A, ClientError> {
        let body = canonical::to_vec(question).map_err(|error| ClientError::Answer(error.to_string()))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, channel::BROKER_NAME)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::Answer(error.to_string()))?;
        read(&self.send(request).await?)
    }

    /// Gets a document, signed by a reader where one is given.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<A: DeserializeOwned>(
        &mut self,
        path: &str,
        reader: Option<(&SigningKey, Timestamp)>,
    ) -> Result<A, ClientError> {
        read(&self.get_bytes(path, reader).await?)
    }

    /// Gets bytes, signed by a reader where one is given.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_bytes(
        &mut self,
        path: &str,
        reader: Option<(&SigningKey, Timestamp)>,
    ) -> Result<Bytes, ClientError> {
        let mut builder = Request::builder().method(Method::GET).uri(path).header(header::HOST, channel::BROKER_NAME);
        if let Some((key, now)) = reader {
            let signed = signature::sign(key, &self.key, "GET", path, now);
            builder = builder
                .header(signature::AUDIENCE_HEADER, signed.audience)
                .header(signature::INPUT_HEADER, signed.input)
                .header(signature::SIGNATURE_HEADER, signed.signature);
        }
        let request = builder.body(Full::new(Bytes::new())).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.send(request).await
    }

    /// Says something, so that the connection is kept.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn beat(&mut self) -> Result<(), ClientError> {
        self.get_bytes(path::BROKER, None).await.map(|_| ())
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes, ClientError> {
        let broken = |reason: String| ClientError::Broken { address: self.address.clone(), reason };
        let exchange = async {
            self.requests.ready().await?;
            self.requests.send_request(request).await
        };
        let answer = tokio::time::timeout(ANSWER_PATIENCE, exchange)
            .await
            .map_err(|_| broken("no answer within 60 seconds".to_owned()))?
            .map_err(|error| broken(error.to_string()))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER);
        let body = tokio::time::timeout(ANSWER_PATIENCE, body.collect())
            .await
            .map_err(|_| broken("the answer did not end within 60 seconds".to_owned()))?
            .map_err(|error| broken(error.to_string()))?
            .to_bytes();
        if status.is_success() {
            return Ok(if status == StatusCode::NO_CONTENT { Bytes::from_static(b"null") } else { body });
        }
        match canonical::from_slice_loose::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Refused(shown(problem))),
            Err(_) => Err(ClientError::Answer(format!("status {status} without a problem document"))),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn read<A: DeserializeOwned>(bytes: &[u8]) -> Result<A, ClientError> {
    canonical::from_slice_loose(bytes).map_err(|error| ClientError::Answer(error.to_string()))
}

/// A problem as it may be shown: its words come from the other machine. Lines stay, for hints stand on their own.
fn shown(problem: Problem) -> Problem {
    let text = |text: &str| text.lines().map(|line| envelope::text::shown(line, 2_000)).collect::<Vec<_>>().join("\n");
    Problem { code: text(&problem.code), message: text(&problem.message), hint: problem.hint.as_deref().map(text) }
}

fn hint(problem: &Problem) -> String {
    problem.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default()
}
