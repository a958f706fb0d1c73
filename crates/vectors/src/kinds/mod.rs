//! One module per kind of case.

use attest::platform::Refusal;

use crate::{Case, Report, expectations};

mod azure_snp_vtpm;
mod azure_tdx_vtpm;
mod cca;
mod ccel;
mod corim;
mod ear;
mod eat;
mod gcp_vtpm;
mod hygon_csv;
mod ibm_se;
mod ima;
pub mod intel;
mod keys;
mod keystone;
pub(crate) mod nitro;
mod nitrotpm;
mod nvidia_gpu;
mod nvidia_rim;
mod nvidia_switch;
mod psa;
pub(crate) mod quotes;
mod risc0;
mod sgx;
pub mod snp;
mod tcg_eventlog;
mod tdx;
mod tpm_quote;

/// Hands a case to the Verifier, and what is genuine to what the case expects of it.
///
/// # Errors
/// In words, when the case itself is unusable: a kind or an expectation that is not known, a file that is missing.
pub fn run(case: &Case) -> Result<Report, String> {
    if let Some(fault) = case.fault() {
        return Err(fault.to_owned());
    }
    match examine(case) {
        Ok(report) => expectations::hold(case, report),
        Err(Stop::Refused(report)) => Ok(*report),
        Err(Stop::Unusable(words)) => Err(words),
    }
}

/// Why a case comes to no examination.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The case itself is unusable, in words.
    Unusable(String),
    /// The Verifier refuses what goes along with the Evidence, such as a key that is none.
    Refused(Box<Report>),
}

impl Stop {
    pub(crate) fn refused(refusal: &dyn Refusal) -> Stop {
        Stop::Refused(Box::new(Report::refused(refusal)))
    }
}

impl From<String> for Stop {
    fn from(words: String) -> Stop {
        Stop::Unusable(words)
    }
}

impl From<Stop> for String {
    fn from(stop: Stop) -> String {
        match stop {
            Stop::Unusable(words) => words,
            Stop::Refused(report) => report.outcome.to_string(),
        }
    }
}

impl From<&str> for Stop {
    fn from(words: &str) -> Stop {
        Stop::Unusable(words.to_owned())
    }
}

/// The examination alone, without what the case expects beyond it.
pub(crate) fn examine(case: &Case) -> Result<Report, Stop> {
    match case.kind.as_str() {
        "tdx" => tdx::run(case),
        "sgx" => sgx::run(case),
        "snp" => snp::run(case),
        "nitro" => nitro::run(case),
        "nitrotpm" => nitrotpm::run(case),
        "azure-snp-vtpm" => azure_snp_vtpm::run(case),
        "azure-tdx-vtpm" => azure_tdx_vtpm::run(case),
        "tpm-quote" => tpm_quote::run(case),
        "gcp-vtpm" => gcp_vtpm::run(case),
        "tcg-eventlog" => tcg_eventlog::run(case),
        "ccel" => ccel::run(case),
        "ima" => ima::run(case),
        "cca" => cca::run(case),
        "psa" => psa::run(case),
        "nvidia-gpu" => nvidia_gpu::run(case),
        "nvidia-switch" => nvidia_switch::run(case),
        "nvidia-rim" => nvidia_rim::run(case),
        "hygon-csv" => hygon_csv::run(case),
        "keystone" => keystone::run(case),
        "ibm-se" => ibm_se::run(case),
        "ear" => ear::run(case),
        "eat" => eat::run(case),
        "corim" => corim::run(case),
        "risc0" => risc0::run(case),
        other => Err(Stop::Unusable(format!("the kind `{other}` is not known"))),
    }
}
