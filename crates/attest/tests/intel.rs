//! SGX and TDX: quotes of real machines, and a forged hierarchy in which each thing can be wrong alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{collections::BTreeMap, path::Path};

use attest::{
    FormatError, Tier,
    azure::examine_tdx,
    certificate::{CertificateFault, ChainError, TrustAnchor},
    intel::{
        Document, Holder, IntelEndorsements, IntelError, Lister, ModuleField, Part, PckFault, QeField, Quote,
        Revocation, sgx, tdx,
    },
    platform::{Assurance, Genuine, HardwareIds, Platform, PlatformPolicy, Refusal, TcbStatus, Unfit},
    roots::Authority,
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use testkit::intel::{
    AUTHORITY_SERIAL, FMSPC, Made, PCK_SERIAL, QE_ATTRIBUTES, QE_MISC, QE_PRODUCT, QE_SIGNER, QE_SVN, SIGNER_SERIAL,
    STRICT, TD_ATTRIBUTES, TD_SEAM_ATTRIBUTES, TD_SEAM_SIGNER, TD_SVN, World, components, extension, pem, signed,
};

fn tdx_with(change: impl FnOnce(&mut World)) -> Result<Genuine, IntelError> {
    let mut world = World::tdx();
    change(&mut world);
    world.examine()
}

fn sgx_with(change: impl FnOnce(&mut World)) -> Result<Genuine, IntelError> {
    let mut world = World::sgx();
    change(&mut world);
    world.examine()
}

fn made_with(change: impl FnOnce(&mut Made)) -> Result<Genuine, IntelError> {
    let mut made = World::tdx().make();
    change(&mut made);
    made.examine()
}

fn level(info: &mut Value) -> &mut Value {
    &mut info["tcbLevels"][0]
}

fn policy(register: &str, genuine: &Genuine) -> PlatformPolicy {
    PlatformPolicy {
        tier_floor: Tier::Sgx,
        admits: ["affirmed".to_owned()].into(),
        hardware: HardwareIds::Any,
        measurements: [(register.to_owned(), [hex::encode(genuine.register(register).unwrap())].into())].into(),
    }
}

#[test]
fn a_whole_hierarchy_holds_and_tells_what_it_is() {
    let td = tdx_with(|_| ()).unwrap();
    assert_eq!((td.platform(), td.assurance(), td.tier()), (Platform::Tdx, Assurance::Affirmed, Tier::ConfidentialVm));
    assert_eq!(td.hardware_id(), Some("ab".repeat(16).as_str()));
    assert_eq!(td.bound(), [0xDA; 64]);
    assert_eq!(td.register("mrtd"), Some(&[0xE2; 48][..]));
    assert_eq!((td.claim("tdx_module"), td.claim("tcb_status")), (Some("TDX_01"), Some("UpToDate")));
    assert_eq!((td.claim("quote_version"), td.claim("att_key_type")), (Some("4"), Some("2")));
    assert_eq!(td.steps().iter().map(|step| step.number).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    let enclave = sgx_with(|_| ()).unwrap();
    assert_eq!((enclave.platform(), enclave.tier()), (Platform::Sgx, Tier::Sgx));
    assert_eq!(enclave.register("mrenclave"), Some(&[0xE1; 32][..]));
    let policy = policy("mrtd", &td);
    assert_eq!(td.clone().appraise(&[0xDB; 64], &policy).err(), Some(Unfit::NotBound));
    assert_eq!(td.appraise(&[0xDA; 64], &policy).unwrap().tier(), Tier::ConfidentialVm);
}

#[test]
fn t1_what_is_debugged_is_refused_after_its_signature() {
    for bit in 0..8 {
        assert_eq!(tdx_with(|world| world.body[TD_ATTRIBUTES] = 1 << bit).err(), Some(IntelError::Debug));
    }
    assert_eq!(sgx_with(|world| world.body[QE_ATTRIBUTES] |= 2).err(), Some(IntelError::Debug));
    assert_eq!(sgx_with(|world| world.qe_report[QE_ATTRIBUTES] |= 2).err(), Some(IntelError::QeDebug));
    assert_eq!(tdx_with(|world| world.qe_report[QE_ATTRIBUTES] |= 2).err(), Some(IntelError::QeDebug));
    let unknown = IntelError::TdAttributes(0x0000_0001_1000_0000);
    assert_eq!(tdx_with(|world| world.body[TD_ATTRIBUTES + 4] = 1).err(), Some(unknown));
    // Without TCB collateral it can be shown, and no policy can admit it.
    let mut world = World::sgx();
    world.body[QE_ATTRIBUTES] |= 2;
    let made = world.make();
    let shown = sgx::examine(&made.quote, &IntelEndorsements::default(), &made.anchors, &STRICT, made.now).unwrap();
    assert_eq!(shown.assurance(), Assurance::SignatureOnly);
    let mut lenient = policy("mrenclave", &shown);
    lenient.admits.insert("signature-only".to_owned());
    assert_eq!(shown.appraise(&[0xDA; 64], &lenient).err(), Some(Unfit::Debug));
}

#[test]
fn t1_a_debugged_trust_domain_beneath_azures_vtpm_is_shown_and_never_admitted() {
    let modulus = URL_SAFE_NO_PAD.encode([0xC5; 256]);
    let claims = json!({ "keys": [{ "kid": "HCLAkPub", "kty": "RSA", "e": "AQAB", "n": modulus }] }).to_string();
    let mut world = World::tdx();
    let size = world.body.len();
    world.body[size - 64..].fill(0);
    world.body[size - 64..size - 32].copy_from_slice(digest(&SHA256, claims.as_bytes()).as_ref());
    for debugged in [false, true] {
        world.body[TD_ATTRIBUTES] = u8::from(debugged);
        let made = world.make();
        // TDREPORT_STRUCT: report data at 128, the module's part at 264, the trust domain's at 512.
        let mut report = [&b"HCLA\x01\0\0\0"[..], &[0; 24 + 1184]].concat();
        for (to, from) in [(128, size - 64..size), (264, 0..120), (512, 120..size - 64)] {
            report[32 + to..][..from.len()].copy_from_slice(&world.body[from]);
        }
        for number in [0, 1, 4, 1, claims.len() as u32] {
            report.extend(number.to_le_bytes());
        }
        report.extend(claims.as_bytes());
        let none = IntelEndorsements::default();
        let shown = examine_tdx(&report, Some(&made.quote), None, &none, &made.anchors, &STRICT, made.now).unwrap();
        assert_eq!((shown.assurance(), shown.is_debug()), (Assurance::SignatureOnly, debugged));
        let mut lenient = policy("mrtd", &shown);
        lenient.admits.insert("signature-only".to_owned());
        assert_eq!(shown.fits(&lenient).err(), debugged.then_some(Unfit::Debug));
        let refused = if debugged { Unfit::Debug } else { Unfit::NotBound };
        assert_eq!(shown.appraise(&[0xDA; 64], &lenient).err(), Some(refused));
    }
}

#[test]
fn t2_documents_by_any_other_key_than_a_tcb_signer_of_the_root_are_refused() {
    let other = World::tdx();
    let both = [(Document::TcbInfo, "tcbInfo"), (Document::QeIdentity, "enclaveIdentity")];
    for (document, member) in both {
        let mut made = World::tdx().make();
        let text =
            if document == Document::TcbInfo { other.tcb_info.to_string() } else { other.qe_identity.to_string() };
        let forged = Some(signed(member, &text, &other.signer));
        if document == Document::TcbInfo {
            made.tcb_info = forged
        } else {
            made.qe_identity = forged
        }
        assert_eq!(made.examine().err(), Some(IntelError::DocumentSignature(document)));
    }
    // With the attacker's own root of the same name.
    let foreign = other.make();
    let refused = made_with(|made| {
        made.tcb_info.clone_from(&foreign.tcb_info);
        made.qe_identity.clone_from(&foreign.qe_identity);
        made.tcb_signing_chain.clone_from(&foreign.tcb_signing_chain);
    });
    let untrusted = ChainError { at: 1, subject: "Intel SGX Root CA".to_owned(), fault: CertificateFault::Untrusted };
    assert_eq!(refused.err(), Some(IntelError::TcbChain(Document::TcbInfo, untrusted)));
    // With a key that the root certified for something else: a platform's own.
    let world = World::tdx();
    let mut made = world.make();
    made.tcb_info = Some(signed("tcbInfo", &world.tcb_info.to_string(), &world.pck));
    made.tcb_signing_chain = Some(made.pck_chain.clone());
    assert_eq!(made.examine().err(), Some(IntelError::TcbRoles(Document::TcbInfo)));
    let named = tdx_with(|world| world.signer_name = "Intel SGX PCK Platform CA");
    assert_eq!(named.err(), Some(IntelError::TcbRoles(Document::TcbInfo)));
    assert_eq!(tdx_with(|world| world.pck_name = "Intel SGX TCB Signing").err(), Some(IntelError::PckRoles));
    assert_eq!(tdx_with(|world| world.authority_name = "Intel SGX Other CA").err(), Some(IntelError::PckRoles));
    // The same document, written again with a blank more, is not what was signed.
    let rewritten = made_with(|made| {
        let text = String::from_utf8(made.tcb_info.take().unwrap()).unwrap();
        made.tcb_info = Some(text.replacen("\"fmspc\":", "\"fmspc\": ", 1).into_bytes());
    });
    assert_eq!(rewritten.err(), Some(IntelError::DocumentSignature(Document::TcbInfo)));
    for spoilt in
        ["{}", "[]", "", "{\"tcbInfo\":{},\"signature\":\"00\"}", "{\"tcbInfo\":{},\"tcbInfo\":{},\"signature\":\"\"}"]
    {
        let refused = made_with(|made| made.tcb_info = Some(spoilt.as_bytes().to_vec()));
        assert_eq!(refused.err(), Some(IntelError::DocumentMalformed(Document::TcbInfo)), "{spoilt}");
    }
}

#[test]
fn t3_another_quoting_enclave_than_intels_is_refused_field_by_field() {
    let field = |at: usize| tdx_with(|world| world.qe_report[at] ^= 0x40).err();
    assert_eq!(field(QE_MISC), Some(IntelError::QeIdentity(QeField::MiscSelect)));
    assert_eq!(field(QE_ATTRIBUTES), Some(IntelError::QeIdentity(QeField::Attributes)));
    assert_eq!(field(QE_SIGNER), Some(IntelError::QeIdentity(QeField::MrSigner)));
    assert_eq!(field(QE_PRODUCT), Some(IntelError::QeIdentity(QeField::IsvProdId)));
    assert_eq!(field(QE_ATTRIBUTES + 8).map(|_| ()), None, "XFRM is outside the mask");
    assert_eq!(tdx_with(|world| world.qe_report[QE_SVN] = 2).err(), Some(IntelError::QeSvn(2)));
    for at in 12..28 {
        assert_eq!(tdx_with(|world| world.header[at] ^= 1).err(), Some(IntelError::QeVendor));
    }
    let kind = |id: &str| tdx_with(|world| world.qe_identity["id"] = json!(id)).err();
    assert_eq!(kind("QE"), Some(IntelError::DocumentKind(Document::QeIdentity)));
    assert_eq!(kind("QVE"), Some(IntelError::DocumentKind(Document::QeIdentity)));
    // The attestation key must be the reported one, and the rest of the field zero.
    assert_eq!(tdx_with(|world| world.qe_report[320] = 1).err(), Some(IntelError::AttestationKey));
    assert_eq!(tdx_with(|world| world.qe_report[383] = 1).err(), Some(IntelError::AttestationKey));
}

#[test]
fn t4_statuses_converge_to_the_worst_and_only_current_is_affirmed() {
    let status = |word: &str| tdx_with(|world| level(&mut world.tcb_info)["tcbStatus"] = json!(word));
    let assured = |word: &str| status(word).map(|genuine| genuine.assurance());
    assert_eq!(assured("UpToDate"), Ok(Assurance::Affirmed));
    for word in
        [TcbStatus::SWHardeningNeeded, TcbStatus::ConfigurationNeeded, TcbStatus::ConfigurationAndSWHardeningNeeded]
    {
        assert_eq!(assured(&format!("{word:?}")), Ok(Assurance::Conditional(word)));
    }
    for word in [TcbStatus::OutOfDate, TcbStatus::OutOfDateConfigurationNeeded] {
        assert_eq!(assured(&format!("{word:?}")), Ok(Assurance::OutOfDate(word)));
    }
    assert_eq!(assured("Revoked"), Err(IntelError::TcbRevoked));
    for word in ["", "uptodate", "UpToDate ", "Supported"] {
        assert_eq!(assured(word), Err(IntelError::UnknownStatus(Document::TcbInfo, word.to_owned())));
    }
    let old = status("OutOfDate").unwrap();
    let policy = policy("mrtd", &old);
    assert_eq!(
        old.appraise(&[0xDA; 64], &policy).err(),
        Some(Unfit::Assurance(Assurance::OutOfDate(TcbStatus::OutOfDate)))
    );
    // An old module or quoting enclave makes the whole old, and keeps what must be configured.
    let with = |platform: &str, module: u8, enclave: u8| {
        let genuine = tdx_with(|world| {
            level(&mut world.tcb_info)["tcbStatus"] = json!(platform);
            world.body[TD_SVN] = module;
            world.qe_report[QE_SVN] = enclave;
        });
        genuine.map(|genuine| (genuine.assurance(), genuine.claim("advisory_ids").unwrap().to_owned()))
    };
    let old = |status, advisories: &str| Ok((Assurance::OutOfDate(status), advisories.to_owned()));
    assert_eq!(with("UpToDate", 3, 6), old(TcbStatus::OutOfDate, "INTEL-SA-00002"));
    assert_eq!(with("UpToDate", 4, 3), old(TcbStatus::OutOfDate, "INTEL-SA-00001"));
    assert_eq!(with("SWHardeningNeeded", 3, 3), old(TcbStatus::OutOfDate, "INTEL-SA-00001,INTEL-SA-00002"));
    assert_eq!(with("ConfigurationNeeded", 3, 6), old(TcbStatus::OutOfDateConfigurationNeeded, "INTEL-SA-00002"));
    assert_eq!(
        with("ConfigurationAndSWHardeningNeeded", 4, 4),
        old(TcbStatus::OutOfDateConfigurationNeeded, "INTEL-SA-00001")
    );
    assert_eq!(with("Revoked", 4, 6), Err(IntelError::TcbRevoked));
    let module = |word: &str| {
        tdx_with(|world| world.tcb_info["tdxModuleIdentities"][0]["tcbLevels"][0]["tcbStatus"] = json!(word)).err()
    };
    assert_eq!(module("Revoked"), Some(IntelError::TcbRevoked));
    assert_eq!(module("Fine"), Some(IntelError::UnknownStatus(Document::TcbInfo, "Fine".to_owned())));
    let enclave = |word: &str| tdx_with(|world| level(&mut world.qe_identity)["tcbStatus"] = json!(word)).err();
    assert_eq!(enclave("Revoked"), Some(IntelError::TcbRevoked));
    assert_eq!(enclave("Fine"), Some(IntelError::UnknownStatus(Document::QeIdentity, "Fine".to_owned())));
}

#[test]
fn t5_collateral_of_another_time_or_evaluation_is_refused() {
    let at = |time: &str| tdx_with(|world| world.now = time.parse().unwrap()).map(|genuine| genuine.assurance());
    assert_eq!(at("2026-02-01T00:00:00Z"), Ok(Assurance::Affirmed));
    assert_eq!(at("2026-02-01T00:00:01Z"), Err(IntelError::DocumentExpired(Document::TcbInfo)));
    assert_eq!(at("2026-01-01T00:00:00Z"), Ok(Assurance::Affirmed));
    assert_eq!(at("2025-12-31T23:59:59Z"), Err(IntelError::DocumentNotYetValid(Document::TcbInfo)));
    let identity = |field: &str, time: &str| tdx_with(|world| world.qe_identity[field] = json!(time)).err();
    let expired = IntelError::DocumentExpired(Document::QeIdentity);
    assert_eq!(identity("nextUpdate", "2026-01-09T00:00:00Z"), Some(expired));
    let early = IntelError::DocumentNotYetValid(Document::QeIdentity);
    assert_eq!(identity("issueDate", "2026-01-11T00:00:00Z"), Some(early));
    assert_eq!(identity("issueDate", "soon"), Some(IntelError::DocumentMalformed(Document::QeIdentity)));
    let list = tdx_with(|world| world.crl_until = 2026).err();
    assert_eq!(list, Some(IntelError::RevocationList(Lister::Root, CertificateFault::Expired)));
    let floor = |floor| tdx_with(|world| world.rules.evaluation_floor = floor).map(|genuine| genuine.assurance());
    assert_eq!(floor(18), Ok(Assurance::Affirmed));
    let older = |document| IntelError::DocumentOlder { document, number: 18, floor: 19 };
    assert_eq!(floor(19), Err(older(Document::TcbInfo)));
    let identity = tdx_with(|world| {
        world.rules.evaluation_floor = 19;
        world.tcb_info["tcbEvaluationDataNumber"] = json!(19);
    });
    assert_eq!(identity.err(), Some(older(Document::QeIdentity)));
}

#[test]
fn documents_are_read_up_to_512_kib_and_no_further() {
    let padded = |size: usize| {
        made_with(|made| made.tcb_info.as_mut().unwrap().resize(size, b' ')).map(|genuine| genuine.assurance())
    };
    assert_eq!(padded(512 << 10), Ok(Assurance::Affirmed));
    for more in [1, 2] {
        assert_eq!(padded((512 << 10) + more), Err(IntelError::DocumentMalformed(Document::TcbInfo)));
    }
}

#[test]
fn t6_revoked_certificates_and_absent_lists_are_refused() {
    let root = |serial| tdx_with(|world| world.revoked_by_root.push(serial)).err();
    assert_eq!(root(AUTHORITY_SERIAL), Some(IntelError::Revoked(Holder::PckAuthority)));
    assert_eq!(root(SIGNER_SERIAL), Some(IntelError::Revoked(Holder::TcbSigner)));
    assert_eq!(root(99), None);
    let pck = tdx_with(|world| world.revoked_by_authority.push(PCK_SERIAL));
    assert_eq!(pck.err(), Some(IntelError::Revoked(Holder::Pck)));
    let missing = made_with(|made| made.root_ca_crl = None);
    assert_eq!(missing.err(), Some(IntelError::RevocationListMissing(Lister::Root)));
    let missing = made_with(|made| made.pck_crl = None);
    assert_eq!(missing.err(), Some(IntelError::RevocationListMissing(Lister::PckAuthority)));
    // A caller may say that it learns of platforms otherwise; the authorities' list is needed all the same.
    let authorities = made_with(|made| {
        made.pck_crl = None;
        made.rules.revocation = Revocation::Authorities;
    });
    assert_eq!(authorities.unwrap().claim("pck_revocation"), Some("not-checked"));
    let none = made_with(|made| {
        (made.pck_crl, made.root_ca_crl) = (None, None);
        made.rules.revocation = Revocation::Authorities;
    });
    assert_eq!(none.err(), Some(IntelError::RevocationListMissing(Lister::Root)));
    let swapped = made_with(|made| std::mem::swap(&mut made.pck_crl, &mut made.root_ca_crl));
    assert_eq!(swapped.err(), Some(IntelError::RevocationList(Lister::Root, CertificateFault::Issuer)));
    let forged = made_with(|made| made.pck_crl = World::tdx().make().pck_crl);
    assert_eq!(forged.err(), Some(IntelError::RevocationList(Lister::PckAuthority, CertificateFault::Signature)));
    // A list is used even where no security version can be told.
    let mut world = World::tdx();
    world.revoked_by_authority.push(PCK_SERIAL);
    let mut made = world.make();
    (made.tcb_info, made.qe_identity, made.tcb_signing_chain) = (None, None, None);
    assert_eq!(made.examine().err(), Some(IntelError::Revoked(Holder::Pck)));
}

#[test]
fn t7_levels_of_another_shape_and_documents_of_another_platform_are_refused() {
    for count in [0, 1, 15, 17, 40] {
        for list in ["sgxtcbcomponents", "tdxtcbcomponents"] {
            let refused = tdx_with(|world| level(&mut world.tcb_info)["tcb"][list] = components(count, 0));
            assert_eq!(refused.err(), Some(IntelError::ComponentCount(count)), "{list}");
        }
    }
    let absent =
        tdx_with(|world| drop(level(&mut world.tcb_info)["tcb"].as_object_mut().unwrap().remove("tdxtcbcomponents")));
    assert_eq!(absent.err(), Some(IntelError::ComponentCount(0)));
    let spoilt = tdx_with(|world| level(&mut world.tcb_info)["tcb"]["pcesvn"] = json!(70_000));
    assert_eq!(spoilt.err(), Some(IntelError::DocumentMalformed(Document::TcbInfo)));
    assert_eq!(tdx_with(|world| world.tcb_info["fmspc"] = json!("00806F050001")).err(), Some(IntelError::Fmspc));
    assert_eq!(tdx_with(|world| world.tcb_info["pceId"] = json!("0001")).err(), Some(IntelError::PceId));
    let malformed = Some(IntelError::DocumentMalformed(Document::TcbInfo));
    assert_eq!(tdx_with(|world| world.tcb_info["fmspc"] = json!("00806F05")).err(), malformed);
    let kind = Some(IntelError::DocumentKind(Document::TcbInfo));
    assert_eq!(tdx_with(|world| world.tcb_info["id"] = json!("SGX")).err(), kind);
    assert_eq!(tdx_with(|world| world.tcb_info["tcbType"] = json!(1)).err(), kind);
    assert_eq!(tdx_with(|world| world.tcb_info["version"] = json!(2)).err(), kind);
    let version = IntelError::DocumentVersion(Document::TcbInfo, 4);
    assert_eq!(tdx_with(|world| world.tcb_info["version"] = json!(4)).err(), Some(version));
    let version = IntelError::DocumentVersion(Document::QeIdentity, 1);
    assert_eq!(tdx_with(|world| world.qe_identity["version"] = json!(1)).err(), Some(version));
}

#[test]
fn t8_a_platform_that_no_register_lists_is_refused_where_hardware_is_listed() {
    let genuine = tdx_with(|_| ()).unwrap();
    let ppid = "ab".repeat(16);
    let mut listed = policy("mrtd", &genuine);
    listed.tier_floor = Tier::AllowListed;
    let listing = |ids: &[&str]| HardwareIds::Listed(ids.iter().map(|id| (*id).to_owned()).collect());
    for ids in [&[][..], &["cd"]] {
        listed.hardware = listing(ids);
        let refused = genuine.clone().appraise(&[0xDA; 64], &listed).err();
        assert_eq!(refused, Some(Unfit::HardwareIdNotListed(ppid.clone())));
    }
    listed.hardware = listing(&[&ppid]);
    assert_eq!(genuine.appraise(&[0xDA; 64], &listed).unwrap().tier(), Tier::AllowListed);
    let masked = tdx_with(|world| world.extension = extension(&[3; 16], 11, &FMSPC, &[0; 16])).unwrap();
    assert_eq!(masked.appraise(&[0xDA; 64], &listed).err(), Some(Unfit::HardwareIdMasked));
}

#[test]
fn the_level_is_the_first_that_every_component_reaches() {
    for component in 0..16 {
        let mut svns = [3; 16];
        svns[component] = 1;
        let refused = tdx_with(|world| world.extension = extension(&svns, 11, &FMSPC, &[1; 16])).err();
        assert_eq!(refused, Some(IntelError::TcbNotSupported), "component {component}");
    }
    let refused = tdx_with(|world| world.extension = extension(&[3; 16], 10, &FMSPC, &[1; 16])).err();
    assert_eq!(refused, Some(IntelError::TcbNotSupported));
    assert_eq!(tdx_with(|world| world.body[TD_SVN + 2] = 2).err(), Some(IntelError::TcbNotSupported));
    // A second, older level is reached where the first is not.
    let second = tdx_with(|world| {
        let mut older = level(&mut world.tcb_info).clone();
        older["tcb"]["pcesvn"] = json!(5);
        older["tcbStatus"] = json!("OutOfDate");
        world.tcb_info["tcbLevels"].as_array_mut().unwrap().push(older);
        world.extension = extension(&[3; 16], 10, &FMSPC, &[1; 16]);
    });
    assert_eq!(second.unwrap().assurance(), Assurance::OutOfDate(TcbStatus::OutOfDate));
    // TDX 1.0: the module's own components count, and its identity is the general one.
    let first = |svn: u8| {
        tdx_with(|world| {
            world.body[TD_SVN..TD_SVN + 2].copy_from_slice(&[svn, 0]);
            level(&mut world.tcb_info)["tcb"]["tdxtcbcomponents"][0]["svn"] = json!(5);
            level(&mut world.tcb_info)["tcb"]["tdxtcbcomponents"][1]["svn"] = json!(0);
        })
    };
    assert_eq!(first(5).unwrap().claim("tdx_module"), None);
    assert_eq!(first(4).err(), Some(IntelError::TcbNotSupported));
}

#[test]
fn levels_of_the_second_form_have_sixteen_members() {
    // The same level as in the third form, member by member; `change` may spoil one.
    let with = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        sgx_with(|world| {
            let members = (1..=16).map(|at| (format!("sgxtcbcomp{at:02}svn"), json!(2)));
            let mut tcb: serde_json::Map<String, Value> = members.collect();
            tcb.insert("pcesvn".to_owned(), json!(11));
            change(&mut tcb);
            world.tcb_info["version"] = json!(2);
            world.tcb_info.as_object_mut().unwrap().remove("id");
            level(&mut world.tcb_info)["tcb"] = Value::Object(tcb);
        })
        .map(|genuine| genuine.assurance())
    };
    assert_eq!(with(&|_| ()), Ok(Assurance::Affirmed));
    for at in 1..=16 {
        let name = format!("sgxtcbcomp{at:02}svn");
        // The platform has 3 of each.
        assert_eq!(with(&|tcb| drop(tcb.insert(name.clone(), json!(3)))), Ok(Assurance::Affirmed));
        assert_eq!(with(&|tcb| drop(tcb.insert(name.clone(), json!(4)))), Err(IntelError::TcbNotSupported), "{name}");
        assert_eq!(with(&|tcb| drop(tcb.remove(&name))), Err(IntelError::ComponentCount(15)), "{name}");
    }
}

#[test]
fn what_a_trust_domain_may_do_is_told() {
    let names = ["sept_ve_disable", "migratable", "protection_keys", "key_locker", "perfmon"];
    let told = |attributes: u64| {
        let genuine =
            tdx_with(|world| world.body[TD_ATTRIBUTES..TD_ATTRIBUTES + 8].copy_from_slice(&attributes.to_le_bytes()));
        let genuine = genuine.unwrap();
        names.map(|name| genuine.claim(name).map(str::to_owned))
    };
    for (at, bit) in [28, 29, 30, 31, 63].into_iter().enumerate() {
        let only = std::array::from_fn(|index| Some((index == at).to_string()));
        assert_eq!(told(1 << bit), only, "{bit}");
    }
}

#[test]
fn the_tdx_module_is_one_that_intel_describes() {
    let mismatch = |field| Some(IntelError::TdxModule(field));
    assert_eq!(tdx_with(|world| world.body[TD_SVN + 1] = 3).err(), mismatch(ModuleField::Version));
    assert_eq!(tdx_with(|world| world.body[TD_SEAM_SIGNER] = 1).err(), mismatch(ModuleField::MrSigner));
    assert_eq!(tdx_with(|world| world.body[TD_SEAM_ATTRIBUTES] = 1).err(), mismatch(ModuleField::Attributes));
    assert_eq!(tdx_with(|world| world.body[TD_SVN] = 1).err(), Some(IntelError::TdxModuleSvn(1)));
}

#[test]
fn signatures_and_certificates_lead_from_one_to_the_next() {
    let other = World::tdx();
    let made = World::tdx().make();
    let quote = |at: usize| made_with(|made| made.quote[at] ^= 1).err();
    assert_eq!(quote(600), Some(IntelError::QuoteSignature));
    assert_eq!(quote(632 + 4 + 10), Some(IntelError::QuoteSignature));
    assert_eq!(quote(632 + 4 + 64 + 10), Some(IntelError::AttestationKey));
    assert_eq!(quote(632 + 4 + 128 + 6 + 10), Some(IntelError::QeReportSignature));
    assert_eq!(quote(632 + 4 + 128 + 6 + 384 + 10), Some(IntelError::QeReportSignature));
    assert_eq!(quote(632 + 4 + 128 + 6 + 448 + 2 + 10), Some(IntelError::AttestationKey));
    let untrusted = ChainError { at: 2, subject: "Intel SGX Root CA".to_owned(), fault: CertificateFault::Untrusted };
    let refused = made_with(|made| made.anchors = other.make().anchors);
    assert_eq!(refused.err(), Some(IntelError::PckChain(untrusted)));
    assert_eq!(made_with(|made| made.anchors.clear()).err().map(|error| error.step()), Some(3));
    for extension in
        [vec![], vec![0x30, 0], extension(&[3; 15], 11, &FMSPC, &[1; 16]), extension(&[3; 16], 11, &FMSPC, &[1; 15])]
    {
        let refused = tdx_with(|world| world.extension = extension.clone()).err();
        assert!(matches!(refused, Some(IntelError::PckExtension(_))), "{refused:?}");
    }
    let absent = tdx_with(|world| world.extension = extension(&[3; 15], 11, &FMSPC, &[1; 16])).err();
    assert_eq!(absent, Some(IntelError::PckExtension(PckFault::Missing("component"))));
    // One certificate too many, one too few, another order.
    let ders: Vec<Vec<u8>> = attest::certificate::Certificate::split(&made.pck_chain).unwrap();
    let [pck, authority, root] = ders.as_slice() else { panic!() };
    let with = |chain: &[&[u8]]| {
        let endorsements = IntelEndorsements { tcb_signing_chain: Some(&pem(chain)), ..made.endorsements() };
        tdx::examine(&made.quote, &endorsements, &made.anchors, &STRICT, made.now).err()
    };
    assert_eq!(with(&[pck, authority, root]), Some(IntelError::TcbRoles(Document::TcbInfo)));
    assert_eq!(with(&[root]), Some(IntelError::TcbRoles(Document::TcbInfo)));
}

#[test]
fn the_quoting_enclaves_identity_may_have_a_signer_of_its_own() {
    let mut world = World::tdx();
    let first = world.make();
    world.signer = World::tdx().signer;
    let second = world.make();
    let examine = |identity: &Option<Vec<u8>>, chain: &Option<Vec<u8>>| {
        let endorsements = IntelEndorsements {
            qe_identity: identity.as_deref(),
            qe_identity_signing_chain: chain.as_deref(),
            ..first.endorsements()
        };
        tdx::examine(&first.quote, &endorsements, &first.anchors, &STRICT, first.now).map(drop)
    };
    let refused = Err(IntelError::DocumentSignature(Document::QeIdentity));
    assert_eq!(examine(&second.qe_identity, &second.tcb_signing_chain), Ok(()));
    assert_eq!(examine(&first.qe_identity, &first.tcb_signing_chain), Ok(()));
    assert_eq!(examine(&first.qe_identity, &second.tcb_signing_chain), refused);
    assert_eq!(examine(&second.qe_identity, &first.tcb_signing_chain), refused);
    assert_eq!(examine(&second.qe_identity, &None), refused);
}

#[test]
fn without_tcb_collateral_the_signature_alone_is_told_and_with_a_part_the_rest_is_missed() {
    let bare =
        made_with(|made| (made.tcb_info, made.qe_identity, made.tcb_signing_chain) = (None, None, None)).unwrap();
    assert_eq!(bare.assurance(), Assurance::SignatureOnly);
    assert_eq!(bare.claim("tcb_status"), None);
    let policy = policy("mrtd", &bare);
    assert_eq!(bare.appraise(&[0xDA; 64], &policy).err(), Some(Unfit::Assurance(Assurance::SignatureOnly)));
    let missing = |change: fn(&mut Made)| made_with(change).err();
    let part = |part| Some(IntelError::EndorsementMissing(part));
    assert_eq!(missing(|made| made.tcb_info = None), part(Part::Document(Document::TcbInfo)));
    assert_eq!(missing(|made| made.qe_identity = None), part(Part::Document(Document::QeIdentity)));
    assert_eq!(missing(|made| made.tcb_signing_chain = None), part(Part::Chain(Document::TcbInfo)));
}

#[test]
fn a7_evidence_of_another_platform_is_refused() {
    let (td, enclave) = (World::tdx().make(), World::sgx().make());
    let refused = sgx::examine(&td.quote, &td.endorsements(), &td.anchors, &STRICT, td.now);
    assert_eq!(refused.err(), Some(IntelError::OtherPlatform { expected: Platform::Sgx, found: Platform::Tdx }));
    let refused = tdx::examine(&enclave.quote, &enclave.endorsements(), &enclave.anchors, &STRICT, enclave.now);
    assert_eq!(refused.err(), Some(IntelError::OtherPlatform { expected: Platform::Tdx, found: Platform::Sgx }));
    // A certificate, JSON, nothing at all.
    for other in [td.pck_chain.as_slice(), b"{}", b"", &[0; 9000]] {
        let refused = tdx::examine(other, &td.endorsements(), &td.anchors, &STRICT, td.now).err().unwrap();
        assert_eq!((refused.step(), refused.is_malformed()), (1, true));
    }
    let version = |version: u8| tdx_with(|world| world.header[0] = version).err();
    for unknown in [0, 1, 2, 6, 9] {
        assert_eq!(version(unknown), Some(IntelError::Version(u16::from(unknown))));
    }
    assert_eq!(tdx_with(|world| world.header[2] = 3).err(), Some(IntelError::KeyType(3)));
}

#[test]
fn a1_every_signed_bit_of_a_real_quote_counts() {
    for id in ["tdx/dcap-qvl-tdx-quote-2", "sgx/dcap-qvl-sgx-quote"] {
        let Some(case) = Case::find(id) else { return };
        let quote = case.bytes("quote");
        let begin = quote.windows(27).position(|window| window == b"-----BEGIN CERTIFICATE-----").unwrap();
        for bit in 0..begin * 8 {
            let changed = flip(quote, bit);
            assert!(case.examine(&changed).is_err(), "{id} bit {bit}");
        }
    }
}

/// Not signed: the root's certificate in each chain (its key is pinned; the rest of it is nobody's word), and the case of hexadecimal letters of
/// a document's signature.
#[test]
fn a1_every_bit_of_chains_lists_and_documents_counts_but_for_those_that_nobody_signs() {
    let Some(case) = Case::find("tdx/dcap-qvl-tdx-quote-2") else { return };
    let quote = case.bytes("quote");
    let begin = quote.windows(27).position(|window| window == b"-----BEGIN CERTIFICATE-----").unwrap();
    let root = last_certificate(quote);
    for byte in begin..root.start {
        let changed = flip(quote, byte * 8 + byte % 8);
        assert!(case.examine(&changed).is_err(), "byte {byte} of the chain");
    }
    for role in ROLES {
        let whole = case.bytes(role);
        let free = if role == "tcb_signing_chain" { last_certificate(whole) } else { 0..0 };
        for byte in (0..whole.len()).filter(|byte| !free.contains(byte)) {
            let changed = flip(whole, byte * 8 + byte % 8);
            if changed[byte].eq_ignore_ascii_case(&whole[byte]) && byte > whole.len() - 131 {
                continue;
            }
            let refused = case.examine_with(role, &changed);
            assert!(refused.is_err(), "byte {byte} of {role}");
        }
    }
}

#[test]
fn a2_cut_anywhere_or_followed_by_anything_but_zeros_a_quote_is_refused() {
    for id in ["tdx/dcap-qvl-tdx-quote-2", "tdx/go-tdx-guest-quote-v5-sample", "sgx/dcap-qvl-sgx-quote"] {
        let Some(case) = Case::find(id) else { return };
        let quote = case.bytes("quote");
        for size in 0..quote.len() {
            let refused = Quote::parse(&quote[..size]).err();
            assert!(
                matches!(refused, Some(IntelError::Malformed(FormatError::Truncated { .. }))),
                "{id} {size}: {refused:?}"
            );
        }
        let followed = Quote::parse(&[quote, &[0, 1]].concat()).err();
        let trailing = FormatError::Trailing { structure: "quote", count: 2 };
        assert_eq!(followed, Some(IntelError::Malformed(trailing)));
        assert_eq!(Quote::parse(&[quote, &[0; 3000]].concat()).unwrap().padding, 3000);
        assert!(matches!(
            Quote::parse(&[quote, &[0; 70_000]].concat()),
            Err(IntelError::Malformed(FormatError::TooLarge { .. }))
        ));
        for role in ROLES {
            let whole = case.bytes(role);
            for size in (0..whole.len()).step_by(7) {
                let cut = &whole[..size];
                let refused = case.examine_with(role, cut);
                let end = role == "tcb_signing_chain" && size == whole.len() - 1;
                assert!(refused.is_err() || end, "{role} {size}");
            }
        }
    }
}

#[test]
fn quotes_as_their_machines_pad_them_are_the_same_quotes() {
    let Some(cases) = Case::all() else { return };
    let mut padded = 0;
    for case in cases.iter().filter(|case| case.files.contains_key("quote_as_distributed")) {
        let (whole, bare) = (case.bytes("quote_as_distributed"), case.bytes("quote"));
        let zeros = whole[bare.len()..].iter().all(|byte| *byte == 0);
        let (whole, bare) = (case.examine(whole), case.examine(bare));
        match whole {
            Err(IntelError::Malformed(FormatError::Trailing { .. })) => assert!(!zeros, "{}", case.id),
            whole => assert_eq!(whole, bare, "{}", case.id),
        }
        padded += 1;
    }
    assert!(padded >= 8, "{padded}");
}

#[test]
fn intels_advisories_and_statuses_are_those_of_the_real_cases() {
    let Some(cases) = Case::all() else { return };
    let mut compared = 0;
    for case in &cases {
        let Ok(genuine) = case.examine(case.bytes("quote")) else { continue };
        let Some(advisories) = case.expected["advisory_ids"].as_array() else { continue };
        let advisories: Vec<&str> = advisories.iter().map(|id| id.as_str().unwrap()).collect();
        assert_eq!(genuine.claim("advisory_ids"), Some(advisories.join(",").as_str()), "{}", case.id);
        let claims = ["tcb_status", "platform_status", "module_status", "qe_status", "tdx_module"];
        for name in claims.into_iter().filter(|name| case.expected[*name].is_string()) {
            assert_eq!(genuine.claim(name), case.expected[name].as_str(), "{}: {name}", case.id);
        }
        compared += 1;
    }
    assert!(compared >= 40, "{compared}");
}

/// A real case, with its files by role.
struct Case {
    id: String,
    files: BTreeMap<String, Vec<u8>>,
    expected: Value,
    now: jiff::Timestamp,
    anchors: Vec<TrustAnchor>,
}

impl Case {
    fn all() -> Option<Vec<Case>> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
        let folder = workspace.join(folder);
        let Ok(manifest) = std::fs::read(folder.join("manifest.json")) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
            println!("skipped: no test vectors at {}", folder.display());
            return None;
        };
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let intel = |case: &&Value| matches!(case["kind"].as_str(), Some("sgx" | "tdx"));
        let cases = manifest["cases"].as_array().unwrap().iter().filter(intel);
        Some(cases.map(|case| Case::read(&folder.join(case["dir"].as_str().unwrap()), case)).collect())
    }

    fn read(directory: &Path, case: &Value) -> Case {
        let file = |(role, file): (&String, &Value)| {
            Some((role.clone(), std::fs::read(directory.join(file["path"].as_str()?)).unwrap()))
        };
        let files: BTreeMap<_, _> = case["files"].as_object().unwrap().iter().filter_map(file).collect();
        let anchors = match files.get("trust_anchor") {
            Some(anchor) => vec![TrustAnchor::pin(anchor).unwrap()],
            None => Authority::IntelSgx.anchors(),
        };
        Case {
            id: case["id"].as_str().unwrap().to_owned(),
            files,
            expected: case["expected"].clone(),
            now: case["reference_time"].as_str().map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.parse().unwrap()),
            anchors,
        }
    }

    fn find(id: &str) -> Option<Case> {
        Case::all()?.into_iter().find(|case| case.id == id)
    }

    fn bytes(&self, role: &str) -> &[u8] {
        &self.files[role]
    }

    fn examine(&self, quote: &[u8]) -> Result<Genuine, IntelError> {
        let mut endorsements = IntelEndorsements::default();
        for role in ROLES {
            *slot(&mut endorsements, role) = self.files.get(role).map(Vec::as_slice);
        }
        self.judge(quote, &endorsements)
    }

    /// With one part in place of the case's own.
    fn examine_with(&self, role: &str, part: &[u8]) -> Result<Genuine, IntelError> {
        let mut endorsements = IntelEndorsements::default();
        for role in ROLES {
            *slot(&mut endorsements, role) = self.files.get(role).map(Vec::as_slice);
        }
        *slot(&mut endorsements, role) = Some(part);
        self.judge(self.bytes("quote"), &endorsements)
    }

    fn judge(&self, quote: &[u8], endorsements: &IntelEndorsements<'_>) -> Result<Genuine, IntelError> {
        let mut rules = STRICT;
        if endorsements.pck_crl.is_none() {
            rules.revocation = Revocation::Authorities;
        }
        let examine = if self.id.starts_with("sgx/") { sgx::examine } else { tdx::examine };
        examine(quote, endorsements, &self.anchors, &rules, self.now)
    }
}

const ROLES: [&str; 5] = ["tcb_info", "qe_identity", "tcb_signing_chain", "pck_crl", "root_ca_crl"];

fn slot<'a, 'b>(endorsements: &'b mut IntelEndorsements<'a>, role: &str) -> &'b mut Option<&'a [u8]> {
    match role {
        "tcb_info" => &mut endorsements.tcb_info,
        "qe_identity" => &mut endorsements.qe_identity,
        "tcb_signing_chain" => &mut endorsements.tcb_signing_chain,
        "pck_crl" => &mut endorsements.pck_crl,
        "root_ca_crl" => &mut endorsements.root_ca_crl,
        other => panic!("{other}"),
    }
}

/// Where the last certificate of a bundle stands.
fn last_certificate(bytes: &[u8]) -> std::ops::Range<usize> {
    let marker = b"-----BEGIN CERTIFICATE-----";
    bytes.windows(marker.len()).rposition(|window| window == marker).unwrap()..bytes.len()
}

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    changed
}
