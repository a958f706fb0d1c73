//! The bytes of bindings, events and logs: fixed values computed by another program (Python's `hashlib` and `struct`), and
//! properties that hold for any bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use attest::{
    Evidence, FormatError, HashAlgorithm,
    binding::{BindingParts, ChannelKeys, EXPORTER_LABEL, Purpose},
    event_log::{EventLog, LogFormat, MAX_LOG, ReplayError},
    events::{Event, RoleName},
    tpm::{Quote, Signature, TpmName, TpmPublic},
};
use envelope::Digest;
use proptest::prelude::*;

/// Purpose, SHA-256 form, SHA-512 form; for keys of 91 bytes 1, 1216 bytes 2 and 32 bytes 3, exporter of 4, nonce of 5.
const BINDINGS: [(&str, &str, &str); 4] = [
    (
        "worker-enrol",
        "706159bdfbdb2402e22bed800986c0330e7bb5f908ad82068ff38203127b5852",
        "19805f63689d75b6d698c81aed7401ca53149a72bdddf56acb8ec42c7c974ce85593c6a20655c9acb87af3998fc6c290869febed5181ccb2a77a1cba6edd8d44",
    ),
    (
        "worker-release",
        "d789757fbadb62dc52bbc752eada654431f958c41fbea638597161b1fa829055",
        "6733a173ce0f7e2024582ec5888f7950daa1105e6c2bb6d8aa57b86f9987e0b6890a9e328f6e4666e4f161b9afbba6ca73343c06b473735c6bcbee62a844b683",
    ),
    (
        "worker-renew",
        "bf906b581439527106870e81b1c79e2370cba618d404ddbf1b764a580bee99d4",
        "4756390ae51f15e0a4fde435a159c4a081f48c36301c916de4ed1eb5e03c63661cfad74f0a9415c3a549b4f8edf72d6ad44b3adba8af137a11afcc53168213c7",
    ),
    (
        "broker-deposit",
        "2337d3be4e7a47da130d40680ec0f0d21d5d639dc3b0335dc4ae1eda41cf1ace",
        "3f0d4800bc9f6cf1d9759e0a68d06c665e063e342bf15a70c51df659d2e2e7f05ab4c7131c0130b33997703978404cab3d9234b04d219bc9a05e66d33a5605fd",
    ),
];

#[test]
fn bindings_are_what_another_program_computes() {
    assert_eq!(EXPORTER_LABEL, b"EXPORTER-glovebox-binding-v1");
    let (agreement, run) = (Digest::of(b"an agreement"), Digest::of(b"a run"));
    let ak_name = TpmName::try_from(format!("000b{}", "06".repeat(32))).unwrap();
    let purposes = [
        Purpose::WorkerEnrol { ak_name },
        Purpose::WorkerRelease { agreement, run },
        Purpose::WorkerRenew { agreement, run },
        Purpose::BrokerDeposit { party: [8; 32] },
    ];
    for (purpose, (label, sha256, sha512)) in purposes.into_iter().zip(BINDINGS) {
        assert_eq!(purpose.label(), label);
        let keys = ChannelKeys { channel: vec![1; 91], encapsulation: vec![2; 1216], signing: [3; 32] };
        let parts = BindingParts { purpose, keys, exporter: [4; 32], nonce: [5; 32] };
        assert_eq!(hex::encode(parts.bind().sha256()), sha256, "{label}");
        assert_eq!(hex::encode(parts.bind().sha512()), sha512, "{label}");
        let text = serde_json::to_string(&parts).unwrap();
        assert_eq!(serde_json::from_str::<BindingParts>(&text).unwrap(), parts);
        let unknown = text.replacen('{', "{\"extra\":1,", 1);
        assert!(serde_json::from_str::<BindingParts>(&unknown).is_err());
        let context = text.replacen("\"kind\"", "\"extra\":1,\"kind\"", 1);
        assert!(serde_json::from_str::<BindingParts>(&context).is_err());
    }
}

#[test]
fn parts_of_keys_do_not_run_together() {
    let bind = |channel: &[u8], encapsulation: &[u8]| {
        let keys = ChannelKeys { channel: channel.to_vec(), encapsulation: encapsulation.to_vec(), signing: [3; 32] };
        let purpose = Purpose::BrokerDeposit { party: [8; 32] };
        BindingParts { purpose, keys, exporter: [4; 32], nonce: [5; 32] }.bind()
    };
    assert_ne!(bind(b"ab", b"c").sha256(), bind(b"a", b"bc").sha256());
}

/// Role, readiness, and a run with a salt of 7.
const EVENTS: [&str; 3] = [
    "474c42585c000000676c6f7665626f7820726f6c6520776f726b6572207368613235363a61333133363266363065396336353839393134356236643639653932636562306165373366646333613434663931646436353463393330313534386334663566",
    "474c425815000000676c6f7665626f782073797374656d2d7265616479",
    "474c425854000000676c6f7665626f782072756e207368613235363a36616164616461616530363634616362366336663338363234653361373763613535393435306634323739613765353738646334383435366130356639663939",
];

#[test]
fn events_are_what_another_program_writes() {
    let role = RoleName::try_from("worker").unwrap();
    let run = Event::run(&[7; 32], &Digest::of(b"a run"));
    let events = [Event::role(&role, &Digest::of(b"a binary")), Event::system_ready(), run];
    for (event, expected) in events.iter().zip(EVENTS) {
        assert_eq!(hex::encode(event.data()), expected);
        assert_eq!(Event::decode(6, &event.data()).as_ref(), Some(event));
        assert_eq!(Event::decode(13, &event.data()), None);
        for bit in 0..event.data().len() * 8 {
            let mut data = event.data();
            data[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Event::decode(6, &data).as_ref(), Some(event));
        }
    }
}

#[test]
fn names_of_roles_are_plain() {
    for bad in ["", "Worker", "a b", "wörker", "sha256:", &"a".repeat(33)] {
        assert!(RoleName::try_from(bad).is_err(), "{bad}");
    }
    let role = RoleName::try_from("worker-2").unwrap();
    assert_eq!((role.as_str(), String::from(role.clone())), ("worker-2", "worker-2".to_owned()));
}

#[test]
fn the_locality_of_the_start_is_told_once_and_first() {
    let header = EventLog::new(&[HashAlgorithm::Sha256]).encode();
    let event = |pcr: u32, kind: u32, data: &[u8]| {
        let digest = HashAlgorithm::Sha256.hash(&[data]);
        let size = (data.len() as u32).to_le_bytes();
        let head = [pcr.to_le_bytes(), kind.to_le_bytes(), 1_u32.to_le_bytes()].concat();
        [&head[..], &[0x0B, 0x00], &digest, &size, data].concat()
    };
    let replay = |events: &[&Vec<u8>]| {
        let events: Vec<u8> = events.iter().flat_map(|event| event.iter().copied()).collect();
        EventLog::parse(&[header.clone(), events].concat()).unwrap().replay(HashAlgorithm::Sha256)
    };
    let told = |locality: u8| event(0, 3, &[b"StartupLocality\0".as_slice(), &[locality]].concat());
    let measured = event(0, 8, b"version");
    let digest = HashAlgorithm::Sha256.hash(&[b"version"]);
    let mut start = vec![0; 32];
    assert_eq!(replay(&[&measured]).unwrap()[&0], HashAlgorithm::Sha256.extend(&start, &digest));
    start[31] = 3;
    assert_eq!(replay(&[&told(3), &measured]).unwrap()[&0], HashAlgorithm::Sha256.extend(&start, &digest));
    assert_eq!(replay(&[&told(1), &measured]), Err(ReplayError::Locality(0)));
    assert_eq!(replay(&[&told(3), &told(3), &measured]), Err(ReplayError::Locality(1)));
    assert_eq!(replay(&[&measured, &told(3)]), Err(ReplayError::Locality(1)));
    assert_eq!(replay(&[&event(24, 8, b"")]), Err(ReplayError::Register { index: 0, pcr: 24 }));
    assert_eq!(replay(&[&event(u32::MAX, 3, b"note")]).unwrap().len(), 0);
    let log = EventLog::new(&[HashAlgorithm::Sha256]);
    assert_eq!(log.replay(HashAlgorithm::Sha384), Err(ReplayError::Bank(HashAlgorithm::Sha384)));
}

#[test]
fn the_first_event_of_a_log_says_which_format_it_has() {
    let entry = |pcr: u32, kind: u32, data: &[u8]| {
        let head = [pcr.to_le_bytes(), kind.to_le_bytes()].concat();
        [&head[..], &[0; 20], &(data.len() as u32).to_le_bytes(), data].concat()
    };
    let header = EventLog::new(&[HashAlgorithm::Sha256]).encode().split_off(32);
    let format = |bytes: &[u8]| EventLog::parse(bytes).map(|log| log.format());
    assert_eq!(format(&entry(0, 3, &header)), Ok(LogFormat::CryptoAgile));
    // A note that is no header, and the header's bytes as another type's data, are events of the older format.
    assert_eq!(format(&entry(0, 3, b"note")), Ok(LogFormat::LegacySha1));
    assert_eq!(format(&entry(0, 8, &header)), Ok(LogFormat::LegacySha1));
    let refused =
        |field: &'static str, value: u64| Err(FormatError::Value { structure: "the event log", field, value });
    assert_eq!(format(&entry(1, 3, &header)), refused("register of the first event", 1));
    // An area has no older format; its header may be in register 1.
    let area = |bytes: &[u8]| EventLog::parse_area(bytes).map(|log| log.format());
    assert_eq!(area(&entry(0, 3, &header)), Ok(LogFormat::CryptoAgile));
    assert_eq!(area(&entry(1, 3, &header)), Ok(LogFormat::CryptoAgile));
    assert_eq!(area(&entry(2, 3, &header)), refused("register of the first event", 2));
    assert_eq!(area(&entry(0, 3, b"note")), refused("type of the first event", 3));
    assert_eq!(area(&entry(0, 8, &header)), refused("type of the first event", 8));
}

#[test]
fn a_log_is_read_up_to_4_mib_and_no_further() {
    // One event of the older format, which takes up the whole.
    let sized = |size: usize| {
        [&[0; 4][..], &8_u32.to_le_bytes(), &[0; 20], &(size as u32 - 32).to_le_bytes(), &vec![7; size - 32]].concat()
    };
    assert!(EventLog::parse(&sized(MAX_LOG)).is_ok());
    let padded = |size: usize| {
        let mut area = EventLog::new(&[HashAlgorithm::Sha256]).encode();
        area.resize(size, 0xFF);
        area
    };
    assert!(EventLog::parse_area(&padded(MAX_LOG)).is_ok());
    for size in [MAX_LOG + 1, MAX_LOG + 2] {
        let refused = Err(FormatError::TooLarge { structure: "the event log", size, limit: 4 << 20 });
        assert_eq!(EventLog::parse(&sized(size)), refused);
        assert_eq!(EventLog::parse_area(&padded(size)), refused);
    }
}

#[test]
fn an_event_may_leave_out_banks_and_they_are_not_replayed() {
    let (sha1, sha256, sha384) = (HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384);
    let event = |digests: &[(u16, Vec<u8>)]| {
        let head = [4_u32.to_le_bytes(), 8_u32.to_le_bytes(), (digests.len() as u32).to_le_bytes()].concat();
        let digests = digests.iter().flat_map(|(id, digest)| [&id.to_le_bytes()[..], digest].concat());
        head.into_iter().chain(digests).chain([0; 4]).collect::<Vec<u8>>()
    };
    let of = |bank: HashAlgorithm| (bank.id(), vec![7; bank.size()]);
    let parsed = |digests: &[(u16, Vec<u8>)]| {
        let header = EventLog::new(&[sha1, sha256, sha384]).encode();
        EventLog::parse(&[header, event(&[of(sha384), of(sha1), of(sha256)]), event(digests)].concat())
    };
    let whole = parsed(&[of(sha1), of(sha256), of(sha384)]).unwrap();
    assert!([sha1, sha256, sha384].into_iter().all(|bank| whole.replay(bank).is_ok()));
    let some = parsed(&[of(sha256), of(sha1)]).unwrap();
    assert_eq!(some.replay(sha256), whole.replay(sha256));
    assert_eq!(some.replay(sha384), Err(ReplayError::Bank(sha384)));
    assert!(parsed(&[of(sha256)]).is_ok());
    let refused =
        |field: &'static str, value: u64| Err(FormatError::Value { structure: "the event log", field, value });
    assert_eq!(parsed(&[]), refused("number of digests", 0));
    let four = [of(sha1), of(sha256), of(sha384), of(sha1)];
    assert_eq!(parsed(&four), refused("number of digests", 4));
    assert_eq!(parsed(&[of(sha256), of(sha256)]), refused("algorithm of a digest", 0x000B));
    assert_eq!(parsed(&[of(HashAlgorithm::Sha512)]), refused("algorithm of a digest", 0x000D));
}

proptest! {
    #[test]
    fn parsers_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Quote::parse(&bytes);
        let _ = Signature::parse(&bytes);
        let _ = TpmPublic::parse(&bytes);
        let _ = EventLog::parse(&bytes).map(|log| log.replay(HashAlgorithm::Sha256));
        let _ = Event::decode(6, &bytes);
        let _ = serde_json::from_slice::<Evidence>(&bytes);
    }

    #[test]
    fn parsers_do_not_panic_behind_a_plausible_beginning(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Quote::parse(&[&[0xFF, 0x54, 0x43, 0x47, 0x80, 0x18][..], &bytes].concat());
        let _ = Signature::parse(&[&[0x00, 0x18, 0x00, 0x0B][..], &bytes].concat());
        let _ = TpmPublic::parse(&[&[0x00, 0x23, 0x00, 0x0B, 0, 5, 0, 0x72, 0, 0, 0, 0x10][..], &bytes].concat());
        let header = EventLog::new(&[HashAlgorithm::Sha256]).encode();
        if let Ok(log) = EventLog::parse(&[header, bytes].concat()) {
            let _ = log.replay(HashAlgorithm::Sha256);
            prop_assert_eq!(EventLog::parse(&log.encode()), Ok(log));
        }
    }

    #[test]
    fn a_log_that_was_built_replays_to_what_was_extended(runs in proptest::collection::vec(any::<[u8; 32]>(), 0..8)) {
        let banks = [HashAlgorithm::Sha256, HashAlgorithm::Sha384];
        let mut log = EventLog::new(&banks);
        let mut events = vec![Event::system_ready()];
        events.extend(runs.iter().map(|salt| Event::run(salt, &Digest::of(b"a run"))));
        events.iter().for_each(|event| log.append(event));
        let log = EventLog::parse(&log.encode()).unwrap();
        for bank in banks {
            let mut register = vec![0; bank.size()];
            for event in &events {
                register = bank.extend(&register, &event.digest(bank));
            }
            prop_assert_eq!(&log.replay(bank).unwrap()[&12], &register);
        }
    }
}
