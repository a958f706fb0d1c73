//! `glovebox-vectors [KIND]`: runs the cases and prints a table per kind; exit status 1 on any disagreement.
//! `glovebox-vectors bench`: times appraisals, beside other verifiers where they are linked; exit status 1 if one is over its limit.

use std::process::ExitCode;

use vectors::{Agreement, Folder, FolderError, Reasons, default_folder, run, totals};

fn main() -> ExitCode {
    let kind = std::env::args().nth(1);
    let reasons = match Reasons::shipped() {
        Ok(reasons) => reasons,
        Err(error) => return fail(&format!("reasons.toml: {error}")),
    };
    let folder = match Folder::open(&default_folder()) {
        Ok(folder) => folder,
        Err(FolderError::Absent(path)) => {
            return fail(&format!("no test vectors at {}\nhint: set GLOVEBOX_VECTORS to their folder", path.display()));
        }
        Err(FolderError::Manifest(error)) => return fail(&format!("the manifest cannot be read: {error}")),
    };
    if kind.as_deref() == Some("bench") {
        return match vectors::bench::run(&folder) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(problem) => fail(&problem),
        };
    }
    let findings = run(&folder, &reasons, kind.as_deref());
    for finding in &findings {
        match &finding.agreement {
            Agreement::Agrees => {}
            Agreement::ByVerdict { reason, code } => {
                println!("by verdict  {}: `{reason}` is in no table; we say {code}", finding.id);
            }
            Agreement::Disagrees(words) => println!("DISAGREES   {}: {words}", finding.id),
        }
    }
    println!("{:<18}{:>12}{:>12}{:>14}", "kind", "as expected", "by verdict", "disagreements");
    let mut disagreements = 0;
    for (kind, (agree, verdict, disagree)) in totals(&findings) {
        println!("{kind:<18}{agree:>12}{verdict:>12}{disagree:>14}");
        disagreements += disagree;
    }
    println!("{} cases, {disagreements} disagreements", findings.len());
    if findings.is_empty() {
        return fail("no case was run");
    }
    if disagreements == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(2)
}
