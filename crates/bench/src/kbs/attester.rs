//! A chip of a forged AMD that signs a report for each nonce, and its Evidence as stock clients write it.

use attest::snp::Generation;
use aws_lc_rs::digest::{SHA384, digest};
use envelope::canonical;
use serde_json::{Value, json};
use testkit::snp::{Amd, ChipKey, at, put};
use wire::kbs::{Attestation, BoundData, CompositeEvidence, RuntimeData, TeeKey};

use crate::Failure;

/// A chip with its certificates.
pub(super) struct Chip {
    root: Vec<u8>,
    key: ChipKey,
    report: Vec<u8>,
    certificates: Value,
}

impl Chip {
    pub(super) fn forge() -> Chip {
        let amd = Amd::new(Generation::Genoa);
        let key = amd.key(&amd.chip_fields());
        let certificates = json!([
            { "cert_type": "ARK", "data": amd.root() },
            { "cert_type": "ASK", "data": amd.intermediate() },
            { "cert_type": "VCEK", "data": key.certificate },
        ]);
        Chip { root: amd.root(), report: amd.report(), key, certificates }
    }

    /// The root's certificate.
    pub(super) fn root(&self) -> &[u8] {
        &self.root
    }

    /// Evidence that is bound to a nonce and a key.
    pub(super) fn attest(&self, nonce: &str, key: &TeeKey) -> Result<Attestation, Failure> {
        let bound = canonical::to_vec(&BoundData { additional_evidence: "", nonce, tee_pubkey: key })?;
        let mut report = self.report.clone();
        put(&mut report, at::REPORT_DATA, &[0; 64]);
        put(&mut report, at::REPORT_DATA, digest(&SHA384, &bound).as_ref());
        self.key.sign(&mut report);
        let evidence = json!({ "attestation_report": fields(&report)?, "cert_chain": self.certificates });
        Ok(Attestation {
            init_data: None,
            runtime_data: RuntimeData { nonce: nonce.to_owned(), tee_pubkey: key.clone() },
            tee_evidence: CompositeEvidence { primary_evidence: evidence, additional_evidence: String::new() },
        })
    }
}

/// The fields of a report by the names that clients give them (SEV-SNP ABI, publication 56860, table ATTESTATION_REPORT).
fn fields(report: &[u8]) -> Result<Value, Failure> {
    let bytes = |at: usize, size: usize| report.get(at..at + size).ok_or("the report is short");
    let number = |at: usize, size: usize| {
        Ok::<_, Failure>(bytes(at, size)?.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let tcb = |at: usize| {
        Ok::<_, Failure>(json!({
            "fmc": null, "bootloader": number(at, 1)?, "tee": number(at + 1, 1)?, "snp": number(at + 6, 1)?,
            "microcode": number(at + 7, 1)?,
        }))
    };
    let version = |at: usize| {
        Ok::<_, Failure>(json!({ "build": number(at, 1)?, "minor": number(at + 1, 1)?, "major": number(at + 2, 1)? }))
    };
    Ok(json!({
        "version": number(at::VERSION, 4)?, "guest_svn": number(4, 4)?, "policy": number(at::POLICY, 8)?,
        "family_id": bytes(16, 16)?, "image_id": bytes(32, 16)?, "vmpl": number(at::VMPL, 4)?,
        "sig_algo": number(at::ALGORITHM, 4)?, "current_tcb": tcb(at::CURRENT_TCB)?,
        "plat_info": number(at::PLATFORM_INFO, 8)?, "key_info": number(at::FLAGS, 4)?,
        "report_data": bytes(at::REPORT_DATA, 64)?, "measurement": bytes(at::MEASUREMENT, 48)?,
        "host_data": bytes(192, 32)?, "id_key_digest": bytes(224, 48)?, "author_key_digest": bytes(272, 48)?,
        "report_id": bytes(320, 32)?, "report_id_ma": bytes(352, 32)?, "reported_tcb": tcb(at::REPORTED_TCB)?,
        "cpuid_fam_id": number(at::CPUID, 1)?, "cpuid_mod_id": number(at::CPUID + 1, 1)?,
        "cpuid_step": number(at::CPUID + 2, 1)?, "chip_id": bytes(at::CHIP_ID, 64)?,
        "committed_tcb": tcb(at::COMMITTED_TCB)?, "current": version(488)?, "committed": version(492)?,
        "launch_tcb": tcb(at::LAUNCH_TCB)?, "launch_mit_vector": number(504, 8)?, "current_mit_vector": number(512, 8)?,
        "signature": { "r": bytes(at::SIGNATURE, 72)?, "s": bytes(at::SIGNATURE + 72, 72)? },
    }))
}
