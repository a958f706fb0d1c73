//! A broker with the KBS listener alone, for `glovebox-bench kbs`: the same broker as a library, under the root key of a forged AMD.
//!
//! The shipped program takes AMD's root keys and no others, so it cannot be measured with Evidence that is signed for the occasion. What differs
//! here is that one argument of the library; the log is written in the same form. Never shipped.

use std::{error::Error, io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc};

use attest::certificate::TrustAnchor;
use broker::{Broker, Place, Settings, limits::Rate};
use clap::Parser;
use tokio::net::TcpListener;
use wire::server::Bounds;

/// As in the shipped program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    state: PathBuf,
    #[arg(long)]
    tpm: tpm::Address,
    #[arg(long)]
    event_log: PathBuf,
    #[arg(long)]
    issuer: Vec<PathBuf>,
    #[arg(long)]
    rate: u32,
    #[arg(long)]
    listen: SocketAddr,
    /// The forged root's certificate (DER)
    #[arg(long)]
    amd_root: PathBuf,
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let Arguments { state, tpm, event_log, issuer, rate, listen, amd_root } = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .json()
        .init();
    let mut settings = Settings::new(Place { tpm, event_log, state, issuers: issuer });
    settings.rate = Rate { per_second: rate, burst: rate };
    settings.makers.amd = vec![TrustAnchor::pin(&std::fs::read(amd_root)?)?];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let broker = Arc::new(Broker::start(settings)?);
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let leaf = broker.kbs_leaf(&["broker.glovebox.internal".to_owned()])?;
        let (address, authority) = (listener.local_addr()?.to_string(), leaf.authority_pem());
        let kbs = serde_json::json!({ "address": address, "authority": authority });
        let line = serde_json::json!({ "address": address, "key": broker.key(), "log": broker.log_key(), "kbs": kbs });
        writeln!(std::io::stdout(), "{line}")?;
        Ok(broker.serve_kbs(listener, leaf, Bounds::default(), std::future::pending()).await?)
    })
}
