//! The largest inputs that are read at all, each made to take as much memory as such an input can: none takes more than 64 MiB beside itself.
//! libFuzzer's inputs are small, so it would not find these.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{fs, process::Command};

use attest::{
    certificate::{Certificate, RevocationList},
    roots::Authority,
};
use broker::limits::{MAX_KBS_ATTESTATION, MAX_KBS_AUTH};
use hostile::{Entry, TARGETS};
use jiff::Timestamp;

/// Each input has a process of its own, since memory that was freed once is used again without a trace.
#[test]
fn the_largest_inputs_take_64_mib_at_most() {
    if let Ok(case) = std::env::var(CASE) {
        let (name, _, input) = inputs().swap_remove(case.parse().unwrap());
        let target = TARGETS.iter().find(|(known, _)| *known == name);
        let entry = target.map_or(revocation_list as Entry, |(_, entry)| *entry);
        println!("took={}", memory_of(|| entry(&input)));
        return;
    }
    let mut over = Vec::new();
    for (case, (name, what, input)) in inputs().into_iter().enumerate() {
        let mut this = Command::new(std::env::current_exe().unwrap());
        this.args(["--exact", "the_largest_inputs_take_64_mib_at_most", "--nocapture"]).env(CASE, case.to_string());
        let output = String::from_utf8(this.output().unwrap().stdout).unwrap();
        let took = output.split("took=").nth(1).and_then(|rest| rest.lines().next()).expect("the child's figure");
        let took: usize = took.parse().unwrap();
        println!("{name}: {what}: {} KiB of input take {} KiB", input.len() >> 10, took >> 10);
        if took > 64 << 20 {
            over.push(format!("{name}: {what}: {} MiB", took >> 20));
        }
    }
    assert_eq!(over, Vec::<String>::new());
}

fn inputs() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let time = 1_750_000_000_u32.to_le_bytes();
    // An object of one member takes a whole node of a tree.
    let objects = |size: usize| filled(b"[", b"{\"\":0},", b"0]", size);
    let claims = |size: usize| filled(b"{\"a\":[", b"{\"\":0},", b"0]}", size);
    let mut jwt = time.to_vec();
    jwt.extend(claims(190 << 10));
    let bodies: [(&[u8], &[u8]); 2] = [
        (b"{\"version\":\"0.4.0\",\"tee\":\"snp\",\"extra-params\":[", b"0]}"),
        (b"{\"runtime-data\":{\"nonce\":\"\",\"tee-pubkey\":{\"kty\":\"\",\"alg\":\"\"}},\"tee-evidence\":{\"additional_evidence\":\"\",\"primary_evidence\":[", b"0]}}"),
    ];
    let agile = [
        [0; 4].as_slice(),
        &[3, 0, 0, 0],
        &[0; 20],
        &[33, 0, 0, 0],
        b"Spec ID Event03\0",
        &[0; 4],
        b"\0\x02\0\x02",
        &[1, 0, 0, 0, 4, 0, 20, 0, 0],
    ]
    .concat();
    let event = [[0; 4].as_slice(), &[8, 0, 0, 0], &[1, 0, 0, 0, 4, 0], &[0; 20], &[0; 4]].concat();
    let legacy = [[0; 4].as_slice(), &[8, 0, 0, 0], &[0; 20], &[0; 4]].concat();
    let listed = format!(
        "{{\"imr\":3,\"event_type\":0,\"digest\":\"{}\",\"event\":\"\",\"event_payload\":\"\"}},",
        "0".repeat(96)
    );
    let violation = format!("10 {} ima {} a\n", "0".repeat(40), "0".repeat(40));
    vec![
        ("corim", "measurements of nothing", corim()),
        ("", "a revocation list of the shortest entries", list()),
        ("ima", "violations", filled(b"", violation.as_bytes(), b"", 16 << 20)),
        ("event_log", "events of nothing", filled(&agile, &event, b"", 4 << 20)),
        ("event_log", "events of nothing, in the older format", filled(b"", &legacy, b"", 4 << 20)),
        (
            "ccel",
            "events of nothing",
            filled(b"[", listed.as_bytes(), listed.trim_end_matches(',').as_bytes(), 4 << 20)
                .into_iter()
                .chain(*b"]")
                .collect(),
        ),
        ("detect", "objects", objects(1 << 20)),
        ("jwt", "objects in claims", jwt),
        ("kbs", "objects in a request", filled(bodies[0].0, b"{\"\":0},", bodies[0].1, MAX_KBS_AUTH)),
        ("kbs", "objects in Evidence", filled(bodies[1].0, b"{\"\":0},", bodies[1].1, MAX_KBS_ATTESTATION)),
        ("keys", "objects", objects(64 << 10)),
        ("rules", "tables", filled(b"a = [", b"{},", b"]", 512 << 10)),
        ("rules", "tables of headers", filled(b"", b"[[a]]\n", b"", 512 << 10)),
        ("rim", "elements", filled(b"<a>", b"<a/>", b"</a>", 256 << 10)),
    ]
}

/// `head`, then as many times `part` as fit, then `tail`.
fn filled(head: &[u8], part: &[u8], tail: &[u8], size: usize) -> Vec<u8> {
    let mut out = head.to_vec();
    while out.len() + part.len() + tail.len() <= size {
        out.extend(part);
    }
    out.extend(tail);
    out
}

/// A CoRIM of many CoMIDs, each with as many measurements as one may have.
fn corim() -> Vec<u8> {
    // { 1: {} }: three items.
    let measurements = 30_000_u32;
    let mut comid = b"\xa2\x01\xa0\x04\xa1\x00\x81\x82\xa0\x9a".to_vec();
    comid.extend(measurements.to_be_bytes());
    comid.extend(b"\xa1\x01\xa0".repeat(usize::try_from(measurements).unwrap()));
    let mut tag = b"\xd9\x01\xfa\x5a".to_vec();
    tag.extend(u32::try_from(comid.len()).unwrap().to_be_bytes());
    tag.extend(comid);
    let count = ((512 << 10) - 64) / tag.len();
    let mut out = b"\xa2\x00\x61a\x01\x98".to_vec();
    out.push(u8::try_from(count).unwrap());
    out.extend(tag.repeat(count));
    out
}

/// A revocation list whose entries are a serial number and a date.
fn list() -> Vec<u8> {
    let entry = b"\x30\x12\x02\x01\x01\x17\x0d250101000000Z";
    let entries = entry.repeat(((4 << 20) - 256) / entry.len());
    let algorithm = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let body = [
        b"\x02\x01\x01".as_slice(),
        algorithm,
        b"\x30\x00",
        b"\x17\x0d250101000000Z\x17\x0d350101000000Z",
        &element(0x30, &entries),
    ]
    .concat();
    element(0x30, &[element(0x30, &body).as_slice(), algorithm, b"\x03\x02\x00\x00"].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], size.as_slice(), content].concat()
}

fn revocation_list(bytes: &[u8]) {
    let ders = Certificate::split(Authority::IntelSgx.certificate()).unwrap();
    let issuer = Certificate::parse(&ders[0]).unwrap();
    assert!(RevocationList::check(bytes, &issuer, Timestamp::UNIX_EPOCH).is_err());
    let _ = RevocationList::claimed_period(bytes);
}

/// How far the memory of this process rises meanwhile, in bytes.
fn memory_of(run: impl FnOnce()) -> usize {
    let resident = |field: &str| -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    };
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident("VmRSS");
    run();
    resident("VmHWM").saturating_sub(before)
}

/// Which input a child is to meet.
const CASE: &str = "GLOVEBOX_LARGE_INPUT";
