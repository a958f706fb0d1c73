//! Reports of SEV-SNP with their certificates, beside `sev`.

use attest::{
    certificate::{Certificate, TrustAnchor},
    snp::anchors,
};
use vectors::{Case, Folder, comparison::Sev, kinds::snp::Input};

use super::{
    Bases, Judged, Verdict,
    mutation::{Random, change},
};

pub struct Reports {
    bases: Vec<(String, Input)>,
    anchors: Vec<TrustAnchor>,
}

impl Reports {
    pub fn of(folder: &Folder) -> Reports {
        let anchors = anchors();
        let bases = folder.cases().iter().filter_map(|case| Some((case.id.clone(), base(case, &anchors)?)));
        Reports { bases: bases.collect(), anchors }
    }

    fn other(&self, random: &mut Random) -> &Input {
        &self.bases[random.below(self.bases.len())].1
    }
}

impl Bases for Reports {
    fn verifier(&self) -> &'static str {
        "sev"
    }

    fn count(&self) -> usize {
        self.bases.len()
    }

    fn judge(&self, random: &mut Random) -> Judged {
        let (id, input) = &self.bases[random.below(self.bases.len())];
        let (mut mutant, other) = (input.clone(), self.other(random));
        let mutation = match random.below(10) {
            0..=3 => format!("report {}", change(&mut mutant.report, &other.report, random)),
            part => {
                let (name, slot, others) = match part {
                    4..=6 => ("key", &mut mutant.key, &other.key),
                    _ => ("chain", &mut mutant.chain, &other.chain),
                };
                let (slot, others) = (slot.as_mut().unwrap(), others.as_ref().unwrap());
                let how = if random.below(6) == 0 {
                    slot.clone_from(others);
                    "of another".to_owned()
                } else {
                    change(slot, others, random)
                };
                format!("{name} {how}")
            }
        };
        Judged { base: id.clone(), mutation, ours: ours(&mutant, &self.anchors), theirs: theirs(&mutant) }
    }
}

/// A case that both accept, its certificates in DER, so that a mutation meets a certificate and not the spelling of one.
fn base(case: &Case, anchors: &[TrustAnchor]) -> Option<Input> {
    if case.kind != "snp" || !case.has("report") {
        return None;
    }
    let mut input = Input::of(case).unwrap();
    for bundle in [&mut input.key, &mut input.chain] {
        *bundle = Some(Certificate::split(bundle.as_deref()?).unwrap().concat());
    }
    ours(&input, anchors).ok()?;
    theirs(&input).ok()?;
    Some(input)
}

fn ours(input: &Input, anchors: &[TrustAnchor]) -> Verdict {
    input.examine(anchors).map(|_| 0).map_err(|error| error.to_string())
}

fn theirs(input: &Input) -> Verdict {
    Sev::prepare(input).ok_or("cannot be prepared")?.verify().map(|()| 0)
}
