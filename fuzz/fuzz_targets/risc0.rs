//! Receipts of RISC Zero: a seal of 260 bytes and then a journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::risc0, bytes));
