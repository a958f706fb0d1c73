//! Sealing a table against writing the same Parquet unencrypted.
//!
//! Both sides get the same batches, which are in memory, and write to a file with the same settings. Sealing encrypts every page,
//! and digests what it writes for the manifest.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use arrow::array::RecordBatch;
use envelope::keys::TableKey;
use table::SealError;

use crate::{
    Failure,
    measure::{median, timed},
    report::{Limit, Row},
    tpch::data,
};

/// Seals `lineitem` and writes it plain, in turns.
///
/// # Errors
/// When files cannot be written.
pub fn measure(scale: f64, repetitions: usize, folder: &Path) -> Result<Vec<Row>, Failure> {
    eprintln!("seal: generating lineitem at scale {scale}");
    let rows = data::rows("lineitem", scale)?;
    let schema = rows.schema.clone();
    let batches = rows.collect::<Result<Vec<RecordBatch>, SealError>>()?;
    let (key, file) = (TableKey::generate(), data::file_id("lineitem"));
    let (mut plain, mut sealed, mut bytes) = (Vec::new(), Vec::new(), 0);
    for repetition in 0..=repetitions {
        eprintln!("seal: repetition {repetition} of {repetitions}");
        let (plain_time, ()) = timed(|| {
            let mut writer = data::plain_writer(BufWriter::new(File::create(folder.join("plain"))?), schema.arrow())?;
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            Ok(writer.into_inner()?.flush()?)
        })?;
        let (sealed_time, written) = timed(|| {
            let output = BufWriter::new(File::create(folder.join("sealed"))?);
            Ok(table::seal_batches(batches.iter().cloned().map(Ok), &schema, &key, &file, output)?)
        })?;
        bytes = written.bytes;
        if repetition > 0 {
            plain.push(plain_time);
            sealed.push(sealed_time);
        }
    }
    let (plain, sealed) = (median(&plain), median(&sealed));
    let note =
        format!("lineitem at scale {scale}: {} MiB sealed, {:.2} s / {:.2} s", bytes >> 20, sealed / 1e3, plain / 1e3);
    Ok(vec![Row::new("sealing / writing plain Parquet", sealed / plain, "", Limit::AtMost(1.3), note)])
}
