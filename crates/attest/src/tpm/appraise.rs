//! The appraisal of a TPM's quote, step by step as in `docs/spec/appraisal.md`.
//!
//! The signature is checked over the raw bytes before they are parsed, and everything after it reads only what was signed, or
//! what hashes to it: registers hash to the quote, the event log replays to registers, and an event's data hashes to its digest.

use std::collections::{BTreeMap, BTreeSet};

use envelope::Digest;
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::endorsement::appraise_endorsement;
use super::quote::ValueFault;
use crate::{
    AppraisalError, AppraisalPolicy, AttestationResult, Clock, HashAlgorithm, Measurement, PcrValue, Step, TpmEvidence,
    TpmPolicy,
    binding::Binding,
    event_log::{EventLog, LogFormat},
    events::{Event, ROLE_PCR, RUN_PCR, RoleName, run_commitment},
    tpm::{AkPublic, EnrolledAk, PublicKey, Quote, QuoteError, Signature, TpmPublic, Vouching},
};

/// See [`crate::Verifier::appraise`].
pub(crate) fn appraise(
    evidence: &TpmEvidence,
    enrolled: &EnrolledAk,
    binding: &Binding,
    policy: &AppraisalPolicy,
    now: Timestamp,
) -> Result<AttestationResult, AppraisalError> {
    let mut steps = Steps::default();
    // Steps 1 to 3.
    let ak = presented_key(evidence)?;
    steps.pass(1, "the attestation key and its signature are well formed TPM 2.0 structures");
    steps.pass(2, "the attestation key is restricted, was made in its TPM, and cannot leave it");
    let name = ak.public().name();
    if name != enrolled.ak().public().name() {
        return Err(AppraisalError::NotEnrolled { enrolled: enrolled.ak().public().name(), actual: name });
    }
    steps.pass(3, &match enrolled.vouching() {
        Vouching::Activated => "the attestation key is the one that the Verifier itself activated".to_owned(),
        Vouching::Broker(broker) => {
            format!("the attestation key is the one enrolled; that it lives in that TPM rests on the attested broker `{broker}`")
        }
    });
    // Steps 4 and 5.
    let certificates = &enrolled.enrolment().keys.ek_certificates;
    let tier = appraise_endorsement(enrolled.ek(), certificates, policy, now)?;
    steps.pass(4, "the endorsement key is certified by a root that the policy pins, and admitted by the policy");
    if tier < policy.tpm_floor() {
        return Err(AppraisalError::Tier { floor: policy.tpm_floor(), actual: tier });
    }
    if policy.hardware().is_empty() {
        steps.pass(5, &format!("the tier is `{tier}`: {}", tier.words()));
    } else {
        steps.pass(5, &format!("by itself the TPM's tier is `{tier}`; which hardware it runs in is for step 16"));
    }
    // Steps 6 to 8.
    let quote = signed_quote(evidence, &ak, binding)?;
    steps.pass(6, "the signature verifies under the attestation key");
    steps.pass(7, "the signed bytes are a quote that a TPM made");
    steps.pass(8, "the quote is bound to this purpose, these keys, this channel and this challenge");
    check_counters(&quote, enrolled, policy.tpm())?;
    steps.pass(9, "the TPM was neither reset nor restarted since the key was enrolled");
    check_selection(&quote, policy)?;
    steps.pass(10, "the quote covers every register that the policy needs");
    let registers = quoted_registers(&quote, &evidence.pcrs, ak.scheme().hash())?;
    steps.pass(11, "the registers' values hash to the quoted digest");
    // Steps 12 to 15.
    let bank = policy.tpm().bank.algorithm();
    let log = replayed_log(&evidence.event_log, bank, &registers, policy)?;
    steps.pass(12, "the event log replays to the registers");
    log.check_data(bank).map_err(AppraisalError::EventData)?;
    steps.pass(13, "events whose digest is that of their data hash to it");
    check_reference_values(&registers, bank, policy.tpm())?;
    steps.pass(14, "the registers with Reference Values have one of them");
    let history = History::read(&log, bank)?;
    let binary = history.check_role(policy.tpm())?;
    let salt = evidence.run_salt.as_ref().map(|salt| &salt.0);
    history.check_run(binding, salt)?;
    steps.pass(
        15,
        &format!(
            "the role `{}` with the listed binary `{binary}` was started{}",
            policy.tpm().role,
            match salt {
                Some(_) => ", and this run was measured exactly once after it was ready",
                None => "",
            }
        ),
    );
    Ok(AttestationResult {
        tier,
        role: policy.tpm().role.to_string(),
        role_binary: binary,
        ak_name: name,
        endorsement_key: enrolled.ek().digest(),
        reset_count: quote.reset_count,
        restart_count: quote.restart_count,
        firmware: format!("{:016x}", quote.firmware_version),
        measurements: measurements(&registers),
        event_log: Digest::of(&evidence.event_log),
        runs_since_start: u32::try_from(history.runs.len()).unwrap_or(u32::MAX),
        binding: Digest::from_bytes(*binding.sha256()),
        policy: *policy.digest(),
        appraised_at: now,
        hardware: None,
        steps: steps.0,
    })
}

/// Checks what `tpm2_checkquote` checks: that a key signed a quote over this qualifying data and these registers
/// (steps 6, 7, 8 and 11). For Evidence use [`crate::Verifier::appraise`], of which this is a part.
///
/// `quote` is a TPMS_ATTEST, `signature` a TPMT_SIGNATURE over it.
///
/// # Errors
/// The step that failed.
pub fn check_quote(
    key: &PublicKey,
    quote: &[u8],
    signature: &[u8],
    qualifying_data: &[u8],
    pcrs: &[PcrValue],
) -> Result<Quote, AppraisalError> {
    let signature = Signature::parse(signature)?;
    let quote = quote_by(key, quote, &signature, qualifying_data)?;
    quoted_registers(&quote, pcrs, signature.scheme().hash())?;
    Ok(quote)
}

/// Steps 6 to 8: a quote by this key, for this binding.
pub(super) fn signed_quote(evidence: &TpmEvidence, ak: &AkPublic, binding: &Binding) -> Result<Quote, AppraisalError> {
    let signature = Signature::parse(&evidence.signature)?;
    if signature.scheme() != ak.scheme() {
        return Err(AppraisalError::SignatureScheme);
    }
    quote_by(ak.public().key(), &evidence.quote, &signature, binding.sha256())
}

fn quote_by(
    key: &PublicKey,
    quote: &[u8],
    signature: &Signature,
    qualifying_data: &[u8],
) -> Result<Quote, AppraisalError> {
    if !signature.verifies(key, quote) {
        return Err(AppraisalError::Signature);
    }
    let quote = Quote::parse(quote).map_err(|error| match error {
        QuoteError::NotGenerated(magic) => AppraisalError::NotGenerated(magic),
        QuoteError::NotQuote(kind) => AppraisalError::NotQuote(kind),
        QuoteError::Format(format) => AppraisalError::Malformed(format),
    })?;
    if !bool::from(quote.extra_data.as_slice().ct_eq(qualifying_data)) {
        return Err(AppraisalError::Binding);
    }
    Ok(quote)
}

/// Steps 1 and 2.
fn presented_key(evidence: &TpmEvidence) -> Result<AkPublic, AppraisalError> {
    let public = TpmPublic::parse(&evidence.ak_public)?;
    Signature::parse(&evidence.signature)?;
    AkPublic::new(public).map_err(AppraisalError::AttestationKey)
}

/// Step 9.
fn check_counters(quote: &Quote, enrolled: &EnrolledAk, policy: &TpmPolicy) -> Result<(), AppraisalError> {
    let enrolment = enrolled.enrolment();
    let then = (enrolment.reset_count, enrolment.restart_count);
    let actual = (quote.reset_count, quote.restart_count);
    if then != actual {
        return Err(AppraisalError::Restarted { enrolled: then, actual });
    }
    match policy.clock {
        Clock::Safe if !quote.clock_is_safe => Err(AppraisalError::ClockNotSafe),
        Clock::Safe | Clock::Unsafe => Ok(()),
    }
}

/// Step 10.
fn check_selection(quote: &Quote, policy: &AppraisalPolicy) -> Result<(), AppraisalError> {
    let mut banks = quote.selections.iter().filter(|selection| !selection.pcrs.is_empty()).peekable();
    if banks.peek().is_some() && banks.all(|selection| selection.bank == HashAlgorithm::Sha1) {
        return Err(AppraisalError::Sha1Only);
    }
    let bank = policy.tpm().bank.algorithm();
    if quote.selections.iter().all(|selection| selection.bank != bank) {
        return Err(AppraisalError::BankNotQuoted(bank));
    }
    match policy.required_pcrs().into_iter().find(|pcr| !quote.covers(bank, *pcr)) {
        Some(pcr) => Err(AppraisalError::PcrNotQuoted(pcr)),
        None => Ok(()),
    }
}

type Registers<'a> = BTreeMap<(HashAlgorithm, u8), &'a [u8]>;

/// Step 11: every selected value, which together hash to the quoted digest in the order of the selection.
fn quoted_registers<'a>(
    quote: &Quote,
    values: &'a [PcrValue],
    hash: HashAlgorithm,
) -> Result<Registers<'a>, AppraisalError> {
    let selected = quote.select(values).map_err(|fault| match fault {
        ValueFault::Missing(bank, pcr) => AppraisalError::PcrValueMissing { bank, pcr },
        ValueFault::Unexpected(bank, pcr) => AppraisalError::PcrValueUnexpected { bank, pcr },
    })?;
    let parts: Vec<&[u8]> = selected.iter().map(|value| value.value.as_slice()).collect();
    if hash.hash(&parts) != quote.pcr_digest {
        return Err(AppraisalError::PcrDigest);
    }
    Ok(selected.into_iter().map(|value| ((value.bank, value.index), value.value.as_slice())).collect())
}

/// Step 12: a log that gives the quoted value of every required register, and of every quoted one that it speaks of.
fn replayed_log(
    bytes: &[u8],
    bank: HashAlgorithm,
    registers: &Registers<'_>,
    policy: &AppraisalPolicy,
) -> Result<EventLog, AppraisalError> {
    let log = EventLog::parse(bytes)?;
    if log.format() == LogFormat::LegacySha1 {
        return Err(AppraisalError::LegacyLog);
    }
    let replayed = log.replay(bank).map_err(AppraisalError::Replay)?;
    let untouched = vec![0; bank.size()];
    let required = policy.required_pcrs();
    for ((_, pcr), value) in registers.iter().filter(|((quoted, _), _)| *quoted == bank) {
        let expected = replayed.get(pcr).or_else(|| required.contains(pcr).then_some(&untouched));
        if expected.is_some_and(|expected| expected != value) {
            return Err(AppraisalError::ReplayMismatch(*pcr));
        }
    }
    Ok(log)
}

/// Step 14.
fn check_reference_values(
    registers: &Registers<'_>,
    bank: HashAlgorithm,
    policy: &TpmPolicy,
) -> Result<(), AppraisalError> {
    for reference in &policy.reference_values {
        let value = registers.get(&(bank, reference.pcr)).ok_or(AppraisalError::PcrNotQuoted(reference.pcr))?;
        let value = hex::encode(value);
        if !reference.values.contains(&value) {
            return Err(AppraisalError::ReferenceValue { pcr: reference.pcr, value });
        }
    }
    Ok(())
}

/// Step 15: our events, in the only order in which they may stand.
#[derive(Debug, Default)]
struct History {
    role: Option<(RoleName, Digest)>,
    closed: BTreeSet<u8>,
    runs: BTreeSet<Digest>,
}

impl History {
    fn read(log: &EventLog, bank: HashAlgorithm) -> Result<History, AppraisalError> {
        let mut history = History::default();
        for (index, entry) in log.entries().iter().enumerate() {
            let Some(pcr) = [ROLE_PCR, RUN_PCR].into_iter().find(|pcr| u32::from(*pcr) == entry.pcr) else { continue };
            let event = Event::decode(entry.kind, &entry.data)
                .filter(|event| event.pcrs().contains(&pcr))
                .ok_or(AppraisalError::ForeignEvent { index, pcr })?;
            if !entry.is_measured(bank) {
                return Err(AppraisalError::EventNotMeasured { index, pcr });
            }
            if !history.admits(event, pcr) {
                return Err(AppraisalError::EventOrder { index, pcr });
            }
        }
        match [ROLE_PCR, RUN_PCR].into_iter().find(|pcr| !history.closed.contains(pcr)) {
            Some(pcr) => Err(AppraisalError::NotReady(pcr)),
            None => Ok(history),
        }
    }

    /// Takes the next event; false if it may not stand here.
    fn admits(&mut self, event: Event, pcr: u8) -> bool {
        match event {
            Event::Role { role, binary } => {
                let first = self.role.is_none() && !self.closed.contains(&pcr);
                self.role = Some((role, binary));
                first
            }
            Event::SystemReady => self.closed.insert(pcr),
            Event::Run { commitment } => self.closed.contains(&pcr) && self.runs.insert(commitment),
        }
    }

    fn check_role(&self, policy: &TpmPolicy) -> Result<Digest, AppraisalError> {
        let (role, binary) = self.role.as_ref().ok_or(AppraisalError::RoleMissing)?;
        if *role != policy.role {
            return Err(AppraisalError::Role { expected: policy.role.clone(), actual: role.clone() });
        }
        if !policy.binaries.contains(binary) {
            return Err(AppraisalError::RoleBinary(*binary));
        }
        Ok(*binary)
    }

    fn check_run(&self, binding: &Binding, salt: Option<&[u8; 32]>) -> Result<(), AppraisalError> {
        match (binding.purpose().run(), salt) {
            (None, None) => Ok(()),
            (Some(run), Some(salt)) if self.runs.contains(&run_commitment(salt, run)) => Ok(()),
            (Some(_), Some(_)) => Err(AppraisalError::RunNotMeasured),
            (Some(_), None) | (None, Some(_)) => Err(AppraisalError::RunSalt),
        }
    }
}

fn measurements(registers: &Registers<'_>) -> Vec<Measurement> {
    let measurement = |((bank, pcr), value): (&(HashAlgorithm, u8), &&[u8])| Measurement {
        bank: *bank,
        pcr: *pcr,
        value: hex::encode(value),
    };
    registers.iter().map(measurement).collect()
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn pass(&mut self, number: u8, words: &str) {
        self.0.push(Step { number, words: words.to_owned() });
    }
}
