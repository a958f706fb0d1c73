//! Tiny tables with rules, for tests of the SQL engine.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use agreement::documents::{Column, ColumnRule, ColumnType, TableRules};
use datafusion::arrow::{
    array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use runtime::{
    release,
    sql::{self, CheckError, CheckedPlan, Limits, Reason, SourceTable, Sources, TableTerms},
};

/// A table with its terms and its rows.
pub struct Table {
    pub name: &'static str,
    pub owner: &'static str,
    pub columns: Vec<Column>,
    pub rules: TableRules,
    pub batch: RecordBatch,
}

pub fn column(name: &str, kind: ColumnType, rule: ColumnRule) -> Column {
    Column { name: name.to_owned(), kind, nullable: true, rule }
}

pub fn entity(domain: &str) -> ColumnRule {
    ColumnRule::Entity { domain: domain.to_owned() }
}

pub const fn measure(lower: f64, upper: f64) -> ColumnRule {
    ColumnRule::Measure { lower, upper }
}

pub const GROUP: ColumnRule = ColumnRule::Group {};
pub const OPEN: ColumnRule = ColumnRule::Open {};
pub const JOIN: ColumnRule = ColumnRule::Join {};
pub const HIDDEN: ColumnRule = ColumnRule::Hidden {};

pub fn texts(values: impl IntoIterator<Item = Option<&'static str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

pub fn integers(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

pub fn doubles(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

pub fn table(name: &'static str, owner: &'static str, rules: (u64, u64), columns: Vec<(Column, ArrayRef)>) -> Table {
    let field = |(column, array): &(Column, ArrayRef)| Field::new(&column.name, array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let (columns, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let rules = TableRules { min_entities: rules.0, max_rows_per_entity: rules.1 };
    Table { name, owner, columns, rules, batch: RecordBatch::try_new(schema, arrays).unwrap() }
}

pub fn terms(tables: &[Table]) -> Vec<TableTerms<'_>> {
    tables.iter().map(|t| TableTerms { name: t.name, columns: &t.columns, rules: &t.rules, owner: t.owner }).collect()
}

pub async fn check(sql: &str, tables: &[Table]) -> Result<CheckedPlan, CheckError> {
    sql::check(sql, &terms(tables)).await
}

/// Checks, runs and encodes.
pub async fn answer(sql: &str, tables: &[Table]) -> String {
    let plan = check(sql, tables).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    run(&plan, tables).await
}

pub async fn run(plan: &CheckedPlan, tables: &[Table]) -> String {
    let sources =
        tables.iter().fold(Sources::new(), |all, t| all.with(t.name, SourceTable::Memory(vec![t.batch.clone()])));
    let answer = sql::execute(plan, &sources, &Limits::default())
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", plan.guarded_text()));
    release::encode(&answer, 1 << 20).unwrap()
}

/// The reason for which a query is refused.
pub async fn refusal(sql: &str, tables: &[Table]) -> Reason {
    match check(sql, tables).await {
        Err(CheckError::Refused(explanation)) => explanation.refusal.unwrap().reason,
        Err(other) => panic!("{sql}: {other}"),
        Ok(plan) => panic!("{sql}: accepted\n{}", plan.explanation()),
    }
}

/// Every scan of a protected column stands under a guard.
pub fn every_scan_is_guarded(plan: &CheckedPlan, tables: &[Table]) -> bool {
    let text = plan.guarded_text();
    let lines: Vec<(usize, &str)> =
        text.lines().map(|line| (line.len() - line.trim_start().len(), line.trim_start())).collect();
    let protected = |name: &str| {
        let table = tables.iter().find(|t| t.name == name).unwrap();
        let read = plan.columns().get(name);
        table.columns.iter().any(|c| c.rule != OPEN && read.is_some_and(|read| read.contains(&c.name)))
    };
    lines.iter().enumerate().all(|(place, (indent, line))| {
        let Some(name) = line.strip_prefix("TableScan: ").map(|rest| rest.split_whitespace().next().unwrap()) else {
            return true;
        };
        let mut below = *indent;
        let guarded = lines[..place].iter().rev().any(|(above, line)| {
            let ancestor = *above < below;
            below = below.min(*above);
            ancestor && line.starts_with("Filter: glovebox:enough")
        });
        guarded || !protected(name)
    })
}

/// A trial of 20 patients in four arms, a registry of 14 of them, the staff of the wards, and a list of regions.
pub fn tables() -> Vec<Table> {
    let patients = || 1..=20_i64;
    let arm = |p: i64| Some(["A", "B", "C", "D"][usize::from(p > 8) + usize::from(p > 14) + usize::from(p > 16)]);
    let trial = table(
        "trial",
        "hospital",
        (3, 2),
        vec![
            (column("patient_id", ColumnType::Bigint, entity("patient")), integers(patients().map(Some))),
            (column("arm", ColumnType::Text, GROUP), texts(patients().map(arm))),
            (
                column("sex", ColumnType::Text, GROUP),
                texts(patients().map(|p| if p % 5 == 0 { None } else { Some(if p % 2 == 0 { "f" } else { "m" }) })),
            ),
            (column("age", ColumnType::Bigint, measure(0.0, 35.0)), integers(patients().map(|p| Some(20 + p)))),
            (
                column("cd4", ColumnType::Double, measure(0.0, 2000.0)),
                doubles(patients().map(|p| if p == 9 { None } else { Some(10.0 * p as f64) })),
            ),
            (
                column("site", ColumnType::Text, OPEN),
                texts(patients().map(|p| Some(if p % 2 == 0 { "south" } else { "north" }))),
            ),
            (column("ward", ColumnType::Bigint, JOIN), integers(patients().map(|p| Some(p % 4)))),
            (column("note", ColumnType::Text, HIDDEN), texts(patients().map(|_| Some("private")))),
        ],
    );
    let known = || patients().filter(|p| *p <= 12 || *p == 17 || *p == 18);
    let registry = table(
        "registry",
        "registry",
        (4, 1),
        vec![
            (column("patient_id", ColumnType::Bigint, entity("patient")), integers(known().map(Some))),
            (
                column("died", ColumnType::Boolean, GROUP),
                Arc::new(known().map(|p| Some(p % 3 == 0)).collect::<BooleanArray>()),
            ),
            (column("days", ColumnType::Bigint, measure(0.0, 1000.0)), integers(known().map(|p| Some(10 * p)))),
        ],
    );
    let staff = table(
        "staff",
        "hospital",
        (2, 1),
        vec![
            (
                column("doctor_id", ColumnType::Text, entity("doctor")),
                texts((0..8).map(|d| Some(["a", "b", "c", "d", "e", "f", "g", "h"][d]))),
            ),
            (column("ward", ColumnType::Bigint, JOIN), integers((0..8).map(|d| Some(d % 4)))),
            (
                column("grade", ColumnType::Text, GROUP),
                texts((0..8).map(|d| Some(if d < 6 { "senior" } else { "junior" }))),
            ),
        ],
    );
    let regions = table(
        "regions",
        "university",
        (1, 1),
        vec![
            (column("site", ColumnType::Text, OPEN), texts([Some("north"), Some("south"), Some("west")])),
            (column("region", ColumnType::Text, OPEN), texts([Some("hills"), Some("coast"), None])),
            (column("beds", ColumnType::Bigint, OPEN), integers([Some(10), Some(0), Some(30)])),
            (column("secret", ColumnType::Bigint, GROUP), integers([Some(1), Some(2), Some(3)])),
        ],
    );
    vec![trial, registry, staff, regions]
}

pub fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Bigint => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Boolean => DataType::Boolean,
        other => panic!("{other:?}"),
    }
}
