//! Writes what the vectors do not have into a folder, as inputs to begin with: `seeds FOLDER`. Documents of a whole room, messages, a sealed table, tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Cursor,
    path::PathBuf,
    sync::Arc,
};

use envelope::{
    Digest, canonical,
    keys::{FileId, TableKey},
    text::{Bytes, Bytes32},
};
use serde_json::Value;
use testkit::Room;
use wire::messages::*;

fn main() {
    let seeds = Seeds(std::env::args().nth(1).expect("a folder").into());
    documents(&seeds);
    tables(&seeds);
}

struct Seeds(PathBuf);

impl Seeds {
    fn write(&self, target: &str, bytes: &[u8]) {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(Digest::of(bytes).short()), bytes).unwrap();
    }

    fn document<T: serde::Serialize>(&self, target: &str, document: &T) {
        self.write(target, &canonical::to_vec(document).unwrap());
    }

    /// Every envelope inside.
    fn envelopes(&self, value: &Value) {
        if value.get("signatures").is_some() {
            self.document("statement", value);
        }
        let parts: Vec<&Value> = match value {
            Value::Object(members) => members.values().collect(),
            Value::Array(items) => items.iter().collect(),
            _ => Vec::new(),
        };
        parts.into_iter().for_each(|part| self.envelopes(part));
    }
}

fn documents(seeds: &Seeds) {
    let mut room = Room::new();
    let claim = room.worker_machine.claim().clone();
    let receipt = room.receipt();
    let (evidence, keys) = (receipt.worker.evidence.clone(), receipt.worker.binding.keys.clone());
    seeds.document("receipt", &receipt);
    seeds.envelopes(&serde_json::to_value(&receipt).unwrap());
    seeds.document("evidence", &evidence);
    seeds.document("evidence", &room.broker_policy());
    let challenge = Challenge {
        purpose: ChallengeUse::WorkerRelease,
        nonce: Bytes32([1; 32]),
        expires: testkit::now(),
        mac: Bytes32([2; 32]),
    };
    let request = EnrolRequest {
        ak_public: claim.ak_public.clone(),
        ek_public: claim.ek_public.clone(),
        ek_chain: claim.ek_certificates.clone(),
    };
    let credential = Activation { id_object: Bytes(vec![1]), encrypted_secret: Bytes(vec![2]) };
    let challenged = EnrolChallenge { credential, token: Bytes(vec![1]), challenge: challenge.clone() };
    let proof = EnrolProof {
        request: request.clone(),
        token: Bytes(vec![1]),
        challenge: challenge.clone(),
        secret: Bytes(vec![2]),
        evidence: evidence.clone(),
        keys: keys.clone(),
    };
    let (run, lease) = (Digest::of(b"run"), Bytes32([1; 32]));
    let release = ReleaseRequest {
        run,
        enrolment: Digest::of(b"enrolment"),
        challenge: challenge.clone(),
        keys: keys.clone(),
        evidence: evidence.clone(),
    };
    seeds.document("requests", &request);
    seeds.document("requests", &proof);
    seeds.document("requests", &release);
    seeds.document("requests", &RenewRequest { lease, release });
    seeds.document("requests", &ChallengeRequest { purpose: ChallengeUse::WorkerEnrol });
    seeds.document("requests", &EvidenceRequest { nonce: lease, asker: room.broker.public() });
    let statement = receipt.result.statement.clone();
    seeds.document("requests", &Finished { statement, rules: "{}".to_owned(), output: Bytes(vec![1]) });
    seeds.document("requests", &Failed { run, lease: Some(lease), code: "failed".to_owned() });
    let description = BrokerDescription {
        key: room.broker.public(),
        log: room.log.key().to_string(),
        encapsulation: room.decapsulation.public().clone(),
        ak_public: claim.ak_public,
        ek_public: claim.ek_public,
        ek_chain: claim.ek_certificates,
        version: "1".to_owned(),
        time: testkit::now(),
    };
    seeds.document("responses", &description);
    seeds.document("responses", &challenge);
    seeds.document("responses", &challenged);
    seeds.document("responses", &BrokerEvidence { evidence, keys });
    let status = AgreementStatus {
        digest: run,
        name: "trial".to_owned(),
        agreement: receipt.grounds.agreement.clone(),
        manifests: receipt.grounds.manifests.clone(),
        consented: BTreeSet::from(["hospital".to_owned()]),
        offered: BTreeMap::from([("registry".to_owned(), run)]),
        standing: Standing::InForce {},
    };
    seeds.document("responses", &status);
    seeds.document("responses", &RunStatus { run, phase: Phase::Refused, refusal: None });
    let record = LoggedRecord { kind: "urn:x".to_owned(), logged: receipt.grounds.run.clone() };
    seeds.document("responses", &Records { checkpoint: receipt.grounds.checkpoint.clone(), records: vec![record] });
    let wrapped = room.decapsulation.public().wrap(b"x", "y", b"z").unwrap();
    let lease = Lease { id: lease, lasts_ms: 60_000 };
    seeds.document("responses", &ReleasedKeys { wrapped, lease, released: receipt.released.statement.clone() });
    seeds.document("responses", &Enrolled { enrolment: receipt.enrolment.statement.clone() });
    seeds.document("responses", &NextRun { enrolment: run });
    seeds.write("log", room.log.key().to_string().as_bytes());
}

fn tables(seeds: &Seeds) {
    let text = "patient,diagnosis,score,day\n1,flu,0.5,2026-01-01\n2,,1.5,2026-01-02\n3,cold,,\n";
    let source = || table::Source::new(table::Format::Csv, Cursor::new(text.as_bytes())).unwrap();
    let schema = table::infer_schema(&mut source(), &table::Declared::none()).unwrap();
    let file = FileId { dataset: "d".into(), version: 1, index: 0 };
    let mut sealed = Vec::new();
    table::seal_table(&mut source(), &schema, &TableKey::from_bytes([7; 32]), &file, &mut sealed, |_| {}).unwrap();
    seeds.write("sealed", &sealed);
    seeds.write("source", text.as_bytes());
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(arrow::array::Int64Array::from(vec![1, 2, 3])),
        Arc::new(arrow::array::StringArray::from(vec![Some("flu"), None, Some("cold")])),
    ];
    let batch = arrow::array::RecordBatch::try_from_iter(["patient", "diagnosis"].into_iter().zip(columns)).unwrap();
    let mut parquet = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    seeds.write("source", &parquet);
    let mut arrow = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut arrow, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    seeds.write("source", &arrow);
}
