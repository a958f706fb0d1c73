//! What an owner asks for, in a file: the one that `glovebox evidence appraise --policy` reads; `docs/spec/appraisal.md` has a whole one.
//!
//! TOML, in which a mistake is told with its line as in an agreement's file, or JSON, as programs write it. What is not written means the strictest
//! that has a use: `tier_floor` is `tpm`, `admits` is `affirmed` alone, and SEV-SNP's defaults hold. Which hardware and which measurements are
//! accepted has no such meaning, so both must be there. Nothing is ignored.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use agreement::toml::{Place, Problem, TomlError};
use attest::{
    Tier,
    platform::{Assurance, HardwareIds, MeasurementRule, PlatformPolicy, PlatformPolicyError},
    snp::{Generation, SigningKey, SnpPolicy, Tcb},
};
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A policy of any platform, with SEV-SNP's own part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) platform: PlatformPolicy,
    pub(crate) snp: SnpPolicy,
}

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// A mistake, with its place.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// A mistake in JSON.
    #[error("`{path}` is not a policy: {reason}", path = .path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// What, with its line and column.
        reason: serde_json::Error,
    },
    /// What must be there is not.
    #[error("`{path}` does not say {what}\n{hints}\nhint: `glovebox evidence appraise FILE` shows what was measured; docs/spec/appraisal.md has a whole policy", path = .path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// What is missing, all of it.
        what: String,
        /// A line to write for each.
        hints: String,
    },
    /// Its parts do not fit one another.
    #[error("`{path}` cannot be applied", path = .path.display())]
    Parts {
        /// Which.
        path: PathBuf,
        /// Why.
        source: PlatformPolicyError,
    },
}

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    tier_floor: Option<Tier>,
    admits: Option<BTreeSet<String>>,
    hardware: Option<HardwareIds>,
    measurements: Option<MeasurementRule>,
    snp: Option<SnpPolicy>,
}

impl Policy {
    /// Reads a policy out of a file's text.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub(crate) fn read(path: &Path, text: &str) -> Result<Policy, PolicyError> {
        let written = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|reason| PolicyError::Json { path: path.to_owned(), reason })?
        } else {
            File { name: path.display().to_string(), text }.written()?
        };
        let needed = [
            (
                written.hardware.is_none(),
                "`hardware`",
                "hint: add `hardware = \"any\"`, or `hardware = { listed = [\"…\"] }`",
            ),
            (
                written.measurements.is_none(),
                "`measurements`",
                "hint: add `[measurements]`, and below it a line for each register, such as `measurement = [\"…\"]`",
            ),
        ];
        let missing: Vec<_> = needed.iter().filter(|(missing, ..)| *missing).collect();
        let (Some(hardware), Some(measurements)) = (written.hardware, written.measurements) else {
            return Err(PolicyError::Missing {
                path: path.to_owned(),
                what: missing.iter().map(|(_, what, _)| *what).collect::<Vec<_>>().join(" and "),
                hints: missing.iter().map(|(_, _, hint)| *hint).collect::<Vec<_>>().join("\n"),
            });
        };
        let admits = written.admits.unwrap_or_else(|| BTreeSet::from([Assurance::Affirmed.name().to_owned()]));
        let tier_floor = written.tier_floor.unwrap_or_default();
        let platform = PlatformPolicy { tier_floor, admits, hardware, measurements };
        platform.digest().map_err(|source| PolicyError::Parts { path: path.to_owned(), source })?;
        Ok(Policy { platform, snp: written.snp.unwrap_or_default() })
    }
}

/// A file in TOML.
struct File<'i> {
    name: String,
    text: &'i str,
}

/// A value and where it stands.
#[derive(Clone)]
struct At<'f, 'i> {
    file: &'f File<'i>,
    key: String,
    span: Range<usize>,
    value: &'f DeValue<'i>,
}

impl<'i> File<'i> {
    fn written(&self) -> Result<Written, TomlError> {
        if self.text.len() > MAX_FILE {
            return Err(self.error(0..0, Problem::TooLarge(self.text.len())));
        }
        let root = DeTable::parse(self.text)
            .map_err(|error| self.error(error.span().unwrap_or(0..0), Problem::Syntax(error.message().to_owned())))?;
        let mut written = Written::default();
        for value in self.entries("", root.get_ref(), &["tier_floor", "admits", "hardware", "measurements", "snp"])? {
            match value.key.as_str() {
                "tier_floor" => written.tier_floor = Some(value.choice("a tier", &TIERS)?),
                "admits" => written.admits = Some(value.set(At::assurance)?),
                "hardware" => written.hardware = Some(value.hardware()?),
                "measurements" => written.measurements = Some(value.measurements()?),
                _ => written.snp = Some(value.snp()?),
            }
        }
        Ok(written)
    }

    /// The entries of a table, if it has none but these.
    fn entries<'f>(&'f self, path: &str, table: &'f DeTable<'i>, known: &[&str]) -> Result<Vec<At<'f, 'i>>, TomlError> {
        let each = |(key, value): (&'f Spanned<std::borrow::Cow<'i, str>>, &'f Spanned<DeValue<'i>>)| {
            let name = key.get_ref().as_ref();
            if !known.is_empty() && !known.contains(&name) {
                let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
                let problem = Problem::UnknownKey { key: name.to_owned(), nearest: nearest(name, &known), known };
                return Err(self.error(key.span(), problem));
            }
            let span = if value.span().is_empty() { key.span() } else { value.span() };
            let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            Ok(At { file: self, key, span, value: value.get_ref() })
        };
        table.iter().map(each).collect()
    }

    fn error(&self, span: Range<usize>, problem: Problem) -> TomlError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let whole = self.text.get(start..).unwrap_or("").lines().next().unwrap_or("");
        let column = before.get(start..).unwrap_or("").chars().count() + 1;
        let text = envelope::text::shown(whole, MAX_LINE);
        let meant = self.text.get(span).unwrap_or("").lines().next().unwrap_or("").chars().count();
        let room = text.chars().count().saturating_sub(column - 1).max(1);
        let line = before.matches('\n').count() + 1;
        let place = Place { file: self.name.clone(), line, column, text, width: meant.clamp(1, room) };
        TomlError { place: Box::new(place), problem }
    }
}

impl<'f, 'i> At<'f, 'i> {
    fn table(&self, known: &[&str]) -> Result<Vec<At<'f, 'i>>, TomlError> {
        let DeValue::Table(entries) = self.value else { return Err(self.wrong_type("a table")) };
        self.file.entries(&self.key, entries, known)
    }

    fn list(&self) -> Result<Vec<At<'f, 'i>>, TomlError> {
        let DeValue::Array(items) = self.value else { return Err(self.wrong_type("a list in brackets")) };
        let item = |item: &'f Spanned<DeValue<'i>>| At { span: item.span(), value: item.get_ref(), ..self.clone() };
        Ok(items.iter().map(item).collect())
    }

    fn set<T: Ord>(&self, read: impl Fn(&At<'f, 'i>) -> Result<T, TomlError>) -> Result<BTreeSet<T>, TomlError> {
        self.list()?.iter().map(read).collect()
    }

    fn string(&self) -> Result<&'f str, TomlError> {
        let DeValue::String(text) = self.value else { return Err(self.wrong_type("a text in quotes")) };
        Ok(text)
    }

    fn choice<T: Copy>(&self, what: &'static str, choices: &[(&str, T)]) -> Result<T, TomlError> {
        let written = self.string()?;
        choices.iter().find(|(name, _)| *name == written).map(|(_, choice)| *choice).ok_or_else(|| {
            let known: Vec<String> = choices.iter().map(|(name, _)| (*name).to_owned()).collect();
            self.error(Problem::UnknownName {
                what,
                name: written.to_owned(),
                nearest: nearest(written, &known),
                known,
            })
        })
    }

    fn number<T: TryFrom<u64>>(&self, most: u64) -> Result<T, TomlError> {
        let DeValue::Integer(number) = self.value else { return Err(self.wrong_type("a whole number")) };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| *number <= most);
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            self.error(Problem::Value {
                key: self.key.clone(),
                reason: format!("must be a whole number from 0 to {most}"),
                hint: None,
            })
        })
    }

    fn assurance(&self) -> Result<String, TomlError> {
        let names = ASSURANCES.map(|name| (name, name));
        self.choice("an assurance that a policy can admit", &names).map(str::to_owned)
    }

    fn hexadecimal(&self) -> Result<String, TomlError> {
        let text = self.string()?;
        let digits = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if digits && !text.is_empty() && text.len().is_multiple_of(2) {
            return Ok(text.to_owned());
        }
        Err(self.error(Problem::Value {
            key: self.key.clone(),
            reason: "must be whole bytes in lower-case hexadecimal".to_owned(),
            hint: Some("write it as `glovebox evidence appraise` shows it".to_owned()),
        }))
    }

    fn hardware(&self) -> Result<HardwareIds, TomlError> {
        if matches!(self.value, DeValue::String(_)) {
            return self.choice("a kind of hardware list", &[("any", ())]).map(|()| HardwareIds::Any);
        }
        match self.table(&["listed"])?.first() {
            Some(listed) => Ok(HardwareIds::Listed(listed.set(At::hexadecimal)?)),
            None => Err(self.missing("listed", "listed = [\"…\"]")),
        }
    }

    fn measurements(&self) -> Result<MeasurementRule, TomlError> {
        let registers = self.table(&[])?;
        if registers.is_empty() {
            return Err(self.missing("measurement", "measurement = [\"…\"]"));
        }
        let rule = |register: &At<'f, 'i>| {
            let values = register.set(At::hexadecimal)?;
            if values.is_empty() {
                return Err(register.error(Problem::Value {
                    key: register.key.clone(),
                    reason: "must name at least one value".to_owned(),
                    hint: None,
                }));
            }
            Ok((register.key.trim_start_matches("measurements.").to_owned(), values))
        };
        registers.iter().map(rule).collect()
    }

    fn snp(&self) -> Result<SnpPolicy, TomlError> {
        let mut snp = SnpPolicy::default();
        for value in self.table(&["generations", "minimum_tcb", "vmpl", "signing_keys", "revocation_list"])? {
            match value.key.as_str() {
                "snp.generations" => snp.generations = value.set(|each| each.choice("a generation", &GENERATIONS))?,
                "snp.minimum_tcb" => snp.minimum_tcb = value.minimum_tcb()?,
                "snp.vmpl" => snp.vmpl = value.set(|each| each.number(3))?,
                "snp.signing_keys" => {
                    snp.signing_keys = value.set(|each| each.choice("a signing key", &SIGNING_KEYS))?
                }
                _ => {
                    let DeValue::Boolean(asked) = value.value else {
                        return Err(value.wrong_type("`true` or `false`"));
                    };
                    snp.revocation_list = *asked;
                }
            }
        }
        Ok(snp)
    }

    fn minimum_tcb(&self) -> Result<BTreeMap<Generation, Tcb>, TomlError> {
        let names = GENERATIONS.map(|(name, _)| name);
        let each = |value: &At<'f, 'i>| {
            let generation =
                GENERATIONS.into_iter().find(|(name, _)| value.key.ends_with(name)).map(|(_, found)| found);
            let mut versions: BTreeMap<String, u8> = BTreeMap::new();
            for component in value.table(&["fmc", "bootloader", "tee", "snp", "microcode"])? {
                versions
                    .insert(component.key.rsplit('.').next().unwrap_or_default().to_owned(), component.number(255)?);
            }
            let absent: Vec<&str> =
                COMPONENTS.into_iter().filter(|component| !versions.contains_key(*component)).collect();
            if !absent.is_empty() {
                return Err(value.error(Problem::Value {
                    key: value.key.clone(),
                    reason: format!("must name every component; missing: {}", absent.join(", ")),
                    hint: Some("write `0` for one that is not to be raised above AMD's own floor".to_owned()),
                }));
            }
            let of = |component: &str| versions.get(component).copied().unwrap_or(u8::MAX);
            let tcb = Tcb {
                fmc: versions.get("fmc").copied(),
                bootloader: of("bootloader"),
                tee: of("tee"),
                snp: of("snp"),
                microcode: of("microcode"),
            };
            Ok(generation.map(|generation| (generation, tcb)))
        };
        let found: Vec<_> = self.table(&names)?.iter().map(each).collect::<Result<_, TomlError>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn missing(&self, key: &str, example: &'static str) -> TomlError {
        self.error(Problem::MissingKey { table: self.key.clone(), key: key.to_owned(), example })
    }

    fn wrong_type(&self, expected: &'static str) -> TomlError {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(Problem::WrongType { key: self.key.clone(), expected, found })
    }

    fn error(&self, problem: Problem) -> TomlError {
        self.file.error(self.span.clone(), problem)
    }
}

/// The name that a person most likely meant.
fn nearest(written: &str, known: &[String]) -> Option<String> {
    if written.len() > MAX_LINE {
        return None;
    }
    let distances = known.iter().map(|name| (strsim::damerau_levenshtein(written, name), name));
    let (distance, name) = distances.min()?;
    (distance <= (name.chars().count() / 3).max(1)).then(|| name.clone())
}

/// What is read takes up to eighty times as much memory; agreements' files have this bound, too.
const MAX_FILE: usize = 512 << 10;
const MAX_LINE: usize = 120;
const ASSURANCES: [&str; 5] = ["affirmed", "conditional", "out-of-date", "signature-only", "revocation-unknown"];
const TIERS: [(&str, Tier); 6] = [
    (Tier::SoftwareTpm.name(), Tier::SoftwareTpm),
    (Tier::Tpm.name(), Tier::Tpm),
    (Tier::Sgx.name(), Tier::Sgx),
    (Tier::ConfidentialVm.name(), Tier::ConfidentialVm),
    (Tier::AllowListed.name(), Tier::AllowListed),
    (Tier::SeveralVendors.name(), Tier::SeveralVendors),
];
const GENERATIONS: [(&str, Generation); 3] =
    [("milan", Generation::Milan), ("genoa", Generation::Genoa), ("turin", Generation::Turin)];
const COMPONENTS: [&str; 4] = ["bootloader", "tee", "snp", "microcode"];
const SIGNING_KEYS: [(&str, SigningKey); 2] = [("vcek", SigningKey::Vcek), ("vlek", SigningKey::Vlek)];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refused(text: &str) -> String {
        Policy::read(Path::new("p.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_policy_in_toml_and_in_json_is_the_same() {
        let toml = "tier_floor = \"confidential-vm\"\nhardware = { listed = [\"aa\"] }\n[measurements]\nmeasurement = [\"0102\"]\n\
                    \"sha384:pcr0\" = [\"03\"]\n[snp]\ngenerations = [\"milan\"]\n[snp.minimum_tcb.milan]\nbootloader = 0\n\
                    tee = 0\nsnp = 0x18\nmicrocode = 0\n";
        let json = r#"{"tier_floor": "confidential-vm", "hardware": {"listed": ["aa"]},
            "measurements": {"measurement": ["0102"], "sha384:pcr0": ["03"]}, "snp": {"generations": ["milan"],
            "minimum_tcb": {"milan": {"bootloader": 0, "tee": 0, "snp": 24, "microcode": 0}}}}"#;
        let read = |text: &str| Policy::read(Path::new("p"), text).unwrap();
        let policy = read(toml);
        assert_eq!(policy, read(json));
        assert_eq!(policy.platform.admits, BTreeSet::from(["affirmed".to_owned()]));
        assert_eq!((policy.snp.vmpl, policy.snp.revocation_list), (BTreeSet::from([0]), false));
        let least = read("hardware = \"any\"\nmeasurements = { mrtd = [\"00\"] }");
        assert_eq!((least.platform.tier_floor, least.snp), (Tier::Tpm, SnpPolicy::default()));
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let words = refused("admits = [\"affirmed\"]");
        assert!(
            words.starts_with("`p.toml` does not say `hardware` and `measurements`\nhint: add `hardware = "),
            "{words}"
        );
        assert!(words.contains("\nhint: add `[measurements]`"), "{words}");
        assert!(refused("{}").starts_with("`p.toml` does not say `hardware` and `measurements`\n"));
        assert!(refused("hardware = \"any\"").starts_with("`p.toml` does not say `measurements`\n"));
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_the_nearest_name() {
        let caret = "`p.toml` line 2, column 1: unknown key `hardwear`\n  2 | hardwear = \"any\"\n    | ^^^^^^^^\nhint: did you mean `hardware`?";
        assert_eq!(refused("admits = [\"affirmed\"]\nhardwear = \"any\""), caret);
        for (text, told) in [
            ("tier_floor = \"sxg\"", "line 1, column 14: `sxg` is not a tier"),
            ("admits = [\"parsed-only\"]", "column 11: `parsed-only` is not an assurance that a policy can admit"),
            ("hardware = \"all\"", "`all` is not a kind of hardware list"),
            ("hardware = 1", "`hardware` must be a table, not a whole number"),
            ("[measurements]", "the key `measurement` is missing in `measurements`"),
            ("[measurements]\nmrtd = []", "line 2, column 8: `measurements.mrtd` must name at least one value"),
            (
                "[measurements]\nmrtd = [\"AB\"]",
                "column 9: `measurements.mrtd` must be whole bytes in lower-case hexadecimal",
            ),
            ("[measurements]\nmrtd = \"ab\"", "must be a list in brackets, not a text"),
            ("[snp]\ngeneration = []", "unknown key `generation`"),
            ("[snp]\nvmpl = [4]", "must be a whole number from 0 to 3"),
            ("[snp]\nrevocation_list = 1", "must be `true` or `false`, not a whole number"),
            ("[snp.minimum_tcb.rome]", "unknown key `rome`"),
            ("[snp.minimum_tcb.genoa]\nsnp = 24", "must name every component; missing: bootloader, tee, microcode"),
            ("hardware", "this is not TOML"),
        ] {
            let words = refused(text);
            assert!(words.contains(told), "{text}: {words}");
        }
        assert!(refused("{\n\"hardwear\": 1}").contains("unknown field `hardwear`"));
    }
}
