//! What Arm's profiles ask of the measurements of one triple.
//!
//! Sources: draft-ydb-rats-cca-endorsements, sections 3.1.3 and 3.2.3; draft-fdb-rats-psa-endorsements, section 3.3; for the encodings before
//! those, what Veraison's services refuse. Where the drafts ask for a hash by name, its number is taken as well, since published examples have it.

use std::collections::BTreeSet;

use super::{CorimError, ProfileRule, digest::digests, records};
use crate::cbor::Value;

/// A software component, of a PSA device in the encoding of 2025: one or more.
pub(super) fn psa(measurements: &[Value<'_>]) -> Result<(), CorimError> {
    for measurement in measurements {
        match key(measurement)? {
            PSA_SOFTWARE => component(measurement)?,
            _ => return Err(ProfileRule::MeasurementKey.into()),
        }
    }
    at_least_one(measurements, PSA_SOFTWARE, ProfileRule::NoComponent)
}

/// A CCA platform in the encoding of 2025: its software components, one or more, and its configuration, once.
pub(super) fn platform(measurements: &[Value<'_>]) -> Result<(), CorimError> {
    for measurement in measurements {
        match key(measurement)? {
            CCA_SOFTWARE => component(measurement)?,
            CCA_CONFIGURATION => configuration(measurement)?,
            _ => return Err(ProfileRule::MeasurementKey.into()),
        }
    }
    at_least_one(measurements, CCA_SOFTWARE, ProfileRule::NoComponent)?;
    match of_key(measurements, CCA_CONFIGURATION).count() {
        1 => Ok(()),
        _ => Err(ProfileRule::ConfigurationCount.into()),
    }
}

/// A CCA realm in the encoding of 2025: its initial measurement, and what else there is.
pub(super) fn realm(measurements: &[Value<'_>]) -> Result<(), CorimError> {
    for measurement in measurements {
        match key(measurement)? {
            INITIAL | "cca.rem0" | "cca.rem1" | "cca.rem2" | "cca.rem3" => {
                if hashes(measurement)? != 1 {
                    return Err(ProfileRule::DigestCount.into());
                }
            }
            "cca.rpv" => match raw_value(measurement)?.tagged() {
                Some((BYTES, value)) if value.bytes().is_some() => {}
                _ => return Err(ProfileRule::RawValueKind.into()),
            },
            _ => return Err(ProfileRule::MeasurementKey.into()),
        }
    }
    at_least_one(measurements, INITIAL, ProfileRule::NoInitialMeasurement)
}

/// Before 2025, of PSA devices and CCA platforms: a software component has digests, the configuration a raw value.
pub(super) fn platform_before(measurement: &Value<'_>) -> Result<(), CorimError> {
    let key = measurement.at(0).ok_or(ProfileRule::MeasurementKey)?;
    match (key.tagged().map(|(tag, _)| tag), key.text()) {
        (Some(COMPONENT), _) | (None, Some(CCA_SOFTWARE)) => {
            let digests = member(measurement, 2).and_then(|digests| records(Some(digests)).ok());
            if digests.is_some_and(|digests| !digests.is_empty()) { Ok(()) } else { Err(ProfileRule::NoDigests.into()) }
        }
        (Some(CONFIGURATION), _) | (None, Some(CCA_CONFIGURATION)) => {
            raw_value(measurement)?;
            Ok(())
        }
        _ => Err(ProfileRule::MeasurementKey.into()),
    }
}

/// Before 2025, of a realm: the personalisation value and the registers.
pub(super) fn realm_before(measurement: &Value<'_>) -> Result<(), CorimError> {
    raw_value(measurement)?;
    let registers = member(measurement, 14).and_then(Value::map);
    if registers.is_some_and(|registers| !registers.is_empty()) {
        Ok(())
    } else {
        Err(ProfileRule::NoIntegrityRegisters.into())
    }
}

/// The key, which is text. Nobody else than who signs the CoRIM vouches for the measurement.
fn key<'a>(measurement: &'a Value<'a>) -> Result<&'a str, ProfileRule> {
    let key = measurement.at(0).and_then(Value::text).ok_or(ProfileRule::MeasurementKey)?;
    match measurement.at(2) {
        None => Ok(key),
        Some(_) => Err(ProfileRule::AuthorizedBy),
    }
}

fn of_key<'a>(measurements: &'a [Value<'a>], key: &str) -> impl Iterator<Item = &'a Value<'a>> {
    measurements.iter().filter(move |measurement| measurement.at(0).and_then(Value::text) == Some(key))
}

fn at_least_one(measurements: &[Value<'_>], key: &str, otherwise: ProfileRule) -> Result<(), CorimError> {
    of_key(measurements, key).next().map(|_| ()).ok_or(CorimError::Profile(otherwise))
}

/// Digests by different hashes, the signer, and a version without a scheme, if there is one.
fn component(measurement: &Value<'_>) -> Result<(), CorimError> {
    hashes(measurement)?;
    let signers = member(measurement, 13).and_then(Value::array).unwrap_or_default();
    let [signer] = signers else {
        return Err(ProfileRule::SignerCount.into());
    };
    match signer.tagged() {
        Some((BYTES, id)) if id.bytes().is_some_and(is_hash) => {}
        _ => return Err(ProfileRule::SignerKind.into()),
    }
    match member(measurement, 0).and_then(|version| version.at(1)) {
        None => Ok(()),
        Some(_) => Err(ProfileRule::VersionScheme.into()),
    }
}

/// How many digests there are: one or more, each of the size of a hash, no two by the same.
fn hashes(measurement: &Value<'_>) -> Result<usize, CorimError> {
    let digests = digests(member(measurement, 2))?;
    if digests.is_empty() {
        return Err(ProfileRule::NoDigests.into());
    }
    if !digests.iter().all(|(_, value)| is_hash(value)) {
        return Err(ProfileRule::DigestSize.into());
    }
    let algorithms = digests.iter().map(|(algorithm, _)| algorithm).collect::<BTreeSet<_>>();
    if algorithms.len() == digests.len() { Ok(digests.len()) } else { Err(ProfileRule::RepeatedHash.into()) }
}

/// A raw value and a mask of its size: together, or, in earlier drafts of CoRIM, as two members.
fn configuration(measurement: &Value<'_>) -> Result<(), ProfileRule> {
    let (value, mask) = match raw_value(measurement)?.tagged() {
        Some((BYTES, value)) => (value.bytes(), member(measurement, 5).and_then(Value::bytes)),
        Some((MASKED, masked)) => match masked.array() {
            Some([value, mask]) => (value.bytes(), mask.bytes()),
            _ => (None, None),
        },
        _ => (None, None),
    };
    let value = value.ok_or(ProfileRule::RawValueKind)?;
    match mask {
        Some(mask) if mask.len() == value.len() => Ok(()),
        _ => Err(ProfileRule::Mask),
    }
}

fn raw_value<'a>(measurement: &'a Value<'a>) -> Result<&'a Value<'a>, ProfileRule> {
    member(measurement, 4).ok_or(ProfileRule::NoRawValue)
}

/// Of a measurement's values.
fn member<'a>(measurement: &'a Value<'a>, label: i64) -> Option<&'a Value<'a>> {
    measurement.at(1)?.at(label)
}

/// Whether bytes have the size of a hash that Arm's tokens know: of SHA-256, SHA-384 or SHA-512.
pub(super) fn is_hash(bytes: &[u8]) -> bool {
    matches!(bytes.len(), 32 | 48 | 64)
}

const CCA_SOFTWARE: &str = "cca.software-component";
const CCA_CONFIGURATION: &str = "cca.platform-config";
const PSA_SOFTWARE: &str = "psa.software-component";
const INITIAL: &str = "cca.rim";
/// Bytes of any size (draft-ietf-rats-corim, section 7.8).
pub(super) const BYTES: u64 = 560;
const MASKED: u64 = 563;
const COMPONENT: u64 = 601;
const CONFIGURATION: u64 = 602;
