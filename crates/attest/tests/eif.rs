//! Enclave images: built here by their published description, measured here and by a script that shares nothing with us (row 41).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs
)]

mod cbor;

use std::{io::Write as _, process::Command};

use attest::{
    FormatError,
    nitro::image::{ImageError, ImageMeasurements, measure},
};
use aws_lc_rs::digest::{SHA384, digest};
use serde_json::Value;

const HEADER: usize = 548;
const COUNT: usize = 26;
const OFFSETS: usize = 28;
const SIZES: usize = OFFSETS + 32 * 8;
const CHECKSUM: usize = HEADER - 4;

const KERNEL: u16 = 1;
const COMMAND_LINE: u16 = 2;
const RAM_DISK: u16 = 3;
const SIGNATURE: u16 = 4;
const METADATA: u16 = 5;

type Sections = Vec<(u16, Vec<u8>)>;

fn sections() -> Sections {
    vec![
        (KERNEL, b"a kernel".repeat(100)),
        (COMMAND_LINE, b"reboot=k panic=30".to_vec()),
        (METADATA, b"{\"ImageName\":\"test\"}".to_vec()),
        (RAM_DISK, b"init and the driver of the secure module".to_vec()),
        (RAM_DISK, b"the application".repeat(7)),
        (RAM_DISK, b"its data".to_vec()),
    ]
}

/// An image of these sections, with header and checksum as the builder writes them.
fn image(sections: &Sections) -> Vec<u8> {
    let (mut offsets, mut sizes, mut body) = (vec![0_u64; 32], vec![0_u64; 32], Vec::new());
    for (index, (kind, contents)) in sections.iter().enumerate() {
        offsets[index] = (HEADER + body.len()) as u64;
        sizes[index] = contents.len() as u64;
        body.extend(kind.to_be_bytes());
        body.extend([0, 0]);
        body.extend((contents.len() as u64).to_be_bytes());
        body.extend(contents);
    }
    let mut image = b".eif".to_vec();
    image.extend(4_u16.to_be_bytes());
    image.extend([0, 0]);
    image.extend((512_u64 << 20).to_be_bytes());
    image.extend(2_u64.to_be_bytes());
    image.extend([0, 0]);
    image.extend((sections.len() as u16).to_be_bytes());
    offsets.iter().chain(&sizes).for_each(|number| image.extend(number.to_be_bytes()));
    image.extend([0; 8]);
    image.extend(body);
    sealed(image)
}

/// With the checksum that its bytes have.
fn sealed(mut image: Vec<u8>) -> Vec<u8> {
    let crc = crc32(&[&image[..CHECKSUM], &image[HEADER..]].concat());
    image[CHECKSUM..HEADER].copy_from_slice(&crc.to_be_bytes());
    image
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

fn register(parts: &[&[u8]]) -> Vec<u8> {
    let contents = digest(&SHA384, &parts.concat());
    digest(&SHA384, &[&[0; 48][..], contents.as_ref()].concat()).as_ref().to_vec()
}

fn put(image: &mut [u8], at: usize, number: u64) {
    image[at..at + 8].copy_from_slice(&number.to_be_bytes());
}

/// What the script finds; `None`, printed, where there is no Python.
fn by_script(image: &[u8]) -> Option<Value> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(image).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/measure_eif.py");
    let Ok(output) = Command::new("python3").arg(script).arg(file.path()).output() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no python3");
        println!("skipped: no python3");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn row_41_registers_of_an_image_are_those_that_its_description_gives() {
    let parts = sections();
    let of = |kinds: &[usize]| register(&kinds.iter().map(|index| parts[*index].1.as_slice()).collect::<Vec<_>>());
    let image = image(&parts);
    let expected =
        ImageMeasurements { pcr0: of(&[0, 1, 3, 4, 5]), pcr1: of(&[0, 1, 3]), pcr2: of(&[4, 5]), pcr8: None };
    assert_eq!(measure(&image), Ok(expected.clone()));
    let Some(found) = by_script(&image) else { return };
    assert_eq!(found["crc"], true);
    for (name, value) in [("pcr0", expected.pcr0), ("pcr1", expected.pcr1), ("pcr2", expected.pcr2)] {
        assert_eq!(found[name], hex::encode(value), "{name}");
    }
}

#[test]
fn row_41_every_byte_of_kernel_command_line_and_disks_changes_a_register() {
    let good = measure(&image(&sections())).unwrap();
    for (index, (kind, contents)) in sections().iter().enumerate() {
        for at in 0..contents.len() {
            let mut changed = sections();
            changed[index].1[at] ^= 1;
            let measured = measure(&image(&changed)).unwrap();
            let same = [measured.pcr0 == good.pcr0, measured.pcr1 == good.pcr1, measured.pcr2 == good.pcr2];
            let expected = match (*kind, index) {
                (METADATA, _) => [true, true, true],
                (KERNEL | COMMAND_LINE, _) | (RAM_DISK, 3) => [false, false, true],
                _ => [false, true, false],
            };
            assert_eq!(same, expected, "section {index} byte {at}");
        }
    }
    // Where one section ends and the next begins is not measured by PCR 0: bytes moved across it leave it as it was.
    let mut moved = sections();
    let last = moved[4].1.pop().unwrap();
    moved[5].1.insert(0, last);
    assert_eq!(measure(&image(&moved)), Ok(good.clone()));
    // From the boot disk to the application's it is noticed by the other two.
    let mut moved = sections();
    let last = moved[3].1.pop().unwrap();
    moved[4].1.insert(0, last);
    let other = measure(&image(&moved)).unwrap();
    assert_eq!(other.pcr0, good.pcr0);
    assert!(other.pcr1 != good.pcr1 && other.pcr2 != good.pcr2);
}

#[test]
fn the_order_of_sections_counts() {
    let good = measure(&image(&sections())).unwrap();
    for (one, other, same) in
        [(0, 1, [false, false, true]), (3, 4, [false, false, false]), (4, 5, [false, true, false])]
    {
        let mut swapped = sections();
        swapped.swap(one, other);
        let found = measure(&image(&swapped)).unwrap();
        assert_eq!([found.pcr0 == good.pcr0, found.pcr1 == good.pcr1, found.pcr2 == good.pcr2], same, "{one} {other}");
        let Some(script) = by_script(&image(&swapped)) else { return };
        assert_eq!(script["pcr1"], hex::encode(&found.pcr1));
    }
    // Where metadata stands is not measured.
    let mut swapped = sections();
    swapped.swap(2, 5);
    swapped.swap(2, 4);
    swapped.swap(3, 4);
    swapped.swap(2, 3);
    let disks: Vec<u16> = swapped.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(disks.iter().filter(|kind| **kind == RAM_DISK).count(), 3);
    assert!(measure(&image(&swapped)).is_ok());
}

#[test]
fn a2_an_image_cut_anywhere_or_longer_is_refused() {
    let image = image(&sections());
    for size in 0..image.len() {
        let refused = measure(&image[..size]).unwrap_err();
        match refused {
            ImageError::Magic => assert!(size < 4, "{size}"),
            ImageError::Format(FormatError::Truncated { .. }) => {}
            other => panic!("{size}: {other:?}"),
        }
        // Its checksum set right does not help.
        if size >= HEADER {
            assert!(measure(&sealed(image[..size].to_vec())).is_err(), "{size}");
        }
    }
    let longer = sealed([&image[..], &[0]].concat());
    assert!(matches!(measure(&longer), Err(ImageError::Format(FormatError::Trailing { count: 1, .. }))));
}

#[test]
fn a1_a_damaged_image_is_refused_by_its_checksum_or_before() {
    let good = image(&sections());
    for bit in 0..good.len() * 8 {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(measure(&changed).is_err(), "bit {bit}");
    }
    let mut wrong = good.clone();
    wrong[CHECKSUM] ^= 0x80;
    assert_eq!(measure(&wrong), Err(ImageError::Checksum));
    // The checksum that leaves out the last inversion, and none.
    for crc in [!crc32(&[&good[..CHECKSUM], &good[HEADER..]].concat()), 0] {
        let mut wrong = good.clone();
        wrong[CHECKSUM..HEADER].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(measure(&wrong), Err(ImageError::Checksum));
    }
}

#[test]
fn headers_that_do_not_describe_their_sections_are_refused() {
    let good = image(&sections());
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut image = good.clone();
        change(&mut image);
        measure(&sealed(image)).unwrap_err()
    };
    for version in [0_u8, 1, 5, 255] {
        assert_eq!(refused(&|image| image[5] = version), ImageError::Version(u16::from(version)));
    }
    for version in [2_u8, 3, 4] {
        let mut older = good.clone();
        older[5] = version;
        assert!(measure(&sealed(older)).is_ok(), "{version}");
    }
    // Flags, memory, processors and what is reserved are not measured.
    for at in 6..COUNT {
        let mut other = good.clone();
        other[at] ^= 0xFF;
        assert_eq!(measure(&sealed(other)), measure(&good), "{at}");
    }
    assert_eq!(refused(&|image| image[COUNT + 1] = 33), ImageError::Section(33));
    assert_eq!(refused(&|image| image[COUNT] = 0xFF), ImageError::Section(0xFF06));
    // One section more or fewer than there are.
    assert!(matches!(refused(&|image| image[COUNT + 1] = 7), ImageError::Format(FormatError::Truncated { .. })));
    assert!(matches!(refused(&|image| image[COUNT + 1] = 5), ImageError::Format(FormatError::Trailing { .. })));
    for section in 0..6 {
        let at = OFFSETS + section * 8;
        let told = u64::from_be_bytes(good[at..at + 8].try_into().unwrap());
        for offset in [0, told - 1, told + 1, u64::MAX] {
            assert_eq!(refused(&|image| put(image, at, offset)), ImageError::Section(section), "{offset}");
        }
        // A size that the section's own header does not say; and one that it says, too, and that is not there.
        for size in [0, u64::MAX, 1 << 40] {
            assert_eq!(refused(&|image| put(image, SIZES + section * 8, size)), ImageError::Section(section));
        }
        let own = usize::try_from(told).unwrap() + 4;
        for size in [1_u64 << 40, u64::MAX - 11, u64::MAX] {
            let oversized = refused(&|image| {
                put(image, SIZES + section * 8, size);
                put(image, own, size);
            });
            let truncated = matches!(oversized, ImageError::Format(FormatError::Truncated { .. }));
            assert!(truncated, "{section} {size}: {oversized:?}");
        }
        for kind in [0_u8, 6, 255] {
            let place = usize::try_from(told).unwrap() + 1;
            assert_eq!(refused(&|image| image[place] = kind), ImageError::Section(section), "{kind}");
        }
    }
}

#[test]
fn an_image_has_up_to_32_sections() {
    let with = |count: usize| {
        let mut sections = vec![(KERNEL, b"k".to_vec()), (COMMAND_LINE, b"c".to_vec())];
        sections.resize(count.min(32), (RAM_DISK, b"r".to_vec()));
        let mut image = image(&sections);
        image[COUNT..COUNT + 2].copy_from_slice(&(count as u16).to_be_bytes());
        measure(&sealed(image)).map(|_| ())
    };
    assert_eq!(with(32), Ok(()));
    for count in [33, 34, 0xFFFF] {
        assert_eq!(with(count), Err(ImageError::Section(count)));
    }
}

#[test]
fn a_signature_section_is_read_up_to_64_kib_and_no_further() {
    let with = |size: usize| {
        let mut sections = sections();
        sections.push((SIGNATURE, vec![0xFF; size]));
        measure(&image(&sections)).unwrap_err()
    };
    assert!(matches!(with(64 << 10), ImageError::SignatureSection(_)));
    for more in [1, 2] {
        assert_eq!(with((64 << 10) + more), ImageError::Certificate);
    }
}

#[test]
fn an_image_has_one_kernel_one_command_line_and_a_disk() {
    let judged = |change: &dyn Fn(&mut Sections)| {
        let mut parts = sections();
        change(&mut parts);
        measure(&image(&parts)).map(|_| ())
    };
    let incomplete = Err(ImageError::Incomplete);
    assert_eq!(judged(&|parts| drop(parts.remove(0))), incomplete);
    assert_eq!(judged(&|parts| drop(parts.remove(1))), incomplete);
    assert_eq!(judged(&|parts| parts.truncate(3)), incomplete);
    assert_eq!(judged(&|parts| parts.push((KERNEL, Vec::new()))), incomplete);
    assert_eq!(judged(&|parts| parts.push((COMMAND_LINE, Vec::new()))), incomplete);
    assert_eq!(judged(&|parts| drop(parts.remove(2))), Ok(()));
    assert_eq!(measure(&image(&Vec::new())), Err(ImageError::Incomplete));
    // With the boot disk alone the application's register is that of nothing.
    let mut one = sections();
    one.truncate(4);
    assert_eq!(measure(&image(&one)).unwrap().pcr2, register(&[]));
}

/// A signature section: a list of certificate (PEM) and signature.
fn signature(pem: Vec<u8>) -> Vec<u8> {
    let part = cbor::map(&[(cbor::text("signing_certificate"), pem), (cbor::text("signature"), cbor::bytes(b"sig"))]);
    cbor::array(&[part])
}

#[test]
fn the_signers_certificate_is_measured_as_der_in_register_8() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let (pem, der) = (certificate.pem(), certificate.der().to_vec());
    let numbers: Vec<Vec<u8>> = pem.bytes().map(|byte| cbor::int(i64::from(byte))).collect();
    let measured = |section: Vec<u8>| {
        let mut parts = sections();
        parts.push((SIGNATURE, section));
        measure(&image(&parts)).map(|found| found.pcr8)
    };
    // The builder writes bytes as a list of numbers.
    for section in [signature(cbor::bytes(pem.as_bytes())), signature(cbor::array(&numbers))] {
        assert_eq!(measured(section), Ok(Some(register(&[&der]))));
    }
    // It changes no other register, and stands once.
    let mut parts = sections();
    parts.push((SIGNATURE, signature(cbor::bytes(pem.as_bytes()))));
    let found = measure(&image(&parts)).unwrap();
    assert_eq!(ImageMeasurements { pcr8: None, ..found }, measure(&image(&sections())).unwrap());
    parts.push(parts[6].clone());
    assert_eq!(measure(&image(&parts)), Err(ImageError::Incomplete));
    let none = Err(ImageError::Certificate);
    assert_eq!(measured(signature(cbor::bytes(b"no certificate"))), none);
    assert_eq!(measured(signature(cbor::array(&[cbor::int(256)]))), none);
    assert_eq!(measured(signature(cbor::int(1))), none);
    assert_eq!(measured(cbor::array(&[])), none);
    assert_eq!(measured(cbor::array(&[cbor::map(&[])])), none);
    assert_eq!(measured(cbor::map(&[])), none);
    let large = signature(cbor::bytes(&[b'x'; 65_536]));
    assert_eq!(measured(large), none);
    assert!(matches!(measured(b"\xFF".to_vec()), Err(ImageError::SignatureSection(_))));
}
