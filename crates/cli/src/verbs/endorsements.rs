//! `endorsements`: what makers of hardware sign about it, kept here and served to others.
//!
//! The directory is the party's unless another is named. Fetching is the only verb that uses the network; everything that is kept was checked
//! before, and is checked again whenever it is used.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::Subcommand;
use endorsements::{
    Anchors, Cache, CacheError, Client, NotAnObject, ObjectId, Product, ServeError, Sources, Store, StoreError,
    TlsIdentity, TlsRoots, bundle, serve,
};
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

use crate::{
    args::Context,
    evidence::{
        examine::vcek,
        gather::{GatherError, Pieces},
    },
    exit::{CliError, Status},
    files::{self, Readers, Taken},
    output::{self, Report},
};

/// Fetch, keep and serve what makers of hardware sign about it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where they are kept; `endorsements` in the party's directory if left out
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Fetch(Fetch),
    /// List what is kept, and until when it counts
    List,
    Serve(Serve),
    Export(Export),
    Import(Import),
}

/// Take objects from their makers' services
#[derive(Debug, clap::Args)]
struct Fetch {
    /// What: `tdx/FMSPC`, `sgx/FMSPC`, `amd/Genoa`, or one object such as `nvidia/rim/ID`
    #[arg(value_name = "NAME", required_unless_present = "evidence")]
    names: Vec<String>,
    /// What this report of SEV-SNP needs, of this family of processors
    #[arg(long, value_name = "FILE", requires = "product")]
    evidence: Option<PathBuf>,
    /// The family: Milan, Genoa or Turin
    #[arg(long, value_name = "NAME")]
    product: Option<String>,
    #[command(flatten)]
    services: Services,
}

/// Where the makers' services are.
#[derive(Debug, clap::Args)]
struct Services {
    /// One address that has everything, such as another `glovebox endorsements serve`
    #[arg(long, value_name = "URL", conflicts_with_all = ["intel", "intel_roots", "amd", "nvidia"])]
    from: Option<Url>,
    /// Intel's provisioning certification service, or a PCCS
    #[arg(long, value_name = "URL")]
    intel: Option<Url>,
    /// Where Intel's root list is
    #[arg(long, value_name = "URL")]
    intel_roots: Option<Url>,
    /// AMD's key distribution service
    #[arg(long, value_name = "URL")]
    amd: Option<Url>,
    /// NVIDIA's manifests
    #[arg(long, value_name = "URL")]
    nvidia: Option<Url>,
    /// The authorities for `https`, PEM
    #[arg(long, value_name = "FILE")]
    tls_roots: Option<PathBuf>,
    /// How many seconds one object may take, waiting for a busy service included
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
}

/// Serve what is kept on the makers' own paths, over TLS, until interrupted
#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: String,
    /// A certificate, PEM, with its key; one is generated otherwise
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Fetch what is asked for and not here, or has expired
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    services: Services,
}

/// Write everything that is kept into one file
#[derive(Debug, clap::Args)]
struct Export {
    /// The file
    file: PathBuf,
    /// Replace it
    #[arg(long)]
    force: bool,
}

/// Fill the directory from one file
#[derive(Debug, clap::Args)]
struct Import {
    /// The file
    file: PathBuf,
    /// The time at which the objects must count; now if left out
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndorsementsError {
    /// A name.
    #[error(transparent)]
    Name(#[from] NotAnObject),
    /// The directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file with many.
    #[error(transparent)]
    Bundle(#[from] bundle::BundleError),
    /// A service.
    #[error(transparent)]
    Client(#[from] endorsements::ClientError),
    /// An address.
    #[error("`{0}` is not an address to listen on\nhint: such as 127.0.0.1:8081")]
    Listen(String),
    /// TLS.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// An address that ships inside.
    #[error("a published address cannot be read")]
    Address(#[from] url::ParseError),
    /// Not a report.
    #[error("`{path}` is no report of SEV-SNP of that family\nhint: check `--product`", path = .0.display())]
    NoReport(PathBuf),
    /// A file.
    #[error(transparent)]
    Gather(#[from] GatherError),
}

impl EndorsementsError {
    pub(crate) const fn status(&self) -> Status {
        match self {
            EndorsementsError::Store(
                StoreError::Refused { .. } | StoreError::Older { .. } | StoreError::Superseded { .. },
            )
            | EndorsementsError::Bundle(bundle::BundleError::Damaged) => Status::Refused,
            _ => Status::Error,
        }
    }
}

impl Args {
    /// Whether it runs until the user asks it to end.
    pub(crate) const fn serves(&self) -> bool {
        matches!(self.verb, Verb::Serve(_))
    }
}

/// Does what was asked.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let directory = args.directory.unwrap_or_else(|| context.home.path().join("endorsements"));
    let store = Store::open(&directory, Anchors::shipped()).map_err(EndorsementsError::from)?;
    match args.verb {
        Verb::Fetch(args) => Ok(fetch(args, store).await?),
        Verb::List => Ok(list(&store, Timestamp::now())?),
        Verb::Serve(args) => Ok(serve_it(args, store, &directory).await?),
        Verb::Export(args) => {
            let bytes = bundle::export(&store).map_err(EndorsementsError::from)?;
            let taken = if args.force { Taken::Replace } else { Taken::Keep };
            files::write(&args.file, &bytes, Readers::Everyone, taken)?;
            let count = store.list().map_err(EndorsementsError::from)?.len();
            let words = format!("{count} objects written to {}", args.file.display());
            Ok(Report::done(words, json!({ "objects": count, "file": args.file.display().to_string() })))
        }
        Verb::Import(args) => {
            let bytes = files::read(&args.file)?;
            let now = args.at.unwrap_or_else(Timestamp::now);
            let imported = bundle::import(&store, &bytes, now).map_err(EndorsementsError::from)?;
            let outcomes = imported.into_iter().map(|(id, outcome)| (id, outcome.map_err(|error| told(&error))));
            Ok(outcome("kept", outcomes.collect()))
        }
    }
}

type Outcomes = Vec<(ObjectId, Result<endorsements::Checked, String>)>;

async fn fetch(args: Fetch, store: Store) -> Result<Report, EndorsementsError> {
    let mut wanted = Vec::new();
    for name in &args.names {
        wanted.extend(ObjectId::group(name)?);
    }
    if let Some(path) = &args.evidence {
        let pieces = Pieces::gather(std::slice::from_ref(path))?;
        let product = args.product.as_deref().and_then(|name| {
            [Product::Milan, Product::Genoa, Product::Turin].into_iter().find(|product| product.name() == name)
        });
        let id = product.and_then(|product| vcek(&pieces.0.first()?.bytes, product));
        let id = id.ok_or_else(|| EndorsementsError::NoReport(path.clone()))?;
        wanted.extend(id.needs());
        wanted.push(id);
    }
    let cache = Cache::new(store, Some(args.services.client()?), Arc::new(Timestamp::now));
    let mut outcomes = Vec::new();
    for id in wanted {
        let got = cache.fetch(&id).await.map_err(|error: Arc<CacheError>| told(&*error));
        if let Err(words) = &got {
            output::warn(format!("{id}: {}", words.lines().next().unwrap_or_default()));
        }
        outcomes.push((id, got));
    }
    Ok(outcome("fetched", outcomes))
}

fn outcome(verb: &str, outcomes: Outcomes) -> Report {
    let failed = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).count();
    let mut words: Vec<String> = outcomes
        .iter()
        .map(|(id, outcome)| match outcome {
            Ok(checked) => format!("{verb}  {id}, until {}", checked.until),
            Err(error) => format!("refused  {id}: {error}"),
        })
        .collect();
    words.push(format!("{} {verb}, {failed} not", outcomes.len() - failed));
    let objects: Vec<_> = outcomes
        .iter()
        .map(|(id, outcome)| match outcome {
            Ok(checked) => json!({ "object": id, "until": checked.until, "number": checked.evaluation }),
            Err(error) => json!({ "object": id, "refused": error }),
        })
        .collect();
    let document = json!({ "objects": objects, "failed": failed });
    if failed == 0 { Report::done(words.join("\n"), document) } else { Report::refused(words.join("\n"), document) }
}

fn list(store: &Store, now: Timestamp) -> Result<Report, EndorsementsError> {
    let mut words = Vec::new();
    let mut objects = Vec::new();
    for id in store.list()? {
        match store.get(&id, now) {
            Ok((_, checked)) => {
                let number = checked.evaluation.map(|number| format!(", number {number}")).unwrap_or_default();
                words.push(format!("+ {id}: until {}{number}", checked.until));
                objects.push(json!({ "object": id, "until": checked.until, "number": checked.evaluation }));
            }
            Err(error) => {
                words.push(format!("! {}", told(&error)));
                objects.push(json!({ "object": id, "refused": told(&error) }));
            }
        }
    }
    if words.is_empty() {
        words.push("nothing is kept yet".to_owned());
    }
    Ok(Report::done(words.join("\n"), json!({ "objects": objects, "numbers": store.floors()? })))
}

async fn serve_it(args: Serve, store: Store, directory: &std::path::Path) -> Result<Report, EndorsementsError> {
    let listener = TcpListener::bind(&args.listen).await.map_err(|_| EndorsementsError::Listen(args.listen.clone()))?;
    let address = listener.local_addr().map_err(|_| EndorsementsError::Listen(args.listen.clone()))?;
    let ip: IpAddr = address.ip();
    let tls = match (&args.tls_certificate, &args.tls_key) {
        (Some(certificate), Some(key)) => TlsIdentity::from_files(certificate, key)?,
        _ => TlsIdentity::generated(directory, &[ip])?,
    };
    let client = if args.online { Some(args.services.client()?) } else { None };
    let cache = Arc::new(Cache::new(store, client, Arc::new(Timestamp::now)));
    output::note(format!("serving https://{address}, certificate {}", tls.fingerprint()));
    let ended = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(listener, cache, &tls, ended).await;
    Ok(Report::done("ended", json!({ "served": address.to_string() })))
}

impl Services {
    fn client(&self) -> Result<Client, EndorsementsError> {
        let published = Sources::published()?;
        let or = |given: &Option<Url>, published: Url| given.clone().unwrap_or(published);
        let sources = match &self.from {
            Some(address) => Sources::all_at(address),
            None => Sources {
                intel: or(&self.intel, published.intel),
                intel_roots: or(&self.intel_roots, published.intel_roots),
                amd: or(&self.amd, published.amd),
                nvidia: or(&self.nvidia, published.nvidia),
            },
        };
        let roots = match &self.tls_roots {
            Some(path) => TlsRoots::from_file(path)?,
            None => TlsRoots::default(),
        };
        Ok(Client::new(sources, roots, Duration::from_secs(self.patience))?)
    }
}

/// An error with its causes, in one line.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        words.extend(error.to_string().lines().next().map(str::to_owned));
        next = error.source();
    }
    words.dedup();
    words.join(": ")
}
