//! The log of a running broker, read and verified by a program that shares nothing with this one (`read_log.py`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::{fs, path::Path, process::Command};

use jiff::Timestamp;
use room::Room;
use wire::messages::{Records, path};

fn read(folder: &Path, key: &str) -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_log.py");
    let output =
        Command::new("python3").arg(script).arg(folder).arg(key).arg(folder.join("records.json")).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_to_our_code_verifies_the_log_and_refuses_an_altered_one() {
    let Some(room) = Room::open().await else { return };
    let (mut connection, run, enrolment) = room.running().await;
    room.worker.release(&mut connection, &room.digest(), &run, &enrolment).await.unwrap();

    let mut party = room.connect().await;
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let checkpoint = party.get_bytes(path::LOG_CHECKPOINT, None).await.unwrap();
    fs::write(here.join("checkpoint"), &checkpoint).unwrap();
    let size: u64 = std::str::from_utf8(&checkpoint).unwrap().lines().nth(1).unwrap().parse().unwrap();
    assert!(size < 256, "one tile is enough for this test");
    for kind in ["tile/entries", "tile/0"] {
        let tile = party.get_bytes(&format!("/log/{kind}/000.p/{size}"), None).await.unwrap();
        fs::create_dir_all(here.join(kind).join("000.p")).unwrap();
        fs::write(here.join(kind).join(format!("000.p/{size}")), tile).unwrap();
    }
    let reader = Some((&room.parties["hospital"].key, Timestamp::now()));
    let records: Records = party.get(path::RECORDS, reader).await.unwrap();
    fs::write(here.join("records.json"), serde_json::to_vec(&records).unwrap()).unwrap();

    let key = room.broker.log_key();
    assert_eq!(read(here, &key), Ok(format!("log verified: {size} entries, {} records", records.records.len())));
    assert!(records.records.len() >= 5);

    let entries = here.join(format!("tile/entries/000.p/{size}"));
    let mut bytes = fs::read(&entries).unwrap();
    bytes[40] ^= 1;
    fs::write(&entries, &bytes).unwrap();
    assert_eq!(read(here, &key), Err("log refused: entry 1 is not the tile's".to_owned()));
    bytes[40] ^= 1;
    fs::write(&entries, &bytes).unwrap();
    let altered = String::from_utf8(checkpoint.to_vec()).unwrap().replacen(
        &format!("\n{size}\n"),
        &format!("\n{}\n", size - 1),
        1,
    );
    fs::write(here.join("checkpoint"), altered).unwrap();
    assert_eq!(read(here, &key), Err("log refused: the checkpoint is not signed".to_owned()));
}
