//! Checks of the workspace itself, which no compiler makes: `cargo xtask tidy` and `cargo xtask licences`.
//!
//! `tidy` holds the sentences of ARCHITECTURE.md that speak of crates and sources: arrows point down, roles do not know one another, the
//! broker stays small, no switch weakens anything; and every test that the claims name exists. `licences` holds that every dependency may be used under a
//! permissive licence. Both print what is wrong, each in a line with its place, and end with status 1 then.
//!
//! Deliberately absent: anything that changes a file.

mod claims;
mod layers;
mod licences;
mod metadata;
mod sources;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let findings = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => tidy(),
        ["licences"] => metadata::all().map(|metadata| licences::findings(&metadata)),
        _ => {
            eprintln!("usage: cargo xtask tidy|licences");
            return ExitCode::from(2);
        }
    };
    match findings {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in findings {
                eprintln!("{finding}");
            }
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn tidy() -> Result<Vec<String>, String> {
    let mut findings = layers::findings(&metadata::members()?);
    findings.extend(layers::broker_findings(&metadata::tree_of("broker")?));
    findings.extend(sources::findings(&metadata::root())?);
    findings.extend(claims::findings(&metadata::root()).map_err(|error| error.to_string())?);
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_tidy() {
        assert_eq!(super::tidy(), Ok(Vec::new()));
    }

    #[test]
    fn every_dependency_may_be_used() {
        let metadata = super::metadata::all();
        assert_eq!(metadata.map(|metadata| super::licences::findings(&metadata)), Ok(Vec::new()));
    }
}
