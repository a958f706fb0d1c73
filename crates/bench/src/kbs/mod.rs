//! The KBS protocol over loopback: exchanges with SNP Evidence that is signed for each nonce, secrets for those who have attested, and that a flood of
//! `auth` costs no memory.
//!
//! The broker is a process of its own ([the same library](../../src/bin/glovebox-bench-kbs.rs), under the root key of a forged AMD, since the shipped
//! program takes AMD's only), with its TPM, its durable store and its log. Clients, the chips that sign for them, and broker share the
//! machine's cores.

mod attester;
mod client;
mod jwe;

use std::{path::Path, sync::Arc, time::Instant};

use attester::Chip;
use client::{Connection, Kbs};
use envelope::{Digest, SigningKey, text::encode};
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;
use tpm::SoftwareTpm;

use crate::{
    Failure,
    measure::{median, milliseconds, quantile, resident},
    report::{Limit, Row},
    room::{Machine, Process, Ready},
};

/// How much is asked of the broker.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Clients at once.
    pub clients: usize,
    /// Exchanges of each client.
    pub exchanges: usize,
    /// Secrets that each client gets on its attested session.
    pub gets: usize,
    /// Sessions that are begun and left.
    pub auths: usize,
}

/// Measures exchanges, gets, and the flood.
///
/// # Errors
/// When an exchange fails: every one must complete, with the right secret.
pub async fn measure(programs: &Path, folder: &Path, load: Load) -> Result<Vec<Row>, Failure> {
    eprintln!("kbs: a broker with a software TPM, {} clients under a forged AMD", load.clients);
    let room = Arc::new(Room::start(programs, folder).await?);
    let mut rows = Vec::new();

    // The first exchanges meet a broker that has not read anything yet.
    exchanges(&room, load.clients, 2, Channel::Kept).await?;
    for (channel, name, limit) in [
        (Channel::New, "kbs: complete exchanges", Limit::AtLeast(500.0)),
        (Channel::Kept, "kbs: complete exchanges on connections that are kept", Limit::None),
    ] {
        let (rate, times) = exchanges(&room, load.clients, load.exchanges, channel).await?;
        let (count, middle, p99) = (times.len(), median(&times), quantile(&times, 0.99));
        let note = format!("{} clients, {count} exchanges; median {middle:.1} ms, p99 {p99:.1} ms", load.clients);
        rows.push(Row::new(name, rate, "/s", limit, note));
    }

    let rate = gets(&room, load.clients, load.gets).await?;
    let note = format!("{} attested sessions, {} gets", load.clients, load.clients * load.gets);
    rows.push(Row::new("kbs: secrets on attested sessions", rate, "/s", Limit::AtLeast(4_000.0), note));
    rows.push(flood(&room, load).await?);
    Ok(rows)
}

/// A broker, its party's secret, and the chips.
struct Room {
    kbs: Kbs,
    chip: Chip,
    process: Process,
    // Ends after the process.
    _machine: Machine,
}

impl Room {
    async fn start(programs: &Path, folder: &Path) -> Result<Room, Failure> {
        let program = programs.join("glovebox-bench-kbs");
        let binary = std::fs::read(&program).map_err(|error| format!("`{}`: {error}", program.display()))?;
        let authority = folder.join("authority");
        let machine = Machine::launch(&folder.join("broker"), &authority, "broker", &Digest::of(&binary))?;
        let certificates = SoftwareTpm::ca_certificates(&authority)?;
        let (issuer, root) = (folder.join("issuer.der"), folder.join("amd.der"));
        std::fs::write(&issuer, certificates.get(1).ok_or("the authority has no issuer")?)?;
        let chip = Chip::forge();
        std::fs::write(&root, chip.root())?;
        let more = ["--amd-root".as_ref(), root.as_os_str()];
        let (process, ready) = Process::broker(&program, &machine, &issuer, folder, &more)?;
        let authority = ready.kbs.as_ref().ok_or("the broker has no KBS listener")?;
        let kbs = Kbs::new(&ready.address, &authority.authority)?;
        push(&mut kbs.connect().await?, &ready).await?;
        Ok(Room { kbs, chip, process, _machine: machine })
    }
}

/// A party puts its secret into custody, under conditions that speak of what the chip proves.
async fn push(connection: &mut Connection, ready: &Ready) -> Result<(), Failure> {
    let party = SigningKey::generate();
    let claims = json!({
        "iss": party.public().to_string(), "aud": ready.key.to_string(), "exp": Timestamp::now().as_second() + 600,
    });
    let signed = format!("{}.{}", encode(br#"{"alg":"EdDSA"}"#), encode(claims.to_string().as_bytes()));
    let token = format!("{signed}.{}", encode(&party.sign(signed.as_bytes())));
    connection.put(&format!("/kbs/v0/resource/{SECRET_PATH}"), &token, SECRET.to_vec()).await?;
    let policy = json!({ "policy": encode(CONDITIONS.as_bytes()) }).to_string();
    connection.put("/kbs/v0/resource-policy", &token, policy.into_bytes()).await
}

/// Whether each exchange is made on a connection of its own.
#[derive(Clone, Copy)]
enum Channel {
    New,
    Kept,
}

/// All clients at once; gives exchanges per second, and how long each took in milliseconds.
async fn exchanges(
    room: &Arc<Room>,
    clients: usize,
    each: usize,
    channel: Channel,
) -> Result<(f64, Vec<f64>), Failure> {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for _ in 0..clients {
        let room = Arc::clone(room);
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(each);
            let mut kept = room.kbs.connect().await?;
            for _ in 0..each {
                let began = Instant::now();
                if matches!(channel, Channel::New) {
                    kept = room.kbs.connect().await?;
                }
                exchange(&mut kept, &room.chip).await?;
                times.push(milliseconds(began.elapsed()));
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    Ok((rate, times))
}

/// What a client does that needs a secret: it proves what it runs on, asks, and decrypts.
async fn exchange(connection: &mut Connection, chip: &Chip) -> Result<(), Failure> {
    let key = jwe::Key::generate()?;
    let (session, nonce) = connection.auth().await?;
    let attestation = chip.attest(&nonce, key.public())?;
    connection.attest(&session, attestation).await?;
    let jwe = connection.get(&session, SECRET_PATH).await?;
    if key.decrypt(&jwe)? == SECRET { Ok(()) } else { Err("another secret came out".into()) }
}

/// Secrets per second, each client on its own attested session. The first of each client is decrypted.
async fn gets(room: &Arc<Room>, clients: usize, each: usize) -> Result<f64, Failure> {
    let mut attested = Vec::new();
    for _ in 0..clients {
        let (mut connection, key) = (room.kbs.connect().await?, jwe::Key::generate()?);
        let (session, nonce) = connection.auth().await?;
        connection.attest(&session, room.chip.attest(&nonce, key.public())?).await?;
        let jwe = connection.get(&session, SECRET_PATH).await?;
        if key.decrypt(&jwe)? != SECRET {
            return Err("another secret came out".into());
        }
        attested.push((connection, session));
    }
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for (mut connection, session) in attested {
        tasks.spawn(async move {
            for _ in 0..each {
                connection.get(&session, SECRET_PATH).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let rate = (clients * each) as f64 / began.elapsed().as_secs_f64();
    Ok(rate)
}

/// What sessions that never attest leave in the broker's memory.
async fn flood(room: &Arc<Room>, load: Load) -> Result<Row, Failure> {
    let pour = async |count: usize| {
        let mut tasks = JoinSet::new();
        for _ in 0..load.clients {
            let room = Arc::clone(room);
            tasks.spawn(async move {
                let mut connection = room.kbs.connect().await?;
                for _ in 0..count.div_ceil(load.clients) {
                    connection.auth().await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok::<_, Failure>(())
    };
    pour(load.auths / 10).await?;
    let process = room.process.id();
    let (before, began) = (resident(process)?, Instant::now());
    pour(load.auths).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let rate = load.auths as f64 / began.elapsed().as_secs_f64();
    let note = format!(
        "memory of the broker gained by {} sessions that were begun and left, from {before:.0} MiB; {rate:.0}/s",
        load.auths
    );
    Ok(Row::new("kbs: a flood of `auth`", resident(process)? - before, "MiB", Limit::AtMost(2.0), note))
}

const SECRET_PATH: &str = "bench/key/1";
const SECRET: &[u8] = b"thirty-two bytes of a secret key";
/// As an owner would write them: the platform, its strength, and what runs there.
const CONDITIONS: &str = concat!(
    "@id(\"the measured machine\")\n",
    "permit(principal, action, resource) when {\n",
    "  context.result.tee == \"snp\" && context.result.assurance == \"revocation-unknown\" && context.result.tier_level >= 3 &&\n",
    "  context.result.measurements.contains(\"measurement=",
    "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
    "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
    "\")\n};\n"
);
