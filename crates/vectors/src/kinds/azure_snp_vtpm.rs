//! Cases of the kind `azure-snp-vtpm`.

use attest::{
    azure::{SnpEndorsements, examine_snp},
    snp::{self, Generation, SnpPolicy},
};

use super::quotes::{QuoteFiles, used};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let report = case.need("hcl_report")?;
    let quote = QuoteFiles::read(case, "tpm_")?;
    let [key, chain, list] = [case.file("vcek")?, case.file("cert_chain")?, case.file("crl")?];
    let endorsements = SnpEndorsements { key: key.as_deref(), chain: chain.as_deref(), list: list.as_deref() };
    let evidence = quote.as_ref().map(QuoteFiles::evidence);
    match examine_snp(&report, evidence.as_ref(), &endorsements, &snp::anchors(), case.now()) {
        Ok(genuine) => match genuine.admit(&policy()) {
            Ok(genuine) => used(case, &genuine),
            Err(unfit) => Ok(Report::coded(unfit.code(), unfit.to_string(), false)),
        },
        Err(error) => Ok(Report::refused(&error)),
    }
}

/// The strict defaults, and Milan, which several of the recorded machines are.
fn policy() -> SnpPolicy {
    SnpPolicy { generations: [Generation::Milan, Generation::Genoa, Generation::Turin].into(), ..SnpPolicy::default() }
}
