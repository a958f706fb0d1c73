//! A client of the makers' services: one object per request, at base addresses that the operator chooses.
//!
//! What makes an object good is its maker's signature on it, so the address may as well be another cache, and a service on one's own machine
//! may speak plain HTTP. Where the address says `https`, TLS 1.3 is required and the authorities are a file that the operator names: there is
//! no trust store inside. A service that asks for patience gets it: an answer of 429 or 503 keeps this client from that service until
//! the time that it names, or for a growing while. Redirects are not followed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::{check, object::ObjectId, store::Received};

/// Where the services are.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Intel's provisioning certification service, or what stands in for it.
    pub intel: Url,
    /// Where Intel's root list is.
    pub intel_roots: Url,
    /// AMD's key distribution service.
    pub amd: Url,
    /// NVIDIA's manifests of Reference Values.
    pub nvidia: Url,
}

/// One of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// See [`Sources::intel`].
    Intel,
    /// See [`Sources::intel_roots`].
    IntelRoots,
    /// See [`Sources::amd`].
    Amd,
    /// See [`Sources::nvidia`].
    Nvidia,
}

/// The authorities for `https`.
#[derive(Debug, Clone, Default)]
pub struct TlsRoots(Option<Arc<RootCertStore>>);

/// A client of all four.
pub struct Client {
    sources: Sources,
    tls: Option<Arc<ClientConfig>>,
    patience: Duration,
    silent_until: Mutex<HashMap<String, Instant>>,
}

/// Why an object did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers there.
    #[error(
        "`{host}` cannot be reached: {reason}\nhint: check the address and the network; a machine without one is filled with `glovebox endorsements import`"
    )]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// No authorities for TLS.
    #[error(
        "`{0}` is asked over TLS, and no authorities were named\nhint: pass `--tls-roots FILE`, such as /etc/ssl/certs/ca-certificates.crt"
    )]
    NoTlsRoots(String),
    /// An address of another kind.
    #[error("`{0}` is not an http or https address")]
    Address(String),
    /// A file of authorities that holds none.
    #[error("`{path}` holds no certificates of authorities", path = .0.display())]
    TlsRootsFile(PathBuf),
    /// It asks for patience.
    #[error(
        "`{host}` asks not to be called for {seconds} seconds\nhint: try again then; what is kept is used meanwhile"
    )]
    RateLimited {
        /// Host and port.
        host: String,
        /// For how long.
        seconds: u64,
    },
    /// It does not have it.
    #[error("`{host}` does not have `{object}`\nhint: check the FMSPC, chip or name")]
    NotThere {
        /// Host and port.
        host: String,
        /// What.
        object: ObjectId,
    },
    /// Another answer than was asked for.
    #[error("`{host}` answered {status}")]
    Status {
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
    },
    /// The connection broke, or the answer was too long or too slow.
    #[error("the answer of `{host}` did not come whole: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// What happened.
        reason: String,
    },
}

impl Sources {
    /// The makers' own.
    pub fn published() -> Result<Sources, url::ParseError> {
        Ok(Sources {
            intel: Url::parse("https://api.trustedservices.intel.com")?,
            intel_roots: Url::parse("https://certificates.trustedservices.intel.com")?,
            amd: Url::parse("https://kdsintf.amd.com")?,
            nvidia: Url::parse("https://rim.attestation.nvidia.com")?,
        })
    }

    /// One address that has them all, as another cache does.
    pub fn all_at(address: &Url) -> Sources {
        let address = || address.clone();
        Sources { intel: address(), intel_roots: address(), amd: address(), nvidia: address() }
    }

    const fn of(&self, service: Service) -> &Url {
        match service {
            Service::Intel => &self.intel,
            Service::IntelRoots => &self.intel_roots,
            Service::Amd => &self.amd,
            Service::Nvidia => &self.nvidia,
        }
    }
}

impl Service {
    /// Who has an object.
    pub const fn of(id: &ObjectId) -> Service {
        match id {
            ObjectId::TcbInfo { .. } | ObjectId::QeIdentity { .. } | ObjectId::PckCrl(_) => Service::Intel,
            ObjectId::RootCaCrl => Service::IntelRoots,
            ObjectId::Vcek { .. } | ObjectId::AmdChain { .. } | ObjectId::AmdCrl { .. } => Service::Amd,
            ObjectId::Rim(_) => Service::Nvidia,
        }
    }
}

impl TlsRoots {
    /// The certificates of a PEM file.
    ///
    /// # Errors
    /// [`ClientError::TlsRootsFile`] if there is none in it.
    pub fn from_file(path: &Path) -> Result<TlsRoots, ClientError> {
        let none = || ClientError::TlsRootsFile(path.to_owned());
        let mut store = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|_| none())?;
        store.add_parsable_certificates(certificates.flatten());
        if store.is_empty() { Err(none()) } else { Ok(TlsRoots(Some(Arc::new(store)))) }
    }
}

impl Client {
    /// A client. `patience` is how long one object may take, waiting for a busy service included.
    ///
    /// # Errors
    /// [`ClientError::Address`] if the TLS library refuses to be set up.
    pub fn new(sources: Sources, roots: TlsRoots, patience: Duration) -> Result<Client, ClientError> {
        let tls = match roots.0 {
            None => None,
            Some(roots) => {
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let config = ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[&rustls::version::TLS13])
                    .map_err(|error| ClientError::Address(error.to_string()))?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                Some(Arc::new(config))
            }
        };
        Ok(Client { sources, tls, patience, silent_until: Mutex::default() })
    }

    /// Takes one object from its maker's service.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fetch(&self, id: &ObjectId, now: Timestamp) -> Result<Received, ClientError> {
        let base = self.sources.of(Service::of(id));
        let place = Place::of(base)?;
        let end = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            self.be_silent(&place, end).await?;
            let left = end.saturating_duration_since(Instant::now()).max(LEAST_PATIENCE);
            let broken = |reason: &str| ClientError::Broken { host: place.name(), reason: reason.to_owned() };
            let asked = self.ask(&place, base, id);
            let answer = timeout(left, asked).await.map_err(|_| broken("it took too long"))??;
            match answer.status() {
                StatusCode::OK => {
                    let chain = id.chain_header().and_then(|name| answer.headers().get(name));
                    let chain = chain.and_then(|value| value.to_str().ok()).map(str::to_owned);
                    let body = Limited::new(answer.into_body(), check::limit(id)).collect();
                    let body = timeout(left, body).await.map_err(|_| broken("it took too long"))?;
                    let body = body.map_err(|error| broken(&error.to_string()))?.to_bytes().to_vec();
                    return Ok(Received { body, chain, fetched: now });
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    let asked = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                    let wait = asked.and_then(|value| retry_after(value, now)).unwrap_or(pause);
                    pause = pause.saturating_mul(2);
                    let mut silent = self.silent_until.lock().unwrap_or_else(PoisonError::into_inner);
                    silent.insert(place.name(), Instant::now() + wait.min(LONGEST_SILENCE));
                }
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    return Err(ClientError::NotThere { host: place.name(), object: id.clone() });
                }
                status => return Err(ClientError::Status { host: place.name(), status: status.as_u16() }),
            }
        }
    }

    /// Waits until the service may be called again, if that is soon enough.
    async fn be_silent(&self, place: &Place, end: Instant) -> Result<(), ClientError> {
        let until = self.silent_until.lock().unwrap_or_else(PoisonError::into_inner).get(&place.name()).copied();
        let wait = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if Instant::now() + wait > end {
            let seconds = wait.as_secs() + 1;
            return Err(ClientError::RateLimited { host: place.name(), seconds });
        }
        sleep(wait).await;
        Ok(())
    }

    async fn ask(&self, place: &Place, base: &Url, id: &ObjectId) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |reason: String| ClientError::Unreachable { host: place.name(), reason };
        let broken = |reason: String| ClientError::Broken { host: place.name(), reason };
        let request = Request::get(format!("{}{}", base.path().trim_end_matches('/'), id.target()))
            .header(header::HOST, place.authority())
            .header(header::USER_AGENT, concat!("glovebox/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(error.to_string()))?;
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        if !place.tls {
            return exchange(TokioIo::new(stream), request).await.map_err(|error| broken(error.to_string()));
        }
        let config = self.tls.clone().ok_or_else(|| ClientError::NoTlsRoots(place.name()))?;
        let name = ServerName::try_from(place.host.clone()).map_err(|_| ClientError::Address(place.name()))?;
        let tls = TlsConnector::from(config).connect(name, stream).await;
        let tls = tls.map_err(|error| unreachable(error.to_string()))?;
        exchange(TokioIo::new(tls), request).await.map_err(|error| broken(error.to_string()))
    }
}

async fn exchange<S>(stream: TokioIo<S>, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    // It ends with the body of the one answer.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.send_request(request).await
}

/// Where a service listens.
struct Place {
    host: String,
    port: u16,
    tls: bool,
}

impl Place {
    fn of(base: &Url) -> Result<Place, ClientError> {
        let wrong = || ClientError::Address(envelope::text::shown(base.as_str(), 120));
        let tls = match base.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let host = base.host_str().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        Ok(Place { host, port: base.port_or_known_default().ok_or_else(wrong)?, tls })
    }

    fn name(&self) -> String {
        self.authority()
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
    let wait: SignedDuration = at.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patience_is_asked_for_in_seconds_or_by_date() {
        let now = "2015-10-21T07:27:30Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:20:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
