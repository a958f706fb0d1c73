//! Reports of SEV-SNP, beside `sev`.

use std::collections::BTreeSet;

use attest::{
    certificate::TrustAnchor,
    platform::PlatformPolicy,
    snp::{SigningKey, SnpGenuine, SnpPolicy, Tcb, anchors},
};

use super::{Subject, Subjects, accepted, appraise, policy};
use crate::{Case, Folder, kinds::snp::Input};

pub(super) fn subjects(folder: &Folder) -> Subjects {
    let reports = accepted(folder, "snp").filter(|case| case.has("report"));
    let subjects = reports.filter_map(|case| Report::of(case).transpose());
    subjects.map(|subject| subject.map(|subject| Box::new(subject) as Box<dyn Subject>)).collect()
}

struct Report {
    input: Input,
    anchors: Vec<TrustAnchor>,
    admits: SnpPolicy,
    bound: Vec<u8>,
    policy: PlatformPolicy,
    #[cfg(feature = "comparison")]
    other: crate::comparison::Sev,
}

impl Report {
    /// `None` where the case is not one that both can accept.
    fn of(case: &Case) -> Result<Option<Report>, String> {
        let (input, anchors) = (Input::of(case)?, anchors());
        #[cfg(feature = "comparison")]
        let other = match crate::comparison::Sev::prepare(&input) {
            Some(other) if other.verify().is_ok() => other,
            _ => return Ok(None),
        };
        let genuine = input.examine(&anchors).map_err(|error| format!("{}: {error}", case.id))?;
        let admits = lenient(&genuine);
        // What no policy admits is no subject of a whole appraisal.
        let Ok(genuine) = genuine.admit(&admits) else { return Ok(None) };
        Ok(Some(Report {
            bound: genuine.bound().to_vec(),
            policy: policy(&genuine),
            input,
            anchors,
            admits,
            #[cfg(feature = "comparison")]
            other,
        }))
    }
}

impl Subject for Report {
    fn ours(&self) -> Result<(), String> {
        let genuine = self.input.examine(&self.anchors).map_err(|error| error.to_string())?;
        let genuine = genuine.admit(&self.admits).map_err(|error| error.to_string())?;
        appraise(genuine, &self.bound, &self.policy)
    }

    #[cfg(feature = "comparison")]
    fn theirs(&self) -> Option<Result<(), String>> {
        Some(self.other.verify())
    }
}

/// A policy that asks for nothing that the report does not have, whatever its age.
fn lenient(genuine: &SnpGenuine) -> SnpPolicy {
    let lowest = Tcb { fmc: None, bootloader: 0, tee: 0, snp: 0, microcode: 0 };
    SnpPolicy {
        generations: BTreeSet::from([genuine.generation()]),
        minimum_tcb: [(genuine.generation(), lowest)].into(),
        vmpl: BTreeSet::from([genuine.report().vmpl]),
        signing_keys: BTreeSet::from([SigningKey::Vcek, SigningKey::Vlek]),
        revocation_list: false,
    }
}
