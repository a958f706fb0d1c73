//! Tables as people have them: CSV, JSON lines, Arrow IPC, Parquet.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    use std::io::Cursor;
    for format in [table::Format::Csv, table::Format::JsonLines, table::Format::ArrowIpc, table::Format::Parquet] {
        if let Ok(mut source) = table::Source::new(format, Cursor::new(bytes.to_vec())) {
            let _ = table::infer_schema(&mut source, &table::Declared::none());
        }
    }
});
