//! Attestation Results as EAR: EAT claims and the AR4SI trustworthiness vector in JWT and CWT.

pub mod issue;
