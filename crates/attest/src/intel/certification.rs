//! The chains that come with quotes and with signed documents: certificates in PEM, leaf first.
//!
//! Read strictly, so that no byte of a chain is free: only certificates, only line ends between and within them, base64 in its one canonical
//! form, and zeros at the very end (quoting libraries end the text as C does).

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::certificate::CertificateFault;

/// The DER of each certificate of a PEM chain.
///
/// # Errors
/// [`CertificateFault::Malformed`], also for more than four certificates.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<Vec<u8>>, CertificateFault> {
    if pem.len() > MAX_CHAIN_BYTES {
        return Err(CertificateFault::Malformed);
    }
    let end = pem.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut rest = trimmed(pem.get(..end).unwrap_or_default());
    let mut found = Vec::with_capacity(3);
    while !rest.is_empty() {
        let body = rest.strip_prefix(BEGIN).ok_or(CertificateFault::Malformed)?;
        let size = body.iter().position(|byte| *byte == b'-').ok_or(CertificateFault::Malformed)?;
        let (body, after) = body.split_at_checked(size).ok_or(CertificateFault::Malformed)?;
        let mut text = Vec::with_capacity(body.len());
        for line in body.split(|byte| *byte == b'\n') {
            text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        }
        found.push(STANDARD.decode(&text).map_err(|_| CertificateFault::Malformed)?);
        rest = trimmed(after.strip_prefix(END).ok_or(CertificateFault::Malformed)?);
        if found.len() > MAX_CERTIFICATES {
            return Err(CertificateFault::Malformed);
        }
    }
    if found.is_empty() { Err(CertificateFault::Malformed) } else { Ok(found) }
}

fn trimmed(text: &[u8]) -> &[u8] {
    let ends = text.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    text.get(ends..).unwrap_or_default()
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";
const MAX_CHAIN_BYTES: usize = 64 * 1024;
const MAX_CERTIFICATES: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn certificates(count: usize) -> Vec<u8> {
        let body = STANDARD.encode(b"a certificate");
        let one = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        one.repeat(count).into_bytes()
    }

    #[test]
    fn a_chain_has_one_to_four_certificates() {
        for count in 1..=4 {
            assert_eq!(chain(&certificates(count)), Ok(vec![b"a certificate".to_vec(); count]));
        }
        // With or without an end of its last line.
        let text = certificates(2);
        assert_eq!(chain(&text[..text.len() - 1]).map(|found| found.len()), Ok(2));
        for count in [0, 5, 6] {
            assert_eq!(chain(&certificates(count)), Err(CertificateFault::Malformed), "{count}");
        }
    }

    #[test]
    fn a_chain_is_read_up_to_64_kib_and_no_further() {
        let padded = |size: usize| {
            let mut text = certificates(2);
            text.resize(size, 0);
            chain(&text).map(|found| found.len())
        };
        assert_eq!(padded(64 << 10), Ok(2));
        for more in [1, 2] {
            assert_eq!(padded((64 << 10) + more), Err(CertificateFault::Malformed));
        }
    }
}
