//! Verification of a receipt, step by step. The numbers are those of `docs/spec/receipt.md`.
//!
//!  1. the file is a receipt of a known format, and its agreement makes sense by itself and is the one the verifier asked for
//!  2. every party that the verifier named is a party to it
//!  3. the broker that the agreement names signed the release; its time is that of everything below
//!  4. the log's checkpoint is signed by the log's key, and witnessed as the agreement asks; every party consented, or made an offer that matches; the owners signed the manifests; the run is permitted; all of it
//!     stands in the log, in the order of cause and effect
//!  5. the broker enrolled the worker's attestation key, and logged that before it released anything to it
//!  6. the worker's Evidence is appraised anew, bound to this agreement and this run
//!  7. the broker released no more columns than the agreement records, to this Evidence and no other, and logged that first
//!  8. the worker signed the result with the key that its Evidence binds, under the lease of that release
//!  9. the rules are those whose digest the worker signed
//! 10. the result file, where one is given, is the one that was signed
//! 11. as many auditors as the agreement asks for vouched for what the Evidence shows, in documents that the log had before the release
//!
//! What rests on more than the file is told with each step.

use agreement::{
    documents::{Identity, ResultStatement},
    shape::{ShapeError, SoundAgreement},
};
use attest::{
    AppraisalError, AttestationResult, Endorsements, Tier, Verifier,
    binding::Purpose,
    reference::{Vouched, Voucher},
    tpm::{EnrolledAk, Enrolment},
};
use envelope::{
    Digest, canonical,
    statement::{Addressed, Signed},
};
use serde::Serialize;
use tlog::{Included, Rollback};

use crate::{
    CheckedGrounds, GroundsError, Receipt, Released,
    grounds::{check_grounds, check_vouched, in_order, logged},
};

/// What the verifier trusts beforehand, and wants this receipt to be about. What is left empty is taken from the receipt, and the
/// words of the step say so.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    /// The agreement's digest, as a party knows it.
    pub agreement: Option<Digest>,
    /// Identities that must be parties to it.
    pub parties: Vec<Identity>,
}

impl Anchors {
    /// The receipt's local names of the parties that the verifier named.
    pub fn named<'a>(&self, receipt: &'a Receipt) -> Vec<&'a str> {
        let parties = receipt.grounds.agreement.parties.iter();
        let is_named = |key| self.parties.iter().any(|anchor| anchor.signing() == key);
        parties.filter(|(_, party)| is_named(party.identity.signing())).map(|(name, _)| name.as_str()).collect()
    }
}

/// One step that was passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its number in the specification.
    pub number: u8,
    /// A short name.
    pub name: &'static str,
    /// What was established, and on what it rests.
    pub words: String,
}

/// A receipt of which every step was passed. Private fields; [`verify`] is the constructor.
#[derive(Debug)]
pub struct VerifiedReceipt {
    steps: Vec<Step>,
    grounds: CheckedGrounds,
    vouched: Vouched,
    result: ResultStatement,
}

/// The step that failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("step {number}, {name}, failed")]
pub struct Failure {
    /// Its number in the specification.
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// The steps that were passed before.
    pub passed: Vec<Step>,
    /// Why.
    #[source]
    pub reason: Reason,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The agreement makes no sense by itself; nothing of it has been shown yet.
    #[error("the receipt's agreement is not sound")]
    Agreement(#[source] ShapeError),
    /// Not the agreement that was asked for.
    #[error("the receipt is of the agreement `{found}`, not of `{expected}`")]
    OtherAgreement {
        /// What the verifier asked for.
        expected: Digest,
        /// What the receipt has.
        found: Digest,
    },
    /// A named identity is no party.
    #[error("the party `{0}` is not a party to the receipt's agreement")]
    NotAParty(envelope::PublicKey),
    /// The first half does not hold.
    #[error("the grounds of the run do not hold")]
    Grounds(#[source] Box<GroundsError>),
    /// The Evidence is refused.
    #[error("the worker's Evidence is refused")]
    Appraisal(#[source] AppraisalError),
    /// Evidence of another purpose, agreement or run.
    #[error("the worker's Evidence was bound to another use")]
    Purpose,
    /// The release speaks of something else.
    #[error("the broker's release does not match: {0}")]
    Released(&'static str),
    /// More columns than agreed.
    #[error("keys of columns were released that the agreement does not record for this computation")]
    Columns,
    /// The result speaks of something else.
    #[error("the worker's statement of the result does not match: {0}")]
    Result(&'static str),
    /// The rules are not those that were signed.
    #[error("the rules are not those whose digest the worker signed")]
    Rules,
    /// The result file is not the one that was signed.
    #[error("the result file has the digest `{found}`; the worker signed `{expected}`")]
    Output {
        /// What was signed.
        expected: Digest,
        /// What the file has.
        found: Digest,
    },
    /// A document cannot be written in canonical form.
    #[error("a document of the receipt cannot be digested")]
    Canonical(#[source] canonical::CanonicalError),
}

/// Verifies a receipt from the file alone and from what the verifier trusts. `output` is the digest of a result file.
///
/// # Errors
/// The first step that fails, by name, with the steps passed before it.
pub fn verify(receipt: &Receipt, anchors: &Anchors, output: Option<&Digest>) -> Result<VerifiedReceipt, Box<Failure>> {
    let mut book = Book { steps: Vec::new() };
    let digest = book.step(1, "agreement", || {
        // Names of the agreement appear in words from here on, so they must be names.
        let sound = SoundAgreement::new(receipt.grounds.agreement.clone()).map_err(Reason::Agreement)?;
        let digest = *sound.digest();
        let words = match anchors.agreement {
            Some(expected) if expected != digest => return Err(Reason::OtherAgreement { expected, found: digest }),
            Some(_) => format!("the agreement is the one that was asked for, {digest}"),
            None => format!("the agreement is {digest}; compare it with the one you know, or give it with --agreement"),
        };
        Ok((digest, words))
    })?;
    book.step(2, "parties", || check_parties(receipt, anchors))?;
    let released_at = book.step(3, "release statement", || {
        let broker = &receipt.grounds.agreement.broker.key;
        let released = Signed::<Released>::verify(&receipt.released.statement, broker)
            .map_err(|error| grounds_error(GroundsError::Statement { what: "release", error }))?;
        let at = released.value().appraised;
        Ok((at, format!("the broker {broker} signed a release of keys, by its clock at {at}")))
    })?;
    let grounds = book.step(4, "grounds", || {
        let grounds = check_grounds(&receipt.grounds, released_at).map_err(grounds_error)?;
        let words = grounds_words(receipt, &grounds);
        Ok((grounds, words))
    })?;
    let (enrolment, enrolled, enrolment_leaf) = book.step(5, "enrolment", || check_enrolment(receipt, &grounds))?;
    let attestation = book.step(6, "evidence", || check_evidence(receipt, &digest, &grounds, enrolled, released_at))?;
    let (released, leaf) =
        book.step(7, "release", || check_released(receipt, &grounds, &attestation, (&enrolment, &enrolment_leaf)))?;
    let result = book.step(8, "result", || check_result(receipt, &grounds, &released, &leaf))?;
    book.step(9, "rules", || {
        if Digest::of(receipt.rules.as_bytes()) != result.rules {
            return Err(Reason::Rules);
        }
        Ok(((), "the rules in the receipt are those that the worker applied".to_owned()))
    })?;
    book.step(10, "output", || check_output(&result, output))?;
    let vouched = book.step(11, "auditors", || check_auditors(receipt, &grounds, attestation, &released, &leaf))?;
    Ok(VerifiedReceipt { steps: book.steps, grounds, vouched, result })
}

impl VerifiedReceipt {
    /// Every step, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The first half, checked.
    pub const fn grounds(&self) -> &CheckedGrounds {
        &self.grounds
    }

    /// The worker's Attestation Result, earned anew.
    pub const fn attestation(&self) -> &AttestationResult {
        self.vouched.result()
    }

    /// The auditors who vouch for it.
    pub fn vouchers(&self) -> &[Voucher] {
        self.vouched.vouchers()
    }

    /// What the worker said of the result.
    pub const fn result(&self) -> &ResultStatement {
        &self.result
    }

    /// What the receipt says about rollback of the log.
    pub fn rollback(&self) -> Rollback {
        self.grounds.checkpoint.rollback()
    }

    /// The weakest thing that the receipt stands on, in words, where it is weaker than hardware.
    pub fn caution(&self) -> Option<&'static str> {
        (self.attestation().tier() == Tier::SoftwareTpm).then_some(Tier::SoftwareTpm.words())
    }
}

struct Book {
    steps: Vec<Step>,
}

impl Book {
    fn step<T>(
        &mut self,
        number: u8,
        name: &'static str,
        check: impl FnOnce() -> Result<(T, String), Reason>,
    ) -> Result<T, Box<Failure>> {
        match check() {
            Ok((value, words)) => {
                self.steps.push(Step { number, name, words });
                Ok(value)
            }
            Err(reason) => Err(Box::new(Failure { number, name, passed: std::mem::take(&mut self.steps), reason })),
        }
    }
}

fn grounds_error(error: GroundsError) -> Reason {
    Reason::Grounds(Box::new(error))
}

fn check_parties(receipt: &Receipt, anchors: &Anchors) -> Result<((), String), Reason> {
    let parties = &receipt.grounds.agreement.parties;
    for anchor in &anchors.parties {
        if !parties.values().any(|party| party.identity.signing() == anchor.signing()) {
            return Err(Reason::NotAParty(*anchor.signing()));
        }
    }
    let named = anchors.named(receipt);
    let list = |of_named: bool| {
        let chosen = parties.iter().filter(|(name, _)| named.contains(&name.as_str()) == of_named);
        let words = chosen.map(|(name, party)| format!("{name} ({})", party.identity.signing()));
        words.collect::<Vec<_>>().join(", ")
    };
    let (known, others) = (list(true), list(false));
    let words = match (known.is_empty(), others.is_empty()) {
        (true, _) => format!("its parties, by the receipt alone: {others}; name those you know with --party"),
        (false, false) => format!("you named {known}; also parties, by the receipt alone: {others}"),
        (false, true) => format!("you named all of them: {known}"),
    };
    Ok(((), words))
}

fn grounds_words(receipt: &Receipt, grounds: &CheckedGrounds) -> String {
    let permitted = grounds.permitted();
    let rollback = match grounds.checkpoint.rollback() {
        Rollback::NotWitnessed => "rollback: not witnessed".to_owned(),
        Rollback::Witnessed(count) => format!("witnessed by {count}"),
    };
    format!(
        "{} consents and {} offers make the agreement `{}` in force; `{}` asked for `{}`, sealed to {}; all of it stands in the log \
         of {} entries, in order ({rollback}). That nothing was revoked before rests on the attested broker",
        grounds.consents.len(),
        receipt.grounds.offers.len(),
        receipt.grounds.agreement.name,
        permitted.requester(),
        permitted.name(),
        permitted.recipients().keys().cloned().collect::<Vec<_>>().join(", "),
        grounds.checkpoint.size(),
    )
}

type EnrolmentStep = (Signed<Enrolment>, EnrolledAk, Included);

fn check_enrolment(receipt: &Receipt, grounds: &CheckedGrounds) -> Result<(EnrolmentStep, String), Reason> {
    let broker = &receipt.grounds.agreement.broker.key;
    let (enrolment, leaf) = logged::<Enrolment>(&receipt.enrolment, Some(broker), &grounds.checkpoint, "enrolment")
        .map_err(grounds_error)?;
    let enrolled = EnrolledAk::vouched(&enrolment, broker).map_err(Reason::Appraisal)?;
    let words = format!(
        "the broker enrolled the worker's attestation key by credential activation; this leaves no proof, so this step rests on the \
         attested broker, {}",
        broker_words(grounds),
    );
    Ok(((enrolment, enrolled, leaf), words))
}

/// Who saw the broker's own machine.
fn broker_words(grounds: &CheckedGrounds) -> String {
    match (grounds.consents.len(), grounds.broker_aks().len()) {
        (0, _) => "whose own attestation key no consent names, since offers stand in for all".to_owned(),
        (consents, 1) => {
            format!("whose own attestation key {consents} consent(s) name as activated by the party itself")
        }
        (consents, keys) => {
            format!("of which {consents} consents name {keys} attestation keys, each activated by the party itself")
        }
    }
}

fn check_evidence(
    receipt: &Receipt,
    agreement: &Digest,
    grounds: &CheckedGrounds,
    enrolled: EnrolledAk,
    at: jiff::Timestamp,
) -> Result<(AttestationResult, String), Reason> {
    let expected = Purpose::WorkerRelease { agreement: *agreement, run: *grounds.run().digest() };
    if receipt.worker.binding.purpose != expected {
        return Err(Reason::Purpose);
    }
    let binding = receipt.worker.binding.bind();
    let policy = &receipt.grounds.agreement.workers;
    let endorsements = Endorsements::tpm(enrolled);
    let result =
        Verifier::appraise(&receipt.worker.evidence, &endorsements, &binding, policy, at).map_err(Reason::Appraisal)?;
    let words = format!(
        "the worker's Evidence passes {} steps of appraisal anew; tier `{}`: {}; it ran the {} with digest {}",
        result.steps().len(),
        result.tier(),
        result.tier().words(),
        result.role(),
        result.role_binary(),
    );
    Ok((result, words))
}

fn check_released(
    receipt: &Receipt,
    grounds: &CheckedGrounds,
    attestation: &AttestationResult,
    (enrolment, enrolment_leaf): (&Signed<Enrolment>, &Included),
) -> Result<((Signed<Released>, Included), String), Reason> {
    let broker = &receipt.grounds.agreement.broker.key;
    let (released, leaf) =
        logged::<Released>(&receipt.released, Some(broker), &grounds.checkpoint, "release").map_err(grounds_error)?;
    let stated = released.value();
    let evidence = canonical::digest(&receipt.worker.evidence).map_err(Reason::Canonical)?;
    if stated.run != *grounds.run().digest() || stated.agreement != *grounds.in_force().digest() {
        return Err(Reason::Released("it is of another run"));
    }
    if stated.binding != *attestation.binding() || stated.evidence != evidence {
        return Err(Reason::Released("it was made to other Evidence"));
    }
    if stated.enrolment != *enrolment.digest() {
        return Err(Reason::Released("it names another enrolment"));
    }
    for (manifest, columns) in &stated.columns {
        let input = grounds.permitted().inputs().values().find(|input| input.digest == *manifest);
        if !input.is_some_and(|input| columns.is_subset(&input.columns)) {
            return Err(Reason::Columns);
        }
    }
    in_order(&grounds.run_leaf, "the run", &leaf, "the release").map_err(grounds_error)?;
    // A rotation after the release changes neither who could ask nor whom the result was sealed to.
    for rotation in &grounds.rotation_leaves {
        in_order(rotation, "a rotation", &leaf, "the release").map_err(grounds_error)?;
    }
    in_order(enrolment_leaf, "the enrolment", &leaf, "the release").map_err(grounds_error)?;
    let columns: usize = stated.columns.values().map(std::collections::BTreeSet::len).sum();
    let words = format!(
        "the broker released the keys of {columns} columns and no others, to this Evidence, and logged it first"
    );
    Ok(((released, leaf), words))
}

fn check_result(
    receipt: &Receipt,
    grounds: &CheckedGrounds,
    released: &Signed<Released>,
    released_leaf: &Included,
) -> Result<(ResultStatement, String), Reason> {
    let signer = envelope::PublicKey::from_bytes(receipt.worker.binding.keys.signing)
        .map_err(|_| Reason::Result("the attested signing key is no key"))?;
    let (result, leaf) =
        logged::<Addressed<ResultStatement>>(&receipt.result, Some(&signer), &grounds.checkpoint, "result")
            .map_err(grounds_error)?;
    let stated = &result.value().body;
    if result.value().audience != receipt.grounds.agreement.broker.key {
        return Err(Reason::Result("it is addressed to another broker"));
    }
    if stated.run != *grounds.run().digest() {
        return Err(Reason::Result("it is of another run"));
    }
    if stated.lease != released.value().lease {
        return Err(Reason::Result("it was made under another lease"));
    }
    in_order(released_leaf, "the release", &leaf, "the result").map_err(grounds_error)?;
    let words = format!("the worker signed the result {} with the key that its Evidence binds", stated.output);
    Ok((stated.clone(), words))
}

/// Step 11. The documents that are shown are those on which the release stood, no more and no fewer.
fn check_auditors(
    receipt: &Receipt,
    grounds: &CheckedGrounds,
    attestation: AttestationResult,
    released: &Signed<Released>,
    released_leaf: &Included,
) -> Result<(Vouched, String), Reason> {
    let (vouched, leaves) = check_vouched(&receipt.grounds, grounds, attestation).map_err(grounds_error)?;
    let counted = vouched.documents();
    if counted.len() != leaves.len() {
        return Err(grounds_error(GroundsError::Stray("document of an auditor")));
    }
    if counted != released.value().reference_values {
        return Err(Reason::Released("it rests on other documents of auditors"));
    }
    for leaf in &leaves {
        in_order(leaf, "a document of an auditor", released_leaf, "the release").map_err(grounds_error)?;
    }
    let Some(rule) = receipt.grounds.agreement.workers.auditors() else {
        return Ok((vouched, "the agreement asks for no auditor's word on the worker".to_owned()));
    };
    let vouchers = vouched.vouchers().iter().map(|voucher| format!("{} until {}", voucher.auditor, voucher.until));
    let words = format!(
        "as the agreement asks, {} of {} auditors vouch for what the worker measured, in documents that were in the log before the release: \
         {}. That they withdrew none before rests on the attested broker",
        rule.required,
        rule.keys.len(),
        vouchers.collect::<Vec<_>>().join(", "),
    );
    Ok((vouched, words))
}

fn check_output(result: &ResultStatement, output: Option<&Digest>) -> Result<((), String), Reason> {
    match output {
        Some(found) if *found != result.output => Err(Reason::Output { expected: result.output, found: *found }),
        Some(_) => Ok(((), "the result file is the one that the worker signed".to_owned())),
        None => Ok(((), format!("no result file was given; the one that was signed has the digest {}", result.output))),
    }
}
