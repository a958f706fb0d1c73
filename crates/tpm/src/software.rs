//! A software TPM for a laptop: swtpm, provisioned with keys and certificates, started and ended with its owner.
//!
//! Everything lies in two directories that the caller names: the TPM's state and a certificate authority of its own;
//! neither the system's swtpm configuration nor its authority is touched or needed. Provisioning is done aside and moved
//! into place at the end, so that an interrupted one leaves no TPM without certificate. An existing TPM is never
//! overwritten, since its keys are somebody's identity.
//!
//! The sockets lie in a short private directory, because a Unix socket's path may have 107 bytes only. swtpm serves one
//! connection at a time and goes on listening when it ends, so a role that restarts finds it again. A small shell
//! process watches the owner: when that is killed, swtpm ends too.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::address::Address;
use crate::error::TpmError;
use crate::tpm::Tpm;

/// A running swtpm; it ends when this is dropped, or when the process that holds it dies.
#[derive(Debug)]
pub struct SoftwareTpm {
    process: Child,
    watchdog: Child,
    runtime: TempDir,
}

impl SoftwareTpm {
    /// Makes a new TPM in `dir`, with RSA and P-384 endorsement keys certified by the authority in `ca_dir` (made if it is
    /// not there), and active SHA-1 and SHA-256 banks. Does nothing when `dir` holds a TPM already.
    ///
    /// # Errors
    /// [`SoftwareTpmError`] says whether swtpm is missing, failed, or a path cannot be used.
    pub fn provision(dir: &Path, ca_dir: &Path) -> Result<(), SoftwareTpmError> {
        if Self::is_provisioned(dir) {
            return Ok(());
        }
        let setup = find_program("swtpm_setup")?;
        let authority_tool = find_program("swtpm_localca").or_else(|_| find_program("swtpm-localca"))?;
        private_directory(dir)?;
        private_directory(ca_dir)?;
        let ca_dir = fs::canonicalize(ca_dir).map_err(files(ca_dir))?;
        let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(dir).map_err(files(dir))?;
        let aside_path = fs::canonicalize(aside.path()).map_err(files(dir))?;
        write_configuration(&aside_path, &ca_dir, &authority_tool)?;
        let output = Command::new(setup)
            .args([
                "--tpm2",
                "--create-ek-cert",
                "--pcr-banks",
                "sha1,sha256",
                "--config",
                CONFIGURATION,
                "--tpmstate",
                ".",
            ])
            .current_dir(&aside_path)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(files(dir))?;
        if !output.status.success() {
            let log = [output.stdout, output.stderr].concat();
            return Err(SoftwareTpmError::Provision { log: last_lines(&log) });
        }
        let made = aside_path.join(STATE);
        File::open(&made).and_then(|state| state.sync_all()).map_err(files(&made))?;
        fs::rename(&made, dir.join(STATE)).map_err(files(dir))
    }

    /// True when `dir` holds a provisioned TPM.
    #[must_use]
    pub fn is_provisioned(dir: &Path) -> bool {
        dir.join(STATE).is_file()
    }

    /// Starts the TPM in `dir` and waits until it answers.
    ///
    /// # Errors
    /// [`SoftwareTpmError::StateInUse`] when it runs already; [`SoftwareTpmError::NotProvisioned`] when there is none.
    pub fn start(dir: &Path) -> Result<SoftwareTpm, SoftwareTpmError> {
        if !Self::is_provisioned(dir) {
            return Err(SoftwareTpmError::NotProvisioned { dir: dir.to_owned() });
        }
        let program = find_program("swtpm")?;
        let runtime = runtime_directory()?;
        let log = File::create(runtime.path().join(LOG)).map_err(files(runtime.path()))?;
        let mut process = Command::new(program)
            .args(["socket", "--tpm2", "--tpmstate", "dir=.", "--flags", "not-need-init,startup-clear", "--server"])
            .arg(unix_option(&runtime.path().join(DATA_SOCKET)))
            .arg("--ctrl")
            .arg(unix_option(&runtime.path().join(CONTROL_SOCKET)))
            .current_dir(dir)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(files(runtime.path()))?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(files(dir))?;
        let watchdog = match watch(process.id(), runtime.path()) {
            Ok(watchdog) => watchdog,
            Err(source) => {
                end(&mut process);
                return Err(files(dir)(source));
            }
        };
        let mut started = SoftwareTpm { process, watchdog, runtime };
        started.wait_until_it_answers(dir)?;
        Ok(started)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::UnixSocket(self.runtime.path().join(DATA_SOCKET))
    }

    /// The process that is the TPM.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// True while the process lives.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// The certificates (DER) of the authority in `ca_dir`: its root, then the one that issues.
    ///
    /// # Errors
    /// [`SoftwareTpmError::Files`] when one is not there, [`SoftwareTpmError::Certificate`] when it is not readable.
    pub fn ca_certificates(ca_dir: &Path) -> Result<Vec<Vec<u8>>, SoftwareTpmError> {
        let read = |name: &str| {
            let path = ca_dir.join(name);
            let text = fs::read(&path).map_err(files(&path))?;
            match x509_parser::pem::parse_x509_pem(&text) {
                Ok((_, pem)) if pem.label == "CERTIFICATE" => Ok(pem.contents),
                Ok(_) | Err(_) => Err(SoftwareTpmError::Certificate { path }),
            }
        };
        ["swtpm-localca-rootca-cert.pem", "issuercert.pem"].into_iter().map(read).collect()
    }

    fn wait_until_it_answers(&mut self, dir: &Path) -> Result<(), SoftwareTpmError> {
        let patience = Instant::now() + START_LIMIT;
        loop {
            if !self.is_running() {
                let log = self.log();
                return Err(if log.contains("Could not lock") {
                    SoftwareTpmError::StateInUse { dir: dir.to_owned() }
                } else {
                    SoftwareTpmError::DidNotStart { log }
                });
            }
            match Tpm::open(&self.address()) {
                Ok(_) => return Ok(()),
                Err(TpmError::Open { .. }) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(3)),
                Err(TpmError::Closed { .. }) if Instant::now() < patience => {}
                Err(TpmError::Open { .. }) => {
                    return Err(SoftwareTpmError::DidNotStart { log: self.log() });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn log(&self) -> String {
        last_lines(&fs::read(self.runtime.path().join(LOG)).unwrap_or_default())
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        // The watchdog first, so that it cannot hit a process number that was given away again.
        end(&mut self.watchdog);
        if self.is_running() {
            let _ = say_goodbye(&self.runtime.path().join(DATA_SOCKET));
        }
        end(&mut self.process);
    }
}

/// Why a software TPM could not be made or started.
#[derive(Debug, thiserror::Error)]
pub enum SoftwareTpmError {
    /// A program of swtpm is missing.
    #[error("swtpm is not installed: `{program}` is not on the search path\nhint: apt-get install swtpm swtpm-tools")]
    NotInstalled {
        /// The program.
        program: &'static str,
    },
    /// There is no TPM in the directory.
    #[error("there is no software TPM in `{}`\nhint: provision one first", .dir.display())]
    NotProvisioned {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process serves the same TPM.
    #[error("the software TPM in `{}` is running already\nhint: end the other process, or use another directory", .dir.display())]
    StateInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// swtpm_setup failed.
    #[error("swtpm_setup could not make a TPM: {log}")]
    Provision {
        /// The end of what it printed.
        log: String,
    },
    /// swtpm ended at once, or did not listen within five seconds.
    #[error("swtpm did not start: {log}")]
    DidNotStart {
        /// The end of what it printed.
        log: String,
    },
    /// The authority's directory has a name that swtpm's configuration cannot hold.
    #[error("`{}` cannot be the directory of a certificate authority\nhint: avoid `#`, line breaks and spaces at the ends in its path", .path.display())]
    Path {
        /// The directory.
        path: PathBuf,
    },
    /// A certificate of the authority is not readable.
    #[error("`{}` is not a certificate in PEM form", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("cannot use `{}`", .path.display())]
    Files {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It runs, but does not answer as a TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
}

fn files(path: &Path) -> impl Fn(io::Error) -> SoftwareTpmError {
    let path = path.to_owned();
    move |source| SoftwareTpmError::Files { path: path.clone(), source }
}

fn find_program(program: &'static str) -> Result<PathBuf, SoftwareTpmError> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&search).chain([PathBuf::from("/usr/bin"), PathBuf::from("/usr/share/swtpm")]);
    let mut found = places.map(|place| place.join(program)).filter(|path| path.is_absolute() && path.is_file());
    found.next().ok_or(SoftwareTpmError::NotInstalled { program })
}

fn private_directory(path: &Path) -> Result<(), SoftwareTpmError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(files(path))
}

/// Writes the three files from which swtpm_setup and swtpm_localca learn where the authority is.
fn write_configuration(aside: &Path, ca_dir: &Path, authority_tool: &Path) -> Result<(), SoftwareTpmError> {
    let text = |path: &Path| match path.to_str() {
        Some(text) if !text.contains(['#', '\n', '\r']) && text.trim() == text => Ok(text.to_owned()),
        _ => Err(SoftwareTpmError::Path { path: path.to_owned() }),
    };
    let (aside_text, ca) = (text(aside)?, text(ca_dir)?);
    let setup = format!(
        "create_certs_tool = {}\ncreate_certs_tool_config = {aside_text}/localca.conf\n\
         create_certs_tool_options = {aside_text}/localca.options\nactive_pcr_banks = sha1,sha256\n",
        text(authority_tool)?
    );
    let authority = format!(
        "statedir = {ca}\nsigningkey = {ca}/signkey.pem\nissuercert = {ca}/issuercert.pem\ncertserial = {ca}/certserial\n"
    );
    let options = "--platform-manufacturer Glovebox\n--platform-version 1\n--platform-model software-tpm\n";
    for (name, content) in [(CONFIGURATION, setup.as_str()), ("localca.conf", &authority), ("localca.options", options)]
    {
        let path = aside.join(name);
        fs::write(&path, content).map_err(files(&path))?;
    }
    Ok(())
}

/// A private directory whose path leaves room for a socket's name.
fn runtime_directory() -> Result<TempDir, SoftwareTpmError> {
    let mut base = std::env::temp_dir();
    if base.as_os_str().len() > MAX_RUNTIME_BASE || base.to_string_lossy().contains(',') {
        base = PathBuf::from("/tmp");
    }
    tempfile::Builder::new().prefix("glovebox-tpm-").tempdir_in(&base).map_err(files(&base))
}

fn unix_option(path: &Path) -> std::ffi::OsString {
    [OsStr::new("type=unixio,path="), path.as_os_str()].into_iter().collect()
}

/// Starts a shell that ends `process` when our end of its input closes, that is, when we die.
fn watch(process: u32, runtime: &Path) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", r#"read -r _; kill -TERM "$1"; rm -f "$2"/*; rmdir "$2""#, "sh"])
        .arg(process.to_string())
        .arg(runtime)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// Sends TPM2_Shutdown, so that the clock stays trustworthy; gives up soon, since somebody else may hold the connection.
fn say_goodbye(socket: &Path) -> io::Result<()> {
    let mut socket = UnixStream::connect(socket)?;
    socket.set_read_timeout(Some(GOODBYE_LIMIT))?;
    socket.set_write_timeout(Some(GOODBYE_LIMIT))?;
    socket.write_all(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x45, 0, 0])?;
    socket.read_exact(&mut [0; 10])
}

fn last_lines(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(3);
    lines.get(from..).unwrap_or_default().join("; ")
}

/// The file in which swtpm keeps a TPM 2.0.
const STATE: &str = "tpm2-00.permall";
const CONFIGURATION: &str = "setup.conf";
const DATA_SOCKET: &str = "data.sock";
const CONTROL_SOCKET: &str = "ctrl.sock";
const LOG: &str = "swtpm.log";
const START_LIMIT: Duration = Duration::from_secs(5);
const GOODBYE_LIMIT: Duration = Duration::from_millis(500);
/// A socket's path may have 107 bytes; ours adds about 35.
const MAX_RUNTIME_BASE: usize = 60;
