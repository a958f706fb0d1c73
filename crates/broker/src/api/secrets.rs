//! What parties say of their secrets.

use std::sync::Arc;

use agreement::documents::{SecretPolicy, SecretPush, SecretRemoval};
use axum::extract::State;
use envelope::statement::Envelope;
use wire::messages::{Accepted, Secrets};

use super::{
    Answer, Asker, Document, Failure,
    parties::{Answered, effect, read},
};
use crate::{kbs::secrets as decide, parties, refusal::Refusal, service::Broker};

/// Puts a secret into custody.
pub(super) async fn push(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<Accepted> {
    let now = broker.clock.now().map_err(|error| Failure::to_owner(error.into()))?;
    let signed = Arc::new(parties::open::<SecretPush>(&envelope, &broker.keys, now).map_err(Failure::to_owner)?);
    let (opening, statement) = (Arc::clone(&broker), Arc::clone(&signed));
    // Unwrapping and compiling take milliseconds, and the writer has one thread.
    let incoming = compute(move || decide::open_push(&opening.keys, &opening.kbs.compiled, &statement)).await?;
    let keys = Arc::clone(&broker.keys);
    let outcome = broker.store.commit(move |tx| decide::push(tx, &keys, &signed, incoming, now)).await;
    outcome.map(Answer).map_err(Failure::to_owner)
}

/// Destroys a secret.
pub(super) async fn remove(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<Accepted> {
    effect::<SecretRemoval, _>(&broker, envelope, decide::remove).await
}

/// Sets the conditions of the signer's secrets.
pub(super) async fn policy(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<Accepted> {
    let now = broker.clock.now().map_err(|error| Failure::to_owner(error.into()))?;
    let signed = parties::open::<SecretPolicy>(&envelope, &broker.keys, now).map_err(Failure::to_owner)?;
    let (compiling, text) = (Arc::clone(&broker), signed.value().body.policy.clone());
    compute(move || decide::compile(&compiling.kbs.compiled, &text)).await?;
    effect::<SecretPolicy, _>(&broker, envelope, decide::set_policy).await
}

/// The asker's secrets, without their values.
pub(super) async fn list(State(broker): State<Arc<Broker>>, Asker(asker): Asker) -> Answered<Secrets> {
    read(&broker, move |broker, _| decide::list(&broker.store, &broker.keys, &asker, &broker.kbs.denials)).await
}

async fn compute<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Failure> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or(Err(Refusal::Internal("a task ended early"))).map_err(Failure::to_owner)
}
