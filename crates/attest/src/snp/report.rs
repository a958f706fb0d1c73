//! ATTESTATION_REPORT, versions 2 to 5 (AMD publication 56860, "Attestation").

use super::Generation;
use crate::{
    platform::{Claim, claim, claim_hex},
    reader::{FormatError, Reader},
};

/// A parsed report. Fields are named as in the specification, integers little-endian there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// 2 to 5.
    pub version: u32,
    /// The guest's own security version.
    pub guest_svn: u32,
    /// What the host may do with the guest.
    pub policy: u64,
    /// Chosen by the guest's owner.
    pub family_id: [u8; 16],
    /// Chosen by the guest's owner.
    pub image_id: [u8; 16],
    /// The privilege level that asked for the report, 0 the highest.
    pub vmpl: u32,
    /// Of the running firmware, raw.
    pub current_tcb: [u8; 8],
    /// How the platform is configured.
    pub platform_info: u64,
    /// Whether an author key signed the identity block.
    pub author_key_en: bool,
    /// Whether the chip's key is masked: then the firmware signs nothing.
    pub mask_chip_key: bool,
    /// The key that signed.
    pub signing_key: SigningKey,
    /// What the guest put in.
    pub report_data: [u8; 64],
    /// The launch measurement.
    pub measurement: [u8; 48],
    /// What the host put in at launch.
    pub host_data: [u8; 32],
    /// The digest of the key that signed the identity block.
    pub id_key_digest: [u8; 48],
    /// The digest of the author's key.
    pub author_key_digest: [u8; 48],
    /// The id of this guest.
    pub report_id: [u8; 32],
    /// The id of its migration agent.
    pub report_id_ma: [u8; 32],
    /// The version that the signing key is for, raw.
    pub reported_tcb: [u8; 8],
    /// Family, model and stepping; from version 3.
    pub cpuid: Option<(u8, u8, u8)>,
    /// The chip; zero where it is masked or the key is a VLEK.
    pub chip_id: [u8; 64],
    /// Below which the firmware cannot be rolled back, raw.
    pub committed_tcb: [u8; 8],
    /// At launch, raw.
    pub launch_tcb: [u8; 8],
    /// r ‖ s, big-endian, 48 bytes each.
    pub(super) signature: [u8; 96],
}

/// The key that signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SigningKey {
    /// The chip's own.
    Vcek,
    /// One that AMD loads for a cloud, the same on many chips.
    Vlek,
}

/// Security versions, one per component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcb {
    /// The first mutable code; from Turin on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u8>,
    /// The boot loader of the security processor.
    pub bootloader: u8,
    /// Its operating system.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// The microcode.
    pub microcode: u8,
}

impl Report {
    /// Parses a report, which must use up its bytes; what is reserved in its version must be zero.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn parse(bytes: &[u8]) -> Result<Report, FormatError> {
        let mut reader = Reader::new("SNP report", bytes);
        let version = reader.u32_le()?;
        if !(2..=5).contains(&version) {
            return Err(reader.refuse("version", version));
        }
        let guest_svn = reader.u32_le()?;
        let policy = reader.u64_le()?;
        if policy & POLICY_MUST_BE_ONE == 0 || policy & POLICY_RESERVED != 0 {
            return Err(reader.refuse("policy", policy));
        }
        let (family_id, image_id) = (reader.array()?, reader.array()?);
        let vmpl = reader.u32_le()?;
        let algorithm = reader.u32_le()?;
        if algorithm != ECDSA_P384_SHA384 {
            return Err(reader.refuse("signature algorithm", algorithm));
        }
        let current_tcb = reader.array()?;
        let platform_info = reader.u64_le()?;
        let flags = reader.u32_le()?;
        let signing_key = match (flags >> 2) & 7 {
            0 => SigningKey::Vcek,
            1 => SigningKey::Vlek,
            other => return Err(reader.refuse("signing key", other)),
        };
        if flags >> 5 != 0 {
            return Err(reader.refuse("flags", flags));
        }
        zeros(&mut reader, 4)?;
        let report = Report {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            current_tcb,
            platform_info,
            author_key_en: flags & 1 != 0,
            mask_chip_key: flags & 2 != 0,
            signing_key,
            report_data: reader.array()?,
            measurement: reader.array()?,
            host_data: reader.array()?,
            id_key_digest: reader.array()?,
            author_key_digest: reader.array()?,
            report_id: reader.array()?,
            report_id_ma: reader.array()?,
            reported_tcb: reader.array()?,
            cpuid: read_cpuid(&mut reader, version)?,
            chip_id: reader.array()?,
            committed_tcb: reader.array()?,
            launch_tcb: {
                // Current and committed version of the firmware: build, minor, major, reserved.
                reader.take(3)?;
                zeros(&mut reader, 1)?;
                reader.take(3)?;
                zeros(&mut reader, 1)?;
                reader.array()?
            },
            signature: read_rest(&mut reader, version)?,
        };
        reader.finish()?;
        Ok(report)
    }

    /// The bytes that are signed.
    pub(super) fn signed<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
        Reader::new("SNP report", bytes).take(SIGNED)
    }

    /// Whether the policy lets the host debug the guest.
    pub const fn policy_debug(&self) -> bool {
        self.policy & (1 << 19) != 0
    }

    /// Whether the policy lets a migration agent take the guest elsewhere.
    pub const fn policy_migrate_ma(&self) -> bool {
        self.policy & (1 << 18) != 0
    }

    pub(super) fn claims(&self, generation: Generation) -> Vec<Claim> {
        let mut claims = vec![
            claim("version", self.version, "the version of the report's format"),
            claim("guest_svn", self.guest_svn, "the guest's own security version"),
            claim("policy", format!("{:#x}", self.policy), "what the host may do with the guest"),
            claim("debug", self.policy_debug(), "whether the host may debug the guest"),
            claim("migrate_ma", self.policy_migrate_ma(), "whether a migration agent may take the guest elsewhere"),
            claim("smt", self.policy & (1 << 16) != 0, "whether sibling threads may be on"),
            claim("vmpl", self.vmpl, "the privilege level that asked for the report, 0 the highest"),
            claim("sig_algo", ECDSA_P384_SHA384, "ECDSA on P-384 with SHA-384"),
            claim_hex("current_tcb", &self.current_tcb, "security versions of the running firmware"),
            claim("platform_info", format!("{:#x}", self.platform_info), "how the platform is configured"),
            claim("author_key_en", u8::from(self.author_key_en), "whether an author's key signed the identity block"),
            claim("mask_chip_key", u8::from(self.mask_chip_key), "whether the chip's key is masked"),
            claim("signing_key", self.signing_key.name(), "the kind of key that signed"),
            claim_hex("report_data", &self.report_data, "what the guest put into the report"),
            claim_hex(
                "measurement",
                &self.measurement,
                "the launch measurement: firmware, kernel and what goes with them",
            ),
            claim_hex("host_data", &self.host_data, "what the host put in at launch"),
            claim_hex("id_key_digest", &self.id_key_digest, "the digest of the key that signed the identity block"),
            claim_hex("author_key_digest", &self.author_key_digest, "the digest of the author's key"),
            claim_hex("report_id", &self.report_id, "the id of this guest"),
            claim_hex("reported_tcb", &self.reported_tcb, "security versions that the signing key is for"),
            claim_hex("chip_id", &self.chip_id, "the chip; zero where it is masked"),
            claim_hex(
                "committed_tcb",
                &self.committed_tcb,
                "security versions below which the firmware cannot go back",
            ),
            claim_hex("launch_tcb", &self.launch_tcb, "security versions when the guest was launched"),
        ];
        if let Some(tcb) = Tcb::read(self.reported_tcb, generation) {
            claims.push(claim("reported_versions", tcb, "the same, taken apart"));
        }
        if let Some((family, model, stepping)) = self.cpuid {
            claims.push(claim("cpuid", format!("{family:#x} {model:#x} {stepping:#x}"), "family, model and stepping"));
        }
        claims
    }
}

impl SigningKey {
    /// AMD's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            SigningKey::Vcek => "VCEK",
            SigningKey::Vlek => "VLEK",
        }
    }
}

impl Tcb {
    /// Takes a TCB_VERSION apart; `None` where reserved bytes are set.
    pub fn read(raw: [u8; 8], generation: Generation) -> Option<Tcb> {
        match (generation, raw) {
            (Generation::Turin, [fmc, bootloader, tee, snp, 0, 0, 0, microcode]) => {
                Some(Tcb { fmc: Some(fmc), bootloader, tee, snp, microcode })
            }
            (Generation::Milan | Generation::Genoa, [bootloader, tee, 0, 0, 0, 0, snp, microcode]) => {
                Some(Tcb { fmc: None, bootloader, tee, snp, microcode })
            }
            _ => None,
        }
    }

    /// Of each component the higher one.
    #[must_use]
    pub fn raised_to(&self, other: &Tcb) -> Tcb {
        Tcb {
            fmc: self.fmc.max(other.fmc),
            bootloader: self.bootloader.max(other.bootloader),
            tee: self.tee.max(other.tee),
            snp: self.snp.max(other.snp),
            microcode: self.microcode.max(other.microcode),
        }
    }

    /// Whether no component is below the other's.
    pub fn is_at_least(&self, floor: &Tcb) -> bool {
        self.fmc.unwrap_or(0) >= floor.fmc.unwrap_or(0)
            && self.bootloader >= floor.bootloader
            && self.tee >= floor.tee
            && self.snp >= floor.snp
            && self.microcode >= floor.microcode
    }
}

impl std::fmt::Display for Tcb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc {fmc}, ")?;
        }
        write!(f, "bootloader {}, tee {}, snp {}, microcode {}", self.bootloader, self.tee, self.snp, self.microcode)
    }
}

/// From version 3 on: family, model, stepping and 21 reserved bytes; before, 24 reserved bytes.
fn read_cpuid(reader: &mut Reader<'_>, version: u32) -> Result<Option<(u8, u8, u8)>, FormatError> {
    if version == 2 {
        zeros(reader, 24)?;
        return Ok(None);
    }
    let cpuid = (reader.u8()?, reader.u8()?, reader.u8()?);
    zeros(reader, 21)?;
    Ok(Some(cpuid))
}

/// From version 5 on two mitigation vectors of 8 bytes, then reserved bytes, then the signature: r and s little-endian in 72 bytes
/// each, and 368 reserved bytes.
fn read_rest(reader: &mut Reader<'_>, version: u32) -> Result<[u8; 96], FormatError> {
    if version >= 5 {
        reader.take(16)?;
        zeros(reader, 152)?;
    } else {
        zeros(reader, 168)?;
    }
    let mut signature = [0; 96];
    for half in signature.chunks_exact_mut(48) {
        let number: [u8; 48] = reader.array()?;
        zeros(reader, 24)?;
        half.iter_mut().zip(number.iter().rev()).for_each(|(to, from)| *to = *from);
    }
    zeros(reader, 368)?;
    Ok(signature)
}

fn zeros(reader: &mut Reader<'_>, count: usize) -> Result<(), FormatError> {
    match reader.take(count)?.iter().find(|byte| **byte != 0) {
        Some(byte) => Err(reader.refuse("reserved", *byte)),
        None => Ok(()),
    }
}

const SIGNED: usize = 0x2A0;
const ECDSA_P384_SHA384: u32 = 1;
const POLICY_MUST_BE_ONE: u64 = 1 << 17;
/// Bits 26 and up.
const POLICY_RESERVED: u64 = !((1 << 26) - 1);
