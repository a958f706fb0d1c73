//! Evidence as people pass it on: its bytes as text, or in the buffer in which a device gives them.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use attest::detect::{Kind, detect};

/// The Evidence that bytes which are none themselves stand for, and how it is written: hexadecimal, base64 in either alphabet, with
/// spaces and line ends anywhere, or the answer of `/dev/sev-guest`.
pub(crate) fn unwritten(bytes: &[u8]) -> Option<(Kind, Vec<u8>, &'static str)> {
    type Read = fn(&[u8]) -> Option<Vec<u8>>;
    let forms: [(&str, Read); 3] =
        [("in hexadecimal", of_hexadecimal), ("in base64", of_base64), ("in a device's buffer", of_device)];
    forms.into_iter().find_map(|(form, read)| {
        let inside = read(bytes)?;
        let kind = detect(&inside);
        kind.is_evidence().then_some((kind, inside, form))
    })
}

fn of_hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")).unwrap_or(text);
    hex::decode(without_spaces(text)).ok()
}

fn of_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = without_spaces(text);
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [STANDARD, URL_SAFE].iter().find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(&text).ok())
}

fn without_spaces(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

/// `struct snp_report_resp` of Linux: a status, the report's size, 24 reserved bytes, the report.
fn of_device(buffer: &[u8]) -> Option<Vec<u8>> {
    let (status, rest) = buffer.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let (reserved, rest) = rest.split_first_chunk::<24>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    let (report, after) = rest.split_at_checked(size)?;
    let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    (zeros(status) && zeros(reserved) && zeros(after)).then(|| report.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

    use super::*;

    /// A report of SEV-SNP as far as it is told from other bytes.
    fn report() -> Vec<u8> {
        [&5_u32.to_le_bytes()[..], &[7; 1180]].concat()
    }

    #[test]
    fn evidence_in_text_is_the_evidence() {
        let report = report();
        let hexadecimal = hex::encode(&report);
        let lines: Vec<&str> =
            (0..hexadecimal.len()).step_by(64).map(|at| &hexadecimal[at..hexadecimal.len().min(at + 64)]).collect();
        let texts = [
            hexadecimal.clone(),
            hexadecimal.to_uppercase(),
            format!("0x{hexadecimal}\n"),
            lines.join("\n"),
            STANDARD.encode(&report),
            format!("{}\n", STANDARD_NO_PAD.encode(&report)),
            URL_SAFE_NO_PAD.encode(&report),
        ];
        for text in texts {
            let (kind, inside, _) = unwritten(text.as_bytes()).unwrap();
            assert_eq!((kind, &inside), (Kind::SnpReport(5), &report), "{text:.40}");
        }
        let device = [&0_u32.to_le_bytes()[..], &1184_u32.to_le_bytes(), &[0; 24], &report, &[0; 2784]].concat();
        assert_eq!(unwritten(&device).unwrap().1, report);
    }

    #[test]
    fn other_text_is_none() {
        let report = report();
        let half = hex::encode(&report[..100]);
        let failed = [&1_u32.to_le_bytes()[..], &1184_u32.to_le_bytes(), &[0; 24], &report].concat();
        for bytes in [&b""[..], b"0x", b"hello", half.as_bytes(), &failed, &report[1..]] {
            assert!(unwritten(bytes).is_none(), "{bytes:.20?}");
        }
    }
}
