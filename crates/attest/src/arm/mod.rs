//! Arm's attestation tokens: PSA ([`psa`]) and CCA ([`cca`]), both EAT claims in CBOR under COSE_Sign1.
//!
//! What they share is here: claims of fixed sizes under integer labels, the security lifecycle, and the list of measured firmware. Only a *secured*
//! lifecycle is accepted; debug states are refused by code whatever a policy says. The keys that sign (the initial attestation key of a
//! device, the platform key of a CCA machine) come with no certificate: the caller names those it trusts, and that is the trust anchor. The
//! tokens have no times, so freshness is the challenge's alone.
//!
//! Claims that a profile does not define are kept under their label and have no influence. The numbered steps are those of
//! `docs/spec/platforms/arm.md`.

mod additions;
pub mod cca;
pub mod psa;

use crate::{
    CborError,
    cbor::Value,
    platform::{Claim, Register, claim, claim_hex, register},
};

/// What is wrong with the claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// They are not CBOR, or not a map.
    #[error("the claims cannot be read")]
    Cbor(#[from] CborError),
    /// A mandatory claim is missing.
    #[error("the claim `{0}` is missing")]
    Missing(&'static str),
    /// A claim of another type, size or value than the profile says.
    #[error("the claim `{0}` is not what the profile says")]
    Invalid(&'static str),
    /// A profile that is not known.
    #[error("the profile `{0}` is not known")]
    Profile(String),
}

impl ClaimFault {
    const fn code(&self) -> &'static str {
        match self {
            ClaimFault::Cbor(error) => error.code(),
            ClaimFault::Missing(_) => "claim-missing",
            ClaimFault::Invalid(_) => "claim-invalid",
            ClaimFault::Profile(_) => "profile-unknown",
        }
    }
}

/// The security lifecycle, by its high byte (PSA Security Model; CCA Security Model).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifecycle {
    Secured,
    Debug,
    Other,
}

impl Lifecycle {
    const fn of(value: u16) -> Lifecycle {
        match value >> 8 {
            0x30 => Lifecycle::Secured,
            0x40 | 0x50 => Lifecycle::Debug,
            _ => Lifecycle::Other,
        }
    }
}

/// One piece of measured firmware.
#[derive(Debug)]
struct Component {
    kind: Option<String>,
    measurement: Vec<u8>,
    version: Option<String>,
    signer: Option<Vec<u8>>,
}

/// The claims of one token, by label.
struct Claims<'a, 'b>(&'b Value<'a>);

impl<'a, 'b> Claims<'a, 'b> {
    fn new(value: &'b Value<'a>) -> Result<Claims<'a, 'b>, ClaimFault> {
        value.map().ok_or(CborError::NotWellFormed(0))?;
        Ok(Claims(value))
    }

    fn need(&self, label: i64, name: &'static str) -> Result<&'b Value<'a>, ClaimFault> {
        self.0.at(label).ok_or(ClaimFault::Missing(name))
    }

    fn has(&self, label: i64) -> bool {
        self.0.at(label).is_some()
    }

    fn bytes(&self, label: i64, name: &'static str, sizes: &[usize]) -> Result<Vec<u8>, ClaimFault> {
        sized(self.need(label, name)?, name, sizes)
    }

    fn text(&self, label: i64, name: &'static str) -> Result<Option<String>, ClaimFault> {
        self.0.at(label).map(|value| short(value, name)).transpose()
    }

    /// A UEID of the type that hashes use: 01, then 32 bytes (RFC 9711, section 4.2.1).
    fn instance_id(&self, label: i64) -> Result<Vec<u8>, ClaimFault> {
        let id = self.bytes(label, "instance_id", &[33])?;
        if id.first() == Some(&1) { Ok(id) } else { Err(ClaimFault::Invalid("instance_id")) }
    }

    fn lifecycle(&self, label: i64) -> Result<u16, ClaimFault> {
        let value = self.need(label, "lifecycle")?.unsigned().and_then(|value| u16::try_from(value).ok());
        value.ok_or(ClaimFault::Invalid("lifecycle"))
    }

    fn components(&self, label: i64, signer_is_needed: bool) -> Result<Vec<Component>, ClaimFault> {
        let invalid = ClaimFault::Invalid("software_components");
        let list = self.need(label, "software_components")?.array().ok_or(invalid.clone())?;
        if list.is_empty() || list.len() > MAX_COMPONENTS {
            return Err(invalid);
        }
        list.iter().map(|item| component(item, signer_is_needed)).collect()
    }

    /// Claims that the profile does not define, for people.
    fn unknown(&self, known: &[i64]) -> Vec<Claim> {
        let entries = self.0.map().unwrap_or_default().iter().map(|(key, _)| key);
        let unknown = entries.filter(|key| !key.integer().is_some_and(|label| known.contains(&label)));
        let named = unknown.map(|key| match (key.integer(), key.text()) {
            (Some(label), _) => label.to_string(),
            (None, Some(text)) => printable(text),
            (None, None) => "other".to_owned(),
        });
        named
            .map(|name| claim(&format!("unknown_{name}"), "present", "a claim that the profile does not define"))
            .collect()
    }
}

fn component(item: &Value<'_>, signer_is_needed: bool) -> Result<Component, ClaimFault> {
    const NAME: &str = "software_components";
    item.map().ok_or(ClaimFault::Invalid(NAME))?;
    let optional_text = |label| item.at(label).map(|value| short(value, NAME)).transpose();
    let signer = item.at(5).map(|value| sized(value, NAME, &HASHES)).transpose()?;
    if signer.is_none() && signer_is_needed {
        return Err(ClaimFault::Missing("signer_id"));
    }
    Ok(Component {
        kind: optional_text(1)?,
        measurement: sized(item.at(2).ok_or(ClaimFault::Missing("measurement_value"))?, NAME, &HASHES)?,
        version: optional_text(4)?,
        signer,
    })
}

/// One register for each component whose type is its own, under a prefix.
fn component_registers(prefix: &str, components: &[Component]) -> Vec<Register> {
    let alone = |kind: &String| components.iter().filter(|other| other.kind.as_ref() == Some(kind)).count() == 1;
    let named = components.iter().filter_map(|component| {
        let kind = component.kind.as_ref().filter(|kind| alone(kind))?;
        Some(register(&format!("{prefix}{kind}"), &component.measurement))
    });
    named.collect()
}

fn component_claims(components: &[Component]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (index, component) in components.iter().enumerate() {
        let kind = component.kind.as_deref().unwrap_or("a component without a name");
        let version = component.version.as_deref().unwrap_or("not told");
        let signer = component.signer.as_ref().map_or_else(|| "not told".to_owned(), hex::encode);
        let words = format!("measured firmware: {kind}, version {version}, signer {signer}");
        claims.push(claim_hex(&format!("component_{index}"), &component.measurement, words));
    }
    claims
}

fn sized(value: &Value<'_>, name: &'static str, sizes: &[usize]) -> Result<Vec<u8>, ClaimFault> {
    let bytes = value.bytes().filter(|bytes| sizes.contains(&bytes.len()));
    bytes.map(<[u8]>::to_vec).ok_or(ClaimFault::Invalid(name))
}

fn short(value: &Value<'_>, name: &'static str) -> Result<String, ClaimFault> {
    let text = value.text().filter(|text| text.len() <= MAX_TEXT && !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or(ClaimFault::Invalid(name))
}

fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

/// The sizes of SHA-256, SHA-384 and SHA-512.
const HASHES: [usize; 3] = [32, 48, 64];
const MAX_COMPONENTS: usize = 64;
const MAX_TEXT: usize = 512;
const MAX_TOKEN: usize = 64 * 1024;
