//! Intel's TCB info and identities, signed here: quote, TCB info, identity, root's list.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::collateral, bytes));
