//! The Thrift compact protocol, as far as checking a Parquet footer needs it, with limits.
//!
//! A pull reader over borrowed bytes: it allocates nothing, never reads outside its slice, refuses negative sizes, counts
//! every element against a budget and bounds nesting. It exists because the Parquet library trusts the sizes that it
//! reads; what has passed through this reader first is safe to give to that one. Format: Thrift compact protocol
//! specification, sections "struct encoding" and "list and set".

/// Where reading failed. The caller adds which structure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThriftError {
    /// The bytes end too early.
    #[error("it ends too early")]
    End,
    /// A number has more digits than its type, or a size is negative or larger than what follows.
    #[error("it has a size that is negative or larger than what follows")]
    Size,
    /// A type code that does not exist, or another type than the format gives the field.
    #[error("it has a value of the wrong type")]
    Type,
    /// Structures are nested more deeply than `MAX_DEPTH`.
    #[error("it is nested too deeply")]
    Depth,
    /// There are more elements than `MAX_ELEMENTS`.
    #[error("it has too many elements")]
    Elements,
}

/// The type of a field or of a list's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    True,
    False,
    Byte,
    Int,
    Double,
    Binary,
    List,
    Map,
    Struct,
}

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    elements: u64,
    most: u64,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, elements: 0, most: MAX_ELEMENTS, depth: 0 }
    }

    /// Of a file that its owner reads: as many elements as there are bytes.
    pub(crate) fn of_owner(bytes: &'a [u8]) -> Reader<'a> {
        Reader { most: u64::MAX, ..Reader::new(bytes) }
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads one structure, giving each field's number and kind to `field`, which must read or skip its value.
    pub(crate) fn structure<E: From<ThriftError>>(
        &mut self,
        mut field: impl FnMut(&mut Reader<'a>, i16, Kind) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter()?;
        let mut last: i16 = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                break;
            }
            self.count()?;
            let kind = kind(head & 0x0f)?;
            let delta = i16::from(head >> 4);
            last = if delta == 0 {
                i16::try_from(self.zigzag()?).map_err(|_| ThriftError::Size)?
            } else {
                last.checked_add(delta).ok_or(ThriftError::Size)?
            };
            field(self, last, kind)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads one list, giving each element's index and kind to `element`, which must read or skip it; returns its length.
    pub(crate) fn list<E: From<ThriftError>>(
        &mut self,
        mut element: impl FnMut(&mut Reader<'a>, usize, Kind) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.enter()?;
        let head = self.byte()?;
        let short = usize::from(head >> 4);
        let length = if short == 15 { self.size()? } else { short };
        // Each element takes a byte at least, so a length beyond the rest is a lie.
        if length > self.rest.len() {
            return Err(ThriftError::Size.into());
        }
        let kind = if length == 0 { Kind::Byte } else { kind(head & 0x0f)? };
        for index in 0..length {
            self.count()?;
            element(self, index, kind)?;
        }
        self.depth -= 1;
        Ok(length)
    }

    /// The value of an integer field.
    pub(crate) fn int(&mut self, kind: Kind) -> Result<i64, ThriftError> {
        if kind == Kind::Int { self.zigzag() } else { Err(ThriftError::Type) }
    }

    /// The value of a binary or string field.
    pub(crate) fn binary(&mut self, kind: Kind) -> Result<&'a [u8], ThriftError> {
        if kind != Kind::Binary {
            return Err(ThriftError::Type);
        }
        let length = self.size()?;
        self.take(length)
    }

    /// Passes over a value of any kind.
    pub(crate) fn skip(&mut self, kind: Kind) -> Result<(), ThriftError> {
        match kind {
            Kind::True | Kind::False => Ok(()),
            Kind::Byte => self.byte().map(drop),
            Kind::Int => self.zigzag().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Binary => self.binary(kind).map(drop),
            Kind::List => self.list(|reader, _, kind| reader.skip_element(kind)).map(drop),
            Kind::Struct => self.structure(|reader, _, kind| reader.skip(kind)),
            // No structure of the Parquet footer has a map.
            Kind::Map => Err(ThriftError::Type),
        }
    }

    /// Passes over an element of a list, where a boolean takes a byte of its own.
    fn skip_element(&mut self, kind: Kind) -> Result<(), ThriftError> {
        match kind {
            Kind::True | Kind::False => self.byte().map(drop),
            other => self.skip(other),
        }
    }

    fn enter(&mut self) -> Result<(), ThriftError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(ThriftError::Depth) } else { Ok(()) }
    }

    fn count(&mut self) -> Result<(), ThriftError> {
        self.elements += 1;
        if self.elements > self.most { Err(ThriftError::Elements) } else { Ok(()) }
    }

    fn byte(&mut self) -> Result<u8, ThriftError> {
        let (first, rest) = self.rest.split_first().ok_or(ThriftError::End)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ThriftError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ThriftError::Size)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, ThriftError> {
        let mut value: u64 = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(ThriftError::Size);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ThriftError::Size)
    }

    fn zigzag(&mut self) -> Result<i64, ThriftError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// A size: 31 bits, as Thrift has it, so that what is negative as a 32-bit number is refused.
    fn size(&mut self) -> Result<usize, ThriftError> {
        let value = self.varint()?;
        i32::try_from(value).ok().and_then(|value| usize::try_from(value).ok()).ok_or(ThriftError::Size)
    }
}

fn kind(code: u8) -> Result<Kind, ThriftError> {
    Ok(match code {
        1 => Kind::True,
        2 => Kind::False,
        3 => Kind::Byte,
        4..=6 => Kind::Int,
        7 => Kind::Double,
        8 => Kind::Binary,
        9 | 10 => Kind::List,
        11 => Kind::Map,
        12 => Kind::Struct,
        _ => return Err(ThriftError::Type),
    })
}

/// A Parquet footer nests seven deep.
pub(crate) const MAX_DEPTH: u32 = 24;

/// Fields and list elements in one footer: enough for ten thousand row groups of forty columns.
pub(crate) const MAX_ELEMENTS: u64 = 4_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(bytes: &[u8]) -> Result<(), ThriftError> {
        Reader::new(bytes).skip(Kind::Struct)
    }

    #[test]
    fn d6_negative_and_overlong_sizes_are_refused() {
        assert_eq!(skip(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]), Err(ThriftError::Size), "binary of -1 bytes");
        assert_eq!(
            skip(&[0x19, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x07, 0]),
            Err(ThriftError::Size),
            "list of 2^31-1 strings"
        );
        assert_eq!(skip(&[0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), Err(ThriftError::Size));
        assert_eq!(skip(&[0x18, 0x05, b'a']), Err(ThriftError::Size), "binary longer than the rest");
        assert_eq!(skip(&[]), Err(ThriftError::End));
    }

    #[test]
    fn d6_ten_thousand_levels_of_nesting_are_refused() {
        assert_eq!(skip(&[0x1c; 10_000]), Err(ThriftError::Depth));
        assert_eq!(skip(&[&[0x19][..], &[0x19; 10_000]].concat()), Err(ThriftError::Depth));
    }

    #[test]
    fn d6_too_many_elements_are_refused() {
        let mut bytes = vec![0x19, 0xf3, 0x80, 0x92, 0xf4, 0x01];
        bytes.resize(bytes.len() + 4_000_000, 0);
        assert_eq!(skip(&bytes), Err(ThriftError::Elements));
    }

    #[test]
    fn a_structure_is_read_field_by_field() {
        let bytes = [0x15, 0x02, 0x28, 0x02, b'h', b'i', 0x11, 0x00, 0xaa];
        let mut reader = Reader::new(&bytes);
        let mut seen = Vec::new();
        let read: Result<(), ThriftError> = reader.structure(|reader, id, kind| {
            seen.push((id, kind));
            reader.skip(kind)
        });
        assert_eq!(read, Ok(()));
        assert_eq!(seen, [(1, Kind::Int), (3, Kind::Binary), (4, Kind::True)]);
        assert_eq!(reader.rest(), [0xaa]);
    }
}
