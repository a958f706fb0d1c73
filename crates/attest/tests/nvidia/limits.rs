//! Limits on both of their sides, and each way in which one part alone is not as it should be.

use attest::{
    FormatError, HashAlgorithm,
    certificate::CertificateFault,
    nvidia::{DeviceEvidence, Kind, NvidiaError, Report, RevocationError, Rim, RimError},
    platform::{Assurance, Platform},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CustomExtension, SanType};

use crate::forge::{
    C14N, DSIG, Manifest, Ocsp, Room, Signer, der, device_info, fwid_value, replaced, tcb_info_of, transform,
};

fn value(structure: &'static str, field: &'static str, value: u64) -> FormatError {
    FormatError::Value { structure, field, value }
}

/// Of the forged Hopper with this field in the place of the one of its kind.
fn with_field(kind: u16, value: &[u8]) -> Room {
    let mut room = Room::new();
    room.opaque.retain(|(known, _)| *known != kind);
    room.opaque.push((kind, value.to_vec()));
    room
}

#[test]
fn a_report_is_read_up_to_16_kib_and_no_further() {
    let good = Room::new().report();
    let sized = |size: usize| {
        let mut padded = good.clone();
        padded.resize(size, 0);
        Report::parse(&padded).map(|_| ())
    };
    assert_eq!(sized(16_384), Ok(()));
    for size in [16_385, 16_386] {
        assert_eq!(sized(size), Err(FormatError::TooLarge { structure: "the report", size, limit: 16_384 }));
    }
}

#[test]
fn zeros_alone_may_stand_behind_the_signature() {
    let good = Room::new().report();
    let parsed = Report::parse(&good).unwrap();
    assert_eq!((parsed.signed(), parsed.signature()), good.split_at(good.len() - 96));
    assert_eq!(Report::parse(&[good.as_slice(), &[0; 3]].concat()).as_ref(), Ok(&parsed));
    for (more, count) in [(&[1][..], 1), (&[0, 0, 1], 3), (&[1, 0, 0, 0], 4)] {
        let trailing = FormatError::Trailing { structure: "the report", count };
        assert_eq!(Report::parse(&[good.as_slice(), more].concat()), Err(trailing));
    }
}

#[test]
fn measurements_are_told_by_their_index_from_1_on() {
    let good = Room::new().report();
    let report = Report::parse(&good).unwrap();
    assert_eq!(report.measurements().len(), 8);
    for index in 1..=8_u8 {
        assert_eq!(report.measurement(usize::from(index)), Some(&[index - 1; 48]));
    }
    for index in [0, 9, 10, usize::MAX] {
        assert_eq!(report.measurement(index), None);
    }
    assert_eq!(report.nonce(), &[9; 32]);
}

#[test]
fn each_part_of_a_measurement_is_as_these_devices_write_it() {
    let good = Room::new().report();
    let with = |at: usize, to: u8| {
        let mut changed = good.clone();
        changed[at] = to;
        Report::parse(&changed).map(|_| ())
    };
    let record = "the measurement record";
    assert_eq!(with(45, 2), Err(value(record, "index", 2)));
    assert_eq!(with(46, 2), Err(value(record, "specification", 2)));
    // The size of the block alone, and the size of the value alone.
    assert_eq!(with(47, 52), Err(value(record, "size of a measurement", 48)));
    assert_eq!(with(50, 47), Err(value(record, "size of a measurement", 47)));
    assert_eq!(with(49, 0x7f), Ok(()));
    assert_eq!(with(49, 0x80), Err(value(record, "kind of a measurement", 0x80)));
    assert_eq!(with(49, 0x81), Err(value(record, "kind of a measurement", 0x81)));
    // One measurement fewer than stated, and one more.
    assert_eq!(with(41, 7), Err(FormatError::Trailing { structure: record, count: 55 }));
    assert_eq!(with(41, 9), Err(FormatError::Truncated { structure: record, at: 440, needed: 1 }));
    // Attributes of the response that say nothing.
    assert_eq!((with(39, 7), with(40, 7)), (Ok(()), Ok(())));
}

#[test]
fn a_device_says_up_to_64_things_of_itself_and_none_twice() {
    let with = |kinds: &mut dyn Iterator<Item = u16>| {
        let mut room = Room::new();
        room.opaque = kinds.map(|kind| (kind, vec![1])).collect();
        let report = room.report();
        Report::parse(&report).map(|report| report.opaque().fields().len())
    };
    assert_eq!(with(&mut (100..164)), Ok(64));
    for end in [165, 166] {
        assert_eq!(with(&mut (100..end)), Err(value("the opaque data", "field", 164)));
    }
    assert_eq!(with(&mut [100, 101, 100].into_iter()), Err(value("the opaque data", "field", 100)));
    assert_eq!(with(&mut [].into_iter()), Ok(0));
}

#[test]
fn each_known_field_is_shown_under_its_name_and_no_other() {
    let shown = [
        (1, "cert_issuer_name"),
        (2, "cert_authority_key_identifier"),
        (4, "gpu_info"),
        (5, "sku"),
        (7, "manufacturer_id"),
        (8, "tamper_detection"),
        (9, "smc"),
        (10, "vpr"),
        (12, "measurement_counters"),
        (13, "cprinfo"),
        (14, "board_id"),
        (22, "device_pdi"),
        (23, "disabled_ports"),
        (24, "position_id"),
        (25, "lock_status"),
        (26, "connected_gpus"),
        (32, "gpu_link_connections"),
        (33, "system_enable_status"),
        (34, "opaque_data_version"),
        (35, "chip_info"),
    ];
    let texts = [
        (15, "chip_sku"),
        (16, "chip_sku_mod"),
        (17, "board_or_project"),
        (18, "project_sku"),
        (19, "project_sku_mod"),
    ];
    let mut room = Room::new();
    let before = room.examine().unwrap().genuine().claims().len();
    room.opaque.extend(shown.map(|(kind, _)| (kind, vec![kind as u8, 0xEE])));
    room.opaque.extend(texts.map(|(kind, _)| (kind, format!("text{kind}\0").into_bytes())));
    room.opaque.extend([27, 31, 37, 1000].map(|kind| (kind, vec![0xEE])));
    let device = room.examine().unwrap();
    for (kind, name) in shown {
        assert_eq!(device.genuine().claim(name), Some(format!("{kind:02x}ee").as_str()), "{name}");
    }
    for (kind, name) in texts {
        assert_eq!(device.genuine().claim(name), Some(format!("text{kind}").as_str()), "{name}");
    }
    assert_eq!(device.genuine().claims().len(), before + shown.len() + texts.len());
}

#[test]
fn a_text_is_printable_up_to_its_first_zero() {
    for (bytes, expected) in [
        (&b"550.90.07\0"[..], Some("550.90.07")),
        (b"550.90.07", Some("550.90.07")),
        (b"550\0.90\xff", Some("550")),
        (b"", None),
        (b"\0", None),
        (b"\x00550", None),
        (b"550 90", None),
        (b"550\n", None),
        (b"550\x7f", None),
        (b"550\xff", None),
        ("550\u{e4}".as_bytes(), None),
    ] {
        let device = with_field(3, bytes).examine().unwrap();
        assert_eq!(device.genuine().claim("driver_version"), expected, "{bytes:?}");
    }
}

#[test]
fn a_vbios_is_told_as_a_number_of_8_bytes_or_as_a_text() {
    for (bytes, version, release) in [
        (&[0x00, 0x9f, 0x00, 0x96, 0x01, 0, 0, 0][..], Some("0000000196009f00"), Some("96.00.9F.00.01")),
        (&[1, 2, 3, 4, 5, 6, 7, 8], Some("0807060504030201"), Some("04.03.02.01.05")),
        (b"96.10.55.00.01\0", Some("96.10.55.00.01"), Some("96.10.55.00.01")),
        (b"96.10.5", Some("96.10.5"), Some("96.10.5")),
        (b"96.10.55.", Some("96.10.55."), Some("96.10.55.")),
        (&[0xff; 7], None, None),
        (&[], None, None),
    ] {
        let device = with_field(6, bytes).examine().unwrap();
        let told = (device.genuine().claim("vbios_version"), device.genuine().claim("vbios_release"));
        assert_eq!(told, (version, release), "{bytes:?}");
    }
    let mut without = Room::new();
    without.opaque.retain(|(kind, _)| *kind != 6);
    assert_eq!(without.examine().unwrap().genuine().claim("vbios_version"), None);
}

#[test]
fn n5_modes_are_told_and_fit_one_another() {
    let told = |nvdec: Option<u8>, fabric: Option<u8>, feature: Option<u8>| {
        let mut room = Room::new();
        room.opaque.retain(|(kind, _)| ![11, 21, 36].contains(kind));
        room.opaque.extend(nvdec.map(|state| (11, vec![state])));
        room.opaque.extend(fabric.map(|state| (21, vec![state])));
        room.opaque.extend(feature.map(|flag| (36, vec![flag, 0])));
        room.examine().map(|device| {
            ["nvdec0", "protected_pcie", "feature"].map(|name| device.genuine().claim(name).map(str::to_owned))
        })
    };
    let claims = |claims: [Option<&str>; 3]| Ok(claims.map(|claim| claim.map(str::to_owned)));
    let (off, on) = (Some(0x55), Some(0xAA));
    assert_eq!(told(None, None, None), claims([None, None, None]));
    assert_eq!(told(off, off, Some(0)), claims([Some("off"), Some("off"), Some("spt")]));
    assert_eq!(told(on, off, Some(1)), claims([Some("on"), Some("off"), Some("mpt")]));
    assert_eq!(told(None, on, Some(2)), claims([None, Some("on"), Some("ppcie")]));
    assert_eq!(told(None, on, None), claims([None, Some("on"), None]));
    assert_eq!(told(None, None, Some(2)), claims([None, None, Some("ppcie")]));
    assert_eq!(told(None, on, Some(0)), Err(NvidiaError::ModeContradicts("spt")));
    assert_eq!(told(None, on, Some(1)), Err(NvidiaError::ModeContradicts("mpt")));
    assert_eq!(told(None, off, Some(2)), Err(NvidiaError::ModeContradicts("ppcie")));
}

#[test]
fn n5_a_mode_has_one_spelling() {
    let opaque = "the opaque data";
    for (kind, bytes, fault) in [
        (11, &[0x54][..], value(opaque, "NVDEC0 status", 0x54)),
        (21, &[0xAB], value(opaque, "protected PCIe status", 0xAB)),
        (36, &[3, 0], value(opaque, "feature flag", 3)),
        (36, &[0, 1], value(opaque, "feature flag", 256)),
        (11, &[0x55, 0], FormatError::Trailing { structure: opaque, count: 1 }),
        (21, &[0xAA, 0, 0], FormatError::Trailing { structure: opaque, count: 2 }),
        (36, &[1, 0, 0], FormatError::Trailing { structure: opaque, count: 1 }),
        (11, &[], FormatError::Truncated { structure: opaque, at: 0, needed: 1 }),
        (36, &[1], FormatError::Truncated { structure: opaque, at: 0, needed: 2 }),
    ] {
        assert_eq!(with_field(kind, bytes).examine().err(), Some(NvidiaError::Mode(fault)), "{kind} {bytes:?}");
    }
}

#[test]
fn the_model_is_the_one_text_of_nvidias_own_name() {
    // A subject alternative name as it stands in a certificate, with this behind the identifier.
    let with = |value: &[u8]| {
        let oid = [0x06, 0x0A, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x83, 0x1C, 0x82, 0x12, 0x01];
        let content = der(0x30, &[&der(0xA0, &[&oid, value])[..]]);
        let mut room = Room::new();
        room.leaf.subject_alt_names.clear();
        room.leaf.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], content));
        room.examine().map(|device| device.genuine().claim("model").unwrap().to_owned())
    };
    let text = |text: &str| der(0x0C, &[text.as_bytes()]);
    let spelt = |spelling: &str| with(&der(0xA0, &[&text(spelling)[..]]));
    let unknown = |model: &str| Err(NvidiaError::UnknownDevice(model.to_owned()));
    assert_eq!(spelt("NVIDIA:GH100:1"), Ok("GH100".to_owned()));
    assert_eq!(spelt("NVIDIA:GB100:"), Ok("GB100".to_owned()));
    // Something behind the text, outside of its wrapper or in it; another type of text.
    assert_eq!(with(&[der(0xA0, &[&text("NVIDIA:GH100:1")[..]]), vec![5, 0]].concat()), unknown(""));
    assert_eq!(with(&der(0xA0, &[&text("NVIDIA:GH100:1")[..], &[5, 0]])), unknown(""));
    assert_eq!(with(&der(0xA0, &[&der(0x16, &[b"NVIDIA:GH100:1"])[..]])), unknown(""));
    // Fewer and more parts, another maker, letters that no model has.
    for other in ["NVIDIA:GH100", "NVIDIA:GH100:1:2", "nvidia:GH100:1", ":GH100:1", "NVIDIA:GH-100:1", "NVIDIA:GH 1:1"]
    {
        assert_eq!(spelt(other), unknown(""), "{other}");
    }
    assert_eq!(spelt("NVIDIA:G:1"), unknown("G"));
    assert_eq!(spelt("NVIDIA:AD102:1"), unknown("AD102"));
    let long = |size: usize| format!("GH{}", "0".repeat(size - 2));
    assert_eq!(spelt(&format!("NVIDIA:{}:1", long(16))), Ok(long(16)));
    for size in [17, 18] {
        assert_eq!(spelt(&format!("NVIDIA:{}:1", long(size))), unknown(""));
    }
    // A name of somebody else's stands before it.
    let mut room = Room::new();
    let foreign = SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 412, 274, 2], "NVIDIA:GB100:1".into()));
    room.leaf.subject_alt_names.insert(0, foreign);
    assert_eq!(room.examine().unwrap().genuine().claim("model"), Some("GH100"));
    room.leaf.subject_alt_names = vec![device_info("NVIDIA:GB100:1")];
    assert_eq!(room.examine().unwrap().genuine().claim("model"), Some("GB100"));
}

#[test]
fn a_chips_number_is_18_digits_in_hexadecimal() {
    let with = |number: &str| Room::of("GH100", number).examine().map(|_| ());
    assert_eq!(with("41431D480FE5E87274"), Ok(()));
    for other in ["41431d480fe5e8727", "41431d480fe5e872741", "41431d480fe5e8727411", "41431d480fe5e8727g", "x"] {
        assert_eq!(with(other), Err(NvidiaError::ChipId), "{other}");
    }
}

#[test]
fn a_device_is_of_the_expected_kind() {
    let of = |model: &str, kind: Kind| {
        let mut room = Room::of(model, "50203eb31ad9ed0008");
        room.kind = kind;
        room.opaque.retain(|(kind, _)| *kind == 6);
        room.examine().map(|device| device.genuine().platform())
    };
    let other = |expected, actual: &str| Err(NvidiaError::OtherDevice { expected, actual: actual.to_owned() });
    for gpu in ["GH100", "GB100"] {
        assert_eq!(of(gpu, Kind::Gpu), Ok(Platform::NvidiaGpu));
        assert_eq!(of(gpu, Kind::Switch), other("switch", gpu));
    }
    assert_eq!(of("LS_10", Kind::Switch), Ok(Platform::NvidiaSwitch));
    assert_eq!(of("LS_10", Kind::Gpu), other("GPU", "LS_10"));
    // A GPU lists its switches where a switch tells its own number.
    assert!(with_field(22, &[1; 8]).examine().is_ok());
}

#[test]
fn a_firmwares_identity_has_one_spelling_with_hopper() {
    let dice = |content: Vec<u8>| {
        let mut room = Room::new();
        room.leaf.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 23, 133, 5, 4, 1], content)];
        room.examine().map(|_| ())
    };
    let (version, key) = (der(0x02, &[&[1]]), der(0x30, &[]));
    let with = |tag: u8, fwid: &[u8]| der(tag, &[&version[..], &key, fwid]);
    let good = fwid_value(&[5; 48]);
    let refused = Err(NvidiaError::DiceExtension);
    assert_eq!(dice(with(0x30, &good)), Ok(()));
    // The outer structure: something behind it, a set, and a structure of another class.
    assert_eq!(dice([with(0x30, &good), vec![5, 0]].concat()), refused);
    assert_eq!(dice(with(0x31, &good)), refused);
    assert_eq!(dice(with(0xB0, &good)), refused);
    assert_eq!(dice(with(0x70, &good)), refused);
    // Fewer and more elements.
    assert_eq!(dice(der(0x30, &[&version[..], &good])), refused);
    assert_eq!(dice(der(0x30, &[&version[..], &key, &good, &good])), refused);
    assert_eq!(dice(der(0x30, &[])), refused);
    // The identity itself, in each of its parts.
    let algorithm = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
    let sha256 = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
    let as_octets = [&[0x04], &algorithm[1..]].concat();
    let digest = der(0x04, &[&[5; 48]]);
    assert_eq!(dice(with(0x30, &der(0x30, &[&algorithm[..], &digest]))), Ok(()));
    for (tag, parts) in [
        (0x31, vec![&algorithm[..], &digest]),
        (0xB0, vec![&algorithm[..], &digest]),
        (0x30, vec![&sha256[..], &digest]),
        (0x30, vec![&as_octets[..], &digest]),
        (0x30, vec![&algorithm[..], &digest, &[5, 0]]),
        (0x30, vec![&algorithm[..]]),
        (0x30, vec![]),
    ] {
        assert_eq!(dice(with(0x30, &der(tag, &parts))), refused, "{tag} {parts:?}");
    }
    for (tag, size) in [(0x0C, 48), (0x04, 47), (0x04, 49), (0x04, 0)] {
        let digest = der(tag, &[&vec![5; size]]);
        assert_eq!(dice(with(0x30, &der(0x30, &[&algorithm[..], &digest]))), refused, "{tag} {size}");
    }
}

#[test]
fn a_firmwares_identity_is_the_first_one_with_blackwell() {
    let dice = |parts: &[&[u8]]| {
        let mut room = Room::of("GB100", "41e6de55c3bdc14277");
        room.leaf.custom_extensions =
            vec![CustomExtension::from_oid_content(&[2, 23, 133, 5, 4, 1, 1], der(0x30, parts))];
        room.examine().map(|_| ())
    };
    let (ours, other) = (fwid_value(&[5; 48]), fwid_value(&[6; 48]));
    let fwids = |first: &[u8], second: &[u8]| der(0xA6, &[first, second]);
    let debug = der(0x87, &[&[4, 0x10]]);
    let refused = Err(NvidiaError::DiceExtension);
    // Without flags the certificate says nothing of the firmware's state.
    assert_eq!(dice(&[&fwids(&ours, &other)]), Ok(()));
    assert_eq!(dice(&[&der(0x80, &[b"NVIDIA"]), &fwids(&ours, &[]), &der(0x88, &[&[1]])]), Ok(()));
    assert_eq!(dice(&[&fwids(&other, &ours)]), Err(NvidiaError::FwidMismatch));
    assert_eq!(dice(&[&fwids(&ours, &other), &debug]), Err(NvidiaError::DebugFirmware(0x1000_0000)));
    assert_eq!(dice(&[&debug]), refused);
    assert_eq!(dice(&[&fwids(&[], &[])]), refused);
    assert_eq!(dice(&[]), refused);
    // A field that has no place of its own.
    assert_eq!(dice(&[&fwids(&ours, &other), &[5, 0]]), refused);
    // Each flag for itself, and all that are not of them.
    for (flags, expected) in [
        (0x8FFF_FFFF_u32, Ok(())),
        (0x4000_0000, Err(NvidiaError::DebugFirmware(0x4000_0000))),
        (0x2000_0000, Err(NvidiaError::DebugFirmware(0x2000_0000))),
        (0x1000_0000, Err(NvidiaError::DebugFirmware(0x1000_0000))),
        (0x7000_0000, Err(NvidiaError::DebugFirmware(0x7000_0000))),
    ] {
        let mut room = Room::of("GB100", "41e6de55c3bdc14277");
        let bits = [&[0], &flags.to_be_bytes()[..]].concat();
        room.leaf.custom_extensions = vec![tcb_info_of(&[5; 48], &bits)];
        assert_eq!(room.examine().map(|_| ()), expected, "{flags:x}");
    }
}

#[test]
fn a_collector_writes_up_to_128_devices_in_4_mib() {
    let json = |count: usize, size: usize| {
        let entry = "{\"arch\":\"HOPPER\",\"evidence\":\"AQI=\",\"certificate\":\"Aw==\"}";
        let mut json = format!("[{}]", vec![entry; count].join(","));
        json.push_str(&" ".repeat(size.saturating_sub(json.len())));
        DeviceEvidence::from_collector(json.as_bytes())
    };
    let device = DeviceEvidence { report: vec![1, 2], certificates: vec![3] };
    assert_eq!(json(1, 0), Some(vec![device.clone()]));
    assert_eq!(json(128, 0), Some(vec![device.clone(); 128]));
    assert_eq!((json(0, 0), json(129, 0), json(130, 0)), (None, None, None));
    assert_eq!(json(1, 4_194_304), Some(vec![device]));
    assert_eq!((json(1, 4_194_305), json(1, 4_194_306)), (None, None));
    for other in ["[{\"evidence\":\"AQI=\",\"certificate\":\"!\"}]", "[{\"evidence\":\"!\",\"certificate\":\"Aw==\"}]"]
    {
        assert_eq!(DeviceEvidence::from_collector(other.as_bytes()), None);
    }
}

#[test]
fn a_compared_device_says_so_once_beside_all_else_that_it_says() {
    let (room, signer) = (Room::new(), Signer::new());
    let rim = |manifest: Manifest| signer.verify(&signer.sign(&manifest)).unwrap();
    let vbios = rim(Manifest::vbios(vec![(2, true, vec![[2; 48]]), (7, true, vec![[7; 48]])]));
    let driver = rim(Manifest::driver(vec![(0, true, vec![[0; 48]])]));
    let device = room.examine().unwrap();
    let before: Vec<_> = device.genuine().claims().to_vec();
    let compared = device.compare(&[vbios, driver]).unwrap();
    let (said, kept) = (compared.genuine().claims(), before.len() - 1);
    assert_eq!(compared.genuine().claim("reference_values"), Some("match"));
    assert_eq!(compared.genuine().claim("compared"), Some("3"));
    assert_eq!(said.len(), kept + 2);
    let others: Vec<_> = before.into_iter().filter(|claim| claim.name != "reference_values").collect();
    assert_eq!(said[..kept], others);
    assert_eq!(compared.genuine().assurance(), Assurance::RevocationUnknown);
}

/// What comes of a device with this response.
fn responded(change: impl Fn(&Room, &mut Ocsp), response: impl Fn(Vec<u8>) -> Vec<u8>) -> Result<String, NvidiaError> {
    let (mut room, mut ocsp) = (Room::new(), Ocsp::good());
    change(&room, &mut ocsp);
    room.responses = vec![response(room.respond(&ocsp))];
    room.examine().map(|device| device.genuine().claim("revocation").unwrap().to_owned())
}

fn said(change: impl Fn(&mut Ocsp)) -> Result<String, NvidiaError> {
    responded(|_, ocsp| change(ocsp), |response| response)
}

fn holds() -> Result<String, NvidiaError> {
    Ok("1 of 2 stand".to_owned())
}

fn unusable(fault: CertificateFault) -> Result<String, NvidiaError> {
    Err(NvidiaError::Revocation(RevocationError::Response(fault)))
}

fn malformed() -> Result<String, NvidiaError> {
    unusable(CertificateFault::Malformed)
}

#[test]
fn n5_an_ocsp_response_holds_from_its_first_second_to_its_last() {
    // It is the first second of June.
    assert_eq!(said(|ocsp| ocsp.from = "20260601000000Z"), holds());
    assert_eq!(said(|ocsp| ocsp.from = "20260601000001Z"), unusable(CertificateFault::NotYetValid));
    assert_eq!(said(|ocsp| ocsp.until = Some("20260601000000Z")), holds());
    assert_eq!(said(|ocsp| ocsp.until = Some("20260601000001Z")), holds());
    assert_eq!(said(|ocsp| ocsp.until = Some("20260531235959Z")), unusable(CertificateFault::Expired));
    for other in [
        "",
        "2026050100000Z",
        "202605010000001Z",
        "20260501000000.5Z",
        "20260501000000z",
        "202605010000000",
        "20260501 00000Z",
        "20260501T00000Z",
        "20261301000000Z",
        "20260532000000Z",
        "20260501240000Z",
        "2026050100000\u{e4}",
        "20260501000\u{e4}0Z",
        "202\u{e4}501000000Z",
    ] {
        assert_eq!(said(|ocsp| ocsp.from = other), malformed(), "{other}");
        assert_eq!(said(|ocsp| ocsp.until = Some(other)), malformed(), "{other}");
    }
}

#[test]
fn n5_an_ocsp_response_is_about_one_certificate_by_issuer_name_issuer_key_and_number() {
    // Each alone is of another certificate: the name of the root, its key, another number.
    assert_eq!(said(|ocsp| ocsp.issuer = (2, 1)), unusable(CertificateFault::Issuer));
    assert_eq!(said(|ocsp| ocsp.issuer = (1, 2)), unusable(CertificateFault::Issuer));
    assert_eq!(said(|ocsp| ocsp.issuer = (2, 2)), unusable(CertificateFault::Issuer));
    assert_eq!(said(|ocsp| ocsp.serial = 6), unusable(CertificateFault::Issuer));
    assert_eq!(said(|ocsp| (ocsp.issuer, ocsp.serial) = ((2, 2), 6)), unusable(CertificateFault::Issuer));
    for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
        assert_eq!(said(|ocsp| ocsp.hash = hash), holds());
    }
}

#[test]
fn n5_each_status_of_an_ocsp_response_is_itself() {
    let status = |tag: u8| said(|ocsp| ocsp.status = der(tag, &[]));
    assert_eq!(status(0x80), holds());
    let leaf = || "FMC LF".to_owned();
    assert_eq!(status(0xA1), Err(NvidiaError::Revocation(RevocationError::Revoked(leaf()))));
    assert_eq!(status(0x82), Err(NvidiaError::Revocation(RevocationError::Unknown(leaf()))));
    // A number that is none of these, and the same numbers in other classes.
    for tag in [0x83, 0x01, 0x02, 0x40, 0x41, 0x42] {
        assert_eq!(status(tag), malformed(), "{tag:x}");
    }
}

#[test]
fn n5_a_responder_is_named_or_known_by_its_key() {
    let named = |tag: u8| said(|ocsp| ocsp.responder_id = der(tag, &[&der(0x04, &[&[1; 20]])[..]]));
    assert_eq!(named(0xA2), holds());
    assert_eq!(named(0xA1), holds());
    // Another number, a version, and the numbers 1 and 2 of another class.
    for tag in [0xA3, 0xA0, 0x02, 0x01, 0x61, 0x62] {
        assert_eq!(named(tag), malformed(), "{tag:x}");
    }
}

#[test]
fn n5_elements_of_an_ocsp_response_have_their_type_class_and_form() {
    let replaced = |from: &[u8], to: &[u8]| said(|ocsp| ocsp.replaced = Some((from.to_vec(), to.to_vec())));
    let (time, until) = (b"\x18\x0f20260501000000Z", b"\xa0\x11\x18\x0f20260701000000Z");
    assert_eq!(replaced(time, time), holds());
    // A time of another type, in pieces, of another class.
    for tag in [0x17, 0x38, 0x58, 0x98, 0xD8] {
        assert_eq!(replaced(&time[..2], &[tag, 0x0f]), malformed(), "{tag:x}");
    }
    // What is wrapped has its number, its class and its form.
    assert_eq!(replaced(until, until), holds());
    for tag in [0xA1, 0xA2, 0x80, 0x60, 0xE0, 0x30] {
        assert_eq!(replaced(&until[..4], &[tag, 0x11, 0x18, 0x0f]), malformed(), "{tag:x}");
    }
    let extension = |tag: u8, parts: &[&[u8]]| said(|ocsp| ocsp.extensions = der(tag, &[&der(0x30, parts)[..]]));
    let one = der(0x30, &[&der(0x06, &[&[0x2A]])[..], &der(0x04, &[])]);
    assert_eq!(extension(0xA1, &[]), holds());
    assert_eq!(extension(0xA1, &[&one]), holds());
    assert_eq!(extension(0xA1, &[&one, &one]), holds());
    assert_eq!(extension(0xA0, &[&one]), malformed());
    assert_eq!(extension(0xA2, &[&one]), malformed());
    assert_eq!(extension(0x81, &[&one]), malformed());
    let open = der(0x30, &[&der(0x06, &[&[0x2A]])[..]]);
    let more = der(0x30, &[&der(0x06, &[&[0x2A]])[..], &der(0x04, &[]), &[5, 0]]);
    let critical = der(0x30, &[&der(0x06, &[&[0x2A]])[..], &[1, 1, 0xFF], &der(0x04, &[])]);
    for bad in [open, more, critical] {
        assert_eq!(extension(0xA1, &[&bad]), malformed());
        assert_eq!(extension(0xA1, &[&one, &bad]), malformed());
    }
    // Something behind the extensions.
    let behind = |ocsp: &mut Ocsp| ocsp.extensions = [der(0xA1, &[&der(0x30, &[&one[..]])[..]]), vec![5, 0]].concat();
    assert_eq!(said(behind), malformed());
}

#[test]
fn n5_what_stands_around_an_ocsp_response_is_one_successful_basic_response() {
    let changed = |from: &[u8], to: &[u8]| responded(|_, _| (), |response| replaced(&response, from, to));
    let outcome = [0x0A, 0x01, 0x00];
    let kind = [0x06, 0x09, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
    let algorithm = [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03];
    assert_eq!(changed(&outcome, &outcome), holds());
    // Not successful; a number in the place of the outcome; another kind of response.
    assert_eq!(changed(&outcome, &[0x0A, 0x01, 0x06]), malformed());
    assert_eq!(changed(&outcome, &[0x02, 0x01, 0x00]), malformed());
    assert_eq!(changed(&kind, &[&kind[..10], &[2]].concat()), malformed());
    // ECDSA with SHA-256 is known and did not sign this; with SHA-512 it is not known.
    let with = |last: u8| changed(&algorithm, &[&algorithm[..11], &[last]].concat());
    assert_eq!(with(2), unusable(CertificateFault::Signature));
    assert_eq!(with(4), malformed());
    // Bits of the signature that do not count.
    let unused = |response: Vec<u8>| {
        let at = response.windows(12).position(|window| window == algorithm).unwrap() + 14;
        let mut changed = response;
        assert_eq!((changed[at - 2], changed[at]), (0x03, 0));
        changed[at] = 1;
        changed
    };
    assert_eq!(responded(|_, _| (), unused), malformed());
    for behind in [&[0][..], &[5, 0]] {
        assert_eq!(responded(|_, _| (), |response| [response.as_slice(), behind].concat()), malformed());
    }
    assert_eq!(responded(|_, _| (), |response| response[..response.len() - 1].to_vec()), malformed());
}

#[test]
fn n5_an_ocsp_response_is_read_up_to_64_kib_and_no_further() {
    // A signature is of one of several sizes: tried until the whole is of the size that is meant.
    let sized = |size: usize| {
        let mut room = Room::new();
        let mut filling = size - 1000;
        let mut found = None;
        while found.is_none() {
            let extension = der(0x30, &[&der(0x06, &[&[0x2A]])[..], &der(0x04, &[&vec![0; filling]])]);
            let extensions = der(0xA1, &[&der(0x30, &[&extension[..]])[..]]);
            let response = room.respond(&Ocsp { extensions, ..Ocsp::good() });
            filling = filling + size - response.len();
            found = Some(response).filter(|response| response.len() == size);
        }
        room.responses.extend(found);
        room.examine().map(|device| device.genuine().claim("revocation").unwrap().to_owned())
    };
    assert_eq!(sized(65_536), holds());
    assert_eq!((sized(65_537), sized(65_538)), (malformed(), malformed()));
}

/// A manifest of one measurement.
fn manifest() -> Manifest {
    Manifest::vbios(vec![(2, true, vec![[2; 48]])])
}

/// What comes of a manifest that is changed before it is signed.
fn signed(change: impl Fn(&mut Manifest)) -> Result<Rim, RimError> {
    let (signer, mut manifest) = (Signer::new(), manifest());
    change(&mut manifest);
    signer.verify(&signer.sign(&manifest))
}

#[test]
fn a_manifest_tells_what_it_is_of_and_what_it_lists() {
    let signer = Signer::new();
    let listed = vec![(0, true, vec![[3; 48], [4; 48]]), (5, false, vec![[5; 48]]), (254, true, vec![[6; 48]])];
    let rim = signer.verify(&signer.sign(&Manifest::vbios(listed))).unwrap();
    assert_eq!((rim.tag_id(), rim.product(), rim.edition()), ("tag", "GH100", "GPU"));
    assert_eq!((rim.version(), rim.signer()), ("96.00.9F.00.01", "RIM Signer"));
    let measurements: Vec<_> = rim.measurements().iter().collect();
    assert_eq!(measurements, [(&0, &vec![[3; 48], [4; 48]]), (&254, &vec![[6; 48]])]);
    assert!(!rim.is_revocation_known());
}

#[test]
fn each_resource_of_a_manifest_is_a_measurement_in_all_its_parts() {
    let hash = |number: usize| format!(" ns2:Hash{number}=\"{}\"", "ab".repeat(48));
    let with = |name: &str, active: &str, alternatives: &str, index: &str, size: &str, kind: &str, hashes: &str| {
        let extra = format!(
            "<ns0:{name} active=\"{active}\" alternatives=\"{alternatives}\" index=\"{index}\" size=\"{size}\" \
             type=\"{kind}\"{hashes}></ns0:{name}>"
        );
        signed(|manifest| manifest.payload_extra.clone_from(&extra)).map(|rim| rim.measurements().len())
    };
    let one = hash(0);
    let indexed = |index: &str| with("Resource", "True", "1", index, "48", "Measurement", &one);
    assert_eq!(indexed("9"), Ok(2));
    assert_eq!(with("Resource", "False", "1", "9", "48", "Measurement", &one), Ok(1));
    // Its name alone, its type alone.
    let structure = |name| Err(RimError::Structure(name));
    assert_eq!(with("File", "False", "1", "9", "48", "Measurement", &one), structure("Resource"));
    assert_eq!(with("Resource", "False", "1", "9", "48", "Other", &one), structure("Resource"));
    assert_eq!(indexed("254"), Ok(2));
    for index in ["255", "256", "257", "-1", "", "x"] {
        assert_eq!(indexed(index), structure("index"), "{index}");
    }
    let fault = |index, field| Err(RimError::Measurement { index, field });
    assert_eq!(indexed("2"), fault(2, "index"));
    for active in ["true", "false", "", "Yes"] {
        assert_eq!(with("Resource", active, "1", "9", "48", "Measurement", &one), fault(9, "active"), "{active}");
    }
    for size in ["47", "49", "48 ", "", "32"] {
        assert_eq!(with("Resource", "True", "1", "9", size, "Measurement", &one), fault(9, "size"), "{size}");
    }
    // As many values as it says, 1 to 32.
    let listing = |says: &str, count: usize| {
        // In the order of their names, as the canonical form has them.
        let mut hashes: Vec<String> = (0..count).map(hash).collect();
        hashes.sort_by(|left, right| left.split('=').next().cmp(&right.split('=').next()));
        with("Resource", "True", says, "9", "48", "Measurement", &hashes.concat())
    };
    assert_eq!((listing("2", 2), listing("32", 32)), (Ok(2), Ok(2)));
    for (says, count) in [("0", 0), ("0", 1), ("1", 0), ("1", 2), ("2", 1), ("33", 33), ("34", 34), ("", 1), ("x", 1)] {
        assert_eq!(listing(says, count), fault(9, "alternatives"), "{says} {count}");
    }
    for digits in ["", "ab", &"ab".repeat(47), &"ab".repeat(49), &"ag".repeat(48)] {
        let hashes = format!(" ns2:Hash0=\"{digits}\"");
        assert_eq!(with("Resource", "True", "1", "9", "48", "Measurement", &hashes), fault(9, "Hash"), "{digits}");
    }
    let second = with("Resource", "True", "1", "9", "48", "Measurement", &hash(1));
    assert_eq!(second, fault(9, "Hash"));
}

#[test]
fn words_of_a_manifest_are_short_and_printable() {
    let product =
        |product: &str| signed(|manifest| manifest.product = product.to_owned()).map(|rim| rim.product().to_owned());
    let version =
        |version: &str| signed(|manifest| manifest.version = version.to_owned()).map(|rim| rim.version().to_owned());
    assert_eq!(product("GH 100"), Ok("GH 100".to_owned()));
    let long = "x".repeat(130);
    assert_eq!(product(&long[..128]), Ok(long[..128].to_owned()));
    assert_eq!(version(&long[..128]), Ok(long[..128].to_owned()));
    for other in [&long[..129], &long, "GH\u{e9}", "\u{7f}"] {
        assert_eq!(product(other), Err(RimError::Structure("product")), "{other}");
        assert_eq!(version(other), Err(RimError::Structure("colloquialVersion")), "{other}");
    }
}

#[test]
fn what_a_manifest_is_signed_with_is_said_once_and_without_parameters() {
    let with =
        |from: &str, to: &str| signed(|manifest| manifest.replaced = (from.to_owned(), to.to_owned())).map(|_| ());
    assert_eq!(with("", ""), Ok(()));
    // The older canonical form is the same on such a document.
    assert_eq!(with(C14N, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"), Ok(()));
    assert_eq!(with(C14N, "http://www.w3.org/2001/10/xml-exc-c14n#"), Err(RimError::Algorithm));
    let (digest, other) = ("xmldsig-more#sha384\"></ds:DigestMethod>", "xmldsig-more#sha224\"></ds:DigestMethod>");
    assert_eq!(with(digest, other), Err(RimError::Algorithm));
    for method in ["CanonicalizationMethod", "SignatureMethod", "DigestMethod"] {
        let end = format!("</ds:{method}>");
        assert_eq!(with(&end, &format!("<ds:Parameter></ds:Parameter>{end}")), Err(RimError::Algorithm), "{method}");
        let another = format!("{end}<ds:{method} Algorithm=\"x\"></ds:{method}>");
        assert_eq!(with(&end, &another), Err(RimError::Structure(method)), "{method}");
    }
    let end = "</ds:SignedInfo>";
    assert_eq!(with(end, &format!("<ds:Object></ds:Object>{end}")), Err(RimError::Structure("Reference")));
    // A digest may be broken into lines, and holds nothing but itself.
    assert_eq!(with("</ds:DigestValue>", "\n </ds:DigestValue>"), Ok(()));
    let inside = with("</ds:DigestValue>", "<ds:Object></ds:Object></ds:DigestValue>");
    assert_eq!(inside, Err(RimError::Structure("DigestValue")));
    assert_eq!(with("</ds:DigestValue>", "!</ds:DigestValue>"), Err(RimError::Structure("DigestValue")));
}

#[test]
fn a_manifest_is_transformed_in_two_ways_in_their_order() {
    let with = |transforms: &[&str]| signed(|manifest| manifest.transforms = transforms.concat()).map(|_| ());
    let (enveloped, canonical) = (transform(&format!("{DSIG}enveloped-signature")), transform(C14N));
    let xpath = transform("http://www.w3.org/TR/1999/REC-xpath-19991116");
    let refused = Err(RimError::Algorithm);
    assert_eq!(with(&[&enveloped, &canonical]), Ok(()));
    // One alone, in the other order, one of them another, one more.
    assert_eq!(with(&[&enveloped]), refused);
    assert_eq!(with(&[&canonical]), refused);
    assert_eq!(with(&[&canonical, &enveloped]), refused);
    assert_eq!(with(&[&xpath, &canonical]), refused);
    assert_eq!(with(&[&enveloped, &xpath]), refused);
    assert_eq!(with(&[&enveloped, &canonical, &canonical]), refused);
    // Of another name; with something inside.
    for at in 0..2 {
        let mut transforms = [enveloped.clone(), canonical.clone()];
        transforms[at] = transforms[at].replace("ds:Transform", "ds:Other");
        assert_eq!(with(&[&transforms[0], &transforms[1]]), refused);
        let mut transforms = [enveloped.clone(), canonical.clone()];
        transforms[at] = transforms[at].replace("</ds:Transform>", "<ds:XPath></ds:XPath></ds:Transform>");
        assert_eq!(with(&[&transforms[0], &transforms[1]]), refused);
    }
}

#[test]
fn a_manifest_has_up_to_eight_certificates_and_nothing_beside_them() {
    let signer = Signer::new();
    let xml = signer.sign(&manifest());
    let root = signer.root_certificate();
    let with = |more: &str| signer.verify(&xml.replace("</ds:X509Data>", &format!("{more}</ds:X509Data>"))).map(|_| ());
    let refused = Err(RimError::Structure("X509Data"));
    // The root has issued itself, so it may stand above itself.
    assert_eq!((with(&root), with(&root.repeat(7))), (Ok(()), Ok(())));
    assert_eq!((with(&root.repeat(8)), with(&root.repeat(9))), (refused.clone(), refused.clone()));
    assert_eq!(with("<ds:X509SubjectName></ds:X509SubjectName>"), refused);
    assert_eq!(with(&root.replace("X509Certificate", "X509CRL")), refused);
    // Broken into lines it is the same, with something inside it is none.
    let (text, end) = (STANDARD.encode([0x30, 0x00]), "</ds:X509Certificate>");
    assert_eq!(with(&root.replace(end, &format!("\n{end}"))), Ok(()));
    assert_eq!(with(&root.replace(end, &format!("<ds:a/>{end}"))), Err(RimError::Structure("X509Certificate")));
    let malformed = with(&format!("<ds:X509Certificate>{text}{end}"));
    assert_eq!(malformed, Err(RimError::Certificate(CertificateFault::Malformed)));
}
