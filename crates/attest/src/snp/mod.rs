//! AMD SEV-SNP: attestation reports and the keys that sign them.
//!
//! A report (ATTESTATION_REPORT of the SEV-SNP ABI, publication 56860) is 1,184 bytes, of which the chip's firmware signs the first 672 with its
//! versioned chip key (VCEK) or with a key that AMD loads for a cloud (VLEK). The key's certificate says for which product, chip and
//! security version it holds (publication 57230); AMD's intermediate and root keys of the same generation stand above it.
//!
//! [`examine`] decides whether a report is genuine; [`SnpGenuine::admit`] holds it against an [`SnpPolicy`], whose defaults refuse what is
//! known to be weak: Milan, old firmware, unchecked memory aliases, other privilege levels than 0. Only the second yields what the
//! common appraisal takes. Absent: fetching of keys and lists.

mod key;
mod policy;
mod report;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use jiff::Timestamp;

pub use policy::{SnpPolicy, SnpUnfit};
pub use report::{Report, SigningKey, Tcb};

use crate::{
    Tier,
    certificate::{Certificate, CertificateFault, ChainError, RevocationList, TrustAnchor, check_chain},
    platform::{Assurance, Genuine, Platform, Refusal, Steps, register},
    reader::FormatError,
    roots::Authority,
};

/// A generation of processors, each with a root key of its own. Bergamo and Siena are of Genoa's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// Third generation.
    Milan,
    /// Fourth generation.
    Genoa,
    /// Fifth generation.
    Turin,
}

/// A report with the certificates that vouch for its key. Certificates are DER or PEM.
#[derive(Debug, Clone, Copy)]
pub struct SnpEvidence<'a> {
    /// The report, 1,184 bytes.
    pub report: &'a [u8],
    /// The certificate of the key that signed it: VCEK or VLEK.
    pub key: Option<&'a [u8]>,
    /// AMD's intermediate (ASK or ASVK), and its root (ARK) or not, in any order.
    pub chain: Option<&'a [u8]>,
    /// AMD's list of revoked intermediates, if there is one at hand.
    pub list: Option<&'a [u8]>,
}

/// A genuine report, before any policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpGenuine {
    genuine: Genuine,
    report: Report,
    generation: Generation,
    /// Whether AMD's list was at hand and holds.
    listed: bool,
}

/// Why a report is refused. Numbers are the steps of `docs/spec/platforms/sev-snp.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnpError {
    /// Step 1.
    #[error("the report cannot be read")]
    Malformed(#[source] FormatError),
    /// Step 2: nothing vouches for the key.
    #[error(
        "no certificate of the key that signed the report was given\nhint: fetch it from AMD's key distribution service for this chip and version"
    )]
    EndorsementMissing,
    /// Step 2: a certificate that cannot be read.
    #[error("the certificate of the signing key, or one above it, cannot be read")]
    Certificate(#[source] CertificateFault),
    /// Step 2: a certificate of another kind.
    #[error("the certificate lacks or misstates `{0}`")]
    Extension(&'static str),
    /// Step 3: the chain.
    #[error("the chain of the signing key does not hold")]
    Chain(#[source] ChainError),
    /// Step 3: keys of different generations or kinds.
    #[error("the keys in the chain are of another generation or kind than the signing key")]
    Generation,
    /// Step 4: AMD's list.
    #[error("AMD's revocation list does not hold")]
    List(#[source] CertificateFault),
    /// Step 4.
    #[error("AMD revoked the intermediate key")]
    Revoked,
    /// Step 5.
    #[error("the report says it was signed by another kind of key, or by none")]
    SigningKey,
    /// Step 5.
    #[error("the report's signature does not verify under the key")]
    Signature,
    /// Step 6.
    #[error("the key's certificate is for another chip than the report")]
    Chip,
    /// Step 6.
    #[error("the key's certificate is for another security version than the report states")]
    Version,
    /// Step 6.
    #[error("the report states another product than the key's certificate")]
    Product,
    /// Step 7.
    #[error("the host may debug this machine and read its memory")]
    Debug,
}

impl Refusal for SnpError {
    fn step(&self) -> u8 {
        match self {
            SnpError::Malformed(_) => 1,
            SnpError::EndorsementMissing | SnpError::Certificate(_) | SnpError::Extension(_) => 2,
            SnpError::Chain(_) | SnpError::Generation => 3,
            SnpError::List(_) | SnpError::Revoked => 4,
            SnpError::SigningKey | SnpError::Signature => 5,
            SnpError::Chip | SnpError::Version | SnpError::Product => 6,
            SnpError::Debug => 7,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            SnpError::Malformed(FormatError::Truncated { .. }) => "report-truncated",
            SnpError::Malformed(FormatError::Trailing { .. } | FormatError::TooLarge { .. }) => "report-too-long",
            SnpError::Malformed(FormatError::Value { field: "version", .. }) => "unsupported-version",
            SnpError::Malformed(FormatError::Value { .. }) => "report-malformed",
            SnpError::EndorsementMissing => "endorsement-missing",
            SnpError::Certificate(_) => "endorsement-malformed",
            SnpError::Extension(_) => "endorsement-unfit",
            SnpError::Chain(ChainError { fault: CertificateFault::Untrusted, .. }) => "root-not-trusted",
            SnpError::Chain(ChainError { fault: CertificateFault::Expired, .. }) => "certificate-expired",
            SnpError::Chain(ChainError { fault: CertificateFault::NotYetValid, .. }) => "certificate-not-yet-valid",
            SnpError::Chain(_) => "chain-invalid",
            SnpError::Generation => "chain-of-another-product",
            SnpError::List(CertificateFault::Expired | CertificateFault::NotYetValid) => "crl-not-valid-at-time",
            SnpError::List(_) => "crl-invalid",
            SnpError::Revoked => "ask-revoked",
            SnpError::SigningKey => "signing-key-kind",
            SnpError::Signature => "report-signature-invalid",
            SnpError::Chip => "endorsement-of-another-chip",
            SnpError::Version => "tcb-mismatch",
            SnpError::Product => "product-mismatch",
            SnpError::Debug => "debug-enabled",
        }
    }

    fn is_malformed(&self) -> bool {
        self.step() == 1
    }
}

impl From<FormatError> for SnpError {
    fn from(error: FormatError) -> SnpError {
        SnpError::Malformed(error)
    }
}

/// Examines a report. `anchors` are AMD's root keys, such as [`anchors`].
///
/// # Errors
/// The first step that fails.
pub fn examine(evidence: &SnpEvidence<'_>, anchors: &[TrustAnchor], now: Timestamp) -> Result<SnpGenuine, SnpError> {
    let mut steps = Steps::default();
    let report = Report::parse(evidence.report)?;
    steps.pass(1, format!("the report is of version {} and well formed", report.version));
    let leaf = evidence.key.ok_or(SnpError::EndorsementMissing)?;
    let ders = Certificate::split(leaf).map_err(SnpError::Certificate)?;
    let [leaf] = ders.as_slice() else { return Err(SnpError::Certificate(CertificateFault::Malformed)) };
    let leaf = Certificate::parse(leaf).map_err(SnpError::Certificate)?;
    let key = key::Key::read(&leaf)?;
    steps.pass(2, format!("the signing key is a {} of the product {}", key.kind.name(), key.product));
    let ders = intermediates(evidence.chain)?;
    let mut chain = vec![leaf];
    chain.extend(ordered(&ders)?);
    check_keys(&chain, &key, anchors, now)?;
    steps.pass(3, format!("its chain leads to AMD's root key of {:?}", key.generation));
    match evidence.list {
        Some(list) => {
            check_list(list, chain.get(1), chain.get(2), anchors, now)?;
            steps.pass(4, "AMD has not revoked the intermediate key");
        }
        None => steps.pass(4, "AMD's revocation list was not at hand; a policy may ask for it"),
    }
    let signed_by = chain.first().ok_or(SnpError::EndorsementMissing)?;
    // With MASK_CHIP_KEY the firmware does not sign.
    if report.signing_key != key.kind || report.mask_chip_key {
        return Err(SnpError::SigningKey);
    }
    let verifier = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, signed_by.key_bits());
    if verifier.verify(report.signed(evidence.report)?, &report.signature).is_err() {
        return Err(SnpError::Signature);
    }
    steps.pass(5, "the key signed the report");
    key.check_report(&report)?;
    steps.pass(6, "chip, security version and product are those that the certificate states");
    if report.policy_debug() {
        return Err(SnpError::Debug);
    }
    steps.pass(7, "the host may not debug the machine");
    let listed = evidence.list.is_some();
    let genuine = genuine(&report, &key, listed, steps, now);
    Ok(SnpGenuine { genuine, report, generation: key.generation, listed })
}

/// Whether AMD's intermediate and root keys of a bundle hold at `now`, and the intermediate is not on AMD's list; steps 3 and 4 by themselves.
///
/// # Errors
/// The first step that fails.
pub fn examine_authorities(
    chain: &[u8],
    list: Option<&[u8]>,
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<(), SnpError> {
    let ders = intermediates(Some(chain))?;
    let chain = ordered(&ders)?;
    check_chain(&chain, anchors, now).map_err(SnpError::Chain)?;
    match list {
        Some(list) => check_list(list, chain.first(), chain.get(1), anchors, now),
        None => Ok(()),
    }
}

/// Whether a VCEK's or VLEK's certificate is AMD's; steps 2 and 3 by themselves.
///
/// # Errors
/// The first step that fails.
pub fn examine_key(key: &[u8], chain: &[u8], anchors: &[TrustAnchor], now: Timestamp) -> Result<(), SnpError> {
    let ders = Certificate::split(key).map_err(SnpError::Certificate)?;
    let [leaf] = ders.as_slice() else { return Err(SnpError::Certificate(CertificateFault::Malformed)) };
    let leaf = Certificate::parse(leaf).map_err(SnpError::Certificate)?;
    let key = key::Key::read(&leaf)?;
    let ders = intermediates(Some(chain))?;
    let mut chain = vec![leaf];
    chain.extend(ordered(&ders)?);
    check_keys(&chain, &key, anchors, now)
}

/// The generation that a report is of: as the certificate of its key says, or else as the report says from its third version on. It tells where to
/// look for Endorsements, and nothing to believe.
pub fn claimed_generation(report: &Report, key: Option<&[u8]>) -> Option<Generation> {
    let Some(key) = key else {
        return report.cpuid.and_then(|(family, model, _)| key::of_cpuid(family, model));
    };
    let ders = Certificate::split(key).ok()?;
    let [leaf] = ders.as_slice() else { return None };
    key::Key::read(&Certificate::parse(leaf).ok()?).ok().map(|key| key.generation)
}

/// AMD's root keys, all generations.
pub fn anchors() -> Vec<TrustAnchor> {
    [Authority::AmdMilan, Authority::AmdGenoa, Authority::AmdTurin].into_iter().flat_map(Authority::anchors).collect()
}

impl SnpGenuine {
    /// What it says, for showing to people; to be used, it must be [admitted](SnpGenuine::admit).
    pub const fn genuine(&self) -> &Genuine {
        &self.genuine
    }

    /// The report.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The generation of the chip, as its key's certificate states it.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Holds the report against what an owner asks of SEV-SNP.
    ///
    /// # Errors
    /// The first expectation that is not met.
    pub fn admit(self, policy: &SnpPolicy) -> Result<Genuine, SnpUnfit> {
        policy.check(&self.report, self.generation, self.listed)?;
        Ok(self.genuine)
    }
}

impl Generation {
    /// AMD's name for it, as it stands in the names of keys.
    pub const fn name(self) -> &'static str {
        match self {
            Generation::Milan => "Milan",
            Generation::Genoa => "Genoa",
            Generation::Turin => "Turin",
        }
    }
}

fn intermediates(chain: Option<&[u8]>) -> Result<Vec<Vec<u8>>, SnpError> {
    match chain {
        Some(bundle) => Certificate::split(bundle).map_err(SnpError::Certificate),
        None => Ok(Vec::new()),
    }
}

/// Intermediate first, root last: bundles have them in either order.
fn ordered(ders: &[Vec<u8>]) -> Result<Vec<Certificate<'_>>, SnpError> {
    let mut chain: Vec<Certificate<'_>> =
        ders.iter().map(|der| Certificate::parse(der)).collect::<Result<_, _>>().map_err(SnpError::Certificate)?;
    chain.sort_by_key(|certificate| certificate.common_name().starts_with("ARK"));
    Ok(chain)
}

fn check_keys(
    chain: &[Certificate<'_>],
    key: &key::Key,
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<(), SnpError> {
    let names: Vec<String> = chain.iter().skip(1).map(Certificate::common_name).collect();
    let generation = key.generation.name();
    let intermediate = match key.kind {
        SigningKey::Vcek => format!("SEV-{generation}"),
        SigningKey::Vlek => format!("SEV-VLEK-{generation}"),
    };
    // A chain of another generation would fail at its signature, too; this says why.
    let fits = names.first().is_some_and(|name| *name == intermediate)
        && names.get(1).is_none_or(|name| *name == format!("ARK-{generation}"))
        && names.len() <= 2;
    if !fits {
        return Err(if names.is_empty() { SnpError::EndorsementMissing } else { SnpError::Generation });
    }
    let anchors: Vec<TrustAnchor> =
        anchors.iter().filter(|anchor| anchor.common_name() == format!("ARK-{generation}")).cloned().collect();
    check_chain(chain, &anchors, now).map_err(SnpError::Chain)
}

/// The list is the root's: by its certificate where the chain has it, else by the pinned key of the authority that the intermediate names.
fn check_list(
    list: &[u8],
    intermediate: Option<&Certificate<'_>>,
    root: Option<&Certificate<'_>>,
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<(), SnpError> {
    let intermediate = intermediate.ok_or(SnpError::EndorsementMissing)?;
    let der = RevocationList::der(list).map_err(SnpError::List)?;
    let list = match root {
        Some(root) => RevocationList::check(&der, root, now),
        None => {
            let issuer = anchors.iter().find(|anchor| anchor.has_issued(intermediate));
            RevocationList::check_pinned(&der, issuer.ok_or(SnpError::EndorsementMissing)?, now)
        }
    };
    let list = list.map_err(SnpError::List)?;
    if list.revokes(intermediate) { Err(SnpError::Revoked) } else { Ok(()) }
}

fn genuine(report: &Report, key: &key::Key, listed: bool, steps: Steps, now: Timestamp) -> Genuine {
    let chip_is_known = report.chip_id.iter().any(|byte| *byte != 0);
    let mut claims = report.claims(key.generation);
    claims.push(crate::platform::claim(
        "product",
        &key.product,
        "the product, as the signing key's certificate states it",
    ));
    let revocation = if listed { "not revoked" } else { "no revocation list was at hand" };
    claims.push(crate::platform::claim(
        "revocation",
        revocation,
        "whether AMD's list of revoked intermediates was consulted",
    ));
    Genuine {
        platform: Platform::SevSnp,
        // The machine that is appraised brings the list or leaves it away, so its absence cannot count for nothing.
        assurance: if listed { Assurance::Affirmed } else { Assurance::RevocationUnknown },
        tier: Tier::ConfidentialVm,
        debug: report.policy_debug(),
        bound: report.report_data.to_vec(),
        hardware_id: chip_is_known.then(|| hex::encode(report.chip_id)),
        registers: vec![
            register("measurement", &report.measurement),
            register("policy", &report.policy.to_be_bytes()),
            register("host_data", &report.host_data),
            register("id_key_digest", &report.id_key_digest),
            register("author_key_digest", &report.author_key_digest),
            register("family_id", &report.family_id),
            register("image_id", &report.image_id),
        ],
        claims,
        steps: steps.done(),
        examined_at: now,
    }
}
