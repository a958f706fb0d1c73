//! The SPDM messages of an NVIDIA device: a GET_MEASUREMENTS request of 37 bytes, and behind it the MEASUREMENTS response that
//! answers it (DMTF DSP0274 1.1, section "GET_MEASUREMENTS request and MEASUREMENTS response messages").
//!
//! The nonce that counts is the requester's, in the request; the one in the response is the device's own. The signature at the end covers
//! everything before it. Only what these devices send is read: SPDM 1.1, all measurements asked for with a signature, digests of 48
//! bytes under the DMTF measurement specification, each index once and in order. Zero bytes behind the signature are the padding of a
//! collector's buffer and are ignored; nothing else may follow.

use super::opaque::Opaque;
use crate::reader::{FormatError, Reader};

/// A request and its response, well formed; nothing is said of the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<'a> {
    signed: &'a [u8],
    signature: &'a [u8],
    nonce: [u8; 32],
    measurements: Vec<[u8; 48]>,
    opaque: Opaque<'a>,
}

impl<'a> Report<'a> {
    /// Parses a report of at most 16 KiB.
    ///
    /// # Errors
    /// [`FormatError`], with the message and the field.
    pub fn parse(bytes: &'a [u8]) -> Result<Report<'a>, FormatError> {
        if bytes.len() > MAX_SIZE {
            return Err(FormatError::TooLarge { structure: "the report", size: bytes.len(), limit: MAX_SIZE });
        }
        let mut reader = Reader::new("the report", bytes);
        let nonce = read_request(reader.take(REQUEST_SIZE)?)?;
        let (measurements, opaque) = read_response(&mut reader)?;
        let signed = bytes.get(..reader.position()).unwrap_or_default();
        let signature = reader.take(SIGNATURE_SIZE)?;
        let rest = bytes.get(reader.position()..).unwrap_or_default();
        if rest.iter().any(|byte| *byte != 0) {
            return Err(FormatError::Trailing { structure: "the report", count: rest.len() });
        }
        Ok(Report { signed, signature, nonce, measurements, opaque })
    }

    /// What the signature covers: the request and the response without its signature.
    pub const fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// The signature, r and s of P-384 in 48 big-endian bytes each.
    pub const fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// The requester's nonce.
    pub const fn nonce(&self) -> &[u8; 32] {
        &self.nonce
    }

    /// The measurements; the first has the index 1.
    pub fn measurements(&self) -> &[[u8; 48]] {
        &self.measurements
    }

    /// The measurement with this index, counted from 1.
    pub fn measurement(&self, index: usize) -> Option<&[u8; 48]> {
        self.measurements.get(index.checked_sub(1)?)
    }

    /// What the device says of itself.
    pub const fn opaque(&self) -> &Opaque<'a> {
        &self.opaque
    }
}

/// The request: version, code, attributes, which measurements, nonce, slot.
fn read_request(bytes: &[u8]) -> Result<[u8; 32], FormatError> {
    let mut reader = Reader::new("the measurement request", bytes);
    expect(&mut reader, "version", VERSION)?;
    expect(&mut reader, "code", 0xE0)?;
    expect(&mut reader, "attributes", 1)?; // with a signature
    expect(&mut reader, "operation", 0xFF)?; // all measurements
    let nonce = reader.array()?;
    let _slot = reader.u8()?;
    reader.finish()?;
    Ok(nonce)
}

fn read_response<'a>(reader: &mut Reader<'a>) -> Result<(Vec<[u8; 48]>, Opaque<'a>), FormatError> {
    expect(reader, "version of the response", VERSION)?;
    expect(reader, "code of the response", 0x60)?;
    let _reserved = reader.u8()?;
    let _slot = reader.u8()?;
    let count = reader.u8()?;
    let [low, middle, high] = reader.array()?;
    let size = u32::from_le_bytes([low, middle, high, 0]);
    let record = reader.take(usize::try_from(size).unwrap_or(usize::MAX))?;
    let measurements = read_record(record, count)?;
    let _device_nonce: [u8; 32] = reader.array()?;
    let size = reader.u16_le()?;
    let opaque = Opaque::parse(reader.take(usize::from(size))?)?;
    Ok((measurements, opaque))
}

/// The measurement record: per block its index, specification and size, and in it the kind of value, its size and the value.
fn read_record(record: &[u8], count: u8) -> Result<Vec<[u8; 48]>, FormatError> {
    let mut reader = Reader::new("the measurement record", record);
    let mut measurements = Vec::with_capacity(usize::from(count));
    for index in 1..=count {
        expect(&mut reader, "index", index)?;
        expect(&mut reader, "specification", 1)?; // DMTF
        let size = reader.u16_le()?;
        let kind = reader.u8()?;
        let value_size = reader.u16_le()?;
        if size != BLOCK_VALUE_SIZE || value_size != 48 {
            return Err(reader.refuse("size of a measurement", value_size));
        }
        // Bit 7 marks a raw bit stream where these devices send digests.
        if kind & 0x80 != 0 {
            return Err(reader.refuse("kind of a measurement", kind));
        }
        measurements.push(reader.array()?);
    }
    reader.finish()?;
    Ok(measurements)
}

fn expect(reader: &mut Reader<'_>, field: &'static str, value: u8) -> Result<(), FormatError> {
    let found = reader.u8()?;
    if found == value { Ok(()) } else { Err(reader.refuse(field, found)) }
}

const VERSION: u8 = 0x11;
const REQUEST_SIZE: usize = 37;
const SIGNATURE_SIZE: usize = 96;
const BLOCK_VALUE_SIZE: u16 = 51;
const MAX_SIZE: usize = 16 * 1024;
