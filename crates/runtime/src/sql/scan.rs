//! What stands between a protected table and everything above it.
//!
//! Directly above the scan, before any filter of the query: rows without an entity are dropped, at most
//! `max_rows_per_entity` rows of each entity are kept, measures are clamped, and each entity column is copied into a hidden
//! column that the query cannot name. The hidden columns travel up to the guard, which counts them.
//!
//! Which rows of an entity are kept is fixed: the first ones in the order of the columns that the query reads. A limit that
//! came after the query's own filters would let a query choose which of an entity's rows count.

use datafusion::{
    common::{Column, TableReference},
    functions_window::row_number::row_number,
    logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, TableScan, lit, when},
    scalar::ScalarValue,
};

use agreement::documents::{ColumnRule, ColumnType};

use super::{
    MAX_EXACT, RESERVED,
    expression::unknown,
    label::{Class, Label},
    plan::{Checker, Relation},
    refusal::{Origin, Reason, Stop},
    terms::Table,
};

/// One scan of a table with entities, and where its entities are.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) number: usize,
    pub(crate) table: String,
    pub(crate) units: Vec<Unit>,
}

/// One entity column of a scan.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) column: String,
    pub(crate) domain: String,
    /// The hidden column that carries it.
    pub(crate) hidden: String,
}

impl Checker<'_> {
    pub(crate) fn scan(&mut self, scan: &TableScan) -> Result<Relation, Stop> {
        if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(unknown("a scan that was already changed"));
        }
        let catalogue = self.catalogue;
        let table =
            catalogue.get(scan.table_name.table()).ok_or_else(|| unknown("a table that is not in the agreement"))?;
        self.scans += 1;
        let number = self.scans;
        let hidden = |column: &str| format!("{RESERVED}entity:{number}:{column}");
        let units: Vec<Unit> = table
            .entities()
            .map(|(column, domain)| Unit {
                column: column.name.clone(),
                domain: domain.to_owned(),
                hidden: hidden(&column.name),
            })
            .collect();
        let protected = !units.is_empty();
        let label = |column: &agreement::documents::Column| Label {
            class: Class::of(&column.rule, column.kind, protected, hidden(&column.name)),
            origins: [Origin { table: table.name.clone(), column: column.name.clone() }].into(),
            scans: if protected { [number].into() } else { [].into() },
            words: [].into(),
            copies: 1,
        };
        let plain = LogicalPlan::TableScan(scan.clone());
        let traced =
            if protected { self.traced(table, &units, &scan.table_name, plain.clone())? } else { plain.clone() };
        Ok(Relation {
            schema: scan.projected_schema.clone(),
            labels: table.columns.iter().map(label).collect(),
            plain: Some(plain),
            traced,
            instances: if protected { vec![Instance { number, table: table.name.clone(), units }] } else { vec![] },
            links: vec![],
            referenced: [].into(),
            optional: [].into(),
        })
    }

    fn traced(
        &self,
        table: &Table,
        units: &[Unit],
        qualifier: &TableReference,
        scan: LogicalPlan,
    ) -> Result<LogicalPlan, Stop> {
        let column = |name: &str| Expr::Column(Column::new(Some(qualifier.clone()), name));
        let mut plan = LogicalPlanBuilder::from(scan);
        for unit in units {
            plan = plan.filter(column(&unit.column).is_not_null())?;
        }
        let used = self.used.get(&table.name);
        let order: Vec<_> = table
            .columns
            .iter()
            .filter(|candidate| used.is_some_and(|used| used.contains(&candidate.name)))
            .map(|used| column(&used.name).sort(true, true))
            .collect();
        if let Some(limit) = i64::try_from(table.rules.max_rows_per_entity).ok().filter(|limit| *limit < UNLIMITED) {
            for unit in units {
                let row = format!("{RESERVED}row:{}", unit.hidden);
                let order = if order.is_empty() { vec![column(&unit.column).sort(true, true)] } else { order.clone() };
                let number = row_number().partition_by(vec![column(&unit.column)]).order_by(order).build()?.alias(&row);
                plan =
                    plan.window(vec![number])?.filter(Expr::Column(Column::new_unqualified(&row)).lt_eq(lit(limit)))?;
            }
        }
        let mut output = Vec::new();
        for declared in &table.columns {
            let value = column(&declared.name);
            let clamped = clamp(&declared.rule, declared.kind, value.clone())?;
            output.push(
                clamped.map_or(value, |clamped| clamped.alias_qualified(Some(qualifier.clone()), &declared.name)),
            );
        }
        output.extend(units.iter().map(|unit| column(&unit.column).alias(&unit.hidden)));
        Ok(plan.project(output)?.build()?)
    }
}

/// A measure within its bounds; what is not a number counts as missing. In DataFusion's order of floats, NaN lies beyond
/// the infinities on the side of its sign.
fn clamp(rule: &ColumnRule, kind: ColumnType, value: Expr) -> Result<Option<Expr>, Stop> {
    let ColumnRule::Measure { lower, upper } = rule else { return Ok(None) };
    let within = |lower: ScalarValue, upper: ScalarValue, value: Expr| {
        let (lower, upper) = (Expr::Literal(lower, None), Expr::Literal(upper, None));
        (value.clone().lt(lower.clone()), lower, value.clone().gt(upper.clone()), upper)
    };
    Ok(match kind {
        ColumnType::Double => {
            let (below, lower, above, upper) =
                within(ScalarValue::from(*lower), ScalarValue::from(*upper), value.clone());
            let no_number = value.clone().gt(lit(f64::INFINITY)).or(value.clone().lt(lit(f64::NEG_INFINITY)));
            let missing = Expr::Literal(ScalarValue::Float64(None), None);
            Some(when(no_number, missing).when(below, lower).when(above, upper).otherwise(value)?)
        }
        ColumnType::Bigint => {
            let (below, lower, above, upper) =
                within(ScalarValue::from(whole(lower.ceil())), ScalarValue::from(whole(upper.floor())), value.clone());
            Some(when(below, lower).when(above, upper).otherwise(value)?)
        }
        ColumnType::Text | ColumnType::Boolean | ColumnType::Date | ColumnType::Timestamp => None,
    })
}

/// A bound of a whole-number measure. Bounds lie within 2^53, so nothing is lost.
#[expect(clippy::cast_possible_truncation, reason = "clamped to 2^53 first")]
fn whole(bound: f64) -> i64 {
    bound.clamp(-MAX_EXACT, MAX_EXACT) as i64
}

/// The refusal to join tables without a link.
pub(crate) fn unlinked(a: &Instance, b: &Instance) -> Stop {
    let key = |instance: &Instance| instance.units.first().map_or_else(|| "key".to_owned(), |unit| unit.column.clone());
    Stop::new(
        Reason::Unlinked,
        format!("`{}` and `{}` are combined without a link", a.table, b.table),
        format!("write `from {0} join {2} on {0}.{1} = {2}.{3}`", a.table, key(a), b.table, key(b)),
    )
}

/// From here on `max_rows_per_entity` is taken to mean no limit.
const UNLIMITED: i64 = 1 << 53;
