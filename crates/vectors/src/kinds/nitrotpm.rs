//! Cases of the kind `nitrotpm`: documents of NitroTPM, with a quote beside them.

use attest::nitro::{NitroTpmEvidence, NitroTpmQuote, examine_tpm};

use super::{Stop, nitro::anchors};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let quote = match (case.file("tpm_quote_msg")?, case.file("tpm_quote_sig")?) {
        (Some(message), Some(signature)) => Some(NitroTpmQuote { message, signature: wrapped(&signature)? }),
        _ => None,
    };
    let evidence = NitroTpmEvidence { document: case.need("document")?, quote };
    Ok(match examine_tpm(&evidence, &anchors(case)?, case.now()) {
        Err(refusal) => Report::refused(&refusal),
        Ok(genuine) => Report::genuine(&genuine),
    })
}

/// An ECDSA signature in DER as a TPMT_SIGNATURE with SHA-256; anything else as it is.
fn wrapped(signature: &[u8]) -> Result<Vec<u8>, String> {
    let Some((0x30, rest)) = signature.split_first().map(|(first, rest)| (*first, rest)) else {
        return Ok(signature.to_vec());
    };
    let integer = |bytes: &[u8]| -> Option<(Vec<u8>, Vec<u8>)> {
        let size = usize::from(*bytes.get(1)?);
        Some((bytes.get(2..2 + size)?.to_vec(), bytes.get(2 + size..)?.to_vec()))
    };
    let (r, rest) = rest.get(1..).and_then(integer).ok_or("the quote's signature is not DER")?;
    let (s, _) = integer(&rest).ok_or("the quote's signature is not DER")?;
    let mut wrapped = vec![0x00, 0x18, 0x00, 0x0B];
    for number in [r, s] {
        let number: Vec<u8> = number.into_iter().skip_while(|byte| *byte == 0).collect();
        wrapped.extend_from_slice(&u16::try_from(number.len()).unwrap_or_default().to_be_bytes());
        wrapped.extend_from_slice(&number);
    }
    Ok(wrapped)
}
