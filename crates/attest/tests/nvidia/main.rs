//! NVIDIA devices and manifests against everything that must be refused, each with the exact reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../corpus/mod.rs"]
mod corpus;
mod forge;
mod limits;

use attest::{
    FormatError, HashAlgorithm, Tier,
    certificate::{Certificate, CertificateFault},
    nvidia::{
        self, Device, DeviceEvidence, Endorsements, Kind, ManifestOf, NvidiaError, References, Report, RevocationError,
        Rim, RimError, Statements, XmlFault,
    },
    platform::{Assurance, Genuine, HardwareIds, PlatformPolicy, Refusal, Unfit},
    roots::Authority,
};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use corpus::{Case, flip};
use forge::{
    Manifest, Ocsp, Room, Signer, composite_device_id, der, device_info, now, tcb_info, tcb_info_of, transform,
};

fn examine_case(case: &Case, kind: Kind, report: Vec<u8>, certificates: Vec<u8>) -> Result<Device, NvidiaError> {
    let endorsements = Endorsements {
        anchors: Authority::NvidiaDevice.anchors(),
        revocation: Statements::default(),
        references: References::Policy,
    };
    Device::examine(kind, &DeviceEvidence { report, certificates }, &endorsements, case.now())
}

fn revocation(error: RevocationError) -> NvidiaError {
    NvidiaError::Revocation(error)
}

#[test]
fn a_device_in_which_all_is_right_passes_seven_steps() {
    let room = Room::new();
    let device = room.examine().unwrap();
    assert_eq!(device.genuine().bound(), [9; 32]);
    assert_eq!(device.genuine().hardware_id(), Some("41431d480fe5e87274"));
    assert_eq!(device.genuine().claim("vbios_release"), Some("96.00.9F.00.01"));
    assert_eq!(device.genuine().claim("reference_values"), Some("not-compared"));
    let signer = Signer::new();
    let manifest = Manifest::vbios(vec![(2, true, vec![[0xAA; 48], [2; 48]]), (3, false, vec![[0; 48]])]);
    let rim = signer.verify(&signer.sign(&manifest)).unwrap();
    assert_eq!((rim.product(), rim.version(), rim.tag_id()), ("GH100", "96.00.9F.00.01", "tag"));
    let driver = signer.verify(&signer.sign(&Manifest::driver(vec![(1, true, vec![[1; 48]])]))).unwrap();
    let compared = device.compare(&[rim, driver]).unwrap();
    let numbers: Vec<u8> = compared.genuine().steps().iter().map(|step| step.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(compared.genuine().claim("compared"), Some("2"));
}

#[test]
fn a1_every_signed_bit_and_every_bit_of_the_signature_of_a_real_report_counts() {
    let Some(case) = Case::one("nvidia-gpu/hopper-550.90") else { return };
    let (report, certificates) = (case.bytes("report"), case.bytes("cert_chain"));
    let leaf = Certificate::split(&certificates).unwrap().remove(0);
    let leaf = Certificate::parse(&leaf).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, leaf.key_bits());
    for bit in 0..report.len() * 8 {
        let changed = flip(&report, bit);
        let Ok(parsed) = Report::parse(&changed) else { continue };
        assert_eq!((parsed.signed().len(), parsed.signature().len()), (report.len() - 96, 96), "bit {bit}");
        assert!(key.verify(parsed.signed(), parsed.signature()).is_err(), "bit {bit}");
    }
    for bit in (0..report.len() * 8).step_by(131) {
        let refused = examine_case(&case, Kind::Gpu, flip(&report, bit), certificates.clone()).err().unwrap();
        assert!(matches!(refused, NvidiaError::Report(_) | NvidiaError::Signature), "bit {bit}: {refused:?}");
    }
}

#[test]
fn a1_the_unsigned_bits_of_a_chain_are_those_of_its_root() {
    let room = Room::new();
    let good = room.evidence();
    let ends: Vec<usize> = Certificate::split(&good.certificates).unwrap().iter().map(Vec::len).collect();
    let signed = ends[0] + ends[1];
    for bit in (0..good.certificates.len() * 8).step_by(5) {
        let certificates = flip(&good.certificates, bit);
        let accepted = room.examine_evidence(&DeviceEvidence { certificates, ..good.clone() }).is_ok();
        assert!(!accepted || bit / 8 >= signed, "bit {bit}");
    }
}

#[test]
fn a1_what_is_not_signed_in_a_manifest_is_its_root_certificate() {
    let Some(case) = Case::one("nvidia-rim/nv-gpu-driver-gh100-550-144-03") else { return };
    let xml = case.bytes("rim");
    let anchors = Authority::NvidiaRim.anchors();
    assert!(Rim::verify(&xml, &anchors, &Statements::default(), case.now()).is_ok());
    let text = std::str::from_utf8(&xml).unwrap();
    let root = text.rfind("<ds:X509Certificate>").unwrap()..text.rfind("</ds:X509Certificate>").unwrap();
    // One bit of every ninth byte, each place of a bit in turn; and every bit around the signature's own values.
    let values = text.find("<ds:DigestValue>").unwrap()..text.find("<ds:KeyInfo>").unwrap();
    let strides = (0..xml.len()).step_by(9).map(|byte| byte * 8 + byte / 9 % 8);
    for bit in strides.chain(values.flat_map(|byte| [byte * 8, byte * 8 + 1])) {
        let accepted = Rim::verify(&flip(&xml, bit), &anchors, &Statements::default(), case.now()).is_ok();
        assert!(!accepted || root.contains(&(bit / 8)), "bit {bit}");
    }
}

#[test]
fn a2_truncated_or_lengthened_reports_are_refused() {
    let Some(case) = Case::one("nvidia-gpu/hopper-550.90") else { return };
    let report = case.bytes("report");
    for size in 0..report.len() {
        assert!(matches!(Report::parse(&report[..size]), Err(FormatError::Truncated { .. })), "size {size}");
    }
    let longer = [report.as_slice(), &[1]].concat();
    assert_eq!(Report::parse(&longer), Err(FormatError::Trailing { structure: "the report", count: 1 }));
    // Zeros are the padding of a collector's buffer and change nothing.
    let padded = [report.as_slice(), &[0; 100]].concat();
    assert_eq!(Report::parse(&padded), Report::parse(&report));
    let large = [report.as_slice(), &[0; 16384]].concat();
    assert!(matches!(Report::parse(&large), Err(FormatError::TooLarge { .. })));
}

#[test]
fn a2_truncated_or_lengthened_manifests_and_chains_are_refused() {
    let signer = Signer::new();
    let xml = signer.sign(&Manifest::vbios(vec![(2, true, vec![[2; 48]])]));
    for size in 0..xml.len() {
        assert_eq!(signer.verify(&xml[..size]), Err(RimError::Xml(XmlFault::Malformed)), "size {size}");
    }
    assert_eq!(signer.verify(&format!("{xml}x")), Err(RimError::Xml(XmlFault::Malformed)));
    assert!(signer.verify(&format!("{xml}\n")).is_ok());
    let room = Room::new();
    let good = room.evidence();
    let ends: Vec<usize> = Certificate::split(&good.certificates).unwrap().iter().map(Vec::len).collect();
    for size in 0..good.certificates.len() {
        let certificates = good.certificates[..size].to_vec();
        let outcome = room.examine_evidence(&DeviceEvidence { certificates, ..good.clone() });
        // Without the root itself the chain still ends under the pinned key, and is then too short to be a device's.
        if size == ends[0] + ends[1] {
            assert_eq!(outcome, Err(NvidiaError::ChainTooShort));
        } else {
            assert!(outcome.is_err(), "size {size}");
        }
    }
}

#[test]
fn a7_evidence_of_another_device_or_platform_is_refused() {
    let (Some(gpu), Some(switch)) = (Case::one("nvidia-gpu/hopper-550.90"), Case::one("nvidia-switch/ls10-switch"))
    else {
        return;
    };
    let parts = |case: &Case| (case.bytes("report"), case.bytes("cert_chain"));
    let ((gpu_report, gpu_chain), (switch_report, switch_chain)) = (parts(&gpu), parts(&switch));
    let refused = examine_case(&gpu, Kind::Switch, gpu_report.clone(), gpu_chain.clone());
    assert_eq!(refused, Err(NvidiaError::OtherDevice { expected: "switch", actual: "GH100".to_owned() }));
    let refused = examine_case(&gpu, Kind::Gpu, switch_report.clone(), switch_chain);
    assert_eq!(refused, Err(NvidiaError::OtherDevice { expected: "GPU", actual: "LS_10".to_owned() }));
    assert_eq!(examine_case(&gpu, Kind::Gpu, switch_report, gpu_chain.clone()), Err(NvidiaError::Signature));
    for kind in ["snp", "tdx", "sgx", "nitro", "tpm-quote"] {
        let Some(cases) = Case::all(kind) else { return };
        let case = cases.first().unwrap();
        for (role, file) in case.entry["files"].as_object().unwrap() {
            if file.is_object() {
                let refused = examine_case(&gpu, Kind::Gpu, case.bytes(role), gpu_chain.clone()).err().unwrap();
                assert!(refused.is_malformed(), "{kind} {role}: {refused:?}");
                assert!(
                    Rim::verify(&case.bytes(role), &Authority::NvidiaRim.anchors(), &Statements::default(), now())
                        .is_err()
                );
            }
        }
    }
}

#[test]
fn messages_other_than_those_that_were_asked_for_are_refused() {
    let room = Room::new();
    let good = room.report();
    let fields = [
        (0, 0x12, "version"),
        (1, 0x60, "code"),
        (2, 0x00, "attributes"),
        (3, 0x01, "operation"),
        (37, 0x12, "version of the response"),
        (38, 0x61, "code of the response"),
    ];
    for (at, value, field) in fields {
        let mut report = good.clone();
        report[at] = value;
        match Report::parse(&report) {
            Err(FormatError::Value { field: found, value: read, .. }) => {
                assert_eq!((found, read), (field, u64::from(value)));
            }
            other => panic!("{field}: {other:?}"),
        }
    }
    // An index twice, another specification, another size, a raw value.
    for (at, value) in [(45, 2), (46, 2), (47, 52), (49, 0x81), (50, 47)] {
        let mut report = good.clone();
        report[at] = value;
        assert!(matches!(Report::parse(&report), Err(FormatError::Value { .. })), "at {at}");
    }
    let mut room = Room::new();
    room.opaque.push((3, b"550.90.08".to_vec()));
    assert!(matches!(room.examine(), Err(NvidiaError::Report(FormatError::Value { field: "field", value: 3, .. }))));
}

#[test]
fn the_firmware_of_the_report_is_that_of_the_certificate() {
    let mut room = Room::new();
    room.opaque[2].1 = vec![6; 48];
    assert_eq!(room.examine(), Err(NvidiaError::FwidMismatch));
    room.opaque.remove(2); // an old driver
    assert!(room.examine().is_ok());
    room.leaf.custom_extensions.clear();
    assert_eq!(room.examine(), Err(NvidiaError::FwidMissing));
    room.leaf.custom_extensions = vec![composite_device_id(&[5; 32])];
    assert_eq!(room.examine(), Err(NvidiaError::DiceExtension));
    room.leaf.custom_extensions = vec![composite_device_id(&[5; 48]), tcb_info(&[5; 48], 0)];
    assert_eq!(room.examine(), Err(NvidiaError::DiceExtension));
}

#[test]
fn a_chip_is_named_by_its_certificates() {
    let mut room = Room::of("AD102", "41431d480fe5e87274");
    assert_eq!(room.examine(), Err(NvidiaError::UnknownDevice("AD102".to_owned())));
    room.leaf.subject_alt_names.clear();
    assert_eq!(room.examine(), Err(NvidiaError::UnknownDevice(String::new())));
    room.leaf.subject_alt_names = vec![device_info("AMD:GH100:1")];
    assert_eq!(room.examine(), Err(NvidiaError::UnknownDevice(String::new())));
    assert_eq!(Room::of("GH100", "a chip").examine(), Err(NvidiaError::ChipId));
    let mut switch = Room::of("LS_10", "50203EB31AD9ED0008");
    switch.kind = Kind::Switch;
    switch.opaque = vec![(22, vec![0x20, 0x3e, 0xb3, 0x1a, 0xd9, 0xed, 0x00, 0x08])];
    assert_eq!(switch.examine().unwrap().genuine().hardware_id(), Some("50203eb31ad9ed0008"));
    switch.opaque[0].1[7] = 9;
    assert_eq!(switch.examine(), Err(NvidiaError::OtherChip));
}

#[test]
fn n5_firmware_that_is_not_for_production_is_refused() {
    let mut room = Room::of("GB100", "41e6de55c3bdc14277");
    for (flags, accepted) in [
        (0x8000_0001, true), // as a real Blackwell says: not configured
        (0x0000_0001, true),
        (0x1000_0001, false), // debug
        (0x2000_0001, false), // recovery
        (0x4000_0001, false), // not secure
    ] {
        room.leaf.custom_extensions = vec![tcb_info(&[5; 48], flags)];
        let refused = room.examine().map(|_| ());
        assert_eq!(refused, if accepted { Ok(()) } else { Err(NvidiaError::DebugFirmware(flags)) });
    }
    // The same flags as DER writes named bits: without the zeros at their end.
    for (bits, expected) in [
        (&[0][..], Ok(())),
        (&[7, 0x80], Ok(())),
        (&[4, 0x10], Err(NvidiaError::DebugFirmware(0x1000_0000))),
        (&[5, 0x20], Err(NvidiaError::DebugFirmware(0x2000_0000))),
        (&[6, 0x40], Err(NvidiaError::DebugFirmware(0x4000_0000))),
        // Unused bits that are set or more than there are, bits that are not known, nothing at all.
        (&[5, 0x10], Err(NvidiaError::DiceExtension)),
        (&[8, 0x00], Err(NvidiaError::DiceExtension)),
        (&[1], Err(NvidiaError::DiceExtension)),
        (&[0, 0, 0, 0, 0, 1], Err(NvidiaError::DiceExtension)),
        (&[], Err(NvidiaError::DiceExtension)),
    ] {
        room.leaf.custom_extensions = vec![tcb_info_of(&[5; 48], bits)];
        assert_eq!(room.examine().map(|_| ()), expected, "{bits:?}");
    }
}

#[test]
fn n5_modes_that_are_not_known_or_contradict_one_another_are_refused() {
    let with = |kind: u16, value: &[u8]| {
        let mut room = Room::new();
        room.opaque.retain(|(known, _)| *known != kind);
        room.opaque.push((kind, value.to_vec()));
        room.examine().map(|_| ())
    };
    assert_eq!(with(36, &[1, 0]), Ok(()));
    assert_eq!(with(36, &[2, 0]), Err(NvidiaError::ModeContradicts("ppcie")));
    assert_eq!(with(21, &[0xAA]), Err(NvidiaError::ModeContradicts("spt")));
    for (kind, value) in [(36, &[3, 0][..]), (36, &[0]), (36, &[0, 0, 0]), (21, &[0]), (21, &[]), (11, &[1])] {
        assert!(matches!(with(kind, value), Err(NvidiaError::Mode(_))), "{kind} {value:?}");
    }
}

#[test]
fn n5_revocation_lists_are_current_of_this_chain_and_obeyed() {
    let mut room = Room::new();
    room.lists = vec![room.list((2026, 2027), &[8])];
    assert_eq!(room.examine().unwrap().genuine().claim("revocation"), Some("1 of 2 stand"));
    room.lists = vec![room.list((2026, 2027), &[7])];
    assert_eq!(room.examine(), Err(revocation(RevocationError::Revoked("FMC LF".to_owned()))));
    room.lists = vec![room.list((2025, 2026), &[])];
    let stale = room.examine().err().unwrap();
    assert_eq!(
        (stale.clone(), stale.code()),
        (revocation(RevocationError::List(CertificateFault::Expired)), "revocation-stale")
    );
    room.lists = vec![Room::new().list((2026, 2027), &[])];
    assert_eq!(room.examine(), Err(revocation(RevocationError::List(CertificateFault::Signature))));
    room.lists = vec![vec![0x30, 0]];
    assert_eq!(room.examine(), Err(revocation(RevocationError::List(CertificateFault::Malformed))));
}

#[test]
fn n5_a_device_of_which_nobody_says_that_it_stands_is_not_affirmed() {
    let mut room = Room::new();
    let assurance = |room: &Room| room.examine().unwrap().genuine().assurance();
    assert_eq!(assurance(&room), Assurance::RevocationUnknown);
    // The leaf's authority speaks of the leaf; of the device's own certificate its root must.
    room.lists = vec![room.list((2026, 2027), &[])];
    assert_eq!(assurance(&room), Assurance::RevocationUnknown);
    room.lists.push(room.root_list((2026, 2027)));
    assert_eq!(assurance(&room), Assurance::Affirmed);
    assert_eq!(room.examine().unwrap().genuine().claim("revocation"), Some("2 of 2 stand"));
    let policy = PlatformPolicy {
        tier_floor: Tier::Tpm,
        admits: ["affirmed".to_owned()].into(),
        hardware: HardwareIds::Any,
        measurements: [("measurement1".to_owned(), [hex::encode([0; 48])].into())].into(),
    };
    let appraise = |genuine: Genuine| genuine.appraise(&[9; 32], &policy).err();
    assert_eq!(appraise(room.examine().unwrap().genuine().clone()), None);
    let unknown = Unfit::Assurance(Assurance::RevocationUnknown);
    assert_eq!(appraise(Room::new().examine().unwrap().genuine().clone()), Some(unknown.clone()));
    // A manifest of whose signer that is not known takes it from the device, too.
    let signer = Signer::new();
    let with = |manifest: Manifest, lists: &[Vec<u8>]| {
        let xml =
            signer.sign(&manifest).replace("</ds:X509Data>", &format!("{}</ds:X509Data>", signer.root_certificate()));
        let statements = Statements { lists: lists.iter().map(Vec::as_slice).collect(), responses: Vec::new() };
        Rim::verify(xml.as_bytes(), &signer.anchors(), &statements, now()).unwrap()
    };
    let list = [signer.list((2026, 2027), &[])];
    let driver = with(Manifest::driver(vec![(1, true, vec![[1; 48]])]), &list);
    for (lists, expected) in [(&list[..], None), (&[], Some(unknown))] {
        let vbios = with(Manifest::vbios(vec![(2, true, vec![[2; 48]])]), lists);
        let compared = room.examine().unwrap().compare(&[driver.clone(), vbios]).unwrap();
        assert_eq!(appraise(compared.into_genuine()), expected);
    }
}

#[test]
fn n5_ocsp_responses_are_current_of_this_chain_and_obeyed() {
    let with = |change: &dyn Fn(&mut Ocsp)| {
        let (mut room, mut ocsp) = (Room::new(), Ocsp::good());
        change(&mut ocsp);
        room.responses = vec![room.respond(&ocsp)];
        room.examine().map(|device| device.genuine().claim("revocation").unwrap().to_owned())
    };
    let fault = |fault| Err(revocation(RevocationError::Response(fault)));
    assert_eq!(with(&|_| {}), Ok("1 of 2 stand".to_owned()));
    assert_eq!(with(&|ocsp| ocsp.hash = HashAlgorithm::Sha256), Ok("1 of 2 stand".to_owned()));
    assert_eq!(with(&|ocsp| ocsp.responder = Some(true)), Ok("1 of 2 stand".to_owned()));
    assert_eq!(with(&|ocsp| ocsp.responder = Some(false)), fault(CertificateFault::NotAuthority));
    assert_eq!(with(&|ocsp| ocsp.hash = HashAlgorithm::Sha1), fault(CertificateFault::Malformed));
    assert_eq!(with(&|ocsp| ocsp.serial = 8), fault(CertificateFault::Issuer));
    let stale = with(&|ocsp| ocsp.until = Some("20260531235959Z"));
    assert_eq!(stale, fault(CertificateFault::Expired));
    assert_eq!(stale.err().unwrap().code(), "revocation-stale");
    assert_eq!(with(&|ocsp| ocsp.from = "20260601000001Z"), fault(CertificateFault::NotYetValid));
    assert_eq!(with(&|ocsp| ocsp.until = None), fault(CertificateFault::Malformed));
    assert_eq!(with(&|ocsp| ocsp.until = Some("20261301000000Z")), fault(CertificateFault::Malformed));
    let revoked = der(0xA1, &[&der(0x18, &[b"20260401000000Z"])[..]]);
    assert_eq!(
        with(&|ocsp| ocsp.status = revoked.clone()),
        Err(revocation(RevocationError::Revoked("FMC LF".to_owned())))
    );
    let unknown = Err(revocation(RevocationError::Unknown("FMC LF".to_owned())));
    assert_eq!(with(&|ocsp| ocsp.status = der(0x82, &[])), unknown);
    let extension = |critical: &[u8]| {
        let extension = der(0x30, &[&der(0x06, &[&[0x2A]])[..], critical, &der(0x04, &[])]);
        der(0xA1, &[&der(0x30, &[&extension[..]])[..]])
    };
    assert_eq!(with(&|ocsp| ocsp.extensions = extension(&[])), Ok("1 of 2 stand".to_owned()));
    let critical = extension(&der(0x01, &[&[0xFF]]));
    assert_eq!(with(&|ocsp| ocsp.extensions = critical.clone()), fault(CertificateFault::Malformed));
}

#[test]
fn a1_every_bit_of_an_ocsp_response_that_is_signed_counts_and_a2_its_length() {
    let mut room = Room::new();
    let good = room.respond(&Ocsp::good());
    room.responses = vec![good.clone()];
    assert!(room.examine().is_ok());
    for bit in 0..good.len() * 8 {
        room.responses[0] = flip(&good, bit);
        assert!(room.examine().is_err(), "bit {bit}");
    }
    for size in 0..good.len() {
        room.responses[0] = good[..size].to_vec();
        assert_eq!(
            room.examine(),
            Err(revocation(RevocationError::Response(CertificateFault::Malformed))),
            "size {size}"
        );
    }
    room.responses[0] = [good.as_slice(), &[0]].concat();
    assert_eq!(room.examine(), Err(revocation(RevocationError::Response(CertificateFault::Malformed))));
}

#[test]
fn a_device_of_another_maker_or_time_is_refused() {
    let room = Room::new();
    let mut other = Room::new();
    other.kind = Kind::Gpu;
    let refused = other.examine_evidence(&room.evidence()).err().unwrap();
    assert_eq!(refused.code(), "root-not-trusted");
    let endorsements =
        Endorsements { anchors: room.anchors(), revocation: Statements::default(), references: References::Policy };
    let at = |time: &str| {
        let examined = nvidia::examine(Kind::Gpu, &room.evidence(), &endorsements, time.parse().unwrap());
        examined.map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(at("2026-06-01T00:00:00Z"), Ok(()));
    assert_eq!(at("2024-06-01T00:00:00Z"), Err("certificate-not-yet-valid"));
    assert_eq!(at("2028-06-01T00:00:00Z"), Err("certificate-expired"));
    let nobody = Endorsements { anchors: Vec::new(), ..endorsements };
    let refused = nvidia::examine(Kind::Gpu, &room.evidence(), &nobody, now()).err().unwrap();
    assert_eq!(refused.code(), "root-not-trusted");
}

#[test]
fn measurements_that_manifests_do_not_list_are_refused() {
    let (room, signer) = (Room::new(), Signer::new());
    let rim = |manifest: Manifest| signer.verify(&signer.sign(&manifest)).unwrap();
    let listing = |measurements| rim(Manifest::vbios(measurements));
    let compare = |rims: &[Rim]| room.examine().unwrap().compare(rims).map(|_| ());
    let actual = hex::encode([2; 48]);
    assert_eq!(compare(&[]), Err(NvidiaError::NoManifest));
    assert_eq!(
        compare(&[listing(vec![(2, true, vec![[3; 48]])])]),
        Err(NvidiaError::Measurement { index: 3, actual: actual.clone() })
    );
    assert_eq!(compare(&[listing(vec![(8, true, vec![[8; 48]])])]), Err(NvidiaError::MeasurementMissing(9)));
    let (first, second) = (listing(vec![(2, true, vec![[2; 48]])]), listing(vec![(2, true, vec![[2; 48]])]));
    assert_eq!(compare(&[first, second]), Err(NvidiaError::ManifestConflict(3)));
    let mut driver = Manifest::driver(vec![(1, true, vec![[1; 48]])]);
    assert_eq!(compare(&[rim(driver.clone()), listing(vec![(2, true, vec![[2; 48]])])]), Ok(()));
    driver.version = "550.90.08".to_owned();
    let device = "GH100 550.90.07 96.00.9F.00.01".to_owned();
    let refused = NvidiaError::ManifestForOther { manifest: "GH100 550.90.08".to_owned(), device: device.clone() };
    assert_eq!(compare(&[rim(driver.clone())]), Err(refused));
    driver.version = "550.90.07".to_owned();
    driver.product = "GB100".to_owned();
    let refused = NvidiaError::ManifestForOther { manifest: "GB100 550.90.07".to_owned(), device };
    assert_eq!(compare(&[rim(driver)]), Err(refused));
}

#[test]
fn n5_a_device_of_which_a_part_was_compared_with_nothing_is_not_compared() {
    let (room, signer) = (Room::new(), Signer::new());
    let rim = |manifest: Manifest| signer.verify(&signer.sign(&manifest)).unwrap();
    let driver = rim(Manifest::driver(vec![(1, true, vec![[1; 48]])]));
    let vbios = rim(Manifest::vbios(vec![(2, true, vec![[2; 48]])]));
    let compare = |rims: &[&Rim]| {
        let rims: Vec<Rim> = rims.iter().map(|rim| (*rim).clone()).collect();
        room.examine().unwrap().compare(&rims).map(|_| ())
    };
    assert_eq!(compare(&[&driver, &vbios]), Ok(()));
    assert_eq!(compare(&[&vbios, &driver]), Ok(()));
    assert_eq!(compare(&[&driver]), Err(NvidiaError::ManifestMissing(ManifestOf::Vbios)));
    assert_eq!(compare(&[&vbios]), Err(NvidiaError::ManifestMissing(ManifestOf::Driver)));
    // Another one of the same part, though of other measurements, does not stand in for it.
    let again = rim(Manifest::vbios(vec![(3, true, vec![[3; 48]])]));
    assert_eq!(compare(&[&vbios, &again]), Err(NvidiaError::ManifestTwice(ManifestOf::Vbios)));
    // Where the device does not name its driver, no manifest can be that driver's.
    let mut silent = Room::new();
    silent.opaque.retain(|(kind, _)| *kind != 3);
    let compared = silent.examine().unwrap().compare(&[vbios]).map(|_| ());
    assert_eq!(compared, Err(NvidiaError::ManifestMissing(ManifestOf::Driver)));
    // A switch has no driver of its own.
    let mut switch = Room::of("LS_10", "50203EB31AD9ED0008");
    switch.kind = Kind::Switch;
    switch.opaque.retain(|(kind, _)| *kind == 6);
    let mut of_switch = Manifest::vbios(vec![(2, true, vec![[2; 48]])]);
    of_switch.product = "LS10".to_owned();
    assert_eq!(switch.examine().unwrap().compare(&[rim(of_switch)]).map(|_| ()), Ok(()));
}

#[test]
fn a_real_device_meets_its_manifests_and_no_others() {
    let Some(case) = Case::one("nvidia-gpu/full-545-nogpu-mode") else { return };
    let rim = |role: &str| {
        Rim::verify(&case.bytes(role), &Authority::NvidiaRim.anchors(), &Statements::default(), case.now()).unwrap()
    };
    let device = examine_case(&case, Kind::Gpu, case.bytes("report"), case.bytes("cert_chain")).unwrap();
    let compared = device.clone().compare(&[rim("driver_rim"), rim("vbios_rim")]).unwrap();
    assert_eq!(compared.genuine().claim("compared"), Some("33"));
    let Some(other) = Case::one("nvidia-rim/g520-0202-885-96006d0008-prod") else { return };
    let other =
        Rim::verify(&other.bytes("rim"), &Authority::NvidiaRim.anchors(), &Statements::default(), other.now()).unwrap();
    assert!(matches!(device.compare(&[other]), Err(NvidiaError::Measurement { index: 2, .. })));
}

#[test]
fn what_a_collector_writes_is_the_same_evidence() {
    let mut seen = 0;
    for kind in ["nvidia-gpu", "nvidia-switch"] {
        let Some(cases) = Case::all(kind) else { return };
        for case in cases.iter().filter(|case| case.entry["files"]["evidence_json"].is_object()) {
            let devices = DeviceEvidence::from_collector(&case.bytes("evidence_json")).unwrap();
            let (report, chain) = (case.bytes("report"), Certificate::split(&case.bytes("cert_chain")).unwrap());
            let same = |device: &DeviceEvidence| {
                device.report == report && Certificate::split(&device.certificates).unwrap() == chain
            };
            assert!(devices.iter().any(same), "{}", case.id);
            seen += 1;
        }
    }
    assert!(seen > 0);
    for other in ["", "[]", "{}", "[{}]", "[{\"evidence\": \"!\", \"certificate\": \"\"}]"] {
        assert_eq!(DeviceEvidence::from_collector(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_manifest_is_signed_as_a_whole_by_who_may_sign_it() {
    let signer = Signer::new();
    let good = Manifest::vbios(vec![(2, true, vec![[2; 48]])]);
    let xml = signer.sign(&good);
    assert!(signer.verify(&xml).is_ok());
    assert_eq!(signer.verify(&xml.replace("96.00", "96.01")), Err(RimError::Digest));
    // The digest is made to fit, and the signature no longer does.
    let other = signer.sign(&Manifest { version: "96.01.9F.00.01".to_owned(), ..good.clone() });
    let value = |xml: &str| xml.split("SignatureValue>").nth(1).unwrap().to_owned();
    assert_eq!(signer.verify(&other.replace(&value(&other), &value(&xml))), Err(RimError::Signature));
    let refused = Rim::verify(xml.as_bytes(), &Signer::new().anchors(), &Statements::default(), now()).err().unwrap();
    assert_eq!(refused.code(), "rim-chain-untrusted");
    let late =
        Rim::verify(xml.as_bytes(), &signer.anchors(), &Statements::default(), "2028-01-01T00:00:00Z".parse().unwrap())
            .err()
            .unwrap();
    assert_eq!(late.code(), "rim-certificate-expired");
    let mut signer = Signer::new();
    signer.params.key_usages.clear();
    assert_eq!(signer.verify(&signer.sign(&good)), Err(RimError::Algorithm));
}

#[test]
fn n5_a_manifest_of_a_signer_that_was_revoked_is_refused() {
    let signer = Signer::new();
    let xml = signer.sign(&Manifest::vbios(vec![(2, true, vec![[2; 48]])]));
    let with = |list: Vec<u8>| {
        let statements = Statements { lists: vec![list.as_slice()], responses: Vec::new() };
        Rim::verify(xml.as_bytes(), &signer.anchors(), &statements, now()).map(|_| ())
    };
    // The signer's authority is pinned and not in the manifest; a list of it cannot be checked, and is refused.
    let unusable = RimError::Revocation(RevocationError::List(CertificateFault::Issuer));
    assert_eq!(with(signer.list((2026, 2027), &[])), Err(unusable));
    let whole = xml.replace("</ds:X509Data>", &format!("{}</ds:X509Data>", signer.root_certificate()));
    let with = |list: Vec<u8>| {
        let statements = Statements { lists: vec![list.as_slice()], responses: Vec::new() };
        Rim::verify(whole.as_bytes(), &signer.anchors(), &statements, now()).map(|_| ())
    };
    assert_eq!(with(signer.list((2026, 2027), &[8])), Ok(()));
    let revoked = RimError::Revocation(RevocationError::Revoked("RIM Signer".to_owned()));
    assert_eq!(revoked.code(), "rim-certificate-revoked");
    assert_eq!(with(signer.list((2026, 2027), &[7])), Err(revoked));
    let stale = RimError::Revocation(RevocationError::List(CertificateFault::Expired));
    assert_eq!(with(signer.list((2025, 2026), &[])), Err(stale));
}

#[test]
fn what_a_signature_does_not_cover_cannot_be_wrapped_around_it() {
    let signer = Signer::new();
    let good = Manifest::vbios(vec![(2, true, vec![[2; 48]])]);
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        signer.verify(&signer.sign(&manifest)).map(|_| ())
    };
    assert_eq!(
        with(&|manifest| manifest.reference = "URI=\"#part\"".to_owned()),
        Err(RimError::Structure("Reference"))
    );
    assert_eq!(with(&|manifest| manifest.reference = "Id=\"a\"".to_owned()), Err(RimError::Structure("Reference")));
    let sha1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1";
    assert_eq!(with(&|manifest| manifest.signature_method = sha1.to_owned()), Err(RimError::Algorithm));
    let xpath = transform("http://www.w3.org/TR/1999/REC-xpath-19991116");
    assert_eq!(with(&|manifest| manifest.transforms += &xpath), Err(RimError::Algorithm));
    assert_eq!(with(&|manifest| manifest.transforms = String::new()), Err(RimError::Algorithm));
    let xml = signer.sign(&good);
    let signature = &xml[xml.find("<ds:Signature ").unwrap()..xml.find("</SoftwareIdentity>").unwrap()];
    // Two signatures, one that is not last, one that lies deeper.
    let twice = xml.replace("</SoftwareIdentity>", &format!("{signature}</SoftwareIdentity>"));
    assert_eq!(signer.verify(&twice), Err(RimError::Structure("Signature")));
    let first = xml.replace(signature, "").replace("<ns0:Meta", &format!("{signature}<ns0:Meta"));
    assert_eq!(signer.verify(&first), Err(RimError::Structure("Signature")));
    let deeper = xml.replace(signature, "").replace("</ns0:Payload>", &format!("{signature}</ns0:Payload>"));
    assert_eq!(signer.verify(&deeper), Err(RimError::Structure("Signature")));
    let wrapped = format!("<a>{xml}</a>");
    assert_eq!(signer.verify(&wrapped), Err(RimError::Structure("SoftwareIdentity")));
}

#[test]
fn a_signed_manifest_that_says_something_else_than_measurements_is_refused() {
    let signer = Signer::new();
    let verify = |manifest: &Manifest| signer.verify(&signer.sign(manifest)).map(|_| ());
    let good = Manifest::vbios(vec![(2, true, vec![[2; 48]])]);
    let fault = |field| Err(RimError::Measurement { index: 2, field });
    let twice = Manifest::vbios(vec![(2, true, vec![[2; 48]]), (2, false, vec![[2; 48]])]);
    assert_eq!(verify(&twice), fault("index"));
    assert_eq!(verify(&Manifest::vbios(vec![(2, false, vec![[2; 48]])])), Err(RimError::Structure("Resource")));
    assert_eq!(verify(&Manifest::vbios(vec![(2, true, vec![])])), fault("alternatives"));
    assert_eq!(verify(&Manifest::vbios(vec![(255, true, vec![[2; 48]])])), Err(RimError::Structure("index")));
    let foreign = Manifest { payload_extra: "<ns0:File></ns0:File>".to_owned(), ..good };
    assert_eq!(verify(&foreign), Err(RimError::Structure("Resource")));
}
