//! Arrow IPC and Parquet: formats that state their types.
//!
//! Each column is cast to the SQL type that holds all its values, or to the one that the owner declares; a value that
//! does not survive the cast is refused with its row. Parquet may be encrypted, uniformly or with column keys: then the
//! owner gives the keys, and a file that turns out to be plain is refused, since it is not the one that was meant.

use std::{
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit},
    error::ArrowError,
    ipc::{
        reader::{FileReader, StreamReader},
        root_as_footer, root_as_message,
    },
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use parquet::{
    arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    encryption::decrypt::FileDecryptionProperties,
    errors::ParquetError,
};

use crate::{
    cells::{Place, changed},
    error::{InputError, SealError},
    ipc_schema::is_known,
    schema::{Column, Declared, Schema, SqlType, check_names},
    source::{BATCH_ROWS, BUFFER, Batches, Input, SourceKey, Stream},
    thrift::{Kind, Reader, ThriftError},
};

/// The schema of an Arrow IPC file or stream.
pub(crate) fn arrow_schema(stream: Stream, declared: &Declared) -> Result<Schema, SealError> {
    Ok(settle(&ipc(stream)?.0, declared)?)
}

/// An Arrow IPC file or stream as batches of `schema`.
pub(crate) fn arrow_batches(stream: Stream, schema: &Schema) -> Result<Batches, SealError> {
    let (found, batches) = ipc(stream)?;
    conform(found, batches.map(|batch| batch.map_err(SealError::Arrow)), schema)
}

/// The schema of a Parquet file.
pub(crate) fn parquet_schema(input: Input, key: Option<&SourceKey>, declared: &Declared) -> Result<Schema, SealError> {
    Ok(settle(parquet(input, key)?.schema(), declared)?)
}

/// A Parquet file as batches of `schema`.
pub(crate) fn parquet_batches(input: Input, key: Option<&SourceKey>, schema: &Schema) -> Result<Batches, SealError> {
    let builder = parquet(input, key)?;
    let found = Arc::clone(builder.schema());
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(SealError::Parquet)?;
    // The reader wraps its own errors in Arrow's; the owner should hear of Parquet.
    let batches =
        reader.map(|batch| batch.map_err(|error| SealError::Parquet(ParquetError::ArrowError(error.to_string()))));
    conform(found, batches, schema)
}

type IpcBatches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

fn ipc(mut stream: Stream) -> Result<(Arc<ArrowSchema>, IpcBatches), SealError> {
    let mut head = Vec::with_capacity(6);
    stream.by_ref().take(6).read_to_end(&mut head).and_then(|_| stream.rewind()).map_err(SealError::Read)?;
    let possible = if head == *b"ARROW1" { file_lengths(&mut stream) } else { stream_lengths(&mut stream) };
    if !possible.and_then(|possible| stream.rewind().map(|()| possible)).map_err(SealError::Read)? {
        return Err(SealError::Arrow(ArrowError::IpcError(
            "it is cut short, has parts with impossible lengths, or a type that cannot be read".into(),
        )));
    }
    let stream = BufReader::with_capacity(BUFFER, stream);
    Ok(if head == *b"ARROW1" {
        let reader = FileReader::try_new(stream, None).map_err(SealError::Arrow)?;
        (reader.schema(), Box::new(reader))
    } else {
        let reader = StreamReader::try_new(stream, None).map_err(SealError::Arrow)?;
        (reader.schema(), Box::new(reader))
    })
}

/// Whether every message of an IPC stream lies inside the input, and each schema is one that can be read. The Arrow reader allocates what a message claims first.
fn stream_lengths(stream: &mut Stream) -> io::Result<bool> {
    let end = stream.seek(SeekFrom::End(0))?;
    let mut at = 0;
    while at < end {
        let Some(mut claimed) = number(stream, at, end)? else { return Ok(false) };
        at += 4;
        if claimed == u32::MAX {
            let Some(length) = number(stream, at, end)? else { return Ok(false) };
            claimed = length;
            at += 4;
        }
        if claimed == 0 {
            break;
        }
        let Some(metadata) = part(stream, at, u64::from(claimed), end)? else { return Ok(false) };
        let message = root_as_message(&metadata).ok();
        let message = message.filter(|message| message.header_as_schema().is_none_or(is_known));
        let body = message.and_then(|message| u64::try_from(message.bodyLength()).ok());
        let Some(next) = body.and_then(|body| at.checked_add(u64::from(claimed))?.checked_add(body)) else {
            return Ok(false);
        };
        at = next;
    }
    Ok(at <= end)
}

/// The same for an IPC file, whose footer lists the places of its messages.
fn file_lengths(stream: &mut Stream) -> io::Result<bool> {
    let end = stream.seek(SeekFrom::End(0))?;
    let Some(tail) = end.checked_sub(10) else { return Ok(false) };
    let Some(length) = number(stream, tail, end)? else { return Ok(false) };
    let Some(start) = tail.checked_sub(u64::from(length)) else { return Ok(false) };
    let Some(footer) = part(stream, start, u64::from(length), end)? else { return Ok(false) };
    let Ok(footer) = root_as_footer(&footer) else { return Ok(false) };
    if !footer.schema().is_some_and(is_known) {
        return Ok(false);
    }
    let mut blocks = footer.dictionaries().into_iter().flatten().chain(footer.recordBatches().into_iter().flatten());
    Ok(blocks.all(|block| {
        let parts = [Some(block.offset()), Some(i64::from(block.metaDataLength())), Some(block.bodyLength())];
        let last = parts.into_iter().try_fold(0_u64, |sum, part| sum.checked_add(u64::try_from(part?).ok()?));
        last.is_some_and(|last| last <= start)
    }))
}

fn number(stream: &mut Stream, at: u64, end: u64) -> io::Result<Option<u32>> {
    let bytes = part(stream, at, 4, end)?;
    Ok(bytes.and_then(|bytes| bytes.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))))
}

/// A part of the input, if it lies inside.
fn part(stream: &mut Stream, at: u64, length: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    if end.checked_sub(at).is_none_or(|room| room < length) {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    stream.seek(SeekFrom::Start(at))?;
    stream.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

fn parquet(input: Input, key: Option<&SourceKey>) -> Result<ParquetRecordBatchReaderBuilder<Input>, SealError> {
    let mut options = ArrowReaderOptions::new();
    if let Some(key) = key {
        let mut properties = FileDecryptionProperties::builder(key.footer.to_vec());
        for (path, column) in &key.columns {
            properties = properties.with_column_key(path, column.to_vec());
        }
        if let Some(prefix) = &key.aad_prefix {
            properties = properties.with_aad_prefix(prefix.clone());
        }
        options = options.with_file_decryption_properties(properties.build().map_err(SealError::Parquet)?);
    } else if tail_is_encrypted(&input)? {
        return Err(InputError::KeyNeeded.into());
    }
    let encrypted_footer = tail_is_encrypted(&input)?;
    if !encrypted_footer {
        check_footer(&input)?;
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(input, options).map_err(SealError::Parquet)?;
    let encrypted_column = builder
        .metadata()
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
        .any(|column| column.crypto_metadata().is_some());
    match (key, encrypted_footer || encrypted_column) {
        (Some(_), false) => Err(InputError::KeyNotNeeded.into()),
        (None, true) => Err(InputError::KeyNeeded.into()),
        (Some(_), true) | (None, false) => Ok(builder),
    }
}

/// Passes over a footer that is not encrypted, so that the library is given no list that is longer than what follows: it goes through such a list
/// element by element. Where there is no footer the library says so.
fn check_footer(input: &Input) -> Result<(), SealError> {
    use parquet::file::reader::{ChunkReader as _, Length as _};
    let Some(end) = input.len().checked_sub(8) else { return Ok(()) };
    let tail = input.get_bytes(end, 8).map_err(SealError::Parquet)?;
    let Some(size) = tail.first_chunk().map(|size| u32::from_le_bytes(*size)) else { return Ok(()) };
    let Some(start) = end.checked_sub(u64::from(size)) else { return Ok(()) };
    let size = usize::try_from(size).map_err(|_| InputError::ParquetFooter(ThriftError::Size))?;
    let footer = input.get_bytes(start, size).map_err(SealError::Parquet)?;
    Ok(Reader::of_owner(&footer).skip(Kind::Struct).map_err(InputError::ParquetFooter)?)
}

fn tail_is_encrypted(input: &Input) -> Result<bool, SealError> {
    use parquet::file::reader::{ChunkReader as _, Length as _};
    match input.len().checked_sub(4) {
        Some(start) => Ok(input.get_bytes(start, 4).map_err(SealError::Parquet)?.as_ref() == b"PARE"),
        None => Ok(false),
    }
}

fn settle(found: &ArrowSchema, declared: &Declared) -> Result<Schema, InputError> {
    check_names(found.fields().iter().map(|field| field.name().as_str()))?;
    let names: Vec<String> = found.fields().iter().map(|field| field.name().clone()).collect();
    declared.all_among(&names)?;
    let column = |field: &Arc<Field>| {
        let stated = SqlType::holding(field.data_type()).map(|data_type| (data_type, field.is_nullable()));
        let unsupported =
            || InputError::Unsupported { column: field.name().clone(), found: field.data_type().to_string() };
        let (data_type, nullable) =
            stated.map(|stated| declared.get(field.name()).unwrap_or(stated)).ok_or_else(unsupported)?;
        Ok(Column { name: field.name().clone(), data_type, nullable })
    };
    Schema::new(found.fields().iter().map(column).collect::<Result<_, InputError>>()?)
}

/// Turns batches of what was found into batches of `schema`.
fn conform(
    found: Arc<ArrowSchema>,
    batches: impl Iterator<Item = Result<RecordBatch, SealError>> + 'static,
    schema: &Schema,
) -> Result<Batches, SealError> {
    let names = schema.columns().iter().map(|column| &column.name);
    if !names.eq(found.fields().iter().map(|field| field.name())) {
        return Err(InputError::OtherSchema.into());
    }
    let schema = schema.clone();
    let mut before = 0;
    Ok(Box::new(batches.map(move |batch| {
        let batch = batch?;
        let columns = schema.columns().iter().zip(batch.columns()).map(|(column, array)| cast(column, array, before));
        let columns = columns.collect::<Result<Vec<_>, SealError>>()?;
        before += batch.num_rows() as u64;
        RecordBatch::try_new(schema.arrow(), columns).map_err(SealError::Arrow)
    })))
}

fn cast(column: &Column, array: &ArrayRef, before: u64) -> Result<ArrayRef, SealError> {
    let target = column.data_type.arrow();
    let mut cast = Arc::clone(array);
    // A time with a zone is turned into UTC first; without this step its local time would be taken.
    if let (DataType::Timestamp(_, Some(_)), SqlType::Timestamp) = (array.data_type(), column.data_type) {
        cast = convert(&cast, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
    }
    if *cast.data_type() != target {
        cast = convert(&cast, &target)?;
    }
    let missing = |array: &ArrayRef, row: usize| array.logical_nulls().is_some_and(|nulls| nulls.is_null(row));
    if cast.logical_null_count() > array.logical_null_count() {
        let row = (0..array.len()).find(|row| missing(&cast, *row) && !missing(array, *row)).unwrap_or_default();
        let shown =
            ArrayFormatter::try_new(array, &FormatOptions::default()).map(|formatter| formatter.value(row).to_string());
        let place = Place { row: before + row as u64 + 1, line: 0 };
        return Err(changed(&column.name, column.data_type, &shown.unwrap_or_default(), place).into());
    }
    if !column.nullable && cast.logical_null_count() > 0 {
        let row = (0..cast.len()).find(|row| missing(&cast, *row)).unwrap_or_default();
        return Err(InputError::Missing { row: before + row as u64 + 1, column: column.name.clone() }.into());
    }
    Ok(cast)
}

fn convert(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, SealError> {
    cast_with_options(array, target, &CastOptions { safe: true, ..CastOptions::default() }).map_err(SealError::Arrow)
}
