//! The TPM's byte order: big-endian integers and buffers with a sixteen-bit length in front (TPM 2.0 Part 1, "TPM2B").
//!
//! [`Writer`] wipes its bytes when dropped, since commands carry secrets. [`Reader`] never reads past its slice and never
//! allocates by a length that the other side states.

use zeroize::Zeroizing;

/// Builds a message or a structure.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Zeroizing<Vec<u8>>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        // Enough for any command: a growing vector would leave copies of a secret behind.
        Writer { bytes: Zeroizing::new(Vec::with_capacity(crate::transport::MAX_MESSAGE)) }
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a buffer with its length in front; a longer one than 65,535 bytes is cut, and the TPM refuses what is
    /// left, for no command is that long.
    pub(crate) fn sized(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let cut = bytes.get(..usize::from(length)).unwrap_or_default();
        self.u16(length).bytes(cut)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The bytes ended early, or a value is none that the structure allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Takes a message or a structure apart, front to back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A buffer with its length in front.
    pub(crate) fn sized(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.u16(what)?;
        self.take(usize::from(length), what)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub(crate) fn end(self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed(what)) }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(small in any::<u8>(), word in any::<u16>(), long in any::<u32>(), buffer: Vec<u8>) {
            let written = Writer::new().u8(small).u16(word).u32(long).sized(&buffer);
            let mut reader = Reader::new(written.as_bytes());
            prop_assert_eq!(reader.u8("a"), Ok(small));
            prop_assert_eq!(reader.u16("b"), Ok(word));
            prop_assert_eq!(reader.u32("c"), Ok(long));
            prop_assert_eq!(reader.sized("d"), Ok(buffer.as_slice()));
            prop_assert_eq!(reader.end("e"), Ok(()));
        }

        #[test]
        fn a_cut_buffer_is_refused(buffer in proptest::collection::vec(any::<u8>(), 1..64), cut in 1_usize..64) {
            let written = Writer::new().sized(&buffer);
            let kept = written.as_bytes().len().saturating_sub(cut.min(buffer.len()));
            prop_assert_eq!(Reader::new(&written.as_bytes()[..kept]).sized("buffer"), Err(Malformed("buffer")));
        }
    }
}
