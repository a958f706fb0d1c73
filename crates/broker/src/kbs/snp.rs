//! `snp` Evidence: clients send the report's fields as JSON, not the report.
//!
//! The bytes that the chip signed are put together again from the fields (SEV-SNP ABI, publication 56860, table ATTESTATION_REPORT) and examined like
//! any report. Whatever a field says, only what was signed verifies; reserved bytes are not sent and taken for zero, as they must be. Names and nesting are those
//! of the crate `sev` (virtee, version 8.0.0; its derived serialisation), which clients use.
//!
//! Hosts seldom hand certificates to guests, so most clients send the chip's at best; what they do not send is this machine's
//! ([`super::endorsements`]). The report must meet the strict defaults of [`SnpPolicy`].

use attest::{
    certificate::TrustAnchor,
    platform::Genuine,
    snp::{self, SnpEvidence, SnpPolicy},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    endorsements::{Collected, Needs},
    evidence::{EvidenceRefusal, members},
};
use crate::refusal::words;

/// A report, put together again, with the certificates that came along.
pub(crate) struct SnpReport {
    report: Vec<u8>,
    key: Option<Vec<u8>>,
    above: Option<Vec<u8>>,
}

impl SnpReport {
    /// `{"attestation_report", "cert_chain"}`; the chain may be null.
    pub(super) fn read(evidence: &Value) -> Result<SnpReport, EvidenceRefusal> {
        let Evidence { attestation_report, cert_chain } =
            members(evidence, "`attestation_report` or `cert_chain` cannot be read")?;
        let report = attestation_report.bytes();
        let report = report.ok_or(EvidenceRefusal::Form("a field of the report has another length"))?;
        let chain = cert_chain.unwrap_or_default();
        let of = |names: &[&str]| {
            let named = chain.iter().find(|entry| entry.cert_type.as_str().is_some_and(|name| names.contains(&name)));
            named.map(|entry| entry.data.as_slice())
        };
        // The root alone vouches for nothing between it and the key.
        let above =
            of(&["ASK"]).map(|ask| [Some(ask), of(&["ARK"])].into_iter().flatten().map(pem).collect::<Vec<_>>());
        let above = above.map(|certificates| certificates.concat());
        Ok(SnpReport { report, key: of(&["VCEK", "VLEK"]).map(<[u8]>::to_vec), above })
    }

    pub(super) fn needs(&self) -> Result<Needs, EvidenceRefusal> {
        Needs::of_report(&self.report, self.key.as_deref(), self.above.is_some())
    }

    pub(super) fn examine(
        &self,
        collected: &Collected,
        anchors: &[TrustAnchor],
        now: Timestamp,
    ) -> Result<Genuine, EvidenceRefusal> {
        let amd = collected.amd();
        let evidence = SnpEvidence {
            report: &self.report,
            key: self.key.as_deref().or(amd.and_then(|amd| amd.key.as_deref())),
            chain: self.above.as_deref().or(amd.and_then(|amd| amd.chain.as_deref())),
            list: amd.and_then(|amd| amd.list.as_deref()),
        };
        let genuine = snp::examine(&evidence, anchors, now).map_err(|error| EvidenceRefusal::of_platform(&error))?;
        genuine.admit(&SnpPolicy::default()).map_err(|unfit| EvidenceRefusal::Appraisal(words(&unfit)))
    }
}

/// Certificates come as DER or PEM; a bundle of several is PEM.
fn pem(certificate: &[u8]) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    if certificate.starts_with(b"-----BEGIN") {
        return [certificate, b"\n"].concat();
    }
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(certificate)).into_bytes()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    attestation_report: Report,
    #[serde(default)]
    cert_chain: Option<Vec<CertificateEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    /// A name (`ARK`, `ASK`, `VCEK`, `VLEK`, `CRL`, `Empty`), or an object for what AMD has no name for.
    cert_type: Value,
    data: Vec<u8>,
}

/// The fields by the names that clients give them. Some are new with versions 3 and 5 of the report; of one that is not known here only zeros
/// could have been signed.
#[derive(Deserialize)]
struct Report {
    version: u32,
    guest_svn: u32,
    policy: u64,
    family_id: Vec<u8>,
    image_id: Vec<u8>,
    vmpl: u32,
    sig_algo: u32,
    current_tcb: Tcb,
    plat_info: u64,
    key_info: u32,
    report_data: Vec<u8>,
    measurement: Vec<u8>,
    host_data: Vec<u8>,
    id_key_digest: Vec<u8>,
    author_key_digest: Vec<u8>,
    report_id: Vec<u8>,
    report_id_ma: Vec<u8>,
    reported_tcb: Tcb,
    #[serde(default)]
    cpuid_fam_id: Option<u8>,
    #[serde(default)]
    cpuid_mod_id: Option<u8>,
    #[serde(default)]
    cpuid_step: Option<u8>,
    chip_id: Vec<u8>,
    committed_tcb: Tcb,
    current: Version,
    committed: Version,
    launch_tcb: Tcb,
    #[serde(default)]
    launch_mit_vector: Option<u64>,
    #[serde(default)]
    current_mit_vector: Option<u64>,
    signature: Signature,
}

#[derive(Deserialize)]
struct Tcb {
    #[serde(default)]
    fmc: Option<u8>,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

#[derive(Deserialize)]
struct Version {
    major: u8,
    minor: u8,
    build: u8,
}

#[derive(Deserialize)]
struct Signature {
    r: Vec<u8>,
    s: Vec<u8>,
}

impl Report {
    /// The 1,184 bytes of the report; nothing if a field has another length.
    fn bytes(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(1_184);
        for number in [self.version, self.guest_svn] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.policy.to_le_bytes());
        out.extend(field(&self.family_id, 16)?);
        out.extend(field(&self.image_id, 16)?);
        out.extend(self.vmpl.to_le_bytes());
        out.extend(self.sig_algo.to_le_bytes());
        out.extend(self.current_tcb.bytes());
        out.extend(self.plat_info.to_le_bytes());
        out.extend(self.key_info.to_le_bytes());
        out.extend([0; 4]);
        for (bytes, length) in [
            (&self.report_data, 64),
            (&self.measurement, 48),
            (&self.host_data, 32),
            (&self.id_key_digest, 48),
            (&self.author_key_digest, 48),
            (&self.report_id, 32),
            (&self.report_id_ma, 32),
        ] {
            out.extend(field(bytes, length)?);
        }
        out.extend(self.reported_tcb.bytes());
        out.extend([self.cpuid_fam_id, self.cpuid_mod_id, self.cpuid_step].map(Option::unwrap_or_default));
        out.extend([0; 21]);
        out.extend(field(&self.chip_id, 64)?);
        out.extend(self.committed_tcb.bytes());
        for Version { major, minor, build } in [&self.current, &self.committed] {
            out.extend([*build, *minor, *major, 0]);
        }
        out.extend(self.launch_tcb.bytes());
        out.extend(self.launch_mit_vector.unwrap_or(0).to_le_bytes());
        out.extend(self.current_mit_vector.unwrap_or(0).to_le_bytes());
        out.extend([0; 152]);
        out.extend(field(&self.signature.r, 72)?);
        out.extend(field(&self.signature.s, 72)?);
        out.extend([0; 368]);
        Some(out)
    }
}

impl Tcb {
    /// TCB_VERSION: Turin's begins with the FMC's.
    fn bytes(&self) -> [u8; 8] {
        let Tcb { fmc, bootloader, tee, snp, microcode } = *self;
        match fmc {
            Some(fmc) => [fmc, bootloader, tee, snp, 0, 0, 0, microcode],
            None => [bootloader, tee, 0, 0, 0, 0, snp, microcode],
        }
    }
}

fn field(bytes: &[u8], length: usize) -> Option<&[u8]> {
    Some(bytes).filter(|bytes| bytes.len() == length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use ::endorsements::Anchors;
    use attest::{HashAlgorithm, snp::Generation};
    use serde_json::json;
    use testkit::snp::{Amd, ChipKey, at, put};

    use crate::kbs::{
        evidence::{Makers, Tee},
        forged::{BOUND, Exchange, Shelf, code, corpus, document},
    };

    /// A report's bytes as a client would write them.
    fn written(report: &[u8], generation: Generation) -> Value {
        let number = |at: usize| u32::from_le_bytes(report[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(report[at..at + 8].try_into().unwrap());
        let tcb = |at: usize| match generation {
            Generation::Turin => json!({
                "fmc": report[at], "bootloader": report[at + 1], "tee": report[at + 2], "snp": report[at + 3],
                "microcode": report[at + 7]
            }),
            Generation::Milan | Generation::Genoa => json!({
                "fmc": null, "bootloader": report[at], "tee": report[at + 1], "snp": report[at + 6],
                "microcode": report[at + 7]
            }),
        };
        let version = |at: usize| json!({ "build": report[at], "minor": report[at + 1], "major": report[at + 2] });
        json!({
            "version": number(0), "guest_svn": number(4), "policy": long(8), "family_id": report[16..32],
            "image_id": report[32..48], "vmpl": number(48), "sig_algo": number(52), "current_tcb": tcb(56),
            "plat_info": long(64), "key_info": number(72), "report_data": report[80..144],
            "measurement": report[144..192], "host_data": report[192..224], "id_key_digest": report[224..272],
            "author_key_digest": report[272..320], "report_id": report[320..352], "report_id_ma": report[352..384],
            "reported_tcb": tcb(384), "cpuid_fam_id": report[392], "cpuid_mod_id": report[393],
            "cpuid_step": report[394], "chip_id": report[416..480], "committed_tcb": tcb(480),
            "current": version(488), "committed": version(492), "launch_tcb": tcb(496),
            "launch_mit_vector": long(504), "current_mit_vector": long(512),
            "signature": { "r": report[672..744], "s": report[744..816] },
        })
    }

    fn evidence(report: &[u8], generation: Generation, chain: &[(&str, &[u8])]) -> Value {
        let chain: Vec<Value> = chain.iter().map(|(kind, data)| json!({ "cert_type": kind, "data": data })).collect();
        json!({ "attestation_report": written(report, generation), "cert_chain": chain })
    }

    /// A forged AMD, a key of it, and a report that is bound to [`BOUND`].
    fn forged(change: impl FnOnce(&mut [u8])) -> (Amd, ChipKey, Vec<u8>) {
        let amd = Amd::new(Generation::Genoa);
        let key = amd.key(&amd.chip_fields());
        let mut report = amd.report();
        put(&mut report, at::REPORT_DATA, &[0; 64]);
        put(&mut report, at::REPORT_DATA, &BOUND);
        change(&mut report);
        key.sign(&mut report);
        (amd, key, report)
    }

    fn shelf(amd: &Amd) -> Shelf {
        Shelf::new(Anchors { genoa: amd.root(), ..Anchors::shipped() })
    }

    fn exchange<'a>(amd: &Amd, shelf: &'a Shelf) -> Exchange<'a> {
        let makers = Makers { amd: amd.anchors(), ..Makers::shipped() };
        Exchange { makers, reader: Some(&shelf.reader), ..Exchange::new(Tee::Snp, now()) }
    }

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_fields_are_put_back_where_the_chip_had_them() {
        let mut report: Vec<u8> = (0..1_184_u32).map(|at| (at % 251) as u8).collect();
        let reserved = [76..80, 395..416, 491..492, 495..496, 520..672, 816..1_184];
        let tcb = [56, 384, 480, 496].map(|at| at + 2..at + 6);
        for range in reserved.into_iter().chain(tcb) {
            report[range].fill(0);
        }
        let read: Report = serde_json::from_value(written(&report, Generation::Genoa)).unwrap();
        assert_eq!(read.bytes().unwrap(), report);
        let mut longer = written(&report, Generation::Genoa);
        longer["report_data"].as_array_mut().unwrap().push(0.into());
        assert_eq!(serde_json::from_value::<Report>(longer).unwrap().bytes(), None);
    }

    #[test]
    fn what_a_client_does_not_send_of_its_chain_is_taken_from_this_machine() {
        let (amd, key, report) = forged(|_| ());
        let shelf = shelf(&amd);
        let exchange = exchange(&amd, &shelf);
        let (bare, with_key) = ([].as_slice(), [("VCEK", key.certificate.as_slice())]);
        let intermediate = amd.intermediate();
        let refusal = |chain: &[(&str, &[u8])]| match exchange.examine(&evidence(&report, Generation::Genoa, chain)) {
            Err(EvidenceRefusal::Endorsement(words)) => words,
            other => panic!("{other:?}"),
        };
        let vcek = format!("amd/vcek/Genoa/{}/9-1-23-84", hex::encode((1..=64).collect::<Vec<u8>>()));
        assert!(refusal(bare).starts_with(&format!("`{vcek}` is not kept here\nhint: ")), "{}", refusal(bare));
        assert!(refusal(&with_key).starts_with("`amd/chain/Genoa` is not kept here"), "{}", refusal(&with_key));
        // Where the whole chain comes along, nothing is needed; with a list, it is used.
        let whole = [("ASK", intermediate.as_slice()), with_key[0]];
        exchange.examine(&evidence(&report, Generation::Genoa, &whole)).unwrap();
        shelf.put("amd/chain/Genoa", &amd.chain(), None, now());
        let examined = exchange.examine(&evidence(&report, Generation::Genoa, &with_key)).unwrap();
        assert_eq!((examined.tee(), examined.assurance()), ("snp", "revocation-unknown"));
        assert!(examined.measurements().contains(&format!("measurement={}", "a5".repeat(48))));
        assert!(refusal(bare).contains(&vcek));
        shelf.put(&vcek, &key.certificate, None, now());
        exchange.examine(&evidence(&report, Generation::Genoa, bare)).unwrap();
        shelf.put("amd/crl/Genoa", &amd.list(true, (2026, 2027)), None, now());
        assert_eq!(code(exchange.examine(&evidence(&report, Generation::Genoa, bare))), "ask-revoked");
    }

    #[test]
    fn a4_another_exchange_and_initial_data_of_another_launch_are_refused() {
        let digest = HashAlgorithm::Sha256.hash(&[document().body.as_bytes()]);
        let host = |bytes: Vec<u8>| forged(move |report| put(report, 0xC0, &bytes));
        let (amd, key, report) = host(digest.clone());
        let shelf = shelf(&amd);
        shelf.put("amd/chain/Genoa", &amd.chain(), None, now());
        let mut exchange = exchange(&amd, &shelf);
        exchange.init_data = Some(document());
        let evidence = evidence(&report, Generation::Genoa, &[("VCEK", &key.certificate)]);
        let examined = exchange.examine(&evidence).unwrap();
        assert!(examined.claims().contains(&format!("init_data=sha256:{}", hex::encode(&digest))));
        exchange.report_data[47] ^= 1;
        assert_eq!(exchange.examine(&evidence), Err(EvidenceRefusal::Binding));
        exchange.report_data = BOUND[..47].to_vec();
        assert_eq!(exchange.examine(&evidence), Err(EvidenceRefusal::Binding));
        // A digest that was cut to the field is none.
        let longer = HashAlgorithm::Sha384.hash(&[document().body.as_bytes()]);
        let (amd, key, report) = host(longer[..32].to_vec());
        let whole = [("ASK", amd.intermediate()), ("VCEK", key.certificate)];
        let whole: Vec<(&str, &[u8])> = whole.iter().map(|(kind, data)| (*kind, data.as_slice())).collect();
        let makers = Makers { amd: amd.anchors(), ..Makers::shipped() };
        let exchange = Exchange { makers, init_data: Some(document()), ..Exchange::new(Tee::Snp, now()) };
        let evidence = super::tests::evidence(&report, Generation::Genoa, &whole);
        assert_eq!(exchange.examine(&evidence), Err(EvidenceRefusal::InitData));
    }

    #[test]
    fn recorded_reports_hold_for_the_exchange_that_they_are_of_and_for_no_other() {
        let cases = [
            ("snp/attestation-rs-live-evidence-genoa", Generation::Genoa, "2026-03-21T23:50:30Z"),
            ("snp/trustee-turin-report", Generation::Turin, "2026-07-28T08:56:51Z"),
        ];
        for (case, generation, time) in cases {
            let Some(report) = corpus(&format!("{case}/report.bin")) else { return };
            let (key, chain) =
                (corpus(&format!("{case}/vcek.der")).unwrap(), corpus(&format!("{case}/cert_chain.pem")));
            let evidence = evidence(&report, generation, &[("VCEK", &key), ("ASK", &chain.unwrap())]);
            let mut exchange = Exchange::new(Tee::Snp, time.parse().unwrap());
            let refused = exchange.examine(&evidence);
            if generation == Generation::Turin {
                // Its signature holds; it sets a bit of PLATFORM_INFO that the strict policy does not know.
                let told = format!("{}", attest::snp::SnpUnfit::PlatformInfo(0x65));
                assert_eq!(refused, Err(EvidenceRefusal::Appraisal(told)));
                continue;
            }
            assert_eq!(refused, Err(EvidenceRefusal::Binding), "{case}");
            exchange.report_data = report[80..144].to_vec();
            exchange.examine(&evidence).unwrap();
        }
    }

    #[test]
    fn a_report_without_a_key_proves_nothing() {
        let evidence = json!({ "attestation_report": written(&[0; 1_184], Generation::Genoa), "cert_chain": null });
        let read = SnpReport::read(&evidence).unwrap();
        assert!(matches!(read.needs(), Err(EvidenceRefusal::Appraisal(_))), "{:?}", read.needs());
        let refused = read.examine(&Collected::Nothing, &snp::anchors(), Timestamp::UNIX_EPOCH);
        assert!(matches!(refused, Err(EvidenceRefusal::Appraisal(_))));
        let unknown = json!({ "attestation_report": written(&[0; 1_184], Generation::Genoa), "chain": [] });
        assert!(matches!(SnpReport::read(&unknown), Err(EvidenceRefusal::Form(_))));
    }
}
