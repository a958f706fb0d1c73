//! What is in a piece of Evidence, field by field, in plain words: for people, before and without any judgement.
//!
//! Binary formats are tables of fields at fixed offsets; documents are walked and their leaves shown under their paths. Nothing here is
//! checked, so each table says that it only shows. Sources: AMD 56860, table "ATTESTATION_REPORT"; Intel, "TDX DCAP Quoting Library API",
//! appendix A, and "Quote Generation, Verification, and Attestation with Intel SGX DCAP", appendix A; the others as in `docs/spec/platforms/`.

use attest::{
    certificate::{Certificate, RevocationList},
    detect::Kind,
    ima::{ImaEntry, MeasurementList},
    tpm::Quote,
};
use serde::Serialize;
use serde_json::Value;

use super::gather::Piece;

/// One line of the table.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) words: String,
}

/// A field of a binary format: offset, size, name, meaning. Sizes up to 8 are little-endian numbers.
type Layout = (usize, usize, &'static str, &'static str);

/// The fields of one piece; empty where there is no table for its kind.
pub(crate) fn fields(piece: &Piece) -> Vec<Field> {
    let bytes = piece.bytes.as_slice();
    let mut found = match piece.kind {
        Kind::SnpReport(_) => at(bytes, 0, SNP),
        Kind::SgxQuote(version) => [at(bytes, 0, QUOTE), at(bytes, body(version), SGX_BODY)].concat(),
        Kind::TdxQuote(version) => [at(bytes, 0, QUOTE), at(bytes, body(version), TDX_BODY)].concat(),
        Kind::HclReport => hcl(bytes),
        Kind::TpmQuote => quote(bytes),
        Kind::EventLog => super::log::fields(bytes),
        Kind::NvidiaReport => at(bytes, 0, SPDM),
        Kind::KeystoneReport => at(bytes, 0, KEYSTONE),
        Kind::Certificates => certificates(bytes),
        Kind::RevocationList => list(bytes),
        Kind::Jwt | Kind::EarJwt => jwt(bytes),
        Kind::NitroDocument | Kind::NitroTpmDocument | Kind::CcaToken | Kind::PsaToken | Kind::Corim | Kind::Cose => {
            super::cbor::fields(bytes)
        }
        Kind::TcbInfo
        | Kind::QeIdentity
        | Kind::Evidence
        | Kind::ForeignEvidence
        | Kind::PcrValues
        | Kind::RimAnswer
        | Kind::NvidiaCollected
        | Kind::RiscZeroParameters => json(bytes),
        Kind::ImaLog => ima(bytes),
        Kind::Rim
        | Kind::TdReport
        | Kind::CcelTable
        | Kind::HygonReport
        | Kind::HygonCertificate
        | Kind::PublicKey
        | Kind::Unknown => Vec::new(),
    };
    if found.len() > MAX_FIELDS {
        let left = found.len() - MAX_FIELDS;
        found.truncate(MAX_FIELDS);
        found.push(field("…", format!("{left} more"), "not shown"));
    }
    found
}

pub(crate) fn field(name: impl Into<String>, value: impl Into<String>, words: impl Into<String>) -> Field {
    let shown = envelope::text::shown(&value.into(), MAX_VALUE);
    Field { name: envelope::text::shown(&name.into(), 120), value: shown, words: words.into() }
}

impl Clone for Field {
    fn clone(&self) -> Field {
        Field { name: self.name.clone(), value: self.value.clone(), words: self.words.clone() }
    }
}

fn at(bytes: &[u8], base: usize, layout: &[Layout]) -> Vec<Field> {
    layout
        .iter()
        .filter_map(|(offset, size, name, words)| {
            let value = bytes.get(base + offset..base + offset + size)?;
            let shown = if *size <= 8 && !BYTES.contains(name) {
                let mut number = [0; 8];
                number.get_mut(..*size)?.copy_from_slice(value);
                let number = u64::from_le_bytes(number);
                if *size == 8 { format!("{number:#018x}") } else { number.to_string() }
            } else {
                hex::encode(value)
            };
            Some(field(*name, shown, *words))
        })
        .collect()
}

/// Where the body of a quote begins: version 5 says its kind and size before it.
const fn body(version: u16) -> usize {
    if version == 5 { 54 } else { 48 }
}

fn hcl(bytes: &[u8]) -> Vec<Field> {
    let mut found = at(bytes, 0, HCL);
    let size = bytes.get(1232..1236).and_then(|size| size.try_into().ok()).map(u32::from_le_bytes);
    let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or_default().min(64 << 10);
    if let Some(runtime) = bytes.get(1236..1236 + size) {
        found.extend(json(runtime));
    }
    found
}

fn quote(bytes: &[u8]) -> Vec<Field> {
    let Ok(quote) = Quote::parse(bytes) else { return Vec::new() };
    let mut found = vec![
        field("extra_data", hex::encode(&quote.extra_data), "what the caller bound into the quote: a nonce"),
        field("qualified_signer", hex::encode(&quote.qualified_signer), "the name of the key that signed"),
        field("firmware_version", format!("{:#018x}", quote.firmware_version), "of the TPM"),
        field("clock", quote.clock.to_string(), "milliseconds that the TPM was powered since it was cleared"),
        field("reset_count", quote.reset_count.to_string(), "how often the machine was started"),
        field("restart_count", quote.restart_count.to_string(), "how often it was resumed since"),
        field("pcr_digest", hex::encode(&quote.pcr_digest), "the digest of the selected registers"),
    ];
    for selection in &quote.selections {
        let pcrs: Vec<String> = selection.pcrs.iter().map(u8::to_string).collect();
        found.push(field(
            format!("selection.{:?}", selection.bank).to_lowercase(),
            pcrs.join(" "),
            "registers that are quoted",
        ));
    }
    found
}

fn certificates(bytes: &[u8]) -> Vec<Field> {
    let mut found = Vec::new();
    for (index, der) in Certificate::split(bytes).into_iter().flatten().enumerate() {
        let Ok(certificate) = Certificate::parse(&der) else {
            found.push(field(format!("{index}"), "cannot be read", "not a certificate in strict DER"));
            continue;
        };
        let validity = certificate.parsed().validity();
        let time = |seconds| jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
        let period = [time(validity.not_before.timestamp()), time(validity.not_after.timestamp())].join(" to ");
        found.push(field(format!("{index}.subject"), certificate.common_name(), "whose key it certifies"));
        found.push(field(format!("{index}.serial"), serial(&certificate), "its number with its issuer"));
        found.push(field(format!("{index}.valid"), period, "when it counts"));
    }
    found
}

/// As its bytes without leading zeros; AMD numbers every VCEK zero.
fn serial(certificate: &Certificate<'_>) -> String {
    let serial = hex::encode(certificate.serial());
    if serial.is_empty() { "00".to_owned() } else { serial }
}

fn list(bytes: &[u8]) -> Vec<Field> {
    // PEM is taken off by whoever uses the list; here only DER is looked into.
    match RevocationList::claimed_period(bytes) {
        Some((from, until)) => vec![field("valid", format!("{from} to {until}"), "when the list counts")],
        None => Vec::new(),
    }
}

fn jwt(bytes: &[u8]) -> Vec<Field> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    let mut found = Vec::new();
    for (name, part) in ["header", "claims"].into_iter().zip(text.split('.')) {
        let value: Option<Value> = envelope::text::decode(part).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(value) = value {
            walk(name, &value, &mut found);
        }
    }
    found
}

fn json(bytes: &[u8]) -> Vec<Field> {
    let mut found = Vec::new();
    // Runtime data is followed by zeros where a buffer was larger.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if let Some(value) = bytes.get(..end).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok()) {
        walk("", &value, &mut found);
    }
    found
}

/// The leaves of a document under their paths. The parser bounds how deep a document is.
fn walk(path: &str, value: &Value, found: &mut Vec<Field>) {
    if found.len() > MAX_FIELDS {
        return;
    }
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                walk(&under(name), value, found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                walk(&under(&index.to_string()), value, found);
            }
        }
        Value::String(text) => found.push(field(path, text.as_str(), meaning(path))),
        other => found.push(field(path, other.to_string(), meaning(path))),
    }
}

/// What well-known names of documents mean.
pub(crate) fn meaning(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "issueDate" => "when it was issued",
        "nextUpdate" => "until when it counts",
        "fmspc" => "which platforms it is for",
        "tcbEvaluationDataNumber" => "which recovery it speaks for; it never goes back",
        "tcbStatus" => "the maker's word on this security version",
        "advisoryIDs" => "what is known to be wrong at this version",
        "mrsigner" => "who signed the enclave",
        "isvsvn" => "its security version",
        "iss" => "who issued it",
        "iat" => "when it was issued, in seconds since 1970",
        "exp" => "until when it counts, in seconds since 1970",
        "nbf" => "from when on it counts",
        "aud" => "for whom it is",
        "jti" => "its own number",
        "eat_nonce" | "nonce" => "what was bound to make it fresh",
        "eat_profile" => "the form of its claims",
        "alg" => "the signature's algorithm",
        "kid" => "the name of the signer's key",
        "signature" => "over the document's exact bytes",
        "module_id" => "the hypervisor's name for the enclave",
        "timestamp" => "when it was made",
        "digest" => "the hash function of the registers",
        "certificate" => "of the key that signed",
        "user_data" => "other bytes that the Attester put in",
        "public_key" => "a key that the Attester put in",
        "user-data" => "what the guest bound into the report",
        "secure-boot" => "whether unsigned boot code is refused",
        "tpm-enabled" => "whether the machine has a vTPM",
        "console-enabled" => "whether the host can use the console",
        _ => "",
    }
}

fn ima(bytes: &[u8]) -> Vec<Field> {
    let told = |count: usize, first: &str, last: &str| {
        vec![
            field("entries", count.to_string(), "files that were measured before use"),
            field("first", first, "the first of them"),
            field("last", last, "the last of them"),
        ]
    };
    match (MeasurementList::parse(bytes), std::str::from_utf8(bytes)) {
        (Ok(list), _) => {
            let name = |entry: Option<&ImaEntry>| entry.map(|entry| entry.name().to_owned()).unwrap_or_default();
            let entries = list.entries();
            told(entries.len(), &name(entries.first()), &name(entries.last()))
        }
        (Err(error), Ok(text)) => {
            let files: Vec<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
            let mut fields = told(
                files.len(),
                files.first().copied().unwrap_or_default(),
                files.last().copied().unwrap_or_default(),
            );
            fields.push(field("list", "refused", error.to_string()));
            fields
        }
        (Err(error), Err(_)) => vec![field("list", "refused", error.to_string())],
    }
}

/// Registers that Intel writes byte by byte, as policies do.
const BYTES: [&str; 2] = ["td_attributes", "xfam"];
const MAX_FIELDS: usize = 160;
const MAX_VALUE: usize = 200;

const SNP: &[Layout] = &[
    (0x00, 4, "version", "the version of the report's format"),
    (0x04, 4, "guest_svn", "the guest's own security version"),
    (0x08, 8, "policy", "what the host may do with the guest; bit 19 is debugging"),
    (0x30, 4, "vmpl", "the privilege level that asked, 0 the highest"),
    (0x38, 8, "current_tcb", "security versions of the running firmware"),
    (0x40, 8, "platform_info", "how the platform is configured"),
    (0x50, 64, "report_data", "what the guest bound into the report"),
    (0x90, 48, "measurement", "what the guest started from: its code"),
    (0xc0, 32, "host_data", "what the host put in at launch"),
    (0xe0, 48, "id_key_digest", "who signed the guest's identity"),
    (0x140, 32, "report_id", "the guest's own number"),
    (0x180, 8, "reported_tcb", "the security versions that the signing key is for"),
    (0x1a0, 64, "chip_id", "the chip; zeros where it is masked"),
    (0x1e0, 8, "committed_tcb", "the lowest versions that the firmware can go back to"),
    (0x1f0, 8, "launch_tcb", "security versions when the guest was launched"),
];
const QUOTE: &[Layout] = &[
    (0, 2, "version", "the version of the quote's format"),
    (2, 2, "att_key_type", "the kind of the attestation key; 2 is ECDSA on P-256"),
    (4, 4, "tee_type", "0 for SGX, 129 for TDX"),
    (12, 16, "qe_vendor", "who made the quoting enclave"),
];
const SGX_BODY: &[Layout] = &[
    (0, 16, "cpu_svn", "the processor's security versions"),
    (16, 4, "misc_select", "which further state is saved"),
    (48, 16, "attributes", "the enclave's mode; bit 1 is debugging"),
    (64, 32, "mrenclave", "what the enclave started from: its code"),
    (128, 32, "mrsigner", "who signed the enclave"),
    (256, 2, "isv_prod_id", "which product of its signer"),
    (258, 2, "isv_svn", "its security version"),
    (320, 64, "report_data", "what the enclave bound into the quote"),
];
const TDX_BODY: &[Layout] = &[
    (0, 16, "tee_tcb_svn", "security versions of the TDX module"),
    (16, 48, "mrseam", "the measurement of the TDX module"),
    (64, 48, "mrsignerseam", "who signed the TDX module; zeros are Intel"),
    (120, 8, "td_attributes", "the trust domain's mode; the lowest byte is debugging"),
    (128, 8, "xfam", "which processor features it may use"),
    (136, 48, "mrtd", "what the trust domain started from: its firmware"),
    (184, 48, "mrconfigid", "a configuration that the host stated at launch"),
    (232, 48, "mrowner", "an owner that the host stated at launch"),
    (280, 48, "mrownerconfig", "the owner's configuration"),
    (328, 48, "rtmr0", "measured since: firmware's configuration"),
    (376, 48, "rtmr1", "measured since: boot loader and kernel"),
    (424, 48, "rtmr2", "measured since: kernel's arguments and RAM disk"),
    (472, 48, "rtmr3", "measured since: left to the guest"),
    (520, 64, "report_data", "what the trust domain bound into the quote"),
];
const HCL: &[Layout] = &[
    (4, 4, "version", "the version of the report's format"),
    (1224, 4, "report_type", "2 for SEV-SNP, 4 for TDX"),
    (1228, 4, "hash_type", "of the runtime data; 1 is SHA-256"),
    (1232, 4, "runtime_size", "of the runtime data, which follow"),
];
const SPDM: &[Layout] = &[
    (0, 2, "request", "SPDM version and code of the request, as a number"),
    (4, 32, "nonce", "what was bound to make it fresh"),
];
const KEYSTONE: &[Layout] = &[
    (0, 64, "enclave_hash", "what the enclave started from: its code"),
    (64, 8, "data_size", "how many bytes the enclave bound"),
];
