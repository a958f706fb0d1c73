//! CoRIM (draft-ietf-rats-corim): Reference Values as their providers sign them.
//!
//! A CoRIM is a CBOR map, bare or tagged 501, and a signed one is the payload of a COSE_Sign1. Earlier drafts, and vendors since, have further tags
//! around them (500 around either, 502 around the signed one), which say nothing more. In it lie CoMIDs, which say of an
//! environment (a class, an instance) which measurements it should have and which keys vouch for it. [`UnsignedCorim`] is only what
//! the bytes say; [`SignedCorim`] is what a provider vouches for, under a key that the caller trusts; [`SignedCorim::current`] holds
//! it against a time. Reference Values for a policy come from the last alone.
//!
//! Where the profile is known here (Arm's of CCA platforms and realms, and of PSA devices), its own rules are checked. Tags of other
//! kinds (CoSWID, CoTL) are carried along unread. Absent: fetching of dependent manifests.

mod digest;
mod measurements;
mod profile;
mod validity;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub use digest::HashAlgorithm;
pub use profile::ProfileRule;

use crate::{
    cbor::{CborError, Form, Value},
    cose::{CoseError, Sign1},
    keys::VerificationKey,
};
use validity::Validity;

/// What a CoRIM says, without anybody's word for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedCorim {
    /// Its id: text, or the hexadecimal of a UUID.
    pub id: String,
    /// The profiles that it follows.
    pub profiles: Vec<String>,
    /// From when it holds.
    pub not_before: Option<Timestamp>,
    /// Until when it holds.
    pub not_after: Option<Timestamp>,
    /// What environments should measure.
    pub references: Vec<ReferenceTriple>,
    /// For how many environments it names keys.
    pub keys: usize,
    /// How many tags it has that are not read.
    pub other_tags: usize,
    /// The first triple that its profile does not allow, where that ends nothing but its use.
    unfit: Option<CorimError>,
}

/// What an environment should measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceTriple {
    /// The class of the environment, in hexadecimal, if it is named.
    pub class: Option<String>,
    /// Its measurements.
    pub measurements: Vec<ReferenceMeasurement>,
}

/// One measurement that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceMeasurement {
    /// The key that tells it from others.
    pub key: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// Its digests: the hash and the value.
    pub digests: Vec<(HashAlgorithm, Vec<u8>)>,
}

/// A CoRIM that a trusted key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCorim {
    corim: UnsignedCorim,
    /// Of the signature.
    validity: Validity,
}

/// A signed CoRIM that holds at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentCorim {
    corim: UnsignedCorim,
}

/// Why a CoRIM is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorimError {
    /// Longer than is ever read.
    #[error("a CoRIM of {0} bytes is not read; at most {MAX} are")]
    TooLarge(usize),
    /// The CBOR.
    #[error("the CoRIM cannot be read")]
    Malformed(#[source] CborError),
    /// The envelope.
    #[error("the signed CoRIM's envelope cannot be read")]
    Envelope(#[source] CoseError),
    /// Nobody signed it.
    #[error("the CoRIM is not signed")]
    Unsigned,
    /// The signature.
    #[error("the CoRIM is not signed by a key that is trusted")]
    Signature,
    /// A member that is missing or of another type.
    #[error("the member `{0}` of the CoRIM is missing or is not what it should be")]
    Member(&'static str),
    /// A profile's rule: no class.
    #[error("an environment has no class, which the profile asks for")]
    NoClass,
    /// A profile's rule: a class of another form.
    #[error("an environment's class has no id of the kind and size that the profile asks for")]
    ClassId,
    /// A profile's rule.
    #[error("the CoRIM is not of the profile that it names")]
    Profile(#[from] ProfileRule),
    /// Not yet.
    #[error("the CoRIM does not hold before {0}")]
    NotYetValid(Timestamp),
    /// No longer.
    #[error("the CoRIM has not held since {0}")]
    Expired(Timestamp),
    /// No end.
    #[error("the CoRIM does not say how long it holds")]
    NoValidity,
}

impl UnsignedCorim {
    /// Reads a CoRIM, bare or tagged 501 or 500(501), whose bytes it must use up.
    ///
    /// # Errors
    /// [`CorimError`].
    pub fn parse(bytes: &[u8]) -> Result<UnsignedCorim, CorimError> {
        if bytes.len() > MAX {
            return Err(CorimError::TooLarge(bytes.len()));
        }
        let mut items = 0;
        let bytes = match bytes.strip_prefix(&CHOICE) {
            Some(chosen) if chosen.starts_with(&TAGGED) => chosen,
            _ => bytes,
        };
        let value = Value::parse_within(bytes, Form::Plain, &mut items).map_err(CorimError::Malformed)?;
        let map = match value.tagged() {
            Some((UNSIGNED, map)) => map,
            Some(_) => return Err(CorimError::Member("tag")),
            None => &value,
        };
        if map.map().is_none() {
            return Err(CorimError::Member("corim-map"));
        }
        let mut corim = UnsignedCorim {
            id: name(map.at(0)).ok_or(CorimError::Member("id"))?,
            profiles: profiles(map.at(3))?,
            not_before: None,
            not_after: None,
            references: Vec::new(),
            keys: 0,
            other_tags: 0,
            unfit: None,
        };
        if let Some(validity) = map.at(4) {
            corim.not_before = validity.at(0).map(time).transpose()?;
            corim.not_after = Some(time(validity.at(1).ok_or(CorimError::Member("not-after"))?)?);
        }
        for tag in map.at(1).and_then(Value::array).ok_or(CorimError::Member("tags"))? {
            corim.read_tag(tag, &mut items)?;
        }
        Ok(corim)
    }

    /// `items` counts those of the whole document.
    fn read_tag(&mut self, tag: &Value<'_>, items: &mut usize) -> Result<(), CorimError> {
        let (number, bytes) = match tag.tagged() {
            Some((number, body)) => (number, body.bytes()),
            None => (COMID, tag.bytes()),
        };
        let bytes = bytes.ok_or(CorimError::Member("tag"))?;
        if number != COMID {
            self.other_tags += 1;
            return Ok(());
        }
        let value = Value::parse_within(bytes, Form::Plain, items).map_err(CorimError::Malformed)?;
        // Earlier drafts have the tag inside the string, later ones around it.
        let comid = match value.tagged() {
            Some((COMID, comid)) => comid,
            Some(_) => {
                self.other_tags += 1;
                return Ok(());
            }
            None => &value,
        };
        let triples = comid.at(4).ok_or(CorimError::Member("triples"))?;
        if triples.map().is_none_or(<[_]>::is_empty) {
            return Err(CorimError::Member("triples"));
        }
        for record in records(triples.at(0))? {
            let [environment, measurements] = pair(record)?;
            let measurements = measurements.array().ok_or(CorimError::Member("measurements"))?;
            let unfit = profile::check_reference(&self.profiles, environment, measurements)?;
            self.unfit = self.unfit.take().or(unfit);
            let measurements = measurements.iter().map(measurement).collect::<Result<_, _>>()?;
            self.references.push(ReferenceTriple { class: class(environment)?, measurements });
        }
        for kind in [2, 3] {
            for record in records(triples.at(kind))? {
                let [environment, keys] = keyed(record)?;
                self.keys += 1;
                let unfit = profile::check_keys(&self.profiles, environment, keys)?;
                self.unfit = self.unfit.take().or(unfit);
            }
        }
        Ok(())
    }
}

impl SignedCorim {
    /// Opens a signed CoRIM under the keys of providers whom the caller trusts.
    ///
    /// # Errors
    /// [`CorimError`]; an unsigned one is refused by name.
    pub fn open(bytes: &[u8], providers: &[VerificationKey]) -> Result<SignedCorim, CorimError> {
        if bytes.len() > MAX {
            return Err(CorimError::TooLarge(bytes.len()));
        }
        let chosen = bytes.strip_prefix(&CHOICE).unwrap_or(bytes);
        let envelope = match Sign1::parse(chosen.strip_prefix(&SIGNED).unwrap_or(chosen)) {
            Ok(envelope) => envelope,
            Err(_) if is_unsigned(chosen) => return Err(CorimError::Unsigned),
            Err(error) => return Err(CorimError::Envelope(error)),
        };
        if !providers.iter().any(|key| envelope.verify(key).is_ok()) {
            return Err(CorimError::Signature);
        }
        let validity = Validity::of_signature(envelope.protected())?;
        Ok(SignedCorim { corim: UnsignedCorim::parse(envelope.payload())?, validity })
    }

    /// What it says.
    pub const fn corim(&self) -> &UnsignedCorim {
        &self.corim
    }

    /// Holds it and the signature over it against a time. Where neither says how long it holds it is refused: Reference Values expire.
    ///
    /// # Errors
    /// [`CorimError::NotYetValid`], [`CorimError::Expired`], [`CorimError::NoValidity`]; a rule of the profile for PSA devices before 2025.
    pub fn current(self, now: Timestamp) -> Result<CurrentCorim, CorimError> {
        let SignedCorim { corim, validity } = self;
        validity.and(Validity { not_before: corim.not_before, not_after: corim.not_after }).check(now)?;
        match corim.unfit {
            Some(fault) => Err(fault),
            None => Ok(CurrentCorim { corim }),
        }
    }
}

impl CurrentCorim {
    /// The Reference Values of one class, as [`ReferenceTriple`] writes it: by name or key of the measurement, the accepted digests in hexadecimal.
    /// Digests by a hash that has only a name are none of them.
    pub fn reference_values_of(&self, class: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let triples = self.corim.references.iter().filter(|triple| triple.class.as_deref() == Some(class));
        for measurement in triples.flat_map(|triple| &triple.measurements) {
            let Some(name) = measurement.name.clone().or_else(|| measurement.key.clone()) else { continue };
            let accepted =
                measurement.digests.iter().filter(|(algorithm, _)| matches!(algorithm, HashAlgorithm::Number(_)));
            values.entry(name).or_default().extend(accepted.map(|(_, digest)| hex::encode(digest)));
        }
        values
    }
}

impl CorimError {
    /// The word for the reason.
    pub const fn code(&self) -> &'static str {
        match self {
            CorimError::TooLarge(_) | CorimError::Malformed(_) => "corim-malformed",
            CorimError::Envelope(_) => "envelope-malformed",
            CorimError::Unsigned => "unsigned",
            CorimError::Signature => "signature-invalid",
            CorimError::Member(_) => "member-invalid",
            CorimError::NoClass => "no-class",
            CorimError::ClassId => "class-id",
            CorimError::Profile(rule) => rule.code(),
            CorimError::NotYetValid(_) => "not-yet-valid",
            CorimError::Expired(_) => "expired",
            CorimError::NoValidity => "no-validity",
        }
    }

    /// Whether the bytes are not even a CoRIM.
    pub const fn is_malformed(&self) -> bool {
        matches!(
            self,
            CorimError::TooLarge(_) | CorimError::Malformed(_) | CorimError::Envelope(_) | CorimError::Member(_)
        )
    }
}

/// Whether bytes that are no envelope begin as a CoRIM without one does: with its tag, or with its map. Nothing more of them is read.
fn is_unsigned(bytes: &[u8]) -> bool {
    bytes.starts_with(&TAGGED) || bytes.first().is_some_and(|first| first >> 5 == 5)
}

fn records<'a>(value: Option<&'a Value<'a>>) -> Result<&'a [Value<'a>], CorimError> {
    match value {
        None => Ok(&[]),
        Some(value) => value.array().ok_or(CorimError::Member("triples")),
    }
}

fn pair<'a>(record: &'a Value<'a>) -> Result<[&'a Value<'a>; 2], CorimError> {
    match record.array() {
        Some([first, second]) => Ok([first, second]),
        _ => Err(CorimError::Member("triple")),
    }
}

/// The environment and the keys of a triple; conditions may follow, which say when the keys count.
fn keyed<'a>(record: &'a Value<'a>) -> Result<[&'a Value<'a>; 2], CorimError> {
    match record.array() {
        Some([environment, keys]) => Ok([environment, keys]),
        Some([environment, keys, conditions]) if matches!(conditions.map(), Some([_, ..])) => Ok([environment, keys]),
        _ => Err(CorimError::Member("triple")),
    }
}

/// environment-map: class 0, instance 1, group 2; class-map: class-id 0, vendor 1, model 2.
fn class(environment: &Value<'_>) -> Result<Option<String>, CorimError> {
    if environment.map().is_none() {
        return Err(CorimError::Member("environment"));
    }
    match environment.at(0) {
        None => Ok(None),
        Some(class) if class.map().is_none() => Err(CorimError::Member("class")),
        Some(class) => Ok(Some(class.at(0).and_then(|id| name(Some(id))).unwrap_or_default())),
    }
}

/// measurement-map: key 0, values 1; of the values digests 2, name 11.
fn measurement(value: &Value<'_>) -> Result<ReferenceMeasurement, CorimError> {
    let values = value.at(1).ok_or(CorimError::Member("mval"))?;
    // A PSA component's id is a map of label, version and signer (draft-fdb-rats-psa-endorsements, tag 601).
    let label = || value.at(0)?.tagged().filter(|(tag, _)| *tag == PSA_COMPONENT)?.1.at(1);
    Ok(ReferenceMeasurement {
        key: name(value.at(0)).or_else(|| name(label())),
        name: values.at(11).and_then(Value::text).map(str::to_owned),
        digests: digest::digests(values.at(2))?,
    })
}

/// Text as it is, bytes in hexadecimal, with or without a tag around them; at most 200 characters.
fn name(value: Option<&Value<'_>>) -> Option<String> {
    let value = value?;
    let value = value.tagged().map_or(value, |(_, inner)| inner);
    let text = match (value.text(), value.bytes(), value.unsigned()) {
        (Some(text), _, _) => text.to_owned(),
        (_, Some(bytes), _) => hex::encode(bytes),
        (_, _, Some(number)) => number.to_string(),
        _ => return None,
    };
    Some(text.chars().filter(|character| !character.is_control()).take(200).collect())
}

/// One profile, or a list of them in earlier drafts.
fn profiles(value: Option<&Value<'_>>) -> Result<Vec<String>, CorimError> {
    match value {
        None => Ok(Vec::new()),
        Some(value) => match value.array() {
            Some(list) => list.iter().map(|item| name(Some(item)).ok_or(CorimError::Member("profile"))).collect(),
            None => Ok(vec![name(Some(value)).ok_or(CorimError::Member("profile"))?]),
        },
    }
}

/// Tag 1 with whole seconds.
fn time(value: &Value<'_>) -> Result<Timestamp, CorimError> {
    let bad = CorimError::Member("time");
    match value.tagged() {
        Some((1, seconds)) => {
            let seconds = seconds.integer().ok_or(bad.clone())?;
            Timestamp::from_second(seconds).map_err(|_| bad)
        }
        _ => Err(bad),
    }
}

const UNSIGNED: u64 = 501;
/// The tags 500, 502 and 501, in three bytes each.
const CHOICE: [u8; 3] = [0xd9, 0x01, 0xf4];
const SIGNED: [u8; 3] = [0xd9, 0x01, 0xf6];
const TAGGED: [u8; 3] = [0xd9, 0x01, 0xf5];
const COMID: u64 = 506;
const PSA_COMPONENT: u64 = 601;
/// What is read takes up to sixty times as much memory: three bytes can be a measurement.
const MAX: usize = 512 << 10;

#[cfg(test)]
mod tests;
