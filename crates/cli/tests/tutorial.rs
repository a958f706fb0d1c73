//! `docs/tutorial.md`, followed by hand: every block of commands is typed into a shell, in the tutorial's order, and says what the
//! tutorial shows.
//!
//! A ```` ```text ```` block after commands is what they say, shortened: each of its lines must be there, with `…` for anything. A block that
//! shows an error or a refusal ends with status 1. Only the room is started by the test itself, on a free port.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod room;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use room::Room;

#[test]
fn the_tutorial_does_what_it_shows() {
    let Some(room) = Room::start() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tutorial.md");
    let steps = steps(&fs::read_to_string(path).unwrap());
    assert!(steps.len() > 10, "the tutorial has lost its commands");
    for step in steps {
        // What is done to the reader's terminal, and the room, which is there.
        if step.commands.contains("export PATH") || step.commands.starts_with("glovebox up ") {
            continue;
        }
        let (status, said) = typed(&room, &step.commands);
        let refused =
            step.said.iter().any(|line| line.starts_with("error: ") || line.trim_start().starts_with("refused: "));
        assert_eq!(status, i32::from(refused), "{}\n{said}", step.commands);
        for line in &step.said {
            assert!(
                said.lines().any(|found| fits(found, line)),
                "`{line}` is not what was said by\n{}\n{said}",
                step.commands
            );
        }
    }
}

/// Commands, and what they say.
#[derive(Debug, Default)]
struct Step {
    commands: String,
    said: Vec<String>,
}

fn steps(tutorial: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut language = None;
    for line in tutorial.lines() {
        match (line.strip_prefix("```"), language, steps.last_mut()) {
            (Some(_), Some(_), _) => language = None,
            (Some(opened), None, _) => {
                language = Some(opened);
                if opened == "sh" {
                    steps.push(Step::default());
                }
            }
            (None, Some("sh"), Some(step)) => step.commands += &format!("{line}\n"),
            (None, Some("text"), Some(step)) => step.said.push(line.to_owned()),
            (None, _, _) => {}
        }
    }
    steps
}

fn typed(room: &Room, commands: &str) -> (i32, String) {
    let programs = Path::new(env!("CARGO_BIN_EXE_glovebox")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", commands]).current_dir(room.dir.path()).env("PATH", path).env("HOME", room.dir.path());
    let output = shell.env("NO_COLOR", "1").env_remove("GLOVEBOX_HOME").stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code().unwrap(), said.join("\n"))
}

/// Whether a line is one that the tutorial shows with `…` for anything.
fn fits(found: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| found.strip_prefix(first)) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    rest.is_empty() || shown.ends_with('…')
}
