//! The text of an agreement; every file that it names is the second part of the input.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::agreement, bytes));
