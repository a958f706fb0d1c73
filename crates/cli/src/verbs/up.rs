//! `up`: a broker and a worker on this machine, for one's own data.
//!
//! What they keep lies in one directory, so the next `up` goes on where this one ended: same keys, same agreements, same log. Only
//! a changed broker binary does not, because the broker's state is sealed to the program that made it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use attest::Tier;
use serde_json::{Value, json};

use crate::{
    args::Context,
    exit::CliError,
    home::HomeError,
    interrupt,
    launch::{LaunchError, LocalRoom, RoomPlace},
    output::{self, Report},
};

/// Start a broker and a worker on this machine, each with a software TPM; they run until Ctrl-C
///
/// Prints what an agreement has to name. The directory keeps everything for the next time. If the party's directory has no default broker
/// yet, this one becomes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the room lies; `room` in the party's directory if left out
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where the broker listens, on loopback; the last address if left out, at first 127.0.0.1:7143
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Also serve the KBS protocol here, on loopback; off if left out
    #[arg(long, value_name = "IP:PORT")]
    kbs_listen: Option<SocketAddr>,
    /// Where `glovebox-broker` and `glovebox-worker` lie; beside this program if left out
    #[arg(long, value_name = "DIR", env = "GLOVEBOX_BIN_DIR", hide_env_values = true)]
    bin_dir: Option<PathBuf>,
}

/// Starts the room, says what to do next, and tends it until the user asks to end.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let dir = args.dir.unwrap_or_else(|| context.home.path().join("room"));
    let place = RoomPlace { dir, listen: args.listen, kbs: args.kbs_listen, programs: programs(args.bin_dir)? };
    let asked = tokio::spawn(interrupt::asked());
    let started = place.clone();
    output::note(if place.dir.join("broker").exists() {
        "starting the broker and the worker"
    } else {
        "making a broker and a worker, each with a TPM of its own; this takes a few seconds"
    });
    let mut room = match blocking(move || LocalRoom::start(&started)).await {
        Err(LaunchError::Interrupted) => return Err(CliError::Interrupted),
        started => started?,
    };
    remember(&room, context)?;
    tell(&room, &place.dir).print(context.json);
    while !asked.is_finished() {
        room = blocking(move || room.tend().map(|_| room)).await?;
        tokio::time::sleep(TEND).await;
    }
    blocking(move || drop(room)).await;
    output::note(format!("ended; everything is kept in {}", place.dir.display()));
    Ok(Report::done("", Value::Null))
}

/// The folder of the roles' binaries: as given, or beside this program.
pub(crate) fn programs(given: Option<PathBuf>) -> Result<PathBuf, CliError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let this = std::env::current_exe().map_err(CliError::Runtime)?;
    Ok(this.parent().map(Path::to_owned).unwrap_or_default())
}

/// Runs what blocks beside the threads that must not.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shut down cancels such a task, and then nobody waits for it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The first room becomes the home's default broker; another one is left alone.
fn remember(room: &LocalRoom, context: &Context) -> Result<(), CliError> {
    let broker = room.broker();
    match context.home.broker() {
        Err(HomeError::NoBroker) => {
            context.home.make()?;
            context.home.store_broker(&broker)?;
            output::note(format!(
                "from now on this is the default broker of {}, which had none; `--broker` names another",
                context.home.path().display()
            ));
        }
        Ok(known) if known.key == broker.key && known.address != broker.address => {
            context.home.store_broker(&broker)?
        }
        Ok(known) if known != broker => {
            output::note(format!(
                "the default broker of {} is another one; name this one with `--broker`",
                context.home.path().display()
            ));
        }
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn tell(room: &LocalRoom, dir: &Path) -> Report {
    let broker = format!("{}@{}", room.broker().key, room.broker().address);
    let caution = Tier::SoftwareTpm.words();
    let words = format!(
        "broker    {broker}\nlog       {log}\nroom      {dir}\n\n\
         An agreement takes this room in with\n\n    \
         [broker]\n    file = \"{broker_file}\"\n    [workers]\n    file = \"{workers_file}\"\n\n\
         Next, in another terminal:\n\n    \
         glovebox init --name NAME                      # for each party, with a `--home` of its own\n    \
         glovebox seal TABLE.csv --rules RULES.toml --broker {broker_file}\n    \
         glovebox agree AGREEMENT.toml                  # each party\n    \
         glovebox run NAME --computation COMPUTATION\n\n\
         caution: the tier is {tier}: {caution}\n\n\
         Ctrl-C ends it; `glovebox up` with the same directory goes on.",
        log = room.log_key(),
        dir = dir.display(),
        broker_file = absolute(&room.broker_file()).display(),
        workers_file = absolute(&room.workers_file()).display(),
        tier = Tier::SoftwareTpm.name(),
    );
    let words = match room.kbs() {
        Some(kbs) => {
            format!("{words}\n\nThe KBS protocol is served at {}; its clients trust\n\n{}", kbs.address, kbs.authority)
        }
        None => words,
    };
    let document = json!({
        "kbs": room.kbs(),
        "broker": broker,
        "key": room.broker().key,
        "address": room.broker().address,
        "log": room.log_key(),
        "room": dir,
        "broker_file": absolute(&room.broker_file()),
        "workers_file": absolute(&room.workers_file()),
        "tier": Tier::SoftwareTpm,
        "caution": caution,
    });
    Report::done(words, document)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// How often the roles are looked after.
const TEND: Duration = Duration::from_millis(100);
