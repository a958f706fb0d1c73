//! The one exit: every result leaves through here, and nothing else does.
//!
//! An [`Answer`] becomes canonical CSV (RFC 4180 with LF): a header, then the rows, sorted by their values from the first
//! column on unless the query has ORDER BY. Two runs that computed the same rows give the same bytes, so neither order nor
//! spelling can carry anything. Doubles are rounded to 15 significant digits, which hides the order of a sum. A missing
//! value is an empty field and an empty text is `""`; alone on its line a missing value is `""` as well, since a blank line
//! is no row. The bytes are then padded and sealed to the recipients as age ([`envelope::blob::seal_padded`]).
//!
//! A result is whole or not at all: one that is larger than the agreement allows becomes [`RunError::TooLarge`].

use std::fmt::Write as _;

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::{SortColumn, SortOptions, cast, concat_batches, lexsort_to_indices, take_record_batch},
    datatypes::{DataType, Float64Type, SchemaRef},
};
use envelope::{
    Digest,
    blob::{Recipient, seal_padded},
};

use crate::sql::{Answer, RunError};

/// A result as it leaves: an age file.
pub struct SealedResult {
    /// The age file.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
}

/// Encodes, pads and seals an answer.
///
/// `max_bytes` is the agreement's limit on the result before padding.
///
/// # Errors
/// [`RunError::TooLarge`], [`RunError::Sealing`], or [`RunError::Execution`] for rows that are not those declared.
pub fn seal_result(answer: &Answer, recipients: &[Recipient], max_bytes: u64) -> Result<SealedResult, RunError> {
    let text = encode(answer, max_bytes)?;
    let bytes = seal_padded(text.as_bytes(), recipients).map_err(|_| RunError::Sealing)?;
    Ok(SealedResult { digest: Digest::of(&bytes), bytes })
}

/// The canonical CSV of an answer, at most `max_bytes` long.
///
/// # Errors
/// As [`seal_result`].
pub fn encode(answer: &Answer, max_bytes: u64) -> Result<String, RunError> {
    let rows = rows(answer)?;
    let columns = rows.columns().iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let mut csv = String::new();
    line(&mut csv, answer.schema.fields().iter().map(|field| Some(field.name().as_str())));
    for row in 0..rows.num_rows() {
        line(&mut csv, columns.iter().map(|column| column.get(row).and_then(Option::as_deref)));
        if csv.len() as u64 > max_bytes {
            return Err(RunError::TooLarge);
        }
    }
    if csv.len() as u64 > max_bytes { Err(RunError::TooLarge) } else { Ok(csv) }
}

/// All rows in one batch of the declared columns, in their order.
fn rows(answer: &Answer) -> Result<RecordBatch, RunError> {
    let schema = answer.batches.first().map_or_else(|| answer.schema.clone(), RecordBatch::schema);
    declared(&schema, &answer.schema)?;
    let rows = concat_batches(&schema, &answer.batches).map_err(|_| RunError::Execution)?;
    if answer.ordered || rows.num_rows() < 2 {
        return Ok(rows);
    }
    let options = Some(SortOptions { descending: false, nulls_first: true });
    let by: Vec<SortColumn> =
        rows.columns().iter().map(|values| SortColumn { values: values.clone(), options }).collect();
    let order = lexsort_to_indices(&by, None).map_err(|_| RunError::Execution)?;
    take_record_batch(&rows, &order).map_err(|_| RunError::Execution)
}

/// Whether the rows have the columns that the plan promised.
fn declared(found: &SchemaRef, declared: &SchemaRef) -> Result<(), RunError> {
    let same = found.fields().len() == declared.fields().len()
        && found
            .fields()
            .iter()
            .zip(declared.fields())
            .all(|(a, b)| a.name() == b.name() && crate::sql::is_result_type(a.data_type()));
    if same { Ok(()) } else { Err(RunError::Execution) }
}

/// A column as text.
fn text(column: &ArrayRef) -> Result<Vec<Option<String>>, RunError> {
    if matches!(column.data_type(), DataType::Float64 | DataType::Float32) {
        let wide = cast(column, &DataType::Float64).map_err(|_| RunError::Execution)?;
        return Ok(wide.as_primitive::<Float64Type>().iter().map(|value| value.map(number)).collect());
    }
    let strings = cast(column, &DataType::Utf8).map_err(|_| RunError::Execution)?;
    Ok(strings.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect())
}

/// A double with 15 significant digits, in the shortest form that reads back as the rounded value.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let rounded: f64 = format!("{value:.14e}").parse().unwrap_or(value);
    // Adding zero turns the negative one into the positive one.
    let rounded = rounded + 0.0;
    let plain = rounded == 0.0 || (1e-6..1e15).contains(&rounded.abs());
    if plain { format!("{rounded}") } else { format!("{rounded:e}") }
}

fn line<'a>(csv: &mut String, fields: impl Iterator<Item = Option<&'a str>>) {
    let start = csv.len();
    for (place, field) in fields.enumerate() {
        if place > 0 {
            csv.push(',');
        }
        match field {
            None => {}
            Some("") => csv.push_str("\"\""),
            Some(text) if text.contains(['"', ',', '\n', '\r']) => {
                // Writing to a string never fails.
                let _ = write!(csv, "\"{}\"", text.replace('"', "\"\""));
            }
            Some(text) => csv.push_str(text),
        }
    }
    if csv.len() == start {
        csv.push_str("\"\"");
    }
    csv.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        let cases = [
            (0.1 + 0.2, "0.3"),
            (1.0, "1"),
            (-0.0, "0"),
            (1e21, "1e21"),
            (1e-9, "1e-9"),
            (123456.789, "123456.789"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (1.0 / 3.0, "0.333333333333333"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn fields_are_quoted_as_rfc_4180_says() {
        let mut csv = String::new();
        line(&mut csv, [Some("a,b"), None, Some(""), Some("c\"d"), Some("e\nf")].into_iter());
        line(&mut csv, [None].into_iter());
        assert_eq!(csv, "\"a,b\",,\"\",\"c\"\"d\",\"e\nf\"\n\"\"\n");
    }
}
