//! IMA measurement lists, as Linux writes them in `ascii_runtime_measurements` and `binary_runtime_measurements`.
//!
//! An entry has the register, the template's hash, the template's name and its fields. The hash that is extended is over the fields, so it is
//! computed anew: an entry whose hash is not that of its fields was altered. A hash of zeros marks a violation, for which all-ones are
//! extended (Linux, `security/integrity/ima`). Known are the templates `ima`, `ima-ng`, `ima-sig`, `ima-ngv2`, `ima-sigv2` and
//! `ima-buf`; another is refused, since its hash cannot be computed.
//!
//! The binary form (`ima_measurements_show` in `ima_fs.c`), little-endian, per entry: register (4 bytes), template hash, the name of the template and the
//! template's data, each of the two behind its length (4 bytes). The data is what is hashed, each field behind its length; of the template `ima` there is no
//! length of the data, and it is the file's digest (20 bytes) and the name behind its length, without its padding. How long the hash is the list does not
//! say: it is the shortest length behind which a template that is known is named.
//!
//! Absent: judgement of the files, whose digests are for a policy; lists of big-endian machines.

use crate::{
    HashAlgorithm,
    reader::{FormatError, Reader},
};

/// A list whose every entry was found to hash to what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasurementList {
    entries: Vec<ImaEntry>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImaEntry {
    pcr: u8,
    template: String,
    /// The fields as they are hashed, but for the oldest template, whose padding is put back; `None` for a violation.
    hashed: Option<Vec<u8>>,
    algorithm: String,
    digest: Vec<u8>,
    name: String,
}

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImaError {
    /// Longer than is ever read, or neither text nor the binary form.
    #[error("the measurement list cannot be read")]
    Malformed(#[source] FormatError),
    /// An entry that is not a measurement.
    #[error("entry {0} of the measurement list is not a measurement")]
    Entry(usize),
    /// A template that is not known.
    #[error("entry {0} of the measurement list is of a template that is not known here")]
    Template(usize),
    /// An altered entry.
    #[error("entry {0} of the measurement list does not hash to its template hash")]
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
    /// Parses a list in either form and checks the hash of every entry.
    ///
    /// # Errors
    /// [`ImaError`], with entries (of text: lines) counted from 1.
    pub fn parse(bytes: &[u8]) -> Result<MeasurementList, ImaError> {
        if bytes.len() > MAX_LIST {
            let too_large = FormatError::TooLarge { structure: LIST, size: bytes.len(), limit: MAX_LIST };
            return Err(ImaError::Malformed(too_large));
        }
        // A register has one byte, so the others of its number are zero; no text has zeros.
        if bytes.get(1..4) == Some(&[0; 3]) {
            return MeasurementList::parse_binary(bytes);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = u64::try_from(error.valid_up_to()).unwrap_or(u64::MAX);
            ImaError::Malformed(FormatError::Value { structure: LIST, field: "text at byte", value: at })
        })?;
        let mut entries = Vec::new();
        let is_cut = |line: &str| !text.ends_with('\n') && text.ends_with(line);
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            bounded(&entries)?;
            entries.push(match ImaEntry::parse(line.trim_start_matches(' '), index + 1) {
                // Of a last line without its end nobody can tell whether it was changed or cut.
                Err(ImaError::TemplateHash(number)) if is_cut(line) => return Err(ImaError::Entry(number)),
                entry => entry?,
            });
        }
        if entries.is_empty() { Err(ImaError::Entry(1)) } else { Ok(MeasurementList { entries }) }
    }

    fn parse_binary(bytes: &[u8]) -> Result<MeasurementList, ImaError> {
        let known = |size: &usize| bytes.get(4 + size..).is_some_and(names_a_template);
        let size = [20, 32, 48, 64].into_iter().find(known).ok_or(ImaError::Entry(1))?;
        let mut reader = Reader::new(LIST, bytes);
        let mut entries = Vec::new();
        while !reader.is_empty() {
            bounded(&entries)?;
            entries.push(ImaEntry::read(&mut reader, size, entries.len() + 1)?);
        }
        Ok(MeasurementList { entries })
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
        let bad = ImaError::Entry(number);
        let mut word = || words.next().ok_or(bad.clone());
        let pcr: u8 = word()?.parse().map_err(|_| bad.clone())?;
        let hash = hex::decode(word()?).map_err(|_| bad.clone())?;
        let (template, fields) = (word()?, word()?);
        let fields = Fields::parse(template, fields, number)?;
        ImaEntry::checked(u32::from(pcr), &hash, template, fields, number)
    }

    fn read(reader: &mut Reader<'_>, size: usize, number: usize) -> Result<ImaEntry, ImaError> {
        let pcr = reader.u32_le().map_err(ImaError::Malformed)?;
        let hash = reader.take(size).map_err(ImaError::Malformed)?;
        let template = sized(reader, MAX_TEMPLATE, number)?;
        let template = std::str::from_utf8(template).map_err(|_| ImaError::Template(number))?;
        let fields = Fields::read(template, reader, number)?;
        ImaEntry::checked(pcr, hash, template, fields, number)
    }

    fn checked(pcr: u32, hash: &[u8], template: &str, fields: Fields, number: usize) -> Result<ImaEntry, ImaError> {
        let pcr = u8::try_from(pcr).ok().filter(|pcr| *pcr <= 23).ok_or(ImaError::Entry(number))?;
        let violation = hash.iter().all(|byte| *byte == 0);
        let hashed = fields.hashed();
        let fits = match hash.len() {
            20 => HashAlgorithm::Sha1.hash(&[&hashed]) == hash,
            32 => HashAlgorithm::Sha256.hash(&[&hashed]) == hash || HashAlgorithm::Sm3.hash(&[&hashed]) == hash,
            48 => HashAlgorithm::Sha384.hash(&[&hashed]) == hash,
            64 => HashAlgorithm::Sha512.hash(&[&hashed]) == hash,
            _ => return Err(ImaError::Entry(number)),
        };
        if !violation && !fits {
            return Err(ImaError::TemplateHash(number));
        }
        Ok(ImaEntry {
            pcr,
            template: template.to_owned(),
            hashed: (!violation).then_some(if fields.legacy { Vec::new() } else { hashed }),
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
            Some(_) if self.template == LEGACY => bank.hash(&[&padded(&self.digest, &self.name)]),
            Some(hashed) => bank.hash(&[hashed]),
            None => vec![0xFF; bank.size()],
        }
    }
}

impl ImaError {
    /// The word for the reason.
    pub const fn code(&self) -> &'static str {
        match self {
            ImaError::Malformed(_) | ImaError::Entry(_) => "list-malformed",
            ImaError::Template(_) => "template-unknown",
            ImaError::TemplateHash(_) => "template-hash-mismatch",
            ImaError::Replay { .. } => "replay-mismatch",
        }
    }

    /// Whether the bytes are not even a list.
    pub const fn is_malformed(&self) -> bool {
        matches!(self, ImaError::Malformed(_) | ImaError::Entry(_))
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
        let bad = || ImaError::Entry(line);
        let (digest, rest) = text.split_once(' ').ok_or_else(bad)?;
        let (prefix, digest) = prefixed(template, digest).ok_or_else(bad)?;
        let (algorithm, digest) = match template {
            "ima" => ("sha1", digest),
            "ima-ng" | "ima-sig" | "ima-ngv2" | "ima-sigv2" | "ima-buf" => digest.split_once(':').ok_or_else(bad)?,
            _ => return Err(ImaError::Template(line)),
        };
        let digest = hex::decode(digest).map_err(|_| bad())?;
        let (name, more) = match template {
            // The last field is hexadecimal, so the name ends at the last space before it. Without a signature it is empty, and an editor may have cut its space off.
            "ima-sig" | "ima-sigv2" | "ima-buf" => {
                match rest.rsplit_once(' ').map(|(name, last)| (name, hex::decode(last))) {
                    Some((name, Ok(last))) => (name, vec![last]),
                    _ => (rest, vec![Vec::new()]),
                }
            }
            _ => (rest, Vec::new()),
        };
        Fields {
            legacy: template == LEGACY,
            prefix,
            algorithm: algorithm.to_owned(),
            digest,
            name: name.to_owned(),
            more,
        }
        .fit(line)
    }

    /// The fields of a binary entry, from behind its template's name.
    fn read(template: &str, reader: &mut Reader<'_>, number: usize) -> Result<Fields, ImaError> {
        let bad = || ImaError::Entry(number);
        if template == LEGACY {
            let digest = reader.take(20).map_err(ImaError::Malformed)?.to_vec();
            let name = std::str::from_utf8(sized(reader, MAX_LIST, number)?).map_err(|_| bad())?.to_owned();
            let algorithm = "sha1".to_owned();
            return Fields { legacy: true, prefix: "", algorithm, digest, name, more: Vec::new() }.fit(number);
        }
        if !TEMPLATES.contains(&template) {
            return Err(ImaError::Template(number));
        }
        let mut fields = Reader::new(DATA, sized(reader, MAX_LIST, number)?);
        let digest = sized(&mut fields, MAX_DIGEST, number)?;
        let end = digest.windows(2).position(|window| window == b":\0").ok_or_else(bad)?;
        let (words, digest) = (digest.get(..end).ok_or_else(bad)?, digest.get(end + 2..).ok_or_else(bad)?.to_vec());
        let words = std::str::from_utf8(words).map_err(|_| bad())?;
        let (prefix, algorithm) = prefixed(template, words).ok_or_else(bad)?;
        let name = sized(&mut fields, MAX_LIST, number)?.strip_suffix(&[0]).ok_or_else(bad)?;
        let name = std::str::from_utf8(name).map_err(|_| bad())?.to_owned();
        let more = match template {
            "ima-sig" | "ima-sigv2" | "ima-buf" => vec![sized(&mut fields, MAX_LIST, number)?.to_vec()],
            _ => Vec::new(),
        };
        fields.finish().map_err(ImaError::Malformed)?;
        Fields { legacy: false, prefix, algorithm: algorithm.to_owned(), digest, name, more }.fit(number)
    }

    /// What is hashed tells every field, so nothing of them may be cut off or run into another.
    fn fit(self, number: usize) -> Result<Fields, ImaError> {
        let algorithm = !self.algorithm.is_empty()
            && self.algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let legacy = !self.legacy || (self.digest.len() == 20 && self.name.len() < LEGACY_NAME);
        let plain = !self.name.contains('\0') && self.digest.len() <= MAX_DIGEST;
        if algorithm && legacy && plain { Ok(self) } else { Err(ImaError::Entry(number)) }
    }

    /// Each field behind its length, but in the oldest template.
    fn hashed(&self) -> Vec<u8> {
        if self.legacy {
            return padded(&self.digest, &self.name);
        }
        let mut out = Vec::new();
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

/// What a digest of the second version is of, with the rest; other templates do not say.
fn prefixed<'a>(template: &str, digest: &'a str) -> Option<(&'static str, &'a str)> {
    match template {
        "ima-ngv2" | "ima-sigv2" => match digest.split_once(':')? {
            ("ima", digest) => Some(("ima:", digest)),
            ("verity", digest) => Some(("verity:", digest)),
            _ => None,
        },
        _ => Some(("", digest)),
    }
}

/// Bytes behind their length.
fn sized<'a>(reader: &mut Reader<'a>, most: usize, number: usize) -> Result<&'a [u8], ImaError> {
    let size = reader.u32_le().map_err(ImaError::Malformed)?;
    let size = usize::try_from(size).ok().filter(|size| *size <= most).ok_or(ImaError::Entry(number))?;
    reader.take(size).map_err(ImaError::Malformed)
}

/// Whether these bytes begin with the name of a template that is known, behind its length.
fn names_a_template(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(LIST, bytes);
    sized(&mut reader, MAX_TEMPLATE, 0).is_ok_and(|name| TEMPLATES.iter().any(|known| known.as_bytes() == name))
}

/// Whether there is room for another entry.
fn bounded(entries: &[ImaEntry]) -> Result<(), ImaError> {
    if entries.len() < MAX_ENTRIES {
        return Ok(());
    }
    let field = "number of measurements, more than";
    Err(ImaError::Malformed(FormatError::Value { structure: LIST, field, value: MAX_ENTRIES as u64 }))
}

/// The fields of the oldest template: the digest bare and the name padded to 256 bytes.
fn padded(digest: &[u8], name: &str) -> Vec<u8> {
    let mut name = name.as_bytes().to_vec();
    name.resize(LEGACY_NAME, 0);
    [digest, &name].concat()
}

const LIST: &str = "the measurement list";
const DATA: &str = "the data of a measurement";
const TEMPLATES: [&str; 6] = ["ima", "ima-ng", "ima-sig", "ima-ngv2", "ima-sigv2", "ima-buf"];
const MAX_TEMPLATE: usize = 16;
/// Prefix, name of the hash, and the longest digest.
const MAX_DIGEST: usize = 128;
/// The room for a name in the oldest template; at least one zero ends it.
const LEGACY_NAME: usize = 256;
const LEGACY: &str = "ima";
const MAX_LIST: usize = 8 << 20;
/// An entry takes more memory than its bytes, so their number is bounded too; a machine's list has some thousands.
const MAX_ENTRIES: usize = 100_000;
