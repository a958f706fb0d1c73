//! TPC-H: sealed and guarded against plain, in one engine.
//!
//! The plain side is the stock engine with its tables registered, its metadata cached and the same settings, memory and number of
//! partitions as a run has. The guarded side does for every query what a worker does: it checks the query against the rules and executes
//! the guarded plan over the sealed files with the keys of exactly the columns that it reads. What a worker does once per file before that
//! (the digest of the whole file, every page header) is measured beside it, as *opening*, since it is paid per run and not per query plan.
//!
//! All columns are `open`, so this measures encryption and the check; guards that count entities cost what their aggregates cost.
//! Repetitions alternate between the two sides, the first is thrown away, medians are compared.

pub mod data;
mod duckdb;
pub mod queries;

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc, time::Instant};

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use datafusion::{
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::{ParquetReadOptions, SessionConfig, SessionContext},
};
use envelope::keys::ColumnKey;
use object_store::local::LocalFileSystem;
use runtime::sql::{self, CheckedPlan, Limits, OpenFile, SourceTable, Sources, TableTerms};
use table::Sealed;

use crate::{
    Failure,
    measure::{geometric_mean, median, milliseconds},
    report::{Limit, Row},
};
use data::Table;

/// One query on both sides, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// Planning and execution by the stock engine on plain files.
    pub plain: Vec<f64>,
    /// The check of the rules.
    pub check: Vec<f64>,
    /// Execution of the guarded plan on sealed files.
    pub execute: Vec<f64>,
    /// Opening the sealed files of the query.
    pub open: Vec<f64>,
}

/// A value of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// Any number.
    Number(f64),
    /// Everything else, as text.
    Text(String),
}

/// Generates the tables at a scale, runs all queries on both sides and compares every result.
///
/// # Errors
/// When a query is refused, fails, or its two results differ.
pub async fn measure(scale: f64, repetitions: usize, folder: &Path) -> Result<Vec<Row>, Failure> {
    eprintln!("tpch: generating the tables at scale {scale}");
    let tables = data::generate(scale, folder)?;
    let plain = plain_session(&tables).await?;
    let mut times = vec![Times::default(); 22];
    let (mut answered, mut unlike) = (0_u32, Vec::new());
    for repetition in 0..=repetitions {
        eprintln!("tpch: repetition {repetition} of {repetitions}");
        for (number, times) in (1..).zip(&mut times) {
            let text = queries::query(number, scale)?;
            let once = both(&text, &tables, &plain, repetition % 2 == 0)
                .await
                .map_err(|error| format!("query {number}: {error}"))?;
            same(&once.plain_rows, &once.sealed_rows)
                .map_err(|error| format!("query {number}: sealed and plain differ: {error}"))?;
            if repetition == 0 {
                match as_published(number, scale, &once.sealed_rows) {
                    Ok(published) => answered += u32::from(published),
                    Err(difference) => unlike.push(difference),
                }
            } else {
                times.add(&once);
            }
        }
    }
    let mut rows = rows(&times, scale);
    if is_published(scale) {
        let note = if unlike.is_empty() { "text exactly, numbers to a cent".to_owned() } else { unlike.join("; ") };
        rows.push(Row::new(
            format!("tpch {scale}: results as published"),
            f64::from(answered),
            "",
            Limit::AtLeast(f64::from(queries::COUNT)),
            note,
        ));
    }
    rows.extend(duckdb::measure(scale, repetitions, folder, &times));
    Ok(rows)
}

/// The same without times: every query passes the check, and both sides give the same rows.
///
/// # Errors
/// As [`measure`].
pub async fn compare(scale: f64, folder: &Path) -> Result<(), Failure> {
    let tables = data::generate(scale, folder)?;
    let plain = plain_session(&tables).await?;
    for number in 1..=queries::COUNT {
        let text = queries::query(number, scale)?;
        let once = both(&text, &tables, &plain, true).await.map_err(|error| format!("query {number}: {error}"))?;
        same(&once.plain_rows, &once.sealed_rows)
            .map_err(|error| format!("query {number}: sealed and plain differ: {error}"))?;
    }
    Ok(())
}

impl Times {
    fn add(&mut self, once: &Once) {
        self.plain.push(once.plain);
        self.check.push(once.check);
        self.execute.push(once.execute);
        self.open.push(once.open);
    }

    /// The median of the plain side.
    pub fn plain_median(&self) -> f64 {
        median(&self.plain)
    }
}

/// One query once on both sides.
struct Once {
    plain: f64,
    check: f64,
    execute: f64,
    open: f64,
    plain_rows: Vec<Vec<Cell>>,
    sealed_rows: Vec<Vec<Cell>>,
}

async fn both(text: &str, tables: &[Table], plain: &SessionContext, plain_first: bool) -> Result<Once, Failure> {
    let mut first = None;
    if plain_first {
        first = Some(run_plain(text, plain).await?);
    }
    let terms: Vec<TableTerms<'_>> = tables
        .iter()
        .map(|t| TableTerms { name: t.name, columns: &t.columns, rules: &t.rules, owner: "tpc" })
        .collect();
    let began = Instant::now();
    let plan = sql::check(text, &terms).await?;
    let check = milliseconds(began.elapsed());
    let began = Instant::now();
    let sources = open(&plan, tables)?;
    let open = milliseconds(began.elapsed());
    let began = Instant::now();
    let answer = sql::execute(&plan, &sources, &Limits::default()).await?;
    let execute = milliseconds(began.elapsed());
    let (plain, plain_batches) = match first {
        Some(first) => first,
        None => run_plain(text, plain).await?,
    };
    Ok(Once { plain, check, execute, open, plain_rows: cells(&plain_batches)?, sealed_rows: cells(answer.batches())? })
}

async fn run_plain(text: &str, plain: &SessionContext) -> Result<(f64, Vec<RecordBatch>), Failure> {
    let began = Instant::now();
    let batches = plain.sql(text).await?.collect().await?;
    Ok((milliseconds(began.elapsed()), batches))
}

/// Opens the sealed files that a plan reads, with the keys of the columns that it reads, as a worker does.
fn open(plan: &CheckedPlan, tables: &[Table]) -> Result<Sources, Failure> {
    let store = Arc::new(LocalFileSystem::new());
    let mut sources = Sources::new();
    for (name, columns) in plan.columns() {
        let table = tables.iter().find(|table| table.name == name).ok_or("a plan reads an unknown table")?;
        let keys: BTreeMap<String, ColumnKey> =
            columns.iter().map(|column| (column.clone(), table.key.column(&table.file, column))).collect();
        let mut input = File::open(&table.sealed)?;
        let sealed = Sealed::check(&mut input, &table.contents, &table.file, &table.key.footer(&table.file))?;
        sealed.check_columns(&mut input, &keys)?;
        let path = object_store::path::Path::from_absolute_path(&table.sealed)?;
        let decryption = sealed.decryption_properties(&keys)?;
        let file = OpenFile { path, bytes: table.contents.bytes, decryption };
        sources = sources.with(name, SourceTable::Sealed { store: store.clone(), files: vec![file] });
    }
    Ok(sources)
}

/// The stock engine over the plain files, with the settings and bounds of a run.
async fn plain_session(tables: &[Table]) -> Result<SessionContext, Failure> {
    let limits = Limits::default();
    let mut config = SessionConfig::new().with_information_schema(false).with_target_partitions(limits.partitions);
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.enable_page_index = false;
    parquet.bloom_filter_on_read = false;
    parquet.pushdown_filters = false;
    let environment = RuntimeEnvBuilder::new()
        .with_memory_limit(limits.memory_bytes, 1.0)
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()?;
    let session = SessionContext::new_with_config_rt(config, environment);
    for table in tables {
        let path = table.plain.to_str().ok_or("the folder's path is not text")?;
        session.register_parquet(table.name, path, ParquetReadOptions::default()).await?;
    }
    Ok(session)
}

/// Batches as rows of cells.
fn cells(batches: &[RecordBatch]) -> Result<Vec<Vec<Cell>>, Failure> {
    let mut rows = Vec::new();
    for batch in batches {
        let mut columns = Vec::new();
        for column in batch.columns() {
            columns.push(if column.data_type().is_numeric() {
                let numbers = cast(column, &DataType::Float64)?;
                numbers
                    .as_primitive::<Float64Type>()
                    .iter()
                    .map(|number| number.map_or(Cell::Null, Cell::Number))
                    .collect::<Vec<_>>()
            } else {
                let texts = cast(column, &DataType::Utf8)?;
                texts
                    .as_string::<i32>()
                    .iter()
                    .map(|text| text.map_or(Cell::Null, |text| Cell::Text(text.to_owned())))
                    .collect()
            });
        }
        let row = |row: usize| columns.iter().map(|column| column.get(row).cloned().unwrap_or(Cell::Null)).collect();
        rows.extend((0..batch.num_rows()).map(row));
    }
    Ok(rows)
}

/// Whether two results are equal: text exactly, numbers up to the order of their sums.
fn same(one: &[Vec<Cell>], other: &[Vec<Cell>]) -> Result<(), String> {
    if one.len() != other.len() {
        return Err(format!("{} rows and {} rows", one.len(), other.len()));
    }
    let equal = |(a, b): (&Cell, &Cell)| match (a, b) {
        (Cell::Number(a), Cell::Number(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        (a, b) => a == b,
    };
    match one.iter().zip(other).position(|(a, b)| a.len() != b.len() || !a.iter().zip(b).all(equal)) {
        None => Ok(()),
        Some(row) => Err(format!("row {}: {:?} and {:?}", row + 1, one.get(row), other.get(row))),
    }
}

fn is_published(scale: f64) -> bool {
    (scale - 1.0).abs() <= f64::EPSILON
}

/// Whether a result is the one published for scale 1; false at other scales, for which none is.
fn as_published(number: i32, scale: f64, rows: &[Vec<Cell>]) -> Result<bool, String> {
    if !is_published(scale) {
        return Ok(false);
    }
    let published = queries::answer(number);
    let equal = |(place, (cell, text)): (usize, (&Cell, &&str))| match cell {
        // The published keys of query 11 are cut off after four of six characters.
        Cell::Number(key) if number == 11 && place == 0 => {
            format!("{key:>6}").chars().take(4).collect::<String>().trim() == *text
        }
        // TPC-H's own answer to query 17; the package prints it three cents lower.
        Cell::Number(average) if number == 17 => (348_406.05 - average).abs() < 0.011,
        // Answers are printed with two digits after the point.
        Cell::Number(number) => text.parse::<f64>().is_ok_and(|published| (published - number).abs() < 0.011),
        Cell::Text(value) => value.trim() == *text,
        Cell::Null => text.is_empty(),
    };
    if rows.len() != published.len() {
        return Err(format!("query {number} gives {} rows where {} are published", rows.len(), published.len()));
    }
    match rows.iter().zip(&published).find(|(row, texts)| !row.iter().zip(texts.iter()).enumerate().all(equal)) {
        None => Ok(true),
        Some((row, texts)) => Err(format!("query {number} gives {row:?} where {texts:?} is published")),
    }
}

fn rows(times: &[Times], scale: f64) -> Vec<Row> {
    let ratio = |part: fn(&Times) -> f64| geometric_mean(times.iter().map(|times| part(times) / times.plain_median()));
    let guarded: fn(&Times) -> f64 = |times| median(&times.check) + median(&times.execute);
    let total = |part: fn(&Times) -> f64| times.iter().map(part).sum::<f64>() / 1e3;
    let worst = (1..).zip(times).map(|(number, times)| (number, guarded(times) / times.plain_median()));
    let (worst, by) = worst.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::NAN));
    let name = |what: &str| format!("tpch {scale}: {what}");
    vec![
        Row::new(
            name("sealed and guarded / plain"),
            ratio(guarded),
            "",
            Limit::AtMost(1.05),
            format!(
                "geometric mean of 22; worst query {worst} with {by:.2}; all 22 results equal; {:.2} s / {:.2} s in all",
                total(guarded),
                total(Times::plain_median)
            ),
        ),
        Row::new(
            name("of it, execution alone"),
            ratio(|times| median(&times.execute)),
            "",
            Limit::None,
            "without the check of the rules",
        ),
        Row::new(
            name("check of the rules"),
            total(|times| median(&times.check)) * 1e3 / 22.0,
            "ms",
            Limit::None,
            "mean per query",
        ),
        Row::new(
            name("with opening"),
            ratio(|times| median(&times.open) + median(&times.check) + median(&times.execute)),
            "",
            Limit::None,
            format!(
                "digest and page headers of every file that a query reads; {:.0} ms per query",
                total(|times| median(&times.open)) * 1e3 / 22.0
            ),
        ),
    ]
}
