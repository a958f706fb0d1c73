//! CBOR shown as fields: the leaves of the items under their paths (RFC 8949).
//!
//! It reads what it can and stops at the first thing that is not CBOR; it checks nothing. Byte strings that hold one whole item themselves, as
//! the payload of a COSE message does, are looked into. Depth and number of fields are bounded.

use super::fields::{Field, field, meaning};

/// The fields of one item.
pub(crate) fn fields(bytes: &[u8]) -> Vec<Field> {
    let mut walker = Walker { bytes, at: 0, found: Vec::new() };
    let whole = walker.item("", 0).is_some();
    if !whole {
        let at = walker.at;
        walker.found.push(field("…", format!("byte {at}"), "from here on it cannot be read"));
    }
    walker.found
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    found: Vec<Field>,
}

impl<'a> Walker<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let slice = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(slice)
    }

    /// Major type, and the argument; `None` for an indefinite length.
    fn head(&mut self) -> Option<(u8, Option<u64>)> {
        let first = *self.take(1)?.first()?;
        let size = match first & 0x1f {
            small @ 0..=23 => return Some((first >> 5, Some(u64::from(small)))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Some((first >> 5, None)),
            _ => return None,
        };
        let argument = self.take(size)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some((first >> 5, Some(argument)))
    }

    fn item(&mut self, path: &str, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH || self.found.len() > MAX_FOUND {
            return None;
        }
        let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match self.head()? {
            (0, Some(number)) => self.leaf(path, number.to_string()),
            (1, Some(number)) => self.leaf(path, format!("-{}", u128::from(number) + 1)),
            (2, Some(size)) => {
                let content = self.take(usize::try_from(size).ok()?)?;
                self.bytes_item(path, content, depth);
            }
            (3, Some(size)) => {
                let text = self.take(usize::try_from(size).ok()?)?;
                self.leaf(path, String::from_utf8_lossy(text).into_owned());
            }
            (4, count) => {
                let mut index = 0;
                while self.more(count, index)? {
                    self.item(&under(&index.to_string()), depth + 1)?;
                    index += 1;
                }
            }
            (5, count) => {
                let mut index = 0;
                while self.more(count, index)? {
                    let name = self.name()?;
                    self.item(&under(&name), depth + 1)?;
                    index += 1;
                }
            }
            (6, Some(_)) => self.item(path, depth + 1)?,
            (7, Some(20)) => self.leaf(path, "false".to_owned()),
            (7, Some(21)) => self.leaf(path, "true".to_owned()),
            (7, Some(22)) => self.leaf(path, "null".to_owned()),
            (7, Some(number)) => self.leaf(path, format!("simple or float {number:#x}")),
            _ => return None,
        }
        Some(())
    }

    /// Whether a collection has a further element; takes the end of an indefinite one.
    fn more(&mut self, count: Option<u64>, index: u64) -> Option<bool> {
        match count {
            Some(count) => Some(index < count),
            None if self.bytes.get(self.at)? == &0xff => {
                self.at += 1;
                Some(false)
            }
            None => Some(true),
        }
    }

    /// A key of a map: a number or a text.
    fn name(&mut self) -> Option<String> {
        match self.head()? {
            (0, Some(number)) => Some(number.to_string()),
            (1, Some(number)) => Some(format!("-{}", u128::from(number) + 1)),
            (3, Some(size)) => {
                let text = self.take(usize::try_from(size).ok()?)?;
                Some(String::from_utf8_lossy(text).chars().take(80).collect())
            }
            _ => None,
        }
    }

    fn bytes_item(&mut self, path: &str, content: &'a [u8], depth: usize) {
        let mut inner = Walker { bytes: content, at: 0, found: Vec::new() };
        let structured = content.first().is_some_and(|first| matches!(first >> 5, 4..=6));
        if content.len() > 8 && structured && inner.item(path, depth + 1).is_some() && inner.at == content.len() {
            self.found.append(&mut inner.found);
        } else {
            self.leaf(path, hex::encode(content));
        }
    }

    fn leaf(&mut self, path: &str, value: String) {
        self.found.push(field(path, value, meaning(path)));
    }
}

const MAX_DEPTH: usize = 24;
const MAX_FOUND: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_stand_under_their_paths_and_payloads_are_looked_into() {
        // [h'a10126', {}, h'{"nonce": h'0102'}', h'ff']
        let message = b"\x84\x43\xa1\x01\x26\xa0\x4a\xa1\x65nonce\x42\x01\x02\x41\xff";
        let found: Vec<(String, String)> = fields(message).into_iter().map(|field| (field.name, field.value)).collect();
        let expected = [("0", "a10126"), ("2.nonce", "0102"), ("3", "ff")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_cut_or_too_deep_ends_with_words() {
        for bytes in [&b""[..], b"\x84\x43\xa1", b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", &[0x81; 200], b"\x9f\x9f\x9f"]
        {
            assert_eq!(fields(bytes).last().map(|field| field.name.as_str()), Some("…"));
        }
    }
}
