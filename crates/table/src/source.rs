//! Where a table comes from: a stream in one of four formats, turned into batches of one schema.
//!
//! A source can be read from its start as often as needed, so the schema is settled first ([`infer_schema`], from the
//! first rows) and the table is then read once, in batches, in bounded memory. What inference did not see is refused by
//! row number when it turns up, rather than bent to fit: an owner should know that a column changes its type.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::{errors::ParquetError, file::reader::ChunkReader, file::reader::Length};
use zeroize::Zeroizing;

use crate::{
    columnar, csv,
    error::{InputError, SealError},
    jsonl,
    schema::{Declared, Schema},
};

/// The formats that can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// RFC 4180 with a header, UTF-8, with or without a byte order mark.
    Csv,
    /// One JSON object per line.
    JsonLines,
    /// Arrow IPC, the file format or the stream format.
    ArrowIpc,
    /// Parquet, plain or with modular encryption.
    Parquet,
}

/// What a source reads from.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// The keys of a Parquet file that something else encrypted: the footer key alone for uniform encryption. Keys have 16 or
/// 32 bytes.
#[derive(Clone)]
pub struct SourceKey {
    /// The footer key.
    pub footer: Zeroizing<Vec<u8>>,
    /// The keys of columns that have their own, by path.
    pub columns: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// The AAD prefix, if the file was written with one that it does not store.
    pub aad_prefix: Option<Vec<u8>>,
}

/// A table to be sealed.
pub struct Source {
    format: Format,
    input: Input,
    key: Option<SourceKey>,
}

/// Batches of the schema that was asked for, at most [`BATCH_ROWS`] rows each.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, SealError>>>;

impl Format {
    /// The format of a file, from its first bytes and, where these do not tell, from the end of its name.
    pub fn detect(name: &str, head: &[u8]) -> Result<Format, InputError> {
        if head.starts_with(b"PAR1") || head.starts_with(b"PARE") {
            return Ok(Format::Parquet);
        }
        if head.starts_with(b"ARROW1") || head.starts_with(&[0xff; 4]) {
            return Ok(Format::ArrowIpc);
        }
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("csv") => Ok(Format::Csv),
            Some("jsonl" | "ndjson" | "json") => Ok(Format::JsonLines),
            Some("arrow" | "arrows" | "ipc" | "feather") => Ok(Format::ArrowIpc),
            Some("parquet") => Ok(Format::Parquet),
            Some(_) | None => Err(InputError::UnknownFormat { name: crate::schema::clip(name) }),
        }
    }
}

impl Source {
    /// A table in a known format. The stream is read from its start, whatever its position is.
    pub fn new(format: Format, mut input: impl ReadSeek + 'static) -> Result<Source, SealError> {
        let length = input.seek(SeekFrom::End(0)).map_err(SealError::Read)?;
        Ok(Source {
            format,
            input: Input { inner: Arc::new(Mutex::new(Box::new(input))), length, read: Arc::default() },
            key: None,
        })
    }

    /// A table whose format is found out from its first bytes and its name.
    pub fn named(name: &str, mut input: impl ReadSeek + 'static) -> Result<Source, SealError> {
        let mut head = Vec::with_capacity(8);
        input.rewind().and_then(|()| input.by_ref().take(8).read_to_end(&mut head)).map_err(SealError::Read)?;
        Source::new(Format::detect(name, &head)?, input)
    }

    /// The same table with the keys that open it.
    #[must_use]
    pub fn with_key(mut self, key: SourceKey) -> Source {
        self.key = Some(key);
        self
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The length of the input in bytes: what progress is measured against.
    pub fn length(&self) -> u64 {
        self.input.length
    }

    /// The stream as a Parquet reader takes it.
    pub(crate) fn into_input(self) -> Input {
        self.input
    }

    /// How many bytes have been read since the last start, at most [`Source::length`].
    pub(crate) fn progress(&self) -> u64 {
        self.input.read.load(Ordering::Relaxed).min(self.input.length)
    }

    /// The whole table, from its start, as batches of `schema`.
    pub(crate) fn batches(&mut self, schema: &Schema) -> Result<Batches, SealError> {
        let stream = self.input.rewound();
        match self.format {
            Format::Csv => csv::batches(stream, schema),
            Format::JsonLines => jsonl::batches(stream, schema),
            Format::ArrowIpc => columnar::arrow_batches(stream, schema),
            Format::Parquet => columnar::parquet_batches(self.input.clone(), self.key.as_ref(), schema),
        }
    }
}

/// Settles the schema of a table from the first 10,000 rows (or from what the format states) and what the owner declares.
pub fn infer_schema(source: &mut Source, declared: &Declared) -> Result<Schema, SealError> {
    let stream = source.input.rewound();
    match source.format {
        Format::Csv => csv::infer(stream, declared),
        Format::JsonLines => jsonl::infer(stream, declared),
        Format::ArrowIpc => columnar::arrow_schema(stream, declared),
        Format::Parquet => columnar::parquet_schema(source.input.clone(), source.key.as_ref(), declared),
    }
}

/// The owner's stream, shared between the readers that a columnar format needs.
#[derive(Clone)]
pub(crate) struct Input {
    inner: Arc<Mutex<Box<dyn ReadSeek>>>,
    length: u64,
    read: Arc<AtomicU64>,
}

/// A reader with a position of its own.
pub(crate) struct Stream {
    input: Input,
    position: u64,
}

impl Input {
    fn rewound(&self) -> Stream {
        self.read.store(0, Ordering::Relaxed);
        Stream { input: self.clone(), position: 0 }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.input.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.seek(SeekFrom::Start(self.position))?;
        let read = inner.read(buffer)?;
        self.position += read as u64;
        self.input.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.input.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Length for Input {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Input {
    type T = BufReader<Stream>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::with_capacity(BUFFER, Stream { input: self.clone(), position: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF("a part of the file lies behind its end".into()));
        }
        let mut bytes = vec![0; length];
        Stream { input: self.clone(), position: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Rows in a batch.
pub(crate) const BATCH_ROWS: usize = 8_192;

/// Rows from which a schema is inferred.
pub(crate) const INFERENCE_ROWS: u64 = 10_000;

/// The longest row of a text format, in bytes.
pub(crate) const MAX_ROW: u64 = 16 << 20;

/// The buffer of a reader, in bytes.
pub(crate) const BUFFER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_first_bytes_and_else_by_its_name() {
        assert_eq!(Format::detect("x.csv", b"PAR1"), Ok(Format::Parquet));
        assert_eq!(Format::detect("x", b"ARROW1\0\0"), Ok(Format::ArrowIpc));
        assert_eq!(Format::detect("a.b.CSV", b"a,b\n"), Ok(Format::Csv));
        assert_eq!(Format::detect("x.ndjson", b"{}"), Ok(Format::JsonLines));
        assert_eq!(Format::detect("x.docx", b"PK"), Err(InputError::UnknownFormat { name: "x.docx".into() }));
    }
}
