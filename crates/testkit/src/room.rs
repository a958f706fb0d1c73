//! Who is in the room, and what they own.
//!
//! Three parties: a hospital and a registry with a table each, and a university that gets the result. Hospital and university
//! consent; the registry's machine is off, and its offer stands in. Party keys are fixed, so statements are the same in each run.

use std::collections::{BTreeMap, BTreeSet};

use agreement::documents::{
    Agreement, BrokerTerms, Charge, Column, ColumnRule, ColumnType, Computation, Contents, DatasetSource, DatasetTerms,
    Engine, Identity, Manifest, Offer, PartyTerms, ReleaseTerms, SealedFile, TableRules, WitnessTerms,
};
use attest::AppraisalPolicy;
use envelope::{Digest, SigningKey, statement::Signed, text::Bytes32, wrap::DecapsulationKey};
use jiff::{SignedDuration, Timestamp};
use tlog::LogSigner;

use crate::{Authority, Machine};

/// The time at which everything happens here.
pub fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// A party with its keys.
pub struct Party {
    /// Its local name.
    pub name: &'static str,
    /// Signs its statements.
    pub signing: SigningKey,
    /// What it shows others.
    pub identity: Identity,
}

/// Parties, a broker with its log and machine, a worker with its keys and machine.
pub struct Room {
    /// Owns `admissions`.
    pub hospital: Party,
    /// Owns `outcomes`; its offer stands in for it.
    pub registry: Party,
    /// Receives.
    pub university: Party,
    /// Is no party to anything.
    pub stranger: Party,
    /// The broker's signing key.
    pub broker: SigningKey,
    /// The log's key.
    pub log: LogSigner,
    /// Certifies both machines.
    pub authority: Authority,
    /// The broker's machine.
    pub broker_machine: Machine,
    /// The worker's machine.
    pub worker_machine: Machine,
    /// Signs results.
    pub worker: SigningKey,
    /// Keys are wrapped to it.
    pub decapsulation: DecapsulationKey,
}

impl Room {
    /// A room in which nothing was agreed yet.
    pub fn new() -> Room {
        let authority = Authority::new("a maker of TPMs");
        let log = ed25519_dalek::SigningKey::from_bytes(&[21; 32]);
        Room {
            hospital: Party::new("hospital", 1, RECIPIENTS[0]),
            registry: Party::new("registry", 2, RECIPIENTS[1]),
            university: Party::new("university", 3, RECIPIENTS[2]),
            stranger: Party::new("stranger", 4, RECIPIENTS[3]),
            broker: SigningKey::from_seed(&[20; 32]),
            log: LogSigner::new("glovebox.example/log", log).unwrap(),
            broker_machine: Machine::new(&authority, "broker"),
            worker_machine: Machine::new(&authority, "worker"),
            authority,
            worker: SigningKey::from_seed(&[30; 32]),
            decapsulation: DecapsulationKey::from_seed(&[31; 32]),
        }
    }

    /// The manifests of both tables, hospital's first.
    pub fn manifests(&self) -> [Manifest; 2] {
        let entity = Column::new("patient", ColumnRule::Entity { domain: "patient".to_owned() });
        let group = Column::new("arm", ColumnRule::Group {});
        let hidden = Column::new("name", ColumnRule::Hidden {});
        let outcome = Column::new("died", ColumnRule::Measure { lower: 0.0, upper: 1.0 });
        [
            self.manifest(&self.hospital, "admissions", vec![entity.clone(), group, hidden]),
            self.manifest(&self.registry, "outcomes", vec![entity, outcome]),
        ]
    }

    fn manifest(&self, owner: &Party, name: &str, columns: Vec<Column>) -> Manifest {
        let bytes = format!("the ciphertext of {name}");
        Manifest {
            name: name.to_owned(),
            owner: owner.signing.public(),
            version: 1,
            sealed: now() - SignedDuration::from_hours(48),
            location: format!("file:///data/{name}/"),
            files: vec![SealedFile {
                name: "part-0.parquet".to_owned(),
                digest: Digest::of(bytes.as_bytes()),
                bytes: bytes.len() as u64,
            }],
            broker: self.broker.public(),
            contents: Contents::Table { columns, rules: TableRules { min_entities: 10, max_rows_per_entity: 1 } },
        }
    }

    /// An agreement over both tables: the hospital's by version, the registry's by series.
    pub fn agreement(&self) -> Agreement {
        let [admissions, outcomes] = self.manifests();
        let version = *Signed::sign(admissions, &self.hospital.signing).unwrap().digest();
        let series = outcomes.series().unwrap();
        let datasets = [
            ("admissions", &self.hospital, DatasetSource::Version(version)),
            ("outcomes", &self.registry, DatasetSource::Series(series)),
        ];
        let parties = [&self.hospital, &self.registry, &self.university];
        Agreement {
            name: "trial".to_owned(),
            purpose: "whether the treatment helps".to_owned(),
            parties: parties
                .iter()
                .map(|party| (party.name.to_owned(), PartyTerms { identity: party.identity.clone() }))
                .collect(),
            datasets: datasets
                .map(|(name, owner, source)| (name.to_owned(), DatasetTerms { owner: owner.name.to_owned(), source }))
                .into(),
            computations: BTreeMap::from([("by-arm".to_owned(), computation())]),
            broker: BrokerTerms {
                key: self.broker.public(),
                log: self.log.key().to_string(),
                address: "broker.example:7443".to_owned(),
                policy: self.broker_policy(),
            },
            workers: self.authority.policy(&self.worker_machine),
            witnesses: WitnessTerms { required: 0, keys: Vec::new() },
            release: ReleaseTerms { tick_ms: 100, lease_seconds: 60, max_result_bytes: 1 << 20 },
            expires: now() + SignedDuration::from_hours(24 * 30),
            predecessor: None,
        }
    }

    /// What the agreement asks of the broker's Evidence.
    pub fn broker_policy(&self) -> AppraisalPolicy {
        self.authority.policy(&self.broker_machine)
    }

    /// The registry's offer, which this agreement just matches.
    pub fn offer(&self, agreement: &Agreement) -> Offer {
        let [admissions, outcomes] = self.manifests();
        let own = (outcomes.dataset(), BTreeSet::from(["patient".to_owned(), "died".to_owned()]));
        let version = *Signed::sign(admissions, &self.hospital.signing).unwrap().digest();
        Offer {
            datasets: vec![DatasetSource::Series(outcomes.series().unwrap())],
            purpose: agreement.purpose.clone(),
            computations: BTreeMap::from([(computation().digest(), BTreeMap::from([own]))]),
            recipients: BTreeSet::from([self.university.signing.public()]),
            co_datasets: vec![DatasetSource::Version(version)],
            parties: BTreeSet::from([self.hospital.signing.public(), self.university.signing.public()]),
            brokers: BTreeMap::from([(self.broker.public(), self.log.key().to_string())]),
            broker_policy: agreement.broker.policy.clone(),
            worker_policy: agreement.workers.clone(),
            witnesses: agreement.witnesses.clone(),
            release: agreement.release,
            charge: Charge::Thresholds {},
            max_runs: 3,
            price: 0,
            expires: agreement.expires,
        }
    }
}

impl Default for Room {
    fn default() -> Room {
        Room::new()
    }
}

impl Party {
    fn new(name: &'static str, seed: u8, recipient: &str) -> Party {
        let signing = SigningKey::from_seed(&[seed; 32]);
        let identity = Identity::vouch(&signing, recipient).unwrap();
        Party { name, signing, identity }
    }
}

/// A nonce, or a salt, that is the same in each run.
pub(crate) fn fixed(label: &str) -> Bytes32 {
    Bytes32(*Digest::of(label.as_bytes()).as_bytes())
}

fn computation() -> Computation {
    let columns = |names: [&str; 2]| names.map(str::to_owned).into();
    Computation {
        engine: Engine::Sql,
        text: "SELECT arm, avg(died) FROM admissions JOIN outcomes USING (patient) GROUP BY arm".to_owned(),
        columns: BTreeMap::from([
            ("admissions".to_owned(), columns(["patient", "arm"])),
            ("outcomes".to_owned(), columns(["patient", "died"])),
        ]),
        recipients: BTreeSet::from(["university".to_owned()]),
        charge: Charge::Thresholds {},
    }
}

trait NewColumn {
    fn new(name: &str, rule: ColumnRule) -> Self;
}

impl NewColumn for Column {
    fn new(name: &str, rule: ColumnRule) -> Column {
        let kind = match rule {
            ColumnRule::Measure { .. } => ColumnType::Double,
            _ => ColumnType::Text,
        };
        Column { name: name.to_owned(), kind, nullable: false, rule }
    }
}

/// Well-formed age recipients whose identities nobody here needs.
const RECIPIENTS: [&str; 4] = [
    "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
    "age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqm",
    "age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqq",
    "age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqp",
];
