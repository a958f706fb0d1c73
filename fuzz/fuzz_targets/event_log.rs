//! TCG event logs: parsed, replayed, their data checked and told.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = attest::event_log::EventLog::parse(bytes) {
        for bank in log.banks() {
            let _ = log.replay(bank);
            let _ = log.check_data(bank);
            let _ = log.describe(bank);
        }
        let _ = log.encode();
    }
});
