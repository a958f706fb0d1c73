//! The broker's API over HTTP: what may be asked, by whom, and how it is answered.
//!
//! A handler reads one document, hands it to the module that decides, and writes one document. What holds for all requests is here:
//! the form of paths and bodies, the bounds, the counting, and how a refusal is told. Parties sign what they send and learn
//! everything about it; workers and strangers get a code.
//!
//! Deliberately absent here: cookies and sessions (the KBS listener's, [`crate::kbs`]), redirects, compression, HTTP/2, and any text of the request in an answer's header or a log line.

mod log;
mod meta;
mod parties;
mod secrets;
mod workers;

use std::{sync::Arc, time::Instant};

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use envelope::{Digest, PublicKey};
use serde::{Serialize, de::DeserializeOwned};
use wire::{
    Code,
    channel::Peer,
    messages::path,
    signature::{AUDIENCE_HEADER, INPUT_HEADER, Reader, SIGNATURE_HEADER, SignatureError, SignedHeaders},
};

use crate::{
    limits::{MAX_REQUEST, MAX_RESULT_REQUEST, MAX_SMALL_REQUEST, REQUEST_TIME},
    refusal::{Audience, Refusal},
    service::Broker,
};

/// Every endpoint with its method: the closed set that metrics and the OpenAPI document know.
pub(crate) const ENDPOINTS: &[(&str, &str)] = &[
    (path::BROKER, "get"),
    (path::CHALLENGE, "post"),
    (path::BROKER_EVIDENCE, "post"),
    (path::BROKER_ACTIVATE, "post"),
    (path::PROPOSALS, "post"),
    (path::CONSENTS, "post"),
    (path::DEPOSITS, "post"),
    (path::OFFERS, "post"),
    (path::REVOCATIONS, "post"),
    (path::ROTATIONS, "post"),
    (path::REFERENCE_VALUES, "post"),
    (path::AGREEMENTS, "get"),
    (path::AGREEMENT, "get"),
    (path::RUNS, "post"),
    (path::RUN, "get"),
    (path::RESULT, "get"),
    (path::RECEIPT, "get"),
    (path::RECORDS, "get"),
    (path::SECRET_PUSHES, "post"),
    (path::SECRETS, "get"),
    (path::SECRET_REMOVALS, "post"),
    (path::SECRET_POLICY, "post"),
    (path::WORKER_ENROL, "post"),
    (path::WORKER_PROVE, "post"),
    (path::WORKER_NEXT, "post"),
    (path::WORKER_RELEASE, "post"),
    (path::WORKER_RENEW, "post"),
    (path::WORKER_RESULT, "post"),
    (path::WORKER_FAILED, "post"),
    (path::LOG_CHECKPOINT, "get"),
    (path::LOG_CONSISTENCY, "get"),
    (LOG_TILE, "get"),
    (OPENAPI, "get"),
];

/// Tiles and entry bundles (C2SP tlog-tiles).
pub(crate) const LOG_TILE: &str = "/log/tile/{*tile}";
/// The description of this API.
pub(crate) const OPENAPI: &str = "/openapi.json";
/// Endpoints at which one request costs the TPM, or a strong computation, before anybody is known. Conditions are compiled there too.
const COSTLY: &[&str] = &[
    path::BROKER_EVIDENCE,
    path::BROKER_ACTIVATE,
    path::WORKER_ENROL,
    path::WORKER_PROVE,
    path::SECRET_PUSHES,
    path::SECRET_POLICY,
];

/// The service.
pub(crate) fn router(broker: Arc<Broker>) -> Router {
    Router::new()
        .route(path::BROKER, get(meta::describe))
        .route(path::CHALLENGE, post(meta::challenge))
        .route(path::BROKER_EVIDENCE, post(meta::evidence))
        .route(path::BROKER_ACTIVATE, post(meta::activate))
        .route(OPENAPI, get(meta::openapi))
        .route(path::PROPOSALS, post(parties::propose))
        .route(path::CONSENTS, post(parties::consent))
        .route(path::DEPOSITS, post(parties::deposit))
        .route(path::OFFERS, post(parties::offer))
        .route(path::REVOCATIONS, post(parties::revoke))
        .route(path::ROTATIONS, post(parties::rotate))
        .route(path::REFERENCE_VALUES, post(parties::reference_values))
        .route(path::AGREEMENTS, get(parties::agreements))
        .route(path::AGREEMENT, get(parties::agreement))
        .route(path::RUNS, post(parties::submit))
        .route(path::RUN, get(parties::run))
        .route(path::RESULT, get(parties::result))
        .route(path::RECEIPT, get(parties::receipt))
        .route(path::RECORDS, get(parties::records))
        .route(path::SECRETS, get(secrets::list))
        .route(path::SECRET_PUSHES, post(secrets::push))
        .route(path::SECRET_REMOVALS, post(secrets::remove))
        .route(path::SECRET_POLICY, post(secrets::policy))
        .route(path::WORKER_ENROL, post(workers::enrol))
        .route(path::WORKER_PROVE, post(workers::prove))
        .route(path::WORKER_NEXT, post(workers::next))
        .route(path::WORKER_RELEASE, post(workers::release))
        .route(path::WORKER_RENEW, post(workers::renew))
        .route(path::WORKER_RESULT, post(workers::finish))
        .route(path::WORKER_FAILED, post(workers::fail))
        .route(path::LOG_CHECKPOINT, get(log::checkpoint))
        .route(path::LOG_CONSISTENCY, get(log::consistency))
        .route(LOG_TILE, get(log::tile))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(middleware::from_fn_with_state(Arc::clone(&broker), guard))
        .with_state(broker)
}

/// How many bytes are read before anything is known of them. A request is held in memory as a whole, so what strangers may send is small, and
/// as much as a result has may be sent only by a worker that holds a lease.
fn largest_request(broker: &Broker, template: &str, peer: &Peer) -> usize {
    let holds = |leaf: &wire::channel::ClientLeaf| broker.holders.has(&leaf.issuer, broker.clock.unguarded());
    match template {
        path::WORKER_RESULT if peer.client.as_ref().is_some_and(holds) => MAX_RESULT_REQUEST,
        path::PROPOSALS
        | path::CONSENTS
        | path::DEPOSITS
        | path::OFFERS
        | path::REVOCATIONS
        | path::ROTATIONS
        | path::RUNS => MAX_REQUEST,
        _ => MAX_SMALL_REQUEST,
    }
}

/// How much of this request is read.
#[derive(Clone, Copy)]
struct LargestRequest(usize);

async fn nothing() -> Failure {
    Failure::to_anyone(Refusal::NotFound)
}

/// What every request passes: its source's rate, the form of its path, its time; and what is counted of it.
async fn guard(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let template = request.extensions().get::<MatchedPath>().map_or("other", |matched| known(matched.as_str()));
    let method = request.method().clone();
    let refused =
        if !broker.rates.admits(&peer.remote) || (COSTLY.contains(&template) && !broker.costly.admits(&peer.remote)) {
            Some(Refusal::RateLimited)
        } else if !is_plain(request.uri().path()) {
            Some(Refusal::Malformed("the path is not one of this API".to_owned()))
        } else {
            None
        };
    let most = largest_request(&broker, template, &peer);
    DefaultBodyLimit::max(most).apply(&mut request);
    request.extensions_mut().insert(LargestRequest(most));
    let answer = match refused {
        Some(refusal) => Failure::to_anyone(refusal).into_response(),
        None => match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => Failure::to_anyone(Refusal::Internal("the answer took too long")).into_response(),
        },
    };
    let refusal = answer.extensions().get::<Code>().copied();
    broker.metrics.count(template, refusal, began.elapsed());
    tracing::info!(
        endpoint = template,
        method = %method,
        status = answer.status().as_u16(),
        outcome = refusal.map_or("done", Code::as_str),
        milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    answer
}

/// The template as a constant, so that nothing of the request can stand in a log or a metric.
fn known(template: &str) -> &'static str {
    ENDPOINTS.iter().find(|(path, _)| *path == template).map_or("other", |(path, _)| *path)
}

/// Paths of this API need no escapes, no empty and no dotted segments.
pub(crate) fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b':' | b'.');
    let dotted = |segment: &str| segment.starts_with('.') || segment.is_empty();
    path.bytes().all(plain) && !path.split('/').skip(1).any(dotted)
}

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Failure {
    refusal: Refusal,
    audience: Audience,
}

impl Failure {
    /// For someone who signed for what was asked.
    pub(crate) fn to_owner(refusal: Refusal) -> Failure {
        Failure { refusal, audience: Audience::Owner }
    }

    /// For a worker, or anybody.
    pub(crate) fn to_anyone(refusal: Refusal) -> Failure {
        Failure { refusal, audience: Audience::Attester }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.refusal.code();
        match &self.refusal {
            Refusal::Store(error) => tracing::error!(reason = %error, "the store refuses"),
            Refusal::Clock(error) => tracing::error!(reason = %error, "the clock is not believed"),
            Refusal::Tpm(reason) => tracing::error!(%reason, "the TPM failed"),
            Refusal::Internal(reason) => tracing::error!(reason, "a fault"),
            _ => {}
        }
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = Answer(self.refusal.problem(self.audience)).into_response();
        *answer.status_mut() = status;
        answer.extensions_mut().insert(code);
        answer
    }
}

/// A document on its way out.
pub(crate) struct Answer<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], HARDENED, bytes).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// A document on its way in: JSON of the expected shape, whose unknown and duplicate fields are refused.
pub(crate) struct Document<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Broker>> for Document<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, broker: &Arc<Broker>) -> Result<Document<T>, Failure> {
        let most = request.extensions().get::<LargestRequest>().map_or(MAX_REQUEST, |most| most.0);
        let bytes = Bytes::from_request(request, broker).await.map_err(|rejection| {
            Failure::to_owner(if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Refusal::TooLarge(most)
            } else {
                Refusal::Malformed("the body did not arrive".to_owned())
            })
        })?;
        let shape = |error: serde_json::Error| {
            // The parser's own words may quote the request; where it stopped is enough.
            Failure::to_owner(Refusal::Malformed(format!(
                "the body is not of the expected shape, at line {}, column {}",
                error.line(),
                error.column()
            )))
        };
        serde_json::from_slice(&bytes).map(Document).map_err(shape)
    }
}

/// The party that signed a read (RFC 9421). A read that is sent again within its window is answered again: it changes nothing, and the
/// channel shows it to nobody else.
pub(crate) struct Asker(pub(crate) PublicKey);

impl FromRequestParts<Arc<Broker>> for Asker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, broker: &Arc<Broker>) -> Result<Asker, Failure> {
        let now = broker.clock.now().map_err(|error| Failure::to_anyone(error.into()))?;
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let reader = signed_headers(&parts.headers)
            .and_then(|headers| Reader::check(&headers, &broker.keys.public, parts.method.as_str(), path, now));
        match reader {
            Ok(reader) => Ok(Asker(*reader.key())),
            Err(error) => Err(Failure::to_owner(error.into())),
        }
    }
}

pub(crate) fn signed_headers(headers: &HeaderMap) -> Result<SignedHeaders, SignatureError> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().map(str::to_owned).map_err(|_| SignatureError::Form),
            _ => Err(SignatureError::Form),
        }
    };
    Ok(SignedHeaders { audience: one(AUDIENCE_HEADER)?, input: one(INPUT_HEADER)?, signature: one(SIGNATURE_HEADER)? })
}

fn digest(text: &str) -> Result<Digest, Failure> {
    text.parse().map_err(|_| Failure::to_owner(Refusal::Malformed("the path does not name a digest".to_owned())))
}

/// No answer is kept by anyone in between, or read as anything but what it is.
pub(crate) const HARDENED: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h3_paths_with_escapes_dots_or_empty_segments_are_not_plain() {
        for path in ["/v1/broker", "/v1/runs/sha256:00ff/receipt", "/log/tile/0/x001/067", "/log/tile/0/000.p/3"] {
            assert!(is_plain(path), "{path}");
        }
        for path in
            ["/v1/../v1/broker", "/v1/%2e%2e/broker", "/v1/run\0", "//v1/broker", "/v1/broker/", "/v1/.hidden", "/v1/ä"]
        {
            assert!(!is_plain(path), "{path}");
        }
    }
}
