//! The table from reason strings to typed reasons.

use std::collections::BTreeMap;

use crate::Folder;

/// `reasons.toml`: per kind, and for what every kind may expect, for each reason string the codes that satisfy it.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Reasons {
    /// The digest of the manifest that the table is for.
    manifest: String,
    expectations: BTreeMap<String, Vec<String>>,
    kinds: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Reasons {
    /// The table of this version.
    ///
    /// # Errors
    /// In words, when it is not TOML of this shape.
    pub fn shipped() -> Result<Reasons, String> {
        toml::from_str(include_str!("../reasons.toml")).map_err(|error| error.to_string())
    }

    /// Whether the table was made for this folder.
    pub fn is_for(&self, folder: &Folder) -> bool {
        folder.digest().to_string() == self.manifest
    }

    /// The codes that satisfy a reason string, if it is known.
    pub fn codes(&self, kind: &str, reason: &str) -> Option<&Vec<String>> {
        self.kinds.get(kind)?.get(reason).or_else(|| self.expectations.get(reason))
    }
}
