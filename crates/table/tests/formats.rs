//! What `seal` accepts, what it makes of it, and how it refuses the rest: with the row, the line and the value.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod room;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray,
        TimestampMillisecondArray, UInt64Array,
    },
    datatypes::{Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
    ipc::writer::{FileWriter, StreamWriter},
};
use parquet::{arrow::ArrowWriter, encryption::encrypt::FileEncryptionProperties, file::properties::WriterProperties};
use proptest::prelude::*;
use room::*;
use table::{Declared, Format, InputError, SealError, SourceKey, SqlType, ThriftError, infer_schema, seal_table};

/// What comes out when a sealed table is read with all its keys.
fn round_trip(format: Format, bytes: impl Into<Vec<u8>>, declared: &[(&str, &str)]) -> RecordBatch {
    let (sealed, output) = seal(format, bytes, declared).unwrap();
    assert_eq!((sealed.bytes, sealed.digest), (contents(&output).bytes, contents(&output).digest));
    let checked = check(&output, &key(), &file(1, 0)).unwrap();
    assert_eq!(checked.rows(), sealed.rows);
    let batch = read(&output, &checked, &all_keys(&checked, &key(), &file(1, 0)), None).unwrap();
    assert_eq!(batch.schema(), sealed.schema.arrow());
    batch
}

fn refused(format: Format, bytes: impl Into<Vec<u8>>, declared: &[(&str, &str)]) -> InputError {
    match seal(format, bytes, declared) {
        Err(SealError::Input(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn csv(text: &str) -> InputError {
    refused(Format::Csv, text, &[])
}

fn types(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect()
}

#[test]
fn csv_types_are_inferred() {
    let text = "\u{feff}id,name,when,at,ok,x,zip\r\n1,\"Weiß, \"\"A\"\"\nB\",2024-02-29,2024-02-29T10:00:00Z,true,1,02139\r\n2,,,2024-03-01 00:00:00.5,FALSE,2.5,10115\r\n,é,2024-03-01,2024-03-02,,,00501\r\n";
    let batch = round_trip(Format::Csv, text, &[]);
    assert_eq!(types(&batch), ["Int64", "Utf8", "Date32", "Timestamp(µs)", "Boolean", "Float64", "Utf8"]);
    let names = batch.column(1).as_string::<i32>();
    assert_eq!(
        (names.value(0), names.value(1), names.is_null(1)),
        ("Weiß, \"A\"\nB", "", false),
        "an empty field of a text column is an empty text"
    );
    assert!(batch.column(0).is_null(2));
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(1), 2);
    assert_eq!(batch.column(2).as_primitive::<Date32Type>().value(0), 19_782);
    assert_eq!(batch.column(3).as_primitive::<TimestampMicrosecondType>().value(1), 1_709_251_200_500_000);
    assert_eq!(batch.column(5).as_primitive::<Float64Type>().value(0), 1.0);
    assert_eq!(batch.column(6).as_string::<i32>().value(0), "02139", "leading zeros survive");
}

#[test]
fn csv_types_can_be_declared() {
    let batch = round_trip(
        Format::Csv,
        "a,b,c\n1,2.50,7\n2,3.25,x\n",
        &[("a", "smallint not null"), ("b", "decimal(10,2)"), ("c", "text")],
    );
    assert_eq!(types(&batch), ["Int16", "Decimal128(10, 2)", "Utf8"]);
    assert!(!batch.schema().field(0).is_nullable());
    assert_eq!(batch.column(1).as_primitive::<Decimal128Type>().value(0), 250);
    let missing = InputError::Missing { row: 2, column: "a".into() };
    assert_eq!(refused(Format::Csv, "a,b\n1,2\n,3\n", &[("a", "bigint not null")]), missing);
    let unknown = InputError::DeclaredMissing { column: "z".into(), columns: "`a`, `b`".into() };
    assert_eq!(refused(Format::Csv, "a,b\n1,2\n", &[("z", "bigint")]), unknown);
}

#[test]
fn csv_ragged_rows_are_refused_with_row_and_line() {
    assert_eq!(csv("a,b\n\"1\n\",2\n3\n"), InputError::Ragged { row: 2, line: 4, found: 1, expected: 2 });
    assert_eq!(csv("a,b\n1,2,3\n"), InputError::Ragged { row: 1, line: 2, found: 3, expected: 2 });
    let shown = csv("a,b\n1,2,3\n").to_string();
    assert_eq!(shown, "row 1 (line 2) has 3 fields, the header has 2\nhint: quote values that contain a comma");
}

#[test]
fn csv_a_type_that_changes_is_refused_with_row_and_value() {
    let error = csv("id,age\n1,30\n2,NA\n");
    assert_eq!(
        error,
        InputError::TypeChanged {
            row: 2,
            line: Some(3),
            column: "age".into(),
            value: "NA".into(),
            expected: SqlType::Bigint
        }
    );
    let shown = "row 2 (line 3) of column `age` is `NA`, which is not bigint\nhint: mend the value, or declare another type for the column, such as `age = \"text\"`";
    assert_eq!(error.to_string(), shown);
    // Also after the rows from which the schema was inferred.
    let late: String = std::iter::once("id\n".to_owned())
        .chain((0..10_500).map(|n| format!("{n}\n")))
        .chain(["1.5\n".to_owned()])
        .collect();
    assert_eq!(
        csv(&late),
        InputError::TypeChanged {
            row: 10_501,
            line: Some(10_502),
            column: "id".into(),
            value: "1.5".into(),
            expected: SqlType::Bigint
        }
    );
    let long = format!("a\n1\n{}\n", "é\u{7}".repeat(100));
    let InputError::TypeChanged { value, .. } = csv(&long) else { panic!() };
    assert!(value.starts_with("é\\u{7}é") && value.ends_with('…'), "{value}");
}

#[test]
fn csv_headers_are_checked() {
    assert_eq!(csv("a,b,a\n1,2,3\n"), InputError::DuplicateColumn { name: "a".into(), first: 1, second: 3 });
    assert_eq!(csv("a,,c\n1,2,3\n"), InputError::UnnamedColumn { position: 2 });
    assert_eq!(csv("a,b\u{1}\n1,2\n"), InputError::BadName { position: 2, name: "b\\u{1}".into() });
    assert_eq!(csv(""), InputError::NoColumns);
    assert_eq!(csv("a,b\n"), InputError::Empty);
    let many = vec!["c"; 10_001].join(",");
    assert_eq!(csv(&many), InputError::TooManyColumns { found: 10_001, limit: 10_000 });
}

#[test]
fn csv_that_is_not_utf_8_is_refused() {
    assert_eq!(
        refused(Format::Csv, &b"a,b\n1,x\n2,\xe9t\xe9\n"[..], &[]),
        InputError::NotUtf8 { row: 2, line: 3, column: "b".into() }
    );
    assert_eq!(
        refused(Format::Csv, &b"a,\xe9\n1,x\n"[..], &[]),
        InputError::NotUtf8 { row: 0, line: 1, column: "2".into() }
    );
}

#[test]
fn csv_an_open_quote_does_not_fill_the_memory() {
    let mut text = b"a,b\n1,2\n3,\"".to_vec();
    text.resize(18 << 20, b'x');
    assert_eq!(refused(Format::Csv, text, &[]), InputError::RowTooLong { row: 2, limit: 16 << 20 });
}

#[test]
fn json_lines_are_read() {
    let text = "{\"id\": 1, \"name\": \"a\", \"x\": 1, \"on\": \"2024-01-02\"}\n\n{\"x\": 2.5, \"id\": 2, \"ok\": true}\n{\"id\": null}\n";
    let batch = round_trip(Format::JsonLines, text, &[]);
    assert_eq!(
        batch.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["id", "name", "x", "on", "ok"]
    );
    assert_eq!(types(&batch), ["Int64", "Utf8", "Float64", "Date32", "Boolean"]);
    assert!(batch.column(1).is_null(1) && batch.column(0).is_null(2));
}

#[test]
fn json_lines_that_are_wrong_are_refused() {
    let json = |text: &str| refused(Format::JsonLines, text, &[]);
    assert_eq!(
        json("{\"a\":1}\n{\"a\":\"1\"}\n"),
        InputError::TypeChanged {
            row: 2,
            line: Some(2),
            column: "a".into(),
            value: "1".into(),
            expected: SqlType::Bigint
        }
    );
    assert_eq!(
        json("{\"a\":1}\n\n{\"a\":1,\"a\":2}\n"),
        InputError::MemberTwice { row: 2, line: 3, column: "a".into() }
    );
    assert_eq!(json("{\"a\":1}\n[1]\n"), InputError::NotAnObject { row: 2, line: 2 });
    assert_eq!(json("{\"a\":1}\n{\"a\":}\n"), InputError::NotJson { row: 2, line: 2, at: 6 });
    assert_eq!(json("{\"a\":[1]}\n"), InputError::Unsupported { column: "a".into(), found: "list or object".into() });
    assert_eq!(json("\n"), InputError::Empty);
    let late: String = (0..10_100).map(|n| format!("{{\"a\":{n}}}\n")).chain(["{\"b\":1}\n".to_owned()]).collect();
    assert_eq!(json(&late), InputError::NewColumn { row: 10_101, line: 10_101, column: "b".into() });
    assert_eq!(round_trip(Format::JsonLines, late, &[("b", "bigint")]).num_columns(), 2);
}

fn columnar() -> RecordBatch {
    let words: DictionaryArray<Int32Type> = ["b", "a", "b"].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(UInt64Array::from(vec![1, 2, u64::MAX]))),
        ("word", Arc::new(words)),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![Some(1_000), None, Some(-1)]).with_timezone("+02:00"))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn assert_columnar(batch: &RecordBatch) {
    assert_eq!(types(batch), ["Decimal128(20, 0)", "Utf8", "Timestamp(µs)"]);
    assert_eq!(batch.column(0).as_primitive::<Decimal128Type>().value(2), i128::from(u64::MAX));
    assert_eq!(batch.column(1).as_string::<i32>().value(2), "b");
    assert_eq!(
        batch.column(2).as_primitive::<TimestampMicrosecondType>().value(0),
        1_000_000,
        "UTC, not the local time of the zone"
    );
    assert_eq!(batch.column(2).null_count(), 1);
}

fn parquet(batch: &RecordBatch, encryption: Option<Arc<FileEncryptionProperties>>) -> Vec<u8> {
    let mut properties = WriterProperties::builder();
    if let Some(encryption) = encryption {
        properties = properties.with_file_encryption_properties(encryption);
    }
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn arrow_and_parquet_are_read() {
    let batch = columnar();
    let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    assert_columnar(&round_trip(Format::ArrowIpc, stream.into_inner().unwrap(), &[]));
    let mut whole = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    whole.write(&batch).unwrap();
    assert_columnar(&round_trip(Format::ArrowIpc, whole.into_inner().unwrap(), &[]));
    assert_columnar(&round_trip(Format::Parquet, parquet(&batch, None), &[]));
}

#[test]
fn arrow_data_that_is_cut_short_is_refused_before_memory_is_taken() {
    let batch = columnar();
    let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    let stream = stream.into_inner().unwrap();
    let mut whole = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    whole.write(&batch).unwrap();
    let whole = whole.into_inner().unwrap();
    let huge = [&[0xff; 4][..], &i32::MAX.to_le_bytes(), &[0; 64]].concat();
    for bytes in
        [&huge, &stream[..stream.len() / 2].to_vec(), &whole[..whole.len() - 20].to_vec(), &b"ARROW1\0\0".to_vec()]
    {
        let error = seal(Format::ArrowIpc, bytes.clone(), &[]).unwrap_err();
        assert!(matches!(error, SealError::Arrow(_)), "{error:?}");
    }
}

#[test]
fn a_parquet_footer_with_a_list_longer_than_the_file_is_refused_before_it_is_walked() {
    let whole = parquet(&columnar(), None);
    let end = whole.len() - 8;
    let size = u32::from_le_bytes(*whole[end..].first_chunk().unwrap());
    // The structure's end, and in front of it field 15: a list of that many booleans.
    let with = |count: &[u8], follows: &[u8]| {
        let mut bytes = whole[..end - 1].to_vec();
        let more = [&[0x89, 0xF1][..], count, follows].concat();
        bytes.extend_from_slice(&more);
        bytes.push(0);
        bytes.extend_from_slice(&(size + more.len() as u32).to_le_bytes());
        bytes.extend_from_slice(b"PAR1");
        bytes
    };
    for count in [&[0xFF, 0xFF, 0xFF, 0xFF, 0x07][..], &[0x80, 0x80, 0x04]] {
        let refused = refused(Format::Parquet, with(count, &[]), &[]);
        assert!(matches!(refused, InputError::ParquetFooter(ThriftError::Size)), "{refused:?}");
    }
    let cut = refused(Format::Parquet, with(&[], &[]), &[]);
    assert!(matches!(cut, InputError::ParquetFooter(_)), "{cut:?}");
    assert_eq!(refused_text(&whole[..end - 1]), "cannot decode the Parquet file");
}

/// What sealing says of bytes that are not Parquet.
fn refused_text(bytes: &[u8]) -> String {
    let source = table::Source::new(Format::Parquet, std::io::Cursor::new(bytes.to_vec()));
    source.and_then(|mut source| infer_schema(&mut source, &Declared::none())).unwrap_err().to_string()
}

#[test]
fn columnar_values_that_do_not_fit_a_declared_type_are_refused() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "two"]));
    let bytes = parquet(&RecordBatch::try_from_iter([("n", texts)]).unwrap(), None);
    let expected = InputError::TypeChanged {
        row: 2,
        line: None,
        column: "n".into(),
        value: "two".into(),
        expected: SqlType::Bigint,
    };
    assert_eq!(refused(Format::Parquet, bytes, &[("n", "bigint")]), expected);
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]));
    let bytes = parquet(&RecordBatch::try_from_iter([("l", lists)]).unwrap(), None);
    assert!(matches!(refused(Format::Parquet, bytes, &[]), InputError::Unsupported { column, .. } if column == "l"));
    let none: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
    assert_eq!(
        refused(Format::Parquet, parquet(&RecordBatch::try_from_iter([("n", none)]).unwrap(), None), &[]),
        InputError::Empty
    );
}

#[test]
fn encrypted_parquet_is_resealed_with_its_keys() {
    let uniform = FileEncryptionProperties::builder(vec![1; 16]).build().unwrap();
    let per_column = FileEncryptionProperties::builder(vec![1; 32])
        .with_column_key("id", vec![2; 32])
        .with_aad_prefix(b"p".to_vec())
        .build()
        .unwrap();
    let plain_footer = FileEncryptionProperties::builder(vec![1; 16]).with_plaintext_footer(true).build().unwrap();
    let key_of = |length: usize| SourceKey { footer: vec![1; length].into(), columns: [].into(), aad_prefix: None };
    let columns = SourceKey {
        columns: [("id".to_owned(), vec![2; 32].into())].into(),
        aad_prefix: Some(b"p".to_vec()),
        ..key_of(32)
    };
    for (encryption, source_key) in [(uniform, key_of(16)), (per_column, columns), (plain_footer, key_of(16))] {
        let bytes = parquet(&columnar(), Some(encryption));
        assert_eq!(refused(Format::Parquet, bytes.clone(), &[]), InputError::KeyNeeded);
        let mut source = source(Format::Parquet, bytes).with_key(source_key);
        let schema = infer_schema(&mut source, &Declared::none()).unwrap();
        let mut output = Vec::new();
        seal_table(&mut source, &schema, &key(), &file(1, 0), &mut output, |_| {}).unwrap();
        let sealed = check(&output, &key(), &file(1, 0)).unwrap();
        assert_columnar(&read(&output, &sealed, &all_keys(&sealed, &key(), &file(1, 0)), None).unwrap());
    }
    let mut plain = source(Format::Parquet, parquet(&columnar(), None)).with_key(key_of(16));
    let error = infer_schema(&mut plain, &Declared::none()).unwrap_err();
    assert!(matches!(error, SealError::Input(InputError::KeyNotNeeded)), "{error:?}");
}

#[test]
fn progress_grows_to_the_length_of_the_input() {
    let text: String =
        std::iter::once("a,b\n".to_owned()).chain((0..50_000).map(|n| format!("{n},value {n}\n"))).collect();
    let mut source = source(Format::Csv, text.clone());
    let schema = infer_schema(&mut source, &Declared::none()).unwrap();
    let mut seen = Vec::new();
    seal_table(&mut source, &schema, &key(), &file(1, 0), std::io::sink(), |bytes| seen.push(bytes)).unwrap();
    assert!(seen.is_sorted() && seen.len() >= 7, "{seen:?}");
    assert_eq!(seen.last(), Some(&(text.len() as u64)));
}

#[test]
fn a_schema_of_another_table_is_refused() {
    let mut first = source(Format::Csv, "a,b\n1,2\n");
    let schema = infer_schema(&mut first, &Declared::none()).unwrap();
    let mut second = source(Format::Csv, "a,c\n1,2\n");
    let error = seal_table(&mut second, &schema, &key(), &file(1, 0), std::io::sink(), |_| {}).unwrap_err();
    assert!(matches!(error, SealError::Input(InputError::OtherSchema)), "{error:?}");
}

#[test]
fn a_full_disk_is_reported() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut source = source(Format::Csv, "a\n1\n");
    let schema = infer_schema(&mut source, &Declared::none()).unwrap();
    let error = seal_table(&mut source, &schema, &key(), &file(1, 0), Full, |_| {}).unwrap_err();
    assert!(matches!(error, SealError::Write(_)), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_survives_csv_sealing_and_opening(rows in prop::collection::vec(("[^\r\u{0}]{0,12}", prop::option::of(any::<i64>()), prop::option::of(-1e9..1e9_f64)), 1..60)) {
        let mut text = "t,n,x,fixed\n".to_owned();
        for (t, n, x) in &rows {
            let cell = |value: Option<String>| value.unwrap_or_default();
            text.push_str(&format!("\"{}\",{},{},y\n", t.replace('"', "\"\""), cell(n.map(|n| n.to_string())), cell(x.map(|x| x.to_string()))));
        }
        let batch = round_trip(Format::Csv, text, &[("t", "text"), ("n", "bigint"), ("x", "double")]);
        prop_assert_eq!(batch.num_rows(), rows.len());
        for (index, (t, n, x)) in rows.iter().enumerate() {
            prop_assert_eq!(batch.column(0).as_string::<i32>().value(index), t);
            let numbers = batch.column(1).as_primitive::<Int64Type>();
            prop_assert_eq!(numbers.is_valid(index).then(|| numbers.value(index)), *n);
            let floats = batch.column(2).as_primitive::<Float64Type>();
            prop_assert_eq!(floats.is_valid(index).then(|| floats.value(index)), *x);
        }
    }

    #[test]
    fn no_bytes_make_sealing_or_checking_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), head in 0..4_usize) {
        let heads: [&[u8]; 4] = [b"", b"PARE", b"ARROW1\0\0", b"{\"a\":"];
        bytes.splice(0..0, heads[head].iter().copied());
        for format in [Format::Csv, Format::JsonLines, Format::ArrowIpc] {
            let _ = seal(format, bytes.clone(), &[]).map(drop);
        }
        let tail = (bytes.len() as u32).saturating_sub(4).to_le_bytes();
        let framed = [bytes.as_slice(), &tail, b"PARE"].concat();
        prop_assert!(check(&framed, &key(), &file(1, 0)).is_err());
    }
}
