//! The one thread that writes.
//!
//! A durable commit costs two syncs of the disk, whatever it carries. Changes that arrive while one commit is under way are
//! therefore carried by the next one together, and each caller hears about its change only when that commit is durable.
//! After any failure of the storage nothing is certain about it (a failed sync may have dropped pages that later ones
//! report as written), so the store is fenced: this process acknowledges nothing any more, and a restart looks at what is there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::Durability;
use tlog::LogSigner;
use tokio::sync::{mpsc, oneshot};

use super::error::storage;
use super::layout::Head;
use super::tx::{Batch, Tx};
use super::{Shared, StoreError};

/// One caller's change on its way through the writer.
pub(super) trait Job: Send {
    /// Runs the change; an error is the storage's and ends the batch.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError>;

    /// Tells the caller, once it is certain.
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// A change and the way back to its caller.
pub(super) struct Change<F, T, E> {
    change: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Change<F, T, E> {
    pub(super) fn new(change: F, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self { change: Some(change), result: None, reply }
    }
}

impl<F, T, E> Job for Change<F, T, E>
where
    F: FnOnce(&mut Tx<'_, '_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        let Some(change) = self.change.take() else { return Ok(()) };
        // A change that panics writes nothing, and its panic must not take the writer along.
        let caught = |tx: &mut Tx<'_, '_>| {
            catch_unwind(AssertUnwindSafe(|| change(tx))).unwrap_or_else(|_| Err(E::from(StoreError::Abandoned)))
        };
        self.result = Some(batch.run(caught)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        let result = match outcome {
            Ok(()) => self.result.unwrap_or_else(|| Err(E::from(StoreError::Abandoned))),
            Err(error) => Err(E::from(error)),
        };
        // A caller that no longer waits has given up on the answer, not on the change.
        let _ = self.reply.send(result);
    }
}

/// Runs until the last sender is gone.
pub(super) fn run(shared: &Arc<Shared>, signer: &LogSigner, mut head: Head, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let outcome = shared.alive().and_then(|()| commit(shared, signer, &mut head, &mut batch));
        if let Err(error) = &outcome {
            shared.fence(error);
        }
        let outcome = outcome.and_then(|()| shared.alive());
        for job in batch {
            job.finish(outcome.clone());
        }
    }
}

fn commit(
    shared: &Arc<Shared>,
    signer: &LogSigner,
    head: &mut Head,
    jobs: &mut [Box<dyn Job>],
) -> Result<(), StoreError> {
    let mut transaction = shared.database.begin_write().map_err(storage)?;
    transaction.set_durability(Durability::Immediate).map_err(storage)?;
    transaction.set_two_phase_commit(true);
    let mut batch = Batch::open(&transaction, &shared.sealer, *head)?;
    for job in jobs {
        job.run(&mut batch)?;
    }
    match batch.finish(signer)? {
        Some(new) => {
            transaction.commit().map_err(storage)?;
            *head = new;
        }
        None => transaction.abort().map_err(storage)?,
    }
    Ok(())
}

/// How many changes one durable commit carries at most.
const MAX_BATCH: usize = 256;
