//! A bounded reader: the only way in which this crate takes bytes apart.
//!
//! It never allocates, never indexes and never trusts a length: a length is a request for a slice of what is there, and a
//! structure must use up its bytes exactly.

/// Why bytes are not the structure they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end inside a field, or a length field promises more than there is.
    #[error("{structure} ends at byte {at} where {needed} more bytes are needed")]
    Truncated {
        /// The structure being read.
        structure: &'static str,
        /// The offset at which the field begins.
        at: usize,
        /// The size of the field in bytes.
        needed: usize,
    },
    /// Bytes remain after the structure.
    #[error("{structure} is followed by {count} bytes that do not belong to it")]
    Trailing {
        /// The structure that was read.
        structure: &'static str,
        /// How many bytes remain.
        count: usize,
    },
    /// More bytes than are ever read.
    #[error("{structure} has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// The structure.
        structure: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A field holds a value that is not known, not allowed, or not consistent with another.
    #[error("{field} of {structure} has the value {value:#x}, which is not accepted")]
    Value {
        /// The structure.
        structure: &'static str,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
}

/// Reads one structure from a slice.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    structure: &'static str,
}

impl<'a> Reader<'a> {
    /// Begins to read `structure`.
    pub(crate) const fn new(structure: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, structure }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let truncated = FormatError::Truncated { structure: self.structure, at: self.at, needed: count };
        let end = self.at.checked_add(count).ok_or(truncated.clone())?;
        let slice = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(slice)
    }

    /// The next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let at = self.at;
        let slice = self.take(N)?;
        slice.try_into().map_err(|_| FormatError::Truncated { structure: self.structure, at, needed: N })
    }

    /// The next `N` bytes, where they stand.
    pub(crate) fn array_ref<const N: usize>(&mut self) -> Result<&'a [u8; N], FormatError> {
        let at = self.at;
        let slice = self.take(N)?;
        slice.try_into().map_err(|_| FormatError::Truncated { structure: self.structure, at, needed: N })
    }

    /// The bytes read so far.
    pub(crate) fn behind(&self) -> &'a [u8] {
        self.bytes.get(..self.at).unwrap_or_default()
    }

    /// The bytes that remain.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16_le(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32_le(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64_le(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A TPM2B: two big-endian bytes of length, then that many bytes.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], FormatError> {
        let size = self.u16()?;
        self.take(usize::from(size))
    }

    /// Whether nothing remains but at least four bytes of this value: the unused part of an area.
    pub(crate) fn is_filled_with(&self, value: u8) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        rest.len() >= 4 && rest.iter().all(|byte| *byte == value)
    }

    /// How many bytes have been read.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// Whether all bytes have been read.
    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// A refusal of a field's value.
    pub(crate) fn refuse(&self, field: &'static str, value: impl Into<u64>) -> FormatError {
        FormatError::Value { structure: self.structure, field, value: value.into() }
    }

    /// Ends the structure, which must have used up its bytes.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        match self.bytes.len().saturating_sub(self.at) {
            0 => Ok(()),
            count => Err(FormatError::Trailing { structure: self.structure, count }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const BYTES: [u8; 40] = {
        let mut bytes = [0; 40];
        let mut at = 0;
        while at < 40 {
            bytes[at] = at as u8 + 0x10;
            at += 1;
        }
        bytes
    };

    #[test]
    fn fields_are_read_one_behind_the_other() {
        let mut reader = Reader::new("a structure", &BYTES);
        assert_eq!(reader.u8().unwrap(), 0x10);
        assert_eq!(reader.u16().unwrap(), 0x1112);
        assert_eq!(reader.u32().unwrap(), 0x1314_1516);
        assert_eq!(reader.u64().unwrap(), 0x1718_191a_1b1c_1d1e);
        assert_eq!(reader.u16_le().unwrap(), 0x201f);
        assert_eq!(reader.u32_le().unwrap(), 0x2423_2221);
        assert_eq!(reader.u64_le().unwrap(), 0x2c2b_2a29_2827_2625);
        assert_eq!(reader.array().unwrap(), [0x2d, 0x2e]);
        assert_eq!(reader.array_ref().unwrap(), &[0x2f, 0x30]);
        assert_eq!(reader.take(3).unwrap(), [0x31, 0x32, 0x33]);
        assert_eq!((reader.position(), reader.is_empty()), (36, false));
        assert_eq!(reader.behind(), &BYTES[..36]);
        assert_eq!(reader.rest(), [0x34, 0x35, 0x36, 0x37]);
        assert_eq!(reader.clone().finish(), Err(FormatError::Trailing { structure: "a structure", count: 4 }));
        assert!(reader.take(0).unwrap().is_empty());
        assert_eq!(reader.take(4).unwrap(), [0x34, 0x35, 0x36, 0x37]);
        assert_eq!((reader.position(), reader.is_empty()), (40, true));
        assert_eq!((reader.behind(), reader.rest()), (&BYTES[..], &[][..]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn what_is_not_there_is_not_read_and_nothing_is_lost() {
        let mut reader = Reader::new("a structure", &[1, 2, 3]);
        reader.u8().unwrap();
        let truncated = |needed| FormatError::Truncated { structure: "a structure", at: 1, needed };
        assert_eq!(reader.take(3), Err(truncated(3)));
        assert_eq!(reader.take(usize::MAX), Err(truncated(usize::MAX)));
        assert_eq!(reader.array::<4>(), Err(truncated(4)));
        assert_eq!(reader.array_ref::<5>(), Err(truncated(5)));
        assert_eq!((reader.u32(), reader.u32_le()), (Err(truncated(4)), Err(truncated(4))));
        assert_eq!((reader.u64(), reader.u64_le()), (Err(truncated(8)), Err(truncated(8))));
        assert_eq!(reader.position(), 1);
        assert_eq!(reader.u16().unwrap(), 0x0203);
        let truncated = |needed| FormatError::Truncated { structure: "a structure", at: 3, needed };
        assert_eq!(reader.u8(), Err(truncated(1)));
        assert_eq!((reader.u16(), reader.u16_le()), (Err(truncated(2)), Err(truncated(2))));
    }

    #[test]
    fn a_sized_field_has_its_length_before_it() {
        let mut reader = Reader::new("a structure", &[0, 2, 5, 6, 0, 0, 0, 2, 7]);
        assert_eq!(reader.sized().unwrap(), [5, 6]);
        assert!(reader.sized().unwrap().is_empty());
        let truncated = FormatError::Truncated { structure: "a structure", at: 8, needed: 2 };
        assert_eq!(reader.sized(), Err(truncated));
    }

    #[test]
    fn an_unused_area_has_four_bytes_or_more_of_one_value() {
        let filled = |bytes: &[u8]| {
            let mut reader = Reader::new("a structure", bytes);
            reader.u8().unwrap();
            reader.is_filled_with(0xff)
        };
        assert!(!filled(&[0]));
        assert!(!filled(&[0, 0xff, 0xff, 0xff]));
        assert!(filled(&[0, 0xff, 0xff, 0xff, 0xff]));
        assert!(filled(&[0, 0xff, 0xff, 0xff, 0xff, 0xff]));
        assert!(!filled(&[0, 0xff, 0xff, 0xff, 0xff, 0xfe]));
        assert!(!filled(&[0, 0xfe, 0xff, 0xff, 0xff, 0xff]));
        assert!(!filled(&[0, 0, 0, 0, 0]));
    }

    #[test]
    fn a_refusal_names_structure_field_and_value() {
        let refused = Reader::new("a structure", &BYTES).refuse("a field", 0x1234_u16);
        assert_eq!(refused, FormatError::Value { structure: "a structure", field: "a field", value: 0x1234 });
    }
}
