//! Receipts of RISC Zero: a seal of 260 bytes and then a journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(untrusted::entry("risc0"), bytes));
