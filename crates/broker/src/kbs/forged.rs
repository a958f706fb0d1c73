//! For the tests of every kind: forged makers, a directory of what they sign, and the whole examination as the listener runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use attest::{HashAlgorithm, certificate::TrustAnchor};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use endorsements::{Anchors, ObjectId, Reader, Received, Store};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use testkit::intel::Made;
use wire::kbs::InitData;

use super::{
    endorsements::Needs,
    evidence::{Endorsements, EvidenceRefusal, Examined, Makers, Primary, Tee},
};

/// What the report data must be in these tests: of the length of a SHA-384 digest.
pub(super) const BOUND: [u8; 48] = [0xB0; 48];

/// One exchange.
pub(super) struct Exchange<'a> {
    pub(super) tee: Tee,
    pub(super) makers: Makers,
    pub(super) reader: Option<&'a Reader>,
    pub(super) report_data: Vec<u8>,
    pub(super) init_data: Option<InitData>,
    pub(super) now: Timestamp,
}

/// A directory of Endorsements, filled through the cache's own door.
pub(super) struct Shelf {
    pub(super) reader: Reader,
    directory: TempDir,
    anchors: Anchors,
}

impl Exchange<'_> {
    pub(super) fn new(tee: Tee, now: Timestamp) -> Exchange<'static> {
        let report_data = BOUND.to_vec();
        Exchange { tee, makers: Makers::shipped(), reader: None, report_data, init_data: None, now }
    }

    /// Reads, collects, examines.
    pub(super) fn examine(&self, evidence: &Value) -> Result<Examined, EvidenceRefusal> {
        let primary = Primary::read(self.tee, evidence)?;
        let needs: Needs = primary.needs()?;
        let collected = needs.collect(self.reader, self.now)?;
        let endorsements = Endorsements { enrolled: &|_| Ok(None), makers: &self.makers, collected: &collected };
        primary.examine(&endorsements, &self.report_data, self.init_data.as_ref(), self.now)
    }
}

impl Shelf {
    pub(super) fn new(anchors: Anchors) -> Shelf {
        let directory = tempfile::tempdir().unwrap();
        Shelf { reader: Reader::new(directory.path().to_owned(), anchors.clone()), directory, anchors }
    }

    /// Everything that Intel's documents say of a forged platform.
    pub(super) fn of(made: &Made) -> Shelf {
        let shelf = Shelf::new(Anchors { intel: made.root.clone(), ..Anchors::shipped() });
        let tee = if made.sgx { "sgx" } else { "tdx" };
        let signer = made.tcb_signing_chain.as_deref();
        let info = format!("{tee}/tcb/{}", hex::encode(testkit::intel::FMSPC));
        shelf.put(&info, made.tcb_info.as_ref().unwrap(), signer, made.now);
        shelf.put(&format!("{tee}/qe"), made.qe_identity.as_ref().unwrap(), signer, made.now);
        shelf.put("sgx/crl/platform", made.pck_crl.as_ref().unwrap(), Some(&made.authority_chain), made.now);
        shelf.put("sgx/crl/root", made.root_ca_crl.as_ref().unwrap(), None, made.now);
        shelf
    }

    /// Everything of a recorded case.
    pub(super) fn recorded(case: &str, tcb_info: &str, processor: bool, now: Timestamp) -> Option<Shelf> {
        let shelf = Shelf::new(Anchors::shipped());
        let file = |name: &str| corpus(&format!("{case}/{name}"));
        let tee = tcb_info.split('/').next()?;
        let signer = file("tcb_signing_chain.pem")?;
        shelf.put(tcb_info, &file("tcb_info.json")?, Some(&signer), now);
        shelf.put(&format!("{tee}/qe"), &file("qe_identity.json")?, Some(&signer), now);
        let authority = if processor { "sgx/crl/processor" } else { "sgx/crl/platform" };
        shelf.put(authority, &file("pck_crl.der")?, Some(&file("pck_crl_issuer_chain.pem")?), now);
        shelf.put("sgx/crl/root", &file("root_ca_crl.der")?, None, now);
        Some(shelf)
    }

    pub(super) fn put(&self, id: &str, body: &[u8], chain: Option<&[u8]>, now: Timestamp) {
        let chain = chain.map(|pem| std::str::from_utf8(pem).unwrap().replace('\n', "%0A"));
        let received = Received { body: body.to_vec(), chain, fetched: now };
        let store = Store::open(self.directory.path(), self.anchors.clone()).unwrap();
        store.put(&id.parse().unwrap(), &received, now).unwrap();
    }

    /// Takes an object away.
    pub(super) fn remove(&self, id: &str) {
        let id: ObjectId = id.parse().unwrap();
        let file = format!("{}.json", id.to_string().replace('/', "~"));
        std::fs::remove_file(self.directory.path().join("objects").join(file)).unwrap();
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

/// A log area with these events (register, data), each digest that of the data, and the registers that it replays to.
pub(super) fn log(bank: HashAlgorithm, events: &[(u32, &[u8])]) -> (Vec<u8>, [Vec<u8>; 4]) {
    let mut header = b"Spec ID Event03\0".to_vec();
    header.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0]);
    header.extend(bank.id().to_le_bytes());
    header.extend(u16::try_from(bank.size()).unwrap().to_le_bytes());
    header.push(0);
    let mut area = [1_u32, 3].map(u32::to_le_bytes).concat();
    area.extend([0; 20]);
    area.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
    area.extend(header);
    let mut registers = [(); 4].map(|()| vec![0; bank.size()]);
    for (register, data) in events {
        let digest = bank.hash(&[data]);
        area.extend([*register, 0xD, 1].map(u32::to_le_bytes).concat());
        area.extend(bank.id().to_le_bytes());
        area.extend(&digest);
        area.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        area.extend(*data);
        let value = &mut registers[*register as usize - 1];
        *value = bank.extend(value, &digest);
    }
    area.extend([0xFF; 8]);
    (area, registers)
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn document() -> InitData {
    InitData { format: "toml".to_owned(), body: "algorithm = \"sha384\"\nversion = \"0.1.0\"\n[data]\n".to_owned() }
}

pub(super) fn anchor(certificate: &[u8]) -> Vec<TrustAnchor> {
    vec![TrustAnchor::pin(certificate).unwrap()]
}

pub(super) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// A file of the corpus, or `None` where it is not here (a failure in CI).
pub(super) fn corpus(path: &str) -> Option<Vec<u8>> {
    let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let found = std::fs::read(folder.join(path)).ok();
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
        println!("skipped: no test vectors at {}", folder.display());
    }
    found
}

/// The code with which a platform's examination refused.
pub(super) fn code(refusal: Result<Examined, EvidenceRefusal>) -> String {
    match refusal {
        Err(EvidenceRefusal::Appraisal(words) | EvidenceRefusal::EventLog(words)) => {
            words.split(':').next().unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    }
}
