//! Reports of SEV-SNP with their certificates, beside `sev`.

use attest::{certificate::TrustAnchor, snp::anchors};
use jiff::Timestamp;
use vectors::{Case, Folder, comparison::Sev, kinds::snp::Input};

use super::{
    Bases, Judged, Verdict,
    mutation::{Random, change},
};

pub struct Reports {
    bases: Vec<Base>,
    anchors: Vec<TrustAnchor>,
}

/// A case that both accept, its certificates in DER, so that a mutation meets a certificate and not the spelling of one.
struct Base {
    id: String,
    parts: [Vec<u8>; 4],
    now: Timestamp,
}

/// What a base consists of. A mutation is named by them.
const PARTS: [&str; 4] = ["report", "key", "intermediate", "root"];

impl Reports {
    pub fn of(folder: &Folder) -> Reports {
        let anchors = anchors();
        let bases = folder.cases().iter().filter_map(|case| base(case, &anchors)).collect();
        Reports { bases, anchors }
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
        let [base, other] = [random.below(self.bases.len()), random.below(self.bases.len())].map(|at| &self.bases[at]);
        let mut parts = base.parts.clone();
        let at = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3][random.below(10)];
        let how = if at > 0 && random.below(6) == 0 {
            parts[at].clone_from(&other.parts[at]);
            "of another".to_owned()
        } else {
            change(&mut parts[at], &other.parts[at], random)
        };
        let input = mutant(parts, base.now);
        Judged {
            base: base.id.clone(),
            mutation: format!("{} {how}", PARTS[at]),
            ours: ours(&input, &self.anchors),
            theirs: theirs(&input),
        }
    }
}

fn base(case: &Case, anchors: &[TrustAnchor]) -> Option<Base> {
    if case.kind != "snp" || !case.has("report") {
        return None;
    }
    let input = Input::of(case).unwrap();
    let ([key, intermediate, root], now) = (input.certificates()?, input.now);
    let base = Base { id: case.id.clone(), parts: [input.report, key, intermediate, root], now };
    let input = mutant(base.parts.clone(), now);
    ours(&input, anchors).ok()?;
    theirs(&input).ok()?;
    Some(base)
}

fn mutant([report, key, intermediate, root]: [Vec<u8>; 4], now: Timestamp) -> Input {
    Input { report, key: Some(key), chain: Some([intermediate, root].concat()), list: None, now }
}

fn ours(input: &Input, anchors: &[TrustAnchor]) -> Verdict {
    input.examine(anchors).map(|_| 0).map_err(|error| error.to_string())
}

fn theirs(input: &Input) -> Verdict {
    Sev::prepare(input).ok_or("cannot be prepared")?.verify().map(|()| 0)
}
