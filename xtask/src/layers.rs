//! Which crate may know which. The table is ARCHITECTURE.md's picture; a crate that is not in it is a finding too.
//!
//! Dependencies of tests are free, since nothing of them is shipped.

use serde_json::Value;

use crate::metadata::{list, text};

/// What breaks the order of layers.
pub(crate) fn findings(members: &Value) -> Vec<String> {
    let packages: Vec<&Value> = list(members, "packages").collect();
    let names: Vec<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(known, _)| *known == name) else {
            if !TOOLS.contains(&name) {
                findings.push(format!("{name}: is in no layer; add it to ARCHITECTURE.md and to xtask/src/layers.rs"));
            }
            continue;
        };
        for dependency in list(package, "dependencies") {
            let other = text(dependency, "name");
            let of_tests = text(dependency, "kind") == "dev";
            if names.contains(&other) && !of_tests && !allowed.contains(&other) {
                findings.push(format!("{name}: may not depend on {other}; arrows point down only (ARCHITECTURE.md)"));
            }
        }
    }
    findings
}

/// What is in the broker that it must not link.
pub(crate) fn broker_findings(crates: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    if crates.len() >= BROKER_CRATES {
        findings.push(format!(
            "broker: has {} crates; it must stay below {BROKER_CRATES} so that it can be read",
            crates.len()
        ));
    }
    for name in crates.iter().filter_map(|line| line.split_whitespace().next()) {
        if BROKER_NEVER.iter().any(|never| name == *never || name.starts_with(&format!("{never}-"))) {
            findings.push(format!("broker: links {name}; it has no SQL engine, no Parquet and no age"));
        }
    }
    findings
}

/// Each crate that is shipped, and the crates of ours that it may depend on.
const MAY_KNOW: [(&str, &[&str]); 13] = [
    ("envelope", &[]),
    ("table", &["envelope"]),
    ("tlog", &["envelope"]),
    ("attest", &["envelope"]),
    ("agreement", &["envelope", "attest"]),
    ("receipt", &["envelope", "attest", "tlog", "agreement"]),
    ("tpm", &["envelope", "attest"]),
    ("attester", &["attest", "tpm"]),
    ("endorsements", &["envelope", "attest"]),
    ("wire", &["envelope", "attest", "tlog", "agreement", "receipt"]),
    ("broker", &["envelope", "attest", "tlog", "agreement", "receipt", "tpm", "endorsements", "wire"]),
    ("runtime", &["envelope", "table", "attest", "tlog", "agreement", "receipt", "tpm", "attester", "wire"]),
    (
        "cli",
        &[
            "envelope",
            "table",
            "attest",
            "tlog",
            "agreement",
            "receipt",
            "tpm",
            "attester",
            "endorsements",
            "wire",
            "runtime",
        ],
    ),
];

/// Never shipped, so that they may know everything.
const TOOLS: [&str; 5] = ["testkit", "bench", "vectors", "hostile", "xtask"];

/// See docs/decisions/0006.
const BROKER_CRATES: usize = 310;
const BROKER_NEVER: [&str; 7] = ["age", "parquet", "arrow", "datafusion", "sqlparser", "object_store", "table"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let package =
            |name: &str, on: &str, kind: Value| json!({ "name": name, "dependencies": [{ "name": on, "kind": kind }] });
        let members = |packages: Vec<Value>| json!({ "packages": packages });
        let base = json!({ "name": "envelope", "dependencies": [] });
        let up = members(vec![
            package("table", "wire", Value::Null),
            package("wire", "envelope", Value::Null),
            base.clone(),
        ]);
        assert_eq!(findings(&up), ["table: may not depend on wire; arrows point down only (ARCHITECTURE.md)"]);
        let between_roles = members(vec![
            package("cli", "broker", Value::Null),
            package("broker", "envelope", Value::Null),
            base.clone(),
        ]);
        assert_eq!(findings(&between_roles).len(), 1);
        let of_tests = members(vec![
            package("broker", "testkit", json!("dev")),
            package("testkit", "envelope", Value::Null),
            base,
        ]);
        assert_eq!(findings(&of_tests), Vec::<String>::new());
    }

    #[test]
    fn a_heavy_broker_is_found() {
        assert_eq!(broker_findings(&["datafusion-expr v55".to_owned(), "serde v1".to_owned()]).len(), 1);
        assert_eq!(broker_findings(&vec!["x v1".to_owned(); BROKER_CRATES]).len(), 1);
    }
}
