//! One small room: a hospital and a registry with a table each, a university that receives, a broker.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

use std::collections::{BTreeMap, BTreeSet};

use agreement::{documents::*, in_force::*, keys::KeyHistory, permit::*, shape::SoundAgreement, sources::Sources};
use attest::{
    AppraisalPolicy, Bank, Clock, EndorsementKeys, EndorsementRoot, PolicyDocument, Tier, TpmPolicy, events::RoleName,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::{
    Digest, PublicKey, SigningKey,
    statement::{Addressed, Predicate, Signed},
    text::{Bytes, Bytes32},
};
use jiff::{SignedDuration, Timestamp};

pub const AUTHORITY: &str = include_str!("authority.pem");
pub const OTHER_AUTHORITY: &str = include_str!("other-authority.pem");
pub const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
pub const SQL: &str =
    "SELECT arm, count(DISTINCT patient_id) FROM hospital JOIN registry USING (patient_id) GROUP BY arm";
pub const LOG: &str = "broker.example/log+1a2b3c4d+AQIDBAUGBwgJ";

pub fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub fn expiry() -> Timestamp {
    "2027-06-30T00:00:00Z".parse().unwrap()
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub fn hospital() -> SigningKey {
    key(1)
}
pub fn registry() -> SigningKey {
    key(2)
}
pub fn university() -> SigningKey {
    key(3)
}
pub fn broker() -> SigningKey {
    key(9)
}
pub fn stranger() -> SigningKey {
    key(66)
}

pub fn identity(key: &SigningKey) -> Identity {
    Identity::vouch(key, RECIPIENT).unwrap()
}

pub fn addressed<T: Predicate>(body: T, by: &SigningKey) -> Signed<Addressed<T>> {
    addressed_to(body, by, &broker().public())
}

pub fn addressed_to<T: Predicate>(body: T, by: &SigningKey, audience: &PublicKey) -> Signed<Addressed<T>> {
    let statement =
        Addressed { audience: *audience, nonce: Bytes32([7; 32]), expires: now() + SignedDuration::from_mins(5), body };
    Signed::sign(statement, by).unwrap()
}

pub fn certificate(pem: &str) -> Bytes {
    let digits: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Bytes(STANDARD.decode(digits).unwrap())
}

pub fn policy_document(role: &str) -> PolicyDocument {
    PolicyDocument {
        tier_floor: Tier::Tpm,
        tpm: TpmPolicy {
            roots: vec![EndorsementRoot { certificate: certificate(AUTHORITY), tier: Tier::Tpm }],
            endorsement_keys: EndorsementKeys::Listed(vec![Digest::of(b"endorsement key")]),
            bank: Bank::Sha256,
            role: RoleName::try_from(role).unwrap(),
            binaries: vec![Digest::of(role.as_bytes())],
            reference_values: vec![attest::ReferenceValue { pcr: 7, values: vec!["ab".repeat(32)] }],
            clock: Clock::Safe,
        },
        hardware: std::collections::BTreeMap::new(),
        auditors: None,
    }
}

pub fn policy(role: &str) -> AppraisalPolicy {
    AppraisalPolicy::new(policy_document(role)).unwrap()
}

pub fn column(name: &str, kind: ColumnType, rule: ColumnRule) -> Column {
    Column { name: name.into(), kind, nullable: false, rule }
}

pub fn manifest_of(name: &str, owner: &PublicKey, version: u64) -> Manifest {
    let columns = vec![
        column("patient_id", ColumnType::Bigint, ColumnRule::Entity { domain: "patient".into() }),
        column("arm", ColumnType::Text, ColumnRule::Group {}),
        column("cd4", ColumnType::Double, ColumnRule::Measure { lower: 0.0, upper: 2000.0 }),
        column("name", ColumnType::Text, ColumnRule::Hidden {}),
    ];
    Manifest {
        name: name.into(),
        owner: *owner,
        version,
        sealed: now(),
        location: "file:///data/".into(),
        files: vec![SealedFile { name: "part-0.parquet".into(), digest: Digest::of(&[version as u8]), bytes: 10 }],
        broker: broker().public(),
        contents: Contents::Table { columns, rules: TableRules { min_entities: 10, max_rows_per_entity: 1 } },
    }
}

pub fn manifest(name: &str, owner: &SigningKey, version: u64) -> Signed<Manifest> {
    Signed::sign(manifest_of(name, &owner.public(), version), owner).unwrap()
}

/// Everything that a broker knows. Tests change a part and decide.
#[derive(Clone)]
pub struct Room {
    pub agreement: Agreement,
    pub manifests: Vec<Signed<Manifest>>,
    pub consents: Vec<Signed<Addressed<Consent>>>,
    pub offers: Vec<Signed<Addressed<Offer>>>,
    pub rotations: Vec<Signed<Addressed<Rotation>>>,
    pub revocations: Vec<Signed<Addressed<Revocation>>>,
    pub runs: BTreeMap<Digest, u64>,
    pub deposited: BTreeSet<Digest>,
    pub superseded_by: Option<Digest>,
}

pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Room {
    /// Two owners and a recipient; nobody has consented.
    pub fn proposed() -> Room {
        let manifests = vec![manifest("hospital", &hospital(), 1), manifest("registry", &registry(), 1)];
        let party = |key: SigningKey| PartyTerms { identity: identity(&key) };
        let dataset = |owner: &str, manifest: &Signed<Manifest>| DatasetTerms {
            owner: owner.into(),
            source: DatasetSource::Version(*manifest.digest()),
        };
        let agreement = Agreement {
            name: "readmissions".into(),
            purpose: "compare the arms of a trial".into(),
            parties: BTreeMap::from([
                ("hospital".into(), party(hospital())),
                ("registry".into(), party(registry())),
                ("university".into(), party(university())),
            ]),
            datasets: BTreeMap::from([
                ("hospital".into(), dataset("hospital", &manifests[0])),
                ("registry".into(), dataset("registry", &manifests[1])),
            ]),
            computations: BTreeMap::from([(
                "by-arm".into(),
                Computation {
                    engine: Engine::Sql,
                    text: SQL.into(),
                    columns: BTreeMap::from([
                        ("hospital".into(), set(&["arm", "patient_id"])),
                        ("registry".into(), set(&["patient_id"])),
                    ]),
                    recipients: set(&["university"]),
                    charge: Charge::Thresholds {},
                },
            )]),
            broker: BrokerTerms {
                key: broker().public(),
                log: LOG.into(),
                address: "127.0.0.1:7143".into(),
                policy: policy("broker"),
            },
            workers: policy("worker"),
            witnesses: WitnessTerms { required: 1, keys: vec!["w1+00000001+AAAA".into(), "w2+00000002+BBBB".into()] },
            release: ReleaseTerms { tick_ms: 1000, lease_seconds: 60, max_result_bytes: 1 << 20 },
            expires: expiry(),
            predecessor: None,
        };
        let deposited = manifests.iter().map(|manifest| *manifest.digest()).collect();
        Room {
            agreement,
            manifests,
            consents: Vec::new(),
            offers: Vec::new(),
            rotations: Vec::new(),
            revocations: Vec::new(),
            runs: BTreeMap::new(),
            deposited,
            superseded_by: None,
        }
    }

    /// All have consented.
    pub fn agreed() -> Room {
        let mut room = Room::proposed();
        room.consent_all();
        room
    }

    pub fn consent(&mut self, by: &SigningKey) {
        let agreement = self.agreement.digest().unwrap();
        self.consents.push(addressed(Consent { agreement, broker_ak: Digest::of(b"ak") }, by));
    }

    pub fn consent_all(&mut self) {
        self.consents.clear();
        [hospital(), registry(), university()].iter().for_each(|key| self.consent(key));
    }

    pub fn revoke(&mut self, what: Revoked, by: &SigningKey) {
        self.revocations.push(addressed(Revocation { what, erase: false }, by));
    }

    pub fn rotate(&mut self, from: &SigningKey, to: &SigningKey) {
        self.rotations.push(addressed(Rotation::new(from.public(), identity(to), to), from));
    }

    pub fn facts(&self) -> Facts<'_> {
        Facts {
            agreement: &self.agreement,
            manifests: &self.manifests,
            consents: &self.consents,
            offers: &self.offers,
            rotations: &self.rotations,
            revocations: &self.revocations,
            runs_under_offer: self.runs.clone(),
            deposited: &self.deposited,
            superseded_by: self.superseded_by,
        }
    }

    pub fn decide(&self) -> Result<InForce<Agreement>, NotInForce> {
        self.decide_at(now())
    }

    pub fn decide_at(&self, now: Timestamp) -> Result<InForce<Agreement>, NotInForce> {
        InForce::decide(&self.facts(), &broker().public(), now)
    }

    pub fn sound(&self) -> SoundAgreement {
        SoundAgreement::new(self.agreement.clone()).unwrap()
    }

    pub fn sources(&self) -> Sources {
        let keys = KeyHistory::of(&self.rotations, &broker().public()).unwrap();
        Sources::of(&self.sound(), &self.facts(), &keys, &broker().public()).unwrap()
    }

    pub fn run(&self) -> Run {
        let versions =
            self.agreement.datasets.keys().cloned().zip(self.manifests.iter().map(|m| *m.digest())).collect();
        Run {
            agreement: self.agreement.digest().unwrap(),
            computation: "by-arm".into(),
            program: self.agreement.computations["by-arm"].digest(),
            versions,
        }
    }

    pub fn permit(&self, run: Run, by: &SigningKey) -> Result<Permitted, RunRefusal> {
        self.decide().unwrap().permit(&addressed(run, by), now())
    }

    /// The hospital's offer that exactly covers the agreement.
    pub fn offer(&self) -> Offer {
        let keys = |keys: &[SigningKey]| keys.iter().map(SigningKey::public).collect::<BTreeSet<_>>();
        let own = DatasetId::of(&hospital().public(), "hospital");
        Offer {
            datasets: vec![DatasetSource::Version(*self.manifests[0].digest())],
            purpose: self.agreement.purpose.clone(),
            computations: BTreeMap::from([(
                self.agreement.computations["by-arm"].digest(),
                BTreeMap::from([(own, set(&["arm", "patient_id"]))]),
            )]),
            recipients: keys(&[university()]),
            co_datasets: vec![DatasetSource::Version(*self.manifests[1].digest())],
            parties: keys(&[registry(), university()]),
            brokers: BTreeMap::from([(broker().public(), LOG.into())]),
            broker_policy: policy("broker"),
            worker_policy: policy("worker"),
            witnesses: self.agreement.witnesses.clone(),
            release: self.agreement.release,
            charge: Charge::Thresholds {},
            max_runs: 3,
            price: 0,
            expires: expiry(),
        }
    }
}
