//! A broker and a worker of one's own on loopback, each with a software TPM: what `up` and `demo` stand on.
//!
//! ```text
//! ROOM/broker.json      what an agreement says of this broker: key, log, address, appraisal policy
//! ROOM/workers.json     the appraisal policy for workers
//! ROOM/address          where the broker listens, kept from one start to the next
//! ROOM/lock             held while the room runs
//! ROOM/authority/       the certificate authority of the room's TPMs
//! ROOM/ROLE/tpm/        the role's TPM
//! ROOM/ROLE/event-log   what was measured before the role was started
//! ROOM/ROLE/state/      the role's own
//! ROOM/ROLE/log         what the role says, one JSON object a line
//! ```
//!
//! The launcher resets the role's TPM, measures the role's binary into it and then starts that binary. On this tier the launcher is trusted:
//! whoever can run it can report any measurement. So the policies written here name the tier, the very TPMs and the very binaries, and an
//! agreement that takes them in says the same in its words and in every receipt.
//!
//! Deliberately absent: a room that other machines reach. A broker that serves others has a machine, a TPM and an
//! operator of its own.

mod role;

use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use agreement::documents::BrokerTerms;
use attest::{
    AppraisalPolicy, Bank, Clock, EndorsementKeys, EndorsementRoot, PolicyDocument, Tier, TpmPolicy, events::RoleName,
};
use envelope::{PublicKey, text::Bytes};
use serde::{Deserialize, Serialize};
use tpm::{SoftwareTpm, SoftwareTpmError, TpmError};

use crate::{
    files::{self, FileError, Readers, Taken},
    home::BrokerAddress,
};
use role::{Recipe, Role, RoleKind};

/// A running room. Dropped, it ends: the worker first, then the broker, then their TPMs.
pub(crate) struct LocalRoom {
    worker: Role,
    broker: Role,
    dir: PathBuf,
    terms: BrokerTerms,
    kbs: Option<KbsListener>,
    _lock: File,
}

/// Where a room lies and how it is started.
#[derive(Debug, Clone)]
pub(crate) struct RoomPlace {
    /// Its directory; made if it is not there.
    pub(crate) dir: PathBuf,
    /// Where the broker listens. Left out, where it listened before, or [`DEFAULT_LISTEN`].
    pub(crate) listen: Option<SocketAddr>,
    /// Where the broker serves the KBS protocol, if it shall.
    pub(crate) kbs: Option<SocketAddr>,
    /// Where the roles' binaries lie.
    pub(crate) programs: PathBuf,
}

/// Why a room does not start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// A role's binary is missing.
    #[error("`{program}` is not in `{dir}`\nhint: `cargo build -p broker -p runtime` builds both roles; GLOVEBOX_BIN_DIR names another folder", dir = .dir.display())]
    NoProgram {
        /// Which.
        program: &'static str,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Not a loopback address.
    #[error(
        "`{0}` is not an address of this machine alone\nhint: `up` serves on loopback only, such as 127.0.0.1:7143; for other machines run `glovebox-broker` itself, as docs/operating.md says"
    )]
    NotLoopback(SocketAddr),
    /// Taken, or not of this machine.
    #[error(
        "the broker cannot listen at `{address}`; nothing was made\nhint: choose another address with `--listen`, or `--kbs-listen` for the KBS protocol"
    )]
    CannotListen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The recorded address is none.
    #[error("`{path}` does not hold an address\nhint: remove it, or pass `--listen`", path = .0.display())]
    Address(PathBuf),
    /// The room runs.
    #[error("a room runs in `{dir}` already\nhint: end it first, or give this one another `--dir`", dir = .0.display())]
    Runs(PathBuf),
    /// The software TPM.
    #[error("a software TPM cannot be used")]
    SoftwareTpm(#[source] SoftwareTpmError),
    /// The TPM while it is measured into.
    #[error("the {role}'s binary cannot be measured")]
    Measure {
        /// Which role.
        role: &'static str,
        /// Why.
        source: TpmError,
    },
    /// The TPM's endorsement key is not fit to be one.
    #[error("the endorsement key of the {0}'s TPM cannot be read")]
    EndorsementKey(&'static str),
    /// The policy makes no sense.
    #[error("the room's policy cannot be written")]
    Policy(#[source] attest::PolicyError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A process that could not be started.
    #[error("the {role} cannot be started from `{program}`", program = .program.display())]
    Start {
        /// Which role.
        role: &'static str,
        /// Its binary.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A role that ended by itself.
    #[error("the {role} ended: {said}\nhint: its log is `{log}`", log = .log.display())]
    Ended {
        /// Which role.
        role: &'static str,
        /// The last errors in its log, or its exit status.
        said: String,
        /// Its log.
        log: PathBuf,
    },
    /// A broker that does not say that it is ready.
    #[error("the broker was not ready after {seconds} seconds\nhint: what it said is in `{log}`", log = .log.display())]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// The user asked to end.
    #[error("interrupted")]
    Interrupted,
}

impl LocalRoom {
    /// Starts a room, or takes up one that was there before, with all that its broker keeps. Blocks for seconds.
    pub(crate) fn start(place: &RoomPlace) -> Result<LocalRoom, LaunchError> {
        let RoomPlace { dir, listen, kbs, programs } = place;
        if let Some(kbs) = kbs.filter(|kbs| !kbs.ip().is_loopback()) {
            return Err(LaunchError::NotLoopback(kbs));
        }
        let broker = Recipe::of(RoleKind::Broker, dir, programs)?;
        let worker = Recipe::of(RoleKind::Worker, dir, programs)?;
        let address = listen_address(dir, *listen)?;
        // A room that was here before waits for what a killed launcher left; a new one leaves nothing behind that could not start.
        if !dir.exists() {
            for address in [Some(address), *kbs].into_iter().flatten() {
                is_free(address)?;
            }
        }
        files::private_directory(dir)?;
        let lock = lock(dir)?;
        let listen = address;
        let broker = broker.prepare()?;
        let worker = worker.prepare()?;
        let (roots, issuer) = authority(dir)?;
        let broker_policy = policy(&roots, &broker)?;
        let worker_policy = policy(&roots, &worker)?;
        let mut broker = broker.spawn(&listen_at(listen, *kbs), &issuer)?;
        let Ready { key, log, address, kbs } = serde_json::from_str(&broker.first_line(PATIENCE)?)
            .map_err(|_| LaunchError::NotReady { seconds: PATIENCE.as_secs(), log: broker.log().to_owned() })?;
        // Started again, it listens where the parties know it to be, even if its first port was any free one.
        broker.next_time(&listen_at(address, kbs.as_ref().map(|kbs| kbs.address)));
        record(&dir.join(ADDRESS), format!("{address}\n").as_bytes())?;
        let terms = BrokerTerms { key, log, address: address.to_string(), policy: broker_policy };
        record(&dir.join(BROKER_TERMS), &document(&terms))?;
        record(&dir.join(WORKER_POLICY), &document(&worker_policy))?;
        let worker = worker.spawn(
            &["--broker".into(), key.to_string().into(), "--address".into(), address.to_string().into()],
            &issuer,
        )?;
        Ok(LocalRoom { worker, broker, dir: dir.clone(), terms, kbs, _lock: lock })
    }

    /// Which broker, and where.
    pub(crate) fn broker(&self) -> BrokerAddress {
        BrokerAddress { key: self.terms.key, address: self.terms.address.clone() }
    }

    /// Where the broker serves the KBS protocol.
    pub(crate) fn kbs(&self) -> Option<&KbsListener> {
        self.kbs.as_ref()
    }

    /// The key of the broker's log.
    pub(crate) fn log_key(&self) -> &str {
        &self.terms.log
    }

    /// What an agreement says of this broker, as a file.
    pub(crate) fn broker_file(&self) -> PathBuf {
        self.dir.join(BROKER_TERMS)
    }

    /// The policy for workers, as a file.
    pub(crate) fn workers_file(&self) -> PathBuf {
        self.dir.join(WORKER_POLICY)
    }

    /// Starts a role again that ended by itself, and says which. One that ends soon after its start is not started again.
    pub(crate) fn tend(&mut self) -> Result<Option<&'static str>, LaunchError> {
        for role in [&mut self.broker, &mut self.worker] {
            if role.has_ended() {
                role.again(PATIENCE)?;
                return Ok(Some(role.name()));
            }
        }
        Ok(None)
    }
}

/// One launcher per room. The lock ends with the process, however that ends.
fn lock(dir: &Path) -> Result<File, LaunchError> {
    let path = dir.join(LOCK);
    let failed = |source| FileError::Write { path: path.clone(), source };
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LaunchError::Runs(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source).into()),
    }
}

/// What the broker prints when it serves.
#[derive(Deserialize)]
struct Ready {
    key: PublicKey,
    log: String,
    address: SocketAddr,
    #[serde(default)]
    kbs: Option<KbsListener>,
}

/// Where the broker serves the KBS protocol, and what its clients trust.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KbsListener {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The certificate that issued the listener's, PEM.
    pub(crate) authority: String,
}

fn listen_at(address: SocketAddr, kbs: Option<SocketAddr>) -> Vec<OsString> {
    let kbs = kbs.map(|kbs| ["--kbs-listen".into(), kbs.to_string().into()]);
    let listen: [OsString; 2] = ["--listen".into(), address.to_string().into()];
    listen.into_iter().chain(kbs.into_iter().flatten()).collect()
}

/// Whether a role can listen there.
fn is_free(address: SocketAddr) -> Result<(), LaunchError> {
    std::net::TcpListener::bind(address).map(drop).map_err(|source| LaunchError::CannotListen { address, source })
}

/// The address that was asked for, or the one of the last start.
fn listen_address(dir: &Path, asked: Option<SocketAddr>) -> Result<SocketAddr, LaunchError> {
    let path = dir.join(ADDRESS);
    let address = match asked {
        Some(address) => address,
        None if path.exists() => {
            files::read_text(&path)?.trim().parse().map_err(|_| LaunchError::Address(path.clone()))?
        }
        None => DEFAULT_LISTEN,
    };
    if address.ip().is_loopback() { Ok(address) } else { Err(LaunchError::NotLoopback(address)) }
}

/// The root of the room's authority, and the file of the certificate that issues.
fn authority(dir: &Path) -> Result<(Vec<EndorsementRoot>, PathBuf), LaunchError> {
    let certificates = SoftwareTpm::ca_certificates(&dir.join(AUTHORITY)).map_err(LaunchError::SoftwareTpm)?;
    let mut certificates = certificates.into_iter();
    let root = certificates.next().unwrap_or_default();
    let issuer = dir.join(AUTHORITY).join(ISSUER);
    record(&issuer, &certificates.next().unwrap_or_default())?;
    Ok((vec![EndorsementRoot { certificate: Bytes(root), tier: Tier::SoftwareTpm }], issuer))
}

/// The narrowest policy that the role passes: this TPM, this binary, this tier.
fn policy(roots: &[EndorsementRoot], prepared: &role::Prepared) -> Result<AppraisalPolicy, LaunchError> {
    AppraisalPolicy::new(PolicyDocument {
        tier_floor: Tier::SoftwareTpm,
        tpm: TpmPolicy {
            roots: roots.to_vec(),
            endorsement_keys: EndorsementKeys::Listed(vec![prepared.endorsement_key]),
            bank: Bank::Sha256,
            role: prepared.role.clone(),
            binaries: vec![prepared.binary],
            reference_values: Vec::new(),
            // A laptop may be switched off at any time, which leaves the clock unsafe; reset counts are compared all the same.
            clock: Clock::Unsafe,
        },
        hardware: std::collections::BTreeMap::new(),
        auditors: None,
    })
    .map_err(LaunchError::Policy)
}

fn role_name(name: &str) -> Result<RoleName, LaunchError> {
    RoleName::try_from(name).map_err(|_| LaunchError::Policy(attest::PolicyError::Digest))
}

fn document(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

fn record(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    files::write(path, bytes, Readers::Everyone, Taken::Replace)
}

/// Where a broker listens if nobody says otherwise.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7143);

const BROKER_TERMS: &str = "broker.json";
const WORKER_POLICY: &str = "workers.json";
const ADDRESS: &str = "address";
const LOCK: &str = "lock";
const AUTHORITY: &str = "authority";
const ISSUER: &str = "issuer.der";
/// For the broker to open its store and its TPM.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_room_that_cannot_listen_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        for program in ["glovebox-broker", "glovebox-worker"] {
            std::fs::write(folder.path().join(program), b"").unwrap();
        }
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let start = |listen: SocketAddr| {
            let dir = folder.path().join("room");
            let place =
                RoomPlace { dir: dir.clone(), listen: Some(listen), kbs: None, programs: folder.path().to_owned() };
            let refused = LocalRoom::start(&place).err().unwrap();
            assert!(!dir.exists(), "{refused}");
            refused
        };
        let address = taken.local_addr().unwrap();
        assert!(matches!(start(address), LaunchError::CannotListen { address: found, .. } if found == address));
        let everywhere = "0.0.0.0:7999".parse().unwrap();
        assert!(matches!(start(everywhere), LaunchError::NotLoopback(found) if found == everywhere));
    }
}
