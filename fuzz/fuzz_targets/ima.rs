//! IMA's measurement lists: parsed, replayed.
#![no_main]

use attest::{HashAlgorithm, ima::MeasurementList};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(list) = MeasurementList::parse(bytes) {
        let value = list.replay(10, HashAlgorithm::Sha256);
        assert_eq!(list.check_replay(10, HashAlgorithm::Sha256, &value), Ok(()));
    }
});
