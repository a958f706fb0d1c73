//! A forged Hygon: root, signing, chip and platform keys on SM2, and reports of both versions, signed correctly.
//!
//! Layouts are those of `csv-rs` (Hygon). Everything but the report's contents is right.

use hmac::{Hmac, Mac};
use sm2::{
    SecretKey,
    dsa::{Signature, SigningKey, signature::Signer as _},
    elliptic_curve::sec1::ToEncodedPoint as _,
};
use sm3::Sm3;

/// Where the fields of a report stand, in both versions.
pub mod at {
    #![allow(missing_docs)]
    pub const REPORT_DATA: usize = 64;
    pub const MEASURE: usize = 144;
    pub const POLICY: usize = 176;
    pub const EXTENDED: usize = 180;
    pub const RTMR: usize = 208;
    pub const END: usize = 180;
    pub const EXTENDED_END: usize = 1024;
}

/// The keys.
pub struct Hygon {
    root: Key,
    signing: Key,
    chip: Key,
    platform: Key,
}

struct Key {
    user_id: &'static str,
    usage: u32,
    secret: SecretKey,
}

impl Default for Hygon {
    fn default() -> Hygon {
        let key =
            |user_id, usage, seed: u8| Key { user_id, usage, secret: SecretKey::from_slice(&[seed; 32]).unwrap() };
        Hygon {
            root: key("HYGON-SSD-HRK", 0, 1),
            signing: key("HYGON-SSD-HSK", 0x13, 2),
            chip: key("HYGON-SSD-CEK", 0x1004, 3),
            platform: key("HYGON-SSD-PEK", 0x1002, 4),
        }
    }
}

impl Hygon {
    /// The root's certificate, to be pinned (832 bytes).
    pub fn root(&self) -> Vec<u8> {
        self.root.authority(&self.root)
    }

    /// The certificate of the signing key (832 bytes).
    pub fn hsk(&self) -> Vec<u8> {
        self.signing.authority(&self.root)
    }

    /// The chip's certificate (2,084 bytes).
    pub fn cek(&self) -> Vec<u8> {
        self.chip.platform(&self.signing)
    }

    /// The body of a report that may not be debugged: 180 bytes, of version 2 1,024.
    pub fn body(&self, extended: bool) -> Vec<u8> {
        let mut body = vec![0; if extended { at::EXTENDED_END } else { at::END }];
        body[at::REPORT_DATA..at::REPORT_DATA + 64].fill(0x5A);
        body[at::MEASURE..at::POLICY].fill(0xA5);
        body[at::POLICY] = 1;
        if extended {
            body[at::EXTENDED..at::EXTENDED + 4].copy_from_slice(&0x1002_u32.to_le_bytes());
            body[at::EXTENDED + 4] = 4;
            body[at::RTMR..at::RTMR + 32].fill(0xA5);
        }
        body
    }

    /// A report over this body, signed; of version 1 it is masked, as the firmware masks it.
    pub fn report(&self, body: &[u8]) -> Vec<u8> {
        let extended = body.len() == at::EXTENDED_END;
        let mask: u32 = if extended { 0 } else { 0x1234_5678 };
        let masked = |bytes: &[u8]| -> Vec<u8> {
            bytes.iter().zip(mask.to_le_bytes().into_iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
        };
        let mut report = masked(body);
        let signature = self.platform.sign(&report);
        if !extended {
            for number in [0x1002 ^ mask, 4 ^ mask, mask] {
                report.extend(number.to_le_bytes());
            }
        }
        report.extend(signature);
        let outer = [masked(&self.platform.platform(&self.chip)), masked(&[b'7'; 64]), vec![0; 32]].concat();
        let mut mac = Hmac::<Sm3>::new_from_slice(&body[128..144]).unwrap();
        mac.update(&outer);
        report.extend(outer);
        report.extend(mac.finalize().into_bytes());
        report
    }
}

impl Key {
    /// r and s, little-endian in slots of 72 bytes.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = SigningKey::new(self.user_id, &self.secret).unwrap().sign(message);
        signature.to_bytes().chunks_exact(32).flat_map(slot).collect()
    }

    /// Curve, coordinates, user id.
    fn public(&self) -> Vec<u8> {
        let point = self.secret.public_key().to_encoded_point(false);
        let mut out = 3_u32.to_le_bytes().to_vec();
        out.extend(point.as_bytes()[1..].chunks_exact(32).flat_map(slot));
        out.extend((self.user_id.len() as u16).to_le_bytes());
        out.extend(self.user_id.bytes());
        out.resize(404, 0);
        out
    }

    fn authority(&self, above: &Key) -> Vec<u8> {
        let mut out = 1_u32.to_le_bytes().to_vec();
        out.extend([0; 32]);
        out.extend(self.usage.to_le_bytes());
        out.extend([0; 24]);
        out.extend(self.public());
        out.resize(576, 0);
        out.extend(above.sign(&out));
        out.resize(832, 0);
        out
    }

    fn platform(&self, above: &Key) -> Vec<u8> {
        let mut out = [1, 0, 0, 0, 1, 4, 0, 0].to_vec();
        out.extend(self.usage.to_le_bytes());
        out.extend(4_u32.to_le_bytes());
        out.extend(self.public());
        out.resize(1_044, 0);
        let signature = above.sign(&out);
        out.extend(above.usage.to_le_bytes());
        out.extend(4_u32.to_le_bytes());
        out.extend(signature);
        out.resize(1_564, 0);
        out.extend(0x1000_u32.to_le_bytes());
        out.resize(2_084, 0);
        out
    }
}

fn slot(number: &[u8]) -> Vec<u8> {
    let mut slot: Vec<u8> = number.iter().rev().copied().collect();
    slot.resize(72, 0);
    slot
}
