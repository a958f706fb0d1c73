//! Cases of the kind `nvidia-gpu`.

use attest::{
    nvidia::{self, DeviceEvidence, Endorsements, Kind, References, Rim, Statements},
    roots::Authority,
};

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    examine(case, Kind::Gpu)
}

/// A device, compared with those manifests that the case has.
pub(super) fn examine(case: &Case, kind: Kind) -> Result<Report, Stop> {
    let mut manifests = Vec::new();
    for role in ["driver_rim", "vbios_rim"] {
        let Some(xml) = case.file(role)? else { continue };
        match Rim::verify(&xml, &Authority::NvidiaRim.anchors(), &Statements::default(), case.now()) {
            Ok(rim) => manifests.push(rim),
            Err(error) => return Ok(Report::refused(&error)),
        }
    }
    let references = if manifests.is_empty() { References::Policy } else { References::Manifests(&manifests) };
    let anchors = case.anchors(Authority::NvidiaDevice.anchors())?;
    let endorsements = Endorsements { anchors, revocation: Statements::default(), references };
    let evidence = DeviceEvidence {
        report: case.need("report")?,
        // A chain that is missing is refused as one that cannot be read.
        certificates: case.file("cert_chain")?.unwrap_or_default(),
    };
    Ok(match nvidia::examine(kind, &evidence, &endorsements, case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
