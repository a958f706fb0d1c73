//! Secrets beside datasets: what their owners say of them to the broker. Each travels [`Addressed`] and signed.
//!
//! A secret has a path of three names, as clients of the KBS protocol ask for it. It is never the key of a dataset: those leave under
//! agreements only, by another decision.
//!
//! [`Addressed`]: envelope::statement::Addressed

use envelope::{
    Digest, PublicKey,
    statement::{Predicate, Subject},
    wrap::Wrapped,
};
use serde::{Deserialize, Serialize};

/// Where a secret lies: repository, type and tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretPath {
    text: String,
    repository: usize,
    kind: usize,
}

/// A path that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret's path is `REPOSITORY/TYPE/TAG`, each of 1 to 64 letters, digits, `_`, `-` and `.`, not beginning with `.`"
)]
pub struct SecretPathError;

/// Puts a secret into the broker's custody, or replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretPush {
    /// Where it shall lie. Nobody else's path can be taken.
    pub path: SecretPath,
    /// The secret, for [`SecretPush::PURPOSE`] with [`SecretPush::context`].
    pub value: Wrapped,
    /// Under which conditions it leaves, in Cedar. Left out, the owner's own conditions ([`SecretPolicy`]) decide.
    pub policy: Option<String>,
}

/// Destroys a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRemoval {
    /// Which.
    pub path: SecretPath,
}

/// The conditions, in Cedar, under which those of the signer's secrets leave that have none of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretPolicy {
    /// The text.
    pub policy: String,
}

impl SecretPath {
    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first name. A repository is one owner's.
    pub fn repository(&self) -> &str {
        self.text.get(..self.repository).unwrap_or_default()
    }

    /// The second name.
    pub fn kind(&self) -> &str {
        self.text.get(self.repository.saturating_add(1)..self.kind).unwrap_or_default()
    }

    /// The third name.
    pub fn tag(&self) -> &str {
        self.text.get(self.kind.saturating_add(1)..).unwrap_or_default()
    }

    /// The digest by which statements and tables name it.
    pub fn digest(&self) -> Digest {
        Digest::of_parts("glovebox secret path v1", &[self.text.as_bytes()])
    }
}

impl TryFrom<String> for SecretPath {
    type Error = SecretPathError;

    fn try_from(text: String) -> Result<SecretPath, SecretPathError> {
        let name = |name: &str| {
            let first = name.bytes().next();
            name.len() <= MAX_NAME
                && first.is_some_and(|first| first != b'.')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        let names: Vec<&str> = text.split('/').collect();
        let [repository, kind, tag] = names.as_slice() else { return Err(SecretPathError) };
        if ![repository, kind, tag].into_iter().all(|part| name(part)) {
            return Err(SecretPathError);
        }
        let (repository, kind) = (repository.len(), repository.len().saturating_add(1).saturating_add(kind.len()));
        Ok(SecretPath { text, repository, kind })
    }
}

impl std::str::FromStr for SecretPath {
    type Err = SecretPathError;

    fn from_str(text: &str) -> Result<SecretPath, SecretPathError> {
        SecretPath::try_from(text.to_owned())
    }
}

impl From<SecretPath> for String {
    fn from(path: SecretPath) -> String {
        path.text
    }
}

impl std::fmt::Display for SecretPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl SecretPush {
    /// The purpose of the wrapping.
    pub const PURPOSE: &'static str = "glovebox secret v1";
    /// The largest secret, in bytes.
    pub const MAX_SECRET: usize = 64 << 10;
    /// The longest conditions, in bytes.
    pub const MAX_POLICY: usize = 16 << 10;

    /// The context of the wrapping: the path, the owner's and the broker's signing keys.
    pub fn context(path: &SecretPath, owner: &PublicKey, broker: &PublicKey) -> Vec<u8> {
        [path.digest().as_bytes().as_slice(), owner.as_bytes(), broker.as_bytes()].concat()
    }
}

impl Predicate for SecretPush {
    const TYPE: &'static str = "urn:glovebox:secret-push:v1";

    fn subject(&self) -> Subject {
        Subject { name: self.path.text.clone(), digest: self.path.digest() }
    }
}

impl Predicate for SecretRemoval {
    const TYPE: &'static str = "urn:glovebox:secret-removal:v1";

    fn subject(&self) -> Subject {
        Subject { name: self.path.text.clone(), digest: self.path.digest() }
    }
}

impl Predicate for SecretPolicy {
    const TYPE: &'static str = "urn:glovebox:secret-policy:v1";

    fn subject(&self) -> Subject {
        Subject { name: "policy".to_owned(), digest: Digest::of(self.policy.as_bytes()) }
    }
}

const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h3_a_path_has_three_plain_names() {
        let path: SecretPath = "default/key/1.pem".parse().unwrap();
        assert_eq!((path.repository(), path.kind(), path.tag()), ("default", "key", "1.pem"));
        for text in
            ["", "a/b", "a/b/c/d", "a//c", "a/../c", "a/%2e/c", "a/b/\0", ".a/b/c", "a/b/ä", "/a/b/c", "a b/c/d"]
        {
            assert_eq!(text.parse::<SecretPath>(), Err(SecretPathError), "{text}");
        }
        assert!(format!("a/b/{}", "c".repeat(65)).parse::<SecretPath>().is_err());
    }
}
