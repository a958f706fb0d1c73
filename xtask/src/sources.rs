//! What may not stand in the sources: files too long to read, notes to oneself, and switches that weaken a check (A9).
//!
//! Comments may speak of what is absent; names, options and messages of a shipped crate may not.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What is wrong in the sources below the workspace's directory.
pub(crate) fn findings(root: &Path) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        rust_files(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut findings = Vec::new();
    for path in files {
        let text =
            fs::read_to_string(&path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        findings.extend(in_file(&name, &text));
    }
    Ok(findings)
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("`{}` cannot be read: {error}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn in_file(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        findings.push(format!("{name}: has {lines} lines; a file has {MAX_LINES} at most"));
    }
    let is_shipped = name.contains("/src/") && !UNSHIPPED.iter().any(|folder| name.starts_with(folder));
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        if !name.starts_with("xtask/") && NOTES.iter().any(|note| line.contains(note)) {
            findings.push(format!("{place}: finish it, or open an issue"));
        }
        let code = line.trim_start();
        if is_shipped && !code.starts_with("//") {
            let code = code.to_lowercase();
            for switch in SWITCHES.iter().filter(|switch| code.contains(**switch)) {
                findings.push(format!("{place}: `{switch}` does not exist in what is shipped"));
            }
        }
    }
    findings
}

const MAX_LINES: usize = 800;
const NOTES: [&str; 4] = ["todo!", "unimplemented!", "FIXME", "XXX"];
/// Parts of names under which checks are usually switched off.
const SWITCHES: [&str; 9] =
    ["insecure", "simulat", "mock", "fake", "skip_ver", "skip-ver", "no-verif", "no_verif", "allow_invalid"];
const UNSHIPPED: [&str; 4] = ["crates/testkit/", "crates/bench/", "crates/vectors/", "xtask/"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a9_a_switch_that_weakens_a_check_is_found_in_code_and_not_in_comments() {
        let code = "//! no simulator here\n    // insecure\n    #[arg(long)]\n    insecure: bool,\n";
        assert_eq!(
            in_file("crates/cli/src/args.rs", code),
            ["crates/cli/src/args.rs:4: `insecure` does not exist in what is shipped"]
        );
        assert_eq!(in_file("crates/testkit/src/lib.rs", code), Vec::<String>::new());
        assert_eq!(in_file("crates/cli/tests/story.rs", code), Vec::<String>::new());
    }

    #[test]
    fn long_files_and_notes_are_found() {
        assert_eq!(in_file("crates/x/src/a.rs", &"\n".repeat(MAX_LINES + 1)).len(), 1);
        assert_eq!(in_file("crates/x/tests/a.rs", "// FIXME"), ["crates/x/tests/a.rs:1: finish it, or open an issue"]);
    }
}
