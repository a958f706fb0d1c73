//! Event logs of confidential machines: what was extended into a trust domain's run-time registers.
//!
//! There are two forms: the log area that the firmware leaves (CCEL, UEFI 2.10 section 38.4), whose registers 1 to 4 are RTMR0 to RTMR3, and the JSON list that
//! agents inside keep. Either is held against the registers of a report: the replay must give the values that were reported. As with
//! a TPM's log that proves the digests and not the data; [`CcEventLog::check_data`] says where the data is vouched for, too.
//! IMA's measurements may follow the firmware's in RTMR2 ([`CcEventLog::continue_with`]).
//!
//! A log that replays can still be one that was made to look trusted (case T9): code that runs later can extend a register, too, and lists
//! its event under a name that a reader looks for. So the event that closes the start, `system-ready`, stands once in its register; a name that
//! stands before it stands nowhere else; and the names by which an agent tells what was started do not follow it. An application's own
//! events may. Names count only where the digest is over them ([`CcEventLog::check_data`]), and two tricks with labels are met: `system-ready` is known
//! by its digest, whatever the list calls it; and since the digest does not tell where a name with a colon ends, no name of the start has one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{
    HashAlgorithm,
    event_log::{EventLog, MAX_LOG},
    ima::MeasurementList,
    reader::FormatError,
};

/// A log whose events went into RTMR0 to RTMR3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcEventLog {
    bank: HashAlgorithm,
    events: Vec<CcEvent>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcEvent {
    /// 0 to 3.
    pub rtmr: u8,
    /// The event type.
    pub kind: u32,
    /// The name of an event of an agent inside; empty for the firmware's.
    pub name: String,
    /// What was extended.
    pub digest: Vec<u8>,
    /// Its data, vouched for only where [`CcEvent::is_measured`]; empty also where a list leaves it out.
    pub data: Vec<u8>,
    format: AgentFormat,
    left_out: bool,
}

/// Over what an agent's digest is (dstack's `EventLogVersion`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum AgentFormat {
    /// Version 1: type, name and payload with colons between.
    #[default]
    Colons,
    /// Version 2: name, payload and type as JSON in its canonical form (RFC 8785).
    Json,
}

/// Why a log does not stand for its registers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CcelError {
    /// The area does not parse.
    #[error("the event log cannot be read")]
    Malformed(#[source] FormatError),
    /// The list is not one.
    #[error("the event list is not the JSON that it should be")]
    Json,
    /// More than one bank, or one of an unknown hash.
    #[error("the event log has not exactly one known bank")]
    Bank,
    /// An event in a register that does not exist.
    #[error("event {index} of the log is in register {register}, which does not exist")]
    Register {
        /// Counted from zero.
        index: usize,
        /// As the log numbers it.
        register: u32,
    },
    /// The replay is not what was reported.
    #[error("the event log does not replay to RTMR{0}")]
    Replay(u8),
    /// A closing event twice.
    #[error("event {index} closes RTMR{rtmr} a second time")]
    ClosedTwice {
        /// Counted from zero.
        index: usize,
        /// The register.
        rtmr: u8,
    },
    /// A name of the start a second time.
    #[error("event {index} of the log repeats, in RTMR{rtmr}, a name that tells what was started")]
    Repeated {
        /// Counted from zero.
        index: usize,
        /// The register.
        rtmr: u8,
    },
    /// A name of the start behind its end.
    #[error("event {index} of the log, in RTMR{rtmr}, tells what was started after the start was closed")]
    AfterReady {
        /// Counted from zero.
        index: usize,
        /// The register.
        rtmr: u8,
    },
    /// Data that its digest does not vouch for.
    #[error("event {index} of the log, in RTMR{rtmr}: the digest is not that of the event's data")]
    Data {
        /// Counted from zero.
        index: usize,
        /// The register.
        rtmr: u8,
    },
}

impl CcEventLog {
    /// Parses a log area, or a JSON list of events.
    ///
    /// # Errors
    /// [`CcelError`].
    pub fn parse(bytes: &[u8]) -> Result<CcEventLog, CcelError> {
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => CcEventLog::parse_list(bytes),
            _ => CcEventLog::parse_area(bytes),
        }
    }

    fn parse_area(bytes: &[u8]) -> Result<CcEventLog, CcelError> {
        let log = EventLog::parse_area(bytes).map_err(CcelError::Malformed)?;
        let banks = log.banks();
        let [bank] = banks.as_slice() else { return Err(CcelError::Bank) };
        let mut events = Vec::new();
        for (index, entry) in log.entries().iter().enumerate().filter(|(_, entry)| entry.kind != EV_NO_ACTION) {
            let register = CcelError::Register { index, register: entry.pcr };
            let rtmr = entry.pcr.checked_sub(1).filter(|rtmr| *rtmr < 4).ok_or(register)?;
            let digest = entry.digest(*bank).ok_or(CcelError::Bank)?.to_vec();
            let rtmr = u8::try_from(rtmr).unwrap_or(u8::MAX);
            events.push(CcEvent {
                rtmr,
                kind: entry.kind,
                name: String::new(),
                digest,
                data: entry.data.clone(),
                format: AgentFormat::default(),
                left_out: false,
            });
        }
        Ok(CcEventLog { bank: *bank, events })
    }

    fn parse_list(bytes: &[u8]) -> Result<CcEventLog, CcelError> {
        if bytes.len() > MAX_LOG {
            let too_large = FormatError::TooLarge { structure: "the event list", size: bytes.len(), limit: MAX_LOG };
            return Err(CcelError::Malformed(too_large));
        }
        let list: Vec<Listed> = serde_json::from_slice(bytes).map_err(|_| CcelError::Json)?;
        let bank = HashAlgorithm::Sha384;
        let mut events = Vec::new();
        for (index, listed) in list.into_iter().enumerate() {
            let rtmr = u8::try_from(listed.imr).ok().filter(|rtmr| *rtmr < 4);
            let rtmr = rtmr.ok_or(CcelError::Register { index, register: listed.imr })?;
            events.push(listed.event(rtmr, bank)?);
        }
        Ok(CcEventLog { bank, events })
    }

    /// Adds IMA's measurements, which a kernel extends into RTMR2 after the firmware's events.
    pub fn continue_with(&mut self, list: &MeasurementList) {
        let bank = self.bank;
        self.events.extend(list.entries().iter().map(|entry| CcEvent {
            rtmr: 2,
            kind: IMA,
            name: String::new(),
            digest: entry.extended(bank),
            data: Vec::new(),
            format: AgentFormat::default(),
            left_out: false,
        }));
    }

    /// The hash of its digests.
    pub const fn bank(&self) -> HashAlgorithm {
        self.bank
    }

    /// The events in order.
    pub fn events(&self) -> &[CcEvent] {
        &self.events
    }

    /// The value of each register that has an event.
    pub fn replay(&self) -> BTreeMap<u8, Vec<u8>> {
        let mut registers = BTreeMap::new();
        for event in &self.events {
            let register = registers.entry(event.rtmr).or_insert_with(|| vec![0; self.bank.size()]);
            *register = self.bank.extend(register, &event.digest);
        }
        registers
    }

    /// All checks of a log beside its report: [`CcEventLog::check_order`], [`CcEventLog::check_replay`], [`CcEventLog::check_data`].
    ///
    /// # Errors
    /// [`CcelError`] of the first that fails.
    pub fn check(&self, reported: &[&[u8]]) -> Result<(), CcelError> {
        self.check_order()?;
        self.check_replay(reported)?;
        self.check_data()
    }

    /// Holds the log against reported registers, RTMR0 first: each that has an event must have the replayed value.
    ///
    /// # Errors
    /// [`CcelError::Replay`] for the first that has not.
    pub fn check_replay(&self, reported: &[&[u8]]) -> Result<(), CcelError> {
        for (rtmr, value) in self.replay() {
            if reported.get(usize::from(rtmr)).is_none_or(|reported| *reported != value.as_slice()) {
                return Err(CcelError::Replay(rtmr));
            }
        }
        Ok(())
    }

    /// Checks the order of an agent's events: `system-ready`, which closes the start of a register, stands there once; a name that tells
    /// what was started stands once in the whole log, and not after that. (Firmware has one or several separators in RTMR0, so their
    /// number says nothing.)
    ///
    /// # Errors
    /// [`CcelError::ClosedTwice`], [`CcelError::Repeated`], [`CcelError::AfterReady`]; [`CcelError::Data`] for a name of the start that could
    /// end elsewhere.
    pub fn check_order(&self) -> Result<(), CcelError> {
        let starts = self.names_of_the_start();
        let is_of_start = |name: &str| starts.contains(name) || TRUSTED.contains(&name);
        let (mut closed, mut told) = (BTreeSet::new(), BTreeSet::new());
        for (index, event) in self.events.iter().enumerate() {
            let (name, rtmr) = (event.name.as_str(), event.rtmr);
            if event.closes(self.bank) {
                if !closed.insert(rtmr) {
                    return Err(CcelError::ClosedTwice { index, rtmr });
                }
            } else if is_of_start(name) && !name.contains(':') {
                if !told.insert(name) {
                    return Err(CcelError::Repeated { index, rtmr });
                }
                if closed.contains(&rtmr) {
                    return Err(CcelError::AfterReady { index, rtmr });
                }
            } else if name.contains(':') && (starts.contains(name) || name.split(':').next().is_some_and(is_of_start)) {
                return Err(CcelError::Data { index, rtmr });
            }
        }
        Ok(())
    }

    /// The names that stand before the `system-ready` of their register.
    fn names_of_the_start(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for rtmr in 0..4 {
            let here = || self.events.iter().filter(|event| event.rtmr == rtmr);
            if let Some(end) = here().position(|event| event.closes(self.bank)) {
                names.extend(here().take(end).map(|event| event.name.as_str()).filter(|name| !name.is_empty()));
            }
        }
        names
    }

    /// Checks that the data of every event whose type promises it hashes to its digest, and that every name is an agent's, whose digest is
    /// over name and data. A firmware's event whose data a list leaves out has none to check.
    ///
    /// # Errors
    /// [`CcelError::Data`].
    pub fn check_data(&self) -> Result<(), CcelError> {
        for (index, event) in self.events.iter().enumerate() {
            let of_agent = event.kind == AGENT_EVENT;
            let promised = of_agent || (EventLog::promises_data(event.kind) && !event.left_out);
            // Another type's digest is not over a name: the name would be whatever the log's writer likes.
            let misnamed = !of_agent && !event.name.is_empty();
            if misnamed || (promised && !event.is_measured(self.bank)) {
                return Err(CcelError::Data { index, rtmr: event.rtmr });
            }
        }
        Ok(())
    }
}

impl CcEvent {
    /// Whether the digest vouches for the data: of the firmware the hash of the data, of an agent that of type, name and data together.
    pub fn is_measured(&self, bank: HashAlgorithm) -> bool {
        let expected = if self.kind == AGENT_EVENT {
            self.format.digest(bank, &self.name, &self.data)
        } else {
            bank.hash(&[&self.data])
        };
        expected == self.digest
    }

    /// Whether it is `system-ready`, by name or by what was extended.
    fn closes(&self, bank: HashAlgorithm) -> bool {
        let formats = [AgentFormat::Colons, AgentFormat::Json];
        self.name == SYSTEM_READY || formats.iter().any(|format| self.digest == format.digest(bank, SYSTEM_READY, &[]))
    }
}

impl AgentFormat {
    fn digest(self, bank: HashAlgorithm, name: &str, data: &[u8]) -> Vec<u8> {
        match self {
            AgentFormat::Colons => bank.hash(&[&AGENT_EVENT.to_le_bytes(), b":", name.as_bytes(), b":", data]),
            // The members are in order, and a text is escaped as RFC 8785 escapes it.
            AgentFormat::Json => {
                let (name, payload) = (serde_json::Value::from(name), hex::encode(data));
                bank.hash(&[format!("{{\"name\":{name},\"payload\":\"{payload}\",\"type\":{AGENT_EVENT}}}").as_bytes()])
            }
        }
    }
}

/// An event as dstack's agents list it. To make the list shorter they leave out what can be told from the rest, the digest of their own
/// events, and what is not needed for a replay, the data of the firmware's (its `TdxEvent::stripped`).
#[derive(Deserialize)]
struct Listed {
    imr: u32,
    event_type: u32,
    #[serde(default)]
    digest: String,
    event: String,
    event_payload: String,
    #[serde(default = "first_version")]
    version: u32,
}

impl Listed {
    fn event(self, rtmr: u8, bank: HashAlgorithm) -> Result<CcEvent, CcelError> {
        let format = match self.version {
            1 => AgentFormat::Colons,
            2 => AgentFormat::Json,
            _ => return Err(CcelError::Json),
        };
        let data = hex::decode(&self.event_payload).map_err(|_| CcelError::Json)?;
        let of_agent = self.event_type == AGENT_EVENT;
        let digest = if of_agent && self.digest.is_empty() {
            format.digest(bank, &self.event, &data)
        } else {
            hex::decode(&self.digest).map_err(|_| CcelError::Json)?
        };
        if digest.len() != bank.size() {
            return Err(CcelError::Json);
        }
        let left_out = !of_agent && data.is_empty();
        Ok(CcEvent { rtmr, kind: self.event_type, name: self.event, digest, data, format, left_out })
    }
}

const fn first_version() -> u32 {
    1
}

impl CcelError {
    /// The word for the reason.
    pub const fn code(&self) -> &'static str {
        match self {
            CcelError::Malformed(FormatError::Truncated { .. }) => "log-truncated",
            CcelError::Malformed(_) | CcelError::Json | CcelError::Bank | CcelError::Register { .. } => "log-malformed",
            CcelError::Replay(_) => "replay-mismatch",
            CcelError::ClosedTwice { .. } => "closed-twice",
            CcelError::Repeated { .. } => "event-repeated",
            CcelError::AfterReady { .. } => "event-after-ready",
            CcelError::Data { .. } => "event-data-mismatch",
        }
    }

    /// Whether the bytes are not even a log.
    pub const fn is_malformed(&self) -> bool {
        matches!(self, CcelError::Malformed(_) | CcelError::Json | CcelError::Bank | CcelError::Register { .. })
    }
}

const EV_NO_ACTION: u32 = 3;
/// The type that dstack's agent gives its events.
const AGENT_EVENT: u32 = 0x0800_0001;
/// Not an event type: marks what IMA extended.
const IMA: u32 = u32::MAX;
const SYSTEM_READY: &str = "system-ready";
/// The names by which dstack's agent tells what was started (its documentation of attestation, "RTMR3").
const TRUSTED: [&str; 11] = [
    "system-preparing",
    "rootfs-hash",
    "app-id",
    "compose-hash",
    "instance-id",
    "boot-mr-done",
    "ca-cert-hash",
    "mr-kms",
    "os-image-hash",
    "key-provider",
    "storage-fs",
];
