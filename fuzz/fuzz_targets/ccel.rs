//! Event logs of confidential machines, both forms: parsed, replayed, checked, told.
#![no_main]

use attest::ccel::CcEventLog;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = CcEventLog::parse(bytes) {
        let replayed = log.replay();
        let registers: Vec<&[u8]> = (0..4).map(|rtmr| replayed.get(&rtmr).map_or(&[][..], Vec::as_slice)).collect();
        assert_eq!(log.check_replay(&registers), Ok(()));
        let _ = log.check_order();
        let _ = log.check_data();
        assert_eq!(log.describe().events.len(), log.events().len());
    }
});
