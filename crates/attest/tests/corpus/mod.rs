//! Cases of the test vectors, by kind, as the tests of a platform read them.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) entry: Value,
    directory: PathBuf,
}

impl Case {
    /// All cases of a kind; `None`, with a printed reason, where there are no vectors (a panic where `CI=true`).
    pub(crate) fn all(kind: &str) -> Option<Vec<Case>> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
        let folder = workspace.join(folder);
        let Ok(manifest) = std::fs::read(folder.join("manifest.json")) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
            println!("skipped: no test vectors at {}", folder.display());
            return None;
        };
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let cases = manifest["cases"].as_array().unwrap().iter().filter(|case| case["kind"] == kind);
        let case = |case: &Value| Case {
            id: case["id"].as_str().unwrap().to_owned(),
            directory: folder.join(case["dir"].as_str().unwrap()),
            entry: case.clone(),
        };
        Some(cases.map(case).collect())
    }

    /// One case.
    pub(crate) fn one(id: &str) -> Option<Case> {
        let (kind, _) = id.split_once('/').unwrap();
        Some(Case::all(kind)?.into_iter().find(|case| case.id == id).unwrap())
    }

    pub(crate) fn bytes(&self, role: &str) -> Vec<u8> {
        std::fs::read(self.directory.join(self.entry["files"][role]["path"].as_str().unwrap())).unwrap()
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.entry["reference_time"].as_str().unwrap().parse().unwrap()
    }
}

pub(crate) fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    changed
}
