//! Where the rows of a run come from: sealed files that were checked, with the keys that were released.
//!
//! A table is exactly the files that it is given, in their order; nothing is listed or discovered. Each file's footer is opened
//! once for a run, with the keys that were released for this file, and every reader goes by that footer alone. A file without one is not
//! read, so a plain file is never read in a sealed one's place.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::{MemTable, Session, TableProvider},
    common::{Statistics, config::TableParquetOptions},
    datasource::{
        TableType,
        listing::PartitionedFile,
        object_store::ObjectStoreUrl,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
            parquet::{ParquetAccessPlan, RowGroupAccess, metadata::DFParquetMetadata},
        },
        source::DataSourceExec,
    },
    error::{DataFusionError, Result},
    logical_expr::Expr,
    physical_plan::{ExecutionPlan, metrics::ExecutionPlanMetricsSet},
};
use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    encryption::decrypt::FileDecryptionProperties,
    errors::ParquetError,
    file::metadata::{PageIndexPolicy, ParquetMetaData},
};

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
pub(crate) async fn provider(
    table: &SourceTable,
    schema: SchemaRef,
    url: ObjectStoreUrl,
) -> Result<Arc<dyn TableProvider>> {
    Ok(match table {
        SourceTable::Sealed { store, files } => {
            let footers = Footers::open(store, files).await?;
            let statistics = footers.statistics(&schema)?;
            Arc::new(SealedTable { schema, url, statistics, footers: Arc::new(footers), files: files.clone() })
        }
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

struct SealedTable {
    schema: SchemaRef,
    url: ObjectStoreUrl,
    statistics: Statistics,
    footers: Arc<Footers>,
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
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(self.footers.clone());
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(self.footers.shares(&self.files, state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_statistics(self.statistics.clone())
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

fn partitioned(file: &OpenFile) -> PartitionedFile {
    PartitionedFile::new(file.path.as_ref().to_owned(), file.bytes)
}

/// The footers of one table's files, opened with the keys that were released. Of a column without its key they hold nothing.
struct Footers {
    store: Arc<dyn ObjectStore>,
    footers: BTreeMap<Path, Arc<ParquetMetaData>>,
}

impl Footers {
    async fn open(store: &Arc<dyn ObjectStore>, files: &[OpenFile]) -> Result<Footers> {
        let mut footers = BTreeMap::new();
        for file in files {
            let place = partitioned(file).object_meta;
            let footer = DFParquetMetadata::new(store.as_ref(), &place)
                .with_decryption_properties(Some(file.decryption.clone()))
                .with_page_index_policy(Some(PageIndexPolicy::Skip))
                .fetch_metadata()
                .await?;
            footers.insert(file.path.clone(), footer);
        }
        Ok(Footers { store: store.clone(), footers })
    }

    /// The row groups in even shares, one for each part of a plan that works at once. The engine's own way, which [`super::parse::config`] turns off, is to
    /// look where the first column of a row group begins, and a reader without that column's key does not know.
    fn shares(&self, files: &[OpenFile], parts: usize) -> Vec<FileGroup> {
        let groups = |file: &OpenFile| self.footers.get(&file.path).map_or(0, |footer| footer.num_row_groups());
        let total: usize = files.iter().map(groups).sum();
        let mut shares = vec![Vec::new(); parts.clamp(1, total.max(1))];
        let (parts, mut before) = (shares.len(), 0);
        for file in files {
            let groups = groups(file);
            let share_of = |group: usize| (before + group) * parts / total.max(1);
            for (part, share) in shares.iter_mut().enumerate() {
                let access = |group| if share_of(group) == part { RowGroupAccess::Scan } else { RowGroupAccess::Skip };
                let access: Vec<_> = (0..groups).map(access).collect();
                if access.contains(&RowGroupAccess::Scan) {
                    share.push(partitioned(file).with_extension(ParquetAccessPlan::new(access)));
                }
            }
            before += groups;
        }
        shares.into_iter().map(FileGroup::new).collect()
    }

    /// What the footers say of the columns, as estimates: a plan may follow them, and no answer is ever taken from them,
    /// since who sealed the file wrote them as they liked.
    fn statistics(&self, schema: &SchemaRef) -> Result<Statistics> {
        let each =
            self.footers.values().map(|footer| DFParquetMetadata::statistics_from_parquet_metadata(footer, schema));
        Ok(Statistics::try_merge_iter(&each.collect::<Result<Vec<_>>>()?, schema)?.to_inexact())
    }
}

impl ParquetFileReaderFactory for Footers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let path = file.object_meta.location;
        let footer =
            self.footers.get(&path).ok_or_else(|| DataFusionError::Execution("a file without keys".to_owned()))?;
        Ok(Box::new(SealedReader { store: self.store.clone(), footer: footer.clone(), path }))
    }
}

/// Reads a file whose footer is open.
struct SealedReader {
    store: Arc<dyn ObjectStore>,
    footer: Arc<ParquetMetaData>,
    path: Path,
}

impl AsyncFileReader for SealedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.store.get_range(&self.path, range).map_err(|error| ParquetError::External(Box::new(error))).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move {
            let read = self.store.get_ranges(&self.path, &ranges).await;
            read.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let footer = self.footer.clone();
        async move { Ok(footer) }.boxed()
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

impl fmt::Debug for Footers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Footers")
    }
}
