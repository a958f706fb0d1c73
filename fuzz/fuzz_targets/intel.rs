//! Quotes of SGX and TDX, the extension of their platforms' certificates, and what comes beside them.
#![no_main]

use attest::intel::{IntelEndorsements, PckExtension, Quote, Revocation, Rules, sgx, tdx};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Quote::parse(bytes);
    let _ = PckExtension::parse(bytes);
    // The first byte says where the quote ends and the Endorsements begin, in units of 64 bytes.
    let Some((at, rest)) = bytes.split_first() else { return };
    let (quote, part) = rest.split_at(rest.len().min(usize::from(*at) * 64));
    let endorsements = IntelEndorsements {
        pck_chain: Some(part),
        tcb_info: Some(part),
        qe_identity: Some(part),
        tcb_signing_chain: Some(part),
        qe_identity_signing_chain: None,
        pck_crl: Some(part),
        root_ca_crl: Some(part),
    };
    let rules = Rules { evaluation_floor: 0, revocation: Revocation::Complete };
    let anchors = attest::roots::Authority::IntelSgx.anchors();
    let now = jiff::Timestamp::from_second(1_750_000_000).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let _ = sgx::examine(quote, &endorsements, &anchors, &rules, now);
    let _ = tdx::examine(quote, &endorsements, &anchors, &rules, now);
});
