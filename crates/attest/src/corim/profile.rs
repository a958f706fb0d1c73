//! What Arm's profiles ask of the triples in a CoRIM.
//!
//! A triple that a profile does not allow makes the whole CoRIM none of that profile, so it is refused rather than passed over: what it says
//! of another environment, or by another kind of key, would be taken for something else. Known are CCA platforms (in the encoding of 2025
//! and in the one before it), CCA realms (likewise) and PSA devices. A profile that is not known here has no rules here.
//!
//! Sources: draft-ydb-rats-cca-endorsements; before it, what Veraison's services refuse under the profiles of 2023.

use super::{CorimError, records};
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
    /// Nothing to compare with.
    #[error("a measurement has no digests")]
    NoDigests,
    /// Nothing to compare with.
    #[error("a measurement has no raw value")]
    NoRawValue,
    /// Nothing to compare with.
    #[error("a measurement has no integrity registers")]
    NoIntegrityRegisters,
}

/// The profiles that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    Psa,
    Platform,
    /// Told by the realm's initial measurement, as its class.
    Realm,
    /// Told by its instance.
    RealmByInstance,
}

/// Whether every profile that is known allows a triple of Reference Values. What the profile of PSA devices does not allow is handed back, since
/// published examples under its name do not keep to it: such a CoRIM can be opened, and is never current.
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
            (Profile::Psa, Err(fault)) => unfit = unfit.or(Some(fault)),
            (Profile::Platform | Profile::Realm | Profile::RealmByInstance, Err(fault)) => return Err(fault),
        }
    }
    Ok(unfit)
}

impl Profile {
    fn named(name: &str) -> Option<Profile> {
        match name {
            "http://arm.com/psa/iot/1" => Some(Profile::Psa),
            "http://arm.com/cca/ssd/1" => Some(Profile::Platform),
            "http://arm.com/cca/realm/1" | "tag:arm.com,2023:realm#1.0.0" => Some(Profile::RealmByInstance),
            _ if name.contains("cca_platform") => Some(Profile::Platform),
            _ if name.contains("cca_realm") => Some(Profile::Realm),
            _ => None,
        }
    }

    fn check_reference(self, environment: &Value<'_>, measurements: &[Value<'_>]) -> Result<(), CorimError> {
        self.check_class(environment)?;
        let check = match self {
            Profile::Psa | Profile::Platform if environment.at(INSTANCE).is_some() => {
                return Err(CorimError::Profile(ProfileRule::InstanceOfReference));
            }
            Profile::Psa | Profile::Platform => platform_measurement,
            Profile::Realm => return Ok(()),
            Profile::RealmByInstance => {
                check_instance(environment, BYTES)?;
                realm_measurement
            }
        };
        measurements.iter().try_for_each(check).map_err(CorimError::Profile)
    }

    fn check_keys(self, environment: &Value<'_>, keys: &Value<'_>) -> Result<(), CorimError> {
        match self {
            Profile::Psa | Profile::Platform => {}
            Profile::Realm | Profile::RealmByInstance => return Err(CorimError::Profile(ProfileRule::KeysOfRealm)),
        }
        self.check_class(environment)?;
        check_instance(environment, UEID)?;
        let [key] = keys.array().unwrap_or_default() else {
            return Err(CorimError::Profile(ProfileRule::KeyCount));
        };
        if !matches!(key.tagged(), Some((PKIX_KEY, key)) if key.text().is_some()) {
            return Err(CorimError::Profile(ProfileRule::KeyKind));
        }
        Ok(())
    }

    /// A platform's class is its implementation id, a realm's its initial measurement.
    fn check_class(self, environment: &Value<'_>) -> Result<(), CorimError> {
        let (tags, sizes): (&[u64], &[usize]) = match self {
            Profile::Psa | Profile::Platform => (&[BYTES, IMPLEMENTATION_ID], &[32]),
            Profile::Realm => (&[BYTES], &[32, 48, 64]),
            Profile::RealmByInstance => return Ok(()),
        };
        let class = environment.at(0).ok_or(CorimError::NoClass)?;
        let id = class.at(0).and_then(Value::tagged).filter(|(tag, _)| tags.contains(tag));
        let id = id.and_then(|(_, id)| id.bytes()).filter(|id| sizes.contains(&id.len()));
        id.map(|_| ()).ok_or(CorimError::ClassId)
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
            ProfileRule::NoDigests => "profile-no-digests",
            ProfileRule::NoRawValue => "profile-no-raw-value",
            ProfileRule::NoIntegrityRegisters => "profile-no-integrity-registers",
        }
    }
}

fn check_instance(environment: &Value<'_>, tag: u64) -> Result<(), CorimError> {
    match environment.at(INSTANCE).and_then(Value::tagged) {
        Some((found, id)) if found == tag && id.bytes().is_some_and(|id| !id.is_empty()) => Ok(()),
        _ => Err(CorimError::Profile(ProfileRule::Instance)),
    }
}

/// A software component has digests, the configuration a raw value.
fn platform_measurement(measurement: &Value<'_>) -> Result<(), ProfileRule> {
    let key = measurement.at(0).ok_or(ProfileRule::MeasurementKey)?;
    match (key.tagged().map(|(tag, _)| tag), key.text()) {
        (Some(COMPONENT), _) | (None, Some("cca.software-component")) => {
            let digests = member(measurement, 2).and_then(|digests| records(Some(digests)).ok());
            if digests.is_some_and(|digests| !digests.is_empty()) { Ok(()) } else { Err(ProfileRule::NoDigests) }
        }
        (Some(CONFIGURATION), _) | (None, Some("cca.platform-config")) => raw_value(measurement),
        _ => Err(ProfileRule::MeasurementKey),
    }
}

/// The personalisation value and the registers.
fn realm_measurement(measurement: &Value<'_>) -> Result<(), ProfileRule> {
    raw_value(measurement)?;
    let registers = member(measurement, 14).and_then(Value::map);
    if registers.is_some_and(|registers| !registers.is_empty()) {
        Ok(())
    } else {
        Err(ProfileRule::NoIntegrityRegisters)
    }
}

fn raw_value(measurement: &Value<'_>) -> Result<(), ProfileRule> {
    member(measurement, 4).map(|_| ()).ok_or(ProfileRule::NoRawValue)
}

/// Of a measurement's values.
fn member<'a>(measurement: &'a Value<'a>, label: i64) -> Option<&'a Value<'a>> {
    measurement.at(1)?.at(label)
}

const INSTANCE: i64 = 1;
const UEID: u64 = 550;
const PKIX_KEY: u64 = 554;
const BYTES: u64 = 560;
const IMPLEMENTATION_ID: u64 = 600;
const COMPONENT: u64 = 601;
const CONFIGURATION: u64 = 602;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::UnsignedCorim;
    use super::*;
    use crate::cbor::Encoder;

    type Write<'a> = &'a dyn Fn(&mut Encoder);

    const PSA: &str = "http://arm.com/psa/iot/1";
    const PLATFORM: &str = "tag:arm.com,2025:cca_platform#1.0.0";
    const PLATFORM_BEFORE: &str = "http://arm.com/cca/ssd/1";
    const REALM: &str = "tag:arm.com,2025:cca_realm#1.0.0";
    const REALM_BEFORE: &str = "http://arm.com/cca/realm/1";

    /// A CoRIM of one CoMID with one triple of this kind: 0 Reference Values, 3 keys.
    fn parsed(profile: &str, kind: i64, environment: &[(i64, Write<'_>)], second: Write<'_>) -> Option<CorimError> {
        let mut comid = Encoder::default();
        comid.map(1);
        comid.integer(4);
        comid.map(1);
        comid.integer(kind);
        comid.array(1);
        comid.array(2);
        comid.map(environment.len());
        for (label, write) in environment {
            comid.integer(*label);
            write(&mut comid);
        }
        second(&mut comid);
        let mut corim = Encoder::default();
        corim.map(3);
        corim.integer(0);
        corim.text("id");
        corim.integer(1);
        corim.array(1);
        corim.tag(506);
        corim.bytes(&comid.done());
        corim.integer(3);
        corim.tag(32);
        corim.text(profile);
        match UnsignedCorim::parse(&corim.done()) {
            Ok(corim) => {
                assert!(corim.unfit.is_none() || profile == PSA);
                corim.unfit
            }
            Err(refused) => {
                assert_ne!(profile, PSA, "a CoRIM of PSA devices opens");
                Some(refused)
            }
        }
    }

    /// A class whose id has this tag and size.
    fn class(tag: u64, size: usize) -> impl Fn(&mut Encoder) {
        move |encoder| {
            encoder.map(1);
            encoder.integer(0);
            encoder.tag(tag);
            encoder.bytes(&vec![7; size]);
        }
    }

    fn tagged(tag: u64) -> impl Fn(&mut Encoder) {
        move |encoder| {
            encoder.tag(tag);
            encoder.bytes(&[1; 33]);
        }
    }

    /// One measurement with a key, and values under these labels.
    fn measurement<'a>(key: Option<Write<'a>>, labels: &'a [i64]) -> impl Fn(&mut Encoder) + 'a {
        move |encoder| {
            encoder.array(1);
            encoder.map(1 + usize::from(key.is_some()));
            if let Some(key) = key {
                encoder.integer(0);
                key(encoder);
            }
            encoder.integer(1);
            encoder.map(labels.len());
            for label in labels {
                encoder.integer(*label);
                match label {
                    2 => {
                        encoder.array(1);
                        encoder.array(2);
                        encoder.integer(1);
                        encoder.bytes(&[5; 32]);
                    }
                    14 => {
                        encoder.map(1);
                        encoder.text("rim");
                        encoder.array(0);
                    }
                    _ => encoder.bytes(&[1, 2, 3]),
                }
            }
        }
    }

    fn keys(tags: &[u64]) -> impl Fn(&mut Encoder) + '_ {
        move |encoder| {
            encoder.array(tags.len());
            for tag in tags {
                encoder.tag(*tag);
                encoder.text("-----BEGIN PUBLIC KEY-----");
            }
        }
    }

    const fn rule(rule: ProfileRule) -> Option<CorimError> {
        Some(CorimError::Profile(rule))
    }

    #[test]
    fn reference_values_of_a_platform_are_for_its_class_and_say_what_of() {
        let software: Write<'_> = &|encoder| encoder.text("cca.software-component");
        let configuration: Write<'_> = &|encoder| encoder.text("cca.platform-config");
        let before: Write<'_> = &|encoder| {
            encoder.tag(601);
            encoder.map(0);
        };
        let configured_before: Write<'_> = &|encoder| {
            encoder.tag(602);
            encoder.text("config");
        };
        let other: Write<'_> = &|encoder| encoder.integer(3);
        let of_class: &[(i64, Write<'_>)] = &[(0, &class(560, 32))];
        for profile in [PSA, PLATFORM, PLATFORM_BEFORE] {
            let with = |key, labels| parsed(profile, 0, of_class, &measurement(key, labels));
            assert_eq!(with(Some(software), &[2]), None);
            assert_eq!(with(Some(before), &[2]), None);
            assert_eq!(with(Some(configuration), &[4]), None);
            assert_eq!(with(Some(configured_before), &[4]), None);
            assert_eq!(with(Some(software), &[4]), rule(ProfileRule::NoDigests));
            assert_eq!(with(Some(configuration), &[2]), rule(ProfileRule::NoRawValue));
            assert_eq!(with(None, &[2]), rule(ProfileRule::MeasurementKey));
            assert_eq!(with(Some(other), &[2]), rule(ProfileRule::MeasurementKey));
            let environment =
                |parts: &[(i64, Write<'_>)]| parsed(profile, 0, parts, &measurement(Some(software), &[2]));
            assert_eq!(environment(&[(0, &class(600, 32))]), None);
            assert_eq!(environment(&[(0, &class(37, 32))]), Some(CorimError::ClassId));
            assert_eq!(environment(&[(0, &class(560, 33))]), Some(CorimError::ClassId));
            assert_eq!(environment(&[]), Some(CorimError::NoClass));
            let instance = environment(&[(0, &class(560, 32)), (1, &tagged(550))]);
            assert_eq!(instance, rule(ProfileRule::InstanceOfReference));
        }
        // A profile that is not known has no rules here.
        assert_eq!(parsed("tag:example.com,2026:other", 0, &[], &measurement(None, &[2])), None);
    }

    #[test]
    fn a_key_of_a_platform_is_one_and_for_one_instance() {
        for profile in [PSA, PLATFORM, PLATFORM_BEFORE] {
            let of_instance: &[(i64, Write<'_>)] = &[(0, &class(560, 32)), (1, &tagged(550))];
            let with = |tags: &[u64]| parsed(profile, 3, of_instance, &keys(tags));
            assert_eq!(with(&[554]), None);
            assert_eq!(with(&[]), rule(ProfileRule::KeyCount));
            assert_eq!(with(&[554, 554]), rule(ProfileRule::KeyCount));
            assert_eq!(with(&[557]), rule(ProfileRule::KeyKind));
            let environment = |parts: &[(i64, Write<'_>)]| parsed(profile, 3, parts, &keys(&[554]));
            assert_eq!(environment(&[(1, &tagged(550))]), Some(CorimError::NoClass));
            assert_eq!(environment(&[(0, &class(560, 32))]), rule(ProfileRule::Instance));
            assert_eq!(environment(&[(0, &class(560, 32)), (1, &tagged(560))]), rule(ProfileRule::Instance));
        }
    }

    #[test]
    fn a_realm_is_told_by_its_measurement_and_names_no_keys() {
        for profile in [REALM, REALM_BEFORE] {
            assert_eq!(parsed(profile, 3, &[], &keys(&[554])), rule(ProfileRule::KeysOfRealm));
        }
        let of_class: &[(i64, Write<'_>)] = &[(0, &class(560, 48))];
        assert_eq!(parsed(REALM, 0, of_class, &measurement(None, &[2])), None);
        assert_eq!(parsed(REALM, 0, &[(0, &class(560, 20))], &measurement(None, &[2])), Some(CorimError::ClassId));
        assert_eq!(parsed(REALM, 0, &[], &measurement(None, &[2])), Some(CorimError::NoClass));
        let with = |labels| parsed(REALM_BEFORE, 0, &[(1, &tagged(560))], &measurement(None, labels));
        assert_eq!(with(&[4, 14]), None);
        assert_eq!(with(&[14]), rule(ProfileRule::NoRawValue));
        assert_eq!(with(&[4]), rule(ProfileRule::NoIntegrityRegisters));
        let other = parsed(REALM_BEFORE, 0, &[(1, &tagged(550))], &measurement(None, &[4, 14]));
        assert_eq!(other, rule(ProfileRule::Instance));
        assert_eq!(parsed(REALM_BEFORE, 0, &[], &measurement(None, &[4, 14])), rule(ProfileRule::Instance));
    }
}
