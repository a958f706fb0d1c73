//! Hygon CSV: a report and three certificates in Hygon's format.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::hygon, bytes));
