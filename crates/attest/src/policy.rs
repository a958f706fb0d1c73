//! The Appraisal Policy: which authorities, keys, measurements and tiers an agreement accepts.
//!
//! A policy is data in an agreement, and everything in it is an expectation: there is no field whose absence means that a check
//! is skipped, and the checks that are always made do not appear in it. What must be quoted follows from what is
//! expected, so a register without a Reference Value cannot be "required" and then not be compared.
//!
//! [`PolicyDocument`] is the text; [`AppraisalPolicy`] is the text once its parts have been found to fit one another.

use std::collections::{BTreeMap, BTreeSet};

use envelope::{Digest, canonical, text::Bytes};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::{
    Bank, Tier,
    certificate::TrustAnchor,
    events::{ROLE_PCR, RUN_PCR, RoleName},
    platform::{Anchors, Platform, PlatformPolicy, PlatformPolicyError},
    reference::{AuditorRule, AuditorRuleError},
    snp::SnpPolicy,
};

/// A policy whose parts fit one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PolicyDocument", into = "PolicyDocument")]
pub struct AppraisalPolicy {
    document: PolicyDocument,
    digest: Digest,
}

/// A policy as an agreement carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// The weakest tier that is accepted. Where it is not named it is `tpm`, which refuses TPMs in software.
    #[serde(default)]
    pub tier_floor: Tier,
    /// What TPM Evidence must show.
    pub tpm: TpmPolicy,
    /// The confidential hardware that the machine must run in, by platform: any one of these. Empty asks for none, and then Evidence of
    /// hardware is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hardware: BTreeMap<Platform, HardwareRule>,
    /// Auditors who must vouch for what was measured, beyond the expectations here ([`crate::reference::Vouched`]). `None` asks for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auditors: Option<AuditorRule>,
}

/// What the hardware of one platform must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareRule {
    /// Which authorities count.
    pub anchors: Anchors,
    /// What is expected of the Evidence.
    pub policy: PlatformPolicy,
    /// What is expected of SEV-SNP besides. The default refuses what is known to be weak.
    #[serde(default, skip_serializing_if = "is_default")]
    pub snp: SnpPolicy,
    /// For TDX: Intel's `tcbEvaluationDataNumber` below which its documents are not accepted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub evaluation_floor: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Expectations of TPM Evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmPolicy {
    /// The authorities whose endorsement-key certificates are accepted; at least one.
    pub roots: Vec<EndorsementRoot>,
    /// Which endorsement keys are accepted.
    pub endorsement_keys: EndorsementKeys,
    /// The bank that is appraised.
    pub bank: Bank,
    /// The role that must have been started.
    pub role: RoleName,
    /// The digests of its binary that are accepted; at least one.
    pub binaries: Vec<Digest>,
    /// Registers whose value must be one of a list, beside those of roles and runs, which are always appraised.
    #[serde(default)]
    pub reference_values: Vec<ReferenceValue>,
    /// What the TPM must say of its clock.
    pub clock: Clock,
}

/// An authority that certifies endorsement keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndorsementRoot {
    /// Its certificate, DER. Its name and key are what is pinned.
    pub certificate: Bytes,
    /// The tier of the TPMs it certifies: `software-tpm` or `tpm`. A certificate that says it is of a TPM in software lowers it.
    pub tier: Tier,
}

/// Which endorsement keys are accepted, by the SHA-256 of their SubjectPublicKeyInfo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndorsementKeys {
    /// Every one that a root certifies. Not possible for TPMs in software.
    Any,
    /// These only. An empty list accepts none.
    Listed(Vec<Digest>),
}

/// The accepted values of one register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValue {
    /// The register, 0 to 23, other than those of roles and runs.
    pub pcr: u8,
    /// Accepted values in lower-case hexadecimal, of the bank's size; at least one.
    pub values: Vec<String>,
}

/// What a TPM says of its clock (TPMS_CLOCK_INFO.safe).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// The clock must be known not to have gone back, as after an orderly shutdown.
    Safe,
    /// The clock may have gone back after a loss of power. Reset counts are compared all the same.
    Unsafe,
}

/// Why the parts of a policy do not fit one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No authority.
    #[error("the policy pins no endorsement root\nhint: add the certificate of the TPM's authority to `roots`")]
    NoRoots,
    /// A certificate that cannot be read.
    #[error("endorsement root {0} is not a certificate")]
    Root(usize),
    /// A tier that a TPM cannot have.
    #[error("endorsement root {index} has the tier `{tier}`; a TPM has `software-tpm` or `tpm`")]
    RootTier {
        /// Counted from zero.
        index: usize,
        /// The tier.
        tier: Tier,
    },
    /// TPMs in software cost nothing to make, so each must be listed.
    #[error(
        "a root of the tier `software-tpm` needs its endorsement keys listed\nhint: list them in `endorsement_keys`"
    )]
    SoftwareTpmWithoutList,
    /// No accepted binary.
    #[error("the policy accepts no binary of the role `{0}`\nhint: add the SHA-256 of the binary to `binaries`")]
    NoBinaries(RoleName),
    /// A register that does not exist, is Glovebox's own, or occurs twice.
    #[error("a Reference Value cannot be given for register {0} here")]
    Register(u8),
    /// A register without a value, or a value that is not hexadecimal of the bank's size.
    #[error("the Reference Values of register {0} are missing or not lower-case hexadecimal of the bank's size")]
    Value(u8),
    /// The expectation of hardware does not fit.
    #[error("the policy for {0} hardware is none")]
    Hardware(Platform, #[source] PlatformPolicyError),
    /// Nobody can vouch for the hardware.
    #[error("the policy for {0} hardware pins no authority\nhint: name the makers' own with `anchors = \"makers\"`")]
    NoAnchors(Platform),
    /// A pinned authority of hardware that cannot be read.
    #[error("an authority pinned for {0} hardware is not a certificate")]
    Anchor(Platform),
    /// The auditors cannot be meant.
    #[error(transparent)]
    Auditors(AuditorRuleError),
    /// The policy cannot be written as canonical JSON.
    #[error("the policy cannot be digested")]
    Digest,
}

impl AppraisalPolicy {
    /// Checks that the parts of a policy fit one another.
    ///
    /// # Errors
    /// Named in [`PolicyError`].
    pub fn new(document: PolicyDocument) -> Result<AppraisalPolicy, PolicyError> {
        check_hardware(&document.hardware)?;
        check_roots(&document.tpm, &document.hardware)?;
        if document.tpm.binaries.is_empty() {
            return Err(PolicyError::NoBinaries(document.tpm.role.clone()));
        }
        check_reference_values(&document.tpm)?;
        document.auditors.as_ref().map_or(Ok(()), AuditorRule::check).map_err(PolicyError::Auditors)?;
        let digest = canonical::digest(&document).map_err(|_| PolicyError::Digest)?;
        Ok(AppraisalPolicy { document, digest })
    }

    /// The weakest tier that is accepted.
    pub const fn tier_floor(&self) -> Tier {
        self.document.tier_floor
    }

    /// What TPM Evidence must show.
    pub const fn tpm(&self) -> &TpmPolicy {
        &self.document.tpm
    }

    /// The confidential hardware that is asked for, by platform.
    pub const fn hardware(&self) -> &BTreeMap<Platform, HardwareRule> {
        &self.document.hardware
    }

    /// The auditors who must vouch for what was measured.
    pub const fn auditors(&self) -> Option<&AuditorRule> {
        self.document.auditors.as_ref()
    }

    /// The floor for the TPM by itself: none where hardware answers for the tier (step 16).
    pub(crate) fn tpm_floor(&self) -> Tier {
        if self.document.hardware.is_empty() { self.document.tier_floor } else { Tier::SoftwareTpm }
    }

    /// The policy's digest (of its canonical JSON).
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The registers that must be quoted in the policy's bank: those with Reference Values, those that auditors must vouch for, and those of
    /// roles and runs.
    pub fn required_pcrs(&self) -> BTreeSet<u8> {
        let expected = self.document.tpm.reference_values.iter().map(|reference| reference.pcr);
        let vouched = self.auditors().into_iter().flat_map(|rule| rule.pcrs.iter().copied());
        expected.chain(vouched).chain([ROLE_PCR, RUN_PCR]).collect()
    }
}

impl TryFrom<PolicyDocument> for AppraisalPolicy {
    type Error = PolicyError;

    fn try_from(document: PolicyDocument) -> Result<AppraisalPolicy, PolicyError> {
        AppraisalPolicy::new(document)
    }
}

impl From<AppraisalPolicy> for PolicyDocument {
    fn from(policy: AppraisalPolicy) -> PolicyDocument {
        policy.document
    }
}

impl TpmPolicy {
    /// The trust anchors, each with its tier.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = (rustls_pki_types::TrustAnchor<'static>, Tier)> + '_ {
        self.roots.iter().filter_map(|root| anchor(root).map(|anchor| (anchor, root.tier)))
    }
}

fn anchor(root: &EndorsementRoot) -> Option<rustls_pki_types::TrustAnchor<'static>> {
    let certificate = CertificateDer::from(root.certificate.0.as_slice());
    webpki::anchor_from_trusted_cert(&certificate).ok().map(|anchor| anchor.to_owned())
}

fn check_hardware(rules: &BTreeMap<Platform, HardwareRule>) -> Result<(), PolicyError> {
    for (platform, HardwareRule { anchors, policy, snp: _, evaluation_floor: _ }) in rules {
        policy.digest().map_err(|error| PolicyError::Hardware(*platform, error))?;
        match anchors {
            Anchors::Pinned(list) if list.is_empty() => return Err(PolicyError::NoAnchors(*platform)),
            Anchors::Pinned(list) if list.iter().any(|root| TrustAnchor::pin(&root.0).is_err()) => {
                return Err(PolicyError::Anchor(*platform));
            }
            Anchors::Makers | Anchors::Pinned(_) => {}
        }
    }
    Ok(())
}

fn check_roots(policy: &TpmPolicy, hardware: &BTreeMap<Platform, HardwareRule>) -> Result<(), PolicyError> {
    if policy.roots.is_empty() {
        return Err(PolicyError::NoRoots);
    }
    for (index, root) in policy.roots.iter().enumerate() {
        if root.tier > Tier::Tpm {
            return Err(PolicyError::RootTier { index, tier: root.tier });
        }
        anchor(root).ok_or(PolicyError::Root(index))?;
    }
    let software = policy.roots.iter().any(|root| root.tier == Tier::SoftwareTpm);
    if software && hardware.is_empty() && policy.endorsement_keys == EndorsementKeys::Any {
        return Err(PolicyError::SoftwareTpmWithoutList);
    }
    Ok(())
}

fn check_reference_values(policy: &TpmPolicy) -> Result<(), PolicyError> {
    let mut seen = BTreeSet::from([ROLE_PCR, RUN_PCR]);
    let digits = policy.bank.algorithm().size() * 2;
    let hexadecimal =
        |value: &String| value.len() == digits && value.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    for reference in &policy.reference_values {
        if reference.pcr > 23 || !seen.insert(reference.pcr) {
            return Err(PolicyError::Register(reference.pcr));
        }
        if reference.values.is_empty() || !reference.values.iter().all(hexadecimal) {
            return Err(PolicyError::Value(reference.pcr));
        }
    }
    Ok(())
}
