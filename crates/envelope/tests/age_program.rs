//! Blobs, results and protected identities against the stock `age` program, both ways.
#![cfg(feature = "age")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use envelope::blob::{Identity, open_blob, pad, seal_blob, seal_padded, unpad};

/// Runs `age`; `None`, with the reason printed, where it is not installed. In CI that is a failure.
fn age(arguments: &[&str]) -> Option<Output> {
    match Command::new("age").args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("age cannot be started: {error}"),
        Err(error) => {
            println!("skipped: age cannot be started: {error}");
            None
        }
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("glovebox-age-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_age_program_opens_a_result() {
    let folder = folder("opens");
    let identity = Identity::generate();
    let result = b"diagnosis,patients\nasthma,120\n";
    let [key, file] = ["key", "result"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    fs::write(&key, identity.to_text().as_bytes()).unwrap();
    fs::write(&file, seal_padded(result, &[identity.recipient(), Identity::generate().recipient()]).unwrap()).unwrap();
    if let Some(output) = age(&["-d", "-i", &key, &file]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, *pad(result).unwrap());
        assert_eq!(unpad(&output.stdout), result);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn we_open_what_the_age_program_seals() {
    let folder = folder("seals");
    let identity = Identity::generate();
    let [plain, file] = ["plain", "blob"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    let contents: Vec<u8> = (0..200_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    fs::write(&plain, &contents).unwrap();
    if let Some(output) = age(&["-r", &identity.recipient().to_string(), "-o", &file, &plain]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut opened = Vec::new();
        assert_eq!(open_blob(fs::File::open(&file).unwrap(), &identity, &mut opened), Ok(200_000));
        assert_eq!(opened, contents);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_stream_of_several_chunks_is_opened_by_the_age_program() {
    let folder = folder("chunks");
    let identity = Identity::generate();
    let [key, file] = ["key", "blob"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    fs::write(&key, identity.to_text().as_bytes()).unwrap();
    let contents = vec![42; 300_000];
    seal_blob(contents.as_slice(), fs::File::create(&file).unwrap(), &[identity.recipient()]).unwrap();
    if let Some(output) = age(&["-d", "-i", &key, &file]) {
        assert_eq!(output.stdout, contents);
    }
    fs::remove_dir_all(folder).unwrap();
}
