//! Intel TDX: a trust domain, a virtual machine whose memory the host cannot read.
//!
//! MRTD measures what it started from, the registers RTMR0 to RTMR3 what it measured since. A trust domain under debug (any bit of the
//! attributes' first byte) is refused by code, and so is an attribute whose meaning is not known. The others are claims, and registers that a
//! policy can pin: whether `SEPT_VE_DISABLE` is set (a guest that checks it itself does not need it), whether it can be migrated and by which
//! service trust domains (`mr_service_td`, zero for none), whether it may use performance counters and protection keys.
//! Source: Intel, "TDX Module ABI Specification", ATTRIBUTES; "TDX DCAP Quoting Library API", appendix A.

use jiff::Timestamp;

use super::{Body, IntelEndorsements, IntelError, Quote, Rules, TdInstance, TdReport, examine as examine_quote};
use crate::{
    Tier,
    certificate::TrustAnchor,
    platform::{Claim, Genuine, Platform, Register, claim, claim_hex, register},
};

/// Examines a quote of a trust domain, by the steps of `docs/spec/platforms/intel.md`.
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
        Body::TrustDomain(report) => check_attributes(report),
        Body::Enclave(_) => Ok(()),
    };
    let mut examined = examine_quote(&quote, Platform::Tdx, state, endorsements, anchors, rules, now)?;
    let Body::TrustDomain(report) = &quote.body else {
        return Err(IntelError::OtherPlatform { expected: Platform::Tdx, found: Platform::Sgx });
    };
    examined.claims.extend(claims(report));
    Ok(Genuine {
        platform: Platform::Tdx,
        assurance: examined.assurance,
        tier: Tier::ConfidentialVm,
        debug: is_debug(report),
        bound: report.report_data.to_vec(),
        hardware_id: examined.ppid,
        registers: registers(report),
        claims: examined.claims,
        steps: examined.steps.done(),
        examined_at: now,
    })
}

/// Whether any bit of "TD under debug" is set.
const fn is_debug(report: &TdReport<'_>) -> bool {
    u64::from_le_bytes(*report.td_attributes) & UNDER_DEBUG != 0
}

/// Step 7.
fn check_attributes(report: &TdReport<'_>) -> Result<(), IntelError> {
    let attributes = u64::from_le_bytes(*report.td_attributes);
    if is_debug(report) {
        return Err(IntelError::Debug);
    }
    // Whose service trust domains are bound is told by the longest report alone.
    let known = if report.instance.is_some() { KNOWN | SERVTD_EXT } else { KNOWN };
    match attributes & !known {
        0 => Ok(()),
        _ => Err(IntelError::TdAttributes(attributes)),
    }
}

fn registers(report: &TdReport<'_>) -> Vec<Register> {
    let mut registers = vec![
        register("mrtd", report.mr_td),
        register("mrconfigid", report.mr_config_id),
        register("mrowner", report.mr_owner),
        register("mrownerconfig", report.mr_owner_config),
        register("mrseam", report.mr_seam),
        register("mrsignerseam", report.mr_signer_seam),
        register("td_attributes", report.td_attributes),
        register("xfam", report.xfam),
    ];
    for (name, value) in RTMR.into_iter().zip(report.rtmr) {
        registers.push(register(name, value));
    }
    if let Some(extension) = &report.extension {
        registers.push(register("mr_service_td", extension.mr_service_td));
    }
    if let Some(instance) = &report.instance {
        let (service_td, attributes) = instance.service_td;
        registers.push(register("cur_service_td_hash", service_td));
        registers.push(register("cur_service_td_attributes", attributes));
        registers.push(register("td_id", instance.td_id));
        registers.push(register("device_info", instance.device_info));
    }
    registers
}

fn claims(report: &TdReport<'_>) -> Vec<Claim> {
    let attributes = u64::from_le_bytes(*report.td_attributes);
    let has = |bit: u64| attributes & bit != 0;
    let mut claims = vec![
        claim_hex("tee_tcb_svn", report.tee_tcb_svn, "the security versions of TDX module and processor"),
        claim_hex("mrseam", report.mr_seam, "the measurement of the TDX module"),
        claim_hex("mrsignerseam", report.mr_signer_seam, "the TDX module's signer; zero is Intel"),
        claim_hex("seam_attributes", report.seam_attributes, "the TDX module's attributes"),
        claim_hex("td_attributes", report.td_attributes, "the trust domain's attributes"),
        claim("debug", is_debug(report), "whether its memory can be read from outside"),
        claim(
            "sept_ve_disable",
            has(SEPT_VE_DISABLE),
            "if not, the host can inject exceptions, which the guest must expect",
        ),
        claim("migratable", has(MIGRATABLE), "whether a service trust domain can move it to another machine"),
        claim("protection_keys", has(PKS), "whether supervisor protection keys are on"),
        claim("key_locker", has(KEY_LOCKER), "whether Key Locker is on"),
        claim("perfmon", has(PERFMON), "whether performance counters are on"),
        claim_hex("xfam", report.xfam, "the extended features that are on"),
        claim_hex("mrtd", report.mr_td, "the measurement of what it started from"),
        claim_hex("mrconfigid", report.mr_config_id, "the identity of its configuration"),
        claim_hex("mrowner", report.mr_owner, "the identity of its owner"),
        claim_hex("mrownerconfig", report.mr_owner_config, "the identity of its owner's configuration"),
        claim_hex("report_data", report.report_data, "what it put in"),
    ];
    for (name, value) in RTMR.into_iter().zip(report.rtmr) {
        claims.push(claim_hex(name, value, "a register that grew with what it measured"));
    }
    if let Some(extension) = &report.extension {
        let words = "the security versions now; `tee_tcb_svn` has those of its launch";
        claims.push(claim_hex("tee_tcb_svn2", extension.tee_tcb_svn2, words));
        let words = "the service trust domains that are bound to it; zero is none";
        claims.push(claim_hex("mr_service_td", extension.mr_service_td, words));
    }
    if let Some(instance) = &report.instance {
        claims.extend(claims_of_instance(instance));
        claims.push(claim(
            "servtd_ext",
            has(SERVTD_EXT),
            "whether service trust domains can be bound after its launch",
        ));
    }
    claims
}

fn claims_of_instance(instance: &TdInstance<'_>) -> Vec<Claim> {
    let ((initial, initial_attributes), (current, attributes)) = (instance.initial_service_td, instance.service_td);
    vec![
        claim("vmid", instance.vm_index, "0, or which virtual machine of a partitioned trust domain"),
        claim_hex("td_id", instance.td_id, "this very instance; another at each launch"),
        claim_hex("device_info", instance.device_info, "the hash of what is said of its devices"),
        claim_hex("init_service_td_hash", initial, "the service trust domains bound at its launch"),
        claim_hex("init_service_td_attributes", initial_attributes, "their attributes"),
        claim_hex("init_cpu_svn", instance.initial_cpu_svn, "the processor's security version at its launch"),
        claim_hex("init_tee_tcb_svn", instance.initial_tee_tcb_svn, "the TDX module's security versions at its launch"),
        claim_hex("init_tee_fmspc", instance.initial_fmspc, "the kind of platform that it was launched on"),
        claim_hex("cur_service_td_hash", current, "the service trust domains that are bound now; zero is none"),
        claim_hex("cur_service_td_attributes", attributes, "their attributes"),
    ]
}

const RTMR: [&str; 4] = ["rtmr0", "rtmr1", "rtmr2", "rtmr3"];
/// The group "TD under debug": bit 0 is DEBUG, the others open parts of its state to profilers.
const UNDER_DEBUG: u64 = 0xFF;
const ICSSD: u64 = 1 << 16;
const SERVTD_EXT: u64 = 1 << 17;
const LASS: u64 = 1 << 27;
const SEPT_VE_DISABLE: u64 = 1 << 28;
const MIGRATABLE: u64 = 1 << 29;
const PKS: u64 = 1 << 30;
const KEY_LOCKER: u64 = 1 << 31;
const TPA: u64 = 1 << 62;
const PERFMON: u64 = 1 << 63;
const KNOWN: u64 = ICSSD | LASS | SEPT_VE_DISABLE | MIGRATABLE | PKS | KEY_LOCKER | TPA | PERFMON;
