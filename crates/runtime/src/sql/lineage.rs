//! Which columns of which tables an output column comes from, whether or not the rules admit it.
//!
//! For explanations only: no decision rests on it. What it does not know it leaves out.

use std::collections::BTreeSet;

use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Distinct, Expr, JoinType, LogicalPlan},
};

use super::refusal::Origin;

/// The origins of each output column, and all tables read.
pub(crate) fn of(plan: &LogicalPlan) -> (Vec<BTreeSet<Origin>>, BTreeSet<String>) {
    let mut tables = BTreeSet::new();
    // The closure never fails.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.insert(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    (columns(plan), tables)
}

fn columns(plan: &LogicalPlan) -> Vec<BTreeSet<Origin>> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let origin = |column: &String| Origin { table: scan.table_name.table().to_owned(), column: column.clone() };
            scan.projected_schema.fields().iter().map(|field| BTreeSet::from([origin(field.name())])).collect()
        }
        LogicalPlan::Projection(projection) => over(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            let all: Vec<Expr> = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).cloned().collect();
            over(&all, &aggregate.input)
        }
        LogicalPlan::Window(window) => {
            let mut all = columns(&window.input);
            all.extend(over(&window.window_expr, &window.input));
            all
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => columns(&join.left),
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => columns(&join.right),
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                columns(&join.left).into_iter().chain(columns(&join.right)).collect()
            }
        },
        LogicalPlan::Union(union) => {
            let mut all = vec![BTreeSet::new(); union.schema.fields().len()];
            for input in &union.inputs {
                for (all, one) in all.iter_mut().zip(columns(input)) {
                    all.extend(one);
                }
            }
            all
        }
        LogicalPlan::Filter(filter) => columns(&filter.input),
        LogicalPlan::Sort(sort) => columns(&sort.input),
        LogicalPlan::Limit(limit) => columns(&limit.input),
        LogicalPlan::Distinct(Distinct::All(input)) => columns(input),
        LogicalPlan::SubqueryAlias(alias) => columns(&alias.input),
        other => vec![BTreeSet::new(); other.schema().fields().len()],
    }
}

fn over(expressions: &[Expr], input: &LogicalPlan) -> Vec<BTreeSet<Origin>> {
    let below = columns(input);
    expressions.iter().map(|expr| expression(expr, input.schema(), &below)).collect()
}

fn expression(expr: &Expr, schema: &DFSchema, below: &[BTreeSet<Origin>]) -> BTreeSet<Origin> {
    let mut origins = BTreeSet::new();
    let mut add = |column: &Column| {
        if let Some(found) = schema.maybe_index_of_column(column).and_then(|index| below.get(index)) {
            origins.extend(found.iter().cloned());
        }
    };
    // The closure never fails.
    let mut subqueries = BTreeSet::new();
    let _ = expr.apply(|part| {
        match part {
            Expr::Column(column) => add(column),
            Expr::ScalarSubquery(subquery) => subqueries.extend(columns(&subquery.subquery).into_iter().flatten()),
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    origins.extend(subqueries);
    origins
}
