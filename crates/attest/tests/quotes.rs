//! The form of Intel's quotes: versions, bodies, sizes, and what is reserved in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use attest::{
    FormatError,
    intel::{IntelError, Quote, sgx, tdx},
    platform::{Assurance, Genuine},
};
use testkit::intel::{TD_ATTRIBUTES, World};

fn examined(mut world: World, change: impl FnOnce(&mut World)) -> Result<Genuine, IntelError> {
    change(&mut world);
    world.examine()
}

/// A quote of the fifth version, which says the kind and size of its body, under a hierarchy of this platform.
fn fifth(sgx: bool, tee: u32, kind: u16, size: Option<u32>, body: &[u8]) -> Result<Genuine, IntelError> {
    let mut world = if sgx { World::sgx() } else { World::tdx() };
    world.header[..2].copy_from_slice(&5_u16.to_le_bytes());
    world.header[4..8].copy_from_slice(&tee.to_le_bytes());
    let said = size.unwrap_or(body.len() as u32);
    world.body = [&kind.to_le_bytes()[..], &said.to_le_bytes(), body].concat();
    // Of this version the quoting enclave's report is wrapped on SGX, too.
    world.sgx = false;
    let made = world.make();
    let examine = if sgx { sgx::examine } else { tdx::examine };
    examine(&made.quote, &made.endorsements(), &made.anchors, &made.rules, made.now)
}

#[test]
fn a_quote_of_the_fifth_version_says_what_its_body_is() {
    let (enclave, domain) = (World::sgx().body, World::tdx().body);
    let longer = [&domain[..], &[9; 64]].concat();
    let found = |sgx, tee, kind, body| fifth(sgx, tee, kind, None, body).map(|genuine| genuine.assurance());
    assert_eq!(found(true, 0, 1, &enclave), Ok(Assurance::Affirmed));
    assert_eq!(found(false, 0x81, 2, &domain), Ok(Assurance::Affirmed));
    assert_eq!(found(false, 0x81, 3, &longer), Ok(Assurance::Affirmed));
    let longest: Vec<u8> = longer.iter().copied().chain(1..=237).collect();
    let genuine = fifth(false, 0x81, 4, None, &longest).unwrap();
    let places = [("td_id", 649..681), ("device_info", 681..729), ("cur_service_td_hash", 829..877)];
    for (name, place) in places.into_iter().chain([("cur_service_td_attributes", 877..885)]) {
        assert_eq!(genuine.register(name), Some(&longest[place]), "{name}");
    }
    let launch = [
        ("init_service_td_hash", 729..777),
        ("init_service_td_attributes", 777..785),
        ("init_cpu_svn", 785..801),
        ("init_tee_tcb_svn", 801..817),
        ("init_tee_fmspc", 817..829),
    ];
    for (name, place) in launch {
        assert_eq!(genuine.claim(name), Some(hex::encode(&longest[place]).as_str()), "{name}");
    }
    assert_eq!((genuine.claim("vmid"), genuine.claim("servtd_ext")), (Some("1"), Some("false")));
    // Service trust domains that are bound later are told by the longest report, so only there may they be.
    let bound_later = |kind: u16, body: &[u8]| {
        let mut body = body.to_vec();
        body[TD_ATTRIBUTES + 2] |= 0x02;
        fifth(false, 0x81, kind, None, &body).map(|genuine| genuine.claim("servtd_ext").map(str::to_owned))
    };
    assert_eq!(bound_later(4, &longest), Ok(Some("true".to_owned())));
    assert_eq!(bound_later(3, &longer).err(), Some(IntelError::TdAttributes(0x1002_0000)));
    let refused = |field: &'static str, value: u64| {
        Some(IntelError::Malformed(FormatError::Value { structure: "quote", field, value }))
    };
    for (tee, kind, body) in
        [(0, 2, &domain), (0, 3, &longer), (0x81, 1, &enclave), (0x81, 0, &domain), (0x81, 5, &longer)]
    {
        assert_eq!(fifth(tee == 0, tee, kind, None, body).err(), refused("body type", kind.into()));
    }
    for (tee, kind, body) in [(0, 1, &enclave), (0x81, 2, &domain), (0x81, 3, &longer), (0x81, 4, &longest)] {
        for size in [body.len() as u32 - 1, body.len() as u32 + 1] {
            assert_eq!(fifth(tee == 0, tee, kind, Some(size), body).err(), refused("body size", size.into()));
        }
    }
    assert_eq!(fifth(false, 0x82, 2, None, &domain).err(), refused("tee type", 0x82));
}

#[test]
fn a_quote_is_read_up_to_64_kib_and_what_is_reserved_in_it_is_zero() {
    let made = World::tdx().make();
    let padded = |size: usize| {
        let mut quote = made.quote.clone();
        quote.resize(size, 0);
        Quote::parse(&quote).map(|quote| quote.padding)
    };
    assert_eq!(padded(64 << 10), Ok((64 << 10) - made.quote.len()));
    for size in [(64 << 10) + 1, (64 << 10) + 2] {
        let refused = FormatError::TooLarge { structure: "quote", size, limit: 64 << 10 };
        assert_eq!(padded(size), Err(IntelError::Malformed(refused)));
    }
    // In the third version two security versions stand there.
    let reserved = |world: &mut World| world.header[8..12].copy_from_slice(&7_u32.to_le_bytes());
    assert_eq!(examined(World::sgx(), reserved).map(|genuine| genuine.assurance()), Ok(Assurance::Affirmed));
    let refused = FormatError::Value { structure: "quote", field: "reserved", value: 7 };
    assert_eq!(examined(World::tdx(), reserved).err(), Some(IntelError::Malformed(refused)));
}
