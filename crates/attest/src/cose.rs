//! COSE_Sign1 (RFC 9052), as strict as Evidence needs it.
//!
//! The envelope is read in deterministic CBOR whatever its payload is written in. The algorithm stands in the protected header and fits the key, a
//! critical header is refused because none is understood, a label may not stand in both headers, and the payload is inside. Anything
//! else of COSE (a MAC, several signers, encryption) is refused by name: a MAC's key would be able to forge.
//! No external data is ever authenticated beside the payload.

use crate::{
    cbor::{CborError, Encoder, Form, Value},
    keys::{Algorithm, VerificationKey, VerifyError},
};

/// Why bytes are not a COSE_Sign1 that is taken, or its signature is not the key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// Not CBOR.
    #[error("the signed envelope cannot be read")]
    Cbor(#[from] CborError),
    /// COSE_Mac0, COSE_Encrypt, COSE_Sign and others, by their tag.
    #[error("the COSE structure with the tag {0} is not accepted; COSE_Sign1 (18) is")]
    Type(u64),
    /// Not the four parts of a COSE_Sign1.
    #[error("the {0} of the COSE_Sign1 is not what it should be")]
    Shape(&'static str),
    /// More headers in one of the two maps than are ever read.
    #[error("the {part} of the COSE_Sign1 has {count} entries; at most 32 are read")]
    TooManyHeaders {
        /// Which of the two.
        part: &'static str,
        /// Its entries.
        count: usize,
    },
    /// A critical header, none of which is known here, or an empty list of them.
    #[error("the COSE_Sign1 has critical headers, which are not known here")]
    Critical,
    /// No algorithm in the protected header, or one outside of it.
    #[error("the COSE_Sign1 does not name its algorithm in the protected header")]
    AlgorithmUnprotected,
    /// An algorithm that is not accepted.
    #[error("the COSE algorithm {0} is not accepted")]
    Algorithm(i64),
    /// The algorithm is of another kind of key.
    #[error("the COSE_Sign1 is of {}, which is not of the key's kind", .0.name())]
    KeyMismatch(Algorithm),
    /// The signature.
    #[error("the signature of the COSE_Sign1 does not verify")]
    Signature,
}

impl CoseError {
    /// A fixed word for the reason.
    pub const fn code(self) -> &'static str {
        match self {
            CoseError::Cbor(error) => error.code(),
            CoseError::Type(_) => "unsupported-cose-type",
            CoseError::Shape(_) => "cose-malformed",
            CoseError::TooManyHeaders { .. } => "too-large",
            CoseError::Critical => "critical-header",
            CoseError::AlgorithmUnprotected | CoseError::Algorithm(_) => "algorithm-not-allowed",
            CoseError::KeyMismatch(_) => "algorithm-mismatch",
            CoseError::Signature => "signature",
        }
    }

    /// Whether the bytes are not even the structure.
    pub const fn is_malformed(self) -> bool {
        matches!(self, CoseError::Cbor(_) | CoseError::Shape(_) | CoseError::TooManyHeaders { .. })
    }
}

/// A parsed COSE_Sign1 whose signature nobody has checked.
#[derive(Debug)]
pub(crate) struct Sign1 {
    algorithm: Algorithm,
    protected: Vec<u8>,
    unprotected_is_empty: bool,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Sign1 {
    /// Parses a COSE_Sign1 that uses up its bytes; the tag 18 may be absent.
    ///
    /// # Errors
    /// [`CoseError`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Sign1, CoseError> {
        Sign1::from_value(&Value::parse(bytes, Form::Deterministic)?)
    }

    fn from_value(value: &Value<'_>) -> Result<Sign1, CoseError> {
        let body = match value.tagged() {
            None => value,
            Some((18, body)) => body,
            Some((other, _)) => return Err(CoseError::Type(other)),
        };
        let Some([protected, unprotected, payload, signature]) = body.array() else {
            return Err(CoseError::Shape("array"));
        };
        let protected = protected.bytes().ok_or(CoseError::Shape("protected header"))?;
        let algorithm = headers(protected, unprotected)?;
        Ok(Sign1 {
            algorithm,
            protected: protected.to_vec(),
            unprotected_is_empty: unprotected.map().is_some_and(<[_]>::is_empty),
            payload: payload.bytes().ok_or(CoseError::Shape("payload"))?.to_vec(),
            signature: signature.bytes().ok_or(CoseError::Shape("signature"))?.to_vec(),
        })
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) const fn unprotected_is_empty(&self) -> bool {
        self.unprotected_is_empty
    }

    /// The protected header, which nobody has vouched for before [`Sign1::verify`].
    pub(crate) fn protected(&self) -> &[u8] {
        &self.protected
    }

    /// The payload, which nobody has vouched for before [`Sign1::verify`].
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Checks the signature over the Sig_structure (RFC 9052, section 4.4).
    ///
    /// # Errors
    /// [`CoseError::KeyMismatch`], [`CoseError::Signature`].
    pub(crate) fn verify(&self, key: &VerificationKey) -> Result<(), CoseError> {
        self.verify_raw(key).map_err(|error| match error {
            VerifyError::Mismatch => CoseError::KeyMismatch(self.algorithm),
            VerifyError::Signature => CoseError::Signature,
        })
    }

    pub(crate) fn verify_raw(&self, key: &VerificationKey) -> Result<(), VerifyError> {
        key.verify(self.algorithm, &sig_structure(&self.protected, &self.payload), &self.signature)
    }
}

/// What is signed: ["Signature1", protected, external (empty), payload].
pub(crate) fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.array(4);
    encoder.text("Signature1");
    encoder.bytes(protected);
    encoder.bytes(&[]);
    encoder.bytes(payload);
    encoder.done()
}

/// A COSE_Sign1 with the tag 18, its signature made by the caller over the Sig_structure. `None`: COSE has no such algorithm.
///
/// # Errors
/// The caller's own.
pub(crate) fn sign<E>(
    algorithm: Algorithm,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Option<Vec<u8>>, E> {
    let Some(id) = algorithm.cose() else { return Ok(None) };
    let mut header = Encoder::default();
    header.map(1);
    header.integer(1);
    header.integer(id);
    let protected = header.done();
    let signature = sign(&sig_structure(&protected, payload))?;
    let mut encoder = Encoder::default();
    encoder.tag(18);
    encoder.array(4);
    encoder.bytes(&protected);
    encoder.map(0);
    encoder.bytes(payload);
    encoder.bytes(&signature);
    Ok(Some(encoder.done()))
}

/// Checks both headers and returns the algorithm (label 1); label 2 is `crit`.
fn headers(protected: &[u8], unprotected: &Value<'_>) -> Result<Algorithm, CoseError> {
    let outside = entries(unprotected, "unprotected header")?;
    if protected.is_empty() {
        return Err(CoseError::AlgorithmUnprotected);
    }
    let inside = Value::parse(protected, Form::Deterministic)?;
    let inside_entries = entries(&inside, "protected header")?;
    if inside.at(2).is_some() || unprotected.at(2).is_some() {
        return Err(CoseError::Critical);
    }
    if unprotected.at(1).is_some() {
        return Err(CoseError::AlgorithmUnprotected);
    }
    if outside.iter().any(|(label, _)| inside_entries.iter().any(|(other, _)| other == label)) {
        return Err(CoseError::Shape("unprotected header"));
    }
    let id = inside.at(1).ok_or(CoseError::AlgorithmUnprotected)?;
    let id = id.integer().ok_or(CoseError::Shape("algorithm"))?;
    Algorithm::from_cose(id).ok_or(CoseError::Algorithm(id))
}

/// The entries of a header, so few that comparing each with each costs nothing.
fn entries<'a, 'b>(header: &'b Value<'a>, part: &'static str) -> Result<&'b [(Value<'a>, Value<'a>)], CoseError> {
    let entries = header.map().ok_or(CoseError::Shape(part))?;
    match entries.len() {
        0..=MAX_HEADERS => Ok(entries),
        count => Err(CoseError::TooManyHeaders { part, count }),
    }
}

const MAX_HEADERS: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An envelope whose headers have the algorithm and `inside` or `outside` further labels.
    fn envelope(inside: i64, outside: i64) -> Vec<u8> {
        let mut protected = Encoder::default();
        protected.map(usize::try_from(inside).unwrap() + 1);
        for number in [1, -7].into_iter().chain((0..inside).flat_map(|label| [100 + label, 0])) {
            protected.integer(number);
        }
        let mut encoder = Encoder::default();
        encoder.array(4);
        encoder.bytes(&protected.done());
        encoder.map(usize::try_from(outside).unwrap());
        (0..outside).flat_map(|label| [-100 - label, 0]).for_each(|number| encoder.integer(number));
        encoder.bytes(b"payload");
        encoder.bytes(&[0; 64]);
        encoder.done()
    }

    #[test]
    fn headers_of_more_entries_than_are_compared_are_refused_by_their_count() {
        assert_eq!(Sign1::parse(&envelope(31, 32)).map(|sign1| sign1.algorithm()), Ok(Algorithm::Es256));
        let refused = |inside, outside| Sign1::parse(&envelope(inside, outside)).err();
        let too_many = |part, count| Some(CoseError::TooManyHeaders { part, count });
        assert_eq!(refused(32, 0), too_many("protected header", 33));
        assert_eq!(refused(0, 33), too_many("unprotected header", 33));
        assert_eq!(refused(40_000, 40_000), too_many("unprotected header", 40_000));
        assert_eq!(refused(40_000, 40_000).map(CoseError::code), Some("too-large"));
    }
}
