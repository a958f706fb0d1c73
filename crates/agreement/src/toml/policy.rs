//! An Appraisal Policy as people write it: in a file of its own (the JSON that `glovebox up` and brokers print) or spelt out.

use std::collections::{BTreeMap, BTreeSet};

use attest::{
    AppraisalPolicy, Bank, Clock, EndorsementKeys, EndorsementRoot, HardwareRule, PolicyDocument, ReferenceValue, Tier,
    TpmPolicy,
    events::{ROLE_PCR, RoleName},
    platform::{Anchors, HardwareIds, Platform, PlatformPolicy, PlatformPolicyError},
    reference::AuditorRule,
    snp::{Generation, SnpPolicy},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::{Digest, text::Bytes};

use super::{
    agreement::Files,
    reader::{Table, TomlError, Value},
};

/// Reads the policy for workers: as any, and with it the auditors who must vouch for what they measured.
pub(super) fn workers(table: &Table<'_, '_>, files: Files<'_>) -> Result<AppraisalPolicy, TomlError> {
    let plain = policy(table, "worker", &["auditors"], files)?;
    let Some(value) = table.get("auditors") else { return Ok(plain) };
    let mut document = PolicyDocument::from(plain);
    if document.auditors.is_some() {
        let hint = "leave them out here, or take them out of the file".to_owned();
        return Err(value.value_error("has a place in the policy's own file, too".to_owned(), Some(hint)));
    }
    document.auditors = Some(auditors(&value.table()?, &document.tpm, files)?);
    AppraisalPolicy::new(document).map_err(|error| value.fault(error))
}

/// Where it is not written, all of those listed must vouch, for every register that the policy itself expects something of.
fn auditors(table: &Table<'_, '_>, tpm: &TpmPolicy, files: Files<'_>) -> Result<AuditorRule, TomlError> {
    table.only(&["identities", "required", "pcrs"])?;
    let identities = table.need("identities", "identities = [\"auditor.identity\"]")?;
    let mut keys = BTreeSet::new();
    for value in identities.list()? {
        if !keys.insert(*files.identity(&value)?.signing()) {
            return Err(value.value_error("names this auditor twice".to_owned(), None));
        }
    }
    let required = match table.get("required") {
        Some(required) => required.integer(0, u64::from(u32::MAX))?,
        None => keys.len() as u64,
    };
    let pcrs = match table.get("pcrs") {
        Some(pcrs) => pcrs.list()?.iter().map(|pcr| pcr.integer(0, 23)).collect::<Result<_, _>>()?,
        None => tpm.reference_values.iter().map(|reference| reference.pcr).chain([ROLE_PCR]).map(u64::from).collect(),
    };
    let pcrs: BTreeSet<u64> = pcrs;
    Ok(AuditorRule {
        keys,
        required: u32::try_from(required).unwrap_or(u32::MAX),
        pcrs: pcrs.into_iter().map(|pcr| u8::try_from(pcr).unwrap_or(u8::MAX)).collect(),
    })
}

/// Reads a policy table. `role` is the role that it is for, and `more` are keys that the caller reads.
pub(super) fn policy(
    table: &Table<'_, '_>,
    role: &str,
    more: &[&str],
    files: Files<'_>,
) -> Result<AppraisalPolicy, TomlError> {
    if let Some(file) = table.get("file") {
        table.only(&[["file"].as_slice(), more].concat())?;
        return files.json(&file, "ask the worker's operator for the file, or run `glovebox up` again");
    }
    table.only(&[KEYS, more].concat())?;
    let tier_floor = match table.get("tier") {
        Some(tier) => tier.choice("a tier", &TIERS)?,
        None => Tier::default(),
    };
    let roots = table.need("roots", "roots = [\"authority.pem\"]")?;
    let binaries = table.need("binaries", "binaries = [\"sha256:…\"]")?;
    let keys = table.need("endorsement_keys", "endorsement_keys = [\"sha256:…\"]")?;
    let document = PolicyDocument {
        tier_floor,
        tpm: TpmPolicy {
            roots: roots.list()?.iter().map(|root| endorsement_root(root, files)).collect::<Result<_, _>>()?,
            endorsement_keys: endorsement_keys(&keys)?,
            bank: match table.get("bank") {
                Some(bank) => bank.choice("a bank", &[("sha256", Bank::Sha256), ("sha384", Bank::Sha384)])?,
                None => Bank::Sha256,
            },
            role: RoleName::try_from(role).map_err(|error| binaries.fault(error))?,
            binaries: digests(&binaries)?,
            reference_values: match table.get("reference_values") {
                Some(values) => values.list()?.iter().map(reference_value).collect::<Result<_, _>>()?,
                None => Vec::new(),
            },
            clock: match table.get("clock") {
                Some(clock) => clock.choice("a clock", &[("safe", Clock::Safe), ("unsafe", Clock::Unsafe)])?,
                None => Clock::Safe,
            },
        },
        hardware: match table.get("hardware") {
            Some(rules) => rules.list()?.iter().map(|rule| hardware_rule(rule, files)).collect::<Result<_, _>>()?,
            None => BTreeMap::new(),
        },
        auditors: None,
    };
    AppraisalPolicy::new(document).map_err(|error| roots.fault(error))
}

/// `"authority.pem"`, or a table that also says the tier of what it certifies.
fn endorsement_root(value: &Value<'_, '_>, files: Files<'_>) -> Result<EndorsementRoot, TomlError> {
    let (file, tier) = if value.is_string() {
        (value.clone(), Tier::Tpm)
    } else {
        let table = value.table()?;
        table.only(&["certificate", "tier"])?;
        let tier = table.need("tier", "tier = \"software-tpm\"")?.choice("a tier", &TIERS)?;
        (table.need("certificate", "certificate = \"authority.pem\"")?, tier)
    };
    let bytes = files.read(&file)?;
    let path = file.string()?;
    let certificate = der(&bytes).ok_or_else(|| file.file_error(path, "it is not one certificate in PEM or DER"))?;
    Ok(EndorsementRoot { certificate: Bytes(certificate), tier })
}

/// `{ platform = "sev-snp", measurements = [{ register = "measurement", values = ["…"] }] }`, and what narrows it further.
fn hardware_rule(value: &Value<'_, '_>, files: Files<'_>) -> Result<(Platform, HardwareRule), TomlError> {
    let table = value.table()?;
    table.only(&["platform", "roots", "admits", "chips", "measurements", "generations", "evaluation_floor"])?;
    let platform = table.need("platform", "platform = \"sev-snp\"")?.choice("a platform of hardware", &HARDWARE)?;
    let anchors = match table.get("roots") {
        Some(roots) => {
            let roots = roots.list()?;
            let pinned = roots.iter().map(|root| endorsement_root(root, files).map(|root| root.certificate));
            Anchors::Pinned(pinned.collect::<Result<_, _>>()?)
        }
        None => Anchors::Makers,
    };
    let mut measurements = BTreeMap::new();
    let listed = table.need("measurements", "measurements = [{ register = \"…\", values = [\"…\"] }]")?;
    for measurement in listed.list()? {
        let entry = measurement.table()?;
        entry.only(&["register", "values"])?;
        let register = entry.need("register", "register = \"measurement\"")?;
        let values = entry.need("values", "values = [\"…\"]")?.strings()?;
        if measurements.insert(register.string()?.to_owned(), values.into_iter().collect()).is_some() {
            return Err(register.fault("this register is listed twice"));
        }
    }
    let policy = PlatformPolicy {
        tier_floor: Tier::default(),
        admits: match table.get("admits") {
            Some(admits) => admits.strings()?.into_iter().collect(),
            None => BTreeSet::from(["affirmed".to_owned()]),
        },
        hardware: match table.get("chips") {
            Some(chips) => HardwareIds::Listed(chips.strings()?.into_iter().collect()),
            None => HardwareIds::Any,
        },
        measurements,
    };
    policy.digest().map_err(|error| match error {
        PlatformPolicyError::UnknownAssurance(_) | PlatformPolicyError::ParsedOnly => {
            table.get("admits").as_ref().unwrap_or(&listed).fault(error)
        }
        PlatformPolicyError::NoMeasurements
        | PlatformPolicyError::NoValue(_)
        | PlatformPolicyError::NotHexadecimal(_)
        | PlatformPolicyError::Digest => listed.fault(error),
    })?;
    let mut snp = SnpPolicy::default();
    if let Some(generations) = own(&table, "generations", platform, Platform::SevSnp)? {
        let each = generations.list()?;
        snp.generations =
            each.iter().map(|each| each.choice("a generation", &GENERATIONS)).collect::<Result<_, _>>()?;
    }
    let evaluation_floor = match own(&table, "evaluation_floor", platform, Platform::Tdx)? {
        Some(floor) => u32::try_from(floor.integer(0, u64::from(u32::MAX))?).unwrap_or(u32::MAX),
        None => 0,
    };
    Ok((platform, HardwareRule { anchors, policy, snp, evaluation_floor }))
}

/// A key that means something on one platform only.
fn own<'d, 'i>(
    table: &Table<'d, 'i>,
    key: &str,
    platform: Platform,
    of: Platform,
) -> Result<Option<Value<'d, 'i>>, TomlError> {
    match table.get(key) {
        Some(value) if platform != of => Err(value.fault(format!("`{key}` is for {of} alone"))),
        found => Ok(found),
    }
}

/// DER as it is, or the one certificate of a PEM file (RFC 7468).
fn der(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.first() == Some(&0x30) {
        return Some(bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, rest) = text.split_once(PEM_BEGIN)?;
    let (body, rest) = rest.split_once(PEM_END)?;
    if rest.contains(PEM_BEGIN) {
        return None;
    }
    let digits: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(digits).ok()
}

fn endorsement_keys(value: &Value<'_, '_>) -> Result<EndorsementKeys, TomlError> {
    if value.is_string() {
        return value.choice("a list of digests, nor `any`", &[("any", ())]).map(|()| EndorsementKeys::Any);
    }
    digests(value).map(EndorsementKeys::Listed)
}

fn digests(value: &Value<'_, '_>) -> Result<Vec<Digest>, TomlError> {
    value.list()?.iter().map(Value::parsed::<Digest>).collect()
}

fn reference_value(value: &Value<'_, '_>) -> Result<ReferenceValue, TomlError> {
    let table = value.table()?;
    table.only(&["pcr", "values"])?;
    let pcr = table.need("pcr", "pcr = 7")?.integer(0, 23)?;
    let values = table.need("values", "values = [\"…\"]")?.strings()?;
    Ok(ReferenceValue { pcr: u8::try_from(pcr).unwrap_or(u8::MAX), values })
}

const KEYS: &[&str] =
    &["file", "tier", "roots", "endorsement_keys", "bank", "binaries", "reference_values", "clock", "hardware"];
/// Tiers by the names that files have for them.
pub const TIERS: [(&str, Tier); 6] = [
    (Tier::SoftwareTpm.name(), Tier::SoftwareTpm),
    (Tier::Tpm.name(), Tier::Tpm),
    (Tier::Sgx.name(), Tier::Sgx),
    (Tier::ConfidentialVm.name(), Tier::ConfidentialVm),
    (Tier::AllowListed.name(), Tier::AllowListed),
    (Tier::SeveralVendors.name(), Tier::SeveralVendors),
];
/// The platforms whose report can stand beside a TPM's quote.
const HARDWARE: [(&str, Platform); 2] =
    [(Platform::SevSnp.name(), Platform::SevSnp), (Platform::Tdx.name(), Platform::Tdx)];
/// AMD's generations by the names that files have for them.
pub const GENERATIONS: [(&str, Generation); 3] =
    [("milan", Generation::Milan), ("genoa", Generation::Genoa), ("turin", Generation::Turin)];
const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";
