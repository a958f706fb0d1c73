//! Evidence of any platform as files by role, and the one place that hands them to the platform's examination.
//!
//! The roles are those of `docs/spec/platforms/`. A role that the platform does not know is refused, so that nothing travels along
//! unread; a role that is missing is refused by name or lowers the assurance, as the platform says.

use envelope::text::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Genuine, Platform, Refusal};
use crate::{HardwareEvidence, certificate::TrustAnchor};

/// Which authorities count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anchors {
    /// The makers' own, which ship inside ([`crate::roots`]).
    Makers,
    /// These certificates (DER) and no others. An empty list trusts nobody.
    Pinned(Vec<Bytes>),
}

/// Why an examination refused, as far as it can be told alike for all platforms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HardwareFault {
    /// A role that the platform does not have.
    #[error("`{role}` is no part of {platform} Evidence")]
    UnknownRole {
        /// Whose Evidence it is.
        platform: Platform,
        /// At most 40 characters of the role.
        role: String,
    },
    /// A part without which there is nothing to examine.
    #[error("{platform} Evidence needs the part `{role}`")]
    MissingRole {
        /// Whose Evidence it is.
        platform: Platform,
        /// The role.
        role: &'static str,
    },
    /// A pinned authority that is no certificate.
    #[error("a pinned authority cannot be read as a certificate")]
    Anchor,
    /// A platform whose Evidence cannot carry what must be bound into it together with a TPM's.
    #[error("{0} Evidence cannot stand beside a TPM's")]
    NotSupported(Platform),
    /// The platform's examination refused it.
    #[error("the {platform} Evidence is refused at its step {step} ({code}): {words}")]
    Refused {
        /// Whose Evidence it is.
        platform: Platform,
        /// The step of the platform's list.
        step: u8,
        /// The reason.
        code: &'static str,
        /// The message, with its sources.
        words: String,
    },
}

/// Examines the Evidence of the platform that its label names.
///
/// # Errors
/// [`HardwareFault`].
pub fn examine(evidence: &HardwareEvidence, anchors: &Anchors, now: Timestamp) -> Result<Genuine, HardwareFault> {
    let _ = (anchors.pinned()?, now);
    Err(HardwareFault::NotSupported(evidence.platform))
}

impl Anchors {
    /// The pinned authorities; `None` for the makers' own.
    fn pinned(&self) -> Result<Option<Vec<TrustAnchor>>, HardwareFault> {
        match self {
            Anchors::Makers => Ok(None),
            Anchors::Pinned(certificates) => {
                let anchors = certificates.iter().map(|certificate| TrustAnchor::pin(&certificate.0));
                anchors.collect::<Result<_, _>>().map(Some).map_err(|_| HardwareFault::Anchor)
            }
        }
    }
}

impl HardwareFault {
    /// What a platform's refusal says, in the form that is alike for all.
    pub fn refused(platform: Platform, refusal: &dyn Refusal) -> HardwareFault {
        let mut words = refusal.to_string();
        let mut source = refusal.source();
        while let Some(error) = source {
            words.push_str(": ");
            words.push_str(&error.to_string());
            source = error.source();
        }
        HardwareFault::Refused { platform, step: refusal.step(), code: refusal.code(), words }
    }
}
