//! Every way in which the broker refuses, and the one table from it to the codes of the wire.
//!
//! A refusal is told in full to the owners of what was asked for, and in short to everybody else: an Attester learns the
//! code and the code's own sentence, so that it cannot find out step by step what would pass.

use agreement::{in_force::NotInForce, keys::RotationError, permit::RunRefusal, shape::ShapeError};
use attest::{AppraisalError, reference::VouchError};
use envelope::statement::AddressError;
use wire::{Code, messages::Problem, signature::SignatureError};

use crate::{challenge::ChallengeError, clock::ClockError, release::ReleaseRefusal, store::StoreError};

/// Why a request had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not of the expected shape.
    #[error("{0}")]
    Malformed(String),
    /// More bytes than are read.
    #[error("the request has more than {0} bytes")]
    TooLarge(usize),
    /// A read that is not signed as it must be.
    #[error(transparent)]
    Unauthenticated(#[from] SignatureError),
    /// A statement whose signature does not verify, or that is no statement.
    #[error("the statement does not hold: {0}")]
    Statement(String),
    /// A worker that shows no certificate, or another one than its Evidence is bound to.
    #[error("the connection does not show the worker's own certificate")]
    Certificate,
    /// The signer may not do this.
    #[error("{0}")]
    NotPermitted(&'static str),
    /// Nothing of that name for this asker; whether it exists is not told.
    #[error("there is nothing of that name for this asker")]
    NotFound,
    /// Not for this broker, or not now.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The nonce or challenge was redeemed.
    #[error("this was used before\nhint: sign a new statement, or ask for a new challenge")]
    Replayed,
    /// The nonce's time is over.
    #[error("the time to redeem this is over\nhint: sign a new statement, or ask for a new challenge")]
    Late,
    /// Not a challenge that can be redeemed.
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
    /// It contradicts what is stored.
    #[error("{0}")]
    Conflict(&'static str),
    /// The agreement makes no sense.
    #[error("the agreement is not sound: {}", words(.0))]
    Shape(ShapeError),
    /// The rotation does not fit those before it.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// The agreement is not in force.
    #[error("{}", words(.0))]
    NotInForce(NotInForce),
    /// The agreement does not admit the run.
    #[error("{}", words(.0))]
    Run(RunRefusal),
    /// The Evidence was refused.
    #[error("the worker's Evidence was refused: {}", words(.0))]
    Evidence(AppraisalError),
    /// The Evidence is as it should be, and too few auditors vouch for it.
    #[error("{0}")]
    NotVouched(VouchError),
    /// The three things that a release needs do not fit one another.
    #[error("{}", words(.0))]
    Release(ReleaseRefusal),
    /// No such enrolment.
    #[error("the attestation key is not enrolled\nhint: enrol it again")]
    NotEnrolled,
    /// The lease is over, or was never given.
    #[error("the lease is not live")]
    LeaseEnded,
    /// The run is in another phase.
    #[error("the run is in another phase")]
    WrongPhase,
    /// Too many requests.
    #[error("too many requests\nhint: wait a second and try again")]
    RateLimited,
    /// The clock is not believed.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The store refuses.
    #[error("the broker cannot write or read its state")]
    Store(#[source] StoreError),
    /// The broker's TPM failed.
    #[error("the broker's TPM does not answer as it should")]
    Tpm(String),
    /// A fault of the broker.
    #[error("a fault of the broker")]
    Internal(&'static str),
}

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Someone who signs for what is asked for.
    Owner,
    /// Anyone else.
    Attester,
}

impl Refusal {
    /// The code that travels.
    pub fn code(&self) -> Code {
        match self {
            Refusal::Malformed(_) | Refusal::Shape(_) => Code::Malformed,
            Refusal::TooLarge(_) => Code::TooLarge,
            Refusal::Unauthenticated(_) | Refusal::Statement(_) | Refusal::Certificate => Code::Unauthenticated,
            Refusal::NotPermitted(_) | Refusal::Rotation(_) => Code::NotPermitted,
            Refusal::NotFound => Code::NotFound,
            Refusal::Address(AddressError::Audience(_)) => Code::OtherAudience,
            Refusal::Address(AddressError::Expired(_) | AddressError::TooLong(_)) | Refusal::Late => Code::Expired,
            Refusal::Replayed => Code::Replayed,
            Refusal::Challenge(ChallengeError::Unknown) => Code::UnknownChallenge,
            Refusal::Challenge(ChallengeError::Expired(_)) => Code::Expired,
            Refusal::Conflict(_) => Code::Conflict,
            Refusal::NotInForce(_) => Code::NotInForce,
            Refusal::Run(_) | Refusal::Release(ReleaseRefusal::Run(_)) => Code::RunNotAdmitted,
            Refusal::Evidence(AppraisalError::Restarted { .. } | AppraisalError::NotEnrolled { .. })
            | Refusal::NotEnrolled => Code::NotEnrolled,
            Refusal::Evidence(_) | Refusal::Release(_) => Code::EvidenceRefused,
            Refusal::NotVouched(_) => Code::NotVouched,
            Refusal::LeaseEnded => Code::LeaseEnded,
            Refusal::WrongPhase => Code::WrongPhase,
            Refusal::RateLimited => Code::RateLimited,
            Refusal::Clock(_) | Refusal::Store(_) => Code::Fenced,
            Refusal::Tpm(_) | Refusal::Internal(_) => Code::Internal,
        }
    }

    /// What is said of it.
    pub fn problem(&self, audience: Audience) -> Problem {
        let code = self.code();
        let text = match audience {
            Audience::Owner => self.to_string(),
            Audience::Attester => short(code).to_owned(),
        };
        let (message, hint) = match text.split_once("\nhint: ") {
            Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
            None => (text, None),
        };
        Problem { code: code.as_str().to_owned(), message, hint }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match error {
            StoreError::NonceUsed => Refusal::Replayed,
            StoreError::NonceExpired => Refusal::Late,
            other => Refusal::Store(other),
        }
    }
}

/// The sentence of a code, the same for whatever lies behind it.
fn short(code: Code) -> &'static str {
    match code {
        Code::Malformed => "the request is not of the expected shape",
        Code::TooLarge => "the request is too large",
        Code::Unauthenticated => "the request is not authenticated",
        Code::NotPermitted => "this is not permitted",
        Code::NotFound => "there is nothing of that name for this asker",
        Code::OtherAudience => "this is for another broker",
        Code::Expired => "this is too late, or valid for too long\nhint: ask for a new challenge, and check the clock",
        Code::Replayed => "this was used before\nhint: ask for a new challenge",
        Code::UnknownChallenge => "this broker has not given that challenge since it started\nhint: ask for a new one",
        Code::Conflict => "this contradicts what is stored",
        Code::NotInForce => "the agreement is not in force",
        Code::RunNotAdmitted => "the agreement does not admit the run",
        Code::EvidenceRefused => "the Evidence was refused; the owners are told why",
        Code::NotVouched => "too few auditors vouch for this worker; the owners are told which",
        Code::NotEnrolled => "the attestation key is not enrolled, or its TPM was reset since\nhint: enrol it again",
        Code::LeaseEnded => "the lease is not live",
        Code::WrongPhase => "the run is in another phase",
        Code::RateLimited => "too many requests\nhint: wait a second and try again",
        Code::Fenced => "the broker refuses every effect for now\nhint: its operator finds the reason in its log",
        Code::Internal => "a fault of the broker",
    }
}

/// An error with everything that lies beneath it in one sentence, and the first hint among them on a line of its own.
pub fn words(error: &dyn std::error::Error) -> String {
    let (mut sentence, mut hint) = (String::new(), None);
    let mut at = Some(error);
    while let Some(error) = at {
        let text = error.to_string();
        let (message, remedy) =
            text.split_once("\nhint: ").map_or((text.as_str(), None), |(m, h)| (m, Some(h.to_owned())));
        if !sentence.is_empty() {
            sentence.push_str(": ");
        }
        sentence.push_str(message);
        hint = hint.or(remedy);
        at = error.source();
    }
    if let Some(hint) = hint {
        sentence.push_str("\nhint: ");
        sentence.push_str(&hint);
    }
    sentence
}
