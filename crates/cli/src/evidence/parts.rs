//! What belongs to a report or quote, from a cache of Endorsements and from files.
//!
//! The cache comes first: what it keeps and what counts now is used, whatever the files hold, so that files cannot bring back an older
//! revocation list or an older recovery. Where it has none that counts, files may serve, and what Intel numbers may then not be below
//! what the cache has seen. Which objects are meant is read from certificates that are not checked yet: the examination checks them, and
//! another platform's objects could only make it refuse.

use attest::{
    certificate::Certificate,
    detect::Kind,
    intel::{IntelEndorsements, PckExtension, Quote, Revocation, Rules, Tee as QuoteTee},
};
use endorsements::{ObjectId, PckAuthority, Product, Received, SigningKind, Tee, Update};
use jiff::Timestamp;

use super::{
    examine::{Refused, Shelf, vcek},
    gather::Pieces,
};

/// SEV-SNP's certificates and the revocation list of their root.
pub(super) struct SnpParts {
    pub(super) key: Option<Vec<u8>>,
    pub(super) chain: Option<Vec<u8>>,
    pub(super) list: Option<Vec<u8>>,
}

/// Intel's documents and lists out of a cache, and how files may stand in for them.
pub(super) struct IntelParts {
    tcb_info: Option<Signed>,
    qe_identity: Option<Signed>,
    pck_crl: Option<Vec<u8>>,
    root_ca_crl: Option<Vec<u8>>,
    pub(super) rules: Rules,
}

/// A document with its signer's certificates, PEM.
struct Signed {
    body: Vec<u8>,
    chain: Vec<u8>,
}

impl SnpParts {
    pub(super) fn gather(report: &[u8], pieces: &Pieces, shelf: &Shelf, now: Timestamp) -> SnpParts {
        let certificates = pieces.certificates();
        let is_key = |name: &str| name == "SEV-VCEK" || name == "SEV-VLEK";
        let is_above = |name: &str| !is_key(name) && (name.starts_with("SEV-") || name.starts_with("ARK-"));
        let above = certificates.iter().filter(|(name, _)| is_above(name)).flat_map(|(_, der)| der.clone());
        let mut chain: Vec<u8> = above.collect();
        let mut list = pieces.list_of(|issuer| issuer.starts_with("ARK-")).map(<[u8]>::to_vec);
        let found = certificates.iter().find(|(name, _)| is_key(name)).map(|(_, der)| der.clone());
        let key = found.or_else(|| PRODUCTS.into_iter().find_map(|product| shelf.get(&vcek(report, product)?, now)));
        if let Some((kind, product)) = key.as_deref().and_then(authority) {
            chain = shelf.get(&ObjectId::AmdChain { kind, product }, now).unwrap_or(chain);
            list = shelf.get(&ObjectId::AmdCrl { kind, product }, now).or(list);
        }
        SnpParts { key, chain: (!chain.is_empty()).then_some(chain), list }
    }
}

impl IntelParts {
    /// What an appraisal of this quote takes from the cache. A tool without a cache has seen no number before; it asks for both lists.
    pub(super) fn gather(
        quote: Option<&[u8]>,
        pieces: &Pieces,
        shelf: &Shelf,
        now: Timestamp,
    ) -> Result<IntelParts, Refused> {
        let rules = Rules { evaluation_floor: 0, revocation: Revocation::Complete };
        let mut parts = IntelParts { tcb_info: None, qe_identity: None, pck_crl: None, root_ca_crl: None, rules };
        let (Some(quote), Shelf::Cache(_)) = (quote, shelf) else { return Ok(parts) };
        let (tee, fmspc, authority) = platform(quote, pieces).ok_or_else(|| {
            Refused::because(
                "pck-chain-malformed",
                "the platform's certificates cannot be read, so nothing tells which Endorsements of the cache are meant",
            )
        })?;
        let update = Update::Standard;
        let mut document = |id: ObjectId| {
            let kept = shelf.received(&id, now).and_then(Signed::of);
            if kept.is_none() {
                let floor = shelf.floor(&id)?;
                parts.rules.evaluation_floor = parts.rules.evaluation_floor.max(floor);
            }
            Ok::<_, Refused>(kept)
        };
        let tcb_info = document(ObjectId::TcbInfo { tee, fmspc, update })?;
        let qe_identity = document(ObjectId::QeIdentity { tee, update })?;
        (parts.tcb_info, parts.qe_identity) = (tcb_info, qe_identity);
        parts.pck_crl = shelf.get(&ObjectId::PckCrl(authority), now);
        parts.root_ca_crl = shelf.get(&ObjectId::RootCaCrl, now);
        Ok(parts)
    }

    /// All together: the cache's parts, and the files' where it has none.
    pub(super) fn with<'a>(&'a self, pieces: &'a Pieces) -> IntelEndorsements<'a> {
        let signing_chain = pieces.bundle("Intel SGX TCB Signing");
        let body = |kept: &'a Option<Signed>| kept.as_ref().map(|kept| kept.body.as_slice());
        let chain = |kept: &'a Option<Signed>| kept.as_ref().map(|kept| kept.chain.as_slice());
        IntelEndorsements {
            pck_chain: pieces.bundle("Intel SGX PCK Certificate"),
            tcb_info: body(&self.tcb_info).or_else(|| pieces.first(Kind::TcbInfo)),
            qe_identity: body(&self.qe_identity).or_else(|| pieces.first(Kind::QeIdentity)),
            tcb_signing_chain: chain(&self.tcb_info).or(signing_chain),
            qe_identity_signing_chain: chain(&self.qe_identity).or(signing_chain),
            pck_crl: self.pck_crl.as_deref().or_else(|| pieces.list_of(|issuer| issuer.starts_with("Intel SGX PCK "))),
            root_ca_crl: self.root_ca_crl.as_deref().or_else(|| pieces.list_of(|issuer| issuer == "Intel SGX Root CA")),
        }
    }
}

impl Signed {
    fn of(received: Received) -> Option<Signed> {
        let chain = received.issuer_chain()?;
        Some(Signed { body: received.body, chain })
    }
}

/// Which platform a quote's certificate speaks of, and which authority certified it.
fn platform(quote: &[u8], pieces: &Pieces) -> Option<(Tee, [u8; 6], PckAuthority)> {
    let quote = Quote::parse(quote).ok()?;
    let tee = match quote.tee() {
        QuoteTee::Sgx => Tee::Sgx,
        QuoteTee::Tdx => Tee::Tdx,
    };
    let chain = if quote.certification.kind == 5 {
        quote.certification.data
    } else {
        pieces.bundle("Intel SGX PCK Certificate")?
    };
    // Quoting libraries end the text as C does.
    let end = chain.iter().rposition(|byte| *byte != 0)? + 1;
    let ders = Certificate::split(chain.get(..end)?).ok()?;
    let leaf = Certificate::parse(ders.first()?).ok()?;
    let authority = match issuer(&leaf)?.as_str() {
        "Intel SGX PCK Platform CA" => PckAuthority::Platform,
        "Intel SGX PCK Processor CA" => PckAuthority::Processor,
        _ => return None,
    };
    Some((tee, PckExtension::of(&leaf).ok()?.fmspc, authority))
}

/// Under which of AMD's authorities a key's certificate stands.
fn authority(key: &[u8]) -> Option<(SigningKind, Product)> {
    let issuer = issuer(&Certificate::parse(key).ok()?)?;
    let kind = if issuer.starts_with("SEV-VLEK") { SigningKind::Vlek } else { SigningKind::Vcek };
    let product = PRODUCTS.into_iter().find(|product| issuer.ends_with(product.name()))?;
    Some((kind, product))
}

/// The issuer's common name.
fn issuer(certificate: &Certificate<'_>) -> Option<String> {
    let name = certificate.parsed().issuer().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

const PRODUCTS: [Product; 3] = [Product::Genoa, Product::Turin, Product::Milan];
