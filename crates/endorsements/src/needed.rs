//! Which objects the examination of one machine's Evidence needs, told by the Evidence itself.
//!
//! What is read here is believed by nobody: it only says where to look. A false claim leads to objects that do not fit, which the examination
//! refuses.

use attest::{
    intel::{ClaimedPlatform, Tee as Quoted},
    snp::{Generation, Report, SigningKey, Tcb},
};

use crate::object::{AmdTcb, ChipId, ObjectId, PckAuthority, Product, SigningKind, Tee, Update};

/// What a quote of SGX or TDX needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfQuote {
    /// The security versions of its platform.
    pub tcb_info: ObjectId,
    /// The identity of its quoting enclave.
    pub qe_identity: ObjectId,
    /// The revocation list of the authority that certified its platform.
    pub pck_crl: ObjectId,
    /// The revocation list of the root.
    pub root_ca_crl: ObjectId,
}

/// What a report of SEV-SNP needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfReport {
    /// The certificate of the chip's key; `None` where the key is a cloud's or the chip is masked, so that only the Attester can send it.
    pub key: Option<ObjectId>,
    /// The certificates above it.
    pub chain: ObjectId,
    /// The list of revoked intermediates.
    pub list: ObjectId,
}

impl OfQuote {
    /// What a quote of this platform needs; `None` for a PCK authority that is not Intel's.
    pub fn of(platform: &ClaimedPlatform) -> Option<OfQuote> {
        let tee = match platform.tee {
            Quoted::Sgx => Tee::Sgx,
            Quoted::Tdx => Tee::Tdx,
        };
        let known = [PckAuthority::Processor, PckAuthority::Platform];
        let authority = known.into_iter().find(|known| known.common_name() == platform.authority)?;
        let update = Update::Standard;
        Some(OfQuote {
            tcb_info: ObjectId::TcbInfo { tee, fmspc: platform.fmspc, update },
            qe_identity: ObjectId::QeIdentity { tee, update },
            pck_crl: ObjectId::PckCrl(authority),
            root_ca_crl: ObjectId::RootCaCrl,
        })
    }
}

impl OfReport {
    /// What a report of a chip of this generation needs.
    pub fn of(report: &Report, generation: Generation) -> OfReport {
        let product = match generation {
            Generation::Milan => Product::Milan,
            Generation::Genoa => Product::Genoa,
            Generation::Turin => Product::Turin,
        };
        let kind = match report.signing_key {
            SigningKey::Vcek => SigningKind::Vcek,
            SigningKey::Vlek => SigningKind::Vlek,
        };
        let key = match report.signing_key {
            SigningKey::Vcek => vcek(report, generation, product),
            SigningKey::Vlek => None,
        };
        OfReport { key, chain: ObjectId::AmdChain { kind, product }, list: ObjectId::AmdCrl { kind, product } }
    }
}

fn vcek(report: &Report, generation: Generation, product: Product) -> Option<ObjectId> {
    if report.chip_id.iter().all(|byte| *byte == 0) {
        return None;
    }
    let id = hex::encode(report.chip_id);
    let chip = ChipId::of(product, &id).or_else(|| ChipId::of(product, id.get(..16)?))?;
    let Tcb { fmc, bootloader, tee, snp, microcode } = Tcb::read(report.reported_tcb, generation)?;
    Some(ObjectId::Vcek { product, chip, tcb: AmdTcb { fmc, boot_loader: bootloader, tee, snp, microcode } })
}
