//! Every case of the manifest has its expected outcome, for the stated reason.
#![allow(clippy::panic, missing_docs)]

use vectors::{Agreement, Folder, FolderError, Reasons, default_folder, run};

#[test]
fn every_case_agrees_for_the_stated_reason() {
    let folder = match Folder::open(&default_folder()) {
        Ok(folder) => folder,
        Err(FolderError::Absent(path)) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", path.display());
            println!("skipped: no test vectors at {}", path.display());
            return;
        }
        Err(FolderError::Manifest(error)) => panic!("{error}"),
    };
    let reasons = Reasons::shipped().unwrap_or_else(|error| panic!("{error}"));
    let findings = run(&folder, &reasons, None);
    assert_eq!(findings.len(), folder.cases().len());
    let disagreements: Vec<String> = findings
        .iter()
        .filter_map(|finding| match &finding.agreement {
            Agreement::Disagrees(words) => Some(format!("{}: {words}", finding.id)),
            Agreement::Agrees | Agreement::ByVerdict { .. } => None,
        })
        .collect();
    assert_eq!(disagreements, Vec::<String>::new());
}
