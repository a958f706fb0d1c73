//! Intel SGX: an enclave, a part of a process whose memory the rest of the machine cannot read.
//!
//! Its identity is MRENCLAVE, the code itself, or MRSIGNER with product and security version, whoever signed it. Either is for the
//! policy: both are registers. The report data are 64 bytes that the enclave chose.

use jiff::Timestamp;

use super::{Body, EnclaveReport, IntelEndorsements, IntelError, Quote, Rules, examine as examine_quote};
use crate::{
    Tier,
    certificate::TrustAnchor,
    platform::{Claim, Genuine, Platform, Register, claim, claim_hex, register},
};

/// Examines a quote of an enclave, by the steps of `docs/spec/platforms/intel.md`.
///
/// # Errors
/// The first check that fails.
pub fn examine(
    quote: &[u8],
    endorsements: &IntelEndorsements<'_>,
    anchors: &[TrustAnchor],
    rules: &Rules,
    now: Timestamp,
) -> Result<Genuine, IntelError> {
    let quote = Quote::parse(quote)?;
    let state = || match &quote.body {
        Body::Enclave(report) if report.is_debug() => Err(IntelError::Debug),
        Body::Enclave(_) | Body::TrustDomain(_) => Ok(()),
    };
    let mut examined = examine_quote(&quote, Platform::Sgx, state, endorsements, anchors, rules, now)?;
    let Body::Enclave(report) = &quote.body else {
        return Err(IntelError::OtherPlatform { expected: Platform::Sgx, found: Platform::Tdx });
    };
    examined.claims.extend(claims(report));
    Ok(Genuine {
        platform: Platform::Sgx,
        assurance: examined.assurance,
        tier: Tier::Sgx,
        debug: report.is_debug(),
        bound: report.report_data.to_vec(),
        hardware_id: examined.ppid,
        registers: registers(report),
        claims: examined.claims,
        steps: examined.steps.done(),
        examined_at: now,
    })
}

fn registers(report: &EnclaveReport<'_>) -> Vec<Register> {
    vec![
        register("mrenclave", report.mr_enclave),
        register("mrsigner", report.mr_signer),
        register("isvprodid", &report.isv_prod_id.to_be_bytes()),
        register("isvsvn", &report.isv_svn.to_be_bytes()),
        register("configid", report.config_id),
        register("configsvn", &report.config_svn.to_be_bytes()),
        register("isvextprodid", report.isv_ext_prod_id),
        register("isvfamilyid", report.isv_family_id),
        register("attributes", report.attributes),
        register("miscselect", report.misc_select),
    ]
}

fn claims(report: &EnclaveReport<'_>) -> Vec<Claim> {
    let [flags, ..] = report.attributes;
    vec![
        claim_hex("cpusvn", report.cpu_svn, "the processor's security version when the report was made"),
        claim_hex("attributes", report.attributes, "the enclave's flags and extended features"),
        claim("debug", report.is_debug(), "whether its memory can be read with a debugger"),
        claim("provision_key", flags & 0x10 != 0, "whether it can derive keys that name the platform"),
        claim_hex("miscselect", report.misc_select, "extended features of its state"),
        claim_hex("mrenclave", report.mr_enclave, "the measurement of its code"),
        claim_hex("mrsigner", report.mr_signer, "the measurement of its signer's key"),
        claim("isvprodid", report.isv_prod_id, "its product, as the signer numbers it"),
        claim("isvsvn", report.isv_svn, "its security version, as the signer numbers it"),
        claim_hex("configid", report.config_id, "the identity of its configuration"),
        claim("configsvn", report.config_svn, "its configuration's security version"),
        claim_hex("isvextprodid", report.isv_ext_prod_id, "its extended product identity"),
        claim_hex("isvfamilyid", report.isv_family_id, "its family of products"),
        claim_hex("report_data", report.report_data, "what it put in"),
    ]
}
