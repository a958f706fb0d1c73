//! The store with its makers' services behind it: one fetch per object at a time, however many ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::OnceCell;

use crate::{
    check::{CheckError, Checked},
    client::{Client, ClientError},
    object::{ObjectId, SigningKind},
    store::{Received, Store, StoreError},
};

/// What tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Endorsements at hand, and on demand.
pub struct Cache {
    store: Store,
    client: Option<Client>,
    clock: Clock,
    under_way: Mutex<HashMap<ObjectId, Arc<OnceCell<Outcome>>>>,
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
}

impl Cache {
    /// A cache over a store; without a client it works offline.
    pub fn new(store: Store, client: Option<Client>, clock: Clock) -> Cache {
        Cache { store, client, clock, under_way: Mutex::default() }
    }

    /// The store.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What the clock says.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// An object that is current: the kept one, or, where there is a client, a new one.
    ///
    /// # Errors
    /// Offline, why the kept one cannot be used; otherwise why no new one came.
    pub async fn get(&self, id: &ObjectId) -> Result<Received, Arc<CacheError>> {
        match self.store.get(id, self.now()) {
            Ok((received, _)) => return Ok(received),
            Err(error) if self.client.is_none() => return Err(Arc::new(error.into())),
            Err(_) => {}
        }
        self.fetch(id).await?;
        self.store.get(id, self.now()).map(|(received, _)| received).map_err(|error| Arc::new(error.into()))
    }

    /// Takes an object from its maker's service and keeps it. Whoever asks while it is under way gets the same outcome.
    ///
    /// # Errors
    /// Shared with all who asked.
    pub async fn fetch(&self, id: &ObjectId) -> Result<Checked, Arc<CacheError>> {
        let cell = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.entry(id.clone()).or_default().clone()
        };
        let outcome = cell.get_or_init(|| async { self.fetch_now(id).await.map_err(Arc::new) }).await.clone();
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.get(id).is_some_and(|known| Arc::ptr_eq(known, &cell)) {
            under_way.remove(id);
        }
        outcome
    }

    async fn fetch_now(&self, id: &ObjectId) -> Result<Checked, CacheError> {
        let client = self.client.as_ref().ok_or_else(|| CacheError::Offline(id.clone()))?;
        let failed = |source| CacheError::Client { object: id.clone(), source };
        let received = client.fetch(id, self.now()).await.map_err(failed)?;
        match self.store.put(id, &received, self.now()) {
            // A chip's certificate is checked under its issuers', which may not have been asked for yet.
            Err(StoreError::Refused { source: CheckError::IssuersMissing(needed), .. }) => {
                let above = client.fetch(&needed, self.now()).await.map_err(failed)?;
                self.store.put(&needed, &above, self.now())?;
                Ok(self.store.put(id, &received, self.now())?)
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
