//! IMA's lists in their binary form, written here as Linux writes them, beside the same lists in text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs
)]

mod corpus;

use attest::{
    FormatError, HashAlgorithm,
    ima::{ImaError, MeasurementList},
};
use corpus::{Case, flip};

fn word(number: usize) -> [u8; 4] {
    (number as u32).to_le_bytes()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&word(bytes.len())[..], bytes].concat()
}

/// An entry with everything free to be wrong.
fn entry(pcr: usize, hash: &[u8], template: &str, data: &[u8]) -> Vec<u8> {
    let data = if template == "ima" { data.to_vec() } else { sized(data) };
    [&word(pcr)[..], hash, &sized(template.as_bytes()), &data].concat()
}

/// An entry whose hash is that of its data.
fn measured(bank: HashAlgorithm, template: &str, data: &[u8]) -> Vec<u8> {
    entry(10, &bank.hash(&[data]), template, data)
}

/// The data of the newer templates: each field behind its length.
fn data(digest: &[u8], name: &[u8], more: &[&[u8]]) -> Vec<u8> {
    let more: Vec<u8> = more.iter().flat_map(|field| sized(field)).collect();
    [sized(digest), sized(name), more].concat()
}

fn digest(prefix: &[u8]) -> Vec<u8> {
    [prefix, b":\0", &[0xAB; 32]].concat()
}

fn parsed(bytes: &[u8]) -> Result<usize, ImaError> {
    MeasurementList::parse(bytes).map(|list| list.entries().len())
}

/// One line of text as an entry, by the fields that are in it.
fn as_binary(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.trim_start().splitn(4, ' ').collect();
    let (template, fields) = (words[2], words[3]);
    let hash = hex::decode(words[1]).unwrap();
    let pcr = words[0].parse().unwrap();
    let (said, rest) = fields.split_once(' ').unwrap();
    if template == "ima" {
        return entry(pcr, &hash, template, &[&hex::decode(said).unwrap()[..], &sized(rest.as_bytes())].concat());
    }
    let (algorithm, value) = said.rsplit_once(':').unwrap();
    let digest = [algorithm.as_bytes(), b":\0", &hex::decode(value).unwrap()].concat();
    let has_more = ["ima-sig", "ima-buf", "ima-sigv2"].contains(&template);
    let (name, more) = match rest.rsplit_once(' ') {
        Some((name, more)) if has_more => (name, Some(more)),
        _ => (rest, has_more.then_some("")),
    };
    let more: Vec<Vec<u8>> = more.iter().map(|more| hex::decode(more).unwrap()).collect();
    let more: Vec<&[u8]> = more.iter().map(Vec::as_slice).collect();
    entry(pcr, &hash, template, &data(&digest, &[name.as_bytes(), b"\0"].concat(), &more))
}

#[test]
fn both_forms_of_a_real_list_give_the_same_entries() {
    let Some(cases) = Case::all("ima") else { return };
    let accepted = cases.iter().filter(|case| case.entry["expected"]["result"] == "accept");
    let mut seen = 0;
    for case in accepted {
        let text = String::from_utf8(case.bytes("ima_log")).unwrap();
        let binary: Vec<u8> = text.lines().filter(|line| !line.trim().is_empty()).flat_map(as_binary).collect();
        let (list, other) = (MeasurementList::parse(text.as_bytes()), MeasurementList::parse(&binary));
        assert_eq!(list.unwrap(), other.unwrap(), "{}", case.id);
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn each_template_is_read_and_its_hash_computed_anew() {
    let name = b"/usr/bin/true\0";
    let lists = [
        ("ima", [&[0xAB; 20][..], &sized(b"/usr/bin/true")].concat()),
        ("ima-ng", data(&digest(b"sha256"), name, &[])),
        ("ima-sig", data(&digest(b"sha256"), name, &[&[3, 2, 4]])),
        ("ima-sig", data(&digest(b"sha256"), name, &[&[]])),
        ("ima-ngv2", data(&digest(b"ima:sha256"), name, &[])),
        ("ima-sigv2", data(&digest(b"verity:sha256"), name, &[&[3, 2, 4]])),
        ("ima-buf", data(&digest(b"sha256"), name, &[b"a kernel's command line"])),
    ];
    for (template, data) in &lists {
        // The oldest pads its name to 256 bytes before it is hashed, and has no length before it.
        let hashed = match *template {
            "ima" => [&[0xAB; 20][..], b"/usr/bin/true", &[0; 243]].concat(),
            _ => data.clone(),
        };
        for bank in [
            HashAlgorithm::Sha1,
            HashAlgorithm::Sha256,
            HashAlgorithm::Sm3,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
        ] {
            let bytes = entry(10, &bank.hash(&[&hashed]), template, data);
            let list = MeasurementList::parse(&bytes).unwrap();
            let [read] = list.entries() else { panic!("{template}") };
            assert_eq!((read.pcr(), read.template(), read.name()), (10, *template, "/usr/bin/true"));
            let expected = if *template == "ima" { ("sha1", &[0xAB; 20][..]) } else { ("sha256", &[0xAB; 32][..]) };
            assert_eq!(read.digest(), expected);
            let register = HashAlgorithm::Sha256.extend(&[0; 32], &HashAlgorithm::Sha256.hash(&[&hashed]));
            assert_eq!(list.check_replay(10, HashAlgorithm::Sha256, &register), Ok(()));
            // Another list of the same length, and one that says another hash.
            let other = entry(10, &bank.hash(&[&hashed, &[0]]), template, data);
            assert_eq!(parsed(&other), Err(ImaError::TemplateHash(1)));
        }
        let violation = entry(10, &[0; 20], template, data);
        let list = MeasurementList::parse(&violation).unwrap();
        assert!(list.entries()[0].is_violation());
        assert_eq!(list.entries()[0].extended(HashAlgorithm::Sha384), [0xFF; 48]);
    }
    // A hash of one size is of the whole list.
    let good = |bank| measured(bank, "ima-ng", &data(&digest(b"sha256"), name, &[]));
    assert_eq!(parsed(&[good(HashAlgorithm::Sha1), good(HashAlgorithm::Sha1)].concat()), Ok(2));
    assert!(parsed(&[good(HashAlgorithm::Sha1), good(HashAlgorithm::Sha256)].concat()).is_err());
}

#[test]
fn a1_every_bit_of_a_binary_list_counts() {
    let signed = data(&digest(b"sha256"), b"/bin/sh\0", &[&[9; 5]]);
    let oldest = [&[0xAB; 20][..], &sized(b"/init")].concat();
    let hashed = [&[0xAB; 20][..], b"/init", &[0; 251]].concat();
    let list = [
        measured(HashAlgorithm::Sha1, "ima-sig", &signed),
        entry(10, &HashAlgorithm::Sha1.hash(&[&hashed]), "ima", &oldest),
    ]
    .concat();
    let value = MeasurementList::parse(&list).unwrap().replay(10, HashAlgorithm::Sha256);
    for bit in 0..list.len() * 8 {
        if let Ok(changed) = MeasurementList::parse(&flip(&list, bit)) {
            let replay = changed.check_replay(10, HashAlgorithm::Sha256, &value);
            assert!(replay.is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a2_a_binary_list_cut_anywhere_or_longer_is_refused_or_a_true_beginning() {
    let one = measured(HashAlgorithm::Sha1, "ima-ng", &data(&digest(b"sha256"), b"/bin/sh\0", &[]));
    let list = [one.clone(), one.clone()].concat();
    for size in 0..list.len() {
        match parsed(&list[..size]) {
            Ok(count) => assert_eq!((count, size), (1, one.len())),
            Err(error) => assert!(error.is_malformed(), "{size}: {error:?}"),
        }
    }
    assert!(matches!(parsed(&[&list[..], &[0]].concat()), Err(ImaError::Malformed(FormatError::Truncated { .. }))));
}

#[test]
fn d1_lengths_promise_nothing_and_fields_do_not_run_into_one_another() {
    let name = b"/bin/sh\0";
    let good = data(&digest(b"sha256"), name, &[]);
    let hash = HashAlgorithm::Sha1.hash(&[&good]);
    let head = [&word(10)[..], &hash, &sized(b"ima-ng")].concat();
    let truncated =
        |result: Result<usize, ImaError>| matches!(result, Err(ImaError::Malformed(FormatError::Truncated { .. })));
    // Of the data, of the digest in it, of the name in it, of the oldest template's name.
    assert_eq!(parsed(&[&head[..], &[0xFF; 4]].concat()), Err(ImaError::Entry(1)));
    assert!(truncated(parsed(&[&head[..], &word(1 << 20)].concat())));
    for size in [0x7FFF_FFFF_usize, 0xFFFF_FFFF, 129] {
        let long = [&word(size)[..], &digest(b"sha256"), &sized(name)].concat();
        assert_eq!(parsed(&measured(HashAlgorithm::Sha1, "ima-ng", &long)), Err(ImaError::Entry(1)));
    }
    let short = [sized(&digest(b"sha256")), word(9).to_vec(), name.to_vec()].concat();
    assert!(truncated(parsed(&measured(HashAlgorithm::Sha1, "ima-ng", &short))));
    let oldest = [&[0xAB; 20][..], &word(0xFFFF_FFFF)].concat();
    assert_eq!(parsed(&measured(HashAlgorithm::Sha1, "ima", &oldest)), Err(ImaError::Entry(1)));
    // A field that is missing, and bytes that belong to none.
    assert!(truncated(parsed(&measured(HashAlgorithm::Sha1, "ima-sig", &good))));
    let trailing = parsed(&measured(HashAlgorithm::Sha1, "ima-ng", &data(&digest(b"sha256"), name, &[b"x"])));
    assert!(matches!(trailing, Err(ImaError::Malformed(FormatError::Trailing { count: 5, .. }))));
    let cases: [(&str, Vec<u8>); 9] = [
        ("ima-ng", data(b"sha256:no zero", name, &[])),
        ("ima-ng", data(&digest(b""), name, &[])),
        ("ima-ng", data(&digest(b"sha256:x"), name, &[])),
        ("ima-ng", data(&digest(b"\xFF"), name, &[])),
        ("ima-ng", data(&digest(b"sha256"), b"/bin/sh", &[])),
        ("ima-ng", data(&digest(b"sha256"), b"/bin\0/sh\0", &[])),
        ("ima-ng", data(&digest(b"sha256"), b"\xFF\0", &[])),
        ("ima-ngv2", data(&digest(b"sha256"), name, &[])),
        ("ima-sigv2", data(&digest(b"other:sha256"), name, &[b""])),
    ];
    for (template, data) in cases {
        assert_eq!(parsed(&measured(HashAlgorithm::Sha1, template, &data)), Err(ImaError::Entry(1)), "{template}");
    }
    let good_one = measured(HashAlgorithm::Sha1, "ima-ng", &good);
    let unknown = [good_one.clone(), measured(HashAlgorithm::Sha1, "ima-modsig", &good)].concat();
    assert_eq!(parsed(&unknown), Err(ImaError::Template(2)));
    let long = [good_one, measured(HashAlgorithm::Sha1, "ima-ng-that-is-too-long", &good)].concat();
    assert_eq!(parsed(&long), Err(ImaError::Entry(2)));
    // No template that is known behind any size of hash; a register that does not exist; a list that is too long.
    assert_eq!(parsed(&measured(HashAlgorithm::Sha1, "evm", &good)), Err(ImaError::Entry(1)));
    assert_eq!(parsed(&entry(24, &hash, "ima-ng", &good)), Err(ImaError::Entry(1)));
    assert_eq!(parsed(&entry(23, &hash, "ima-ng", &good)), Ok(1));
    assert!(parsed(&entry(10 | 1 << 24, &hash, "ima-ng", &good)).is_err());
    let large = vec![0; (16 << 20) + 1];
    assert!(matches!(parsed(&large), Err(ImaError::Malformed(FormatError::TooLarge { .. }))));
}

#[test]
fn a_line_of_text_is_the_entry_that_its_binary_form_is() {
    let lines = [
        ("ima-ng", "sha256", "/usr/bin/true", ""),
        ("ima-ng", "sha256", "/a name with spaces", ""),
        ("ima-sig", "sha256", "/usr/bin/true", " 030204"),
        ("ima-sig", "sha256", "/a name with spaces", " 030204"),
        ("ima-sig", "sha256", "/a name with spaces", " "),
        // The space before an empty signature is cut off; a name ends in a space.
        ("ima-sig", "sha256", "/a name with spaces", ""),
        ("ima-sig", "sha256", "/usr/bin/true", ""),
        ("ima-sig", "sha256", "/a name ", " "),
        ("ima-sigv2", "verity:sha256", "/usr/bin/true", " 030204"),
        ("ima-ngv2", "ima:sha256", "/usr/bin/true", ""),
        ("ima-buf", "sha256", "kernel's command line", " 726f6f743d"),
    ];
    for (template, algorithm, name, last) in lines {
        let more = hex::decode(last.trim_start()).unwrap();
        let more: &[&[u8]] = if template.ends_with("ng") || template.ends_with("ngv2") { &[] } else { &[&more] };
        let data = data(&digest(algorithm.as_bytes()), &[name.as_bytes(), b"\0"].concat(), more);
        let hash = hex::encode(HashAlgorithm::Sha1.hash(&[&data]));
        let line = format!("10 {hash} {template} {algorithm}:{} {name}{last}\n", hex::encode([0xAB; 32]));
        let list = MeasurementList::parse(line.as_bytes());
        assert_eq!(list, MeasurementList::parse(&measured(HashAlgorithm::Sha1, template, &data)), "{line}");
        let list = list.unwrap();
        assert_eq!((list.entries()[0].name(), list.entries()[0].is_violation()), (name, false));
        let register = HashAlgorithm::Sha256.extend(&[0; 32], &HashAlgorithm::Sha256.hash(&[&data]));
        assert_eq!(list.check_replay(10, HashAlgorithm::Sha256, &register), Ok(()));
        let other = Err(ImaError::Replay { pcr: 10, bank: HashAlgorithm::Sha256 });
        assert_eq!(list.check_replay(10, HashAlgorithm::Sha256, &[0; 32]), other);
    }
    // A word that is no hexadecimal belongs to the name; a digest names its hash and has no more bytes than any hash.
    let line = |said: &str| {
        let hash = "00".repeat(20);
        parsed(format!("10 {hash} ima-ng {said} /name\n").as_bytes())
    };
    assert_eq!(line(&format!("sha_3-256:{}", "ab".repeat(128))), Ok(1));
    for said in [":abcd", "sha.256:abcd", "sha256", "sha256:abc", &format!("sha256:{}", "ab".repeat(129))] {
        assert_eq!(line(said), Err(ImaError::Entry(1)), "{said}");
    }
}

#[test]
fn a_last_line_without_its_end_is_whole_or_malformed() {
    let data = data(&digest(b"sha256"), b"/usr/bin/true\0", &[]);
    let line = |name: &str| {
        let hash = hex::encode(HashAlgorithm::Sha1.hash(&[&data]));
        format!("10 {hash} ima-ng sha256:{} {name}", hex::encode([0xAB; 32]))
    };
    let (whole, cut) = (line("/usr/bin/true"), line("/usr/bin/tru"));
    assert_eq!(parsed(whole.as_bytes()), Ok(1));
    assert_eq!(parsed(format!("{whole}\n{whole}").as_bytes()), Ok(2));
    assert_eq!(parsed(cut.as_bytes()), Err(ImaError::Entry(1)));
    assert_eq!(parsed(format!("{whole}\n{cut}").as_bytes()), Err(ImaError::Entry(2)));
    // With its end it says another name.
    assert_eq!(parsed(format!("{cut}\n").as_bytes()), Err(ImaError::TemplateHash(1)));
    assert_eq!(parsed(format!("{cut}\n{whole}").as_bytes()), Err(ImaError::TemplateHash(1)));
}

#[test]
fn a_list_is_read_up_to_8_mib_and_no_further() {
    assert_eq!(parsed(&vec![b' '; 8 << 20]), Err(ImaError::Entry(1)));
    let refused = FormatError::TooLarge { structure: "the measurement list", size: (8 << 20) + 1, limit: 8 << 20 };
    assert_eq!(parsed(&vec![b' '; (8 << 20) + 1]), Err(ImaError::Malformed(refused)));
}

#[test]
fn a_name_that_the_oldest_template_would_cut_is_refused_in_both_forms() {
    // The hash is over 256 bytes: whatever follows them could be anything.
    for (size, fits) in [(255, true), (256, false), (300, false)] {
        let name = "n".repeat(size);
        let mut padded = name.clone().into_bytes();
        padded.resize(256, 0);
        let hash = HashAlgorithm::Sha1.hash(&[&[0xAB; 20], &padded]);
        let text = format!("10 {} ima {} {name}\n", hex::encode(&hash), hex::encode([0xAB; 20]));
        let binary = entry(10, &hash, "ima", &[&[0xAB; 20][..], &sized(name.as_bytes())].concat());
        for list in [text.as_bytes(), &binary] {
            assert_eq!(parsed(list), if fits { Ok(1) } else { Err(ImaError::Entry(1)) }, "{size}");
        }
    }
}
