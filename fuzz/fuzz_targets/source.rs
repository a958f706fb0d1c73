//! Tables as people have them: CSV, JSON lines, Arrow IPC, Parquet.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::source, bytes));
