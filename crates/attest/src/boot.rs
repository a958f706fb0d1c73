//! What an event log tells people about a machine's start: whether Secure Boot was on, what was loaded, with which command line.
//!
//! A replay proves an order of digests. So whatever is told here says how far a digest vouches for it ([`Vouched`]): for all data, for a part
//! of it, or for nothing. An event's *type* is never covered by a digest, nor is the word that a boot loader puts before its text; both are
//! labels that the log's writer chose. Therefore Secure Boot is not read from an event that calls itself so: the three possible
//! events are hashed here, and their digests are looked for before the first separator, which is known by its digest, too. One of them there,
//! once, is the answer; anything else is none (case T9: an event that comes twice or after the end).
//!
//! Everything holds for the log, and for the machine only where the log replays to registers that its Evidence vouches for.
//! Deliberately absent: decisions. Policies compare registers; nothing here is a check.
//!
//! Formats: TCG PC Client Platform Firmware Profile 1.06, sections 3.3.4 and 10; UEFI 2.10, sections 10.3 (device paths) and 38.4; events of
//! GRUB, systemd's stub and Linux as their sources write them.

use std::{borrow::Cow, collections::BTreeMap};

use envelope::text::shown;
use serde::Serialize;

use crate::{HashAlgorithm, ccel::CcEventLog, event_log::EventLog, events::Event, reader::Reader};

/// What a log tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Whether only signed code was started.
    pub secure_boot: SecureBoot,
    /// The command lines that a digest vouches for, in order. That it is a *kernel's* is the boot loader's label.
    pub command_lines: Vec<CommandLine>,
    /// The programs that firmware started: boot loaders, drivers, kernels with a stub.
    pub programs: Vec<Program>,
    /// The sections of unified kernel images, each name vouched for by the event before its content's.
    pub sections: Vec<Section>,
    /// Every event.
    pub events: Vec<Told>,
}

/// Whether Secure Boot was on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecureBoot {
    /// On.
    On,
    /// Off, or not available.
    Off,
    /// The digests do not tell.
    NotTold(NotTold),
}

/// Why Secure Boot is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotTold {
    /// No separator ends the firmware's part of the register.
    NotClosed,
    /// Not measured before the separator.
    Absent,
    /// Measured more than once, or after the separator.
    Repeated,
}

/// How far an event's digest vouches for its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vouched {
    /// The digest is the hash of the data.
    Whole,
    /// The digest is the hash of a part: a text without its label, a variable's value without its name, a name of what comes next.
    Part,
    /// The digest is that of something else, such as a program. The data is a note of whoever wrote the log.
    Not,
    /// The event was not extended into any register.
    NotExtended,
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandLine {
    /// Such as `pcr8` or `rtmr2`.
    pub register: String,
    /// The text, vouched for.
    pub text: String,
}

/// A program that firmware started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The register.
    pub register: String,
    /// Its Authenticode digest, in hexadecimal: vouched for.
    pub digest: String,
    /// Where it was loaded from: not vouched for. `None` where no file is named.
    pub path: Option<String>,
}

/// A section of a unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The register.
    pub register: String,
    /// Such as `.linux`: vouched for.
    pub name: String,
    /// The digest of its content, in hexadecimal.
    pub digest: String,
}

/// One event, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its place in the log, from zero.
    pub index: usize,
    /// The register.
    pub register: String,
    /// The name of its type, which no digest covers.
    pub kind: String,
    /// How far its data counts.
    pub vouched: Vouched,
    /// What the data says; where it is vouched for in part, that part.
    pub words: String,
}

impl EventLog {
    /// What the log tells, by the digests of one of its banks.
    pub fn describe(&self, bank: HashAlgorithm) -> Description {
        let seen = self.entries().iter().enumerate().map(|(index, entry)| Seen {
            index,
            register: register_name(entry.pcr),
            kind: entry.kind,
            name: "",
            digest: if entry.kind == EV_NO_ACTION { &[] } else { entry.digest(bank).unwrap_or_default() },
            data: &entry.data,
        });
        describe(seen, bank, "pcr7")
    }
}

impl CcEventLog {
    /// What the log tells.
    pub fn describe(&self) -> Description {
        let seen = self.events().iter().enumerate().map(|(index, event)| Seen {
            index,
            register: format!("rtmr{}", event.rtmr),
            kind: event.kind,
            name: &event.name,
            digest: &event.digest,
            data: &event.data,
        });
        describe(seen, self.bank(), "rtmr0")
    }
}

impl SecureBoot {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            SecureBoot::On => "on: the firmware started only what keys in its data base had signed",
            SecureBoot::Off => "off: the firmware started whatever was there",
            SecureBoot::NotTold(NotTold::NotClosed) => "not told: no separator ends the firmware's events",
            SecureBoot::NotTold(NotTold::Absent) => "not told: it was not measured before the separator",
            SecureBoot::NotTold(NotTold::Repeated) => {
                "not told: it was measured more than once, or after the separator, so nothing of it counts"
            }
        }
    }
}

impl Vouched {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Vouched::Whole => "the digest is over this",
            Vouched::Part => "the digest is over this, not over what it is called",
            Vouched::Not => "not vouched for: the digest is of something else",
            Vouched::NotExtended => "not vouched for: it was not measured",
        }
    }
}

/// An event of either kind of log. The digest is empty where nothing was extended.
struct Seen<'a> {
    index: usize,
    register: String,
    kind: u32,
    name: &'a str,
    digest: &'a [u8],
    data: &'a [u8],
}

fn describe<'a>(seen: impl Iterator<Item = Seen<'a>>, bank: HashAlgorithm, secure: &str) -> Description {
    let mut story = Description {
        secure_boot: SecureBoot::NotTold(NotTold::NotClosed),
        command_lines: Vec::new(),
        programs: Vec::new(),
        sections: Vec::new(),
        events: Vec::new(),
    };
    let mut watch = Watch::new(bank);
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    for event in seen {
        if event.register == secure && !event.digest.is_empty() {
            watch.see(event.digest);
        }
        let (vouched, part) = event.vouched(bank);
        // A section's content is measured right after its name.
        if let Some(name) = named.remove(&event.register).filter(|_| !event.digest.is_empty()) {
            let digest = hex::encode(event.digest);
            story.sections.push(Section { register: event.register.clone(), name, digest });
        } else if let Some(name) = event.section_name(vouched, &part) {
            named.insert(event.register.clone(), name);
        }
        if let Some(text) = event.command_line(vouched, &part) {
            story.command_lines.push(CommandLine { register: event.register.clone(), text });
        }
        if PROGRAMS.contains(&event.kind) && !event.digest.is_empty() {
            let (register, digest) = (event.register.clone(), hex::encode(event.digest));
            story.programs.push(Program { register, digest, path: loaded_from(event.data) });
        }
        let words = event.words(&part);
        let Seen { index, register, kind, .. } = event;
        story.events.push(Told { index, register, kind: kind_name(kind), vouched, words });
    }
    story.secure_boot = watch.told;
    story
}

/// Looks, in one register, for the digests that tell of Secure Boot, up to the first separator.
struct Watch {
    known: [(Vec<u8>, SecureBoot); 3],
    separators: [Vec<u8>; 3],
    found: Option<SecureBoot>,
    repeated: bool,
    told: SecureBoot,
    closed: bool,
}

impl Watch {
    fn new(bank: HashAlgorithm) -> Watch {
        let event = |value: &[u8]| bank.hash(&[&secure_boot_variable(value)]);
        let separator = |value: u32| bank.hash(&[&value.to_le_bytes()]);
        Watch {
            known: [(event(&[1]), SecureBoot::On), (event(&[0]), SecureBoot::Off), (event(&[]), SecureBoot::Off)],
            separators: [separator(0), separator(u32::MAX), separator(1)],
            found: None,
            repeated: false,
            told: SecureBoot::NotTold(NotTold::NotClosed),
            closed: false,
        }
    }

    fn see(&mut self, digest: &[u8]) {
        if let Some((_, state)) = self.known.iter().find(|(known, _)| known == digest) {
            // Behind the separator, too: whoever measures it there wants it to be found.
            self.repeated |= self.closed || self.found.is_some();
            self.found = self.found.or(Some(*state));
        }
        self.closed |= self.separators.iter().any(|separator| separator == digest);
        self.told = match (self.closed, self.repeated, self.found) {
            (false, _, _) => SecureBoot::NotTold(NotTold::NotClosed),
            (true, true, _) => SecureBoot::NotTold(NotTold::Repeated),
            (true, false, None) => SecureBoot::NotTold(NotTold::Absent),
            (true, false, Some(state)) => state,
        };
    }
}

/// UEFI_VARIABLE_DATA of the variable `SecureBoot`.
fn secure_boot_variable(value: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = "SecureBoot".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut out = EFI_GLOBAL_VARIABLE.to_vec();
    out.extend_from_slice(&10_u64.to_le_bytes());
    out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    out.extend_from_slice(&name);
    out.extend_from_slice(value);
    out
}

impl<'a> Seen<'a> {
    /// How far the digest vouches for the data, and the part that it vouches for (all of it where it does not).
    fn vouched(&self, bank: HashAlgorithm) -> (Vouched, Cow<'a, [u8]>) {
        let whole = Cow::Borrowed(self.data);
        if self.digest.is_empty() {
            return (Vouched::NotExtended, whole);
        }
        let is_digest_of = |part: &[u8]| bank.hash(&[part]) == self.digest;
        if !self.name.is_empty() {
            let agent = bank.hash(&[&self.kind.to_le_bytes(), b":", self.name.as_bytes(), b":", self.data]);
            return (if agent == self.digest { Vouched::Whole } else { Vouched::Not }, whole);
        }
        if is_digest_of(self.data) {
            return (Vouched::Whole, whole);
        }
        match self.parts().into_iter().find(|part| is_digest_of(part)) {
            Some(part) => (Vouched::Part, part),
            None => (Vouched::Not, whole),
        }
    }

    /// The parts that a digest can be over, by type.
    fn parts(&self) -> Vec<Cow<'a, [u8]>> {
        let data = self.data;
        match self.kind {
            EV_EFI_VARIABLE_BOOT | EV_EFI_VARIABLE_AUTHORITY => {
                variable(data).map(|(_, value)| Cow::Borrowed(value)).into_iter().collect()
            }
            EV_EVENT_TAG => data.get(8..).map(Cow::Borrowed).into_iter().collect(),
            EV_IPL | EV_ACTION => {
                let bare = trimmed(data);
                let mut parts = vec![Cow::Borrowed(bare), Cow::Owned([data, &[0]].concat())];
                // GRUB: `grub_cmd: …`, `kernel_cmdline: …`.
                let label = bare.windows(2).position(|window| window == b": ");
                parts.extend(label.and_then(|label| bare.get(label + 2..)).map(Cow::Borrowed));
                // Older ones, as of RHEL 8: `grub_cmd …`, the text with its zero and a byte that may follow.
                let space = data.iter().position(|byte| *byte == b' ');
                parts.extend(space.and_then(|space| data.get(space + 1..)).map(Cow::Borrowed));
                // systemd's stub: the name in UTF-16, of which the ASCII text with its zero is measured.
                parts.extend(utf16(data).filter(|text| text.is_ascii()).map(|text| Cow::Owned(text.into_bytes())));
                parts
            }
            _ => Vec::new(),
        }
    }

    fn section_name(&self, vouched: Vouched, part: &[u8]) -> Option<String> {
        let name = part.strip_suffix(&[0])?;
        let is_name = self.kind == EV_IPL && vouched == Vouched::Part && name.first() == Some(&b'.');
        let fits = name.len() <= 9 && name.iter().skip(1).all(u8::is_ascii_alphanumeric);
        (is_name && fits).then(|| String::from_utf8_lossy(name).into_owned())
    }

    fn command_line(&self, vouched: Vouched, part: &[u8]) -> Option<String> {
        if self.kind != EV_IPL || !matches!(vouched, Vouched::Whole | Vouched::Part) {
            return None;
        }
        let is_labelled = KERNEL_LABELS.iter().any(|label| self.data.starts_with(label));
        if is_labelled && vouched == Vouched::Part {
            return Some(shown(&text_of(part), MAX_WORDS));
        }
        // systemd's stub and boot loader: UTF-16, measured as it is. Bytes of ASCII are UTF-16, too, of other scripts: those are not meant.
        let ascii = |bytes: &[u8]| utf16(bytes).filter(|text| text.is_ascii());
        let text = ascii(part).or_else(|| ascii(part.strip_suffix(&[0])?))?;
        let text = text.trim_end_matches('\0').to_owned();
        // One word is not taken for a command line.
        (text.contains(' ') || text.contains('=')).then(|| shown(&text, MAX_WORDS))
    }

    fn words(&self, part: &[u8]) -> String {
        let said = match self.kind {
            EV_NO_ACTION => first_text(self.data),
            EV_SEPARATOR => match self.data {
                [0, 0, 0, 0] | [0xFF, 0xFF, 0xFF, 0xFF] => "the end of what firmware measures here".to_owned(),
                _ => "an error of the firmware".to_owned(),
            },
            EV_EFI_VARIABLE_DRIVER_CONFIG
            | EV_EFI_VARIABLE_BOOT
            | EV_EFI_VARIABLE_BOOT2
            | EV_EFI_VARIABLE_AUTHORITY => {
                variable(self.data).map_or_else(String::new, |(name, value)| variable_words(&name, value))
            }
            kind if PROGRAMS.contains(&kind) => loaded_from(self.data).unwrap_or_else(|| "no file is named".to_owned()),
            EV_EFI_GPT_EVENT => "the table of partitions".to_owned(),
            _ => match Event::decode(self.kind, self.data) {
                Some(Event::Role { role, binary }) => format!("Glovebox: the role {role} of {binary} is started"),
                Some(Event::SystemReady) => "Glovebox: the start is over".to_owned(),
                Some(Event::Run { commitment }) => format!("Glovebox: a run, {commitment}"),
                None if self.name.is_empty() => text_of(part),
                None => format!("{} = {}", self.name, text_of(part)),
            },
        };
        shown(&said, MAX_WORDS)
    }
}

/// Name and value of UEFI_VARIABLE_DATA.
fn variable(data: &[u8]) -> Option<(String, &[u8])> {
    let mut reader = Reader::new("the variable", data);
    reader.take(16).ok()?;
    let name = usize::try_from(u64::from_le_bytes(reader.array().ok()?)).ok()?;
    let size = usize::try_from(u64::from_le_bytes(reader.array().ok()?)).ok()?;
    let name = utf16(reader.take(name.checked_mul(2)?).ok()?)?;
    let value = reader.take(size).ok()?;
    Some((name, value))
}

fn variable_words(name: &str, value: &[u8]) -> String {
    match value {
        [] => format!("the variable {name}, which is not set"),
        [byte] => format!("the variable {name} = {byte}"),
        _ => format!("the variable {name}, {} bytes", value.len()),
    }
}

/// The file that UEFI_IMAGE_LOAD_EVENT names: the last file path in its device path.
fn loaded_from(data: &[u8]) -> Option<String> {
    let mut reader = Reader::new("the image", data);
    reader.take(24).ok()?;
    let size = usize::try_from(u64::from_le_bytes(reader.array().ok()?)).ok()?;
    let mut path = Reader::new("the device path", reader.take(size).ok()?);
    let mut file = None;
    while !path.is_empty() {
        let [kind, subtype] = path.array().ok()?;
        let size = usize::from(path.u16_le().ok()?).checked_sub(4)?;
        let node = path.take(size).ok()?;
        if (kind, subtype) == (4, 4) {
            file = utf16(node).map(|text| text.trim_end_matches('\0').to_owned());
        }
    }
    file
}

/// The printable text that bytes are, or their hexadecimal.
fn text_of(bytes: &[u8]) -> String {
    let printable = |text: &str| !text.is_empty() && text.chars().all(|char| !char.is_control());
    // Older GRUBs measure one byte behind the zero, too.
    let bare = trimmed(match bytes {
        [text @ .., 0, _] => text,
        text => text,
    });
    if let Some(text) = std::str::from_utf8(bare).ok().filter(|text| printable(text)) {
        return text.to_owned();
    }
    let wide = utf16(bytes).map(|text| text.trim_end_matches('\0').to_owned());
    match wide.filter(|text| text.is_ascii() && printable(text)) {
        Some(text) => text,
        None => hex::encode(bytes.get(..bytes.len().min(MAX_WORDS)).unwrap_or_default()),
    }
}

/// The text before the first byte that is not printable.
fn first_text(data: &[u8]) -> String {
    let end = data.iter().position(|byte| !(0x20..0x7F).contains(byte)).unwrap_or(data.len());
    data.get(..end).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

fn utf16(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(2) {
        return None;
    }
    let units = bytes.chunks_exact(2).map(|pair| pair.try_into().map(u16::from_le_bytes).unwrap_or_default());
    char::decode_utf16(units).collect::<Result<String, _>>().ok()
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

fn register_name(pcr: u32) -> String {
    if pcr == u32::MAX { "none".to_owned() } else { format!("pcr{pcr}") }
}

fn kind_name(kind: u32) -> String {
    let known = KINDS.iter().find(|(number, _)| *number == kind);
    known.map_or_else(|| format!("{kind:#010x}"), |(_, name)| (*name).to_owned())
}

const MAX_WORDS: usize = 400;
const KERNEL_LABELS: [&[u8]; 2] = [b"kernel_cmdline: ", b"grub_kernel_cmdline "];
/// 8be4df61-93ca-11d2-aa0d-00e098032b8c.
const EFI_GLOBAL_VARIABLE: [u8; 16] =
    [0x61, 0xDF, 0xE4, 0x8B, 0xCA, 0x93, 0xD2, 0x11, 0xAA, 0x0D, 0x00, 0xE0, 0x98, 0x03, 0x2B, 0x8C];
const EV_NO_ACTION: u32 = 0x03;
const EV_SEPARATOR: u32 = 0x04;
const EV_ACTION: u32 = 0x05;
const EV_EVENT_TAG: u32 = 0x06;
const EV_IPL: u32 = 0x0D;
const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
const EV_EFI_VARIABLE_BOOT: u32 = 0x8000_0002;
const EV_EFI_GPT_EVENT: u32 = 0x8000_0006;
const EV_EFI_VARIABLE_BOOT2: u32 = 0x8000_000C;
const EV_EFI_VARIABLE_AUTHORITY: u32 = 0x8000_00E0;
/// EV_EFI_BOOT_SERVICES_APPLICATION, EV_EFI_BOOT_SERVICES_DRIVER, EV_EFI_RUNTIME_SERVICES_DRIVER.
const PROGRAMS: [u32; 3] = [0x8000_0003, 0x8000_0004, 0x8000_0005];
const KINDS: [(u32, &str); 31] = [
    (0x00, "EV_PREBOOT_CERT"),
    (0x01, "EV_POST_CODE"),
    (EV_NO_ACTION, "EV_NO_ACTION"),
    (EV_SEPARATOR, "EV_SEPARATOR"),
    (EV_ACTION, "EV_ACTION"),
    (EV_EVENT_TAG, "EV_EVENT_TAG"),
    (0x07, "EV_S_CRTM_CONTENTS"),
    (0x08, "EV_S_CRTM_VERSION"),
    (0x09, "EV_CPU_MICROCODE"),
    (0x0A, "EV_PLATFORM_CONFIG_FLAGS"),
    (0x0B, "EV_TABLE_OF_DEVICES"),
    (0x0C, "EV_COMPACT_HASH"),
    (EV_IPL, "EV_IPL"),
    (0x0E, "EV_IPL_PARTITION_DATA"),
    (0x0F, "EV_NONHOST_CODE"),
    (0x10, "EV_NONHOST_CONFIG"),
    (0x11, "EV_NONHOST_INFO"),
    (0x12, "EV_OMIT_BOOT_DEVICE_EVENTS"),
    (EV_EFI_VARIABLE_DRIVER_CONFIG, "EV_EFI_VARIABLE_DRIVER_CONFIG"),
    (EV_EFI_VARIABLE_BOOT, "EV_EFI_VARIABLE_BOOT"),
    (0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION"),
    (0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER"),
    (0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER"),
    (EV_EFI_GPT_EVENT, "EV_EFI_GPT_EVENT"),
    (0x8000_0007, "EV_EFI_ACTION"),
    (0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB"),
    (0x8000_0009, "EV_EFI_HANDOFF_TABLES"),
    (0x8000_000A, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"),
    (0x8000_000B, "EV_EFI_HANDOFF_TABLES2"),
    (EV_EFI_VARIABLE_BOOT2, "EV_EFI_VARIABLE_BOOT2"),
    (EV_EFI_VARIABLE_AUTHORITY, "EV_EFI_VARIABLE_AUTHORITY"),
];
