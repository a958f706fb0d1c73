//! K1: a broker that is killed at any moment has lost nothing that it acknowledged.
//!
//! The test runs itself as a child with 16 writing threads, which report each acknowledged write on stderr, and kills it
//! (SIGKILL) at random moments: most while it writes, some while it still opens the store that the kill before left. Then it opens
//! the store, which checks all of it, and looks for every write that was ever reported. Two stores are treated so side by side,
//! each for its whole life. The number of kills is 20, or what GLOVEBOX_KILLS says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::store::{Store, StoreError, StoreKey, Table, Tx};
use ed25519_dalek::SigningKey;
use tlog::{Included, LogSigner, SignedCheckpoint, WitnessPolicy};

const RUNS: Table = Table::new("runs");
const COUNTERS: Table = Table::new("counters");
const CHILD: &str = "GLOVEBOX_STORE_CHILD";
const THREADS: u32 = 16;
/// Stores that are treated side by side.
const LANES: u32 = 2;

#[test]
fn k1_sigkill_at_random_points_loses_no_acknowledged_write() {
    let kills: u32 = std::env::var("GLOVEBOX_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let began = Instant::now();
    let seed = u64::from(std::process::id());
    let lives: Vec<usize> = std::thread::scope(|scope| {
        let lanes = (0..LANES).map(|lane| {
            let share = (kills + lane) / LANES;
            scope.spawn(move || killed_again_and_again(share, seed.wrapping_add(u64::from(lane) << 32)))
        });
        let lanes: Vec<_> = lanes.collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let acknowledged: usize = lives.iter().sum();
    assert!(lives.iter().all(|acknowledged| *acknowledged > 0));
    println!("{kills} kills, {acknowledged} acknowledged writes, none lost, in {:.0} s", began.elapsed().as_secs_f64());
}

#[test]
fn k5_l2_a_second_process_on_the_same_store_and_log_key_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    drop(Store::create(&path, &key(), signer()).unwrap());
    let (mut child, _lines, _) = started(&path);
    let refused = Store::open(&path, &key(), signer()).unwrap_err();
    assert_eq!(refused, StoreError::InUse(path.clone()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Store::open(&path, &key(), signer()).is_ok());
}

/// The life of one store; gives how many writes it acknowledged.
fn killed_again_and_again(kills: u32, mut seed: u64) -> usize {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    drop(Store::create(&path, &key(), signer()).unwrap());
    let mut acknowledged = BTreeMap::new();
    for _ in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let early = (seed >> 60) < 4;
        kill_after(&path, early, Duration::from_micros((seed >> 33) % 60_000), &mut acknowledged);
        check(&path, &acknowledged);
    }
    acknowledged.len()
}

/// The store opens, and has every write that was acknowledged, whole and in the log.
fn check(path: &Path, acknowledged: &BTreeMap<String, u64>) {
    let store = Store::open(path, &key(), signer()).unwrap();
    let checkpoint = store.checkpoint().unwrap();
    let size = SignedCheckpoint::verify(&checkpoint, signer().key(), &WitnessPolicy::none()).unwrap().size();
    assert!(acknowledged.len() as u64 <= size);
    let mut per_thread = BTreeMap::<u32, u64>::new();
    for (name, index) in acknowledged {
        let stored = store.get(RUNS, name.as_bytes()).unwrap().unwrap_or_else(|| panic!("`{name}` was lost"));
        assert_eq!(stored.record, record(name));
        let (thread, _) = name.split_once('-').unwrap();
        *per_thread.entry(thread.parse().unwrap()).or_default() += 1;
        assert_eq!(store.logged(*index).unwrap(), ("run".to_owned(), record(name)), "`{name}`");
    }
    for (name, index) in acknowledged.iter().rev().take(50) {
        let proof = store.prove(*index).unwrap();
        assert_eq!(proof.opening.record, envelope::Digest::of(&record(name)));
        let head = SignedCheckpoint::verify(&proof.checkpoint, signer().key(), &WitnessPolicy::none()).unwrap();
        Included::check(proof.opening, &proof.inclusion, &head).unwrap();
    }
    // Each thread counts its writes in a record of its own, in the same change: no write is there by halves.
    for (thread, count) in per_thread {
        let counter = store.get(COUNTERS, &thread.to_be_bytes()).unwrap().unwrap();
        let counted = u64::from_be_bytes(counter.record.try_into().unwrap());
        let stored = store.scan(RUNS, format!("{thread:02}-").as_bytes(), usize::MAX).unwrap().len() as u64;
        assert_eq!(counted, stored);
        assert!(counted >= count);
    }
}

/// Not a test by itself: what the child does until it is killed.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Arc::new(Store::open(&PathBuf::from(path), &key(), signer()).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = Arc::clone(&store);
            scope.spawn(move || write_for_ever(&store, thread));
        }
    });
}

fn write_for_ever(store: &Store, thread: u32) {
    loop {
        let change = move |tx: &mut Tx<'_, '_>| {
            let counter = tx.get(COUNTERS, &thread.to_be_bytes())?;
            let count = counter.map_or(0, |counter| u64::from_be_bytes(counter.record.try_into().unwrap()));
            let name = format!("{thread:02}-{count:08}");
            tx.put(COUNTERS, &thread.to_be_bytes(), &(count + 1).to_be_bytes())?;
            tx.put(RUNS, name.as_bytes(), &record(&name))?;
            let index = tx.append("run", &record(&name))?;
            Ok::<_, StoreError>((name, index))
        };
        let (name, index) = store.commit_blocking(change).unwrap();
        // One write of a short line is atomic on a pipe.
        std::io::stderr().write_all(format!("acknowledged {name} {index}\n").as_bytes()).unwrap();
    }
}

/// Starts a child and waits for its first acknowledged write, which is the last of the three.
fn started(path: &Path) -> (Child, BufReader<ChildStderr>, String) {
    let (child, mut lines) = spawned(path);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.starts_with("acknowledged "), "the child failed: {first}");
    (child, lines, first)
}

fn spawned(path: &Path) -> (Child, BufReader<ChildStderr>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap());
    (child, lines)
}

/// Kills a child so long after its first acknowledged write, or, where it is to be early, after its start.
fn kill_after(path: &Path, early: bool, delay: Duration, acknowledged: &mut BTreeMap<String, u64>) {
    let mut read = Vec::new();
    let (mut child, mut lines) = if early {
        spawned(path)
    } else {
        let (child, lines, first) = started(path);
        read.push(first);
        (child, lines)
    };
    let reader = std::thread::spawn(move || {
        // A line that the kill cut off has no newline and counts as not reported.
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            read.push(std::mem::take(&mut line));
        }
        read
    });
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in reader.join().unwrap() {
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("acknowledged"), "the child failed: {line}");
        let name = words.next().unwrap().to_owned();
        let index = words.next().unwrap().parse().unwrap();
        assert_eq!(acknowledged.insert(name, index), None);
    }
}

fn record(name: &str) -> Vec<u8> {
    format!("record of {name}").repeat(name.len()).into_bytes()
}

fn key() -> StoreKey {
    StoreKey::from_bytes([1; 32])
}

fn signer() -> LogSigner {
    LogSigner::new("log.example", SigningKey::from_bytes(&[5; 32])).unwrap()
}
