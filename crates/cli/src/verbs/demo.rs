//! `demo`: the whole story with three parties and real data, played with the very commands that a user would type.
//!
//! Each step is this program again, run with a party's own `--home`; the line is printed before it runs, and repeating it by
//! hand in the demo's directory does the same. The room is the one of `up`. A step that ends otherwise than it should ends the demo.
//!
//! Deliberately absent: shortcuts. Nothing here reads a key or a result except through the commands shown.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use attest::Tier;
use serde_json::{Value, json};

use crate::{
    exit::{CliError, Status},
    files::{self, FileError, Readers, Taken},
    launch::{LocalRoom, RoomPlace},
    output::{self, Report},
    verbs::up,
};

/// Play the whole story on this machine: three parties, a real trial's data, two results, one refusal, receipts
///
/// Takes less than a minute and leaves all files behind, so that each step can be repeated by hand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the files go; must not exist yet. `glovebox-demo`, or the next free number after it, if left out
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where `glovebox-broker` and `glovebox-worker` lie; beside this program if left out
    #[arg(long, value_name = "DIR", env = "GLOVEBOX_BIN_DIR", hide_env_values = true)]
    bin_dir: Option<PathBuf>,
}

/// Why a demo ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The directory is taken.
    #[error("`{dir}` exists already\nhint: remove it, or choose another place with `--dir`", dir = .0.display())]
    Taken(PathBuf),
    /// A command could not be run.
    #[error("`{command}` could not be run")]
    Start {
        /// The line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A command ended with another status than the story has.
    #[error("`{command}` ended with {found} where the story has status {expected}\nhint: what it said is above; the files are in `{dir}`", dir = .dir.display())]
    Deviated {
        /// The line.
        command: String,
        /// How it ended.
        found: String,
        /// How it should have.
        expected: i32,
        /// The demo's directory.
        dir: PathBuf,
    },
}

impl DemoError {
    /// How the command ends.
    pub(crate) const fn status(&self) -> Status {
        match self {
            DemoError::Taken(_) => Status::Refused,
            DemoError::Start { .. } | DemoError::Deviated { .. } => Status::Error,
        }
    }
}

/// Plays the story.
pub(crate) async fn run(args: Args) -> Result<Report, CliError> {
    let begun = Instant::now();
    let programs = up::programs(args.bin_dir)?;
    let dir = free(args.dir)?;
    files::private_directory(&dir)?;
    for (name, contents) in FILES {
        files::write(&dir.join(name), contents, Readers::Everyone, Taken::Keep)?;
    }
    let mut stage = Stage { dir, this: std::env::current_exe().map_err(CliError::Runtime)?, commands: Vec::new() };
    let room = open_room(&stage.dir, programs).await?;
    let broker = format!("{}@{}", room.broker().key, room.broker().address);
    prepare(&mut stage, &broker).await?;
    consent(&mut stage).await?;
    let results = compute(&mut stage).await?;
    prove(&mut stage).await?;
    up::blocking(move || drop(room)).await;
    Ok(tell(&stage, results, begun))
}

/// A directory that is not there yet.
fn free(asked: Option<PathBuf>) -> Result<PathBuf, DemoError> {
    match asked {
        Some(dir) if dir.exists() => Err(DemoError::Taken(dir)),
        Some(dir) => Ok(dir),
        None => {
            let numbered = (2..1000).map(|number| PathBuf::from(format!("{DIR}-{number}")));
            let mut free = std::iter::once(PathBuf::from(DIR)).chain(numbered).filter(|dir| !dir.exists());
            free.next().ok_or_else(|| DemoError::Taken(DIR.into()))
        }
    }
}

/// The room, as `up` starts it; on a free port, which it keeps.
async fn open_room(dir: &Path, programs: PathBuf) -> Result<LocalRoom, CliError> {
    heading("A broker and a worker start, each with a software TPM that measured its binary");
    command("glovebox up --dir room");
    let free = std::net::SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), 0);
    let place = RoomPlace { dir: dir.join("room"), listen: Some(free), kbs: None, programs };
    let room = up::blocking(move || LocalRoom::start(&place)).await?;
    indented(&format!("broker {}@{}", room.broker().key, room.broker().address));
    indented(&format!("caution: the tier is {}: {}", Tier::SoftwareTpm.name(), Tier::SoftwareTpm.words()));
    Ok(room)
}

async fn prepare(stage: &mut Stage, broker: &str) -> Result<(), CliError> {
    heading("Three parties make their keys and send one another the public line");
    for party in PARTIES {
        stage.play(party, &["init", "--name", party], Shown::All, 0, Some(&format!("{party}.identity"))).await?;
    }
    heading("The hospital and the registry seal their tables, each on its own machine, with rules for every column");
    for owner in ["hospital", "registry"] {
        let (table, rules) = (format!("{owner}.csv"), format!("{owner}.toml"));
        stage.play(owner, &["seal", &table, "--rules", &rules, "--broker", broker], Shown::All, 0, None).await?;
    }
    Ok(())
}

async fn consent(stage: &mut Stage) -> Result<(), CliError> {
    heading("A list of patients would not pass the rules; `check` says so before anybody is asked");
    let check =
        ["check", "--sql", "patients-list.sql", "--manifest", "hospital.manifest.json", "registry.manifest.json"];
    stage.play("university", &check, Shown::All, 1, None).await?;
    heading(
        "Each party reads the agreement in plain words, appraises the broker, and consents; owners deposit their keys",
    );
    for party in PARTIES {
        let shown = if party == "hospital" { Shown::All } else { Shown::Results };
        stage.play(party, &["agree", "trial.toml", "--yes"], shown, 0, None).await?;
    }
    Ok(())
}

async fn compute(stage: &mut Stage) -> Result<Vec<Value>, CliError> {
    let mut results = Vec::new();
    for (computation, says) in COMPUTATIONS {
        heading(says);
        stage.play("university", &["run", "trial", "--computation", computation], Shown::All, 0, None).await?;
        let result = format!("{computation}.result");
        let csv = stage.play("university", &["open", &result], Shown::Table, 0, None).await?;
        results.push(json!({ "computation": computation, "result": stage.dir.join(&result), "csv": csv }));
    }
    heading("Thresholds do not stop differencing: consent to the whole set of computations, read together");
    for line in DIFFERENCE {
        indented(line);
    }
    heading("The registry is no recipient of `by-arm`");
    stage.play("registry", &["open", "by-arm.result"], Shown::All, 1, None).await?;
    Ok(results)
}

async fn prove(stage: &mut Stage) -> Result<(), CliError> {
    heading("Anyone can verify the receipts, offline");
    for (computation, _) in COMPUTATIONS {
        let (receipt, result) = (format!("{computation}.receipt"), format!("{computation}.result"));
        let mut verify = vec!["verify", receipt.as_str(), "--result", result.as_str(), "--party"];
        verify.extend(["hospital.identity", "registry.identity", "university.identity"]);
        stage.play("university", &verify, Shown::All, 0, None).await?;
    }
    Ok(())
}

fn tell(stage: &Stage, results: Vec<Value>, begun: Instant) -> Report {
    let seconds = begun.elapsed().as_secs_f64();
    let dir = stage.dir.display();
    let words = format!(
        "\nreceipt verified; {count} steps in {seconds:.1} s. All files are in {dir}:\n\n    \
         *.csv *.toml *.sql       the data, the rules, the agreement, the computations\n    \
         hospital.sealed/ ...     what an owner hands out: ciphertext, and a signed manifest beside it\n    \
         *.result *.receipt       what a run leaves: a result for its recipients, a proof for everyone\n    \
         hospital/ registry/ university/   the parties' own keys\n    \
         room/                    broker and worker, with their logs\n\n\
         To go on by hand:\n\n    \
         cd {dir}\n{path}    \
         glovebox up --dir room                         # in a terminal of its own\n    \
         glovebox --home university run trial --computation by-arm --out again.result\n    \
         glovebox --home hospital log                   # what happened to the hospital's data\n    \
         glovebox --home hospital revoke trial          # and no more runs of it\n\n\
         caution: the tier was {tier}: {caution}",
        count = stage.commands.len(),
        path = search_path(&stage.this),
        tier = Tier::SoftwareTpm.name(),
        caution = Tier::SoftwareTpm.words(),
    );
    let document = json!({
        "dir": stage.dir,
        "seconds": seconds,
        "verified": true,
        "results": results,
        "commands": stage.commands,
        "tier": Tier::SoftwareTpm,
        "caution": Tier::SoftwareTpm.words(),
    });
    Report::done(words, document)
}

/// The line that puts this program on the search path, where it is not.
fn search_path(this: &Path) -> String {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&places).any(|place| place.join("glovebox").is_file());
    match this.parent() {
        Some(folder) if !found => format!("    export PATH={}:$PATH\n", folder.display()),
        Some(_) | None => String::new(),
    }
}

/// Where the story plays, and what was played.
struct Stage {
    dir: PathBuf,
    this: PathBuf,
    commands: Vec<String>,
}

/// What is shown of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    All,
    /// Standard output alone: the words have been shown before.
    Results,
    /// Standard output as a table.
    Table,
}

impl Stage {
    /// Plays one command for a party; returns what it printed.
    async fn play(
        &mut self,
        party: &str,
        arguments: &[&str],
        shown: Shown,
        expected: i32,
        into: Option<&str>,
    ) -> Result<String, CliError> {
        let mut line = format!("glovebox --home {party} {}", arguments.join(" "));
        if let Some(file) = into {
            line.push_str(&format!(" > {file}"));
        }
        command(&line);
        let mut step = tokio::process::Command::new(&self.this);
        step.args(["--home", party]).args(arguments).current_dir(&self.dir).env_remove("GLOVEBOX_HOME");
        step.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        if let Some(file) = into {
            let path = self.dir.join(file);
            step.stdout(File::create(&path).map_err(|source| FileError::Write { path, source })?);
        }
        let start = |source| DemoError::Start { command: line.clone(), source };
        let done = step.spawn().map_err(start)?.wait_with_output().await.map_err(start)?;
        let (said, printed) =
            (String::from_utf8_lossy(&done.stderr), String::from_utf8_lossy(&done.stdout).into_owned());
        if shown == Shown::All || done.status.code() != Some(expected) {
            indented(&said);
        }
        match shown {
            Shown::Table => indented(&table(&printed)),
            Shown::All | Shown::Results => indented(&printed),
        }
        if done.status.code() != Some(expected) {
            let found = done.status.code().map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"));
            return Err(DemoError::Deviated { command: line, found, expected, dir: self.dir.clone() }.into());
        }
        self.commands.push(line);
        Ok(printed)
    }
}

fn heading(text: &str) {
    output::note(format!("\n{HEADING}{text}{HEADING:#}"));
}

fn command(line: &str) {
    output::note(format!("{COMMAND}$ {line}{COMMAND:#}"));
}

fn indented(text: &str) {
    for line in text.trim_end().lines() {
        output::note(format!("    {line}"));
    }
}

/// A CSV text with its columns aligned. The demo's results have no quoted fields.
fn table(csv: &str) -> String {
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|field| field.len()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<&str>| {
        let fields = row.iter().zip(&widths).map(|(field, width)| format!("{field:<width$}"));
        fields.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

const DIR: &str = "glovebox-demo";

const PARTIES: [&str; 3] = ["hospital", "registry", "university"];

const COMPUTATIONS: [(&str, &str); 2] = [
    ("by-arm", "The university runs the first computation, and opens what comes of it"),
    (
        "by-arm-and-karnofsky",
        "And the second, in finer groups: those of fewer than ten patients are missing, and nothing in this result tells how many there were",
    ),
];

/// What the two results show together; `agree` warned of it.
const DIFFERENCE: [&str; 3] = [
    "The university has both results, so it can subtract: for zidovudine+zalcitabine, `by-arm` less the three groups shown",
    "above leaves a group of three patients, all three with an event. `agree` warned each party that these two can be",
    "subtracted; an owner who minds consents to one of them only.",
];

const FILES: [(&str, &[u8]); 8] = [
    ("hospital.csv", include_bytes!("../../../../examples/actg175/hospital.csv")),
    ("hospital.toml", include_bytes!("../../../../examples/actg175/hospital.toml")),
    ("registry.csv", include_bytes!("../../../../examples/actg175/registry.csv")),
    ("registry.toml", include_bytes!("../../../../examples/actg175/registry.toml")),
    ("trial.toml", include_bytes!("../../../../examples/actg175/trial.toml")),
    ("by-arm.sql", include_bytes!("../../../../examples/actg175/by-arm.sql")),
    ("by-arm-and-karnofsky.sql", include_bytes!("../../../../examples/actg175/by-arm-and-karnofsky.sql")),
    ("patients-list.sql", include_bytes!("../../../../examples/actg175/patients-list.sql")),
];

const HEADING: anstyle::Style = anstyle::AnsiColor::Cyan.on_default().bold();
const COMMAND: anstyle::Style = anstyle::Style::new().bold();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns() {
        assert_eq!(table("arm,n\nlong name,1\n"), "arm        n\nlong name  1");
        assert_eq!(table(""), "");
    }
}
