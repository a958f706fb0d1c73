//! Quotes of SGX and TDX with their collateral, beside `dcap-qvl`.

use attest::{
    intel::{sgx, tdx},
    platform::{Assurance, TcbStatus},
};
use jiff::{SignedDuration, Timestamp};
use vectors::{Case, Folder, comparison::DcapQvl, kinds::intel::Input};

use super::{
    Bases, Judged, Verdict,
    mutation::{Random, change, digit},
};

pub struct Quotes(Vec<Base>);

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

impl Quotes {
    pub fn of(folder: &Folder) -> Quotes {
        Quotes(folder.cases().iter().filter_map(base).collect())
    }
}

impl Bases for Quotes {
    fn verifier(&self) -> &'static str {
        "dcap-qvl"
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    fn judge(&self, random: &mut Random) -> Judged {
        let base = &self.0[random.below(self.0.len())];
        let mutant = mutate(base, &self.0, random);
        Judged {
            base: base.id.clone(),
            ours: ours(&base.kind, &mutant.input),
            theirs: theirs(base, &mutant.input, mutant.crl_chain.as_deref()),
            mutation: mutant.name,
        }
    }
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
    ours(&base.kind, &base.input).ok()?;
    theirs(&base, &base.input, base.crl_chain.as_deref()).ok()?;
    Some(base)
}

/// Ours, where it is as much as theirs would accept.
fn ours(kind: &str, input: &Input) -> Verdict {
    let examine = if kind == "sgx" { sgx::examine } else { tdx::examine };
    let genuine = examine(&input.quote, &input.endorsements(), &input.anchors, &input.rules(), input.now);
    match genuine.map_err(|error| error.to_string())?.assurance() {
        accepted @ (Assurance::Affirmed | Assurance::Conditional(_) | Assurance::OutOfDate(_)) => Ok(rank(accepted)),
        other => Err(other.name().to_owned()),
    }
}

fn theirs(base: &Base, input: &Input, crl_chain: Option<&[u8]>) -> Verdict {
    let verifier = DcapQvl::prepare(input, base.root.as_deref(), crl_chain).ok_or("cannot be prepared")?;
    verifier.verify(&input.quote).map(|status| theirs_rank(&status))
}

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
