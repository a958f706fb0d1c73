//! JSON lines: one object per line, columns in the order in which the first rows name them.
//!
//! Members may be missing or `null`; both mean a missing value. Numbers are JSON's, so a fraction passes through binary64;
//! a decimal with more digits is given as a string. Strings in other numeric columns, nested values and members that appear
//! only after inference are refused.

use std::{
    collections::HashMap,
    fmt,
    io::{BufRead, BufReader, Read},
};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{
    cells::{Inference, Place, Rows, changed, classify},
    error::{InputError, SealError},
    schema::{Declared, MAX_COLUMNS, Schema, SqlType, check_names},
    source::{BUFFER, Batches, INFERENCE_ROWS, MAX_ROW, Stream},
};

/// The schema that the first rows suggest.
pub(crate) fn infer(stream: Stream, declared: &Declared) -> Result<Schema, SealError> {
    let mut reader = Reader::new(stream);
    let mut inference = Inference::new(Vec::new());
    while inference.rows() < INFERENCE_ROWS {
        let Some((place, members)) = reader.next()? else { break };
        inference.row();
        for (at, (name, value)) in members.iter().enumerate() {
            let index = inference.column(at, name);
            if inference.len() > MAX_COLUMNS {
                return Err(InputError::TooManyColumns { found: inference.len(), limit: MAX_COLUMNS }.into());
            }
            if let Some(class) = value.class(name)? {
                inference.observe(index, class, value.text(), place, declared)?;
            }
        }
    }
    for name in declared.names() {
        inference.column(usize::MAX, name);
    }
    Ok(inference.finish(declared)?)
}

/// All rows as batches of `schema`.
pub(crate) fn batches(stream: Stream, schema: &Schema) -> Result<Batches, SealError> {
    let mut reader = Reader::new(stream);
    let mut rows = Rows::new(schema);
    let index: HashMap<String, usize> =
        schema.columns().iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            match reader.append_row(&mut rows, &index) {
                Ok(Some(false)) => {}
                Ok(Some(true)) => return Some(rows.finish()),
                Ok(None) => return (!rows.is_empty()).then(|| rows.finish()),
                Err(error) => return Some(Err(error)),
            }
        }
    })))
}

struct Reader {
    lines: BufReader<Stream>,
    buffer: Vec<u8>,
    line: u64,
    row: u64,
}

/// The members of one object.
type Row = Vec<(String, Value)>;

/// A member's value, as far as a flat table distinguishes values.
enum Value {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    Nested,
}

impl Value {
    /// The type that it looks like; dates and times are recognised in strings, numbers are not.
    fn class(&self, column: &str) -> Result<Option<SqlType>, InputError> {
        Ok(match self {
            Value::Null => None,
            Value::Boolean(_) => Some(SqlType::Boolean),
            // A number too large for 64 bits is classified as text; as JSON has it, it is a double.
            Value::Number(text) => {
                classify(text).map(|class| if class == SqlType::Bigint { class } else { SqlType::Double })
            }
            Value::Text(text) => Some(
                classify(text)
                    .filter(|class| matches!(class, SqlType::Date | SqlType::Timestamp))
                    .unwrap_or(SqlType::Text),
            ),
            Value::Nested => {
                return Err(InputError::Unsupported { column: column.to_owned(), found: "list or object".into() });
            }
        })
    }

    fn text(&self) -> &str {
        match self {
            Value::Null | Value::Nested => "",
            Value::Boolean(true) => "true",
            Value::Boolean(false) => "false",
            Value::Number(text) | Value::Text(text) => text,
        }
    }

    /// Whether a column of this type may hold a value of this kind at all.
    fn fits(&self, data_type: SqlType) -> bool {
        match self {
            Value::Text(_) => {
                matches!(data_type, SqlType::Text | SqlType::Date | SqlType::Timestamp | SqlType::Decimal { .. })
            }
            Value::Boolean(_) => matches!(data_type, SqlType::Text | SqlType::Boolean),
            Value::Number(_) => !matches!(data_type, SqlType::Date | SqlType::Timestamp | SqlType::Boolean),
            Value::Null | Value::Nested => true,
        }
    }
}

impl Reader {
    fn new(stream: Stream) -> Reader {
        Reader { lines: BufReader::with_capacity(BUFFER, stream), buffer: Vec::new(), line: 0, row: 0 }
    }

    /// The members of the next object, in their order; blank lines are skipped.
    fn next(&mut self) -> Result<Option<(Place, Row)>, SealError> {
        loop {
            self.buffer.clear();
            let read =
                self.lines.by_ref().take(MAX_ROW + 1).read_until(b'\n', &mut self.buffer).map_err(SealError::Read)?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 > MAX_ROW {
                return Err(InputError::RowTooLong { row: self.row + 1, limit: MAX_ROW }.into());
            }
            self.line += 1;
            let text = if self.line == 1 {
                self.buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.buffer)
            } else {
                &self.buffer
            };
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            self.row += 1;
            let place = Place { row: self.row, line: self.line };
            return Ok(Some((place, members(text, place)?)));
        }
    }

    /// Appends the next row: `None` at the end, else whether the batch is full.
    fn append_row(&mut self, rows: &mut Rows, index: &HashMap<String, usize>) -> Result<Option<bool>, SealError> {
        let Some((place, members)) = self.next()? else { return Ok(None) };
        let mut values: Vec<Option<&Value>> = vec![None; index.len()];
        for (name, value) in &members {
            let slot = index.get(name).and_then(|index| values.get_mut(*index));
            *slot.ok_or_else(|| InputError::NewColumn {
                row: place.row,
                line: place.line,
                column: crate::schema::clip(name),
            })? = Some(value);
        }
        for (index, value) in values.into_iter().enumerate() {
            let Some(value) = value.filter(|value| !matches!(value, Value::Null)) else {
                rows.append(index, None, place)?;
                continue;
            };
            let column = rows.schema().columns().get(index);
            if let Some(column) = column {
                if matches!(value, Value::Nested) {
                    return Err(InputError::Unsupported {
                        column: column.name.clone(),
                        found: "list or object".into(),
                    }
                    .into());
                }
                if !value.fits(column.data_type) {
                    return Err(changed(&column.name, column.data_type, value.text(), place).into());
                }
            }
            rows.append(index, Some(value.text()), place)?;
        }
        Ok(Some(rows.end_row()))
    }
}

fn members(text: &[u8], place: Place) -> Result<Vec<(String, Value)>, InputError> {
    let Place { row, line } = place;
    if text.first() != Some(&b'{') {
        return Err(InputError::NotAnObject { row, line });
    }
    let raw: Members =
        serde_json::from_slice(text).map_err(|error| InputError::NotJson { row, line, at: error.column() })?;
    check_names(raw.0.iter().map(|(name, _)| name.as_str())).map_err(|error| match error {
        InputError::DuplicateColumn { name: column, .. } => InputError::MemberTwice { row, line, column },
        other => other,
    })?;
    Ok(raw.0)
}

struct Members(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((name, map.next_value_seed(OneValue)?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Reads one value; what is nested is read over without being kept.
struct OneValue;

impl<'de> DeserializeSeed<'de> for OneValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }
}
