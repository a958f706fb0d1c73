//! From text to an analysed plan, within limits.
//!
//! The text must be one query and nothing else. It is planned against tables that have a schema and no rows, in a session
//! that knows the functions of [`super::functions`] and nothing besides: no files, no URLs, no information schema, no
//! table functions, no settings. Limits come before work: bytes and words before parsing, nesting during it, nodes after
//! planning and before the analyser, which visits shared parts once for each use.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use datafusion::{
    common::tree_node::TreeNodeRecursion,
    datasource::empty::EmptyTable,
    error::DataFusionError,
    execution::{
        SessionState, SessionStateBuilder, SessionStateDefaults, context::SessionContext, runtime_env::RuntimeEnv,
    },
    logical_expr::LogicalPlan,
    prelude::SessionConfig,
    sql::{
        parser::{DFParserBuilder, Statement},
        sqlparser::{ast, dialect::GenericDialect, tokenizer::Tokenizer},
    },
};

use agreement::documents::{Column, ColumnRule, ColumnType};

use super::{
    CheckError, Explanation, MAX_NODES, functions,
    refusal::{Origin, Reason, Stop, list},
    terms::{Catalogue, Table},
};

/// A session for planning and running queries under the rules.
pub(crate) fn session(config: SessionConfig, environment: Arc<RuntimeEnv>) -> SessionState {
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(functions::scalar_functions())
        .with_aggregate_functions(functions::aggregate_functions())
        .with_window_functions(functions::window_functions())
        .build()
}

/// The settings that planning and running share.
pub(crate) fn config() -> SessionConfig {
    let mut config = SessionConfig::new().with_information_schema(false).with_create_default_catalog_and_schema(true);
    let options = config.options_mut();
    // Sealed files share out their row groups themselves.
    options.optimizer.repartition_file_scans = false;
    options.execution.parquet.enable_page_index = false;
    options.execution.parquet.bloom_filter_on_read = false;
    options.execution.parquet.pushdown_filters = false;
    config
}

/// One query, planned and analysed but not optimised.
pub(crate) async fn plan(sql: &str, catalogue: &Catalogue, state: &SessionState) -> Result<LogicalPlan, CheckError> {
    let statement = statement(sql)?;
    expanded(&statement)?;
    let context = SessionContext::new_with_state(state.clone());
    for table in catalogue.tables() {
        let name = datafusion::common::TableReference::bare(table.name.clone());
        context.register_table(name, Arc::new(EmptyTable::new(table.schema()))).map_err(|error| unplanned(&error))?;
    }
    let planned = context.state().statement_to_plan(statement.clone()).await;
    let plan = planned.map_err(|error| unfit(&error, &statement, catalogue))?;
    bounded(&plan)?;
    let analysed = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .map_err(|error| unfit(&error, &statement, catalogue))?;
    Ok(analysed)
}

/// Why a query cannot be planned, where its own text says more than the engine does: types are looked at before the rules are, so a
/// hidden column would be told as one of the wrong type (R6), and the engine does not say which column that is.
fn unfit(error: &DataFusionError, statement: &Statement, catalogue: &Catalogue) -> CheckError {
    let Statement::Statement(statement) = statement else { return unplanned(error) };
    let mut read = BTreeSet::new();
    let _: ControlFlow<()> = ast::visit_relations(statement.as_ref(), |relation| {
        read.insert(relation.to_string().trim_matches('"').to_ascii_lowercase());
        ControlFlow::Continue(())
    });
    let tables: Vec<&Table> = catalogue.tables().filter(|table| read.contains(&table.name)).collect();
    let (mut hidden, mut misfit) = (BTreeSet::new(), None);
    let _: ControlFlow<()> = ast::visit_expressions(statement.as_ref(), |expr| {
        let named = named(expr, &tables);
        if !named.is_empty() && named.iter().all(|(_, column)| matches!(column.rule, ColumnRule::Hidden {})) {
            let origin =
                |(table, column): &(&Table, &Column)| Origin { table: table.name.clone(), column: column.name.clone() };
            hidden.extend(named.iter().map(origin));
        }
        misfit = misfit.take().or_else(|| needs_number(expr, &tables));
        ControlFlow::Continue(())
    });
    if hidden.is_empty() {
        return misfit.map_or_else(|| unplanned(error), CheckError::Plan);
    }
    let columns: Vec<&str> = hidden.iter().map(|origin| origin.column.as_str()).collect();
    let change = format!("leave `{}` out", columns.join("`, `"));
    let what = format!("{} cannot be used", list(&hidden));
    match Stop::about(Reason::Hidden, hidden, what, change) {
        Stop::Refused(refusal) => {
            CheckError::Refused(Box::new(Explanation::refused(&LogicalPlan::default(), *refusal, catalogue)))
        }
        Stop::Engine(error) => unplanned(&error),
    }
}

/// The columns that a name may mean.
fn named<'a>(expr: &ast::Expr, tables: &[&'a Table]) -> Vec<(&'a Table, &'a Column)> {
    let last = match expr {
        ast::Expr::Identifier(name) => Some(name),
        ast::Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    };
    let Some(last) = last else { return Vec::new() };
    let name = if last.quote_style.is_some() { last.value.clone() } else { last.value.to_ascii_lowercase() };
    let all = tables.iter().flat_map(|table| table.columns.iter().map(move |column| (*table, column)));
    all.filter(|(_, column)| column.name == name).collect()
}

/// What is wrong with an aggregate of numbers that is applied to a column of something else.
fn needs_number(expr: &ast::Expr, tables: &[&Table]) -> Option<String> {
    let ast::Expr::Function(function) = expr else { return None };
    let name = function.name.to_string().to_ascii_lowercase();
    let ast::FunctionArguments::List(arguments) = &function.args else { return None };
    let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument))] = arguments.args.as_slice() else {
        return None;
    };
    let found = named(argument, tables);
    let (_, column) = found.first().filter(|_| OF_NUMBERS.contains(&name.as_str()))?;
    let kind = match column.kind {
        ColumnType::Bigint | ColumnType::Double => return None,
        ColumnType::Text => "text",
        ColumnType::Boolean => "a truth value",
        ColumnType::Date => "a date",
        ColumnType::Timestamp => "a point in time",
    };
    Some(format!("`{name}` needs a number; `{}` is {kind}\nhint: leave it out, or use `count(*)`", column.name))
}

/// The one statement of a text, if it is a query.
fn statement(sql: &str) -> Result<Statement, CheckError> {
    if sql.len() > MAX_BYTES {
        return Err(CheckError::TooLong { bytes: sql.len(), limit: MAX_BYTES });
    }
    let dialect = GenericDialect {};
    let words = Tokenizer::new(&dialect, sql).tokenize().map_err(|error| CheckError::Syntax(error.to_string()))?;
    if words.len() > MAX_WORDS {
        return Err(CheckError::TooManyWords { words: words.len(), limit: MAX_WORDS });
    }
    let parser = DFParserBuilder::new(sql).with_dialect(&dialect).with_recursion_limit(RECURSION).build();
    let mut statements =
        parser.and_then(|mut parser| parser.parse_statements()).map_err(|error| CheckError::Syntax(message(&error)))?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(Statement::Statement(statement)), true) if matches!(*statement, ast::Statement::Query(_)) => {
            Ok(Statement::Statement(statement))
        }
        (None, _) => Err(CheckError::NotOneQuery { found: "nothing".to_owned() }),
        (Some(_), false) => Err(CheckError::NotOneQuery { found: "several statements".to_owned() }),
        (Some(other), true) => {
            let found = other.to_string();
            let word = found.split_whitespace().next().unwrap_or("something else").to_ascii_uppercase();
            Err(CheckError::NotOneQuery { found: word })
        }
    }
}

/// Refuses queries in which common table expressions multiply: each use of one is planned anew.
fn expanded(statement: &Statement) -> Result<(), CheckError> {
    let Statement::Statement(statement) = statement else { return Err(CheckError::TooLarge) };
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let before = sizes.clone();
        let _ = ast::Visit::visit(statement.as_ref(), &mut Sizes { before: &before, sizes: &mut sizes });
        if uses(statement.as_ref(), &sizes, None) > MAX_USES {
            return Err(CheckError::TooLarge);
        }
        if sizes == before {
            return Ok(());
        }
    }
}

/// One round over all common table expressions, wherever they are defined.
struct Sizes<'a> {
    before: &'a BTreeMap<String, usize>,
    sizes: &'a mut BTreeMap<String, usize>,
}

impl ast::Visitor for Sizes<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = cte.alias.name.value.to_ascii_lowercase();
            let size = uses(cte.query.as_ref(), self.before, Some(&name));
            let known = self.sizes.entry(name).or_insert(size);
            *known = (*known).max(size);
        }
        ControlFlow::Continue(())
    }
}

/// How many tables a part of a query reads, each as often as it is planned. A name's use of itself is recursion.
fn uses<V: ast::Visit>(part: &V, sizes: &BTreeMap<String, usize>, own: Option<&str>) -> usize {
    let mut total = 1_usize;
    let _: ControlFlow<()> = ast::visit_relations(part, |relation| {
        let name = relation.to_string().trim_matches('"').to_ascii_lowercase();
        if own != Some(&name) {
            total = total.saturating_add(sizes.get(&name).copied().unwrap_or(1));
        }
        ControlFlow::Continue(())
    });
    total
}

/// Refuses plans whose parts, counted once for each use, are too many.
fn bounded(plan: &LogicalPlan) -> Result<(), CheckError> {
    let mut nodes = 0;
    let counted = plan.apply_with_subqueries(|node| {
        nodes += 1;
        let columns = node.schema().fields().len();
        Ok(if nodes > MAX_NODES || columns > MAX_COLUMNS {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    match counted {
        Ok(TreeNodeRecursion::Continue | TreeNodeRecursion::Jump) => Ok(()),
        Ok(TreeNodeRecursion::Stop) | Err(_) => Err(CheckError::TooLarge),
    }
}

/// A planning error, in the engine's words without its advice and its trace.
pub(crate) fn unplanned(error: &DataFusionError) -> CheckError {
    CheckError::Plan(message(error))
}

fn message(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    // The engine takes types that do not fit for a fault of its own; and it tells its steps.
    let text = text.rsplit("\ncaused by\n").next().unwrap_or(&text);
    let text = text.trim_start_matches("Internal error: ").split("\nThis issue was likely").next().unwrap_or(text);
    let text = text
        .trim_start_matches("Error during planning: ")
        .trim_start_matches("Schema error: ")
        .trim_start_matches("SQL error: ");
    // A parser's error is wrapped in its type's name.
    let text = text.strip_prefix("ParserError(\"").and_then(|text| text.strip_suffix("\")")).unwrap_or(text);
    let (said, hint) = advice(text);
    let said: String = said.chars().take(MAX_MESSAGE).collect();
    hint.map_or_else(|| said.clone(), |hint| format!("{said}\nhint: {hint}"))
}

/// A name that the engine does not know, told in this program's words and apart from the names that it proposes instead.
fn advice(text: &str) -> (String, Option<String>) {
    if let Some(name) = text.strip_prefix("table 'datafusion.public.").and_then(|rest| rest.strip_suffix("' not found"))
    {
        return (
            format!("there is no table `{name}`"),
            Some("a query reads the datasets by their names in the agreement".to_owned()),
        );
    }
    if let Some((name, rest)) = text.strip_prefix("Invalid function '").and_then(|rest| rest.split_once("'.")) {
        let nearest = rest.split_once("Did you mean '").and_then(|(_, rest)| rest.split_once('\''));
        return (
            format!("there is no function `{name}`"),
            nearest.map(|(nearest, _)| format!("did you mean `{nearest}`?")),
        );
    }
    let of_function = ["Function '", "Failed to coerce arguments to satisfy a call to '"];
    if let Some(name) = of_function.iter().find_map(|start| text.strip_prefix(start)?.split('\'').next()) {
        return (
            format!("`{name}` does not take what it is given"),
            Some("look at the types of the columns; `glovebox seal` wrote them into the manifest".to_owned()),
        );
    }
    let Some(rest) = text.strip_prefix("No field named ") else { return (text.to_owned(), None) };
    let (name, rest) =
        rest.split_once(". ").or_else(|| rest.split_once(".\n")).unwrap_or((rest.trim_end_matches('.'), ""));
    let nearest = rest.split_once("Did you mean '").and_then(|(_, rest)| rest.split_once('\''));
    let hint = match (nearest, rest.split_once("Valid fields are ")) {
        (Some((nearest, _)), _) => Some(format!("did you mean `{nearest}`?")),
        (None, Some((_, known))) => Some(format!("known here: {}", known.trim_end_matches('.'))),
        (None, None) => None,
    };
    (format!("there is no column `{name}`"), hint.map(|hint| hint.chars().take(MAX_MESSAGE).collect()))
}

/// Aggregates of numbers.
const OF_NUMBERS: &[&str] =
    &["avg", "mean", "stddev", "stddev_pop", "stddev_samp", "sum", "var", "var_pop", "var_samp"];
/// The longest query.
const MAX_BYTES: usize = 64 << 10;
/// The most words, signs and gaps in a query.
const MAX_WORDS: usize = 20_000;
/// How deep parentheses and subqueries may nest.
const RECURSION: usize = 50;
/// The most tables read, each as often as it is used.
const MAX_USES: usize = 500;
/// The most columns anywhere in a plan.
const MAX_COLUMNS: usize = 4096;
/// The longest message of the engine that is repeated.
const MAX_MESSAGE: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_or_with_all() {
        let told = |text: &str| advice(text);
        assert_eq!(
            told("No field named presure. Did you mean 'clinic.pressure'?\nValid fields are clinic.pressure."),
            ("there is no column `presure`".to_owned(), Some("did you mean `clinic.pressure`?".to_owned()))
        );
        assert_eq!(
            told("No field named zzz. Valid fields are clinic.patient, clinic.pressure."),
            ("there is no column `zzz`".to_owned(), Some("known here: clinic.patient, clinic.pressure".to_owned()))
        );
        assert_eq!(
            told("Invalid function 'avgg'.\nDid you mean 'avg'?"),
            ("there is no function `avgg`".to_owned(), Some("did you mean `avg`?".to_owned()))
        );
        assert_eq!(told("table 'datafusion.public.clinik' not found").0, "there is no table `clinik`");
        assert_eq!(told("it is Tuesday"), ("it is Tuesday".to_owned(), None));
    }
}
