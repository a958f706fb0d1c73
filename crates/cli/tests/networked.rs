//! Every verb that needs a broker, as a person sees it, over real processes: what is typed, what is said, and the exit status.
//!
//! `networked/*.md` are played in their order in one room each; what differs from run to run stands as `[..]`. A command's words on
//! standard error come before its result; `2> FILE` leaves them out where they have been shown, and the phases of a run, which depend on who
//! looks when, are always left out. `SNAPSHOTS=overwrite` writes the transcripts anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use std::{fs, path::Path};

use room::Room;

#[test]
fn networked_verbs_say_what_their_transcript_shows() {
    play("verbs.md");
}

#[test]
fn an_owner_who_is_offline_is_stood_in_for_as_the_transcript_shows() {
    play("offer.md");
}

fn play(name: &str) {
    let Some(room) = Room::start() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networked").join(name);
    let transcript = fs::read_to_string(&path).unwrap();
    let (mut played, mut inside, mut expected_follows) = (String::new(), false, false);
    for line in transcript.lines() {
        if line.starts_with("```") {
            inside = !inside;
            expected_follows = false;
        }
        if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            expected_follows = true;
            played += &format!("{line}\n{}", type_in(&room, command));
        } else if !expected_follows {
            played += &format!("{line}\n");
        }
    }
    if std::env::var("SNAPSHOTS").as_deref() == Ok("overwrite") {
        fs::write(&path, played).unwrap();
        return;
    }
    let differs = transcript.lines().zip(played.lines()).position(|(expected, found)| expected != found);
    if let Some(at) = differs.or((transcript != played).then_some(usize::MAX)) {
        panic!("{name} line {}: SNAPSHOTS=overwrite writes it anew\n{played}", at.saturating_add(1));
    }
}

/// What a command line says, with `BROKER` standing for the room's broker.
fn type_in(room: &Room, line: &str) -> String {
    let (line, aside) = match line.split_once(" 2> ") {
        Some((line, _)) => (line, true),
        None => (line, false),
    };
    let (line, into) = match line.split_once(" > ") {
        Some((line, into)) => (line, Some(into)),
        None => (line, None),
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["mv", from, to] => {
            fs::rename(room.path(from), room.path(to)).unwrap();
            String::new()
        }
        ["sed", change, file] => {
            let parts: Vec<&str> = change.split('/').collect();
            let text = room.read(file).replacen(parts[1], parts[2], 1);
            room.write(into.unwrap(), &text);
            String::new()
        }
        ["grep", pattern, file] => {
            let text = room.read(file);
            let found: String =
                text.lines().filter(|line| line.contains(pattern)).map(|line| format!("{line}\n")).collect();
            lasting(&found, &room.dir.path().display().to_string())
        }
        ["glovebox", "--home", party, arguments @ ..] => {
            let arguments: Vec<&str> =
                arguments.iter().map(|word| if *word == "BROKER" { room.broker.as_str() } else { word }).collect();
            let mut outcome = room.party(party, &arguments);
            if let Some(file) = into {
                room.write(file, &std::mem::take(&mut outcome.stdout));
            }
            if aside {
                outcome.stderr.clear();
            }
            let phases = ["  approved; waiting for a worker", "  running on an attested worker", "  released"];
            outcome.stderr =
                outcome.stderr.lines().filter(|line| !phases.contains(line)).map(|line| format!("{line}\n")).collect();
            let mut said =
                lasting(&format!("{}{}", outcome.stderr, outcome.stdout), &room.dir.path().display().to_string());
            if !said.is_empty() && !said.ends_with('\n') {
                said.push('\n');
            }
            if outcome.status != 0 {
                said += &format!("[exit {}]\n", outcome.status);
            }
            said
        }
        other => panic!("cannot type {other:?}"),
    }
}

/// What is said, without what differs from run to run.
fn lasting(said: &str, dir: &str) -> String {
    let said = said.replace(dir, "ROOM");
    let mut lasting = String::new();
    let mut rest = said.as_str();
    while let Some(character) = rest.chars().next() {
        let word: usize =
            rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.:+/@".contains(byte)).count();
        if word == 0 {
            lasting.push(character);
            rest = &rest[character.len_utf8()..];
        } else {
            lasting += &word_of(&rest[..word], [" by ", " of ", "("].iter().any(|before| lasting.ends_with(before)));
            rest = &rest[word..];
        }
    }
    lasting
}

/// One word; the first letters of a key are told from a party's name by where they stand and by not being all small letters.
fn word_of(word: &str, may_be_a_key: bool) -> String {
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if let Some((key, _)) = word.split_once("@127.0.0.1:") {
        return format!("{}@127.0.0.1:[..]", word_of(key, false));
    }
    for prefix in ["sha256:", "ed25519:", "age1", "glovebox.internal/log/", "127.0.0.1:", "glovebox1."] {
        if word.starts_with(prefix) && word.len() > prefix.len() + 3 {
            // A colon that ends the word belongs to the sentence.
            return format!("{prefix}[..]{}", if word.ends_with(':') { ":" } else { "" });
        }
    }
    let is_time = word.len() > 19 && word.as_bytes()[10] == b'T' && word.starts_with("20") && !word.starts_with("2030");
    let bare = word.trim_end_matches(':');
    if is_time
        || may_be_a_key && bare.len() == 8 && !bare.bytes().all(|byte| byte.is_ascii_lowercase())
        || bare.len() == 12 && hexadecimal(bare)
    {
        return format!("[..]{}", if word.ends_with(':') { ":" } else { "" });
    }
    word.to_owned()
}
