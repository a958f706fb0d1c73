//! What fuzzing and reviews found once is met again by every run of the tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use hostile::TARGETS;

#[test]
fn what_was_found_once_is_found_no_more() {
    let mut met = 0;
    for (name, entry) in TARGETS {
        let folder = fuzz().join("regressions").join(name);
        for file in fs::read_dir(folder).into_iter().flatten() {
            let path = file.unwrap().path();
            println!("{}", path.display()); // shown if it panics
            entry(&fs::read(path).unwrap());
            met += 1;
        }
    }
    assert!(met > 0);
}

#[test]
fn every_target_takes_what_is_hardly_an_input() {
    let repeated = [0_u8, 0x20, b'{', b'[', b'"', b'<', 0x30, 0x5f, 0x84, 0x9f, 0xa1, 0xd2, 0xff];
    for (name, entry) in TARGETS {
        println!("{name}");
        entry(b"");
        for byte in repeated {
            for size in [1, 2, 4, 5, 48, 1_184, 4_096, 70_000] {
                entry(&vec![byte; size]);
            }
        }
    }
}

#[test]
fn every_target_has_its_file_and_its_place() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed.len(), TARGETS.len());
    let names = |folder: &str| -> BTreeSet<String> {
        let files = fs::read_dir(fuzz().join(folder)).unwrap().map(|file| file.unwrap().path());
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("fuzz_targets"), listed);
    assert!(names("regressions").is_subset(&listed));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &listed {
        let file = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(file.contains(&format!("::{name}, bytes)")), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}
