//! What travels between a party, a broker and a worker: one type per request and answer, and the paths they go to.
//!
//! Everything with an effect is a signed, addressed statement inside; the types here only carry them. Reads are authenticated by
//! an RFC 9421 signature of the request ([`crate::signature`]); workers by their TLS client certificate and their attested key.

use attest::{Evidence, binding::ChannelKeys};
use envelope::{
    Digest, PublicKey,
    statement::Envelope,
    text::{Bytes, Bytes32},
    wrap::{EncapsulationKey, Wrapped},
};
use jiff::Timestamp;
use receipt::{Grounds, Logged};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroize as _;

/// Paths of the broker's API. `{…}` is one path segment.
pub mod path {
    /// GET [`super::BrokerDescription`]; anyone.
    pub const BROKER: &str = "/v1/broker";
    /// POST [`super::ChallengeRequest`] → [`super::Challenge`]; anyone; costs no memory.
    pub const CHALLENGE: &str = "/v1/challenge";
    /// POST [`super::EvidenceRequest`] → [`super::BrokerEvidence`]; anyone.
    pub const BROKER_EVIDENCE: &str = "/v1/broker/evidence";
    /// POST [`super::Activation`] → [`super::Activated`]; anyone.
    pub const BROKER_ACTIVATE: &str = "/v1/broker/activate";
    /// POST a signed `Addressed<Proposal>` → [`super::AgreementStatus`].
    pub const PROPOSALS: &str = "/v1/proposals";
    /// POST a signed `Addressed<Consent>` → [`super::AgreementStatus`].
    pub const CONSENTS: &str = "/v1/consents";
    /// POST a signed `Addressed<Deposit>` → [`super::Accepted`].
    pub const DEPOSITS: &str = "/v1/deposits";
    /// POST a signed `Addressed<Offer>` → [`super::Accepted`].
    pub const OFFERS: &str = "/v1/offers";
    /// POST a signed `Addressed<Revocation>` → [`super::Accepted`].
    pub const REVOCATIONS: &str = "/v1/revocations";
    /// POST a signed `Addressed<Rotation>` → [`super::Accepted`].
    pub const ROTATIONS: &str = "/v1/rotations";
    /// POST a signed `Addressed<ReferenceDeposit>` → [`super::Accepted`]; anyone who has the auditor's document.
    pub const REFERENCE_VALUES: &str = "/v1/reference-values";
    /// GET [`super::AgreementStatus`]; a party to it.
    pub const AGREEMENT: &str = "/v1/agreements/{digest}";
    /// GET `Vec<AgreementStatus>`: those of the asking party.
    pub const AGREEMENTS: &str = "/v1/agreements";
    /// POST a signed `Addressed<Run>` → [`super::RunStatus`].
    pub const RUNS: &str = "/v1/runs";
    /// GET [`super::RunStatus`]; a party to its agreement.
    pub const RUN: &str = "/v1/runs/{run}";
    /// GET the sealed result, an age file; a party to its agreement.
    pub const RESULT: &str = "/v1/runs/{run}/result";
    /// GET [`receipt::Receipt`]; a party to its agreement.
    pub const RECEIPT: &str = "/v1/runs/{run}/receipt";
    /// GET `Vec<LoggedRecord>`: the log's records that concern the asking party.
    pub const RECORDS: &str = "/v1/records";
    /// GET [`super::Secrets`]: those of the asking party.
    pub const SECRETS: &str = "/v1/secrets";
    /// POST a signed `Addressed<SecretPush>` → [`super::Accepted`].
    pub const SECRET_PUSHES: &str = "/v1/secrets/pushes";
    /// POST a signed `Addressed<SecretRemoval>` → [`super::Accepted`].
    pub const SECRET_REMOVALS: &str = "/v1/secrets/removals";
    /// POST a signed `Addressed<SecretPolicy>` → [`super::Accepted`].
    pub const SECRET_POLICY: &str = "/v1/secrets/policy";
    /// POST [`super::EnrolRequest`] → [`super::EnrolChallenge`]; a worker.
    pub const WORKER_ENROL: &str = "/v1/workers/enrol";
    /// POST [`super::EnrolProof`] → [`super::Enrolled`]; a worker.
    pub const WORKER_PROVE: &str = "/v1/workers/prove";
    /// POST [`super::NextRun`] → [`super::WorkOrder`] or 204 after at most 20 s; an enrolled worker.
    pub const WORKER_NEXT: &str = "/v1/workers/next";
    /// POST [`super::ReleaseRequest`] → [`super::ReleasedKeys`]; an enrolled worker.
    pub const WORKER_RELEASE: &str = "/v1/workers/release";
    /// POST [`super::RenewRequest`] → [`super::Lease`]; an enrolled worker.
    pub const WORKER_RENEW: &str = "/v1/workers/renew";
    /// POST [`super::Finished`] → [`super::Accepted`]; an enrolled worker.
    pub const WORKER_RESULT: &str = "/v1/workers/result";
    /// POST [`super::Failed`] → [`super::Accepted`]; an enrolled worker.
    pub const WORKER_FAILED: &str = "/v1/workers/failed";
    /// GET the signed checkpoint, text (C2SP tlog-tiles); anyone. Tiles and entry bundles lie beside it.
    pub const LOG_CHECKPOINT: &str = "/log/checkpoint";
    /// GET consistency proof `?from=&to=` → [`super::Consistency`]; anyone.
    pub const LOG_CONSISTENCY: &str = "/v1/log/consistency";
}

/// Who the broker is. A hint until its Evidence is appraised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerDescription {
    /// Its signing key; the TLS leaf of this connection was issued by it.
    #[schema(value_type = String)]
    pub key: PublicKey,
    /// Its log's verifier key (C2SP signed note).
    pub log: String,
    /// What deposits are wrapped to.
    #[schema(value_type = String)]
    pub encapsulation: EncapsulationKey,
    /// Its attestation key: TPMT_PUBLIC.
    #[schema(value_type = String)]
    pub ak_public: Bytes,
    /// Its endorsement key: TPMT_PUBLIC.
    #[schema(value_type = String)]
    pub ek_public: Bytes,
    /// The endorsement key's certificate and intermediates, leaf first.
    #[schema(value_type = Vec<String>)]
    pub ek_chain: Vec<Bytes>,
    /// The version of the software.
    pub version: String,
    /// Its clock, so that a party whose own is off is told.
    #[schema(value_type = String)]
    pub time: Timestamp,
}

/// What a challenge shall be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChallengeUse {
    /// [`path::WORKER_ENROL`].
    WorkerEnrol,
    /// [`path::WORKER_RELEASE`].
    WorkerRelease,
    /// [`path::WORKER_RENEW`].
    WorkerRenew,
}

/// Asks for a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// What for.
    #[serde(rename = "use")]
    pub purpose: ChallengeUse,
}

/// A stateless challenge: the broker recognises its own by the MAC and remembers it only when it is redeemed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// What for.
    #[serde(rename = "use")]
    pub purpose: ChallengeUse,
    /// Enters the binding.
    #[schema(value_type = String)]
    pub nonce: Bytes32,
    /// Not redeemed after this; at most 60 seconds ahead.
    #[schema(value_type = String)]
    pub expires: Timestamp,
    /// HMAC-SHA-256 under a key that is redrawn at each start of the broker.
    #[schema(value_type = String)]
    pub mac: Bytes32,
}

/// Asks the broker for its own Evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRequest {
    /// The asker's fresh nonce.
    #[schema(value_type = String)]
    pub nonce: Bytes32,
    /// The asker's signing key: a party's, or a worker's.
    #[schema(value_type = String)]
    pub asker: PublicKey,
}

/// The broker's Evidence, bound to this connection, the asker's nonce and key, for `broker-deposit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerEvidence {
    /// The Evidence. The asker computes the binding itself.
    #[schema(value_type = Object)]
    pub evidence: Evidence,
    /// The keys that the broker bound.
    #[schema(value_type = Object)]
    pub keys: ChannelKeys,
}

/// A credential for the broker's TPM to activate (TPM 2.0 Part 1, section 24).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// TPM2B_ID_OBJECT contents.
    #[schema(value_type = String)]
    pub id_object: Bytes,
    /// TPM2B_ENCRYPTED_SECRET contents.
    #[schema(value_type = String)]
    pub encrypted_secret: Bytes,
}

/// What came out of an activation: only the TPM that holds both keys could know it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Activated {
    /// The secret.
    #[schema(value_type = String)]
    pub secret: Bytes,
}

/// A statement was stored and logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The statement's digest.
    #[schema(value_type = String)]
    pub statement: Digest,
    /// Its leaf in the log.
    pub leaf: u64,
}

/// How an agreement stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgreementStatus {
    /// Its digest.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Its name.
    pub name: String,
    /// The document, for a party that has not seen it.
    #[schema(value_type = Object)]
    pub agreement: agreement::documents::Agreement,
    /// Signed manifests that the broker has for it.
    #[schema(value_type = Vec<Object>)]
    pub manifests: Vec<Envelope>,
    /// Who has consented.
    #[schema(value_type = Vec<String>)]
    pub consented: BTreeSet<String>,
    /// Whose offer stands in.
    #[schema(value_type = BTreeMap<String, String>)]
    pub offered: BTreeMap<String, Digest>,
    /// In force, or why not, in words and as a code.
    pub standing: Standing,
}

/// Whether an agreement is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Standing {
    /// Runs may start.
    InForce {},
    /// Not yet, or no longer.
    NotInForce {
        /// The full reason; the asker is a party.
        reason: String,
    },
}

/// The phases of a run. Nothing else about its progress leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Logged, waiting for a worker.
    Approved,
    /// A worker has attested and holds keys.
    Running,
    /// The result is logged and can be fetched.
    Released,
    /// It ended without a result.
    Refused,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunStatus {
    /// Its id.
    #[schema(value_type = String)]
    pub run: Digest,
    /// Its phase.
    pub phase: Phase,
    /// With [`Phase::Refused`]: a code of a closed set that does not depend on data, and its words.
    pub refusal: Option<RunRefusal>,
}

/// Why a run ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRefusal {
    /// The code.
    pub code: String,
    /// In words, for the owners.
    pub words: String,
}

/// A log record that concerns the asker, with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoggedRecord {
    /// The statement type.
    pub kind: String,
    /// The statement with salt and proof.
    #[schema(value_type = Object)]
    pub logged: Logged,
}

/// The records of one party against one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// The log's signed checkpoint.
    pub checkpoint: String,
    /// In the log's order.
    pub records: Vec<LoggedRecord>,
}

/// The secrets of one party. No value is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The conditions of those that have none of their own: the digest of their text.
    #[schema(value_type = Option<String>)]
    pub policy: Option<Digest>,
    /// In the order of their paths.
    pub secrets: Vec<SecretEntry>,
}

/// One secret, as its owner may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretEntry {
    /// `REPOSITORY/TYPE/TAG`.
    pub path: String,
    /// The SHA-256 of the secret.
    #[schema(value_type = String)]
    pub value: Digest,
    /// Its own conditions: the digest of their text.
    #[schema(value_type = Option<String>)]
    pub policy: Option<Digest>,
    /// Grows with every replacement.
    pub version: u64,
    /// When it was pushed last.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// Why it was refused last since the broker started, if it was.
    pub denied: Option<String>,
}

/// A consistency proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// The newer checkpoint.
    pub checkpoint: String,
    /// From the older size to it.
    #[schema(value_type = Object)]
    pub proof: tlog::ConsistencyProof,
}

/// A worker that wants its attestation key enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The attestation key: TPMT_PUBLIC.
    #[schema(value_type = String)]
    pub ak_public: Bytes,
    /// The endorsement key: TPMT_PUBLIC.
    #[schema(value_type = String)]
    pub ek_public: Bytes,
    /// The endorsement key's certificate and intermediates, leaf first.
    #[schema(value_type = Vec<String>)]
    pub ek_chain: Vec<Bytes>,
}

/// A credential for the worker's TPM, and the broker's state inside a sealed token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolChallenge {
    /// To be activated.
    pub credential: Activation,
    /// To be handed back: MACed, expiring, holding nothing that helps to answer.
    #[schema(value_type = String)]
    pub token: Bytes,
    /// Enters the binding of the first quote.
    pub challenge: Challenge,
}

/// The activated secret and a first quote, so that reset counts are enrolled as signed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolProof {
    /// As sent.
    pub request: EnrolRequest,
    /// As received.
    #[schema(value_type = String)]
    pub token: Bytes,
    /// As received.
    pub challenge: Challenge,
    /// What came out of the activation.
    #[schema(value_type = String)]
    pub secret: Bytes,
    /// A quote bound to `worker-enrol`.
    #[schema(value_type = Object)]
    pub evidence: Evidence,
    /// The worker's keys.
    #[schema(value_type = Object)]
    pub keys: ChannelKeys,
}

/// The broker's Endorsement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// A signed `Enrolment`, logged.
    #[schema(value_type = Object)]
    pub enrolment: Envelope,
}

/// A worker asks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NextRun {
    /// The statement digest of its enrolment.
    #[schema(value_type = String)]
    pub enrolment: Digest,
}

/// A run for a worker, with everything that it must check itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkOrder {
    /// The run's id.
    #[schema(value_type = String)]
    pub run: Digest,
    /// Agreement, consents, run, proofs.
    #[schema(value_type = Object)]
    pub grounds: Grounds,
}

/// A worker asks for the keys of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The run's id.
    #[schema(value_type = String)]
    pub run: Digest,
    /// The statement digest of its enrolment.
    #[schema(value_type = String)]
    pub enrolment: Digest,
    /// The challenge that its binding holds.
    pub challenge: Challenge,
    /// Its keys.
    #[schema(value_type = Object)]
    pub keys: ChannelKeys,
    /// Its Evidence, bound to `worker-release` on this connection.
    #[schema(value_type = Object)]
    pub evidence: Evidence,
}

/// The keys of a run, wrapped to the attested encapsulation key, under a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleasedKeys {
    /// [`Keys`] in JSON, wrapped for [`Keys::PURPOSE`] with [`Keys::context`].
    #[schema(value_type = Object)]
    pub wrapped: Wrapped,
    /// The lease.
    pub lease: Lease,
    /// The broker's signed, logged statement of the release.
    #[schema(value_type = Object)]
    pub released: Envelope,
}

/// A lease on released keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Bytes32,
    /// How long from now, in milliseconds: the worker's clock need not agree with the broker's.
    pub lasts_ms: u64,
}

/// What is inside [`ReleasedKeys::wrapped`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// By manifest (statement digest): one entry per file of the manifest, in order.
    #[schema(value_type = BTreeMap<String, Vec<FileKeys>>)]
    pub tables: BTreeMap<Digest, Vec<FileKeys>>,
}

/// The keys of one file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileKeys {
    /// The footer's key.
    #[schema(value_type = String)]
    pub footer: Bytes32,
    /// By column.
    #[schema(value_type = BTreeMap<String, String>)]
    pub columns: BTreeMap<String, Bytes32>,
}

/// A worker wants its lease to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// The lease.
    #[schema(value_type = String)]
    pub lease: Bytes32,
    /// As for a release, bound to `worker-renew`.
    pub release: ReleaseRequest,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    /// A signed `Addressed<ResultStatement>`.
    #[schema(value_type = Object)]
    pub statement: Envelope,
    /// The rules that were applied, canonical JSON; its digest is in the statement.
    pub rules: String,
    /// The sealed result.
    #[schema(value_type = String)]
    pub output: Bytes,
}

/// A run that failed, with a code of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The run's id.
    #[schema(value_type = String)]
    pub run: Digest,
    /// The lease, if keys were released.
    #[schema(value_type = Option<String>)]
    pub lease: Option<Bytes32>,
    /// The code; an unknown one is stored as `failed`.
    pub code: String,
}

/// What the API says when it refuses. One table maps codes to HTTP status: [`crate::Code`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// A code of [`crate::Code`].
    pub code: String,
    /// In words; short for whoever is not a party.
    pub message: String,
    /// What to do, if anything can be done.
    pub hint: Option<String>,
}

/// A secret is inside, which only the TPM that was asked could know.
impl std::fmt::Debug for Activated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Activated")
    }
}

/// As with [`Activated`].
impl std::fmt::Debug for EnrolProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolProof").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Wiped wherever a copy ends.
impl Drop for FileKeys {
    fn drop(&mut self) {
        self.footer.0.zeroize();
        self.columns.values_mut().for_each(|key| key.0.zeroize());
    }
}

impl Keys {
    /// The purpose of the wrapping.
    pub const PURPOSE: &'static str = "glovebox release v1";

    /// The context of the wrapping: run, lease and the binding of the Evidence that earned it.
    pub fn context(run: &Digest, lease: &Bytes32, binding: &Digest) -> Vec<u8> {
        [run.as_bytes().as_slice(), &lease.0, binding.as_bytes()].concat()
    }
}
