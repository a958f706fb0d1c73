//! Azure confidential virtual machines: hardware Evidence behind a vTPM.
//!
//! The machine's firmware (the HCL, which is measured into the hardware's report) runs the vTPM. It puts into the report's data the digest of
//! its *runtime claims*, a JSON text with the vTPM's attestation key; so a quote by that key comes from the vTPM of this very machine. A
//! quote without that binding means nothing here, and a report without a quote is not fresh: it can be shown and not be used.
//!
//! Layout of the HCL report: header of 32 bytes, hardware report at 32, runtime header at 1216, JSON at 1236; buffers are padded.

mod hcl;

use jiff::Timestamp;

pub use hcl::{HclReport, HclReportKind};

use crate::{
    certificate::TrustAnchor,
    intel::{self, Body, IntelEndorsements, IntelError, Rules},
    platform::{Claim, Genuine, Platform, Refusal, Steps, claim, claim_hex},
    reader::FormatError,
    snp::{self, SnpError, SnpEvidence, SnpGenuine, SnpPolicy, SnpUnfit},
    tpm::{QuoteEvidence, QuoteFault},
};

/// Why the Evidence is refused. Numbers are the steps of `docs/spec/platforms/azure.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AzureError {
    /// Step 1.
    #[error("the HCL report cannot be read")]
    Malformed(#[source] FormatError),
    /// Step 1: the runtime claims are no JSON with exactly one attestation key.
    #[error("the runtime claims are not JSON with exactly one attestation key")]
    RuntimeClaims,
    /// Step 1: of the other hardware.
    #[error("the HCL report is of {found}, not of {expected}")]
    OtherHardware {
        /// What was asked for.
        expected: Platform,
        /// What it is.
        found: Platform,
    },
    /// Step 2.
    #[error("the hardware's report does not carry the digest of the runtime claims")]
    Binding,
    /// Step 3: no quote of the trust domain.
    #[error(
        "a TD report proves nothing to others without its quote\nhint: have the report quoted by the platform's quoting service"
    )]
    EndorsementMissing,
    /// Step 3.
    #[error("the hardware's report is refused")]
    Snp(#[source] SnpError),
    /// Step 3.
    #[error("the hardware's quote is refused")]
    Tdx(#[source] IntelError),
    /// Step 3: anyone in the guest could have asked for it, and have put anything into it.
    #[error("the hardware's report was asked for from privilege level {0}; the HCL's own is 0")]
    Vmpl(u32),
    /// Step 3: what vouches for the machine could leave it.
    #[error("a migration agent may take the machine elsewhere")]
    Migration,
    /// Step 3: the quote is of another trust domain than the report.
    #[error("the quote is not of the TD report inside")]
    OtherReport,
    /// Step 4.
    #[error("the vTPM's quote is refused")]
    Quote(#[source] QuoteFault),
}

impl Refusal for AzureError {
    fn step(&self) -> u8 {
        match self {
            AzureError::Malformed(_) | AzureError::RuntimeClaims | AzureError::OtherHardware { .. } => 1,
            AzureError::Binding => 2,
            AzureError::EndorsementMissing
            | AzureError::Snp(_)
            | AzureError::Tdx(_)
            | AzureError::Vmpl(_)
            | AzureError::Migration
            | AzureError::OtherReport => 3,
            AzureError::Quote(_) => 4,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            AzureError::Malformed(FormatError::Truncated { .. }) => "hcl-truncated",
            AzureError::Malformed(_) => "hcl-malformed",
            AzureError::RuntimeClaims => "runtime-claims-malformed",
            AzureError::OtherHardware { .. } => "other-hardware",
            AzureError::Binding => "hcl-binding-mismatch",
            AzureError::EndorsementMissing => "endorsement-missing",
            AzureError::Snp(error) => error.code(),
            AzureError::Tdx(error) => error.code(),
            AzureError::Vmpl(level) => SnpUnfit::Vmpl(*level).code(),
            AzureError::Migration => SnpUnfit::Migration.code(),
            AzureError::OtherReport => "td-report-mismatch",
            AzureError::Quote(QuoteFault::Quote(crate::AppraisalError::Signature) | QuoteFault::SignatureForm) => {
                "tpm-quote-signature-invalid"
            }
            AzureError::Quote(fault) => fault.code(),
        }
    }

    fn is_malformed(&self) -> bool {
        match self {
            AzureError::Malformed(_) | AzureError::RuntimeClaims => true,
            AzureError::Snp(error) => error.is_malformed(),
            AzureError::Tdx(error) => error.is_malformed(),
            AzureError::Quote(fault) => fault.is_malformed(),
            AzureError::OtherHardware { .. }
            | AzureError::Binding
            | AzureError::EndorsementMissing
            | AzureError::Vmpl(_)
            | AzureError::Migration
            | AzureError::OtherReport => false,
        }
    }
}

/// What vouches for the key of an SNP report: see [`SnpEvidence`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SnpEndorsements<'a> {
    /// The certificate of the key that signed.
    pub key: Option<&'a [u8]>,
    /// AMD's intermediate and root.
    pub chain: Option<&'a [u8]>,
    /// AMD's revocation list.
    pub list: Option<&'a [u8]>,
}

/// Genuine Evidence of a machine on SEV-SNP, before a policy for SEV-SNP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureSnpGenuine {
    genuine: Genuine,
    hardware: SnpGenuine,
}

impl AzureSnpGenuine {
    /// What it says, for showing to people; to be used, it must be [admitted](AzureSnpGenuine::admit).
    pub const fn genuine(&self) -> &Genuine {
        &self.genuine
    }

    /// Holds the hardware's report against what an owner asks of SEV-SNP.
    ///
    /// # Errors
    /// The first expectation that is not met.
    pub fn admit(self, policy: &SnpPolicy) -> Result<Genuine, SnpUnfit> {
        self.hardware.admit(policy)?;
        Ok(self.genuine)
    }
}

/// Examines the Evidence of a machine on SEV-SNP.
///
/// The HCL runs at privilege level 0 and the guest below it. Whatever asks from below may put the digest of runtime claims of its own
/// into a report of the same launch, so a report from another level binds no vTPM, whatever a policy says.
///
/// # Errors
/// The first step that fails.
pub fn examine_snp(
    report: &[u8],
    quote: Option<&QuoteEvidence<'_>>,
    endorsements: &SnpEndorsements<'_>,
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<AzureSnpGenuine, AzureError> {
    let hcl = HclReport::parse(report)?.of(HclReportKind::Snp)?;
    hcl.check_binding()?;
    let SnpEndorsements { key, chain, list } = *endorsements;
    let evidence = SnpEvidence { report: hcl.hardware, key, chain, list };
    let hardware = snp::examine(&evidence, anchors, now).map_err(AzureError::Snp)?;
    if hardware.report().vmpl != 0 {
        return Err(AzureError::Vmpl(hardware.report().vmpl));
    }
    if hardware.report().policy_migrate_ma() {
        return Err(AzureError::Migration);
    }
    let genuine = finish(&hcl, hardware.genuine(), Platform::AzureSnp, quote)?;
    Ok(AzureSnpGenuine { genuine, hardware })
}

/// Examines the Evidence of a machine on TDX. `td_quote` is the quote of the TD report inside.
///
/// # Errors
/// The first step that fails.
pub fn examine_tdx(
    report: &[u8],
    td_quote: Option<&[u8]>,
    quote: Option<&QuoteEvidence<'_>>,
    endorsements: &IntelEndorsements<'_>,
    anchors: &[TrustAnchor],
    rules: &Rules,
    now: Timestamp,
) -> Result<Genuine, AzureError> {
    let hcl = HclReport::parse(report)?.of(HclReportKind::Tdx)?;
    hcl.check_binding()?;
    let td_quote = td_quote.ok_or(AzureError::EndorsementMissing)?;
    let hardware = intel::tdx::examine(td_quote, endorsements, anchors, rules, now).map_err(AzureError::Tdx)?;
    let parsed = intel::Quote::parse(td_quote).map_err(AzureError::Tdx)?;
    match &parsed.body {
        Body::TrustDomain(report) if hcl.is_quoted_by(report) => {}
        Body::TrustDomain(_) | Body::Enclave(_) => return Err(AzureError::OtherReport),
    }
    finish(&hcl, &hardware, Platform::AzureTdx, quote)
}

/// Step 4, and the claims of all three parts.
fn finish(
    hcl: &HclReport<'_>,
    hardware: &Genuine,
    platform: Platform,
    quote: Option<&QuoteEvidence<'_>>,
) -> Result<Genuine, AzureError> {
    let mut steps = Steps::default();
    steps.pass(1, "the HCL report holds a hardware report and runtime claims with one attestation key");
    steps.pass(2, "the hardware's report carries the digest of the runtime claims");
    steps.pass(3, format!("the hardware's report is genuine, by {} steps of its own", hardware.steps().len()));
    let mut claims: Vec<Claim> = hcl.claims();
    claims.extend(
        hardware.claims().iter().map(|claim| Claim { name: format!("hardware:{}", claim.name), ..claim.clone() }),
    );
    let mut registers = hardware.registers().to_vec();
    let mut bound = Vec::new();
    if let Some(quote) = quote {
        let checked = quote.check(&hcl.attestation_key).map_err(AzureError::Quote)?;
        steps.pass(4, "the machine's own vTPM signed a quote over these registers");
        claims.push(claim_hex(
            "quote_extra_data",
            &checked.quote.extra_data,
            "what the challenger asked to be signed along",
        ));
        claims.push(claim_hex("pcr_digest", &checked.quote.pcr_digest, "the digest of the selected registers"));
        let firmware = format!("{:016x}", checked.quote.firmware_version);
        claims.push(claim("firmware_version", firmware, "the version of the vTPM's firmware"));
        registers.extend(checked.registers);
        bound = checked.quote.extra_data;
    }
    Ok(Genuine {
        platform,
        assurance: hardware.assurance(),
        tier: hardware.tier(),
        debug: hardware.is_debug(),
        bound,
        hardware_id: hardware.hardware_id().map(str::to_owned),
        registers,
        claims,
        steps: steps.done(),
        examined_at: hardware.examined_at(),
    })
}

impl From<FormatError> for AzureError {
    fn from(error: FormatError) -> AzureError {
        AzureError::Malformed(error)
    }
}
