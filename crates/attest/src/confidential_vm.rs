//! The hardware beneath a virtual TPM: step 16 of `docs/spec/appraisal.md`.
//!
//! A virtual TPM says what happened in a machine and cannot say what kind of machine that is. Where the policy asks for confidential
//! hardware, the hardware's own report on the very same exchange answers that: it must be genuine, be bound to the binding's SHA-512
//! form, and measure what the policy lists. The channel's keys are in both, so the worker that holds them runs inside what the
//! report measured. Policies that ask for no hardware refuse Evidence that brings some, so that nothing stands in a receipt unread.

use jiff::Timestamp;

use crate::{
    AppraisalError, AppraisalPolicy, AttestationResult, HardwareEvidence, Step,
    binding::Binding,
    platform::{self, Unfit},
};

/// Adds the hardware to the result of the TPM's Evidence.
pub(crate) fn appraise(
    evidence: &HardwareEvidence,
    result: AttestationResult,
    binding: &Binding,
    policy: &AppraisalPolicy,
    now: Timestamp,
) -> Result<AttestationResult, AppraisalError> {
    let rule = policy.hardware().get(&evidence.platform).ok_or(AppraisalError::HardwareNotListed(evidence.platform))?;
    let genuine = platform::examine(evidence, rule, now).map_err(AppraisalError::Hardware)?;
    let appraised = genuine.appraise(binding.sha512(), &rule.policy).map_err(|unfit| match unfit {
        Unfit::Tier { floor, actual } => AppraisalError::Tier { floor, actual },
        other => AppraisalError::HardwareUnfit(other),
    })?;
    let tier = appraised.tier();
    if tier < policy.tier_floor() {
        return Err(AppraisalError::Tier { floor: policy.tier_floor(), actual: tier });
    }
    let words = format!(
        "the {} hardware reports on this same exchange and is as the policy lists it; the tier is `{tier}`: {}",
        evidence.platform,
        tier.words()
    );
    let mut steps = result.steps;
    steps.push(Step { number: 16, words });
    Ok(AttestationResult { tier, hardware: Some(appraised), steps, ..result })
}
