//! The cache against a local service that plays the makers', with real signed objects.
//!
//! Without the vectors (`GLOVEBOX_VECTORS`) the tests that need them say so and pass, except where `CI=true`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod service;

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use endorsements::{
    Anchors, Cache, CacheError, CheckError, Client, ClientError, ObjectId, Reader, Received, Sources, Store,
    StoreError, TlsIdentity, TlsRoots, bundle, serve,
};
use jiff::Timestamp;
use service::{Answer, Service, encoded, vector};
use url::Url;

const TDX_21: &str = "tdx/attested-tls-dcap-tdx-1766059550570652607-eval21-202606";
const TDX_19: &str = "tdx/attested-tls-gcp-tdx-1782809233226668671";
const DSTACK: &str = "tdx/dstack-attestation";
/// When both 19 and 21 count.
const BOTH: &str = "2026-07-05T00:00:00Z";
const DSTACK_AT: &str = "2026-03-11T03:08:59Z";
const TCB: &str = "tdx/tcb/00806f050000";
const TCB_TARGET: &str = "/tdx/certification/v4/tcb?fmspc=00806f050000";

const STRANGER: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn id(text: &str) -> ObjectId {
    text.parse().unwrap()
}

fn store(directory: &Path) -> Store {
    Store::open(directory, Anchors::shipped()).unwrap()
}

/// An object as a service would send it, from a case of the vectors.
fn received(case: &str, file: &str, chain: Option<&str>) -> Option<Received> {
    let body = vector(&format!("{case}/{file}"))?;
    let chain = match chain {
        None => None,
        Some(chain) => Some(encoded(&vector(&format!("{case}/{chain}"))?)),
    };
    Some(Received { body, chain, fetched: at(BOTH) })
}

fn tcb(case: &str) -> Option<Received> {
    received(case, "tcb_info.json", Some("tcb_signing_chain.pem"))
}

fn answer(received: &Received, header: &str) -> Answer {
    let mut answer = Answer::ok(received.body.clone());
    answer.headers.extend(received.chain.clone().map(|chain| (header.to_owned(), chain)));
    answer
}

fn cache(directory: &Path, service: &Url, now: &str, patience: u64) -> Cache {
    let patience = Duration::from_secs(patience);
    let client = Client::new(Sources::all_at(service), TlsRoots::default(), patience).unwrap();
    let now = at(now);
    Cache::new(store(directory), Some(client), Arc::new(move || now))
}

#[test]
fn an_object_that_was_issued_before_the_kept_one_does_not_replace_it() {
    // The later recovery's document was issued first; once the other is kept, time decides, and the number still counts.
    let (Some(higher), Some(later)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let directory = tempfile::tempdir().unwrap();
    let kept = store(directory.path());
    kept.put(&id(TCB), &later, at(BOTH)).unwrap();
    kept.put(&id(TCB), &higher, at(BOTH)).unwrap();
    assert_eq!(kept.floor(&id(TCB)).unwrap(), 21);
    assert!(matches!(kept.put(&id(TCB), &later, at(BOTH)), Err(StoreError::Older { found: 19, floor: 21, .. })));
}

#[test]
fn t5_the_highest_number_outlives_the_object_and_the_process() {
    let (Some(newer), Some(older)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let directory = tempfile::tempdir().unwrap();
    store(directory.path()).put(&id(TCB), &newer, at(BOTH)).unwrap();
    let refused = |kept: &Store| match kept.put(&id(TCB), &older, at(BOTH)) {
        Err(StoreError::Older { found, floor, .. }) => assert_eq!((found, floor), (19, 21)),
        other => panic!("{other:?}"),
    };
    refused(&store(directory.path()));
    std::fs::remove_file(directory.path().join("objects/tdx~tcb~00806f050000.json")).unwrap();
    refused(&store(directory.path()));
    // The early schedule is never behind the standard one.
    let early = id("tdx/tcb/00806f050000/early");
    assert!(matches!(store(directory.path()).put(&early, &older, at(BOTH)), Err(StoreError::Older { .. })));
    // Numbers that cannot be read are not taken for none.
    std::fs::write(directory.path().join("floors.json"), b"{").unwrap();
    assert!(matches!(Store::open(directory.path(), Anchors::shipped()), Err(StoreError::Damaged(_))));
}

#[test]
fn t5_an_early_number_binds_only_where_the_early_schedule_is_asked_for() {
    // Nothing in a document tells its schedule, so the one with the higher number stands in for the early one.
    let (Some(newer), Some(older)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let directory = tempfile::tempdir().unwrap();
    let early = id("tdx/tcb/00806f050000/early");
    let kept = store(directory.path());
    kept.put(&id(TCB), &older, at(BOTH)).unwrap();
    kept.put(&early, &newer, at(BOTH)).unwrap();
    for kept in [kept, store(directory.path())] {
        assert_eq!(kept.get(&id(TCB), at(BOTH)).unwrap().1.evaluation, Some(19));
        kept.put(&id(TCB), &older, at(BOTH)).unwrap();
        assert!(matches!(kept.put(&early, &older, at(BOTH)), Err(StoreError::Older { found: 19, floor: 21, .. })));
    }
}

#[test]
fn t5_processes_that_share_a_directory_do_not_take_numbers_back() {
    let (Some(newer), Some(older)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let directory = tempfile::tempdir().unwrap();
    // Two stores stand for two processes: each has read the numbers at its start.
    let (one, other) = (store(directory.path()), store(directory.path()));
    one.put(&id(TCB), &newer, at(BOTH)).unwrap();
    assert_eq!(other.floor(&id(TCB)).unwrap(), 21);
    assert!(matches!(other.put(&id(TCB), &older, at(BOTH)), Err(StoreError::Older { found: 19, floor: 21, .. })));
    other.put(&id("tdx/tcb/00806f050000/early"), &newer, at(BOTH)).unwrap();
    std::fs::remove_dir_all(directory.path().join("objects")).unwrap();
    let numbers = serde_json::to_value(store(directory.path()).floors().unwrap()).unwrap();
    assert_eq!(numbers, serde_json::json!({ "tdx/tcb/00806f050000": 21, "tdx/tcb/00806f050000/early": 21 }));
    // What a process that has the lock is writing is not removed by one that starts; what nobody is writing is.
    let lock = std::fs::File::open(directory.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let aside = directory.path().join("objects/.aside-x");
    std::fs::write(&aside, b"half").unwrap();
    store(directory.path());
    assert!(aside.exists());
    drop(lock);
    store(directory.path());
    assert!(!aside.exists());
}

#[test]
fn t5_after_an_end_between_the_two_writes_the_kept_objects_number_counts() {
    let (Some(newer), Some(older)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let directory = tempfile::tempdir().unwrap();
    store(directory.path()).put(&id(TCB), &newer, at(BOTH)).unwrap();
    for numbers in [r#"{"tdx/tcb/00806f050000":19}"#, "{}"] {
        std::fs::write(directory.path().join("floors.json"), numbers).unwrap();
        let kept = store(directory.path());
        assert!(matches!(kept.put(&id(TCB), &older, at(BOTH)), Err(StoreError::Older { found: 19, floor: 21, .. })));
        // An object that has expired meanwhile was seen all the same.
        assert_eq!(kept.floor(&id(TCB)).unwrap(), 21);
    }
}

#[test]
fn t5_a_list_is_not_replaced_by_an_older_one_as_of_an_earlier_time() {
    let Some(older) = received("tdx/dstack-quote", "root_ca_crl.der", None) else { return };
    let newer = received("tdx/openenclave-tdx-quote-v5", "root_ca_crl.der", None).unwrap();
    let root = id("sgx/crl/root");
    // Before the newer list was issued, and while both count.
    let (before, both) = (at("2025-09-01T00:00:00Z"), at("2026-03-11T00:00:00Z"));
    let directory = tempfile::tempdir().unwrap();
    let kept = store(directory.path());
    kept.put(&root, &older, before).unwrap();
    kept.put(&root, &newer, both).unwrap();
    let other = tempfile::tempdir().unwrap();
    let behind = store(other.path());
    behind.put(&root, &older, before).unwrap();
    let file = bundle::export(&behind).unwrap();
    for now in [before, both] {
        assert!(matches!(kept.put(&root, &older, now), Err(StoreError::Superseded { .. })), "{now}");
        let imported = bundle::import(&kept, &file, now).unwrap();
        assert!(matches!(imported[0].1, Err(StoreError::Superseded { .. })), "{now}");
    }
    assert_eq!(kept.get(&root, both).unwrap().0.body, newer.body);
    // The same once more is no step back.
    kept.put(&root, &newer, both).unwrap();
}

#[test]
fn t5_what_is_expired_is_neither_taken_nor_given_and_says_since_when() {
    let Some(object) = tcb(TDX_21) else { return };
    let crl = received(DSTACK, "pck_crl.der", Some("pck_crl_issuer_chain.pem")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kept = store(directory.path());
    let since = |outcome: Result<_, StoreError>| match outcome.map(drop) {
        Err(StoreError::Refused { source: CheckError::Expired { since }, .. }) => since.to_string(),
        other => panic!("{other:?}"),
    };
    kept.put(&id(TCB), &object, at(BOTH)).unwrap();
    assert!(kept.get(&id(TCB), at("2026-07-12T22:19:21Z")).is_ok());
    assert_eq!(since(kept.get(&id(TCB), at("2026-07-12T22:19:22Z")).map(drop)), "2026-07-12T22:19:21Z");
    assert_eq!(since(kept.put(&id(TCB), &object, at("2026-08-01T00:00:00Z")).map(drop)), "2026-07-12T22:19:21Z");
    assert_eq!(since(kept.put(&id("sgx/crl/platform"), &crl, at(BOTH)).map(drop)), "2026-03-20T10:41:15Z");
    kept.put(&id("sgx/crl/platform"), &crl, at(DSTACK_AT)).unwrap();
}

#[test]
fn what_does_not_hold_is_not_kept() {
    let Some(object) = tcb(TDX_21) else { return };
    let directory = tempfile::tempdir().unwrap();
    let kept = store(directory.path());
    let refusal = |name: &str, object: &Received| match kept.put(&id(name), object, at(BOTH)) {
        Err(StoreError::Refused { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal("tdx/tcb/00906ed50000", &object), CheckError::OtherObject("FMSPC"));
    assert_eq!(refusal("sgx/tcb/00806f050000", &object), CheckError::OtherObject("platform"));
    assert_eq!(refusal("tdx/qe", &object), CheckError::Malformed);
    assert_eq!(refusal(TCB, &Received { chain: None, ..object.clone() }), CheckError::ChainMissing);
    let mut flipped = object.clone();
    let digit = flipped.body.iter().position(|byte| *byte == b'3').unwrap();
    flipped.body[digit] = b'4';
    assert_eq!(refusal(TCB, &flipped), CheckError::Signature);
    let pck = vector(&format!("{DSTACK}/pck_crl_issuer_chain.pem")).unwrap();
    let other = Received { chain: Some(encoded(&pck)), ..object.clone() };
    assert_eq!(refusal(TCB, &other), CheckError::Signer("Intel SGX PCK Platform CA".to_owned()));
    let size = 600 << 10;
    assert_eq!(
        refusal(TCB, &Received { body: vec![b' '; size], ..object }),
        CheckError::TooLarge { size, limit: 512 << 10 }
    );
    assert_eq!(kept.list().unwrap(), []);
    assert!(kept.floors().unwrap().is_empty());
}

#[test]
fn what_lies_in_the_directory_is_checked_as_if_it_had_just_come() {
    let Some(object) = tcb(TDX_21) else { return };
    let directory = tempfile::tempdir().unwrap();
    let kept = store(directory.path());
    kept.put(&id(TCB), &object, at(BOTH)).unwrap();
    let file = directory.path().join("objects/tdx~tcb~00806f050000.json");
    std::fs::copy(&file, directory.path().join("objects/tdx~tcb~00906ed50000.json")).unwrap();
    assert!(matches!(kept.get(&id("tdx/tcb/00906ed50000"), at(BOTH)), Err(StoreError::Damaged(_))));
    std::fs::write(&file, b"{").unwrap();
    assert!(matches!(kept.get(&id(TCB), at(BOTH)), Err(StoreError::Damaged(_))));
}

#[test]
fn a_chips_certificate_is_of_that_chip_at_that_version_under_its_issuers() {
    let case = "snp/trustee-turin-report";
    let (Some(vcek), Some(chain)) = (received(case, "vcek.der", None), received(case, "cert_chain.pem", None)) else {
        return;
    };
    let now = at("2026-07-28T08:56:51Z");
    let directory = tempfile::tempdir().unwrap();
    let kept = store(directory.path());
    let name = "amd/vcek/Turin/0910b4f884ff4ba9/1-3-2-5-97";
    let refusal = |name: &str| match kept.put(&id(name), &vcek, now) {
        Err(StoreError::Refused { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(name), CheckError::IssuersMissing(id("amd/chain/Turin")));
    assert!(matches!(
        kept.put(&id("amd/chain/Genoa"), &chain, now),
        Err(StoreError::Refused { source: CheckError::Chain(_), .. })
    ));
    kept.put(&id("amd/chain/Turin"), &chain, now).unwrap();
    assert_eq!(refusal("amd/vcek/Turin/0010b4f884ff4ba9/1-3-2-5-97"), CheckError::OtherObject("chip"));
    assert_eq!(refusal("amd/vcek/Turin/0910b4f884ff4ba9/1-3-2-5-98"), CheckError::OtherObject("security version"));
    kept.put(&id(name), &vcek, now).unwrap();
    // The file for a machine without a network fills another store, issuers first.
    let file = bundle::export(&kept).unwrap();
    let other = tempfile::tempdir().unwrap();
    let filled = store(other.path());
    let imported = bundle::import(&filled, &file, now).unwrap();
    assert!(imported.iter().all(|(_, outcome)| outcome.is_ok()), "{imported:?}");
    assert_eq!(filled.list().unwrap(), kept.list().unwrap());
    assert_eq!(filled.get(&id(name), now).unwrap().0, vcek);
}

#[test]
fn a_damaged_or_late_file_fills_nothing_with_what_does_not_hold() {
    let Some(object) = tcb(TDX_21) else { return };
    let directory = tempfile::tempdir().unwrap();
    let kept = store(directory.path());
    kept.put(&id(TCB), &object, at(BOTH)).unwrap();
    let file = bundle::export(&kept).unwrap();
    let other = tempfile::tempdir().unwrap();
    let filled = store(other.path());
    let text = String::from_utf8(file.clone()).unwrap();
    let damaged = text.replacen("tdx/tcb/00806f050000", "tdx/tcb/00806f050001", 1);
    assert!(matches!(bundle::import(&filled, damaged.as_bytes(), at(BOTH)), Err(bundle::BundleError::Damaged)));
    assert!(matches!(bundle::import(&filled, b"{}", at(BOTH)), Err(bundle::BundleError::Malformed)));
    assert!(matches!(bundle::import(&filled, &file[..file.len() / 2], at(BOTH)), Err(bundle::BundleError::Malformed)));
    let late = bundle::import(&filled, &file, at("2026-08-01T00:00:00Z")).unwrap();
    assert!(matches!(late[0].1, Err(StoreError::Refused { source: CheckError::Expired { .. }, .. })));
    assert_eq!(filled.list().unwrap(), []);
}

#[test]
fn t5_a_reader_gives_what_is_kept_as_of_now_and_changes_nothing() {
    let (Some(newer), Some(older)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let directory = tempfile::tempdir().unwrap();
    let reader = Reader::new(directory.path().join("later"), Anchors::shipped());
    assert!(matches!(reader.get(&id(TCB), at(BOTH)), Err(StoreError::Absent(_))));
    assert!(!directory.path().join("later").exists());
    let kept = store(&directory.path().join("later"));
    kept.put(&id(TCB), &older, at(BOTH)).unwrap();
    assert_eq!(reader.get(&id(TCB), at(BOTH)).unwrap(), older);
    kept.put(&id(TCB), &newer, at(BOTH)).unwrap();
    assert_eq!(reader.get(&id(TCB), at(BOTH)).unwrap(), newer);
    let late = reader.get(&id(TCB), at("2026-08-01T00:00:00Z"));
    assert!(matches!(late, Err(StoreError::Refused { source: CheckError::Expired { .. }, .. })));
    // Put there by another hand, the older one is not given.
    let file = directory.path().join("later/objects").join(TCB.replace('/', "~") + ".json");
    let written = serde_json::json!({ "object": TCB, "received": older });
    std::fs::write(&file, written.to_string()).unwrap();
    assert!(matches!(reader.get(&id(TCB), at(BOTH)), Err(StoreError::Older { found: 19, floor: 21, .. })));
    std::fs::write(&file, "{}").unwrap();
    assert!(matches!(reader.get(&id(TCB), at(BOTH)), Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn an_object_is_fetched_once_kept_as_received_and_then_served_without_the_service() {
    let Some(object) = tcb(TDX_21) else { return };
    let service = Service::start(Duration::ZERO).await;
    service.has(TCB_TARGET, vec![answer(&object, "TCB-Info-Issuer-Chain")]);
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), &service.address, BOTH, 2);
    let first = cache.get(&id(TCB)).await.unwrap();
    assert_eq!((&first.body, &first.chain), (&object.body, &object.chain));
    cache.get(&id(TCB)).await.unwrap();
    assert_eq!(service.count(TCB_TARGET), 1);
    let offline = Cache::new(store(directory.path()), None, Arc::new(|| at(BOTH)));
    assert_eq!(offline.get(&id(TCB)).await.unwrap().body, object.body);
    let absent = offline.get(&id("tdx/qe")).await.unwrap_err();
    assert!(matches!(&*absent, CacheError::Store(StoreError::Absent(_))));
}

#[tokio::test]
async fn t5_a_service_that_goes_back_does_not_replace_what_is_kept() {
    let (Some(newer), Some(older)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let service = Service::start(Duration::ZERO).await;
    let header = "TCB-Info-Issuer-Chain";
    service.has(TCB_TARGET, vec![answer(&newer, header), answer(&older, header)]);
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), &service.address, BOTH, 2);
    cache.fetch(&id(TCB)).await.unwrap();
    let refused = cache.fetch(&id(TCB)).await.unwrap_err();
    assert!(matches!(&*refused, CacheError::Store(StoreError::Older { found: 19, floor: 21, .. })));
    assert_eq!(cache.get(&id(TCB)).await.unwrap().body, newer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_for_one_object_makes_one_fetch() {
    let Some(object) = tcb(TDX_21) else { return };
    let service = Service::start(Duration::from_millis(300)).await;
    service.has(TCB_TARGET, vec![answer(&object, "TCB-Info-Issuer-Chain")]);
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(cache(directory.path(), &service.address, BOTH, 5));
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get(&id(TCB)).await.map(|received| received.body.len()) })
        })
        .collect();
    for one in asked {
        assert_eq!(one.await.unwrap().unwrap(), object.body.len());
    }
    assert_eq!(service.count(TCB_TARGET), 1);
}

/// An object of Intel's that no vector has, by number.
fn other(number: u16) -> ObjectId {
    id(&format!("tdx/tcb/{number:012x}"))
}

#[tokio::test]
async fn h2_who_hangs_up_leaves_nothing_behind_and_the_fetch_ends_all_the_same() {
    let Some(object) = tcb(TDX_21) else { return };
    let service = Service::start(Duration::from_millis(200)).await;
    service.has(TCB_TARGET, vec![answer(&object, "TCB-Info-Issuer-Chain")]);
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), &service.address, BOTH, 5);
    let hang_up = Duration::from_millis(20);
    // More than may be under way at a time: what these leave behind would keep the last one out.
    for round in 0..3 {
        for number in 0..4 {
            assert!(tokio::time::timeout(hang_up, cache.get_for(&other(4 * round + number), STRANGER)).await.is_err());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(tokio::time::timeout(hang_up, cache.get_for(&id(TCB), STRANGER)).await.is_err());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(cache.store().get(&id(TCB), at(BOTH)).unwrap().0.body, object.body);
    assert_eq!(service.count(TCB_TARGET), 1);
}

#[tokio::test]
async fn h2_strangers_cause_few_fetches_at_a_time() {
    let service = Service::start(Duration::from_millis(300)).await;
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(cache(directory.path(), &service.address, BOTH, 5));
    let asked: Vec<_> = (0..20)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get_for(&other(number), STRANGER).await.map(drop) })
        })
        .collect();
    let mut busy = 0;
    for one in asked {
        match &*one.await.unwrap().unwrap_err() {
            CacheError::Busy(_) => busy += 1,
            CacheError::Client { source: ClientError::NotThere { .. }, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(busy, 16);
}

#[tokio::test]
async fn h2_a_stranger_causes_few_fetches_over_time_and_none_for_what_has_just_failed() {
    let service = Service::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), &service.address, BOTH, 5);
    let target = |number: u16| format!("/tdx/certification/v4/tcb?fmspc={number:012x}");
    for _ in 0..50 {
        let absent = cache.get_for(&other(0), STRANGER).await.unwrap_err();
        assert!(matches!(&*absent, CacheError::Client { source: ClientError::NotThere { .. }, .. }));
    }
    assert_eq!(service.count(&target(0)), 1);
    let mut fetched = 1;
    for number in 1..50 {
        let _ = cache.get_for(&other(number), STRANGER).await.unwrap_err();
        fetched += service.count(&target(number));
    }
    assert_eq!(fetched, 20);
    let refused = cache.get_for(&other(49), STRANGER).await.unwrap_err();
    assert!(matches!(&*refused, CacheError::Busy(_)));
    // Another's are another's, and the operator's have no bound.
    let _ = cache.get_for(&other(49), "192.0.2.2".parse().unwrap()).await.unwrap_err();
    assert_eq!(service.count(&target(49)), 1);
    let _ = cache.get(&other(48)).await.unwrap_err();
    assert_eq!(service.count(&target(48)), 1);
}

#[tokio::test]
async fn a_service_that_asks_for_patience_gets_it() {
    let Some(object) = tcb(TDX_21) else { return };
    let service = Service::start(Duration::ZERO).await;
    let busy = |seconds| Answer::status(429, &[("Retry-After", seconds)]);
    service.has(TCB_TARGET, vec![busy("1"), answer(&object, "TCB-Info-Issuer-Chain")]);
    let directory = tempfile::tempdir().unwrap();
    let patient = cache(directory.path(), &service.address, BOTH, 10);
    let began = std::time::Instant::now();
    patient.fetch(&id(TCB)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(service.count(TCB_TARGET), 2);
    // Longer than anyone here waits: said at once, and not asked again.
    let qe = "/tdx/certification/v4/qe/identity";
    service.has(qe, vec![busy("3600")]);
    for _ in 0..3 {
        let refused = patient.fetch(&id("tdx/qe")).await.unwrap_err();
        match &*refused {
            CacheError::Client { source: ClientError::RateLimited { seconds, .. }, .. } => assert!(*seconds > 3_500),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(service.count(qe), 1);
}

#[tokio::test]
async fn other_answers_have_names() {
    let service = Service::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), &service.address, BOTH, 2);
    let source = |error: Arc<CacheError>| match &*error {
        CacheError::Client { source, .. } => source.clone(),
        other => panic!("{other:?}"),
    };
    let host = service.address.as_str().trim_start_matches("http://").trim_end_matches('/').to_owned();
    assert_eq!(
        source(cache.fetch(&id(TCB)).await.unwrap_err()),
        ClientError::NotThere { host: host.clone(), object: id(TCB) }
    );
    service.has(TCB_TARGET, vec![Answer::status(500, &[])]);
    assert_eq!(
        source(cache.fetch(&id(TCB)).await.unwrap_err()),
        ClientError::Status { host: host.clone(), status: 500 }
    );
    service.has(TCB_TARGET, vec![Answer::ok(vec![b' '; 3 << 20])]);
    assert!(matches!(source(cache.fetch(&id(TCB)).await.unwrap_err()), ClientError::Broken { .. }));
    let secure = Url::parse("https://127.0.0.1:9").unwrap();
    let client = Client::new(Sources::all_at(&secure), TlsRoots::default(), Duration::from_secs(1)).unwrap();
    assert!(matches!(
        client.fetch(&id(TCB), at(BOTH)).await,
        Err(ClientError::Unreachable { .. } | ClientError::NoTlsRoots(_))
    ));
}

#[tokio::test]
async fn row_11a_others_are_served_over_tls_with_a_generated_key_in_the_makers_layouts() {
    let Some(object) = received(DSTACK, "tcb_info.json", Some("tcb_signing_chain.pem")) else { return };
    let crl = received(DSTACK, "pck_crl.der", Some("pck_crl_issuer_chain.pem")).unwrap();
    let root = received(DSTACK, "root_ca_crl.der", None).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kept = store(directory.path());
    let name = id("tdx/tcb/b0c06f000000");
    kept.put(&name, &object, at(DSTACK_AT)).unwrap();
    kept.put(&id("sgx/crl/platform"), &crl, at(DSTACK_AT)).unwrap();
    kept.put(&id("sgx/crl/root"), &root, at(DSTACK_AT)).unwrap();
    let now = Arc::new(Mutex::new(at(DSTACK_AT)));
    let clock = now.clone();
    let served = Arc::new(Cache::new(kept, None, Arc::new(move || *clock.lock().unwrap())));
    let tls = TlsIdentity::generated(directory.path(), &[]).unwrap();
    // It stays the same at the next start, and only its owner reads the key.
    assert_eq!(TlsIdentity::generated(directory.path(), &[]).unwrap().fingerprint(), tls.fingerprint());
    let mode = std::fs::metadata(directory.path().join("tls-key.pem")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { serve(listener, served, &tls, std::future::pending()).await });

    let roots = TlsRoots::from_file(&directory.path().join("tls-certificate.pem")).unwrap();
    let client = |roots| Client::new(Sources::all_at(&address), roots, Duration::from_secs(5)).unwrap();
    let other = tempfile::tempdir().unwrap();
    let second = Cache::new(store(other.path()), Some(client(roots.clone())), Arc::new(|| at(DSTACK_AT)));
    for (name, object) in [(&name, &object), (&id("sgx/crl/platform"), &crl), (&id("sgx/crl/root"), &root)] {
        let got = second.get(name).await.unwrap();
        assert_eq!((&got.body, &got.chain), (&object.body, &object.chain), "{name}");
    }
    // Without its certificate the server is nobody.
    let stranger = client(TlsRoots::default()).fetch(&name, at(DSTACK_AT)).await.unwrap_err();
    assert!(matches!(stranger, ClientError::NoTlsRoots(_)));
    // Row 11: when it has expired it is not served any more.
    *now.lock().unwrap() = at("2026-04-01T00:00:00Z");
    let late = client(roots).fetch(&name, at(DSTACK_AT)).await.unwrap_err();
    assert!(matches!(late, ClientError::Status { status: 502, .. }), "{late:?}");
}

#[test]
fn t5_an_end_in_the_middle_of_a_write_leaves_the_old_or_the_new() {
    let (Some(newer), Some(older)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let directory = tempfile::tempdir().unwrap();
    for round in 0..12 {
        let _ = std::fs::remove_dir_all(directory.path());
        std::fs::create_dir_all(directory.path()).unwrap();
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_ended", "--ignored"])
            .env("ENDORSEMENTS_WRITER", directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + 23 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let kept = store(directory.path());
        match kept.get(&id(TCB), at(BOTH)) {
            Ok((found, _)) => assert!(found.body == newer.body || found.body == older.body),
            // It had not written anything yet.
            Err(StoreError::Absent(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        let names = std::fs::read_dir(directory.path().join("objects")).unwrap().flatten();
        assert!(names.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with('.')));
    }
}

/// The process that the test above ends: it writes one object over and over.
#[test]
#[ignore = "started by another test"]
fn writes_until_it_is_ended() {
    let Some(directory) = std::env::var_os("ENDORSEMENTS_WRITER") else { return };
    let (Some(mut newer), Some(mut older)) = (tcb(TDX_21), tcb(TDX_19)) else { return };
    let kept = store(Path::new(&directory));
    newer.fetched = at(BOTH);
    for second in 0.. {
        older.fetched = Timestamp::from_second(second).unwrap();
        let _ = kept.put(&id(TCB), &older, at(BOTH));
        let _ = kept.put(&id(TCB), &newer, at(BOTH));
    }
}
