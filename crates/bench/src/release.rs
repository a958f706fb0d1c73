//! Challenge, Evidence, appraisal, release: how many exchanges a broker completes, how long one takes, and that challenges cost no memory.
//!
//! One exchange is what a worker does for a run's keys: it asks for a challenge, has its TPM quote the binding, sends the Evidence,
//! and unwraps the keys that come back. Before it, and inside the time that counts for the rate, the run is measured into the TPM. Each client is
//! a machine of its own (software TPM, certificate, connection) and each exchange has a run of its own, so every release is appraised,
//! logged and made durable. Broker, clients and all TPMs share the machine's cores.

use std::{sync::Arc, time::Instant};

use attest::{
    binding::{BindingParts, ChannelKeys, Purpose},
    credential::MadeCredential,
};
use envelope::{Digest, SigningKey, text::Bytes, wrap::DecapsulationKey};
use jiff::Timestamp;
use tpm::Attester;
use wire::{
    channel::LeafIdentity,
    client::Broker,
    messages::{
        Activation, Challenge, ChallengeRequest, ChallengeUse, EnrolChallenge, EnrolProof, EnrolRequest, Enrolled,
        Keys, ReleaseRequest, ReleasedKeys, path,
    },
};

use crate::{
    Failure,
    measure::{median, milliseconds, quantile, resident},
    report::{Limit, Row},
    room::{Machine, Room},
};

/// How much is asked of the broker.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Clients at once, in the row with limits.
    pub clients: usize,
    /// Exchanges of each client.
    pub exchanges: usize,
    /// Challenges over the channel.
    pub challenges: usize,
}

/// Measures one client, then all of them at once, then challenges alone.
///
/// # Errors
/// When an exchange fails: every one must complete.
pub async fn measure(room: Room, load: Load) -> Result<Vec<Row>, Failure> {
    let room = Arc::new(room);
    let mut clients = Vec::new();
    for machine in room.workers.iter().take(load.clients) {
        clients.push(Client::enrol(&room, machine).await?);
    }
    // The first exchanges meet a broker that has not read anything yet.
    clients = exchanges(&room, clients, WARM_UP).await?.clients;
    let mut rest = clients.split_off(1);
    let alone = exchanges(&room, clients, load.exchanges).await?;
    for client in &mut rest {
        client.broker.beat().await?;
    }
    clients = alone.clients;
    clients.extend(rest);
    let together = exchanges(&room, clients, load.exchanges).await?;

    let mut rows = vec![];
    let count = load.clients;
    let note = format!("{count} clients, {} exchanges; median {:.1} ms", together.times.len(), median(&together.times));
    rows.push(Row::new("release: complete exchanges", together.rate, "/s", Limit::AtLeast(300.0), note));
    rows.push(Row::new(
        "release: p99",
        quantile(&together.times, 0.99),
        "ms",
        Limit::AtMost(50.0),
        format!("{count} clients"),
    ));
    let note = format!("{:.0} exchanges/s; p99 {:.1} ms", alone.rate, quantile(&alone.times, 0.99));
    rows.push(Row::new("release: one client alone, median", median(&alone.times), "ms", Limit::None, note));
    rows.extend(challenges(&room, load).await?);
    Ok(rows)
}

/// A million challenges made in this process, which leave nothing behind.
///
/// # Errors
/// When the system does not tell a process's memory.
pub fn challenges_in_process() -> Result<Vec<Row>, Failure> {
    eprintln!("release: a million challenges in this process");
    let challenges = broker::challenge::Challenges::new();
    let issue = |count: usize| {
        (0..count).for_each(|_| {
            std::hint::black_box(challenges.issue(ChallengeUse::WorkerRelease, Timestamp::now()));
        });
    };
    issue(10_000);
    let before = resident(std::process::id())?;
    let began = Instant::now();
    issue(1_000_000);
    let seconds = began.elapsed().as_secs_f64();
    let grown = resident(std::process::id())? - before;
    let note = format!("memory gained by 10^6 challenges, {:.0} thousand a second", 1e3 / seconds);
    Ok(vec![Row::new("challenges in process", grown, "MiB", Limit::AtMost(1.0), note)])
}

/// A worker as far as the release needs one.
struct Client {
    attester: Attester,
    signing: SigningKey,
    leaf: LeafIdentity,
    decapsulation: DecapsulationKey,
    broker: Broker,
    enrolment: Digest,
}

/// What some clients did.
struct Done {
    clients: Vec<Client>,
    times: Vec<f64>,
    rate: f64,
}

/// All clients at once, each with runs of its own, which are submitted beforehand.
async fn exchanges(room: &Arc<Room>, clients: Vec<Client>, each: usize) -> Result<Done, Failure> {
    eprintln!("release: {} clients, {each} exchanges each", clients.len());
    let mut clients = clients;
    let runs = submitted(room, clients.len(), each).await?;
    for client in &mut clients {
        // A broker lets go of silent connections, and these waited.
        client.broker.beat().await?;
    }
    let agreement = room.agreement;
    let began = Instant::now();
    let working = clients.into_iter().zip(runs).map(|(mut client, runs)| {
        tokio::spawn(async move {
            let mut times = Vec::with_capacity(runs.len());
            for run in runs {
                times.push(client.exchange(&agreement, &run).await?);
            }
            Ok::<_, Failure>((client, times))
        })
    });
    let working: Vec<_> = working.collect();
    let mut done = Done { clients: vec![], times: vec![], rate: 0.0 };
    for one in working {
        let (client, times) = one.await??;
        done.clients.push(client);
        done.times.extend(times);
    }
    let count = u32::try_from(done.times.len()).unwrap_or(u32::MAX);
    done.rate = f64::from(count) / began.elapsed().as_secs_f64();
    Ok(done)
}

/// Runs for some clients, asked for over as many connections.
async fn submitted(room: &Arc<Room>, clients: usize, each: usize) -> Result<Vec<Vec<Digest>>, Failure> {
    let mut asking = Vec::new();
    for _ in 0..clients {
        let room = Arc::clone(room);
        asking.push(tokio::spawn(async move {
            let mut connection = room.connect().await?;
            let mut runs = Vec::with_capacity(each);
            for _ in 0..each {
                runs.push(room.submit(&mut connection).await?);
            }
            Ok::<_, Failure>(runs)
        }));
    }
    let mut runs = Vec::new();
    for one in asking {
        runs.push(one.await??);
    }
    Ok(runs)
}

async fn challenges(room: &Arc<Room>, load: Load) -> Result<Vec<Row>, Failure> {
    eprintln!("release: {} challenges over the channel", load.challenges);
    ask(room, load.clients, load.challenges / 10).await?;
    let before = resident(room.process())?;
    let began = Instant::now();
    ask(room, load.clients, load.challenges).await?;
    let seconds = began.elapsed().as_secs_f64();
    let grown = resident(room.process())? - before;
    let count = f64::from(u32::try_from(load.challenges).unwrap_or(u32::MAX));
    let note =
        format!("memory of the broker gained by {count} challenges, from {before:.0} MiB; {:.0}/s", count / seconds);
    Ok(vec![Row::new("challenges over the channel", grown, "MiB", Limit::AtMost(8.0), note)])
}

async fn ask(room: &Arc<Room>, clients: usize, count: usize) -> Result<(), Failure> {
    let mut asking = Vec::new();
    for _ in 0..clients {
        let mut connection = room.connect().await?;
        let share = count / clients;
        asking.push(tokio::spawn(async move {
            for _ in 0..share {
                let question = ChallengeRequest { purpose: ChallengeUse::WorkerRelease };
                let _: Challenge = connection.post(path::CHALLENGE, &question).await?;
            }
            Ok::<_, Failure>(())
        }));
    }
    for one in asking {
        one.await??;
    }
    Ok(())
}

impl Client {
    async fn enrol(room: &Room, machine: &Machine) -> Result<Client, Failure> {
        let attester = machine.attester()?;
        let signing = SigningKey::generate();
        let leaf = LeafIdentity::worker(&signing, Timestamp::now())?;
        let decapsulation = DecapsulationKey::generate();
        let mut broker = Broker::connect(&room.address, &room.broker, Some(&leaf)).await?;
        let claim = attester.key_claim(&[std::fs::read(&room.issuer)?]);
        let request = EnrolRequest {
            ak_public: claim.ak_public.clone(),
            ek_public: claim.ek_public.clone(),
            ek_chain: claim.ek_certificates.clone(),
        };
        let asked: EnrolChallenge = broker.post(path::WORKER_ENROL, &request).await?;
        let Activation { id_object, encrypted_secret } = asked.credential;
        let secret = attester.activate(&MadeCredential { id_object, encrypted_secret })?;
        let mut client = Client { attester, signing, leaf, decapsulation, broker, enrolment: Digest::of(b"") };
        let keys = client.keys();
        let binding = BindingParts {
            purpose: Purpose::WorkerEnrol { ak_name: claim.ak_name()? },
            keys: keys.clone(),
            exporter: *client.broker.exporter(),
            nonce: asked.challenge.nonce.0,
        };
        let evidence = client.attester.evidence(&binding.bind())?;
        let secret = Bytes(secret.to_vec());
        let proof = EnrolProof { request, token: asked.token, challenge: asked.challenge, secret, evidence, keys };
        let enrolled: Enrolled = client.broker.post(path::WORKER_PROVE, &proof).await?;
        client.enrolment =
            *envelope::statement::Signed::<receipt::Enrolment>::verify(&enrolled.enrolment, &room.broker)?.digest();
        Ok(client)
    }

    /// One exchange; gives its milliseconds, from asking for a challenge to holding the keys.
    async fn exchange(&mut self, agreement: &Digest, run: &Digest) -> Result<f64, Failure> {
        // A TPM is waited for, and other clients' connections must not wait with it.
        tokio::task::block_in_place(|| self.attester.extend_run(run))?;
        let began = Instant::now();
        let question = ChallengeRequest { purpose: ChallengeUse::WorkerRelease };
        let challenge: Challenge = self.broker.post(path::CHALLENGE, &question).await?;
        let keys = self.keys();
        let binding = BindingParts {
            purpose: Purpose::WorkerRelease { agreement: *agreement, run: *run },
            keys: keys.clone(),
            exporter: *self.broker.exporter(),
            nonce: challenge.nonce.0,
        };
        let bound = binding.bind();
        let evidence = tokio::task::block_in_place(|| self.attester.evidence(&bound))?;
        let request = ReleaseRequest { run: *run, enrolment: self.enrolment, challenge, keys, evidence };
        let released: ReleasedKeys = self.broker.post(path::WORKER_RELEASE, &request).await?;
        let context = Keys::context(run, &released.lease.id, &Digest::from_bytes(*bound.sha256()));
        let opened = self.decapsulation.unwrap(&released.wrapped, Keys::PURPOSE, &context)?;
        let took = milliseconds(began.elapsed());
        let keys: Keys = serde_json::from_slice(&opened)?;
        if keys.tables.is_empty() { Err("no keys were released".into()) } else { Ok(took) }
    }

    fn keys(&self) -> ChannelKeys {
        ChannelKeys {
            channel: self.leaf.spki().to_vec(),
            encapsulation: self.decapsulation.public().as_bytes().to_vec(),
            signing: *self.signing.public().as_bytes(),
        }
    }
}

/// Exchanges of each client before anything is measured.
const WARM_UP: usize = 5;
