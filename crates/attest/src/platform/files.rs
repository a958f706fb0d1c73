//! Evidence of any platform as files by role, and the one place that hands them to the platform's examination.
//!
//! The roles are those of `docs/spec/platforms/`. A role that the platform does not know is refused, so that nothing travels along
//! unread; a role that is missing is refused by name or lowers the assurance, as the platform says.

use envelope::text::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Genuine, Platform, Refusal};
use crate::{
    HardwareEvidence, HardwareRule,
    certificate::TrustAnchor,
    intel::{self, IntelEndorsements, Revocation, Rules},
    roots::Authority,
    snp::{self, SnpEvidence, SnpUnfit},
};

/// Which authorities count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anchors {
    /// The makers' own, which ship inside ([`crate::roots`]).
    Makers,
    /// These certificates (DER) and no others. An empty list trusts nobody. Anybody can make an authority, so what is under one that is not
    /// a maker's own has the tier of software, whatever its Evidence says of hardware.
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
    /// Genuine, and weaker than the policy for SEV-SNP admits.
    #[error("the sev-snp Evidence is not what the policy admits")]
    Snp(#[source] SnpUnfit),
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

/// Examines the Evidence of the platform that its label names, as a rule of an Appraisal Policy asks for it.
///
/// # Errors
/// [`HardwareFault`].
pub fn examine(evidence: &HardwareEvidence, rule: &HardwareRule, now: Timestamp) -> Result<Genuine, HardwareFault> {
    let anchors = rule.anchors.of(evidence.platform)?;
    let genuine = match evidence.platform {
        Platform::SevSnp => {
            let files = Files::of(evidence, &["report", "vcek", "vlek", "cert_chain", "crl"])?;
            let report = SnpEvidence {
                report: files.need("report")?,
                key: files.get("vcek").or(files.get("vlek")),
                chain: files.get("cert_chain"),
                list: files.get("crl"),
            };
            let genuine = snp::examine(&report, &anchors, now)
                .map_err(|refusal| HardwareFault::refused(evidence.platform, &refusal))?;
            genuine.admit(&rule.snp).map_err(HardwareFault::Snp)?
        }
        Platform::Tdx => {
            let files = Files::of(evidence, &TDX_ROLES)?;
            let endorsements = IntelEndorsements {
                pck_chain: files.get("pck_chain"),
                tcb_info: files.get("tcb_info"),
                qe_identity: files.get("qe_identity"),
                tcb_signing_chain: files.get("tcb_signing_chain"),
                qe_identity_signing_chain: files.get("qe_identity_signing_chain"),
                pck_crl: files.get("pck_crl"),
                root_ca_crl: files.get("root_ca_crl"),
            };
            let rules = Rules { evaluation_floor: rule.evaluation_floor, revocation: Revocation::Complete };
            intel::tdx::examine(files.need("quote")?, &endorsements, &anchors, &rules, now)
                .map_err(|refusal| HardwareFault::refused(evidence.platform, &refusal))?
        }
        other => return Err(HardwareFault::NotSupported(other)),
    };
    Ok(if rule.anchors.are_makers(evidence.platform) { genuine } else { genuine.under_strangers() })
}

/// The parts of Evidence, each of a role that the platform has.
struct Files<'a>(&'a HardwareEvidence);

impl<'a> Files<'a> {
    fn of(evidence: &'a HardwareEvidence, roles: &[&str]) -> Result<Files<'a>, HardwareFault> {
        match evidence.files.keys().find(|role| !roles.contains(&role.as_str())) {
            Some(role) => Err(HardwareFault::UnknownRole {
                platform: evidence.platform,
                role: role.chars().filter(|character| !character.is_control()).take(40).collect(),
            }),
            None => Ok(Files(evidence)),
        }
    }

    fn get(&self, role: &str) -> Option<&'a [u8]> {
        self.0.files.get(role).map(|bytes| bytes.0.as_slice())
    }

    fn need(&self, role: &'static str) -> Result<&'a [u8], HardwareFault> {
        self.get(role).ok_or(HardwareFault::MissingRole { platform: self.0.platform, role })
    }
}

impl Anchors {
    /// Whether every authority is one of the platform's maker.
    pub fn are_makers(&self, platform: Platform) -> bool {
        let makers = makers(platform);
        self.of(platform).is_ok_and(|anchors| anchors.iter().all(|anchor| makers.contains(anchor)))
    }

    fn of(&self, platform: Platform) -> Result<Vec<TrustAnchor>, HardwareFault> {
        match self {
            Anchors::Makers => Ok(makers(platform)),
            Anchors::Pinned(certificates) => {
                let anchors = certificates.iter().map(|certificate| TrustAnchor::pin(&certificate.0));
                anchors.collect::<Result<_, _>>().map_err(|_| HardwareFault::Anchor)
            }
        }
    }
}

/// The authorities of a platform's maker; none where its Evidence cannot stand beside a TPM's.
fn makers(platform: Platform) -> Vec<TrustAnchor> {
    match platform {
        Platform::SevSnp => snp::anchors(),
        Platform::Tdx => Authority::IntelSgx.anchors(),
        _ => Vec::new(),
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

const TDX_ROLES: [&str; 8] = [
    "quote",
    "pck_chain",
    "tcb_info",
    "qe_identity",
    "tcb_signing_chain",
    "qe_identity_signing_chain",
    "pck_crl",
    "root_ca_crl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_makers_authorities_are_those_that_ship() {
        assert_eq!(makers(Platform::SevSnp), snp::anchors());
        assert_eq!(makers(Platform::Tdx), Authority::IntelSgx.anchors());
        assert!(!snp::anchors().is_empty() && !Authority::IntelSgx.anchors().is_empty());
        assert!(makers(Platform::Tpm).is_empty());
        for platform in [Platform::SevSnp, Platform::Tdx] {
            assert!(Anchors::Makers.are_makers(platform));
        }
    }

    #[test]
    fn a_strangers_authority_is_no_makers() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
        let stranger = Anchors::Pinned(vec![envelope::text::Bytes(certificate.der().to_vec())]);
        assert!(!stranger.are_makers(Platform::SevSnp) && !stranger.are_makers(Platform::Tdx));
        let nonsense = Anchors::Pinned(vec![envelope::text::Bytes(vec![0x30])]);
        assert!(!nonsense.are_makers(Platform::SevSnp));
    }
}
