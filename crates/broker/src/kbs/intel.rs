//! `tdx` and `sgx` Evidence: a quote in base64, and for a trust domain its event log.
//!
//! The quote carries the certificates of its platform; Intel's documents on security versions and its revocation lists are this machine's
//! ([`super::endorsements`]), and all of them are needed. So Evidence without a word on its security version is none, and the floor of
//! `tcbEvaluationDataNumber` is that of the directory. An event log must replay to the run-time registers that the quote reports.
//!
//! Deliberately absent: meaning of the log's events; conditions name the registers.

use attest::{
    ccel::{CcEventLog, CcelError},
    certificate::TrustAnchor,
    intel::{IntelError, Revocation, Rules, sgx, tdx},
    platform::Genuine,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    endorsements::Collected,
    evidence::{EvidenceRefusal, members, standard},
};

/// A quote with its log.
pub(crate) struct Quoted {
    quote: Vec<u8>,
    log: Option<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TdxMembers {
    #[serde(default)]
    cc_eventlog: Option<String>,
    quote: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SgxMembers {
    quote: String,
}

impl Quoted {
    /// `{"cc_eventlog", "quote"}`; the log may be null.
    pub(super) fn of_trust_domain(evidence: &Value) -> Result<Quoted, EvidenceRefusal> {
        let TdxMembers { cc_eventlog, quote } = members(evidence, "`quote` is needed, and `cc_eventlog` may be there")?;
        let log = cc_eventlog.map(|log| standard(&log, "`cc_eventlog`")).transpose()?;
        Ok(Quoted { quote: standard(&quote, "`quote`")?, log })
    }

    /// `{"quote"}`.
    pub(super) fn of_enclave(evidence: &Value) -> Result<Quoted, EvidenceRefusal> {
        let SgxMembers { quote } = members(evidence, "`quote` is needed")?;
        Ok(Quoted { quote: standard(&quote, "`quote`")?, log: None })
    }

    /// The quote.
    pub(super) fn quote(&self) -> &[u8] {
        &self.quote
    }

    pub(super) fn examine_trust_domain(
        &self,
        collected: &Collected,
        anchors: &[TrustAnchor],
        now: Timestamp,
    ) -> Result<Genuine, EvidenceRefusal> {
        let genuine = tdx::examine(&self.quote, &collected.intel()?, anchors, &RULES, now).map_err(refused)?;
        if let Some(log) = &self.log {
            check_log(log, RTMR.map(|name| genuine.register(name).unwrap_or_default()))?;
        }
        Ok(genuine)
    }

    pub(super) fn examine_enclave(
        &self,
        collected: &Collected,
        anchors: &[TrustAnchor],
        now: Timestamp,
    ) -> Result<Genuine, EvidenceRefusal> {
        sgx::examine(&self.quote, &collected.intel()?, anchors, &RULES, now).map_err(refused)
    }
}

/// Holds a log against the four registers that grow while a machine runs.
pub(super) fn check_log(log: &[u8], registers: [&[u8]; 4]) -> Result<(), EvidenceRefusal> {
    let told =
        |error: CcelError| EvidenceRefusal::EventLog(format!("{}: {}", error.code(), crate::refusal::words(&error)));
    let log = CcEventLog::parse(log).map_err(told)?;
    log.check(&registers).map_err(told)
}

fn refused(error: IntelError) -> EvidenceRefusal {
    EvidenceRefusal::of_platform(&error)
}

/// The floor of numbers that never go back is held where the documents are read.
pub(super) const RULES: Rules = Rules { evaluation_floor: 0, revocation: Revocation::Complete };
const RTMR: [&str; 4] = ["rtmr0", "rtmr1", "rtmr2", "rtmr3"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use attest::{HashAlgorithm, Tier};
    use serde_json::json;
    use testkit::intel::{ENCLAVE_CONFIG, Made, QE_ATTRIBUTES, TD_ATTRIBUTES, TD_CONFIG, TD_RTMR, World};

    use super::*;
    use crate::kbs::{
        evidence::{Examined, Makers, Tee},
        forged::{BOUND, Exchange, Shelf, anchor, at, base64, code, corpus, document, log},
    };

    /// A forged machine whose report is bound to [`BOUND`].
    fn world(tee: Tee) -> World {
        let mut world = if tee == Tee::Sgx { World::sgx() } else { World::tdx() };
        let field = world.body.len() - 64;
        world.body[field..].fill(0);
        world.body[field..field + 48].copy_from_slice(&BOUND);
        world
    }

    fn exchange<'a>(tee: Tee, made: &Made, shelf: &'a Shelf) -> Exchange<'a> {
        let makers = Makers { intel: anchor(&made.root), ..Makers::shipped() };
        Exchange { makers, reader: Some(&shelf.reader), ..Exchange::new(tee, made.now) }
    }

    fn evidence(made: &Made) -> Value {
        json!({ "quote": base64(&made.quote) })
    }

    fn examined(tee: Tee, world: &World) -> Result<Examined, EvidenceRefusal> {
        let made = world.make();
        let shelf = Shelf::of(&made);
        exchange(tee, &made, &shelf).examine(&evidence(&made))
    }

    #[test]
    fn a_quote_with_all_that_intel_signs_of_its_platform_is_taken_down() {
        for (tee, tier, measured) in [
            (Tee::Tdx, Tier::ConfidentialVm, format!("mrtd={}", "e2".repeat(48))),
            (Tee::Sgx, Tier::Sgx, format!("mrenclave={}", "e1".repeat(32))),
        ] {
            let examined = examined(tee, &world(tee)).unwrap();
            assert_eq!((examined.tee(), examined.assurance(), examined.tier()), (tee.name(), "affirmed", tier));
            assert_eq!(examined.hardware_id(), Some("ab".repeat(16).as_str()));
            assert!(examined.measurements().contains(&measured), "{:?}", examined.measurements());
            assert!(examined.claims().contains("tcb_status=UpToDate"), "{:?}", examined.claims());
            assert!(!examined.claims().contains(&measured), "a measurement is not told twice");
        }
    }

    #[test]
    fn a4_report_data_of_another_exchange_are_refused_whole() {
        for tee in [Tee::Tdx, Tee::Sgx] {
            let mut late = world(tee);
            let field = late.body.len() - 64;
            late.body[field + 63] = 1;
            let mut other = world(tee);
            other.body[field] ^= 1;
            let mut cut = world(tee);
            cut.body[field + 47] = 0;
            for world in [late, other, cut] {
                assert_eq!(examined(tee, &world), Err(EvidenceRefusal::Binding));
            }
        }
    }

    #[test]
    fn what_is_debugged_is_refused() {
        let (mut domain, mut enclave) = (world(Tee::Tdx), world(Tee::Sgx));
        domain.body[TD_ATTRIBUTES] = 1;
        enclave.body[QE_ATTRIBUTES] |= 2;
        assert_eq!(code(examined(Tee::Tdx, &domain)), "debug-enabled");
        assert_eq!(code(examined(Tee::Sgx, &enclave)), "debug-enabled");
    }

    #[test]
    fn t5_documents_that_are_absent_expired_or_older_are_refused_by_their_names() {
        for tee in [Tee::Tdx, Tee::Sgx] {
            let made = world(tee).make();
            let name = tee.name();
            let refusal = |exchange: &Exchange<'_>| match exchange.examine(&evidence(&made)) {
                Err(EvidenceRefusal::Endorsement(words)) => words,
                other => panic!("{other:?}"),
            };
            for id in ["tcb/00806f050000", "qe"].map(|id| format!("{name}/{id}")) {
                let shelf = Shelf::of(&made);
                shelf.remove(&id);
                let words = refusal(&exchange(tee, &made, &shelf));
                assert!(words.starts_with(&format!("`{id}` is not kept here\nhint: ")), "{words}");
                assert!(words.contains(&format!("glovebox endorsements fetch {id}")), "{words}");
            }
            for id in ["sgx/crl/platform", "sgx/crl/root"] {
                let shelf = Shelf::of(&made);
                shelf.remove(id);
                assert!(refusal(&exchange(tee, &made, &shelf)).starts_with(&format!("`{id}` is not kept here")));
            }
            let shelf = Shelf::of(&made);
            let mut exchange = exchange(tee, &made, &shelf);
            exchange.now = at("2026-02-01T00:00:01Z");
            let words = refusal(&exchange);
            assert!(words.contains("is refused") && words.contains("it expired at 2026-02-01T00:00:00Z"), "{words}");
            exchange.now = made.now;
            // Of a later recovery something was seen since.
            let floor = json!({ format!("{name}/tcb/00806f050000"): 19 });
            std::fs::write(shelf.path().join("floors.json"), floor.to_string()).unwrap();
            assert!(refusal(&exchange).contains("it never goes back"), "{}", refusal(&exchange));
            exchange.reader = None;
            let words = refusal(&exchange);
            assert!(words.contains("--endorsements DIR") && words.contains("--directory DIR fetch"), "{words}");
        }
    }

    #[test]
    fn a7_a_quote_of_the_other_kind_and_other_roots_are_refused() {
        let made = world(Tee::Sgx).make();
        let shelf = Shelf::of(&made);
        let refused = exchange(Tee::Tdx, &made, &shelf).examine(&evidence(&made));
        assert!(matches!(refused, Err(EvidenceRefusal::Form(_))), "{refused:?}");
        let mut shipped = exchange(Tee::Sgx, &made, &shelf);
        shipped.makers = Makers::shipped();
        assert_eq!(code(shipped.examine(&evidence(&made))), "root-not-trusted");
        let spoilt = json!({ "quote": base64(&made.quote[..500]) });
        assert!(matches!(exchange(Tee::Sgx, &made, &shelf).examine(&spoilt), Err(EvidenceRefusal::Appraisal(_))));
    }

    #[test]
    fn t9_an_event_log_must_replay_to_the_reported_registers() {
        let (area, registers) =
            log(HashAlgorithm::Sha384, &[(1, b"firmware"), (2, b"kernel"), (3, b"agent"), (3, b"image")]);
        let mut world = world(Tee::Tdx);
        for (index, value) in registers.iter().enumerate() {
            let field = TD_RTMR + 48 * index;
            world.body[field..field + 48].copy_from_slice(value);
        }
        let made = world.make();
        let shelf = Shelf::of(&made);
        let with = |log: &[u8]| {
            let evidence = json!({ "quote": base64(&made.quote), "cc_eventlog": base64(log) });
            exchange(Tee::Tdx, &made, &shelf).examine(&evidence)
        };
        with(&area).unwrap();
        let mut other = area.clone();
        let end = other.len() - 8 - b"image".len() - 4 - 1;
        other[end] ^= 1;
        assert_eq!(code(with(&other)), "replay-mismatch");
        let (shorter, _) = log(HashAlgorithm::Sha384, &[(1, b"firmware"), (2, b"kernel"), (3, b"agent")]);
        assert_eq!(code(with(&shorter)), "replay-mismatch");
        let (weaker, _) = log(HashAlgorithm::Sha256, &[(1, b"firmware")]);
        assert_eq!(code(with(&weaker)), "replay-mismatch");
        assert!(matches!(with(b"no log"), Err(EvidenceRefusal::EventLog(_))));
        let null = json!({ "quote": base64(&made.quote), "cc_eventlog": null });
        exchange(Tee::Tdx, &made, &shelf).examine(&null).unwrap();
    }

    #[test]
    fn initial_data_become_a_claim_where_the_launch_bound_them() {
        let digest = HashAlgorithm::Sha384.hash(&[document().body.as_bytes()]);
        for (tee, field) in [(Tee::Tdx, TD_CONFIG), (Tee::Sgx, ENCLAVE_CONFIG)] {
            let mut world = world(tee);
            world.body[field..field + 48].copy_from_slice(&digest);
            let made = world.make();
            let shelf = Shelf::of(&made);
            let mut exchange = exchange(tee, &made, &shelf);
            exchange.init_data = Some(document());
            let examined = exchange.examine(&evidence(&made)).unwrap();
            let claim = format!("init_data=sha384:{}", hex::encode(&digest));
            assert!(examined.claims().contains(&claim), "{:?}", examined.claims());
            exchange.init_data = Some(wire::kbs::InitData { body: "other".to_owned(), ..document() });
            assert_eq!(exchange.examine(&evidence(&made)), Err(EvidenceRefusal::InitData));
            exchange.init_data = None;
            let examined = exchange.examine(&evidence(&made)).unwrap();
            assert!(!examined.claims().iter().any(|claim| claim.starts_with("init_data=")));
        }
    }

    #[test]
    fn recorded_quotes_hold_for_the_exchange_that_they_are_of_and_for_no_other() {
        let cases = [
            (Tee::Tdx, "tdx/dcap-qvl-tdx-quote-2", "2025-07-04T10:16:31Z", 632 - 64, None),
            (Tee::Sgx, "sgx/dcap-qvl-sgx-quote", "2025-07-04T10:28:44Z", 432 - 64, None),
            (
                Tee::Tdx,
                "tdx/go-tdx-guest-cos-113-tdx-quote",
                "2024-12-18T12:54:11Z",
                632 - 64,
                Some(["ccel/gcp-cos-113/event_log.bin", "ccel/gcp-cos-113-neg-drop/event_log.bin"]),
            ),
        ];
        for (tee, case, time, field, logs) in cases {
            let Some(quote) = corpus(&format!("{case}/quote.bin")) else { return };
            let fmspc = attest::intel::claimed_platform(&quote).unwrap();
            let info = format!("{}/tcb/{}", tee.name(), hex::encode(fmspc.fmspc));
            let processor = fmspc.authority == "Intel SGX PCK Processor CA";
            let shelf = Shelf::recorded(case, &info, processor, at(time)).unwrap();
            let mut exchange = Exchange { reader: Some(&shelf.reader), ..Exchange::new(tee, at(time)) };
            let evidence = json!({ "quote": base64(&quote) });
            assert_eq!(exchange.examine(&evidence), Err(EvidenceRefusal::Binding), "{case}");
            exchange.report_data = quote[field..field + 64].to_vec();
            exchange.examine(&evidence).unwrap();
            if let Some([log, dropped]) = logs.map(|logs| logs.map(corpus)) {
                let with =
                    |log: Option<Vec<u8>>| json!({ "quote": base64(&quote), "cc_eventlog": base64(&log.unwrap()) });
                exchange.examine(&with(log)).unwrap();
                assert_eq!(code(exchange.examine(&with(dropped))), "replay-mismatch");
            }
        }
    }
}
