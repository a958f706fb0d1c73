//! The worker's binary: arguments, logs, and how it ends.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use envelope::PublicKey;
use runtime::worker::{self, Config, HardwareConfig};

/// Deciphering allocates a buffer for each page of each column. This allocator keeps them for some seconds for the next, where the system's gives them
/// back at once and asks again.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Computes for one broker, inside a machine that can attest.
#[derive(Debug, Parser)]
#[command(name = "glovebox-worker", version)]
struct Args {
    /// The broker's signing key, `ed25519:…`
    #[arg(long, value_name = "KEY")]
    broker: PublicKey,
    /// Where the broker listens, `host:port`
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    /// The TPM: `device:/dev/tpmrm0`, `unix:/path` or `tcp:host:port`
    #[arg(long, value_name = "TPM")]
    tpm: tpm::Address,
    /// The TCG event log of this boot, with the launcher's measurement of this binary
    #[arg(long, value_name = "FILE")]
    event_log: PathBuf,
    /// A certificate between the endorsement key's and its root (DER); may be repeated, nearest first
    #[arg(long, value_name = "FILE")]
    issuer: Vec<PathBuf>,
    /// On confidential hardware (SEV-SNP, TDX): a folder with what vouches for it, one file for each role
    #[arg(long, value_name = "DIR")]
    endorsements: Option<PathBuf>,
    /// A folder for the attestation key and for ciphertext while it is read
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    worker::silence_panics();
    if let Err(error) = worker::forbid_core_dumps() {
        tracing::error!("core dumps could not be forbidden: {error}");
        return ExitCode::from(2);
    }
    if let Err(error) = table::self_check() {
        tracing::error!("tables cannot be sealed by this build: {error}");
        return ExitCode::from(2);
    }
    let config = Config {
        broker: args.broker,
        address: args.address,
        tpm: args.tpm,
        event_log: args.event_log,
        issuers: args.issuer,
        hardware: args.endorsements.map(|endorsements| HardwareConfig { root: PathBuf::from("/"), endorsements }),
        state: args.state,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the runtime could not start: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(worker::serve(&config, shutdown())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!("{error} {cause}");
            ExitCode::from(2)
        }
    }
}

async fn shutdown() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
