//! The names by which cases ask for what Evidence says.
//!
//! A field has one name in its specification and several in the wild: `mr_enclave` and `mrenclave`, `pcr0` and `PCR0`, `nonce` and
//! `report_data`. Names are compared without case, underscores and hyphens; a register may have its bank before it (`sha384:pcr0`).

use attest::HashAlgorithm;

/// A name of a field, as a case writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new(name: &str) -> Name {
        Name(name.to_lowercase())
    }

    /// All under which it is told what the Attester put in.
    pub(crate) fn bound() -> impl Iterator<Item = Name> {
        BOUND.into_iter().map(Name::new)
    }

    /// Whether it is another spelling of this one.
    pub(crate) fn is(&self, other: &str) -> bool {
        plain(&self.0) == plain(other)
    }

    /// Whether it names a field with a value of `size` bytes, which may have its bank before its name.
    pub(crate) fn is_of(&self, field: &str, wanted: Option<HashAlgorithm>, size: usize) -> bool {
        let (of, field) = match field.split_once(':') {
            Some((prefix, rest)) => match bank(prefix) {
                Some(bank) => (Some(bank), rest),
                None => return false,
            },
            None => (None, field),
        };
        let in_bank = wanted.is_none_or(|wanted| of.map_or(wanted.size() == size, |bank| bank == wanted));
        in_bank && self.is(field)
    }

    /// The number of a register, behind the name of its kind.
    pub(crate) fn number_behind(&self, stem: &str) -> Option<u8> {
        plain(&self.0).strip_prefix(stem)?.parse().ok()
    }

    /// Whether it is a register by its number.
    pub(crate) fn is_register(&self) -> bool {
        ["pcr", "rtmr", "rem", "measurement"].into_iter().any(|stem| self.number_behind(stem).is_some())
    }

    /// Whether a list under it is of registers in order, and not of values of one.
    pub(crate) fn is_in_order(&self) -> bool {
        ["pcrs", "rtmrs", "rem", "rems"].into_iter().any(|many| self.is(many))
    }

    /// Whether it names a version, of which a case may ask for the least.
    pub(crate) fn is_number(&self) -> bool {
        VERSIONS.into_iter().any(|version| self.is(version))
    }

    /// The name of one, where this is the name of many registers; else itself.
    pub(crate) fn of_one(&self) -> Name {
        let found = MANY.into_iter().find(|(many, _)| self.is(many));
        found.map_or_else(|| self.clone(), |(_, one)| Name::new(one))
    }

    /// As in the words for reasons.
    pub(crate) fn hyphened(&self) -> String {
        self.0.replace('_', "-")
    }

    fn fits(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('#') {
            Some(stem) => self.number_behind(stem).is_some(),
            None => self.is(pattern),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this is a name of what the Attester put in.
pub(crate) fn is_bound(name: &Name) -> bool {
    BOUND.into_iter().any(|bound| name.is(bound))
}

/// Whether Evidence of a kind may have this, though a piece of it may be without.
pub(crate) fn is_known(kind: &str, name: &Name) -> bool {
    let mut fields = KNOWN.into_iter().filter(|(known, _)| *known == kind).flat_map(|(_, fields)| fields);
    is_bound(name) && !UNBOUND.contains(&kind) || fields.any(|field| name.fits(field))
}

/// Other names of the same, in the order in which they count.
pub(crate) fn others(name: &Name) -> Vec<Name> {
    let groups = OTHERS.into_iter().filter(|(known, _)| name.is(known));
    groups.flat_map(|(_, others)| others).map(|other| Name::new(other)).collect()
}

/// The bank of a name.
pub(crate) fn bank(name: &str) -> Option<HashAlgorithm> {
    let known = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    known.into_iter().find(|bank| bank.name().eq_ignore_ascii_case(name))
}

fn plain(name: &str) -> String {
    name.chars().filter(|character| !matches!(character, '_' | '-')).flat_map(char::to_lowercase).collect()
}

const BOUND: [&str; 12] = [
    "nonce",
    "challenge",
    "report_data",
    "extra_data",
    "quote_extra_data",
    "tpm_quote_extra_data",
    "qualifying_data",
    "realm_challenge",
    "eat_nonce",
    "psa_nonce",
    "quote_report_data",
    "data",
];

const VERSIONS: [&str; 9] = [
    "version",
    "quote_version",
    "guest_svn",
    "isvsvn",
    "configsvn",
    "qe_isvsvn",
    "pck_pcesvn",
    "tcb_evaluation_data_number",
    "build",
];

/// What is no Evidence, and into which nothing is bound.
const UNBOUND: [&str; 4] = ["corim", "nvidia-rim", "tcg-eventlog", "ima"];

const MANY: [(&str, &str); 4] = [("pcrs", "pcr"), ("rtmrs", "rtmr"), ("rems", "rem"), ("measurements", "measurement")];

const OTHERS: [(&str, &[&str]); 16] = [
    ("pck_not_before", &["pck_valid_from"]),
    ("pck_not_after", &["pck_valid_until"]),
    ("name", &["product"]),
    ("user_data", &["report_data"]),
    ("measurement", &["mrtd", "mrenclave", "measure", "enclave_hash", "image_id", "rim", "launch_measurement"]),
    ("launch_measurement", &["measurement"]),
    ("launch_digest", &["measurement"]),
    ("attributes", &["td_attributes"]),
    ("issuer", &["iss"]),
    ("audience", &["aud"]),
    ("subject", &["sub"]),
    ("profile", &["eat_profile", "platform_profile"]),
    ("security_lifecycle", &["lifecycle"]),
    ("platform_config", &["config"]),
    ("driver", &["driver_version"]),
    ("vbios", &["vbios_version"]),
];

/// Per kind, what a piece of Evidence may be without. `#` is a number.
const KNOWN: [(&str, &[&str]); 20] = [
    ("tdx", &["mr_service_td", "tee_tcb_svn2", "rtmr#", "tdx_module", "module_status", "platform_instance"]),
    ("sgx", &["platform_instance", "configid", "configsvn"]),
    ("snp", &["measurement", "host_data", "policy", "id_key_digest", "author_key_digest", "family_id", "image_id"]),
    ("snp", &["chip_id", "report_id", "vmpl", "guest_svn", "debug", "reported_tcb", "committed_tcb", "cpuid"]),
    ("nitro", &["pcr#", "user_data", "public_key"]),
    ("nitrotpm", &["pcr#", "user_data", "public_key"]),
    ("azure-snp-vtpm", &["pcr#", "pcr_digest", "firmware_version"]),
    ("azure-tdx-vtpm", &["pcr#", "pcr_digest", "firmware_version", "mr_service_td", "tee_tcb_svn2"]),
    ("tpm-quote", &["pcr#"]),
    ("gcp-vtpm", &["pcr#", "pcr_digest", "clock", "firmware", "qualified_signer", "reset_count", "restart_count"]),
    ("tcg-eventlog", &["pcr#"]),
    ("ccel", &["rtmr#", "mrtd"]),
    ("ima", &["pcr#"]),
    ("cca", &["rem#", "realm_profile"]),
    ("psa", &["boot_seed", "certification_reference", "component_#"]),
    ("nvidia-gpu", &["measurement#", "measurement", "driver_version", "vbios_version", "fwid", "compared"]),
    ("nvidia-switch", &["measurement#", "measurement", "driver_version", "vbios_version", "fwid", "compared"]),
    ("hygon-csv", &["rtmr#", "user_data"]),
    ("ear", &["iss", "aud", "exp", "nbf", "jti", "issuer", "audience"]),
    ("eat", &["iss", "aud", "exp", "nbf", "jti", "issuer", "audience", "iat", "eat_profile", "profile", "sub"]),
];
