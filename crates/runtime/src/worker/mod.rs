//! The worker: takes runs from one broker, proves what it is, computes, and hands back what leaves through the one exit.
//!
//! For each run, in this order, and at the first thing that does not hold the run ends with a code of a closed set:
//!
//! 1. the grounds hold by the worker's own check: agreement in force, run permitted, all of it in the log ([`receipt::check_grounds`]);
//! 2. the broker's Evidence passes the agreement's policy, with the attestation key that the parties' consents name;
//! 3. the query passes the rules, and reads no column that the agreement does not record ([`crate::sql`]);
//! 4. the ciphertext is exactly the manifests' files;
//! 5. the run is measured into the TPM, and Evidence bound to this connection, agreement and run earns the keys, which
//!    stay wrapped until the worker's own check finds that auditors vouch for that Evidence where the agreement asks for them;
//! 6. the query runs under a lease; when the lease is not renewed in time, keys and answer are dropped;
//! 7. the result is sealed to the recipients that the agreement names, signed by the attested key, and given to the broker alone.
//!
//! Deliberately absent: any other way out for data. Logs and errors carry codes and phases, never values.

mod engine;
mod fetch;
mod hardware;
mod machine;
mod session;

pub use hardware::{HardwareConfig, HardwareError};
pub use machine::{Machine, MachineError};
pub use session::{Session, SessionError};

use std::{path::PathBuf, time::Duration};

use envelope::PublicKey;

/// What a worker is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The broker's signing key.
    pub broker: PublicKey,
    /// Where it listens: `host:port`.
    pub address: String,
    /// The TPM.
    pub tpm: tpm::Address,
    /// The event log of this boot, as the launcher left it.
    pub event_log: PathBuf,
    /// Certificates between the endorsement key's and its root, DER.
    pub issuers: Vec<PathBuf>,
    /// Confidential hardware beneath, if the machine has it.
    pub hardware: Option<HardwareConfig>,
    /// Keeps the attestation key and ciphertext that is being read.
    pub state: PathBuf,
}

/// Serves runs until `shutdown` resolves. A connection that breaks is made again, and attested again.
///
/// # Errors
/// Only when the machine cannot attest at all.
pub async fn serve(config: &Config, shutdown: impl Future<Output = ()>) -> Result<(), MachineError> {
    let machine = Machine::open(config)?;
    tokio::pin!(shutdown);
    let mut pause = FIRST_PAUSE;
    loop {
        let serving = async {
            let mut session = Session::open(config, &machine).await?;
            tracing::info!("enrolled and waiting for runs");
            session.serve().await
        };
        let ended: Result<(), SessionError> = tokio::select! {
            () = &mut shutdown => return Ok(()),
            ended = serving => ended,
        };
        if let Err(error) = ended {
            tracing::warn!(code = error.code(), "the session with the broker ended: {error}");
        }
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Nothing of this process's memory may reach a disk by a crash (H6).
///
/// # Errors
/// What the system says.
pub fn forbid_core_dumps() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// A panic of the engine could quote values, so only its place is told; the run ends with a fixed code.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a task ended early");
    }));
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
