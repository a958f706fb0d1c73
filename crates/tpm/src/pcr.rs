//! Platform configuration registers: their banks, and selections of them.
//!
//! A selection keeps the order in which its banks were named, because a quote's digest is taken in that order. Its text
//! form is the one of the TPM tools: `sha256:0,8,12+sha1:0`.

use std::fmt;
use std::str::FromStr;

use attest::HashAlgorithm;
use serde::{Deserialize, Serialize};

use crate::marshal::{Malformed, Reader, Writer};

/// Which registers of which banks: at least one register, each bank once, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PcrSelection {
    banks: Vec<(HashAlgorithm, u32)>,
}

impl PcrSelection {
    /// Selects registers `indices` of one bank.
    ///
    /// # Errors
    /// [`SelectionError`] when there are none, or one is above 23.
    pub fn of(bank: HashAlgorithm, indices: &[u8]) -> Result<Self, SelectionError> {
        Ok(PcrSelection { banks: vec![(bank, bits(indices)?)] })
    }

    /// Adds registers of another bank after those selected.
    ///
    /// # Errors
    /// [`SelectionError`] when there are none, one is above 23, or the bank was named before.
    pub fn and(mut self, bank: HashAlgorithm, indices: &[u8]) -> Result<Self, SelectionError> {
        if self.banks.iter().any(|(known, _)| *known == bank) {
            return Err(SelectionError::Repeated { bank });
        }
        self.banks.push((bank, bits(indices)?));
        Ok(self)
    }

    /// The registers in the order in which a quote digests them: bank by bank, ascending.
    pub fn registers(&self) -> impl Iterator<Item = (HashAlgorithm, u8)> + '_ {
        self.banks.iter().flat_map(|(bank, bits)| {
            (0..COUNT).filter(move |index| bits & (1 << index) != 0).map(|index| (*bank, index))
        })
    }

    /// As TPML_PCR_SELECTION.
    pub(crate) fn write(&self, mut writer: Writer) -> Writer {
        writer = writer.u32(u32::try_from(self.banks.len()).unwrap_or(u32::MAX));
        for (bank, bits) in &self.banks {
            let [first, second, third, _] = bits.to_le_bytes();
            writer = writer.u16(bank.id()).sized_by_byte(&[first, second, third]);
        }
        writer
    }

    /// Reads a TPML_PCR_SELECTION, leaving out unknown algorithms; the bits of each bank.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Vec<(HashAlgorithm, u32)>, Malformed> {
        let count = reader.u32("number of PCR banks")?;
        if count > 16 {
            return Err(Malformed("number of PCR banks"));
        }
        let mut banks = Vec::new();
        for _ in 0..count {
            let algorithm = reader.u16("PCR bank")?;
            let size = reader.u8("PCR selection size")?;
            let mut bits = 0;
            for (position, byte) in reader.take(usize::from(size), "PCR selection")?.iter().take(4).enumerate() {
                bits |= u32::from(*byte) << (8 * position);
            }
            if let Some(bank) = HashAlgorithm::from_id(algorithm) {
                banks.push((bank, bits));
            }
        }
        Ok(banks)
    }

    /// The selection left after the registers in `taken`, or nothing.
    pub(crate) fn without(&self, taken: &[(HashAlgorithm, u32)]) -> Option<Self> {
        let mut banks = self.banks.clone();
        for (bank, bits) in &mut banks {
            for (_, seen) in taken.iter().filter(|(other, _)| other == bank) {
                *bits &= !seen;
            }
        }
        banks.retain(|(_, bits)| *bits != 0);
        if banks.is_empty() { None } else { Some(PcrSelection { banks }) }
    }
}

impl FromStr for PcrSelection {
    type Err = SelectionError;

    /// Reads the text form, for example `sha1:0,1,2+sha256:0,1,2`.
    ///
    /// # Errors
    /// [`SelectionError`] names the part that is wrong.
    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let mut banks = Vec::new();
        for part in text.split('+') {
            let wrong = || SelectionError::Text { text: part.to_owned() };
            let (name, list) = part.split_once(':').ok_or_else(wrong)?;
            let bank = BANKS.into_iter().find(|bank| bank.name() == name).ok_or_else(wrong)?;
            let indices: Result<Vec<u8>, _> = list.split(',').map(str::parse).collect();
            if banks.iter().any(|(known, _)| *known == bank) {
                return Err(SelectionError::Repeated { bank });
            }
            banks.push((bank, bits(&indices.map_err(|_| wrong())?)?));
        }
        Ok(PcrSelection { banks })
    }
}

impl TryFrom<String> for PcrSelection {
    type Error = SelectionError;

    fn try_from(text: String) -> Result<Self, SelectionError> {
        text.parse()
    }
}

impl From<PcrSelection> for String {
    fn from(selection: PcrSelection) -> String {
        selection.to_string()
    }
}

impl fmt::Display for PcrSelection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for (bank, index) in self.registers() {
            match last {
                Some(same) if same == bank => write!(out, ",{index}")?,
                Some(_) => write!(out, "+{}:{index}", bank.name())?,
                None => write!(out, "{}:{index}", bank.name())?,
            }
            last = Some(bank);
        }
        Ok(())
    }
}

/// Why registers cannot be selected so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No register was named.
    #[error("no PCR is selected")]
    Empty,
    /// There is no such register.
    #[error("there is no PCR {index}\nhint: PCRs are numbered 0 to 23")]
    Index {
        /// The number given.
        index: u8,
    },
    /// A bank was named twice.
    #[error("the {} bank is named twice", .bank.name())]
    Repeated {
        /// The bank.
        bank: HashAlgorithm,
    },
    /// A part of the text is not a bank with numbers.
    #[error("`{text}` does not select PCRs\nhint: write for example `sha256:0,8,12`")]
    Text {
        /// The part.
        text: String,
    },
}

impl Writer {
    fn sized_by_byte(self, bytes: &[u8]) -> Self {
        self.u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX)).bytes(bytes)
    }
}

fn bits(indices: &[u8]) -> Result<u32, SelectionError> {
    let mut bits = 0;
    for index in indices {
        if *index >= COUNT {
            return Err(SelectionError::Index { index: *index });
        }
        bits |= 1 << index;
    }
    if bits == 0 { Err(SelectionError::Empty) } else { Ok(bits) }
}

/// The banks that can be selected.
const BANKS: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
/// Registers per bank.
const COUNT: u8 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_round_trips_and_keeps_the_order() {
        for text in ["sha256:0,8,12+sha1:0", "sha1:0,1,2+sha256:0,1,2", "sha384:23"] {
            assert_eq!(text.parse::<PcrSelection>().map(|selection| selection.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let parse = |text: &str| text.parse::<PcrSelection>();
        assert_eq!(parse("sha256:24"), Err(SelectionError::Index { index: 24 }));
        assert_eq!(parse("sha256:1+sha256:2"), Err(SelectionError::Repeated { bank: HashAlgorithm::Sha256 }));
        assert_eq!(parse("md5:1"), Err(SelectionError::Text { text: "md5:1".into() }));
        assert_eq!(parse("sha256:"), Err(SelectionError::Text { text: "sha256:".into() }));
        assert_eq!(PcrSelection::of(HashAlgorithm::Sha256, &[]), Err(SelectionError::Empty));
    }

    #[test]
    fn the_wire_form_has_three_bytes_per_bank() {
        let selection = PcrSelection::of(HashAlgorithm::Sha256, &[0, 8, 23]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(hex::encode(selection.write(Writer::new()).as_bytes()), "00000001000b03010180");
    }
}
