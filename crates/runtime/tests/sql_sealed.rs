//! Queries over sealed Parquet, with the keys of some columns only.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use std::{collections::BTreeMap, io::Cursor, sync::Arc};

use agreement::documents::ColumnType;
use bytes::Bytes;
use envelope::{
    blob::{Identity, open_blob, unpad},
    keys::{ColumnKey, FileId, TableKey},
};
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use runtime::{
    release,
    sql::{self, Limits, OpenFile, RunError, SourceTable, Sources},
};
use table::{Contents, Format, Schema, Sealed, Source, SqlType};

struct SealedTrial {
    key: TableKey,
    file: FileId,
    bytes: Vec<u8>,
    contents: Contents,
}

fn sealed(of: &room::Table) -> SealedTrial {
    sealed_as(of, 1)
}

fn sealed_as(of: &room::Table, version: u64) -> SealedTrial {
    let kind = |kind: ColumnType| match kind {
        ColumnType::Bigint => SqlType::Bigint,
        ColumnType::Double => SqlType::Double,
        ColumnType::Text => SqlType::Text,
        ColumnType::Boolean => SqlType::Boolean,
        ColumnType::Date => SqlType::Date,
        ColumnType::Timestamp => SqlType::Timestamp,
    };
    let column = |c: &agreement::documents::Column| table::Column {
        name: c.name.clone(),
        data_type: kind(c.kind),
        nullable: c.nullable,
    };
    let schema = Schema::new(of.columns.iter().map(column).collect()).unwrap();
    let mut plain = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut plain, &of.batch.schema()).unwrap();
    writer.write(&of.batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let (key, file) = (TableKey::from_bytes([7; 32]), FileId { dataset: of.name.to_owned(), version, index: 0 });
    let mut bytes = Vec::new();
    let mut source = Source::new(Format::ArrowIpc, Cursor::new(plain)).unwrap();
    let written = table::seal_table(&mut source, &schema, &key, &file, &mut bytes, |_| {}).unwrap();
    SealedTrial { key, file, bytes, contents: Contents { bytes: written.bytes, digest: written.digest } }
}

impl SealedTrial {
    async fn opened(&self, columns: &[&str]) -> SourceTable {
        let store = Arc::new(InMemory::new());
        let path = Path::from("trial.0.parquet");
        store.put(&path, Bytes::from(self.bytes.clone()).into()).await.unwrap();
        let checked =
            Sealed::check(&mut Cursor::new(&self.bytes), &self.contents, &self.file, &self.key.footer(&self.file))
                .unwrap();
        let keys: BTreeMap<String, ColumnKey> =
            columns.iter().map(|c| ((*c).to_owned(), self.key.column(&self.file, c))).collect();
        let decryption = checked.decryption_properties(&keys).unwrap();
        let file = OpenFile { path, bytes: self.contents.bytes, decryption };
        SourceTable::Sealed { store: store as Arc<dyn ObjectStore>, files: vec![file] }
    }
}

#[tokio::test]
async fn sealed_and_plain_give_the_same_result_with_exactly_the_keys_that_were_asked_for() {
    let tables = room::tables();
    let trial = sealed(&tables[0]);
    for query in [
        "select arm, count(*) as n, avg(cd4) as cd4 from trial where sex = 'f' or site = 'north' group by arm",
        "select count(*) as n from trial",
        "select a.arm, sum(b.age) as age from trial a join trial b on a.patient_id = b.patient_id where b.arm <> 'C' group by a.arm",
        "select site from trial",
    ] {
        let plan = room::check(query, &tables).await.unwrap();
        let needed: Vec<&str> = plan.columns()["trial"].iter().map(String::as_str).collect();
        let sources = Sources::new().with("trial", trial.opened(&needed).await);
        let answer = sql::execute(&plan, &sources, &Limits::default()).await.unwrap();
        assert_eq!(release::encode(&answer, 1 << 20).unwrap(), room::run(&plan, &tables).await, "{query}");
    }
}

#[tokio::test]
async fn a_column_without_its_key_is_never_read() {
    let tables = room::tables();
    let trial = sealed(&tables[0]);
    let plan = room::check("select arm, avg(cd4) as cd4 from trial group by arm", &tables).await.unwrap();
    for missing in ["arm", "cd4", "patient_id"] {
        let held: Vec<&str> = ["arm", "cd4", "patient_id"].into_iter().filter(|column| *column != missing).collect();
        let sources = Sources::new().with("trial", trial.opened(&held).await);
        let failed = sql::execute(&plan, &sources, &Limits::default()).await;
        assert_eq!(failed.err(), Some(RunError::Execution), "without {missing}");
    }
}

#[tokio::test]
async fn a_file_that_was_exchanged_after_its_check_is_not_read() {
    let tables = room::tables();
    let trial = sealed(&tables[0]);
    let plan = room::check("select site from trial", &tables).await.unwrap();
    let mut plain = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut plain, tables[0].batch.schema(), None).unwrap();
    writer.write(&tables[0].batch).unwrap();
    writer.close().unwrap();
    let other_version = sealed_as(&tables[0], 2).bytes;
    for (exchanged, code) in [(plain, RunError::Inputs), (other_version, RunError::Execution)] {
        let SourceTable::Sealed { store, files } = trial.opened(&["site"]).await else { panic!() };
        let bytes = exchanged.len() as u64;
        store.put(&files[0].path, Bytes::from(exchanged).into()).await.unwrap();
        let files = vec![OpenFile { bytes, ..files[0].clone() }];
        let sources = Sources::new().with("trial", SourceTable::Sealed { store, files });
        assert_eq!(sql::execute(&plan, &sources, &Limits::default()).await.err(), Some(code));
    }
}

#[tokio::test]
async fn only_a_recipient_opens_the_result() {
    let tables = room::tables();
    let plan = room::check("select arm, count(*) as n from trial group by arm", &tables).await.unwrap();
    let sources = Sources::new().with("trial", SourceTable::Memory(vec![tables[0].batch.clone()]));
    let answer = sql::execute(&plan, &sources, &Limits::default()).await.unwrap();
    let (recipient, other) = (Identity::generate(), Identity::generate());
    let result = release::seal_result(&answer, &[recipient.recipient()], 1 << 20).unwrap();
    assert_eq!(result.digest, envelope::Digest::of(&result.bytes));
    let mut opened = Vec::new();
    open_blob(result.bytes.as_slice(), &recipient, &mut opened).unwrap();
    assert_eq!(unpad(&opened), b"arm,n\nA,8\nB,6\n");
    assert!(open_blob(result.bytes.as_slice(), &other, &mut Vec::new()).is_err());
    assert_eq!(release::seal_result(&answer, &[], 1 << 20).err(), Some(RunError::Sealing));
}
