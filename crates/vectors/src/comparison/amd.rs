//! `sev` on reports of SEV-SNP.
//!
//! It leaves to its caller which root key counts, the time, and whether chip and version are those of the key's certificate. The root must be one of those
//! that it ships, since a chain under any other proves nothing; the rest is not asked of it.

use sev::{
    certs::snp::{Certificate, Chain, Verifiable as _, builtin},
    firmware::guest::AttestationReport,
    parser::ByteParser as _,
};

use crate::kinds::snp::Input;

/// `sev` with everything that one case needs, in its own form: a report, and the DER of each certificate.
pub struct Sev {
    report: Vec<u8>,
    root: Vec<u8>,
    intermediate: Vec<u8>,
    key: Vec<u8>,
    roots: [Certificate; 3],
}

impl Sev {
    /// Prepares an input; `None` where it lacks what `sev` must have. It takes certificates one by one, so bundles are split for it.
    pub fn prepare(input: &Input) -> Option<Sev> {
        let [key, intermediate, root] = input.certificates()?;
        let roots = [builtin::milan::ark().ok()?, builtin::genoa::ark().ok()?, builtin::turin::ark().ok()?];
        Some(Sev { report: input.report.clone(), root, intermediate, key, roots })
    }

    /// Its word on the report: genuine, or why not.
    ///
    /// # Errors
    /// Its message.
    pub fn verify(&self) -> Result<(), String> {
        let told = |error: std::io::Error| error.to_string();
        let report = AttestationReport::from_bytes(&self.report).map_err(told)?;
        let chain = Chain::from_der(&self.root, &self.intermediate, &self.key).map_err(told)?;
        if !self.roots.contains(&chain.ca.ark) {
            return Err("the root is not one that it ships".to_owned());
        }
        (&chain, &report).verify().map_err(told)
    }
}
