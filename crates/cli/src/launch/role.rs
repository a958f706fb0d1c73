//! One role: a software TPM, the role's binary measured into it, and the process.
//!
//! The process stands in a group of its own, so that Ctrl-C reaches the launcher alone, which then ends role and TPM in that order.
//! When the launcher is killed, a small shell process that reads from it comes to the end of its input and ends the role; the TPM has
//! its own. Until they have ended, the next launcher waits: a role holds a lock on its log, which it inherits.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use attest::{
    events::RoleName,
    tpm::{EkPublic, TpmPublic},
};
use envelope::Digest;
use rustix::process::{Pid, Signal, kill_process};
use tpm::{SoftwareTpm, SoftwareTpmError, Tpm, TpmError, measure};

use super::{AUTHORITY, LaunchError, record, role_name};
use crate::{
    files::{self, FileError},
    interrupt, output,
};

/// The two roles of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoleKind {
    Broker,
    Worker,
}

/// Where a role lies and what it is.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    kind: RoleKind,
    dir: PathBuf,
    authority: PathBuf,
    program: PathBuf,
}

/// A role whose TPM runs and holds the measurement of its binary.
pub(super) struct Prepared {
    pub(super) role: RoleName,
    pub(super) binary: Digest,
    /// SHA-256 of the endorsement key's SubjectPublicKeyInfo.
    pub(super) endorsement_key: Digest,
    tpm: SoftwareTpm,
    log: File,
    recipe: Recipe,
}

/// A role that runs.
pub(super) struct Role {
    process: Child,
    watchdog: Option<Child>,
    stdout: Option<ChildStdout>,
    started: Instant,
    /// The log's length when the process began.
    log_start: u64,
    arguments: Vec<OsString>,
    issuer: PathBuf,
    recipe: Recipe,
    /// Ends after the process, since fields are dropped after the whole.
    tpm: Option<SoftwareTpm>,
}

impl RoleKind {
    /// The role's name in its measurement.
    const fn name(self) -> &'static str {
        match self {
            RoleKind::Broker => "broker",
            RoleKind::Worker => "worker",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            RoleKind::Broker => "glovebox-broker",
            RoleKind::Worker => "glovebox-worker",
        }
    }
}

impl Recipe {
    /// A role of the room in `room`.
    pub(super) fn of(kind: RoleKind, room: &Path, programs: &Path) -> Result<Recipe, LaunchError> {
        let program = programs.join(kind.program());
        if !program.is_file() {
            return Err(LaunchError::NoProgram { program: kind.program(), dir: programs.to_owned() });
        }
        Ok(Recipe { kind, dir: room.join(kind.name()), authority: room.join(AUTHORITY), program })
    }

    /// Makes the TPM if there is none, starts it, and measures the binary.
    pub(super) fn prepare(self) -> Result<Prepared, LaunchError> {
        let name = self.kind.name();
        files::private_directory(&self.dir)?;
        let state = self.dir.join(TPM);
        let log = self.lock_log()?;
        SoftwareTpm::provision(&state, &self.authority).map_err(LaunchError::SoftwareTpm)?;
        let software = start_tpm(&state)?;
        let measuring = |source: TpmError| LaunchError::Measure { role: name, source };
        let mut tpm = Tpm::open(&software.address()).map_err(measuring)?;
        let endorsement = tpm.endorsement_key().map_err(measuring)?;
        let endorsement = TpmPublic::parse(&endorsement.public).ok().and_then(EkPublic::new);
        let endorsement_key = endorsement.ok_or(LaunchError::EndorsementKey(name))?.digest();
        let role = role_name(name)?;
        let binary = files::digest(&self.program)?;
        let events = measure::launch(&mut tpm, &role, &binary).map_err(measuring)?;
        // The TPM serves one connection at a time; the next is the role's.
        drop(tpm);
        record(&self.dir.join(EVENT_LOG), &events.encode())?;
        Ok(Prepared { role, binary, endorsement_key, tpm: software, log, recipe: self })
    }

    /// Opens the role's log for writing, once no process of an earlier launcher has it.
    fn lock_log(&self) -> Result<File, LaunchError> {
        let path = self.dir.join(LOG);
        let failed = |source| FileError::Write { path: path.clone(), source };
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        let until = Instant::now() + LEFT_OVER;
        loop {
            match log.try_lock() {
                Ok(()) => return Ok(log),
                Err(TryLockError::WouldBlock) if Instant::now() < until => pause()?,
                Err(TryLockError::WouldBlock) => return Err(LaunchError::Runs(self.dir.clone())),
                Err(TryLockError::Error(source)) => return Err(failed(source).into()),
            }
        }
    }
}

impl Prepared {
    /// Starts the process. `issuer` is the file of the certificate that issued the endorsement key's.
    pub(super) fn spawn(self, arguments: &[OsString], issuer: &Path) -> Result<Role, LaunchError> {
        let Prepared { recipe, tpm, log, .. } = self;
        let log_start = log.metadata().map_or(0, |log| log.len());
        let start = |source| LaunchError::Start { role: recipe.kind.name(), program: recipe.program.clone(), source };
        let mut process = Command::new(&recipe.program)
            .args(arguments)
            .arg("--tpm")
            .arg(tpm.address().to_string())
            .arg("--event-log")
            .arg(recipe.dir.join(EVENT_LOG))
            .arg("--issuer")
            .arg(issuer)
            .arg("--state")
            .arg(recipe.dir.join(STATE))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let stdout = process.stdout.take();
        let arguments = arguments.to_vec();
        let started = Instant::now();
        let mut role = Role {
            process,
            watchdog: None,
            stdout,
            started,
            log_start,
            arguments,
            issuer: issuer.to_owned(),
            recipe,
            tpm: Some(tpm),
        };
        let watchdog = watch(role.process.id());
        role.watchdog = Some(watchdog.map_err(|source| LaunchError::Start {
            role: role.name(),
            program: role.recipe.program.clone(),
            source,
        })?);
        Ok(role)
    }
}

impl Role {
    /// The role's name.
    pub(super) const fn name(&self) -> &'static str {
        self.recipe.kind.name()
    }

    /// Where its log lies.
    pub(super) fn log(&self) -> PathBuf {
        self.recipe.dir.join(LOG)
    }

    /// Whether the process is over.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// The first line that it prints. Ends with an error when the role ends, and when it stays silent too long.
    pub(super) fn first_line(&mut self, patience: Duration) -> Result<String, LaunchError> {
        let (sender, line) = mpsc::channel();
        if let Some(stdout) = self.stdout.take() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stdout);
                let mut first = String::new();
                let read = reader.read_line(&mut first);
                let _ = sender.send(read.map(|_| first));
                // Whatever else it prints is taken, so that it never waits for a reader.
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
            });
        }
        let until = Instant::now() + patience;
        loop {
            match line.recv_timeout(Duration::from_millis(50)) {
                Ok(Ok(first)) if !first.is_empty() => return Ok(first),
                Ok(_) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let _ = self.process.wait();
                    return Err(self.ended());
                }
                Err(mpsc::RecvTimeoutError::Timeout) if interrupt::is_asked() => return Err(LaunchError::Interrupted),
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(LaunchError::NotReady { seconds: patience.as_secs(), log: self.log() });
                }
            }
        }
    }

    /// Starts the role again on its TPM, which is reset and measured into anew.
    pub(super) fn again(&mut self, patience: Duration) -> Result<(), LaunchError> {
        if self.started.elapsed() < TOO_SOON {
            return Err(self.ended());
        }
        let last = self.last_words();
        output::warn(format!("the {} ended and is started again: {last}", self.name()));
        self.end();
        self.tpm = None;
        let (arguments, issuer) = (self.arguments.clone(), self.issuer.clone());
        let mut next = self.recipe.clone().prepare()?.spawn(&arguments, &issuer)?;
        if self.recipe.kind == RoleKind::Broker {
            next.first_line(patience)?;
        }
        *self = next;
        Ok(())
    }

    /// What it is started with the next time, beside what all roles are.
    pub(super) fn next_time(&mut self, arguments: &[OsString]) {
        self.arguments = arguments.to_vec();
    }

    fn ended(&mut self) -> LaunchError {
        LaunchError::Ended { role: self.name(), said: self.last_words(), log: self.log() }
    }

    /// The error with which it ended, with its hints, or else how it ended.
    fn last_words(&mut self) -> String {
        let mut text = String::new();
        let read = File::open(self.log()).and_then(|mut log| {
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(self.log_start.max(length.saturating_sub(LOG_END))))?;
            log.take(LOG_END).read_to_string(&mut text)
        });
        let lines: Vec<&str> = text.lines().collect();
        let error = lines.iter().rposition(|line| line.starts_with(ERROR) || line.contains(LOGGED_ERROR));
        let said = error.map(|error| lines.iter().skip(error).map(|line| message(line)).collect::<Vec<_>>().join("\n"));
        match (said, self.process.try_wait()) {
            (Some(said), _) if read.is_ok() => said,
            (_, Ok(Some(status))) => status.to_string(),
            (_, Ok(None) | Err(_)) => "it said nothing".to_owned(),
        }
    }

    fn end(&mut self) {
        // The watchdog first, so that it cannot hit a process number that was given away again.
        if let Some(mut watchdog) = self.watchdog.take() {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
        if self.has_ended() {
            return;
        }
        if let Some(process) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, Signal::TERM);
        }
        let until = Instant::now() + GOODBYE;
        while Instant::now() < until && !self.has_ended() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a TPM, once no process of an earlier launcher serves it.
fn start_tpm(state: &Path) -> Result<SoftwareTpm, LaunchError> {
    let until = Instant::now() + LEFT_OVER;
    loop {
        match SoftwareTpm::start(state) {
            Ok(started) => return Ok(started),
            Err(SoftwareTpmError::StateInUse { .. }) if Instant::now() < until => pause()?,
            Err(error) => return Err(LaunchError::SoftwareTpm(error)),
        }
    }
}

fn pause() -> Result<(), LaunchError> {
    std::thread::sleep(Duration::from_millis(50));
    if interrupt::is_asked() { Err(LaunchError::Interrupted) } else { Ok(()) }
}

/// What a line of a role's log says.
fn message(line: &str) -> String {
    let said = serde_json::from_str::<serde_json::Value>(line).ok();
    let said = said.and_then(|line| Some(line.get("fields")?.get("message")?.as_str()?.to_owned()));
    output::plain(said.as_deref().unwrap_or(line.strip_prefix(ERROR).unwrap_or(line)))
}

/// Starts a shell that ends `process` when our end of its input closes, that is, when we die. Nobody is then left to be served.
fn watch(process: u32) -> std::io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", r#"read -r _; kill -TERM "$1"; sleep 3; kill -KILL "$1""#, "sh"])
        .arg(process.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

const TPM: &str = "tpm";
const EVENT_LOG: &str = "event-log";
const STATE: &str = "state";
/// How a role that cannot start begins its message.
const ERROR: &str = "error: ";
/// And how an error stands in a log.
const LOGGED_ERROR: &str = r#""level":"ERROR""#;
const LOG: &str = "log";
/// Bytes of a log that are looked at for the last words.
const LOG_END: u64 = 8 << 10;
/// A role that ends sooner than this after its start would end again.
const TOO_SOON: Duration = Duration::from_secs(5);
/// The broker lets requests that are under way finish for ten seconds.
const GOODBYE: Duration = Duration::from_secs(12);
/// For what a killed launcher left behind to end.
const LEFT_OVER: Duration = Duration::from_secs(15);
