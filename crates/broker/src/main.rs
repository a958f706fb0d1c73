//! The broker as a program: what is typed, turned into settings; signals, turned into an end.
//!
//! On standard output stands one line of JSON once it listens; its log goes to standard error. No secret is taken from the command
//! line or the environment, and the process leaves no core dump.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use attest::keys::VerificationKey;
use broker::{Broker, Place, Settings, limits::Rate, refusal::words};
use clap::{Parser, Subcommand, ValueEnum};
use endorsements::Reader;
use tokio::{net::TcpListener, signal::unix::SignalKind};
use wire::{channel::LeafIdentity, server::Bounds};
use zeroize::Zeroizing;

/// A request makes many small values that die with it (Cedar's, JSON's): with this allocator half as many secrets again leave in a second
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Holds data keys and releases them to attested workers, for runs of agreements in force.
#[derive(Parser)]
#[command(name = "glovebox-broker", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Option<Serve>,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the OpenAPI document of the API.
    Openapi,
}

#[derive(clap::Args)]
struct Serve {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
    /// The directory of the broker's state; made at the first start.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The TPM: `device:/dev/tpmrm0`, `unix:PATH` or `tcp:IP:PORT`.
    #[arg(long, value_name = "ADDRESS")]
    tpm: tpm::Address,
    /// The event log that the launcher wrote.
    #[arg(long, value_name = "FILE")]
    event_log: PathBuf,
    /// A certificate (DER) between the endorsement key's and a root; may be given several times.
    #[arg(long, value_name = "FILE")]
    issuer: Vec<PathBuf>,
    /// Requests per second and source; ten times that at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    rate: u32,
    /// Connections at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_024)]
    connections: usize,
    /// Serves the metrics on this address, in plain HTTP; bind it to where only your collector can reach.
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// Serves the KBS protocol 0.4.0 on this address, in TLS 1.3; off unless given.
    #[arg(long, value_name = "IP:PORT")]
    kbs_listen: Option<SocketAddr>,
    /// A name under which clients reach the KBS listener; may be given several times.
    #[arg(long, value_name = "NAME", requires = "kbs_listen", default_value = "broker.glovebox.internal")]
    kbs_name: Vec<String>,
    /// The KBS listener's certificate chain (PEM), in place of one that the broker issues.
    #[arg(long, value_name = "FILE", requires = "kbs_key", requires = "kbs_listen")]
    kbs_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "kbs_certificate")]
    kbs_key: Option<PathBuf>,
    /// What makers sign about hardware, as `glovebox endorsements` keeps it, for Evidence on the KBS listener.
    #[arg(long, value_name = "DIR", requires = "kbs_listen")]
    endorsements: Option<PathBuf>,
    /// The attestation key of a CCA platform that counts (SubjectPublicKeyInfo, PEM or DER); may be given several times.
    #[arg(long, value_name = "FILE", requires = "kbs_listen")]
    cca_key: Vec<PathBuf>,
    /// The form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Lines for people.
    Text,
}

/// Why the program ends with a failure.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the process cannot be kept from leaving core dumps")]
    CoreDumps(#[source] rustix::io::Errno),
    #[error(transparent)]
    Start(#[from] broker::StartError),
    #[error("cannot listen on `{address}`\nhint: another program may use it; choose another with --listen")]
    Listen {
        address: SocketAddr,
        #[source]
        error: std::io::Error,
    },
    #[error("`{path}` is no key that can be used: {reason}\nhint: give a SubjectPublicKeyInfo in PEM or DER", path = .path.display())]
    CcaKey { path: PathBuf, reason: String },
    #[error(transparent)]
    Channel(#[from] wire::channel::ChannelError),
    #[error("the system refuses")]
    System(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let Arguments { command, serve } = Arguments::parse();
    let outcome = match (command, serve) {
        (Some(Command::Openapi), _) => {
            std::io::stdout().write_all(broker::openapi::document().as_bytes()).map_err(Failure::from)
        }
        (None, Some(serve)) => run(serve),
        (None, None) => {
            eprintln!("error: nothing to do\nhint: see `glovebox-broker --help`");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = words(&failure);
            eprintln!("error: {text}");
            ExitCode::from(2)
        }
    }
}

fn run(serve: Serve) -> Result<(), Failure> {
    refuse_core_dumps()?;
    start_log(serve.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let place = Place {
        tpm: serve.tpm.clone(),
        event_log: serve.event_log.clone(),
        state: serve.state.clone(),
        issuers: serve.issuer.clone(),
    };
    let mut settings = Settings::new(place);
    settings.endorsements =
        serve.endorsements.clone().map(|directory| Reader::new(directory, endorsements::Anchors::shipped()));
    settings.makers.cca = serve.cca_key.iter().map(|path| cca_key(path)).collect::<Result<_, _>>()?;
    settings.rate = Rate { per_second: serve.rate, burst: serve.rate.saturating_mul(10) };
    let broker = Arc::new(Broker::start(settings)?);
    let bounds = Bounds { connections: serve.connections, ..Bounds::default() };
    let outcome = runtime.block_on(async {
        let listen_error = |address| move |error| Failure::Listen { address, error };
        let listener = TcpListener::bind(serve.listen).await.map_err(listen_error(serve.listen))?;
        let address = listener.local_addr()?;
        if let Some(metrics) = serve.metrics {
            let listener = TcpListener::bind(metrics).await.map_err(listen_error(metrics))?;
            tokio::spawn(broker::metrics::serve(listener, Arc::clone(&broker)));
        }
        let kbs = match serve.kbs_listen {
            Some(kbs) => Some(start_kbs(&broker, kbs, &serve, bounds).await?),
            None => None,
        };
        // Whoever reads the announcement may ask for the end at once.
        let end = end()?;
        announce(&broker, address, kbs.as_ref())?;
        tracing::info!(%address, key = %broker.key(), "listening");
        Arc::clone(&broker).serve(listener, bounds, end).await?;
        tracing::info!("ended");
        Ok(())
    });
    // What a worker waits for need not be waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    drop(broker);
    outcome
}

/// The KBS listener: its address, and the certificate that its clients trust.
async fn start_kbs(
    broker: &Arc<Broker>,
    address: SocketAddr,
    serve: &Serve,
    bounds: Bounds,
) -> Result<(SocketAddr, String), Failure> {
    let leaf = match (&serve.kbs_certificate, &serve.kbs_key) {
        (Some(chain), Some(key)) => {
            LeafIdentity::from_pem(&std::fs::read(chain)?, &Zeroizing::new(std::fs::read(key)?))?
        }
        _ => broker.kbs_leaf(&serve.kbs_name)?,
    };
    let listener = TcpListener::bind(address).await.map_err(|error| Failure::Listen { address, error })?;
    let address = listener.local_addr()?;
    let authority = leaf.authority_pem();
    let broker = Arc::clone(broker);
    tokio::spawn(async move {
        if let Err(error) = broker.serve_kbs(listener, leaf, bounds, std::future::pending()).await {
            tracing::error!(reason = %error, "the KBS listener ended");
        }
    });
    Ok((address, authority))
}

/// One line for whoever started the broker.
fn announce(broker: &Broker, address: SocketAddr, kbs: Option<&(SocketAddr, String)>) -> Result<(), Failure> {
    let mut line = serde_json::json!({
        "address": address.to_string(),
        "key": broker.key().to_string(),
        "log": broker.log_key(),
    });
    if let (Some((address, authority)), Some(line)) = (kbs, line.as_object_mut()) {
        line.insert("kbs".to_owned(), serde_json::json!({ "address": address.to_string(), "authority": authority }));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn cca_key(path: &Path) -> Result<VerificationKey, Failure> {
    let unread = |error: &dyn std::fmt::Display| Failure::CcaKey { path: path.to_owned(), reason: error.to_string() };
    let bytes = std::fs::read(path).map_err(|error| unread(&error))?;
    VerificationKey::from_spki(&bytes).map_err(|error| unread(&error))
}

fn refuse_core_dumps() -> Result<(), Failure> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(Failure::CoreDumps)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Failure::CoreDumps)
}

fn start_log(format: LogFormat) {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
}

/// Listens for SIGTERM and SIGINT from now on; the future resolves at the first.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
