//! Keystone: a report, and the key of a device that is pinned.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::keystone, bytes));
