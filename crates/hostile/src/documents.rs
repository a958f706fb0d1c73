//! Documents, requests, files of people, logs and tables.

use std::{io::Cursor, sync::LazyLock};

use agreement::{
    documents::{Consent, Deposit, Identity, Manifest, Offer, Proposal, Revocation, Rotation, Run},
    toml::{AgreementFile, RulesFile},
};
use broker::{
    kbs::{
        evidence::{Tee, try_unvouched},
        jwe::Recipient,
        policy::Conditions,
    },
    limits::MAX_KBS_ATTESTATION,
};
use endorsements::{Anchors, ObjectId, Received, Store, bundle, check_before_store};
use envelope::{
    SigningKey, canonical,
    canonical::from_slice_loose,
    keys::{FileId, TableKey},
    statement::{Addressed, Envelope, Signed},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use wire::{
    kbs::{Attestation, Request},
    messages,
    signature::{Reader, SignedHeaders},
};

use crate::Fields;

/// Envelopes and the statements inside, of every kind that a broker reads.
pub fn statement(bytes: &[u8]) {
    let Ok(envelope) = from_slice_loose::<Envelope>(bytes) else { return };
    let _ = Signed::<Manifest>::open(&envelope);
    let _ = Signed::<Addressed<Proposal>>::open(&envelope);
    let _ = Signed::<Addressed<Consent>>::open(&envelope);
    let _ = Signed::<Addressed<Deposit>>::open(&envelope);
    let _ = Signed::<Addressed<Offer>>::open(&envelope);
    let _ = Signed::<Addressed<Revocation>>::open(&envelope);
    let _ = Signed::<Addressed<Rotation>>::open(&envelope);
    let _ = Signed::<Addressed<Run>>::open(&envelope);
}

/// Requests that a broker reads.
pub fn requests(bytes: &[u8]) {
    let _ = from_slice_loose::<messages::ChallengeRequest>(bytes);
    let _ = from_slice_loose::<messages::EnrolRequest>(bytes);
    let _ = from_slice_loose::<messages::EnrolProof>(bytes);
    let _ = from_slice_loose::<messages::EvidenceRequest>(bytes);
    let _ = from_slice_loose::<messages::ReleaseRequest>(bytes);
    let _ = from_slice_loose::<messages::RenewRequest>(bytes);
    let _ = from_slice_loose::<messages::Finished>(bytes);
    let _ = from_slice_loose::<messages::Failed>(bytes);
}

/// Answers of a broker that parties and workers read.
pub fn responses(bytes: &[u8]) {
    let _ = from_slice_loose::<messages::BrokerDescription>(bytes);
    let _ = from_slice_loose::<messages::Challenge>(bytes);
    let _ = from_slice_loose::<messages::BrokerEvidence>(bytes);
    let _ = from_slice_loose::<messages::AgreementStatus>(bytes);
    let _ = from_slice_loose::<messages::RunStatus>(bytes);
    let _ = from_slice_loose::<messages::Records>(bytes);
    let _ = from_slice_loose::<messages::Consistency>(bytes);
    let _ = from_slice_loose::<messages::EnrolChallenge>(bytes);
    let _ = from_slice_loose::<messages::Enrolled>(bytes);
    let _ = from_slice_loose::<messages::NextRun>(bytes);
    let _ = from_slice_loose::<messages::ReleasedKeys>(bytes);
    let _ = from_slice_loose::<messages::Problem>(bytes);
}

/// The headers of a signed read: path, `signature-input`, `signature`.
pub fn http_signature(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let [path, input, signature] =
        std::array::from_fn(|_| String::from_utf8_lossy(fields.file_or_empty()).into_owned());
    let broker = SigningKey::from_seed(&[7; 32]).public();
    let headers = SignedHeaders { audience: broker.to_string(), input, signature };
    let _ = Reader::check(&headers, &broker, "GET", &path, now);
}

/// Bodies of the KBS protocol.
pub fn kbs(bytes: &[u8]) {
    if bytes.len() > MAX_KBS_ATTESTATION {
        return;
    }
    let _ = serde_json::from_slice::<Request>(bytes).map(|request| Tee::named(&request.tee));
    let Ok(attestation) = serde_json::from_slice::<Attestation>(bytes) else { return };
    if let Ok(recipient) = Recipient::new(attestation.runtime_data.tee_pubkey) {
        let _ = recipient.encrypt(b"secret");
    }
    for tee in TEES {
        kbs_examine(tee, &attestation.tee_evidence.primary_evidence);
    }
}

/// Evidence in the JSON of KBS clients.
pub fn kbs_evidence(bytes: &[u8]) {
    if bytes.len() > MAX_KBS_ATTESTATION {
        return;
    }
    let Ok(evidence) = serde_json::from_slice(bytes) else { return };
    for tee in TEES {
        kbs_examine(tee, &evidence);
    }
}

const TEES: [Tee; 8] = [Tee::Tpm, Tee::Snp, Tee::Tdx, Tee::Sgx, Tee::AzSnpVtpm, Tee::AzTdxVtpm, Tee::Cca, Tee::Csv];

fn kbs_examine(tee: Tee, evidence: &Value) {
    let _ = try_unvouched(tee, evidence, Timestamp::constant(1_750_000_000, 0));
}

/// Owners' conditions in Cedar.
pub fn cedar(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Conditions::compile(text);
    }
}

/// The rules of a dataset, as people write them.
pub fn rules(bytes: &[u8]) {
    if let Err(error) = RulesFile::parse("rules.toml", bytes) {
        assert!(!error.to_string().is_empty());
    }
}

/// The text of an agreement; every file that it names is the second part of the input.
pub fn agreement(bytes: &[u8]) {
    let mut fields = Fields::new(bytes);
    let (text, other) = (fields.file_or_empty(), fields.rest().to_vec());
    if let Err(error) = AgreementFile::parse("agreement.toml", text, |_| Ok::<_, String>(other.clone())) {
        assert!(!error.to_string().is_empty());
    }
}

/// Objects of makers' services as they come, and files of many of them, which are imported.
pub fn endorsements(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let mut objects = fields;
    let name = String::from_utf8_lossy(objects.file_or_empty()).into_owned();
    let body = objects.file_or_empty().to_vec();
    let chain = objects.file().map(|chain| String::from_utf8_lossy(chain).into_owned());
    let received = Received { body, chain, fetched: now };
    for id in ObjectId::group(&name).unwrap_or_default() {
        let _ = check_before_store(&id, &received, |_| None, &SHIPPED, now);
    }
    let _ = bundle::import(&KEPT, fields.file_or_empty(), now);
    let Ok(objects @ Value::Array(_)) = serde_json::from_slice(fields.rest()) else { return };
    let Ok(digest) = canonical::digest(&objects) else { return };
    let file = json!({ "format": "glovebox-endorsements-1", "digest": digest, "objects": objects });
    let _ = bundle::import(&KEPT, file.to_string().as_bytes(), now);
}

/// Receipt files: parsed, then verified.
pub fn receipt(bytes: &[u8]) {
    if let Ok(receipt) = receipt::Receipt::parse(bytes) {
        let _ = receipt::verify(&receipt, &receipt::Anchors::default(), None);
    }
}

/// Identities, digests and keys as people paste them.
pub fn identity(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<Identity>();
        let _ = text.parse::<envelope::Digest>();
        let _ = text.parse::<envelope::PublicKey>();
    }
}

/// Checkpoints, proofs, entry bundles and keys of a log.
pub fn log(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = tlog::LogKey::try_from(text.to_owned());
        let _ = tlog::WitnessKey::try_from(text.to_owned());
    }
    let _ = tlog::LogProof::parse(bytes);
    let _ = tlog::decode_bundle(bytes, 256);
    let _ = tlog::SignedCheckpoint::from_bytes(bytes);
}

/// Sealed Parquet files from a hostile owner.
pub fn sealed(bytes: &[u8]) {
    let file = FileId { dataset: "d".into(), version: 1, index: 0 };
    let key = TableKey::from_bytes([7; 32]);
    if let Ok(contents) = table::Contents::of(&mut Cursor::new(bytes)) {
        let _ = table::Sealed::check(&mut Cursor::new(bytes), &contents, &file, &key.footer(&file));
    }
}

/// Tables as people have them: CSV, JSON lines, Arrow IPC, Parquet.
pub fn source(bytes: &[u8]) {
    for format in [table::Format::Csv, table::Format::JsonLines, table::Format::ArrowIpc, table::Format::Parquet] {
        if let Ok(mut source) = table::Source::new(format, Cursor::new(bytes.to_vec())) {
            let _ = table::infer_schema(&mut source, &table::Declared::none());
        }
    }
}

static SHIPPED: LazyLock<Anchors> = LazyLock::new(Anchors::shipped);
/// A folder of this process alone. What is imported into it was checked.
static KEPT: LazyLock<Store> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("glovebox-hostile-{}", std::process::id()));
    Store::open(&folder, Anchors::shipped()).expect("a folder for Endorsements")
});
