//! Every way in which the KBS listener refuses, with the status and the body that stock clients understand.
//!
//! The first request of a client that has not attested must get 401 with this body, or it never attests; once it has, 403 and 404 make it
//! fail at once instead of attesting thrice. What is denied is told to the Attester in one sentence that is always the same; the owner
//! learns the policy and the clause.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use wire::{
    Code,
    kbs::{ERRORS, ErrorBody},
};

use super::{evidence::EvidenceRefusal, policy::Denial};
use crate::refusal::{Audience, Refusal};

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KbsRefusal {
    /// Another version of the protocol.
    #[error("KBS Client Protocol Version Mismatch: expect =0.4.0 while the request is {0}")]
    Version(String),
    /// No cookie and no token.
    #[error("not attested: there is no session and no token")]
    NotAttested,
    /// A cookie that is not of a session under way.
    #[error("not attested: the session is unknown or over")]
    Session,
    /// A token that does not hold.
    #[error("not attested: the token does not hold")]
    Token,
    /// The nonce is not the session's.
    #[error("the nonce is not the one of this session")]
    Nonce,
    /// The nonce was redeemed.
    #[error("the nonce of this session was used before")]
    Redeemed,
    /// The key is none that secrets can be encrypted to.
    #[error("{0}")]
    Key(String),
    /// The Evidence.
    #[error("{0}")]
    Evidence(#[from] EvidenceRefusal),
    /// The owner's conditions are not met.
    #[error("the release is denied by the owner's policy")]
    Denied(Denial),
    /// No such secret.
    #[error("there is no such resource")]
    NoResource,
    /// A path that is none of a resource.
    #[error("the path is not one of a resource")]
    Path,
    /// Something of the protocol that is not served here.
    #[error("this is not served here")]
    NotServed,
    /// An administrator's token that does not hold.
    #[error("the administrator's token does not hold")]
    Admin,
    /// The body is not of the expected shape.
    #[error("the body is not of the expected shape: {0}")]
    Malformed(String),
    /// More bytes than are read.
    #[error("the request is too large")]
    TooLarge,
    /// Too many requests.
    #[error("too many requests")]
    RateLimited,
    /// Too many sessions.
    #[error("too many sessions are under way")]
    Busy,
    /// What the broker refuses in its own API too.
    #[error("{0}")]
    Broker(Refusal),
    /// A fault of the broker.
    #[error("a fault of the broker")]
    Fault(&'static str),
}

impl KbsRefusal {
    /// The status, and the word of the error's type.
    pub(crate) fn row(&self) -> (StatusCode, &'static str, Code) {
        use KbsRefusal::{
            Admin, Broker, Busy, Denied, Evidence, Fault, Key, Malformed, NoResource, Nonce, NotAttested, NotServed,
            Path, RateLimited, Redeemed, Session, Token, TooLarge, Version,
        };
        let unauthorized = StatusCode::UNAUTHORIZED;
        match self {
            Version(_) => (unauthorized, "AttestationError", Code::Malformed),
            Nonce => (unauthorized, "AttestationError", Code::UnknownChallenge),
            Redeemed => (unauthorized, "AttestationError", Code::Replayed),
            Key(_) | Evidence(_) => (unauthorized, "AttestationError", Code::EvidenceRefused),
            // What is absent and what does not hold are told alike.
            NotAttested | Session | Token => (unauthorized, "TokenNotFound", Code::Unauthenticated),
            Admin => (unauthorized, "AdminAuthAccess", Code::Unauthenticated),
            Denied(_) => (StatusCode::FORBIDDEN, "PolicyDeny", Code::NotPermitted),
            NoResource => (StatusCode::NOT_FOUND, "ResourceNotFound", Code::NotFound),
            Path => (StatusCode::NOT_FOUND, "InvalidRequestPath", Code::NotFound),
            NotServed => (StatusCode::NOT_FOUND, "PluginNotFound", Code::NotFound),
            Malformed(_) => (StatusCode::BAD_REQUEST, "SerdeError", Code::Malformed),
            TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "SerdeError", Code::TooLarge),
            RateLimited | Busy => (StatusCode::TOO_MANY_REQUESTS, "RateLimited", Code::RateLimited),
            Broker(refusal) => {
                let code = refusal.code();
                let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, "PluginInternalError", code)
            }
            Fault(_) => (StatusCode::INTERNAL_SERVER_ERROR, "PluginInternalError", Code::Internal),
        }
    }

    fn detail(&self) -> String {
        match self {
            KbsRefusal::NotAttested | KbsRefusal::Session | KbsRefusal::Token => {
                "not attested: there is no session and no token that holds".to_owned()
            }
            // What the Verifier found is for the operator's log: whoever probes learns nothing from it.
            KbsRefusal::Evidence(EvidenceRefusal::Appraisal(_)) => "the Evidence does not hold".to_owned(),
            KbsRefusal::Broker(refusal) => match refusal {
                // Parties sign for what they ask; what lies behind a fault is nobody's.
                Refusal::Store(_) | Refusal::Clock(_) | Refusal::Internal(_) => {
                    refusal.problem(Audience::Attester).message
                }
                _ => refusal.to_string(),
            },
            other => other.to_string(),
        }
    }
}

impl From<Refusal> for KbsRefusal {
    fn from(refusal: Refusal) -> KbsRefusal {
        match refusal {
            Refusal::NotFound => KbsRefusal::NoResource,
            other => KbsRefusal::Broker(other),
        }
    }
}

impl From<crate::store::StoreError> for KbsRefusal {
    fn from(error: crate::store::StoreError) -> KbsRefusal {
        KbsRefusal::from(Refusal::from(error))
    }
}

impl From<crate::clock::ClockError> for KbsRefusal {
    fn from(error: crate::clock::ClockError) -> KbsRefusal {
        KbsRefusal::Broker(error.into())
    }
}

impl IntoResponse for KbsRefusal {
    fn into_response(self) -> Response {
        let (status, word, code) = self.row();
        match &self {
            KbsRefusal::Denied(denial) => tracing::info!(policy = %denial.policy, clause = %denial.clause, "denied"),
            KbsRefusal::Evidence(refusal) => tracing::info!(reason = %refusal, "Evidence refused"),
            KbsRefusal::Broker(Refusal::Store(error)) => tracing::error!(reason = %error, "the store refuses"),
            KbsRefusal::Fault(reason) => tracing::error!(reason, "a fault"),
            _ => {}
        }
        let body = ErrorBody { kind: format!("{ERRORS}{word}"), detail: self.detail() };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut answer = Response::new(Body::from(body));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer.extensions_mut().insert(code);
        answer
    }
}
