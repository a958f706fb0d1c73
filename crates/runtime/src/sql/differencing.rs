//! Which queries can be subtracted from one another.
//!
//! Thresholds look at one aggregate. Who gets the results of two, one of them in finer groups, under other conditions or
//! joined with other tables, can subtract one from the other, and what is left may be about fewer entities than any threshold
//! asks for. This is told to the people who consent; no decision rests on it. It finds what can be subtracted group by group,
//! and nothing else: that it is silent proves nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Distinct, Expr, LogicalPlan, utils::split_conjunction},
};

use super::{
    lineage,
    refusal::{self, Origin},
    terms::Catalogue,
};

/// One aggregate over tables with entities.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grouping {
    /// The tables with entities that it reads.
    tables: BTreeSet<String>,
    /// What it groups by, as text with the tables' own names, and the columns in it.
    by: BTreeMap<String, BTreeSet<Origin>>,
    /// The conditions on its rows, those of joins among them, and every table that is read.
    rows: BTreeSet<String>,
}

/// Two groupings that can be subtracted from one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtraction {
    /// The tables with entities that both read.
    tables: BTreeSet<String>,
    /// What the second one groups by besides. If nothing, then conditions or joins differ.
    finer_by: BTreeSet<String>,
}

impl Subtraction {
    /// What subtracting results of `coarse` and `fine` would show, if the groups of `fine` add up to those of `coarse`.
    pub fn of(coarse: &[Grouping], fine: &[Grouping]) -> Option<Subtraction> {
        coarse.iter().flat_map(|coarse| fine.iter().map(move |fine| (coarse, fine))).find_map(|(coarse, fine)| {
            let tables: BTreeSet<String> = coarse.tables.intersection(&fine.tables).cloned().collect();
            let finer_by: BTreeSet<String> =
                fine.by.keys().filter(|by| !coarse.by.contains_key(*by)).cloned().collect();
            let differ = !finer_by.is_empty() || coarse.rows != fine.rows;
            (!tables.is_empty() && fine.refines(coarse) && differ).then_some(Subtraction { tables, finer_by })
        })
    }
}

impl Grouping {
    /// Whether each group of the other is made of whole groups of this.
    fn refines(&self, coarser: &Grouping) -> bool {
        let plain: BTreeSet<&Origin> = self
            .by
            .iter()
            .filter_map(|(text, columns)| columns.iter().find(|column| column.to_string() == *text))
            .collect();
        coarser.by.iter().all(|(text, columns)| {
            self.by.contains_key(text) || (!columns.is_empty() && columns.iter().all(|column| plain.contains(column)))
        })
    }
}

impl fmt::Display for Subtraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |names: &BTreeSet<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if self.finer_by.is_empty() {
            write!(f, "both group {} alike, under different conditions or joins", list(&self.tables))
        } else {
            write!(f, "both group {}, the second also by {}", list(&self.tables), list(&self.finer_by))
        }
    }
}

/// The aggregates of a plan that read tables with entities, those directly above them only: what stands higher sees released rows.
pub(crate) fn groupings(plan: &LogicalPlan, catalogue: &Catalogue) -> Vec<Grouping> {
    let mut found = Vec::new();
    // The closure never fails.
    let _ = plan.apply_with_subqueries(|node| {
        found.extend(grouping(node, catalogue));
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn grouping(node: &LogicalPlan, catalogue: &Catalogue) -> Option<Grouping> {
    let (expressions, input) = match node {
        LogicalPlan::Aggregate(aggregate) => (aggregate.group_expr.clone(), &aggregate.input),
        LogicalPlan::Distinct(Distinct::All(input)) => (super::plan::columns(input.schema()), input),
        _ => return None,
    };
    let (mut tables, mut rows) = (BTreeSet::new(), BTreeSet::new());
    let (mut aggregates, mut parts) = (0, 0);
    let _ = node.apply_with_subqueries(|node| {
        parts += 1;
        match node {
            LogicalPlan::TableScan(scan) => {
                let name = scan.table_name.table().to_owned();
                if catalogue.get(&name).is_some_and(|table| table.entities().next().is_some()) {
                    tables.insert(name.clone());
                }
                rows.insert(name);
            }
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => aggregates += 1,
            _ => {}
        }
        Ok(if aggregates > 1 { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    if aggregates > 1 || tables.is_empty() {
        return None;
    }
    if parts > MAX_PARTS {
        // Compared as it is: names are told at a cost that grows with the square of a plan.
        rows.insert(node.display_indent().to_string());
    } else {
        conditions(node, &mut rows);
    }
    let names = Names::of(input);
    let by = expressions.iter().map(|expr| names.told(expr)).collect();
    Some(Grouping { tables, by, rows })
}

/// The conditions of filters and joins.
fn conditions(plan: &LogicalPlan, rows: &mut BTreeSet<String>) {
    let _ = plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Filter(filter) => {
                let names = Names::of(&filter.input);
                rows.extend(split_conjunction(&filter.predicate).into_iter().map(|part| names.told(part).0));
            }
            LogicalPlan::Join(join) => {
                rows.insert(format!("{} join", join.join_type));
                let (left, right) = (Names::of(&join.left), Names::of(&join.right));
                for (a, b) in &join.on {
                    let (a, b) = (left.told(a).0, right.told(b).0);
                    rows.insert(if a < b { format!("{a} = {b}") } else { format!("{b} = {a}") });
                }
                rows.extend(join.filter.iter().map(|filter| filter.to_string()));
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

/// What the columns of a relation are called in their tables.
struct Names<'a> {
    schema: &'a DFSchema,
    origins: Vec<BTreeSet<Origin>>,
}

impl<'a> Names<'a> {
    fn of(relation: &'a LogicalPlan) -> Names<'a> {
        Names { schema: relation.schema(), origins: lineage::of(relation).0 }
    }

    /// An expression as text in which columns have their tables' own names, and those columns.
    fn told(&self, expr: &Expr) -> (String, BTreeSet<Origin>) {
        let mut origins = BTreeSet::new();
        let renamed = expr.clone().transform(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            let index = self.schema.maybe_index_of_column(column);
            let Some(found) = index.and_then(|index| self.origins.get(index)) else {
                return Ok(Transformed::no(part));
            };
            origins.extend(found.iter().cloned());
            Ok(match found.iter().next() {
                Some(Origin { table, column }) if found.len() == 1 => {
                    Transformed::yes(Expr::Column(Column::new(Some(table.clone()), column.clone())))
                }
                _ => Transformed::no(part),
            })
        });
        let text = renamed.map_or_else(|_| refusal::list(&origins), |renamed| renamed.data.to_string());
        (text, origins)
    }
}

/// Up to so many parts of a plan names are told.
const MAX_PARTS: usize = 100;
