//! Each platform's files, brought to its examination.
//!
//! Endorsements come from a cache or are found among the files by what they are. Which of several signing chains belongs to a document is found by its subject; a wrong
//! one could only make the examination refuse.

use attest::{
    HashAlgorithm, PcrValue, arm,
    azure::{HclReport, HclReportKind, SnpEndorsements, examine_snp, examine_tdx},
    ccel::{CcEventLog, CcelError},
    detect::Kind,
    gcp,
    ima::MeasurementList,
    intel,
    keys::VerificationKey,
    keystone,
    nitro::{self, NitroEvidence, NitroTpmEvidence},
    nvidia::{self, DeviceEvidence, Endorsements, References, Statements},
    platform::Genuine,
    roots::Authority,
    snp::{self, SnpPolicy},
    tpm::{self, PublicKey, QuoteEvidence},
};
use jiff::Timestamp;

use super::{
    examine::{Refused, Shelf},
    gather::{Piece, Pieces},
    parts::{IntelParts, SnpParts},
};

/// SGX and TDX: a quote with Intel's documents.
pub(super) fn intel(piece: &Piece, pieces: &Pieces, shelf: &Shelf, now: Timestamp) -> Result<Genuine, Refused> {
    let anchors = Authority::IntelSgx.anchors();
    let parts = IntelParts::gather(Some(&piece.bytes), pieces, shelf, now)?;
    let (endorsements, rules) = (parts.with(pieces), &parts.rules);
    let outcome = match piece.kind {
        Kind::TdxQuote(_) => intel::tdx::examine(&piece.bytes, &endorsements, &anchors, rules, now),
        _ => intel::sgx::examine(&piece.bytes, &endorsements, &anchors, rules, now),
    };
    let genuine = outcome.map_err(|error| Refused::of(&error))?;
    match piece.kind {
        Kind::TdxQuote(_) => logged(genuine, ["rtmr0", "rtmr1", "rtmr2", "rtmr3"], pieces),
        _ => Ok(genuine),
    }
}

/// Holds the logs among the files against the registers that grow while a machine runs. A log that does not explain them is shown with the machine.
pub(super) fn logged(genuine: Genuine, registers: [&str; 4], pieces: &Pieces) -> Result<Genuine, Refused> {
    let refused = |code: &str, error: &dyn std::error::Error| {
        let mut refused = Refused::unfit(code, error);
        refused.shown = Some(Box::new(genuine.clone()));
        refused
    };
    let lists = pieces.of(Kind::ImaLog).map(|piece| MeasurementList::parse(&piece.bytes));
    let lists: Vec<_> = lists.collect::<Result<_, _>>().map_err(|error| refused(error.code(), &error))?;
    let told = |error: CcelError| refused(error.code(), &error);
    for piece in pieces.of(Kind::EventLog) {
        let mut log = CcEventLog::parse(&piece.bytes).map_err(told)?;
        lists.iter().for_each(|list| log.continue_with(list));
        log.check(&registers.map(|name| genuine.register(name).unwrap_or_default())).map_err(told)?;
    }
    Ok(genuine)
}

/// An Azure machine: the HCL report, with a TPM's quote beside it where there is one.
pub(super) fn azure(
    report: &[u8],
    pieces: &Pieces,
    shelf: &Shelf,
    policy: &SnpPolicy,
    now: Timestamp,
) -> Result<Genuine, Refused> {
    let pcrs = registers(pieces)?;
    let log = pieces.first(Kind::EventLog);
    let quote = quote(pieces, &pcrs, log);
    let hcl = HclReport::parse(report).map_err(|error| Refused::of(&error))?;
    let outcome = match hcl.kind {
        HclReportKind::Snp => {
            let parts = SnpParts::gather(hcl.hardware, pieces, shelf, now);
            let SnpParts { key, chain, list } = &parts;
            let endorsements = SnpEndorsements { key: key.as_deref(), chain: chain.as_deref(), list: list.as_deref() };
            let genuine = examine_snp(report, quote.as_ref(), &endorsements, &snp::anchors(), now)
                .map_err(|error| Refused::of(&error))?;
            let shown = genuine.genuine().clone();
            return genuine.admit(policy).map_err(|unfit| Refused::snp(&unfit, shown));
        }
        HclReportKind::Tdx => {
            let td_quote = pieces.0.iter().find(|piece| matches!(piece.kind, Kind::TdxQuote(_)));
            let td_quote = td_quote.map(|piece| piece.bytes.as_slice());
            let anchors = Authority::IntelSgx.anchors();
            let parts = IntelParts::gather(td_quote, pieces, shelf, now)?;
            examine_tdx(report, td_quote, quote.as_ref(), &parts.with(pieces), &anchors, &parts.rules, now)
        }
    };
    outcome.map_err(|error| Refused::of(&error))
}

/// A Nitro Enclave's document, which carries its certificates.
pub(super) fn nitro(document: &[u8], now: Timestamp) -> Result<Genuine, Refused> {
    let evidence = NitroEvidence { document: document.to_vec() };
    nitro::examine(&evidence, &Authority::AwsNitro.anchors(), now).map_err(|error| Refused::of(&error))
}

/// A NitroTPM's document.
pub(super) fn nitro_tpm(document: &[u8], now: Timestamp) -> Result<Genuine, Refused> {
    let evidence = NitroTpmEvidence { document: document.to_vec(), quote: None };
    nitro::examine_tpm(&evidence, &Authority::AwsNitro.anchors(), now).map_err(|error| Refused::of(&error))
}

/// A GPU or a switch, with its device's certificates. What it measured is for a policy to compare.
pub(super) fn nvidia(report: &[u8], pieces: &Pieces, now: Timestamp) -> Result<Genuine, Refused> {
    let certificates = pieces.first(Kind::Certificates).unwrap_or_default().to_vec();
    let evidence = DeviceEvidence { report: report.to_vec(), certificates };
    let lists = pieces.lists_of_authorities();
    let endorsements = Endorsements {
        anchors: Authority::NvidiaDevice.anchors(),
        revocation: Statements { lists: lists.iter().map(Vec::as_slice).collect(), responses: Vec::new() },
        references: References::Policy,
    };
    let gpu = nvidia::examine(nvidia::Kind::Gpu, &evidence, &endorsements, now);
    match gpu {
        Ok(genuine) => Ok(genuine),
        Err(error) => {
            nvidia::examine(nvidia::Kind::Switch, &evidence, &endorsements, now).map_err(|_| Refused::of(&error))
        }
    }
}

/// A CCA or PSA token under the keys that the person named, among the files or as such; `None` if one of the latter is no key.
pub(super) fn arm(
    piece: &Piece,
    pieces: &Pieces,
    named: &[Vec<u8>],
    now: Timestamp,
) -> Option<Result<Genuine, Refused>> {
    let named = named.iter().map(|key| VerificationKey::from_spki(key).ok());
    let mut keys: Vec<VerificationKey> = named.collect::<Option<_>>()?;
    keys.extend(pieces.of(Kind::PublicKey).filter_map(|key| VerificationKey::from_spki(&key.bytes).ok()));
    let token = piece.bytes.clone();
    Some(match piece.kind {
        Kind::CcaToken => {
            let evidence = arm::cca::CcaEvidence { token };
            arm::cca::examine(&evidence, &keys, now).map_err(|error| Refused::of(&error))
        }
        _ => {
            let evidence = arm::psa::PsaEvidence { token };
            arm::psa::examine(&evidence, &keys, now).map_err(|error| Refused::of(&error))
        }
    })
}

/// A Keystone report under the devices' keys that the person named; `None` if one is no key.
pub(super) fn keystone(report: &[u8], named: &[Vec<u8>], now: Timestamp) -> Option<Result<Genuine, Refused>> {
    let key = |bytes: &Vec<u8>| {
        let text = std::str::from_utf8(bytes).ok().and_then(|text| hex::decode(text.trim()).ok());
        <[u8; 32]>::try_from(text.as_ref().unwrap_or(bytes).as_slice()).ok()
    };
    let devices = named.iter().map(key).collect::<Option<Vec<_>>>()?;
    Some(keystone::examine(report, &devices, now).map_err(|error| Refused::of(&error)))
}

/// A TPM's quote under the first of the keys that the person named that made it; `None` if one is no key.
pub(super) fn tpm(pieces: &Pieces, named: &[Vec<u8>], now: Timestamp) -> Option<Result<Genuine, Refused>> {
    let keys = named.iter().map(|key| PublicKey::from_spki(key)).collect::<Option<Vec<_>>>()?;
    Some(registers(pieces).and_then(|pcrs| {
        let quote =
            quote(pieces, &pcrs, pieces.first(Kind::EventLog)).ok_or_else(|| missing("the quote's signature"))?;
        let mut outcome = Err(missing("the attestation key"));
        for key in &keys {
            outcome = tpm::examine(&quote, key, now).map_err(|error| Refused::of(&error));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }))
}

/// A TPM's quote whose key Google certified.
pub(super) fn google(pieces: &Pieces, now: Timestamp) -> Result<Genuine, Refused> {
    let pcrs = registers(pieces)?;
    let chain = pieces.first(Kind::Certificates).unwrap_or_default();
    let quote = quote(pieces, &pcrs, pieces.first(Kind::EventLog)).ok_or_else(|| missing("the quote's signature"))?;
    gcp::examine(&quote, None, chain, &Authority::GcpVtpm.anchors(), now).map_err(|error| Refused::of(&error))
}

/// The quote among the files: its signature is a file that is nothing else and has the size of one.
fn quote<'a>(pieces: &'a Pieces, pcrs: &'a [PcrValue], event_log: Option<&'a [u8]>) -> Option<QuoteEvidence<'a>> {
    let message = pieces.first(Kind::TpmQuote)?;
    let signature =
        pieces.0.iter().find(|piece| piece.kind == Kind::Unknown && (64..=520).contains(&piece.bytes.len()))?;
    Some(QuoteEvidence { message, signature: &signature.bytes, pcrs, event_log })
}

/// The registers' values: JSON by bank and number.
fn registers(pieces: &Pieces) -> Result<Vec<PcrValue>, Refused> {
    let Some(json) = pieces.first(Kind::PcrValues) else { return Ok(Vec::new()) };
    let wrong = || {
        Refused::because(
            "registers-malformed",
            "the values of the registers are not JSON by bank and number\nhint: write {\"sha256\": {\"0\": \"…\"}}",
        )
    };
    let banks: std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>> =
        serde_json::from_slice(json).map_err(|_| wrong())?;
    let mut values = Vec::new();
    for (name, registers) in banks {
        let known = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
        let bank = known.into_iter().find(|bank| bank.name() == name).ok_or_else(wrong)?;
        for (index, value) in registers {
            let index = index.parse().map_err(|_| wrong())?;
            values.push(PcrValue { bank, index, value: hex::decode(value).map_err(|_| wrong())? });
        }
    }
    Ok(values)
}

fn missing(what: &str) -> Refused {
    Refused::because(
        "part-missing",
        format!("{what} is missing\nhint: name all files that belong together, or their folder"),
    )
}
