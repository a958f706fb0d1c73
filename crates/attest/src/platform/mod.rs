//! What Evidence of any platform proves, behind one face.
//!
//! Appraisal of a platform's Evidence has two halves, each a type that only its check can make:
//!
//! 1. *Examination*, one function per platform (`snp::examine`, `tdx::examine`, …): the bytes parse, the signatures lead to a pinned
//!    authority, Endorsements are current and belong to this hardware, and no debug or simulation state is set. It yields
//!    [`Genuine`]: claims whose origin is established, and how far ([`Assurance`]).
//! 2. *Appraisal*, the same for all: [`Genuine::appraise`] holds the claims against what this exchange must have bound into the
//!    Evidence and against the owner's [`PlatformPolicy`], and yields [`Appraised`], the ground of an Attestation Result.
//!
//! [`Genuine`] is good for showing to people and for nothing else: nothing can be released on it. Deliberately absent: I/O, clocks,
//! fetching, and an expectation that may be left out on the way to [`Appraised`].

mod files;
mod policy;

use jiff::Timestamp;
use serde::Serialize;

pub use files::{Anchors, HardwareFault, examine};
pub use policy::{HardwareIds, MeasurementRule, PlatformPolicy, PlatformPolicyError, Unfit};

use crate::{Step, Tier};

/// The platforms whose Evidence is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// AMD SEV-SNP.
    SevSnp,
    /// Intel TDX.
    Tdx,
    /// Intel SGX.
    Sgx,
    /// AWS Nitro Enclaves.
    NitroEnclave,
    /// AWS NitroTPM.
    NitroTpm,
    /// An Azure confidential virtual machine on SEV-SNP, through its vTPM.
    AzureSnp,
    /// An Azure confidential virtual machine on TDX, through its vTPM.
    AzureTdx,
    /// The vTPM of a Google Cloud machine.
    GcpVtpm,
    /// A TPM 2.0.
    Tpm,
    /// Arm CCA: a realm on a platform.
    Cca,
    /// Arm PSA.
    Psa,
    /// An NVIDIA GPU in confidential-computing mode.
    NvidiaGpu,
    /// An NVIDIA NVSwitch.
    NvidiaSwitch,
    /// Hygon CSV.
    HygonCsv,
    /// IBM Secure Execution.
    IbmSecureExecution,
    /// Keystone (RISC-V).
    Keystone,
    /// RISC Zero: a proof in place of a platform.
    RiscZero,
}

/// How far the origin of Evidence is established. A policy says which of these it admits; by default only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case", tag = "assurance", content = "status")]
pub enum Assurance {
    /// Signatures, chain and security version are right at the given time.
    Affirmed,
    /// Genuine; the maker's word on the security version is a warning that software or configuration can answer.
    Conditional(TcbStatus),
    /// Genuine; the security version is below the maker's current one.
    OutOfDate(TcbStatus),
    /// Signature and chain are right; the security version cannot be told from the Endorsements at hand.
    SignatureOnly,
    /// Well formed; nothing in it is signed.
    ParsedOnly,
    /// All that can be checked offline is right; whether a certificate was revoked is not known.
    RevocationUnknown,
}

/// The maker's word on a security version (Intel's terms, which other platforms' are mapped to).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub enum TcbStatus {
    /// Current.
    UpToDate,
    /// Current, if the software hardens itself.
    SWHardeningNeeded,
    /// Current, if the platform is configured as advised.
    ConfigurationNeeded,
    /// Both of these.
    ConfigurationAndSWHardeningNeeded,
    /// Old.
    OutOfDate,
    /// Old, and to be configured.
    OutOfDateConfigurationNeeded,
    /// Broken; never accepted.
    Revoked,
}

/// One thing that Evidence says, with its meaning for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The field's name in its specification, in lower case with underscores.
    pub name: String,
    /// Its value: hexadecimal for bytes, decimal for numbers.
    pub value: String,
    /// What it means.
    pub words: String,
}

/// A measurement, by the name of its register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Register {
    /// Such as `mrtd`, `rtmr0`, `measurement`, `pcr0`.
    pub name: String,
    /// Its value.
    #[serde(serialize_with = "hexadecimal")]
    pub value: Vec<u8>,
}

/// Evidence whose origin is established. Made by a platform's examination and by nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Genuine {
    pub(crate) platform: Platform,
    pub(crate) assurance: Assurance,
    pub(crate) tier: Tier,
    /// Whether its memory can be read from outside. Such Evidence can be shown; no policy admits it.
    pub(crate) debug: bool,
    /// What the Attester put in, whole (64 bytes of report data, a nonce, qualifying data). `None`: the platform has no such field,
    /// and its Evidence can be bound to nothing.
    #[serde(serialize_with = "hexadecimal")]
    pub(crate) bound: Vec<u8>,
    /// The identity of this very hardware; `None` where the platform gives none or masks it.
    pub(crate) hardware_id: Option<String>,
    pub(crate) registers: Vec<Register>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) steps: Vec<Step>,
    pub(crate) examined_at: Timestamp,
}

/// What every refusal of a platform's examination can say of itself. Each platform has its own exhaustive error.
pub trait Refusal: std::error::Error + Send + Sync + 'static {
    /// The step of the platform's list in `docs/spec/appraisal.md` that failed.
    fn step(&self) -> u8;
    /// A fixed word for the reason, in lower case with hyphens.
    fn code(&self) -> &'static str;
    /// Whether the bytes are not even the structure that they should be.
    fn is_malformed(&self) -> bool;
}

/// Evidence that is genuine, bound to this exchange, and admitted by a policy. Made by [`Genuine::appraise`] alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Appraised {
    pub(crate) genuine: Genuine,
    pub(crate) tier: Tier,
    pub(crate) policy: envelope::Digest,
}

impl Platform {
    /// Every one.
    pub const ALL: [Platform; 17] = [
        Platform::SevSnp,
        Platform::Tdx,
        Platform::Sgx,
        Platform::NitroEnclave,
        Platform::NitroTpm,
        Platform::AzureSnp,
        Platform::AzureTdx,
        Platform::GcpVtpm,
        Platform::Tpm,
        Platform::Cca,
        Platform::Psa,
        Platform::NvidiaGpu,
        Platform::NvidiaSwitch,
        Platform::HygonCsv,
        Platform::IbmSecureExecution,
        Platform::Keystone,
        Platform::RiscZero,
    ];

    /// The name that documents use.
    pub const fn name(self) -> &'static str {
        match self {
            Platform::SevSnp => "sev-snp",
            Platform::Tdx => "tdx",
            Platform::Sgx => "sgx",
            Platform::NitroEnclave => "nitro-enclave",
            Platform::NitroTpm => "nitro-tpm",
            Platform::AzureSnp => "azure-snp",
            Platform::AzureTdx => "azure-tdx",
            Platform::GcpVtpm => "gcp-vtpm",
            Platform::Tpm => "tpm",
            Platform::Cca => "cca",
            Platform::Psa => "psa",
            Platform::NvidiaGpu => "nvidia-gpu",
            Platform::NvidiaSwitch => "nvidia-switch",
            Platform::HygonCsv => "hygon-csv",
            Platform::IbmSecureExecution => "ibm-secure-execution",
            Platform::Keystone => "keystone",
            Platform::RiscZero => "risc-zero",
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Assurance {
    /// The name that documents and policies use.
    pub const fn name(self) -> &'static str {
        match self {
            Assurance::Affirmed => "affirmed",
            Assurance::Conditional(_) => "conditional",
            Assurance::OutOfDate(_) => "out-of-date",
            Assurance::SignatureOnly => "signature-only",
            Assurance::ParsedOnly => "parsed-only",
            Assurance::RevocationUnknown => "revocation-unknown",
        }
    }

    /// What it means, in a sentence for people.
    pub const fn words(self) -> &'static str {
        match self {
            Assurance::Affirmed => "signatures, chain and security version are right at the given time",
            Assurance::Conditional(_) => {
                "genuine, but the maker warns: it is as safe as the software's hardening or the platform's configuration"
            }
            Assurance::OutOfDate(_) => "genuine, but the maker has published fixes that this machine lacks",
            Assurance::SignatureOnly => {
                "the signatures lead to the maker, but the Endorsements that would tell its security version are missing"
            }
            Assurance::ParsedOnly => "well formed, and nothing in it is signed: it proves nothing",
            Assurance::RevocationUnknown => {
                "right as far as can be told offline; whether a certificate was revoked is not known"
            }
        }
    }
}

impl Genuine {
    /// Whose Evidence it is.
    pub const fn platform(&self) -> Platform {
        self.platform
    }

    /// How far its origin is established.
    pub const fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// The tier that its platform has; listing its hardware can raise it (see [`Appraised::tier`]).
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// Whether it says of itself that its memory can be read from outside.
    pub const fn is_debug(&self) -> bool {
        self.debug
    }

    /// What the Attester put into the Evidence: report data, nonce or qualifying data, whole.
    pub fn bound(&self) -> &[u8] {
        &self.bound
    }

    /// The identity of this very hardware, if the platform tells it.
    pub fn hardware_id(&self) -> Option<&str> {
        self.hardware_id.as_deref()
    }

    /// What was measured, by register.
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }

    /// The value of one register.
    pub fn register(&self, name: &str) -> Option<&[u8]> {
        self.registers.iter().find(|register| register.name == name).map(|register| register.value.as_slice())
    }

    /// All that the Evidence says.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// The value of one claim.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|claim| claim.name == name).map(|claim| claim.value.as_str())
    }

    /// The steps of the examination, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The time that was given to the examination.
    pub const fn examined_at(&self) -> Timestamp {
        self.examined_at
    }

    /// The same, where the authorities that vouch for it are not the maker's: it may all be software.
    pub(crate) fn under_strangers(mut self) -> Genuine {
        self.tier = Tier::SoftwareTpm;
        self.claims.push(claim("authorities", "pinned", "vouched for by authorities that are not the maker's own"));
        self
    }
}

impl Appraised {
    /// What the Evidence says, with its origin.
    pub const fn genuine(&self) -> &Genuine {
        &self.genuine
    }

    /// The tier, raised to `allow-listed` where the policy lists this very hardware.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// The digest of the policy that admitted it.
    pub const fn policy(&self) -> &envelope::Digest {
        &self.policy
    }
}

/// Collects the steps of an examination as they are passed.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// Step `number` of the platform's list in `docs/spec/appraisal.md` was passed; `words` say what that established.
    pub(crate) fn pass(&mut self, number: u8, words: impl Into<String>) {
        self.0.push(Step { number, words: words.into() });
    }

    pub(crate) fn done(self) -> Vec<Step> {
        self.0
    }
}

/// A claim whose value is bytes.
pub(crate) fn claim_hex(name: &str, value: &[u8], words: impl Into<String>) -> Claim {
    Claim { name: name.to_owned(), value: hex::encode(value), words: words.into() }
}

/// A claim whose value is a number or a word.
pub(crate) fn claim(name: &str, value: impl std::fmt::Display, words: impl Into<String>) -> Claim {
    Claim { name: name.to_owned(), value: value.to_string(), words: words.into() }
}

/// A register and its value.
pub(crate) fn register(name: &str, value: &[u8]) -> Register {
    Register { name: name.to_owned(), value: value.to_vec() }
}

fn hexadecimal<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}
