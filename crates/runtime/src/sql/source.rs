//! Where the rows of a run come from: sealed files that were checked, with the keys that were released.
//!
//! A table is exactly the files that it is given, in their order; nothing is listed or discovered. The Parquet reader gets
//! decryption properties for each file by its path and fails for a file that has none, so a plain file is never read in a
//! sealed one's place.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::{MemTable, Session, TableProvider},
    common::{Statistics, config::EncryptionFactoryOptions, config::TableParquetOptions, stats::Precision},
    datasource::{
        TableType,
        listing::PartitionedFile,
        object_store::ObjectStoreUrl,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
    },
    error::{DataFusionError, Result},
    execution::parquet_encryption::EncryptionFactory,
    logical_expr::Expr,
    physical_plan::ExecutionPlan,
};
use object_store::{ObjectStore, path::Path};
use parquet::encryption::{decrypt::FileDecryptionProperties, encrypt::FileEncryptionProperties};

/// The tables of a run, by the names that its query uses.
#[derive(Default)]
pub struct Sources {
    pub(crate) tables: BTreeMap<String, SourceTable>,
}

/// The rows of one table.
pub enum SourceTable {
    /// Sealed Parquet files in an object store.
    Sealed {
        /// Where they lie.
        store: Arc<dyn ObjectStore>,
        /// All of them, in the manifest's order.
        files: Vec<OpenFile>,
    },
    /// Rows in memory, in the table's schema.
    Memory(Vec<RecordBatch>),
}

/// A sealed file that passed [`table::Sealed::check`], and how to decrypt it.
#[derive(Clone)]
pub struct OpenFile {
    /// Its place in the store.
    pub path: Path,
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// From [`table::Sealed::decryption_properties`]: the keys that were released, and the file's AAD prefix.
    pub decryption: Arc<FileDecryptionProperties>,
}

impl Sources {
    /// No tables yet.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Adds a table under the name that the query uses; a table of that name is replaced.
    #[must_use]
    pub fn with(mut self, name: &str, table: SourceTable) -> Sources {
        self.tables.insert(name.to_owned(), table);
        self
    }
}

/// The object store's name for a table, which only the scan uses.
pub(crate) fn store_url(place: usize) -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(format!("sealed://table{place}/"))
}

/// Whether the files are still encrypted. The Parquet library takes a plain file even from a reader that has keys.
pub(crate) async fn still_sealed(table: &SourceTable) -> bool {
    let SourceTable::Sealed { store, files } = table else { return true };
    for file in files {
        let Some(tail) = file.bytes.checked_sub(4).filter(|tail| *tail >= 4) else { return false };
        let ends = store.get_ranges(&file.path, &[0..4, tail..file.bytes]).await;
        if !ends.is_ok_and(|ends| ends.len() == 2 && ends.iter().all(|end| end.as_ref() == b"PARE")) {
            return false;
        }
    }
    true
}

/// A table for the engine.
pub(crate) fn provider(table: &SourceTable, schema: SchemaRef, url: ObjectStoreUrl) -> Result<Arc<dyn TableProvider>> {
    Ok(match table {
        SourceTable::Sealed { files, .. } => Arc::new(SealedTable { schema, url, files: files.clone() }),
        SourceTable::Memory(batches) => {
            let batches = batches.iter().map(|batch| in_schema(batch, &schema)).collect::<Result<Vec<_>>>()?;
            Arc::new(MemTable::try_new(schema, vec![batches])?)
        }
    })
}

/// The same rows in the types of the table's schema.
fn in_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::new();
    for field in schema.fields() {
        let column = batch
            .column_by_name(field.name())
            .ok_or_else(|| DataFusionError::Execution("a column is missing".to_owned()))?;
        columns.push(datafusion::arrow::compute::cast(column, field.data_type())?);
    }
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

#[derive(Clone)]
struct SealedTable {
    schema: SchemaRef,
    url: ObjectStoreUrl,
    files: Vec<OpenFile>,
}

#[async_trait]
impl TableProvider for SealedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let keys = self.files.iter().map(|file| (file.path.clone(), file.decryption.clone())).collect();
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_encryption_factory(Arc::new(ReleasedKeys { keys }));
        let files: FileGroup =
            self.files.iter().map(|file| PartitionedFile::new(file.path.as_ref().to_owned(), file.bytes)).collect();
        let mut statistics = Statistics::new_unknown(&self.schema);
        let rows = self.files.iter().map(|file| file.rows).sum::<u64>();
        statistics.num_rows = Precision::Inexact(usize::try_from(rows).unwrap_or(usize::MAX));
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_group(files)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_statistics(statistics)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// The keys of one table's files, by path.
struct ReleasedKeys {
    keys: BTreeMap<Path, Arc<FileDecryptionProperties>>,
}

#[async_trait]
impl EncryptionFactory for ReleasedKeys {
    async fn get_file_encryption_properties(
        &self,
        _config: &EncryptionFactoryOptions,
        _schema: &SchemaRef,
        _file_path: &Path,
    ) -> Result<Option<Arc<FileEncryptionProperties>>> {
        Err(DataFusionError::Execution("a run writes no files".to_owned()))
    }

    async fn get_file_decryption_properties(
        &self,
        _config: &EncryptionFactoryOptions,
        file_path: &Path,
    ) -> Result<Option<Arc<FileDecryptionProperties>>> {
        match self.keys.get(file_path) {
            Some(properties) => Ok(Some(properties.clone())),
            None => Err(DataFusionError::Execution("a file without keys".to_owned())),
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tables.keys()).finish()
    }
}

impl fmt::Debug for SealedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedTable")
    }
}

impl fmt::Debug for ReleasedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReleasedKeys")
    }
}
