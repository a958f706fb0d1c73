//! `csv` Evidence of Hygon's processors: the firmware's report as its bytes, the certificates above its key as their fields.
//!
//! The report is of version 1, or of version 2 with run-time registers, as `magic` and `flags` say; its bytes are filled up to a page with zeros. Names and
//! nesting are those of the crate `csv-rs` (Hygon; its derived serialisation), which clients use. The chip's certificate and Hygon's must come along:
//! clients send them where `CSV_INCLUDE_CERT_CHAIN_IN_ATTESTATION_REPORT=true` is set for them. The `pek` beside them is the one that the report
//! carries itself, under its signature, and is not looked at; nor is the serial number, which nobody signs.
//!
//! An event log must replay to the registers RTMR1 to RTMR4 of version 2; a report of version 1 has none that a log could stand for.

use attest::{
    hygon::{self, CsvEvidence},
    platform::Genuine,
};
use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    evidence::{EvidenceRefusal, members, standard},
    intel::check_log,
};

/// A report with its certificates and its log.
pub(crate) struct CsvReport {
    evidence: CsvEvidence,
    log: Option<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    attestation_report: Wrapper,
    cert_chain: Chain,
    #[serde(rename = "serial_number")]
    _serial_number: IgnoredAny,
    #[serde(default)]
    cc_eventlog: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapper {
    magic: Vec<u8>,
    flags: u32,
    data: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    #[serde(default)]
    hsk_cek: Option<HskCek>,
    #[serde(rename = "pek")]
    _pek: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HskCek {
    hsk: AuthorityCertificate,
    cek: PlatformCertificate,
}

/// HSK.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityCertificate {
    body: AuthorityBody,
    signature: Signature,
    _reserved: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityBody {
    preamble: Preamble,
    pubkey: Key,
    uid_size: u16,
    user_id: Vec<u8>,
    reserved: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preamble {
    ver: u32,
    data: PreambleData,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreambleData {
    kid: Vec<u8>,
    sid: Vec<u8>,
    usage: u32,
    reserved: Vec<u8>,
}

/// CEK.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformCertificate {
    body: PlatformBody,
    sigs: [Signed; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformBody {
    ver: u32,
    data: PlatformData,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformData {
    firmware: Firmware,
    reserved1: u16,
    pubkey: PlatformKey,
    uid_size: u16,
    user_id: Vec<u8>,
    sid: Vec<u8>,
    reserved2: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Firmware {
    major: u8,
    minor: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformKey {
    usage: u32,
    algo: u32,
    key: Key,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    usage: u32,
    algo: u32,
    signature: Signature,
    _reserved: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    g: u32,
    x: Vec<u8>,
    y: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    r: Vec<u8>,
    s: Vec<u8>,
}

impl CsvReport {
    /// `{"attestation_report": {"magic", "flags", "data"}, "cert_chain": {"hsk_cek", "pek"}, "serial_number", "cc_eventlog"}`.
    pub(super) fn read(evidence: &Value) -> Result<CsvReport, EvidenceRefusal> {
        let form = EvidenceRefusal::Form;
        let Members { attestation_report, cert_chain, _serial_number, cc_eventlog } = members(
            evidence,
            "`attestation_report`, `cert_chain` and `serial_number` are needed, and `cc_eventlog` may be there",
        )?;
        let report = attestation_report.report().ok_or(form("the report is of no version that is known"))?;
        let HskCek { hsk, cek } = cert_chain.hsk_cek.ok_or(form(
            "`hsk_cek` must come along\nhint: set CSV_INCLUDE_CERT_CHAIN_IN_ATTESTATION_REPORT=true for the client's agent",
        ))?;
        let length = form("a field of a certificate has another length");
        let evidence = CsvEvidence { report, cek: cek.bytes().ok_or(length.clone())?, hsk: hsk.bytes().ok_or(length)? };
        let log = cc_eventlog.map(|log| standard(&log, "`cc_eventlog`")).transpose()?;
        Ok(CsvReport { evidence, log })
    }

    pub(super) fn examine(&self, root: &[u8], now: Timestamp) -> Result<Genuine, EvidenceRefusal> {
        let genuine =
            hygon::examine(&self.evidence, root, now).map_err(|error| EvidenceRefusal::of_platform(&error))?;
        if let Some(log) = &self.log {
            let registers = RTMR.map(|name| genuine.register(name));
            let [Some(one), Some(two), Some(three), Some(four)] = registers else {
                return Err(EvidenceRefusal::EventLog("a report of version 1 has no registers for it".to_owned()));
            };
            check_log(log, [one, two, three, four])?;
        }
        Ok(genuine)
    }
}

impl Wrapper {
    /// The report without what fills its page.
    fn report(mut self) -> Option<Vec<u8>> {
        let size = match (self.magic.as_slice(), self.flags) {
            (EXTENDED, 1) => hygon::EXTENDED_REPORT,
            (EXTENDED, 0) => hygon::REPORT,
            (magic, _) if magic == [0; 16] => hygon::REPORT,
            _ => return None,
        };
        let fills = self.data.get(size..)?.iter().all(|byte| *byte == 0);
        self.data.truncate(size);
        fills.then_some(self.data)
    }
}

impl AuthorityCertificate {
    /// The 832 bytes of the certificate; nothing if a field has another length.
    fn bytes(&self) -> Option<Vec<u8>> {
        let AuthorityBody { preamble: Preamble { ver, data }, pubkey, uid_size, user_id, reserved } = &self.body;
        let mut out = Vec::with_capacity(832);
        out.extend(ver.to_le_bytes());
        put(&mut out, &data.kid, 16)?;
        put(&mut out, &data.sid, 16)?;
        out.extend(data.usage.to_le_bytes());
        put(&mut out, &data.reserved, 24)?;
        pubkey.put(&mut out)?;
        out.extend(uid_size.to_le_bytes());
        put(&mut out, user_id, 254)?;
        put(&mut out, reserved, 108)?;
        self.signature.put(&mut out)?;
        put(&mut out, &self._reserved, 112)?;
        Some(out)
    }
}

impl PlatformCertificate {
    /// The 2,084 bytes of the certificate; nothing if a field has another length.
    fn bytes(&self) -> Option<Vec<u8>> {
        let PlatformBody { ver, data } = &self.body;
        let mut out = Vec::with_capacity(2_084);
        out.extend(ver.to_le_bytes());
        out.extend([data.firmware.major, data.firmware.minor]);
        out.extend(data.reserved1.to_le_bytes());
        out.extend(data.pubkey.usage.to_le_bytes());
        out.extend(data.pubkey.algo.to_le_bytes());
        data.pubkey.key.put(&mut out)?;
        out.extend(data.uid_size.to_le_bytes());
        put(&mut out, &data.user_id, 254)?;
        put(&mut out, &data.sid, 16)?;
        put(&mut out, &data.reserved2, 608)?;
        for Signed { usage, algo, signature, _reserved } in &self.sigs {
            out.extend(usage.to_le_bytes());
            out.extend(algo.to_le_bytes());
            signature.put(&mut out)?;
            put(&mut out, _reserved, 368)?;
        }
        Some(out)
    }
}

impl Key {
    fn put(&self, out: &mut Vec<u8>) -> Option<()> {
        out.extend(self.g.to_le_bytes());
        put(out, &self.x, 72)?;
        put(out, &self.y, 72)
    }
}

impl Signature {
    fn put(&self, out: &mut Vec<u8>) -> Option<()> {
        put(out, &self.r, 72)?;
        put(out, &self.s, 72)
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8], length: usize) -> Option<()> {
    (bytes.len() == length).then(|| out.extend_from_slice(bytes))
}

const EXTENDED: &[u8] = b"ATTESTATION_EXT\0";
const RTMR: [&str; 4] = ["rtmr1", "rtmr2", "rtmr3", "rtmr4"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use attest::{HashAlgorithm, hygon::CsvError, platform::Refusal as _};
    use serde_json::json;
    use testkit::hygon::{Hygon, at};

    use super::*;
    use crate::kbs::{
        evidence::{Examined, Makers, Tee},
        forged::{BOUND, Exchange, at as time, base64, code, corpus, document, log},
    };

    fn number(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn short(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    fn signature(bytes: &[u8], at: usize) -> Value {
        json!({ "r": bytes[at..at + 72], "s": bytes[at + 72..at + 144] })
    }

    fn key(bytes: &[u8], at: usize) -> Value {
        json!({ "g": number(bytes, at), "x": bytes[at + 4..at + 76], "y": bytes[at + 76..at + 148] })
    }

    /// HSK as a client writes it.
    fn authority(bytes: &[u8]) -> Value {
        json!({
            "body": {
                "preamble": {
                    "ver": number(bytes, 0),
                    "data": {
                        "kid": bytes[4..20], "sid": bytes[20..36], "usage": number(bytes, 36), "reserved": bytes[40..64]
                    }
                },
                "pubkey": key(bytes, 64), "uid_size": short(bytes, 212), "user_id": bytes[214..468],
                "reserved": bytes[468..576]
            },
            "signature": signature(bytes, 576), "_reserved": bytes[720..832]
        })
    }

    /// CEK as a client writes it.
    fn platform(bytes: &[u8]) -> Value {
        let signed = |at: usize| {
            json!({
                "usage": number(bytes, at), "algo": number(bytes, at + 4), "signature": signature(bytes, at + 8),
                "_reserved": bytes[at + 152..at + 520]
            })
        };
        json!({
            "body": {
                "ver": number(bytes, 0),
                "data": {
                    "firmware": { "major": bytes[4], "minor": bytes[5] }, "reserved1": short(bytes, 6),
                    "pubkey": { "usage": number(bytes, 8), "algo": number(bytes, 12), "key": key(bytes, 16) },
                    "uid_size": short(bytes, 164), "user_id": bytes[166..420], "sid": bytes[420..436],
                    "reserved2": bytes[436..1_044]
                }
            },
            "sigs": [signed(1_044), signed(1_564)]
        })
    }

    fn evidence(report: &[u8], cek: &[u8], hsk: &[u8], log: Option<&[u8]>) -> Value {
        let mut data = report.to_vec();
        data.resize(4_096, 0);
        let extended = report.len() == hygon::EXTENDED_REPORT;
        let magic = if extended { EXTENDED } else { &[0; 16] };
        json!({
            "attestation_report": { "magic": magic, "flags": u32::from(extended), "data": data },
            "cert_chain": { "hsk_cek": { "hsk": authority(hsk), "cek": platform(cek) }, "pek": {} },
            "serial_number": [0], "cc_eventlog": log.map(base64),
        })
    }

    fn body(hygon: &Hygon, extended: bool) -> Vec<u8> {
        let mut body = hygon.body(extended);
        body[at::REPORT_DATA..at::REPORT_DATA + 64].fill(0);
        body[at::REPORT_DATA..at::REPORT_DATA + 48].copy_from_slice(&BOUND);
        body
    }

    fn exchange(hygon: &Hygon) -> Exchange<'static> {
        let makers = Makers { hygon: hygon.root(), ..Makers::shipped() };
        Exchange { makers, ..Exchange::new(Tee::Csv, time("2026-01-01T00:00:00Z")) }
    }

    fn examined(body: &[u8], log: Option<&[u8]>) -> Result<Examined, EvidenceRefusal> {
        let hygon = Hygon::default();
        exchange(&hygon).examine(&evidence(&hygon.report(body), &hygon.cek(), &hygon.hsk(), log))
    }

    #[test]
    fn reports_of_both_versions_are_put_together_again_and_examined() {
        let hygon = Hygon::default();
        for extended in [false, true] {
            let examined_now = examined(&body(&hygon, extended), None).unwrap();
            assert_eq!((examined_now.tee(), examined_now.assurance()), ("csv", "affirmed"));
            assert!(examined_now.measurements().contains(&format!("measure={}", "a5".repeat(32))));
            assert_eq!(examined_now.measurements().iter().any(|one| one.starts_with("rtmr1=")), extended);
            let mut other = body(&hygon, extended);
            other[at::REPORT_DATA + 48] = 1;
            assert_eq!(examined(&other, None), Err(EvidenceRefusal::Binding));
            let mut debugged = body(&hygon, extended);
            debugged[at::POLICY] = 0;
            assert_eq!(code(examined(&debugged, None)), CsvError::Debug.code());
            let mut with_data = exchange(&hygon);
            with_data.init_data = Some(document());
            let report = hygon.report(&body(&hygon, extended));
            let sent = evidence(&report, &hygon.cek(), &hygon.hsk(), None);
            assert_eq!(with_data.examine(&sent), Err(EvidenceRefusal::InitDataUnbindable("csv")));
            with_data.makers = Makers::shipped();
            assert_eq!(code(with_data.examine(&sent)), "root-not-trusted");
        }
    }

    #[test]
    fn what_is_not_sent_whole_is_refused_by_its_form() {
        let hygon = Hygon::default();
        let report = hygon.report(&body(&hygon, true));
        let sent = || evidence(&report, &hygon.cek(), &hygon.hsk(), None);
        let mut bare = sent();
        bare["cert_chain"].as_object_mut().unwrap().remove("hsk_cek");
        match exchange(&hygon).examine(&bare) {
            Err(EvidenceRefusal::Form(words)) => assert!(words.contains("CSV_INCLUDE_CERT_CHAIN"), "{words}"),
            other => panic!("{other:?}"),
        }
        let form = |change: fn(&mut Value)| {
            let mut changed = sent();
            change(&mut changed);
            assert!(matches!(exchange(&hygon).examine(&changed), Err(EvidenceRefusal::Form(_))), "{changed}");
        };
        form(|sent| sent["attestation_report"]["data"][4_000] = json!(1));
        form(|sent| sent["attestation_report"]["flags"] = json!(2));
        form(|sent| sent["attestation_report"]["data"] = json!([0]));
        form(|sent| sent["cert_chain"]["hsk_cek"]["cek"]["body"]["data"]["sid"] = json!([0]));
        form(|sent| sent["cert_chain"]["hsk_cek"]["hsk"]["signature"]["r"] = json!([0]));
        form(|sent| sent["other"] = json!(0));
    }

    #[test]
    fn an_event_log_must_replay_to_the_registers_of_version_2() {
        let hygon = Hygon::default();
        let (area, registers) = log(HashAlgorithm::Sm3, &[(1, b"firmware"), (3, b"agent")]);
        let mut extended = body(&hygon, true);
        for (index, value) in registers.iter().enumerate() {
            let field = at::RTMR + 32 * (index + 1);
            extended[field..field + 32].copy_from_slice(value);
        }
        examined(&extended, Some(&area)).unwrap();
        extended[at::RTMR + 32] ^= 1;
        assert_eq!(code(examined(&extended, Some(&area))), "replay-mismatch");
        let refused = examined(&body(&hygon, false), Some(&area));
        assert!(matches!(refused, Err(EvidenceRefusal::EventLog(_))), "{refused:?}");
    }

    #[test]
    fn a_recorded_report_holds_for_its_exchange_and_no_other() {
        let file = |name: &str| corpus(&format!("hygon-csv/csv-rs-report/{name}"));
        let Some(report) = file("report.bin") else { return };
        let (cek, hsk) = (file("cek.cert").unwrap(), file("hsk.cert").unwrap());
        let mut exchange = Exchange::new(Tee::Csv, time("2026-01-01T00:00:00Z"));
        let sent = evidence(&report, &cek, &hsk, None);
        assert_eq!(exchange.examine(&sent), Err(EvidenceRefusal::Binding));
        let evidence = CsvEvidence { report, cek, hsk };
        let genuine = hygon::examine(&evidence, hygon::HYGON_ROOT, exchange.now).unwrap();
        exchange.report_data = genuine.bound().to_vec();
        exchange.examine(&sent).unwrap();
    }
}
