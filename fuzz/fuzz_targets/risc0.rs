//! Receipts: the input is a seal of 260 bytes and then a journal.
#![no_main]

use attest::risc0::{Parameters, Receipt, Version, examine};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (seal, journal) = bytes.split_at(bytes.len().min(260));
    let receipt = Receipt { seal: seal.to_vec(), journal: journal.to_vec(), image_id: [0; 32] };
    let accepted: Vec<Parameters> = Version::ALL.into_iter().filter_map(Parameters::of).collect();
    assert!(examine(&receipt, &accepted, jiff::Timestamp::UNIX_EPOCH).is_err());
});
