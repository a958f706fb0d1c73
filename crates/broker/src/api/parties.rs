//! What parties send and read. They are told in full why something is refused.

use std::sync::Arc;

use agreement::documents::{Consent, Deposit, Offer, Proposal, ReferenceDeposit, Revocation, Rotation, Run};
use axum::{
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use envelope::{
    Digest,
    statement::{Addressed, Envelope, Predicate, Signed},
};
use jiff::Timestamp;
use receipt::Receipt;
use serde::Deserialize;
use wire::messages::{Accepted, AgreementStatus, Records, RunStatus};

use super::{Answer, Asker, Document, Failure, digest};
use crate::{
    auditors,
    identity::Keys,
    parties as decide, receipts,
    records::{Records as _, table},
    refusal::Refusal,
    runs::{self, RunRecord},
    service::Broker,
    store::Tx,
};

pub(super) type Answered<T> = Result<Answer<T>, Failure>;
/// What a statement does within one change, at a time.
pub(super) type Decision<T, A> = fn(&mut Tx<'_, '_>, &Keys, &Signed<Addressed<T>>, Timestamp) -> Result<A, Refusal>;

/// Puts an agreement before the broker.
pub(super) async fn propose(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<AgreementStatus> {
    effect::<Proposal, _>(&broker, envelope, decide::propose).await
}

/// Consents to an agreement.
pub(super) async fn consent(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<AgreementStatus> {
    effect::<Consent, _>(&broker, envelope, decide::consent).await
}

/// Deposits a data key.
pub(super) async fn deposit(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<Accepted> {
    effect::<Deposit, _>(&broker, envelope, decide::deposit).await
}

/// Offers standing terms.
pub(super) async fn offer(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<Accepted> {
    effect::<Offer, _>(&broker, envelope, decide::offer).await
}

/// Revokes, and erases keys where asked to.
pub(super) async fn revoke(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<Accepted> {
    effect::<Revocation, _>(&broker, envelope, decide::revoke).await
}

/// Rotates a party's keys.
pub(super) async fn rotate(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<Accepted> {
    effect::<Rotation, _>(&broker, envelope, decide::rotate).await
}

/// Brings an auditor's document.
pub(super) async fn reference_values(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<Accepted> {
    effect::<ReferenceDeposit, _>(&broker, envelope, auditors::admit).await
}

/// Asks for a run.
pub(super) async fn submit(
    State(broker): State<Arc<Broker>>,
    Document(envelope): Document<Envelope>,
) -> Answered<RunStatus> {
    effect::<Run, _>(&broker, envelope, runs::submit).await
}

/// The asker's agreements.
pub(super) async fn agreements(
    State(broker): State<Arc<Broker>>,
    Asker(asker): Asker,
) -> Answered<Vec<AgreementStatus>> {
    read(&broker, move |broker, now| decide::agreements(&broker.store, &broker.keys, &asker, now)).await
}

/// One agreement of the asker's.
pub(super) async fn agreement(
    State(broker): State<Arc<Broker>>,
    Path(name): Path<String>,
    Asker(asker): Asker,
) -> Answered<AgreementStatus> {
    let name = digest(&name)?;
    read(&broker, move |broker, now| decide::status(&broker.store, &broker.keys, &name, &asker, now)).await
}

/// How a run stands.
pub(super) async fn run(
    State(broker): State<Arc<Broker>>,
    Path(name): Path<String>,
    Asker(asker): Asker,
) -> Answered<RunStatus> {
    let name = digest(&name)?;
    read(&broker, move |broker, now| Ok(run_of(broker, &name, &asker)?.status(&name, now))).await
}

/// The sealed result: an age file.
pub(super) async fn result(
    State(broker): State<Arc<Broker>>,
    Path(name): Path<String>,
    Asker(asker): Asker,
) -> Result<Response, Failure> {
    let name = digest(&name)?;
    let Answer(bytes) = read(&broker, move |broker, now| {
        let record = run_of(broker, &name, &asker)?;
        match &record.state {
            runs::RunState::Finished(_, outcome) if outcome.is_out(now) => {
                let stored = broker.store.get(table::RESULTS, name.as_bytes())?;
                Ok(stored.ok_or(Refusal::Internal("a result is missing"))?.record)
            }
            _ => Err(Refusal::WrongPhase),
        }
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], super::HARDENED, bytes).into_response())
}

/// The receipt of a run.
pub(super) async fn receipt(
    State(broker): State<Arc<Broker>>,
    Path(name): Path<String>,
    Asker(asker): Asker,
) -> Answered<Receipt> {
    let name = digest(&name)?;
    read(&broker, move |broker, now| {
        let record = run_of(broker, &name, &asker)?;
        receipts::receipt(&broker.store, &name, &record, now)
    })
    .await
}

/// Where a page of records begins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    from: u64,
}

/// The log's records that concern the asker.
pub(super) async fn records(
    State(broker): State<Arc<Broker>>,
    Query(page): Query<Page>,
    Asker(asker): Asker,
) -> Answered<Records> {
    read(&broker, move |broker, _| receipts::records_of(&broker.store, &broker.keys, &asker, page.from)).await
}

/// Opens a statement and carries out its effect in one change of the store.
pub(super) async fn effect<T, A>(broker: &Arc<Broker>, envelope: Envelope, decide: Decision<T, A>) -> Answered<A>
where
    T: Predicate + Send + Sync + 'static,
    A: Send + 'static,
{
    let now = broker.clock.now().map_err(|error| Failure::to_owner(error.into()))?;
    let keys = Arc::clone(&broker.keys);
    let signed = decide::open::<T>(&envelope, &keys, now).map_err(Failure::to_owner)?;
    let outcome = broker.store.commit(move |tx| decide(tx, &keys, &signed, now)).await;
    broker.news.notify_waiters();
    outcome.map(Answer).map_err(Failure::to_owner)
}

/// Reads from the last durable state, aside from the threads that answer.
pub(super) async fn read<A: Send + 'static>(
    broker: &Arc<Broker>,
    work: impl FnOnce(&Broker, Timestamp) -> Result<A, Refusal> + Send + 'static,
) -> Answered<A> {
    let now = broker.clock.now().map_err(|error| Failure::to_owner(error.into()))?;
    let broker = Arc::clone(broker);
    let outcome = tokio::task::spawn_blocking(move || work(&broker, now)).await;
    let outcome = outcome.unwrap_or(Err(Refusal::Internal("a task ended early")));
    outcome.map(Answer).map_err(Failure::to_owner)
}

/// A run of one of the asker's agreements. A run that is not there and one that is another's are looked up alike.
fn run_of(broker: &Broker, run: &Digest, asker: &envelope::PublicKey) -> Result<RunRecord, Refusal> {
    decide::may_see(&broker.store, &broker.keys, table::RUNS_OF, asker, run)?;
    let (record, _) = broker.store.read::<RunRecord>(table::RUNS, run.as_bytes())?.ok_or(Refusal::NotFound)?;
    Ok(record)
}
