//! The broker's store under hostile disks, concurrent callers and failing storage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Instant;

use broker::store::{Store, StoreError, StoreKey, Table, Tx};
use ed25519_dalek::SigningKey;
use redb::{Builder, ReadableTable, StorageBackend, TableDefinition};
use tlog::{
    Head, Included, LogSigner, SignedCheckpoint, Tile, TlogError, VerifiedCheckpoint, WitnessPolicy, decode_bundle,
};

const BUDGETS: Table = Table::new("budgets");
const RUNS: Table = Table::new("runs");

#[test]
fn a_change_is_durable_and_provable_when_it_is_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let store = Store::create(&path, &key(), signer()).unwrap();
    let index = write(&store, b"run 1", b"record 1");
    assert_eq!(store.get(RUNS, b"run 1").unwrap().unwrap().record, b"record 1");
    assert_included(&store, index, b"record 1");
    drop(store);
    let store = Store::open(&path, &key(), signer()).unwrap();
    assert_eq!(store.get(RUNS, b"run 1").unwrap().unwrap().record, b"record 1");
    assert_included(&store, index, b"record 1");
    assert_eq!(store.logged(index).unwrap(), ("run".to_owned(), b"record 1".to_vec()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_refused_change_leaves_nothing_behind() {
    let store = memory();
    let refused: Result<(), StoreError> = store.commit_blocking(|tx| {
        tx.put(RUNS, b"a", b"1")?;
        tx.append("run", b"1")?;
        Err(StoreError::NonceUsed)
    });
    assert_eq!(refused, Err(StoreError::NonceUsed));
    assert_eq!(store.get(RUNS, b"a").unwrap(), None);
    assert_eq!(head(&store).size(), 0);
    let panicked: Result<(), StoreError> = store.commit_blocking(|tx| {
        tx.put(RUNS, b"a", b"1")?;
        panic!("a bug in a change");
    });
    assert_eq!(panicked, Err(StoreError::Abandoned));
    assert_eq!(store.get(RUNS, b"a").unwrap(), None);
    write(&store, b"a", b"2");
    assert_eq!(head(&store).size(), 1);
}

#[test]
fn a_change_sees_itself_and_those_before_it() {
    let store = memory();
    for name in ["b", "d", "f"] {
        write(&store, name.as_bytes(), b"old");
    }
    let names: Vec<Vec<u8>> = store
        .commit_blocking(|tx| {
            tx.put(RUNS, b"a", b"new")?;
            tx.put(RUNS, b"d", b"new")?;
            tx.remove(RUNS, b"f");
            tx.put(RUNS, b"g", b"new")?;
            tx.put(BUDGETS, b"e", b"other table")?;
            assert_eq!(tx.get(RUNS, b"d")?.unwrap().record, b"new");
            assert_eq!(tx.get(RUNS, b"f")?, None);
            let found = tx.scan(RUNS, b"", 100)?;
            assert_eq!(found.iter().filter(|(_, stored)| stored.record == b"new").count(), 3);
            Ok::<_, StoreError>(found.into_iter().map(|(name, _)| name).collect())
        })
        .unwrap();
    let names: Vec<&str> = names.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
    assert_eq!(names, ["a", "b", "d", "g"]);
    let after: Vec<_> = store.scan(RUNS, b"", 3).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(after, [b"a", b"b", b"d"]);
    assert_eq!(store.scan(RUNS, b"g", 3).unwrap().len(), 1);
}

#[test]
fn sizes_are_bounded() {
    let store = memory();
    let try_to = |change: fn(&mut Tx<'_, '_>) -> Result<(), StoreError>| store.commit_blocking(change).unwrap_err();
    let size = |what, bytes| StoreError::Size { what, bytes };
    assert_eq!(try_to(|tx| tx.put(RUNS, &[0; 257], b"").map(drop)), size("key", 257));
    assert_eq!(try_to(|tx| tx.append("", b"").map(drop)), size("kind", 0));
    assert_eq!(try_to(|tx| tx.append(&"k".repeat(65), b"").map(drop)), size("kind", 65));
    assert_eq!(try_to(|tx| tx.redeem(b"", 2, 1)), size("nonce", 0));
    assert_eq!(try_to(|tx| tx.redeem(&[1; 65], 2, 1)), size("nonce", 65));
}

#[test]
fn a_nonce_is_redeemed_once_with_its_effect() {
    let store = Arc::new(memory());
    let redeem = |store: &Store, nonce: &'static [u8], expiry, now| {
        store.commit_blocking(move |tx| {
            tx.redeem(nonce, expiry, now)?;
            tx.append("effect", nonce)
        })
    };
    assert!(redeem(&store, b"one", 100, 50).is_ok());
    assert_eq!(redeem(&store, b"one", 100, 51), Err(StoreError::NonceUsed));
    assert_eq!(redeem(&store, b"one", 200, 51), Err(StoreError::NonceUsed));
    assert_eq!(redeem(&store, b"late", 100, 100), Err(StoreError::NonceExpired));
    // A change that fails after redeeming has not redeemed.
    let failed: Result<(), _> = store.commit_blocking(|tx| {
        tx.redeem(b"two", 100, 50)?;
        Err(StoreError::Abandoned)
    });
    assert_eq!(failed, Err(StoreError::Abandoned));
    assert!(redeem(&store, b"two", 100, 50).is_ok());
    assert_eq!(head(&store).size(), 2);
    // Both expire and are forgotten; turning the clock back does not revive them.
    assert!(redeem(&store, b"three", 300, 150).is_ok());
    assert_eq!(redeem(&store, b"one", 100, 50), Err(StoreError::NonceExpired));
    // Of 50 callers with one nonce, one succeeds.
    let wins: usize = std::thread::scope(|scope| {
        let race = || redeem(&store, b"race", 400, 150);
        let racers: Vec<_> = (0..50).map(|_| scope.spawn(race)).collect();
        racers.into_iter().filter_map(|racer| racer.join().unwrap().ok()).count()
    });
    assert_eq!(wins, 1);
}

#[test]
fn k3_a_failed_sync_acknowledges_nothing_and_fences_the_process() {
    for failure in [Failure::Sync, Failure::Write] {
        let disk = Disk::default();
        let store = Store::create_on(disk.clone(), &key(), signer()).unwrap();
        let kept = write(&store, b"before", b"1");
        disk.fail(Some(failure));
        let attempt = |store: &Store| {
            store.commit_blocking(|tx| {
                tx.put(RUNS, b"during", &[7; 10_000])?;
                tx.append("run", &[7; 10_000])
            })
        };
        let error = attempt(&store).unwrap_err();
        assert!(matches!(error, StoreError::Fenced(_)), "{error:?}");
        // The disk recovers, the process does not trust itself all the same.
        disk.fail(None);
        assert_eq!(attempt(&store).unwrap_err(), error);
        assert_eq!(store.get(RUNS, b"before").unwrap_err(), error);
        assert_eq!(store.checkpoint().unwrap_err(), error);
        assert_eq!(store.alive(), Err(error));
        drop(store);

        let store = Store::open_on(disk.crashed(), &key(), signer()).unwrap();
        assert_eq!(store.get(RUNS, b"before").unwrap().unwrap().record, b"1");
        assert_included(&store, kept, b"1");
        write(&store, b"after", b"2");
    }
}

#[test]
fn l6_what_cannot_be_logged_does_not_happen() {
    let disk = Disk::default();
    let store = Store::create_on(disk.clone(), &key(), signer()).unwrap();
    write(&store, b"first", b"1");
    drop(store);
    // An entry that the log does not take: nothing else of the change happens either.
    let store = Store::open_on(disk.crashed(), &key(), signer()).unwrap();
    let refused: Result<u64, StoreError> = store.commit_blocking(|tx| {
        tx.put(RUNS, b"released", b"key")?;
        tx.append("", b"released")
    });
    assert_eq!(refused, Err(StoreError::Size { what: "kind", bytes: 0 }));
    assert_eq!(store.get(RUNS, b"released").unwrap(), None);
    drop(store);

    // The disk does not take the log's part.
    let disk = disk.crashed();
    let store = Store::open_on(disk.clone(), &key(), signer()).unwrap();
    disk.fail(Some(Failure::Write));
    let refused = store.commit_blocking(|tx| {
        tx.put(RUNS, b"released", b"key")?;
        tx.append("key-release", b"released")
    });
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    drop(store);
    let store = Store::open_on(disk.crashed(), &key(), signer()).unwrap();
    assert_eq!(store.get(RUNS, b"released").unwrap(), None);
    assert_eq!(head(&store).size(), 1);
}

#[test]
fn k4_a_hundred_concurrent_updates_of_one_record_lose_none() {
    let store = Arc::new(memory());
    let barrier = Arc::new(Barrier::new(100));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                barrier.wait();
                let counted: Result<u64, StoreError> = store.commit_blocking(|tx| {
                    let old = tx.get(BUDGETS, b"epsilon")?;
                    let spent = old.map_or(0, |old| u64::from_be_bytes(old.record.try_into().unwrap()));
                    tx.put(BUDGETS, b"epsilon", &(spent + 1).to_be_bytes())?;
                    tx.append("budget", &(spent + 1).to_be_bytes())
                });
                counted.unwrap();
            });
        }
    });
    assert_eq!(store.get(BUDGETS, b"epsilon").unwrap().unwrap().record, 100_u64.to_be_bytes());
    // The log holds each value once, in order: the updates were linear.
    for index in 0..100_u64 {
        assert_eq!(store.logged(index).unwrap().1, (index + 1).to_be_bytes());
    }
}

#[test]
fn k4_a_hundred_compare_and_set_updates_lose_none() {
    let store = Arc::new(memory());
    let conflicts = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                loop {
                    let seen = store.get(BUDGETS, b"epsilon").unwrap();
                    let (version, spent) = seen.map_or((0, 0), |seen| (seen.version, seen.record[0]));
                    let replaced: Result<u64, StoreError> =
                        store.commit_blocking(move |tx| tx.replace(BUDGETS, b"epsilon", version, &[spent + 1]));
                    match replaced {
                        Ok(_) => break,
                        Err(StoreError::Conflict { expected, .. }) if expected == version => {
                            *conflicts.lock().unwrap() += 1
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    assert_eq!(store.get(BUDGETS, b"epsilon").unwrap().unwrap().record, [100]);
    println!("{} conflicts", conflicts.lock().unwrap());
}

#[test]
fn k5_a_second_broker_on_the_same_store_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let store = Store::create(&path, &key(), signer()).unwrap();
    let refused = Store::open(&path, &key(), signer()).unwrap_err();
    assert_eq!(refused, StoreError::InUse(path.clone()));
    assert!(refused.to_string().contains("\nhint: "), "{refused}");
    assert_eq!(Store::create(&path, &key(), signer()).unwrap_err(), StoreError::Exists(path.clone()));
    drop(store);
    assert!(Store::open(&path, &key(), signer()).is_ok());
    let nowhere = place.path().join("nowhere");
    assert_eq!(Store::open(&nowhere, &key(), signer()).unwrap_err(), StoreError::Missing(nowhere));
}

#[test]
fn k8_records_that_changed_places_do_not_open() {
    let place = tempfile::tempdir().unwrap();
    let path = filled(place.path());
    let row = |name: &[u8]| [&[4], b"runs".as_slice(), name].concat();
    // Two records of one table exchanged.
    attack(&path, |records| {
        let (a, b) = (records[&row(b"a")].clone(), records[&row(b"b")].clone());
        records.insert(row(b"a"), b);
        records.insert(row(b"b"), a);
    });
    assert_eq!(Store::open(&path, &key(), signer()).unwrap_err(), StoreError::StateMismatch);
}

#[test]
fn k8_a_flipped_bit_in_the_file_is_refused_and_no_record_is_readable_there() {
    let place = tempfile::tempdir().unwrap();
    let path = filled(place.path());
    let mut sealed = Vec::new();
    attack(&path, |records| sealed = records[&[&[4], b"runs".as_slice(), b"a"].concat()].clone());
    let mut file = std::fs::read(&path).unwrap();
    assert!(!file.windows(4).any(|window| window == b"of a"));
    let places: Vec<usize> = (0..file.len() - sealed.len()).filter(|at| file[*at..].starts_with(&sealed)).collect();
    assert!(!places.is_empty());
    for at in places {
        file[at + sealed.len() - 1] ^= 1;
    }
    std::fs::write(&path, file).unwrap();
    assert_eq!(Store::open(&path, &key(), signer()).unwrap_err(), StoreError::StateMismatch);
}

#[test]
fn k7_one_record_of_an_earlier_time_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = filled(place.path());
    let mut earlier = Vec::new();
    let row = [&[4], b"runs".as_slice(), b"a"].concat();
    attack(&path, |records| earlier = records[&row].clone());
    let store = Store::open(&path, &key(), signer()).unwrap();
    write(&store, b"a", b"spent");
    drop(store);
    attack(&path, |records| drop(records.insert(row.clone(), earlier.clone())));
    assert_eq!(Store::open(&path, &key(), signer()).unwrap_err(), StoreError::StateMismatch);
    // And a record that is taken away: a used nonce, say.
    attack(&path, |records| drop(records.remove(&row)));
    assert_eq!(Store::open(&path, &key(), signer()).unwrap_err(), StoreError::StateMismatch);
}

#[test]
fn k7_the_whole_file_of_an_earlier_time_is_refused_by_who_saw_a_later_head() {
    let place = tempfile::tempdir().unwrap();
    let path = filled(place.path());
    let snapshot = std::fs::read(&path).unwrap();
    let store = Store::open(&path, &key(), signer()).unwrap();
    write(&store, b"c", b"later");
    let seen = Head::first(head(&store));
    drop(store);
    std::fs::write(&path, snapshot).unwrap();
    let store = Store::open(&path, &key(), signer()).unwrap();
    let proof = store.consistency(0).unwrap().0;
    let refused = seen.advance(head(&store), &proof);
    assert_eq!(refused, Err(TlogError::Shrunk { known: 3, offered: 2 }));
}

#[test]
fn other_keys_do_not_open_the_store() {
    let place = tempfile::tempdir().unwrap();
    let path = filled(place.path());
    let other = StoreKey::from_bytes([2; 32]);
    assert_eq!(Store::open(&path, &other, signer()).unwrap_err(), StoreError::WrongKey);
    let stranger = LogSigner::new("log.example", SigningKey::from_bytes(&[6; 32])).unwrap();
    assert_eq!(Store::open(&path, &key(), stranger).unwrap_err(), StoreError::OtherLog);
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(Store::open(&path, &key(), signer()), Err(StoreError::Unreadable(_))));
    let bare = place.path().join("bare");
    drop(Builder::new().create(&bare).unwrap());
    let unfinished = StoreError::Unreadable("it was never finished".into());
    assert_eq!(Store::open(&bare, &key(), signer()).unwrap_err(), unfinished);
    std::fs::write(&path, b"not a store at all").unwrap();
    assert!(matches!(Store::open(&path, &key(), signer()), Err(StoreError::Unreadable(_))));
}

#[test]
fn an_edited_log_is_refused_at_the_entry() {
    let tables: [fn(&redb::WriteTransaction); 6] = [
        |transaction| {
            transaction.open_table(LEAVES).unwrap().insert(1, [0; 32]).unwrap();
        },
        |transaction| {
            transaction.open_table(LEAVES).unwrap().remove(1).unwrap();
        },
        |transaction| {
            let mut entries = transaction.open_table(ENTRIES).unwrap();
            let first = entries.get(0).unwrap().unwrap().value().to_vec();
            entries.insert(1, first.as_slice()).unwrap();
        },
        |transaction| {
            transaction.open_table(HASHES).unwrap().insert(1, [0; 32]).unwrap();
        },
        |transaction| {
            transaction.open_table(HASHES).unwrap().insert(3, [0; 32]).unwrap();
        },
        |transaction| {
            transaction.open_table(LEAVES).unwrap().insert(2, [0; 32]).unwrap();
        },
    ];
    for (edit, at) in tables.into_iter().zip([1, 1, 1, 0, 2, 2]) {
        let place = tempfile::tempdir().unwrap();
        let path = filled(place.path());
        let database = Builder::new().open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        edit(&transaction);
        transaction.commit().unwrap();
        drop(database);
        assert_eq!(Store::open(&path, &key(), signer()).unwrap_err(), StoreError::LogMismatch(at));
    }
}

#[test]
fn the_log_is_readable_as_tiles_and_only_grows() {
    let store = Arc::new(memory());
    let first = Head::first(head(&store));
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..40_u8 {
                    write(store, &[thread, number], &[thread, number]);
                }
            });
        }
    });
    let (proof, _) = store.consistency(0).unwrap();
    let seen = first.advance(head(&store), &proof).unwrap();
    write(&store, b"more", b"more");
    let (proof, checkpoint) = store.consistency(320).unwrap();
    let new = SignedCheckpoint::verify(&checkpoint, signer().key(), &WitnessPolicy::none()).unwrap();
    assert!(seen.advance(new, &proof).is_ok());

    let read = |path: &str| store.tile(&path.parse::<Tile>().unwrap());
    let mut tree = tlog::LogTree::new();
    for (path, width) in [("tile/entries/000", 256), ("tile/entries/001.p/65", 65)] {
        for entry in decode_bundle(&read(path).unwrap(), width).unwrap() {
            tree.append(tlog::Commitment::from_bytes(entry.try_into().unwrap())).unwrap();
        }
    }
    assert_eq!(tree.root(321).unwrap(), head(&store).root());
    for path in ["tile/0/000", "tile/0/001.p/65", "tile/1/000.p/1"] {
        assert_eq!(read(path).unwrap(), tree.tile(&path.parse().unwrap()).unwrap());
    }
    assert_eq!(read("tile/0/001.p/66"), Err(StoreError::Log(TlogError::NoSuchTile(321))));
    assert_eq!(store.prove(321).unwrap_err(), StoreError::Log(TlogError::OutsideTree { index: 321, size: 321 }));
}

#[test]
fn l1_the_head_of_an_acknowledged_entry_is_durable_with_it() {
    let disk = Disk::default();
    let store = Store::create_on(disk.clone(), &key(), signer()).unwrap();
    for number in 0..20_u8 {
        let index = write(&store, &[number], &[number]);
        // What a crash would leave at this moment has the entry, and proves it.
        let after = Store::open_on(disk.crashed(), &key(), signer()).unwrap();
        assert_included(&after, index, &[number]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_one_durable_commit() {
    let place = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(&place.path().join("state"), &key(), signer()).unwrap());
    let begun = Instant::now();
    let callers: Vec<_> = (0..32_u32)
        .map(|caller| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0..20_u32 {
                    let name = [caller.to_be_bytes(), number.to_be_bytes()].concat();
                    let change = move |tx: &mut Tx<'_, '_>| {
                        tx.redeem(&name, 100, 1)?;
                        tx.put(RUNS, &name, &[0; 500])?;
                        tx.append("key-release", &[0; 500])
                    };
                    store.commit::<u64, StoreError, _>(change).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let rate = 640.0 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} durable changes a second");
    assert_eq!(head(&store).size(), 640);
}

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const LEAVES: TableDefinition<'_, u64, [u8; 32]> = TableDefinition::new("leaves");
const HASHES: TableDefinition<'_, u64, [u8; 32]> = TableDefinition::new("hashes");

fn key() -> StoreKey {
    StoreKey::from_bytes([1; 32])
}

fn signer() -> LogSigner {
    LogSigner::new("log.example", SigningKey::from_bytes(&[5; 32])).unwrap()
}

fn memory() -> Store {
    Store::create_on(redb::backends::InMemoryBackend::new(), &key(), signer()).unwrap()
}

fn write(store: &Store, name: &[u8], record: &[u8]) -> u64 {
    let (name, record) = (name.to_vec(), record.to_vec());
    let change = move |tx: &mut Tx<'_, '_>| {
        tx.put(RUNS, &name, &record)?;
        tx.append("run", &record)
    };
    store.commit_blocking::<u64, StoreError, _>(change).unwrap()
}

fn filled(place: &Path) -> std::path::PathBuf {
    let path = place.join("state");
    let store = Store::create(&path, &key(), signer()).unwrap();
    write(&store, b"a", b"of a");
    write(&store, b"b", b"of b");
    path
}

fn head(store: &Store) -> VerifiedCheckpoint {
    SignedCheckpoint::verify(&store.checkpoint().unwrap(), signer().key(), &WitnessPolicy::none()).unwrap()
}

fn assert_included(store: &Store, index: u64, record: &[u8]) {
    let proof = store.prove(index).unwrap();
    let head = SignedCheckpoint::verify(&proof.checkpoint, signer().key(), &WitnessPolicy::none()).unwrap();
    assert_eq!(proof.opening.record, envelope::Digest::of(record));
    Included::check(proof.opening, &proof.inclusion, &head).unwrap();
}

/// Rewrites the sealed records as somebody with the disk, and without the key, could.
fn attack(path: &Path, edit: impl FnOnce(&mut std::collections::BTreeMap<Vec<u8>, Vec<u8>>)) {
    let database = Builder::new().open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(RECORDS).unwrap();
        let mut records: std::collections::BTreeMap<Vec<u8>, Vec<u8>> = table
            .iter()
            .unwrap()
            .map(|record| record.map(|(row, sealed)| (row.value().to_vec(), sealed.value().to_vec())).unwrap())
            .collect();
        edit(&mut records);
        table.retain(|_, _| false).unwrap();
        for (row, sealed) in &records {
            table.insert(row.as_slice(), sealed.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Sync,
    Write,
}

/// A disk in memory that can fail, and that can be looked at as it would be after a crash: only what was synced is there.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    written: Vec<u8>,
    synced: Vec<u8>,
    failure: Option<Failure>,
}

impl Disk {
    fn fail(&self, failure: Option<Failure>) {
        self.0.lock().unwrap().failure = failure;
    }

    fn crashed(&self) -> Self {
        let synced = self.0.lock().unwrap().synced.clone();
        let platters = Platters { written: synced.clone(), synced, failure: None };
        Self(Arc::new(Mutex::new(platters)))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.0.lock().unwrap();
        let offset = offset as usize;
        out.copy_from_slice(platters.written.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        if platters.failure == Some(Failure::Write) && len as usize > platters.written.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        platters.written.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        if platters.failure == Some(Failure::Sync) {
            // As Linux does it: what was dirty is dropped, and later syncs report success.
            platters.written = platters.synced.clone();
            return Err(io::Error::other("input/output error"));
        }
        platters.synced = platters.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        if platters.failure == Some(Failure::Write) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let offset = offset as usize;
        platters.written[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}
