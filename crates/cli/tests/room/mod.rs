//! A room over real processes: `glovebox up` with its broker, its worker and their TPMs, and parties that type commands.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A folder in which parties work, with a room in it.
pub struct Room {
    pub dir: TempDir,
    up: Option<Up>,
    pub broker: String,
    pub address: String,
    /// Where the KBS protocol is served, and what its clients trust.
    pub kbs: Option<Value>,
}

struct Up {
    process: Child,
    _stdout: BufReader<ChildStdout>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Room {
    /// Starts a room with the example's files. `None` where this machine lacks something, which must not be in CI.
    pub fn start() -> Option<Room> {
        ready()?;
        let dir = TempDir::new().unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/actg175");
        for entry in fs::read_dir(examples).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        let mut room = Room { dir, up: None, broker: String::new(), address: "127.0.0.1:0".to_owned(), kbs: None };
        room.up(&["--listen", "127.0.0.1:0"]);
        Some(room)
    }

    /// Starts it, or starts it again.
    pub fn up(&mut self, more: &[&str]) {
        let mut command = glovebox(self.dir.path());
        command.args(["--json", "--home", "operator", "up", "--dir", "room"]).args(more);
        let said = fs::File::options().create(true).append(true).open(self.path("up.log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stdin(Stdio::null()).stderr(said).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("\n}\n") {
            assert!(stdout.read_line(&mut text).unwrap() > 0, "`up` ended: {text}");
        }
        let said: Value = serde_json::from_str(&text).unwrap();
        assert!(said["error"].is_null(), "`up` ended: {text}");
        self.broker = said["broker"].as_str().unwrap().to_owned();
        self.address = said["address"].as_str().unwrap().to_owned();
        self.kbs = Some(said["kbs"].clone()).filter(|kbs| !kbs.is_null());
        self.up = Some(Up { process, _stdout: stdout });
    }

    /// Ends it as Ctrl-C does.
    pub fn down(&mut self) {
        if let Some(mut up) = self.up.take() {
            signal(up.process.id(), Signal::INT);
            let status = up.process.wait().unwrap();
            assert!(status.success(), "{status}");
        }
    }

    /// Ends it as a power cut does: `up` itself first, by SIGKILL.
    pub fn cut(&mut self) {
        let mut up = self.up.take().unwrap();
        up.process.kill().unwrap();
        up.process.wait().unwrap();
    }

    /// The process of a role, by its binary's name.
    pub fn role(&self, program: &str) -> u32 {
        let up = self.up.as_ref().unwrap().process.id();
        let children = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let name = String::from_utf8_lossy(line.split(|byte| *byte == 0).next()?).into_owned();
            (parent == up.to_string() && name.ends_with(program)).then_some(id)
        });
        children.into_iter().next().unwrap()
    }

    /// A party types a command.
    pub fn party(&self, party: &str, arguments: &[&str]) -> Outcome {
        let mut command = glovebox(self.dir.path());
        command.args(["--home", party]).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { status: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// A party types a command that does what it says.
    pub fn does(&self, party: &str, arguments: &[&str]) -> String {
        let outcome = self.party(party, arguments);
        assert_eq!(
            outcome.status,
            0,
            "glovebox --home {party} {}\n{}{}",
            arguments.join(" "),
            outcome.stderr,
            outcome.stdout
        );
        outcome.stdout
    }

    /// A party types a command that is refused with these words.
    pub fn is_refused(&self, party: &str, arguments: &[&str], words: &str) -> Outcome {
        let outcome = self.party(party, arguments);
        assert_eq!(
            outcome.status,
            1,
            "glovebox --home {party} {}\n{}{}",
            arguments.join(" "),
            outcome.stderr,
            outcome.stdout
        );
        let said = format!("{}{}", outcome.stderr, outcome.stdout);
        assert!(said.contains(words), "`{words}` is not in what was said:\n{said}");
        outcome
    }

    /// Makes parties; each one's identity lies in `NAME.identity`.
    pub fn init(&self, parties: &[&str]) {
        for party in parties {
            let line = self.does(party, &["init", "--name", party]);
            fs::write(self.path(&format!("{party}.identity")), line).unwrap();
        }
    }

    /// An owner seals the example's table.
    pub fn seal(&self, owner: &str) {
        self.does(
            owner,
            &["seal", &format!("{owner}.csv"), "--rules", &format!("{owner}.toml"), "--broker", &self.broker],
        );
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            signal(up.process.id(), Signal::TERM);
            let until = Instant::now() + Duration::from_secs(20);
            while Instant::now() < until && matches!(up.process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = up.process.kill();
            let _ = up.process.wait();
        }
    }
}

/// The command, in a folder, with nothing of the developer's own around it.
pub fn glovebox(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glovebox"));
    command.current_dir(dir).env("NO_COLOR", "1").env_remove("GLOVEBOX_HOME");
    command
}

/// Whether swtpm and the roles' binaries are here. In CI they must be.
pub fn ready() -> Option<()> {
    let bins = Path::new(env!("CARGO_BIN_EXE_glovebox")).parent().unwrap();
    let bins = std::env::var_os("GLOVEBOX_BIN_DIR").map_or_else(|| bins.to_owned(), PathBuf::from);
    let programs = ["glovebox-broker", "glovebox-worker"].map(|program| bins.join(program));
    let lacking = match programs.iter().find(|program| !program.is_file()) {
        Some(program) => Some(format!("`{}` is not built: cargo build -p broker -p runtime", program.display())),
        None if Command::new("swtpm").arg("--version").output().is_err() => Some("swtpm is not installed".to_owned()),
        None => None,
    };
    let Some(lacking) = lacking else { return Some(()) };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{lacking}");
    eprintln!("skipped: {lacking}");
    None
}

/// Runs a Python program with pandas; what it prints. `None` where there is none, which must not be in CI.
pub fn python(program: &str, dir: &Path) -> Option<String> {
    let default =
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/glovebox/venv/bin/python");
    let python = std::env::var_os("GLOVEBOX_PYTHON").map_or_else(default, PathBuf::from);
    if !python.exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "`{}` is missing", python.display());
        eprintln!("skipped: `{}` is missing; scripts/python-env.sh makes it", python.display());
        return None;
    }
    let output = Command::new(python).args(["-c", program]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

pub fn signal(process: u32, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    let _ = kill_process(process, signal);
}

/// Whether two CSV texts hold the same rows, numbers being equal to ten digits.
pub fn same_rows(found: &str, expected: &str) -> bool {
    let rows = |text: &str| -> Vec<Vec<String>> {
        text.trim().lines().map(|line| line.split(',').map(number).collect()).collect()
    };
    rows(found) == rows(expected)
}

fn number(field: &str) -> String {
    field.parse::<f64>().map_or_else(|_| field.to_owned(), |number| format!("{number:.9e}"))
}
