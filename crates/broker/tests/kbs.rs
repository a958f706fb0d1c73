//! The KBS listener in one process: what a flood leaves, and what strangers are told. The whole exchange with a real client is the
//! command's own test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::{net::SocketAddr, sync::Arc};

use aws_lc_rs::{
    digest::{SHA384, digest},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use broker::limits::Rate;
use endorsements::{Anchors, Reader, Received, Store};
use envelope::{canonical, text::encode};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use room::Room;
use serde_json::{Value, json};
use testkit::intel::{FMSPC, Made, World};
use tower::ServiceExt as _;
use wire::{
    channel::Peer,
    kbs::{BoundData, TeeKey},
};

const AUTH: &str = r#"{"version":"0.4.0","tee":"tpm","extra-params":""}"#;

fn peer(host: u32) -> Peer {
    let remote = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 | host), 1));
    Peer { exporter: [0; 32], server_spki: Arc::from([0_u8; 4]), client: None, remote }
}

async fn ask(router: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path).extension(peer(1));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (status, bytes) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// One test at a time: the memory of the process is measured.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Resident pages of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_a_flood_of_auth_leaves_the_memory_as_it_was() {
    let _alone = ALONE.lock().await;
    let generous = Rate { per_second: 1_000_000, burst: 1_000_000 };
    let Some(room) = Room::with(|settings| settings.rate = generous).await else { return };
    let router = Arc::clone(&room.broker).kbs_router();
    let flood = async |count: u32| {
        for host in 0..count {
            let request = Request::post("/kbs/v0/auth").extension(peer(host)).body(Body::from(AUTH)).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
            assert!(cookie.contains("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
        }
    };
    flood(5_000).await;
    let before = resident();
    flood(50_000).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 << 20, "the memory grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_told_what_makes_stock_clients_attest_and_no_more() {
    let _alone = ALONE.lock().await;
    let Some(room) = Room::with(|settings| settings.rate = Rate { per_second: 1, burst: 60 }).await else { return };
    let router = Arc::clone(&room.broker).kbs_router();
    let path = "/kbs/v0/resource/a/b/c";
    let (status, absent) = ask(&router, "GET", path, &[], "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(absent["type"], "https://github.com/confidential-containers/kbs/errors/TokenNotFound");
    for headers in [
        [("authorization", "Bearer a.b.c")],
        [("authorization", "Basic abc")],
        [("cookie", "kbs-session-id=abc")],
        [("cookie", "other=1; kbs-session-id=; kbs-session-id=x")],
    ] {
        assert_eq!(ask(&router, "GET", path, &headers, "").await, (status, absent.clone()), "{headers:?}");
    }
    let attest = json!({ "runtime-data": {}, "tee-evidence": {} }).to_string();
    assert_eq!(ask(&router, "POST", "/kbs/v0/attest", &[], &attest).await, (status, absent));
    for (method, path) in
        [("POST", path), ("DELETE", path), ("POST", "/kbs/v0/resource-policy"), ("GET", "/kbs/v0/resource")]
    {
        let (status, body) = ask(&router, method, path, &[], "{}").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(body["type"], "https://github.com/confidential-containers/kbs/errors/AdminAuthAccess");
    }
    for path in ["/kbs/v0/attestation-policy", "/kbs/v0/reference-value", "/kbs/v0/pkcs11/x", "/kbs"] {
        assert_eq!(ask(&router, "POST", path, &[], "").await.0, StatusCode::NOT_FOUND, "{path}");
    }
    // Anything may stand in a request for a challenge, so it is small before it is read.
    let large = " ".repeat(broker::limits::MAX_KBS_AUTH + 1);
    assert_eq!(ask(&router, "POST", "/kbs/v0/auth", &[], &large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    for _ in 0..100 {
        ask(&router, "POST", "/kbs/v0/auth", &[], AUTH).await;
    }
    let (status, body) = ask(&router, "POST", "/kbs/v0/auth", &[], AUTH).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(body["detail"].is_string());
    // No path, no cookie and no token stands in the metrics.
    let metrics = room.broker.metrics().render();
    assert!(metrics.contains("endpoint=\"/kbs/v0/resource/{*path}\""), "{metrics}");
    for canary in ["a/b/c", "kbs-session-id", "a.b.c"] {
        assert!(!metrics.contains(canary), "{canary}");
    }
}

/// A forged platform of Intel's whose documents count today.
fn world(sgx: bool) -> World {
    let mut world = if sgx { World::sgx() } else { World::tdx() };
    world.now = Timestamp::now();
    world.crl_until = 2030;
    let day = SignedDuration::from_hours(24);
    let time = |time: Timestamp| json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    for document in [&mut world.tcb_info, &mut world.qe_identity] {
        document["issueDate"] = time(world.now - day);
        document["nextUpdate"] = time(world.now + day);
    }
    world
}

/// What a cache would have fetched for it.
fn fill(directory: &std::path::Path, made: &Made, anchors: &Anchors) {
    let store = Store::open(directory, anchors.clone()).unwrap();
    let tee = if made.sgx { "sgx" } else { "tdx" };
    let put = |id: &str, body: &Option<Vec<u8>>, chain: Option<&[u8]>| {
        let chain = chain.map(|pem| String::from_utf8(pem.to_vec()).unwrap());
        let received = Received { body: body.clone().unwrap(), chain, fetched: made.now };
        store.put(&id.parse().unwrap(), &received, made.now).unwrap();
    };
    let signer = made.tcb_signing_chain.as_deref();
    put(&format!("{tee}/tcb/{}", hex::encode(FMSPC)), &made.tcb_info, signer);
    put(&format!("{tee}/qe"), &made.qe_identity, signer);
    put("sgx/crl/platform", &made.pck_crl, Some(&made.authority_chain));
    put("sgx/crl/root", &made.root_ca_crl, None);
}

fn client_key() -> TeeKey {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    TeeKey {
        kty: "EC".to_owned(),
        alg: "ECDH-ES+A256KW".to_owned(),
        crv: Some("P-256".to_owned()),
        x: Some(encode(&point[1..33])),
        y: Some(encode(&point[33..65])),
        n: None,
        e: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_domains_and_enclaves_attest_for_one_nonce_and_key_with_what_lies_beside_the_broker() {
    let _alone = ALONE.lock().await;
    for sgx in [false, true] {
        let (mut world, shelf) = (world(sgx), tempfile::tempdir().unwrap());
        let root = world.make().root;
        let anchors = Anchors { intel: root.clone(), ..Anchors::shipped() };
        let reader = Reader::new(shelf.path().to_owned(), anchors.clone());
        let change = |settings: &mut broker::Settings| {
            settings.makers.intel = vec![attest::certificate::TrustAnchor::pin(&root).unwrap()];
            settings.endorsements = Some(reader);
        };
        let Some(room) = Room::with(change).await else { return };
        let router = Arc::clone(&room.broker).kbs_router();
        let tee = if sgx { "sgx" } else { "tdx" };
        let begin = json!({ "version": "0.4.0", "tee": tee, "extra-params": "" }).to_string();
        let request = Request::post("/kbs/v0/auth").extension(peer(1)).body(Body::from(begin)).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        let challenge: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        let (nonce, key) = (challenge["nonce"].as_str().unwrap().to_owned(), client_key());
        assert_eq!(challenge["extra-params"], "", "the client's own sha384 holds");
        let mut bound_to = |nonce: &str, key: &TeeKey| {
            let data = BoundData { additional_evidence: "", nonce, tee_pubkey: key };
            let bound = digest(&SHA384, &canonical::to_vec(&data).unwrap());
            let field = world.body.len() - 64;
            world.body[field..].fill(0);
            world.body[field..field + 48].copy_from_slice(bound.as_ref());
            world.make()
        };
        let made = bound_to(&nonce, &key);
        let attest = async |made: &Made| {
            let body = json!({
                "init-data": null,
                "runtime-data": { "nonce": nonce, "tee-pubkey": key },
                "tee-evidence": {
                    "primary_evidence": { "quote": STANDARD.encode(&made.quote) }, "additional_evidence": ""
                },
            });
            ask(&router, "POST", "/kbs/v0/attest", &[("cookie", &cookie)], &body.to_string()).await
        };
        // Nothing vouches for the platform yet.
        let (status, refused) = attest(&made).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let detail = refused["detail"].as_str().unwrap();
        let missing = format!("glovebox endorsements fetch {tee}/tcb/{}", hex::encode(FMSPC));
        assert!(detail.contains(&missing), "{detail}");
        fill(shelf.path(), &made, &anchors);
        // Of another nonce, and for another key.
        for other in [bound_to("another", &key), bound_to(&nonce, &client_key())] {
            let (status, refused) = attest(&other).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            assert_eq!(refused["detail"], "the report data are not bound to this nonce and key");
        }
        let (status, answer) = attest(&made).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let token = answer["token"].as_str().unwrap();
        assert!(token.len() < 16 << 10, "{} bytes", token.len());
        let payload = envelope::text::decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        let found = &claims["submods"]["cpu0"]["ear.veraison.annotated-evidence"]["glovebox"];
        assert_eq!((&found["tee"], &found["assurance"]), (&json!(tee), &json!("affirmed")), "{claims}");
        assert_eq!(attest(&made).await.0, StatusCode::UNAUTHORIZED, "a nonce is redeemed once");
    }
}
