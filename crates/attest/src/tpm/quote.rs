//! TPMS_ATTEST of type quote (TPM 2.0 Part 2, section 10.12): what a TPM says of its registers.

use std::collections::BTreeSet;

use crate::{
    HashAlgorithm, PcrValue,
    reader::{FormatError, Reader},
};

/// A parsed quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The qualified name of the signing key, as the TPM gives it. Informative: the signature is what proves the key.
    pub qualified_signer: Vec<u8>,
    /// The qualifying data.
    pub extra_data: Vec<u8>,
    /// Milliseconds that the TPM has been powered.
    pub clock: u64,
    /// TPM resets since its manufacture or last clear.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether the clock is known not to have gone back.
    pub clock_is_safe: bool,
    /// The vendor's firmware version.
    pub firmware_version: u64,
    /// The registers quoted, in the order in which they were hashed.
    pub selections: Vec<PcrSelection>,
    /// The hash of their values.
    pub pcr_digest: Vec<u8>,
}

/// Registers of one bank (TPMS_PCR_SELECTION).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrSelection {
    /// The bank.
    pub bank: HashAlgorithm,
    /// The registers.
    pub pcrs: BTreeSet<u8>,
}

/// Why signed bytes are not a quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// They do not begin with TPM_GENERATED_VALUE: no TPM made them.
    #[error("the bytes begin with {0:#010x}, not with TPM_GENERATED")]
    NotGenerated(u32),
    /// They are another attestation structure.
    #[error("the structure is of type {0:#06x}, not a quote")]
    NotQuote(u16),
    /// They cannot be read.
    #[error("the quote cannot be read")]
    Format(#[from] FormatError),
}

/// A register and bank that make the values and the selection disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueFault {
    Missing(HashAlgorithm, u8),
    Unexpected(HashAlgorithm, u8),
}

impl Quote {
    /// Parses the signed bytes. Check their signature first: parsing proves nothing.
    ///
    /// # Errors
    /// Named in [`QuoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Quote, QuoteError> {
        let mut reader = Reader::new("TPMS_ATTEST", bytes);
        let magic = reader.u32()?;
        if magic != TPM_GENERATED {
            return Err(QuoteError::NotGenerated(magic));
        }
        let kind = reader.u16()?;
        if kind != ATTEST_QUOTE {
            return Err(QuoteError::NotQuote(kind));
        }
        let qualified_signer = reader.sized()?.to_vec();
        let extra_data = reader.sized()?.to_vec();
        let clock = reader.u64()?;
        let reset_count = reader.u32()?;
        let restart_count = reader.u32()?;
        let clock_is_safe = match reader.u8()? {
            0 => false,
            1 => true,
            other => return Err(reader.refuse("safe", other).into()),
        };
        let firmware_version = reader.u64()?;
        let selections = selections(&mut reader)?;
        let pcr_digest = reader.sized()?.to_vec();
        reader.finish()?;
        Ok(Quote {
            qualified_signer,
            extra_data,
            clock,
            reset_count,
            restart_count,
            clock_is_safe,
            firmware_version,
            selections,
            pcr_digest,
        })
    }

    /// Whether a register of a bank is quoted.
    pub fn covers(&self, bank: HashAlgorithm, pcr: u8) -> bool {
        self.selections.iter().any(|selection| selection.bank == bank && selection.pcrs.contains(&pcr))
    }

    /// The values in the order of the selection, each exactly once and of its bank's size.
    pub(super) fn select<'a>(&self, values: &'a [PcrValue]) -> Result<Vec<&'a PcrValue>, ValueFault> {
        let mut given = BTreeSet::new();
        for value in values {
            let expected = self.covers(value.bank, value.index) && value.value.len() == value.bank.size();
            if !expected || !given.insert((value.bank, value.index)) {
                return Err(ValueFault::Unexpected(value.bank, value.index));
            }
        }
        let mut selected = Vec::new();
        for selection in &self.selections {
            for pcr in &selection.pcrs {
                let found = values.iter().find(|value| value.bank == selection.bank && value.index == *pcr);
                selected.push(found.ok_or(ValueFault::Missing(selection.bank, *pcr))?);
            }
        }
        Ok(selected)
    }
}

/// TPML_PCR_SELECTION. A bank occurs once; registers 0 to 23 exist.
fn selections(reader: &mut Reader<'_>) -> Result<Vec<PcrSelection>, FormatError> {
    let count = reader.u32()?;
    if count > MAX_SELECTIONS {
        return Err(reader.refuse("number of selections", count));
    }
    let mut selections: Vec<PcrSelection> = Vec::new();
    for _ in 0..count {
        let id = reader.u16()?;
        let bank = HashAlgorithm::from_id(id).ok_or_else(|| reader.refuse("bank", id))?;
        if selections.iter().any(|selection| selection.bank == bank) {
            return Err(reader.refuse("repeated bank", id));
        }
        let size = reader.u8()?;
        if size > 3 {
            return Err(reader.refuse("size of a selection", size));
        }
        let mut pcrs = BTreeSet::new();
        for (byte, first) in reader.take(usize::from(size))?.iter().zip([0_u8, 8, 16]) {
            pcrs.extend((0..8).filter(|bit| byte & (1 << bit) != 0).map(|bit| first + bit));
        }
        selections.push(PcrSelection { bank, pcrs });
    }
    Ok(selections)
}

const TPM_GENERATED: u32 = 0xFF54_4347;
const ATTEST_QUOTE: u16 = 0x8018;
const MAX_SELECTIONS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(count: u32, each: &[(u16, &[u8])]) -> Result<Vec<PcrSelection>, FormatError> {
        let mut bytes = count.to_be_bytes().to_vec();
        for (bank, mask) in each {
            bytes.extend(bank.to_be_bytes());
            bytes.push(u8::try_from(mask.len()).expect("a short mask"));
            bytes.extend_from_slice(mask);
        }
        selections(&mut Reader::new("TPMS_ATTEST", &bytes))
    }

    fn refused(field: &'static str, value: u64) -> Option<FormatError> {
        Some(FormatError::Value { structure: "TPMS_ATTEST", field, value })
    }

    #[test]
    fn a_selection_has_up_to_three_bytes_and_a_bank_stands_once() {
        let registers = |mask: &[u8]| {
            let selected = read(1, &[(0x000B, mask)]).map(|selections| selections.into_iter().map(|one| one.pcrs));
            selected.map(|selected| selected.flatten().collect::<Vec<u8>>())
        };
        assert_eq!(registers(&[]), Ok(vec![]));
        assert_eq!(registers(&[0x81]), Ok(vec![0, 7]));
        assert_eq!(registers(&[0, 0x01]), Ok(vec![8]));
        assert_eq!(registers(&[0x01, 0x02, 0x80]), Ok(vec![0, 9, 23]));
        for mask in [&[0; 4][..], &[0; 5], &[0; 255]] {
            assert_eq!(registers(mask).err(), refused("size of a selection", mask.len() as u64));
        }
        assert_eq!(read(2, &[(0x000B, &[1]), (0x000B, &[2])]).err(), refused("repeated bank", 0x000B));
        assert_eq!(read(1, &[(0x0010, &[1])]).err(), refused("bank", 0x0010));
    }

    #[test]
    fn there_are_up_to_eight_selections() {
        // Fewer banks are known, so eight end where their bytes do.
        assert!(matches!(read(8, &[]), Err(FormatError::Truncated { .. })));
        for count in [9, 10, u32::MAX] {
            assert_eq!(read(count, &[]).err(), refused("number of selections", count.into()));
        }
    }
}
