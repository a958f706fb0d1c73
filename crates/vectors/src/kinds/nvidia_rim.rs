//! Cases of the kind `nvidia-rim`.

use attest::{
    nvidia::{Rim, Statements},
    platform::Assurance,
    roots::Authority,
};

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let anchors = case.anchors(Authority::NvidiaRim.anchors())?;
    match Rim::verify(&case.need("rim")?, &anchors, &Statements::default(), case.now()) {
        Ok(rim) => Ok(Report::accepted(Assurance::Affirmed, rim.claims())),
        Err(error) => Ok(Report::refused(&error)),
    }
}
