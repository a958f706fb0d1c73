//! A room to measure in: a broker process with a software TPM, worker machines with software TPMs, one party, one tiny table and
//! an agreement in force.
//!
//! Everything goes over the broker's real channel, and the party appraises the broker before it deposits its key, as the party's
//! command does. The launcher's part (reset the TPM, measure the binary, start it) is repeated here because the command keeps it to itself.

mod machine;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Cursor},
    path::Path,
    process::{Child, Command, Stdio},
};

use agreement::documents::{
    Agreement, BrokerTerms, Charge, Column, ColumnRule, ColumnType, Computation, Consent, Contents, DatasetSource,
    DatasetTerms, Deposit, Engine, Identity, Manifest, PartyTerms, Proposal, ReleaseTerms, Run, SealedFile, TableRules,
    WitnessTerms,
};
use attest::{
    AppraisalPolicy, Bank, Clock, EndorsementKeys, EndorsementRoot, PolicyDocument, Tier, TpmPolicy, events::RoleName,
};
use envelope::{
    Digest, PublicKey, SigningKey,
    keys::TableKey,
    statement::{Addressed, Predicate, Signed},
    text::{Bytes, Bytes32},
};
use jiff::{SignedDuration, Timestamp};
use runtime::sql::{self, TableTerms};
use serde::Deserialize;
use table::{Declared, Format, Source, infer_schema};
use tpm::SoftwareTpm;
use wire::{
    attested::AttestedBroker,
    client::Broker,
    messages::{Accepted, AgreementStatus, BrokerDescription, RunStatus, Standing, path},
};

use crate::Failure;
pub use machine::Machine;

/// A room with an agreement in force.
pub struct Room {
    /// The worker machines that the agreement admits.
    pub workers: Vec<Machine>,
    /// The broker's key.
    pub broker: PublicKey,
    /// Where it listens.
    pub address: String,
    /// The agreement's digest.
    pub agreement: Digest,
    /// The file of the certificate that issued the endorsement keys'.
    pub issuer: std::path::PathBuf,
    party: SigningKey,
    manifest: Digest,
    program: Digest,
    process: Process,
    // Ends after the process.
    _machine: Machine,
}

/// A role's process; it ends with this.
pub struct Process(Child);

/// What a broker prints when it serves.
#[derive(Deserialize)]
pub(crate) struct Ready {
    #[serde(alias = "listening")]
    pub(crate) address: String,
    pub(crate) key: PublicKey,
    log: String,
    /// Its KBS listener, if it has one.
    #[serde(default)]
    pub(crate) kbs: Option<ReadyKbs>,
}

/// What it says of its KBS listener.
#[derive(Deserialize)]
pub(crate) struct ReadyKbs {
    /// The certificate that clients trust, PEM.
    pub(crate) authority: String,
}

impl Room {
    /// Starts everything. `binary` is what the worker machines report as their role's binary.
    ///
    /// # Errors
    /// When a program is missing or a step of the story fails.
    pub async fn start(programs: &Path, folder: &Path, workers: usize, binary: &Digest) -> Result<Room, Failure> {
        eprintln!("room: a broker and {workers} worker machines, each with a software TPM");
        let authority = folder.join("authority");
        let program = programs.join("glovebox-broker");
        let broker_binary =
            Digest::of(&fs::read(&program).map_err(|error| format!("`{}`: {error}", program.display()))?);
        let machine = Machine::launch(&folder.join("broker"), &authority, "broker", &broker_binary)?;
        let workers = (0..workers)
            .map(|number| Machine::launch(&folder.join(format!("worker-{number}")), &authority, "worker", binary))
            .collect::<Result<Vec<_>, _>>()?;
        let certificates = SoftwareTpm::ca_certificates(&authority)?;
        let issuer = folder.join("issuer.der");
        fs::write(&issuer, certificates.get(1).ok_or("the authority has no issuer")?)?;
        let root = certificates.into_iter().next().ok_or("the authority has no root")?;

        let (process, ready) = Process::broker(&program, &machine, &issuer, folder, &[])?;
        let party = SigningKey::generate();
        let (manifest, key) = sealed_table(&party, &ready.key, folder)?;
        let agreement = terms(
            &party,
            &manifest,
            &ready,
            [
                policy(&root, &[&machine], "broker", &broker_binary)?,
                policy(&root, &workers.iter().collect::<Vec<_>>(), "worker", binary)?,
            ],
        )
        .await?;
        let mut room = Room {
            workers,
            broker: ready.key,
            address: ready.address,
            agreement: agreement.digest()?,
            issuer,
            party,
            manifest: *manifest.digest(),
            program: agreement.computations.get(COMPUTATION).map(Computation::digest).ok_or("no computation")?,
            process,
            _machine: machine,
        };
        room.bring_into_force(agreement, &manifest, &key).await?;
        Ok(room)
    }

    /// The broker's process number.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// A connection as the party has it.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn connect(&self) -> Result<Broker, Failure> {
        Ok(Broker::connect(&self.address, &self.broker, None).await?)
    }

    /// Asks for a run; gives its id.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn submit(&self, connection: &mut Broker) -> Result<Digest, Failure> {
        let run = Run {
            agreement: self.agreement,
            computation: COMPUTATION.to_owned(),
            program: self.program,
            versions: BTreeMap::from([(TABLE.to_owned(), self.manifest)]),
        };
        let status: RunStatus = connection.post(path::RUNS, self.sign(run)?.envelope()).await?;
        Ok(status.run)
    }

    /// How a run stands.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn status(&self, connection: &mut Broker, run: &Digest) -> Result<RunStatus, Failure> {
        let path = path::RUN.replace("{run}", &run.to_string());
        Ok(connection.get(&path, Some((&self.party, Timestamp::now()))).await?)
    }

    /// Starts the worker's program on one of the machines.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_worker(&self, programs: &Path, machine: &Machine, folder: &Path) -> Result<Process, Failure> {
        let mut command = Command::new(programs.join("glovebox-worker"));
        command.arg("--broker").arg(self.broker.to_string()).arg("--address").arg(&self.address);
        command.arg("--tpm").arg(machine.address().to_string()).arg("--event-log").arg(machine.event_log());
        command.arg("--issuer").arg(&self.issuer).arg("--state").arg(folder.join("worker-state"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("worker.log"))?);
        Ok(Process(command.spawn()?))
    }

    async fn bring_into_force(
        &mut self,
        agreement: Agreement,
        manifest: &Signed<Manifest>,
        key: &TableKey,
    ) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        let description: BrokerDescription = connection.get(path::BROKER, None).await?;
        let policy = agreement.broker.policy.clone();
        let attested =
            AttestedBroker::appraise(&mut connection, &description, &policy, &self.party.public(), Timestamp::now())
                .await?;
        let proposal = self.sign(Proposal { agreement, manifests: vec![manifest.envelope().clone()] })?;
        let _: AgreementStatus = connection.post(path::PROPOSALS, proposal.envelope()).await?;
        let wrapped =
            attested.wrap(key.as_bytes(), Deposit::PURPOSE, &Deposit::context(manifest.digest(), &self.broker))?;
        let deposit = self.sign(Deposit { manifest: manifest.envelope().clone(), key: wrapped })?;
        let _: Accepted = connection.post(path::DEPOSITS, deposit.envelope()).await?;
        let consent = self.sign(Consent { agreement: self.agreement, broker_ak: *attested.ak() })?;
        let status: AgreementStatus = connection.post(path::CONSENTS, consent.envelope()).await?;
        match status.standing {
            Standing::InForce {} => Ok(()),
            Standing::NotInForce { reason } => Err(format!("the agreement is not in force: {reason}").into()),
        }
    }

    fn sign<T>(&self, body: T) -> Result<Signed<Addressed<T>>, Failure>
    where
        Addressed<T>: Predicate,
    {
        let expires = Timestamp::now() + SignedDuration::from_mins(5);
        Ok(Signed::sign(Addressed { audience: self.broker, nonce: Bytes32::random(), expires, body }, &self.party)?)
    }
}

impl Process {
    /// Starts a broker's program, with `more` arguments than every broker needs, and waits until it serves.
    pub(crate) fn broker(
        program: &Path,
        machine: &Machine,
        issuer: &Path,
        folder: &Path,
        more: &[&OsStr],
    ) -> Result<(Process, Ready), Failure> {
        let log = folder.join("broker.log");
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--rate", "1000000"]).arg("--state").arg(folder.join("broker-state"));
        command.arg("--tpm").arg(machine.address().to_string()).arg("--event-log").arg(machine.event_log());
        command.arg("--issuer").arg(issuer).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut child = command.spawn()?;
        let output = child.stdout.take();
        let process = Process(child);
        let mut line = String::new();
        BufReader::new(output.ok_or("the broker has no output")?).read_line(&mut line)?;
        let ready = serde_json::from_str(&line).map_err(|_| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("the broker did not start: {}", said.lines().last().unwrap_or_default())
        })?;
        Ok((process, ready))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A table of 200 patients in two arms, sealed into the folder.
fn sealed_table(
    party: &SigningKey,
    broker: &PublicKey,
    folder: &Path,
) -> Result<(Signed<Manifest>, TableKey), Failure> {
    let rows = (0..200)
        .map(|patient| format!("{patient},{},{}.5\n", ["a", "b"].get(patient % 2).unwrap_or(&""), 20 + patient % 60));
    let text = format!("patient,arm,age\n{}", rows.collect::<String>());
    let mut source = Source::new(Format::Csv, Cursor::new(text.into_bytes()))?;
    let schema = infer_schema(&mut source, &Declared::none())?;
    let column = |name: &str, kind, rule| {
        let nullable = schema.columns().iter().any(|column| column.name == name && column.nullable);
        Column { name: name.to_owned(), kind, nullable, rule }
    };
    let columns = vec![
        column("patient", ColumnType::Bigint, ColumnRule::Entity { domain: "patient".to_owned() }),
        column("arm", ColumnType::Text, ColumnRule::Group {}),
        column("age", ColumnType::Double, ColumnRule::Measure { lower: 0.0, upper: 120.0 }),
    ];
    let location = folder.join("sealed");
    fs::create_dir_all(&location)?;
    let name = format!("{TABLE}.0.parquet");
    let mut manifest = Manifest {
        name: TABLE.to_owned(),
        owner: party.public(),
        version: 1,
        sealed: Timestamp::now(),
        location: format!("file://{}/", location.canonicalize()?.display()),
        files: vec![],
        broker: *broker,
        contents: Contents::Table { columns, rules: TableRules { min_entities: 5, max_rows_per_entity: 1 } },
    };
    let key = TableKey::generate();
    let sealed = table::seal_table(
        &mut source,
        &schema,
        &key,
        &manifest.file(0),
        fs::File::create(location.join(&name))?,
        |_| {},
    )?;
    manifest.files.push(SealedFile { name, digest: sealed.digest, bytes: sealed.bytes });
    Ok((Signed::sign(manifest, party)?, key))
}

/// The narrowest policy that these machines pass.
fn policy(root: &[u8], machines: &[&Machine], role: &str, binary: &Digest) -> Result<AppraisalPolicy, Failure> {
    Ok(AppraisalPolicy::new(PolicyDocument {
        tier_floor: Tier::SoftwareTpm,
        tpm: TpmPolicy {
            roots: vec![EndorsementRoot { certificate: Bytes(root.to_vec()), tier: Tier::SoftwareTpm }],
            endorsement_keys: EndorsementKeys::Listed(
                machines.iter().map(|machine| *machine.endorsement_key()).collect(),
            ),
            bank: Bank::Sha256,
            role: RoleName::try_from(role)?,
            binaries: vec![*binary],
            reference_values: vec![],
            clock: Clock::Unsafe,
        },
        hardware: std::collections::BTreeMap::new(),
        auditors: None,
    })?)
}

async fn terms(
    party: &SigningKey,
    manifest: &Signed<Manifest>,
    broker: &Ready,
    policies: [AppraisalPolicy; 2],
) -> Result<Agreement, Failure> {
    let [broker_policy, workers] = policies;
    let Contents::Table { columns, rules } = &manifest.value().contents else {
        return Err("the dataset is a table".into());
    };
    let plan = sql::check(QUERY, &[TableTerms { name: TABLE, columns, rules, owner: PARTY }]).await?;
    let recipient = envelope::blob::Identity::generate().recipient().to_string();
    let computation = Computation {
        engine: Engine::Sql,
        text: QUERY.to_owned(),
        columns: plan.columns().clone(),
        recipients: BTreeSet::from([PARTY.to_owned()]),
        charge: Charge::Thresholds {},
    };
    let source = DatasetSource::Version(*manifest.digest());
    Ok(Agreement {
        name: "bench".to_owned(),
        purpose: "to measure".to_owned(),
        parties: BTreeMap::from([(PARTY.to_owned(), PartyTerms { identity: Identity::vouch(party, &recipient)? })]),
        datasets: BTreeMap::from([(TABLE.to_owned(), DatasetTerms { owner: PARTY.to_owned(), source })]),
        computations: BTreeMap::from([(COMPUTATION.to_owned(), computation)]),
        broker: BrokerTerms {
            key: broker.key,
            log: broker.log.clone(),
            address: broker.address.clone(),
            policy: broker_policy,
        },
        workers,
        witnesses: WitnessTerms { required: 0, keys: vec![] },
        release: ReleaseTerms { tick_ms: TICK_MS, lease_seconds: 600, max_result_bytes: 1 << 20 },
        expires: Timestamp::now() + SignedDuration::from_hours(24),
        predecessor: None,
    })
}

/// How far apart the moments are at which results leave.
pub const TICK_MS: u32 = 1;
const PARTY: &str = "party";
const TABLE: &str = "trial";
const COMPUTATION: &str = "by-arm";
const QUERY: &str = "select arm, count(*) as patients, avg(age) as age from trial group by arm order by arm";
