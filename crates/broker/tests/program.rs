//! The broker as a process: how it starts, what it leaves, how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod room;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use room::Machine;

const PROGRAM: &str = env!("CARGO_BIN_EXE_glovebox-broker");

/// Ends the process however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(machine: &Machine) -> (Running, serde_json::Value) {
    let place = machine.place();
    let mut child = Command::new(PROGRAM)
        .current_dir(machine.files.path())
        .args(["--listen", "127.0.0.1:0", "--tpm", &place.tpm.to_string()])
        .arg("--state")
        .arg(&place.state)
        .arg("--event-log")
        .arg(&place.event_log)
        .arg("--issuer")
        .arg(&machine.issuer)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), serde_json::from_str(&line).unwrap())
}

fn signal(process: &Running, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &process.0.id().to_string()]).status().unwrap().success());
}

#[test]
fn h6_a_broker_that_aborts_leaves_no_core_and_tells_no_secret_to_proc() {
    let Some(machine) = Machine::new("broker") else { return };
    let (mut running, ready) = start(&machine);
    assert!(ready["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    let proc = format!("/proc/{}", running.0.id());
    let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    let said = [
        std::fs::read(format!("{proc}/cmdline")).unwrap(),
        std::fs::read(format!("{proc}/environ")).unwrap_or_default(),
    ];
    let said = String::from_utf8_lossy(&said.concat()).into_owned();
    assert!(!said.contains(ready["key"].as_str().unwrap()));
    signal(&running, "ABRT");
    running.0.wait().unwrap();
    let left: Vec<_> =
        std::fs::read_dir(machine.files.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("core")), "{left:?}");
}

#[test]
fn it_ends_when_asked_and_is_the_same_after_a_restart_and_after_a_kill() {
    let Some(machine) = Machine::new("broker") else { return };
    let (mut running, first) = start(&machine);
    signal(&running, "TERM");
    assert!(running.0.wait().unwrap().success());
    let (running, second) = start(&machine);
    assert_eq!((&first["key"], &first["log"]), (&second["key"], &second["log"]));
    drop(running);
    let (_running, third) = start(&machine);
    assert_eq!(first["key"], third["key"]);
}

#[test]
fn another_program_does_not_open_the_state() {
    let Some(mut machine) = Machine::new("broker") else { return };
    drop(start(&machine));
    machine.binary = envelope::Digest::of(b"another program");
    machine.launch();
    let place = machine.place();
    let error = broker::Broker::start(broker::Settings::new(place)).err().unwrap();
    assert!(matches!(error, broker::StartError::Sealed { .. }), "{error:?}");
}
