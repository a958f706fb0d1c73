//! DuckDB on the same data, for scale: over the same plain Parquet files, and over an encrypted database of its own.

use std::{path::Path, process::Command};

use serde::Deserialize;

use super::{Times, queries};
use crate::{
    Failure,
    measure::geometric_mean,
    report::{Limit, Row},
};

/// What the script prints: milliseconds per query, medians.
#[derive(Deserialize)]
struct Measured {
    version: String,
    parquet: Vec<f64>,
    encrypted: Vec<f64>,
}

/// Two rows; without DuckDB they say so.
pub(super) fn measure(scale: f64, repetitions: usize, folder: &Path, times: &[Times]) -> Vec<Row> {
    let names = ["DuckDB, the plain files / plain", "DuckDB, its own encrypted file / plain"]
        .map(|name| format!("tpch {scale}: {name}"));
    match script(scale, repetitions, folder) {
        Err(reason) => names.map(|name| Row::missing(name, Limit::None, reason.to_string())).into(),
        Ok(Measured { version, parquet, encrypted }) => {
            let figures = [parquet, encrypted];
            let row = |(name, figures): (String, Vec<f64>)| {
                let cipher = if name.contains("encrypted") { ", its built-in cipher" } else { "" };
                let ratio =
                    geometric_mean(figures.iter().zip(times).map(|(duckdb, times)| duckdb / times.plain_median()));
                let seconds = figures.iter().sum::<f64>() / 1e3;
                Row::new(
                    name,
                    ratio,
                    "",
                    Limit::None,
                    format!("DuckDB {version}, 2 threads{cipher}; {seconds:.2} s in all"),
                )
            };
            names.into_iter().zip(figures).map(row).collect()
        }
    }
}

fn script(scale: f64, repetitions: usize, folder: &Path) -> Result<Measured, Failure> {
    eprintln!("tpch: DuckDB");
    let texts = (1..=queries::COUNT).map(|number| queries::query(number, scale)).collect::<Result<Vec<_>, _>>()?;
    std::fs::write(folder.join("queries.json"), serde_json::to_vec(&texts)?)?;
    let program = folder.join("duckdb.py");
    std::fs::write(&program, SCRIPT)?;
    let python = crate::programs::python();
    let output =
        Command::new(&python).arg(&program).arg(folder).arg(repetitions.to_string()).output().map_err(|error| {
            format!("`{}` cannot be run ({error}); scripts/python-env.sh makes it", python.display())
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().last().unwrap_or("DuckDB failed").to_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

const SCRIPT: &str = include_str!("../../duckdb.py");
