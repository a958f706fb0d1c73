//! Software TPMs for tests.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared by several test binaries")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;
use tpm::{SoftwareTpm, Tpm};

/// A fresh software TPM and a connection to it.
pub(crate) struct Bench {
    // In this order: the connection closes before the process ends, and that before its files go.
    pub(crate) tpm: Tpm,
    pub(crate) software: SoftwareTpm,
    pub(crate) files: TempDir,
    pub(crate) authority: Arc<TempDir>,
}

/// A fresh TPM, or nothing (with the reason printed) where swtpm is missing; in CI that is a failure.
pub(crate) fn bench() -> Option<Bench> {
    if !available("swtpm") || !available("swtpm_setup") {
        return None;
    }
    let files = tempfile::tempdir().unwrap();
    let state = files.path().join("tpm");
    let authority = authority();
    SoftwareTpm::provision(&state, authority.path()).unwrap_or_else(|error| panic!("{error}"));
    let software = SoftwareTpm::start(&state).unwrap_or_else(|error| panic!("{error}"));
    let tpm = Tpm::open(&software.address()).unwrap_or_else(|error| panic!("{error}"));
    Some(Bench { tpm, software, files, authority })
}

/// The authority of the tests that run at the same time: making one takes longer than making a TPM.
fn authority() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(tempfile::tempdir().unwrap());
        *shared = Arc::downgrade(&made);
        made
    })
}

/// Whether a program can be started; says so when it is missing, and fails in CI.
pub(crate) fn available(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "`{program}` is missing in CI");
        eprintln!("skipped: `{program}` is not installed");
    }
    found
}

/// Runs a program in `dir`; its success and what it printed.
pub(crate) fn run(dir: &Path, program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).current_dir(dir).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}
