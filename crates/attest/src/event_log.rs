//! TCG event logs: parsing, replaying, and building one where the firmware keeps none.
//!
//! Two formats exist (TCG PC Client Platform Firmware Profile, section 10): the crypto-agile one, whose first event declares the
//! digests that all others carry, and the SHA-1 one before it, which is read so that it can be refused by name. A replay
//! proves that the log's *digests* are those in the registers. It proves nothing about an event's *data*: only where the
//! digest is the hash of the data has the data been measured ([`EventLog::check_data`], [`Entry::is_measured`]).
//!
//! Deliberately absent: interpretation of firmware events. Their registers are compared with Reference Values as a whole; for people,
//! [`crate::boot`] says what a log tells.

use std::collections::BTreeMap;

use crate::{
    HashAlgorithm,
    events::Event,
    reader::{FormatError, Reader},
};

/// The largest log read, in bytes. Those of real firmware have 10 to 80 thousand.
pub const MAX_LOG: usize = 4 << 20;

/// A parsed event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    format: LogFormat,
    algorithms: Vec<LogAlgorithm>,
    vendor: Vec<u8>,
    entries: Vec<Entry>,
}

/// The two formats of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `Spec ID Event03`: a digest for each bank.
    CryptoAgile,
    /// SHA-1 only. Read, never relied upon.
    LegacySha1,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The register; `0xFFFFFFFF` occurs with EV_NO_ACTION.
    pub pcr: u32,
    /// The event type (TCG PC Client Platform Firmware Profile, section 10.4.1).
    pub kind: u32,
    /// The event's data, unmeasured unless [`Entry::is_measured`] says otherwise.
    pub data: Vec<u8>,
    digests: Vec<(u16, Vec<u8>)>,
}

/// Why a log does not stand for its registers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The log has no digests for this bank.
    #[error("the event log has no {} digests", .0.name())]
    Bank(HashAlgorithm),
    /// An event that is extended names a register that does not exist.
    #[error("event {index} of the log names register {pcr}, which does not exist")]
    Register {
        /// Counted from zero.
        index: usize,
        /// The register.
        pcr: u32,
    },
    /// The locality of the start is told late, twice, or in a way that is not defined.
    #[error("event {0} of the log tells the locality of the start at a place or with a value that is not allowed")]
    Locality(usize),
    /// The digest of an event, whose type says that it is the hash of its data, is not.
    #[error("event {index} of the log, in register {pcr}: the digest is not that of the event's data")]
    Data {
        /// Counted from zero.
        index: usize,
        /// The register.
        pcr: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogAlgorithm {
    id: u16,
    size: u16,
}

impl EventLog {
    /// An empty crypto-agile log with digests for these banks, for a TPM whose machine keeps none. Duplicate banks are taken once.
    pub fn new(banks: &[HashAlgorithm]) -> EventLog {
        let mut algorithms: Vec<LogAlgorithm> = Vec::new();
        for bank in banks {
            if algorithms.iter().all(|known| known.id != bank.id()) {
                algorithms.push(LogAlgorithm { id: bank.id(), size: bank.size() as u16 });
            }
        }
        EventLog { format: LogFormat::CryptoAgile, algorithms, vendor: Vec::new(), entries: Vec::new() }
    }

    /// Parses a log of either format. The bytes must be the log exactly.
    ///
    /// # Errors
    /// Truncated or trailing bytes, unknown versions, digests other than the header declares.
    pub fn parse(bytes: &[u8]) -> Result<EventLog, FormatError> {
        if bytes.len() > MAX_LOG {
            return Err(FormatError::TooLarge { structure: LOG, size: bytes.len(), limit: MAX_LOG });
        }
        let mut reader = Reader::new(LOG, bytes);
        let first = legacy_entry(&mut reader)?;
        if first.kind == EV_NO_ACTION && first.data.starts_with(SPEC_ID_03) {
            if first.pcr != 0 {
                return Err(reader.refuse("register of the first event", first.pcr));
            }
            EventLog::parse_agile(&first, reader, false)
        } else {
            EventLog::parse_legacy(first, reader)
        }
    }

    /// Parses the log area of a confidential machine (CCEL, UEFI 2.10 section 38.4): crypto-agile, its first event in register 1, the rest of the area
    /// filled with `FF`.
    ///
    /// # Errors
    /// As [`EventLog::parse`].
    pub fn parse_area(bytes: &[u8]) -> Result<EventLog, FormatError> {
        if bytes.len() > MAX_LOG {
            return Err(FormatError::TooLarge { structure: LOG, size: bytes.len(), limit: MAX_LOG });
        }
        let mut reader = Reader::new(LOG, bytes);
        let first = legacy_entry(&mut reader)?;
        if first.kind != EV_NO_ACTION || !first.data.starts_with(SPEC_ID_03) {
            return Err(reader.refuse("type of the first event", first.kind));
        }
        if first.pcr > 1 {
            return Err(reader.refuse("register of the first event", first.pcr));
        }
        EventLog::parse_agile(&first, reader, true)
    }

    /// The log's bytes. Parsing them gives an equal log.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self.format {
            LogFormat::CryptoAgile => {
                let header = self.header();
                out.extend_from_slice(&0_u32.to_le_bytes());
                out.extend_from_slice(&EV_NO_ACTION.to_le_bytes());
                out.extend_from_slice(&[0; 20]);
                put_sized(&mut out, &header);
                for entry in &self.entries {
                    out.extend_from_slice(&entry.pcr.to_le_bytes());
                    out.extend_from_slice(&entry.kind.to_le_bytes());
                    out.extend_from_slice(&(entry.digests.len() as u32).to_le_bytes());
                    for (id, digest) in &entry.digests {
                        out.extend_from_slice(&id.to_le_bytes());
                        out.extend_from_slice(digest);
                    }
                    put_sized(&mut out, &entry.data);
                }
            }
            LogFormat::LegacySha1 => {
                for entry in &self.entries {
                    out.extend_from_slice(&entry.pcr.to_le_bytes());
                    out.extend_from_slice(&entry.kind.to_le_bytes());
                    out.extend(entry.digests.iter().flat_map(|(_, digest)| digest));
                    put_sized(&mut out, &entry.data);
                }
            }
        }
        out
    }

    /// Appends one of our events, once for each register that it goes into. The caller extends the same registers with
    /// [`Event::digest`] of each bank, under one lock with this call.
    pub fn append(&mut self, event: &Event) {
        for pcr in event.pcrs() {
            let known = self.algorithms.iter().filter_map(|algorithm| HashAlgorithm::from_id(algorithm.id));
            let digests = known.map(|bank| (bank.id(), event.digest(bank))).collect();
            let entry = Entry { pcr: u32::from(*pcr), kind: crate::events::EVENT_TYPE, data: event.data(), digests };
            self.entries.push(entry);
        }
    }

    /// The log's format.
    pub const fn format(&self) -> LogFormat {
        self.format
    }

    /// The banks known here that the log has digests for.
    pub fn banks(&self) -> Vec<HashAlgorithm> {
        self.algorithms.iter().filter_map(|algorithm| HashAlgorithm::from_id(algorithm.id)).collect()
    }

    /// The events in order, without the header of a crypto-agile log.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Replays the log: for each register with an event that was extended, the value it must have. A register starts from
    /// zeros, register 0 from the locality of the start where the log tells it. EV_NO_ACTION is not extended.
    ///
    /// # Errors
    /// No digests for this bank, a register that does not exist, a locality told in a way that is not allowed.
    pub fn replay(&self, bank: HashAlgorithm) -> Result<BTreeMap<u8, Vec<u8>>, ReplayError> {
        if !self.banks().contains(&bank) {
            return Err(ReplayError::Bank(bank));
        }
        let mut registers: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut locality = None;
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.kind == EV_NO_ACTION {
                if let Some(rest) = entry.data.strip_prefix(STARTUP_LOCALITY) {
                    let allowed = entry.pcr == 0 && locality.is_none() && !registers.contains_key(&0);
                    let [value @ (0 | 3 | 4)] = *rest else { return Err(ReplayError::Locality(index)) };
                    if !allowed {
                        return Err(ReplayError::Locality(index));
                    }
                    locality = Some(value);
                }
                continue;
            }
            let unknown = ReplayError::Register { index, pcr: entry.pcr };
            let pcr = u8::try_from(entry.pcr).ok().filter(|pcr| *pcr < PCR_COUNT).ok_or(unknown)?;
            let digest = entry.digest(bank).ok_or(ReplayError::Bank(bank))?;
            let register = registers.entry(pcr).or_insert_with(|| start_value(bank, pcr, locality));
            *register = bank.extend(register, digest);
        }
        Ok(registers)
    }

    /// Checks that the data of every event whose type promises it hashes to the event's digest in this bank: separators,
    /// the UEFI variables of Secure Boot, the GPT, and UEFI actions.
    ///
    /// # Errors
    /// [`ReplayError::Data`] for the first event that does not.
    pub fn check_data(&self, bank: HashAlgorithm) -> Result<(), ReplayError> {
        for (index, entry) in self.entries.iter().enumerate() {
            if DIGEST_OF_DATA.contains(&entry.kind) && !entry.is_measured(bank) {
                return Err(ReplayError::Data { index, pcr: entry.pcr });
            }
        }
        Ok(())
    }

    /// Whether events of this type promise that their digest is the hash of their data.
    pub const fn promises_data(kind: u32) -> bool {
        let [separator, variable, gpt, action] = DIGEST_OF_DATA;
        kind == separator || kind == variable || kind == gpt || kind == action
    }

    /// What `is_area` says may end in `FF`s.
    fn parse_agile(first: &Entry, mut reader: Reader<'_>, is_area: bool) -> Result<EventLog, FormatError> {
        let (algorithms, vendor) = parse_header(&first.data)?;
        let mut entries = Vec::new();
        while !(reader.is_empty() || is_area && reader.is_filled_with(0xFF)) {
            entries.push(agile_entry(&mut reader, &algorithms)?);
        }
        Ok(EventLog { format: LogFormat::CryptoAgile, algorithms, vendor, entries })
    }

    fn parse_legacy(first: Entry, mut reader: Reader<'_>) -> Result<EventLog, FormatError> {
        let mut entries = vec![first];
        while !reader.is_empty() {
            entries.push(legacy_entry(&mut reader)?);
        }
        let algorithms = vec![LogAlgorithm { id: HashAlgorithm::Sha1.id(), size: 20 }];
        Ok(EventLog { format: LogFormat::LegacySha1, algorithms, vendor: Vec::new(), entries })
    }

    fn header(&self) -> Vec<u8> {
        let mut header = SPEC_ID_03.to_vec();
        header.extend_from_slice(&0_u32.to_le_bytes()); // platform class: client
        header.extend_from_slice(&[0, 2, 0, 2]); // version 2.0, errata 0, 64-bit integers
        header.extend_from_slice(&(self.algorithms.len() as u32).to_le_bytes());
        for algorithm in &self.algorithms {
            header.extend_from_slice(&algorithm.id.to_le_bytes());
            header.extend_from_slice(&algorithm.size.to_le_bytes());
        }
        header.push(self.vendor.len() as u8);
        header.extend_from_slice(&self.vendor);
        header
    }
}

impl Entry {
    /// The digest in one bank, if the log has it.
    pub fn digest(&self, bank: HashAlgorithm) -> Option<&[u8]> {
        self.digests.iter().find(|(id, _)| *id == bank.id()).map(|(_, digest)| digest.as_slice())
    }

    /// Whether the data hashes to the digest in this bank, so that a replay vouches for the data too.
    pub fn is_measured(&self, bank: HashAlgorithm) -> bool {
        self.kind != EV_NO_ACTION && self.digest(bank).is_some_and(|digest| bank.hash(&[&self.data]) == digest)
    }
}

/// TCG_EfiSpecIdEvent: what each following event carries.
fn parse_header(data: &[u8]) -> Result<(Vec<LogAlgorithm>, Vec<u8>), FormatError> {
    let mut reader = Reader::new("the header of the event log", data);
    reader.take(SPEC_ID_03.len())?;
    reader.u32_le()?;
    let [_minor, major, _errata, _integer_size] = reader.array()?;
    if major != 2 {
        return Err(reader.refuse("major version", major));
    }
    let count = reader.u32_le()?;
    if count == 0 || count > MAX_ALGORITHMS {
        return Err(reader.refuse("number of algorithms", count));
    }
    let mut algorithms: Vec<LogAlgorithm> = Vec::new();
    for _ in 0..count {
        let algorithm = LogAlgorithm { id: reader.u16_le()?, size: reader.u16_le()? };
        let known = HashAlgorithm::from_id(algorithm.id);
        // A bank of a few bytes would be no hash, and would let a small log become many digests.
        let sizes = known.map_or(MIN_DIGEST..=MAX_DIGEST, |known| known.size()..=known.size());
        if !sizes.contains(&usize::from(algorithm.size)) {
            return Err(reader.refuse("digest size", algorithm.size));
        }
        if algorithms.iter().any(|other| other.id == algorithm.id) {
            return Err(reader.refuse("repeated algorithm", algorithm.id));
        }
        algorithms.push(algorithm);
    }
    let vendor_size = reader.u8()?;
    let vendor = reader.take(usize::from(vendor_size))?.to_vec();
    reader.finish()?;
    Ok((algorithms, vendor))
}

/// TCG_PCR_EVENT2: declared digests, each once, in any order. There should be one for each bank; firmware exists that leaves banks out, and such a
/// bank is not replayed ([`ReplayError::Bank`]).
fn agile_entry(reader: &mut Reader<'_>, algorithms: &[LogAlgorithm]) -> Result<Entry, FormatError> {
    let pcr = reader.u32_le()?;
    let kind = reader.u32_le()?;
    let count = reader.u32_le()?;
    let fits = usize::try_from(count).is_ok_and(|count| (1..=algorithms.len()).contains(&count));
    if !fits {
        return Err(reader.refuse("number of digests", count));
    }
    let mut digests: Vec<(u16, Vec<u8>)> = Vec::with_capacity(algorithms.len());
    for _ in 0..count {
        let id = reader.u16_le()?;
        let declared = algorithms.iter().find(|algorithm| algorithm.id == id);
        let fresh = digests.iter().all(|(other, _)| *other != id);
        let algorithm = declared.filter(|_| fresh).ok_or_else(|| reader.refuse("algorithm of a digest", id))?;
        digests.push((id, reader.take(usize::from(algorithm.size))?.to_vec()));
    }
    let data = take_sized(reader)?;
    Ok(Entry { pcr, kind, data, digests })
}

/// TCG_PCR_EVENT: one SHA-1 digest.
fn legacy_entry(reader: &mut Reader<'_>) -> Result<Entry, FormatError> {
    let pcr = reader.u32_le()?;
    let kind = reader.u32_le()?;
    let digest = reader.take(HashAlgorithm::Sha1.size())?.to_vec();
    let data = take_sized(reader)?;
    Ok(Entry { pcr, kind, data, digests: vec![(HashAlgorithm::Sha1.id(), digest)] })
}

fn take_sized(reader: &mut Reader<'_>) -> Result<Vec<u8>, FormatError> {
    let size = reader.u32_le()?;
    let size = usize::try_from(size).map_err(|_| reader.refuse("event size", size))?;
    Ok(reader.take(size)?.to_vec())
}

fn put_sized(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    out.extend_from_slice(data);
}

/// Zeros; the locality in the last byte of register 0.
fn start_value(bank: HashAlgorithm, pcr: u8, locality: Option<u8>) -> Vec<u8> {
    let mut value = vec![0; bank.size()];
    if let (0, Some(locality), Some(last)) = (pcr, locality, value.last_mut()) {
        *last = locality;
    }
    value
}

const LOG: &str = "the event log";
const PCR_COUNT: u8 = 24;
const MAX_ALGORITHMS: u32 = 8;
/// The sizes of a hash that is not known here.
const MIN_DIGEST: usize = 20;
const MAX_DIGEST: usize = 64;
const EV_NO_ACTION: u32 = 0x0000_0003;
const SPEC_ID_03: &[u8] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";
/// EV_SEPARATOR, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EFI_GPT_EVENT, EV_EFI_ACTION.
const DIGEST_OF_DATA: [u32; 4] = [0x0000_0004, 0x8000_0001, 0x8000_0006, 0x8000_0007];
