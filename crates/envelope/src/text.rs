//! Bytes as text inside documents: unpadded URL-safe base64 (RFC 4648, section 5), one spelling only.
//!
//! Use as `#[serde(with = "envelope::text::base64")]`, or the types [`Bytes`] and [`Bytes32`].

use std::fmt;

use ::base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Public bytes of any length, written as base64url without padding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

/// Thirty-two public bytes (a nonce, a salt, a key), written as base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes32(pub [u8; 32]);

/// Encodes bytes as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding; `None` for any other spelling.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Text from outside, fit for a message: at most `longest` characters, and none that would move a terminal's cursor, hide, or turn
/// the direction of writing (each becomes U+FFFD).
pub fn shown(text: &str, longest: usize) -> String {
    let safe = |c: char| if deceives(c) { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(longest).map(safe).collect()
}

fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00AD}' | '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// For `#[serde(with = "envelope::text::base64")]` on `Vec<u8>`.
pub mod base64 {
    use super::*;

    /// Writes the bytes as a string.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    /// Reads the bytes from a string.
    ///
    /// # Errors
    /// When the string is not base64url without padding.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(&text).ok_or_else(|| serde::de::Error::custom("not base64url without padding"))
    }
}

impl Bytes32 {
    /// Thirty-two bytes from the operating system's generator.
    pub fn random() -> Bytes32 {
        let mut bytes = [0; 32];
        crate::identity::fill_random(&mut bytes);
        Bytes32(bytes)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for Bytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        base64::deserialize(deserializer).map(Bytes)
    }
}

impl Serialize for Bytes32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes32, D::Error> {
        let bytes = base64::deserialize(deserializer)?;
        bytes.try_into().map(Bytes32).map_err(|_| serde::de::Error::custom("not 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_the_cursor_is_not_shown() {
        assert_eq!(shown("plain `text` é", 80), "plain `text` é");
        assert_eq!(shown("a\u{1b}[2Jb\r\nc\u{202e}d", 80), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d");
        assert_eq!(shown(&"x".repeat(100), 80).len(), 80);
    }
}
