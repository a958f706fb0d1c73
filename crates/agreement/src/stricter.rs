//! Whether one Appraisal Policy is at least as strict as another: everything that passes it passes the other.
//!
//! Lists of what is accepted may only shrink, floors only rise, registers with Reference Values only be added. Written by taking
//! both documents apart without a rest pattern, so that a new expectation does not compile before its order is known.

use std::collections::{BTreeMap, BTreeSet};

use attest::{
    AppraisalPolicy, Clock, EndorsementKeys, EndorsementRoot, HardwareRule, PolicyDocument, ReferenceValue, TpmPolicy,
    platform::{Anchors, HardwareIds, Platform, PlatformPolicy},
    reference::AuditorRule,
    snp::SnpPolicy,
};

/// The part in which a policy is looser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looser {
    /// Which part.
    pub(crate) part: &'static str,
    /// What it accepts.
    pub(crate) found: String,
    /// What the other accepts.
    pub(crate) admitted: String,
}

/// Whether `found` is equal to `least` or stricter.
pub(crate) fn at_least(found: &AppraisalPolicy, least: &AppraisalPolicy) -> Result<(), Looser> {
    let PolicyDocument { tier_floor, tpm, hardware, auditors } = PolicyDocument::from(found.clone());
    let PolicyDocument { tier_floor: least_floor, tpm: least_tpm, hardware: least_hardware, auditors: least_auditors } =
        PolicyDocument::from(least.clone());
    ensure(tier_floor >= least_floor, "tier floor", tier_floor, least_floor)?;
    hardware_at_least(&hardware, &least_hardware)?;
    auditors_at_least(auditors.as_ref(), least_auditors.as_ref())?;
    tpm_at_least(&tpm, &least_tpm)
}

/// As many of no other auditors, for every register. Where none must vouch, some may have to.
fn auditors_at_least(found: Option<&AuditorRule>, least: Option<&AuditorRule>) -> Result<(), Looser> {
    let Some(AuditorRule { keys: known, required: least, pcrs: known_pcrs }) = least else { return Ok(()) };
    let Some(AuditorRule { keys, required, pcrs }) = found else {
        return Err(looser("auditors", "no auditor's word", format_args!("the word of {least} of those listed")));
    };
    if let Some(key) = keys.iter().find(|key| !known.contains(*key)) {
        return Err(looser("auditors", format_args!("`{key}`"), "those listed"));
    }
    ensure(required >= least, "auditors", format_args!("the word of {required}"), format_args!("that of {least}"))?;
    match known_pcrs.iter().find(|pcr| !pcrs.contains(pcr)) {
        Some(pcr) => Err(looser("auditors", format_args!("any value of register {pcr}"), "what they vouch for")),
        None => Ok(()),
    }
}

/// Any one of the listed platforms is enough, so each one of `found` must be one of `least`, and no looser. Where either side asks for hardware
/// the other must, too: without it the TPM stands by itself, and with it the TPM need not.
fn hardware_at_least(
    found: &BTreeMap<Platform, HardwareRule>,
    least: &BTreeMap<Platform, HardwareRule>,
) -> Result<(), Looser> {
    let asks = |rules: &BTreeMap<_, _>| if rules.is_empty() { "none" } else { "one of those listed" };
    ensure(found.is_empty() == least.is_empty(), "hardware", asks(found), asks(least))?;
    for (platform, rule) in found {
        let Some(known) = least.get(platform) else {
            return Err(looser("hardware", platform, "other platforms"));
        };
        hardware_rule_at_least(*platform, rule, known)?;
    }
    Ok(())
}

fn hardware_rule_at_least(platform: Platform, found: &HardwareRule, least: &HardwareRule) -> Result<(), Looser> {
    let HardwareRule { anchors, policy, snp, evaluation_floor } = found;
    let PlatformPolicy { tier_floor, admits, hardware, measurements } = policy;
    let known = &least.policy;
    let trusted = match (anchors, &least.anchors) {
        (Anchors::Makers, Anchors::Makers) => true,
        (Anchors::Pinned(found), Anchors::Pinned(known)) => found.iter().all(|root| known.contains(root)),
        (Anchors::Makers, Anchors::Pinned(_)) | (Anchors::Pinned(_), Anchors::Makers) => false,
    };
    ensure(trusted, "authorities of hardware", format_args!("others for {platform}"), "those listed")?;
    ensure(*tier_floor >= known.tier_floor, "tier floor of hardware", tier_floor, known.tier_floor)?;
    if let Some(more) = admits.iter().find(|name| !known.admits.contains(*name)) {
        return Err(looser("assurances of hardware", format_args!("`{more}` for {platform}"), "those listed"));
    }
    let listed = match (hardware, &known.hardware) {
        (_, HardwareIds::Any) => true,
        (HardwareIds::Any, HardwareIds::Listed(_)) => false,
        (HardwareIds::Listed(found), HardwareIds::Listed(known)) => found.is_subset(known),
    };
    ensure(listed, "hardware identities", format_args!("others for {platform}"), "those listed")?;
    let SnpPolicy { generations, minimum_tcb, vmpl, signing_keys, revocation_list } = snp;
    let narrower = generations.is_subset(&least.snp.generations)
        && *minimum_tcb == least.snp.minimum_tcb
        && vmpl.is_subset(&least.snp.vmpl)
        && signing_keys.is_subset(&least.snp.signing_keys)
        && (*revocation_list || !least.snp.revocation_list);
    ensure(narrower, "expectations of SEV-SNP", "others", "those listed")?;
    ensure(
        *evaluation_floor >= least.evaluation_floor,
        "floor of Intel's documents",
        evaluation_floor,
        least.evaluation_floor,
    )?;
    for (register, accepted) in &known.measurements {
        let narrower = measurements.get(register).is_some_and(|found| found.is_subset(accepted));
        ensure(narrower, "measurements of hardware", format_args!("other values of `{register}`"), "those listed")?;
    }
    Ok(())
}

fn tpm_at_least(found: &TpmPolicy, least: &TpmPolicy) -> Result<(), Looser> {
    let TpmPolicy { roots, endorsement_keys, bank, role, binaries, reference_values, clock } = found;
    let TpmPolicy {
        roots: known_roots,
        endorsement_keys: known_keys,
        bank: known_bank,
        role: known_role,
        binaries: known_binaries,
        reference_values: known_values,
        clock: known_clock,
    } = least;
    for root in roots {
        let EndorsementRoot { certificate, tier } = root;
        let known = known_roots.iter().any(|known| known.certificate == *certificate && *tier <= known.tier);
        ensure(known, "endorsement roots", "one that is not listed, or with a higher tier", "those listed")?;
    }
    compare_keys(endorsement_keys, known_keys)?;
    ensure(bank == known_bank, "bank", format_args!("{bank:?}"), format_args!("{known_bank:?}"))?;
    ensure(role == known_role, "role", format_args!("`{role}`"), format_args!("`{known_role}`"))?;
    if let Some(binary) = binaries.iter().find(|binary| !known_binaries.contains(binary)) {
        return Err(looser("binaries", format_args!("`{binary}`"), format_args!("{} others", known_binaries.len())));
    }
    for known in known_values {
        compare_register(reference_values, known)?;
    }
    let safe = |clock: &Clock| match clock {
        Clock::Safe => true,
        Clock::Unsafe => false,
    };
    ensure(safe(clock) || !safe(known_clock), "clock", "unsafe", "safe")
}

fn compare_keys(found: &EndorsementKeys, known: &EndorsementKeys) -> Result<(), Looser> {
    match (found, known) {
        (_, EndorsementKeys::Any) => Ok(()),
        (EndorsementKeys::Any, EndorsementKeys::Listed(_)) => Err(looser("endorsement keys", "any", "those listed")),
        (EndorsementKeys::Listed(found), EndorsementKeys::Listed(known)) => {
            match found.iter().find(|key| !known.contains(key)) {
                Some(key) => Err(looser("endorsement keys", format_args!("`{key}`"), "those listed")),
                None => Ok(()),
            }
        }
    }
}

fn compare_register(found: &[ReferenceValue], known: &ReferenceValue) -> Result<(), Looser> {
    let ReferenceValue { pcr, values } = known;
    let part = "Reference Values";
    let Some(found) = found.iter().find(|found| found.pcr == *pcr) else {
        return Err(looser(
            part,
            format_args!("none for register {pcr}"),
            format_args!("{} values for it", values.len()),
        ));
    };
    let accepted: BTreeSet<&String> = values.iter().collect();
    match found.values.iter().find(|value| !accepted.contains(value)) {
        Some(value) => Err(looser(part, format_args!("`{value}` for register {pcr}"), "those listed")),
        None => Ok(()),
    }
}

fn ensure(
    good: bool,
    part: &'static str,
    found: impl std::fmt::Display,
    admitted: impl std::fmt::Display,
) -> Result<(), Looser> {
    if good { Ok(()) } else { Err(looser(part, found, admitted)) }
}

fn looser(part: &'static str, found: impl std::fmt::Display, admitted: impl std::fmt::Display) -> Looser {
    Looser { part, found: found.to_string(), admitted: admitted.to_string() }
}
