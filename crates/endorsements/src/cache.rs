//! The store with its makers' services behind it: one fetch per object at a time, however many ask.
//!
//! A fetch belongs to the cache and not to who asked first: it goes on, and ends, whoever hangs up. What strangers can cause is bounded:
//! fetches at a time and over time from each service, over time for each network, and none again for what has just failed.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use crate::{
    allowance::{Allowances, Network},
    check::{CheckError, Checked},
    client::{Client, ClientError, Service},
    object::{ObjectId, SigningKind},
    store::{Received, Store, StoreError},
};

/// What tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Endorsements at hand, and on demand.
pub struct Cache(Arc<Inner>);

struct Inner {
    store: Store,
    client: Option<Client>,
    clock: Clock,
    traffic: Mutex<Traffic>,
}

/// What is being fetched, what has just failed, and what strangers have left.
struct Traffic {
    under_way: HashMap<ObjectId, watch::Receiver<Option<Outcome>>>,
    failed: HashMap<ObjectId, (Instant, Arc<CacheError>)>,
    networks: Allowances<Network>,
    services: Allowances<Service>,
}

/// An object that is being fetched; it is so no more when this is dropped.
struct UnderWay {
    cache: Arc<Inner>,
    object: ObjectId,
}

type Outcome = Result<Checked, Arc<CacheError>>;

/// Why an object cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// What is kept cannot be used, or what came cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The maker's service did not give it.
    #[error("`{object}` could not be fetched")]
    Client {
        /// Which.
        object: ObjectId,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// There is no network here.
    #[error("`{0}` is not fetched: this cache works offline")]
    Offline(ObjectId),
    /// Too much is asked of the maker's service.
    #[error("`{0}` is not fetched now: too much else is, for this network or from its maker\nhint: ask again later")]
    Busy(ObjectId),
    /// The fetch ended without an outcome.
    #[error("the fetch of `{0}` was broken off\nhint: ask again")]
    BrokenOff(ObjectId),
}

impl Cache {
    /// A cache over a store; without a client it works offline.
    pub fn new(store: Store, client: Option<Client>, clock: Clock) -> Cache {
        Cache(Arc::new(Inner { store, client, clock, traffic: Mutex::new(Traffic::new()) }))
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// What the clock says.
    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// An object that is current: the kept one, or, where there is a client, a new one.
    ///
    /// # Errors
    /// Offline, why the kept one cannot be used; otherwise why no new one came.
    pub async fn get(&self, id: &ObjectId) -> Result<Received, Arc<CacheError>> {
        self.current(id, None).await
    }

    /// The same for a stranger at this address, within the bounds of what strangers may cause.
    ///
    /// # Errors
    /// As [`Cache::get`]; [`CacheError::Busy`].
    pub async fn get_for(&self, id: &ObjectId, stranger: IpAddr) -> Result<Received, Arc<CacheError>> {
        self.current(id, Some(stranger)).await
    }

    /// Takes an object from its maker's service and keeps it. Whoever asks while it is under way gets the same outcome.
    ///
    /// # Errors
    /// Shared with all who asked.
    pub async fn fetch(&self, id: &ObjectId) -> Result<Checked, Arc<CacheError>> {
        self.start(id, None)?.await
    }

    async fn current(&self, id: &ObjectId, stranger: Option<IpAddr>) -> Result<Received, Arc<CacheError>> {
        match self.0.store.get(id, self.now()) {
            Ok((received, _)) => return Ok(received),
            Err(error) if self.0.client.is_none() => return Err(Arc::new(error.into())),
            Err(_) => {}
        }
        self.start(id, stranger)?.await?;
        self.0.store.get(id, self.now()).map(|(received, _)| received).map_err(|error| Arc::new(error.into()))
    }

    /// Joins the fetch that is under way, or starts one, which no longer needs who asked.
    fn start(
        &self,
        id: &ObjectId,
        stranger: Option<IpAddr>,
    ) -> Result<impl Future<Output = Outcome> + Send + use<>, Arc<CacheError>> {
        let mut traffic = self.0.traffic();
        let mut told = match traffic.under_way.get(id) {
            Some(told) => told.clone(),
            None => {
                if let Some(address) = stranger {
                    traffic.admit(id, address)?;
                }
                let (tell, told) = watch::channel(None);
                traffic.under_way.insert(id.clone(), told.clone());
                let under_way = UnderWay { cache: self.0.clone(), object: id.clone() };
                tokio::spawn(async move {
                    let outcome = under_way.cache.fetch_now(&under_way.object).await.map_err(Arc::new);
                    under_way.cache.traffic().remember(&under_way.object, &outcome);
                    // First it is under way no more, then it is told: who asks after that asks anew.
                    drop(under_way);
                    let _ = tell.send(Some(outcome));
                });
                told
            }
        };
        let object = id.clone();
        Ok(async move {
            let outcome = told.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
            outcome.unwrap_or_else(|| Err(Arc::new(CacheError::BrokenOff(object))))
        })
    }
}

impl Traffic {
    fn new() -> Traffic {
        Traffic {
            under_way: HashMap::new(),
            failed: HashMap::new(),
            networks: Allowances::new(NETWORK_AT_ONCE, NETWORK_EVERY),
            services: Allowances::new(SERVICE_AT_ONCE, SERVICE_EVERY),
        }
    }

    /// Whether a stranger may cause a fetch.
    fn admit(&mut self, id: &ObjectId, address: IpAddr) -> Result<(), Arc<CacheError>> {
        let now = Instant::now();
        if let Some((until, error)) = self.failed.get(id)
            && now < *until
        {
            return Err(error.clone());
        }
        let service = Service::of(id);
        let under_way = self.under_way.keys().filter(|other| Service::of(other) == service).count();
        let admitted = under_way < SERVICE_UNDER_WAY
            && self.networks.take(Network::from(address), now)
            && self.services.take(service, now);
        if admitted { Ok(()) } else { Err(Arc::new(CacheError::Busy(id.clone()))) }
    }

    fn remember(&mut self, id: &ObjectId, outcome: &Outcome) {
        let now = Instant::now();
        self.failed.retain(|known, (until, _)| known != id && now < *until);
        if let Err(error) = outcome
            && self.failed.len() < MOST_FAILED
        {
            self.failed.insert(id.clone(), (now + FAILURE_LASTS, error.clone()));
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.cache.traffic().under_way.remove(&self.object);
    }
}

impl Inner {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_now(&self, id: &ObjectId) -> Result<Checked, CacheError> {
        let client = self.client.as_ref().ok_or_else(|| CacheError::Offline(id.clone()))?;
        let failed = |source| CacheError::Client { object: id.clone(), source };
        let received = client.fetch(id, (self.clock)()).await.map_err(failed)?;
        match self.store.put(id, &received, (self.clock)()) {
            // A chip's certificate is checked under its issuers', which may not have been asked for yet.
            Err(StoreError::Refused { source: CheckError::IssuersMissing(needed), .. }) => {
                let above = client.fetch(&needed, (self.clock)()).await.map_err(failed)?;
                self.store.put(&needed, &above, (self.clock)())?;
                Ok(self.store.put(id, &received, (self.clock)())?)
            }
            other => Ok(other?),
        }
    }
}

impl ObjectId {
    /// What else its check needs.
    pub fn needs(&self) -> Option<ObjectId> {
        match self {
            ObjectId::Vcek { product, .. } => Some(ObjectId::AmdChain { kind: SigningKind::Vcek, product: *product }),
            _ => None,
        }
    }
}

/// How many strangers' fetches from one service are under way at a time.
const SERVICE_UNDER_WAY: usize = 4;
const SERVICE_AT_ONCE: u32 = 60;
const SERVICE_EVERY: Duration = Duration::from_secs(1);
/// What a machine needs for its appraisal is five objects at most.
const NETWORK_AT_ONCE: u32 = 20;
const NETWORK_EVERY: Duration = Duration::from_secs(10);
const FAILURE_LASTS: Duration = Duration::from_secs(60);
const MOST_FAILED: usize = 1_024;
