//! Cases of the kind `hygon-csv`.

use attest::hygon::{CsvEvidence, examine};

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let evidence = CsvEvidence { report: case.need("report")?, cek: case.need("cek")?, hsk: case.need("hsk")? };
    Ok(match examine(&evidence, &case.need("hrk")?, case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
