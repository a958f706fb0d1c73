//! The eight tables, generated once and written twice from the same batches: plain, and sealed.
//!
//! Both writers have the same settings, so that encryption is the only difference. Types are those of sealed tables: whole numbers
//! are `bigint`, money is `double`.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    sync::Arc,
};

use agreement::documents::{Column, ColumnRule, ColumnType, TableRules};
use arrow::{
    array::{RecordBatch, RecordBatchReader},
    compute::cast,
    datatypes::{DataType, SchemaRef},
};
use envelope::keys::{FileId, TableKey};
use parquet::{
    arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
};
use table::{Contents, Schema, SealError, SealedFile, SqlType};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use crate::Failure;

/// The tables' names.
pub const TABLES: [&str; 8] = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"];

/// One table in both forms.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, all of them `open`.
    pub columns: Vec<Column>,
    /// Its thresholds, which say nothing without an entity.
    pub rules: TableRules,
    /// The plain Parquet file.
    pub plain: PathBuf,
    /// The sealed one.
    pub sealed: PathBuf,
    /// The sealed one's key.
    pub key: TableKey,
    /// The sealed one's identity.
    pub file: FileId,
    /// The sealed one's length and digest.
    pub contents: Contents,
}

/// Rows of a table, in the types of sealed tables.
pub struct Rows {
    /// The sealed schema.
    pub schema: Schema,
    batches: Box<dyn RecordBatchReader + Send>,
}

/// Generates all tables at a scale and writes them into a folder, plain and sealed.
///
/// # Errors
/// When files cannot be written.
pub fn generate(scale: f64, folder: &Path) -> Result<Vec<Table>, Failure> {
    TABLES.into_iter().map(|name| write(name, scale, folder)).collect()
}

/// The rows of a table.
///
/// # Errors
/// When there is no such table.
pub fn rows(name: &str, scale: f64) -> Result<Rows, Failure> {
    let batches: Box<dyn RecordBatchReader + Send> = match name {
        "region" => Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
        "nation" => Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1))),
        "supplier" => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
        "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
        "part" => Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1))),
        "partsupp" => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
        "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
        "lineitem" => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
        _ => return Err(format!("TPC-H has no table `{name}`").into()),
    };
    let generated = batches.schema();
    let columns = generated.fields().iter().map(|field| {
        Ok(table::Column { name: field.name().clone(), data_type: sealed_type(field.data_type())?, nullable: false })
    });
    let schema = Schema::new(columns.collect::<Result<_, Failure>>()?)?;
    Ok(Rows { schema, batches })
}

/// Writes plain Parquet with the settings that sealing uses.
///
/// # Errors
/// When the writer cannot be made.
pub fn plain_writer<W: std::io::Write + Send>(output: W, schema: SchemaRef) -> Result<ArrowWriter<W>, Failure> {
    let properties = WriterProperties::builder()
        .set_created_by("glovebox".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(1 << 20))
        .set_max_row_group_bytes(Some(128 << 20))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_bloom_filter_enabled(false)
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    Ok(ArrowWriter::try_new_with_options(output, schema, options)?)
}

/// The identity under which a table is sealed.
pub fn file_id(name: &str) -> FileId {
    FileId { dataset: format!("tpch-{name}"), version: 1, index: 0 }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, SealError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        let schema = self.schema.arrow();
        let conform = |batch: RecordBatch| {
            let columns =
                batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
            RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_, _>>()?)
        };
        Some(batch.and_then(conform).map_err(SealError::Arrow))
    }
}

fn write(name: &'static str, scale: f64, folder: &Path) -> Result<Table, Failure> {
    let (plain, sealed) = (folder.join(format!("{name}.parquet")), folder.join(format!("{name}.sealed")));
    let rows = rows(name, scale)?;
    let schema = rows.schema.clone();
    let columns = schema.columns().iter().map(document).collect();
    let mut writer = plain_writer(BufWriter::new(File::create(&plain)?), schema.arrow())?;
    let (key, file) = (TableKey::generate(), file_id(name));
    let both = rows.map(|batch| {
        let batch = batch?;
        writer.write(&batch).map_err(SealError::Write)?;
        Ok(batch)
    });
    let SealedFile { digest, bytes, .. } =
        table::seal_batches(both, &schema, &key, &file, BufWriter::new(File::create(&sealed)?))?;
    writer.close()?;
    let rules = TableRules { min_entities: 1, max_rows_per_entity: 1 };
    Ok(Table { name, columns, rules, plain, sealed, key, file, contents: Contents { bytes, digest } })
}

fn sealed_type(kind: &DataType) -> Result<SqlType, Failure> {
    match kind {
        DataType::Int32 | DataType::Int64 => Ok(SqlType::Bigint),
        DataType::Decimal128(_, _) => Ok(SqlType::Double),
        DataType::Utf8 | DataType::Utf8View => Ok(SqlType::Text),
        DataType::Date32 => Ok(SqlType::Date),
        other => Err(format!("a generated column is of type {other}").into()),
    }
}

/// A column as a manifest has it.
fn document(column: &table::Column) -> Column {
    let kind = match column.data_type {
        SqlType::Bigint => ColumnType::Bigint,
        SqlType::Double => ColumnType::Double,
        SqlType::Date => ColumnType::Date,
        _ => ColumnType::Text,
    };
    Column { name: column.name.clone(), kind, nullable: column.nullable, rule: ColumnRule::Open {} }
}
