//! The endorsement key's certificate: who says that a key lives in a TPM, and in what kind of TPM (steps 4 and 5).
//!
//! Path validation is `webpki`'s, to the roots that the policy pins and to no others, with the key usage of endorsement keys (TCG EK
//! Credential Profile, section 3.2.16). Deliberately absent: system trust stores, fetching of issuers, names of hosts, and revocation
//! lists, which few makers of TPMs publish; a policy revokes an endorsement key by no longer listing it.

use envelope::text::Bytes;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509Certificate},
};

use crate::{
    AppraisalError, AppraisalPolicy, ChainFault, EndorsementKeys, Tier, TpmPolicy,
    tpm::{EkPublic, PublicKey},
};

/// Checks the certificate chain of an endorsement key (leaf first) against a policy and returns the tier.
pub(super) fn appraise_endorsement(
    key: &EkPublic,
    certificates: &[Bytes],
    policy: &AppraisalPolicy,
    now: Timestamp,
) -> Result<Tier, AppraisalError> {
    // A TPM in software may stand unlisted only where hardware reports on the same exchange (step 16).
    let inside_hardware = !policy.hardware().is_empty();
    let policy = policy.tpm();
    let (leaf, intermediates) = certificates.split_first().ok_or(AppraisalError::Certificate)?;
    if intermediates.len() > MAX_INTERMEDIATES {
        return Err(AppraisalError::Certificate);
    }
    let (rest, certificate) = X509Certificate::from_der(&leaf.0).map_err(|_| AppraisalError::Certificate)?;
    if !rest.is_empty() {
        return Err(AppraisalError::Certificate);
    }
    if !key.public().key().matches(certificate.public_key()) {
        return Err(AppraisalError::CertificateKey);
    }
    check_key_usage(&certificate, key.public().key())?;
    let claimed = chain(leaf, intermediates, policy, now).map_err(AppraisalError::Chain)?;
    let tier = if is_software(&certificate) { Tier::SoftwareTpm } else { claimed };
    match &policy.endorsement_keys {
        EndorsementKeys::Any if tier == Tier::SoftwareTpm && !inside_hardware => {
            Err(AppraisalError::SoftwareTpmNotListed)
        }
        EndorsementKeys::Any => Ok(tier),
        EndorsementKeys::Listed(listed) if listed.contains(&key.digest()) => Ok(tier),
        EndorsementKeys::Listed(_) => Err(AppraisalError::EndorsementKeyNotListed(key.digest())),
    }
}

/// The weakest tier among the pinned roots to which the chain leads: a root pinned twice gains nothing.
fn chain(leaf: &Bytes, intermediates: &[Bytes], policy: &TpmPolicy, now: Timestamp) -> Result<Tier, ChainFault> {
    let leaf = CertificateDer::from(leaf.0.as_slice());
    let leaf = EndEntityCert::try_from(&leaf).map_err(fault)?;
    let intermediates: Vec<_> = intermediates.iter().map(|der| CertificateDer::from(der.0.as_slice())).collect();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let mut found: Option<Tier> = None;
    let mut first_fault = ChainFault::UnknownIssuer;
    for (anchor, tier) in policy.anchors() {
        let anchors = [anchor];
        // The leaf must have the usage, which was checked; issuers need not repeat it, and swtpm's does not.
        let usage = KeyUsage::required_if_present(EK_CERTIFICATE_USAGE);
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        match leaf.verify_for_usage(algorithms, &anchors, &intermediates, time, usage, None, None) {
            Ok(_) => found = Some(found.map_or(tier, |other| other.min(tier))),
            Err(error) => {
                let error = fault(error);
                if first_fault == ChainFault::UnknownIssuer {
                    first_fault = error;
                }
            }
        }
    }
    found.ok_or(first_fault)
}

fn check_key_usage(certificate: &X509Certificate<'_>, key: &PublicKey) -> Result<(), AppraisalError> {
    let usage = certificate.key_usage().map_err(|_| AppraisalError::Certificate)?;
    let meant = usage.is_none_or(|usage| match key {
        PublicKey::Rsa { .. } => usage.value.key_encipherment(),
        PublicKey::Ecc { .. } => usage.value.key_agreement(),
    });
    let extended = certificate.extended_key_usage().map_err(|_| AppraisalError::Certificate)?;
    let certifies = extended
        .is_some_and(|usage| usage.value.other.iter().any(|oid| oid.to_id_string() == EK_CERTIFICATE_USAGE_TEXT));
    if meant && certifies { Ok(()) } else { Err(AppraisalError::Chain(ChainFault::Usage)) }
}

/// Whether the certificate itself says that its TPM is swtpm (subject alternative name, TCG EK Credential Profile section 3.1.2).
/// This can only lower a tier; a certificate that says nothing is as good as the root that the parties pinned.
fn is_software(certificate: &X509Certificate<'_>) -> bool {
    let names = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(name) => Some(&name.general_names),
        _ => None,
    });
    names.flatten().any(|name| match name {
        GeneralName::DirectoryName(name) => name.iter_attributes().any(|attribute| {
            let value = attribute.as_str().unwrap_or_default();
            match attribute.attr_type().to_id_string().as_str() {
                TPM_MANUFACTURER => value.eq_ignore_ascii_case(SWTPM_MANUFACTURER),
                TPM_MODEL => value.to_ascii_lowercase().contains("swtpm"),
                _ => false,
            }
        }),
        _ => false,
    })
}

fn fault(error: Error) -> ChainFault {
    match error {
        Error::UnknownIssuer => ChainFault::UnknownIssuer,
        Error::CertExpired { .. } => ChainFault::Expired,
        Error::CertNotValidYet { .. } => ChainFault::NotYetValid,
        Error::InvalidSignatureForPublicKey => ChainFault::Signature,
        Error::RequiredEkuNotFoundContext(_) | Error::CaUsedAsEndEntity => ChainFault::Usage,
        other => ChainFault::Other(format!("{other:?}")),
    }
}

/// tcg-kp-EKCertificate, 2.23.133.8.1.
const EK_CERTIFICATE_USAGE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
const EK_CERTIFICATE_USAGE_TEXT: &str = "2.23.133.8.1";
const TPM_MANUFACTURER: &str = "2.23.133.2.1";
const TPM_MODEL: &str = "2.23.133.2.2";
/// swtpm states IBM's vendor id.
const SWTPM_MANUFACTURER: &str = "id:00001014";
const MAX_INTERMEDIATES: usize = 8;
