//! What workers send. They are told a code and no more; the owners read the rest.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use wire::{
    channel::Peer,
    messages::{
        Accepted, EnrolChallenge, EnrolProof, EnrolRequest, Enrolled, Failed, Finished, Lease, NextRun, ReleaseRequest,
        ReleasedKeys, RenewRequest,
    },
};

use super::{Answer, Document, Failure};
use crate::{enrol as enrolment, service::Broker};

type Answered<T> = Result<Answer<T>, Failure>;

/// A credential for the worker's TPM.
pub(super) async fn enrol(
    State(broker): State<Arc<Broker>>,
    Document(request): Document<EnrolRequest>,
) -> Answered<EnrolChallenge> {
    let now = broker.clock.now().map_err(|error| Failure::to_anyone(error.into()))?;
    enrolment::begin(&broker.challenges, &request, now).map(Answer).map_err(Failure::to_anyone)
}

/// The answer to it, and the broker's Endorsement.
pub(super) async fn prove(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    Document(proof): Document<EnrolProof>,
) -> Answered<Enrolled> {
    let now = broker.clock.now().map_err(|error| Failure::to_anyone(error.into()))?;
    let proved = enrolment::prove(&broker.challenges, &proof, &peer, now).map_err(Failure::to_anyone)?;
    let keys = Arc::clone(&broker.keys);
    let recorded = broker.store.commit(move |tx| enrolment::record(tx, &keys, &proved, now)).await;
    recorded.map(|enrolment| Answer(Enrolled { enrolment })).map_err(Failure::to_anyone)
}

/// The next run, or 204 when there was none for a while.
pub(super) async fn next(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    Document(request): Document<NextRun>,
) -> Result<Response, Failure> {
    match broker.next_run(request, &peer).await.map_err(Failure::to_anyone)? {
        Some(order) => Ok(Answer(order).into_response()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// The keys of a run, for Evidence.
pub(super) async fn release(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    Document(request): Document<ReleaseRequest>,
) -> Answered<ReleasedKeys> {
    broker.release_keys(request, &peer).await.map(Answer).map_err(Failure::to_anyone)
}

/// A longer lease, for Evidence.
pub(super) async fn renew(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    Document(request): Document<RenewRequest>,
) -> Answered<Lease> {
    broker.renew(request, &peer).await.map(Answer).map_err(Failure::to_anyone)
}

/// A finished run.
pub(super) async fn finish(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    Document(finished): Document<Finished>,
) -> Answered<Accepted> {
    let outcome = broker.finish(finished, &peer).await;
    broker.news.notify_waiters();
    outcome.map(Answer).map_err(Failure::to_anyone)
}

/// A run that failed.
pub(super) async fn fail(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    Document(failed): Document<Failed>,
) -> Answered<Accepted> {
    broker.fail(failed, &peer).await.map(Answer).map_err(Failure::to_anyone)
}
