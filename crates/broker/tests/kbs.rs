//! The KBS listener in one process: what a flood leaves, and what strangers are told. The whole exchange with a real client is the
//! command's own test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use broker::limits::Rate;
use http_body_util::BodyExt as _;
use room::Room;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wire::channel::Peer;

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

/// Resident pages of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_a_flood_of_auth_leaves_the_memory_as_it_was() {
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
