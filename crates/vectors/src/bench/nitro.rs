//! Documents of Nitro Enclaves. What others are written in Rust for them does less, so nothing stands beside.
//! Many bind no nonce; these are held against the policy all the same.

use attest::{
    certificate::TrustAnchor,
    nitro::{NitroEvidence, examine},
    platform::PlatformPolicy,
};
use jiff::Timestamp;

use super::{Subject, Subjects, accepted, appraise, policy};
use crate::{Case, Folder, kinds::nitro::anchors};

pub(super) fn subjects(folder: &Folder) -> Subjects {
    accepted(folder, "nitro").map(|case| Ok(Box::new(Document::of(case)?) as Box<dyn Subject>)).collect()
}

struct Document {
    evidence: NitroEvidence,
    anchors: Vec<TrustAnchor>,
    now: Timestamp,
    bound: Vec<u8>,
    policy: PlatformPolicy,
}

impl Document {
    fn of(case: &Case) -> Result<Document, String> {
        let (evidence, anchors) = (NitroEvidence { document: case.need("document")? }, anchors(case)?);
        let now = case.now();
        let genuine = examine(&evidence, &anchors, now).map_err(|error| format!("{}: {error}", case.id))?;
        Ok(Document { bound: genuine.bound().to_vec(), policy: policy(&genuine), evidence, anchors, now })
    }
}

impl Subject for Document {
    fn ours(&self) -> Result<(), String> {
        let genuine = examine(&self.evidence, &self.anchors, self.now).map_err(|error| error.to_string())?;
        if self.bound.is_empty() {
            return genuine.fits(&self.policy).map(drop).map_err(|error| error.to_string());
        }
        appraise(genuine, &self.bound, &self.policy)
    }
}
