//! The guard: what stands above every aggregate over protected rows.
//!
//! The aggregate also counts the distinct entities of every scan behind it. A group passes if each count reaches its
//! threshold: the largest `min_entities` among the scans of that entity domain, for the scan's own entities. When exactly
//! one group fails, or those that fail are together too few, the smallest of the others is withheld as well, since they could
//! be computed from a total. Two parts of a group are looked at besides: those with and without a partner of an outer join, and
//! those who have a value of a measure; a sum over the group could otherwise be about one of them. All of this is part of the plan, directly above the aggregate, so that ORDER BY, LIMIT, HAVING and enclosing queries see only
//! what passed, and an aggregate inside a subquery is guarded like one at the top. The counts never leave the guard.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use agreement::documents::ColumnRule;
use datafusion::{
    common::{Column, DFSchema, DFSchemaRef},
    functions::core::expr_fn::least,
    functions_aggregate::{expr_fn::count_distinct, sum::sum_udaf},
    functions_window::row_number::row_number,
    logical_expr::{
        Aggregate, Expr, ExprFunctionExt, ExprSchemable, LogicalPlan, LogicalPlanBuilder, WindowFrameBound,
        WindowFrameUnits, WindowFunctionDefinition,
        expr::{AggregateFunction, AggregateFunctionParams, WindowFunction, WindowFunctionParams},
        lit, when,
    },
    scalar::ScalarValue,
};

use super::{
    RESERVED,
    expression::{Scope, is_constant, unknown, written},
    functions,
    label::{Class, Entity, GROUPED, Label},
    plan::{Checker, Relation, columns, named},
    refusal::{Origin, Reason, Stop, list},
    scan::unlinked,
};

/// How many distinct entities of one column a group needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Threshold {
    pub(crate) entity: Origin,
    pub(crate) at_least: u64,
    scan: usize,
    hidden: String,
}

impl Checker<'_> {
    /// An aggregate: over open columns as it is, over anything else guarded.
    pub(crate) fn aggregated(&mut self, aggregate: &Aggregate, input: Relation) -> Result<Relation, Stop> {
        let scope = input.scope();
        let (mut groups, mut group_labels) = (Vec::new(), Vec::new());
        for original in &aggregate.group_expr {
            let (passed, label) = self.expression(original, &scope)?;
            if !label.is_groupable() {
                return Err(label.misused(GROUPED));
            }
            groups.push(named(original, passed));
            group_labels.push(label);
        }
        if let Some(released) = self.open_aggregate(aggregate, &input, &groups, &group_labels)? {
            return Ok(released);
        }
        let mut calls = Vec::new();
        for original in &aggregate.aggr_expr {
            calls.push(self.protected_call(original, &scope, input.traced.schema())?);
        }
        let (aggregates, labels) = aggregate
            .aggr_expr
            .iter()
            .zip(calls)
            .map(|(original, (expr, label))| (named(original, expr), label))
            .unzip();
        self.guarded(input, groups, &group_labels, aggregates, &aggregate.schema, labels)
    }

    /// The aggregate as it is, if everything in it is open.
    fn open_aggregate(
        &mut self,
        aggregate: &Aggregate,
        input: &Relation,
        groups: &[Expr],
        group_labels: &[Label],
    ) -> Result<Option<Relation>, Stop> {
        if input.plain.is_none() || !group_labels.iter().all(Label::is_open) {
            return Ok(None);
        }
        let scope = input.scope();
        let (mut calls, mut labels) = (Vec::new(), group_labels.to_vec());
        for original in &aggregate.aggr_expr {
            let (call, alias) = unaliased(original);
            let Expr::AggregateFunction(function) = call else {
                return Err(unknown("an aggregate of an unknown kind"));
            };
            let params = &function.params;
            let order: Vec<Expr> = params.order_by.iter().map(|by| by.expr.clone()).collect();
            // Looked at without changing anything: what does not pass as open is judged as protected, with its own reasons.
            let parts = params.args.iter().chain(params.filter.as_deref()).chain(&order);
            let mut open = Label::constant();
            for part in parts {
                match self.expression(part, &scope) {
                    Ok((_, label)) if label.is_open() => open = Label::combined([&open, &label], "here")?,
                    Ok(_) | Err(Stop::Refused(_)) if !input.instances.is_empty() => return Ok(None),
                    Ok((_, label)) => return Err(label.misused(&format!("in `{}`", written(call)))),
                    Err(stop) => return Err(stop),
                }
            }
            if !functions::is_released_aggregate(function.func.name()) {
                return if input.instances.is_empty() { Err(refused_function(call, &open)) } else { Ok(None) };
            }
            let rewritten = self.open_call(function, &scope)?;
            calls.push(named(original, alias.map_or(rewritten.clone(), |name| rewritten.alias(name))));
            labels.push(open);
        }
        let Ok(plain) = input.open_presence(&labels) else { return Ok(None) };
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(plain), groups.to_vec(), calls)?);
        Ok(Some(Relation::released(aggregate.schema.clone(), labels, plan)))
    }

    fn open_call(&mut self, function: &AggregateFunction, scope: &Scope) -> Result<Expr, Stop> {
        let params = &function.params;
        let args =
            params.args.iter().map(|arg| Ok(self.expression(arg, scope)?.0)).collect::<Result<Vec<_>, Stop>>()?;
        let filter = params
            .filter
            .as_deref()
            .map(|filter| Ok::<_, Stop>(Box::new(self.expression(filter, scope)?.0)))
            .transpose()?;
        let params = AggregateFunctionParams { args, filter, ..params.clone() };
        Ok(Expr::AggregateFunction(AggregateFunction { func: function.func.clone(), params }))
    }

    /// R9: an aggregate function over protected rows.
    fn protected_call(&mut self, original: &Expr, scope: &Scope, rows: &DFSchema) -> Result<(Expr, Label), Stop> {
        let (call, alias) = unaliased(original);
        let Expr::AggregateFunction(function) = call else { return Err(unknown("an aggregate of an unknown kind")) };
        let params = &function.params;
        let mut args = Vec::new();
        let mut labels = Vec::new();
        for arg in &params.args {
            let (arg, label) = self.expression(arg, scope)?;
            args.push(arg);
            labels.push(label);
        }
        let origins: BTreeSet<Origin> = labels.iter().flat_map(|label| label.origins.iter().cloned()).collect();
        let everything = Label { origins: origins.clone(), ..Label::constant() };
        let name = function.func.name();
        if !functions::is_protected_aggregate(name) {
            return Err(refused_function(call, &everything));
        }
        if params.filter.is_some() {
            return Err(clause(call, &origins, "move the condition to `where`, or group by it"));
        }
        if !params.order_by.is_empty() {
            return Err(clause(call, &origins, "leave the ordering out"));
        }
        let ([argument], [label]) = (args.as_slice(), labels.as_slice()) else {
            return Err(argument_stop(call, &everything, "give it one argument"));
        };
        let words = self.allowed_argument(call, name, params.distinct, argument, label, rows)?;
        let params = AggregateFunctionParams { args, ..params.clone() };
        let expr = Expr::AggregateFunction(AggregateFunction { func: function.func.clone(), params });
        let expr = alias.map_or(expr.clone(), |alias| expr.alias(alias));
        // The class stays for the guard, which counts those who have a value, and releases it.
        let class = if matches!(label.class, Class::Measure(_)) { label.class.clone() } else { Class::Open };
        Ok((expr, Label { class, words: [words].into(), ..label.clone() }))
    }

    /// What an aggregate over protected rows may be applied to, and how that is said.
    fn allowed_argument(
        &self,
        call: &Expr,
        name: &str,
        distinct: bool,
        argument: &Expr,
        label: &Label,
        rows: &DFSchema,
    ) -> Result<String, Stop> {
        let columns = list(&label.origins);
        match (&label.class, name, distinct) {
            (Class::Entity(_), "count", true) => Ok(format!("distinct entities of {columns} are counted")),
            (Class::Entity(_), _, _) => Err(label.misused(&format!("in `{}`", written(call)))),
            (_, _, true) => {
                Err(clause(call, &label.origins, "leave `distinct` out; only entities are counted distinct"))
            }
            (Class::Measure(_), "count", false) => Ok(format!("{columns} (measure) is counted")),
            (Class::Measure(linear), _, false) if linear.numeric => {
                Ok(format!("{} is aggregated", self.measured(label)))
            }
            (Class::Closed(_) | Class::Measure(_), _, _) => Err(label.misused(&format!("in `{}`", written(call)))),
            (Class::Open, "count", false) if is_constant(argument) && !is_null(argument) => {
                Ok("rows are counted".to_owned())
            }
            // As the rows really are: where the query says `cast`, they may have a cast that yields NULL.
            (_, "count", false) if matches!(argument, Expr::Column(_)) && !argument.nullable(rows)? => {
                Ok("rows are counted".to_owned())
            }
            (_, "count", false) => Err(argument_stop(
                call,
                label,
                "use `count(*)`; counting values would count the part of a group that has one",
            )),
            (_, _, false) => {
                let column = label.origins.iter().next().map_or("it", |origin| &origin.column);
                Err(argument_stop(
                    call,
                    label,
                    &format!("ask the owner to declare `{column}` a measure with bounds, or group by it"),
                ))
            }
        }
    }

    /// A measure with its bounds, in words.
    fn measured(&self, label: &Label) -> String {
        let bounds = |origin: &Origin| match self.catalogue.rule(&origin.table, &origin.column) {
            Some(ColumnRule::Measure { lower, upper }) => format!("`{origin}` (measure, clamped to {lower} … {upper})"),
            _ => format!("`{origin}`"),
        };
        label.origins.iter().map(bounds).collect::<Vec<_>>().join(", ")
    }

    /// The aggregate with its guard.
    pub(crate) fn guarded(
        &mut self,
        input: Relation,
        groups: Vec<Expr>,
        group_labels: &[Label],
        aggregates: Vec<Expr>,
        schema: &DFSchemaRef,
        aggregate_labels: Vec<Label>,
    ) -> Result<Relation, Stop> {
        if let Some(label) = group_labels.iter().find(|label| !label.is_groupable()) {
            return Err(label.misused(GROUPED));
        }
        let thresholds = self.thresholds(&input)?;
        let many = !groups.is_empty();
        let counts: Vec<String> = (0..thresholds.len()).map(|place| format!("{RESERVED}count:{place}")).collect();
        let mut calls = aggregates;
        for (threshold, count) in thresholds.iter().zip(&counts) {
            calls.push(count_distinct(Expr::Column(hidden_column(&input.traced, &threshold.hidden)?)).alias(count));
        }
        let own = calls.len() - counts.len();
        let parts = parts(&input, &thresholds, groups.len(), calls.get(..own).unwrap_or_default(), &aggregate_labels)?;
        calls.extend(parts.calls.iter().cloned());
        let aggregate = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input.traced), groups, calls)?);
        let plan = withheld(aggregate, schema, &thresholds, &counts, &parts, many)?;
        let needed: Vec<String> = thresholds
            .iter()
            .map(|threshold| format!("{} distinct `{}`", threshold.at_least, threshold.entity))
            .collect();
        let needed = format!("released for groups of at least {}", needed.join(" and "));
        let release = |label: Label, how: Option<&str>| {
            let words = [format!("{}{needed}", how.map(|how| format!("{how}; ")).unwrap_or_default())];
            Label { class: Class::Open, words: words.into(), ..label }
        };
        let grouped = group_labels.iter().map(|label| release(label.clone(), None));
        let computed = aggregate_labels.into_iter().map(|label| {
            let how = label.words.iter().next().cloned();
            release(label, how.as_deref())
        });
        let labels = grouped.chain(computed).collect();
        self.guards.extend(thresholds);
        Ok(Relation::released(schema.clone(), labels, plan))
    }

    /// The thresholds behind an aggregate, strictest first within each entity domain (R8, R10).
    fn thresholds(&self, input: &Relation) -> Result<Vec<Threshold>, Stop> {
        connected(input)?;
        let min = |table: &str| self.catalogue.get(table).map_or(u64::MAX, |table| table.rules.min_entities);
        let mut strictest: BTreeMap<&str, u64> = BTreeMap::new();
        for instance in &input.instances {
            for unit in &instance.units {
                let domain = strictest.entry(&unit.domain).or_insert(0);
                *domain = (*domain).max(min(&instance.table));
            }
        }
        let mut thresholds = BTreeSet::new();
        for instance in &input.instances {
            for unit in &instance.units {
                let own = min(&instance.table);
                let at_least = strictest.get(unit.domain.as_str()).copied().unwrap_or(own).max(own);
                let entity = Origin { table: instance.table.clone(), column: unit.column.clone() };
                thresholds.insert(Threshold { entity, at_least, scan: instance.number, hidden: unit.hidden.clone() });
            }
        }
        if thresholds.is_empty() {
            return Err(unknown("an aggregate over protected rows without entities"));
        }
        Ok(thresholds.into_iter().collect())
    }

    /// A window function over rows that are open.
    pub(crate) fn window_function(&mut self, original: &Expr, scope: &Scope) -> Result<(Expr, Label), Stop> {
        let (call, alias) = unaliased(original);
        let Expr::WindowFunction(function) = call else {
            return Err(unknown("a window expression of an unknown kind"));
        };
        let known = match &function.fun {
            WindowFunctionDefinition::AggregateUDF(aggregate) => functions::is_released_aggregate(aggregate.name()),
            WindowFunctionDefinition::WindowUDF(window) => functions::is_window(window.name()),
        };
        if !known {
            return Err(refused_function(call, &Label::constant()));
        }
        let params = &function.params;
        let mut labels = Vec::new();
        let mut part = |expr: &Expr| -> Result<Expr, Stop> {
            let (expr, label) = self.expression(expr, scope)?;
            labels.push(label);
            Ok(expr)
        };
        let args = params.args.iter().map(&mut part).collect::<Result<Vec<_>, _>>()?;
        let partition_by = params.partition_by.iter().map(&mut part).collect::<Result<Vec<_>, _>>()?;
        let mut order_by = Vec::new();
        for by in &params.order_by {
            order_by.push(datafusion::logical_expr::SortExpr { expr: part(&by.expr)?, ..by.clone() });
        }
        let filter = params.filter.as_deref().map(&mut part).transpose()?.map(Box::new);
        let label = Label::combined(&labels, &format!("in `{}`", written(call)))?;
        if !label.is_open() {
            return Err(label.misused(&format!("in `{}`", written(call))));
        }
        if self.total && !total_window(&function.fun, params) {
            return Err(Stop::about(
                Reason::Fallible,
                label.origins,
                format!("`{call}` could fail for some values"),
                "use literals and a frame of rows",
            ));
        }
        let params = WindowFunctionParams { args, partition_by, order_by, filter, ..params.clone() };
        let expr = Expr::from(WindowFunction { fun: function.fun.clone(), params });
        Ok((alias.map_or(expr.clone(), |alias| expr.alias(alias)), label))
    }
}

/// The columns of a UNION carry one rule.
pub(crate) fn union_label(column: &[&Label]) -> Result<Label, Stop> {
    let [first, rest @ ..] = column else { return Err(unknown("a union without columns")) };
    let mut all = (*first).clone();
    for label in rest {
        let class = match (&all.class, &label.class) {
            (Class::Open, Class::Open) => Class::Open,
            (Class::Open | Class::Group, Class::Open | Class::Group) => Class::Group,
            (Class::Join, Class::Join) => Class::Join,
            (Class::Entity(a), Class::Entity(b)) if a.domain == b.domain => {
                Class::Entity(Entity { domain: a.domain.clone(), hidden: String::new() })
            }
            (Class::Measure(a), Class::Measure(b)) if same_function(a, b) => {
                let (lower, upper) = (a.lower.min(b.lower), a.upper.max(b.upper));
                Class::Measure(super::label::Linear {
                    lower,
                    upper,
                    reach: a.reach.min(b.reach),
                    exact: a.exact.min(b.exact),
                    ..*a
                })
            }
            (Class::Closed(reason), _) | (_, Class::Closed(reason)) => Class::Closed(*reason),
            _ => {
                let columns: BTreeSet<_> = all.origins.union(&label.origins).cloned().collect();
                let what = format!("{} meet in one column of a union", list(&columns));
                return Err(Stop::about(Reason::Union, columns, what, "unite columns of the same rule"));
            }
        };
        all.class = class;
        all.origins.extend(label.origins.iter().cloned());
        all.scans.extend(&label.scans);
        all.words.extend(label.words.iter().cloned());
        all.copies = all.copies.max(label.copies);
    }
    Ok(all)
}

/// Whether two measures were changed in the same way. Otherwise one branch of a union could be subtracted from the other.
fn same_function(a: &super::label::Linear, b: &super::label::Linear) -> bool {
    a.numeric == b.numeric && a.factor.total_cmp(&b.factor).is_eq() && a.offset.total_cmp(&b.offset).is_eq()
}

/// What the guard counts beside the entities behind each row.
struct Parts {
    calls: Vec<Expr>,
    /// Holds if no part of a group that an outer join splits off is too small.
    whole: Expr,
    /// For each output column the condition under which enough entities have a value.
    present: BTreeMap<usize, Expr>,
}

/// R10: the entities with and without a partner of an outer join, and those who have a value of a measure.
fn parts(
    input: &Relation,
    thresholds: &[Threshold],
    groups: usize,
    aggregates: &[Expr],
    labels: &[Label],
) -> Result<Parts, Stop> {
    let rows = &input.traced;
    let mut parts = Parts { calls: vec![], whole: lit(true), present: BTreeMap::new() };
    let counted = |threshold: &Threshold, rows_that: Expr, calls: &mut Vec<Expr>| -> Result<Expr, Stop> {
        let name = format!("{RESERVED}part:{}", calls.len());
        let entity = Expr::Column(hidden_column(rows, &threshold.hidden)?);
        // The builder forgets that the call was distinct.
        let call = count_distinct(entity).filter(rows_that).distinct().build()?;
        calls.push(call.alias(&name));
        Ok(Expr::Column(Column::new_unqualified(&name)))
    };
    let least = |threshold: &Threshold| lit(i64::try_from(threshold.at_least).unwrap_or(i64::MAX));
    let strict: Vec<&Threshold> = thresholds.iter().filter(|threshold| threshold.at_least > 1).collect();
    for other in thresholds.iter().filter(|other| input.optional.contains(&other.scan)) {
        let partner = Expr::Column(hidden_column(rows, &other.hidden)?);
        for threshold in strict.iter().filter(|threshold| threshold.hidden != other.hidden) {
            for rows_that in [partner.clone().is_null(), partner.clone().is_not_null()] {
                let count = counted(threshold, rows_that, &mut parts.calls)?;
                let some = count.clone().eq(lit(0_i64)).or(count.gt_eq(least(threshold)));
                parts.whole = parts.whole.and(some);
            }
        }
    }
    for (place, (aggregate, label)) in aggregates.iter().zip(labels).enumerate() {
        let (Expr::AggregateFunction(call), Class::Measure(_)) = (unaliased(aggregate).0, &label.class) else {
            continue;
        };
        let Some(argument) = call.params.args.first() else { continue };
        if !argument.nullable(rows.schema())? {
            continue;
        }
        let mut enough = lit(true);
        for threshold in strict.iter().filter(|threshold| label.scans.contains(&threshold.scan)) {
            let count = counted(threshold, argument.clone().is_not_null(), &mut parts.calls)?;
            enough = enough.and(count.gt_eq(least(threshold)));
        }
        parts.present.insert(groups + place, enough);
    }
    Ok(parts)
}

/// The plan above a guarded aggregate: only groups that are large enough, only the columns that the query knows.
fn withheld(
    aggregate: LogicalPlan,
    schema: &DFSchemaRef,
    thresholds: &[Threshold],
    counts: &[String],
    parts: &Parts,
    many: bool,
) -> Result<LogicalPlan, Stop> {
    let own = |name: &str| Expr::Column(Column::new_unqualified(name));
    let (enough, size) = (format!("{RESERVED}enough"), format!("{RESERVED}size"));
    let (small, place) = (format!("{RESERVED}small"), format!("{RESERVED}place"));
    let together = format!("{RESERVED}together");
    let mut passes = parts.whole.clone();
    for (threshold, count) in thresholds.iter().zip(counts) {
        passes = passes.and(own(count).gt_eq(lit(i64::try_from(threshold.at_least).unwrap_or(i64::MAX))));
    }
    let mut marked = Vec::new();
    for (place, column) in columns(schema).into_iter().enumerate() {
        marked.push(match parts.present.get(&place) {
            Some(enough) => {
                let missing = Expr::Literal(ScalarValue::try_from(schema.field(place).data_type())?, None);
                named(&column, when(enough.clone(), column.clone()).otherwise(missing)?)
            }
            None => column,
        });
    }
    marked.push(passes.alias(&enough));
    marked.push(least(counts.iter().map(|count| own(count)).collect()).alias(&size));
    let plan = LogicalPlanBuilder::from(aggregate).project(marked)?;
    let plan = if many {
        let failing = when(own(&enough), lit(0_i64)).otherwise(lit(1_i64))?;
        let total =
            |expr| Expr::from(WindowFunction::new(WindowFunctionDefinition::AggregateUDF(sum_udaf()), vec![expr]));
        let withheld = when(own(&enough), lit(0_i64)).otherwise(own(&size))?;
        let largest = thresholds.iter().map(|threshold| threshold.at_least).max().unwrap_or(u64::MAX);
        let largest = lit(i64::try_from(largest).unwrap_or(i64::MAX));
        let mut order = vec![own(&size).sort(true, true)];
        order.extend(columns(schema).into_iter().map(|column| column.sort(true, true)));
        let number = row_number().partition_by(vec![own(&enough)]).order_by(order).build()?;
        let few = own(&small).gt(lit(0_i64)).and(own(&together).lt(largest));
        let alone = own(&small).eq(lit(1_i64)).or(few).and(own(&place).eq(lit(1_u64)));
        plan.window(vec![total(failing).alias(&small), total(withheld).alias(&together)])?
            .window(vec![number.alias(&place)])?
            .filter(own(&enough).and(Expr::Not(Box::new(alone))))?
    } else {
        plan.filter(own(&enough))?
    };
    Ok(plan.project(columns(schema))?.build()?)
}

/// R11: every protected scan behind an aggregate is linked with the others.
fn connected(input: &Relation) -> Result<(), Stop> {
    let Some(first) = input.instances.first() else { return Ok(()) };
    let mut reached = BTreeSet::from([first.number]);
    loop {
        let before = reached.len();
        for (a, b) in &input.links {
            if reached.contains(a) || reached.contains(b) {
                reached.extend([*a, *b]);
            }
        }
        if reached.len() == before {
            break;
        }
    }
    match input.instances.iter().find(|instance| !reached.contains(&instance.number)) {
        Some(apart) => Err(unlinked(first, apart)),
        None => Ok(()),
    }
}

fn hidden_column(plan: &LogicalPlan, name: &str) -> Result<Column, Stop> {
    plan.schema()
        .iter()
        .find(|(_, field)| field.name() == name)
        .map(|(qualifier, field)| Column::from((qualifier, field)))
        .ok_or_else(|| unknown("a table whose entities were lost on the way"))
}

fn total_window(fun: &WindowFunctionDefinition, params: &WindowFunctionParams) -> bool {
    let frame = &params.window_frame;
    let fixed = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value) => value.is_null(),
    };
    let framed = frame.units == WindowFrameUnits::Rows || (fixed(&frame.start_bound) && fixed(&frame.end_bound));
    let literals = match fun {
        WindowFunctionDefinition::WindowUDF(window) if window.name() == "ntile" => params.args.iter().all(is_constant),
        WindowFunctionDefinition::WindowUDF(_) => params.args.iter().skip(1).all(is_constant),
        WindowFunctionDefinition::AggregateUDF(_) => true,
    };
    framed && literals
}

fn unaliased(expr: &Expr) -> (&Expr, Option<&str>) {
    match expr {
        Expr::Alias(alias) => (&alias.expr, Some(&alias.name)),
        other => (other, None),
    }
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(cast) => is_null(&cast.expr),
        _ => false,
    }
}

fn refused_function(call: &Expr, label: &Label) -> Stop {
    let shows =
        matches!(call, Expr::AggregateFunction(function) if functions::shows_single_values(function.func.name()));
    let why = if shows { "would show values of single rows" } else { "is not among the permitted aggregates" };
    Stop::about(
        Reason::AggregateFunction,
        label.origins.clone(),
        format!("`{}` {why}", written(call)),
        "use count, sum, avg, var or stddev",
    )
}

fn clause(call: &Expr, origins: &BTreeSet<Origin>, change: &str) -> Stop {
    Stop::about(
        Reason::AggregateClause,
        origins.clone(),
        format!("`{}` looks at part of a group", written(call)),
        change,
    )
}

fn argument_stop(call: &Expr, label: &Label, change: &str) -> Stop {
    Stop::about(
        Reason::AggregateArgument,
        label.origins.clone(),
        format!("`{}` is applied to something that is not a measure", written(call)),
        change,
    )
}
