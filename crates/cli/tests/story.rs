//! The stories of two and of three parties over real processes, sockets and software TPMs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use std::{fs, process::Stdio, time::Duration};

use room::Room;
use rustix::process::Signal;
use serde_json::Value;

/// The figures, computed from the plain data by pandas.
const PANDAS: &str = r#"
import pandas, sys
data = pandas.read_csv("hospital.csv").merge(pandas.read_csv("registry.csv"), on="patient_id")
arm = data.groupby("arm").agg(patients=("patient_id", "nunique"), mean_cd4=("cd4", "mean"), events=("event", "sum"), mean_days=("days", "mean"))
print(arm.reset_index().sort_values("arm").to_csv(index=False), end="")
print("--")
fine = data.groupby(["arm", "karnofsky"]).agg(patients=("patient_id", "nunique"), events=("event", "sum"), mean_days=("days", "mean"))
fine = fine.reset_index().sort_values("patients")
withheld = int((fine.patients < 10).sum())
while 0 < fine.patients[:withheld].sum() < 10:  # together too few: the next smallest goes with them
    withheld += 1
fine = fine[withheld:].sort_values(["arm", "karnofsky"])
print(fine.to_csv(index=False), end="")
"#;

#[test]
fn the_demo_ends_with_figures_that_pandas_finds_in_the_plain_data() {
    let Some(()) = room::ready() else { return };
    let dir = tempfile::tempdir().unwrap();
    let output = room::glovebox(dir.path()).args(["--json", "demo"]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["verified"], true);
    assert_eq!(told["tier"], "software-tpm");
    assert!(told["seconds"].as_f64().unwrap() < 60.0, "{told}");
    let csv = |place: usize| told["results"][place]["csv"].as_str().unwrap();
    let Some(figures) = room::python(PANDAS, &dir.path().join("glovebox-demo")) else { return };
    let (by_arm, by_both) = figures.split_once("--\n").unwrap();
    assert!(room::same_rows(csv(0), by_arm), "{}\n{by_arm}", csv(0));
    assert!(room::same_rows(csv(1), by_both), "{}\n{by_both}", csv(1));
    // What the demo says about subtracting one from the other.
    let total = |csv: &str, patients: usize, events: usize| {
        let rows = csv.lines().filter(|line| line.starts_with("zidovudine+zalcitabine,"));
        rows.map(|line| line.split(',').map(|field| field.parse::<i64>().unwrap_or(0)).collect::<Vec<_>>())
            .fold((0, 0), |sum, row| (sum.0 + row[patients], sum.1 + row[events]))
    };
    let (all, shown) = (total(csv(0), 1, 3), total(csv(1), 2, 3));
    assert_eq!((all.0 - shown.0, all.1 - shown.1), (3, 3));
    assert_eq!(csv(1).lines().count(), 1 + 11, "three groups of 15 are too small, and too few together");
}

#[test]
fn three_parties_agree_in_any_order_and_only_the_recipient_opens() {
    let Some(room) = Room::start() else { return };
    room.init(&["hospital", "registry", "university"]);
    room.seal("hospital");
    room.seal("registry");
    let first = room.does("university", &["agree", "trial.toml", "--yes"]);
    assert!(first.contains("not yet in force"), "{first}");
    room.is_refused("university", &["run", "trial", "--computation", "by-arm"], "(not-in-force)");
    let second = room.does("registry", &["agree", "trial.toml", "--yes"]);
    assert!(second.contains("not yet in force"), "{second}");
    let last = room.does("hospital", &["agree", "trial.toml", "--yes"]);
    assert!(last.contains("in force") && !last.contains("not yet"), "{last}");

    room.does("hospital", &["run", "trial", "--computation", "by-arm"]);
    for other in ["hospital", "registry"] {
        room.is_refused(other, &["open", "by-arm.result"], "not sealed to this party");
    }
    let opened = room.does("university", &["open", "by-arm.result"]);
    assert_eq!(opened.lines().count(), 5);
    assert_eq!(opened.lines().next(), Some("arm,patients,mean_cd4,events,mean_days"));

    let verify =
        ["verify", "by-arm.receipt", "--result", "by-arm.result", "--party", "hospital.identity", "registry.identity"];
    let verified = room.does("stranger", &verify);
    assert!(verified.ends_with("receipt verified\n"), "{verified}");
    assert!(verified.contains("rollback: not witnessed"), "{verified}");
    assert!(verified.contains("does not prove which code ran"), "{verified}");

    // Whoever names nobody is told that the receipt may be anybody's.
    for (more, anchored) in [(&["--party", "registry.identity"][..], true), (&[], false)] {
        let outcome = room.party("stranger", &[&["--json", "verify", "by-arm.receipt"], more].concat());
        let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!((outcome.status, &document["anchored"]), (0, &anchored.into()), "{document}");
        assert_eq!(outcome.stderr.contains("somebody alone can make all of its parties"), !anchored);
    }
}

#[test]
fn a_secret_goes_only_to_a_broker_under_terms_that_its_owner_consented_to() {
    let Some(room) = Room::start() else { return };
    room.init(&["hospital", "registry", "university"]);
    room.seal("hospital");
    room.seal("registry");
    let mut broker: Value = serde_json::from_str(&room.read("room/broker.json")).unwrap();
    let line = format!("{}@{}\n", broker["key"].as_str().unwrap(), broker["address"].as_str().unwrap());
    room.write("hospital/broker", &line);
    room.write("value", "a secret of the hospital");
    let push = ["secret", "push", "hospital/key/1", "--file", "value"];
    let refused = || {
        let outcome = room.party("hospital", &push);
        assert!(outcome.status != 0 && outcome.stderr.contains("is not known"), "{outcome:?}");
    };
    let pushed = || {
        let outcome = room.party("hospital", &push);
        assert!(outcome.status == 0 && outcome.stderr.contains("on the tier software-tpm"), "{outcome:?}");
    };
    // A proposal that lies here is no consent.
    room.does("hospital", &["agree", "trial.toml", "--export", "trial.json"]);
    refused();
    room.does("hospital", &["agree", "trial.toml", "--yes"]);
    pushed();
    // Another agreement admits another binary: which of the two counts is not for us to choose.
    let binaries = broker["policy"]["tpm"]["binaries"].as_array_mut().unwrap();
    binaries.push(format!("sha256:{}", "0".repeat(64)).into());
    room.write("other.json", &broker.to_string());
    let other = room.read("trial.toml").replace("name = \"trial\"", "name = \"other\"");
    room.write("other.toml", &other.replace("room/broker.json", "other.json"));
    room.does("hospital", &["agree", "other.toml", "--yes"]);
    refused();
    room.does("hospital", &["revoke", "other", "--yes"]);
    pushed();
    room.does("hospital", &["revoke", "trial", "--yes"]);
    refused();
}

#[test]
fn a_receipt_with_any_part_exchanged_is_refused_by_the_step() {
    let Some(room) = Room::start() else { return };
    agree_all(&room);
    room.does("university", &["run", "trial", "--computation", "by-arm"]);
    room.does("university", &["run", "trial", "--computation", "by-arm", "--out", "again.result"]);
    room.is_refused("university", &["verify", "by-arm.receipt", "--result", "again.result"], "result");
    let (one, other): (Value, Value) = (
        serde_json::from_str(&room.read("by-arm.receipt")).unwrap(),
        serde_json::from_str(&room.read("again.receipt")).unwrap(),
    );
    for (part, foreign) in other.as_object().unwrap() {
        if one[part] == *foreign {
            continue;
        }
        let mut mixed = one.clone();
        mixed[part] = foreign.clone();
        room.write("mixed.receipt", &mixed.to_string());
        room.is_refused("stranger", &["verify", "mixed.receipt"], "does not verify");
    }
    for part in one.as_object().unwrap().keys() {
        let mut lacking = one.clone();
        lacking.as_object_mut().unwrap().remove(part);
        room.write("lacking.receipt", &lacking.to_string());
        assert_ne!(room.party("stranger", &["verify", "lacking.receipt"]).status, 0, "without `{part}`");
    }
}

#[test]
fn an_offer_stands_in_for_an_owner_whose_machine_is_off_and_names_the_clause_that_fails() {
    let Some(room) = Room::start() else { return };
    room.init(&["hospital", "registry", "university"]);
    room.seal("hospital");
    room.seal("registry");
    room.does("registry", &["offer", "trial.toml", "--max-runs", "2", "--yes"]);
    fs::rename(room.path("registry"), room.path("registry-is-off")).unwrap();

    room.does("hospital", &["agree", "trial.toml", "--yes"]);
    let last = room.does("university", &["agree", "trial.toml", "--yes"]);
    assert!(last.contains("in force") && !last.contains("not yet"), "{last}");
    room.does("university", &["run", "trial", "--computation", "by-arm"]);
    room.does("university", &["verify", "by-arm.receipt", "--result", "by-arm.result"]);

    // Another recipient than the offer admits.
    let looser = room.read("trial.toml").replace("name = \"trial\"", "name = \"looser\"");
    let looser = looser.replacen("recipients = [\"university\"]", "recipients = [\"university\", \"hospital\"]", 1);
    room.write("looser.toml", &looser);
    room.does("hospital", &["agree", "looser.toml", "--yes"]);
    let outcome = room.party("university", &["agree", "looser.toml", "--yes"]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("not yet in force") && outcome.stdout.contains("recipients"), "{}", outcome.stdout);
    room.is_refused("university", &["run", "looser", "--computation", "by-arm", "--out", "x.result"], "recipients");

    // One run is left, and then none.
    room.does("university", &["run", "trial", "--computation", "by-arm", "--out", "second.result"]);
    room.is_refused(
        "university",
        &["run", "trial", "--computation", "by-arm", "--out", "third.result"],
        "number of runs",
    );
}

#[test]
fn up_goes_on_where_it_ended_and_where_it_was_cut_off() {
    let Some(mut room) = Room::start() else { return };
    agree_all(&room);
    let (broker, address) = (room.broker.clone(), room.address.clone());
    room.down();
    let off = room.party("university", &["run", "trial", "--computation", "by-arm"]);
    assert_eq!(off.status, 2, "{}", off.stderr);
    assert!(off.stderr.contains("hint: "), "{}", off.stderr);

    room.up(&[]);
    assert_eq!((&room.broker, &room.address), (&broker, &address));
    room.does("university", &["run", "trial", "--computation", "by-arm"]);

    room.cut();
    // The TPMs and the roles end by themselves once nobody holds them.
    std::thread::sleep(Duration::from_secs(2));
    room.up(&[]);
    room.does("university", &["run", "trial", "--computation", "by-arm", "--out", "after.result"]);
    room.does("university", &["verify", "after.receipt", "--result", "after.result"]);
    room.does("hospital", &["log"]);
}

#[test]
fn a_role_that_is_killed_is_started_again_and_the_run_goes_through() {
    let Some(room) = Room::start() else { return };
    agree_all(&room);
    // Sooner than this it would not be tried again.
    std::thread::sleep(Duration::from_secs(6));
    for (role, out) in [("glovebox-worker", "one.result"), ("glovebox-broker", "two.result")] {
        let process = room.role(role);
        room::signal(process, Signal::KILL);
        let mut tries = 0;
        while room.party("university", &["run", "trial", "--computation", "by-arm", "--out", out]).status != 0 {
            tries += 1;
            assert!(tries < 40, "no run after {role} was killed");
            std::thread::sleep(Duration::from_millis(500));
        }
        assert_ne!(room.role(role), process);
        room.does("university", &["open", out]);
    }
}

#[test]
fn a_broker_with_another_binary_gets_no_key_and_does_not_open_its_state() {
    let Some(mut room) = Room::start() else { return };
    room.init(&["hospital", "registry", "university"]);
    room.seal("hospital");
    room.seal("registry");
    // The agreement expects another binary than the one that was measured.
    let mut terms: Value = serde_json::from_str(&room.read("room/broker.json")).unwrap();
    terms["policy"]["tpm"]["binaries"] = serde_json::json!([format!("sha256:{}", "0".repeat(64))]);
    room.write("other-broker.json", &terms.to_string());
    room.write("other.toml", &room.read("trial.toml").replace("room/broker.json", "other-broker.json"));
    room.is_refused("hospital", &["agree", "other.toml", "--yes"], "no key was deposited");

    // A changed binary on the same machine.
    room.down();
    let bins = std::path::Path::new(env!("CARGO_BIN_EXE_glovebox")).parent().unwrap();
    fs::create_dir(room.path("bin")).unwrap();
    for program in ["glovebox-broker", "glovebox-worker"] {
        let mut bytes = fs::read(bins.join(program)).unwrap();
        bytes.push(0);
        fs::write(room.path("bin").join(program), bytes).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(room.path("bin").join(program), mode).unwrap();
    }
    let outcome = room.party("operator", &["up", "--dir", "room", "--bin-dir", "bin"]);
    assert_eq!(outcome.status, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("does not open for this program on this TPM"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hint: "), "{}", outcome.stderr);
}

#[test]
fn two_parties_compute_for_each_other_and_revocation_ends_it() {
    let Some(room) = Room::start() else { return };
    room.init(&["hospital", "registry"]);
    room.seal("hospital");
    room.seal("registry");
    let text = room.read("trial.toml").replace("university = \"university.identity\"\n", "");
    room.write("two.toml", &text.replace("[\"university\"]", "[\"hospital\", \"registry\"]"));
    for party in ["hospital", "registry"] {
        room.does(party, &["agree", "two.toml", "--yes"]);
    }
    room.does("registry", &["run", "trial", "--computation", "by-arm"]);
    assert_eq!(room.does("hospital", &["open", "by-arm.result"]), room.does("registry", &["open", "by-arm.result"]));
    room.does("hospital", &["revoke", "trial", "--yes"]);
    room.is_refused("registry", &["run", "trial", "--computation", "by-arm", "--out", "late.result"], "revoked");
}

fn agree_all(room: &Room) {
    room.init(&["hospital", "registry", "university"]);
    room.seal("hospital");
    room.seal("registry");
    for party in ["hospital", "registry", "university"] {
        room.does(party, &["agree", "trial.toml", "--yes"]);
    }
}
