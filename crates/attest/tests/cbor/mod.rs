//! CBOR as RFC 8949 spells it shortest, and COSE_Sign1 around anything, for forgers of tokens.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    unreachable_pub
)]

pub fn head(major: u8, count: u64) -> Vec<u8> {
    let major = major << 5;
    match count {
        0..=23 => vec![major | count as u8],
        24..=0xFF => vec![major | 24, count as u8],
        0x100..=0xFFFF => [&[major | 25][..], &(count as u16).to_be_bytes()].concat(),
        0x1_0000..=0xFFFF_FFFF => [&[major | 26][..], &(count as u32).to_be_bytes()].concat(),
        _ => [&[major | 27][..], &count.to_be_bytes()].concat(),
    }
}

pub fn int(value: i64) -> Vec<u8> {
    if value < 0 { head(1, (-1 - value) as u64) } else { head(0, value as u64) }
}

pub fn bytes(value: &[u8]) -> Vec<u8> {
    [head(2, value.len() as u64), value.to_vec()].concat()
}

pub fn text(value: &str) -> Vec<u8> {
    [head(3, value.len() as u64), value.as_bytes().to_vec()].concat()
}

pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len() as u64), items.concat()].concat()
}

pub fn map(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<Vec<u8>> = entries.iter().map(|(key, value)| [key.clone(), value.clone()].concat()).collect();
    [head(5, entries.len() as u64), entries.concat()].concat()
}

pub fn tag(tag: u64, item: &[u8]) -> Vec<u8> {
    [head(6, tag), item.to_vec()].concat()
}

/// A map with integers as keys.
pub fn labelled(entries: &[(i64, Vec<u8>)]) -> Vec<u8> {
    map(&entries.iter().map(|(label, value)| (int(*label), value.clone())).collect::<Vec<_>>())
}

/// The four parts of a COSE_Sign1 without its tag; `sign` signs the Sig_structure.
pub fn sign1(protected: &[u8], unprotected: &[u8], payload: &[u8], sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let signed = array(&[text("Signature1"), bytes(protected), bytes(&[]), bytes(payload)]);
    array(&[bytes(protected), unprotected.to_vec(), bytes(payload), bytes(&sign(&signed))])
}

/// A protected header with an algorithm and nothing else.
pub fn protected(algorithm: i64) -> Vec<u8> {
    labelled(&[(1, int(algorithm))])
}
