//! The rules on SQL, as cases in `tests/sql/*.rules`.
//!
//! A case is `=== name`, the query, and `--- released` with the result, `--- explained` with lines that the explanation must
//! have, or `--- refused reason` with lines that the refusal must have.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use std::{fs, path::Path};

use runtime::sql::{CheckError, Subtraction};

struct Case {
    name: String,
    sql: String,
    expectations: Vec<(String, String)>,
}

fn cases(text: &str) -> Vec<Case> {
    let text = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let one = |part: &str| {
        let (name, rest) = part.split_once('\n').unwrap();
        let mut blocks = rest.split("\n--- ");
        let sql = blocks.next().unwrap().trim().to_owned();
        let expectation = |block: &str| {
            let (head, body) = block.split_once('\n').unwrap_or((block, ""));
            (head.trim().to_owned(), body.trim_end().to_owned())
        };
        Case { name: name.trim().to_owned(), sql, expectations: blocks.map(expectation).collect() }
    };
    text.split("=== ").filter(|part| !part.trim().is_empty()).map(one).collect()
}

async fn verdict(case: &Case, tables: &[room::Table]) -> Vec<String> {
    let mut wrong = Vec::new();
    assert!(!case.expectations.is_empty(), "{}", case.name);
    for (kind, expected) in &case.expectations {
        let found = match (kind.split_once(' ').unwrap_or((kind, "")), room::check(&case.sql, tables).await) {
            (("released", _), Ok(plan)) => {
                assert!(room::every_scan_is_guarded(&plan, tables), "{}\n{}", case.name, plan.guarded_text());
                let found = room::run(&plan, tables).await;
                if found.trim_end() == expected { continue } else { found }
            }
            (("explained", _), Ok(plan)) => {
                let found = plan.explanation().to_string();
                if expected.lines().all(|line| found.contains(line)) { continue } else { found }
            }
            (("refused", reason), Err(CheckError::Refused(explanation))) => {
                let found = explanation.to_string();
                let refusal = explanation.refusal.unwrap();
                let same =
                    serde_json::to_value(refusal.reason).unwrap() == reason && !refusal.smallest_change.is_empty();
                if same && expected.lines().all(|line| found.contains(line)) {
                    continue;
                } else {
                    format!("{:?}\n{found}", refusal.reason)
                }
            }
            (("error", _), Err(error)) if !matches!(error, CheckError::Refused(_)) => {
                let found = error.to_string();
                if expected.lines().all(|line| found.contains(line)) { continue } else { found }
            }
            (_, Ok(plan)) => format!("accepted:\n{}", plan.explanation()),
            (_, Err(error)) => error.to_string(),
        };
        wrong.push(format!("=== {}\n{}\n--- {kind}\n{expected}\nfound:\n{found}", case.name, case.sql));
    }
    wrong
}

#[tokio::test]
async fn cases_of_the_rules() {
    let tables = room::tables();
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = fs::read_dir(Path::new("tests/sql")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        for case in cases(&fs::read_to_string(&file).unwrap()) {
            wrong.extend(verdict(&case, &tables).await);
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases\n{}", wrong.len(), wrong.join("\n\n"));
}

#[tokio::test]
async fn queries_whose_groups_add_up_can_be_subtracted() {
    let tables = room::tables();
    let mut groupings = Vec::new();
    for query in [
        "select arm, count(*) from trial group by arm",
        "select t.arm, t.sex, count(*) from trial t group by t.arm, t.sex",
        "select x.arm, count(*) from trial x group by x.arm",
        "select arm, count(*) from trial where sex = 'f' group by arm",
        "select sex, count(*) from trial group by sex",
        "select count(*) from registry",
        "select site, count(*) from regions group by site",
        "select arm = 'A', count(*) from trial group by arm = 'A'",
    ] {
        groupings.push(room::check(query, &tables).await.unwrap().groupings().to_vec());
    }
    let told = |coarse: usize, fine: usize| {
        Subtraction::of(&groupings[coarse], &groupings[fine]).map(|subtraction| subtraction.to_string())
    };
    let finer = |by: &str| Some(format!("both group `trial`, the second also by `{by}`"));
    assert_eq!(told(0, 1), finer("trial.sex"));
    assert_eq!(told(1, 0), None, "the coarser groups are no parts of the finer ones");
    assert_eq!(told(0, 2), None, "the same under another alias");
    let conditions = Some("both group `trial` alike, under different conditions or joins".to_owned());
    assert_eq!((told(0, 3), told(3, 0)), (conditions.clone(), conditions));
    assert_eq!((told(0, 4), told(4, 0)), (None, None), "neither is finer");
    assert_eq!((told(0, 5), told(0, 6)), (None, None), "they read no table with entities in common");
    assert_eq!(told(7, 0), finer("trial.arm"), "a function of a column is coarser than the column");
    assert_eq!(told(0, 7), None);
}
