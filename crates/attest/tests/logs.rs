//! Event logs of confidential machines and lists of IMA: what must be refused although it replays, and what is not even read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod corpus;

use attest::{
    FormatError, HashAlgorithm,
    boot::{Description, NotTold, SecureBoot, Vouched},
    ccel::{CcEventLog, CcelError},
    event_log::EventLog,
    ima::{ImaError, MeasurementList},
};
use corpus::{Case, flip};
use serde_json::{Value, json};

const AGENT: u32 = 0x0800_0001;
const BANK: HashAlgorithm = HashAlgorithm::Sha384;

/// An event of an agent, measured as the agent does.
fn event(rtmr: u8, name: &str, payload: &[u8]) -> Value {
    let digest = BANK.hash(&[&AGENT.to_le_bytes(), b":", name.as_bytes(), b":", payload]);
    listed(rtmr, AGENT, &digest, name, payload)
}

fn listed(rtmr: u8, kind: u32, digest: &[u8], name: &str, payload: &[u8]) -> Value {
    json!({
        "imr": rtmr,
        "event_type": kind,
        "digest": hex::encode(digest),
        "event": name,
        "event_payload": hex::encode(payload),
    })
}

/// All checks, against the registers that these very events give: the replay is never what refuses.
fn held(events: &[Value]) -> Result<(), CcelError> {
    let log = CcEventLog::parse(&serde_json::to_vec(events).unwrap())?;
    let replayed = log.replay();
    let registers: Vec<&[u8]> = (0..4).map(|rtmr| replayed.get(&rtmr).map_or(&[][..], Vec::as_slice)).collect();
    log.check_replay(&registers).unwrap();
    log.check_order()?;
    log.check_data()
}

#[test]
fn t9_what_was_started_is_told_once_and_before_the_start_is_closed() {
    let (app, code) = (event(3, "app-id", b"app"), event(3, "compose-hash", b"good"));
    let (ready, own) = (event(3, "system-ready", b""), event(3, "an application's own", b"1"));
    let start = [app.clone(), code.clone(), ready.clone()];
    let with = |more: &[Value]| held(&[&start, more].concat());
    assert_eq!(with(&[]), Ok(()));
    assert_eq!(with(&[own.clone(), own.clone()]), Ok(()));
    // The same event, another value of it, and the same name in another register.
    assert_eq!(with(std::slice::from_ref(&code)), Err(CcelError::Repeated { index: 3, rtmr: 3 }));
    let other = event(3, "compose-hash", b"bad");
    assert_eq!(with(std::slice::from_ref(&other)), Err(CcelError::Repeated { index: 3, rtmr: 3 }));
    assert_eq!(with(&[event(2, "compose-hash", b"bad")]), Err(CcelError::Repeated { index: 3, rtmr: 2 }));
    assert_eq!(held(&[code.clone(), other, ready.clone()]), Err(CcelError::Repeated { index: 1, rtmr: 3 }));
    // Told late, though never before.
    assert_eq!(with(&[event(3, "mr-kms", b"mine")]), Err(CcelError::AfterReady { index: 3, rtmr: 3 }));
    assert_eq!(held(&[ready.clone(), app]), Err(CcelError::AfterReady { index: 1, rtmr: 3 }));
    // Closed twice; also with an application's event between.
    assert_eq!(with(std::slice::from_ref(&ready)), Err(CcelError::ClosedTwice { index: 3, rtmr: 3 }));
    assert_eq!(with(&[own, ready]), Err(CcelError::ClosedTwice { index: 4, rtmr: 3 }));
}

#[test]
fn t9_a_name_before_the_end_of_the_start_is_one_of_the_start_whatever_it_is() {
    let (image, ready) = (event(3, "image", b"good"), event(3, "system-ready", b""));
    let again = event(3, "image", b"bad");
    assert_eq!(held(&[image.clone(), ready, again.clone()]), Err(CcelError::Repeated { index: 2, rtmr: 3 }));
    // Where nothing closes the start, the agent's own names alone are known to be of it.
    assert_eq!(held(&[image, again]), Ok(()));
}

#[test]
fn a_register_that_is_never_closed_has_no_names_of_the_start() {
    let twice =
        [event(1, "later", b"1"), event(3, "mine", b"2"), event(3, "system-ready", b""), event(1, "later", b"3")];
    assert_eq!(held(&twice), Ok(()));
}

#[test]
fn measurements_of_ima_go_on_where_the_firmware_ended() {
    let Some(case) = Case::one("ccel/evidence-api-ima") else { return };
    let quote = case.bytes("quote");
    let quote = attest::intel::Quote::parse(&quote).unwrap();
    let attest::intel::Body::TrustDomain(report) = &quote.body else { panic!("not a trust domain's") };
    let registers: Vec<&[u8]> = report.rtmr.iter().map(|value| value.as_slice()).collect();
    let mut log = CcEventLog::parse(&case.bytes("event_log")).unwrap();
    assert_eq!(log.check(&registers), Err(CcelError::Replay(2)));
    log.continue_with(&MeasurementList::parse(&case.bytes("ima_log")).unwrap());
    assert_eq!(log.check(&registers), Ok(()));
}

#[test]
fn a_log_area_with_a_changed_digest_replays_to_other_registers() {
    let Some(case) = Case::one("ccel/gcp-cos-113-neg-drop") else { return };
    let quote = case.bytes("quote");
    let quote = attest::intel::Quote::parse(&quote).unwrap();
    let attest::intel::Body::TrustDomain(report) = &quote.body else { panic!("not a trust domain's") };
    let registers: Vec<&[u8]> = report.rtmr.iter().map(|value| value.as_slice()).collect();
    let log = CcEventLog::parse(&case.bytes("event_log")).unwrap();
    assert!(matches!(log.check(&registers), Err(CcelError::Replay(_))));
}

#[test]
fn t9_a_name_that_no_digest_is_over_is_refused() {
    let data = Err(CcelError::Data { index: 0, rtmr: 3 });
    let measured = BANK.hash(&[b"good"]);
    // The digest is that of the payload, so an event of firmware would be in order; the name is nobody's.
    for kind in [0x04, 0x06, 0x0D, 0x8000_0001, u32::MAX, 0] {
        assert_eq!(held(&[listed(3, kind, &measured, "compose-hash", b"good")]), data, "{kind:#x}");
        assert_eq!(held(&[listed(3, kind, &measured, "", b"good")]), Ok(()), "{kind:#x}");
    }
    let mut changed = event(3, "compose-hash", b"good");
    changed["event_payload"] = json!(hex::encode(b"bad!"));
    assert_eq!(held(&[changed]), data);
    let mut renamed = event(3, "an application's own", b"good");
    renamed["event"] = json!("compose-hash");
    assert_eq!(held(&[renamed]), data);
}

#[test]
fn t9_a_name_that_the_digest_does_not_end_is_none_of_the_start() {
    let ready = event(3, "system-ready", b"");
    // Both hash to the same: the first hides that the second was said.
    let (hidden, said) = (event(3, "key-provider:{\"name\"", b"1}"), event(3, "key-provider", b"{\"name\":1}"));
    assert_eq!(hidden["digest"], said["digest"]);
    assert_eq!(held(&[said.clone(), ready.clone()]), Ok(()));
    let unclear = Err(CcelError::Data { index: 0, rtmr: 3 });
    assert_eq!(held(&[hidden.clone(), ready.clone()]), unclear);
    assert_eq!(held(std::slice::from_ref(&hidden)), unclear);
    assert_eq!(held(&[event(3, "image:good", b""), ready.clone()]), unclear);
    let late = Err(CcelError::Data { index: 2, rtmr: 3 });
    assert_eq!(held(&[event(3, "image", b"x"), ready.clone(), event(3, "image:y", b"")]), late);
    assert_eq!(held(&[said, ready, event(3, "own:name", b"c")]), Ok(()));
}

#[test]
fn t9_the_end_of_the_start_is_known_by_its_digest_under_any_label() {
    let (good, bad) = (event(3, "compose-hash", b"good"), event(3, "compose-hash", b"bad"));
    let ready = event(3, "system-ready", b"");
    // As if nothing had been there before: what was started, and that it was, in events of another type without a name.
    let unlabelled = |event: &Value| {
        let digest = hex::decode(event["digest"].as_str().unwrap()).unwrap();
        listed(3, 0x0D, &digest, "", b"nothing to see")
    };
    let relabelled = [unlabelled(&good), unlabelled(&ready), bad, ready];
    assert_eq!(held(&relabelled), Err(CcelError::AfterReady { index: 2, rtmr: 3 }));
    assert_eq!(
        held(&[relabelled[1].clone(), relabelled[3].clone()]),
        Err(CcelError::ClosedTwice { index: 1, rtmr: 3 })
    );
}

#[test]
fn a_list_in_the_short_form_holds_as_the_whole_one_does() {
    let variable = listed(0, 0x8000_0001, &BANK.hash(&[b"variable"]), "", b"variable");
    let whole = [variable, listed(0, 4, &BANK.hash(&[&[0; 4]]), "", &[0; 4]), event(3, "app-id", b"app")];
    let mut short = whole.clone();
    short[0]["event_payload"] = json!("");
    short[1]["event_payload"] = json!("");
    short[2]["digest"] = json!("");
    let parse = |events: &[Value]| CcEventLog::parse(&serde_json::to_vec(events).unwrap());
    for absent in [false, true] {
        if absent {
            short[2].as_object_mut().unwrap().remove("digest");
        }
        assert_eq!(held(&short), Ok(()));
        assert_eq!(parse(&short).unwrap().replay(), parse(&whole).unwrap().replay());
    }
    // A computed digest is of what the list says: another payload replays to another value.
    short[2]["event_payload"] = json!("00");
    assert_ne!(parse(&short).unwrap().replay(), parse(&whole).unwrap().replay());
    // Only an agent's digest can be computed, and data that is there is still checked.
    let mut bare = whole.clone();
    bare[0]["digest"] = json!("");
    assert_eq!(parse(&bare), Err(CcelError::Json));
    let mut other = whole;
    other[1]["event_payload"] = json!("00");
    assert_eq!(held(&other), Err(CcelError::Data { index: 1, rtmr: 0 }));
    // A log area leaves nothing out.
    let area = EventLog::new(&[BANK]).encode();
    let entry = [&1_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), &1_u32.to_le_bytes(), &BANK.id().to_le_bytes()];
    let area = [&area, &entry.concat(), &BANK.hash(&[&[0; 4]]), &0_u32.to_le_bytes()[..]].concat();
    assert_eq!(CcEventLog::parse(&area).unwrap().check_data(), Err(CcelError::Data { index: 0, rtmr: 0 }));
}

#[test]
fn an_agents_event_of_the_second_version_is_hashed_as_json() {
    let second = |name: &str, payload: &[u8], hashed: &str| {
        let mut event = listed(3, AGENT, &BANK.hash(&[hashed.as_bytes()]), name, payload);
        event["version"] = json!(2);
        event
    };
    let good = second("compose-hash", &[0xab, 0xcd], r#"{"name":"compose-hash","payload":"abcd","type":134217729}"#);
    let ready = second("system-ready", b"", r#"{"name":"system-ready","payload":"","type":134217729}"#);
    let odd =
        second("a\"b\\c\n\u{1}ü", b"", "{\"name\":\"a\\\"b\\\\c\\n\\u0001ü\",\"payload\":\"\",\"type\":134217729}");
    assert_eq!(held(&[good.clone(), ready.clone(), odd]), Ok(()));
    let data = |index| Err(CcelError::Data { index, rtmr: 3 });
    let changed = |member: &str, value: Value| {
        let mut event = good.clone();
        event[member] = value;
        event
    };
    for (member, value) in [("event", json!("compose-hasH")), ("event_payload", json!("abce")), ("version", json!(1))] {
        assert_eq!(held(&[changed(member, value)]), data(0), "{member}");
    }
    assert_eq!(held(&[changed("version", json!(3))]), Err(CcelError::Json));
    assert_eq!(held(&[changed("digest", json!(""))]), Ok(()));
    let mut first = event(3, "app-id", b"app");
    first["version"] = json!(2);
    assert_eq!(held(&[first]), data(0));
    // The order is that of the first version, whatever the end of the start is called.
    assert_eq!(held(&[ready.clone(), good.clone()]), Err(CcelError::AfterReady { index: 1, rtmr: 3 }));
    let digest = hex::decode(ready["digest"].as_str().unwrap()).unwrap();
    let unlabelled = listed(3, 0x0D, &digest, "", b"nothing to see");
    assert_eq!(held(&[unlabelled, good]), Err(CcelError::AfterReady { index: 1, rtmr: 3 }));
}

#[test]
fn t9_a_real_agents_log_is_refused_with_any_of_its_events_of_the_start_again() {
    let Some(case) = Case::one("ccel/dstack-json-eventlog") else { return };
    let events: Vec<Value> = serde_json::from_slice(&case.bytes("event_log")).unwrap();
    assert_eq!(held(&events), Ok(()));
    let end = events.iter().position(|event| event["event"] == "system-ready").unwrap();
    for again in events[..end].iter().filter(|event| event["event"] != "") {
        let refused = held(&[events.as_slice(), std::slice::from_ref(again)].concat());
        assert_eq!(refused, Err(CcelError::Repeated { index: events.len(), rtmr: 3 }));
    }
}

#[test]
fn a1_every_bit_of_a_digest_in_a_log_area_counts() {
    let Some(case) = Case::one("ccel/gcp-cos-113") else { return };
    let (area, quote) = (case.bytes("event_log"), case.bytes("quote"));
    let quote = attest::intel::Quote::parse(&quote).unwrap();
    let attest::intel::Body::TrustDomain(report) = &quote.body else { panic!("not a trust domain's") };
    let registers: Vec<&[u8]> = report.rtmr.iter().map(|value| value.as_slice()).collect();
    let log = CcEventLog::parse(&area).unwrap();
    assert_eq!(log.check_replay(&registers), Ok(()));
    for event in log.events() {
        let at = area.windows(event.digest.len()).position(|window| window == event.digest).unwrap();
        for bit in (at * 8..(at + event.digest.len()) * 8).step_by(61) {
            let changed = CcEventLog::parse(&flip(&area, bit)).unwrap();
            assert!(matches!(changed.check_replay(&registers), Err(CcelError::Replay(_))), "bit {bit}");
        }
    }
}

#[test]
fn a2_a_log_area_cut_anywhere_is_refused_or_a_true_beginning() {
    let Some(case) = Case::one("ccel/gcp-cos-113") else { return };
    let area = case.bytes("event_log");
    let whole = CcEventLog::parse(&area).unwrap();
    let used = area.iter().rposition(|byte| *byte != 0xFF).unwrap() + 1;
    for size in 0..used {
        match CcEventLog::parse(&area[..size]) {
            Ok(shorter) => {
                assert_eq!(whole.events()[..shorter.events().len()], *shorter.events());
                assert!(shorter.events().len() < whole.events().len(), "{size}");
            }
            Err(error) => assert!(error.is_malformed(), "{size}: {error:?}"),
        }
    }
    let mut appended = area[..used].to_vec();
    appended.push(0);
    assert!(matches!(CcEventLog::parse(&appended), Err(CcelError::Malformed(FormatError::Truncated { .. }))));
}

#[test]
fn a_bank_of_an_unknown_hash_has_the_size_of_a_hash() {
    // The header of a log whose only bank is of an algorithm that is not known here.
    let log = |size: u16| {
        let mut header = b"Spec ID Event03\0\0\0\0\0\x00\x02\x00\x02\x01\0\0\0\xff\x7f".to_vec();
        header.extend_from_slice(&size.to_le_bytes());
        header.push(0);
        let length = (header.len() as u32).to_le_bytes();
        [&0_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), &[0; 20], &length, &header].concat()
    };
    for size in [20, 28, 32, 48, 64] {
        assert!(EventLog::parse(&log(size)).is_ok(), "{size}");
    }
    for size in [0, 1, 19, 65, u16::MAX] {
        let structure = "the header of the event log";
        let refused = FormatError::Value { structure, field: "digest size", value: size.into() };
        assert_eq!(EventLog::parse(&log(size)), Err(refused), "{size}");
    }
}

#[test]
fn a_log_has_up_to_eight_banks() {
    let log = |count: u32| {
        let banks = (0..count).flat_map(|bank| [bank as u8, 0x7f, 32, 0]);
        let head = b"Spec ID Event03\0\0\0\0\0\x00\x02\x00\x02".iter().copied();
        let header: Vec<u8> = head.chain(count.to_le_bytes()).chain(banks).chain([0]).collect();
        let length = (header.len() as u32).to_le_bytes();
        EventLog::parse(&[&0_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), &[0; 20], &length, &header].concat())
    };
    for count in [1, 8] {
        assert!(log(count).is_ok(), "{count}");
    }
    for count in [0, 9, 10] {
        let (structure, field) = ("the header of the event log", "number of algorithms");
        assert_eq!(log(count), Err(FormatError::Value { structure, field, value: count.into() }));
    }
}

#[test]
fn hostile_lists_are_no_logs() {
    for bytes in [&b"[{}]"[..], b"[1]", b"[", b"[[[[", b" [\"x\"]"] {
        assert_eq!(CcEventLog::parse(bytes), Err(CcelError::Json));
    }
    assert!(CcEventLog::parse(b"").is_err());
    let deep = "[".repeat(200_000);
    assert_eq!(CcEventLog::parse(deep.as_bytes()), Err(CcelError::Json));
    let mut beyond = event(3, "app-id", b"app");
    beyond["imr"] = json!(4);
    assert_eq!(held(&[beyond]), Err(CcelError::Register { index: 0, register: 4 }));
    let twice = br#"[{"imr":3,"imr":3,"event_type":4,"digest":"","event":"","event_payload":""}]"#;
    assert_eq!(CcEventLog::parse(twice), Err(CcelError::Json));
}

#[test]
fn data_of_four_types_is_what_their_digest_is_of() {
    let with = |kind: u32, measured: &[u8]| held(&[listed(1, kind, &BANK.hash(&[measured]), "", b"data")]);
    // EV_SEPARATOR, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EFI_GPT_EVENT, EV_EFI_ACTION.
    for kind in [0x0000_0004, 0x8000_0001, 0x8000_0006, 0x8000_0007] {
        assert_eq!(with(kind, b"data"), Ok(()));
        assert_eq!(with(kind, b"other"), Err(CcelError::Data { index: 0, rtmr: 1 }), "{kind:#x}");
    }
    // What was loaded is measured as an image and not as its event's data.
    assert_eq!(with(0x8000_0003, b"other"), Ok(()));
}

#[test]
fn a_list_of_events_is_read_up_to_4_mib_and_no_further() {
    let padded = |size: usize| CcEventLog::parse(&[&b"[]"[..], &vec![b' '; size - 2]].concat());
    assert!(padded(4 << 20).is_ok());
    let too_large = FormatError::TooLarge { structure: "the event list", size: (4 << 20) + 1, limit: 4 << 20 };
    assert_eq!(padded((4 << 20) + 1), Err(CcelError::Malformed(too_large)));
}

#[test]
fn a_log_area_speaks_of_four_registers() {
    let Some(case) = Case::one("ccel/gcp-cos-113") else { return };
    let area = case.bytes("event_log");
    // The first event behind the header: its register is counted from one there.
    let second = 32 + usize::try_from(u32::from_le_bytes(*area[28..].first_chunk().unwrap())).unwrap();
    let in_register = |register: u32| {
        let mut changed = area.clone();
        changed[second..second + 4].copy_from_slice(&register.to_le_bytes());
        CcEventLog::parse(&changed).map(|log| log.events()[0].rtmr)
    };
    for register in 1..=4 {
        assert_eq!(in_register(register).map(u32::from), Ok(register - 1));
    }
    for register in [0, 5, 256, u32::MAX] {
        assert_eq!(in_register(register), Err(CcelError::Register { index: 0, register }));
    }
}

#[test]
fn a1_every_byte_of_a_measurement_counts() {
    let Some(case) = Case::one("ima/rust-keylime-short") else { return };
    let list = case.bytes("ima_log");
    let whole = MeasurementList::parse(&list).unwrap();
    let pcr10 = [HashAlgorithm::Sha1, HashAlgorithm::Sha256].map(|bank| (bank, whole.replay(10, bank)));
    for (bank, value) in &pcr10 {
        assert_eq!(whole.check_replay(10, *bank, value), Ok(()));
    }
    for at in 0..list.len() {
        for changed in [list[at] ^ 1, list[at] ^ 4, b' ', b'\n'] {
            let mut bytes = list.clone();
            bytes[at] = changed;
            // What is spelt otherwise is refused, or it is the same list: upper-case digits, a blank for a line's end at the end.
            let refused = |bank: HashAlgorithm, value: &[u8]| match MeasurementList::parse(&bytes) {
                Ok(list) => list.check_replay(10, bank, value).is_err() || list.entries() == whole.entries(),
                Err(_) => true,
            };
            for (bank, value) in &pcr10 {
                assert!(refused(*bank, value), "byte {at} as {changed:#x}");
            }
        }
    }
}

#[test]
fn a_list_of_more_measurements_than_are_kept_is_refused_by_their_number() {
    let line = format!("10 {} ima-ng sha1: x\n", "0".repeat(40));
    assert_eq!(MeasurementList::parse(line.repeat(100_000).as_bytes()).map(|list| list.entries().len()), Ok(100_000));
    let number = FormatError::Value {
        structure: "the measurement list",
        field: "number of measurements, more than",
        value: 100_000,
    };
    let refused = MeasurementList::parse(line.repeat(100_001).as_bytes());
    assert_eq!(refused.map(|list| list.entries().len()), Err(ImaError::Malformed(number)));
    let size = (8 << 20) + 1;
    let limit = FormatError::TooLarge { structure: "the measurement list", size, limit: 8 << 20 };
    assert_eq!(MeasurementList::parse(&vec![b' '; size]), Err(ImaError::Malformed(limit)));
}

#[test]
fn a2_a_list_cut_anywhere_does_not_replay() {
    let Some(case) = Case::one("ima/rust-keylime-short") else { return };
    let list = case.bytes("ima_log");
    let whole = MeasurementList::parse(&list).unwrap();
    let value = whole.replay(10, HashAlgorithm::Sha256);
    let used = list.iter().rposition(|byte| !byte.is_ascii_whitespace()).unwrap() + 1;
    for size in 0..used {
        let Ok(shorter) = MeasurementList::parse(&list[..size]) else { continue };
        let refused = shorter.check_replay(10, HashAlgorithm::Sha256, &value);
        assert_eq!(refused, Err(ImaError::Replay { pcr: 10, bank: HashAlgorithm::Sha256 }), "{size}");
    }
    assert_eq!(MeasurementList::parse(b""), Err(ImaError::Entry(1)));
}

/// The types and data of a log's events.
type Events = Vec<(u32, Vec<u8>)>;

/// What every real log of these kinds tells, with its events.
fn told() -> Option<Vec<(String, Description, Events)>> {
    let of_tpm = |case: &Case| {
        let log = EventLog::parse(&case.bytes("event_log")).unwrap();
        let data = log.entries().iter().map(|entry| (entry.kind, entry.data.clone())).collect();
        (case.id.clone(), log.describe(*log.banks().last().unwrap()), data)
    };
    let of_machine = |case: &Case| {
        let log = CcEventLog::parse(&case.bytes("event_log")).unwrap();
        let data = log.events().iter().map(|event| (event.kind, event.data.clone())).collect();
        (case.id.clone(), log.describe(), data)
    };
    let accepted = |case: &&Case| case.entry["expected"]["result"] == "accept";
    let (tpm, machine) = (Case::all("tcg-eventlog")?, Case::all("ccel")?);
    let tpm = tpm.iter().filter(accepted).map(of_tpm);
    Some(tpm.chain(machine.iter().filter(accepted).map(of_machine)).collect())
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn every_real_log_tells_of_secure_boot_what_its_variable_says() {
    let Some(told) = told() else { return };
    assert_eq!(told.len(), 28);
    let name = wide("SecureBoot");
    for (id, description, events) in told {
        let variables =
            events.iter().filter(|(kind, data)| *kind == 0x8000_0001 && data.get(32..52) == Some(name.as_slice()));
        let values: Vec<&[u8]> = variables.map(|(_, data)| &data[52..]).collect();
        let expected = if values == [&[1]] { SecureBoot::On } else { SecureBoot::Off };
        assert_eq!(values.len(), 1, "{id}");
        assert_eq!(description.secure_boot, expected, "{id}");
    }
}

#[test]
fn what_was_loaded_is_told_with_how_far_it_counts() {
    let Some(told) = told() else { return };
    let of = |id: &str| &told.iter().find(|(other, ..)| other == id).unwrap().1;
    let cos = of("ccel/gcp-cos-113");
    let [line] = cos.command_lines.as_slice() else { panic!("{:?}", cos.command_lines) };
    assert!(line.register == "rtmr2" && line.text.contains("init=/usr/lib/systemd/systemd"), "{line:?}");
    assert_eq!(cos.programs[0].path.as_deref(), Some("\\EFI\\BOOT\\BOOTX64.EFI"));
    assert_eq!(cos.programs[0].register, "rtmr1");
    let image = of("tcg-eventlog/dstack-tpm-eventlog");
    let names: Vec<&str> = image.sections.iter().map(|section| section.name.as_str()).collect();
    assert_eq!(names, [".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat"]);
    let stub = of("tcg-eventlog/tpm2-tools-sd-boot");
    assert_eq!(stub.command_lines[0].text, " console=ttyS0 console=tty0 efi=debug ");
    // Bytes of ASCII read as UTF-16 would be another script's text.
    let lines = told.iter().flat_map(|(_, description, _)| &description.command_lines);
    assert!(lines.into_iter().all(|line| line.text.is_ascii()));
    let of_kind = |kind: &str| {
        let events = told.iter().flat_map(|(_, description, _)| &description.events);
        events.filter(|event| event.kind == kind).map(|event| event.vouched).collect::<Vec<_>>()
    };
    assert!(of_kind("EV_EFI_BOOT_SERVICES_APPLICATION").iter().all(|vouched| *vouched == Vouched::Not));
    assert!(of_kind("EV_EFI_VARIABLE_DRIVER_CONFIG").iter().all(|vouched| *vouched == Vouched::Whole));
    assert!(of_kind("EV_NO_ACTION").iter().all(|vouched| *vouched == Vouched::NotExtended));
}

/// UEFI_VARIABLE_DATA of `SecureBoot`.
fn secure_boot(value: &[u8]) -> Vec<u8> {
    let global = hex::decode("61dfe48bca93d211aa0d00e098032b8c").unwrap();
    let size = (value.len() as u64).to_le_bytes();
    [global.as_slice(), &10_u64.to_le_bytes(), &size, &wide("SecureBoot"), value].concat()
}

const VARIABLE: u32 = 0x8000_0001;
const SEPARATOR: u32 = 4;

/// The same events as a TPM's log and as a list of a confidential machine: what both tell.
fn told_by(events: &[(u32, Vec<u8>, Vec<u8>)]) -> SecureBoot {
    let list: Vec<Value> =
        events.iter().map(|(kind, measured, data)| listed(0, *kind, &BANK.hash(&[measured]), "", data)).collect();
    let of_machine = CcEventLog::parse(&serde_json::to_vec(&list).unwrap()).unwrap().describe().secure_boot;
    let mut log = EventLog::new(&[BANK]).encode();
    for (kind, measured, data) in events {
        for word in [7, *kind, 1] {
            log.extend_from_slice(&word.to_le_bytes());
        }
        log.extend_from_slice(&BANK.id().to_le_bytes());
        log.extend_from_slice(&BANK.hash(&[measured]));
        log.extend_from_slice(&(data.len() as u32).to_le_bytes());
        log.extend_from_slice(data);
    }
    let of_tpm = EventLog::parse(&log).unwrap().describe(BANK).secure_boot;
    assert_eq!(of_tpm, of_machine);
    of_tpm
}

#[test]
fn t9_secure_boot_is_told_by_one_digest_before_the_separator_or_not_at_all() {
    let plain = |kind: u32, data: &[u8]| (kind, data.to_vec(), data.to_vec());
    let (on, off) = (plain(VARIABLE, &secure_boot(&[1])), plain(VARIABLE, &secure_boot(&[0])));
    let (unset, end) = (plain(VARIABLE, &secure_boot(&[])), plain(SEPARATOR, &[0; 4]));
    let other = plain(0x8000_00E0, b"an authority");
    let told = |events: &[&(u32, Vec<u8>, Vec<u8>)]| told_by(&events.iter().copied().cloned().collect::<Vec<_>>());
    let not = SecureBoot::NotTold;
    assert_eq!(told(&[&on, &end, &other]), SecureBoot::On);
    assert_eq!(told(&[&off, &end]), SecureBoot::Off);
    assert_eq!(told(&[&unset, &end]), SecureBoot::Off);
    assert_eq!(told(&[&other, &end]), not(NotTold::Absent));
    assert_eq!(told(&[&on]), not(NotTold::NotClosed));
    assert_eq!(told(&[]), not(NotTold::NotClosed));
    // Twice, and after the end: whether it was there before or not.
    assert_eq!(told(&[&off, &on, &end]), not(NotTold::Repeated));
    assert_eq!(told(&[&on, &on, &end]), not(NotTold::Repeated));
    assert_eq!(told(&[&off, &end, &on]), not(NotTold::Repeated));
    assert_eq!(told(&[&end, &on, &end]), not(NotTold::Repeated));
}

#[test]
fn t9_labels_and_data_do_not_change_what_is_told_of_secure_boot() {
    let (on, off) = (secure_boot(&[1]), secure_boot(&[0]));
    let end = (SEPARATOR, vec![0; 4], vec![0; 4]);
    // Off was measured, and the log says otherwise: by data, by type, or by both.
    let lies = [(VARIABLE, off.clone(), on.clone()), (0x0D, off.clone(), b"grub_cmd: ls".to_vec())];
    for lie in lies {
        assert_eq!(told_by(&[lie.clone(), end.clone()]), SecureBoot::Off);
        // And measured anew by what came later, with the first separator called something else and another at the end.
        let hidden = (0x0D, vec![0; 4], b"grub_cmd: ls".to_vec());
        let late = (VARIABLE, on.clone(), on.clone());
        assert_eq!(told_by(&[lie, hidden, late, end.clone()]), SecureBoot::NotTold(NotTold::Repeated));
    }
}
