//! The opaque data of a MEASUREMENTS response: what an NVIDIA device says of itself, each field behind its type and size.
//!
//! Field numbers and encodings are those of NVIDIA's verifiers (nvtrust, `spdm_msrt_resp_msg.py`; attestation-sdk,
//! `gpu_opaque_data_parser`, `switch_opaque_data_parser`). A field that is not known is kept and shown by its number: the device
//! signed it, and nothing is decided on it. A field that appears twice is refused, since readers would differ over which one counts.

use crate::reader::{FormatError, Reader};

/// The fields, in the order of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque<'a>(Vec<(u16, &'a [u8])>);

/// In which of its modes for confidential computing a GPU says that it is (field 36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// One GPU, passed through to one machine.
    SinglePassthrough,
    /// Several GPUs, passed through to one machine, with encryption between them.
    MultiPassthrough,
    /// Several GPUs and switches behind a protected PCIe fabric, with no encryption between them.
    ProtectedPcie,
}

/// A state that these devices write as 0x55 for off and 0xAA for on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// 0x55.
    Off,
    /// 0xAA.
    On,
}

impl<'a> Opaque<'a> {
    /// Parses the whole of the opaque data.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Opaque<'a>, FormatError> {
        let mut reader = Reader::new("the opaque data", bytes);
        let mut fields: Vec<(u16, &[u8])> = Vec::new();
        while !reader.is_empty() {
            let kind = reader.u16_le()?;
            let size = reader.u16_le()?;
            if fields.len() >= MAX_FIELDS || fields.iter().any(|(known, _)| *known == kind) {
                return Err(reader.refuse("field", kind));
            }
            fields.push((kind, reader.take(usize::from(size))?));
        }
        Ok(Opaque(fields))
    }

    /// All fields.
    pub fn fields(&self) -> &[(u16, &'a [u8])] {
        &self.0
    }

    /// The bytes of a field.
    pub fn field(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(known, _)| *known == kind).map(|(_, value)| *value)
    }

    /// A field as text: printable ASCII up to the first zero. `None` also where it is something else.
    pub fn text(&self, kind: u16) -> Option<&'a str> {
        let value = self.field(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        let text = std::str::from_utf8(value.get(..end)?).ok()?;
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
    }

    /// The driver's version, such as `550.90.07`; a switch has none.
    pub fn driver_version(&self) -> Option<&'a str> {
        self.text(DRIVER_VERSION)
    }

    /// The version of the VBIOS of a GPU (8 bytes, little-endian) or of a switch (text), as its makers write it: `96.00.9F.00.01`.
    pub fn vbios_release(&self) -> Option<String> {
        let value = self.field(VBIOS_VERSION)?;
        if let Ok([d, c, b, a, e, _, _, _]) = <[u8; 8]>::try_from(value) {
            return Some(format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}"));
        }
        self.text(VBIOS_VERSION).map(str::to_owned)
    }

    /// The firmware's identity (FWID), which the certificate must repeat; old drivers do not send it.
    pub fn fwid(&self) -> Option<&'a [u8]> {
        self.field(FWID)
    }

    /// Whether NVDEC0, a video decoder, is on. `None`: the field is absent.
    pub(super) fn nvdec0(&self) -> Result<Option<Switch>, FormatError> {
        self.switch(NVDEC0_STATUS, "NVDEC0 status")
    }

    /// Whether the device is part of a protected PCIe fabric.
    pub(super) fn protected_pcie(&self) -> Result<Option<Switch>, FormatError> {
        self.switch(PROTECTED_PCIE_STATUS, "protected PCIe status")
    }

    /// The mode.
    pub(super) fn feature(&self) -> Result<Option<Feature>, FormatError> {
        let Some(value) = self.field(FEATURE_FLAG) else { return Ok(None) };
        let mut reader = Reader::new("the opaque data", value);
        let flag = reader.u16_le()?;
        let feature = match flag {
            0 => Feature::SinglePassthrough,
            1 => Feature::MultiPassthrough,
            2 => Feature::ProtectedPcie,
            other => return Err(reader.refuse("feature flag", other)),
        };
        reader.finish()?;
        Ok(Some(feature))
    }

    fn switch(&self, kind: u16, field: &'static str) -> Result<Option<Switch>, FormatError> {
        let Some(value) = self.field(kind) else { return Ok(None) };
        let mut reader = Reader::new("the opaque data", value);
        let state = match reader.u8()? {
            0x55 => Switch::Off,
            0xAA => Switch::On,
            other => return Err(reader.refuse(field, other)),
        };
        reader.finish()?;
        Ok(Some(state))
    }
}

impl Feature {
    /// The name that its maker uses.
    pub const fn name(self) -> &'static str {
        match self {
            Feature::SinglePassthrough => "spt",
            Feature::MultiPassthrough => "mpt",
            Feature::ProtectedPcie => "ppcie",
        }
    }
}

/// What a field is called, for those that are shown as they are.
pub(super) const fn name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        1 => "cert_issuer_name",
        2 => "cert_authority_key_identifier",
        4 => "gpu_info",
        5 => "sku",
        7 => "manufacturer_id",
        8 => "tamper_detection",
        9 => "smc",
        10 => "vpr",
        12 => "measurement_counters",
        13 => "cprinfo",
        14 => "board_id",
        DEVICE_PDI => "device_pdi",
        23 => "disabled_ports",
        24 => "position_id",
        25 => "lock_status",
        26 => "connected_gpus",
        32 => "gpu_link_connections",
        33 => "system_enable_status",
        34 => "opaque_data_version",
        35 => "chip_info",
        _ => return None,
    })
}

pub(super) const DRIVER_VERSION: u16 = 3;
pub(super) const VBIOS_VERSION: u16 = 6;
pub(super) const NVDEC0_STATUS: u16 = 11;
pub(super) const CHIP_SKU: u16 = 15;
pub(super) const CHIP_SKU_MOD: u16 = 16;
pub(super) const PROJECT: u16 = 17;
pub(super) const PROJECT_SKU: u16 = 18;
pub(super) const PROJECT_SKU_MOD: u16 = 19;
pub(super) const FWID: u16 = 20;
pub(super) const PROTECTED_PCIE_STATUS: u16 = 21;
pub(super) const DEVICE_PDI: u16 = 22;
pub(super) const FEATURE_FLAG: u16 = 36;
const MAX_FIELDS: usize = 64;
