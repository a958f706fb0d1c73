//! `snp` Evidence: clients send the report's fields as JSON, not the report.
//!
//! The bytes that the chip signed are put together again from the fields (SEV-SNP ABI, publication 56860, table ATTESTATION_REPORT) and examined like
//! any report. Whatever a field says, only what was signed verifies; reserved bytes are not sent and taken for zero, as they must be.
//!
//! Deliberately absent: fetching of certificates. A client that sends no chain proves nothing.

use attest::{
    certificate::TrustAnchor,
    platform::{Genuine, Refusal as _},
    snp::{self, SnpEvidence, SnpPolicy},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::evidence::EvidenceRefusal;
use crate::refusal::words;

/// Examines `snp` Evidence.
pub(super) fn examine(evidence: &Value, anchors: &[TrustAnchor], now: Timestamp) -> Result<Genuine, EvidenceRefusal> {
    let form = |_| EvidenceRefusal::Form("`attestation_report` or `cert_chain` cannot be read");
    let Evidence { attestation_report, cert_chain } = Evidence::deserialize(evidence).map_err(form)?;
    let report = attestation_report.bytes().ok_or(EvidenceRefusal::Form("a field of the report has another length"))?;
    let chain = cert_chain.unwrap_or_default();
    let of = |names: &[&str]| {
        let named = chain.iter().find(|entry| entry.cert_type.as_str().is_some_and(|name| names.contains(&name)));
        named.map(|entry| entry.data.as_slice())
    };
    let above: Vec<Vec<u8>> = [of(&["ASK", "ASVK"]), of(&["ARK"])].into_iter().flatten().map(pem).collect();
    let above = above.concat();
    let evidence = SnpEvidence {
        report: &report,
        key: of(&["VCEK", "VLEK"]),
        chain: Some(above.as_slice()).filter(|above| !above.is_empty()),
        list: None,
    };
    let refused = |error: snp::SnpError| EvidenceRefusal::Appraisal(format!("{}: {}", error.code(), words(&error)));
    let genuine = snp::examine(&evidence, anchors, now).map_err(refused)?;
    genuine.admit(&SnpPolicy::default()).map_err(|unfit| EvidenceRefusal::Appraisal(words(&unfit)))
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
    /// A name, or an object for what AMD has no name for.
    cert_type: Value,
    data: Vec<u8>,
}

/// The fields by the names that clients give them. Some are new with versions 3 and 5 of the report.
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
    #[serde(alias = "_author_key_en")]
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
    use serde_json::json;

    /// A report's bytes as a client would write them.
    fn written(report: &[u8]) -> Value {
        let number = |at: usize| u32::from_le_bytes(report[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(report[at..at + 8].try_into().unwrap());
        let tcb = |at: usize| json!({ "fmc": null, "bootloader": report[at], "tee": report[at + 1], "snp": report[at + 6], "microcode": report[at + 7] });
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

    #[test]
    fn the_fields_are_put_back_where_the_chip_had_them() {
        let mut report: Vec<u8> = (0..1_184_u32).map(|at| (at % 251) as u8).collect();
        let reserved = [76..80, 395..416, 491..492, 495..496, 520..672, 816..1_184];
        let tcb = [56, 384, 480, 496].map(|at| at + 2..at + 6);
        for range in reserved.into_iter().chain(tcb) {
            report[range].fill(0);
        }
        let read: Report = serde_json::from_value(written(&report)).unwrap();
        assert_eq!(read.bytes().unwrap(), report);
        let mut longer = written(&report);
        longer["report_data"].as_array_mut().unwrap().push(0.into());
        assert_eq!(serde_json::from_value::<Report>(longer).unwrap().bytes(), None);
    }

    #[test]
    fn a_report_without_a_key_proves_nothing() {
        let evidence = json!({ "attestation_report": written(&[0; 1_184]), "cert_chain": null });
        assert!(matches!(examine(&evidence, &snp::anchors(), Timestamp::now()), Err(EvidenceRefusal::Appraisal(_))));
        assert!(matches!(examine(&json!({}), &[], Timestamp::now()), Err(EvidenceRefusal::Form(_))));
    }
}
