//! What is measured of whole programs: how long the demo takes, and how large the broker's dependency tree is.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Failure,
    measure::timed,
    report::{Limit, Row},
};

/// The folder of the roles' binaries: as given, or beside this program.
///
/// # Errors
/// When the system does not tell where this program lies.
pub fn folder(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match given {
        Some(given) => Ok(given),
        None => Ok(env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default()),
    }
}

/// Plays the demo once, with the roles that lie beside it.
pub fn demo(program: &Path, folder: &Path) -> Vec<Row> {
    let limit = Limit::AtMost(60.0);
    let played = timed(|| {
        let mut command = Command::new(program);
        command.arg("demo").arg("--dir").arg(folder.join("demo")).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("`{}` cannot be run: {error}", program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("the demo ended with {}: {}", output.status, said.lines().last().unwrap_or_default()).into())
    });
    vec![match played {
        Ok((time, ())) => Row::new("demo", time / 1e3, "s", limit, "three parties, three computations, receipts"),
        Err(reason) => Row::missing("demo", limit, reason.to_string()),
    }]
}

/// Counts the crates that the broker is built from, itself included.
pub fn broker_crates() -> Vec<Row> {
    let (name, limit) = ("crates of the broker", Limit::AtMost(309.0));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "--package", "broker", "--edges", "normal", "--prefix", "none", "--no-dedupe"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    vec![match tree {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let crates: BTreeSet<String> = text.lines().map(|line| line.replace(" (proc-macro)", "")).collect();
            let heavy = ["age", "parquet", "datafusion"]
                .iter()
                .filter(|heavy| crates.iter().any(|name| name.starts_with(&format!("{heavy} v"))));
            let heavy: Vec<&str> = heavy.copied().collect();
            let note = if heavy.is_empty() {
                "no age, no Parquet, no SQL".to_owned()
            } else {
                format!("with {}", heavy.join(", "))
            };
            let count = crates.iter().filter(|name| !name.trim().is_empty()).count();
            Row::new(name, f64::from(u32::try_from(count).unwrap_or(u32::MAX)), "", limit, note)
        }
        Ok(output) => Row::missing(name, limit, format!("cargo tree ended with {}", output.status)),
        Err(error) => Row::missing(name, limit, format!("cargo cannot be run: {error}")),
    }]
}

/// The Python of the interoperability tests.
pub(crate) fn python() -> PathBuf {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let folder = env::var_os("GLOVEBOX_VENV").map_or_else(|| home.join(".cache/glovebox/venv"), PathBuf::from);
    folder.join("bin/python")
}
