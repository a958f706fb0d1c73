//! What is allowed under each profile, and what is not.
#![allow(clippy::unwrap_used)]

use super::super::UnsignedCorim;
use super::*;
use crate::cbor::Encoder;

type Write<'a> = &'a dyn Fn(&mut Encoder);

const PSA: &str = "tag:arm.com,2025:psa#1.0.0";
const PSA_BEFORE: &str = "http://arm.com/psa/iot/1";
const PLATFORM: &str = "tag:arm.com,2025:cca_platform#1.0.0";
/// As version 04 of the draft has it.
const PLATFORM_LATER: &str = "tag:arm.com,2025:endorsements/cca_platform#1.0.0";
const PLATFORM_BEFORE: &str = "http://arm.com/cca/ssd/1";
const PLATFORM_OF_2023: &str = "tag:arm.com,2023:cca_platform#1.0.0";
const REALM: &str = "tag:arm.com,2025:cca_realm#1.0.0";
const REALM_LATER: &str = "tag:arm.com,2025:endorsements/cca_realm#1.0.0";
const REALM_BEFORE: &str = "http://arm.com/cca/realm/1";
const REALM_OF_2023: &str = "tag:arm.com,2023:realm#1.0.0";

/// The first rule that is broken; `None` where none is.
type Judged = Option<CorimError>;

/// A CoRIM of one CoMID with one triple of this kind: 0 Reference Values, 3 keys.
fn parsed(profile: &str, kind: i64, environment: &[(i64, Write<'_>)], second: Write<'_>) -> Judged {
    let mut comid = Encoder::default();
    comid.map(1);
    comid.integer(4);
    comid.map(1);
    comid.integer(kind);
    comid.array(1);
    comid.array(2);
    map(&mut comid, environment);
    second(&mut comid);
    let mut corim = Encoder::default();
    corim.map(3);
    corim.integer(0);
    corim.text("id");
    corim.integer(1);
    corim.array(1);
    corim.tag(506);
    corim.bytes(&comid.done());
    corim.integer(3);
    corim.tag(32);
    corim.text(profile);
    match UnsignedCorim::parse(&corim.done()) {
        Ok(corim) => {
            assert!(corim.unfit.is_none() || profile == PSA_BEFORE, "one under {profile} is refused at once");
            corim.unfit
        }
        Err(refused) => {
            assert_ne!(profile, PSA_BEFORE, "a CoRIM of PSA devices before 2025 opens");
            Some(refused)
        }
    }
}

fn map(encoder: &mut Encoder, entries: &[(i64, Write<'_>)]) {
    encoder.map(entries.len());
    for (label, write) in entries {
        encoder.integer(*label);
        write(encoder);
    }
}

/// A class whose id has this tag and size.
fn class(tag: u64, size: usize) -> impl Fn(&mut Encoder) {
    move |encoder| map(encoder, &[(0, &sized(tag, size))])
}

/// Bytes with this tag, of this size, of which the first is 1.
fn sized(tag: u64, size: usize) -> impl Fn(&mut Encoder) {
    move |encoder| {
        encoder.tag(tag);
        encoder.bytes(&vec![1; size]);
    }
}

fn tagged(tag: u64) -> impl Fn(&mut Encoder) {
    sized(tag, 33)
}

fn text(text: &str) -> impl Fn(&mut Encoder) + '_ {
    move |encoder| encoder.text(text)
}

fn bytes(bytes: &[u8]) -> impl Fn(&mut Encoder) + '_ {
    move |encoder| encoder.bytes(bytes)
}

/// A list of these items.
fn list<'a>(items: &'a [Write<'a>]) -> impl Fn(&mut Encoder) + 'a {
    move |encoder| {
        encoder.array(items.len());
        items.iter().for_each(|write| write(encoder));
    }
}

/// Digests, each of a hash and of a size.
fn digests<'a>(of: &'a [(Write<'a>, usize)]) -> impl Fn(&mut Encoder) + 'a {
    move |encoder| {
        encoder.array(of.len());
        for (algorithm, size) in of {
            encoder.array(2);
            algorithm(encoder);
            encoder.bytes(&vec![5; *size]);
        }
    }
}

/// A measurement with a key, if there is one, and these values.
fn measurement<'a>(key: Option<Write<'a>>, values: &'a [(i64, Write<'a>)]) -> impl Fn(&mut Encoder) + 'a {
    move |encoder| {
        let mval: Write<'_> = &|encoder| map(encoder, values);
        match key {
            Some(key) => map(encoder, &[(0, key), (1, mval)]),
            None => map(encoder, &[(1, mval)]),
        }
    }
}

fn keys(tags: &[u64]) -> impl Fn(&mut Encoder) + '_ {
    move |encoder| {
        encoder.array(tags.len());
        for tag in tags {
            encoder.tag(*tag);
            encoder.text("-----BEGIN PUBLIC KEY-----");
        }
    }
}

/// What is said of these measurements under a profile.
fn of(profile: &str, measurements: &[Write<'_>]) -> Judged {
    parsed(profile, 0, &[(0, &class(560, 32))], &list(measurements))
}

/// What is said of a measurement and the rest of its triple.
fn with_rest(profile: &str, measurement: Write<'_>, rest: &[Write<'_>]) -> Judged {
    of(profile, &[&[measurement], rest].concat())
}

const fn rule(rule: ProfileRule) -> Judged {
    Some(CorimError::Profile(rule))
}

const SHA_256: Write<'static> = &|encoder| encoder.integer(1);
/// One digest.
const DIGEST: Write<'static> = &|encoder| digests(&[(SHA_256, 32)])(encoder);
const SIGNER: Write<'static> = &|encoder| list(&[&sized(560, 32)])(encoder);
const CCA_SOFTWARE: Write<'static> = &|encoder| encoder.text("cca.software-component");
const PSA_SOFTWARE: Write<'static> = &|encoder| encoder.text("psa.software-component");
const CONFIGURATION: Write<'static> = &|encoder| encoder.text("cca.platform-config");
const RIM: Write<'static> = &|encoder| encoder.text("cca.rim");
const RPV: Write<'static> = &|encoder| encoder.text("cca.rpv");
/// A software component of a CCA platform.
const CCA_COMPONENT: Write<'static> = &|encoder| measurement(Some(CCA_SOFTWARE), &[(2, DIGEST), (13, SIGNER)])(encoder);
const PSA_COMPONENT: Write<'static> = &|encoder| measurement(Some(PSA_SOFTWARE), &[(2, DIGEST), (13, SIGNER)])(encoder);
const CONFIGURED: Write<'static> =
    &|encoder| measurement(Some(CONFIGURATION), &[(4, &sized(560, 2)), (5, &bytes(&[0xff, 0xff]))])(encoder);
const INITIAL: Write<'static> = &|encoder| measurement(Some(RIM), &[(2, DIGEST)])(encoder);

/// The profiles of 2025 that have software components, with the key of one, and what else a triple needs.
fn of_components() -> [(&'static str, Write<'static>, &'static [Write<'static>]); 3] {
    [(PSA, PSA_SOFTWARE, &[]), (PLATFORM, CCA_SOFTWARE, &[CONFIGURED]), (PLATFORM_LATER, CCA_SOFTWARE, &[CONFIGURED])]
}

#[test]
fn before_2025_a_component_has_digests_and_a_configuration_a_raw_value() {
    let before: Write<'_> = &|encoder| {
        encoder.tag(601);
        encoder.map(0);
    };
    let configured_before: Write<'_> = &|encoder| {
        encoder.tag(602);
        encoder.text("config");
    };
    let other: Write<'_> = &|encoder| encoder.integer(3);
    let raw: Write<'_> = &bytes(&[1, 2, 3]);
    for profile in [PSA_BEFORE, PLATFORM_BEFORE, PLATFORM_OF_2023] {
        let with = |key, values: &[(i64, Write<'_>)]| of(profile, &[&measurement(key, values)]);
        assert_eq!(with(Some(CCA_SOFTWARE), &[(2, DIGEST)]), None);
        assert_eq!(with(Some(before), &[(2, DIGEST)]), None);
        assert_eq!(with(Some(CONFIGURATION), &[(4, raw)]), None);
        assert_eq!(with(Some(configured_before), &[(4, raw)]), None);
        assert_eq!(with(Some(CCA_SOFTWARE), &[(4, raw)]), rule(ProfileRule::NoDigests));
        assert_eq!(with(Some(CCA_SOFTWARE), &[(2, &list(&[]))]), rule(ProfileRule::NoDigests));
        assert_eq!(with(Some(CONFIGURATION), &[(2, DIGEST)]), rule(ProfileRule::NoRawValue));
        assert_eq!(with(None, &[(2, DIGEST)]), rule(ProfileRule::MeasurementKey));
        assert_eq!(with(Some(other), &[(2, DIGEST)]), rule(ProfileRule::MeasurementKey));
        // Every measurement is looked at.
        let second = measurement(Some(other), &[(2, DIGEST)]);
        let first = measurement(Some(before), &[(2, DIGEST)]);
        assert_eq!(of(profile, &[&first, &second]), rule(ProfileRule::MeasurementKey));
    }
    // A profile that is not known has no rules here.
    let anything = measurement(None, &[(2, DIGEST)]);
    for profile in ["tag:example.com,2026:other", "tag:arm.com,2025:psa#1.0.1"] {
        assert_eq!(parsed(profile, 0, &[], &list(&[&anything])), None);
    }
}

#[test]
fn reference_values_of_a_platform_are_for_its_class() {
    let before: Write<'_> = &|encoder| measurement(Some(CCA_SOFTWARE), &[(2, DIGEST)])(encoder);
    let profiles: [(&str, &[Write<'_>]); 6] = [
        (PSA, &[PSA_COMPONENT]),
        (PSA_BEFORE, &[before]),
        (PLATFORM, &[CCA_COMPONENT, CONFIGURED]),
        (PLATFORM_LATER, &[CCA_COMPONENT, CONFIGURED]),
        (PLATFORM_BEFORE, &[before]),
        (PLATFORM_OF_2023, &[before]),
    ];
    for (profile, measurements) in profiles {
        let environment = |parts: &[(i64, Write<'_>)]| parsed(profile, 0, parts, &list(measurements));
        let has_id = [PSA_BEFORE, PLATFORM_BEFORE, PLATFORM_OF_2023].contains(&profile);
        let of_id = if has_id { None } else { Some(CorimError::ClassId) };
        assert_eq!(environment(&[(0, &class(560, 32))]), None);
        assert_eq!(environment(&[(0, &class(600, 32))]), of_id);
        assert_eq!(environment(&[(0, &class(37, 32))]), Some(CorimError::ClassId));
        for size in [0, 31, 33, 48, 64] {
            assert_eq!(environment(&[(0, &class(560, size))]), Some(CorimError::ClassId));
        }
        assert_eq!(environment(&[(0, &|encoder| encoder.map(0))]), Some(CorimError::ClassId));
        assert_eq!(environment(&[]), Some(CorimError::NoClass));
        let instance = environment(&[(0, &class(560, 32)), (1, &tagged(550))]);
        assert_eq!(instance, rule(ProfileRule::InstanceOfReference));
    }
}

#[test]
fn a_key_of_a_platform_is_one_and_for_one_instance() {
    for profile in [PSA, PSA_BEFORE, PLATFORM, PLATFORM_LATER, PLATFORM_BEFORE, PLATFORM_OF_2023] {
        let of_instance: &[(i64, Write<'_>)] = &[(0, &class(560, 32)), (1, &tagged(550))];
        let with = |tags: &[u64]| parsed(profile, 3, of_instance, &keys(tags));
        assert_eq!(with(&[554]), None);
        assert_eq!(with(&[]), rule(ProfileRule::KeyCount));
        assert_eq!(with(&[554, 554]), rule(ProfileRule::KeyCount));
        assert_eq!(with(&[555]), rule(ProfileRule::KeyKind));
        assert_eq!(with(&[557]), rule(ProfileRule::KeyKind));
        let of_bytes = parsed(profile, 3, of_instance, &list(&[&sized(554, 32)]));
        assert_eq!(of_bytes, rule(ProfileRule::KeyKind));
        let environment = |parts: &[(i64, Write<'_>)]| parsed(profile, 3, parts, &keys(&[554]));
        assert_eq!(environment(&[(1, &tagged(550))]), Some(CorimError::NoClass));
        assert_eq!(environment(&[(0, &class(37, 32)), (1, &tagged(550))]), Some(CorimError::ClassId));
        assert_eq!(environment(&[(0, &class(560, 31)), (1, &tagged(550))]), Some(CorimError::ClassId));
        assert_eq!(environment(&[(0, &class(560, 32))]), rule(ProfileRule::Instance));
        assert_eq!(environment(&[(0, &class(560, 32)), (1, &tagged(560))]), rule(ProfileRule::Instance));
        assert_eq!(environment(&[(0, &class(560, 32)), (1, &sized(550, 0))]), rule(ProfileRule::Instance));
    }
}

#[test]
fn since_2025_the_instance_of_a_key_is_random_and_has_32_bytes() {
    let with = |profile, ueid: &[u8]| {
        let instance: Write<'_> = &|encoder| {
            encoder.tag(550);
            encoder.bytes(ueid);
        };
        parsed(profile, 3, &[(0, &class(560, 32)), (1, instance)], &keys(&[554]))
    };
    for profile in [PSA, PLATFORM, PLATFORM_LATER] {
        assert_eq!(with(profile, &[1; 33]), None);
        for size in [1, 32, 34] {
            assert_eq!(with(profile, &vec![1; size]), rule(ProfileRule::Instance));
        }
        for first in [0, 2, 255] {
            assert_eq!(with(profile, &[&[first][..], &[1; 32]].concat()), rule(ProfileRule::Instance));
        }
    }
    for profile in [PSA_BEFORE, PLATFORM_BEFORE, PLATFORM_OF_2023] {
        assert_eq!(with(profile, &[2]), None);
    }
}

#[test]
fn a_triple_of_a_psa_device_is_of_software_components() {
    assert_eq!(of(PSA, &[PSA_COMPONENT]), None);
    assert_eq!(of(PSA, &[PSA_COMPONENT, PSA_COMPONENT]), None);
    assert_eq!(of(PSA, &[]), rule(ProfileRule::NoComponent));
    for other in [CCA_COMPONENT, CONFIGURED, INITIAL] {
        assert_eq!(of(PSA, &[PSA_COMPONENT, other]), rule(ProfileRule::MeasurementKey));
    }
}

#[test]
fn a_triple_of_a_platform_is_of_components_and_one_configuration() {
    for profile in [PLATFORM, PLATFORM_LATER] {
        assert_eq!(of(profile, &[CCA_COMPONENT, CONFIGURED]), None);
        assert_eq!(of(profile, &[CONFIGURED, CCA_COMPONENT, CCA_COMPONENT]), None);
        assert_eq!(of(profile, &[]), rule(ProfileRule::NoComponent));
        assert_eq!(of(profile, &[CONFIGURED]), rule(ProfileRule::NoComponent));
        assert_eq!(of(profile, &[CCA_COMPONENT]), rule(ProfileRule::ConfigurationCount));
        let two = of(profile, &[CCA_COMPONENT, CONFIGURED, CONFIGURED]);
        assert_eq!(two, rule(ProfileRule::ConfigurationCount));
        for other in [PSA_COMPONENT, INITIAL] {
            let with = of(profile, &[CCA_COMPONENT, CONFIGURED, other]);
            assert_eq!(with, rule(ProfileRule::MeasurementKey));
        }
    }
}

#[test]
fn since_2025_the_key_of_a_measurement_is_a_text_of_the_profile() {
    let component: Write<'_> = &|encoder| {
        encoder.tag(601);
        encoder.map(0);
    };
    let configuration: Write<'_> = &|encoder| {
        encoder.tag(602);
        encoder.text("config");
    };
    let wrong: [Option<Write<'_>>; 6] = [
        None,
        Some(component),
        Some(configuration),
        Some(&|encoder| encoder.integer(7)),
        Some(&text("cca.bad-component")),
        Some(&text("cca.rem4")),
    ];
    let values: &[(i64, Write<'_>)] = &[(2, DIGEST), (4, &sized(560, 1)), (5, &bytes(&[1])), (13, SIGNER)];
    for key in wrong {
        for profile in [PSA, PLATFORM, PLATFORM_LATER, REALM, REALM_LATER] {
            assert_eq!(of(profile, &[&measurement(key, values)]), rule(ProfileRule::MeasurementKey));
        }
    }
}

#[test]
fn since_2025_nobody_else_authorises_a_measurement() {
    let authorised = |profile, key, values: &[(i64, Write<'_>)]| {
        let mval: Write<'_> = &|encoder| map(encoder, values);
        let whole: Write<'_> = &|encoder| map(encoder, &[(0, key), (1, mval), (2, &keys(&[554]))]);
        of(profile, &[whole])
    };
    let refused = rule(ProfileRule::AuthorizedBy);
    for (profile, key, _) in of_components() {
        assert_eq!(authorised(profile, key, &[(2, DIGEST), (13, SIGNER)]), refused);
    }
    let configuration: &[(i64, Write<'_>)] = &[(4, &sized(560, 1)), (5, &bytes(&[1]))];
    assert_eq!(authorised(PLATFORM, CONFIGURATION, configuration), refused);
    assert_eq!(authorised(REALM, RIM, &[(2, DIGEST)]), refused);
    assert_eq!(authorised(REALM, RPV, &[(4, &sized(560, 1))]), refused);
    assert_eq!(authorised(PLATFORM_BEFORE, CCA_SOFTWARE, &[(2, DIGEST)]), None);
}

#[test]
fn the_digests_of_a_component_are_hashes_by_different_algorithms() {
    for (profile, key, rest) in of_components() {
        let with =
            |digests: Write<'_>| with_rest(profile, &measurement(Some(key), &[(2, digests), (13, SIGNER)]), rest);
        for size in [32, 48, 64] {
            assert_eq!(with(&digests(&[(SHA_256, size)])), None);
        }
        for size in [0, 20, 31, 33, 47, 49, 63, 65] {
            assert_eq!(with(&digests(&[(SHA_256, size)])), rule(ProfileRule::DigestSize));
            assert_eq!(with(&digests(&[(SHA_256, 32), (&text("sha-512"), size)])), rule(ProfileRule::DigestSize));
        }
        assert_eq!(with(&list(&[])), rule(ProfileRule::NoDigests));
        let none = measurement(Some(key), &[(13, SIGNER)]);
        assert_eq!(of(profile, &[&none]), rule(ProfileRule::NoDigests));
        assert_eq!(with(&text("sha-256")), Some(CorimError::Member("triples")));
        assert_eq!(with(&list(&[&text("sha-256")])), Some(CorimError::Member("triple")));
        // By different hashes, of which one may be unknown; the number of a hash and its name are the same.
        assert_eq!(with(&digests(&[(&text("sha-256"), 32), (&text("sha-512"), 64)])), None);
        assert_eq!(with(&digests(&[(&text("one"), 32), (&text("other"), 32)])), None);
        let repeated = rule(ProfileRule::RepeatedHash);
        assert_eq!(with(&digests(&[(SHA_256, 32), (SHA_256, 32)])), repeated);
        assert_eq!(with(&digests(&[(SHA_256, 32), (&text("sha-256"), 32)])), repeated);
        assert_eq!(with(&digests(&[(&text("one"), 32), (SHA_256, 32), (&text("one"), 48)])), repeated);
    }
}

#[test]
fn a_component_has_one_signer_which_is_a_hash() {
    for (profile, key, rest) in of_components() {
        let with =
            |signers: Write<'_>| with_rest(profile, &measurement(Some(key), &[(2, DIGEST), (13, signers)]), rest);
        for size in [32, 48, 64] {
            assert_eq!(with(&list(&[&sized(560, size)])), None);
        }
        for size in [0, 1, 16, 31, 33, 47, 49, 63, 65, 128] {
            assert_eq!(with(&list(&[&sized(560, size)])), rule(ProfileRule::SignerKind));
        }
        assert_eq!(with(&list(&[])), rule(ProfileRule::SignerCount));
        assert_eq!(with(&list(&[&sized(560, 32), &sized(560, 32)])), rule(ProfileRule::SignerCount));
        assert_eq!(with(&sized(560, 32)), rule(ProfileRule::SignerCount));
        let none = measurement(Some(key), &[(2, DIGEST)]);
        assert_eq!(of(profile, &[&none]), rule(ProfileRule::SignerCount));
        // A public key, bytes without a tag or with another one, and a text of the size of a hash.
        assert_eq!(with(&keys(&[554])), rule(ProfileRule::SignerKind));
        assert_eq!(with(&list(&[&bytes(&[1; 32])])), rule(ProfileRule::SignerKind));
        assert_eq!(with(&list(&[&sized(550, 32)])), rule(ProfileRule::SignerKind));
        let of_text: Write<'_> = &|encoder| {
            encoder.tag(560);
            encoder.text("01234567890123456789012345678901");
        };
        assert_eq!(with(&list(&[of_text])), rule(ProfileRule::SignerKind));
    }
}

#[test]
fn the_version_of_a_component_has_no_scheme() {
    for (profile, key, rest) in of_components() {
        let with = |version: &[(i64, Write<'_>)]| {
            let version: Write<'_> = &|encoder| map(encoder, version);
            with_rest(
                profile,
                &measurement(Some(key), &[(0, version), (2, DIGEST), (11, &text("BL")), (13, SIGNER)]),
                rest,
            )
        };
        assert_eq!(with(&[(0, &text("3.4.2"))]), None);
        let scheme = with(&[(0, &text("3.4.2")), (1, &text("semver"))]);
        assert_eq!(scheme, rule(ProfileRule::VersionScheme));
    }
}

#[test]
fn the_configuration_of_a_platform_has_a_raw_value_and_a_mask_of_its_size() {
    let with = |values: &[(i64, Write<'_>)]| of(PLATFORM, &[CCA_COMPONENT, &measurement(Some(CONFIGURATION), values)]);
    let value: Write<'_> = &sized(560, 3);
    assert_eq!(with(&[(4, value), (5, &bytes(&[0; 3]))]), None);
    for size in [0, 2, 4] {
        assert_eq!(with(&[(4, value), (5, &bytes(&vec![0; size]))]), rule(ProfileRule::Mask));
    }
    assert_eq!(with(&[(4, value)]), rule(ProfileRule::Mask));
    assert_eq!(with(&[(4, value), (5, &text("abc"))]), rule(ProfileRule::Mask));
    assert_eq!(with(&[(5, &bytes(&[0; 3]))]), rule(ProfileRule::NoRawValue));
    assert_eq!(with(&[(2, DIGEST)]), rule(ProfileRule::NoRawValue));
    for other in [&bytes(&[1, 2, 3]) as Write<'_>, &text("abc"), &tagged(561)] {
        assert_eq!(with(&[(4, other), (5, &bytes(&[0; 3]))]), rule(ProfileRule::RawValueKind));
    }
    let masked = |items: &[Write<'_>]| {
        let masked: Write<'_> = &|encoder| {
            encoder.tag(563);
            list(items)(encoder);
        };
        with(&[(4, masked)])
    };
    let (two, three): (Write<'_>, Write<'_>) = (&bytes(&[1; 2]), &bytes(&[1; 3]));
    assert_eq!(masked(&[three, three]), None);
    assert_eq!(masked(&[three, two]), rule(ProfileRule::Mask));
    assert_eq!(masked(&[two, three]), rule(ProfileRule::Mask));
    assert_eq!(masked(&[three, &text("abc")]), rule(ProfileRule::Mask));
    for wrong in [&[][..], &[three], &[three, three, three], &[&text("abc"), three]] {
        assert_eq!(masked(wrong), rule(ProfileRule::RawValueKind));
    }
}

#[test]
fn a_realm_before_2025_is_told_by_its_instance() {
    for profile in [REALM_BEFORE, REALM_OF_2023] {
        let registers: Write<'_> = &|encoder| {
            encoder.map(1);
            encoder.text("rim");
            encoder.array(0);
        };
        let raw: Write<'_> = &bytes(&[1, 2, 3]);
        let values = [(4, raw), (14, registers)];
        let whole = measurement(None, &values);
        let with = |values: &[(i64, Write<'_>)]| {
            parsed(profile, 0, &[(1, &tagged(560))], &list(&[&whole, &measurement(None, values)]))
        };
        assert_eq!(with(&[(4, raw), (14, registers)]), None);
        assert_eq!(with(&[(14, registers)]), rule(ProfileRule::NoRawValue));
        assert_eq!(with(&[(4, raw)]), rule(ProfileRule::NoIntegrityRegisters));
        let none: Write<'_> = &|encoder| encoder.map(0);
        assert_eq!(with(&[(4, raw), (14, none)]), rule(ProfileRule::NoIntegrityRegisters));
        let environment = |parts: &[(i64, Write<'_>)]| parsed(profile, 0, parts, &list(&[&whole]));
        assert_eq!(environment(&[(1, &sized(560, 1))]), None);
        assert_eq!(environment(&[(1, &sized(560, 0))]), rule(ProfileRule::Instance));
        assert_eq!(environment(&[(1, &tagged(550))]), rule(ProfileRule::Instance));
        assert_eq!(environment(&[]), rule(ProfileRule::Instance));
    }
}

#[test]
fn a_realm_is_told_by_its_initial_measurement_and_names_no_keys() {
    for profile in [REALM, REALM_LATER, REALM_BEFORE, REALM_OF_2023] {
        assert_eq!(parsed(profile, 3, &[], &keys(&[554])), rule(ProfileRule::KeysOfRealm));
    }
    for profile in [REALM, REALM_LATER] {
        let environment = |parts: &[(i64, Write<'_>)]| parsed(profile, 0, parts, &list(&[INITIAL]));
        for size in [32, 48, 64] {
            assert_eq!(environment(&[(0, &class(560, size))]), None);
        }
        for size in [0, 20, 31, 33, 47, 49, 63, 65] {
            assert_eq!(environment(&[(0, &class(560, size))]), Some(CorimError::ClassId));
        }
        for tag in [37, 600] {
            assert_eq!(environment(&[(0, &class(tag, 32))]), Some(CorimError::ClassId));
        }
        assert_eq!(environment(&[]), Some(CorimError::NoClass));
        let instance = environment(&[(0, &class(560, 32)), (1, &tagged(560))]);
        assert_eq!(instance, rule(ProfileRule::InstanceOfReference));
    }
}

#[test]
fn a_triple_of_a_realm_has_its_initial_measurement() {
    let rpv = |values: &[(i64, Write<'_>)]| of(REALM, &[INITIAL, &measurement(Some(RPV), values)]);
    for name in ["cca.rem0", "cca.rem1", "cca.rem2", "cca.rem3"] {
        let name = text(name);
        let extended = measurement(Some(&name), &[(2, DIGEST)]);
        assert_eq!(of(REALM, &[INITIAL, &extended]), None);
        assert_eq!(of(REALM, &[&extended, INITIAL]), None);
        assert_eq!(of(REALM, &[&extended]), rule(ProfileRule::NoInitialMeasurement));
    }
    assert_eq!(of(REALM, &[INITIAL]), None);
    assert_eq!(of(REALM, &[]), rule(ProfileRule::NoInitialMeasurement));
    for size in [0, 45, 64] {
        assert_eq!(rpv(&[(4, &sized(560, size))]), None);
    }
    let alone = of(REALM, &[&measurement(Some(RPV), &[(4, &sized(560, 64))])]);
    assert_eq!(alone, rule(ProfileRule::NoInitialMeasurement));
    assert_eq!(rpv(&[(2, DIGEST)]), rule(ProfileRule::NoRawValue));
    let of_text: Write<'_> = &|encoder| {
        encoder.tag(560);
        encoder.text("value");
    };
    for other in [&bytes(&[1; 64]) as Write<'_>, &tagged(563), of_text] {
        assert_eq!(rpv(&[(4, other)]), rule(ProfileRule::RawValueKind));
    }
    for other in [CCA_COMPONENT, PSA_COMPONENT, CONFIGURED] {
        assert_eq!(of(REALM, &[INITIAL, other]), rule(ProfileRule::MeasurementKey));
    }
}

#[test]
fn a_measurement_of_a_realm_is_one_hash() {
    for name in ["cca.rim", "cca.rem0", "cca.rem1", "cca.rem2", "cca.rem3"] {
        let name = text(name);
        let with = |values: &[(i64, Write<'_>)]| of(REALM, &[INITIAL, &measurement(Some(&name), values)]);
        for size in [32, 48, 64] {
            assert_eq!(with(&[(2, &digests(&[(&text("sha-512"), size)]))]), None);
        }
        for size in [0, 16, 31, 33, 47, 49, 63, 65, 96] {
            assert_eq!(with(&[(2, &digests(&[(SHA_256, size)]))]), rule(ProfileRule::DigestSize));
        }
        assert_eq!(with(&[]), rule(ProfileRule::NoDigests));
        assert_eq!(with(&[(2, &list(&[]))]), rule(ProfileRule::NoDigests));
        assert_eq!(with(&[(2, &digests(&[(SHA_256, 32), (&text("sha-384"), 48)]))]), rule(ProfileRule::DigestCount));
    }
}
