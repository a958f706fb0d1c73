//! What the profiles of 2024 add to the claims of a CCA token.
//!
//! A platform tells that its caller is the secure world, and may tell of its manufacture, of the keys that its boot trusts, of devices outside its
//! package and of who else may sign. A realm tells how its memory is encrypted, and may tell an identity. All of them are checked for the form that
//! the profile gives them, none decides anything: they are shown, and a policy may ask for them.
//!
//! Sources: draft-ffm-rats-cca-token-03, as `veraison/rust-ccatoken` and `veraison/ccatoken` read it; Realm Management Monitor specification, section
//! A7.2.3.1. The memory encryption (MEC) policy is a text in the first and a number in the second; either is taken.

use super::{ClaimFault, Claims, HASHES, cca::hash, short, sized};
use crate::{
    cbor::Value,
    platform::{Claim, claim, claim_hex},
};

/// The labels of the platform's additions.
pub(super) const PLATFORM: [i64; 5] = [2394, 2403, 2404, 2405, 2406];
/// The labels of the realm's.
pub(super) const REALM: [i64; 3] = [44243, 44244, 256];

/// Checks the platform's additions.
pub(super) fn platform(claims: &Claims<'_, '_>) -> Result<Vec<Claim>, ClaimFault> {
    if claims.need(2394, "client_id")?.integer() != Some(SECURE_WORLD) {
        return Err(ClaimFault::Invalid("client_id"));
    }
    let mut found = vec![claim("client_id", SECURE_WORLD, "the caller of the platform: its secure world")];
    if let Some(config) = some_bytes(claims, 2403, "manufacturing_config")? {
        found.push(claim_hex("manufacturing_config", config, "how the platform was made"));
    }
    for (index, item) in some_items(claims, 2404, "extension")?.iter().enumerate() {
        let words = device(item)?;
        found.push(claim(&format!("extension_{index}"), words, "a device outside of the platform's package"));
    }
    for (index, item) in some_items(claims, 2405, "tbb_rotpk")?.iter().enumerate() {
        let (name, digest) = boot_key(item)?;
        found.push(claim_hex(&format!("tbb_rotpk_{index}"), &digest, format!("a key that boot trusts: {name}")));
    }
    if let Some(signers) = some_bytes(claims, 2406, "peer_signers")? {
        found.push(claim_hex("peer_signers", signers, "who signs for the platform's peers"));
    }
    Ok(found)
}

/// Checks the realm's additions.
pub(super) fn realm(claims: &Claims<'_, '_>) -> Result<Vec<Claim>, ClaimFault> {
    let policy = claims.need(44243, "mec_policy")?;
    let policy = match (policy.text(), policy.unsigned()) {
        (Some("shared"), _) | (_, Some(0)) => "shared",
        (Some("private"), _) | (_, Some(1)) => "private",
        _ => return Err(ClaimFault::Invalid("mec_policy")),
    };
    let mut found = vec![claim("mec_policy", policy, "whether the realm's memory is encrypted with a key of its own")];
    match claims.0.at(44244).map(Value::unsigned) {
        None => {}
        Some(Some(policy @ (0 | 1))) => {
            found.push(claim(
                "lfa_policy",
                policy,
                "whether firmware may be changed while the realm runs: 1 if it may",
            ));
        }
        Some(_) => return Err(ClaimFault::Invalid("lfa_policy")),
    }
    if claims.has(256) {
        let id = claims.instance_id(256)?;
        found.push(claim_hex("realm_instance_id", &id, "the identity of the realm"));
    }
    Ok(found)
}

/// platform-extension-device: hash 1, measurements 2, certificates 3, IDE 4, protocol 5, VCA 6, type 7, encryption 8. SPDM has a
/// VCA (version, capabilities and algorithms) from 1.2 on, and encryption is told of CXL's memory devices; of others neither is.
fn device(item: &Value<'_>) -> Result<String, ClaimFault> {
    const NAME: &str = "extension";
    let invalid = ClaimFault::Invalid(NAME);
    only(item, 8, NAME)?;
    let need = |label, name| item.at(label).ok_or(ClaimFault::Missing(name));
    if let Some(value) = item.at(1) {
        hash(Some(short(value, NAME)?), NAME)?;
    }
    sized(need(2, "device_measurements_digest")?, NAME, &HASHES)?;
    sized(need(3, "certificate_chain_digest")?, NAME, &HASHES)?;
    if !matches!(need(4, "uses_ide")?, Value::Boolean(_)) {
        return Err(invalid);
    }
    let (protocol, kind) = (worded(need(5, "protocol")?, NAME)?, worded(need(7, "device_type")?, NAME)?);
    match (item.at(6), has_vca(&protocol)) {
        (Some(digest), true) => drop(sized(digest, NAME, &HASHES)?),
        (None, true) => return Err(ClaimFault::Missing("vca_digest")),
        (Some(_), false) => return Err(invalid),
        (None, false) => {}
    }
    match (item.at(8).map(Value::unsigned), kind == MEMORY_DEVICE) {
        (Some(Some(0..=2)), true) | (None, false) => {}
        (None, true) => return Err(ClaimFault::Missing("encryption_type")),
        (Some(_), _) => return Err(invalid),
    }
    Ok(format!("{kind} over {protocol}"))
}

/// platform-tbb-rotpk: name 1, active array 2, index 3, hash 4.
fn boot_key(item: &Value<'_>) -> Result<(String, Vec<u8>), ClaimFault> {
    const NAME: &str = "tbb_rotpk";
    only(item, 4, NAME)?;
    let need = |label| item.at(label).ok_or(ClaimFault::Missing(NAME));
    for label in [2, 3] {
        need(label)?.integer().ok_or(ClaimFault::Invalid(NAME))?;
    }
    Ok((worded(need(1)?, NAME)?, sized(need(4)?, NAME, &HASHES)?))
}

/// A map whose labels are from 1 to `last`.
fn only(item: &Value<'_>, last: i64, name: &'static str) -> Result<(), ClaimFault> {
    let known = |(label, _): &(Value<'_>, Value<'_>)| label.integer().is_some_and(|label| (1..=last).contains(&label));
    let held = item.map().is_some_and(|entries| entries.iter().all(known));
    if held { Ok(()) } else { Err(ClaimFault::Invalid(name)) }
}

/// SPDM of the first version from 1.2 on, such as `spdm-1.3.0`.
fn has_vca(protocol: &str) -> bool {
    let version = protocol.strip_prefix("spdm-1.").and_then(|rest| rest.split_once('.'));
    version.and_then(|(minor, _)| minor.parse::<u8>().ok()).is_some_and(|minor| minor >= 2)
}

fn worded(value: &Value<'_>, name: &'static str) -> Result<String, ClaimFault> {
    Some(short(value, name)?).filter(|text| !text.is_empty()).ok_or(ClaimFault::Invalid(name))
}

/// Optional bytes, some if there.
fn some_bytes<'a>(claims: &'a Claims<'_, '_>, label: i64, name: &'static str) -> Result<Option<&'a [u8]>, ClaimFault> {
    match claims.0.at(label) {
        None => Ok(None),
        Some(value) => match value.bytes().filter(|bytes| (1..=MAX_BYTES).contains(&bytes.len())) {
            None => Err(ClaimFault::Invalid(name)),
            bytes => Ok(bytes),
        },
    }
}

/// An optional list, with something in it if there.
fn some_items<'a>(claims: &'a Claims<'a, '_>, label: i64, name: &'static str) -> Result<&'a [Value<'a>], ClaimFault> {
    match claims.0.at(label) {
        None => Ok(&[]),
        Some(value) => {
            value.array().filter(|items| (1..=MAX_ITEMS).contains(&items.len())).ok_or(ClaimFault::Invalid(name))
        }
    }
}

const SECURE_WORLD: i64 = 1;
const MEMORY_DEVICE: &str = "cxl-type-3";
const MAX_BYTES: usize = 1024;
const MAX_ITEMS: usize = 64;
