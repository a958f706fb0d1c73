//! What a query does, said to the people who consent to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use super::{
    guard::Threshold,
    label::Label,
    lineage,
    refusal::{Origin, Refusal},
    terms::{self, Catalogue},
};
use datafusion::logical_expr::LogicalPlan;

/// Where each output column comes from, and which rule passes or stops it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The output columns in order.
    pub outputs: Vec<OutputColumn>,
    /// The tables that the query reads.
    pub tables: Vec<TableUse>,
    /// Why it is refused, if it is.
    pub refusal: Option<Refusal>,
}

/// One output column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputColumn {
    /// Its name in the result.
    pub name: String,
    /// The columns that its values are computed from, each with the word of its rule.
    pub origins: Vec<(Origin, String)>,
    /// The rule that passes or stops it, in words.
    pub rule: String,
    /// Whether it leaves.
    pub verdict: Verdict,
}

/// Whether an output column leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It leaves, under its rule.
    Released,
    /// A rule stops it.
    Stopped,
    /// Nothing is wrong with it, but the query as a whole is refused.
    Withheld,
}

/// How a query uses a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableUse {
    /// The table.
    pub name: String,
    /// Its owner's local name.
    pub owner: String,
    /// How many distinct entities, by entity column, each released group needs. Empty if only open columns are used.
    pub thresholds: BTreeMap<String, u64>,
    /// How many rows of one entity count at most, if anything is counted.
    pub max_rows_per_entity: Option<u64>,
}

impl Explanation {
    /// Of a query that passed.
    pub(crate) fn passed(
        plan: &LogicalPlan,
        labels: &[Label],
        guards: &[Threshold],
        catalogue: &Catalogue,
    ) -> Explanation {
        let mut explanation = Explanation::lineage(plan, guards, catalogue);
        for (output, label) in explanation.outputs.iter_mut().zip(labels) {
            let words: Vec<&str> = label.words.iter().map(String::as_str).collect();
            output.rule = if !words.is_empty() {
                words.join("; ")
            } else if output.origins.is_empty() {
                "released: it depends on no column".to_owned()
            } else {
                "released freely".to_owned()
            };
        }
        explanation
    }

    /// Of a query that a rule stops.
    pub(crate) fn refused(plan: &LogicalPlan, refusal: Refusal, catalogue: &Catalogue) -> Explanation {
        let mut explanation = Explanation::lineage(plan, &[], catalogue);
        for output in &mut explanation.outputs {
            let stopped = output.origins.iter().any(|(origin, _)| refusal.columns.contains(origin));
            output.verdict = if stopped { Verdict::Stopped } else { Verdict::Withheld };
            output.rule =
                if stopped { format!("stopped by rule {}", refusal.rule) } else { "withheld with the rest".to_owned() };
        }
        explanation.refusal = Some(refusal);
        explanation
    }

    fn lineage(plan: &LogicalPlan, guards: &[Threshold], catalogue: &Catalogue) -> Explanation {
        let word =
            |origin: &Origin| catalogue.rule(&origin.table, &origin.column).map_or("unknown", terms::word).to_owned();
        let (columns, tables) = lineage::of(plan);
        let outputs = plan.schema().fields().iter().zip(columns).map(|(field, origins)| OutputColumn {
            name: field.name().clone(),
            origins: origins.into_iter().map(|origin| (origin.clone(), word(&origin))).collect(),
            rule: String::new(),
            verdict: Verdict::Released,
        });
        Explanation { outputs: outputs.collect(), tables: used(&tables, guards, catalogue), refusal: None }
    }
}

fn used(tables: &BTreeSet<String>, guards: &[Threshold], catalogue: &Catalogue) -> Vec<TableUse> {
    let one = |name: &String| {
        let table = catalogue.get(name)?;
        let mut thresholds = BTreeMap::new();
        for guard in guards.iter().filter(|guard| guard.entity.table == *name) {
            let least = thresholds.entry(guard.entity.column.clone()).or_insert(guard.at_least);
            *least = (*least).min(guard.at_least);
        }
        let max_rows_per_entity = (!thresholds.is_empty()).then_some(table.rules.max_rows_per_entity);
        Some(TableUse { name: name.clone(), owner: table.owner.clone(), thresholds, max_rows_per_entity })
    };
    tables.iter().filter_map(one).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for output in &self.outputs {
            writeln!(f, "{output}")?;
        }
        // What a refused query would ask of groups says nothing, since nothing of it runs.
        match &self.refusal {
            Some(refusal) => writeln!(f, "refused: {refusal}"),
            None => self.tables.iter().try_for_each(|table| writeln!(f, "{table}")),
        }
    }
}

impl fmt::Display for OutputColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: Vec<String> = self.origins.iter().map(|(origin, word)| format!("{origin} ({word})")).collect();
        let from = if origins.is_empty() { String::new() } else { format!("from {}: ", origins.join(", ")) };
        write!(f, "{}: {from}{}", self.name, self.rule)
    }
}

impl fmt::Display for TableUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} of {}: ", self.name, self.owner)?;
        let Some(rows) = self.max_rows_per_entity else { return f.write_str("no group has to be large enough") };
        let needed: Vec<String> =
            self.thresholds.iter().map(|(column, least)| format!("{least} distinct {column}")).collect();
        write!(f, "each group needs at least {}; at most {rows} rows of each count", needed.join(" and "))
    }
}
