//! Reports of NVIDIA devices: the messages, and the whole examination with the input as report and as certificates.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::spdm, bytes));
