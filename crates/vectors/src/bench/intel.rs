//! Quotes of SGX and TDX, beside `dcap-qvl`.

use attest::{intel, platform::PlatformPolicy};

use super::{Subject, Subjects, accepted, appraise, policy};
use crate::{
    Case, Folder,
    kinds::intel::{Examine, Input},
};

pub(super) fn sgx(folder: &Folder) -> Subjects {
    subjects(folder, "sgx", intel::sgx::examine)
}

pub(super) fn tdx(folder: &Folder) -> Subjects {
    subjects(folder, "tdx", intel::tdx::examine)
}

fn subjects(folder: &Folder, kind: &str, examine: Examine) -> Subjects {
    let subjects = accepted(folder, kind).filter_map(|case| Quote::of(case, examine).transpose());
    subjects.map(|subject| subject.map(|subject| Box::new(subject) as Box<dyn Subject>)).collect()
}

struct Quote {
    input: Input,
    examine: Examine,
    bound: Vec<u8>,
    policy: PlatformPolicy,
    #[cfg(feature = "comparison")]
    other: crate::comparison::DcapQvl,
}

impl Quote {
    /// `None` where the case is not one that both can accept.
    fn of(case: &Case, examine: Examine) -> Result<Option<Quote>, String> {
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
        Ok(Some(Quote {
            bound: genuine.bound().to_vec(),
            policy: policy(&genuine),
            input,
            examine,
            #[cfg(feature = "comparison")]
            other,
        }))
    }
}

impl Subject for Quote {
    fn ours(&self) -> Result<(), String> {
        let input = &self.input;
        let genuine = (self.examine)(&input.quote, &input.endorsements(), &input.anchors, &input.rules(), input.now);
        appraise(genuine.map_err(|error| error.to_string())?, &self.bound, &self.policy)
    }

    #[cfg(feature = "comparison")]
    fn theirs(&self) -> Option<Result<(), String>> {
        Some(self.other.verify(&self.input.quote).map(drop))
    }
}
