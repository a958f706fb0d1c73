//! What the tests of this crate share: a small table, its keys, and a sealed copy of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, dead_code, missing_docs, unreachable_pub)]

use std::{collections::BTreeMap, io::Cursor, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    compute::concat_batches,
};
use bytes::Bytes;
use envelope::keys::{ColumnKey, FileId, TableKey};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use table::{
    Column, Contents, Declared, Format, OpenError, Schema, SealError, Sealed, SealedFile, Source, SqlType,
    infer_schema, seal_batches, seal_table,
};

pub fn key() -> TableKey {
    TableKey::from_bytes([7; 32])
}

pub fn file(version: u64, index: u32) -> FileId {
    FileId { dataset: "admissions".into(), version, index }
}

pub fn source(format: Format, bytes: impl Into<Vec<u8>>) -> Source {
    Source::new(format, Cursor::new(bytes.into())).unwrap()
}

/// Infers and seals in one go.
pub fn seal(
    format: Format,
    bytes: impl Into<Vec<u8>>,
    declared: &[(&str, &str)],
) -> Result<(SealedFile, Vec<u8>), SealError> {
    let pairs: Vec<_> = declared.iter().map(|(name, word)| ((*name).to_owned(), (*word).to_owned())).collect();
    let mut source = source(format, bytes);
    let schema = infer_schema(&mut source, &Declared::parse(&pairs)?)?;
    let mut output = Vec::new();
    let sealed = seal_table(&mut source, &schema, &key(), &file(1, 0), &mut output, |_| {})?;
    Ok((sealed, output))
}

/// A table of three columns whose values are easy to find in a file.
pub fn batch(rows: i64) -> (Schema, RecordBatch) {
    let column = |name: &str, data_type| Column { name: name.into(), data_type, nullable: true };
    let schema = Schema::new(vec![
        column("patient", SqlType::Bigint),
        column("diagnosis", SqlType::Text),
        column("score", SqlType::Double),
    ])
    .unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * 3))),
        Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("diagnosis-{row:06}")))),
        Arc::new(Float64Array::from_iter((0..rows).map(|row| (row % 5 != 0).then_some(row as f64 / 7.0)))),
    ];
    let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    (schema, batch)
}

pub fn seal_rows(rows: i64, key: &TableKey, file: &FileId) -> Vec<u8> {
    let (schema, batch) = batch(rows);
    let mut output = Vec::new();
    seal_batches([Ok(batch)].into_iter(), &schema, key, file, &mut output).unwrap();
    output
}

pub fn contents(bytes: &[u8]) -> Contents {
    Contents::of(&mut Cursor::new(bytes)).unwrap()
}

/// Steps 1 to 6 with all keys, for bytes that the manifest is taken to name.
pub fn check(bytes: &[u8], key: &TableKey, file: &FileId) -> Result<Sealed, OpenError> {
    let sealed = Sealed::check(&mut Cursor::new(bytes), &contents(bytes), file, &key.footer(file))?;
    sealed.check_columns(&mut Cursor::new(bytes), &all_keys(&sealed, key, file))?;
    Ok(sealed)
}

pub fn all_keys(sealed: &Sealed, key: &TableKey, file: &FileId) -> BTreeMap<String, ColumnKey> {
    sealed.columns().iter().map(|name| (name.clone(), key.column(file, name))).collect()
}

pub fn some_keys(names: &[&str], key: &TableKey, file: &FileId) -> BTreeMap<String, ColumnKey> {
    names.iter().map(|name| ((*name).to_owned(), key.column(file, name))).collect()
}

/// Reads some columns, given by their places, with some keys.
pub fn read(
    bytes: &[u8],
    sealed: &Sealed,
    keys: &BTreeMap<String, ColumnKey>,
    places: Option<Vec<usize>>,
) -> parquet::errors::Result<RecordBatch> {
    let options = sealed.reader_options(keys).unwrap();
    let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::copy_from_slice(bytes), options)?;
    if let Some(places) = places {
        let mask = ProjectionMask::leaves(builder.parquet_schema(), places);
        builder = builder.with_projection(mask);
    }
    let reader = builder.build()?;
    let schema = arrow::record_batch::RecordBatchReader::schema(&reader);
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

pub fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
