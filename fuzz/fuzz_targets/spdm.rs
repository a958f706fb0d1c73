//! Reports of NVIDIA devices: the messages, and the whole examination with the input as report and as certificates.
#![no_main]

use attest::nvidia::{Device, DeviceEvidence, Endorsements, Kind, References, Report, Statements};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = Report::parse(bytes) {
        assert_eq!(report.signature().len(), 96);
        assert!(bytes.starts_with(report.signed()));
    }
    let (report, certificates) = bytes.split_at(bytes.len() / 2);
    let evidence = DeviceEvidence { report: report.to_vec(), certificates: certificates.to_vec() };
    let anchors = attest::roots::Authority::NvidiaDevice.anchors();
    let endorsements = Endorsements { anchors, revocation: Statements { lists: vec![report], responses: vec![report] }, references: References::Policy };
    // A time at which the certificates of the seeds are valid.
    let now = jiff::Timestamp::from_second(1_780_272_000).unwrap();
    let _ = Device::examine(Kind::Gpu, &evidence, &endorsements, now);
});
