//! What Arm's profiles ask of the triples in a CoRIM.
//!
//! A triple that a profile does not allow makes the whole CoRIM none of that profile, so it is refused rather than passed over: what it says
//! of another environment, or by another kind of key, would be taken for something else. Known are CCA platforms, CCA realms and PSA
//! devices, each in the encoding of 2025 and in the one before it. A profile that is not known here has no rules here.
//!
//! Sources: draft-ydb-rats-cca-endorsements and draft-fdb-rats-psa-endorsements; before them, what Veraison's services refuse under the
//! profiles of 2023.

use super::{
    CorimError,
    measurements::{self, BYTES},
};
use crate::cbor::Value;

/// A rule of a profile that a triple breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProfileRule {
    /// Of a platform all of one kind have the same Reference Values.
    #[error("Reference Values are for one instance; the profile has them for a class")]
    InstanceOfReference,
    /// A key is of one platform; a realm before 2025 is told by its instance.
    #[error("an environment has no instance of the kind that the profile asks for")]
    Instance,
    /// A key triple of a platform.
    #[error("an environment has not exactly one key")]
    KeyCount,
    /// A key of another form.
    #[error("a key is not a public key in PEM")]
    KeyKind,
    /// A realm's key comes with its token, under the platform's.
    #[error("keys are named for a realm")]
    KeysOfRealm,
    /// A measurement of something else.
    #[error("a measurement is of nothing that the profile knows")]
    MeasurementKey,
    /// Somebody else vouches for a measurement.
    #[error("a measurement names who authorised it; the profile has none do so")]
    AuthorizedBy,
    /// Nothing to compare with.
    #[error("a measurement has no digests")]
    NoDigests,
    /// More than the one that a realm reports.
    #[error("a measurement of a realm has more than one digest")]
    DigestCount,
    /// Of no hash that the profile knows.
    #[error("a digest does not have 32, 48 or 64 bytes")]
    DigestSize,
    /// Two values where one is measured.
    #[error("a measurement has two digests by the same hash")]
    RepeatedHash,
    /// Whoever signed a software component.
    #[error("a software component has not exactly one signer")]
    SignerCount,
    /// A signer of another form, such as a public key.
    #[error("a signer is not bytes of the size of a hash")]
    SignerKind,
    /// How versions are ordered is the maker's affair.
    #[error("a version has a scheme; the profile has none")]
    VersionScheme,
    /// A triple describes the whole device.
    #[error("a triple has no software component")]
    NoComponent,
    /// A triple describes the whole platform.
    #[error("a triple has not exactly one platform configuration")]
    ConfigurationCount,
    /// A realm is told by it.
    #[error("a triple has no initial measurement of the realm")]
    NoInitialMeasurement,
    /// Nothing to compare with.
    #[error("a measurement has no raw value")]
    NoRawValue,
    /// A raw value of another form.
    #[error("a raw value is not bytes of the kind that the profile asks for")]
    RawValueKind,
    /// Which bits of the configuration count.
    #[error("a platform configuration has no mask of its size")]
    Mask,
    /// Nothing to compare with.
    #[error("a measurement has no integrity registers")]
    NoIntegrityRegisters,
}

/// The profiles that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    Psa,
    /// In the encoding before 2025.
    PsaBefore,
    Platform,
    /// In the encoding before 2025.
    PlatformBefore,
    /// Told by the realm's initial measurement, as its class.
    Realm,
    /// Told by its instance.
    RealmByInstance,
}

/// Whether every profile that is known allows a triple of Reference Values. What the profile of PSA devices before 2025 does not allow is
/// handed back, since published examples under its name do not keep to it: such a CoRIM can be opened, and is never current.
///
/// # Errors
/// [`CorimError::NoClass`], [`CorimError::ClassId`], [`CorimError::Profile`].
pub(super) fn check_reference(
    profiles: &[String],
    environment: &Value<'_>,
    measurements: &[Value<'_>],
) -> Result<Option<CorimError>, CorimError> {
    judged(profiles, |profile| profile.check_reference(environment, measurements))
}

/// Whether every profile that is known allows a triple of keys; as [`check_reference`].
///
/// # Errors
/// [`CorimError::NoClass`], [`CorimError::ClassId`], [`CorimError::Profile`].
pub(super) fn check_keys(
    profiles: &[String],
    environment: &Value<'_>,
    keys: &Value<'_>,
) -> Result<Option<CorimError>, CorimError> {
    judged(profiles, |profile| profile.check_keys(environment, keys))
}

fn judged(
    profiles: &[String],
    check: impl Fn(Profile) -> Result<(), CorimError>,
) -> Result<Option<CorimError>, CorimError> {
    let mut unfit = None;
    for profile in profiles.iter().filter_map(|name| Profile::named(name)) {
        match (profile, check(profile)) {
            (_, Ok(())) => {}
            (Profile::PsaBefore, Err(fault)) => unfit = unfit.or(Some(fault)),
            (
                Profile::Psa | Profile::Platform | Profile::PlatformBefore | Profile::Realm | Profile::RealmByInstance,
                Err(fault),
            ) => return Err(fault),
        }
    }
    Ok(unfit)
}

impl Profile {
    fn named(name: &str) -> Option<Profile> {
        match name {
            "tag:arm.com,2025:psa#1.0.0" => Some(Profile::Psa),
            "http://arm.com/psa/iot/1" => Some(Profile::PsaBefore),
            "http://arm.com/cca/ssd/1" | "tag:arm.com,2023:cca_platform#1.0.0" => Some(Profile::PlatformBefore),
            "http://arm.com/cca/realm/1" | "tag:arm.com,2023:realm#1.0.0" => Some(Profile::RealmByInstance),
            _ if name.contains("cca_platform") => Some(Profile::Platform),
            _ if name.contains("cca_realm") => Some(Profile::Realm),
            _ => None,
        }
    }

    fn check_reference(self, environment: &Value<'_>, measurements: &[Value<'_>]) -> Result<(), CorimError> {
        self.check_class(environment)?;
        if self == Profile::RealmByInstance {
            self.check_instance(environment)?;
        } else if environment.at(INSTANCE).is_some() {
            return Err(ProfileRule::InstanceOfReference.into());
        }
        match self {
            Profile::Psa => measurements::psa(measurements),
            Profile::Platform => measurements::platform(measurements),
            Profile::PsaBefore | Profile::PlatformBefore => {
                measurements.iter().try_for_each(measurements::platform_before)
            }
            Profile::Realm => measurements::realm(measurements),
            Profile::RealmByInstance => measurements.iter().try_for_each(measurements::realm_before),
        }
    }

    fn check_keys(self, environment: &Value<'_>, keys: &Value<'_>) -> Result<(), CorimError> {
        match self {
            Profile::Psa | Profile::PsaBefore | Profile::Platform | Profile::PlatformBefore => {}
            Profile::Realm | Profile::RealmByInstance => return Err(ProfileRule::KeysOfRealm.into()),
        }
        self.check_class(environment)?;
        self.check_instance(environment)?;
        let [key] = keys.array().unwrap_or_default() else {
            return Err(ProfileRule::KeyCount.into());
        };
        if !matches!(key.tagged(), Some((PKIX_KEY, key)) if key.text().is_some()) {
            return Err(ProfileRule::KeyKind.into());
        }
        Ok(())
    }

    /// A platform's class is its implementation id, a realm's its initial measurement.
    fn check_class(self, environment: &Value<'_>) -> Result<(), CorimError> {
        let tags: &[u64] = match self {
            Profile::Psa | Profile::Platform | Profile::Realm => &[BYTES],
            Profile::PsaBefore | Profile::PlatformBefore => &[BYTES, IMPLEMENTATION_ID],
            Profile::RealmByInstance => return Ok(()),
        };
        let class = environment.at(0).ok_or(CorimError::NoClass)?;
        let id = class.at(0).and_then(Value::tagged).filter(|(tag, _)| tags.contains(tag));
        let fits = |id: &&[u8]| if self == Profile::Realm { measurements::is_hash(id) } else { id.len() == 32 };
        id.and_then(|(_, id)| id.bytes()).filter(fits).map(|_| ()).ok_or(CorimError::ClassId)
    }

    /// A platform's instance is a UEID, since 2025 a random one of 32 bytes; a realm's are bytes.
    fn check_instance(self, environment: &Value<'_>) -> Result<(), CorimError> {
        let (tag, id) = environment.at(INSTANCE).and_then(Value::tagged).ok_or(ProfileRule::Instance)?;
        let id = id.bytes().unwrap_or_default();
        let fits = match self {
            Profile::Psa | Profile::Platform => tag == UEID && id.len() == 33 && id.first() == Some(&RANDOM),
            Profile::PsaBefore | Profile::PlatformBefore => tag == UEID && !id.is_empty(),
            Profile::Realm | Profile::RealmByInstance => tag == BYTES && !id.is_empty(),
        };
        if fits { Ok(()) } else { Err(ProfileRule::Instance.into()) }
    }
}

impl ProfileRule {
    /// The word for it.
    pub const fn code(self) -> &'static str {
        match self {
            ProfileRule::InstanceOfReference => "profile-instance-of-reference",
            ProfileRule::Instance => "profile-instance",
            ProfileRule::KeyCount => "profile-key-count",
            ProfileRule::KeyKind => "profile-key-kind",
            ProfileRule::KeysOfRealm => "profile-keys-of-realm",
            ProfileRule::MeasurementKey => "profile-measurement-key",
            ProfileRule::AuthorizedBy => "profile-authorized-by",
            ProfileRule::NoDigests => "profile-no-digests",
            ProfileRule::DigestCount => "profile-digest-count",
            ProfileRule::DigestSize => "profile-digest-size",
            ProfileRule::RepeatedHash => "profile-repeated-hash",
            ProfileRule::SignerCount => "profile-signer-count",
            ProfileRule::SignerKind => "profile-signer-kind",
            ProfileRule::VersionScheme => "profile-version-scheme",
            ProfileRule::NoComponent => "profile-no-component",
            ProfileRule::ConfigurationCount => "profile-configuration-count",
            ProfileRule::NoInitialMeasurement => "profile-no-initial-measurement",
            ProfileRule::NoRawValue => "profile-no-raw-value",
            ProfileRule::RawValueKind => "profile-raw-value-kind",
            ProfileRule::Mask => "profile-mask",
            ProfileRule::NoIntegrityRegisters => "profile-no-integrity-registers",
        }
    }
}

const INSTANCE: i64 = 1;
const UEID: u64 = 550;
/// The first byte of a UEID that is random (RFC 9711, section 4.2.1).
const RANDOM: u8 = 1;
const PKIX_KEY: u64 = 554;
const IMPLEMENTATION_ID: u64 = 600;

#[cfg(test)]
mod tests;
