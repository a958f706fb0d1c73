//! The registers that an enclave image will have: PCR 0, 1, 2 and 8, computed from an EIF file without running it.
//!
//! So an owner or an auditor can compare what was built with what a document reports. Format and hashes: the reader and definitions of
//! aws-nitro-enclaves-image-format (versions 2 to 4) and "Cryptographic attestation" of the Nitro Enclaves user guide. All
//! numbers are big-endian.
//!
//! | register | over |
//! |---|---|
//! | PCR 0 | kernel, command line and all RAM disks, in the order of the file |
//! | PCR 1 | kernel, command line and the first RAM disk |
//! | PCR 2 | the other RAM disks |
//! | PCR 8 | the DER of the certificate that signed the image; absent for an unsigned one |
//!
//! Each is SHA-384(48 zero bytes ‖ SHA-384(contents)). Absent: the check of the image's own signature, since a document's PCR 8 is the
//! hypervisor's word on it; and PCR 3 and 4, which are not of the image.

use crate::{
    HashAlgorithm,
    cbor::{CborError, Form, Value},
    certificate::Certificate,
    reader::{FormatError, Reader},
};

/// What an image measures to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMeasurements {
    /// The whole image.
    pub pcr0: Vec<u8>,
    /// Kernel and boot RAM disk.
    pub pcr1: Vec<u8>,
    /// The application.
    pub pcr2: Vec<u8>,
    /// The signing certificate, if the image is signed.
    pub pcr8: Option<Vec<u8>>,
}

/// Why a file is not an enclave image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It does not begin with `.eif`.
    #[error("the file does not begin with `.eif`: it is not an enclave image")]
    Magic,
    /// A structure that cannot be read.
    #[error("the enclave image")]
    Format(#[from] FormatError),
    /// A version that is not known.
    #[error("the enclave image has version {0}; 2 to 4 are known")]
    Version(u16),
    /// The header's list of sections and the sections themselves differ.
    #[error("section {0} of the enclave image is not where or what the header says")]
    Section(usize),
    /// No kernel, no command line or no RAM disk, or more than one kernel or command line.
    #[error("the enclave image does not have one kernel, one command line and at least one RAM disk")]
    Incomplete,
    /// The file was damaged.
    #[error("the checksum of the enclave image is wrong: the file was damaged")]
    Checksum,
    /// The signature section is not CBOR.
    #[error("the signature section of the enclave image cannot be read")]
    SignatureSection(#[source] CborError),
    /// The signature section holds no certificate.
    #[error("the signature section of the enclave image holds no certificate")]
    Certificate,
}

/// Computes the registers of an image.
///
/// # Errors
/// [`ImageError`].
pub fn measure(image: &[u8]) -> Result<ImageMeasurements, ImageError> {
    let header = Header::read(image)?;
    let sections = header.sections(image)?;
    if header.checksum
        != checksum(&[image.get(..HEADER - 4).unwrap_or_default(), image.get(HEADER..).unwrap_or_default()])
    {
        return Err(ImageError::Checksum);
    }
    let count = |kind: u16| sections.iter().filter(|section| section.kind == kind).count();
    if count(KERNEL) != 1 || count(COMMAND_LINE) != 1 || count(RAM_DISK) == 0 || count(SIGNATURE) > 1 {
        return Err(ImageError::Incomplete);
    }
    let mut disks = 0_usize;
    let (mut whole, mut boot, mut application) = (Vec::new(), Vec::new(), Vec::new());
    for section in sections.iter().filter(|section| matches!(section.kind, KERNEL | COMMAND_LINE | RAM_DISK)) {
        whole.push(section.contents);
        if section.kind != RAM_DISK || disks == 0 {
            boot.push(section.contents);
        } else {
            application.push(section.contents);
        }
        disks += usize::from(section.kind == RAM_DISK);
    }
    let signature = sections.iter().find(|section| section.kind == SIGNATURE);
    let certificate = signature.map(|section| certificate(section.contents)).transpose()?;
    Ok(ImageMeasurements {
        pcr0: register(&whole),
        pcr1: register(&boot),
        pcr2: register(&application),
        pcr8: certificate.map(|certificate| register(&[&certificate])),
    })
}

struct Header {
    count: usize,
    offsets: [u64; SECTIONS],
    sizes: [u64; SECTIONS],
    checksum: u32,
}

struct Section<'a> {
    kind: u16,
    contents: &'a [u8],
}

impl Header {
    fn read(image: &[u8]) -> Result<Header, ImageError> {
        if !image.starts_with(b".eif") {
            return Err(ImageError::Magic);
        }
        let mut reader = Reader::new("the header of the image", image);
        reader.take(4)?;
        let version = reader.u16()?;
        if !(2..=4).contains(&version) {
            return Err(ImageError::Version(version));
        }
        // Flags, memory, processors, reserved: none of them is measured.
        reader.take(2 + 8 + 8 + 2)?;
        let count = usize::from(reader.u16()?);
        let (mut offsets, mut sizes) = ([0; SECTIONS], [0; SECTIONS]);
        for slot in offsets.iter_mut().chain(sizes.iter_mut()) {
            *slot = reader.u64()?;
        }
        reader.take(4)?;
        let checksum = reader.u32()?;
        if count > SECTIONS {
            return Err(ImageError::Section(count));
        }
        Ok(Header { count, offsets, sizes, checksum })
    }

    /// The sections as they follow one another, each where the header says.
    fn sections<'a>(&self, image: &'a [u8]) -> Result<Vec<Section<'a>>, ImageError> {
        let mut reader = Reader::new("a section of the image", image);
        reader.take(HEADER)?;
        let mut at = HEADER as u64;
        let mut sections = Vec::new();
        for (index, (offset, size)) in self.offsets.iter().zip(self.sizes).take(self.count).enumerate() {
            let wrong = ImageError::Section(index);
            let (kind, _flags, told) = (reader.u16()?, reader.u16()?, reader.u64()?);
            if *offset != at || told != size || !(KERNEL..=METADATA).contains(&kind) {
                return Err(wrong);
            }
            let contents = reader.take(usize::try_from(size).map_err(|_| wrong.clone())?)?;
            at = at.checked_add(SECTION_HEADER).and_then(|at| at.checked_add(size)).ok_or(wrong)?;
            sections.push(Section { kind, contents });
        }
        reader.finish()?;
        Ok(sections)
    }
}

/// The first signature's certificate: PEM in a byte string, or in the array of numbers that the builder writes.
fn certificate(section: &[u8]) -> Result<Vec<u8>, ImageError> {
    if section.len() > MAX_SIGNATURE {
        return Err(ImageError::Certificate);
    }
    let signatures = Value::parse(section, Form::Plain).map_err(ImageError::SignatureSection)?;
    let first = signatures.array().and_then(<[_]>::first).ok_or(ImageError::Certificate)?;
    let pem = first.named("signing_certificate").ok_or(ImageError::Certificate)?;
    let pem = match (pem.bytes(), pem.array()) {
        (Some(bytes), _) => bytes.to_vec(),
        (None, Some(numbers)) => {
            let byte = |number: &Value<'_>| number.unsigned().and_then(|number| u8::try_from(number).ok());
            numbers.iter().map(byte).collect::<Option<Vec<u8>>>().ok_or(ImageError::Certificate)?
        }
        (None, None) => return Err(ImageError::Certificate),
    };
    let certificates = Certificate::split(&pem).map_err(|_| ImageError::Certificate)?;
    certificates.into_iter().next().ok_or(ImageError::Certificate)
}

fn register(contents: &[&[u8]]) -> Vec<u8> {
    HashAlgorithm::Sha384.extend(&[0; 48], &HashAlgorithm::Sha384.hash(contents))
}

/// CRC-32 (IEEE 802.3). It finds damage, and nothing else rests on it.
fn checksum(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let index = usize::from(crc.to_le_bytes().first().copied().unwrap_or_default() ^ byte);
        (crc >> 8) ^ TABLE.get(index).copied().unwrap_or_default()
    };
    !parts.iter().flat_map(|part| part.iter()).fold(u32::MAX, step)
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        #[allow(clippy::cast_possible_truncation)]
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        #[allow(clippy::indexing_slicing)]
        {
            table[index] = value;
        }
        index += 1;
    }
    table
};

const HEADER: usize = 548;
const SECTION_HEADER: u64 = 12;
const SECTIONS: usize = 32;
const KERNEL: u16 = 1;
const COMMAND_LINE: u16 = 2;
const RAM_DISK: u16 = 3;
const SIGNATURE: u16 = 4;
const METADATA: u16 = 5;
const MAX_SIGNATURE: usize = 64 * 1024;
