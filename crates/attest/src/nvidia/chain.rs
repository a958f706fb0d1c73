//! The certificates of an NVIDIA device, leaf first: the key of its firmware, the device's own identity, and the maker's authorities up
//! to the pinned root. They run to the year 9999; what ends trust in one is a revocation list.
//!
//! Three facts are taken from them, all signed by the authority above: which chip it is (the name in the leaf, DMTF DSP0274 section
//! "Certificate chain", object identifier 1.3.6.1.4.1.412.274.1), the chip's number (serial number in the subject of the device
//! certificate), and the measurement of the firmware that holds the leaf's key (FWID; TCG DICE Attestation Architecture, sections
//! "TCB Info Evidence" and "Composite Device ID").

use jiff::Timestamp;
use x509_parser::{
    asn1_rs::{Any, Class, FromDer, Tag},
    extensions::{GeneralName, ParsedExtension},
    oid_registry::OID_X509_SERIALNUMBER,
};

use super::{
    NvidiaError,
    revocation::{self, Known, Statements},
};
use crate::certificate::{Certificate, TrustAnchor, check_chain};

/// The kinds of chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chip {
    /// A GPU of the Hopper family (GH).
    Hopper,
    /// A GPU of the Blackwell family (GB).
    Blackwell,
    /// An NVSwitch (LS).
    Switch,
}

/// What the chain says of the device, once it leads to the pinned root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Which chip.
    pub(super) chip: Chip,
    /// Its model, such as `GH100`.
    pub(super) model: String,
    /// The chip's number in lower-case hexadecimal: a byte for its kind, then its PDI.
    pub(super) chip_id: String,
    /// The leaf's serial number, hexadecimal.
    pub(super) serial: String,
    /// The leaf's public key, an uncompressed point of P-384.
    pub(super) key: Vec<u8>,
    /// The measurement of the firmware.
    pub(super) fwid: Vec<u8>,
    /// What the certificate says of the firmware's state (OperationalFlags); zero where it says nothing.
    pub(super) flags: u32,
    /// Of how many certificates a list or a response says that they stand.
    pub(super) revocation: Known,
}

impl Identity {
    /// Walks the chain (PEM or concatenated DER, leaf first) to a pinned root, holds it against what is said of revocation, and reads it.
    pub(super) fn establish(
        bundle: &[u8],
        statements: &Statements<'_>,
        anchors: &[TrustAnchor],
        now: Timestamp,
    ) -> Result<Identity, NvidiaError> {
        let ders = Certificate::split(bundle).map_err(NvidiaError::Certificate)?;
        let chain: Result<Vec<_>, _> = ders.iter().map(|der| Certificate::parse(der)).collect();
        let chain = chain.map_err(NvidiaError::Certificate)?;
        check_chain(&chain, anchors, now).map_err(NvidiaError::Chain)?;
        let revocation = revocation::check(&chain, statements, anchors, now).map_err(NvidiaError::Revocation)?;
        let [leaf, device, _, ..] = chain.as_slice() else { return Err(NvidiaError::ChainTooShort) };
        let model = model(leaf).ok_or(NvidiaError::UnknownDevice(String::new()))?;
        let chip = chip(&model).ok_or_else(|| NvidiaError::UnknownDevice(model.clone()))?;
        let dice = Dice::of(leaf)?;
        Ok(Identity {
            chip,
            model,
            chip_id: chip_id(device).ok_or(NvidiaError::ChipId)?,
            serial: hex::encode(leaf.serial()),
            key: leaf.key_bits().to_vec(),
            fwid: dice.fwid,
            flags: dice.flags,
            revocation,
        })
    }
}

impl Identity {
    /// Whether the firmware is not for production.
    pub(super) const fn is_debug(&self) -> bool {
        self.flags & NOT_FOR_PRODUCTION != 0
    }
}

/// The model in the leaf's subject alternative name: the text `NVIDIA:<model>:<number>`.
fn model(leaf: &Certificate<'_>) -> Option<String> {
    let names = leaf.parsed().extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    })?;
    let text = names.iter().find_map(|name| match name {
        GeneralName::OtherName(oid, value) if oid.to_id_string() == DEVICE_INFO => Some(*value),
        _ => None,
    })?;
    // The value is wrapped in [0]; inside stands a UTF8String.
    let (rest, wrapped) = Any::from_der(text).ok()?;
    let (inside, value) =
        if wrapped.class() == Class::ContextSpecific { Any::from_der(wrapped.data).ok()? } else { (rest, wrapped) };
    if !rest.is_empty() || !inside.is_empty() || value.tag() != Tag::Utf8String {
        return None;
    }
    let mut parts = std::str::from_utf8(value.data).ok()?.split(':');
    let (maker, model, _number) = (parts.next()?, parts.next()?, parts.next()?);
    let sound = model.len() <= 16 && model.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (maker == "NVIDIA" && sound && parts.next().is_none()).then(|| model.to_owned())
}

fn chip(model: &str) -> Option<Chip> {
    match model.get(..2)? {
        "GH" => Some(Chip::Hopper),
        "GB" => Some(Chip::Blackwell),
        "LS" => Some(Chip::Switch),
        _ => None,
    }
}

/// The serial number in the device certificate's subject: 9 bytes in hexadecimal.
fn chip_id(device: &Certificate<'_>) -> Option<String> {
    let serial = device.parsed().subject().iter_by_oid(&OID_X509_SERIALNUMBER).next()?.as_str().ok()?;
    let sound = serial.len() == 18 && serial.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| serial.to_ascii_lowercase())
}

/// What the leaf's DICE extension says of the firmware that holds its key.
struct Dice {
    fwid: Vec<u8>,
    flags: u32,
}

impl Dice {
    fn of(leaf: &Certificate<'_>) -> Result<Dice, NvidiaError> {
        let dice = match (leaf.extension(TCB_INFO), leaf.extension(COMPOSITE_DEVICE_ID)) {
            (Some(value), None) => Dice::tcb_info(value),
            (None, Some(value)) => Dice::composite_device_id(value),
            (None, None) => return Err(NvidiaError::FwidMissing),
            (Some(_), Some(_)) => None,
        };
        dice.ok_or(NvidiaError::DiceExtension)
    }

    /// Hopper and switches: SEQUENCE { version, key, FWID }.
    fn composite_device_id(value: &[u8]) -> Option<Dice> {
        let [_version, _key, fwid] = elements(value)?.try_into().ok()?;
        Some(Dice { fwid: fwid_value(&fwid)?, flags: 0 })
    }

    /// Blackwell: SEQUENCE { …, fwids [6], flags [7], … }. The first FWID is that of the firmware.
    fn tcb_info(value: &[u8]) -> Option<Dice> {
        let (mut fwid, mut flags) = (None, 0);
        for field in elements(value)? {
            if field.class() != Class::ContextSpecific {
                return None;
            }
            match field.tag().0 {
                6 => {
                    let (_, first) = Any::from_der(field.data).ok()?;
                    fwid = Some(fwid_value(&first)?);
                }
                7 => {
                    flags = operational_flags(field.data)?;
                }
                _ => {}
            }
        }
        Some(Dice { fwid: fwid?, flags })
    }
}

/// OperationalFlags, the first bit as the highest. The bit string may be of four bytes, as NVIDIA's are, or end with its last set bit, as DER has
/// named bits (X.690, section 11.2.2); bits beyond the 32nd are not known.
fn operational_flags(bit_string: &[u8]) -> Option<u32> {
    let [unused, bits @ ..] = bit_string else { return None };
    let mut flags = [0; 4];
    if bits.len() > flags.len() {
        return None;
    }
    for (to, from) in flags.iter_mut().zip(bits) {
        *to = *from;
    }
    let padding = bits.last().map_or(0, |last| last.trailing_zeros().min(7));
    (u32::from(*unused) <= padding).then_some(u32::from_be_bytes(flags))
}

/// The elements of a SEQUENCE that uses up its bytes.
fn elements(der: &[u8]) -> Option<Vec<Any<'_>>> {
    let (rest, sequence) = Any::from_der(der).ok()?;
    if !rest.is_empty() || sequence.tag() != Tag::Sequence || sequence.class() != Class::Universal {
        return None;
    }
    let mut inside = sequence.data;
    let mut found = Vec::new();
    while !inside.is_empty() {
        let (rest, element) = Any::from_der(inside).ok()?;
        found.push(element);
        inside = rest;
    }
    Some(found)
}

/// A FWID: SEQUENCE { SHA-384, digest }.
fn fwid_value(fwid: &Any<'_>) -> Option<Vec<u8>> {
    if fwid.tag() != Tag::Sequence || fwid.class() != Class::Universal {
        return None;
    }
    let (rest, algorithm) = Any::from_der(fwid.data).ok()?;
    let (rest, digest) = Any::from_der(rest).ok()?;
    let sound = rest.is_empty()
        && algorithm.tag() == Tag::Oid
        && algorithm.data == SHA384
        && digest.tag() == Tag::OctetString
        && digest.data.len() == 48;
    sound.then(|| digest.data.to_vec())
}

const DEVICE_INFO: &str = "1.3.6.1.4.1.412.274.1";
const TCB_INFO: &str = "2.23.133.5.4.1.1";
const COMPOSITE_DEVICE_ID: &str = "2.23.133.5.4.1";
/// 2.16.840.1.101.3.4.2.2.
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
/// Of OperationalFlags, counted from the most significant bit (notConfigured 0), these: notSecure 1, recovery 2, debug 3.
const NOT_FOR_PRODUCTION: u32 = 0x7000_0000;
