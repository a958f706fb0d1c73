//! Evidence of real platforms, each case with its exact outcome.
//!
//! A folder of cases has a `manifest.json`; a case names its kind, its files, the time and the expected result with the reason. Each kind is
//! a module under `kinds/` that hands a case to the Verifier as a user would and reports what came of it. `reasons.toml` is the one table
//! that says which typed reasons satisfy which reason string. In the folder that the table was made for, a string it does not
//! know is a disagreement; in any other, such a case is compared by its verdict and listed.
//!
//! Never shipped. Absent: judgement of its own. What a case asks for beyond the Evidence is read in one place for all kinds
//! (`expectations.rs`), and a nonce, a measurement or a list of hardware goes through the same policies that owners write. **Nothing looks at the
//! expected outcome to decide what is examined**, and what a case asks for is never passed over.

pub mod bench;
mod case;
#[cfg(feature = "comparison")]
pub mod comparison;
mod expectations;
pub mod kinds;
mod names;
mod outcome;
mod reasons;

use std::{collections::BTreeMap, path::PathBuf};

pub use case::{Case, Folder, FolderError};
pub use outcome::{Outcome, Report};
pub use reasons::Reasons;

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The case.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// How it compares.
    pub agreement: Agreement,
}

/// How an outcome compares with the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// The expected verdict for the expected reason.
    Agrees,
    /// The expected verdict; the reason string is in no table, and the folder is not the one that the table is for.
    ByVerdict {
        /// The string.
        reason: String,
        /// Our typed reason.
        code: String,
    },
    /// Anything else, in words.
    Disagrees(String),
}

/// The folder named by `GLOVEBOX_VECTORS`, or `../shared/vectors` beside the workspace.
pub fn default_folder() -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
    workspace.join(folder)
}

/// Runs every case of a folder, or those of one kind.
pub fn run(folder: &Folder, reasons: &Reasons, kind: Option<&str>) -> Vec<Finding> {
    let strict = reasons.is_for(folder);
    let wanted = folder.cases().iter().filter(|case| kind.is_none_or(|kind| case.kind == kind));
    wanted.map(|case| compare(case, reasons, strict)).collect()
}

/// Compares one case.
pub fn compare(case: &Case, reasons: &Reasons, strict: bool) -> Finding {
    // One case that breaks the Verifier is one finding, and the others are still run.
    let outcome = std::panic::catch_unwind(|| kinds::run(case));
    let agreement = match outcome {
        Err(_) => Agreement::Disagrees("the Verifier panicked".to_owned()),
        Ok(Err(problem)) => Agreement::Disagrees(problem),
        Ok(Ok(report)) => outcome::compare(case, &report, reasons, strict),
    };
    Finding { id: case.id.clone(), kind: case.kind.clone(), agreement }
}

/// Per kind: how many agree, how many only by verdict, how many do not.
pub fn totals(findings: &[Finding]) -> BTreeMap<String, (usize, usize, usize)> {
    let mut totals = BTreeMap::new();
    for finding in findings {
        let (agree, verdict, disagree) = totals.entry(finding.kind.clone()).or_insert((0, 0, 0));
        match finding.agreement {
            Agreement::Agrees => *agree += 1,
            Agreement::ByVerdict { .. } => *verdict += 1,
            Agreement::Disagrees(_) => *disagree += 1,
        }
    }
    totals
}
