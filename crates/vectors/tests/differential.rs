//! Mutants of good Evidence, judged by us and by `dcap-qvl`: what they refuse, we do not accept, unless `differences.toml` says why.
//!
//! The mutants are drawn from a fixed seed; `GLOVEBOX_MUTANTS` says how many (500 by default, 10,000 in `make soak`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use attest::{
    intel::{sgx, tdx},
    platform::{Assurance, TcbStatus},
};
use jiff::{SignedDuration, Timestamp};
use vectors::{Case, Folder, comparison::DcapQvl, default_folder, kinds::intel::Input};

#[derive(serde::Deserialize)]
struct Differences {
    #[serde(default)]
    difference: Vec<Difference>,
}

#[derive(serde::Deserialize)]
struct Difference {
    /// Part of the mutation's name.
    mutation: String,
    /// Part of their message.
    theirs: String,
    /// Why ours is right to accept it.
    why: String,
}

/// A case that both accept, with what theirs needs besides.
struct Base {
    id: String,
    kind: String,
    input: Input,
    root: Option<Vec<u8>>,
    crl_chain: Option<Vec<u8>>,
}

struct Mutant {
    input: Input,
    crl_chain: Option<Vec<u8>>,
    name: String,
}

#[test]
fn no_mutant_that_dcap_qvl_refuses_is_accepted_without_an_explanation() {
    let folder = match Folder::open(&default_folder()) {
        Ok(folder) => folder,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors: {error:?}");
            println!("skipped: no test vectors ({error:?})");
            return;
        }
    };
    let differences: Differences = toml::from_str(include_str!("../differences.toml")).unwrap();
    assert!(differences.difference.iter().all(|difference| difference.why.len() > 40));
    let bases: Vec<Base> = folder.cases().iter().filter_map(base).collect();
    assert!(bases.len() >= 20, "only {} cases", bases.len());
    let count: usize = std::env::var("GLOVEBOX_MUTANTS").map_or(500, |count| count.parse().unwrap());
    let mut random = Random(0x676c_6f76_6562_6f78);
    let mut tally: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut explained: BTreeMap<String, usize> = BTreeMap::new();
    let mut stricter: BTreeMap<String, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for _ in 0..count {
        let base = &bases[random.below(bases.len())];
        let mutant = mutate(base, &bases, &mut random);
        let ours = judged(&base.kind, &mutant.input);
        let theirs = DcapQvl::prepare(&mutant.input, base.root.as_deref(), mutant.crl_chain.as_deref());
        let theirs = theirs.map_or(Err("cannot be prepared".to_owned()), |qvl| qvl.verify(&mutant.input.quote));
        let word = |accepted| if accepted { "accept" } else { "refuse" };
        *tally.entry((word(ours.is_ok()), word(theirs.is_ok()))).or_default() += 1;
        let assurance = match &ours {
            Ok(assurance) => assurance,
            Err(reason) => {
                if theirs.is_ok() {
                    *stricter.entry(reason.lines().next().unwrap_or_default().to_owned()).or_default() += 1;
                }
                continue;
            }
        };
        let problem = match &theirs {
            Err(message) => message.clone(),
            Ok(status) if rank(*assurance) < theirs_rank(status) => format!("weaker: {status}"),
            Ok(_) => continue,
        };
        let known = |difference: &&Difference| {
            mutant.name.contains(&difference.mutation) && problem.contains(&difference.theirs)
        };
        match differences.difference.iter().find(known) {
            Some(difference) => *explained.entry(difference.mutation.clone()).or_default() += 1,
            None => unexplained.push(format!("{}: {}: ours {assurance:?}, theirs {problem}", base.id, mutant.name)),
        }
    }
    println!("{count} mutants of {} cases", bases.len());
    for ((ours, theirs), count) in &tally {
        println!("  we {ours}, they {theirs}: {count}");
    }
    println!("  explained: {explained:?}");
    println!("  where we are stricter: {stricter:#?}");
    assert!(unexplained.is_empty(), "{} without explanation:\n{}", unexplained.len(), unexplained.join("\n"));
}

fn base(case: &Case) -> Option<Base> {
    if !matches!(case.kind.as_str(), "sgx" | "tdx") {
        return None;
    }
    let input = Input::of(case).unwrap();
    let base = Base {
        id: case.id.clone(),
        kind: case.kind.clone(),
        root: case.file("trust_anchor").unwrap(),
        crl_chain: case.file("pck_crl_issuer_chain").unwrap(),
        input,
    };
    judged(&base.kind, &base.input).ok()?;
    let theirs = DcapQvl::prepare(&base.input, base.root.as_deref(), base.crl_chain.as_deref())?;
    theirs.verify(&base.input.quote).ok()?;
    Some(base)
}

/// Ours, where it is as much as theirs would accept.
fn judged(kind: &str, input: &Input) -> Result<Assurance, String> {
    let examine = if kind == "sgx" { sgx::examine } else { tdx::examine };
    let genuine = examine(&input.quote, &input.endorsements(), &input.anchors, &input.rules(), input.now);
    match genuine.map_err(|error| error.to_string())?.assurance() {
        accepted @ (Assurance::Affirmed | Assurance::Conditional(_) | Assurance::OutOfDate(_)) => Ok(accepted),
        other => Err(other.name().to_owned()),
    }
}

/// The higher, the worse.
fn rank(assurance: Assurance) -> u8 {
    match assurance {
        Assurance::Affirmed => 0,
        Assurance::Conditional(TcbStatus::SWHardeningNeeded) => 1,
        Assurance::Conditional(TcbStatus::ConfigurationNeeded) => 2,
        Assurance::Conditional(_) => 3,
        Assurance::OutOfDate(TcbStatus::OutOfDate) => 4,
        _ => 5,
    }
}

fn theirs_rank(status: &str) -> u8 {
    match status {
        "UpToDate" => 0,
        "SWHardeningNeeded" => 1,
        "ConfigurationNeeded" => 2,
        "ConfigurationAndSWHardeningNeeded" => 3,
        "OutOfDate" => 4,
        _ => 5,
    }
}

fn mutate(base: &Base, bases: &[Base], random: &mut Random) -> Mutant {
    let mut mutant = Mutant { input: base.input.clone(), crl_chain: base.crl_chain.clone(), name: String::new() };
    let other = &bases[random.below(bases.len())];
    match random.below(10) {
        0..=3 => mutant.name = format!("quote {}", change(&mut mutant.input.quote, &other.input.quote, random)),
        4 => {
            let seconds = i64::try_from(random.below(800 * 86_400)).unwrap() - 400 * 86_400;
            mutant.input.now = mutant.input.now.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
            mutant.input.now = mutant.input.now.max(Timestamp::UNIX_EPOCH);
            mutant.name = format!("time {seconds}");
        }
        _ => {
            let part = random.below(6);
            let (name, slot, theirs) = match part {
                0 => ("tcb_info", &mut mutant.input.tcb_info, &other.input.tcb_info),
                1 => ("qe_identity", &mut mutant.input.qe_identity, &other.input.qe_identity),
                2 => ("tcb_signing_chain", &mut mutant.input.tcb_signing_chain, &other.input.tcb_signing_chain),
                3 => ("pck_crl", &mut mutant.input.pck_crl, &other.input.pck_crl),
                4 => ("root_ca_crl", &mut mutant.input.root_ca_crl, &other.input.root_ca_crl),
                _ => ("issuer_chain_of_pck_crl", &mut mutant.crl_chain, &other.crl_chain),
            };
            let (slot, theirs) = (slot.as_mut().unwrap(), theirs.as_ref().unwrap());
            let how = match random.below(6) {
                0 => {
                    slot.clone_from(theirs);
                    "of another".to_owned()
                }
                1 if part < 2 => digit(slot, random),
                _ => change(slot, theirs, random),
            };
            mutant.name = format!("{name} {how}");
        }
    }
    mutant
}

/// Changes bytes in one of many ways, and says which.
fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) -> String {
    let at = random.below(bytes.len());
    match random.below(8) {
        0..=3 => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
        4 => {
            let (size, from) = (1 + random.below(64), random.below(bytes.len()));
            for offset in 0..size {
                if at.max(from) + offset < bytes.len() {
                    bytes.swap(at + offset, from + offset);
                }
            }
            format!("swapped {size} bytes at {at} and {from}")
        }
        5 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        6 => {
            let appended = [0, 0x0A, 0x20, 0xFF][random.below(4)];
            bytes.resize(bytes.len() + 1 + random.below(100), appended);
            format!("followed by {appended:#04x}")
        }
        _ => {
            let size = 1 + random.below(600);
            let end = (at + size).min(bytes.len()).min(other.len());
            if at < end {
                bytes[at..end].copy_from_slice(&other[at..end]);
            }
            format!("{size} bytes of another at {at}")
        }
    }
}

/// Changes one digit of a document.
fn digit(text: &mut [u8], random: &mut Random) -> String {
    let places: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
    let at = places[random.below(places.len())];
    text[at] = b'0' + u8::try_from(random.below(10)).unwrap();
    format!("digit at {at}")
}

/// SplitMix64: the same mutants everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}
