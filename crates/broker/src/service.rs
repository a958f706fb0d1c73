//! A broker at work: its parts, its start and its end.

use std::{fs::File, future::Future, sync::Arc};

use axum::Router;
use endorsements::Reader;
use envelope::PublicKey;
use tlog::LogSigner;
use tokio::{net::TcpListener, sync::Notify};
use wire::{
    channel::{ChannelError, LeafIdentity},
    server::Bounds,
};

use crate::{
    api,
    challenge::Challenges,
    clock::{Clock, TimeSource},
    identity::{Keys, Machine, Opened, Place, StartError, open},
    kbs::{self, Kbs, evidence::Makers},
    limits::{Limiter, Rate},
    metrics::Metrics,
    runs::{Claims, Holders},
    standing::Remembered,
    store::{Store, StoreError, StoreKey},
};

/// How a broker shall work.
#[derive(Clone)]
pub struct Settings {
    /// Its machine and its state.
    pub place: Place,
    /// Requests per source.
    pub rate: Rate,
    /// Requests per source that cost the TPM or a strong computation.
    pub costly: Rate,
    /// Where its time comes from.
    pub time: TimeSource,
    /// Where its store lies.
    pub storage: Storage,
    /// The authorities that count for Evidence on the KBS listener.
    pub makers: Makers,
    /// What makers sign about hardware, for Evidence on the KBS listener.
    pub endorsements: Option<Reader>,
}

/// Opens or makes a store with its key and its log's signer.
pub type OpenStore = dyn Fn(&StoreKey, LogSigner) -> Result<Store, StoreError> + Send + Sync;

/// Where a store lies.
#[derive(Clone, Default)]
pub enum Storage {
    /// In a file of the state directory.
    #[default]
    File,
    /// On a storage of the caller's own, opened or made by this function.
    Own(Arc<OpenStore>),
}

/// A broker. Share it in an `Arc`.
pub struct Broker {
    pub(crate) keys: Arc<Keys>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) challenges: Challenges,
    pub(crate) claims: Claims,
    pub(crate) holders: Holders,
    pub(crate) remembered: Remembered,
    pub(crate) rates: Limiter,
    pub(crate) costly: Limiter,
    pub(crate) metrics: Metrics,
    pub(crate) kbs: Kbs,
    /// Rung when there may be work.
    pub(crate) news: Notify,
    _lock: File,
}

impl Settings {
    /// The usual rates, and the system's clock.
    #[must_use]
    pub fn new(place: Place) -> Settings {
        Settings {
            place,
            rate: Rate { per_second: 1_000, burst: 2_000 },
            costly: Rate { per_second: 20, burst: 100 },
            time: Clock::system(),
            storage: Storage::File,
            makers: Makers::shipped(),
            endorsements: None,
        }
    }
}

impl Broker {
    /// Opens TPM and state, making what is missing at the first start. Blocks while the TPM works.
    ///
    /// # Errors
    /// [`StartError`]: another broker, another program, another TPM, an altered state.
    pub fn start(settings: Settings) -> Result<Broker, StartError> {
        let Opened { keys, machine, store, lock } = open(&settings.place, &settings.storage)?;
        let clock = Clock::start(settings.time, &store)?;
        let holders = Holders::load(&store)?;
        let kbs = Kbs::start(&store, &keys.public, settings.makers, settings.endorsements)?;
        Ok(Broker {
            holders,
            kbs,
            keys: Arc::new(keys),
            machine: Arc::new(machine),
            store,
            clock,
            challenges: Challenges::new(),
            claims: Claims::default(),
            remembered: Remembered::default(),
            rates: Limiter::new(settings.rate),
            costly: Limiter::new(settings.costly),
            metrics: Metrics::new(),
            news: Notify::new(),
            _lock: lock,
        })
    }

    /// The signing key, by which clients know this broker.
    pub fn key(&self) -> &PublicKey {
        &self.keys.public
    }

    /// The log's verifier key (C2SP signed note).
    pub fn log_key(&self) -> String {
        self.keys.log.to_string()
    }

    /// The counters.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The state, for tests and tools that stand beside the service.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Serves until `shutdown` resolves; requests under way may then finish.
    ///
    /// # Errors
    /// [`ChannelError`] if the channel cannot be set up.
    pub async fn serve(
        self: Arc<Broker>,
        listener: TcpListener,
        bounds: Bounds,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ChannelError> {
        let leaf = LeafIdentity::broker(&self.keys.signing, self.clock.unguarded())?;
        wire::server::serve(listener, &leaf, bounds, self.router(), shutdown).await
    }

    /// A leaf for the KBS listener under these names, issued by the broker's signing key.
    ///
    /// # Errors
    /// [`ChannelError`] if a name cannot stand in a certificate.
    pub fn kbs_leaf(&self, names: &[String]) -> Result<LeafIdentity, ChannelError> {
        LeafIdentity::named(&self.keys.signing, names, self.clock.unguarded())
    }

    /// Serves the KBS protocol until `shutdown` resolves.
    ///
    /// # Errors
    /// [`ChannelError`] if the channel cannot be set up.
    pub async fn serve_kbs(
        self: Arc<Broker>,
        listener: TcpListener,
        leaf: LeafIdentity,
        bounds: Bounds,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ChannelError> {
        wire::server::serve_open(listener, &leaf, bounds, self.kbs_router(), shutdown).await
    }

    /// The KBS protocol without its channel. Each request must carry its [`wire::channel::Peer`] as an extension.
    pub fn kbs_router(self: Arc<Broker>) -> Router {
        kbs::http::router(self)
    }

    /// The HTTP service without its channel. Each request must carry its [`wire::channel::Peer`] as an extension.
    pub fn router(self: Arc<Broker>) -> Router {
        api::router(self)
    }
}
