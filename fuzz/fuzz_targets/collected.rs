//! What NVIDIA's collectors write, and the devices in it with the statements of revocation that follow.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::collected, bytes));
