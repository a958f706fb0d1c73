//! What the checker knows about a column or an expression: which rule it carries and where it comes from.

use std::collections::BTreeSet;

use agreement::documents::{ColumnRule, ColumnType};

use super::{
    MAX_EXACT,
    refusal::{Origin, Reason, Stop, list},
};

/// A column or an expression under the rules.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) class: Class,
    /// The columns whose values it depends on.
    pub(crate) origins: BTreeSet<Origin>,
    /// The scans of tables with entities that it reads, by number, while their rows are still rows.
    pub(crate) scans: BTreeSet<usize>,
    /// How it was released, in words, once it was.
    pub(crate) words: BTreeSet<String>,
    /// How many texts are joined in it at most.
    pub(crate) copies: u32,
}

/// Which rule an expression carries.
#[derive(Debug, Clone)]
pub(crate) enum Class {
    /// Known to everybody, or released.
    Open,
    /// To filter and group by.
    Group,
    /// To join on.
    Join,
    /// To join on and to count distinct.
    Entity(Entity),
    /// To aggregate.
    Measure(Linear),
    /// Not to be used, and why.
    Closed(Reason),
}

/// An entity column.
#[derive(Debug, Clone)]
pub(crate) struct Entity {
    pub(crate) domain: String,
    /// The hidden column that carries it up to the guard.
    pub(crate) hidden: String,
}

/// A measure, or a linear function of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    /// The factor so far.
    pub(crate) factor: f64,
    /// What was added so far.
    pub(crate) offset: f64,
    /// Up to where its type computes without wrapping.
    pub(crate) exact: f64,
    /// The largest offset that may be added at once.
    pub(crate) reach: f64,
    /// Whether it is a number at all: others can only be counted.
    pub(crate) numeric: bool,
}

impl Label {
    /// A literal.
    pub(crate) fn constant() -> Label {
        Label {
            class: Class::Open,
            origins: BTreeSet::new(),
            scans: BTreeSet::new(),
            words: BTreeSet::new(),
            copies: 1,
        }
    }

    /// Whether it may be known to everybody.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.class, Class::Open)
    }

    /// Whether rows may be chosen and grouped by it.
    pub(crate) fn is_groupable(&self) -> bool {
        matches!(self.class, Class::Open | Class::Group)
    }

    /// The label of an expression that depends on these, in any way.
    pub(crate) fn combined<'a>(labels: impl IntoIterator<Item = &'a Label>, what: &str) -> Result<Label, Stop> {
        let mut all = Label::constant();
        for label in labels {
            match (&label.class, &all.class) {
                (Class::Open, _) => {}
                (Class::Group, _) => all.class = Class::Group,
                _ => return Err(label.misused(what)),
            }
            all.origins.extend(label.origins.iter().cloned());
            all.scans.extend(&label.scans);
            all.words.extend(label.words.iter().cloned());
            all.copies = all.copies.max(label.copies);
        }
        Ok(all)
    }

    /// The refusal to use this in an expression, a filter or an output.
    pub(crate) fn misused(&self, what: &str) -> Stop {
        let columns = list(&self.origins);
        let column = self.origins.iter().next().map_or_else(|| "it".to_owned(), |origin| origin.column.clone());
        let (reason, change) = match &self.class {
            Class::Entity(_) => {
                (Reason::Entity, format!("use `count(distinct {column})` in place of `{column}`, or leave it out"))
            }
            Class::Join => {
                (Reason::Join, format!("leave `{column}` out, or use it only as `… on a.{column} = b.{column}`"))
            }
            Class::Measure(_) if what == GROUPED => (
                Reason::Measure,
                format!("group by something else, or ask the owner for a `group` column, such as a band of `{column}`"),
            ),
            Class::Measure(_) => (Reason::Measure, format!("wrap `{column}` in `avg({column})`, or leave it out")),
            Class::Closed(Reason::NoEntity) => (
                Reason::NoEntity,
                format!("leave `{column}` out, or ask its owner for a version with an entity column"),
            ),
            Class::Closed(reason) => (*reason, format!("leave `{column}` out")),
            Class::Group => (Reason::RowLevel, format!("add `group by {column}` and aggregate the other columns")),
            Class::Open => (Reason::Unknown, format!("leave `{column}` out")),
        };
        Stop::about(reason, self.origins.clone(), format!("{columns} cannot be used {what}"), change)
    }
}

impl Class {
    /// The class of a table's column.
    pub(crate) fn of(rule: &ColumnRule, kind: ColumnType, has_entity: bool, hidden: String) -> Class {
        match rule {
            ColumnRule::Open {} => Class::Open,
            ColumnRule::Hidden {} => Class::Closed(Reason::Hidden),
            _ if !has_entity => Class::Closed(Reason::NoEntity),
            ColumnRule::Group {} => Class::Group,
            ColumnRule::Join {} => Class::Join,
            ColumnRule::Entity { domain } => Class::Entity(Entity { domain: domain.clone(), hidden }),
            ColumnRule::Measure { lower, upper } => Class::Measure(Linear::of(*lower, *upper, kind)),
        }
    }
}

impl Linear {
    fn of(lower: f64, upper: f64, kind: ColumnType) -> Linear {
        let numeric = matches!(kind, ColumnType::Bigint | ColumnType::Double);
        let exact = if matches!(kind, ColumnType::Double) { f64::INFINITY } else { MAX_EXACT };
        let reach = lower.abs().max(upper.abs()).max(1.0) * MAX_FACTOR;
        Linear { lower, upper, factor: 1.0, offset: 0.0, exact, reach, numeric }
    }

    /// The measure times a literal, if that is of moderate size.
    pub(crate) fn times(self, factor: f64) -> Option<Linear> {
        let (scale, offset) = (self.factor * factor, self.offset * factor);
        let (a, b) = (self.lower * factor, self.upper * factor);
        let reach = self.reach * factor.abs();
        let moderate = (1.0 / MAX_FACTOR..=MAX_FACTOR).contains(&scale.abs());
        (moderate && a.abs().max(b.abs()) <= self.exact).then_some(Linear {
            lower: a.min(b),
            upper: a.max(b),
            factor: scale,
            offset,
            reach,
            ..self
        })
    }

    /// The measure plus a literal, if that is of moderate size.
    pub(crate) fn plus(self, offset: f64) -> Option<Linear> {
        let (lower, upper) = (self.lower + offset, self.upper + offset);
        let within = |bound: f64| bound.abs() <= self.reach.max(1.0).min(self.exact);
        let added = Linear { lower, upper, offset: self.offset + offset, ..self };
        (offset.is_finite() && within(lower) && within(upper)).then_some(added)
    }
}

/// How a use in GROUP BY is told.
pub(crate) const GROUPED: &str = "to group by";

/// The largest factor, and its inverse the smallest. Beyond it, rounding or overflow would make a sum of a linear function
/// into a count of those above a limit.
const MAX_FACTOR: f64 = 1e6;
