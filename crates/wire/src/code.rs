//! The closed set of refusals, and the one table that maps them to HTTP status.

use std::fmt;

/// Why the broker refuses. Its text is what [`crate::messages::Problem::code`] carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is not of the expected shape.
    Malformed,
    /// Larger than the broker reads.
    TooLarge,
    /// The signature does not verify, is too old, or is not there.
    Unauthenticated,
    /// The signer may not do this.
    NotPermitted,
    /// Nothing of that name, for this asker.
    NotFound,
    /// Addressed to another broker.
    OtherAudience,
    /// Too late, or valid for too long.
    Expired,
    /// The nonce or challenge was used before.
    Replayed,
    /// The challenge is not one that this broker gave since its start.
    UnknownChallenge,
    /// The statement contradicts what is stored.
    Conflict,
    /// The agreement is not in force.
    NotInForce,
    /// The run is not one that the agreement admits.
    RunNotAdmitted,
    /// The Evidence was refused.
    EvidenceRefused,
    /// The Evidence passed, and too few of the auditors vouch for it whom the agreement asks for.
    NotVouched,
    /// The attestation key is not enrolled, or its TPM was reset since.
    NotEnrolled,
    /// The lease is not live.
    LeaseEnded,
    /// The run is in another phase.
    WrongPhase,
    /// Too many requests.
    RateLimited,
    /// The broker refuses every effect for now: its clock, its store or its log.
    Fenced,
    /// A fault of the broker.
    Internal,
}

/// Every code with its text and HTTP status (RFC 9110, section 15).
pub const TABLE: &[(Code, &str, u16)] = &[
    (Code::Malformed, "malformed", 400),
    (Code::TooLarge, "too-large", 413),
    (Code::Unauthenticated, "unauthenticated", 401),
    (Code::NotPermitted, "not-permitted", 403),
    (Code::NotFound, "not-found", 404),
    (Code::OtherAudience, "other-audience", 403),
    (Code::Expired, "expired", 403),
    (Code::Replayed, "replayed", 409),
    (Code::UnknownChallenge, "unknown-challenge", 403),
    (Code::Conflict, "conflict", 409),
    (Code::NotInForce, "not-in-force", 403),
    (Code::RunNotAdmitted, "run-not-admitted", 403),
    (Code::EvidenceRefused, "evidence-refused", 403),
    (Code::NotVouched, "not-vouched", 403),
    (Code::NotEnrolled, "not-enrolled", 403),
    (Code::LeaseEnded, "lease-ended", 403),
    (Code::WrongPhase, "wrong-phase", 409),
    (Code::RateLimited, "rate-limited", 429),
    (Code::Fenced, "fenced", 503),
    (Code::Internal, "internal", 500),
];

impl Code {
    /// The text that travels.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status it travels with.
    pub fn status(self) -> u16 {
        self.row().2
    }

    /// The code of a text, if it is one.
    pub fn parse(text: &str) -> Option<Code> {
        TABLE.iter().find(|row| row.1 == text).map(|row| row.0)
    }

    fn row(self) -> &'static (Code, &'static str, u16) {
        const FAULT: &(Code, &str, u16) = &(Code::Internal, "internal", 500);
        TABLE.iter().find(|row| row.0 == self).unwrap_or(FAULT)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table_once() {
        for (code, text, status) in TABLE {
            assert_eq!(Code::parse(text), Some(*code));
            assert_eq!((code.as_str(), code.status()), (*text, *status));
        }
    }
}
