//! The rules file of `glovebox seal`: what a dataset is called, how many entities stand behind an answer, and what each
//! column may be used for.
//!
//! Silence is never consent: a column of the table that the file does not mention is an error, unless the file hides all others. A
//! table without an entity column can protect nobody, so such a file may only open or hide columns.

use std::collections::BTreeMap;

use super::reader::{Document, Place, Problem, Table, TomlError, Value, nearest};
use crate::{
    documents::{Column, ColumnRule, ColumnType, Contents, TableRules},
    shape::{Named, check_name},
};

/// A rules file that makes sense by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct RulesFile {
    name: String,
    rules: TableRules,
    columns: BTreeMap<String, Wanted>,
    hide_others: bool,
    place: Box<Place>,
}

/// A column of the table that shall be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// As in the table.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    kind: Option<ColumnType>,
    rule: ColumnRule,
    place: Box<Place>,
}

impl RulesFile {
    /// Reads a rules file. `file` is its name, for messages.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<RulesFile, TomlError> {
        let document = Document::parse(file, bytes)?;
        let root = document.root();
        root.only(&["dataset", "columns"])?;
        let dataset = root.need("dataset", "[dataset]")?.table()?;
        dataset.only(&["name", "min_entities", "max_rows_per_entity", "other_columns"])?;
        let name = dataset.need("name", "name = \"admissions\"")?;
        check_name(Named::Dataset, name.string()?).map_err(|error| name.fault(error))?;
        let hide_others = match dataset.get("other_columns") {
            Some(others) => others.choice("a way to treat other columns", &[("hidden", true)])?,
            None => false,
        };
        let table = root.need("columns", "[columns]")?.table()?;
        let mut columns = BTreeMap::new();
        for (column, value) in table.values() {
            columns.insert(column, wanted(&value)?);
        }
        let rules = thresholds(&dataset, &columns)?;
        Ok(RulesFile { name: name.string()?.to_owned(), rules, columns, hide_others, place: table.place() })
    }

    /// The dataset's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The thresholds.
    pub const fn rules(&self) -> &TableRules {
        &self.rules
    }

    /// The types that the file asks for, by column; others are inferred.
    pub fn types(&self) -> BTreeMap<&str, ColumnType> {
        self.columns.iter().filter_map(|(name, wanted)| Some((name.as_str(), wanted.kind?))).collect()
    }

    /// Gives every column of a table its rule, in the table's order.
    ///
    /// # Errors
    /// A column of the file that the table lacks, a column of the table without rule, a rule that does not fit the type; with the place.
    pub fn apply(&self, table: &[SourceColumn]) -> Result<Contents, TomlError> {
        let names: Vec<&str> = table.iter().map(|column| column.name.as_str()).collect();
        let mut extra = self.columns.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        if let Some((column, wanted)) = extra.next() {
            let problem = Problem::UnknownName {
                what: "a column of the table",
                name: column.clone(),
                nearest: nearest(column, &names),
                known: names.iter().map(|name| (*name).to_owned()).collect(),
            };
            return Err(TomlError { place: wanted.place.clone(), problem });
        }
        let without: Vec<String> =
            names.iter().filter(|name| !self.columns.contains_key(**name)).map(|name| (*name).to_owned()).collect();
        if !without.is_empty() && !self.hide_others {
            return Err(TomlError { place: self.place.clone(), problem: Problem::ColumnsWithoutRule(without) });
        }
        let columns = table.iter().map(|column| self.column(column)).collect::<Result<Vec<_>, _>>()?;
        Ok(Contents::Table { columns, rules: self.rules.clone() })
    }

    fn column(&self, source: &SourceColumn) -> Result<Column, TomlError> {
        let SourceColumn { name, kind, nullable } = source.clone();
        let Some(wanted) = self.columns.get(&name) else {
            return Ok(Column { name, kind, nullable, rule: ColumnRule::Hidden {} });
        };
        let number = match kind {
            ColumnType::Bigint | ColumnType::Double => true,
            ColumnType::Text | ColumnType::Boolean | ColumnType::Date | ColumnType::Timestamp => false,
        };
        if matches!(wanted.rule, ColumnRule::Measure { lower: _, upper: _ }) && !number {
            let problem = Problem::Value {
                key: format!("columns.{name}"),
                reason: format!("a measure must be a number, and the column is of the type `{}`", type_name(kind)),
                hint: Some("use another rule, such as `group`".to_owned()),
            };
            return Err(TomlError { place: wanted.place.clone(), problem });
        }
        Ok(Column { name, kind, nullable, rule: wanted.rule.clone() })
    }
}

/// A rule in its short form (`"group"`) or as a table.
fn wanted(value: &Value<'_, '_>) -> Result<Wanted, TomlError> {
    let place = value.place();
    if value.is_string() {
        let rule = simple_rule(value.choice("a rule", &RULES)?);
        let rule = rule.ok_or_else(|| needs_table(value, value.string().unwrap_or_default()))?;
        return Ok(Wanted { kind: None, rule, place });
    }
    let table = value.table()?;
    table.only(&["rule", "type", "domain", "lower", "upper"])?;
    let name = table.need("rule", "rule = \"group\"")?;
    let kind = table.get("type").map(|kind| kind.choice("a type", &TYPES)).transpose()?;
    let rule = match name.choice("a rule", &RULES)? {
        Rule::Entity => {
            table.only(&["rule", "type", "domain"])?;
            let domain = table.need("domain", "domain = \"patient\"")?;
            check_name(Named::Dataset, domain.string()?).map_err(|_| {
                domain.value_error("is not the name of a population".to_owned(), Some("such as `patient`".to_owned()))
            })?;
            ColumnRule::Entity { domain: domain.string()?.to_owned() }
        }
        Rule::Measure => {
            table.only(&["rule", "type", "lower", "upper"])?;
            let (lower, upper) = (table.need("lower", "lower = 0")?, table.need("upper", "upper = 100")?);
            let bounds = (lower.number()?, upper.number()?);
            if bounds.0 >= bounds.1 {
                return Err(upper.value_error("must be greater than `lower`".to_owned(), None));
            }
            ColumnRule::Measure { lower: bounds.0, upper: bounds.1 }
        }
        other => {
            table.only(&["rule", "type"])?;
            simple_rule(other).ok_or_else(|| needs_table(value, name.string().unwrap_or_default()))?
        }
    };
    Ok(Wanted { kind, rule, place })
}

fn simple_rule(rule: Rule) -> Option<ColumnRule> {
    match rule {
        Rule::Join => Some(ColumnRule::Join {}),
        Rule::Group => Some(ColumnRule::Group {}),
        Rule::Open => Some(ColumnRule::Open {}),
        Rule::Hidden => Some(ColumnRule::Hidden {}),
        Rule::Entity | Rule::Measure => None,
    }
}

fn needs_table(value: &Value<'_, '_>, rule: &str) -> TomlError {
    let example = match rule {
        "entity" => "{ rule = \"entity\", domain = \"patient\" }",
        _ => "{ rule = \"measure\", lower = 0, upper = 100 }",
    };
    value.value_error(format!("needs more than the name of the rule `{rule}`"), Some(format!("write `{example}`")))
}

/// The thresholds, which need an entity column to count by; without one, columns can only be opened or hidden.
fn thresholds(dataset: &Table<'_, '_>, columns: &BTreeMap<String, Wanted>) -> Result<TableRules, TomlError> {
    let entity = columns.iter().find(|(_, wanted)| matches!(wanted.rule, ColumnRule::Entity { domain: _ }));
    let guarded = columns.iter().find(|(_, wanted)| {
        matches!(wanted.rule, ColumnRule::Join {} | ColumnRule::Group {} | ColumnRule::Measure { lower: _, upper: _ })
    });
    match (entity, guarded) {
        (None, Some((name, wanted))) => Err(TomlError {
            place: wanted.place.clone(),
            problem: Problem::Value {
                key: format!("columns.{name}"),
                reason: "cannot be protected, since no column is the entity".to_owned(),
                hint: Some(
                    "give the column that names the person `{ rule = \"entity\", domain = \"patient\" }`".to_owned(),
                ),
            },
        }),
        (None, None) => Ok(TableRules { min_entities: 1, max_rows_per_entity: MAX_THRESHOLD }),
        (Some(_), _) => {
            let least = dataset.need("min_entities", "min_entities = 10")?.integer(1, MAX_THRESHOLD)?;
            let most = dataset.need("max_rows_per_entity", "max_rows_per_entity = 1")?.integer(1, MAX_THRESHOLD)?;
            Ok(TableRules { min_entities: least, max_rows_per_entity: most })
        }
    }
}

fn type_name(kind: ColumnType) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Entity,
    Join,
    Group,
    Measure,
    Open,
    Hidden,
}

const RULES: [(&str, Rule); 6] = [
    ("entity", Rule::Entity),
    ("join", Rule::Join),
    ("group", Rule::Group),
    ("measure", Rule::Measure),
    ("open", Rule::Open),
    ("hidden", Rule::Hidden),
];
const TYPES: [(&str, ColumnType); 6] = [
    ("bigint", ColumnType::Bigint),
    ("double", ColumnType::Double),
    ("text", ColumnType::Text),
    ("boolean", ColumnType::Boolean),
    ("date", ColumnType::Date),
    ("timestamp", ColumnType::Timestamp),
];
/// Below 2^53, so that it is the same number in every JSON reader.
const MAX_THRESHOLD: u64 = 1_000_000_000;
