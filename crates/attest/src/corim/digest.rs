//! Digests in a CoRIM (draft-ietf-rats-corim, section 7.7): the hash by its number or by its name, and the value.

use super::{CorimError, pair, records};
use crate::cbor::Value;

/// The hash of a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashAlgorithm {
    /// Its number in IANA's Named Information Hash Algorithm Registry, also where the CoRIM has the name.
    Number(i64),
    /// A name that has no number there. Nothing is known of the hash, so its values are no Reference Values.
    Name(String),
}

/// A list of digests; none where there is no list.
///
/// # Errors
/// [`CorimError::Member`].
pub(super) fn digests(list: Option<&Value<'_>>) -> Result<Vec<(HashAlgorithm, Vec<u8>)>, CorimError> {
    let digest = |digest| {
        let [algorithm, value] = pair(digest)?;
        let algorithm = match (algorithm.integer(), algorithm.text()) {
            (Some(number), _) => HashAlgorithm::Number(number),
            (None, Some(name)) => HashAlgorithm::of_name(name),
            (None, None) => return Err(CorimError::Member("digest")),
        };
        Ok((algorithm, value.bytes().ok_or(CorimError::Member("digest"))?.to_vec()))
    };
    records(list)?.iter().map(digest).collect()
}

impl HashAlgorithm {
    /// Names are compared as they are registered, in lower case.
    fn of_name(name: &str) -> HashAlgorithm {
        match REGISTERED.iter().find(|(_, registered)| *registered == name) {
            Some((number, _)) => HashAlgorithm::Number(*number),
            None => HashAlgorithm::Name(name.to_owned()),
        }
    }
}

/// IANA, Named Information Hash Algorithm Registry: the names that have a number (RFC 6920, section 9.4, and later ones).
const REGISTERED: [(i64, &str); 12] = [
    (1, "sha-256"),
    (2, "sha-256-128"),
    (3, "sha-256-120"),
    (4, "sha-256-96"),
    (5, "sha-256-64"),
    (6, "sha-256-32"),
    (7, "sha-384"),
    (8, "sha-512"),
    (9, "sha3-224"),
    (10, "sha3-256"),
    (11, "sha3-384"),
    (12, "sha3-512"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cbor::{Encoder, Form};

    fn read(write: impl Fn(&mut Encoder)) -> Result<Vec<(HashAlgorithm, Vec<u8>)>, CorimError> {
        let mut encoder = Encoder::default();
        encoder.array(1);
        write(&mut encoder);
        let bytes = encoder.done();
        let value = Value::parse(&bytes, Form::Plain).unwrap();
        digests(Some(&value))
    }

    fn named(name: &str) -> HashAlgorithm {
        let found = read(|encoder| {
            encoder.array(2);
            encoder.text(name);
            encoder.bytes(&[5, 6]);
        });
        let [(algorithm, value)] = found.unwrap().try_into().unwrap();
        assert_eq!(value, [5, 6]);
        algorithm
    }

    #[test]
    fn a_registered_name_is_its_number_and_another_stays_a_name() {
        let registered = [
            "sha-256",
            "sha-256-128",
            "sha-256-120",
            "sha-256-96",
            "sha-256-64",
            "sha-256-32",
            "sha-384",
            "sha-512",
            "sha3-224",
            "sha3-256",
            "sha3-384",
            "sha3-512",
        ];
        for (number, name) in (1..).zip(registered) {
            assert_eq!(named(name), HashAlgorithm::Number(number), "{name}");
        }
        for name in ["", "sha256", "SHA-256", "sha-256 ", "sha-512-256", "blake2b-256", "1"] {
            assert_eq!(named(name), HashAlgorithm::Name(name.to_owned()));
        }
    }

    #[test]
    fn a_digest_is_a_hash_and_a_value() {
        for number in [1, -16, 99] {
            let found = read(|encoder| {
                encoder.array(2);
                encoder.integer(number);
                encoder.bytes(&[7]);
            });
            assert_eq!(found, Ok(vec![(HashAlgorithm::Number(number), vec![7])]));
        }
        let bad = Err(CorimError::Member("digest"));
        let of_bytes = read(|encoder| {
            encoder.array(2);
            encoder.bytes(b"sha-256");
            encoder.bytes(&[7]);
        });
        assert_eq!(of_bytes, bad);
        let to_text = read(|encoder| {
            encoder.array(2);
            encoder.text("sha-256");
            encoder.text("07");
        });
        assert_eq!(to_text, bad);
        let alone = read(|encoder| {
            encoder.array(1);
            encoder.text("sha-256");
        });
        assert_eq!(alone, Err(CorimError::Member("triple")));
        assert_eq!(read(|encoder| encoder.text("sha-256")), Err(CorimError::Member("triple")));
        assert_eq!(digests(Some(&Value::Null)), Err(CorimError::Member("triples")));
        assert_eq!(digests(None), Ok(Vec::new()));
    }
}
