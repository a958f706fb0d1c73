//! How bytes are changed, and from which numbers.

/// Changes bytes in one of many ways, and says which.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) -> String {
    let at = random.below(bytes.len());
    match random.below(8) {
        0..=3 => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
        4 => {
            let (size, from) = (1 + random.below(64), random.below(bytes.len()));
            for offset in 0..size {
                if at.max(from) + offset < bytes.len() {
                    bytes.swap(at + offset, from + offset);
                }
            }
            format!("swapped {size} bytes at {at} and {from}")
        }
        5 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        6 => {
            let appended = [0, 0x0A, 0x20, 0xFF][random.below(4)];
            bytes.resize(bytes.len() + 1 + random.below(100), appended);
            format!("followed by {appended:#04x}")
        }
        _ => {
            let size = 1 + random.below(600);
            let end = (at + size).min(bytes.len()).min(other.len());
            if at < end {
                bytes[at..end].copy_from_slice(&other[at..end]);
            }
            format!("{size} bytes of another at {at}")
        }
    }
}

/// Changes one digit of a document.
pub fn digit(text: &mut [u8], random: &mut Random) -> String {
    let places: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
    let at = places[random.below(places.len())];
    text[at] = b'0' + u8::try_from(random.below(10)).unwrap();
    format!("digit at {at}")
}

/// SplitMix64: the same mutants everywhere.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}
