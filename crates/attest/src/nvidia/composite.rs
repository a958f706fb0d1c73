//! GPUs and switches as part of a machine whose processor is appraised.
//!
//! A GPU knows nothing of the processor that drives it, so what joins the two is the nonce. The processor's side is measured and bound to this exchange
//! by its own Evidence; it asks each device with a nonce that is derived from that binding, from what it states about its
//! devices (how many, in which mode) and from the device's place. Attester and Verifier call the same function. A report that was
//! made for another exchange, another machine or another place has another nonce; a machine that states something else about its devices
//! derives other nonces, and the statement itself is that of code which the processor's Evidence measures.
//!
//! # Tier
//!
//! A composite has the tier of its processor, never `several-vendors`, also where the two makers differ. That tier says that no single
//! maker's failure is enough to deceive. Here each one's is: who can forge the processor's Evidence computes the nonces and asks a
//! genuine GPU of his own, and who can forge the GPU's sees what is sent to it. Several vendors at once means a key that is split
//! among Attesters of different makers, each appraised by itself. A device adds a condition, not a second opinion.

use envelope::Digest;
use subtle::ConstantTimeEq;

use super::Compared;
use crate::{
    Tier,
    platform::{Appraised, Genuine, HardwareIds, Platform, Refusal},
};

/// What the processor's side states about its devices. It is part of every nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// How many GPUs, at most 64.
    pub gpus: u8,
    /// How many switches, at most 64.
    pub switches: u8,
    /// The mode in which the driver finds them.
    pub mode: Mode,
}

/// The mode of a machine's devices, as its driver reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Confidential computing is on, for production.
    Confidential,
    /// Confidential computing is on in developer mode: debugging and performance counters are open.
    DeveloperTools,
    /// Confidential computing is off.
    Off,
}

/// Devices that were all measured for one exchange, together with a processor's Evidence. Made by [`Composite::join`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composite {
    processor: Appraised,
    devices: Vec<Genuine>,
}

/// Why devices are not part of this machine's exchange.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompositeError {
    /// The processor's side is itself a device, or a proof.
    #[error("`{0}` is not the Evidence of a processor")]
    NotProcessor(Platform),
    /// The mode.
    #[error("the machine states that confidential computing is off on its devices")]
    Off,
    /// The mode.
    #[error("the machine states that its devices are in developer mode, in which they can be debugged")]
    DeveloperTools,
    /// More than a machine has, or none.
    #[error("the machine states {0} devices; 1 to 64 of a kind are possible")]
    Stated(usize),
    /// Another number of reports than stated.
    #[error("the machine states {stated} devices of the kind `{kind}`; {actual} sent Evidence")]
    Count {
        /// `nvidia-gpu` or `nvidia-switch`.
        kind: Platform,
        /// As stated.
        stated: usize,
        /// As sent.
        actual: usize,
    },
    /// A report for another exchange, machine, statement or place.
    #[error("the nonce of device {index} is not the one that this exchange gives its place")]
    Nonce {
        /// Counted from 0, GPUs first.
        index: usize,
    },
    /// One device in two places.
    #[error("the chip `{0}` is there twice")]
    Twice(String),
    /// Not one of the owner's.
    #[error("the chip `{0}` is not on the list")]
    NotListed(String),
    /// The devices do not belong together.
    #[error("the devices' reports do not say the same of the protected PCIe fabric")]
    Fabric,
}

impl Refusal for CompositeError {
    fn step(&self) -> u8 {
        8
    }

    fn code(&self) -> &'static str {
        match self {
            CompositeError::NotProcessor(_) => "composite-not-processor",
            CompositeError::Off => "confidential-computing-off",
            CompositeError::DeveloperTools => "developer-mode",
            CompositeError::Stated(_) => "device-count-impossible",
            CompositeError::Count { .. } => "device-count-mismatch",
            CompositeError::Nonce { .. } => "device-nonce-not-derived",
            CompositeError::Twice(_) => "device-twice",
            CompositeError::NotListed(_) => "hardware-id-not-listed",
            CompositeError::Fabric => "device-fabric-mismatch",
        }
    }

    fn is_malformed(&self) -> bool {
        false
    }
}

/// The nonce for the device at a place: SHA-256 over the label, the processor's binding, the statement and the place, each part behind
/// its length as eight big-endian bytes. `binding` is what the processor's Evidence binds (its report data, whole); places are counted
/// from 0, GPUs first, then switches.
pub fn device_nonce(binding: &[u8], statement: &Statement, place: u8) -> [u8; 32] {
    let mode = match statement.mode {
        Mode::Confidential => 0,
        Mode::DeveloperTools => 1,
        Mode::Off => 2,
    };
    let stated = [statement.gpus, statement.switches, mode];
    *Digest::of_parts(LABEL, &[binding, &stated, &[place]]).as_bytes()
}

impl Composite {
    /// Step 8: joins compared devices to a processor's Evidence, which has been appraised for this exchange.
    ///
    /// `devices` stand in their places: GPUs first, then switches. `hardware` lists the chips that the owner accepts, by
    /// [`Genuine::hardware_id`]; an empty list accepts none.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn join(
        processor: Appraised,
        statement: &Statement,
        devices: Vec<Compared>,
        hardware: &HardwareIds,
    ) -> Result<Composite, CompositeError> {
        check_statement(&processor, statement)?;
        let (gpus, switches) = (usize::from(statement.gpus), usize::from(statement.switches));
        let devices: Vec<Genuine> = devices.into_iter().map(Compared::into_genuine).collect();
        for (kind, stated) in [(Platform::NvidiaGpu, gpus), (Platform::NvidiaSwitch, switches)] {
            let actual = devices.iter().filter(|device| device.platform() == kind).count();
            if actual != stated {
                return Err(CompositeError::Count { kind, stated, actual });
            }
        }
        let mut chips = std::collections::BTreeSet::new();
        for (index, device) in devices.iter().enumerate() {
            let place = u8::try_from(index).map_err(|_| CompositeError::Stated(devices.len()))?;
            let kind = if index < gpus { Platform::NvidiaGpu } else { Platform::NvidiaSwitch };
            let nonce = device_nonce(processor.genuine().bound(), statement, place);
            // A device in another kind's place was asked with another nonce, or stands where it does not belong.
            if device.platform() != kind || !bool::from(device.bound().ct_eq(&nonce)) {
                return Err(CompositeError::Nonce { index });
            }
            let chip = device.hardware_id().unwrap_or_default();
            if matches!(hardware, HardwareIds::Listed(listed) if !listed.contains(chip)) {
                return Err(CompositeError::NotListed(chip.to_owned()));
            }
            if !chips.insert(chip) {
                return Err(CompositeError::Twice(chip.to_owned()));
            }
        }
        let mut fabrics = devices.iter().filter_map(|device| device.claim("protected_pcie"));
        let first = fabrics.next();
        if fabrics.any(|fabric| Some(fabric) != first) {
            return Err(CompositeError::Fabric);
        }
        Ok(Composite { processor, devices })
    }

    /// The processor's Evidence.
    pub const fn processor(&self) -> &Appraised {
        &self.processor
    }

    /// The devices, in their places.
    pub fn devices(&self) -> &[Genuine] {
        &self.devices
    }

    /// The tier: the processor's.
    pub const fn tier(&self) -> Tier {
        self.processor.tier()
    }
}

fn check_statement(processor: &Appraised, statement: &Statement) -> Result<(), CompositeError> {
    match processor.genuine().platform() {
        platform @ (Platform::NvidiaGpu | Platform::NvidiaSwitch | Platform::RiscZero) => {
            return Err(CompositeError::NotProcessor(platform));
        }
        Platform::SevSnp
        | Platform::Tdx
        | Platform::Sgx
        | Platform::NitroEnclave
        | Platform::NitroTpm
        | Platform::AzureSnp
        | Platform::AzureTdx
        | Platform::GcpVtpm
        | Platform::Tpm
        | Platform::Cca
        | Platform::Psa
        | Platform::HygonCsv
        | Platform::IbmSecureExecution
        | Platform::Keystone => {}
    }
    match statement.mode {
        Mode::Confidential => {}
        Mode::DeveloperTools => return Err(CompositeError::DeveloperTools),
        Mode::Off => return Err(CompositeError::Off),
    }
    if statement.gpus == 0 || statement.gpus > MAX_DEVICES || statement.switches > MAX_DEVICES {
        return Err(CompositeError::Stated(usize::from(statement.gpus) + usize::from(statement.switches)));
    }
    Ok(())
}

const LABEL: &str = "glovebox device nonce v1";
const MAX_DEVICES: u8 = 64;
