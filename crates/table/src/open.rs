//! Checking a sealed file before any Parquet reader sees it.
//!
//! Whoever stores the ciphertext may change it, and whoever made it may be hostile: the Parquet library trusts the lengths
//! that it reads, before and after it has authenticated them. So this module takes the file apart itself, with limits:
//!
//! 1. the file has the manifest's length and digest;
//! 2. it starts and ends with `PARE`, and the footer's length fits the file;
//! 3. the algorithm is AES_GCM_V1, the AAD prefix is not stored and must be supplied;
//! 4. the footer is one encrypted module that opens under the footer key and the prefix of this very file;
//! 5. its Thrift stays within limits; the schema is flat; every row group has its ordinal and all columns; every column
//!    chunk is in this file and encrypted with its own column key; there are no page indexes;
//! 6. for each column whose key is held: its metadata opens; it has no bloom filter; it lies inside the file; and it is a
//!    sequence of page headers and pages whose lengths add up exactly.
//!
//! Steps 1 to 5 are [`Sealed::check`], step 6 is [`Sealed::check_columns`]. Nothing here allocates more than the footer,
//! one column's metadata or one page header. Reference: Parquet Modular Encryption, sections 4 and 5.
//!
//! Deliberately absent: decoding pages. Decompression limits belong to the reader's process.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::Arc,
};

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use envelope::{
    Digest,
    keys::{ColumnKey, FileId},
};
use parquet::{
    arrow::arrow_reader::ArrowReaderOptions, encryption::decrypt::FileDecryptionProperties,
    file::metadata::PageIndexPolicy,
};
use sha2::{Digest as _, Sha256};

use crate::{
    schema::MAX_COLUMNS,
    thrift::{Kind, Reader},
};

pub use crate::thrift::ThriftError;

/// The length and digest of a file, as its manifest has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of all bytes.
    pub digest: Digest,
}

/// Why a file is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("the sealed file cannot be read: {0}")]
    Read(io::ErrorKind),
    /// The file does not have the manifest's length.
    #[error("the sealed file has {found} bytes, the manifest says {expected}")]
    Length {
        /// The manifest's.
        expected: u64,
        /// The file's.
        found: u64,
    },
    /// The file does not have the manifest's digest.
    #[error("the sealed file is not the one that the manifest names")]
    Digest,
    /// The file is Parquet, but its footer is not encrypted.
    #[error("the file is not encrypted: it starts or ends as plain Parquet does")]
    Plain,
    /// The file is not Parquet.
    #[error("the file is not Parquet")]
    NotParquet,
    /// The footer's length does not fit the file or exceeds the limit.
    #[error("the footer claims {claimed} bytes, which the file does not have")]
    FooterLength {
        /// What the tail claims.
        claimed: u64,
    },
    /// The encryption's description cannot be parsed.
    #[error("the description of the encryption is malformed: {0}")]
    Description(ThriftError),
    /// The file uses AES_GCM_CTR, which does not authenticate pages, or an unknown algorithm.
    #[error("the file is encrypted with an algorithm other than AES-GCM")]
    Algorithm,
    /// The file stores an AAD prefix of its own.
    #[error("the file stores its own AAD prefix, so it could be passed off as another")]
    StoredPrefix,
    /// The file was written without an AAD prefix.
    #[error("the file was written without an AAD prefix, so it could be passed off as another")]
    NoPrefix,
    /// The footer does not open: another file, another version, another key, or altered bytes.
    #[error("the footer does not open under this file's name and key")]
    Footer,
    /// The footer opens but is not well-formed.
    #[error("the footer is malformed: {0}")]
    Malformed(ThriftError),
    /// The footer describes something that sealing never writes.
    #[error("the footer describes a file that was not sealed by Glovebox")]
    ForeignSchema,
    /// The footer has more columns than a table may have.
    #[error("the footer lists more columns than a table may have")]
    TooManyColumns,
    /// A column is not encrypted with a key of its own.
    #[error("column `{column}` is not encrypted with a key of its own")]
    NotEncrypted {
        /// The column.
        column: String,
    },
    /// A column has a bloom filter, which is never encrypted.
    #[error("column `{column}` has a bloom filter, which shows its values")]
    BloomFilter {
        /// The column.
        column: String,
    },
    /// A key is held for a column that the file does not have.
    #[error("the file has no column `{column}`")]
    NoSuchColumn {
        /// The column.
        column: String,
    },
    /// A column that is to be read has no key.
    #[error("no key is held for column `{column}`")]
    KeyMissing {
        /// The column.
        column: String,
    },
    /// A column's metadata or page header does not open: another key, or altered or exchanged bytes.
    #[error("column `{column}` does not open under its key")]
    Column {
        /// The column.
        column: String,
    },
    /// A column's pages do not fill its place in the file exactly, or claim impossible lengths.
    #[error("the pages of column `{column}` have impossible lengths")]
    Pages {
        /// The column.
        column: String,
    },
}

/// A sealed file that passed steps 1 to 5: what a Parquet reader may be given.
///
/// The check speaks of the bytes that were read. A caller reads them again for the data, so it keeps them where others
/// cannot write; what is exchanged later still fails to authenticate, but may waste memory.
#[derive(Debug, Clone)]
pub struct Sealed {
    file: FileId,
    footer_key: ColumnKey,
    file_aad: Vec<u8>,
    footer_start: u64,
    rows: u64,
    columns: Vec<String>,
    groups: Vec<RowGroup>,
}

impl Sealed {
    /// Checks a whole file against its manifest's contents, its identity and its footer key.
    pub fn check(
        input: &mut (impl Read + Seek),
        contents: &Contents,
        file: &FileId,
        footer_key: &ColumnKey,
    ) -> Result<Sealed, OpenError> {
        let length = input.seek(SeekFrom::End(0)).map_err(read)?;
        if length != contents.bytes {
            return Err(OpenError::Length { expected: contents.bytes, found: length });
        }
        input.rewind().map_err(read)?;
        if measure(input).map_err(read)? != *contents {
            return Err(OpenError::Digest);
        }
        let (start, footer) = footer_bytes(input, length)?;
        let (unique, module) = description(&footer)?;
        let file_aad = [file.aad_prefix().as_slice(), unique].concat();
        let opened = open_module(footer_key, module, &[&file_aad, &[FOOTER]]).ok_or(OpenError::Footer)?;
        let parsed = parse_footer(&opened)?;
        Ok(Sealed {
            file: file.clone(),
            footer_key: footer_key.clone(),
            file_aad,
            footer_start: start,
            rows: parsed.rows,
            columns: parsed.columns,
            groups: parsed.groups,
        })
    }

    /// Which file it is.
    pub fn file(&self) -> &FileId {
        &self.file
    }

    /// Rows of the table.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The names of all columns, in the order of the table, those without a key included.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Checks every chunk of the columns whose keys are held (step 6), without decoding any value.
    pub fn check_columns(
        &self,
        input: &mut (impl Read + Seek),
        keys: &BTreeMap<String, ColumnKey>,
    ) -> Result<(), OpenError> {
        self.known(keys)?;
        let mut input = BufReader::with_capacity(8 << 10, input);
        for (group_index, group) in self.groups.iter().enumerate() {
            for (column_index, (name, chunk)) in self.columns.iter().zip(&group.chunks).enumerate() {
                let Some(key) = keys.get(name) else { continue };
                let place = [ordinal(group_index)?, ordinal(column_index)?];
                self.check_chunk(&mut input, name, key, chunk, place, group.rows)?;
            }
        }
        Ok(())
    }

    /// What a Parquet reader needs to open this file: the keys, and the AAD prefix of the file that was asked for.
    pub fn decryption_properties(
        &self,
        keys: &BTreeMap<String, ColumnKey>,
    ) -> Result<Arc<FileDecryptionProperties>, OpenError> {
        self.known(keys)?;
        let mut builder = FileDecryptionProperties::builder(self.footer_key.as_bytes().to_vec())
            .with_aad_prefix(self.file.aad_prefix());
        for (name, key) in keys {
            builder = builder.with_column_key(name, key.as_bytes().to_vec());
        }
        builder.build().map_err(|_| OpenError::Footer)
    }

    /// The same as options of an Arrow reader: no page index, no embedded Arrow schema.
    pub fn reader_options(&self, keys: &BTreeMap<String, ColumnKey>) -> Result<ArrowReaderOptions, OpenError> {
        let options =
            ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Skip);
        Ok(options.with_file_decryption_properties(self.decryption_properties(keys)?))
    }

    /// The places of columns that a computation reads, each of which must have a key: for a reader's projection.
    pub fn projection(&self, columns: &[&str], keys: &BTreeMap<String, ColumnKey>) -> Result<Vec<usize>, OpenError> {
        let place = |column: &&str| {
            let index = self.columns.iter().position(|name| name == column);
            let index = index.ok_or_else(|| OpenError::NoSuchColumn { column: (*column).to_owned() })?;
            if keys.contains_key(*column) {
                Ok(index)
            } else {
                Err(OpenError::KeyMissing { column: (*column).to_owned() })
            }
        };
        columns.iter().map(place).collect()
    }

    fn known(&self, keys: &BTreeMap<String, ColumnKey>) -> Result<(), OpenError> {
        let names: BTreeSet<&String> = self.columns.iter().collect();
        match keys.keys().find(|name| !names.contains(name)) {
            Some(column) => Err(OpenError::NoSuchColumn { column: column.clone() }),
            None => Ok(()),
        }
    }

    fn check_chunk(
        &self,
        input: &mut (impl Read + Seek),
        name: &str,
        key: &ColumnKey,
        metadata: &[u8],
        place: [[u8; 2]; 2],
        rows: u64,
    ) -> Result<(), OpenError> {
        let closed = || OpenError::Column { column: name.to_owned() };
        let pages = || OpenError::Pages { column: name.to_owned() };
        let [group, column] = place;
        let opened =
            open_module(key, metadata, &[&self.file_aad, &[COLUMN_METADATA], &group, &column]).ok_or_else(closed)?;
        let chunk = parse_column(&opened)?;
        if chunk.bloom_filter {
            return Err(OpenError::BloomFilter { column: name.to_owned() });
        }
        if chunk.values != rows {
            return Err(pages());
        }
        let start = chunk.dictionary.unwrap_or(chunk.data);
        let end = start.checked_add(chunk.compressed).filter(|end| *end <= self.footer_start).ok_or_else(pages)?;
        if start < 4 || chunk.data < start || chunk.data >= end {
            return Err(pages());
        }
        let mut at = start;
        let mut page: usize = 0;
        while at < end {
            let dictionary = chunk.dictionary.is_some() && at == start;
            let number = if dictionary { Vec::new() } else { ordinal(page)?.to_vec() };
            let kind = if dictionary { DICTIONARY_PAGE_HEADER } else { DATA_PAGE_HEADER };
            let length = module_length(input, at, end)
                .map_err(read)?
                .filter(|length| *length <= MAX_PAGE_HEADER)
                .ok_or_else(pages)?;
            let mut header = vec![0; usize::try_from(length).map_err(|_| pages())?];
            input.seek(SeekFrom::Start(at)).and_then(|_| input.read_exact(&mut header)).map_err(read)?;
            let header =
                open_module(key, &header, &[&self.file_aad, &[kind], &group, &column, &number]).ok_or_else(closed)?;
            at += length;
            let length = module_length(input, at, end).map_err(read)?.ok_or_else(pages)?;
            let (uncompressed, compressed) = page_sizes(&header)?;
            if compressed != length || uncompressed > MAX_PAGE {
                return Err(pages());
            }
            at += length;
            page += usize::from(!dictionary);
        }
        if at == end { Ok(()) } else { Err(pages()) }
    }
}

/// Reads a stream from where it is to its end.
pub(crate) fn measure(input: &mut impl Read) -> io::Result<Contents> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(Contents { bytes, digest: Digest::from_bytes(hash.finalize().into()) }),
            Ok(count) => {
                bytes += count as u64;
                hash.update(buffer.get(..count).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Step 2: the place and the bytes of the footer.
fn footer_bytes(input: &mut (impl Read + Seek), length: u64) -> Result<(u64, Vec<u8>), OpenError> {
    let mut head = [0; 4];
    let mut tail = [0; 8];
    let end = length.checked_sub(8).filter(|end| *end >= 4).ok_or(OpenError::NotParquet)?;
    input.rewind().and_then(|()| input.read_exact(&mut head)).map_err(read)?;
    input.seek(SeekFrom::Start(end)).and_then(|_| input.read_exact(&mut tail)).map_err(read)?;
    let [a, b, c, d, magic @ ..] = tail;
    for magic in [head, magic] {
        match &magic {
            b"PARE" => {}
            b"PAR1" => return Err(OpenError::Plain),
            _ => return Err(OpenError::NotParquet),
        }
    }
    let claimed = u64::from(u32::from_le_bytes([a, b, c, d]));
    let start = end
        .checked_sub(claimed)
        .filter(|start| *start >= 4 && claimed <= MAX_FOOTER)
        .ok_or(OpenError::FooterLength { claimed })?;
    let mut footer = vec![0; usize::try_from(claimed).map_err(|_| OpenError::FooterLength { claimed })?];
    input.seek(SeekFrom::Start(start)).and_then(|_| input.read_exact(&mut footer)).map_err(read)?;
    Ok((start, footer))
}

/// Step 3: the file's unique part of the AAD, and the encrypted footer that follows the description.
fn description(footer: &[u8]) -> Result<(&[u8], &[u8]), OpenError> {
    let mut reader = Reader::new(footer);
    let (mut gcm, mut other) = (false, false);
    let (mut unique, mut stored, mut supplied): (&[u8], bool, bool) = (&[], false, false);
    let walk = reader.structure(|reader, id, kind| match (id, kind) {
        (1, Kind::Struct) => reader.structure(|reader, id, kind| match (id, kind) {
            (1, Kind::Struct) => {
                gcm = true;
                reader.structure(|reader, id, kind| {
                    match id {
                        1 => stored = true,
                        2 if kind == Kind::Binary => {
                            unique = reader.binary(kind)?;
                            return Ok(());
                        }
                        3 => supplied = kind == Kind::True,
                        _ => {}
                    }
                    reader.skip(kind)
                })
            }
            (_, kind) => {
                other = true;
                reader.skip(kind)
            }
        }),
        (_, kind) => reader.skip(kind),
    });
    walk.map_err(OpenError::Description)?;
    if !gcm || other {
        return Err(OpenError::Algorithm);
    }
    if stored {
        return Err(OpenError::StoredPrefix);
    }
    if !supplied {
        return Err(OpenError::NoPrefix);
    }
    if unique.is_empty() || unique.len() > 64 {
        return Err(OpenError::Description(ThriftError::Size));
    }
    Ok((unique, reader.rest()))
}

struct Footer {
    rows: u64,
    columns: Vec<String>,
    groups: Vec<RowGroup>,
}

#[derive(Debug, Clone)]
struct RowGroup {
    rows: u64,
    /// The encrypted metadata of each column's chunk.
    chunks: Vec<Vec<u8>>,
}

impl From<ThriftError> for OpenError {
    fn from(error: ThriftError) -> OpenError {
        OpenError::Malformed(error)
    }
}

/// Step 5: the footer's structure (`FileMetaData` of parquet.thrift).
fn parse_footer(bytes: &[u8]) -> Result<Footer, OpenError> {
    let mut footer = Footer { rows: 0, columns: Vec::new(), groups: Vec::new() };
    let mut reader = Reader::new(bytes);
    reader.structure::<OpenError>(|reader, id, kind| {
        match (id, kind) {
            (2, Kind::List) => footer.columns = parse_schema(reader)?,
            (3, Kind::Int) => footer.rows = count(reader.int(kind)?)?,
            (4, Kind::List) => {
                let (columns, groups) = (&footer.columns, &mut footer.groups);
                reader.list::<OpenError>(|reader, index, kind| {
                    if kind != Kind::Struct || index > MAX_ORDINAL {
                        return Err(OpenError::ForeignSchema);
                    }
                    groups.push(parse_group(reader, index, columns)?);
                    Ok(())
                })?;
            }
            (2..=4 | 8, _) => return Err(OpenError::ForeignSchema),
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    let sum = footer.groups.iter().try_fold(0_u64, |sum, group| sum.checked_add(group.rows));
    if footer.columns.is_empty() || sum != Some(footer.rows) || !reader.rest().is_empty() {
        return Err(OpenError::ForeignSchema);
    }
    Ok(footer)
}

/// `list<SchemaElement>`: a root, then one leaf per column.
fn parse_schema(reader: &mut Reader<'_>) -> Result<Vec<String>, OpenError> {
    let mut names: Vec<String> = Vec::new();
    let mut children = None;
    let length = reader.list::<OpenError>(|reader, index, kind| {
        if kind != Kind::Struct {
            return Err(OpenError::ForeignSchema);
        }
        if index > MAX_COLUMNS {
            return Err(OpenError::TooManyColumns);
        }
        let (mut leaf, mut repeated, mut name, mut below) = (false, false, None, None);
        reader.structure::<OpenError>(|reader, id, kind| {
            match (id, kind) {
                (1, Kind::Int) => leaf = reader.int(kind).map(|_| true)?,
                (3, Kind::Int) => repeated = reader.int(kind)? == 2,
                (4, Kind::Binary) => name = std::str::from_utf8(reader.binary(kind)?).ok(),
                (5, Kind::Int) => below = Some(reader.int(kind)?),
                (_, kind) => reader.skip(kind)?,
            }
            Ok(())
        })?;
        if index == 0 {
            children = below;
            return Ok(());
        }
        let name = name.filter(|_| leaf && !repeated && below.unwrap_or(0) == 0).ok_or(OpenError::ForeignSchema)?;
        names.push(name.to_owned());
        Ok(())
    })?;
    let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let counted = children == length.checked_sub(1).and_then(|leaves| i64::try_from(leaves).ok());
    if distinct && counted { Ok(names) } else { Err(OpenError::ForeignSchema) }
}

/// `RowGroup`: its ordinal, and a chunk for every column.
fn parse_group(reader: &mut Reader<'_>, index: usize, columns: &[String]) -> Result<RowGroup, OpenError> {
    let (mut rows, mut place) = (None, None);
    let mut chunks = Vec::new();
    reader.structure::<OpenError>(|reader, id, kind| {
        match (id, kind) {
            (1, Kind::List) => {
                reader.list::<OpenError>(|reader, index, kind| {
                    let column = columns.get(index).filter(|_| kind == Kind::Struct).ok_or(OpenError::ForeignSchema)?;
                    chunks.push(parse_chunk(reader, column)?);
                    Ok(())
                })?;
            }
            (3, Kind::Int) => rows = Some(count(reader.int(kind)?)?),
            (7, Kind::Int) => place = usize::try_from(reader.int(kind)?).ok(),
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    match rows {
        Some(rows) if place == Some(index) && chunks.len() == columns.len() => Ok(RowGroup { rows, chunks }),
        Some(_) | None => Err(OpenError::ForeignSchema),
    }
}

/// `ColumnChunk`: in this file, without page indexes, encrypted with the key of its own column.
fn parse_chunk(reader: &mut Reader<'_>, column: &str) -> Result<Vec<u8>, OpenError> {
    let not_encrypted = || OpenError::NotEncrypted { column: column.to_owned() };
    let (mut own_key, mut metadata) = (false, None);
    reader.structure::<OpenError>(|reader, id, kind| {
        match (id, kind) {
            (3, _) => return Err(not_encrypted()),
            (1 | 4..=7, _) => return Err(OpenError::ForeignSchema),
            (8, Kind::Struct) => own_key = parse_own_key(reader, column)?,
            (9, Kind::Binary) => metadata = Some(reader.binary(kind)?.to_vec()),
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    metadata.filter(|_| own_key).ok_or_else(not_encrypted)
}

/// `ColumnCryptoMetaData`: whether it says ENCRYPTION_WITH_COLUMN_KEY for this column.
fn parse_own_key(reader: &mut Reader<'_>, column: &str) -> Result<bool, OpenError> {
    let mut own = false;
    reader.structure::<OpenError>(|reader, id, kind| {
        if id != 2 || kind != Kind::Struct {
            return Ok(reader.skip(kind)?);
        }
        reader.structure::<OpenError>(|reader, id, kind| {
            if id != 1 || kind != Kind::List {
                return Ok(reader.skip(kind)?);
            }
            let mut same = false;
            let length = reader.list::<OpenError>(|reader, _, kind| {
                same = reader.binary(kind)? == column.as_bytes();
                Ok(())
            })?;
            own = same && length == 1;
            Ok(())
        })
    })?;
    Ok(own)
}

struct Chunk {
    values: u64,
    compressed: u64,
    data: u64,
    dictionary: Option<u64>,
    bloom_filter: bool,
}

/// `ColumnMetaData`.
fn parse_column(bytes: &[u8]) -> Result<Chunk, OpenError> {
    let mut chunk = Chunk { values: 0, compressed: 0, data: 0, dictionary: None, bloom_filter: false };
    Reader::new(bytes).structure::<OpenError>(|reader, id, kind| {
        match (id, kind) {
            (5, Kind::Int) => chunk.values = count(reader.int(kind)?)?,
            (7, Kind::Int) => chunk.compressed = count(reader.int(kind)?)?,
            (9, Kind::Int) => chunk.data = count(reader.int(kind)?)?,
            (11, Kind::Int) => chunk.dictionary = Some(count(reader.int(kind)?)?),
            (14 | 15, kind) => {
                chunk.bloom_filter = true;
                reader.skip(kind)?;
            }
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(chunk)
}

/// The uncompressed and compressed size that a `PageHeader` claims.
fn page_sizes(bytes: &[u8]) -> Result<(u64, u64), OpenError> {
    let (mut uncompressed, mut compressed) = (None, None);
    Reader::new(bytes).structure::<OpenError>(|reader, id, kind| {
        match (id, kind) {
            (2, Kind::Int) => uncompressed = Some(count(reader.int(kind)?)?),
            (3, Kind::Int) => compressed = Some(count(reader.int(kind)?)?),
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    uncompressed.zip(compressed).ok_or(OpenError::ForeignSchema)
}

/// The whole length of the module at `at`, if it is possible: room for a nonce and a tag, and not beyond `end`.
fn module_length(input: &mut (impl Read + Seek), at: u64, end: u64) -> io::Result<Option<u64>> {
    let mut prefix = [0; 4];
    if end.checked_sub(at).is_none_or(|room| room < 4 + MIN_MODULE) {
        return Ok(None);
    }
    input.seek(SeekFrom::Start(at))?;
    input.read_exact(&mut prefix)?;
    let length = u64::from(u32::from_le_bytes(prefix));
    Ok((length >= MIN_MODULE && at + 4 + length <= end).then_some(4 + length))
}

/// Opens one module (length, nonce, ciphertext, tag) that must fill `bytes` exactly.
fn open_module(key: &ColumnKey, bytes: &[u8], aad: &[&[u8]]) -> Option<Vec<u8>> {
    let (prefix, module) = bytes.split_first_chunk::<4>()?;
    if usize::try_from(u32::from_le_bytes(*prefix)).ok()? != module.len() {
        return None;
    }
    let (nonce, ciphertext) = module.split_first_chunk::<12>()?;
    let cipher = Aes256Gcm::new(key.as_bytes().into());
    cipher.decrypt(Nonce::from_slice(nonce), Payload { msg: ciphertext, aad: &aad.concat() }).ok()
}

fn count(value: i64) -> Result<u64, OpenError> {
    u64::try_from(value).map_err(|_| OpenError::Malformed(ThriftError::Size))
}

/// A place as module AADs carry it: 16 bits, little-endian, positive.
fn ordinal(value: usize) -> Result<[u8; 2], OpenError> {
    i16::try_from(value).map(i16::to_le_bytes).map_err(|_| OpenError::ForeignSchema)
}

fn read(error: io::Error) -> OpenError {
    OpenError::Read(error.kind())
}

/// Module types (Parquet Modular Encryption, section 4.4.2).
const FOOTER: u8 = 0;
const COLUMN_METADATA: u8 = 1;
const DATA_PAGE_HEADER: u8 = 4;
const DICTIONARY_PAGE_HEADER: u8 = 5;

/// A nonce and a tag.
const MIN_MODULE: u64 = 28;

/// The longest footer that is read.
const MAX_FOOTER: u64 = 256 << 20;

/// The longest page header that is read.
const MAX_PAGE_HEADER: u64 = 1 << 20;

/// The longest page that a reader is asked to unpack.
const MAX_PAGE: u64 = 256 << 20;

/// Row groups, columns and pages are numbered with 16 bits.
const MAX_ORDINAL: usize = 0x7fff;
