//! The tests that the documents name exist, so that a claim cannot outlive what holds it up.

use std::path::Path;

/// Documents whose back-quoted names are tests where they look like one: lower-case words joined by at least two underscores.
const DOCUMENTS: [&str; 2] = ["docs/security/claims.md", "docs/requirements.md"];

/// A line for each name that stands in no source.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn findings(root: &Path) -> std::io::Result<Vec<String>> {
    let mut sources = String::new();
    collect(&root.join("crates"), &mut sources)?;
    let mut findings = Vec::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document))?;
        for (number, line) in text.lines().enumerate() {
            let names = line.split('`').skip(1).step_by(2).filter(|name| is_test_name(name));
            for name in names.filter(|name| !sources.contains(*name)) {
                findings.push(format!("{document}:{}: no test is called `{name}`", number + 1));
            }
        }
    }
    Ok(findings)
}

fn is_test_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(word) && name.matches('_').count() >= 2
}

fn collect(folder: &Path, sources: &mut String) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
