//! The listener of a role: TLS, one HTTP/1.1 connection per client, every request with its [`Peer`].

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{Request, Response, body::Incoming};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

use crate::channel::{ChannelError, LeafIdentity, Peer, client_leaf, open_server_config, server_config};

/// Bounds on what a client may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake, and for the head of each request, counted from the end of the one before: a client that is silent
    /// for longer is let go, so whoever needs its connection for long speaks up in between ([`crate::client::HEARTBEAT`]).
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { connections: 1_024, patience: Duration::from_secs(10) }
    }
}

/// Serves until `shutdown` resolves; then requests that are under way may finish for ten seconds.
///
/// # Errors
/// [`ChannelError`] if the configuration is refused. Faults of single connections end those alone.
pub async fn serve<S, B>(
    listener: TcpListener,
    identity: &LeafIdentity,
    bounds: Bounds,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ChannelError>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    serve_with(server_config(identity)?, listener, identity, bounds, service, shutdown).await
}

/// As [`serve`], for clients that exist: X25519 alone is admitted beside the hybrid group, and nobody shows a certificate.
///
/// # Errors
/// As [`serve`].
pub async fn serve_open<S, B>(
    listener: TcpListener,
    identity: &LeafIdentity,
    bounds: Bounds,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ChannelError>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    serve_with(open_server_config(identity)?, listener, identity, bounds, service, shutdown).await
}

async fn serve_with<S, B>(
    config: rustls::ServerConfig,
    listener: TcpListener,
    identity: &LeafIdentity,
    bounds: Bounds,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ChannelError>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let spki: Arc<[u8]> = identity.spki().into();
    let places = Arc::new(Semaphore::new(bounds.connections));
    let (stop, stopping) = watch::channel(false);
    tokio::pin!(shutdown);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(kind = %error.kind(), "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection =
            Connection { acceptor: acceptor.clone(), spki: spki.clone(), patience: bounds.patience, remote };
        let (service, stopping) = (service.clone(), stopping.clone());
        tokio::spawn(async move {
            connection.serve(stream, service, stopping).await;
            drop(place);
        });
    }
    drop(listener);
    let _ = stop.send(true);
    let all = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(10), places.acquire_many(all)).await;
    Ok(())
}

struct Connection {
    acceptor: TlsAcceptor,
    spki: Arc<[u8]>,
    patience: Duration,
    remote: SocketAddr,
}

impl Connection {
    async fn serve<S, B>(self, stream: TcpStream, service: S, mut stopping: watch::Receiver<bool>)
    where
        S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(self.patience, self.acceptor.accept(stream)).await;
        let Ok(Ok(tls)) = handshake else { return };
        let session = tls.get_ref().1;
        let mut exporter = [0; 32];
        if session.export_keying_material(&mut exporter, attest::binding::EXPORTER_LABEL, None).is_err() {
            return;
        }
        let client = session.peer_certificates().and_then(client_leaf);
        let peer = Peer { exporter, server_spki: self.spki, client, remote: self.remote };
        let service = tower::ServiceBuilder::new()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer.clone());
                request
            })
            .map_response(|response: Response<B>| response.map(|body| body.boxed_unsync()))
            .service(service);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(tls), TowerToHyperService::new(service));
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopping.changed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}
