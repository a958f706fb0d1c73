//! Glovebox's own events: what a launcher and a worker measure, and the order in which a Verifier wants to find it.
//!
//! Two registers are ours, both beyond the reach of a reset while the machine runs:
//!
//! * **PCR 8** holds what was started: one `role` event with the SHA-256 of the role's binary, then `system-ready`, which closes it.
//! * **PCR 12** holds what was done: `system-ready`, then one `run` event for each run.
//!
//! `system-ready` goes into both, because replaying a log proves an order within one register only. An event is EV_EVENT_TAG
//! (TCG PC Client Platform Firmware Profile, section 10.4) with our tag and a line of text; its digest in each bank is the hash
//! of that whole structure, so every byte of ours in a log is measured. A run appears as the commitment
//! SHA-256(domain ‖ salt ‖ run id): whoever is told a salt learns about that run, and about no other.
//!
//! Deliberately absent: any event whose meaning rests on bytes that were not hashed.

use envelope::Digest;

use crate::{HashAlgorithm, reader::Reader};

/// The register of roles.
pub const ROLE_PCR: u8 = 8;
/// The register of runs.
pub const RUN_PCR: u8 = 12;
/// EV_EVENT_TAG.
pub const EVENT_TYPE: u32 = 0x0000_0006;

/// One event of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A role's binary is about to be started.
    Role {
        /// The role, such as `worker`: lower-case letters, digits and hyphens.
        role: RoleName,
        /// The SHA-256 of its binary.
        binary: Digest,
    },
    /// Nothing but runs follows.
    SystemReady,
    /// A run is about to begin.
    Run {
        /// [`run_commitment`] of its salt and id.
        commitment: Digest,
    },
}

/// The name of a role: 1 to 32 lower-case letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

/// A text that is no role's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a role: 1 to 32 lower-case letters, digits and hyphens are")]
pub struct RoleNameError(String);

/// The commitment under which a run stands in the event log.
pub fn run_commitment(salt: &[u8; 32], run: &Digest) -> Digest {
    Digest::of_parts("glovebox run event v1", &[salt, run.as_bytes()])
}

impl Event {
    /// The event of a role's start.
    pub fn role(role: &RoleName, binary: &Digest) -> Event {
        Event::Role { role: role.clone(), binary: *binary }
    }

    /// The event that closes PCR 8 and opens PCR 12.
    pub const fn system_ready() -> Event {
        Event::SystemReady
    }

    /// The event of a run. `salt` is fresh for each run and kept for the Verifier.
    pub fn run(salt: &[u8; 32], run: &Digest) -> Event {
        Event::Run { commitment: run_commitment(salt, run) }
    }

    /// The registers it is extended into, in this order.
    pub const fn pcrs(&self) -> &'static [u8] {
        match self {
            Event::Role { .. } => &[ROLE_PCR],
            Event::SystemReady => &[ROLE_PCR, RUN_PCR],
            Event::Run { .. } => &[RUN_PCR],
        }
    }

    /// The event's data: our tag and the length of the text, both little-endian, and the text.
    pub fn data(&self) -> Vec<u8> {
        let text = self.text();
        let mut data = TAG.to_le_bytes().to_vec();
        data.extend_from_slice(&(text.len() as u32).to_le_bytes());
        data.extend_from_slice(text.as_bytes());
        data
    }

    /// What to extend into the bank of `algorithm`: the hash of [`Event::data`].
    pub fn digest(&self, algorithm: HashAlgorithm) -> Vec<u8> {
        algorithm.hash(&[&self.data()])
    }

    /// Reads an event of ours; `None` if it is somebody else's or is spelt in another way than [`Event::data`] spells it.
    pub fn decode(kind: u32, data: &[u8]) -> Option<Event> {
        if kind != EVENT_TYPE {
            return None;
        }
        let mut reader = Reader::new("tagged event", data);
        if reader.u32_le().ok()? != TAG {
            return None;
        }
        let size = usize::try_from(reader.u32_le().ok()?).ok()?;
        let text = std::str::from_utf8(reader.take(size).ok()?).ok()?;
        reader.finish().ok()?;
        let event = Event::from_text(text)?;
        (event.text() == text).then_some(event)
    }

    fn text(&self) -> String {
        match self {
            Event::Role { role, binary } => format!("glovebox role {} {binary}", role.0),
            Event::SystemReady => "glovebox system-ready".to_owned(),
            Event::Run { commitment } => format!("glovebox run {commitment}"),
        }
    }

    fn from_text(text: &str) -> Option<Event> {
        let mut words = text.strip_prefix("glovebox ")?.split(' ');
        let event = match words.next()? {
            "role" => {
                Event::Role { role: words.next()?.to_owned().try_into().ok()?, binary: words.next()?.parse().ok()? }
            }
            "system-ready" => Event::SystemReady,
            "run" => Event::Run { commitment: words.next()?.parse().ok()? },
            _ => return None,
        };
        words.next().is_none().then_some(event)
    }
}

impl RoleName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RoleName {
    type Error = RoleNameError;

    fn try_from(name: String) -> Result<RoleName, RoleNameError> {
        let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=32).contains(&name.len()) && name.bytes().all(known) {
            Ok(RoleName(name))
        } else {
            Err(RoleNameError(name.chars().take(80).collect()))
        }
    }
}

impl TryFrom<&str> for RoleName {
    type Error = RoleNameError;

    fn try_from(name: &str) -> Result<RoleName, RoleNameError> {
        RoleName::try_from(name.to_owned())
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> String {
        name.0
    }
}

impl std::fmt::Display for RoleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// "GLBX", the tag of our events.
const TAG: u32 = 0x5842_4C47;
