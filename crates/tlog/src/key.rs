//! Keys of logs and of witnesses, in the text form of C2SP signed-note: `name+hash+base64(type ‖ public key)`.
//!
//! A log signs with type 1 (Ed25519 over the note's text), a witness with type 4 (Ed25519 over a timestamped text, C2SP
//! tlog-cosignature). The hash is the first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key), which tells keys of one
//! name apart and has no other meaning. Verification is strict (no keys or nonces of small order).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::TlogError;

/// The public key of a log; its name is the log's origin.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LogKey(NoteKey<TYPE_LOG>);

/// The public key of a witness (C2SP tlog-cosignature, Ed25519).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WitnessKey(NoteKey<TYPE_WITNESS>);

/// A log's name and private key. Its Debug shows the public key only.
#[derive(Clone)]
pub struct LogSigner {
    key: LogKey,
    secret: SigningKey,
}

/// A witness's name and private key. Its Debug shows the public key only.
#[derive(Clone)]
pub struct WitnessSigner {
    key: WitnessKey,
    secret: SigningKey,
}

impl LogKey {
    /// The key of the log `origin`: not empty, no white space, no `+`.
    pub fn new(origin: &str, public: VerifyingKey) -> Result<Self, TlogError> {
        NoteKey::new(origin, public).map(Self)
    }

    /// The log's origin, the first line of its checkpoints.
    pub fn origin(&self) -> &str {
        &self.0.name
    }

    /// The Ed25519 public key.
    pub fn public(&self) -> &VerifyingKey {
        &self.0.public
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        self.0.verifies(text, signature)
    }
}

impl WitnessKey {
    /// The key of the witness `name`: not empty, no white space, no `+`.
    pub fn new(name: &str, public: VerifyingKey) -> Result<Self, TlogError> {
        NoteKey::new(name, public).map(Self)
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The Ed25519 public key.
    pub fn public(&self) -> &VerifyingKey {
        &self.0.public
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns the time of the cosignature (seconds since 1970) when `cosignature` (8 bytes of time, 64 of signature) is
    /// this witness's over `text`.
    pub(crate) fn cosigned_at(&self, text: &[u8], cosignature: &[u8]) -> Option<u64> {
        let (time, signature) = cosignature.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        if time > i64::MAX as u64 {
            return None;
        }
        self.0.verifies(&cosigned_text(time, text), signature).then_some(time)
    }
}

impl LogSigner {
    /// The signer of the log `origin`.
    pub fn new(origin: &str, secret: SigningKey) -> Result<Self, TlogError> {
        Ok(Self { key: LogKey::new(origin, secret.verifying_key())?, secret })
    }

    /// The public half.
    pub fn key(&self) -> &LogKey {
        &self.key
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Result<signed_note::Signature, TlogError> {
        let signature = self.secret.sign(text).to_vec();
        note_signature(self.key.origin(), self.key.id(), signature)
    }
}

impl WitnessSigner {
    /// The signer of the witness `name`.
    pub fn new(name: &str, secret: SigningKey) -> Result<Self, TlogError> {
        Ok(Self { key: WitnessKey::new(name, secret.verifying_key())?, secret })
    }

    /// The public half.
    pub fn key(&self) -> &WitnessKey {
        &self.key
    }

    pub(crate) fn cosign(&self, text: &[u8], time: u64) -> Result<signed_note::Signature, TlogError> {
        let mut cosignature = time.to_be_bytes().to_vec();
        cosignature.extend_from_slice(&self.secret.sign(&cosigned_text(time, text)).to_bytes());
        note_signature(self.key.name(), self.key.id(), cosignature)
    }
}

/// One key of a signed note; `TYPE` is its signature type, so that keys of logs and of witnesses cannot be confused.
#[derive(Clone, PartialEq, Eq)]
struct NoteKey<const TYPE: u8> {
    name: String,
    public: VerifyingKey,
}

impl<const TYPE: u8> NoteKey<TYPE> {
    fn new(name: &str, public: VerifyingKey) -> Result<Self, TlogError> {
        let sound = signed_note::is_key_name_valid(name)
            && name.len() <= MAX_NAME_BYTES
            && !name.chars().any(char::is_control)
            && !public.is_weak();
        if !sound {
            return Err(TlogError::MalformedKey(name.chars().take(MAX_NAME_BYTES).collect()));
        }
        Ok(Self { name: name.to_owned(), public })
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_KEY_BYTES {
            return None;
        }
        let (name, rest) = text.split_once('+')?;
        let (_, material) = rest.split_once('+')?;
        let material = STANDARD.decode(material).ok()?;
        let (&kind, public) = material.split_first()?;
        let public = VerifyingKey::from_bytes(public.try_into().ok()?).ok()?;
        let key = Self::new(name, public).ok()?;
        // The written form is unique, so that comparing it also checks the hash and its lower-case digits.
        (kind == TYPE && key.text() == text).then_some(key)
    }

    fn material(&self) -> Vec<u8> {
        [&[TYPE], self.public.as_bytes().as_slice()].concat()
    }

    fn id(&self) -> u32 {
        signed_note::key_id(&self.name, &self.material())
    }

    fn text(&self) -> String {
        format!("{}+{:08x}+{}", self.name, self.id(), STANDARD.encode(self.material()))
    }

    fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.public.verify_strict(text, &signature).is_ok())
    }
}

fn note_signature(name: &str, id: u32, bytes: Vec<u8>) -> Result<signed_note::Signature, TlogError> {
    signed_note::Signature::new(name.to_owned(), id, bytes).map_err(|_| TlogError::MalformedKey(name.to_owned()))
}

/// C2SP tlog-cosignature, "Ed25519 signed message".
fn cosigned_text(time: u64, text: &[u8]) -> Vec<u8> {
    [format!("cosignature/v1\ntime {time}\n").as_bytes(), text].concat()
}

macro_rules! text_form {
    ($key:ident) => {
        impl FromStr for $key {
            type Err = TlogError;

            fn from_str(text: &str) -> Result<Self, TlogError> {
                NoteKey::parse(text)
                    .map(Self)
                    .ok_or_else(|| TlogError::MalformedKey(text.chars().take(MAX_KEY_BYTES).collect()))
            }
        }

        impl TryFrom<String> for $key {
            type Error = TlogError;

            fn try_from(text: String) -> Result<Self, TlogError> {
                text.parse()
            }
        }

        impl From<$key> for String {
            fn from(key: $key) -> Self {
                key.0.text()
            }
        }

        impl fmt::Display for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.text())
            }
        }

        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.text())
            }
        }
    };
}

text_form!(LogKey);
text_form!(WitnessKey);

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogSigner").field(&self.key).finish()
    }
}

impl fmt::Debug for WitnessSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WitnessSigner").field(&self.key).finish()
    }
}

const TYPE_LOG: u8 = 0x01;
const TYPE_WITNESS: u8 = 0x04;
const MAX_NAME_BYTES: usize = 255;
const MAX_KEY_BYTES: usize = 512;
