//! Which interfaces a machine has, found by looking and not by asking: nothing is written, no report is made.

use std::{fs, io, path::Path};

use crate::{gramine, nitro, tsm};

/// One interface that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub interface: Interface,
    /// What was found.
    pub state: State,
}

/// The interfaces through which platforms attest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// configfs-tsm.
    Tsm,
    /// Gramine, in SGX.
    Gramine,
    /// The Nitro security module.
    Nitro,
    /// A vTPM on Azure.
    AzureVtpm,
    /// NVIDIA devices.
    Nvidia,
}

/// What was found of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there and can be used.
    Usable,
    /// It is there, and this program may not use it: the reason in words.
    Unusable(String),
    /// It is not there, though its hardware is: what is missing, in words.
    Missing(&'static str),
    /// Nothing of it is there.
    Absent,
}

/// Looks for every interface under `root`, which is `/` on a machine.
pub fn probe(root: &Path) -> Vec<Found> {
    let states = [
        (Interface::Tsm, tsm_state(root)),
        (Interface::Gramine, gramine_state(root)),
        (Interface::Nitro, device(&root.join(nitro::DEVICE))),
        (Interface::AzureVtpm, azure_state(root)),
        (Interface::Nvidia, nvidia_state(root)),
    ];
    states.into_iter().map(|(interface, state)| Found { interface, state }).collect()
}

fn tsm_state(root: &Path) -> State {
    let reports = root.join(tsm::REPORTS);
    if reports.is_dir() {
        return match rustix::fs::access(&reports, rustix::fs::Access::WRITE_OK) {
            Ok(()) => State::Usable,
            Err(error) => State::Unusable(io::Error::from(error).to_string()),
        };
    }
    let guest = ["dev/sev-guest", "dev/tdx_guest"].iter().any(|name| root.join(name).exists());
    if guest {
        State::Missing("the guest device is there without configfs-tsm, which Linux has since 6.7")
    } else {
        State::Absent
    }
}

fn gramine_state(root: &Path) -> State {
    let directory = root.join(gramine::DIRECTORY);
    if !directory.is_dir() {
        return State::Absent;
    }
    match fs::read_to_string(directory.join("attestation_type")) {
        Ok(kind) if kind.trim() == "dcap" => State::Usable,
        Ok(_) => State::Missing("its manifest does not ask for DCAP attestation (`sgx.remote_attestation = \"dcap\"`)"),
        Err(error) => State::Unusable(error.to_string()),
    }
}

fn device(path: &Path) -> State {
    if !path.exists() {
        return State::Absent;
    }
    match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => State::Usable,
        Err(error) => State::Unusable(error.to_string()),
    }
}

/// Azure's machines tell their chassis by a fixed tag (Microsoft, "Azure VM unique chassis asset tag").
fn azure_state(root: &Path) -> State {
    let tag = fs::read_to_string(root.join("sys/class/dmi/id/chassis_asset_tag")).unwrap_or_default();
    if tag.trim() != AZURE_TAG {
        return State::Absent;
    }
    match device(&root.join("dev/tpmrm0")) {
        State::Absent => State::Missing("this is a machine of Azure without a vTPM"),
        state => state,
    }
}

fn nvidia_state(root: &Path) -> State {
    if root.join("dev/nvidiactl").exists() {
        State::Missing("reports of NVIDIA devices need NVML, a C library that is not used here")
    } else {
        State::Absent
    }
}

const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn state(root: &Path, interface: Interface) -> State {
        probe(root).into_iter().find(|found| found.interface == interface).unwrap().state
    }

    #[test]
    fn row_80_what_a_machine_has_is_told_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        assert!(probe(root.path()).iter().all(|found| found.state == State::Absent));
        fs::create_dir_all(root.path().join("dev/attestation")).unwrap();
        fs::write(root.path().join("dev/attestation/attestation_type"), "none\n").unwrap();
        fs::write(root.path().join("dev/sev-guest"), "").unwrap();
        fs::write(root.path().join("dev/nsm"), "").unwrap();
        fs::write(root.path().join("dev/nvidiactl"), "").unwrap();
        assert!(matches!(state(root.path(), Interface::Tsm), State::Missing(_)));
        assert!(matches!(state(root.path(), Interface::Gramine), State::Missing(_)));
        assert!(matches!(state(root.path(), Interface::Nvidia), State::Missing(_)));
        assert_eq!(state(root.path(), Interface::Nitro), State::Usable);
        fs::create_dir_all(root.path().join(tsm::REPORTS)).unwrap();
        assert_eq!(state(root.path(), Interface::Tsm), State::Usable);
        let dmi = root.path().join("sys/class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        fs::write(dmi.join("chassis_asset_tag"), format!("{AZURE_TAG}\n")).unwrap();
        assert!(matches!(state(root.path(), Interface::AzureVtpm), State::Missing(_)));
    }
}
