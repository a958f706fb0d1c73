//! The examination of one GPU or switch, and its comparison with manifests.
//!
//! Two values, each made by its check alone: a [`Device`] whose report is genuine, and a device [`Compared`] with Reference Values that
//! its maker signed. Only the second can be part of a [`super::composite`].
//!
//! What the report does not say is not guessed: the collector's own statements about the mode are the composite's business, where the
//! processor's Evidence vouches for the collector.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::{
    Chip, Feature, NvidiaError, Report, Rim, Statements, Switch,
    chain::Identity,
    opaque::{self, Opaque},
    revocation::Known,
};
use crate::{
    Tier,
    certificate::TrustAnchor,
    platform::{Assurance, Claim, Genuine, Platform, Steps, claim, claim_hex, register},
};

/// What a device sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceEvidence {
    /// The request and the response, at most 16 KiB.
    pub report: Vec<u8>,
    /// Its certificates, leaf first: PEM, or DER one after the other.
    pub certificates: Vec<u8>,
}

/// One entry of the list that NVIDIA's collectors write. What they say beside these (an architecture, a nonce) is repeated in what is signed.
#[derive(serde::Deserialize)]
struct Collected {
    evidence: String,
    certificate: String,
}

impl DeviceEvidence {
    /// Reads the JSON of NVIDIA's collectors: a list of devices, each with `evidence` and `certificate` in base64.
    ///
    /// `None` for anything else, also for an empty list, more than 128 devices, or more than 4 MiB.
    pub fn from_collector(json: &[u8]) -> Option<Vec<DeviceEvidence>> {
        if json.len() > MAX_COLLECTED {
            return None;
        }
        let collected: Vec<Collected> = serde_json::from_slice(json).ok()?;
        if collected.is_empty() || collected.len() > MAX_DEVICES {
            return None;
        }
        let bytes = |text: String| STANDARD.decode(text).ok();
        let device = |entry: Collected| {
            Some(DeviceEvidence { report: bytes(entry.evidence)?, certificates: bytes(entry.certificate)? })
        };
        collected.into_iter().map(device).collect()
    }
}

/// Which device is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A GPU.
    Gpu,
    /// An NVSwitch.
    Switch,
}

/// Who and what vouches for a device.
#[derive(Debug, Clone)]
pub struct Endorsements<'a> {
    /// The pinned roots of device certificates; ordinarily [`crate::roots::Authority::NvidiaDevice`].
    pub anchors: Vec<TrustAnchor>,
    /// What the authorities of the chain say of revocation. Every statement given is checked; the claim `revocation` tells of how many
    /// certificates they speak, and where it is not all of them the assurance is [`Assurance::RevocationUnknown`].
    pub revocation: Statements<'a>,
    /// The Reference Values that the maker signed.
    pub references: References<'a>,
}

/// What the measurements are held against.
#[derive(Debug, Clone, Copy)]
pub enum References<'a> {
    /// The maker's manifests; at least one.
    Manifests(&'a [Rim]),
    /// Nothing here: the owner's policy names the measurements as registers.
    Policy,
}

/// What a manifest is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManifestOf {
    /// The driver's firmware, by the version of the driver.
    Driver,
    /// The VBIOS, by its release.
    Vbios,
}

/// A device whose report is genuine. Made by [`Device::examine`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    genuine: Genuine,
    measurements: Vec<[u8; 48]>,
    model: String,
    driver: Option<String>,
    vbios: Option<String>,
}

/// A genuine device that measures what its manifests say. Made by [`Device::compare`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared(pub(super) Genuine);

/// Examines a device and, where the Endorsements have manifests, compares it with them.
///
/// # Errors
/// The first step that fails.
pub fn examine(
    kind: Kind,
    evidence: &DeviceEvidence,
    endorsements: &Endorsements<'_>,
    now: Timestamp,
) -> Result<Genuine, NvidiaError> {
    let device = Device::examine(kind, evidence, endorsements, now)?;
    match endorsements.references {
        References::Policy => Ok(device.genuine),
        References::Manifests(manifests) => Ok(device.compare(manifests)?.0),
    }
}

impl Device {
    /// Steps 1 to 6: the report is well formed, signed by a device under a pinned root, and in a mode that is accepted.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn examine(
        kind: Kind,
        evidence: &DeviceEvidence,
        endorsements: &Endorsements<'_>,
        now: Timestamp,
    ) -> Result<Device, NvidiaError> {
        let mut steps = Steps::default();
        let report = Report::parse(&evidence.report).map_err(NvidiaError::Report)?;
        steps.pass(1, format!("the report is of SPDM 1.1 and has {} measurements", report.measurements().len()));
        let (anchors, revocation) = (&endorsements.anchors, &endorsements.revocation);
        let identity = Identity::establish(&evidence.certificates, revocation, anchors, now)?;
        steps.pass(2, "the device's certificates lead to the pinned root");
        check_kind(kind, &identity)?;
        steps.pass(3, format!("the device is the {} with the number {}", identity.model, identity.chip_id));
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &identity.key);
        key.verify(report.signed(), report.signature()).map_err(|_| NvidiaError::Signature)?;
        steps.pass(4, "the device's key signed the request and the measurements");
        check_repeated(&identity, report.opaque())?;
        steps.pass(5, "what the report repeats of the certificate (firmware, a switch's number) is the same");
        let mode = check_mode(&identity, report.opaque())?;
        steps.pass(6, "the firmware is for production, and the mode is known");
        Ok(Device {
            measurements: report.measurements().to_vec(),
            driver: report.opaque().driver_version().map(str::to_owned),
            vbios: report.opaque().vbios_release(),
            genuine: genuine(&report, &identity, mode, steps, now),
            model: identity.model,
        })
    }

    /// Step 7: every active Reference Value of the manifests is met, and they are for this chip: one for its driver and one for its VBIOS, or
    /// of a switch the latter alone.
    ///
    /// # Errors
    /// [`NvidiaError::NoManifest`] for an empty list; else the first measurement that differs, a manifest for something else, or one too many
    /// or too few.
    pub fn compare(self, manifests: &[Rim]) -> Result<Compared, NvidiaError> {
        if manifests.is_empty() {
            return Err(NvidiaError::NoManifest);
        }
        let mut compared = std::collections::BTreeSet::new();
        for (index, accepted) in manifests.iter().flat_map(Rim::measurements) {
            let number = index + 1;
            if !compared.insert(number) {
                return Err(NvidiaError::ManifestConflict(number));
            }
            let actual = self.measurements.get(*index).ok_or(NvidiaError::MeasurementMissing(number))?;
            if !accepted.contains(actual) {
                return Err(NvidiaError::Measurement { index: number, actual: hex::encode(actual) });
            }
        }
        let mut met = std::collections::BTreeSet::new();
        for manifest in manifests {
            let part = self.meant(manifest)?;
            if !met.insert(part) {
                return Err(NvidiaError::ManifestTwice(part));
            }
        }
        if let Some((part, _)) = self.parts().into_iter().flatten().find(|(part, _)| !met.contains(part)) {
            return Err(NvidiaError::ManifestMissing(part));
        }
        let Device { mut genuine, .. } = self;
        if !manifests.iter().all(Rim::is_revocation_known) {
            genuine.assurance = Assurance::RevocationUnknown;
        }
        let words = format!("{} measurements are those that the maker's manifests list", compared.len());
        genuine.steps.push(crate::Step { number: 7, words });
        genuine.claims.retain(|claim| claim.name != "reference_values");
        genuine.claims.push(claim("reference_values", "match", "the measurements are those of the maker's manifests"));
        genuine.claims.push(claim("compared", compared.len(), "how many measurements have Reference Values"));
        Ok(Compared(genuine))
    }

    /// What the report says, with its origin; its measurements have been compared with nothing yet.
    pub const fn genuine(&self) -> &Genuine {
        &self.genuine
    }

    /// What of the device has Reference Values, with the version that it names.
    fn parts(&self) -> [Option<(ManifestOf, Option<&str>)>; 2] {
        let vbios = Some((ManifestOf::Vbios, self.vbios.as_deref()));
        match self.genuine.platform() {
            Platform::NvidiaSwitch => [None, vbios],
            _ => [Some((ManifestOf::Driver, self.driver.as_deref())), vbios],
        }
    }

    /// Which part of this chip a manifest is for, by the version that the device names.
    fn meant(&self, manifest: &Rim) -> Result<ManifestOf, NvidiaError> {
        let named = |version: Option<&str>| version.is_some_and(|it| it.eq_ignore_ascii_case(manifest.version()));
        let part = self.parts().into_iter().flatten().find(|(_, version)| named(*version));
        // The chip's name has an underscore in certificates (LS_10) and none in manifests.
        if let Some((part, _)) = part.filter(|_| manifest.product() == self.model.replace('_', "")) {
            return Ok(part);
        }
        let unknown = || "unknown".to_owned();
        let device = [self.driver.clone().unwrap_or_else(unknown), self.vbios.clone().unwrap_or_else(unknown)];
        Err(NvidiaError::ManifestForOther {
            manifest: format!("{} {}", manifest.product(), manifest.version()),
            device: format!("{} {}", self.model, device.join(" ")),
        })
    }
}

impl ManifestOf {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            ManifestOf::Driver => "driver",
            ManifestOf::Vbios => "VBIOS",
        }
    }
}

impl Compared {
    /// What the report says, with its origin.
    pub const fn genuine(&self) -> &Genuine {
        &self.0
    }

    /// The same, for appraisal under a policy.
    pub fn into_genuine(self) -> Genuine {
        self.0
    }
}

fn check_kind(kind: Kind, identity: &Identity) -> Result<(), NvidiaError> {
    let expected = match (kind, identity.chip) {
        (Kind::Gpu, Chip::Hopper | Chip::Blackwell) | (Kind::Switch, Chip::Switch) => return Ok(()),
        (Kind::Gpu, Chip::Switch) => "GPU",
        (Kind::Switch, Chip::Hopper | Chip::Blackwell) => "switch",
    };
    Err(NvidiaError::OtherDevice { expected, actual: identity.model.clone() })
}

/// What the report repeats of the certificate: drivers since 550 the firmware's identity, a switch its number.
fn check_repeated(identity: &Identity, opaque: &Opaque<'_>) -> Result<(), NvidiaError> {
    if opaque.fwid().is_some_and(|fwid| !bool::from(fwid.ct_eq(identity.fwid.as_slice()))) {
        return Err(NvidiaError::FwidMismatch);
    }
    // The first byte of the certificate's number tells the kind of chip. A GPU lists its switches in this field.
    let pdi = opaque.field(opaque::DEVICE_PDI).filter(|_| identity.chip == Chip::Switch).map(hex::encode);
    if pdi.is_some_and(|pdi| identity.chip_id.get(2..) != Some(pdi.as_str())) {
        return Err(NvidiaError::OtherChip);
    }
    Ok(())
}

struct Mode {
    nvdec0: Option<Switch>,
    protected_pcie: Option<Switch>,
    feature: Option<Feature>,
}

fn check_mode(identity: &Identity, opaque: &Opaque<'_>) -> Result<Mode, NvidiaError> {
    if identity.is_debug() {
        return Err(NvidiaError::DebugFirmware(identity.flags));
    }
    let mode = Mode {
        nvdec0: opaque.nvdec0().map_err(NvidiaError::Mode)?,
        protected_pcie: opaque.protected_pcie().map_err(NvidiaError::Mode)?,
        feature: opaque.feature().map_err(NvidiaError::Mode)?,
    };
    match (mode.feature, mode.protected_pcie) {
        (Some(Feature::ProtectedPcie), Some(Switch::Off))
        | (Some(Feature::SinglePassthrough | Feature::MultiPassthrough), Some(Switch::On)) => {
            Err(NvidiaError::ModeContradicts(mode.feature.map_or("", Feature::name)))
        }
        _ => Ok(mode),
    }
}

fn genuine(report: &Report<'_>, identity: &Identity, mode: Mode, steps: Steps, now: Timestamp) -> Genuine {
    let registers = report.measurements().iter().enumerate();
    Genuine {
        platform: match identity.chip {
            Chip::Hopper | Chip::Blackwell => Platform::NvidiaGpu,
            Chip::Switch => Platform::NvidiaSwitch,
        },
        assurance: if identity.revocation.is_whole() { Assurance::Affirmed } else { Assurance::RevocationUnknown },
        // A device proves its own firmware and mode, as a discrete TPM does for its machine; what runs on the processor it cannot know.
        tier: Tier::Tpm,
        debug: false,
        bound: report.nonce().to_vec(),
        hardware_id: Some(identity.chip_id.clone()),
        registers: registers.map(|(index, value)| register(&format!("measurement{}", index + 1), value)).collect(),
        claims: claims(report, identity, mode),
        steps: steps.done(),
        examined_at: now,
    }
}

fn claims(report: &Report<'_>, identity: &Identity, mode: Mode) -> Vec<Claim> {
    let opaque = report.opaque();
    let mut claims = vec![
        claim_hex("nonce", report.nonce(), "the requester's nonce, which the signature covers"),
        claim("spdm_version", "11", "the version of the protocol: 1.1"),
        claim("measurement_count", report.measurements().len(), "how many measurements the device sent"),
        claim("model", &identity.model, "the chip"),
        claim("chip_id", &identity.chip_id, "the number of this very chip"),
        claim(
            "device_cert_serial",
            format!("0x{}", identity.serial),
            "the serial number of the firmware's certificate",
        ),
        claim_hex("fwid", &identity.fwid, "the measurement of the firmware that holds the signing key"),
    ];
    let revocation = match identity.revocation {
        Known { stand: 0, .. } => "not-checked".to_owned(),
        Known { stand, below_root } => format!("{stand} of {below_root} stand"),
    };
    claims.push(claim("revocation", revocation, "of how many certificates the maker says that they were not revoked"));
    claims.push(claim(
        "reference_values",
        "not-compared",
        "whether measurements were held against the maker's manifests",
    ));
    let texts = [
        (opaque::DRIVER_VERSION, "driver_version", "the version of the driver"),
        (opaque::CHIP_SKU, "chip_sku", "the product number of the chip"),
        (opaque::CHIP_SKU_MOD, "chip_sku_mod", "its modification"),
        (opaque::PROJECT, "board_or_project", "the board"),
        (opaque::PROJECT_SKU, "project_sku", "the product number of the board"),
        (opaque::PROJECT_SKU_MOD, "project_sku_mod", "its modification"),
    ];
    for (kind, name, words) in texts {
        claims.extend(opaque.text(kind).map(|text| claim(name, text, words)));
    }
    claims.extend(vbios(opaque));
    let switch = |state: Switch| match state {
        Switch::Off => "off",
        Switch::On => "on",
    };
    claims.extend(mode.nvdec0.map(|state| claim("nvdec0", switch(state), "whether the video decoder 0 is on")));
    let words = "whether the device is part of a protected PCIe fabric";
    claims.extend(mode.protected_pcie.map(|state| claim("protected_pcie", switch(state), words)));
    let words = "the mode for confidential computing: one GPU, several GPUs, or a protected PCIe fabric";
    claims.extend(mode.feature.map(|feature| claim("feature", feature.name(), words)));
    for (kind, value) in opaque.fields() {
        if let Some(name) = opaque::name(*kind) {
            claims.push(claim_hex(name, value, format!("field {kind} of the device's own data, as it is")));
        }
    }
    claims
}

fn vbios(opaque: &Opaque<'_>) -> Vec<Claim> {
    let Some(value) = opaque.field(opaque::VBIOS_VERSION) else { return Vec::new() };
    let mut claims = Vec::new();
    match <[u8; 8]>::try_from(value) {
        Ok(bytes) => {
            let number = format!("{:016x}", u64::from_le_bytes(bytes));
            claims.push(claim("vbios_version", number, "the version of the VBIOS as a number"));
        }
        Err(_) => {
            let text = opaque.text(opaque::VBIOS_VERSION);
            claims.extend(text.map(|text| claim("vbios_version", text, "the version of the VBIOS")));
        }
    }
    claims
        .extend(opaque.vbios_release().map(|text| claim("vbios_release", text, "the version as its maker writes it")));
    claims
}

const MAX_COLLECTED: usize = 4 * 1024 * 1024;
const MAX_DEVICES: usize = 128;
