//! What an owner asks for, in a file: the one that `glovebox evidence appraise --policy` reads; `docs/spec/appraisal.md` has a whole one.
//!
//! TOML, in which a mistake is told with its line as in an agreement's file, or JSON, as programs write it. What is not written means the strictest
//! that has a use: `tier_floor` is `tpm`, `admits` is `affirmed` alone, and SEV-SNP's defaults hold. Which hardware and which measurements are
//! accepted has no such meaning, so both must be there. Nothing is ignored.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use agreement::toml::{Document, GENERATIONS, TIERS, Table, TomlError, Value};
use attest::{
    Tier,
    platform::{Assurance, HardwareIds, MeasurementRule, PlatformPolicy, PlatformPolicyError},
    snp::{Generation, SigningKey, SnpPolicy, Tcb},
};
use serde::Deserialize;

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
            Written::of(&Document::parse(&path.display().to_string(), text.as_bytes())?.root())?
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

impl Written {
    fn of(table: &Table<'_, '_>) -> Result<Written, TomlError> {
        table.only(&["tier_floor", "admits", "hardware", "measurements", "snp"])?;
        Ok(Written {
            tier_floor: table.get("tier_floor").map(|tier| tier.choice("a tier", &TIERS)).transpose()?,
            admits: table.get("admits").map(|admits| set(&admits, assurance)).transpose()?,
            hardware: table.get("hardware").as_ref().map(hardware).transpose()?,
            measurements: table.get("measurements").as_ref().map(measurements).transpose()?,
            snp: table.get("snp").map(|snp| self::snp(&snp.table()?)).transpose()?,
        })
    }
}

fn set<'d, 'i, T: Ord>(
    list: &Value<'d, 'i>,
    read: impl Fn(&Value<'d, 'i>) -> Result<T, TomlError>,
) -> Result<BTreeSet<T>, TomlError> {
    list.list()?.iter().map(read).collect()
}

fn assurance(value: &Value<'_, '_>) -> Result<String, TomlError> {
    let names = ASSURANCES.map(|name| (name, name));
    value.choice("an assurance that a policy can admit", &names).map(str::to_owned)
}

fn hexadecimal(value: &Value<'_, '_>) -> Result<String, TomlError> {
    let text = value.string()?;
    let digits = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if digits && !text.is_empty() && text.len().is_multiple_of(2) {
        return Ok(text.to_owned());
    }
    let hint = "write it as `glovebox evidence appraise` shows it".to_owned();
    Err(value.value_error("must be whole bytes in lower-case hexadecimal".to_owned(), Some(hint)))
}

fn hardware(value: &Value<'_, '_>) -> Result<HardwareIds, TomlError> {
    if value.is_string() {
        return value.choice("a kind of hardware list", &[("any", ())]).map(|()| HardwareIds::Any);
    }
    let table = value.table()?;
    table.only(&["listed"])?;
    let listed = table.need("listed", "listed = [\"…\"]")?;
    set(&listed, hexadecimal).map(HardwareIds::Listed)
}

fn measurements(value: &Value<'_, '_>) -> Result<MeasurementRule, TomlError> {
    let table = value.table()?;
    let mut rule = MeasurementRule::new();
    for (register, accepted) in table.values() {
        let values = set(&accepted, hexadecimal)?;
        if values.is_empty() {
            return Err(accepted.value_error("must name at least one value".to_owned(), None));
        }
        rule.insert(register, values);
    }
    if rule.is_empty() {
        table.need("measurement", "measurement = [\"…\"]")?;
    }
    Ok(rule)
}

fn snp(table: &Table<'_, '_>) -> Result<SnpPolicy, TomlError> {
    table.only(&["generations", "minimum_tcb", "vmpl", "signing_keys", "revocation_list"])?;
    let mut snp = SnpPolicy::default();
    if let Some(list) = table.get("generations") {
        snp.generations = set(&list, |each| each.choice("a generation", &GENERATIONS))?;
    }
    if let Some(floors) = table.get("minimum_tcb") {
        snp.minimum_tcb = minimum_tcb(&floors.table()?)?;
    }
    if let Some(list) = table.get("vmpl") {
        snp.vmpl = set(&list, |each| Ok(u32::try_from(each.integer(0, 3)?).unwrap_or(u32::MAX)))?;
    }
    if let Some(list) = table.get("signing_keys") {
        snp.signing_keys = set(&list, |each| each.choice("a signing key", &SIGNING_KEYS))?;
    }
    if let Some(asked) = table.get("revocation_list") {
        snp.revocation_list = asked.boolean()?;
    }
    Ok(snp)
}

fn minimum_tcb(table: &Table<'_, '_>) -> Result<BTreeMap<Generation, Tcb>, TomlError> {
    table.only(&GENERATIONS.map(|(name, _)| name))?;
    let mut floors = BTreeMap::new();
    for (name, generation) in GENERATIONS {
        let Some(value) = table.get(name) else { continue };
        let components = value.table()?;
        components.only(&["fmc", "bootloader", "tee", "snp", "microcode"])?;
        let absent: Vec<&str> = COMPONENTS.into_iter().filter(|name| components.get(name).is_none()).collect();
        if !absent.is_empty() {
            let hint = "write `0` for one that is not to be raised above AMD's own floor".to_owned();
            let reason = format!("must name every component; missing: {}", absent.join(", "));
            return Err(value.value_error(reason, Some(hint)));
        }
        let version = |name: &'static str| {
            let version = components.need(name, "snp = 24")?.integer(0, 255)?;
            Ok::<_, TomlError>(u8::try_from(version).unwrap_or(u8::MAX))
        };
        let fmc = components.get("fmc").map(|_| version("fmc")).transpose()?;
        let [bootloader, tee, snp, microcode] =
            [version("bootloader")?, version("tee")?, version("snp")?, version("microcode")?];
        floors.insert(generation, Tcb { fmc, bootloader, tee, snp, microcode });
    }
    Ok(floors)
}

const ASSURANCES: [&str; 5] = ["affirmed", "conditional", "out-of-date", "signature-only", "revocation-unknown"];
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
