//! SEV-SNP: a report, its key, the chain and a list, each behind two bytes of length.
#![no_main]

use attest::snp::{SnpEvidence, anchors, examine};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut next = || {
        let (size, after) = rest.split_first_chunk::<2>()?;
        let (field, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*size)))?;
        rest = after;
        Some(field)
    };
    let Some(report) = next() else { return };
    let evidence = SnpEvidence { report, key: next(), chain: next(), list: next() };
    let now = jiff::Timestamp::from_second(1_750_000_000).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let _ = examine(&evidence, &anchors(), now);
    let _ = attest::snp::Report::parse(bytes);
});
