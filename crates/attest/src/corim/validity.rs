//! From when until when a CoRIM holds: as it says of itself, and as the signature over it does.
//!
//! A provider can let the signature end before the values do, and the other way round. Both count: what is past either end is past.

use jiff::Timestamp;

use super::{CorimError, time};
use crate::cbor::{Form, Value};

/// A span of time; an end that is not there is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
}

impl Validity {
    /// What a protected header says of its signature: `signature-validity` in `corim-meta` (label 8), or `nbf` and `exp` among the claims
    /// of a CWT (label 15), which later drafts allow instead.
    ///
    /// # Errors
    /// [`CorimError::Member`] where one is there and is not what it should be.
    pub(super) fn of_signature(protected: &[u8]) -> Result<Validity, CorimError> {
        let header = Value::parse(protected, Form::Plain).map_err(CorimError::Malformed)?;
        let mut validity = Validity::default();
        if let Some(meta) = header.at(8) {
            let bytes = meta.bytes().ok_or(CorimError::Member("corim-meta"))?;
            let meta = Value::parse(bytes, Form::Plain).map_err(CorimError::Malformed)?;
            meta.map().ok_or(CorimError::Member("corim-meta"))?;
            if let Some(of_signature) = meta.at(1) {
                let until = of_signature.at(1).ok_or(CorimError::Member("not-after"))?;
                let from = of_signature.at(0).map(time).transpose()?;
                validity = validity.and(Validity { not_before: from, not_after: Some(time(until)?) });
            }
        }
        if let Some(claims) = header.at(15) {
            claims.map().ok_or(CorimError::Member("CWT claims"))?;
            let at = |label| claims.at(label).map(numeric_date).transpose();
            validity = validity.and(Validity { not_before: at(5)?, not_after: at(4)? });
        }
        Ok(validity)
    }

    /// The time that lies in both.
    pub(super) fn and(self, other: Validity) -> Validity {
        Validity {
            not_before: self.not_before.max(other.not_before),
            not_after: [self.not_after, other.not_after].into_iter().flatten().min(),
        }
    }

    /// Whether `now` lies in it.
    ///
    /// # Errors
    /// [`CorimError::NotYetValid`], [`CorimError::Expired`]; [`CorimError::NoValidity`] where no end is known: Reference Values expire.
    pub(super) fn check(self, now: Timestamp) -> Result<(), CorimError> {
        let until = self.not_after.ok_or(CorimError::NoValidity)?;
        match self.not_before {
            Some(from) if now < from => Err(CorimError::NotYetValid(from)),
            _ if now > until => Err(CorimError::Expired(until)),
            _ => Ok(()),
        }
    }
}

/// NumericDate (RFC 8392, section 2) in whole seconds.
fn numeric_date(value: &Value<'_>) -> Result<Timestamp, CorimError> {
    let seconds = value.integer().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.ok_or(CorimError::Member("time"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };

    use super::super::SignedCorim;
    use super::*;
    use crate::{cbor::Encoder, cose::sig_structure, keys::VerificationKey};

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A validity-map.
    fn span(encoder: &mut Encoder, (from, until): (i64, i64)) {
        encoder.map(2);
        for (label, time) in [(0, from), (1, until)] {
            encoder.integer(label);
            encoder.tag(1);
            encoder.integer(time);
        }
    }

    /// A signed CoRIM: its own span, and those of its signature by `corim-meta` and by a CWT's claims.
    fn signed(own: Option<(i64, i64)>, meta: Option<(i64, i64)>, claims: Option<(i64, i64)>) -> SignedCorim {
        let mut corim = Encoder::default();
        corim.map(2 + usize::from(own.is_some()));
        corim.integer(0);
        corim.text("id");
        corim.integer(1);
        corim.array(0);
        if let Some(own) = own {
            corim.integer(4);
            span(&mut corim, own);
        }
        let payload = corim.done();
        let mut header = Encoder::default();
        header.map(1 + usize::from(meta.is_some()) + usize::from(claims.is_some()));
        header.integer(1);
        header.integer(-7);
        if let Some(of_signature) = meta {
            let mut meta = Encoder::default();
            meta.map(1);
            meta.integer(1);
            span(&mut meta, of_signature);
            header.integer(8);
            header.bytes(&meta.done());
        }
        if let Some((from, until)) = claims {
            header.integer(15);
            header.map(2);
            for number in [4, until, 5, from] {
                header.integer(number);
            }
        }
        let protected = header.done();
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signature = key.sign(&SystemRandom::new(), &sig_structure(&protected, &payload)).unwrap();
        let mut envelope = Encoder::default();
        envelope.tag(18);
        envelope.array(4);
        envelope.bytes(&protected);
        envelope.map(0);
        envelope.bytes(&payload);
        envelope.bytes(signature.as_ref());
        // SubjectPublicKeyInfo of a point on P-256.
        let mut spki = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        spki.extend(key.public_key().as_ref());
        SignedCorim::open(&envelope.done(), &[VerificationKey::from_spki(&spki).unwrap()]).unwrap()
    }

    #[test]
    fn a_corim_whose_signature_has_ended_is_not_current() {
        let at = |corim: SignedCorim, now: i64| corim.current(second(now)).map(|_| ());
        let expired = |until: i64| Err(CorimError::Expired(second(until)));
        for by_claims in [false, true] {
            let with = |own, of_signature| {
                if by_claims { signed(own, None, of_signature) } else { signed(own, of_signature, None) }
            };
            let early = || with(Some((100, 900)), Some((200, 300)));
            assert_eq!(at(early(), 250), Ok(()));
            assert_eq!(at(early(), 301), expired(300));
            assert_eq!(at(early(), 150), Err(CorimError::NotYetValid(second(200))));
            assert_eq!(at(with(Some((100, 300)), Some((200, 900))), 301), expired(300));
            // The signature's word alone is one.
            assert_eq!(at(with(None, Some((200, 300))), 250), Ok(()));
            assert_eq!(at(with(None, Some((200, 300))), 301), expired(300));
        }
        // Both ends belong to the span.
        for now in [100, 250, 300] {
            assert_eq!(at(signed(Some((100, 300)), None, None), now), Ok(()));
        }
        assert_eq!(at(signed(Some((100, 300)), None, None), 99), Err(CorimError::NotYetValid(second(100))));
        assert_eq!(at(signed(None, None, None), 250), Err(CorimError::NoValidity));
        assert_eq!(at(signed(None, Some((0, 900)), Some((0, 300))), 301), expired(300));
    }

    #[test]
    fn what_a_header_says_of_time_in_another_form_is_refused() {
        let header = |label: i64, write: &dyn Fn(&mut Encoder)| {
            let mut header = Encoder::default();
            header.map(1);
            header.integer(label);
            write(&mut header);
            Validity::of_signature(&header.done())
        };
        assert_eq!(header(8, &|header| header.text("meta")), Err(CorimError::Member("corim-meta")));
        assert_eq!(header(8, &|header| header.bytes(&[0x01])), Err(CorimError::Member("corim-meta")));
        // { 1: { 0: 1(0) } } has no end, { 1: { 1: 0 } } no time.
        let meta = |bytes: &'static [u8]| header(8, &|header| header.bytes(bytes));
        assert_eq!(meta(&[0xA1, 1, 0xA1, 0, 0xC1, 0]), Err(CorimError::Member("not-after")));
        assert_eq!(meta(&[0xA1, 1, 0xA1, 1, 0]), Err(CorimError::Member("time")));
        assert!(matches!(meta(&[0xA1]), Err(CorimError::Malformed(_))));
        assert_eq!(header(15, &|header| header.text("claims")), Err(CorimError::Member("CWT claims")));
        let text = |header: &mut Encoder| {
            header.map(1);
            header.integer(4);
            header.text("soon");
        };
        assert_eq!(header(15, &text), Err(CorimError::Member("time")));
    }
}
