//! IMA measurement lists, as Linux writes them in `ascii_runtime_measurements`.
//!
//! A line has the register, the template's hash, the template's name and its fields. The hash that is extended is over the fields, so it is
//! computed anew: a line whose hash is not that of its fields was altered. A hash of zeros marks a violation, for which all-ones are
//! extended (Linux, `security/integrity/ima`). Known are the templates `ima`, `ima-ng`, `ima-sig`, `ima-ngv2`, `ima-sigv2` and
//! `ima-buf`; another is refused, since its hash cannot be computed.
//!
//! Absent: judgement of the files. Their digests are for a policy.

use crate::{HashAlgorithm, reader::FormatError};

/// A list whose every line was found to hash to what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasurementList {
    entries: Vec<ImaEntry>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImaEntry {
    pcr: u8,
    template: String,
    /// The fields as they are hashed; `None` for a violation.
    hashed: Option<Vec<u8>>,
    algorithm: String,
    digest: Vec<u8>,
    name: String,
}

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImaError {
    /// Longer than is ever read, or not text.
    #[error("the measurement list cannot be read")]
    Malformed(#[source] FormatError),
    /// A line that is not a measurement.
    #[error("line {0} of the measurement list is not a measurement")]
    Line(usize),
    /// A template that is not known.
    #[error("line {0} of the measurement list is of a template that is not known here")]
    Template(usize),
    /// An altered line.
    #[error("line {0} of the measurement list does not hash to its template hash")]
    TemplateHash(usize),
    /// The replay is not the register's value.
    #[error("the measurement list does not replay to the {} value of register {pcr}", .bank.name())]
    Replay {
        /// The register.
        pcr: u8,
        /// The bank.
        bank: HashAlgorithm,
    },
}

impl MeasurementList {
    /// Parses a list and checks the hash of every line.
    ///
    /// # Errors
    /// [`ImaError`], with the line counted from 1.
    pub fn parse(bytes: &[u8]) -> Result<MeasurementList, ImaError> {
        if bytes.len() > MAX_LIST {
            let too_large = FormatError::TooLarge { structure: LIST, size: bytes.len(), limit: MAX_LIST };
            return Err(ImaError::Malformed(too_large));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = u64::try_from(error.valid_up_to()).unwrap_or(u64::MAX);
            ImaError::Malformed(FormatError::Value { structure: LIST, field: "text at byte", value: at })
        })?;
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            entries.push(ImaEntry::parse(line.trim_start_matches(' '), index + 1)?);
        }
        if entries.is_empty() { Err(ImaError::Line(1)) } else { Ok(MeasurementList { entries }) }
    }

    /// The measurements in order.
    pub fn entries(&self) -> &[ImaEntry] {
        &self.entries
    }

    /// The value of register `pcr` in a bank, from zeros.
    pub fn replay(&self, pcr: u8, bank: HashAlgorithm) -> Vec<u8> {
        let extended = self.entries.iter().filter(|entry| entry.pcr == pcr);
        extended.fold(vec![0; bank.size()], |register, entry| bank.extend(&register, &entry.extended(bank)))
    }

    /// Holds the list against a register's value. A kernel before 5.8 extends the padded SHA-1 hash into
    /// every bank; its list replays in the SHA-1 bank alone.
    ///
    /// # Errors
    /// [`ImaError::Replay`].
    pub fn check_replay(&self, pcr: u8, bank: HashAlgorithm, value: &[u8]) -> Result<(), ImaError> {
        if self.replay(pcr, bank) == value { Ok(()) } else { Err(ImaError::Replay { pcr, bank }) }
    }
}

impl ImaEntry {
    fn parse(line: &str, number: usize) -> Result<ImaEntry, ImaError> {
        let mut words = line.splitn(4, ' ');
        let bad = ImaError::Line(number);
        let mut word = || words.next().ok_or(bad.clone());
        let pcr: u8 = word()?.parse().map_err(|_| bad.clone())?;
        let hash = hex::decode(word()?).map_err(|_| bad.clone())?;
        let (template, fields) = (word()?, word()?);
        if pcr > 23 {
            return Err(bad);
        }
        let fields = Fields::parse(template, fields, number)?;
        let violation = hash.iter().all(|byte| *byte == 0);
        let hashed = fields.hashed();
        let fits = match hash.len() {
            20 => HashAlgorithm::Sha1.hash(&[&hashed]) == hash,
            32 => HashAlgorithm::Sha256.hash(&[&hashed]) == hash || HashAlgorithm::Sm3.hash(&[&hashed]) == hash,
            48 => HashAlgorithm::Sha384.hash(&[&hashed]) == hash,
            64 => HashAlgorithm::Sha512.hash(&[&hashed]) == hash,
            _ => return Err(bad),
        };
        if !violation && !fits {
            return Err(ImaError::TemplateHash(number));
        }
        Ok(ImaEntry {
            pcr,
            template: template.to_owned(),
            hashed: (!violation).then_some(hashed),
            algorithm: fields.algorithm,
            digest: fields.digest,
            name: fields.name,
        })
    }

    /// The register it went into; 10 as a rule.
    pub const fn pcr(&self) -> u8 {
        self.pcr
    }

    /// The template's name.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The file, as the kernel names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's digest with the name of its hash; the file was open for writing if this is a violation, and then it says nothing.
    pub fn digest(&self) -> (&str, &[u8]) {
        (&self.algorithm, &self.digest)
    }

    /// Whether a file was measured while it could be changed.
    pub const fn is_violation(&self) -> bool {
        self.hashed.is_none()
    }

    /// What is extended into a bank.
    pub fn extended(&self, bank: HashAlgorithm) -> Vec<u8> {
        match &self.hashed {
            Some(hashed) => bank.hash(&[hashed]),
            None => vec![0xFF; bank.size()],
        }
    }
}

impl ImaError {
    /// The word for the reason.
    pub const fn code(&self) -> &'static str {
        match self {
            ImaError::Malformed(_) | ImaError::Line(_) => "list-malformed",
            ImaError::Template(_) => "template-unknown",
            ImaError::TemplateHash(_) => "template-hash-mismatch",
            ImaError::Replay { .. } => "replay-mismatch",
        }
    }

    /// Whether the bytes are not even a list.
    pub const fn is_malformed(&self) -> bool {
        matches!(self, ImaError::Malformed(_) | ImaError::Line(_))
    }
}

/// The fields of a template.
struct Fields {
    legacy: bool,
    prefix: &'static str,
    algorithm: String,
    digest: Vec<u8>,
    name: String,
    /// Signature, buffer and what else follows.
    more: Vec<Vec<u8>>,
}

impl Fields {
    fn parse(template: &str, text: &str, line: usize) -> Result<Fields, ImaError> {
        let bad = || ImaError::Line(line);
        let (digest, rest) = text.split_once(' ').ok_or_else(bad)?;
        let (prefix, digest) = match template {
            "ima-ngv2" | "ima-sigv2" => match digest.split_once(':').ok_or_else(bad)? {
                ("ima", digest) => ("ima:", digest),
                ("verity", digest) => ("verity:", digest),
                _ => return Err(bad()),
            },
            _ => ("", digest),
        };
        let (algorithm, digest) = match template {
            "ima" => ("sha1", digest),
            "ima-ng" | "ima-sig" | "ima-ngv2" | "ima-sigv2" | "ima-buf" => digest.split_once(':').ok_or_else(bad)?,
            _ => return Err(ImaError::Template(line)),
        };
        let digest = hex::decode(digest).map_err(|_| bad())?;
        let (name, more) = match template {
            // The last fields are hexadecimal, so the name ends at the last space before them; a missing signature is an empty field.
            "ima-sig" | "ima-sigv2" | "ima-buf" => match rest.rsplit_once(' ') {
                Some((name, field)) if is_hexadecimal(field) => (name, vec![hex::decode(field).map_err(|_| bad())?]),
                _ => (rest.trim_end_matches(' '), vec![Vec::new()]),
            },
            _ => (rest, Vec::new()),
        };
        Ok(Fields {
            legacy: template == "ima",
            prefix,
            algorithm: algorithm.to_owned(),
            digest,
            name: name.to_owned(),
            more,
        })
    }

    /// Each field behind its length; the oldest template has the digest bare and the name padded to 256 bytes.
    fn hashed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.legacy {
            out.extend_from_slice(&self.digest);
            let mut name = self.name.clone().into_bytes();
            name.resize(256, 0);
            out.extend_from_slice(&name);
            return out;
        }
        let mut put = |field: &[u8]| {
            out.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(field);
        };
        put(&[self.prefix.as_bytes(), self.algorithm.as_bytes(), b":\0", &self.digest].concat());
        put(&[self.name.as_bytes(), &[0]].concat());
        self.more.iter().for_each(|field| put(field));
        out
    }
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

const LIST: &str = "the measurement list";
const MAX_LIST: usize = 16 << 20;
