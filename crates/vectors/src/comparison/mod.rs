//! Other verifiers, asked the same question.

mod amd;
mod intel;

pub use amd::Sev;
pub use intel::DcapQvl;
