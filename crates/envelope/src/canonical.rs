//! JSON in one form only (RFC 8785), so that equal documents have equal digests.
//!
//! Reading is strict: the bytes of a signed document must *be* its canonical form, so there is exactly one file for one
//! document and nothing can hide in white space, key order, duplicate keys or number spelling.

use serde::{Serialize, de::DeserializeOwned};

use crate::Digest;

/// The largest document read, in bytes. Agreements and receipts are far smaller; more is refused before parsing.
pub const MAX_DOCUMENT: usize = 16 << 20;

/// Why bytes are not a canonical document.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// More than [`MAX_DOCUMENT`] bytes.
    #[error("the document has {0} bytes; at most {MAX_DOCUMENT} are read")]
    TooLarge(usize),
    /// Not JSON, or not of the expected shape: an unknown field, a missing one, a duplicate key, too deep.
    #[error("the document is not of the expected shape, at line {line}, column {column}: {reason}")]
    Shape {
        /// One-based line.
        line: usize,
        /// One-based column.
        column: usize,
        /// What the parser says, without positions.
        reason: String,
    },
    /// It parses, but its canonical form is another sequence of bytes.
    #[error("the document is not in canonical form (RFC 8785)")]
    NotCanonical,
    /// A value cannot be written as JSON.
    #[error("a value cannot be written as canonical JSON: {0}")]
    Unwritable(String),
}

/// The canonical bytes of a value (RFC 8785, section 3.2).
///
/// # Errors
/// Only for values that JSON cannot hold, such as a map whose keys are not strings or a NaN.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    serde_json_canonicalizer::to_vec(value).map_err(|error| CanonicalError::Unwritable(error.to_string()))
}

/// The digest of a value's canonical bytes: the name of a document.
///
/// # Errors
/// As [`to_vec`].
pub fn digest<T: Serialize>(value: &T) -> Result<Digest, CanonicalError> {
    Ok(Digest::of(&to_vec(value)?))
}

/// Reads a document and requires its bytes to be its canonical form.
///
/// # Errors
/// Too large, of another shape, or not canonical.
pub fn from_slice<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: T = from_slice_loose(bytes)?;
    if to_vec(&value)? != bytes { Err(CanonicalError::NotCanonical) } else { Ok(value) }
}

/// Reads a document in any JSON spelling. For files that people may reformat and that are then checked by what they hold.
///
/// # Errors
/// Too large or of another shape.
pub fn from_slice_loose<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(CanonicalError::TooLarge(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(shape)
}

fn shape(error: serde_json::Error) -> CanonicalError {
    let text = error.to_string();
    // The parser repeats names and values of the document, which may be long and may not be meant to be read.
    let reason = crate::text::shown(text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason), 300);
    CanonicalError::Shape { line: error.line(), column: error.column(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Small {
        b: u32,
        a: String,
    }

    #[test]
    fn only_the_canonical_spelling_is_read() {
        let good = br#"{"a":"x","b":1}"#;
        assert_eq!(from_slice::<Small>(good).unwrap(), Small { a: "x".into(), b: 1 });
        assert!(matches!(from_slice::<Small>(br#"{"b":1,"a":"x"}"#), Err(CanonicalError::NotCanonical)));
        assert!(matches!(from_slice::<Small>(br#"{"a":"x","b":1} "#), Err(CanonicalError::NotCanonical)));
        assert!(matches!(from_slice::<Small>(br#"{"a":"\u0078","b":1}"#), Err(CanonicalError::NotCanonical)));
    }

    #[test]
    fn a_message_repeats_little_of_the_document_and_nothing_that_moves_the_cursor() {
        let long = format!("{{\"\\u001b[2J{}\":1}}", "x".repeat(10_000));
        let Err(CanonicalError::Shape { reason, .. }) = from_slice_loose::<Small>(long.as_bytes()) else {
            unreachable!()
        };
        assert!(reason.chars().count() <= 300 && reason.contains('\u{fffd}') && !reason.contains('\u{1b}'), "{reason}");
    }

    #[test]
    fn numbers_that_json_cannot_hold_exactly_are_not_read() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Number {
            n: u64,
        }
        assert_eq!(from_slice::<Number>(br#"{"n":9007199254740991}"#).unwrap().n, 9_007_199_254_740_991);
        assert!(matches!(from_slice::<Number>(br#"{"n":9007199254740993}"#), Err(CanonicalError::NotCanonical)));
        assert!(matches!(from_slice::<Number>(br#"{"n":18446744073709551615}"#), Err(CanonicalError::NotCanonical)));
    }

    #[test]
    fn h3_duplicate_keys_and_deep_nesting_are_refused() {
        assert!(matches!(from_slice::<Small>(br#"{"a":"x","a":"y","b":1}"#), Err(CanonicalError::Shape { .. })));
        let deep = "[".repeat(100_000);
        assert!(matches!(from_slice_loose::<serde_json::Value>(deep.as_bytes()), Err(CanonicalError::Shape { .. })));
    }
}
