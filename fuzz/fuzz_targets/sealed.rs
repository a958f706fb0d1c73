//! Sealed Parquet files from a hostile owner.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::sealed, bytes));
