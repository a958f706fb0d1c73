//! What kind of thing some bytes are, by their content alone.
//!
//! A guess for people and for choosing an examination: it looks at magic numbers, labels and lengths, decides nothing about what the bytes
//! prove, and may be wrong about bytes that are made to look like another kind. The examination that it leads to parses strictly and
//! refuses what is not its own.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A kind of Evidence, Endorsement or Reference Value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A quote of an SGX enclave, by version.
    SgxQuote(u16),
    /// A quote of a TDX trust domain, by version.
    TdxQuote(u16),
    /// A TDREPORT, which only its own machine can check.
    TdReport,
    /// A report of SEV-SNP, by version.
    SnpReport(u32),
    /// Azure's report: a hardware report with runtime data.
    HclReport,
    /// A document of a Nitro Enclave.
    NitroDocument,
    /// A document of NitroTPM.
    NitroTpmDocument,
    /// An Arm CCA token: platform and realm.
    CcaToken,
    /// An Arm PSA token.
    PsaToken,
    /// Concise reference integrity manifest.
    Corim,
    /// Another COSE message.
    Cose,
    /// An EAT in a JWT whose appraisals are AR4SI's: an Attestation Result.
    EarJwt,
    /// Another JWT.
    Jwt,
    /// A quote of a TPM: TPMS_ATTEST.
    TpmQuote,
    /// A TCG event log, of a TPM, in the CCEL form, or in the JSON of an agent inside a confidential machine.
    EventLog,
    /// The ACPI table that says where a CCEL log is.
    CcelTable,
    /// A log of IMA.
    ImaLog,
    /// A measurement report of an NVIDIA device: SPDM request and response.
    NvidiaReport,
    /// The list of devices that NVIDIA's collectors write.
    NvidiaCollected,
    /// A manifest of Reference Values: SWID in XML.
    Rim,
    /// A manifest in the answer of NVIDIA's service.
    RimAnswer,
    /// A report of Hygon CSV.
    HygonReport,
    /// A certificate in Hygon's format.
    HygonCertificate,
    /// A report of Keystone.
    KeystoneReport,
    /// The parameters of a RISC Zero receipt.
    RiscZeroParameters,
    /// Evidence of this program, by its label.
    Evidence,
    /// Evidence in the JSON of another project.
    ForeignEvidence,
    /// Values of platform configuration registers, in JSON.
    PcrValues,
    /// Intel's security versions of a platform.
    TcbInfo,
    /// Intel's identity of a quoting enclave.
    QeIdentity,
    /// One or more X.509 certificates.
    Certificates,
    /// A certificate revocation list.
    RevocationList,
    /// A public key, PEM or JWK.
    PublicKey,
    /// None of these.
    Unknown,
}

/// Looks at the bytes. Reads at most the first MiB of text, and never fails.
pub fn detect(bytes: &[u8]) -> Kind {
    binary(bytes).or_else(|| text(bytes)).unwrap_or(Kind::Unknown)
}

impl Kind {
    /// What it is, for people.
    pub fn words(self) -> String {
        match self {
            Kind::SgxQuote(version) => format!("a quote of an SGX enclave (version {version})"),
            Kind::TdxQuote(version) => format!("a quote of a TDX trust domain (version {version})"),
            Kind::SnpReport(version) => format!("a report of SEV-SNP (version {version})"),
            other => other.name().to_owned(),
        }
    }

    /// Whether it is Evidence that an examination can start from.
    pub const fn is_evidence(self) -> bool {
        matches!(
            self,
            Kind::SgxQuote(_)
                | Kind::TdxQuote(_)
                | Kind::SnpReport(_)
                | Kind::HclReport
                | Kind::NitroDocument
                | Kind::NitroTpmDocument
                | Kind::CcaToken
                | Kind::PsaToken
                | Kind::TpmQuote
                | Kind::NvidiaReport
                | Kind::NvidiaCollected
                | Kind::HygonReport
                | Kind::KeystoneReport
                | Kind::Evidence
                | Kind::ForeignEvidence
        )
    }

    const fn name(self) -> &'static str {
        match self {
            Kind::SgxQuote(_) => "a quote of an SGX enclave",
            Kind::TdxQuote(_) => "a quote of a TDX trust domain",
            Kind::TdReport => "a TDREPORT, which only its own machine can check",
            Kind::SnpReport(_) => "a report of SEV-SNP",
            Kind::HclReport => "Azure's report of a confidential virtual machine",
            Kind::NitroDocument => "a document of a Nitro Enclave",
            Kind::NitroTpmDocument => "a document of NitroTPM",
            Kind::CcaToken => "an Arm CCA token",
            Kind::PsaToken => "an Arm PSA token",
            Kind::Corim => "a CoRIM: Reference Values and Endorsements",
            Kind::Cose => "a COSE message",
            Kind::EarJwt => "an EAR: an Attestation Result in a JWT",
            Kind::Jwt => "a JWT",
            Kind::TpmQuote => "a quote of a TPM 2.0",
            Kind::EventLog => "a TCG event log",
            Kind::CcelTable => "the ACPI table of a CCEL log",
            Kind::ImaLog => "a log of IMA",
            Kind::NvidiaReport => "a measurement report of an NVIDIA device",
            Kind::NvidiaCollected => "Evidence of NVIDIA devices, as NVIDIA's collectors write it",
            Kind::Rim => "a manifest of Reference Values (RIM)",
            Kind::RimAnswer => "a manifest of Reference Values (RIM), as NVIDIA's service sends it",
            Kind::HygonReport => "a report of Hygon CSV",
            Kind::HygonCertificate => "a certificate in Hygon's format",
            Kind::KeystoneReport => "a report of Keystone",
            Kind::RiscZeroParameters => "the parameters of a RISC Zero receipt",
            Kind::Evidence => "Evidence of a TPM, as Glovebox sends it",
            Kind::ForeignEvidence => "Evidence in another project's JSON",
            Kind::PcrValues => "values of platform configuration registers",
            Kind::TcbInfo => "Intel's TCB info: security versions of a platform",
            Kind::QeIdentity => "Intel's identity of a quoting enclave",
            Kind::Certificates => "X.509 certificates",
            Kind::RevocationList => "a certificate revocation list",
            Kind::PublicKey => "a public key",
            Kind::Unknown => "not known",
        }
    }
}

fn binary(bytes: &[u8]) -> Option<Kind> {
    let u16_at = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let has = |word: &[u8]| bytes.get(..bytes.len().min(FIRST)).is_some_and(|head| contains(head, word));
    match bytes.get(..4)? {
        b"HCLA" => return Some(Kind::HclReport),
        b"CCEL" => return Some(Kind::CcelTable),
        [0xff, b'T', b'C', b'G'] => return Some(Kind::TpmQuote),
        [0x11, 0xe0, ..] => return Some(Kind::NvidiaReport),
        [0xd9, 0x01, 0x8f, _] | [0xd9, 0x03, 0x8b, _] => return Some(Kind::CcaToken),
        // 501, and the tags 500 and 502 of earlier drafts.
        [0xd9, 0x01, 0xf4..=0xf6, _] => return Some(Kind::Corim),
        // A map that begins with its name, of tags for a CoSWID or a CoMID.
        [0xa2..=0xb7, 0x00, ..] if has(&[0xd9, 0x01, 0xf9]) || has(&[0xd9, 0x01, 0xfa]) => return Some(Kind::Corim),
        // COSE_Sign1 with or without its tag, and COSE_Mac0.
        [0xd2, 0x84, ..] | [0xd1, 0x84, ..] | [0x84, 0x40..=0x5f, 0xa1..=0xa4, _] => {
            return Some(if has(b"nitrotpm_pcrs") {
                Kind::NitroTpmDocument
            } else if has(b"module_id") {
                Kind::NitroDocument
            } else if [&b"corim"[..], b"rim+cbor", b"rim+cose", &[0xd9, 0x01, 0xf5]].into_iter().any(has) {
                Kind::Corim
            } else if has(b"psacertified")
                || has(b"PSA_IOT_PROFILE")
                || has(b"arm.com/psa")
                || bytes.first() == Some(&0xd1)
            {
                Kind::PsaToken
            } else {
                Kind::Cose
            });
        }
        _ => {}
    }
    if bytes.get(32..47) == Some(b"Spec ID Event03") || (u32_at(4) == Some(3) && bytes.get(8..28) == Some(&[0; 20])) {
        return Some(Kind::EventLog);
    }
    if bytes.first() == Some(&0x30) {
        return Some(if crate::certificate::Certificate::split(bytes).is_ok() {
            Kind::Certificates
        } else if crate::certificate::RevocationList::claimed_period(bytes).is_some() {
            Kind::RevocationList
        } else {
            Kind::Unknown
        });
    }
    if bytes.len() >= QUOTE_HEADER {
        match (u16_at(0)?, u16_at(2)?, u32_at(4)?) {
            (3, 2 | 3, _) => return Some(Kind::SgxQuote(3)),
            (version @ (4 | 5), 2 | 3, 0) => return Some(Kind::SgxQuote(version)),
            (version @ (4 | 5), 2 | 3, 0x81) => return Some(Kind::TdxQuote(version)),
            _ => {}
        }
    }
    match (bytes.len(), u32_at(0)?) {
        (1_184, version @ 0..=15) => Some(Kind::SnpReport(version)),
        (1_024, 0x81) => Some(Kind::TdReport),
        (2_548, _) => Some(Kind::HygonReport),
        (1_352, _) if !bytes.is_ascii() => Some(Kind::KeystoneReport),
        (832, 1) | (2_084, 1 | 2) => Some(Kind::HygonCertificate),
        // The first event of a log in the older format: a register, a kind, a digest, and a size that fits.
        (length, 0..=23)
            if u32_at(28).and_then(|size| usize::try_from(size).ok()).is_some_and(|size| size + 32 < length)
                && u32_at(4).is_some_and(|kind| (1..=0x12).contains(&kind) || kind >> 28 == 8) =>
        {
            Some(Kind::EventLog)
        }
        (_, 10) => Some(Kind::ImaLog),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<Kind> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(MAX_TEXT))?).ok()?.trim_start();
    if text.contains("-----BEGIN CERTIFICATE") {
        return Some(Kind::Certificates);
    }
    if text.contains("-----BEGIN X509 CRL") {
        return Some(Kind::RevocationList);
    }
    if text.contains("-----BEGIN PUBLIC KEY") || text.contains("-----BEGIN EC PUBLIC KEY") {
        return Some(Kind::PublicKey);
    }
    if text.starts_with('<') && text.contains("SoftwareIdentity") {
        return Some(Kind::Rim);
    }
    if text.lines().next().is_some_and(is_measurement) {
        return Some(Kind::ImaLog);
    }
    if text.starts_with("eyJ") {
        return jwt(text);
    }
    json(&serde_json::from_str(text).ok()?)
}

fn jwt(text: &str) -> Option<Kind> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let [_, payload, _] = text.trim_end().split('.').collect::<Vec<_>>().try_into().ok()?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let is_ear = contains(&payload, b"\"submods\"") && contains(&payload, b"ear");
    Some(if is_ear { Kind::EarJwt } else { Kind::Jwt })
}

fn json(document: &Shape) -> Option<Kind> {
    let members = match document {
        Shape::Object(members) => members,
        Shape::List(Some(first)) => {
            let Shape::Object(members) = first.as_ref() else { return None };
            let has_all = |names: &[&str]| names.iter().all(|name| members.contains(*name));
            return if has_all(&["evidence", "certificate"]) {
                Some(Kind::NvidiaCollected)
            } else if has_all(&["imr", "event_type", "digest", "event_payload"]) {
                Some(Kind::EventLog)
            } else {
                None
            };
        }
        Shape::List(None) | Shape::Other => return None,
    };
    let has = |name: &str| members.contains(name);
    Some(if has("tcbInfo") {
        Kind::TcbInfo
    } else if has("enclaveIdentity") {
        Kind::QeIdentity
    } else if has("kind") && has("ak_public") && has("quote") {
        Kind::Evidence
    } else if has("rim") && has("id") {
        Kind::RimAnswer
    } else if has("kty") {
        Kind::PublicKey
    } else if has("image_id") {
        Kind::RiscZeroParameters
    } else if ["quote", "tpm_quote", "hcl_report", "attestation_report", "report", "cc_eventlog"].into_iter().any(has) {
        Kind::ForeignEvidence
    } else if ["sha1", "sha256", "sha384", "sha512"].into_iter().any(has) {
        Kind::PcrValues
    } else {
        return None;
    })
}

/// Whether a line is of IMA's list: a register, a hash, a template's name, fields.
fn is_measurement(line: &str) -> bool {
    let words: Vec<&str> = line.trim_start().splitn(4, ' ').collect();
    matches!(words.as_slice(), [register, _, template, _] if register.parse::<u8>().is_ok_and(|pcr| pcr < 24) && template.starts_with("ima"))
}

/// As much of a JSON document as tells its kind. Nothing below is kept: a document can be made to take a hundred times its size.
enum Shape {
    /// The names of its members.
    Object(BTreeSet<String>),
    /// The first of its items.
    List(Option<Box<Shape>>),
    Other,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut members = BTreeSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            members.insert(name);
        }
        Ok(Shape::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let first = list.next_element::<Shape>()?;
        while let Some(IgnoredAny) = list.next_element()? {}
        Ok(Shape::List(first.map(Box::new)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// Header of 48 bytes and the smallest body.
const QUOTE_HEADER: usize = 432;
const FIRST: usize = 16 << 10;
const MAX_TEXT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_content() {
        let mut quote = vec![0; 1_000];
        quote[..8].copy_from_slice(&[4, 0, 2, 0, 0x81, 0, 0, 0]);
        assert_eq!(detect(&quote), Kind::TdxQuote(4));
        quote[4] = 0;
        assert_eq!(detect(&quote), Kind::SgxQuote(4));
        let mut report = vec![0; 1_184];
        report[0] = 3;
        assert_eq!(detect(&report), Kind::SnpReport(3));
        assert_eq!(detect(b"\xd2\x84\x43\xa1\x01\x26\xa0\x50http://arm.com/psa"), Kind::PsaToken);
        assert_eq!(detect(b"\xd9\x01\xf4\xd9\x01\xf6\xd2\x84"), Kind::Corim);
        assert_eq!(detect(b"\xd9\x01\xf5\xa2"), Kind::Corim);
        assert_eq!(detect(b"\xa2\x00\x61n\x01\x81\x44\xd9\x01\xfa\xa0"), Kind::Corim);
        assert_eq!(detect(b"\xa2\x00\x61n\x01\x81\x44\xd9\x01\xfb\xa0"), Kind::Unknown);
        // It may speak of PSA.
        assert_eq!(detect(b"\xd2\x84\x57\xa1\x03\x74application/rim+cbor\xa0\x50psacertified"), Kind::Corim);
        assert_eq!(detect(b"{\"tcbInfo\":{},\"signature\":\"\"}"), Kind::TcbInfo);
        assert_eq!(detect(b"{\"sha256\":{\"0\":\"00\"}}"), Kind::PcrValues);
        assert_eq!(detect(b"10 00 ima-ng sha1:00 boot_aggregate\n"), Kind::ImaLog);
        assert_eq!(detect(b" 2 00 ima-ng sha384:00 boot_aggregate\n"), Kind::ImaLog);
        let binary = [&10_u32.to_le_bytes()[..], &[7; 20], &6_u32.to_le_bytes(), b"ima-ng", &[0; 4]].concat();
        assert_eq!(detect(&binary), Kind::ImaLog);
        let list = br#"[{"imr":0,"event_type":1,"digest":"00","event":"","event_payload":""}]"#;
        assert_eq!(detect(list), Kind::EventLog);
        assert_eq!(detect(b"[{\"evidence\":\"\",\"certificate\":\"\"}]"), Kind::NvidiaCollected);
    }

    #[test]
    fn what_is_not_known_is_said_to_be_so() {
        for bytes in [&b""[..], b"{", b"{}", b"[]", b"eyJ", b"\x30", b"hello, world", &[0; 5_000]] {
            assert_eq!(detect(bytes), Kind::Unknown, "{bytes:?}");
        }
    }
}
