//! What a table's columns are called and which SQL type each has.
//!
//! Types are the words of SQL, few on purpose: what cannot be said with them (nested values, bytes) is refused when the
//! table is sealed, so the rules about columns in a manifest always speak of one flat value. An owner may declare the
//! types of some columns ([`Declared`]); the others are inferred.

use std::{collections::BTreeMap, collections::HashMap, fmt, str::FromStr};

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::InputError;

/// The type of a column, written as SQL writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// `boolean`.
    Boolean,
    /// `smallint`: 16 bits, signed.
    Smallint,
    /// `integer`: 32 bits, signed.
    Integer,
    /// `bigint`: 64 bits, signed.
    Bigint,
    /// `real`: IEEE 754 binary32.
    Real,
    /// `double`: IEEE 754 binary64.
    Double,
    /// `decimal(precision, scale)`: exact, at most 38 digits.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// `text`: UTF-8.
    Text,
    /// `date`: a day of the proleptic Gregorian calendar.
    Date,
    /// `timestamp`: microseconds, without a zone; times with an offset are converted to UTC.
    Timestamp,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The name, as the header has it.
    pub name: String,
    /// The type; `bigint`, `text` and so on in documents.
    #[serde(rename = "type")]
    pub data_type: SqlType,
    /// Whether a value may be missing.
    pub nullable: bool,
}

/// The columns of a table: at least one, at most 10,000, no name twice, no name empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Schema(Vec<Column>);

/// Types that the owner gives for some of the columns, in place of inferred ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared(BTreeMap<String, (SqlType, bool)>);

impl Schema {
    /// A schema from its columns, in the order of the table.
    pub fn new(columns: Vec<Column>) -> Result<Schema, InputError> {
        if columns.is_empty() {
            return Err(InputError::NoColumns);
        }
        check_names(columns.iter().map(|column| column.name.as_str()))?;
        Ok(Schema(columns))
    }

    /// The columns, in the order of the table.
    pub fn columns(&self) -> &[Column] {
        &self.0
    }

    /// The same schema as Arrow has it, flat and without metadata.
    pub fn arrow(&self) -> SchemaRef {
        let fields = self.0.iter().map(|column| Field::new(&column.name, column.data_type.arrow(), column.nullable));
        ArrowSchema::new(fields.collect::<Vec<_>>()).into()
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Schema, D::Error> {
        Schema::new(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Declared {
    /// Nothing declared: every type is inferred.
    pub fn none() -> Declared {
        Declared::default()
    }

    /// Types from pairs of a column's name and a type, such as `("age", "integer not null")`.
    pub fn parse(pairs: &[(String, String)]) -> Result<Declared, InputError> {
        let mut declared = BTreeMap::new();
        for (name, text) in pairs {
            let lower = text.trim().to_ascii_lowercase();
            let (word, nullable) = match lower.strip_suffix("not null") {
                Some(word) => (word.trim(), false),
                None => (lower.as_str(), true),
            };
            if declared.insert(name.clone(), (word.parse()?, nullable)).is_some() {
                return Err(InputError::DeclaredTwice { column: name.clone() });
            }
        }
        Ok(Declared(declared))
    }

    /// The declared columns, in alphabetical order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<(SqlType, bool)> {
        self.0.get(name).copied()
    }

    /// Checks that every declared column is one of the table's.
    pub(crate) fn all_among(&self, names: &[String]) -> Result<(), InputError> {
        match self.0.keys().find(|declared| !names.contains(declared)) {
            Some(column) => Err(InputError::DeclaredMissing { column: column.clone(), columns: list(names) }),
            None => Ok(()),
        }
    }
}

impl SqlType {
    /// The Arrow type that carries it.
    pub fn arrow(self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::Smallint => DataType::Int16,
            SqlType::Integer => DataType::Int32,
            SqlType::Bigint => DataType::Int64,
            SqlType::Real => DataType::Float32,
            SqlType::Double => DataType::Float64,
            SqlType::Decimal { precision, scale } => DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(0)),
            SqlType::Text => DataType::Utf8,
            SqlType::Date => DataType::Date32,
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }

    /// The SQL type that holds every value of an Arrow type, if there is one.
    pub(crate) fn holding(arrow: &DataType) -> Option<SqlType> {
        Some(match arrow {
            DataType::Boolean => SqlType::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => SqlType::Smallint,
            DataType::Int32 | DataType::UInt16 => SqlType::Integer,
            DataType::Int64 | DataType::UInt32 => SqlType::Bigint,
            DataType::UInt64 => SqlType::Decimal { precision: 20, scale: 0 },
            DataType::Float16 | DataType::Float32 => SqlType::Real,
            DataType::Float64 => SqlType::Double,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => decimal(*precision, u8::try_from(*scale).ok()?)?,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => SqlType::Text,
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Timestamp(_, _) => SqlType::Timestamp,
            DataType::Dictionary(_, values) => SqlType::holding(values)?,
            DataType::RunEndEncoded(_, values) => SqlType::holding(values.data_type())?,
            _ => return None,
        })
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SqlType::Boolean => "boolean",
            SqlType::Smallint => "smallint",
            SqlType::Integer => "integer",
            SqlType::Bigint => "bigint",
            SqlType::Real => "real",
            SqlType::Double => "double",
            SqlType::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            SqlType::Text => "text",
            SqlType::Date => "date",
            SqlType::Timestamp => "timestamp",
        })
    }
}

impl FromStr for SqlType {
    type Err = InputError;

    fn from_str(text: &str) -> Result<SqlType, InputError> {
        let unknown = || InputError::UnknownType { text: clip(text) };
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "boolean" | "bool" => SqlType::Boolean,
            "smallint" => SqlType::Smallint,
            "integer" | "int" => SqlType::Integer,
            "bigint" => SqlType::Bigint,
            "real" | "float" => SqlType::Real,
            "double" | "double precision" => SqlType::Double,
            "text" | "varchar" | "string" => SqlType::Text,
            "date" => SqlType::Date,
            "timestamp" => SqlType::Timestamp,
            other => {
                let inner =
                    other.strip_prefix("decimal").or_else(|| other.strip_prefix("numeric")).ok_or_else(unknown)?;
                let inner =
                    inner.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(unknown)?;
                let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
                let digits = |text: &str| text.trim().parse::<u8>().map_err(|_| unknown());
                decimal(digits(precision)?, digits(scale)?).ok_or_else(unknown)?
            }
        })
    }
}

impl Serialize for SqlType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SqlType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SqlType, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Checks a table's column names before anything is stored for them.
pub(crate) fn check_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Result<(), InputError> {
    if names.len() > MAX_COLUMNS {
        return Err(InputError::TooManyColumns { found: names.len(), limit: MAX_COLUMNS });
    }
    let mut seen = HashMap::with_capacity(names.len());
    for (index, name) in names.enumerate() {
        let position = index + 1;
        if name.trim().is_empty() {
            return Err(InputError::UnnamedColumn { position });
        }
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(InputError::BadName { position, name: clip(name) });
        }
        if let Some(first) = seen.insert(name, position) {
            return Err(InputError::DuplicateColumn { name: name.to_owned(), first, second: position });
        }
    }
    Ok(())
}

/// A value of the user's as an error shows it: at most 60 characters, with control characters escaped.
pub(crate) fn clip(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(60)
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

fn list(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(12).map(|name| format!("`{}`", clip(name))).collect();
    if names.len() > shown.len() {
        shown.push(format!("and {} more", names.len() - shown.len()));
    }
    shown.join(", ")
}

fn decimal(precision: u8, scale: u8) -> Option<SqlType> {
    ((1..=38).contains(&precision) && scale <= precision).then_some(SqlType::Decimal { precision, scale })
}

/// More columns than this are not a table but an attack on whoever opens it.
pub(crate) const MAX_COLUMNS: usize = 10_000;

/// The longest name of a column, in bytes.
pub(crate) const MAX_NAME: usize = 1_000;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_as_it_is_written() {
        let decimal = SqlType::Decimal { precision: 12, scale: 2 };
        for data_type in [
            SqlType::Boolean,
            SqlType::Smallint,
            SqlType::Integer,
            SqlType::Bigint,
            SqlType::Real,
            SqlType::Double,
            decimal,
            SqlType::Text,
            SqlType::Date,
            SqlType::Timestamp,
        ] {
            assert_eq!(data_type.to_string().parse(), Ok(data_type));
            assert_eq!(SqlType::holding(&data_type.arrow()), Some(data_type));
        }
        assert_eq!("decimal(39,0)".parse::<SqlType>(), Err(InputError::UnknownType { text: "decimal(39,0)".into() }));
        assert_eq!("bigit".parse::<SqlType>(), Err(InputError::UnknownType { text: "bigit".into() }));
    }

    #[test]
    fn declared_pairs_may_say_not_null() {
        let declared = Declared::parse(&[("a".into(), "BIGINT NOT NULL".into()), ("b".into(), "text".into())]).unwrap();
        assert_eq!(declared.get("a"), Some((SqlType::Bigint, false)));
        assert_eq!(declared.get("b"), Some((SqlType::Text, true)));
    }

    #[test]
    fn a_column_named_twice_is_refused_with_both_positions() {
        let column = |name: &str| Column { name: name.into(), data_type: SqlType::Text, nullable: true };
        let expected = InputError::DuplicateColumn { name: "a".into(), first: 1, second: 3 };
        assert_eq!(Schema::new(vec![column("a"), column("b"), column("a")]), Err(expected));
    }
}
