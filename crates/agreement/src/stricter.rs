//! Whether one Appraisal Policy is at least as strict as another: everything that passes it passes the other.
//!
//! Lists of what is accepted may only shrink, floors only rise, registers with Reference Values only be added. Written by taking
//! both documents apart without a rest pattern, so that a new expectation does not compile before its order is known.

use std::collections::BTreeSet;

use attest::{AppraisalPolicy, Clock, EndorsementKeys, EndorsementRoot, PolicyDocument, ReferenceValue, TpmPolicy};

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
    let PolicyDocument { tier_floor, tpm } = PolicyDocument::from(found.clone());
    let PolicyDocument { tier_floor: least_floor, tpm: least_tpm } = PolicyDocument::from(least.clone());
    ensure(tier_floor >= least_floor, "tier floor", tier_floor, least_floor)?;
    tpm_at_least(&tpm, &least_tpm)
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
