//! The report of Azure's paravisor firmware: a hardware report and the runtime claims whose digest is in it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::AzureError;
use crate::{
    HashAlgorithm,
    intel::TdReport,
    platform::{Claim, Platform, claim, claim_hex},
    reader::{FormatError, Reader},
    tpm::PublicKey,
};

/// A parsed report. Nothing in it is trusted before [`HclReport::check_binding`] and the hardware's own signature.
#[derive(Debug, Clone)]
pub struct HclReport<'a> {
    /// The hardware it is of.
    pub kind: HclReportKind,
    /// The SNP report (1,184 bytes) or TDREPORT (1,024 bytes).
    pub hardware: &'a [u8],
    /// The runtime claims as they were digested.
    pub runtime: &'a [u8],
    /// The vTPM's attestation key, from the runtime claims.
    pub attestation_key: PublicKey,
    hash: HashAlgorithm,
    hash_type: u32,
    user_data: String,
}

/// The hardware of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HclReportKind {
    /// Report type 2.
    Snp,
    /// Report type 4.
    Tdx,
}

impl<'a> HclReport<'a> {
    /// Parses a report; what pads it after the claims must be zero.
    ///
    /// # Errors
    /// [`AzureError::Malformed`], [`AzureError::RuntimeClaims`].
    pub fn parse(bytes: &'a [u8]) -> Result<HclReport<'a>, AzureError> {
        if bytes.len() > MAX {
            let too_large = FormatError::TooLarge { structure: HCL, size: bytes.len(), limit: MAX };
            return Err(AzureError::Malformed(too_large));
        }
        let mut reader = Reader::new(HCL, bytes);
        let signature = reader.u32_le()?;
        if signature != SIGNATURE {
            return Err(reader.refuse("signature", signature).into());
        }
        let version = reader.u32_le()?;
        if !(1..=2).contains(&version) {
            return Err(reader.refuse("version", version).into());
        }
        reader.take(24)?;
        let room = reader.take(HARDWARE)?;
        let _size = reader.u32_le()?;
        let _version = reader.u32_le()?;
        let kind = match reader.u32_le()? {
            2 => HclReportKind::Snp,
            4 => HclReportKind::Tdx,
            other => return Err(reader.refuse("report type", other).into()),
        };
        let hash_type = reader.u32_le()?;
        let hash = match hash_type {
            1 => HashAlgorithm::Sha256,
            2 => HashAlgorithm::Sha384,
            3 => HashAlgorithm::Sha512,
            other => return Err(reader.refuse("hash type", other).into()),
        };
        let size = reader.u32_le()?;
        let size = usize::try_from(size).map_err(|_| reader.refuse("size of the runtime claims", size))?;
        let runtime = reader.take(size)?;
        while !reader.is_empty() {
            let padding = reader.u8()?;
            if padding != 0 {
                return Err(reader.refuse("padding", padding).into());
            }
        }
        let size = match kind {
            HclReportKind::Snp => HARDWARE,
            HclReportKind::Tdx => TD_REPORT,
        };
        let hardware = room.get(..size).unwrap_or_default();
        let claims: RuntimeClaims = serde_json::from_slice(runtime).map_err(|_| AzureError::RuntimeClaims)?;
        let attestation_key = claims.attestation_key().ok_or(AzureError::RuntimeClaims)?;
        let user_data = claims.user_data.unwrap_or_default();
        Ok(HclReport { kind, hardware, runtime, attestation_key, hash, hash_type, user_data })
    }

    /// The report, if it is of this hardware.
    pub(super) fn of(self, expected: HclReportKind) -> Result<HclReport<'a>, AzureError> {
        if self.kind == expected {
            Ok(self)
        } else {
            Err(AzureError::OtherHardware { expected: expected.platform(), found: self.kind.platform() })
        }
    }

    /// Whether the hardware's report data is the digest of the runtime claims, and zeros.
    ///
    /// # Errors
    /// [`AzureError::Binding`].
    pub fn check_binding(&self) -> Result<(), AzureError> {
        let digest = self.hash.hash(&[self.runtime]);
        let data = self.report_data();
        let (bound, rest) = data.split_at_checked(digest.len()).ok_or(AzureError::Binding)?;
        let bound = bound == digest && rest.iter().all(|byte| *byte == 0);
        if bound { Ok(()) } else { Err(AzureError::Binding) }
    }

    /// Whether a quote is of this very TDREPORT: report data, module and trust domain alike (TDX Module ABI, TDREPORT_STRUCT).
    pub(super) fn is_quoted_by(&self, quoted: &TdReport<'_>) -> bool {
        let at = |offset: usize, size: usize| self.hardware.get(offset..offset + size).unwrap_or_default();
        let [rtmr0, rtmr1, rtmr2, rtmr3] = quoted.rtmr;
        at(128, 64) == quoted.report_data
            && at(264, 16) == quoted.tee_tcb_svn
            && at(280, 48) == quoted.mr_seam
            && at(328, 48) == quoted.mr_signer_seam
            && at(376, 8) == quoted.seam_attributes
            && at(512, 8) == quoted.td_attributes
            && at(520, 8) == quoted.xfam
            && at(528, 48) == quoted.mr_td
            && at(576, 48) == quoted.mr_config_id
            && at(624, 48) == quoted.mr_owner
            && at(672, 48) == quoted.mr_owner_config
            && at(720, 48) == rtmr0
            && at(768, 48) == rtmr1
            && at(816, 48) == rtmr2
            && at(864, 48) == rtmr3
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![
            claim("hash_type", self.hash_type, "the hash of the runtime claims: 1 SHA-256, 2 SHA-384, 3 SHA-512"),
            claim_hex("report_data", self.report_data(), "the digest of the runtime claims, in the hardware's report"),
            claim("user_data", &self.user_data, "what the guest asked to have in the runtime claims"),
        ]
    }

    fn report_data(&self) -> &'a [u8] {
        let offset = match self.kind {
            HclReportKind::Snp => 0x50,
            HclReportKind::Tdx => 128,
        };
        self.hardware.get(offset..offset + 64).unwrap_or_default()
    }
}

impl HclReportKind {
    const fn platform(self) -> Platform {
        match self {
            HclReportKind::Snp => Platform::AzureSnp,
            HclReportKind::Tdx => Platform::AzureTdx,
        }
    }
}

/// The members that are read. A member that occurs twice is refused by the parser.
#[derive(Deserialize)]
struct RuntimeClaims {
    keys: Vec<Key>,
    #[serde(rename = "user-data")]
    user_data: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    kty: String,
    e: Option<String>,
    n: Option<String>,
}

impl RuntimeClaims {
    /// The one attestation key, RSA with the exponent 65537.
    fn attestation_key(&self) -> Option<PublicKey> {
        let mut keys = self.keys.iter().filter(|key| key.kid == "HCLAkPub");
        let (Some(key), None) = (keys.next(), keys.next()) else { return None };
        let modulus = URL_SAFE_NO_PAD.decode(key.n.as_ref()?).ok()?;
        let fits = key.kty == "RSA" && key.e.as_deref() == Some("AQAB") && (256..=512).contains(&modulus.len());
        (fits && modulus.first() != Some(&0)).then_some(PublicKey::Rsa { modulus })
    }
}

const HCL: &str = "the HCL report";
const MAX: usize = 64 * 1024;
/// "HCLA".
const SIGNATURE: u32 = 0x414C_4348;
const HARDWARE: usize = 1184;
const TD_REPORT: usize = 1024;
