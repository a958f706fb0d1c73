//! One value at a time: guessing a column's type from text, and building columns from text.
//!
//! The rules are strict because a silent guess would be sealed and signed. The first value of a column decides what it is
//! about; later values may widen it (`bigint` to `double`, `date` to `timestamp`) but never turn numbers into text. A
//! column whose first value is text stays text. Digits with a leading zero, or too many for 64 bits, are text: they are
//! codes, and a number would lose them. Nothing but an empty field is a missing value; `NA` is text.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder, Int16Builder,
        Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
    },
    compute::kernels::cast_utils::{Parser, parse_decimal, string_to_timestamp_nanos},
    datatypes::{Date32Type, Decimal128Type},
    record_batch::RecordBatch,
};

use crate::{
    error::{InputError, SealError},
    schema::{Column, Declared, Schema, SqlType, clip},
    source::BATCH_ROWS,
};

/// Where a value stands, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) row: u64,
    pub(crate) line: u64,
}

/// What the values seen so far say about the types of columns.
pub(crate) struct Inference {
    columns: Vec<(String, Option<SqlType>)>,
    rows: u64,
}

impl Inference {
    pub(crate) fn new(names: Vec<String>) -> Inference {
        Inference { columns: names.into_iter().map(|name| (name, None)).collect(), rows: 0 }
    }

    pub(crate) fn row(&mut self) {
        self.rows += 1;
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The index of a column, which is added if it is new.
    pub(crate) fn column(&mut self, hint: usize, name: &str) -> usize {
        if self.columns.get(hint).is_some_and(|(known, _)| known == name) {
            return hint;
        }
        self.columns.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.columns.push((name.to_owned(), None));
            self.columns.len() - 1
        })
    }

    /// Takes one value of known class into account.
    pub(crate) fn observe(
        &mut self,
        index: usize,
        class: SqlType,
        value: &str,
        place: Place,
        declared: &Declared,
    ) -> Result<(), InputError> {
        let Some((name, guess)) = self.columns.get_mut(index) else { return Ok(()) };
        if declared.get(name).is_some() {
            return Ok(());
        }
        let Some(before) = *guess else {
            *guess = Some(class);
            return Ok(());
        };
        *guess = Some(widen(before, class).ok_or_else(|| changed(name, before, value, place))?);
        Ok(())
    }

    /// The schema. Columns without any value are text.
    pub(crate) fn finish(mut self, declared: &Declared) -> Result<Schema, InputError> {
        if self.rows == 0 {
            return Err(InputError::Empty);
        }
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        declared.all_among(&names)?;
        let columns = self.columns.drain(..).map(|(name, guess)| {
            let (data_type, nullable) = declared.get(&name).unwrap_or((guess.unwrap_or(SqlType::Text), true));
            Column { name, data_type, nullable }
        });
        Schema::new(columns.collect())
    }
}

/// The type that a text looks like, or none if it is empty.
pub(crate) fn classify(text: &str) -> Option<SqlType> {
    let value = text.trim_ascii();
    let bytes = value.as_bytes();
    let first = *bytes.first()?;
    if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
        return Some(SqlType::Boolean);
    }
    if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
        return Some(SqlType::Text);
    }
    if looks_like_date(bytes) {
        let class = if bytes.len() == 10 { SqlType::Date } else { SqlType::Timestamp };
        return Some(if parses(class, value) { class } else { SqlType::Text });
    }
    let digits = value.trim_start_matches(['-', '+']);
    if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
        return Some(SqlType::Text);
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(if value.parse::<i64>().is_ok() { SqlType::Bigint } else { SqlType::Text });
    }
    Some(if double(value).is_some() { SqlType::Double } else { SqlType::Text })
}

/// The columns of a batch that is being built.
pub(crate) struct Rows {
    schema: Schema,
    builders: Vec<Builder>,
    rows: usize,
}

impl Rows {
    pub(crate) fn new(schema: &Schema) -> Rows {
        let builders = schema.columns().iter().map(|column| Builder::new(column.data_type)).collect();
        Rows { schema: schema.clone(), builders, rows: 0 }
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Appends a value to a column; `None`, and an empty text in a column that is not text, is a missing value.
    pub(crate) fn append(&mut self, index: usize, value: Option<&str>, place: Place) -> Result<(), InputError> {
        let (Some(column), Some(builder)) = (self.schema.columns().get(index), self.builders.get_mut(index)) else {
            return Ok(());
        };
        let value = if column.data_type == SqlType::Text {
            value
        } else {
            value.map(str::trim_ascii).filter(|value| !value.is_empty())
        };
        match value {
            Some(value) if builder.append(value) => Ok(()),
            Some(value) => Err(changed(&column.name, column.data_type, value, place)),
            None if column.nullable => {
                builder.append_null();
                Ok(())
            }
            None => Err(InputError::Missing { row: place.row, column: column.name.clone() }),
        }
    }

    /// Ends a row; true when the batch is full.
    pub(crate) fn end_row(&mut self) -> bool {
        self.rows += 1;
        self.rows >= BATCH_ROWS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(crate) fn finish(&mut self) -> Result<RecordBatch, SealError> {
        self.rows = 0;
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(self.schema.arrow(), columns).map_err(SealError::Arrow)
    }
}

/// One column that is being built.
enum Builder {
    Boolean(BooleanBuilder),
    Smallint(Int16Builder),
    Integer(Int32Builder),
    Bigint(Int64Builder),
    Real(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u8, u8),
    Text(StringBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// Calls a method that all builders have.
macro_rules! each {
    ($builder:expr, $inner:ident => $call:expr) => {
        match $builder {
            Builder::Boolean($inner) => $call,
            Builder::Smallint($inner) => $call,
            Builder::Integer($inner) => $call,
            Builder::Bigint($inner) => $call,
            Builder::Real($inner) => $call,
            Builder::Double($inner) => $call,
            Builder::Decimal($inner, _, _) => $call,
            Builder::Text($inner) => $call,
            Builder::Date($inner) => $call,
            Builder::Timestamp($inner) => $call,
        }
    };
}

impl Builder {
    fn new(data_type: SqlType) -> Builder {
        match data_type {
            SqlType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            SqlType::Smallint => Builder::Smallint(Int16Builder::new()),
            SqlType::Integer => Builder::Integer(Int32Builder::new()),
            SqlType::Bigint => Builder::Bigint(Int64Builder::new()),
            SqlType::Real => Builder::Real(Float32Builder::new()),
            SqlType::Double => Builder::Double(Float64Builder::new()),
            SqlType::Decimal { precision, scale } => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(data_type.arrow()), precision, scale)
            }
            SqlType::Text => Builder::Text(StringBuilder::new()),
            SqlType::Date => Builder::Date(Date32Builder::new()),
            SqlType::Timestamp => Builder::Timestamp(TimestampMicrosecondBuilder::new()),
        }
    }

    /// Appends a value; false if it is not of the column's type.
    fn append(&mut self, value: &str) -> bool {
        match self {
            Builder::Boolean(builder) => boolean(value).map(|value| builder.append_value(value)),
            Builder::Smallint(builder) => value.parse().ok().map(|value| builder.append_value(value)),
            Builder::Integer(builder) => value.parse().ok().map(|value| builder.append_value(value)),
            Builder::Bigint(builder) => value.parse().ok().map(|value| builder.append_value(value)),
            Builder::Real(builder) => real(value).map(|value| builder.append_value(value)),
            Builder::Double(builder) => double(value).map(|value| builder.append_value(value)),
            Builder::Decimal(builder, precision, scale) => {
                exact(value, *precision, *scale).map(|value| builder.append_value(value))
            }
            Builder::Text(builder) => {
                builder.append_value(value);
                Some(())
            }
            Builder::Date(builder) => date(value).map(|value| builder.append_value(value)),
            Builder::Timestamp(builder) => timestamp(value).map(|value| builder.append_value(value)),
        }
        .is_some()
    }

    fn append_null(&mut self) {
        each!(self, builder => builder.append_null());
    }

    fn finish(&mut self) -> ArrayRef {
        each!(self, builder => Arc::new(builder.finish()))
    }
}

pub(crate) fn changed(column: &str, expected: SqlType, value: &str, place: Place) -> InputError {
    let line = (place.line > 0).then_some(place.line);
    InputError::TypeChanged { row: place.row, line, column: column.to_owned(), value: clip(value), expected }
}

fn widen(before: SqlType, class: SqlType) -> Option<SqlType> {
    match (before, class) {
        (SqlType::Text, _) => Some(SqlType::Text),
        (SqlType::Bigint, SqlType::Double) | (SqlType::Double, SqlType::Bigint) => Some(SqlType::Double),
        (SqlType::Date, SqlType::Timestamp) | (SqlType::Timestamp, SqlType::Date) => Some(SqlType::Timestamp),
        (before, class) => (before == class).then_some(before),
    }
}

fn parses(data_type: SqlType, value: &str) -> bool {
    Builder::new(data_type).append(value)
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" => Some(true),
        "0" => Some(false),
        _ if value.eq_ignore_ascii_case("true") => Some(true),
        _ if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A finite number, or a word for one that is not; digits that overflow to infinity are no number.
fn double(value: &str) -> Option<f64> {
    value.parse::<f64>().ok().filter(|number| !number.is_infinite() || !value.bytes().any(|byte| byte.is_ascii_digit()))
}

fn real(value: &str) -> Option<f32> {
    value.parse::<f32>().ok().filter(|number| !number.is_infinite() || !value.bytes().any(|byte| byte.is_ascii_digit()))
}

/// A decimal that fits without rounding.
fn exact(value: &str, precision: u8, scale: u8) -> Option<i128> {
    if !value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.')) {
        return None;
    }
    let fraction = value.split_once('.').map_or("", |(_, fraction)| fraction).trim_end_matches('0');
    if fraction.len() > usize::from(scale) {
        return None;
    }
    parse_decimal::<Decimal128Type>(value, precision, i8::try_from(scale).ok()?).ok()
}

fn looks_like_date(bytes: &[u8]) -> bool {
    let Some(day) = bytes.first_chunk::<10>() else { return false };
    let shape = day
        .iter()
        .enumerate()
        .all(|(index, byte)| if matches!(index, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() });
    shape && matches!(bytes.get(10), None | Some(b'T' | b' '))
}

fn date(value: &str) -> Option<i32> {
    (value.len() == 10 && looks_like_date(value.as_bytes())).then(|| Date32Type::parse(value)).flatten()
}

/// Microseconds since 1970, rounded down; between the years 1677 and 2262.
fn timestamp(value: &str) -> Option<i64> {
    let nanos = looks_like_date(value.as_bytes()).then(|| string_to_timestamp_nanos(value).ok()).flatten()?;
    Some(nanos.div_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_classified_by_what_they_look_like() {
        let cases = [
            ("12", SqlType::Bigint),
            (" -3 ", SqlType::Bigint),
            ("0", SqlType::Bigint),
            ("007", SqlType::Text),
            ("99999999999999999999", SqlType::Text),
            ("0.5", SqlType::Double),
            ("-1e9", SqlType::Double),
            ("1e999", SqlType::Text),
            ("nan", SqlType::Text),
            ("2024-02-29", SqlType::Date),
            ("2023-02-29", SqlType::Text),
            ("2024-02-29T10:00:00Z", SqlType::Timestamp),
            ("2024-02-29 10:00:00", SqlType::Timestamp),
            ("TRUE", SqlType::Boolean),
            ("NA", SqlType::Text),
            ("-", SqlType::Text),
            ("1-2", SqlType::Text),
        ];
        for (text, class) in cases {
            assert_eq!(classify(text), Some(class), "{text}");
        }
        assert_eq!(classify("  "), None);
    }

    #[test]
    fn a_decimal_is_never_rounded() {
        assert_eq!(exact("1.25", 5, 2), Some(125));
        assert_eq!(exact("-1.2500", 5, 2), Some(-125));
        assert_eq!(exact("1.255", 5, 2), None);
        assert_eq!(exact("12345.00", 5, 2), None);
        assert_eq!(exact("1e2", 5, 2), None);
    }
}
