//! What an owner asks of a platform's Evidence, and the second half of appraisal.
//!
//! A policy can only narrow. There is no field whose absence skips a check: an empty list of hardware admits none, a policy without
//! measurements is not one, and the bytes that must be bound are an argument of the appraisal, not an option of the policy.

use std::collections::{BTreeMap, BTreeSet};

use envelope::{Digest, canonical};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{Appraised, Assurance, Genuine};
use crate::Tier;

/// A policy whose parts fit one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformPolicy {
    /// The weakest tier that is accepted. Where it is not named it is `tpm`.
    #[serde(default)]
    pub tier_floor: Tier,
    /// Which assurances are admitted, by name; where it is not written, `affirmed` alone.
    #[serde(default = "affirmed_only")]
    pub admits: BTreeSet<String>,
    /// Which hardware is accepted.
    pub hardware: HardwareIds,
    /// Per register, its accepted values; at least one register.
    pub measurements: MeasurementRule,
}

/// Which hardware is accepted, by the identity that the Evidence proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HardwareIds {
    /// Every genuine one.
    Any,
    /// These only, in lower-case hexadecimal. An empty list accepts none.
    Listed(BTreeSet<String>),
}

/// Accepted values in lower-case hexadecimal, by register.
pub type MeasurementRule = BTreeMap<String, BTreeSet<String>>;

/// Why a policy is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformPolicyError {
    /// Nothing is expected of the code.
    #[error("the policy names no measurement\nhint: say which code may run, in `measurements`")]
    NoMeasurements,
    /// A register that can never match.
    #[error("the policy accepts no value of `{0}`")]
    NoValue(String),
    /// A value that can never be found, since it is not written as values are.
    #[error("a value listed for `{0}` is not lower-case hexadecimal of whole bytes")]
    NotHexadecimal(String),
    /// An assurance that does not exist.
    #[error("`{0}` is not an assurance")]
    UnknownAssurance(String),
    /// An assurance that can never be admitted.
    #[error("`parsed-only` proves nothing and cannot be admitted")]
    ParsedOnly,
    /// It cannot be written as canonical JSON.
    #[error("the policy cannot be digested")]
    Digest,
}

/// Why genuine Evidence is refused for this use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The policy itself.
    #[error("the policy cannot be applied")]
    Policy(#[source] PlatformPolicyError),
    /// It says of itself that its memory can be read from outside. No policy admits that.
    #[error("the Evidence is of something that is being debugged: its memory can be read from outside")]
    Debug,
    /// It was made for another exchange.
    #[error("the Evidence is not bound to this exchange: its report data or nonce is another")]
    NotBound,
    /// The maker's word on its security version.
    #[error("the Evidence is `{}`, which the policy does not admit: {}", .0.name(), .0.words())]
    Assurance(Assurance),
    /// A register that the platform does not have or the Evidence does not give.
    #[error("the Evidence has no measurement `{0}`")]
    MeasurementMissing(String),
    /// Another value than those accepted.
    #[error("the measurement `{register}` is `{actual}`, which the policy does not list")]
    Measurement {
        /// Its name.
        register: String,
        /// Its value, hexadecimal.
        actual: String,
    },
    /// A list is kept, and the Evidence names no hardware.
    #[error("the Evidence does not tell which hardware it is from, and the policy lists hardware")]
    HardwareIdMasked,
    /// Not on the list.
    #[error("the hardware `{0}` is not on the policy's list")]
    HardwareIdNotListed(String),
    /// Too weak.
    #[error("the tier is `{actual}`; the policy asks for `{floor}` or stronger")]
    Tier {
        /// What the policy asks for.
        floor: Tier,
        /// What it is.
        actual: Tier,
    },
}

impl Genuine {
    /// Holds genuine Evidence against one exchange and one policy.
    ///
    /// `expected` is what this exchange must have bound into the Evidence, as the caller computed it: all bytes of the platform's field.
    ///
    /// # Errors
    /// The first check that fails, by name.
    pub fn appraise(self, expected: &[u8], policy: &PlatformPolicy) -> Result<Appraised, Unfit> {
        let digest = policy.digest().map_err(Unfit::Policy)?;
        if self.debug {
            return Err(Unfit::Debug);
        }
        if expected.is_empty() || !bool::from(self.bound.as_slice().ct_eq(expected)) {
            return Err(Unfit::NotBound);
        }
        let tier = self.fits(policy)?;
        Ok(Appraised { genuine: self, tier, policy: digest })
    }

    /// Holds genuine Evidence against a policy alone, and tells the tier. For showing: nothing is released without the exchange's own bytes.
    ///
    /// # Errors
    /// The first check that fails, by name.
    pub fn fits(&self, policy: &PlatformPolicy) -> Result<Tier, Unfit> {
        policy.digest().map_err(Unfit::Policy)?;
        if self.debug {
            return Err(Unfit::Debug);
        }
        if !policy.admits.contains(self.assurance.name()) {
            return Err(Unfit::Assurance(self.assurance));
        }
        for (name, accepted) in &policy.measurements {
            let actual = hex::encode(self.register(name).ok_or_else(|| Unfit::MeasurementMissing(name.clone()))?);
            if !accepted.contains(&actual) {
                return Err(Unfit::Measurement { register: name.clone(), actual });
            }
        }
        let listed = match (&policy.hardware, &self.hardware_id) {
            (HardwareIds::Any, _) => false,
            (HardwareIds::Listed(_), None) => return Err(Unfit::HardwareIdMasked),
            (HardwareIds::Listed(listed), Some(id)) if listed.contains(id) => true,
            (HardwareIds::Listed(_), Some(id)) => return Err(Unfit::HardwareIdNotListed(id.clone())),
        };
        let tier =
            if listed && self.tier >= Tier::ConfidentialVm { self.tier.max(Tier::AllowListed) } else { self.tier };
        if tier < policy.tier_floor {
            return Err(Unfit::Tier { floor: policy.tier_floor, actual: tier });
        }
        Ok(tier)
    }
}

impl Unfit {
    /// The word for the check that failed.
    pub const fn code(&self) -> &'static str {
        match self {
            Unfit::Policy(_) => "policy-invalid",
            Unfit::Debug => "debug-enabled",
            Unfit::NotBound => "not-bound",
            Unfit::Assurance(_) => "assurance-not-admitted",
            Unfit::MeasurementMissing(_) => "measurement-missing",
            Unfit::Measurement { .. } => "measurement-refused",
            Unfit::HardwareIdMasked => "hardware-id-masked",
            Unfit::HardwareIdNotListed(_) => "hardware-id-not-listed",
            Unfit::Tier { .. } => "tier-too-low",
        }
    }
}

impl PlatformPolicy {
    /// Its digest (of its canonical JSON), once its parts have been found to fit one another.
    ///
    /// # Errors
    /// Named in [`PlatformPolicyError`].
    pub fn digest(&self) -> Result<Digest, PlatformPolicyError> {
        if self.measurements.is_empty() {
            return Err(PlatformPolicyError::NoMeasurements);
        }
        if let Some((name, _)) = self.measurements.iter().find(|(_, values)| values.is_empty()) {
            return Err(PlatformPolicyError::NoValue(name.clone()));
        }
        let chips = match &self.hardware {
            HardwareIds::Any => None,
            HardwareIds::Listed(chips) => Some(("hardware", chips)),
        };
        let lists = self.measurements.iter().map(|(name, values)| (name.as_str(), values)).chain(chips);
        for (name, values) in lists {
            if !values.iter().all(|value| is_hexadecimal(value)) {
                return Err(PlatformPolicyError::NotHexadecimal(name.chars().take(80).collect()));
            }
        }
        for name in &self.admits {
            match name.as_str() {
                "affirmed" | "conditional" | "out-of-date" | "signature-only" | "revocation-unknown" => {}
                "parsed-only" => return Err(PlatformPolicyError::ParsedOnly),
                _ => return Err(PlatformPolicyError::UnknownAssurance(name.chars().take(80).collect())),
            }
        }
        canonical::digest(self).map_err(|_| PlatformPolicyError::Digest)
    }
}

fn is_hexadecimal(value: &str) -> bool {
    value.len().is_multiple_of(2) && value.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn affirmed_only() -> BTreeSet<String> {
    BTreeSet::from(["affirmed".to_owned()])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::platform::{Platform, TcbStatus, claim, register};

    const BOUND: &[u8] = &[7; 64];

    fn genuine() -> Genuine {
        Genuine {
            platform: Platform::SevSnp,
            assurance: Assurance::Affirmed,
            tier: Tier::ConfidentialVm,
            debug: false,
            bound: BOUND.to_vec(),
            hardware_id: Some("aa".to_owned()),
            registers: vec![register("measurement", &[1, 2])],
            claims: vec![claim("version", 5, "the version")],
            steps: Vec::new(),
            examined_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn set(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn policy() -> PlatformPolicy {
        PlatformPolicy {
            tier_floor: Tier::ConfidentialVm,
            admits: affirmed_only(),
            hardware: HardwareIds::Any,
            measurements: BTreeMap::from([("measurement".to_owned(), set(&["0102", "0304"]))]),
        }
    }

    fn refused(change: impl FnOnce(&mut PlatformPolicy)) -> Option<Unfit> {
        let mut policy = policy();
        change(&mut policy);
        genuine().appraise(BOUND, &policy).err()
    }

    #[test]
    fn what_the_policy_asks_for_passes() {
        let appraised = genuine().appraise(BOUND, &policy()).unwrap();
        assert_eq!(appraised.tier(), Tier::ConfidentialVm);
        assert_eq!(*appraised.policy(), policy().digest().unwrap());
    }

    #[test]
    fn a6_absent_expectations_are_refused_and_never_skipped() {
        assert_eq!(genuine().appraise(&[], &policy()).err(), Some(Unfit::NotBound));
        let mut unbound = genuine();
        unbound.bound = Vec::new();
        assert_eq!(unbound.appraise(&[], &policy()).err(), Some(Unfit::NotBound));
        let none = Unfit::Policy(PlatformPolicyError::NoMeasurements);
        assert_eq!(refused(|policy| policy.measurements.clear()), Some(none));
        let empty = Unfit::Policy(PlatformPolicyError::NoValue("measurement".to_owned()));
        assert_eq!(refused(|policy| drop(policy.measurements.insert("measurement".to_owned(), set(&[])))), Some(empty));
        let missing = Unfit::MeasurementMissing("rtmr0".to_owned());
        assert_eq!(refused(|policy| drop(policy.measurements.insert("rtmr0".to_owned(), set(&["00"])))), Some(missing));
    }

    #[test]
    fn values_that_can_never_be_found_are_no_policy() {
        for bad in ["0G", "0", "AB", "…"] {
            let measured = Unfit::Policy(PlatformPolicyError::NotHexadecimal("measurement".to_owned()));
            let change =
                |policy: &mut PlatformPolicy| drop(policy.measurements.insert("measurement".to_owned(), set(&[bad])));
            assert_eq!(refused(change), Some(measured));
            let chip = Unfit::Policy(PlatformPolicyError::NotHexadecimal("hardware".to_owned()));
            assert_eq!(refused(|policy| policy.hardware = HardwareIds::Listed(set(&[bad]))), Some(chip));
        }
    }

    #[test]
    fn other_bytes_than_those_of_this_exchange_are_refused() {
        for bit in 0..BOUND.len() * 8 {
            let mut other = BOUND.to_vec();
            if let Some(byte) = other.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            assert_eq!(genuine().appraise(&other, &policy()).err(), Some(Unfit::NotBound));
        }
        for size in 0..BOUND.len() {
            assert_eq!(genuine().appraise(&BOUND[..size], &policy()).err(), Some(Unfit::NotBound));
        }
    }

    #[test]
    fn a10_hardware_outside_the_list_is_refused_and_an_empty_list_has_nobody() {
        let list = |ids: &[&str]| HardwareIds::Listed(set(ids));
        let not_listed = Some(Unfit::HardwareIdNotListed("aa".to_owned()));
        assert_eq!(refused(|policy| policy.hardware = list(&["bb"])), not_listed);
        assert_eq!(refused(|policy| policy.hardware = list(&[])), not_listed);
        let mut masked = genuine();
        masked.hardware_id = None;
        let listing = PlatformPolicy { hardware: list(&["aa"]), ..policy() };
        assert_eq!(masked.appraise(BOUND, &listing).err(), Some(Unfit::HardwareIdMasked));
        assert_eq!(genuine().appraise(BOUND, &listing).unwrap().tier(), Tier::AllowListed);
        // Listing does not lift what is no confidential machine.
        let mut sgx = genuine();
        sgx.tier = Tier::Sgx;
        let low = PlatformPolicy { tier_floor: Tier::Sgx, ..listing };
        assert_eq!(sgx.appraise(BOUND, &low).unwrap().tier(), Tier::Sgx);
    }

    #[test]
    fn only_what_is_affirmed_passes_unless_the_policy_names_more() {
        let warned = Assurance::Conditional(TcbStatus::SWHardeningNeeded);
        for assurance in [
            warned,
            Assurance::OutOfDate(TcbStatus::OutOfDate),
            Assurance::SignatureOnly,
            Assurance::ParsedOnly,
            Assurance::RevocationUnknown,
        ] {
            let evidence = Genuine { assurance, ..genuine() };
            assert_eq!(evidence.appraise(BOUND, &policy()).err(), Some(Unfit::Assurance(assurance)));
        }
        let lenient = PlatformPolicy { admits: set(&["affirmed", "conditional"]), ..policy() };
        let evidence = Genuine { assurance: warned, ..genuine() };
        assert_eq!(evidence.appraise(BOUND, &lenient).unwrap().genuine().assurance(), warned);
        let parsed_only = Unfit::Policy(PlatformPolicyError::ParsedOnly);
        assert_eq!(refused(|policy| policy.admits = set(&["parsed-only"])), Some(parsed_only));
        let unknown = Unfit::Policy(PlatformPolicyError::UnknownAssurance("good".to_owned()));
        assert_eq!(refused(|policy| policy.admits = set(&["good"])), Some(unknown));
    }

    #[test]
    fn weak_tiers_and_other_measurements_are_refused() {
        let weak = Unfit::Tier { floor: Tier::AllowListed, actual: Tier::ConfidentialVm };
        assert_eq!(refused(|policy| policy.tier_floor = Tier::AllowListed), Some(weak));
        let other = Unfit::Measurement { register: "measurement".to_owned(), actual: "0102".to_owned() };
        assert_eq!(
            refused(|policy| drop(policy.measurements.insert("measurement".to_owned(), set(&["0304"])))),
            Some(other)
        );
    }
}
