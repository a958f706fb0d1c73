//! Azure's report: parsed, its binding held, a quote checked under its key, and examined whole.
#![no_main]

use attest::{
    azure::{HclReport, SnpEndorsements, examine_snp},
    snp::anchors,
    tpm::QuoteEvidence,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = HclReport::parse(bytes) {
        let _ = report.check_binding();
        let (message, signature) = (report.hardware, report.runtime);
        let quote = QuoteEvidence { message, signature, pcrs: &[], event_log: Some(bytes) };
        let _ = quote.check(&report.attestation_key);
    }
    let now = jiff::Timestamp::from_second(1_750_000_000).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let _ = examine_snp(bytes, None, &SnpEndorsements::default(), &anchors(), now);
});
