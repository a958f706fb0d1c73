//! The four traps of Parquet Modular Encryption, and the adversarial cases D1 to D4 and D6.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod room;

use std::{collections::BTreeMap, io::Cursor};

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use envelope::keys::{FileId, TableKey};
use parquet::{
    arrow::ArrowWriter,
    encryption::encrypt::{EncryptionPropertiesBuilder, FileEncryptionProperties},
    file::properties::{WriterProperties, WriterPropertiesBuilder},
};
use room::*;
use table::{Contents, OpenError, Sealed, SelfCheckError, ThriftError, self_check};

/// A file as another writer would make it, with our keys.
fn written(
    rows: i64,
    encryption: impl Fn(EncryptionPropertiesBuilder) -> EncryptionPropertiesBuilder,
    properties: impl Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Vec<u8> {
    let (schema, batch) = batch(rows);
    let file = file(1, 0);
    let mut builder =
        FileEncryptionProperties::builder(key().footer(&file).as_bytes().to_vec()).with_aad_prefix(file.aad_prefix());
    for column in schema.columns() {
        builder = builder.with_column_key(&column.name, key().column(&file, &column.name).as_bytes().to_vec());
    }
    let encryption = encryption(builder).build().unwrap();
    let properties = properties(
        WriterProperties::builder()
            .set_offset_index_disabled(true)
            .set_statistics_enabled(parquet::file::properties::EnabledStatistics::Chunk)
            .with_file_encryption_properties(encryption),
    );
    let mut output = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut output, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    output
}

fn refused(bytes: &[u8]) -> OpenError {
    check(bytes, &key(), &file(1, 0)).unwrap_err()
}

#[test]
fn a_sealed_file_passes_every_step() {
    let bytes = seal_rows(5_000, &key(), &file(1, 0));
    let sealed = check(&bytes, &key(), &file(1, 0)).unwrap();
    assert_eq!(sealed.rows(), 5_000);
    assert_eq!(sealed.columns(), ["patient", "diagnosis", "score"]);
    assert_eq!(read(&bytes, &sealed, &all_keys(&sealed, &key(), &file(1, 0)), None).unwrap(), batch(5_000).1);
}

#[test]
fn a_file_of_another_writer_with_our_keys_passes_too() {
    // The refusals below are about what each test changes, not about the writer.
    assert!(check(&written(100, |e| e, |p| p), &key(), &file(1, 0)).is_ok());
}

#[test]
fn d4_trap_1_no_bloom_filter_and_no_plaintext_is_written() {
    let bytes = seal_rows(20_000, &key(), &file(1, 0));
    for row in (0..20_000).step_by(37) {
        assert!(!contains(&bytes, format!("diagnosis-{row:06}").as_bytes()), "row {row}");
    }
    for word in ["diagnosis", "patient", "score", "admissions", "schema", "glovebox"] {
        assert!(!contains(&bytes, word.as_bytes()), "{word}");
    }
    assert!(contains(&bytes, b"PARE"));
}

#[test]
fn d4_a_bloom_filter_on_an_encrypted_column_is_refused() {
    let bytes = written(100, |e| e, |p| p.set_bloom_filter_enabled(true));
    assert_eq!(refused(&bytes), OpenError::BloomFilter { column: "patient".into() });
}

#[test]
fn d3_trap_2_a_plain_file_is_refused() {
    let (_, batch) = batch(10);
    let mut output = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut output, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert_eq!(refused(&output), OpenError::Plain);
}

#[test]
fn d3_a_plaintext_footer_is_refused() {
    assert_eq!(refused(&written(100, |e| e.with_plaintext_footer(true), |p| p)), OpenError::Plain);
}

#[test]
fn d3_a_head_without_its_tail_is_refused() {
    let mut bytes = seal_rows(10, &key(), &file(1, 0));
    let end = bytes.len() - 1;
    bytes[end] = b'1';
    assert_eq!(refused(&bytes), OpenError::Plain);
    assert_eq!(refused(b"PARE"), OpenError::NotParquet);
    assert_eq!(refused(b"something else altogether"), OpenError::NotParquet);
}

#[test]
fn trap_3_the_self_check_passes_in_this_build() {
    assert_eq!(self_check(), Ok::<(), SelfCheckError>(()));
}

#[test]
fn d3_trap_4_a_stored_or_missing_prefix_is_refused() {
    assert_eq!(refused(&written(100, |e| e.with_aad_prefix_storage(true), |p| p)), OpenError::StoredPrefix);
    let (schema, batch) = batch(10);
    let mut builder = FileEncryptionProperties::builder(key().footer(&file(1, 0)).as_bytes().to_vec());
    for column in schema.columns() {
        builder = builder.with_column_key(&column.name, vec![1; 32]);
    }
    let properties = WriterProperties::builder().with_file_encryption_properties(builder.build().unwrap()).build();
    let mut output = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut output, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert_eq!(refused(&output), OpenError::NoPrefix);
}

#[test]
fn d3_aes_gcm_ctr_is_refused() {
    // FileCryptoMetaData { 1: union { 2: AES_GCM_CTR_V1 { 2: unique, 3: supply } } }
    let description = [0x1c, 0x2c, 0x28, 0x01, 0x55, 0x11, 0x00, 0x00, 0x00];
    assert_eq!(refused(&framed(&description, &[0; 64])), OpenError::Algorithm);
}

#[test]
fn a_uniformly_encrypted_file_is_refused() {
    let (_, batch) = batch(10);
    let file = file(1, 0);
    let builder =
        FileEncryptionProperties::builder(key().footer(&file).as_bytes().to_vec()).with_aad_prefix(file.aad_prefix());
    let properties = WriterProperties::builder()
        .set_offset_index_disabled(true)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::Chunk);
    let properties = properties.with_file_encryption_properties(builder.build().unwrap()).build();
    let mut output = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut output, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert_eq!(refused(&output), OpenError::NotEncrypted { column: "patient".into() });
}

#[test]
fn a_column_left_in_the_clear_is_refused() {
    let (_, batch) = batch(10);
    let file = file(1, 0);
    let builder =
        FileEncryptionProperties::builder(key().footer(&file).as_bytes().to_vec()).with_aad_prefix(file.aad_prefix());
    let builder = builder.with_column_key("patient", key().column(&file, "patient").as_bytes().to_vec());
    let properties = WriterProperties::builder()
        .set_offset_index_disabled(true)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::Chunk);
    let properties = properties.with_file_encryption_properties(builder.build().unwrap()).build();
    let mut output = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut output, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert_eq!(refused(&output), OpenError::NotEncrypted { column: "diagnosis".into() });
}

#[test]
fn d2_another_file_version_or_dataset_does_not_open() {
    let bytes = seal_rows(100, &key(), &file(1, 0));
    for other in [file(2, 0), file(1, 1), FileId { dataset: "registry".into(), version: 1, index: 0 }] {
        assert_eq!(check(&bytes, &key(), &other).unwrap_err(), OpenError::Footer, "{other:?}");
        // Even with the right keys, the prefix alone tells files apart.
        let keys = key().footer(&file(1, 0));
        assert_eq!(
            Sealed::check(&mut Cursor::new(&bytes), &contents(&bytes), &other, &keys).unwrap_err(),
            OpenError::Footer
        );
    }
    assert_eq!(check(&bytes, &TableKey::from_bytes([8; 32]), &file(1, 0)).unwrap_err(), OpenError::Footer);
}

#[test]
fn d2_only_the_file_that_the_manifest_names_is_read() {
    let (one, two) = (seal_rows(100, &key(), &file(1, 0)), seal_rows(100, &key(), &file(1, 0)));
    let footer = key().footer(&file(1, 0));
    let same_length = Contents { bytes: two.len() as u64, ..contents(&one) };
    assert_eq!(
        Sealed::check(&mut Cursor::new(&two), &same_length, &file(1, 0), &footer).unwrap_err(),
        OpenError::Digest
    );
    let short = &one[..one.len() - 1];
    let expected = OpenError::Length { expected: one.len() as u64, found: one.len() as u64 - 1 };
    assert_eq!(Sealed::check(&mut Cursor::new(short), &contents(&one), &file(1, 0), &footer).unwrap_err(), expected);
}

#[test]
fn d2_no_byte_of_the_footer_can_change() {
    let bytes = seal_rows(100, &key(), &file(1, 0));
    let (start, _) = footer(&bytes);
    for at in start..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(check(&changed, &key(), &file(1, 0)).is_err(), "byte {at}");
    }
}

#[test]
fn d2_swapped_columns_pages_and_row_groups_do_not_authenticate() {
    // Two row groups of two pages each: whatever is exchanged, its place is part of what is authenticated.
    let bytes = written(
        400,
        |e| e,
        |p| {
            p.set_max_row_group_row_count(Some(200))
                .set_data_page_row_count_limit(100)
                .set_write_batch_size(100)
                .set_dictionary_enabled(false)
        },
    );
    check(&bytes, &key(), &file(1, 0)).unwrap();
    let modules = modules(&bytes);
    let same_size: Vec<_> = modules
        .iter()
        .flat_map(|a| modules.iter().map(move |b| (a, b)))
        .filter(|(a, b)| a.0 < b.0 && a.1 == b.1)
        .collect();
    assert!(same_size.len() > 3, "{modules:?}");
    for (a, b) in same_size {
        let mut swapped = bytes.clone();
        swapped[a.0..a.0 + a.1].copy_from_slice(&bytes[b.0..b.0 + b.1]);
        swapped[b.0..b.0 + b.1].copy_from_slice(&bytes[a.0..a.0 + a.1]);
        let outcome = check(&swapped, &key(), &file(1, 0)).map_err(|error| error.to_string()).and_then(|sealed| {
            read(&swapped, &sealed, &all_keys(&sealed, &key(), &file(1, 0)), None).map_err(|error| error.to_string())
        });
        assert!(outcome.is_err(), "modules at {} and {} could be exchanged", a.0, b.0);
    }
}

#[test]
fn only_the_columns_whose_keys_are_held_can_be_read() {
    let bytes = seal_rows(1_000, &key(), &file(1, 0));
    let file = file(1, 0);
    let sealed = Sealed::check(&mut Cursor::new(&bytes), &contents(&bytes), &file, &key().footer(&file)).unwrap();
    let keys = some_keys(&["patient", "score"], &key(), &file);
    sealed.check_columns(&mut Cursor::new(&bytes), &keys).unwrap();
    let places = sealed.projection(&["patient", "score"], &keys).unwrap();
    let read_back = read(&bytes, &sealed, &keys, Some(places)).unwrap();
    assert_eq!(read_back, batch(1_000).1.project(&[0, 2]).unwrap());
    assert_eq!(sealed.projection(&["diagnosis"], &keys), Err(OpenError::KeyMissing { column: "diagnosis".into() }));
    assert_eq!(sealed.projection(&["diagnoses"], &keys), Err(OpenError::NoSuchColumn { column: "diagnoses".into() }));
    assert!(
        read(&bytes, &sealed, &keys, Some(vec![1])).is_err(),
        "the library itself does not read a column without its key"
    );
    let wrong = BTreeMap::from([("score".to_owned(), key().column(&file, "patient"))]);
    assert_eq!(
        sealed.check_columns(&mut Cursor::new(&bytes), &wrong),
        Err(OpenError::Column { column: "score".into() })
    );
    let foreign = some_keys(&["age"], &key(), &file);
    assert_eq!(sealed.decryption_properties(&foreign).unwrap_err(), OpenError::NoSuchColumn { column: "age".into() });
}

#[test]
fn d1_impossible_lengths_of_pages_are_refused() {
    let bytes = seal_rows(1_000, &key(), &file(1, 0));
    let modules = modules(&bytes);
    assert!(modules.len() >= 6, "{modules:?}");
    for (at, _) in &modules {
        for length in (0..28).chain([0x7fff_ffff, 0x8000_0000, 0xffff_ffff_u32]) {
            let mut changed = bytes.clone();
            changed[*at..at + 4].copy_from_slice(&length.to_le_bytes());
            let error = refused(&changed);
            assert!(matches!(error, OpenError::Pages { .. }), "{length:#x} at {at}: {error:?}");
        }
    }
}

#[test]
fn d1_impossible_lengths_of_the_footer_are_refused() {
    let bytes = seal_rows(100, &key(), &file(1, 0));
    let (start, _) = footer(&bytes);
    let tail = bytes.len() - 8;
    for length in (0..16).chain([0x7fff_ffff, 0x8000_0000, 0xffff_ffff_u32]) {
        let mut changed = bytes.clone();
        changed[tail..tail + 4].copy_from_slice(&length.to_le_bytes());
        let error = refused(&changed);
        let expected = if length < 16 {
            matches!(error, OpenError::Description(_) | OpenError::Footer | OpenError::Algorithm | OpenError::NoPrefix)
        } else {
            error == OpenError::FooterLength { claimed: u64::from(length) }
        };
        assert!(expected, "{length:#x}: {error:?}");
        // The module's own length, after a description of 19 bytes.
        let mut changed = bytes.clone();
        let module = start + description_length(&bytes[start..tail]);
        changed[module..module + 4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(refused(&changed), OpenError::Footer, "{length:#x}");
    }
}

#[test]
fn d6_hostile_footers_of_an_owner_are_refused() {
    let column = |name: &[u8]| [&[0x15, 0x0c, 0x25, 0x02, 0x18][..], &[name.len() as u8], name, &[0]].concat();
    let root = |children: u8| vec![0x48, 0x01, b's', 0x15, children * 2, 0x00];
    let schema = |elements: usize, body: &[u8]| {
        let mut bytes = vec![0x29, 0xfc];
        let mut rest = elements;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes.extend_from_slice(body);
        bytes
    };
    let many: Vec<u8> = root(1)
        .into_iter()
        .chain((0..1_000_000_u32).flat_map(|n| column(&n.to_le_bytes().map(|byte| b'a' + byte % 26))))
        .collect();
    assert_eq!(refused(&hostile(&[schema(1_000_001, &many), vec![0]].concat())), OpenError::TooManyColumns);
    assert_eq!(refused(&hostile(&[0x1c; 10_000])), OpenError::Malformed(ThriftError::Depth));
    assert_eq!(
        refused(&hostile(&[0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0])),
        OpenError::Malformed(ThriftError::Size)
    );
    assert_eq!(refused(&hostile(&[0x36, 0x01, 0])), OpenError::Malformed(ThriftError::Size), "-1 rows");
    assert_eq!(refused(&hostile(&[0])), OpenError::ForeignSchema, "nothing at all");
    let twice = [schema(3, &[root(2), column(b"a"), column(b"a")].concat()), vec![0]].concat();
    assert_eq!(refused(&hostile(&twice)), OpenError::ForeignSchema, "a column named twice");
    let fewer = [schema(2, &[root(2), column(b"a")].concat()), vec![0]].concat();
    assert_eq!(refused(&hostile(&fewer)), OpenError::ForeignSchema, "a root that counts wrongly");
}

/// A file with this footer, encrypted as its owner could.
fn hostile(footer: &[u8]) -> Vec<u8> {
    let file = file(1, 0);
    let description = [0x1c, 0x1c, 0x28, 0x01, 0x55, 0x11, 0x00, 0x00, 0x00];
    let aad = [file.aad_prefix().as_slice(), &[0x55, 0]].concat();
    let key = key().footer(&file);
    let sealed = Aes256Gcm::new(key.as_bytes().into())
        .encrypt(Nonce::from_slice(&[9; 12]), Payload { msg: footer, aad: &aad })
        .unwrap();
    let module = [&(sealed.len() as u32 + 12).to_le_bytes()[..], &[9; 12], &sealed].concat();
    framed(&description, &module)
}

fn framed(description: &[u8], module: &[u8]) -> Vec<u8> {
    let length = (description.len() + module.len()) as u32;
    [b"PARE", description, module, &length.to_le_bytes(), b"PARE"].concat()
}

/// The footer's place, and its bytes.
fn footer(bytes: &[u8]) -> (usize, &[u8]) {
    let tail = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap()) as usize;
    (tail - length, &bytes[tail - length..tail])
}

/// The description ends where the rest is a module that fills the footer.
fn description_length(footer: &[u8]) -> usize {
    let fills =
        |at: &usize| u32::from_le_bytes(footer[*at..at + 4].try_into().unwrap()) as usize == footer.len() - at - 4;
    (0..footer.len() - 4).find(fills).unwrap()
}

/// The place and whole length of every page header and page: sealed files have nothing else before the footer.
fn modules(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (start, _) = footer(bytes);
    let (mut at, mut modules) = (4, Vec::new());
    while at < start {
        let length = 4 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        modules.push((at, length));
        at += length;
    }
    assert_eq!(at, start);
    modules
}
