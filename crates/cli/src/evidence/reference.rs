//! Reference Values taken from Evidence: what this machine measured, stated by a party, for a while.
//!
//! A party that saw a machine in the state that it wants says so in a signed statement: these registers of this platform, as of this Evidence,
//! until then. It is the party's word that the state is a good one; the Evidence only shows that the state was there.

use std::collections::{BTreeMap, BTreeSet};

use attest::platform::Genuine;
use envelope::{
    Digest, PublicKey,
    statement::{Predicate, Subject},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a provider states. Signed by the provider's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReferenceValues {
    /// Who states it.
    pub(crate) provider: PublicKey,
    /// The platform's name.
    pub(crate) platform: String,
    /// What the values are of, in the provider's words.
    pub(crate) what: String,
    /// Accepted values by register, lower-case hexadecimal.
    pub(crate) measurements: BTreeMap<String, BTreeSet<String>>,
    /// The digest of the Evidence that they were taken from.
    pub(crate) evidence: Digest,
    /// When it was stated.
    pub(crate) issued: Timestamp,
    /// Until when it counts.
    pub(crate) expires: Timestamp,
}

impl Predicate for ReferenceValues {
    const TYPE: &'static str = "urn:glovebox:reference-values:v1";

    fn subject(&self) -> Subject {
        Subject { name: self.platform.clone(), digest: self.evidence }
    }
}

/// The registers of genuine Evidence, all of them or those that are named.
///
/// # Errors
/// A name that the Evidence has not.
pub(crate) fn measurements(genuine: &Genuine, named: &[String]) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    if let Some(unknown) = named.iter().find(|name| genuine.register(name).is_none()) {
        return Err(unknown.clone());
    }
    let chosen = genuine.registers().iter().filter(|register| named.is_empty() || named.contains(&register.name));
    Ok(chosen.map(|register| (register.name.clone(), BTreeSet::from([hex::encode(&register.value)]))).collect())
}
