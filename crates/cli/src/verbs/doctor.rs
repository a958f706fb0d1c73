//! `doctor`: what this machine has, as it is, and what to do about what it lacks.
//!
//! A finding is not a failure: a party needs none of the devices, a broker or worker on a laptop needs swtpm, and one for
//! others' data needs a TPM or a TEE. The exit status is always 0.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use attester::{Interface, State as AttesterState};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::{args::Context, exit::CliError, output::Report, wallet};

/// Tell what this machine has: TPM, TEE devices, programs, clock, entropy, disk
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Here and usable.
    Good,
    /// Here, but something should be done.
    Attention,
    /// Not here.
    Absent,
}

/// Looks and tells.
pub(crate) fn run(_: Args, context: &Context) -> Result<Report, CliError> {
    let mut findings = vec![
        party(context),
        kernel(),
        tpm_devices(),
        program(
            "software TPM (swtpm)",
            "swtpm",
            "a broker or worker on this machine needs a TPM; `apt install swtpm swtpm-tools` gives one in software",
        ),
        program(
            "TPM provisioning (swtpm_setup)",
            "swtpm_setup",
            "`apt install swtpm-tools`; without it a software TPM cannot be made",
        ),
        program(
            "TPM tools (tpm2_checkquote)",
            "tpm2_checkquote",
            "`apt install tpm2-tools`, to check quotes by another program; not needed otherwise",
        ),
        program("age", "age", "`apt install age`, to open results with another program; not needed otherwise"),
    ];
    findings.extend(tees());
    findings.extend([measured_boot(), entropy(), clock(), disk(context.home.path()), sealing()]);
    let words: Vec<String> = findings.iter().map(Finding::line).collect();
    let document = json!({ "version": env!("CARGO_PKG_VERSION"), "findings": findings });
    Ok(Report::done(words.join("\n"), document))
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Finding {
        Finding { what, state: State::Good, found: found.into(), hint: None }
    }

    fn attention(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding { what, state: State::Attention, found: found.into(), hint: Some(hint.into()) }
    }

    fn absent(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding { what, state: State::Absent, found: found.into(), hint: Some(hint.into()) }
    }

    fn line(&self) -> String {
        let mark = match self.state {
            State::Good => "+",
            State::Attention => "!",
            State::Absent => "-",
        };
        let hint = self.hint.as_ref().map(|hint| format!("\n    hint: {hint}")).unwrap_or_default();
        format!("{mark} {}: {}{hint}", self.what, self.found)
    }
}

fn party(context: &Context) -> Finding {
    let what = "party";
    let path = context.home.identity_file();
    match wallet::public(&path) {
        Ok((name, identity)) => {
            let protected =
                if wallet::is_protected(&path).unwrap_or(false) { "with a passphrase" } else { "without a passphrase" };
            Finding::good(what, format!("`{name}` {} ({protected})", identity.signing()))
        }
        Err(_) if !path.exists() => Finding::absent(what, "none in this home", "`glovebox init --name NAME` makes one"),
        Err(error) => Finding::attention(what, first_line(&error.to_string()), "restore the file from a backup"),
    }
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let found = format!("{} {release} on {}", std::env::consts::OS, std::env::consts::ARCH);
    Finding::good("system", found)
}

fn tpm_devices() -> Finding {
    let what = "TPM device";
    let devices = present(&["/dev/tpmrm0", "/dev/tpm0"]);
    let Some(device) = devices.first() else {
        return Finding::absent(
            what,
            "none",
            "a virtual machine can be given one; for trials a software TPM does, and receipts then say so",
        );
    };
    let version = read("/sys/class/tpm/tpm0/tpm_version_major");
    if version.as_deref() == Some("1") {
        return Finding::attention(what, "TPM 1.2", "only TPM 2.0 is supported; look in the firmware's settings");
    }
    match fs::OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => Finding::good(what, format!("{} is usable", device.display())),
        Err(error) => Finding::attention(
            what,
            format!("{} cannot be opened: {error}", device.display()),
            "add the user of the broker or worker to the group `tss`",
        ),
    }
}

/// One finding for each interface that is here in some way; one for all together where none is.
fn tees() -> Vec<Finding> {
    let found: Vec<Finding> = attester::probe(Path::new("/")).into_iter().filter_map(interface).collect();
    if !found.is_empty() {
        return found;
    }
    let host: Vec<&str> = [("/dev/sev", "SEV host"), ("/dev/sgx_enclave", "SGX host"), ("/dev/kvm", "KVM host")]
        .into_iter()
        .filter(|(path, _)| Path::new(path).exists())
        .map(|(_, name)| name)
        .collect();
    let words = if host.is_empty() {
        "no interface through which a platform attests".to_owned()
    } else {
        format!("no guest's interface ({})", host.join(", "))
    };
    vec![Finding::absent("TEE", words, "run the worker inside a confidential virtual machine for a stronger tier")]
}

fn interface(found: attester::Found) -> Option<Finding> {
    let what = match found.interface {
        Interface::Tsm => "configfs-tsm (SEV-SNP, TDX, CCA)",
        Interface::Gramine => "Gramine (SGX)",
        Interface::Nitro => "Nitro security module",
        Interface::AzureVtpm => "Azure vTPM",
        Interface::Nvidia => "NVIDIA device",
    };
    match found.state {
        AttesterState::Absent => None,
        AttesterState::Usable => Some(Finding::good(what, "here and usable")),
        AttesterState::Unusable(reason) => Some(Finding::attention(
            what,
            format!("here, and this user may not use it: {reason}"),
            "run the worker as a user that may, such as a service of its own",
        )),
        AttesterState::Missing(reason) => {
            Some(Finding::attention(what, reason, "without it this machine gives no Evidence of that platform"))
        }
    }
}

fn measured_boot() -> Finding {
    let what = "measured boot";
    let log = "/sys/kernel/security/tpm0/binary_bios_measurements";
    if Path::new(log).exists() {
        Finding::good(what, "the firmware left an event log")
    } else {
        Finding::absent(
            what,
            "no firmware event log",
            "needed only where an agreement lists firmware measurements; it comes with UEFI and a TPM device",
        )
    }
}

fn entropy() -> Finding {
    let what = "random generator";
    let mut probe = [0; 32];
    match (getrandom::fill(&mut probe), read("/proc/sys/kernel/random/entropy_avail")) {
        (Ok(()), Some(bits)) => Finding::good(what, format!("answers ({bits} bits in the pool)")),
        (Ok(()), None) => Finding::good(what, "answers"),
        (Err(error), _) => Finding::attention(what, error.to_string(), "without it no keys can be made"),
    }
}

fn clock() -> Finding {
    let what = "clock";
    let now = Timestamp::now();
    let shown = now.strftime("%Y-%m-%d %H:%M UTC").to_string();
    // Older than this program means never set.
    if now < BUILT.parse().unwrap_or(now) {
        return Finding::attention(
            what,
            shown,
            "the clock is in the past; brokers refuse what is signed more than a minute off",
        );
    }
    let synchronised = ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/var/run/ntpd.pid"];
    if present(&synchronised).is_empty() {
        Finding::attention(
            what,
            format!("{shown}, no time service seen"),
            "brokers refuse what is signed more than a minute off; `apt install systemd-timesyncd`",
        )
    } else {
        Finding::good(what, format!("{shown}, kept by a time service"))
    }
}

fn disk(home: &Path) -> Finding {
    let what = "disk";
    let mut place = home;
    while !place.exists() {
        match place.parent() {
            Some(parent) => place = parent,
            None => break,
        }
    }
    let output = Command::new("df").args(["-Pk"]).arg(place).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let free =
        text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).and_then(|field| field.parse::<u64>().ok());
    match free {
        Some(kilobytes) if kilobytes < 1 << 20 => Finding::attention(
            what,
            format!("{} MB free for {}", kilobytes >> 10, home.display()),
            "sealing writes about as much as it reads; make room",
        ),
        Some(kilobytes) => Finding::good(what, format!("{} GB free for {}", kilobytes >> 20, home.display())),
        None => Finding::attention(what, "could not be asked", "`df` is missing"),
    }
}

fn sealing() -> Finding {
    let what = "sealing";
    match table::self_check() {
        Ok(()) => Finding::good(what, "a test table was encrypted as it should be"),
        Err(error) => Finding::attention(what, first_line(&error.to_string()), "do not seal with this build"),
    }
}

fn program(what: &'static str, name: &str, hint: &str) -> Finding {
    match find(name) {
        None => Finding::absent(what, "not installed", hint),
        Some(path) => {
            let output = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
            let told = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
            let told = String::from_utf8_lossy(&told)
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default()
                .trim()
                .to_owned();
            // tpm2-tools tell their version among settings.
            let told = told.split_once(" version=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or(&told);
            let told: String = crate::output::plain(told).chars().take(80).collect();
            Finding::good(what, format!("{} ({told})", path.display()))
        }
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn present(paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A time that has passed wherever this program runs.
const BUILT: &str = "2026-01-01T00:00:00Z";
