//! Signed statements: DSSE envelopes around in-toto statements, and nothing of ours in between.
//!
//! [`Signed`] is the only way to hold the contents of a statement that somebody made: its fields are private and its
//! constructors check the signature and the type first. *Who* signed is then for the caller to judge, from
//! [`Signed::signer`] or by naming the expected key in [`Signed::verify`].
//!
//! A statement with an effect is [`Addressed`]: it names its audience (the broker's signing key), a nonce and an expiry, so
//! that it cannot be replayed, redirected or kept. An envelope holds exactly one signature; consents of several parties are
//! several statements. Absent on purpose: other key types, several signatures, unsigned hints that anything would believe.
//!
//! Formats: DSSE v1.0.2 (`PAE`, JSON envelope), in-toto Statement v1. The name of a statement is the digest of its payload.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Digest, PublicKey, SigningKey,
    canonical::{self, CanonicalError},
    text::Bytes32,
};

/// The DSSE payload type of every statement here (in-toto attestation framework, envelope v1).
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A document that can be stated: it knows its type and which subject it speaks of.
pub trait Predicate: Serialize + DeserializeOwned {
    /// The predicate type, such as `urn:glovebox:manifest:v1`.
    const TYPE: &'static str;

    /// What the statement is about: a short name and the digest of the thing.
    fn subject(&self) -> Subject;
}

/// The subject of an in-toto statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// A name for people.
    pub name: String,
    /// The digest of the thing spoken of.
    pub digest: Digest,
}

/// A DSSE envelope as it travels: nothing in it is believed before [`Signed`] has checked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The in-toto statement, standard base64 with padding as DSSE has it.
    pub payload: String,
    /// Always [`PAYLOAD_TYPE`].
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// Exactly one.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// The signer's public key in its text form.
    pub keyid: String,
    /// 64 bytes, standard base64 with padding.
    pub sig: String,
}

/// A statement whose signature and type have been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed<T> {
    value: T,
    signer: PublicKey,
    digest: Digest,
    envelope: Envelope,
}

/// A statement meant for one audience, once, until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addressed<T> {
    /// The signing key of the broker that shall act on it.
    pub audience: PublicKey,
    /// Drawn by the signer; the audience acts on it once.
    pub nonce: Bytes32,
    /// The last moment at which the audience may act on it.
    pub expires: Timestamp,
    /// What is said.
    pub body: T,
}

/// Why an envelope is not the statement it should be.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not exactly one signature.
    #[error("the envelope holds {0} signatures; exactly one is expected")]
    Signatures(usize),
    /// The payload type is not in-toto's.
    #[error("the payload type is `{0}`, not `{PAYLOAD_TYPE}`")]
    PayloadType(String),
    /// Base64 that does not decode, or a key that is none.
    #[error("the envelope's {0} cannot be decoded")]
    Encoding(&'static str),
    /// Signed by another key than the expected one.
    #[error("signed by `{actual}`, not by `{expected}`")]
    Signer {
        /// Whose signature was needed.
        expected: PublicKey,
        /// Whose it claims to be.
        actual: PublicKey,
    },
    /// The signature does not verify.
    #[error("the signature of `{0}` does not verify")]
    Signature(PublicKey),
    /// A statement of another type.
    #[error("this is a statement of type `{actual}`, not `{expected}`")]
    Type {
        /// The type that the caller needs.
        expected: &'static str,
        /// The type it has.
        actual: String,
    },
    /// The in-toto subject differs from what the predicate speaks of.
    #[error("the statement's subject is not what its contents speak of")]
    Subject,
    /// The payload is not canonical JSON of the expected shape.
    #[error("the statement's payload cannot be read")]
    Payload(#[source] CanonicalError),
}

/// Why an addressed statement is not for this audience now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Meant for another broker.
    #[error("addressed to `{0}`, which is not this broker")]
    Audience(PublicKey),
    /// Too late.
    #[error("expired at {0}")]
    Expired(Timestamp),
    /// Valid for longer than the audience admits.
    #[error("valid until {0}, which is too far ahead\nhint: check the clock of the machine that signed it")]
    TooLong(Timestamp),
}

impl<T: Predicate> Signed<T> {
    /// Signs a document.
    ///
    /// # Errors
    /// [`StatementError::Payload`] if the document cannot be written as canonical JSON.
    pub fn sign(value: T, key: &SigningKey) -> Result<Signed<T>, StatementError> {
        let subject = value.subject();
        let statement = StatementOut {
            kind: STATEMENT_TYPE,
            predicate: &value,
            predicate_type: T::TYPE,
            subject: [InTotoSubject { digest: InTotoDigest { sha256: subject.digest.hex() }, name: subject.name }],
        };
        let payload = canonical::to_vec(&statement).map_err(StatementError::Payload)?;
        let signature = key.sign(&pre_authentication_encoding(&payload));
        let envelope = Envelope {
            payload: STANDARD.encode(&payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![EnvelopeSignature { keyid: key.public().to_string(), sig: STANDARD.encode(signature) }],
        };
        Ok(Signed { value, signer: key.public(), digest: Digest::of(&payload), envelope })
    }

    /// Checks an envelope signed by a known key.
    ///
    /// # Errors
    /// Every way in which it is not a statement of type `T` by that key.
    pub fn verify(envelope: &Envelope, expected: &PublicKey) -> Result<Signed<T>, StatementError> {
        let signed = Signed::open(envelope)?;
        if signed.signer != *expected {
            return Err(StatementError::Signer { expected: *expected, actual: signed.signer });
        }
        Ok(signed)
    }

    /// Checks an envelope against the key that it names. Whether that key may say this is for the caller to judge.
    ///
    /// # Errors
    /// Every way in which it is not a well-signed statement of type `T`.
    pub fn open(envelope: &Envelope) -> Result<Signed<T>, StatementError> {
        let [signature] = envelope.signatures.as_slice() else {
            return Err(StatementError::Signatures(envelope.signatures.len()));
        };
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(StatementError::PayloadType(crate::digest::clip(&envelope.payload_type)));
        }
        if envelope.payload.len() > canonical::MAX_DOCUMENT * 2 {
            return Err(StatementError::Payload(CanonicalError::TooLarge(envelope.payload.len())));
        }
        let payload = STANDARD.decode(&envelope.payload).map_err(|_| StatementError::Encoding("payload"))?;
        let bytes = STANDARD.decode(&signature.sig).map_err(|_| StatementError::Encoding("signature"))?;
        let signer: PublicKey = signature.keyid.parse().map_err(|_| StatementError::Encoding("key id"))?;
        if !signer.verifies(&pre_authentication_encoding(&payload), &bytes) {
            return Err(StatementError::Signature(signer));
        }
        let value = read_payload(&payload)?;
        Ok(Signed { value, signer, digest: Digest::of(&payload), envelope: envelope.clone() })
    }
}

impl<T> Signed<T> {
    /// What was signed.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Who signed it.
    pub const fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// The statement's name: the digest of its payload.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The envelope, to be stored or sent on.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

impl<T> Addressed<T> {
    /// Whether the statement is for this audience, not expired at `now`, and not valid for more than `longest` ahead of it.
    ///
    /// # Errors
    /// Named in [`AddressError`]. That the nonce is new is for the audience's store to decide, with the effect.
    pub fn check(
        &self,
        audience: &PublicKey,
        now: Timestamp,
        longest: jiff::SignedDuration,
    ) -> Result<&T, AddressError> {
        if self.audience != *audience {
            return Err(AddressError::Audience(self.audience));
        }
        if now > self.expires {
            return Err(AddressError::Expired(self.expires));
        }
        if self.expires.duration_since(now) > longest {
            return Err(AddressError::TooLong(self.expires));
        }
        Ok(&self.body)
    }
}

impl<T: Predicate> Predicate for Addressed<T> {
    const TYPE: &'static str = T::TYPE;

    fn subject(&self) -> Subject {
        self.body.subject()
    }
}

/// DSSE's PAE: what is really signed (DSSE v1.0.2, protocol.md).
fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

fn read_payload<T: Predicate>(payload: &[u8]) -> Result<T, StatementError> {
    let header: StatementHeader = canonical::from_slice_loose(payload).map_err(StatementError::Payload)?;
    if header.kind != STATEMENT_TYPE || header.predicate_type != T::TYPE {
        return Err(StatementError::Type { expected: T::TYPE, actual: crate::digest::clip(&header.predicate_type) });
    }
    let statement: Statement<T> = canonical::from_slice(payload).map_err(StatementError::Payload)?;
    let subject = statement.predicate.subject();
    let [stated] = statement.subject;
    if stated.name != subject.name || stated.digest.sha256 != subject.digest.hex() {
        return Err(StatementError::Subject);
    }
    Ok(statement.predicate)
}

#[derive(Serialize)]
struct StatementOut<'a, T> {
    #[serde(rename = "_type")]
    kind: &'static str,
    predicate: &'a T,
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    subject: [InTotoSubject; 1],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement<T> {
    #[serde(rename = "_type")]
    kind: String,
    predicate: T,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    subject: [InTotoSubject; 1],
}

#[derive(Deserialize)]
struct StatementHeader {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InTotoSubject {
    digest: InTotoDigest,
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InTotoDigest {
    sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Note {
        text: String,
    }

    impl Predicate for Note {
        const TYPE: &'static str = "urn:glovebox:test-note:v1";
        fn subject(&self) -> Subject {
            Subject { name: "note".into(), digest: Digest::of(self.text.as_bytes()) }
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Other {
        text: String,
    }

    impl Predicate for Other {
        const TYPE: &'static str = "urn:glovebox:test-other:v1";
        fn subject(&self) -> Subject {
            Subject { name: "note".into(), digest: Digest::of(self.text.as_bytes()) }
        }
    }

    fn note() -> (SigningKey, Signed<Note>) {
        let key = SigningKey::from_seed(&[1; 32]);
        let signed = Signed::sign(Note { text: "hello".into() }, &key).unwrap();
        (key, signed)
    }

    #[test]
    fn a_statement_round_trips() {
        let (key, signed) = note();
        assert_eq!(Signed::<Note>::verify(signed.envelope(), &key.public()).unwrap(), signed);
    }

    #[test]
    fn every_flipped_bit_of_payload_and_signature_is_refused() {
        let (_, signed) = note();
        let payload = STANDARD.decode(&signed.envelope().payload).unwrap();
        for bit in 0..payload.len() * 8 {
            let mut bytes = payload.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let envelope = Envelope { payload: STANDARD.encode(bytes), ..signed.envelope().clone() };
            assert!(matches!(Signed::<Note>::open(&envelope), Err(StatementError::Signature(_))), "bit {bit}");
        }
        let signature = STANDARD.decode(&signed.envelope().signatures[0].sig).unwrap();
        for bit in 0..signature.len() * 8 {
            let mut bytes = signature.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut envelope = signed.envelope().clone();
            envelope.signatures[0].sig = STANDARD.encode(bytes);
            assert!(matches!(Signed::<Note>::open(&envelope), Err(StatementError::Signature(_))), "bit {bit}");
        }
    }

    #[test]
    fn another_type_another_signer_another_count_are_refused() {
        let (_, signed) = note();
        let stranger = SigningKey::from_seed(&[2; 32]).public();
        assert!(matches!(Signed::<Other>::open(signed.envelope()), Err(StatementError::Type { .. })));
        assert!(matches!(Signed::<Note>::verify(signed.envelope(), &stranger), Err(StatementError::Signer { .. })));
        let mut twice = signed.envelope().clone();
        twice.signatures.push(twice.signatures[0].clone());
        assert!(matches!(Signed::<Note>::open(&twice), Err(StatementError::Signatures(2))));
        let mut plain = signed.envelope().clone();
        plain.payload_type = "application/json".into();
        assert!(matches!(Signed::<Note>::open(&plain), Err(StatementError::PayloadType(_))));
    }

    #[test]
    fn an_addressed_statement_is_for_one_audience_until_its_time() {
        let (broker, other) = (SigningKey::from_seed(&[3; 32]).public(), SigningKey::from_seed(&[4; 32]).public());
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let minute = jiff::SignedDuration::from_secs(60);
        let order = Addressed { audience: broker, nonce: Bytes32([0; 32]), expires: now + minute, body: () };
        assert_eq!(order.check(&broker, now, minute), Ok(&()));
        assert_eq!(order.check(&other, now, minute), Err(AddressError::Audience(broker)));
        let late = now + jiff::SignedDuration::from_secs(61);
        assert_eq!(order.check(&broker, late, minute), Err(AddressError::Expired(order.expires)));
        let early = now - jiff::SignedDuration::from_secs(1);
        assert_eq!(order.check(&broker, early, minute), Err(AddressError::TooLong(order.expires)));
    }
}
