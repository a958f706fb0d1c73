//! Sealing: batches in, encrypted Parquet out.
//!
//! The footer and every column have a key of their own, derived from the table's key and the file's identity. The AAD
//! prefix is that identity and is not stored. Row groups are bounded in rows and bytes, so memory is too. Statistics are
//! kept per column chunk, inside its encrypted metadata, where engines find them; page indexes are not written, because a
//! reader that holds only some column keys could not load them. Bloom filters are forced off: the Parquet library writes
//! them in the clear. The Arrow schema is left out: the SQL types say the same.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, StringArray},
    record_batch::RecordBatch,
};
use envelope::{
    Digest,
    keys::{FileId, TableKey},
};
use parquet::{
    arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    encryption::encrypt::FileEncryptionProperties,
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties},
};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{InputError, SealError},
    schema::{Column, Schema, SqlType},
    source::Source,
};

/// What a manifest says about a file that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedFile {
    /// Rows of the table.
    pub rows: u64,
    /// Columns of the table.
    pub schema: Schema,
    /// The digest of the ciphertext.
    pub digest: Digest,
    /// The length of the ciphertext in bytes.
    pub bytes: u64,
}

/// This program does not encrypt what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelfCheckError {
    /// The canary could not be sealed at all.
    #[error("a test table cannot be sealed")]
    Failed,
    /// The canary's value or column name stands in what was written.
    #[error("a test table was written without encryption\nhint: this build lacks Parquet encryption; do not use it")]
    Readable,
}

/// Seals a whole table into `output`. `progress` is called after each batch with the number of input bytes read so far.
///
/// On an error the output holds a part of a file, which the caller must discard.
pub fn seal_table<W: Write + Send>(
    source: &mut Source,
    schema: &Schema,
    key: &TableKey,
    file: &FileId,
    output: W,
    mut progress: impl FnMut(u64),
) -> Result<SealedFile, SealError> {
    let batches = source.batches(schema)?;
    let sealed = seal_batches(batches.inspect(|_| progress(source.progress())), schema, key, file, output)?;
    progress(source.length());
    Ok(sealed)
}

/// Seals batches of `schema` that the caller already has. An empty table is refused.
pub fn seal_batches<W: Write + Send>(
    batches: impl Iterator<Item = Result<RecordBatch, SealError>>,
    schema: &Schema,
    key: &TableKey,
    file: &FileId,
    output: W,
) -> Result<SealedFile, SealError> {
    let (rows, written) = write(batches, schema, encryption(schema, key, file)?, output)?;
    Ok(SealedFile {
        rows,
        schema: schema.clone(),
        digest: Digest::from_bytes(written.hash.finalize().into()),
        bytes: written.bytes,
    })
}

/// Seals a table with a known value and looks for it in the result. Programs call this once, before they seal anything.
///
/// A Parquet library built without its encryption accepts the same calls and writes plain text.
pub fn self_check() -> Result<(), SelfCheckError> {
    let column = Column { name: "canary_column".into(), data_type: SqlType::Text, nullable: false };
    let schema = Schema::new(vec![column]).map_err(|_| SelfCheckError::Failed)?;
    let values: ArrayRef = Arc::new(StringArray::from(vec![CANARY; 4]));
    let batch = RecordBatch::try_new(schema.arrow(), vec![values]).map_err(|_| SelfCheckError::Failed)?;
    let file = FileId { dataset: "canary".into(), version: 1, index: 0 };
    let mut output = Vec::new();
    match seal_batches([Ok(batch)].into_iter(), &schema, &TableKey::from_bytes([1; 32]), &file, &mut output) {
        Ok(_) => {}
        Err(SealError::NotEncrypted) => return Err(SelfCheckError::Readable),
        Err(_) => return Err(SelfCheckError::Failed),
    }
    let readable = |text: &str| output.windows(text.len()).any(|window| window == text.as_bytes());
    if readable(CANARY) || readable("canary_column") { Err(SelfCheckError::Readable) } else { Ok(()) }
}

/// Writes batches with any encryption; gives the rows and what was written, which starts and ends as encrypted files do.
pub(crate) fn write<W: Write + Send>(
    batches: impl Iterator<Item = Result<RecordBatch, SealError>>,
    schema: &Schema,
    encryption: Arc<FileEncryptionProperties>,
    output: W,
) -> Result<(u64, Written), SealError> {
    let mut output = Hashing { output, written: Written::default() };
    let options = ArrowWriterOptions::new().with_properties(properties(encryption)?).with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(&mut output, schema.arrow(), options).map_err(SealError::Write)?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(SealError::Write)?;
    }
    if rows == 0 {
        return Err(InputError::Empty.into());
    }
    writer.close().map_err(SealError::Write)?;
    output.flush().map_err(|error| SealError::Write(error.into()))?;
    if output.written.head != *b"PARE" || !output.written.tail.ends_with(b"PARE") {
        return Err(SealError::NotEncrypted);
    }
    Ok((rows, output.written))
}

/// What went through to the output.
#[derive(Default)]
pub(crate) struct Written {
    hash: Sha256,
    bytes: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

fn encryption(schema: &Schema, key: &TableKey, file: &FileId) -> Result<Arc<FileEncryptionProperties>, SealError> {
    let mut builder = FileEncryptionProperties::builder(key.footer(file).as_bytes().to_vec())
        .with_plaintext_footer(false)
        .with_aad_prefix(file.aad_prefix())
        .with_aad_prefix_storage(false);
    for column in schema.columns() {
        builder = builder.with_column_key(&column.name, key.column(file, &column.name).as_bytes().to_vec());
    }
    builder.build().map_err(SealError::Write)
}

fn properties(encryption: Arc<FileEncryptionProperties>) -> Result<WriterProperties, SealError> {
    let level = ZstdLevel::try_new(3).map_err(|error: ParquetError| SealError::Write(error))?;
    Ok(WriterProperties::builder()
        .set_created_by("glovebox".into())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(MAX_GROUP_ROWS))
        .set_max_row_group_bytes(Some(MAX_GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_bloom_filter_enabled(false)
        .with_file_encryption_properties(encryption)
        .build())
}

/// Passes bytes on, and keeps their digest, their number, the first four and the last four.
struct Hashing<W> {
    output: W,
    written: Written,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        let bytes = bytes.get(..count).unwrap_or_default();
        let written = &mut self.written;
        written.hash.update(bytes);
        written.bytes += count as u64;
        let missing = 4_usize.saturating_sub(written.head.len());
        written.head.extend(bytes.iter().take(missing));
        written.tail.extend(bytes.iter().skip(bytes.len().saturating_sub(4)));
        let surplus = written.tail.len().saturating_sub(4);
        written.tail.drain(..surplus);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Rows in a row group: what engines are tuned for.
const MAX_GROUP_ROWS: usize = 1 << 20;

/// Bytes in a row group before compression: bounds the memory of sealing.
const MAX_GROUP_BYTES: usize = 128 << 20;

const CANARY: &str = "glovebox-canary-9c1f7d02";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_3_this_build_encrypts() {
        assert_eq!(self_check(), Ok(()));
    }
}
