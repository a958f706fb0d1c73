//! What cargo says of the workspace.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

/// The workspace's directory: of the clone that runs this, where two clones share one directory of builds.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().unwrap_or(&here).to_owned()
}

/// The packages of the workspace alone.
pub(crate) fn members() -> Result<Value, String> {
    parse(&cargo(&["metadata", "--format-version", "1", "--no-deps"])?)
}

/// All packages that are built on this platform.
pub(crate) fn all() -> Result<Value, String> {
    let version = run(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()), &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not say its host")?;
    parse(&cargo(&["metadata", "--format-version", "1", "--filter-platform", host])?)
}

/// The names and versions of all crates that a package links or that its build needs.
pub(crate) fn tree_of(package: &str) -> Result<Vec<String>, String> {
    let tree = cargo(&["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"])?;
    let mut crates: Vec<String> =
        tree.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    crates.sort();
    crates.dedup();
    Ok(crates)
}

/// The elements of an array, none for anything else.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A text, empty for anything else.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn cargo(arguments: &[&str]) -> Result<String, String> {
    run(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("`{program} {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("cargo's answer cannot be read: {error}"))
}
