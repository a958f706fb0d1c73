//! Serving a cache to others on the makers' own paths, over TLS 1.3.
//!
//! The key is generated at the first start and stays beside the objects, or the operator gives one. TLS hides which machines are asked about; it
//! is not what makes an object good, so clients that cannot pin the certificate lose nothing but that. Absent: the PCCS's administration
//! (registration, PCK certificates), client authentication, HTTP without TLS.

use std::{convert::Infallible, future::Future, net::IpAddr, path::Path, path::PathBuf, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;

use crate::{answer::answer, cache::Cache};

/// The server's certificate and key.
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
    certificate: Vec<u8>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file that holds no certificate or no key.
    #[error("`{path}` holds no {what} in PEM", path = .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refuses the pair.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A file.
    #[error("`{path}` cannot be written", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl TlsIdentity {
    /// A certificate (with its issuers, if any) and its key, from PEM files.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn from_files(certificate: &Path, key: &Path) -> Result<TlsIdentity, ServeError> {
        let missing = |path: &Path, what| ServeError::Pem { path: path.to_owned(), what };
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(certificate).map_err(|_| missing(certificate, "certificate"))?.collect();
        let chain = chain.map_err(|_| missing(certificate, "certificate"))?;
        let leaf = chain.first().ok_or_else(|| missing(certificate, "certificate"))?.to_vec();
        let key = PrivateKeyDer::from_pem_file(key).map_err(|_| missing(key, "private key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsIdentity { config: Arc::new(config), certificate: leaf })
    }

    /// The pair that was generated in this directory before, or a new one for `localhost` and these addresses. The key is its owner's only.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn generated(directory: &Path, addresses: &[IpAddr]) -> Result<TlsIdentity, ServeError> {
        let (certificate, key) = (directory.join("tls-certificate.pem"), directory.join("tls-key.pem"));
        if !(certificate.exists() && key.exists()) {
            let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
            names.extend(addresses.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string));
            names.sort();
            names.dedup();
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name.push(DnType::CommonName, "glovebox endorsements");
            let pair = KeyPair::generate()?;
            let made = params.self_signed(&pair)?;
            write(directory, &key, pair.serialize_pem().as_bytes())?;
            write(directory, &certificate, made.pem().as_bytes())?;
        }
        TlsIdentity::from_files(&certificate, &key)
    }

    /// SHA-256 of the certificate, for people to compare.
    pub fn fingerprint(&self) -> String {
        hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate))
    }
}

/// Serves until `shutdown` resolves.
pub async fn serve(listener: TcpListener, cache: Arc<Cache>, tls: &TlsIdentity, shutdown: impl Future<Output = ()>) {
    let acceptor = TlsAcceptor::from(tls.config.clone());
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::pin!(shutdown);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (acceptor, cache) = (acceptor.clone(), cache.clone());
        tokio::spawn(async move {
            if let Ok(Ok(tls)) = timeout(PATIENCE, acceptor.accept(stream)).await {
                let service = service_fn(|request| {
                    let cache = cache.clone();
                    async move { Ok::<_, Infallible>(answer(&cache, peer.ip(), &request).await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .max_buf_size(64 << 10)
                    .serve_connection(TokioIo::new(tls), service)
                    .await;
            }
            drop(place);
        });
    }
}

fn write(directory: &Path, path: &Path, bytes: &[u8]) -> Result<(), ServeError> {
    use std::io::Write as _;
    let failed = |source| ServeError::Io { path: path.to_owned(), source };
    // Such a file is its owner's only.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

const CONNECTIONS: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);
