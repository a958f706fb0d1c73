//! The terms that a query is checked against: for each table its columns, rules and thresholds.
//!
//! A caller borrows them from manifests ([`TableTerms`]); the checker works on a [`Catalogue`] of its own, whose constructor
//! refuses terms that mean nothing: a threshold of zero, bounds that are upside down, a measure of text with bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use agreement::documents::{Column, ColumnRule, ColumnType, TableRules};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{MAX_EXACT, RESERVED};

/// One table as an agreement offers it to computations.
#[derive(Debug, Clone, Copy)]
pub struct TableTerms<'a> {
    /// The name that SQL uses: a lower-case identifier.
    pub name: &'a str,
    /// The columns in the order of the table.
    pub columns: &'a [Column],
    /// The thresholds.
    pub rules: &'a TableRules,
    /// The local name of the party that owns it.
    pub owner: &'a str,
}

/// Why terms are no terms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Two tables of one name.
    #[error("two tables are called `{0}`")]
    TableTwice(String),
    /// Two columns of one name.
    #[error("table `{0}` has two columns called `{1}`")]
    ColumnTwice(String, String),
    /// A name that the guards use themselves.
    #[error("`{0}` is a reserved name")]
    Reserved(String),
    /// `min_entities` or `max_rows_per_entity` is zero.
    #[error("the thresholds of table `{0}` must be at least 1")]
    Threshold(String),
    /// A measure's bounds are not finite, upside down, or too large to compute with.
    #[error("the bounds of measure `{0}.{1}` must be finite, in order, and within 2^53 of zero")]
    Bounds(String, String),
}

/// The terms of all tables, checked to make sense.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    tables: BTreeMap<String, Table>,
}

/// One table of the catalogue.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rules: TableRules,
    pub(crate) owner: String,
}

impl Catalogue {
    /// Copies the terms.
    pub(crate) fn new(terms: &[TableTerms<'_>]) -> Result<Catalogue, TermsError> {
        let mut tables = BTreeMap::new();
        for table in terms {
            let table = Table::new(table)?;
            if let Some(twice) = tables.insert(table.name.clone(), table) {
                return Err(TermsError::TableTwice(twice.name));
            }
        }
        Ok(Catalogue { tables })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// The rule of a column that exists.
    pub(crate) fn rule(&self, table: &str, column: &str) -> Option<&ColumnRule> {
        self.get(table)?.columns.iter().find(|candidate| candidate.name == column).map(|column| &column.rule)
    }
}

impl Table {
    fn new(terms: &TableTerms<'_>) -> Result<Table, TermsError> {
        let name = || terms.name.to_owned();
        if terms.rules.min_entities == 0 || terms.rules.max_rows_per_entity == 0 {
            return Err(TermsError::Threshold(name()));
        }
        let mut seen = BTreeSet::new();
        for column in terms.columns {
            if column.name.starts_with(RESERVED) {
                return Err(TermsError::Reserved(column.name.clone()));
            }
            if !seen.insert(&column.name) {
                return Err(TermsError::ColumnTwice(name(), column.name.clone()));
            }
            if let ColumnRule::Measure { lower, upper } = column.rule
                && !(lower.abs() <= MAX_EXACT && upper.abs() <= MAX_EXACT && lower <= upper)
            {
                return Err(TermsError::Bounds(name(), column.name.clone()));
            }
        }
        Ok(Table {
            name: name(),
            columns: terms.columns.to_vec(),
            rules: terms.rules.clone(),
            owner: terms.owner.to_owned(),
        })
    }

    /// The columns that name entities, with their domains.
    pub(crate) fn entities(&self) -> impl Iterator<Item = (&Column, &str)> {
        self.columns.iter().filter_map(|column| match &column.rule {
            ColumnRule::Entity { domain } => Some((column, domain.as_str())),
            ColumnRule::Join {}
            | ColumnRule::Group {}
            | ColumnRule::Measure { .. }
            | ColumnRule::Open {}
            | ColumnRule::Hidden {} => None,
        })
    }

    /// The schema that queries see and that sealed files are read as.
    pub(crate) fn schema(&self) -> SchemaRef {
        let field = |column: &Column| Field::new(&column.name, arrow_type(column.kind), column.nullable);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }
}

/// The Arrow type of a column; text is read as views, which costs no copy.
pub(crate) fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Bigint => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Text => DataType::Utf8View,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

/// The word of a rule, as owners write it.
pub(crate) fn word(rule: &ColumnRule) -> &'static str {
    match rule {
        ColumnRule::Entity { .. } => "entity",
        ColumnRule::Join {} => "join",
        ColumnRule::Group {} => "group",
        ColumnRule::Measure { .. } => "measure",
        ColumnRule::Open {} => "open",
        ColumnRule::Hidden {} => "hidden",
    }
}
