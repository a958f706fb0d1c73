//! How long a full appraisal takes: Endorsements in memory, one thread, beside the same work by another verifier.
//!
//! Per kind, each accepted case is appraised in turn by ours and theirs, so that a busy machine slows both alike; the time of a case is the median of
//! its rounds, the row shows the slowest case and the ratio of the sums. A new platform is one more entry of `KINDS` and one of
//! `Subject::of`. Measure an optimised build; without the feature `comparison` only ours is timed.

use std::time::{Duration, Instant};

use attest::{
    intel,
    platform::{Genuine, HardwareIds, PlatformPolicy},
};

use crate::{Case, Folder, kinds::intel::Input};

/// The kinds that are timed, each with its limit in milliseconds and its limit as a ratio to the other verifier's time.
/// SNP (1.5 ms, beside `sev`), Nitro (3 ms) and TPM quotes on P-256 (0.3 ms) belong here.
const KINDS: [(&str, f64, f64); 2] = [("sgx", 1.5, 1.0), ("tdx", 1.5, 1.0)];
const ROUNDS: usize = 60;

/// A kind's measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which kind.
    pub kind: &'static str,
    /// How many cases were timed.
    pub cases: usize,
    /// The slowest case of ours, in milliseconds.
    pub ours: f64,
    /// The slowest case of theirs.
    pub theirs: Option<f64>,
    /// The sum of ours by the sum of theirs.
    pub ratio: Option<f64>,
    /// At most this many milliseconds.
    pub limit: f64,
    /// At most this ratio.
    pub ratio_limit: f64,
}

impl Row {
    /// Whether both limits are kept.
    pub fn is_within(&self) -> bool {
        self.ours <= self.limit && self.ratio.is_none_or(|ratio| ratio <= self.ratio_limit)
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
        "{:<8}{:>7}{:>12}{:>12}{:>8}{:>14}{:>8}",
        "kind", "cases", "ours ms", "theirs ms", "ratio", "limits: ms", "ratio"
    );
    let mut within = true;
    for (kind, limit, ratio_limit) in KINDS {
        let row = measure(folder, kind, limit, ratio_limit)?;
        let told = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        let (theirs, ratio) = (told(row.theirs), told(row.ratio));
        let verdict = if row.is_within() { "" } else { "  over" };
        println!(
            "{:<8}{:>7}{:>12.3}{theirs:>12}{ratio:>8}{:>14.1}{:>8.1}{verdict}",
            row.kind, row.cases, row.ours, row.limit, row.ratio_limit
        );
        within &= row.is_within();
    }
    Ok(within)
}

fn measure(folder: &Folder, kind: &'static str, limit: f64, ratio_limit: f64) -> Result<Row, String> {
    let (mut cases, mut slowest, mut sums) = (0, (0.0_f64, 0.0_f64), (0.0, 0.0));
    let accepted =
        |case: &&Case| case.kind == kind && matches!(case.expects("result"), Some("accept" | "accept-conditional"));
    for case in folder.cases().iter().filter(accepted) {
        let Some(subject) = Subject::of(case)? else { continue };
        let (mut ours, mut theirs) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
        for _ in 0..ROUNDS {
            ours.push(timed(|| subject.ours())?);
            theirs.push(timed(|| subject.theirs())?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        cases += 1;
        slowest = (slowest.0.max(ours), slowest.1.max(theirs));
        sums = (sums.0 + ours, sums.1 + theirs);
    }
    if cases == 0 {
        return Err(format!("no case of the kind `{kind}` can be timed"));
    }
    let compared = cfg!(feature = "comparison");
    Ok(Row {
        kind,
        cases,
        ours: slowest.0,
        theirs: compared.then_some(slowest.1),
        ratio: compared.then_some(sums.0 / sums.1),
        limit,
        ratio_limit,
    })
}

/// A case with all that its appraisal needs, in memory.
struct Subject {
    input: Input,
    examine: crate::kinds::intel::Examine,
    bound: Vec<u8>,
    policy: PlatformPolicy,
    #[cfg(feature = "comparison")]
    other: crate::comparison::DcapQvl,
}

impl Subject {
    /// `None` where the case is not one that both can accept.
    fn of(case: &Case) -> Result<Option<Subject>, String> {
        let examine = match case.kind.as_str() {
            "sgx" => intel::sgx::examine,
            "tdx" => intel::tdx::examine,
            other => return Err(format!("the kind `{other}` is not timed")),
        };
        let input = Input::of(case)?;
        if input.pck_crl.is_none() || input.tcb_info.is_none() {
            return Ok(None);
        }
        #[cfg(feature = "comparison")]
        let other = match crate::comparison::DcapQvl::of(case, &input)? {
            Some(other) if other.verify(&input.quote).is_ok() => other,
            _ => return Ok(None),
        };
        let genuine = examine(&input.quote, &input.endorsements(), &input.anchors, &input.rules(), input.now);
        let genuine = genuine.map_err(|error| format!("{}: {error}", case.id))?;
        let policy = PlatformPolicy {
            tier_floor: genuine.tier(),
            admits: ["affirmed", "conditional"].map(str::to_owned).into(),
            hardware: HardwareIds::Any,
            measurements: genuine.registers().iter().take(1).map(pinned).collect(),
        };
        let bound = genuine.bound().to_vec();
        Ok(Some(Subject {
            input,
            examine,
            bound,
            policy,
            #[cfg(feature = "comparison")]
            other,
        }))
    }

    fn ours(&self) -> Result<(), String> {
        let input = &self.input;
        let genuine = (self.examine)(&input.quote, &input.endorsements(), &input.anchors, &input.rules(), input.now);
        let appraise =
            |genuine: Genuine| genuine.appraise(&self.bound, &self.policy).map_err(|error| error.to_string());
        genuine.map_err(|error| error.to_string()).and_then(appraise).map(drop)
    }

    #[cfg(feature = "comparison")]
    fn theirs(&self) -> Result<(), String> {
        self.other.verify(&self.input.quote).map(drop)
    }

    #[cfg(not(feature = "comparison"))]
    fn theirs(&self) -> Result<(), String> {
        Ok(())
    }
}

fn pinned(register: &attest::platform::Register) -> (String, std::collections::BTreeSet<String>) {
    (register.name.clone(), [hex::encode(&register.value)].into())
}

fn timed(work: impl FnOnce() -> Result<(), String>) -> Result<Duration, String> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
