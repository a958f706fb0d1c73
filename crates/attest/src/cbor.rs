//! CBOR (RFC 8949), strict and bounded.
//!
//! Evidence in CBOR comes from anybody. So depth and the number of items are limited, a length is never trusted (nothing is allocated for bytes
//! that are not there), texts are UTF-8, and no map may hold a key twice, since two readers could then see two documents. What is
//! signed is always the bytes as received; nothing here encodes a document again.
//!
//! There are two readings. [`Form::Deterministic`] takes definite lengths and shortest integers only (RFC 8949, section 4.2.1, without the
//! order of keys, which no device keeps). [`Form::Plain`] also takes indefinite lengths and longer integers, for the makers that write them.
//! The encoder is as small as what is signed here needs.

use std::borrow::Cow;

/// Which spellings are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Definite lengths and shortest integers only.
    Deterministic,
    /// Any well-formed spelling.
    Plain,
}

/// Why bytes are not one CBOR item that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// They end inside an item.
    #[error("the CBOR ends at byte {0}, inside an item")]
    Truncated(usize),
    /// Bytes remain.
    #[error("the CBOR item is followed by {0} bytes that do not belong to it")]
    Trailing(usize),
    /// More bytes than are ever read.
    #[error("the CBOR has {0} bytes; at most 16 MiB are read")]
    TooLarge(usize),
    /// Nested more deeply than is ever read.
    #[error("the CBOR at byte {0} is nested too deeply")]
    TooDeep(usize),
    /// More items than are ever read.
    #[error("the CBOR at byte {0} has too many items")]
    TooManyItems(usize),
    /// An indefinite length where none is allowed.
    #[error("the CBOR at byte {0} has an indefinite length, which is not allowed here")]
    Indefinite(usize),
    /// An integer or length with more bytes than it needs.
    #[error("the CBOR at byte {0} does not have its shortest form")]
    NotShortest(usize),
    /// A key that occurs twice in a map.
    #[error("the CBOR map at byte {0} has a key twice")]
    DuplicateKey(usize),
    /// A text that is not UTF-8.
    #[error("the CBOR text at byte {0} is not UTF-8")]
    Text(usize),
    /// An encoding that is reserved or has no place there.
    #[error("the CBOR at byte {0} is not well formed")]
    NotWellFormed(usize),
}

impl CborError {
    /// A fixed word for the reason.
    pub const fn code(self) -> &'static str {
        match self {
            CborError::Truncated(_) => "truncated",
            CborError::Trailing(_) => "trailing-bytes",
            CborError::TooLarge(_) | CborError::TooDeep(_) | CborError::TooManyItems(_) => "too-large",
            CborError::Indefinite(_) => "indefinite-length",
            CborError::NotShortest(_) => "not-canonical",
            CborError::DuplicateKey(_) => "duplicate-key",
            CborError::Text(_) => "not-utf8",
            CborError::NotWellFormed(_) => "malformed",
        }
    }
}

/// One item. Byte and text strings are borrowed unless they came in pieces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value<'a> {
    Unsigned(u64),
    /// The number −1 − n.
    Negative(u64),
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Map(Vec<(Value<'a>, Value<'a>)>),
    Tag(u64, Box<Value<'a>>),
    Boolean(bool),
    Null,
    Undefined,
    /// The bits of a floating-point number, widened to 64.
    Float(u64),
    /// Another simple value.
    Simple(u8),
}

impl<'a> Value<'a> {
    /// Reads exactly one item.
    ///
    /// # Errors
    /// [`CborError`], with the offset.
    pub(crate) fn parse(bytes: &'a [u8], form: Form) -> Result<Value<'a>, CborError> {
        Value::parse_within(bytes, form, &mut 0)
    }

    /// As [`Value::parse`], for one of several items that lie in one document: `items` counts them all, so that many small parts cost
    /// no more than a large one.
    ///
    /// # Errors
    /// [`CborError`], with the offset.
    pub(crate) fn parse_within(bytes: &'a [u8], form: Form, items: &mut usize) -> Result<Value<'a>, CborError> {
        if bytes.len() > MAX_SIZE {
            return Err(CborError::TooLarge(bytes.len()));
        }
        let mut decoder = Decoder { bytes, at: 0, form, items: *items };
        let value = decoder.item(0)?;
        *items = decoder.items;
        match bytes.len().saturating_sub(decoder.at) {
            0 => Ok(value),
            count => Err(CborError::Trailing(count)),
        }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn array(&self) -> Option<&[Value<'a>]> {
        if let Value::Array(items) = self { Some(items) } else { None }
    }

    pub(crate) fn map(&self) -> Option<&[(Value<'a>, Value<'a>)]> {
        if let Value::Map(entries) = self { Some(entries) } else { None }
    }

    pub(crate) fn unsigned(&self) -> Option<u64> {
        if let Value::Unsigned(number) = self { Some(*number) } else { None }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Value::Unsigned(number) => i64::try_from(*number).ok(),
            Value::Negative(number) => i64::try_from(*number).ok().map(|number| -1 - number),
            _ => None,
        }
    }

    pub(crate) fn tagged(&self) -> Option<(u64, &Value<'a>)> {
        if let Value::Tag(tag, inner) = self { Some((*tag, inner)) } else { None }
    }

    /// The entry of a map with this integer as its key.
    pub(crate) fn at(&self, key: i64) -> Option<&Value<'a>> {
        self.map()?.iter().find(|(name, _)| name.integer() == Some(key)).map(|(_, value)| value)
    }

    /// The entry of a map with this text as its key.
    pub(crate) fn named(&self, key: &str) -> Option<&Value<'a>> {
        self.map()?.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    form: Form,
    items: usize,
}

/// The argument of an item's head.
enum Argument {
    Number(u64),
    Indefinite,
}

impl<'a> Decoder<'a> {
    fn item(&mut self, depth: usize) -> Result<Value<'a>, CborError> {
        let start = self.at;
        if depth > MAX_DEPTH {
            return Err(CborError::TooDeep(start));
        }
        self.items = self.items.saturating_add(1);
        if self.items > MAX_ITEMS {
            return Err(CborError::TooManyItems(start));
        }
        let initial = self.byte()?;
        if initial >> 5 == 7 {
            return self.simple(initial & 31, start);
        }
        let argument = self.argument(initial & 31, start)?;
        match (initial >> 5, argument) {
            (0, Argument::Number(number)) => Ok(Value::Unsigned(number)),
            (1, Argument::Number(number)) => Ok(Value::Negative(number)),
            (2, argument) => self.string(argument, 2, start).map(Value::Bytes),
            (3, argument) => self.text(argument, start),
            (4, argument) => self.array(argument, depth),
            (5, argument) => self.map(argument, depth, start),
            (6, Argument::Number(tag)) => Ok(Value::Tag(tag, Box::new(self.item(depth + 1)?))),
            _ => Err(CborError::NotWellFormed(start)),
        }
    }

    fn byte(&mut self) -> Result<u8, CborError> {
        let byte = *self.bytes.get(self.at).ok_or(CborError::Truncated(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], CborError> {
        let truncated = CborError::Truncated(self.at);
        let count = usize::try_from(count).map_err(|_| truncated)?;
        let end = self.at.checked_add(count).ok_or(truncated)?;
        let slice = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(slice)
    }

    fn number(&mut self, size: u64) -> Result<u64, CborError> {
        Ok(self.take(size)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn argument(&mut self, info: u8, start: usize) -> Result<Argument, CborError> {
        let (size, least) = match info {
            0..=23 => return Ok(Argument::Number(u64::from(info))),
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            31 if self.form == Form::Deterministic => return Err(CborError::Indefinite(start)),
            31 => return Ok(Argument::Indefinite),
            _ => return Err(CborError::NotWellFormed(start)),
        };
        let number = self.number(size)?;
        if self.form == Form::Deterministic && number < least {
            return Err(CborError::NotShortest(start));
        }
        Ok(Argument::Number(number))
    }

    fn simple(&mut self, info: u8, start: usize) -> Result<Value<'a>, CborError> {
        Ok(match info {
            20 => Value::Boolean(false),
            21 => Value::Boolean(true),
            22 => Value::Null,
            23 => Value::Undefined,
            0..=19 => Value::Simple(info),
            24 => match self.byte()? {
                value @ 32.. => Value::Simple(value),
                _ => return Err(CborError::NotWellFormed(start)),
            },
            25 => Value::Float(widened(self.number(2)?)),
            26 => {
                let bits = u32::try_from(self.number(4)?).unwrap_or_default();
                Value::Float(f64::from(f32::from_bits(bits)).to_bits())
            }
            27 => Value::Float(self.number(8)?),
            _ => return Err(CborError::NotWellFormed(start)),
        })
    }

    /// A byte string, or the pieces of one (RFC 8949, section 3.2.3).
    fn string(&mut self, argument: Argument, major: u8, start: usize) -> Result<Cow<'a, [u8]>, CborError> {
        match argument {
            Argument::Number(size) => Ok(Cow::Borrowed(self.take(size)?)),
            Argument::Indefinite => {
                let mut whole = Vec::new();
                while !self.ends()? {
                    self.count()?;
                    let piece = self.byte()?;
                    if piece >> 5 != major {
                        return Err(CborError::NotWellFormed(start));
                    }
                    let Argument::Number(size) = self.argument(piece & 31, start)? else {
                        return Err(CborError::NotWellFormed(start));
                    };
                    whole.extend_from_slice(self.take(size)?);
                }
                Ok(Cow::Owned(whole))
            }
        }
    }

    fn text(&mut self, argument: Argument, start: usize) -> Result<Value<'a>, CborError> {
        let text = match self.string(argument, 3, start)? {
            Cow::Borrowed(bytes) => {
                std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| CborError::Text(start))?
            }
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| CborError::Text(start))?,
        };
        Ok(Value::Text(text))
    }

    fn array(&mut self, argument: Argument, depth: usize) -> Result<Value<'a>, CborError> {
        let mut items = Vec::new();
        match argument {
            Argument::Number(count) => {
                self.promise(count)?;
                for _ in 0..count {
                    items.push(self.item(depth + 1)?);
                }
            }
            Argument::Indefinite => {
                while !self.ends()? {
                    items.push(self.item(depth + 1)?);
                }
            }
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, argument: Argument, depth: usize, start: usize) -> Result<Value<'a>, CborError> {
        let mut entries = Vec::new();
        match argument {
            Argument::Number(count) => {
                self.promise(count.checked_mul(2).ok_or(CborError::Truncated(start))?)?;
                for _ in 0..count {
                    entries.push((self.item(depth + 1)?, self.item(depth + 1)?));
                }
            }
            Argument::Indefinite => {
                while !self.ends()? {
                    entries.push((self.item(depth + 1)?, self.item(depth + 1)?));
                }
            }
        }
        let mut keys: Vec<&Value<'_>> = entries.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(CborError::DuplicateKey(start));
        }
        Ok(Value::Map(entries))
    }

    /// Every promised item has at least one byte.
    fn promise(&self, count: u64) -> Result<(), CborError> {
        let rest = self.bytes.len().saturating_sub(self.at);
        let held = usize::try_from(count).is_ok_and(|count| count <= rest);
        if held { Ok(()) } else { Err(CborError::Truncated(self.bytes.len())) }
    }

    fn count(&mut self) -> Result<(), CborError> {
        self.items = self.items.saturating_add(1);
        if self.items > MAX_ITEMS { Err(CborError::TooManyItems(self.at)) } else { Ok(()) }
    }

    /// Whether the break of an indefinite length is next; it is then consumed.
    fn ends(&mut self) -> Result<bool, CborError> {
        let ends = *self.bytes.get(self.at).ok_or(CborError::Truncated(self.at))? == 0xff;
        if ends {
            self.at += 1;
        }
        Ok(ends)
    }
}

/// A half-precision number as 64 bits (RFC 8949, appendix D).
fn widened(bits: u64) -> u64 {
    let (exponent, fraction) = ((bits >> 10) & 0x1f, bits & 0x3ff);
    let fraction = f64::from(u16::try_from(fraction).unwrap_or_default());
    let magnitude = match exponent {
        0 => fraction * f64::powi(2.0, -24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * f64::powi(2.0, i32::try_from(exponent).unwrap_or_default() - 25),
    };
    (if bits & 0x8000 == 0 { magnitude } else { -magnitude }).to_bits()
}

/// Writes items in their deterministic form.
#[derive(Debug, Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    fn head(&mut self, major: u8, number: u64) {
        let bytes = number.to_be_bytes();
        let (info, size) = match number {
            0..24 => (u8::try_from(number).unwrap_or_default(), 0),
            24..0x100 => (24, 1),
            0x100..0x1_0000 => (25, 2),
            0x1_0000..0x1_0000_0000 => (26, 4),
            _ => (27, 8),
        };
        self.0.push((major << 5) | info);
        self.0.extend_from_slice(bytes.get(8 - size..).unwrap_or_default());
    }

    pub(crate) fn integer(&mut self, number: i64) {
        match u64::try_from(number) {
            Ok(number) => self.head(0, number),
            Err(_) => self.head(1, number.unsigned_abs() - 1),
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(2, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn array(&mut self, count: usize) {
        self.head(4, count as u64);
    }

    pub(crate) fn map(&mut self, count: usize) {
        self.head(5, count as u64);
    }

    pub(crate) fn tag(&mut self, tag: u64) {
        self.head(6, tag);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.0.push(if value { 0xf5 } else { 0xf4 });
    }

    pub(crate) fn null(&mut self) {
        self.0.push(0xf6);
    }

    pub(crate) fn double(&mut self, value: f64) {
        self.0.push(0xfb);
        self.0.extend_from_slice(&value.to_bits().to_be_bytes());
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

const MAX_SIZE: usize = 16 * 1024 * 1024;
const MAX_DEPTH: usize = 24;
const MAX_ITEMS: usize = 100_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> Result<String, CborError> {
        let bytes = hex::decode(text).unwrap();
        Value::parse(&bytes, Form::Plain).map(|value| format!("{value:?}"))
    }

    fn strict(text: &str) -> Result<(), CborError> {
        Value::parse(&hex::decode(text).unwrap(), Form::Deterministic).map(|_| ())
    }

    #[test]
    fn items_of_the_rfc_are_read() {
        // RFC 8949, appendix A.
        assert_eq!(plain("1bffffffffffffffff").unwrap(), "Unsigned(18446744073709551615)");
        assert_eq!(plain("3903e7").unwrap(), "Negative(999)");
        assert_eq!(plain("f93e00").unwrap(), format!("Float({})", 1.5f64.to_bits()));
        assert_eq!(plain("f90001").unwrap(), format!("Float({})", 5.960_464_477_539_063e-8f64.to_bits()));
        assert_eq!(plain("fa47c35000").unwrap(), format!("Float({})", 100_000.0f64.to_bits()));
        assert_eq!(plain("f97c00").unwrap(), format!("Float({})", f64::INFINITY.to_bits()));
        assert_eq!(plain("5f42010243030405ff").unwrap(), "Bytes([1, 2, 3, 4, 5])");
        assert_eq!(plain("7f657374726561646d696e67ff").unwrap(), "Text(\"streaming\")");
        assert_eq!(plain("9fff").unwrap(), "Array([])");
        let map = r#"Map([(Text("a"), Unsigned(1)), (Text("b"), Array([Unsigned(2), Unsigned(3)]))])"#;
        assert_eq!(plain("bf61610161629f0203ffff").unwrap(), map);
        assert_eq!(plain("f7").unwrap(), "Undefined");
        assert_eq!(plain("f8ff").unwrap(), "Simple(255)");
    }

    #[test]
    fn n2_each_spelling_that_is_not_deterministic_is_refused_by_name() {
        assert_eq!(strict("a0"), Ok(()));
        for indefinite in ["5f4101ff", "7f6161ff", "9fff", "bfff"] {
            assert_eq!(strict(indefinite), Err(CborError::Indefinite(0)));
        }
        for long in
            ["1817", "190017", "1a00000017", "1b0000000000000017", "580101", "780161", "980100", "b8010000", "d80100"]
        {
            assert_eq!(strict(long), Err(CborError::NotShortest(0)), "{long}");
        }
        assert_eq!(strict("a201020103"), Err(CborError::DuplicateKey(0)));
        assert_eq!(plain("a201021800010103").unwrap_err(), CborError::Trailing(2));
        // The same key in two spellings is the same key.
        assert_eq!(plain("a20102180103").unwrap_err(), CborError::DuplicateKey(0));
        assert_eq!(plain("bf01020103ff").unwrap_err(), CborError::DuplicateKey(0));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for reserved in ["1c", "1d", "1e", "3f", "1f", "df00", "ff", "f800", "f81f", "fc", "5f6161ff", "5f5f4101ffff"] {
            assert_eq!(plain(reserved).unwrap_err(), CborError::NotWellFormed(0), "{reserved}");
        }
        assert_eq!(plain("61ff").unwrap_err(), CborError::Text(0));
        assert_eq!(plain("0000").unwrap_err(), CborError::Trailing(1));
        // The break in the place of a value.
        assert_eq!(plain("bf01ff").unwrap_err(), CborError::NotWellFormed(2));
    }

    #[test]
    fn lengths_promise_nothing() {
        for long in
            ["5bffffffffffffffff", "7b7fffffffffffffff00", "9bffffffffffffffff", "bbffffffffffffffff", "9affffffff"]
        {
            assert!(matches!(plain(long).unwrap_err(), CborError::Truncated(_)), "{long}");
        }
        assert!(matches!(plain(&"81".repeat(1000)).unwrap_err(), CborError::TooDeep(25)));
        assert!(matches!(
            plain(&"d8".repeat(2).replace("d8d8", "c1").repeat(1000)).unwrap_err(),
            CborError::TooDeep(25)
        ));
        let many = [vec![0x9f], vec![0; 200_000], vec![0xff]].concat();
        assert!(matches!(Value::parse(&many, Form::Plain), Err(CborError::TooManyItems(_))));
        assert!(matches!(Value::parse(&vec![0; MAX_SIZE + 1], Form::Plain), Err(CborError::TooLarge(_))));
    }

    #[test]
    fn simple_values_and_numbers_of_half_precision_are_each_themselves() {
        let numbered = [("e0", "Simple(0)"), ("f3", "Simple(19)"), ("f820", "Simple(32)")];
        let named = [("f4", "Boolean(false)"), ("f5", "Boolean(true)"), ("f6", "Null"), ("f7", "Undefined")];
        for (bytes, expected) in numbered.into_iter().chain(named) {
            assert_eq!(plain(bytes).unwrap(), expected, "{bytes}");
        }
        // RFC 8949, appendices A and D: below and above zero, subnormal, largest, infinite, and not a number.
        for (bytes, expected) in [
            ("f90000", 0.0),
            ("f98000", -0.0),
            ("f9c400", -4.0),
            ("f90400", 0.000_061_035_156_25),
            ("f97bff", 65_504.0),
            ("f97c00", f64::INFINITY),
            ("f9fc00", f64::NEG_INFINITY),
            ("f97e00", f64::NAN),
            ("f97c01", f64::NAN),
        ] {
            assert_eq!(plain(bytes).unwrap(), format!("Float({})", expected.to_bits()), "{bytes}");
        }
    }

    #[test]
    fn a_document_is_read_up_to_16_mib_and_no_further() {
        let sized = |size: u32| {
            let mut document = vec![0; usize::try_from(size).unwrap()];
            document[0] = 0x5a;
            document[1..5].copy_from_slice(&(size - 5).to_be_bytes());
            Value::parse(&document, Form::Deterministic).map(|value| value.bytes().map(<[u8]>::len))
        };
        assert_eq!(sized(16_777_216), Ok(Some(16_777_211)));
        assert_eq!(sized(16_777_217), Err(CborError::TooLarge(16_777_217)));
        assert_eq!(sized(16_777_218), Err(CborError::TooLarge(16_777_218)));
    }

    #[test]
    fn items_are_counted_over_all_parts_of_a_document_up_to_100_000() {
        let after = |already: usize, text: &str| {
            let mut items = already;
            Value::parse_within(&hex::decode(text).unwrap(), Form::Plain, &mut items).map(|_| items)
        };
        assert_eq!(after(99_999, "00"), Ok(100_000));
        assert_eq!(after(100_000, "00"), Err(CborError::TooManyItems(0)));
        assert_eq!(after(100_001, "00"), Err(CborError::TooManyItems(0)));
        // Each piece of a string counts beside the string, and each key beside its value.
        assert_eq!(after(99_997, "5f41014102ff"), Ok(100_000));
        assert_eq!(after(99_998, "5f41014102ff"), Err(CborError::TooManyItems(3)));
        assert_eq!(after(99_999, "5f41014102ff"), Err(CborError::TooManyItems(1)));
        assert_eq!(after(99_999, "7f61616162ff"), Err(CborError::TooManyItems(1)));
        assert_eq!(after(99_997, "a10102"), Ok(100_000));
        assert_eq!(after(99_998, "a10102"), Err(CborError::TooManyItems(2)));
        assert_eq!(after(99_998, "c1c100"), Err(CborError::TooManyItems(2)));
    }

    #[test]
    fn items_are_nested_24_deep_and_no_deeper() {
        let nested = |around: &str, levels: usize, ends: &str| {
            plain(&[&around.repeat(levels), "00", &ends.repeat(levels)].concat()).map(|_| ())
        };
        // Of a map that is full of maps its first key is one level deeper than it.
        for (around, ends, deeper) in [
            ("81", "", 25),
            ("9f", "ff", 25),
            ("c1", "", 25),
            ("a1", "00", 25),
            ("bf", "00ff", 25),
            ("a100", "", 49),
            ("bf00", "ff", 49),
        ] {
            assert_eq!(nested(around, 24, ends), Ok(()), "{around}");
            for levels in [25, 26, 1000] {
                assert_eq!(nested(around, levels, ends), Err(CborError::TooDeep(deeper)), "{levels} {around}");
            }
        }
    }

    #[test]
    fn more_items_than_there_are_bytes_are_told_before_any_is_read() {
        // Each has an item that is not well formed, which is not looked at.
        for (bytes, size) in [("821c", 2), ("9affffffff1c", 6), ("a21c1c1c", 4), ("bb7fffffffffffffff1c", 10)] {
            assert_eq!(plain(bytes).unwrap_err(), CborError::Truncated(size), "{bytes}");
        }
        assert_eq!(plain("811c").unwrap_err(), CborError::NotWellFormed(1));
        assert_eq!(plain("a11c1c").unwrap_err(), CborError::NotWellFormed(1));
        // Twice as many as can be counted: no map has them.
        assert_eq!(plain("bb80000000000000001c").unwrap_err(), CborError::Truncated(0));
    }

    #[test]
    fn a2_every_truncation_of_an_item_is_refused() {
        let whole = hex::decode("a3016161028301f4d81845010203040503bf6161f6ff").unwrap();
        assert!(Value::parse(&whole, Form::Plain).is_ok());
        for size in 0..whole.len() {
            assert!(matches!(Value::parse(&whole[..size], Form::Plain), Err(CborError::Truncated(_))), "{size}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let plain = Value::parse(&bytes, Form::Plain);
            if let Ok(value) = Value::parse(&bytes, Form::Deterministic) {
                prop_assert_eq!(plain.unwrap(), value);
            }
        }

        #[test]
        fn integers_survive(number: i64) {
            let mut encoder = Encoder::default();
            encoder.integer(number);
            let bytes = encoder.done();
            prop_assert_eq!(Value::parse(&bytes, Form::Deterministic).unwrap().integer(), Some(number));
        }
    }
}
