//! Cases of the kind `nvidia-gpu`.

use attest::{
    nvidia::{self, DeviceEvidence, Endorsements, Kind, References, Rim, Statements},
    platform::{Genuine, HardwareIds, PlatformPolicy},
    roots::Authority,
};

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    examine(case, Kind::Gpu)
}

/// A device, compared with those manifests that the case has, and held against the nonce that it expects.
pub(super) fn examine(case: &Case, kind: Kind) -> Result<Report, String> {
    let mut manifests = Vec::new();
    for role in ["driver_rim", "vbios_rim"] {
        let Some(xml) = case.file(role)? else { continue };
        match Rim::verify(&xml, &Authority::NvidiaRim.anchors(), &Statements::default(), case.now()) {
            Ok(rim) => manifests.push(rim),
            Err(error) => return Ok(Report::refused(&error)),
        }
    }
    let references = if manifests.is_empty() { References::Policy } else { References::Manifests(&manifests) };
    let anchors = match case.custom_anchor()? {
        Some(anchor) => vec![anchor],
        None => Authority::NvidiaDevice.anchors(),
    };
    let endorsements = Endorsements { anchors, revocation: Statements::default(), references };
    let evidence = DeviceEvidence { report: case.need("report")?, certificates: case.need("cert_chain")? };
    let genuine = match nvidia::examine(kind, &evidence, &endorsements, case.now()) {
        Ok(genuine) => genuine,
        Err(error) => return Ok(Report::refused(&error)),
    };
    let Some(nonce) = case.asks("expected_nonce").or_else(|| case.asks("nonce")) else {
        return Ok(Report::genuine(&genuine));
    };
    let nonce = hex::decode(nonce).map_err(|error| error.to_string())?;
    let report = Report::genuine(&genuine);
    let policy = own_measurement(&genuine);
    match genuine.appraise(&nonce, &policy) {
        Ok(_) => Ok(report),
        Err(unfit) => Ok(Report::coded(unfit.code(), unfit.to_string(), false)),
    }
}

/// A policy that lists what the device measured first: the case asks for a nonce and for nothing else.
fn own_measurement(genuine: &Genuine) -> PlatformPolicy {
    let registers = genuine.registers().iter().take(1);
    PlatformPolicy {
        tier_floor: attest::Tier::Tpm,
        admits: ["affirmed", "revocation-unknown"].map(str::to_owned).into(),
        hardware: HardwareIds::Any,
        measurements: registers
            .map(|register| (register.name.clone(), std::iter::once(hex::encode(&register.value)).collect()))
            .collect(),
    }
}
