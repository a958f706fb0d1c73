//! An auditor's word over real processes: no run without it, none after it expired or was withdrawn, and a receipt that carries it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use std::{path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use room::Room;
use serde_json::Value;

const BROKER: [&str; 2] = ["--broker", "room/broker.json"];
const RUN: [&str; 4] = ["run", "trial", "--computation", "by-arm"];

/// The auditor states what the worker's program measures; the document's digest.
fn word(room: &Room, out: &str, term: [&str; 2]) -> String {
    let worker = Path::new(env!("CARGO_BIN_EXE_glovebox")).with_file_name("glovebox-worker");
    let stated = ["--json", "evidence", "reference", "--program", worker.to_str().unwrap(), "--out", out];
    let said = room.does("auditor", &[stated.as_slice(), &["--what", "the worker of this build"], &term].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["values"]["platform"], "tpm");
    said["statement"].as_str().unwrap().to_owned()
}

fn altered(document: &str, payload: &str) -> String {
    let mut envelope: Value = serde_json::from_str(document).unwrap();
    let place = envelope.pointer_mut(payload).unwrap();
    let text = place.as_str().unwrap();
    let (at, other) = (text.len() / 2, if &text[text.len() / 2..=text.len() / 2] == "A" { "B" } else { "A" });
    *place = Value::from(format!("{}{other}{}", &text[..at], &text[at + 1..]));
    envelope.to_string()
}

#[test]
fn row_70a_an_auditors_endorsement_is_needed_kept_in_the_receipt_and_ends() {
    let Some(room) = Room::start() else { return };
    room.init(&["hospital", "registry", "university", "auditor"]);
    room.seal("hospital");
    room.seal("registry");
    let text = room.read("trial.toml");
    room.write("trial.toml", &format!("{text}\n[workers.auditors]\nidentities = [\"auditor.identity\"]\n"));
    for party in ["hospital", "registry", "university"] {
        let outcome = room.party(party, &["agree", "trial.toml", "--yes"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("no key leaves unless 1 of 1 auditors vouch for the machine"), "{said}");
    }
    let refused = room.is_refused("university", &RUN, "(not-vouched)");
    assert!(refused.stderr.contains("says nothing of `pcr8`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: the auditor makes a document"), "{}", refused.stderr);

    let document = word(&room, "worker.reference", ["--days", "30"]);
    room.write("altered.reference", &altered(&room.read("worker.reference"), "/payload"));
    room.is_refused(
        "auditor",
        &[["evidence", "endorse", "altered.reference"].as_slice(), &BROKER].concat(),
        "does not verify",
    );
    // Anybody who has it can bring it.
    let brought = room.does("hospital", &[["evidence", "endorse", "worker.reference"].as_slice(), &BROKER].concat());
    assert!(brought.contains(&document), "{brought}");

    room.does("university", &RUN);
    let verify = ["verify", "by-arm.receipt", "--result", "by-arm.result"];
    let verified = room.does("stranger", &verify);
    assert!(verified.contains("11. auditors: as the agreement asks, 1 of 1 auditors vouch"), "{verified}");
    let receipt = room.read("by-arm.receipt");
    room.write("altered.receipt", &altered(&receipt, "/grounds/reference_values/0/statement/payload"));
    room.is_refused("stranger", &["verify", "altered.receipt"], "step 11, auditors");

    // Withdrawn by the auditor; then a brief word, until it is over.
    let withdraw = ["revoke", &document, "--endorsement", "--yes"];
    room.does("auditor", &[withdraw.as_slice(), &BROKER].concat());
    let again = [RUN.as_slice(), &["--out", "again.result"]].concat();
    room.is_refused("university", &again, "(not-vouched)");
    let end = Timestamp::now() + SignedDuration::from_secs(20);
    word(&room, "brief.reference", ["--expires", &end.to_string()]);
    room.does("auditor", &[["evidence", "endorse", "brief.reference"].as_slice(), &BROKER].concat());
    while Timestamp::now() <= end {
        std::thread::sleep(Duration::from_millis(200));
    }
    let expired = room.is_refused("university", &again, "(not-vouched)");
    assert!(expired.stderr.contains(&format!("says of `pcr8` expired at {end}")), "{}", expired.stderr);
    // What went before still verifies.
    room.does("stranger", &verify);
    let log = room.does("hospital", &["log"]);
    assert!(log.contains("reference-values"), "{log}");
}
