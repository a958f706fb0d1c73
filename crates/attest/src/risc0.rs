//! RISC Zero: receipts, a proof in place of a platform.
//!
//! A receipt proves that the program with this image id ran to its end and wrote this journal. It says nothing of where it ran or who
//! saw the inputs: whoever proves holds them. So it has integrity and no confidentiality, its tier is the lowest, and no key should be
//! released on it; it is good for accepting a computed result.
//!
//! Read are Groth16 receipts in the form that contracts take: a selector of 4 bytes, then the proof's points A, B and C on BN254, big-endian,
//! the imaginary part of a coordinate first. What the proof is *about* is computed here and never taken from the prover: the digest of the
//! claim from image id and journal, the selector from the parameters. Formats: RISC Zero's `IRiscZeroVerifier.sol`,
//! `RiscZeroGroth16Verifier.sol` and `StructHash.sol` (risc0-ethereum), `risc0-binfmt` (tagged structs). The pairing is `substrate-bn`'s. The steps
//! are those of `docs/spec/platforms/risc0.md`. Deliberately absent: STARK receipts, assumptions, exit codes other than a
//! halt with zero, and development mode, whose receipts have no proof.

use jiff::Timestamp;
use substrate_bn::{AffineG1, AffineG2, Fq, Fq2, Fr, G1, G2, Gt, pairing_batch};

use crate::{
    HashAlgorithm, Tier,
    platform::{Assurance, Genuine, Platform, Refusal, Steps, claim, claim_hex, register},
    reader::{FormatError, Reader},
};

/// A receipt, with the program that it is claimed to be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Selector and proof, 260 bytes.
    pub seal: Vec<u8>,
    /// What the program wrote, at most 1 MiB.
    pub journal: Vec<u8>,
    /// The program.
    pub image_id: [u8; 32],
}

/// What a version of RISC Zero proves under. The selector is its digest's first 4 bytes, so a receipt of one version is of no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    control_root: [u8; 32],
    control_id: [u8; 32],
    key: VerifyingKey,
    selector: [u8; 4],
}

/// The versions of RISC Zero whose parameters are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Selector 9f39696c.
    V2_0,
    /// Selector 73c457ba.
    V3_0,
    /// Selector c27d1bc0.
    V5_0,
}

/// A key of Groth16 on BN254 for five public inputs; its points are on their curves and of the right order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    digest: [u8; 32],
    alpha: G1,
    beta: G2,
    gamma: G2,
    delta: G2,
    /// One more than there are inputs.
    inputs: [G1; 6],
}

/// Why a receipt is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Risc0Error {
    /// Step 1: the seal.
    #[error("the seal cannot be read")]
    Seal(#[source] FormatError),
    /// Step 1: the journal is longer than is ever read.
    #[error("the journal has {0} bytes; at most 1048576 are read")]
    JournalTooLarge(usize),
    /// Step 2: the selector.
    #[error("the seal is of the version with the selector {}, which is not accepted", hex::encode(.0))]
    Selector([u8; 4]),
    /// Step 3: a point.
    #[error("the proof's point {0} is not on the curve, or has a coordinate out of range")]
    Point(&'static str),
    /// Step 4: the proof.
    #[error("the proof does not prove that this program wrote this journal")]
    Proof,
    /// The parameters: a point of the key.
    #[error("the verifier's key has a point that is not on the curve")]
    Key,
    /// The parameters: the control id.
    #[error("the control id is not below the order of the group")]
    ControlId,
}

impl Refusal for Risc0Error {
    fn step(&self) -> u8 {
        match self {
            Risc0Error::Seal(_) | Risc0Error::JournalTooLarge(_) => 1,
            Risc0Error::Selector(_) | Risc0Error::Key | Risc0Error::ControlId => 2,
            Risc0Error::Point(_) => 3,
            Risc0Error::Proof => 4,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Risc0Error::Seal(FormatError::Truncated { .. }) => "seal-truncated",
            Risc0Error::Seal(_) => "seal-malformed",
            Risc0Error::JournalTooLarge(_) => "journal-too-large",
            Risc0Error::Selector(_) => "selector-not-accepted",
            Risc0Error::Point(_) => "proof-point-invalid",
            Risc0Error::Proof => "proof-invalid",
            Risc0Error::Key => "verifier-key-invalid",
            Risc0Error::ControlId => "control-id-invalid",
        }
    }

    fn is_malformed(&self) -> bool {
        matches!(self, Risc0Error::Seal(_) | Risc0Error::JournalTooLarge(_))
    }
}

/// Verifies a receipt under one of the accepted parameters; ordinarily [`Parameters::sound`].
///
/// The result binds the journal's SHA-256 digest, and its register `image_id` is the program.
///
/// # Errors
/// The first step that fails.
pub fn examine(receipt: &Receipt, accepted: &[Parameters], now: Timestamp) -> Result<Genuine, Risc0Error> {
    let mut steps = Steps::default();
    if receipt.journal.len() > MAX_JOURNAL {
        return Err(Risc0Error::JournalTooLarge(receipt.journal.len()));
    }
    let (selector, words) = read_seal(&receipt.seal).map_err(Risc0Error::Seal)?;
    steps.pass(1, "the seal is a selector and a proof");
    let parameters = accepted.iter().find(|parameters| parameters.selector == selector);
    let parameters = parameters.ok_or(Risc0Error::Selector(selector))?;
    steps.pass(2, "the selector is that of accepted parameters");
    let proof = Proof::read(&words)?;
    steps.pass(3, "the proof's points are on the curve");
    let journal_digest = sha256(&[&receipt.journal]);
    let claim_digest = claim_digest(&receipt.image_id, &journal_digest);
    if !parameters.holds(&proof, &claim_digest)? {
        return Err(Risc0Error::Proof);
    }
    steps.pass(4, "the proof holds for this program and this journal");
    let mut claims = vec![
        claim_hex("image_id", &receipt.image_id, "the program"),
        claim_hex("journal_digest", &journal_digest, "the digest of what it wrote"),
        claim_hex("control_root", &parameters.control_root, "the version of the prover's circuits"),
        claim_hex("selector", &selector, "the version of the verifier's parameters"),
        claim_hex("claim_digest", &claim_digest, "what the proof is about: program, journal and a halt with zero"),
        claim("confidentiality", "none", "whoever proves sees the inputs: this is no ground to release a key"),
    ];
    claims.extend(printable(&receipt.journal).map(|text| claim("journal", text, "what the program wrote")));
    Ok(Genuine {
        platform: Platform::RiscZero,
        assurance: Assurance::Affirmed,
        tier: Tier::SoftwareTpm,
        debug: false,
        bound: journal_digest.to_vec(),
        hardware_id: None,
        registers: vec![register("image_id", &receipt.image_id), register("control_root", &parameters.control_root)],
        claims,
        steps: steps.done(),
        examined_at: now,
    })
}

impl Parameters {
    /// The parameters of a version: its control root, the control id of its last circuit (as a number, big-endian) and its key.
    ///
    /// # Errors
    /// [`Risc0Error::ControlId`] where the id is no scalar.
    pub fn new(control_root: [u8; 32], control_id: [u8; 32], key: VerifyingKey) -> Result<Parameters, Risc0Error> {
        if control_id >= ORDER {
            return Err(Risc0Error::ControlId);
        }
        let mut id_digest = control_id;
        id_digest.reverse();
        let down = [control_root, id_digest, key.digest];
        let [a, b, c, d, ..] = tagged("risc0.Groth16ReceiptVerifierParameters", &down, &[]);
        Ok(Parameters { control_root, control_id, key, selector: [a, b, c, d] })
    }

    /// The parameters of a version.
    pub fn of(version: Version) -> Option<Parameters> {
        let [root] = words([version.control_root()])?;
        let [id] = words([CONTROL_ID])?;
        Parameters::new(root, id, VerifyingKey::shipped()?).ok()
    }

    /// The parameters of every version that is sound as far as is known.
    pub fn sound() -> Vec<Parameters> {
        Version::ALL.into_iter().filter(|version| version.advisory().is_none()).filter_map(Parameters::of).collect()
    }

    /// The 4 bytes that a seal under these parameters begins with.
    pub const fn selector(&self) -> &[u8; 4] {
        &self.selector
    }

    /// The pairing equation e(-A, B) · e(α, β) · e(inputs, γ) · e(C, δ) = 1.
    fn holds(&self, proof: &Proof, claim_digest: &[u8; 32]) -> Result<bool, Risc0Error> {
        let [root_low, root_high] = halves(&self.control_root);
        let [claim_low, claim_high] = halves(claim_digest);
        let scalars = [root_low, root_high, claim_low, claim_high, self.control_id];
        let [mut sum, points @ ..] = self.key.inputs;
        for (point, scalar) in points.into_iter().zip(scalars) {
            // Each is below the order: the halves by their length, the id since it was taken in.
            let scalar = Fr::from_slice(&scalar).map_err(|_| Risc0Error::ControlId)?;
            sum = sum + point * scalar;
        }
        let key = &self.key;
        let pairs = [(-proof.a, proof.b), (key.alpha, key.beta), (sum, key.gamma), (proof.c, key.delta)];
        Ok(pairing_batch(&pairs) == Gt::one())
    }
}

impl Version {
    /// All of them.
    pub const ALL: [Version; 3] = [Version::V2_0, Version::V3_0, Version::V5_0];

    /// Why a proof of this version proves less than it says, if that is known or credibly reported. Such a version is accepted only
    /// where a caller names its parameters.
    pub const fn advisory(self) -> Option<&'static str> {
        match self {
            Version::V2_0 => {
                Some("the circuit lacks constraints; its maker stopped its verifiers (GHSA-g3qg-6746-3mg9)")
            }
            Version::V3_0 => None,
            Version::V5_0 => {
                Some("forged journals are reported and the repair is pending (risc0/risc0, pull request 3802)")
            }
        }
    }

    const fn control_root(self) -> &'static str {
        match self {
            Version::V2_0 => "539032186827b06719244873b17b2d4c122e2d02cfb1994fe958b2523b844576",
            Version::V3_0 => "a54dc85ac99f851c92d7c96d7318af41dbe7c0194edfcc37eb4d422a998c1f56",
            Version::V5_0 => "b1f64013f70bbb386a8b3a3d63552c5cb5ea4a549ec7fb1ecc2a031dbf488167",
        }
    }
}

impl VerifyingKey {
    /// A key from its coordinates: α (2), β, γ, δ (4 each, imaginary parts first), then the six points of the inputs (2 each).
    ///
    /// # Errors
    /// [`Risc0Error::Key`] where a point is not on its curve or not of the group.
    pub fn new(
        alpha: [[u8; 32]; 2],
        [beta, gamma, delta]: [[[u8; 32]; 4]; 3],
        inputs: [[[u8; 32]; 2]; 6],
    ) -> Result<VerifyingKey, Risc0Error> {
        let first = |point: &[[u8; 32]; 2]| g1(point).ok_or(Risc0Error::Key);
        let second = |point: &[[u8; 32]; 4]| g2(point).ok_or(Risc0Error::Key);
        let [a, b, c, d, e, f] = &inputs;
        Ok(VerifyingKey {
            digest: key_digest(&alpha, [&beta, &gamma, &delta], &inputs),
            alpha: first(&alpha)?,
            beta: second(&beta)?,
            gamma: second(&gamma)?,
            delta: second(&delta)?,
            inputs: [first(a)?, first(b)?, first(c)?, first(d)?, first(e)?, first(f)?],
        })
    }

    /// The key of RISC Zero's ceremony, the same for the versions of [`Version`]. `None` only if a shipped constant could not be read,
    /// which a test rules out.
    pub fn shipped() -> Option<VerifyingKey> {
        let mut inputs = [[[0; 32]; 2]; 6];
        for (input, text) in inputs.iter_mut().zip(INPUTS) {
            *input = words(text)?;
        }
        VerifyingKey::new(words(ALPHA)?, [words(BETA)?, words(GAMMA)?, words(DELTA)?], inputs).ok()
    }
}

/// The digest of a key, as the parameters' digest takes it in.
fn key_digest(alpha: &[[u8; 32]; 2], second: [&[[u8; 32]; 4]; 3], inputs: &[[[u8; 32]; 2]; 6]) -> [u8; 32] {
    let mut list = [0; 32];
    for point in inputs.iter().rev() {
        list = tagged("risc0_groth16.VerifyingKey.IC", &[sha256(&[point.as_flattened()]), list], &[]);
    }
    let [beta, gamma, delta] = second.map(|point| sha256(&[point.as_flattened()]));
    tagged("risc0_groth16.VerifyingKey", &[sha256(&[alpha.as_flattened()]), beta, gamma, delta, list], &[])
}

/// The points of a proof, on their curves.
struct Proof {
    a: G1,
    b: G2,
    c: G1,
}

impl Proof {
    fn read(words: &[[u8; 32]; 8]) -> Result<Proof, Risc0Error> {
        let [ax, ay, b0, b1, b2, b3, cx, cy] = *words;
        Ok(Proof {
            a: g1(&[ax, ay]).ok_or(Risc0Error::Point("A"))?,
            b: g2(&[b0, b1, b2, b3]).ok_or(Risc0Error::Point("B"))?,
            c: g1(&[cx, cy]).ok_or(Risc0Error::Point("C"))?,
        })
    }
}

fn read_seal(seal: &[u8]) -> Result<([u8; 4], [[u8; 32]; 8]), FormatError> {
    let mut reader = Reader::new("the seal", seal);
    let selector = reader.array()?;
    let mut words = [[0; 32]; 8];
    for word in &mut words {
        *word = reader.array()?;
    }
    reader.finish()?;
    Ok((selector, words))
}

/// A point of G1 other than the one at infinity: coordinates below the modulus, on the curve. Its group has no other subgroup.
fn g1([x, y]: &[[u8; 32]; 2]) -> Option<G1> {
    Some(AffineG1::new(Fq::from_slice(x).ok()?, Fq::from_slice(y).ok()?).ok()?.into())
}

/// A point of G2 other than the one at infinity: on the curve and of the right order.
fn g2([x_imaginary, x_real, y_imaginary, y_real]: &[[u8; 32]; 4]) -> Option<G2> {
    let coordinate = |real: &[u8; 32], imaginary: &[u8; 32]| {
        Some(Fq2::new(Fq::from_slice(real).ok()?, Fq::from_slice(imaginary).ok()?))
    };
    let (x, y) = (coordinate(x_real, x_imaginary)?, coordinate(y_real, y_imaginary)?);
    Some(AffineG2::new(x, y).ok()?.into())
}

/// A digest as two scalars: its bytes reversed are a number, the low half first.
fn halves(digest: &[u8; 32]) -> [[u8; 32]; 2] {
    let mut low = [0; 32];
    let mut high = [0; 32];
    let (first, second) = digest.split_at(16);
    for (to, from) in low.iter_mut().rev().zip(first) {
        *to = *from;
    }
    for (to, from) in high.iter_mut().rev().zip(second) {
        *to = *from;
    }
    [low, high]
}

/// The claim: this program, started with no input, halted with zero and wrote this journal under no assumptions.
fn claim_digest(image_id: &[u8; 32], journal_digest: &[u8; 32]) -> [u8; 32] {
    let none = [0; 32];
    let halted = tagged("risc0.SystemState", &[none], &[0]);
    let output = tagged("risc0.Output", &[*journal_digest, none], &[]);
    tagged("risc0.ReceiptClaim", &[none, *image_id, halted, output], &[0, 0])
}

/// A tagged structure: H(H(tag) ‖ digests ‖ words, little-endian ‖ the number of digests in 2 bytes, little-endian).
fn tagged(tag: &str, digests: &[[u8; 32]], words: &[u32]) -> [u8; 32] {
    let tag = sha256(&[tag.as_bytes()]);
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let count = u16::try_from(digests.len()).unwrap_or(u16::MAX).to_le_bytes();
    sha256(&[&tag, digests.as_flattened(), &words, &count])
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(HashAlgorithm::Sha256.hash(parts)) {
        *to = from;
    }
    digest
}

fn words<const N: usize>(text: [&str; N]) -> Option<[[u8; 32]; N]> {
    let mut words = [[0; 32]; N];
    for (word, text) in words.iter_mut().zip(text) {
        hex::decode_to_slice(text, word).ok()?;
    }
    Some(words)
}

fn printable(journal: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(journal).ok()?;
    let sound = !text.is_empty()
        && text.len() <= 256
        && text.chars().all(|character| character == ' ' || character.is_ascii_graphic());
    sound.then_some(text)
}

const MAX_JOURNAL: usize = 1024 * 1024;
/// The order of the groups, big-endian.
const ORDER: [u8; 32] = [
    0x30, 0x64, 0x4E, 0x72, 0xE1, 0x31, 0xA0, 0x29, 0xB8, 0x50, 0x45, 0xB6, 0x81, 0x81, 0x58, 0x5D, 0x28, 0x33, 0xE8,
    0x48, 0x79, 0xB9, 0x70, 0x91, 0x43, 0xE1, 0xF5, 0x93, 0xF0, 0x00, 0x00, 0x01,
];
/// The control id of the circuit that ends in BN254, as a number (`BN254_IDENTITY_CONTROL_ID` of risc0, reversed).
const CONTROL_ID: &str = "04446e66d300eb7fb45c9726bb53c793dda407a62e9601618bb43c5c14657ac0";
/// The key: `groth16/risc0/Groth16Verifier.sol` of risc0-ethereum, there in decimal.
const ALPHA: [&str; 2] = [
    "2d4d9aa7e302d9df41749d5507949d05dbea33fbb16c643b22f599a2be6df2e2",
    "14bedd503c37ceb061d8ec60209fe345ce89830a19230301f076caff004d1926",
];
const BETA: [&str; 4] = [
    "0967032fcbf776d1afc985f88877f182d38480a653f2decaa9794cbc3bf3060c",
    "0e187847ad4c798374d0d6732bf501847dd68bc0e071241e0213bc7fc13db7ab",
    "304cfbd1e08a704a99f5e847d93f8c3caafddec46b7a0d379da69a4d112346a7",
    "1739c1b1a457a8c7313123d24d2f9192f896b7c63eea05a9d57f06547ad0cec8",
];
const GAMMA: [&str; 4] = [
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2",
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed",
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b",
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa",
];
const DELTA: [&str; 4] = [
    "03b03cd5effa95ac9bee94f1f5ef907157bda4812ccf0b4c91f42bb629f83a1c",
    "1aa085ff28179a12d922dba0547057ccaae94b9d69cfaa4e60401fea7f3e0333",
    "110c10134f200b19f6490846d518c9aea868366efb7228ca5c91d2940d030762",
    "1e60f31fcbf757e837e867178318832d0b2d74d59e2fea1c7142df187d3fc6d3",
];
const INPUTS: [[&str; 2]; 6] = [
    [
        "12ac9a25dcd5e1a832a9061a082c15dd1d61aa9c4d553505739d0f5d65dc3be4",
        "025aa744581ebe7ad91731911c898569106ff5a2d30f3eee2b23c60ee980acd4",
    ],
    [
        "0707b920bc978c02f292fae2036e057be54294114ccc3c8769d883f688a1423f",
        "2e32a094b7589554f7bc357bf63481acd2d55555c203383782a4650787ff6642",
    ],
    [
        "0bca36e2cbe6394b3e249751853f961511011c7148e336f4fd974644850fc347",
        "2ede7c9acf48cf3a3729fa3d68714e2a8435d4fa6db8f7f409c153b1fcdf9b8b",
    ],
    [
        "1b8af999dbfbb3927c091cc2aaf201e488cbacc3e2c6b6fb5a25f9112e04f2a7",
        "2b91a26aa92e1b6f5722949f192a81c850d586d81a60157f3e9cf04f679cccd6",
    ],
    [
        "2b5f494ed674235b8ac1750bdfd5a7615f002d4a1dcefeddd06eda5a076ccd0d",
        "2fe520ad2020aab9cbba817fcbb9a863b8a76ff88f14f912c5e71665b2ad5e82",
    ],
    [
        "0f1c3c0d5d9da0fa03666843cde4e82e869ba5252fce3c25d5940320b1c4d493",
        "214bfcff74f425f6fe8c0d07b307482d8bc8bb2f3608f68287aa01bd0b69e809",
    ],
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_shipped_parameters_have_the_selectors_of_their_versions() {
        let selectors = [(Version::V2_0, "9f39696c"), (Version::V3_0, "73c457ba"), (Version::V5_0, "c27d1bc0")];
        for (version, selector) in selectors {
            assert_eq!(hex::encode(Parameters::of(version).unwrap().selector()), selector);
        }
        let sound: Vec<String> = Parameters::sound().iter().map(|sound| hex::encode(sound.selector())).collect();
        assert_eq!(sound, ["73c457ba"]);
    }

    #[test]
    fn a_scalar_or_a_point_out_of_range_is_refused() {
        let key = VerifyingKey::shipped().unwrap();
        let mut below = ORDER;
        below[31] -= 1;
        assert_eq!(Parameters::new([0; 32], below, key.clone()).err(), None);
        assert_eq!(Parameters::new([0; 32], ORDER, key.clone()).err(), Some(Risc0Error::ControlId));
        assert_eq!(Parameters::new([0; 32], [0xFF; 32], key).err(), Some(Risc0Error::ControlId));
        let (alpha, beta, gamma, delta) =
            (words(ALPHA).unwrap(), words(BETA).unwrap(), words(GAMMA).unwrap(), words(DELTA).unwrap());
        let inputs = INPUTS.map(|input| words(input).unwrap());
        let rebuilt = |alpha, beta| VerifyingKey::new(alpha, [beta, gamma, delta], inputs).map(|_| ());
        assert_eq!(rebuilt(alpha, beta), Ok(()));
        assert_eq!(rebuilt([[0; 32]; 2], beta), Err(Risc0Error::Key));
        assert_eq!(rebuilt([[0xFF; 32]; 2], beta), Err(Risc0Error::Key));
        assert_eq!(rebuilt(alpha, [[0; 32]; 4]), Err(Risc0Error::Key));
    }

    #[test]
    fn a_point_of_the_twist_outside_of_the_group_is_refused() {
        // The curve of G2 has more points than the group: one is found by trying, with x = (n, 0).
        let found = (1_u8..50).find_map(|number| {
            let x = Fq2::new(fq(number), fq(0));
            let y = (x * x * x + G2::b()).sqrt()?;
            Some((number, y))
        });
        let (number, y) = found.unwrap();
        let coordinates = [bytes(fq(0)), bytes(fq(number)), bytes(y.imaginary()), bytes(y.real())];
        assert!(g2(&coordinates).is_none());
    }

    #[test]
    fn a_journal_is_shown_where_it_is_a_short_text() {
        assert_eq!(printable(b"just a simple receipt"), Some("just a simple receipt"));
        assert_eq!(printable(b" "), Some(" "));
        assert_eq!(printable(b""), None);
        for other in [&b"a\n"[..], b"\0", b"\x7f", "\u{e4}".as_bytes(), b"\xff", b"a\tb"] {
            assert_eq!(printable(other), None, "{other:?}");
        }
        let long = "x".repeat(258);
        let sized = |size: usize| printable(&long.as_bytes()[..size]).map(str::len);
        assert_eq!((sized(256), sized(257), sized(258)), (Some(256), None, None));
    }

    fn fq(number: u8) -> Fq {
        let mut bytes = [0; 32];
        bytes[31] = number;
        Fq::from_slice(&bytes).unwrap()
    }

    fn bytes(number: Fq) -> [u8; 32] {
        let mut bytes = [0; 32];
        number.to_big_endian(&mut bytes).unwrap();
        bytes
    }
}
