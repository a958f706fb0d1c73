//! How long a full appraisal takes: Endorsements in memory, one thread, beside the same work by another verifier.
//!
//! What counts is the thread's own time on the processor, so that other work on the machine is not counted; neither side waits for anything.
//! Per kind, each subject is appraised in turn by ours and theirs, so that a slow moment slows both alike; the time of a subject is the median
//! of its rounds, the row shows the slowest subject and the ratio of the sums. Nothing is kept between two appraisals: each begins with bytes.
//! A new platform is one more entry of `KINDS` and a module that gives its `Subject`s. Measure an optimised build; without the feature
//! `comparison` only ours is timed.

mod intel;
mod nitro;
mod snp;
mod tpm;

use std::time::Duration;

use attest::platform::{Genuine, HardwareIds, PlatformPolicy};
use rustix::time::{ClockId, clock_gettime};

use crate::{Case, Folder};

/// One thing to be appraised, with all that it needs in memory.
trait Subject {
    /// From bytes to `Appraised`.
    fn ours(&self) -> Result<(), String>;

    /// The same work by another verifier; `None` where there is none.
    fn theirs(&self) -> Option<Result<(), String>> {
        None
    }
}

type Subjects = Result<Vec<Box<dyn Subject>>, String>;

/// What is timed together.
struct Kind {
    name: &'static str,
    /// At most this many milliseconds.
    limit: f64,
    /// At most this ratio to the other verifier's time.
    ratio_limit: Option<f64>,
    subjects: fn(&Folder) -> Subjects,
}

const KINDS: [Kind; 5] = [
    Kind { name: "sgx", limit: 1.5, ratio_limit: Some(1.0), subjects: intel::sgx },
    Kind { name: "tdx", limit: 1.5, ratio_limit: Some(1.0), subjects: intel::tdx },
    Kind { name: "snp", limit: 1.5, ratio_limit: Some(1.0), subjects: snp::subjects },
    Kind { name: "nitro", limit: 3.0, ratio_limit: None, subjects: nitro::subjects },
    Kind { name: "tpm", limit: 0.3, ratio_limit: None, subjects: tpm::subjects },
];
const ROUNDS: usize = 60;

/// A kind's measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which kind.
    pub kind: &'static str,
    /// How many subjects were timed.
    pub subjects: usize,
    /// The slowest subject of ours, in milliseconds.
    pub ours: f64,
    /// The slowest subject of theirs.
    pub theirs: Option<f64>,
    /// The sum of ours by the sum of theirs.
    pub ratio: Option<f64>,
    /// At most this many milliseconds.
    pub limit: f64,
    /// At most this ratio.
    pub ratio_limit: Option<f64>,
}

impl Row {
    /// Whether both limits are kept.
    pub fn is_within(&self) -> bool {
        let ratio = self.ratio.zip(self.ratio_limit).is_none_or(|(ratio, limit)| ratio <= limit);
        ratio && self.ours <= self.limit
    }
}

/// Measures, prints the table, and says whether every limit is kept.
///
/// # Errors
/// In words, when a case cannot be read or none could be timed.
pub fn run(folder: &Folder) -> Result<bool, String> {
    if cfg!(debug_assertions) {
        println!("this build is not optimised: its times say nothing");
    }
    println!(
        "{:<8}{:>9}{:>12}{:>12}{:>8}{:>14}{:>8}",
        "kind", "subjects", "ours ms", "theirs ms", "ratio", "limits: ms", "ratio"
    );
    let mut within = true;
    for kind in KINDS {
        let row = measure(folder, &kind)?;
        let told =
            |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
        let (theirs, ratio, ratio_limit) = (told(row.theirs, 3), told(row.ratio, 3), told(row.ratio_limit, 1));
        let verdict = if row.is_within() { "" } else { "  over" };
        println!(
            "{:<8}{:>9}{:>12.3}{theirs:>12}{ratio:>8}{:>14.1}{ratio_limit:>8}{verdict}",
            row.kind, row.subjects, row.ours, row.limit
        );
        within &= row.is_within();
    }
    Ok(within)
}

fn measure(folder: &Folder, kind: &Kind) -> Result<Row, String> {
    let subjects = (kind.subjects)(folder)?;
    let (mut slowest, mut sums) = ((0.0_f64, 0.0_f64), (0.0, 0.0));
    let mut compared = false;
    for subject in &subjects {
        let (mut ours, mut theirs) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
        for _ in 0..ROUNDS {
            ours.push(timed(|| Some(subject.ours()))?);
            theirs.push(timed(|| subject.theirs())?);
        }
        compared |= theirs.iter().any(Option::is_some);
        let (ours, theirs) = (median(ours), median(theirs));
        slowest = (slowest.0.max(ours), slowest.1.max(theirs));
        sums = (sums.0 + ours, sums.1 + theirs);
    }
    if subjects.is_empty() {
        return Err(format!("no case of the kind `{}` can be timed", kind.name));
    }
    Ok(Row {
        kind: kind.name,
        subjects: subjects.len(),
        ours: slowest.0,
        theirs: compared.then_some(slowest.1),
        ratio: compared.then_some(sums.0 / sums.1),
        limit: kind.limit,
        ratio_limit: kind.ratio_limit,
    })
}

/// The cases of a kind whose Evidence is expected to be accepted.
fn accepted<'a>(folder: &'a Folder, kind: &'a str) -> impl Iterator<Item = &'a Case> {
    let accepted = |case: &Case| matches!(case.expects("result"), Some("accept" | "accept-conditional"));
    folder.cases().iter().filter(move |case| case.kind == kind && accepted(case))
}

/// A policy that this Evidence just meets.
fn policy(genuine: &Genuine) -> PlatformPolicy {
    let pinned = |register: &attest::platform::Register| (register.name.clone(), [hex::encode(&register.value)].into());
    PlatformPolicy {
        tier_floor: genuine.tier(),
        admits: ["affirmed", "conditional", "revocation-unknown"].map(str::to_owned).into(),
        hardware: HardwareIds::Any,
        measurements: genuine.registers().iter().take(1).map(pinned).collect(),
    }
}

/// The second half of an appraisal.
fn appraise(genuine: Genuine, bound: &[u8], policy: &PlatformPolicy) -> Result<(), String> {
    genuine.appraise(bound, policy).map(drop).map_err(|error| error.to_string())
}

fn timed(work: impl FnOnce() -> Option<Result<(), String>>) -> Result<Option<Duration>, String> {
    let start = spent()?;
    let done = work();
    let elapsed = spent()?.saturating_sub(start);
    done.transpose().map(|done| done.map(|()| elapsed))
}

/// This thread's time on the processor.
fn spent() -> Result<Duration, String> {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))
        .map_err(|_| "the clock is before its beginning".to_owned())
}

/// In milliseconds.
fn median(times: Vec<Option<Duration>>) -> f64 {
    let mut times: Vec<Duration> = times.into_iter().flatten().collect();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
