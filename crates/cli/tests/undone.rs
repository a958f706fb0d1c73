//! What ends a seal early leaves nothing behind: neither half a file nor a key without its table.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const BROKER: &str = "ed25519:oI-FtaNopMP0D6uHpzCHDR20U8sl4MnaWszMdDlOsnM@127.0.0.1:1";

/// A party with a table that takes a while to seal.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(rows: usize) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { folder };
        let mut table = std::io::BufWriter::new(fs::File::create(place.path("t.csv")).unwrap());
        writeln!(table, "id,amount").unwrap();
        for row in 0..rows {
            writeln!(table, "person-{row},{}", (row * 7919) % 1_000_003).unwrap();
        }
        table.into_inner().unwrap().sync_all().unwrap();
        let rules = "[dataset]\nname = \"t\"\nmin_entities = 2\nmax_rows_per_entity = 1\n\n[columns]\nid = { rule = \"entity\", domain = \"person\" }\namount = { rule = \"measure\", lower = 0, upper = 10 }\n";
        fs::write(place.path("t.toml"), rules).unwrap();
        assert!(place.glovebox(&["init", "--name", "a"]).output().unwrap().status.success());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn glovebox(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glovebox"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GLOVEBOX_HOME", self.path("home"))
            .env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Begins to seal and waits until ciphertext is on its way.
    fn begin(&self) -> Child {
        let child = self.glovebox(&["seal", "t.csv", "--rules", "t.toml", "--broker", BROKER]).spawn().unwrap();
        let begun = Instant::now();
        while files(&self.path("t.sealed")).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "sealing does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        child
    }

    fn assert_nothing_left(&self) {
        assert_eq!(files(&self.path("t.sealed")), Vec::<String>::new());
        assert_eq!(files(&self.path("home/keys")), Vec::<String>::new());
        assert_eq!(files(&self.path("home/datasets/t")), Vec::<String>::new());
        assert!(!self.path("t.manifest.json").exists());
    }
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_interrupted_seal_is_undone_and_may_be_repeated() {
    let place = Place::new(400_000);
    for signal in ["-INT", "-TERM"] {
        let child = place.begin();
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("error: interrupted; nothing was left half-written"), "{}", stderr(&output));
        place.assert_nothing_left();
    }
}

#[test]
fn what_a_killed_seal_left_is_removed_by_the_next() {
    let place = Place::new(400_000);
    let mut child = place.begin();
    send("-KILL", &child);
    child.wait().unwrap();
    assert!(!place.path("t.manifest.json").exists());
    assert_eq!(files(&place.path("home/keys")), Vec::<String>::new());
    fs::write(place.path("t.csv"), "id,amount\na,1\nb,2\n").unwrap();
    let output = place.glovebox(&["seal", "t.csv", "--rules", "t.toml", "--broker", BROKER]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(files(&place.path("t.sealed")), ["t-1-0.parquet"]);
}

#[test]
fn a_disk_without_room_leaves_nothing() {
    let place = Place::new(50_000);
    // A limit on the size of files fails a write in the middle, as a full disk does.
    let program = env!("CARGO_BIN_EXE_glovebox");
    let script = format!("trap '' XFSZ; ulimit -f 64; exec '{program}' seal t.csv --rules t.toml --broker {BROKER}");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .current_dir(place.folder.path())
        .env("GLOVEBOX_HOME", place.path("home"))
        .env("NO_COLOR", "1");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error: cannot seal `t.csv`"), "{}", stderr(&output));
    place.assert_nothing_left();
}
