//! Mutants of good Evidence, judged by us and by another verifier: what it refuses, we do not accept, unless `differences.toml` says why.
//!
//! `dcap-qvl` judges quotes of SGX and TDX, `sev` reports of SEV-SNP, half of the mutants each. They are drawn from a fixed seed;
//! `GLOVEBOX_MUTANTS` says how many (500 by default, 10,000 in `make soak`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(unreachable_pub, reason = "a test of several files")]

mod amd;
mod intel;
mod mutation;

use std::collections::BTreeMap;

use mutation::Random;
use vectors::{Folder, default_folder};

#[derive(serde::Deserialize)]
struct Differences {
    #[serde(default)]
    difference: Vec<Difference>,
}

#[derive(serde::Deserialize)]
struct Difference {
    /// Which other verifier.
    verifier: String,
    /// Part of the mutation's name.
    mutation: String,
    /// Part of their message.
    theirs: String,
    /// Why ours is right to accept it.
    why: String,
}

/// Cases that we and another verifier accept, to be mutated.
trait Bases {
    /// The other verifier.
    fn verifier(&self) -> &'static str;
    /// How many.
    fn count(&self) -> usize;
    /// Draws a mutant and has it judged by both.
    fn judge(&self, random: &mut Random) -> Judged;
}

/// A mutant and what was said of it.
struct Judged {
    /// Of which case.
    base: String,
    /// What was changed.
    mutation: String,
    ours: Verdict,
    theirs: Verdict,
}

/// How much an accepted one was worth, the higher the worse; or why it was refused.
type Verdict = Result<u8, String>;

/// What came of the mutants for one verifier.
#[derive(Default)]
struct Tally {
    words: BTreeMap<(&'static str, &'static str), usize>,
    explained: BTreeMap<String, usize>,
    stricter: BTreeMap<String, usize>,
}

#[test]
fn no_mutant_that_another_verifier_refuses_is_accepted_without_an_explanation() {
    let folder = match Folder::open(&default_folder()) {
        Ok(folder) => folder,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors: {error:?}");
            println!("skipped: no test vectors ({error:?})");
            return;
        }
    };
    let Differences { difference: differences } = toml::from_str(include_str!("../../differences.toml")).unwrap();
    assert!(differences.iter().all(|difference| difference.why.len() > 40));
    let all: [Box<dyn Bases>; 2] = [Box::new(intel::Quotes::of(&folder)), Box::new(amd::Reports::of(&folder))];
    let count: usize = std::env::var("GLOVEBOX_MUTANTS").map_or(500, |count| count.parse().unwrap());
    let mut random = Random(0x676c_6f76_6562_6f78);
    let mut unexplained = Vec::new();
    for bases in &all {
        let verifier = bases.verifier();
        assert!(bases.count() >= 20, "only {} cases for {verifier}", bases.count());
        let mut tally = Tally::default();
        for _ in 0..count / all.len() {
            let judged = bases.judge(&mut random);
            let Some(problem) = tally.problem(&judged) else { continue };
            let known = |difference: &&Difference| {
                difference.verifier == verifier
                    && judged.mutation.contains(&difference.mutation)
                    && problem.contains(&difference.theirs)
            };
            match differences.iter().find(known) {
                Some(difference) => *tally.explained.entry(difference.mutation.clone()).or_default() += 1,
                None => unexplained.push(format!("{}: {}: {verifier}: {problem}", judged.base, judged.mutation)),
            }
        }
        println!("{} mutants of {} cases beside {verifier}", count / all.len(), bases.count());
        tally.print();
    }
    assert!(unexplained.is_empty(), "{} without explanation:\n{}", unexplained.len(), unexplained.join("\n"));
}

impl Tally {
    /// Counts a mutant; gives what is to be explained, if anything is.
    fn problem(&mut self, judged: &Judged) -> Option<String> {
        let word = |verdict: &Verdict| if verdict.is_ok() { "accept" } else { "refuse" };
        *self.words.entry((word(&judged.ours), word(&judged.theirs))).or_default() += 1;
        match (&judged.ours, &judged.theirs) {
            (Err(_), Err(_)) => None,
            (Err(reason), Ok(_)) => {
                *self.stricter.entry(reason.lines().next().unwrap_or_default().to_owned()).or_default() += 1;
                None
            }
            (Ok(_), Err(message)) => Some(message.clone()),
            (Ok(ours), Ok(theirs)) => (ours < theirs).then(|| format!("weaker: {theirs} where ours is {ours}")),
        }
    }

    fn print(&self) {
        for ((ours, theirs), count) in &self.words {
            println!("  we {ours}, they {theirs}: {count}");
        }
        println!("  explained: {:?}", self.explained);
        println!("  where we are stricter: {:#?}", self.stricter);
    }
}
