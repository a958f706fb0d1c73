//! SEV-SNP: a report, its key, the chain and a list.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::snp, bytes));
