//! Forms of CoRIMs that are taken, and how much of one is read.
#![allow(clippy::unwrap_used)]

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

use super::*;
use crate::{cbor::Encoder, cose, keys::Algorithm};

const SIX: [u8; 6] = [0xd9, 0x01, 0xf4, 0xd9, 0x01, 0xf6];

/// A CoMID whose triples of one kind are these, each encoded.
fn comid(kind: i64, records: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.tag(COMID);
    encoder.map(1);
    encoder.integer(4);
    encoder.map(1);
    encoder.integer(kind);
    encoder.array(records.len());
    [encoder.done(), records.concat()].concat()
}

/// A bare CoRIM with these CoMIDs.
fn corim(comids: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.map(2);
    encoder.integer(0);
    encoder.text("id");
    encoder.integer(1);
    encoder.array(comids.len());
    comids.iter().for_each(|comid| encoder.bytes(comid));
    encoder.done()
}

/// A reference triple of an environment and no measurement: [{}, []].
fn triple() -> Vec<u8> {
    vec![0x82, 0xa0, 0x80]
}

fn small() -> Vec<u8> {
    corim(&[comid(0, &[triple()])])
}

fn signed(payload: &[u8]) -> (Vec<u8>, VerificationKey) {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
    let sign = |bytes: &[u8]| key.sign(&random, bytes).map(|signature| signature.as_ref().to_vec());
    let envelope = cose::sign(Algorithm::Es256, payload, sign).unwrap().unwrap();
    (envelope, VerificationKey::from_point(key.public_key().as_ref()).unwrap())
}

#[test]
fn the_tags_of_earlier_drafts_are_taken_off() {
    let (envelope, key) = signed(&[&TAGGED[..], &small()].concat());
    let keys = [key];
    let expected = SignedCorim::open(&envelope, &keys).unwrap();
    for prefix in [&SIX[..], &CHOICE, &SIGNED] {
        assert_eq!(SignedCorim::open(&[prefix, &envelope].concat(), &keys), Ok(expected.clone()), "{prefix:?}");
    }
    for prefix in [[SIGNED, CHOICE].concat(), [SIGNED, SIGNED].concat(), [CHOICE, TAGGED].concat(), TAGGED.to_vec()] {
        assert!(SignedCorim::open(&[&prefix[..], &envelope].concat(), &keys).is_err(), "{prefix:?}");
    }
    let bare = UnsignedCorim::parse(&small()).unwrap();
    for prefix in [&TAGGED[..], &[CHOICE, TAGGED].concat()] {
        assert_eq!(UnsignedCorim::parse(&[prefix, &small()].concat()), Ok(bare.clone()));
    }
    for prefix in [&CHOICE[..], &SIX, &SIGNED] {
        let refused = UnsignedCorim::parse(&[prefix, &small()].concat());
        assert_eq!(refused, Err(CorimError::Member("tag")), "{prefix:?}");
    }
}

#[test]
fn the_tags_are_under_no_signature_and_change_nothing_else() {
    let (mut envelope, key) = signed(&small());
    *envelope.last_mut().unwrap() ^= 1;
    assert_eq!(SignedCorim::open(&[&SIX[..], &envelope].concat(), &[key]), Err(CorimError::Signature));
}

#[test]
fn one_that_nobody_signed_is_told_by_its_beginning_alone() {
    for prefix in [&[][..], &TAGGED, &[CHOICE, TAGGED].concat()] {
        assert_eq!(SignedCorim::open(&[prefix, &small()].concat(), &[]), Err(CorimError::Unsigned));
    }
    // What follows the beginning is not read.
    assert_eq!(SignedCorim::open(&[&TAGGED[..], b"anything"].concat(), &[]), Err(CorimError::Unsigned));
    assert!(matches!(SignedCorim::open(b"anything", &[]), Err(CorimError::Envelope(_))));
}

#[test]
fn the_items_of_all_parts_are_counted_together() {
    // Each part is far below the limit, with three items for every reference.
    let part = comid(0, &vec![triple(); 10_000]);
    assert!(UnsignedCorim::parse(&corim(&[part.clone(), part.clone(), part.clone()])).is_ok());
    let refused = UnsignedCorim::parse(&corim(&vec![part; 4]));
    assert!(matches!(refused, Err(CorimError::Malformed(CborError::TooManyItems(_)))), "{refused:?}");
}

#[test]
fn a_triple_of_keys_may_have_conditions() {
    let keys = |record: &[u8]| UnsignedCorim::parse(&corim(&[comid(3, &[record.to_vec()])])).map(|corim| corim.keys);
    let bad = Err(CorimError::Member("triple"));
    assert_eq!(keys(&[0x82, 0xa0, 0x80]), Ok(1));
    assert_eq!(keys(&[0x83, 0xa0, 0x80, 0xa1, 0x00, 0x01]), Ok(1));
    assert_eq!(keys(&[0x83, 0xa0, 0x80, 0xa0]), bad);
    assert_eq!(keys(&[0x83, 0xa0, 0x80, 0x00]), bad);
    assert_eq!(keys(&[0x84, 0xa0, 0x80, 0xa1, 0x00, 0x01, 0x00]), bad);
    assert_eq!(keys(&[0x81, 0xa0]), bad);
    // A reference has none.
    let reference = UnsignedCorim::parse(&corim(&[comid(0, &[vec![0x83, 0xa0, 0x80, 0xa1, 0x00, 0x01]])]));
    assert_eq!(reference, Err(CorimError::Member("triple")));
}

#[test]
fn parts_of_other_kinds_are_counted_and_not_read() {
    // A CoSWID, of which nothing is read; and another kind of tag inside the string.
    let tagged = |number: u64| {
        let mut encoder = Encoder::default();
        encoder.tag(number);
        encoder.bytes(b"anything");
        encoder.done()
    };
    let mut encoder = Encoder::default();
    encoder.map(2);
    encoder.integer(0);
    encoder.text("id");
    encoder.integer(1);
    encoder.array(4);
    let mut bytes = encoder.done();
    for tag in [tagged(505), tagged(508)] {
        bytes.extend_from_slice(&tag);
    }
    for _ in 0..2 {
        let mut inside = Encoder::default();
        inside.bytes(&[0xd9, 0x01, 0xf9, 0xa0]);
        bytes.extend_from_slice(&inside.done());
    }
    assert_eq!(UnsignedCorim::parse(&bytes).map(|corim| corim.other_tags), Ok(4));
}

#[test]
fn one_is_read_up_to_its_limit_and_no_further() {
    assert!(matches!(UnsignedCorim::parse(&vec![0; MAX]), Err(CorimError::Malformed(_))));
    assert_eq!(UnsignedCorim::parse(&vec![0; MAX + 1]), Err(CorimError::TooLarge(MAX + 1)));
    assert!(matches!(SignedCorim::open(&vec![0; MAX], &[]), Err(CorimError::Envelope(_))));
    assert_eq!(SignedCorim::open(&vec![0; MAX + 1], &[]), Err(CorimError::TooLarge(MAX + 1)));
}

/// A triple of a class and one measurement: the key as it is written, the name, one digest of SHA-256.
fn reference(class: &dyn Fn(&mut Encoder), key: &dyn Fn(&mut Encoder), name: Option<&str>, digest: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.array(2);
    encoder.map(1);
    encoder.integer(0);
    class(&mut encoder);
    encoder.array(1);
    encoder.map(2);
    encoder.integer(0);
    key(&mut encoder);
    encoder.integer(1);
    encoder.map(1 + usize::from(name.is_some()));
    encoder.integer(2);
    encoder.array(1);
    encoder.array(2);
    encoder.integer(1);
    encoder.bytes(digest);
    if let Some(name) = name {
        encoder.integer(11);
        encoder.text(name);
    }
    encoder.done()
}

/// A class-map with an id.
fn class_of(id: impl Fn(&mut Encoder)) -> impl Fn(&mut Encoder) {
    move |encoder| {
        encoder.map(1);
        encoder.integer(0);
        id(encoder);
    }
}

#[test]
fn reference_values_are_told_apart_by_their_class_and_named_by_name_or_key() {
    let tagged = class_of(|encoder| {
        encoder.tag(560);
        encoder.bytes(&[0xab, 0x01]);
    });
    let other = class_of(|encoder| encoder.text("other"));
    let component = |tag: u64| {
        move |encoder: &mut Encoder| {
            encoder.tag(tag);
            encoder.map(2);
            encoder.integer(1);
            encoder.text("BL");
            encoder.integer(4);
            encoder.text("2.1");
        }
    };
    let triples = [
        reference(&tagged, &|encoder| encoder.integer(7), None, &[1]),
        reference(&tagged, &|encoder| encoder.integer(7), None, &[2]),
        reference(&tagged, &|encoder| encoder.integer(8), Some("kernel"), &[3]),
        reference(&tagged, &component(601), None, &[4]),
        reference(&tagged, &|encoder| encoder.bytes(&[0xcd]), None, &[5]),
        // A map under another tag is no name, and a measurement without a name is in no Reference Value.
        reference(&tagged, &component(602), None, &[6]),
        reference(&other, &|encoder| encoder.integer(7), None, &[7]),
    ];
    let corim = CurrentCorim { corim: UnsignedCorim::parse(&corim(&[comid(0, &triples)])).unwrap() };
    let expected = |values: &[(&str, &[&str])]| -> BTreeMap<String, BTreeSet<String>> {
        let owned = |digests: &[&str]| digests.iter().map(|digest| (*digest).to_owned()).collect();
        values.iter().map(|(name, digests)| ((*name).to_owned(), owned(digests))).collect()
    };
    let of_class = [("7", &["01", "02"][..]), ("kernel", &["03"]), ("BL", &["04"]), ("cd", &["05"])];
    assert_eq!(corim.reference_values_of("ab01"), expected(&of_class));
    assert_eq!(corim.reference_values_of("other"), expected(&[("7", &["07"])]));
    assert_eq!(corim.reference_values_of(""), BTreeMap::new());
}

#[test]
fn digests_by_a_hash_that_has_only_a_name_are_no_reference_values() {
    let mut encoder = Encoder::default();
    encoder.array(2);
    encoder.map(1);
    encoder.integer(0);
    class_of(|encoder| encoder.text("class"))(&mut encoder);
    encoder.array(2);
    for (key, hashes) in [("known", ["sha-384", "other"]), ("unknown", ["sha384", "another"])] {
        encoder.map(2);
        encoder.integer(0);
        encoder.text(key);
        encoder.integer(1);
        encoder.map(1);
        encoder.integer(2);
        encoder.array(2);
        for (value, hash) in (1..).zip(hashes) {
            encoder.array(2);
            encoder.text(hash);
            encoder.bytes(&[value]);
        }
    }
    let corim = UnsignedCorim::parse(&corim(&[comid(0, &[encoder.done()])])).unwrap();
    let name = |name: &str| HashAlgorithm::Name(name.to_owned());
    let read: Vec<_> =
        corim.references.iter().flat_map(|triple| &triple.measurements).map(|one| &one.digests).collect();
    assert_eq!(
        read,
        [
            &vec![(HashAlgorithm::Number(7), vec![1]), (name("other"), vec![2])],
            &vec![(name("sha384"), vec![1]), (name("another"), vec![2])],
        ]
    );
    let values = CurrentCorim { corim }.reference_values_of("class");
    let expected = [("known".to_owned(), BTreeSet::from(["01".to_owned()])), ("unknown".to_owned(), BTreeSet::new())];
    assert_eq!(values, BTreeMap::from(expected));
}

#[test]
fn a_class_is_a_map_and_its_id_may_be_missing() {
    let key = |encoder: &mut Encoder| encoder.integer(7);
    let classes = |class: &dyn Fn(&mut Encoder)| {
        let parsed = UnsignedCorim::parse(&corim(&[comid(0, &[reference(class, &key, None, &[1])])]));
        parsed.map(|corim| corim.references.into_iter().map(|triple| triple.class).collect::<Vec<_>>())
    };
    assert_eq!(classes(&class_of(|encoder| encoder.integer(300))), Ok(vec![Some("300".to_owned())]));
    assert_eq!(classes(&|encoder| encoder.map(0)), Ok(vec![Some(String::new())]));
    assert_eq!(classes(&|encoder| encoder.text("class")), Err(CorimError::Member("class")));
    assert_eq!(
        UnsignedCorim::parse(&small()).unwrap().references.first().map(|triple| triple.class.clone()),
        Some(None)
    );
}
