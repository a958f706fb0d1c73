//! The receipt as bytes: no byte of the file is without meaning, and nothing that is no receipt makes the reader panic.
//!
//! In the ordinary run one small field of each kind is altered in every byte and the rest in every [`STRIDE`]th; with `GLOVEBOX_EXHAUSTIVE`
//! in the environment every byte of the file is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use envelope::{Digest, canonical::CanonicalError};
use proptest::prelude::*;
use receipt::{Anchors, Receipt, verify};
use testkit::Room;

/// Why a file was refused: by its form, or by the step of that number.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Form,
    Step(u8),
}

fn read(bytes: &[u8], output: &Digest) -> Result<(), Refused> {
    let receipt = Receipt::parse(bytes).map_err(|_| Refused::Form)?;
    verify(&receipt, &Anchors::default(), Some(output)).map(|_| ()).map_err(|failure| Refused::Step(failure.number))
}

fn good() -> (Vec<u8>, Digest) {
    let mut room = Room::new();
    let bytes = room.receipt().to_bytes().unwrap();
    assert_eq!(read(&bytes, &room.output()), Ok(()));
    (bytes, room.output())
}

#[test]
fn a1_one_flipped_bit_in_any_byte_is_noticed() {
    let (bytes, output) = good();
    let stride = if std::env::var_os("GLOVEBOX_EXHAUSTIVE").is_some() { 1 } else { STRIDE };
    let small = small_fields(&bytes);
    for position in (0..bytes.len()).filter(|at| at % stride == 0 || small.iter().any(|field| field.contains(at))) {
        let mut altered = bytes.clone();
        altered[position] ^= 1 << (position % 7);
        let around =
            String::from_utf8_lossy(&bytes[position.saturating_sub(40)..(position + 20).min(bytes.len())]).into_owned();
        assert!(read(&altered, &output).is_err(), "byte {position}: …{around}…");
    }
}

/// Where the first salt, proof, key id and so on lie.
fn small_fields(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let text = std::str::from_utf8(bytes).unwrap();
    let names = [
        "\"salt\"",
        "\"proof\"",
        "\"checkpoint\"",
        "\"format\"",
        "\"keyid\"",
        "\"nonce\"",
        "\"exporter\"",
        "\"run_salt\"",
        "\"kind\"",
    ];
    let places = names.iter().filter_map(|name| text.find(name));
    places.map(|at| at..at + 90).collect()
}

#[test]
fn a2_a_receipt_cut_short_or_with_a_byte_more_is_refused() {
    let (bytes, output) = good();
    let lengths = (0..bytes.len()).step_by(31).chain([1, 2, bytes.len() - 1]);
    for length in lengths {
        assert_eq!(read(&bytes[..length], &output), Err(Refused::Form), "length {length}");
    }
    for more in [0_u8, b' ', b'\n', b'}', 0xFF] {
        assert_eq!(read(&[bytes.as_slice(), &[more]].concat(), &output), Err(Refused::Form));
    }
}

#[test]
fn another_spelling_of_the_same_receipt_is_refused() {
    let (bytes, _) = good();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    assert!(matches!(Receipt::parse(&pretty), Err(CanonicalError::NotCanonical)));
    let text = String::from_utf8(bytes).unwrap();
    let escaped = text.replacen("\"glovebox receipt v1\"", "\"glovebox receipt v\\u0031\"", 1);
    assert!(matches!(Receipt::parse(escaped.as_bytes()), Err(CanonicalError::NotCanonical)));
    let later = text.replacen("glovebox receipt v1", "glovebox receipt v2", 1);
    assert!(matches!(Receipt::parse(later.as_bytes()), Err(CanonicalError::Shape { .. })));
    let more = text.replacen("\"format\":", "\"farmat\":0,\"format\":", 1);
    assert!(matches!(Receipt::parse(more.as_bytes()), Err(CanonicalError::Shape { .. })));
    let twice = text.replacen("\"format\":", "\"format\":\"glovebox receipt v1\",\"format\":", 1);
    assert!(matches!(Receipt::parse(twice.as_bytes()), Err(CanonicalError::Shape { .. })));
}

#[test]
fn a_missing_part_is_refused() {
    let (bytes, _) = good();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let mut paths: Vec<Vec<String>> = Vec::new();
    collect(&value, &mut Vec::new(), &mut paths);
    assert!(paths.len() > 100, "{}", paths.len());
    for path in paths {
        let mut without = value.clone();
        let parent = path[..path.len() - 1].iter().fold(&mut without, |at, name| match at {
            serde_json::Value::Array(items) => &mut items[name.parse::<usize>().unwrap()],
            other => &mut other[name.as_str()],
        });
        parent.as_object_mut().unwrap().remove(path.last().unwrap());
        let bytes = envelope::canonical::to_vec(&without).unwrap();
        // The run's salt is the one part that other Evidence lacks; its absence is for step 6, and for the digest of the release.
        let refused = read(&bytes, &Digest::of(b"")).unwrap_err();
        let by_name =
            path.iter().any(|part| ["parties", "datasets", "computations", "columns"].contains(&part.as_str()));
        let expected = if path.ends_with(&["run_salt".to_owned()]) { Refused::Step(6) } else { Refused::Form };
        assert!(refused == expected || by_name && matches!(refused, Refused::Step(1 | 4)), "{path:?}: {refused:?}");
    }
}

/// The paths of all members of objects.
fn collect(value: &serde_json::Value, at: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let members: Vec<(String, &serde_json::Value)> = match value {
        serde_json::Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => return,
    };
    for (name, member) in members {
        at.push(name);
        if value.is_object() {
            paths.push(at.clone());
        }
        collect(member, at, paths);
        at.pop();
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_receipt_and_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(Receipt::parse(&bytes).is_err());
    }

    #[test]
    fn arbitrary_json_is_no_receipt_and_does_no_harm(text in "[\\[\\]{}\",:a-z0-9 \\\\.eE+-]{0,400}") {
        prop_assert!(Receipt::parse(text.as_bytes()).is_err());
    }
}

#[test]
fn pieces_of_receipts_put_together_do_no_harm() {
    let (bytes, output) = good();
    let strategy = (0..bytes.len(), 0..bytes.len(), prop::collection::vec(any::<u8>(), 0..8));
    let config = ProptestConfig { cases: 200, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&strategy, |(from, to, between)| {
            let spliced = [&bytes[..from], &between, &bytes[to..]].concat();
            prop_assert!(spliced == bytes || read(&spliced, &output).is_err());
            Ok(())
        })
        .unwrap();
}

const STRIDE: usize = 41;
