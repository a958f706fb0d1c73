//! What came of a case, and how it compares with what was expected.

use attest::platform::{Assurance, Claim, Genuine, Refusal, Register};
use serde_json::Value;

use crate::{Agreement, Case, Reasons};

/// What the Verifier said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Genuine, and how far.
    Accepted(Assurance),
    /// Not even well formed.
    Malformed {
        /// The typed reason.
        code: String,
        /// The message.
        words: String,
    },
    /// Refused.
    Refused {
        /// The typed reason.
        code: String,
        /// The message.
        words: String,
    },
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Accepted(assurance) => write!(f, "{assurance:?}"),
            Outcome::Malformed { code, words } => write!(f, "malformed, {code}: {words}"),
            Outcome::Refused { code, words } => write!(f, "{code}: {words}"),
        }
    }
}

/// The outcome, with what the Evidence was found to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The outcome.
    pub outcome: Outcome,
    /// The claims; those whose name the manifest knows must have its value.
    pub claims: Vec<Claim>,
    /// The Evidence of a platform that was found genuine.
    evidence: Option<Genuine>,
    /// What is known beyond claims and registers, and can be expected of it.
    values: Vec<Register>,
    /// What of the case's policy its kind has held the Evidence against, by member or by name.
    settled: Vec<String>,
}

impl Report {
    /// A refusal, with its messages from the outermost to the source.
    pub fn refused(refusal: &dyn Refusal) -> Report {
        let mut words = refusal.to_string();
        let mut source = refusal.source();
        while let Some(error) = source {
            words.push_str(": ");
            words.push_str(&error.to_string());
            source = error.source();
        }
        Report::coded(refusal.code(), words, refusal.is_malformed())
    }

    /// A refusal of something else than an examination.
    pub fn coded(code: &str, words: String, malformed: bool) -> Report {
        let code = code.to_owned();
        let outcome = if malformed { Outcome::Malformed { code, words } } else { Outcome::Refused { code, words } };
        Report { outcome, claims: Vec::new(), evidence: None, values: Vec::new(), settled: Vec::new() }
    }

    /// Genuine Evidence.
    pub fn genuine(genuine: &Genuine) -> Report {
        let accepted = Report::accepted(genuine.assurance(), genuine.claims().to_vec());
        Report { evidence: Some(genuine.clone()), ..accepted }
    }

    /// Acceptance of what is no platform's Evidence.
    pub fn accepted(assurance: Assurance, claims: Vec<Claim>) -> Report {
        let outcome = Outcome::Accepted(assurance);
        Report { outcome, claims, evidence: None, values: Vec::new(), settled: Vec::new() }
    }

    /// The same, with values that a case may expect beside its claims.
    #[must_use]
    pub fn with_values(mut self, values: impl IntoIterator<Item = Register>) -> Report {
        self.values.extend(values);
        self
    }

    /// The same, where this member of the case's policy, or all that it asks for by this name, has been held.
    #[must_use]
    pub fn settling(mut self, settled: &str) -> Report {
        self.settled.push(settled.to_owned());
        self
    }

    /// The Evidence, if it is a platform's and genuine.
    pub const fn evidence(&self) -> Option<&Genuine> {
        self.evidence.as_ref()
    }

    pub(crate) fn values(&self) -> &[Register] {
        &self.values
    }

    pub(crate) fn has_settled(&self, asked: &str) -> bool {
        self.settled.iter().any(|settled| settled == asked)
    }
}

/// Compares an outcome with the expected one.
pub(crate) fn compare(case: &Case, report: &Report, reasons: &Reasons, strict: bool) -> Agreement {
    let expected = case.expects("result").unwrap_or_default();
    let reason = case.expects("reason");
    let accepted = |expected: &str, assurance: Assurance| match assurance {
        Assurance::Affirmed => expected == "accept",
        Assurance::Conditional(_) => expected == "accept-conditional",
        Assurance::OutOfDate(_) => expected == "reject-by-default",
        Assurance::SignatureOnly => expected == "accept-signature-only",
        Assurance::ParsedOnly => expected == "accept-parse-only",
        // Offline the two are indistinguishable; a case that brings no statement on revocation may say either.
        Assurance::RevocationUnknown => matches!(expected, "accept" | "accept-offline-revocation-unknown"),
    };
    match &report.outcome {
        Outcome::Accepted(assurance) if accepted(expected, *assurance) => claims_agree(case, &report.claims),
        Outcome::Accepted(assurance) => {
            Agreement::Disagrees(format!("expected {expected} ({}), got {assurance:?}", reason.unwrap_or("-")))
        }
        Outcome::Malformed { code, .. } | Outcome::Refused { code, .. }
            if expected == "reject" || expected == "parse-error" =>
        {
            let parse = matches!(report.outcome, Outcome::Malformed { .. });
            if expected == "parse-error" && !parse {
                return Agreement::Disagrees(format!("expected a refusal by the parser, got {code}"));
            }
            let Some(reason) = reason else { return Agreement::Agrees };
            match reasons.codes(&case.kind, reason) {
                Some(codes) if codes.contains(code) => Agreement::Agrees,
                Some(codes) => Agreement::Disagrees(format!("`{reason}` asks for {codes:?}, got {}", report.outcome)),
                None if strict => {
                    Agreement::Disagrees(format!("the reason `{reason}` is in no table; got {}", report.outcome))
                }
                None => Agreement::ByVerdict { reason: reason.to_owned(), code: code.clone() },
            }
        }
        refused => Agreement::Disagrees(format!("expected {expected}, got {}", refused)),
    }
}

/// Every claim that both know has the same value. Other spellings of the same name are the manifest's own affair.
fn claims_agree(case: &Case, claims: &[Claim]) -> Agreement {
    for claim in claims {
        let known = match case.claims.get(&claim.name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(flag)) => flag.to_string(),
            _ => continue,
        };
        if known != claim.value {
            return Agreement::Disagrees(format!("the claim {} is `{}`, expected `{known}`", claim.name, claim.value));
        }
    }
    Agreement::Agrees
}
