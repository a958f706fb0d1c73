//! Why a query is refused: a closed set of reasons, each with what, which rule, and the smallest change that would pass.
//!
//! The numbers in `rule` are those of `docs/spec/rules.md`.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

/// A column of a table, by the names that SQL uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// The table's name in the agreement.
    pub table: String,
    /// The column's name.
    pub column: String,
}

/// The rule that stops a query. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A hidden column was used.
    Hidden,
    /// A column other than an open one, of a table in which nothing can be counted.
    NoEntity,
    /// An entity column was used other than counted distinct or joined on.
    Entity,
    /// A join column was used other than in an equality join.
    Join,
    /// A measure was used outside a permitted aggregate.
    Measure,
    /// A measure was changed by something other than a linear function of moderate size.
    MeasureArithmetic,
    /// An aggregate's argument would isolate part of a group.
    AggregateArgument,
    /// An aggregate with FILTER, ORDER BY or DISTINCT over protected rows.
    AggregateClause,
    /// An aggregate function that shows single values.
    AggregateFunction,
    /// The query would give out rows of single entities.
    RowLevel,
    /// Two protected tables that no entity or join column links.
    Unlinked,
    /// A join that tells who is absent.
    AntiJoin,
    /// Join keys whose rules do not fit each other.
    JoinKeys,
    /// A subquery that looks at protected rows.
    Subquery,
    /// LIMIT, OFFSET, DISTINCT ON over protected rows.
    Limit,
    /// A window function over protected rows.
    Window,
    /// ROLLUP, CUBE or GROUPING SETS.
    GroupingSets,
    /// Columns of different rules in one column of a UNION.
    Union,
    /// A step that could fail for some values, so that the failure would tell about them.
    Fallible,
    /// A function that is not among those known to be safe.
    Function,
    /// Part of a plan that the checker does not know.
    Unknown,
    /// An expression too deep or a plan too large.
    TooComplex,
    /// A name that the guards use themselves.
    Reserved,
    /// An output column of a type that results cannot carry.
    OutputType,
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Which rule, as a closed set.
    pub reason: Reason,
    /// What in the query is refused.
    pub what: String,
    /// The rule that refuses it, in words, with its number in `docs/spec/rules.md`.
    pub rule: String,
    /// The smallest change that would pass.
    pub smallest_change: String,
    /// The columns concerned.
    pub columns: BTreeSet<Origin>,
}

/// What stops the checker: a rule, or the engine.
#[derive(Debug)]
pub(crate) enum Stop {
    Refused(Box<Refusal>),
    Engine(datafusion::error::DataFusionError),
}

impl Reason {
    /// The rule in words, with its number.
    pub fn rule(self) -> &'static str {
        match self {
            Reason::Hidden => "R6: a hidden column may not be used at all",
            Reason::NoEntity => "R7: a table without an entity column offers its open columns only",
            Reason::Entity => {
                "R1: an entity column may be counted distinct and joined on, never shown, filtered or grouped by"
            }
            Reason::Join => "R2: a join column may be used in equality joins only",
            Reason::Measure => "R4: a measure may be used only inside COUNT, SUM, AVG, VAR and STDDEV",
            Reason::MeasureArithmetic => {
                "R4: a measure may be changed only by adding, subtracting and multiplying literals of moderate size"
            }
            Reason::AggregateArgument => {
                "R9: an aggregate over protected rows takes a measure, nothing (`count(*)`), or `distinct` entities"
            }
            Reason::AggregateClause => {
                "R9: FILTER, ORDER BY and DISTINCT inside an aggregate would look at part of a group"
            }
            Reason::AggregateFunction => "R9: over protected rows only COUNT, SUM, AVG, VAR and STDDEV are computed",
            Reason::RowLevel => "R8: every output row stands on a group of enough entities, or on open columns only",
            Reason::Unlinked => "R11: protected tables are joined by equality of entity or join columns",
            Reason::AntiJoin => "R12: a protected table is not used to find what it lacks",
            Reason::JoinKeys => {
                "R11: entity columns join entity columns of the same domain, join columns join join columns"
            }
            Reason::Subquery => "R13: a subquery may look at protected rows only as `entity in (select entity …)`",
            Reason::Limit => "R14: LIMIT and DISTINCT ON would pick single rows, so they come after the aggregate",
            Reason::Window => "R14: window functions would show single rows, so they come after the aggregate",
            Reason::GroupingSets => {
                "R15: ROLLUP, CUBE and GROUPING SETS would let suppressed groups be computed from their totals"
            }
            Reason::Union => "R16: the columns of a UNION must have one rule",
            Reason::Fallible => "R17: a step that can fail for some values would tell about them by failing",
            Reason::Function => "R18: only functions known to be deterministic and total exist inside",
            Reason::Unknown => "R18: what the checker does not know is refused",
            Reason::TooComplex => "R19: a query has a bounded size and depth",
            Reason::Reserved => "R18: names that the guards use themselves are reserved",
            Reason::OutputType => "R20: a result is a table of numbers, text, truth values, dates and times",
        }
    }
}

impl Stop {
    /// A refusal without columns; see [`Stop::about`].
    pub(crate) fn new(reason: Reason, what: impl Into<String>, smallest_change: impl Into<String>) -> Stop {
        Stop::about(reason, BTreeSet::new(), what, smallest_change)
    }

    /// A refusal that concerns some columns.
    pub(crate) fn about(
        reason: Reason,
        columns: BTreeSet<Origin>,
        what: impl Into<String>,
        smallest_change: impl Into<String>,
    ) -> Stop {
        let (what, smallest_change) = (what.into(), smallest_change.into());
        Stop::Refused(Box::new(Refusal { reason, what, rule: reason.rule().to_owned(), smallest_change, columns }))
    }
}

impl Stop {
    /// The same for a condition on rows, where the changes that help elsewhere lead to another error.
    pub(crate) fn choosing_rows(self) -> Stop {
        let Stop::Refused(mut refusal) = self else { return self };
        match refusal.reason {
            Reason::Entity => {
                "leave the condition out; a condition needs a `group` column, which the owner of the table declares"
                    .clone_into(&mut refusal.smallest_change);
            }
            Reason::Measure | Reason::MeasureArithmetic => {
                "ask the owner for a `group` column, such as a band of it, or put a condition on an aggregate into `having`"
                    .clone_into(&mut refusal.smallest_change);
            }
            _ => {}
        }
        Stop::Refused(refusal)
    }
}

impl From<datafusion::error::DataFusionError> for Stop {
    fn from(error: datafusion::error::DataFusionError) -> Stop {
        Stop::Engine(error)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nrule {}\nhint: {}", self.what, self.rule, self.smallest_change)
    }
}

/// Columns as a person reads them.
pub(crate) fn list(origins: &BTreeSet<Origin>) -> String {
    let names: Vec<String> = origins.iter().map(|origin| format!("`{origin}`")).collect();
    if names.is_empty() { "this expression".to_owned() } else { names.join(", ") }
}
