//! Whether every crate may be used under a permissive licence, from the SPDX expressions in their manifests.

use serde_json::Value;

use crate::metadata::{list, text};

/// Crates that may not be used, with what they say.
pub(crate) fn findings(metadata: &Value) -> Vec<String> {
    let packages = list(metadata, "packages").map(|package| (text(package, "name"), text(package, "license")));
    let refused = packages.filter(|(_, licence)| !permits(licence));
    refused.map(|(name, licence)| format!("{name}: the licence `{licence}` is not one that is accepted here")).collect()
}

/// True when the expression holds with the accepted licences. Old manifests write `/` for OR.
fn permits(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let holds = alternatives(&mut words);
    holds == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words<'_>) -> Option<bool> {
    let mut holds = all(words)?;
    while words.next_if_eq(&"OR").is_some() {
        holds |= all(words)?;
    }
    Some(holds)
}

fn all(words: &mut Words<'_>) -> Option<bool> {
    let mut holds = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        holds &= one(words)?;
    }
    Some(holds)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let holds = alternatives(words)?;
        return words.next_if_eq(&")").map(|_| holds);
    }
    // An exception only adds permissions.
    if words.next_if_eq(&"WITH").is_some() {
        words.next()?;
    }
    Some(ACCEPTED.contains(&word))
}

const ACCEPTED: [&str; 11] = [
    "Apache-2.0",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "CC0-1.0",
    "Unlicense",
    "Unicode-3.0",
    "BSL-1.0",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood() {
        for permitted in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 OR GPL-2.0-only",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(permits(permitted), "{permitted}");
        }
        for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT OR", "(MIT", "MIT MIT"] {
            assert!(!permits(refused), "{refused}");
        }
    }
}
