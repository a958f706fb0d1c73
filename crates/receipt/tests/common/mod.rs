//! What every table of refusals needs: the failure of a receipt, with its boxes opened so that it can be matched.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use agreement::{in_force::NotInForce, offers::Clause, permit::RunRefusal};
use attest::AppraisalError;
use envelope::{Digest, statement::StatementError};
use receipt::{Anchors, Failure, GroundsError, Reason, Receipt, verify};
use tlog::TlogError;

/// A reason with what lies inside it.
#[derive(Debug)]
pub enum Found<'a> {
    Checkpoint(&'a TlogError),
    Statement(&'static str, &'a StatementError),
    NotLogged(&'static str, &'a TlogError),
    Order(&'static str, &'static str),
    /// Consents are missing, of these parties, and no offer of theirs is there.
    Missing(&'a str),
    /// One consent is missing, and the one offer fails in this clause.
    Clause(&'a str, Clause),
    NotInForce(&'a NotInForce),
    Run(&'a RunRefusal),
    Grounds(&'a GroundsError),
    Appraisal(&'a AppraisalError),
    Other(&'a Reason),
}

pub fn failure(receipt: &Receipt, anchors: &Anchors, output: Option<&Digest>) -> Box<Failure> {
    let failure = verify(receipt, anchors, output).unwrap_err();
    assert_eq!(failure.passed.len(), usize::from(failure.number) - 1, "{failure:?}");
    failure
}

pub fn found(failure: &Failure) -> Found<'_> {
    match &failure.reason {
        Reason::Appraisal(error) => Found::Appraisal(error),
        Reason::Grounds(error) => match &**error {
            GroundsError::Checkpoint(error) => Found::Checkpoint(error),
            GroundsError::Statement { what, error } => Found::Statement(what, error),
            GroundsError::NotLogged { what, error } => Found::NotLogged(what, error),
            GroundsError::Order { earlier, later } => Found::Order(earlier, later),
            GroundsError::NotInForce(NotInForce::ConsentMissing(missing)) => match missing.as_slice() {
                [one] => match one.offers.as_slice() {
                    [] => Found::Missing(&one.party),
                    [(_, mismatch)] => Found::Clause(&one.party, mismatch.clause),
                    _ => Found::Grounds(error),
                },
                _ => Found::Grounds(error),
            },
            GroundsError::NotInForce(error) => Found::NotInForce(error),
            GroundsError::Run(error) => Found::Run(error),
            other => Found::Grounds(other),
        },
        other => Found::Other(other),
    }
}
