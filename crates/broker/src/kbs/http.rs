//! The listener's face: paths, cookies, bodies, statuses.
//!
//! Nothing of a request stands in a metric or a log line: not a path, not a cookie, not a token.

use std::{sync::Arc, time::Instant};

use agreement::documents::{SecretPath, SecretPush};
use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, MatchedPath, Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use envelope::{PublicKey, text::decode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use wire::{
    Code,
    channel::Peer,
    kbs::{self, Attestation, COOKIE, Challenge, Jwe, PREFIX, Token, VERSION},
    signature::Reader,
};
use zeroize::Zeroizing;

use super::{
    admin,
    evidence::{self, Endorsements, EvidenceRefusal, Primary, Tee},
    jwe::Recipient,
    refusal::KbsRefusal,
    release_secret::{SecretRefusal, release_secret},
    secrets::{self, Incoming, Release},
    session::{LIFETIME, Session},
    token::Attested,
};
use crate::{
    api::{HARDENED, is_plain, signed_headers},
    enrol,
    limits::{MAX_KBS_ATTESTATION, MAX_KBS_AUTH, REQUEST_TIME},
    refusal::Refusal,
    service::Broker,
};

/// Every endpoint: the closed set that metrics know.
pub(crate) const ENDPOINTS: &[&str] = &[AUTH, ATTEST, RESOURCE, RESOURCES, POLICY, KEYS, HEALTH];
const AUTH: &str = "/kbs/v0/auth";
const ATTEST: &str = "/kbs/v0/attest";
const RESOURCES: &str = "/kbs/v0/resource";
const RESOURCE: &str = "/kbs/v0/resource/{*path}";
const POLICY: &str = "/kbs/v0/resource-policy";
/// The key of tokens, for whoever checks them elsewhere. No part of the protocol.
const KEYS: &str = "/kbs/v0/token-keys";
const HEALTH: &str = "/healthz";
/// The largest request that is read, in bytes: a secret with what stands around it.
const MAX_BODY: usize = 2 << 20;

type Answered = Result<Response, KbsRefusal>;
type Body = Result<Bytes, BytesRejection>;

/// The service.
pub(crate) fn router(broker: Arc<Broker>) -> Router {
    Router::new()
        .route(AUTH, post(auth).layer(DefaultBodyLimit::max(MAX_KBS_AUTH)))
        .route(ATTEST, post(attest).layer(DefaultBodyLimit::max(MAX_KBS_ATTESTATION)))
        .route(RESOURCES, get(list))
        .route(RESOURCE, get(resource).post(put).delete(remove))
        .route(POLICY, post(policy))
        .route(KEYS, get(keys))
        .route(HEALTH, get(|| async { StatusCode::OK }))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&broker), guard))
        .with_state(broker)
}

/// Begins a session. Nothing of it is remembered.
async fn auth(State(broker): State<Arc<Broker>>, body: Body) -> Answered {
    let now = broker.clock.now()?;
    let request: kbs::Request = read(&body?)?;
    if request.version != VERSION {
        return Err(KbsRefusal::Version(envelope::text::shown(&request.version, 40)));
    }
    let tee = Tee::named(&request.tee)?;
    if !tee.is_served() {
        return Err(EvidenceRefusal::NotServed(tee.name().to_owned()).into());
    }
    let session = Session::begin(tee, now);
    // Clients take SHA-384 where nothing is selected.
    let extra_params = match tee.hash() {
        "sha384" => Value::String(String::new()),
        hash => json!({ "selected-hash-algorithm": hash }),
    };
    let challenge = Challenge { nonce: session.nonce(), extra_params };
    with_cookie(&broker, &session, document(&challenge))
}

/// Redeems the session's nonce for a token, if the Evidence holds.
async fn attest(State(broker): State<Arc<Broker>>, headers: HeaderMap, body: Body) -> Answered {
    let now = broker.clock.now()?;
    let session = session(&broker, &headers, now)?.ok_or(KbsRefusal::Session)?;
    if broker.kbs.sessions.is_redeemed(&session) {
        return Err(KbsRefusal::Redeemed);
    }
    let attestation: Attestation = read(&body?)?;
    let proving = Arc::clone(&broker);
    let token = blocking(move || prove(&proving, &session, attestation, now)).await?;
    with_cookie(&broker, &session, document(&Token { token }))
}

fn prove(broker: &Broker, session: &Session, attestation: Attestation, now: Timestamp) -> Result<String, KbsRefusal> {
    let Attestation { init_data, runtime_data, tee_evidence } = attestation;
    if runtime_data.nonce != session.nonce() {
        return Err(KbsRefusal::Nonce);
    }
    if !tee_evidence.additional_evidence.is_empty() {
        return Err(EvidenceRefusal::Device.into());
    }
    // A key that nothing can be encrypted to is refused before its Evidence costs anything.
    Recipient::new(runtime_data.tee_pubkey.clone()).map_err(|error| KbsRefusal::Key(error.to_string()))?;
    let bound = evidence::bound(
        session.tee(),
        &runtime_data.nonce,
        &runtime_data.tee_pubkey,
        &tee_evidence.additional_evidence,
    )?;
    let enrolled = |spki: &[u8]| enrol::of_key(&broker.store, spki);
    let primary = Primary::read(session.tee(), &tee_evidence.primary_evidence)?;
    let collected = primary.needs()?.collect(broker.kbs.endorsements.as_ref(), now)?;
    let endorsements = Endorsements { enrolled: &enrolled, makers: &broker.kbs.makers, collected: &collected };
    let examined = primary.examine(&endorsements, &bound, init_data.as_ref(), now)?;
    broker.kbs.sessions.redeem(session, now)?;
    let (attested, token) = broker.kbs.tokens.issue(session, runtime_data.tee_pubkey, examined, now)?;
    broker.kbs.sessions.keep(session, Arc::new(attested));
    Ok(token)
}

/// Releases a secret.
async fn resource(State(broker): State<Arc<Broker>>, headers: HeaderMap, uri: Uri) -> Answered {
    let now = broker.clock.now()?;
    let attested = attested(&broker, &headers, now)?;
    let path = path(&uri)?;
    let deciding = Arc::clone(&broker);
    let (jwe, release) = blocking(move || decide(&deciding, &attested, &path, now)).await?;
    let name = release.digest();
    if !broker.kbs.logged.has(&name) {
        let logging = Arc::clone(&broker);
        broker
            .store
            .commit(move |tx| secrets::log_release(tx, &logging.keys, &logging.kbs.compiled, &release, now))
            .await?;
        broker.kbs.logged.note(name, now);
    }
    Ok(document(&jwe))
}

fn decide(
    broker: &Broker,
    attested: &Attested,
    path: &SecretPath,
    now: Timestamp,
) -> Result<(Jwe, Release), KbsRefusal> {
    let (held, _) = secrets::held(&broker.store, &broker.kbs.compiled, path)?;
    let released = release_secret(path, attested, &held, now).map_err(|refusal| {
        let denial = match refusal {
            SecretRefusal::Expired => return KbsRefusal::Session,
            SecretRefusal::Encrypt => return KbsRefusal::Fault("a secret cannot be encrypted"),
            SecretRefusal::Denied(denial) => denial,
            other @ (SecretRefusal::NoConditions | SecretRefusal::OtherSecret | SecretRefusal::OtherConditions) => {
                super::policy::Denial { policy: "none".to_owned(), clause: other.to_string() }
            }
        };
        broker.kbs.denials.note(path, &denial);
        KbsRefusal::Denied(denial)
    })?;
    let release = Release::of(attested, &held, released.policy())?;
    Ok((released.into_jwe(), release))
}

/// Puts a secret into custody, for a party with a stock tool.
async fn put(State(broker): State<Arc<Broker>>, headers: HeaderMap, uri: Uri, body: Body) -> Answered {
    let now = broker.clock.now()?;
    let owner = administrator(&broker, &headers, now)?;
    let path = path(&uri)?;
    let value = Zeroizing::new(body?.to_vec());
    if value.len() > SecretPush::MAX_SECRET {
        return Err(KbsRefusal::TooLarge);
    }
    let incoming = Incoming { path, value, policy: None, owner, push: None };
    let keys = Arc::clone(&broker.keys);
    broker.store.commit(move |tx| secrets::store(tx, &keys, incoming, now)).await.map_err(KbsRefusal::from)?;
    Ok(StatusCode::OK.into_response())
}

/// Destroys a secret, for a party with a stock tool.
async fn remove(State(broker): State<Arc<Broker>>, headers: HeaderMap, uri: Uri) -> Answered {
    let now = broker.clock.now()?;
    let owner = administrator(&broker, &headers, now)?;
    let path = path(&uri)?;
    let keys = Arc::clone(&broker.keys);
    broker.store.commit(move |tx| secrets::destroy(tx, &keys, &path, &owner, now)).await.map_err(KbsRefusal::from)?;
    Ok(StatusCode::OK.into_response())
}

/// The paths of a party's own secrets.
async fn list(State(broker): State<Arc<Broker>>, headers: HeaderMap, uri: Uri) -> Answered {
    let now = broker.clock.now()?;
    let asker = match administrator(&broker, &headers, now) {
        Ok(asker) => asker,
        Err(refusal) => {
            let signed = signed_headers(&headers).ok();
            let path = uri.path_and_query().map_or("", |path| path.as_str());
            let reader = signed.and_then(|signed| Reader::check(&signed, &broker.keys.public, "GET", path, now).ok());
            *reader.ok_or(refusal)?.key()
        }
    };
    let listing = Arc::clone(&broker);
    let secrets = blocking(move || {
        secrets::list(&listing.store, &listing.keys, &asker, &listing.kbs.denials).map_err(KbsRefusal::from)
    })
    .await?;
    let paths: Vec<String> = secrets.secrets.into_iter().map(|secret| secret.path).collect();
    Ok(document(&paths))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyBody {
    /// base64url.
    policy: String,
}

/// Sets the conditions of the caller's own secrets.
async fn policy(State(broker): State<Arc<Broker>>, headers: HeaderMap, body: Body) -> Answered {
    let now = broker.clock.now()?;
    let owner = administrator(&broker, &headers, now)?;
    let PolicyBody { policy } = read(&body?)?;
    let text = decode(&policy).and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| KbsRefusal::Malformed("`policy` is not text in base64url".to_owned()))?;
    let compiling = Arc::clone(&broker);
    let text = blocking(move || {
        secrets::compile(&compiling.kbs.compiled, &text)
            .map_err(|refusal| KbsRefusal::Malformed(refusal.to_string()))?;
        Ok(text)
    })
    .await?;
    let keys = Arc::clone(&broker.keys);
    broker.store.commit(move |tx| secrets::govern(tx, &keys, &text, &owner, now)).await.map_err(KbsRefusal::from)?;
    Ok(StatusCode::OK.into_response())
}

async fn keys(State(broker): State<Arc<Broker>>) -> Response {
    document(&broker.kbs.tokens.jwks())
}

async fn nothing() -> KbsRefusal {
    KbsRefusal::NotServed
}

/// What every request passes: its source's rate, the form of its path, its time; and what is counted of it.
async fn guard(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let template = request.extensions().get::<MatchedPath>().map_or("other", |matched| known(matched.as_str()));
    // Compiling conditions costs a strong computation.
    let costly = template == POLICY && !broker.costly.admits(&peer.remote);
    let answer = if costly || !broker.rates.admits(&peer.remote) {
        KbsRefusal::RateLimited.into_response()
    } else if !is_plain(request.uri().path()) {
        KbsRefusal::Malformed("the path is not plain".to_owned()).into_response()
    } else {
        match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => KbsRefusal::Fault("the answer took too long").into_response(),
        }
    };
    let refusal = answer.extensions().get::<Code>().copied();
    broker.metrics.count(template, refusal, began.elapsed());
    tracing::info!(
        endpoint = template,
        status = answer.status().as_u16(),
        outcome = refusal.map_or("done", Code::as_str),
        milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    answer
}

fn known(template: &str) -> &'static str {
    ENDPOINTS.iter().find(|path| **path == template).copied().unwrap_or("other")
}

/// The session of the cookie, if there is a cookie.
fn session(broker: &Broker, headers: &HeaderMap, now: Timestamp) -> Result<Option<Session>, KbsRefusal> {
    let Some(cookie) = cookie(headers) else { return Ok(None) };
    Session::recognise(cookie, &broker.challenges, now).map(Some)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok()?.strip_prefix("Bearer "),
        _ => None,
    }
}

/// What the asker has proved: by the cookie of a session that attested, otherwise by a token.
fn attested(broker: &Broker, headers: &HeaderMap, now: Timestamp) -> Result<Arc<Attested>, KbsRefusal> {
    let by_cookie = session(broker, headers, now).ok().flatten();
    if let Some(attested) = by_cookie.and_then(|session| broker.kbs.sessions.attested(&session)) {
        return Ok(attested);
    }
    let token = bearer(headers).ok_or(KbsRefusal::NotAttested)?;
    broker.kbs.tokens.check(token, now).map(Arc::new)
}

fn administrator(broker: &Broker, headers: &HeaderMap, now: Timestamp) -> Result<PublicKey, KbsRefusal> {
    admin::party(bearer(headers).ok_or(KbsRefusal::Admin)?, &broker.keys.public, now)
}

fn path(uri: &Uri) -> Result<SecretPath, KbsRefusal> {
    let rest = uri.path().strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix("/resource/"));
    rest.and_then(|rest| rest.parse().ok()).ok_or(KbsRefusal::Path)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, KbsRefusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| KbsRefusal::Malformed(format!("line {}, column {}", error.line(), error.column())))
}

fn document<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], HARDENED, bytes).into_response(),
        Err(_) => KbsRefusal::Fault("an answer cannot be written").into_response(),
    }
}

fn with_cookie(broker: &Broker, session: &Session, mut answer: Response) -> Answered {
    let cookie = session.cookie(&broker.challenges);
    let seconds = LIFETIME.as_secs();
    let cookie = format!("{COOKIE}={cookie}; Max-Age={seconds}; Path={PREFIX}; HttpOnly; SameSite=Strict; Secure");
    let mut value = HeaderValue::from_str(&cookie).map_err(|_| KbsRefusal::Fault("a cookie cannot be written"))?;
    value.set_sensitive(true);
    answer.headers_mut().insert(header::SET_COOKIE, value);
    Ok(answer)
}

/// Runs what reads and computes beside the threads that answer.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KbsRefusal> + Send + 'static,
) -> Result<T, KbsRefusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(KbsRefusal::Fault("a task ended early")))
}

impl From<BytesRejection> for KbsRefusal {
    fn from(rejection: BytesRejection) -> KbsRefusal {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            KbsRefusal::TooLarge
        } else {
            KbsRefusal::Malformed("the body did not arrive".to_owned())
        }
    }
}

impl From<KbsRefusal> for Refusal {
    fn from(refusal: KbsRefusal) -> Refusal {
        match refusal {
            KbsRefusal::Broker(refusal) => refusal,
            KbsRefusal::NoResource => Refusal::NotFound,
            _ => Refusal::Internal("the KBS listener"),
        }
    }
}
