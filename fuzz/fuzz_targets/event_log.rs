//! TCG event logs: parsed, replayed, their data checked and told.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::event_log, bytes));
