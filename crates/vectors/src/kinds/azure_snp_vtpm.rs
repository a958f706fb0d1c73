//! Cases of the kind `azure-snp-vtpm`.

use attest::{
    azure::{SnpEndorsements, examine_snp},
    snp::{self, Generation, SnpPolicy},
};

use super::{Stop, quotes::QuoteFiles, snp::floors};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let report = case.need("hcl_report")?;
    let quote = QuoteFiles::read(case, "tpm_")?;
    let [key, chain, list] = [case.file("vcek")?, case.file("cert_chain")?, case.file("crl")?];
    let endorsements = SnpEndorsements { key: key.as_deref(), chain: chain.as_deref(), list: list.as_deref() };
    let evidence = quote.as_ref().map(QuoteFiles::evidence);
    let anchors = case.anchors(snp::anchors())?;
    let genuine = match examine_snp(&report, evidence.as_ref(), &endorsements, &anchors, case.now()) {
        Ok(genuine) => genuine,
        Err(error) => return Ok(Report::refused(&error)),
    };
    Ok(match genuine.admit(&SnpPolicy { minimum_tcb: floors(case)?, ..policy() }) {
        Ok(genuine) => Report::genuine(&genuine).settling("min_tcb"),
        Err(unfit) => Report::coded(unfit.code(), unfit.to_string(), false),
    })
}

/// The strict defaults, and Milan, which several of the recorded machines are.
fn policy() -> SnpPolicy {
    SnpPolicy { generations: [Generation::Milan, Generation::Genoa, Generation::Turin].into(), ..SnpPolicy::default() }
}
