//! The vectors under `vectors/`, which a program that shares nothing with this crate wrote: most must be refused, each for
//! the reason it names.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::Value;
use tlog::{
    Commitment, Included, InclusionProof, LogKey, Opening, SignedCheckpoint, Tile, TlogError, VerifiedCheckpoint,
    WitnessKey, WitnessPolicy,
};

#[test]
fn leaves_are_as_specified() {
    let leaf = &vectors()["leaf"];
    let opening: Opening = serde_json::from_value(serde_json::json!({
        "kind": leaf["kind"], "record": leaf["record"], "salt": leaf["salt"]
    }))
    .unwrap();
    assert_eq!(hex(opening.commitment().as_bytes()), text(&leaf["entry"]));
    assert_eq!(hex(opening.commitment().leaf_hash().as_bytes()), text(&leaf["leaf_hash"]));
    assert_eq!(Commitment::from_bytes(*opening.commitment().as_bytes()), opening.commitment());
}

#[test]
fn l5_checkpoints_are_verified_or_refused_as_expected() {
    let vectors = vectors();
    let log: LogKey = text(&vectors["log"]).parse().unwrap();
    for vector in array(&vectors["checkpoints"]) {
        let witnesses = array(&vector["witnesses"]).iter().map(|key| text(key).parse().unwrap()).collect();
        let policy = WitnessPolicy::new(vector["k"].as_u64().unwrap() as usize, witnesses).unwrap();
        let found = SignedCheckpoint::verify(text(&vector["note"]).as_bytes(), &log, &policy)
            .map(|head| format!("ok size={} root={} rollback={}", head.size(), head.root(), head.rollback()));
        assert_eq!(outcome(found), text(&vector["expect"]), "{}", vector["name"]);
    }
}

#[test]
fn any_changed_byte_of_a_checkpoint_is_refused() {
    let vectors = vectors();
    let log: LogKey = text(&vectors["log"]).parse().unwrap();
    let good = text(&vectors["checkpoint"]).as_bytes().to_vec();
    for position in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[position] ^= 1 << bit;
            let found = SignedCheckpoint::verify(&bytes, &log, &WitnessPolicy::none());
            assert!(found.is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn l7_inclusion_proofs_are_accepted_or_refused_as_expected() {
    let vectors = vectors();
    let head = head(&vectors);
    for vector in array(&vectors["inclusions"]) {
        let opening: Opening = serde_json::from_value(vector["opening"].clone()).unwrap();
        let path = array(&vector["path"]).iter().map(|hash| text(hash).parse().unwrap()).collect();
        let found = InclusionProof::new(vector["index"].as_u64().unwrap(), path)
            .and_then(|proof| Included::check(opening, &proof, &head))
            .map(|_| "ok".to_owned());
        assert_eq!(outcome(found), text(&vector["expect"]), "{}", vector["name"]);
    }
}

#[test]
fn l7_only_the_shortest_path_names_a_tile() {
    for vector in array(&vectors()["paths"]) {
        let path = text(&vector["path"]);
        let found = path.parse::<Tile>().map(|tile| {
            assert_eq!(tile.to_string(), path);
            "ok".to_owned()
        });
        assert_eq!(outcome(found), text(&vector["expect"]), "{path}");
    }
}

#[test]
fn keys_in_any_other_spelling_are_refused() {
    let vectors = vectors();
    let log = text(&vectors["log"]);
    let witness = text(&vectors["witnesses"][0]);
    assert_eq!(log.parse::<LogKey>().unwrap().to_string(), log);
    assert_eq!(witness.parse::<WitnessKey>().unwrap().to_string(), witness);
    // The types of keys do not mix, in either direction.
    assert_eq!(witness.parse::<LogKey>(), Err(TlogError::MalformedKey(witness.to_owned())));
    assert_eq!(log.parse::<WitnessKey>(), Err(TlogError::MalformedKey(log.to_owned())));
    let (name, rest) = log.split_once('+').unwrap();
    let (id, material) = rest.split_once('+').unwrap();
    let weak = "AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let spellings = [
        String::new(),
        name.to_owned(),
        format!("{name}+{id}"),
        format!("other+{id}+{material}"),
        format!("{name}+00000000+{material}"),
        format!("{name}+{}+{material}", id.to_uppercase()),
        format!("{name}+{id}+{}", &material[..material.len() - 4]),
        format!(" {log}"),
        format!("{log}\n"),
        format!("+{id}+{material}"),
        format!("{name}+{id}+{weak}"),
    ];
    for spelling in spellings {
        assert_eq!(spelling.parse::<LogKey>(), Err(TlogError::MalformedKey(spelling.clone())), "`{spelling}`");
    }
}

fn head(vectors: &Value) -> VerifiedCheckpoint {
    let log: LogKey = text(&vectors["log"]).parse().unwrap();
    SignedCheckpoint::verify(text(&vectors["checkpoint"]).as_bytes(), &log, &WitnessPolicy::none()).unwrap()
}

fn outcome(found: Result<String, TlogError>) -> String {
    found.unwrap_or_else(|error| error.to_string())
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
