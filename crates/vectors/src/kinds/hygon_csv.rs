//! Cases of the kind `hygon-csv`.

use attest::hygon::{CsvEvidence, examine};

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    // A certificate that is missing is refused as one that cannot be read.
    let certificate = |role: &str| case.file(role).map(Option::unwrap_or_default);
    let evidence = CsvEvidence { report: case.need("report")?, cek: certificate("cek")?, hsk: certificate("hsk")? };
    Ok(match examine(&evidence, &certificate("hrk")?, case.now()) {
        Ok(genuine) => Report::genuine(&genuine),
        Err(error) => Report::refused(&error),
    })
}
