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
