//! Messages have one shape: what is written reads back, and a field more, a field less or a field twice is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use attest::binding::Purpose;
use envelope::{
    Digest, SigningKey, canonical,
    text::{Bytes, Bytes32},
    wrap::DecapsulationKey,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use testkit::Room;
use wire::messages::*;

/// One spelling; every member needed; no member more.
fn strict<T: Serialize + DeserializeOwned>(message: &T) {
    let bytes = canonical::to_vec(message).unwrap();
    let read: T = canonical::from_slice(&bytes).unwrap();
    assert_eq!(canonical::to_vec(&read).unwrap(), bytes);
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    let mut objects = Vec::new();
    collect(&value, String::new(), &mut objects);
    let name = std::any::type_name::<T>();
    for pointer in objects {
        let mut more = value.clone();
        more.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().insert("zzz".to_owned(), Value::from(0));
        assert!(
            canonical::from_slice_loose::<T>(&serde_json::to_vec(&more).unwrap()).is_err(),
            "{name}: more at `{pointer}`"
        );
        for member in value.pointer(&pointer).unwrap().as_object().unwrap().keys() {
            let mut less = value.clone();
            less.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(member);
            let bytes = canonical::to_vec(&less).unwrap();
            let by_name = MAPS.iter().any(|map| pointer.ends_with(map));
            assert!(
                by_name || member == "run_salt" || canonical::from_slice::<T>(&bytes).is_err(),
                "{name}: no `{member}` at `{pointer}`"
            );
        }
    }
    let twice = String::from_utf8(bytes).unwrap();
    if let Some((first, _)) = twice.strip_prefix('{').and_then(|rest| rest.split_once(':')) {
        let again = twice.replacen('{', &format!("{{{first}:0,"), 1);
        assert!(canonical::from_slice_loose::<T>(again.as_bytes()).is_err(), "{name}: `{first}` twice");
    }
}

/// Members of these are names that somebody chose.
const MAPS: &[&str] = &["/parties", "/datasets", "/computations", "/columns", "/offered", "/tables", "/versions"];

fn collect(value: &Value, at: String, objects: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            objects.push(at.clone());
            members.iter().for_each(|(name, value)| collect(value, format!("{at}/{name}"), objects));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| collect(value, format!("{at}/{index}"), objects));
        }
        _ => {}
    }
}

fn challenge() -> Challenge {
    let expires = testkit::now();
    Challenge { purpose: ChallengeUse::WorkerRelease, nonce: Bytes32([1; 32]), expires, mac: Bytes32([2; 32]) }
}

#[test]
fn h3_messages_of_parties_have_one_shape() {
    let mut room = Room::new();
    let claim = room.broker_machine.claim().clone();
    let receipt = room.receipt();
    strict(&BrokerDescription {
        key: room.broker.public(),
        log: room.log.key().to_string(),
        encapsulation: room.decapsulation.public().clone(),
        ak_public: claim.ak_public,
        ek_public: claim.ek_public,
        ek_chain: claim.ek_certificates,
        version: "1".to_owned(),
        time: testkit::now(),
    });
    strict(&ChallengeRequest { purpose: ChallengeUse::WorkerEnrol });
    strict(&challenge());
    strict(&EvidenceRequest { nonce: Bytes32([1; 32]), asker: room.broker.public() });
    strict(&BrokerEvidence { evidence: receipt.worker.evidence.clone(), keys: receipt.worker.binding.keys.clone() });
    strict(&Activation { id_object: Bytes(vec![1]), encrypted_secret: Bytes(vec![2]) });
    strict(&Activated { secret: Bytes(vec![3]) });
    strict(&Accepted { statement: Digest::of(b"x"), leaf: 7 });
    for standing in [Standing::InForce {}, Standing::NotInForce { reason: "a party is missing".to_owned() }] {
        strict(&AgreementStatus {
            digest: Digest::of(b"x"),
            name: "trial".to_owned(),
            agreement: receipt.grounds.agreement.clone(),
            manifests: receipt.grounds.manifests.clone(),
            consented: BTreeSet::from(["hospital".to_owned()]),
            offered: BTreeMap::from([("registry".to_owned(), Digest::of(b"offer"))]),
            standing,
        });
    }
    let refusal = Some(RunRefusal { code: "rules-refused".to_owned(), words: "words".to_owned() });
    strict(&RunStatus { run: Digest::of(b"x"), phase: Phase::Refused, refusal });
    let record = LoggedRecord { kind: "urn:x".to_owned(), logged: receipt.grounds.run.clone() };
    strict(&Records { checkpoint: receipt.grounds.checkpoint.clone(), records: vec![record] });
    let proof = tlog::ConsistencyProof::new(Vec::new()).unwrap();
    strict(&Consistency { checkpoint: receipt.grounds.checkpoint.clone(), proof });
    strict(&Problem { code: "malformed".to_owned(), message: "no".to_owned(), hint: Some("yes".to_owned()) });
    strict(&receipt);
}

#[test]
fn h3_messages_of_workers_have_one_shape() {
    let mut room = Room::new();
    let claim = room.worker_machine.claim().clone();
    let receipt = room.receipt();
    let (evidence, keys) = (receipt.worker.evidence.clone(), receipt.worker.binding.keys.clone());
    let request =
        EnrolRequest { ak_public: claim.ak_public, ek_public: claim.ek_public, ek_chain: claim.ek_certificates };
    strict(&request);
    let credential = Activation { id_object: Bytes(vec![1]), encrypted_secret: Bytes(vec![2]) };
    strict(&EnrolChallenge { credential, token: Bytes(vec![1]), challenge: challenge() });
    strict(&EnrolProof {
        request,
        token: Bytes(vec![1]),
        challenge: challenge(),
        secret: Bytes(vec![2]),
        evidence: evidence.clone(),
        keys: keys.clone(),
    });
    strict(&Enrolled { enrolment: receipt.enrolment.statement.clone() });
    strict(&NextRun { enrolment: Digest::of(b"x") });
    strict(&WorkOrder { run: Digest::of(b"x"), grounds: receipt.grounds.clone() });
    let release =
        ReleaseRequest { run: Digest::of(b"x"), enrolment: Digest::of(b"y"), challenge: challenge(), keys, evidence };
    strict(&release);
    let lease = Lease { id: Bytes32([1; 32]), lasts_ms: 60_000 };
    let wrapped = room.decapsulation.public().wrap(b"x", "y", b"z").unwrap();
    strict(&ReleasedKeys { wrapped, lease: lease.clone(), released: receipt.released.statement.clone() });
    let file = FileKeys { footer: Bytes32([1; 32]), columns: BTreeMap::from([("arm".to_owned(), Bytes32([2; 32]))]) };
    strict(&Keys { tables: BTreeMap::from([(Digest::of(b"x"), vec![file])]) });
    strict(&RenewRequest { lease: lease.id, release });
    strict(&Finished { statement: receipt.result.statement.clone(), rules: "{}".to_owned(), output: Bytes(vec![1]) });
    strict(&Failed { run: Digest::of(b"x"), lease: Some(lease.id), code: "failed".to_owned() });
}

#[test]
fn h7_secrets_are_not_printed() {
    let secret = Bytes(b"a canary that nobody may see".to_vec());
    let text = envelope::text::encode(&secret.0);
    let mut room = Room::new();
    let receipt = room.receipt();
    let claim = room.worker_machine.claim().clone();
    let request =
        EnrolRequest { ak_public: claim.ak_public, ek_public: claim.ek_public, ek_chain: claim.ek_certificates };
    let proof = EnrolProof {
        request,
        token: Bytes(vec![1]),
        challenge: challenge(),
        secret: secret.clone(),
        evidence: receipt.worker.evidence,
        keys: receipt.worker.binding.keys,
    };
    assert!(!format!("{proof:?}").contains(&text));
    assert_eq!(format!("{:?}", Activated { secret }), "Activated");
}

/// Two keys, two purposes, two runs: what tells one message from another is in what is wrapped and bound.
#[test]
fn c5_released_keys_open_for_their_run_lease_and_binding_only() {
    let worker = DecapsulationKey::from_seed(&[1; 32]);
    let (run, lease, bound) = (Digest::of(b"run"), Bytes32([1; 32]), Digest::of(b"binding"));
    let context = Keys::context(&run, &lease, &bound);
    let wrapped = worker.public().wrap(b"keys", Keys::PURPOSE, &context).unwrap();
    assert_eq!(worker.unwrap(&wrapped, Keys::PURPOSE, &context).unwrap().as_slice(), b"keys");
    let other = Digest::of(b"other");
    for context in [
        Keys::context(&other, &lease, &bound),
        Keys::context(&run, &Bytes32([2; 32]), &bound),
        Keys::context(&run, &lease, &other),
        Keys::context(&bound, &lease, &run),
    ] {
        assert_eq!(worker.unwrap(&wrapped, Keys::PURPOSE, &context), Err(envelope::wrap::WrapError::Open));
    }
    let other = DecapsulationKey::from_seed(&[2; 32]);
    assert_eq!(other.unwrap(&wrapped, Keys::PURPOSE, &context), Err(envelope::wrap::WrapError::Open));
}

fn bytes32() -> impl Strategy<Value = Bytes32> {
    any::<[u8; 32]>().prop_map(Bytes32)
}

fn purpose() -> impl Strategy<Value = ChallengeUse> {
    prop_oneof![Just(ChallengeUse::WorkerEnrol), Just(ChallengeUse::WorkerRelease), Just(ChallengeUse::WorkerRenew)]
}

proptest! {
    #[test]
    fn challenges_round_trip(purpose in purpose(), nonce in bytes32(), mac in bytes32(), second in 0_i64..4_000_000_000) {
        let expires = jiff::Timestamp::from_second(second).unwrap();
        let challenge = Challenge { purpose, nonce, expires, mac };
        let bytes = canonical::to_vec(&challenge).unwrap();
        prop_assert_eq!(canonical::from_slice::<Challenge>(&bytes).unwrap(), challenge);
    }

    #[test]
    fn keys_round_trip_with_any_names(names in prop::collection::btree_set(".{0,12}", 0..6), key in bytes32(), count in 0_usize..4) {
        let columns: BTreeMap<String, Bytes32> = names.into_iter().map(|name| (name, key)).collect();
        let file = FileKeys { footer: key, columns };
        let keys = Keys { tables: BTreeMap::from([(Digest::of(&key.0), vec![file; count])]) };
        let bytes = canonical::to_vec(&keys).unwrap();
        prop_assert!(canonical::from_slice::<Keys>(&bytes).unwrap() == keys);
    }

    #[test]
    fn bindings_of_different_parts_differ(a in any::<[u8; 32]>(), b in any::<[u8; 32]>(), flip in 0_usize..6) {
        prop_assume!(a != b);
        let room_key = SigningKey::from_seed(&[1; 32]).public();
        let of = |which: Option<usize>| {
            let pick = |index| if which == Some(index) { b } else { a };
            attest::binding::BindingParts {
                purpose: Purpose::BrokerDeposit { party: if which == Some(0) { *room_key.as_bytes() } else { a } },
                keys: attest::binding::ChannelKeys {
                    channel: pick(1).to_vec(),
                    encapsulation: pick(2).to_vec(),
                    signing: pick(3),
                },
                exporter: pick(4),
                nonce: pick(5),
            }
            .bind()
        };
        let (one, other) = (of(None), of(Some(flip)));
        prop_assert_ne!(one.sha256(), other.sha256());
        prop_assert_ne!(one.sha512().as_slice(), other.sha512().as_slice());
    }

    #[test]
    fn arbitrary_bytes_are_no_message(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(canonical::from_slice_loose::<WorkOrder>(&bytes).is_err());
        prop_assert!(canonical::from_slice_loose::<ReleaseRequest>(&bytes).is_err());
        prop_assert!(canonical::from_slice_loose::<BrokerEvidence>(&bytes).is_err());
    }

    #[test]
    fn arbitrary_headers_authenticate_nobody(audience in ".{0,80}", input in ".{0,300}", signature in ".{0,120}") {
        let broker = SigningKey::from_seed(&[2; 32]).public();
        let headers = wire::signature::SignedHeaders { audience: broker.to_string(), input: input.clone(), signature: signature.clone() };
        prop_assert!(wire::signature::Reader::check(&headers, &broker, "GET", "/", testkit::now()).is_err());
        let headers = wire::signature::SignedHeaders { audience, input, signature };
        prop_assert!(wire::signature::Reader::check(&headers, &broker, "GET", "/", testkit::now()).is_err());
    }
}
