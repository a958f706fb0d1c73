//! Running a checked plan.
//!
//! The only plan that can be given is one that [`super::check`] made. Whatever goes wrong while it runs becomes one of a few
//! codes that do not depend on data: the engine's own messages may quote values, so they are dropped here and nowhere
//! logged. Running out of memory or time counts as [`RunError::Execution`] like everything else.
//!
//! There is no scratch on disk: a query that needs more memory than its limit fails.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::TableProvider,
    common::tree_node::{Transformed, TreeNodeRecursion},
    datasource::provider_as_source,
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::LogicalPlan,
    physical_plan::execute_stream,
};
use futures::{FutureExt, StreamExt};

use super::{
    CheckedPlan, parse,
    source::{self, SourceTable, Sources},
};

/// How much a run may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory of the engine's operators, in bytes.
    pub memory_bytes: usize,
    /// The largest answer in memory, in bytes. What leaves has a limit of its own.
    pub answer_bytes: usize,
    /// The longest that it may take.
    pub time: Duration,
    /// How many parts of a plan work at once.
    pub partitions: usize,
}

/// Why a run has no answer: a closed set that does not depend on data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The tables given are not those that the plan reads.
    #[error("the tables of the run are not those of its computation")]
    Inputs,
    /// The engine could not finish within its limits, or not read its inputs.
    #[error("the computation could not be executed")]
    Execution,
    /// The answer is larger than it may be.
    #[error("the result is larger than the agreement allows")]
    TooLarge,
    /// The result could not be sealed.
    #[error("the result could not be sealed")]
    Sealing,
}

/// What a run computed. It leaves only through [`crate::release`].
pub struct Answer {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) schema: SchemaRef,
    pub(crate) ordered: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: 2 << 30, answer_bytes: 256 << 20, time: Duration::from_secs(600), partitions: 2 }
    }
}

impl RunError {
    /// The code that leaves in place of a result.
    pub const fn code(self) -> &'static str {
        match self {
            RunError::Inputs => "inputs",
            RunError::Execution => "execution",
            RunError::TooLarge => "too-large",
            RunError::Sealing => "sealing",
        }
    }
}

impl Answer {
    /// The rows, in the columns of [`CheckedPlan::schema`]. They have passed the guards and nothing else.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// Runs a checked plan over its tables.
///
/// # Errors
/// [`RunError`], never with the engine's message.
pub async fn execute(plan: &CheckedPlan, sources: &Sources, limits: &Limits) -> Result<Answer, RunError> {
    let started = Instant::now();
    // A panic of the engine is an error like any other: it must not be told apart from one.
    let running = AssertUnwindSafe(run(plan, sources, limits)).catch_unwind();
    match tokio::time::timeout(limits.time, running).await {
        Ok(Ok(ran)) if started.elapsed() <= limits.time => ran,
        Ok(Ok(_) | Err(_)) | Err(_) => Err(RunError::Execution),
    }
}

async fn run(checked: &CheckedPlan, sources: &Sources, limits: &Limits) -> Result<Answer, RunError> {
    let environment = RuntimeEnvBuilder::new()
        .with_memory_limit(limits.memory_bytes, 1.0)
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()
        .map_err(|_| RunError::Execution)?;
    let mut providers: Vec<(String, Arc<dyn TableProvider>)> = Vec::new();
    for (place, (name, schema)) in checked.schemas.iter().enumerate() {
        let table = sources.tables.get(name).ok_or(RunError::Inputs)?;
        if !source::still_sealed(table).await {
            return Err(RunError::Inputs);
        }
        let url = source::store_url(place).map_err(|_| RunError::Inputs)?;
        if let SourceTable::Sealed { store, .. } = table {
            environment.register_object_store(url.as_ref(), store.clone());
        }
        let provider = source::provider(table, schema.clone(), url).await.map_err(|_| RunError::Execution)?;
        providers.push((name.clone(), provider));
    }
    let plan = over(&checked.optimised, &providers)?;
    let state = parse::session(parse::config().with_target_partitions(limits.partitions.max(1)), environment);
    let failed = |_| RunError::Execution;
    let physical = state.query_planner().create_physical_plan(&plan, &state).await.map_err(failed)?;
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(failed)?;
    let (mut batches, mut bytes) = (Vec::new(), 0_usize);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        bytes = bytes.saturating_add(batch.get_array_memory_size());
        if bytes > limits.answer_bytes {
            return Err(RunError::TooLarge);
        }
        batches.push(batch);
    }
    Ok(Answer { batches, schema: checked.output.clone(), ordered: checked.ordered })
}

/// The plan with real tables under its scans.
fn over(plan: &LogicalPlan, providers: &[(String, Arc<dyn TableProvider>)]) -> Result<LogicalPlan, RunError> {
    let mut missing = false;
    let replaced = plan.clone().transform_down_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        match providers.iter().find(|(name, _)| name == scan.table_name.table()) {
            Some((_, provider)) => scan.source = provider_as_source(provider.clone()),
            None => missing = true,
        }
        Ok(Transformed::new(LogicalPlan::TableScan(scan), true, TreeNodeRecursion::Continue))
    });
    match replaced {
        Ok(replaced) if !missing => Ok(replaced.data),
        Ok(_) | Err(_) => Err(RunError::Inputs),
    }
}
