//! SQL under rules: what may be computed on tables that nobody may see.
//!
//! [`check`] plans a query and decides about its *logical plan*; no text is ever matched. It needs no data, so the same
//! code explains a query to an author, shows it to those who consent, and guards it in the worker. What passes is a
//! [`CheckedPlan`], which already contains its guards: limits on the rows of one entity, clamps on measures, thresholds of
//! distinct entities above every aggregate over protected columns. [`execute`] takes nothing else.
//!
//! The rules are numbered in `docs/spec/rules.md` and cited here by number. Deliberately absent: noise (thresholds do not stop
//! differencing, and the specification says so), user-defined functions, table functions, settings, and every statement that is
//! not one query.

mod differencing;
mod explanation;
mod expression;
mod functions;
mod guard;
mod label;
mod lineage;
mod parse;
mod plan;
mod refusal;
mod run;
mod scan;
mod source;
mod terms;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::datatypes::{DataType, Schema, SchemaRef},
    execution::{SessionState, runtime_env::RuntimeEnv},
    logical_expr::{LogicalPlan, TableScan},
};
use envelope::Digest;

pub use differencing::{Grouping, Subtraction};
pub use explanation::{Explanation, OutputColumn, TableUse, Verdict};
pub use refusal::{Origin, Reason, Refusal};
pub use run::{Answer, Limits, RunError, execute};
pub use source::{OpenFile, SourceTable, Sources};
pub use terms::{TableTerms, TermsError};

use plan::Checker;
use refusal::Stop;
use terms::Catalogue;

/// A query that passed, with its guards in it. [`check`] is its only constructor.
#[derive(Debug, Clone)]
pub struct CheckedPlan {
    plan: LogicalPlan,
    /// What runs: the same, optimised. The columns are those that it reads.
    optimised: LogicalPlan,
    columns: BTreeMap<String, BTreeSet<String>>,
    schemas: BTreeMap<String, SchemaRef>,
    output: SchemaRef,
    ordered: bool,
    explanation: Explanation,
    groupings: Vec<Grouping>,
}

/// Why a query does not become a [`CheckedPlan`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CheckError {
    /// The tables' terms mean nothing.
    #[error("the terms of the tables are not usable")]
    Terms(#[from] TermsError),
    /// The text is too long.
    #[error("the query has {bytes} bytes, {limit} are allowed\nhint: split it into several computations")]
    TooLong {
        /// Of the text.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// The text has too many words.
    #[error("the query has {words} words and signs, {limit} are allowed\nhint: split it into several computations")]
    TooManyWords {
        /// Of the text.
        words: usize,
        /// The most.
        limit: usize,
    },
    /// The plan has too many parts.
    #[error(
        "the query's plan is too large\nhint: use fewer joins, subqueries and columns, or split it into several computations"
    )]
    TooLarge,
    /// The text is not SQL.
    #[error("the query cannot be read: {0}")]
    Syntax(String),
    /// The text is not one query.
    #[error(
        "a computation is exactly one query, found {found}\nhint: write one `select …`; no other statement exists inside"
    )]
    NotOneQuery {
        /// What was found in its place.
        found: String,
    },
    /// A name does not exist or types do not fit.
    #[error("the query cannot be planned: {0}")]
    Plan(String),
    /// A rule stops it.
    #[error("the query is refused\n{0}")]
    Refused(Box<Explanation>),
    /// The guarded plan is not what it must be; nothing runs.
    #[error("the query cannot be guarded: {0}")]
    Unguarded(String),
}

/// Plans and checks one query against the terms of the tables it may read.
///
/// # Errors
/// [`CheckError`]; a rule's refusal carries the whole explanation.
pub async fn check(sql: &str, tables: &[TableTerms<'_>]) -> Result<CheckedPlan, CheckError> {
    let catalogue = Catalogue::new(tables)?;
    let sql = sql.to_owned();
    let (send, receive) = futures::channel::oneshot::channel();
    // Planning recurses over the query, so it gets a stack that the limits on size cannot exhaust.
    let work = move || {
        // Nobody waits any more if this fails.
        let _ = send.send(futures::executor::block_on(checked(&sql, &catalogue)));
    };
    std::thread::Builder::new()
        .name("sql-check".to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|_| CheckError::Unguarded("there is no thread to plan on".to_owned()))?;
    receive.await.unwrap_or_else(|_| Err(CheckError::Unguarded("planning ended early".to_owned())))
}

impl CheckedPlan {
    /// The columns whose keys the run needs, by table; a table of which only rows are counted has none.
    pub fn columns(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.columns
    }

    /// The digest of the guarded plan's text.
    pub fn digest(&self) -> Digest {
        Digest::of_parts("glovebox plan v1", &[self.plan.display_indent_schema().to_string().as_bytes()])
    }

    /// The columns of the result.
    pub fn schema(&self) -> &SchemaRef {
        &self.output
    }

    /// What it does, in words.
    pub fn explanation(&self) -> &Explanation {
        &self.explanation
    }

    /// Its aggregates over tables with entities, so that queries are read together ([`Subtraction`]).
    pub fn groupings(&self) -> &[Grouping] {
        &self.groupings
    }

    /// The guarded plan as text, for people who want to see it.
    pub fn guarded_text(&self) -> String {
        self.plan.display_indent().to_string()
    }
}

async fn checked(sql: &str, catalogue: &Catalogue) -> Result<CheckedPlan, CheckError> {
    let state = parse::session(parse::config(), Arc::new(RuntimeEnv::default()));
    let query = parse::plan(sql, catalogue, &state).await?;
    output_types(&query, catalogue)?;
    let unguarded = optimised(&query, &state)?;
    let used = columns_read(&unguarded);
    let walk = |total: bool| {
        let mut checker =
            Checker { catalogue, used: &used, total, scans: 0, guards: vec![], depth: 0, nodes: 0, outer: vec![] };
        let relation = checker.relation(&query)?;
        let plan = relation.open_rows()?;
        Ok::<_, Stop>((plan, relation.labels, checker.guards))
    };
    // A query over open columns alone may fail as SQL does; one with a guard may not fail for any value (R17).
    let passed = walk(false).and_then(|passed| if passed.2.is_empty() { Ok(passed) } else { walk(true) });
    let (plan, labels, guards) = match passed {
        Ok(passed) => passed,
        Err(Stop::Refused(refusal)) => {
            return Err(CheckError::Refused(Box::new(Explanation::refused(&query, *refusal, catalogue))));
        }
        Err(Stop::Engine(error)) => return Err(parse::unplanned(&error)),
    };
    // Optimising costs more than all else here, so it is not done again where nothing was added, nor before the plan runs.
    let optimised = if plan == query { unguarded } else { optimised(&plan, &state)? };
    let columns = columns_read(&optimised);
    only_usable(&columns, catalogue, !guards.is_empty())?;
    let explanation = Explanation::passed(&query, &labels, &guards, catalogue);
    let schemas = columns.keys().filter_map(|name| Some((name.clone(), catalogue.get(name)?.schema()))).collect();
    let output = Arc::new(Schema::new(query.schema().fields().iter().cloned().collect::<Vec<_>>()));
    let groupings = differencing::groupings(&query, catalogue);
    Ok(CheckedPlan { ordered: is_ordered(&query), plan, optimised, columns, schemas, output, explanation, groupings })
}

fn optimised(plan: &LogicalPlan, state: &SessionState) -> Result<LogicalPlan, CheckError> {
    state.optimize(plan).map_err(|error| parse::unplanned(&error))
}

/// R20: results are flat tables of the types that sealed tables have.
fn output_types(query: &LogicalPlan, catalogue: &Catalogue) -> Result<(), CheckError> {
    let odd = query.schema().fields().iter().find(|field| !is_result_type(field.data_type()));
    let Some(field) = odd else { return Ok(()) };
    let what = format!("output column `{}` is of type {}", field.name(), field.data_type());
    match Stop::new(Reason::OutputType, what, "cast it to double, bigint or text") {
        Stop::Refused(refusal) => Err(CheckError::Refused(Box::new(Explanation::refused(query, *refusal, catalogue)))),
        Stop::Engine(error) => Err(parse::unplanned(&error)),
    }
}

/// Whether a result can carry it.
pub(crate) fn is_result_type(kind: &DataType) -> bool {
    use DataType::{
        Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Null, Timestamp, UInt8,
        UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    matches!(
        kind,
        Null | Boolean
            | Int8
            | Int16
            | Int32
            | Int64
            | UInt8
            | UInt16
            | UInt32
            | UInt64
            | Float32
            | Float64
            | Decimal128(_, _)
            | Utf8
            | LargeUtf8
            | Utf8View
            | Date32
            | Timestamp(_, None)
    )
}

/// The columns that an optimised plan reads from its tables.
fn columns_read(plan: &LogicalPlan) -> BTreeMap<String, BTreeSet<String>> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut scan = |scan: &TableScan| {
        let columns = read.entry(scan.table_name.table().to_owned()).or_default();
        columns.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
        for filter in &scan.filters {
            columns.extend(filter.column_refs().into_iter().map(|column| column.name.clone()));
        }
    };
    // The closure never fails.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(node) = node {
            scan(node);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    read
}

/// A last look: no key is asked for that the rules do not let anybody use, and none but of open columns without a guard.
fn only_usable(
    columns: &BTreeMap<String, BTreeSet<String>>,
    catalogue: &Catalogue,
    guarded: bool,
) -> Result<(), CheckError> {
    use agreement::documents::ColumnRule;
    for (table, columns) in columns {
        let counted = catalogue.get(table).is_some_and(|table| table.entities().next().is_some());
        for column in columns {
            let usable = match catalogue.rule(table, column) {
                None | Some(ColumnRule::Hidden {}) => false,
                Some(ColumnRule::Open {}) => true,
                Some(
                    ColumnRule::Entity { .. } | ColumnRule::Join {} | ColumnRule::Group {} | ColumnRule::Measure { .. },
                ) => guarded && counted,
            };
            if !usable {
                return Err(CheckError::Unguarded(format!("it would read `{table}.{column}`")));
            }
        }
    }
    Ok(())
}

/// Whether the order of the rows is part of the result.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Limit(limit) => is_ordered(&limit.input),
        LogicalPlan::Projection(projection) => is_ordered(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_ordered(&alias.input),
        _ => false,
    }
}

/// The start of all names that the guards use. No name of a query or a table may start with it.
pub(crate) const RESERVED: &str = "glovebox:";
/// How deep expressions and plans may nest.
pub(crate) const MAX_DEPTH: usize = 300;
/// The most parts of a plan, counted once for each use.
pub(crate) const MAX_NODES: usize = 2_000;
/// Whole numbers up to here are exact as doubles: 2^53.
pub(crate) const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
/// The stack of the planning thread, in bytes. Only what is touched becomes memory.
const STACK: usize = 256 << 20;
