//! Where Reference Values come from: genuine Evidence, a program's build, or another provider's CoRIM.
//!
//! A party that found the state of a machine good says so in a signed statement ([`attest::reference`]): these registers of this platform, until then.
//! It is the party's word that the state is a good one; Evidence only shows that the state was there, and a build what a machine will measure.

use std::collections::BTreeSet;

use attest::{
    corim::{CorimError, SignedCorim, UnsignedCorim},
    events::RoleName,
    keys::VerificationKey,
    platform::{Genuine, MeasurementRule},
    reference::ReferenceValues,
};
use envelope::{Digest, text::shown};
use jiff::Timestamp;

/// Values with their origin.
pub(crate) struct Source {
    /// The platform's name.
    pub(crate) platform: String,
    /// By register.
    pub(crate) measurements: MeasurementRule,
    /// The digest of what they were taken from.
    pub(crate) evidence: Digest,
    /// When what they were taken from ends, if it says so.
    pub(crate) until: Option<Timestamp>,
}

/// Why a CoRIM gives no values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// It is refused.
    #[error("the CoRIM is refused ({code}): {0}\nhint: name its provider's key with `--corim-key`, and a time at which it holds with `--at`", code = .0.code())]
    Corim(CorimError),
    /// Which class is meant is not clear, or it is not there.
    #[error("name one of the CoRIM's classes with `--class`\nhint: it has {}", if .0.is_empty() { "none" } else { .0 })]
    Class(String),
}

/// Of genuine Evidence, every register.
pub(crate) fn of_evidence(genuine: &Genuine, evidence: Digest) -> Source {
    let value =
        |register: &attest::platform::Register| (register.name.clone(), BTreeSet::from([hex::encode(&register.value)]));
    Source {
        platform: genuine.platform().name().to_owned(),
        measurements: genuine.registers().iter().map(value).collect(),
        evidence,
        until: None,
    }
}

/// Of a program that a launcher will measure before it starts it as this role.
pub(crate) fn of_program(role: &RoleName, program: Digest) -> Source {
    let measurements = ReferenceValues::of_program(role, &program);
    Source { platform: "tpm".to_owned(), measurements, evidence: program, until: None }
}

/// Of one class in a CoRIM that this provider signed and that holds now.
pub(crate) fn of_corim(
    bytes: &[u8],
    provider: VerificationKey,
    class: Option<&str>,
    platform: String,
    now: Timestamp,
) -> Result<Source, ImportError> {
    let signed = SignedCorim::open(bytes, &[provider]).map_err(ImportError::Corim)?;
    let classes = classes(signed.corim());
    let until = signed.corim().not_after;
    let chosen = match (class, classes.iter().next()) {
        (Some(class), _) if classes.contains(class) => class.to_owned(),
        (None, Some(only)) if classes.len() == 1 => only.clone(),
        (Some(_) | None, _) => {
            let listed = classes.iter().map(|class| shown(class, 80)).collect::<Vec<_>>();
            return Err(ImportError::Class(listed.join(", ")));
        }
    };
    let current = signed.current(now).map_err(ImportError::Corim)?;
    let measurements = current.reference_values_of(&chosen);
    Ok(Source { platform, measurements, evidence: Digest::of(bytes), until })
}

/// The classes for which it has values.
fn classes(corim: &UnsignedCorim) -> BTreeSet<String> {
    corim.references.iter().filter_map(|triple| triple.class.clone()).collect()
}

/// Only the registers that are named, each `NAME`, or `NAME=AS` where the document shall call it otherwise; all of them if none is.
///
/// # Errors
/// A name that the source has not.
pub(crate) fn chosen(measurements: &MeasurementRule, named: &[String]) -> Result<MeasurementRule, String> {
    if named.is_empty() {
        return Ok(measurements.clone());
    }
    let one = |text: &String| {
        let (name, called) = text.split_once('=').unwrap_or((text, text));
        let values = measurements.get(name).ok_or_else(|| name.to_owned())?;
        Ok((called.to_owned(), values.clone()))
    };
    named.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_signed_corim_gives_the_values_of_one_class_until_it_ends() {
        let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
        let folder = workspace.join(folder).join("corim/signed-valid-tc");
        let Ok(bytes) = std::fs::read(folder.join("corim.cbor")) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
            return;
        };
        let key = || {
            let jwk = serde_json::from_slice(&std::fs::read(folder.join("signer.jwk")).unwrap()).unwrap();
            VerificationKey::from_jwk(&jwk).unwrap()
        };
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        let import = |class: Option<&str>, time: &str| of_corim(&bytes, key(), class, "psa".to_owned(), at(time));
        let source = import(None, "2025-06-01T00:00:00Z").unwrap();
        assert_eq!(source.measurements.keys().collect::<Vec<_>>(), ["ARoT", "BL", "PRoT"]);
        assert_eq!((source.until, source.evidence), (Some(at("2025-12-31T00:00:00Z")), Digest::of(&bytes)));
        let other = import(Some("00ff"), "2025-06-01T00:00:00Z");
        assert!(matches!(other, Err(ImportError::Class(listed)) if listed.starts_with("acme-implementation-id")));
        let late = import(None, "2026-06-01T00:00:00Z");
        assert!(matches!(late, Err(ImportError::Corim(CorimError::Expired(_)))));
        let forged = [&bytes[..bytes.len() - 1], &[0]].concat();
        let forged = of_corim(&forged, key(), None, "psa".to_owned(), at("2025-06-01T00:00:00Z"));
        assert!(matches!(forged, Err(ImportError::Corim(CorimError::Signature))));
    }

    #[test]
    fn registers_are_chosen_and_called_as_the_document_shall() {
        let source = of_program(&RoleName::try_from("worker").unwrap(), Digest::of(b"a program"));
        assert_eq!(source.measurements.keys().collect::<Vec<_>>(), ["pcr8", "sha384:pcr8"]);
        assert_eq!(chosen(&source.measurements, &[]).unwrap(), source.measurements);
        let renamed = chosen(&source.measurements, &["pcr8=mrtd".to_owned()]).unwrap();
        assert_eq!(renamed["mrtd"], source.measurements["pcr8"]);
        assert_eq!(chosen(&source.measurements, &["pcr9".to_owned()]), Err("pcr9".to_owned()));
    }
}
