//! `az-snp-vtpm` and `az-tdx-vtpm` Evidence: a quote of a confidential machine's own vTPM, and the report that vouches for the vTPM's key.
//!
//! The digest is the quote's qualifying data, exactly. From version 2 on the guest also has it written into the runtime claims, which the
//! hardware's report covers; where a client says version 2 or later, it must stand there too, followed by zeros. One bank is quoted, SHA-256. The report
//! on SEV-SNP must meet the strict defaults of [`SnpPolicy`], as any machine's must.
//!
//! Deliberately absent: version 0, whose quote was written in another library's form.

use attest::{
    PcrValue,
    azure::{self, AzureError, HclReport, SnpEndorsements},
    certificate::TrustAnchor,
    intel,
    platform::Genuine,
    snp::{SnpPolicy, SnpUnfit},
    tpm::QuoteEvidence,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    endorsements::{Collected, Needs},
    evidence::{EvidenceRefusal, is_padded, members, url_safe},
    intel::RULES,
    tpm::quoted,
};
use crate::refusal::words;

/// Of a machine on SEV-SNP.
pub(crate) struct OnSnp {
    parts: Parts,
    vcek: Vec<u8>,
}

/// Of a machine on TDX.
pub(crate) struct OnTdx {
    parts: Parts,
    td_quote: Vec<u8>,
}

struct Parts {
    version: u32,
    signature: Vec<u8>,
    message: Vec<u8>,
    pcrs: Vec<PcrValue>,
    report: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SnpMembers {
    version: u32,
    tpm_quote: TpmQuote,
    hcl_report: String,
    vcek: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TdxMembers {
    version: u32,
    tpm_quote: TpmQuote,
    hcl_report: String,
    td_quote: String,
}

/// In hexadecimal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TpmQuote {
    signature: String,
    message: String,
    /// Of the SHA-256 bank, from register 0.
    pcrs: Vec<String>,
}

impl OnSnp {
    /// `{"version", "tpm_quote", "hcl_report", "vcek"}`.
    pub(super) fn read(evidence: &Value) -> Result<OnSnp, EvidenceRefusal> {
        let SnpMembers { version, tpm_quote, hcl_report, vcek } =
            members(evidence, "`version`, `tpm_quote`, `hcl_report` and `vcek` are needed")?;
        Ok(OnSnp { parts: Parts::read(version, &tpm_quote, &hcl_report)?, vcek: url_safe(&vcek, "`vcek`")? })
    }

    /// AMD's certificates above the chip's, which clients do not send.
    pub(super) fn needs(&self) -> Result<Needs, EvidenceRefusal> {
        let hcl = HclReport::parse(&self.parts.report).map_err(refused)?;
        Needs::of_report(hcl.hardware, Some(&self.vcek), false)
    }

    pub(super) fn examine(
        &self,
        collected: &Collected,
        anchors: &[TrustAnchor],
        report_data: &[u8],
        now: Timestamp,
    ) -> Result<Genuine, EvidenceRefusal> {
        let amd = collected.amd();
        let endorsements = SnpEndorsements {
            key: Some(&self.vcek),
            chain: amd.and_then(|amd| amd.chain.as_deref()),
            list: amd.and_then(|amd| amd.list.as_deref()),
        };
        let quote = self.parts.quote();
        let examined = azure::examine_snp(&self.parts.report, Some(&quote), &endorsements, anchors, now);
        let admitted = examined.map_err(refused)?.admit(&SnpPolicy::default());
        let unfit = |unfit: SnpUnfit| EvidenceRefusal::Appraisal(format!("{}: {}", unfit.code(), words(&unfit)));
        self.parts.bound(admitted.map_err(unfit)?, report_data)
    }
}

impl OnTdx {
    /// `{"version", "tpm_quote", "hcl_report", "td_quote"}`.
    pub(super) fn read(evidence: &Value) -> Result<OnTdx, EvidenceRefusal> {
        let TdxMembers { version, tpm_quote, hcl_report, td_quote } =
            members(evidence, "`version`, `tpm_quote`, `hcl_report` and `td_quote` are needed")?;
        Ok(OnTdx {
            parts: Parts::read(version, &tpm_quote, &hcl_report)?,
            td_quote: url_safe(&td_quote, "`td_quote`")?,
        })
    }

    pub(super) fn needs(&self) -> Result<Needs, EvidenceRefusal> {
        Needs::of_quote(intel::Tee::Tdx, &self.td_quote)
    }

    pub(super) fn examine(
        &self,
        collected: &Collected,
        anchors: &[TrustAnchor],
        report_data: &[u8],
        now: Timestamp,
    ) -> Result<Genuine, EvidenceRefusal> {
        let (endorsements, quote) = (collected.intel()?, self.parts.quote());
        let (report, td_quote) = (&self.parts.report, Some(self.td_quote.as_slice()));
        azure::examine_tdx(report, td_quote, Some(&quote), &endorsements, anchors, &RULES, now)
            .map_err(refused)
            .and_then(|genuine| self.parts.bound(genuine, report_data))
    }
}

impl Parts {
    fn read(version: u32, quote: &TpmQuote, report: &str) -> Result<Parts, EvidenceRefusal> {
        if !(1..=2).contains(&version) {
            return Err(EvidenceRefusal::Form("`version` must be 1 or 2"));
        }
        let hexadecimal = |text: &str, what| hex::decode(text).map_err(|_| EvidenceRefusal::Form(what));
        let message = hexadecimal(&quote.message, "`message`")?;
        Ok(Parts {
            version,
            signature: hexadecimal(&quote.signature, "`signature`")?,
            pcrs: quoted(&message, &quote.pcrs)?,
            message,
            report: url_safe(report, "`hcl_report`")?,
        })
    }

    fn quote(&self) -> QuoteEvidence<'_> {
        QuoteEvidence { message: &self.message, signature: &self.signature, pcrs: &self.pcrs, event_log: None }
    }

    /// What was examined, if the digest is the whole qualifying data and, from version 2 on, stands in the runtime claims.
    fn bound(&self, genuine: Genuine, report_data: &[u8]) -> Result<Genuine, EvidenceRefusal> {
        let in_claims = || {
            let data = genuine.claim("user_data").and_then(|text| hex::decode(text).ok());
            data.is_some_and(|data| is_padded(&data, report_data))
        };
        if genuine.bound() == report_data && (self.version < 2 || in_claims()) {
            Ok(genuine)
        } else {
            Err(EvidenceRefusal::Binding)
        }
    }
}

fn refused(error: AzureError) -> EvidenceRefusal {
    EvidenceRefusal::of_platform(&error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use attest::{HashAlgorithm, tpm::PublicKey};
    use aws_lc_rs::{
        encoding::{AsDer as _, PublicKeyX509Der},
        rand::SystemRandom,
        rsa::{KeyPair, KeySize},
        signature::{KeyPair as _, RSA_PKCS1_SHA256},
    };
    use base64::{Engine as _, engine::general_purpose::URL_SAFE};
    use serde_json::json;
    use testkit::intel::{Made, World};

    use super::*;
    use crate::kbs::{
        evidence::{Makers, Tee},
        forged::{BOUND, Exchange, Shelf, anchor, at, code, corpus, document},
    };

    /// A vTPM in a forged trust domain.
    struct Machine {
        made: Made,
        report: Vec<u8>,
        key: KeyPair,
    }

    impl Machine {
        fn new(user_data: &[u8]) -> Machine {
            let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
            let spki: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
            let Some(PublicKey::Rsa { modulus }) = PublicKey::from_spki(spki.as_ref()) else { panic!() };
            let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(modulus);
            let claims = json!({
                "keys": [{ "kid": "HCLAkPub", "kty": "RSA", "e": "AQAB", "n": modulus }],
                "user-data": hex::encode_upper(user_data),
            })
            .to_string();
            let mut world = World::tdx();
            let field = world.body.len() - 64;
            world.body[field..].fill(0);
            world.body[field..field + 32].copy_from_slice(&HashAlgorithm::Sha256.hash(&[claims.as_bytes()]));
            // TDREPORT: report data, module, trust domain.
            let (body, mut hardware) = (&world.body, vec![0; 1_184]);
            for (to, from, size) in [(128, 520, 64), (264, 0, 16), (280, 16, 104), (512, 120, 400)] {
                hardware[to..to + size].copy_from_slice(&body[from..from + size]);
            }
            let mut report = b"HCLA".to_vec();
            report.extend(1_u32.to_le_bytes());
            report.extend([0; 24]);
            report.extend(hardware);
            let size = u32::try_from(claims.len()).unwrap();
            report.extend([size + 20, 1, 4, 1, size].map(u32::to_le_bytes).concat());
            report.extend(claims.as_bytes());
            report.resize(2_600, 0);
            Machine { made: world.make(), report, key }
        }

        /// A quote with this qualifying data, over registers 0 to 23, of which register 8 has this value.
        fn evidence(&self, version: u32, extra: &[u8], pcr8: &[u8]) -> Value {
            let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
            let mut pcrs = vec![vec![0; 32]; 24];
            pcrs[8] = pcr8.to_vec();
            let mut message = vec![0xFF, b'T', b'C', b'G', 0x80, 0x18];
            message.extend(sized(&[0; 34]));
            message.extend(sized(extra));
            message.extend([0; 8 + 4 + 4]);
            message.push(1);
            message.extend([0; 8]);
            message.extend([0, 0, 0, 1, 0, 0x0B, 3, 0xFF, 0xFF, 0xFF]);
            message.extend(sized(&HashAlgorithm::Sha256.hash(&[&pcrs.concat()])));
            let mut signature = vec![0; self.key.public_modulus_len()];
            self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature).unwrap();
            json!({
                "version": version,
                "tpm_quote": {
                    "signature": hex::encode(signature), "message": hex::encode(message),
                    "pcrs": pcrs.iter().map(hex::encode).collect::<Vec<_>>(),
                },
                "hcl_report": URL_SAFE.encode(&self.report), "td_quote": URL_SAFE.encode(&self.made.quote),
            })
        }

        fn examine(
            &self,
            evidence: &Value,
            change: impl FnOnce(&mut Exchange<'_>),
        ) -> Result<crate::kbs::evidence::Examined, EvidenceRefusal> {
            let shelf = Shelf::of(&self.made);
            let makers = Makers { intel: anchor(&self.made.root), ..Makers::shipped() };
            let mut exchange =
                Exchange { makers, reader: Some(&shelf.reader), ..Exchange::new(Tee::AzTdxVtpm, self.made.now) };
            change(&mut exchange);
            exchange.examine(evidence)
        }
    }

    #[test]
    fn a_quote_of_the_machines_own_vtpm_is_bound_to_the_exchange_exactly() {
        let mut padded = BOUND.to_vec();
        padded.resize(64, 0);
        let machine = Machine::new(&padded);
        for version in [1, 2] {
            let examined = machine.examine(&machine.evidence(version, &BOUND, &[0; 32]), |_| ()).unwrap();
            assert_eq!((examined.tee(), examined.assurance()), ("az-tdx-vtpm", "affirmed"));
            assert!(examined.measurements().contains(&format!("pcr7={}", "00".repeat(32))));
            assert!(examined.measurements().contains(&format!("mrtd={}", "e2".repeat(48))));
            assert!(!examined.claims().iter().any(|claim| claim.starts_with("hardware:mrtd")));
            for extra in [padded.as_slice(), &BOUND[..47], &[0xB1; 48], &[]] {
                let refused = machine.examine(&machine.evidence(version, extra, &[0; 32]), |_| ());
                assert_eq!(refused, Err(EvidenceRefusal::Binding), "{version} {extra:?}");
            }
        }
        let refused = machine.examine(&machine.evidence(3, &BOUND, &[0; 32]), |_| ());
        assert!(matches!(refused, Err(EvidenceRefusal::Form(_))));
        // From version 2 on the runtime claims must say it too.
        for user_data in [[0; 64].as_slice(), &[0xB0; 64], &[0xB0; 47], &[]] {
            let silent = Machine::new(user_data);
            silent.examine(&silent.evidence(1, &BOUND, &[0; 32]), |_| ()).unwrap();
            let refused = silent.examine(&silent.evidence(2, &BOUND, &[0; 32]), |_| ());
            assert_eq!(refused, Err(EvidenceRefusal::Binding), "{user_data:?}");
        }
        // Another machine's vTPM.
        let (other, mut swapped) = (Machine::new(&padded), machine.evidence(2, &BOUND, &[0; 32]));
        swapped["tpm_quote"] = other.evidence(2, &BOUND, &[0; 32])["tpm_quote"].clone();
        assert_eq!(code(machine.examine(&swapped, |_| ())), "tpm-quote-signature-invalid");
        let missing = machine.examine(&machine.evidence(2, &BOUND, &[0; 32]), |exchange| exchange.reader = None);
        assert!(matches!(missing, Err(EvidenceRefusal::Endorsement(_))));
    }

    #[test]
    fn initial_data_stand_in_register_8() {
        let digest = HashAlgorithm::Sha256.hash(&[document().body.as_bytes()]);
        let machine = Machine::new(&[]);
        let register = HashAlgorithm::Sha256.extend(&[0; 32], &digest);
        let with = |value: &[u8]| {
            let evidence = machine.evidence(1, &BOUND, value);
            machine.examine(&evidence, |exchange| exchange.init_data = Some(document()))
        };
        let claim = format!("init_data=sha256:{}", hex::encode(&digest));
        assert!(with(&register).unwrap().claims().contains(&claim));
        assert_eq!(with(&digest), Err(EvidenceRefusal::InitData));
        assert_eq!(with(&[0; 32]), Err(EvidenceRefusal::InitData));
    }

    #[test]
    fn recorded_evidence_holds_for_the_exchange_that_it_is_of_and_for_no_other() {
        let Some(text) = corpus("azure-tdx-vtpm/attestation-rs-live/evidence.json") else { return };
        let evidence: Value = serde_json::from_slice(&text).unwrap();
        let now = at("2026-03-31T22:20:07Z");
        let shelf = Shelf::recorded("azure-tdx-vtpm/attestation-rs-live", "tdx/tcb/90c06f000000", false, now).unwrap();
        let mut exchange = Exchange { reader: Some(&shelf.reader), ..Exchange::new(Tee::AzTdxVtpm, now) };
        assert_eq!(exchange.examine(&evidence), Err(EvidenceRefusal::Binding));
        exchange.report_data = extra_data(&evidence);
        let examined = exchange.examine(&evidence).unwrap();
        assert_eq!((examined.tee(), examined.assurance()), ("az-tdx-vtpm", "affirmed"));

        let file = |name: &str| corpus(&format!("azure-snp-vtpm/trustee-evidence-genoa/{name}")).unwrap();
        let pcrs: Value = serde_json::from_slice(&file("pcrs.json")).unwrap();
        let evidence = json!({
            "version": 1,
            "tpm_quote": {
                "signature": hex::encode(file("tpm_quote.sig")), "message": hex::encode(file("tpm_quote.msg")),
                "pcrs": (0..24).map(|index| pcrs["sha256"][index.to_string()].clone()).collect::<Vec<_>>(),
            },
            "hcl_report": URL_SAFE.encode(file("hcl_report.bin")), "vcek": URL_SAFE.encode(file("vcek.der")),
        });
        let now = at("2025-02-23T02:21:48Z");
        let shelf = Shelf::new(::endorsements::Anchors::shipped());
        let mut exchange = Exchange { reader: Some(&shelf.reader), ..Exchange::new(Tee::AzSnpVtpm, now) };
        match exchange.examine(&evidence) {
            Err(EvidenceRefusal::Endorsement(words)) => {
                assert!(words.starts_with("`amd/chain/Genoa` is not kept here"), "{words}");
            }
            other => panic!("{other:?}"),
        }
        shelf.put("amd/chain/Genoa", &file("cert_chain.pem"), None, now);
        assert_eq!(exchange.examine(&evidence), Err(EvidenceRefusal::Binding));
        exchange.report_data = extra_data(&evidence);
        let examined = exchange.examine(&evidence).unwrap();
        assert_eq!((examined.tee(), examined.assurance()), ("az-snp-vtpm", "revocation-unknown"));
        // Milan is not accepted, by whatever way its report comes.
        let text = corpus("azure-snp-vtpm/trustee-evidence-v2/evidence.json").unwrap();
        let evidence: Value = serde_json::from_slice(&text).unwrap();
        let chain = corpus("azure-snp-vtpm/trustee-evidence-v2/cert_chain.pem").unwrap();
        shelf.put("amd/chain/Milan", &chain, None, now);
        exchange.report_data = extra_data(&evidence);
        assert_eq!(code(exchange.examine(&evidence)), "generation-not-accepted");
    }

    fn extra_data(evidence: &Value) -> Vec<u8> {
        let message = hex::decode(evidence["tpm_quote"]["message"].as_str().unwrap()).unwrap();
        attest::tpm::Quote::parse(&message).unwrap().extra_data
    }
}
