//! What anyone may ask: who the broker is, a challenge, its Evidence, the description of this API.

use std::sync::Arc;

use attest::binding::{BindingParts, Purpose};
use axum::{
    Extension,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use envelope::text::Bytes;
use wire::{
    channel::Peer,
    messages::{
        Activated, Activation, BrokerDescription, BrokerEvidence, Challenge, ChallengeRequest, EvidenceRequest,
    },
};

use super::{Answer, Document, Failure};
use crate::{refusal::Refusal, service::Broker};

/// Who the broker is. A hint until its Evidence is appraised.
pub(super) async fn describe(State(broker): State<Arc<Broker>>) -> Answer<BrokerDescription> {
    Answer(broker.keys.describe(&broker.machine, broker.clock.unguarded()))
}

/// A challenge; costs the broker nothing until it is redeemed.
pub(super) async fn challenge(
    State(broker): State<Arc<Broker>>,
    Document(request): Document<ChallengeRequest>,
) -> Result<Answer<Challenge>, Failure> {
    let now = broker.clock.now().map_err(|error| Failure::to_anyone(error.into()))?;
    Ok(Answer(broker.challenges.issue(request.purpose, now)))
}

/// The broker's own Evidence, bound to this connection and to the asker's nonce and key.
pub(super) async fn evidence(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    Document(request): Document<EvidenceRequest>,
) -> Result<Answer<BrokerEvidence>, Failure> {
    let keys = broker.keys.channel(&peer.server_spki);
    let parts = BindingParts {
        purpose: Purpose::BrokerDeposit { party: *request.asker.as_bytes() },
        keys: keys.clone(),
        exporter: peer.exporter,
        nonce: request.nonce.0,
    };
    let machine = Arc::clone(&broker.machine);
    let evidence = blocking(move || machine.evidence(&parts.bind())).await?;
    Ok(Answer(BrokerEvidence { evidence, keys }))
}

/// Opens a credential that was made for the broker's TPM.
pub(super) async fn activate(
    State(broker): State<Arc<Broker>>,
    Document(request): Document<Activation>,
) -> Result<Answer<Activated>, Failure> {
    let machine = Arc::clone(&broker.machine);
    let Activation { id_object, encrypted_secret } = request;
    let secret = blocking(move || machine.activate(&id_object, &encrypted_secret)).await?;
    Ok(Answer(Activated { secret: Bytes(secret.to_vec()) }))
}

/// The OpenAPI document.
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], crate::openapi::document()).into_response()
}

/// Waits for the TPM aside.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, tpm::AttesterError> + Send + 'static,
) -> Result<T, Failure> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|_| Failure::to_anyone(Refusal::Internal("the TPM's task ended early")))?.map_err(|error| {
        match error {
            tpm::AttesterError::Tpm(tpm::TpmError::CredentialRefused { .. }) => {
                Failure::to_owner(Refusal::Malformed("the credential was made for other keys".to_owned()))
            }
            other => Failure::to_anyone(Refusal::Tpm(crate::refusal::words(&other))),
        }
    })
}
