//! Giving a sealed table to software that does not know Glovebox.
//!
//! A sealed table has a key per column and an AAD prefix that is not stored. The Parquet libraries of other languages
//! offer per-column keys only through interfaces that cannot be given such a prefix, so the owner's way out is a copy:
//! uniformly encrypted with one key of the owner's choice, with or without a prefix.

use std::io::{Read, Seek, SeekFrom, Write};

use envelope::keys::{ColumnKey, FileId, TableKey};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder, encryption::encrypt::FileEncryptionProperties,
    errors::ParquetError,
};

use crate::{
    error::SealError,
    open::{Contents, OpenError, Sealed},
    schema::{Column, Schema, SqlType},
    source::{BATCH_ROWS, Format, ReadSeek, Source},
};

/// Writes a copy of a sealed table that one key opens (AES-256-GCM, encrypted footer, uniform); returns its rows.
///
/// `prefix` becomes the copy's AAD prefix, which its reader must supply; it is not stored either.
pub fn export_uniform<W: Write + Send>(
    mut sealed: impl ReadSeek + 'static,
    contents: &Contents,
    key: &TableKey,
    file: &FileId,
    copy: (&ColumnKey, Option<&[u8]>),
    output: W,
) -> Result<u64, SealError> {
    let checked = Sealed::check(&mut sealed, contents, file, &key.footer(file))?;
    let keys = checked.columns().iter().map(|name| (name.clone(), key.column(file, name))).collect();
    checked.check_columns(&mut sealed, &keys)?;
    let options = checked.reader_options(&keys)?;
    let input = Source::new(Format::Parquet, sealed)?.into_input();
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(input, options).map_err(SealError::Parquet)?;
    let columns = builder.schema().fields().iter().map(|field| {
        let data_type = SqlType::holding(field.data_type()).ok_or(OpenError::ForeignSchema)?;
        Ok(Column { name: field.name().clone(), data_type, nullable: field.is_nullable() })
    });
    let schema = Schema::new(columns.collect::<Result<_, OpenError>>()?)?;
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(SealError::Parquet)?;
    let batches =
        reader.map(|batch| batch.map_err(|error| SealError::Parquet(ParquetError::ArrowError(error.to_string()))));
    let mut encryption = FileEncryptionProperties::builder(copy.0.as_bytes().to_vec());
    if let Some(prefix) = copy.1 {
        encryption = encryption.with_aad_prefix(prefix.to_vec()).with_aad_prefix_storage(false);
    }
    let (rows, _) = crate::seal::write(batches, &schema, encryption.build().map_err(SealError::Write)?, output)?;
    Ok(rows)
}

/// The contents of a stream, for callers that hold the file but not its manifest.
impl Contents {
    /// Reads a stream from its start to its end and measures it.
    pub fn of(input: &mut (impl Read + Seek)) -> std::io::Result<Contents> {
        input.seek(SeekFrom::Start(0))?;
        crate::open::measure(input)
    }
}
