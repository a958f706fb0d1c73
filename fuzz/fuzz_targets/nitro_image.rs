//! Images of Nitro Enclaves: as they come, and with the checksum that belongs to them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::nitro_image, bytes));
