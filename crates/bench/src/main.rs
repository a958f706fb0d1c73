//! `glovebox-bench`: measures, prints one table, and fails when a limit is not kept.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bench::{
    Failure, kbs, measure, programs, release,
    report::{self, Limit, Report, Row},
    room::Room,
    run, sealing, tpch,
};
use clap::{Parser, ValueEnum};
use envelope::Digest;

/// As in the worker, whose work is measured here; the plain side has it too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures Glovebox against its limits on this machine.
#[derive(Parser)]
#[command(name = "glovebox-bench", version)]
struct Arguments {
    /// What to measure; everything if left out
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// The scale of TPC-H; the limits are meant for 1
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
    /// Repetitions that count; one more goes before them
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    repetitions: usize,
    /// Exchanges of each client
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    exchanges: usize,
    /// Challenges over the channel
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000)]
    challenges: usize,
    /// Where `glovebox-broker` and `glovebox-worker` lie; beside this program if left out
    #[arg(long, value_name = "DIR", env = "GLOVEBOX_BIN_DIR")]
    bin_dir: Option<PathBuf>,
    /// The `glovebox` whose demo is timed: the one that `make demo` builds; beside this program if left out
    #[arg(long, value_name = "PROGRAM")]
    demo: Option<PathBuf>,
    /// A document in which the table takes the place of the last one
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Prints JSON in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// 22 queries, sealed and guarded against plain
    Tpch,
    /// Sealing against writing plain Parquet
    Seal,
    /// Challenge, appraisal, release
    Release,
    /// Exchanges of the KBS protocol
    Kbs,
    /// A whole run on a tiny table
    Run,
    /// The demo's time
    Demo,
    /// The size of the broker's dependency tree
    Crates,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (json, record) = (arguments.json, arguments.record.clone());
    let measured =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::from).and_then(|runtime| {
            runtime.block_on(async {
                // Given up, it drops the rooms, and with them their processes.
                tokio::select! {
                    report = all(arguments) => report,
                    _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
                }
            })
        });
    let report = match measured {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    if let Some(Err(error)) = record.map(|document| keep(&report, &document)) {
        eprintln!("error: the table cannot be recorded: {error}");
        return ExitCode::from(2);
    }
    let text = if json { serde_json::to_string_pretty(&report).unwrap_or_default() + "\n" } else { report.table() };
    print!("{text}");
    if report.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn keep(report: &Report, document: &Path) -> Result<(), Failure> {
    let text = report::replace(&fs::read_to_string(document)?, &report.markdown())?;
    Ok(fs::write(document, text)?)
}

async fn all(arguments: Arguments) -> Result<Report, Failure> {
    let machine = measure::machine();
    if cfg!(debug_assertions) {
        eprintln!("warning: this is not a release build; its figures mean little");
    }
    let mut rows = Vec::new();
    for part in [Part::Tpch, Part::Seal, Part::Release, Part::Kbs, Part::Run, Part::Demo, Part::Crates] {
        if arguments.parts.is_empty() || arguments.parts.contains(&part) {
            let measured = one(part, &arguments).await;
            rows.extend(
                measured.unwrap_or_else(|reason| vec![Row::missing(name(part), Limit::AtMost(0.0), words(&*reason))]),
            );
        }
    }
    Ok(Report { machine, rows })
}

async fn one(part: Part, arguments: &Arguments) -> Result<Vec<Row>, Failure> {
    let Arguments { scale, repetitions, exchanges, challenges, .. } = *arguments;
    let folder = tempfile::Builder::new().prefix("glovebox-bench-").tempdir()?;
    let folder = folder.path();
    let programs = programs::folder(arguments.bin_dir.clone())?;
    match part {
        Part::Tpch => tpch::measure(scale, repetitions, folder).await,
        Part::Seal => sealing::measure(scale, repetitions, folder),
        Part::Release => {
            let mut rows = release::challenges_in_process()?;
            let load = release::Load { clients: CLIENTS, exchanges, challenges };
            let room = Room::start(&programs, folder, CLIENTS, &Digest::of(b"glovebox-bench")).await?;
            rows.extend(release::measure(room, load).await?);
            Ok(rows)
        }
        Part::Kbs => kbs::measure(&programs, folder, KBS_LOAD).await,
        Part::Run => {
            let program = programs.join("glovebox-worker");
            let binary = fs::read(&program).map_err(|error| format!("`{}`: {error}", program.display()))?;
            let room = Room::start(&programs, folder, 2, &Digest::of(&binary)).await?;
            run::measure(room, &programs, folder, 10).await
        }
        Part::Demo => Ok(programs::demo(&arguments.demo.clone().unwrap_or_else(|| programs.join("glovebox")), folder)),
        Part::Crates => Ok(programs::broker_crates()),
    }
}

const fn name(part: Part) -> &'static str {
    match part {
        Part::Tpch => "tpch",
        Part::Seal => "sealing",
        Part::Release => "release",
        Part::Kbs => "kbs",
        Part::Run => "a run on tiny data",
        Part::Demo => "demo",
        Part::Crates => "crates of the broker",
    }
}

/// An error with what caused it, on one line.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|cause| cause.to_string().lines().next().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(": ")
}

const CLIENTS: usize = 8;
const KBS_LOAD: kbs::Load = kbs::Load { clients: 32, exchanges: 150, gets: 1_500, auths: 50_000 };
