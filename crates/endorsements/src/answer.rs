//! What the server answers: the object in the maker's own form, or why not, in words.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, header, header::HeaderValue};
use tokio::time::timeout;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    cache::{Cache, CacheError},
    client::ClientError,
    object::{Form, ObjectId},
    store::{Received, StoreError},
};

/// Answers one request from this address.
pub(crate) async fn answer<B>(cache: &Cache, from: IpAddr, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return words(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here");
    }
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let Some((id, form)) = ObjectId::of_target(path, query) else {
        return words(StatusCode::BAD_REQUEST, "no Endorsement is asked for in this way");
    };
    // A slow service holds nobody's place for long; the fetch goes on.
    match timeout(PATIENCE, cache.get_for(&id, from)).await {
        Err(_) => words(StatusCode::SERVICE_UNAVAILABLE, "it is being fetched; ask again"),
        Ok(Ok(received)) => found(&id, form, &received),
        Ok(Err(error)) => {
            let source = std::error::Error::source(&*error).map(|source| format!(": {source}")).unwrap_or_default();
            words(status(&error), &format!("{error}{source}"))
        }
    }
}

fn found(id: &ObjectId, form: Form, received: &Received) -> Response<Full<Bytes>> {
    let body = match form {
        Form::AsKept => received.body.clone(),
        Form::Pem => pem(&received.body).into_bytes(),
        Form::Hexadecimal => hex::encode(&received.body).into_bytes(),
    };
    let mut answer = Response::builder().status(StatusCode::OK).header(header::CONTENT_TYPE, id.content_type(form));
    if let (Some(name), Some(chain)) = (id.chain_header(), received.chain.as_ref()) {
        answer = answer.header(name, chain);
    }
    answer
        .body(Full::new(Bytes::from(body)))
        .unwrap_or_else(|_| words(StatusCode::INTERNAL_SERVER_ERROR, "the kept header cannot be sent"))
}

fn status(error: &CacheError) -> StatusCode {
    match error {
        CacheError::Store(StoreError::Absent(_)) | CacheError::Offline(_) => StatusCode::NOT_FOUND,
        // Kept, and not to be used: expired, or not what it should be. Not 503, which would have clients try again.
        CacheError::Store(StoreError::Refused { .. } | StoreError::Older { .. } | StoreError::Superseded { .. }) => {
            StatusCode::BAD_GATEWAY
        }
        CacheError::Store(StoreError::Damaged(_) | StoreError::Io { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
        CacheError::Busy(_) | CacheError::BrokenOff(_) => StatusCode::SERVICE_UNAVAILABLE,
        CacheError::Client { source: ClientError::NotThere { .. }, .. } => StatusCode::NOT_FOUND,
        CacheError::Client { .. } => StatusCode::BAD_GATEWAY,
    }
}

fn words(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{words}\n"))));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    response
}

/// RFC 7468, section 6.
fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN X509 CRL-----\n");
    for line in der.chunks(48) {
        text.push_str(&STANDARD.encode(line));
        text.push('\n');
    }
    text.push_str("-----END X509 CRL-----\n");
    text
}

const PATIENCE: Duration = Duration::from_secs(10);
