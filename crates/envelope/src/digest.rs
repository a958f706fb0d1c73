//! SHA-256 digests, the names of everything immutable here.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest (FIPS 180-4). Its text form is `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Computes the digest of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct DigestWriter(Sha256);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is missing or is not SHA-256.
    #[error("`{0}` is not a digest: it must start with `sha256:`")]
    Algorithm(String),
    /// The digits are not 64 lower-case hexadecimal ones.
    #[error("`{0}` is not a digest: `sha256:` must be followed by 64 lower-case hexadecimal digits")]
    Digits(String),
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The digest of several parts, each preceded by its length as eight big-endian bytes, after a domain label that is
    /// treated as the first part. Two different sequences of parts never meet in one input.
    pub fn of_parts(domain: &str, parts: &[&[u8]]) -> Digest {
        let mut hash = Sha256::new();
        for part in std::iter::once(&domain.as_bytes()).chain(parts) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Digest(hash.finalize().into())
    }

    /// A digest computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits without the algorithm, as in-toto subjects carry them.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first twelve digits: enough for a person to tell two documents apart, never enough to name one.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }
}

impl DigestWriter {
    /// Nothing yet.
    pub fn new() -> DigestWriter {
        DigestWriter::default()
    }

    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces in order.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str("sha256:")?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let digits = text.strip_prefix("sha256:").ok_or_else(|| DigestError::Algorithm(clip(text)))?;
        let wrong = || DigestError::Digits(clip(text));
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a person typed, short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    crate::text::shown(text, 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn other_forms_are_refused() {
        let hex = Digest::of(b"abc").hex();
        assert_eq!(hex.parse::<Digest>(), Err(DigestError::Algorithm(hex.clone())));
        let upper = format!("sha256:{}", hex.to_uppercase());
        assert_eq!(upper.parse::<Digest>(), Err(DigestError::Digits(upper.clone())));
        let short = format!("sha256:{}", &hex[..62]);
        assert_eq!(short.parse::<Digest>(), Err(DigestError::Digits(short.clone())));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Digest::of_parts("d", &[b"ab", b"c"]), Digest::of_parts("d", &[b"a", b"bc"]));
        assert_ne!(Digest::of_parts("d", &[b"ab"]), Digest::of_parts("da", &[b"b"]));
        assert_ne!(Digest::of_parts("d", &[b""]), Digest::of_parts("d", &[]));
    }
}
