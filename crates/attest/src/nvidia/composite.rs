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

use std::collections::BTreeSet;

use envelope::Digest;
use subtle::ConstantTimeEq;

use super::Compared;
use crate::{
    Tier,
    platform::{Appraised, Assurance, Genuine, HardwareIds, Platform, Refusal},
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
    /// How far a device's origin is established is not enough.
    #[error("the chip `{chip}` is `{}`, which is not admitted: {}", .assurance.name(), .assurance.words())]
    Assurance {
        /// The chip.
        chip: String,
        /// What it is.
        assurance: Assurance,
    },
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
            CompositeError::Assurance { .. } => "assurance-not-admitted",
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
    /// [`Genuine::hardware_id`]; an empty list accepts none. `admits` names the assurances that a device may have, as a policy does
    /// ([`crate::platform::PlatformPolicy::admits`]): a device of which it is not known whether it was revoked is none by default.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn join(
        processor: Appraised,
        statement: &Statement,
        devices: Vec<Compared>,
        hardware: &HardwareIds,
        admits: &BTreeSet<String>,
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
        let mut chips = BTreeSet::new();
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
            if !admits.contains(device.assurance().name()) {
                return Err(CompositeError::Assurance { chip: chip.to_owned(), assurance: device.assurance() });
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use jiff::Timestamp;

    use super::*;
    use crate::platform::claim;

    const BINDING: [u8; 64] = [7; 64];

    fn genuine(platform: Platform, bound: &[u8], chip: &str) -> Genuine {
        Genuine {
            platform,
            assurance: Assurance::Affirmed,
            tier: Tier::ConfidentialVm,
            debug: false,
            bound: bound.to_vec(),
            hardware_id: Some(chip.to_owned()),
            registers: Vec::new(),
            claims: Vec::new(),
            steps: Vec::new(),
            examined_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn processor(platform: Platform) -> Appraised {
        let genuine = genuine(platform, &BINDING, "cpu");
        Appraised { genuine, tier: Tier::ConfidentialVm, policy: Digest::of(b"policy") }
    }

    fn statement() -> Statement {
        Statement { gpus: 2, switches: 1, mode: Mode::Confidential }
    }

    /// Two GPUs and a switch, asked as they should be.
    fn devices() -> Vec<Compared> {
        let kinds = [Platform::NvidiaGpu, Platform::NvidiaGpu, Platform::NvidiaSwitch];
        let device = |(place, kind): (u8, Platform)| {
            let nonce = device_nonce(&BINDING, &statement(), place);
            Compared(genuine(kind, &nonce, &format!("chip {place}")))
        };
        (0..).zip(kinds).map(device).collect()
    }

    fn affirmed() -> BTreeSet<String> {
        BTreeSet::from(["affirmed".to_owned()])
    }

    fn join(statement: &Statement, devices: Vec<Compared>) -> Result<Composite, CompositeError> {
        Composite::join(processor(Platform::SevSnp), statement, devices, &HardwareIds::Any, &affirmed())
    }

    #[test]
    fn devices_that_were_asked_for_this_exchange_join_their_processor() {
        let composite = join(&statement(), devices()).unwrap();
        assert_eq!(composite.devices().len(), 3);
        // Never several vendors: who can forge the processor's Evidence needs nobody else.
        assert_eq!(composite.tier(), Tier::ConfidentialVm);
    }

    #[test]
    fn the_nonce_is_this() {
        let expected = Digest::of(
            &[
                &24_u64.to_be_bytes()[..],
                b"glovebox device nonce v1",
                &64_u64.to_be_bytes(),
                &BINDING,
                &3_u64.to_be_bytes(),
                &[2, 1, 0],
                &1_u64.to_be_bytes(),
                &[1],
            ]
            .concat(),
        );
        assert_eq!(&device_nonce(&BINDING, &statement(), 1), expected.as_bytes());
    }

    #[test]
    fn n6_a_nonce_that_does_not_derive_from_the_processors_session_is_refused() {
        for place in 0..3 {
            for foreign in [
                device_nonce(&[8; 64], &statement(), place),
                device_nonce(&BINDING, &Statement { gpus: 3, ..statement() }, place),
                device_nonce(&BINDING, &Statement { mode: Mode::DeveloperTools, ..statement() }, place),
                device_nonce(&BINDING, &statement(), place + 1),
                [0; 32],
            ] {
                let mut devices = devices();
                devices[usize::from(place)].0.bound = foreign.to_vec();
                assert_eq!(join(&statement(), devices), Err(CompositeError::Nonce { index: usize::from(place) }));
            }
        }
        let mut swapped = devices();
        swapped.swap(0, 1);
        assert_eq!(join(&statement(), swapped), Err(CompositeError::Nonce { index: 0 }));
        let mut swapped = devices();
        swapped.swap(1, 2);
        assert_eq!(join(&statement(), swapped), Err(CompositeError::Nonce { index: 1 }));
        let mut short = devices();
        short[0].0.bound.pop();
        assert_eq!(join(&statement(), short), Err(CompositeError::Nonce { index: 0 }));
    }

    #[test]
    fn n5_another_number_of_devices_than_stated_is_refused() {
        let mut fewer = devices();
        fewer.remove(1);
        let count = |stated, actual| CompositeError::Count { kind: Platform::NvidiaGpu, stated, actual };
        assert_eq!(join(&statement(), fewer), Err(count(2, 1)));
        let more = Statement { gpus: 1, ..statement() };
        assert_eq!(join(&more, devices()), Err(count(1, 2)));
        let kind = Platform::NvidiaSwitch;
        let no_switch = Statement { switches: 0, ..statement() };
        assert_eq!(join(&no_switch, devices()), Err(CompositeError::Count { kind, stated: 0, actual: 1 }));
        let none = Statement { gpus: 0, switches: 0, mode: Mode::Confidential };
        assert_eq!(join(&none, Vec::new()), Err(CompositeError::Stated(0)));
        let many = Statement { gpus: 65, switches: 0, mode: Mode::Confidential };
        assert_eq!(join(&many, Vec::new()), Err(CompositeError::Stated(65)));
    }

    #[test]
    fn n5_a_machine_has_up_to_64_devices_of_a_kind() {
        let stated = |gpus: u8, switches: u8| join(&Statement { gpus, switches, mode: Mode::Confidential }, Vec::new());
        let kind = Platform::NvidiaGpu;
        // What can be stated is then found to have sent nothing.
        for (gpus, switches) in [(1, 0), (63, 0), (64, 0), (64, 64), (1, 64)] {
            let count = CompositeError::Count { kind, stated: usize::from(gpus), actual: 0 };
            assert_eq!(stated(gpus, switches), Err(count), "{gpus} {switches}");
        }
        for (gpus, switches) in [(0, 0), (0, 1), (65, 0), (66, 0), (1, 65), (1, 66), (64, 65), (65, 65), (255, 255)] {
            let sum = usize::from(gpus) + usize::from(switches);
            assert_eq!(stated(gpus, switches), Err(CompositeError::Stated(sum)), "{gpus} {switches}");
        }
    }

    #[test]
    fn n5_each_place_has_a_device_of_its_kind_that_was_asked_with_its_nonce() {
        // The nonce of its place, and the other kind: as many of each as stated.
        let mut exchanged = devices();
        exchanged[1].0.platform = Platform::NvidiaSwitch;
        exchanged[2].0.platform = Platform::NvidiaGpu;
        assert_eq!(join(&statement(), exchanged), Err(CompositeError::Nonce { index: 1 }));
        // Its kind, and the nonce of another place.
        let mut asked = devices();
        asked[2].0.bound = device_nonce(&BINDING, &statement(), 1).to_vec();
        assert_eq!(join(&statement(), asked), Err(CompositeError::Nonce { index: 2 }));
        // A kind that is neither of the two.
        let mut other = devices();
        other[2].0.platform = Platform::SevSnp;
        let count = CompositeError::Count { kind: Platform::NvidiaSwitch, stated: 1, actual: 0 };
        assert_eq!(join(&statement(), other), Err(count));
    }

    #[test]
    fn a_composite_has_its_processors_tier_and_its_devices_in_their_places() {
        for tier in [Tier::SoftwareTpm, Tier::Tpm, Tier::ConfidentialVm] {
            let processor = Appraised { tier, ..processor(Platform::Tdx) };
            let joined = Composite::join(processor.clone(), &statement(), devices(), &HardwareIds::Any, &affirmed());
            let joined = joined.unwrap();
            assert_eq!((joined.tier(), joined.processor()), (tier, &processor));
            let chips: Vec<_> = joined.devices().iter().map(|device| device.hardware_id().unwrap()).collect();
            assert_eq!(chips, ["chip 0", "chip 1", "chip 2"]);
        }
    }

    #[test]
    fn devices_of_one_fabric_say_the_same_of_it() {
        let with = |said: [Option<&'static str>; 3]| {
            let mut devices = devices();
            for (device, said) in devices.iter_mut().zip(said) {
                device.0.claims.extend(said.map(|said| claim("protected_pcie", said, "")));
            }
            join(&statement(), devices).map(|_| ())
        };
        assert_eq!(with([Some("on"), Some("on"), Some("on")]), Ok(()));
        assert_eq!(with([Some("off"), None, Some("off")]), Ok(()));
        assert_eq!(with([None, Some("on"), None]), Ok(()));
        assert_eq!(with([Some("on"), None, Some("off")]), Err(CompositeError::Fabric));
        assert_eq!(with([None, Some("off"), Some("on")]), Err(CompositeError::Fabric));
    }

    #[test]
    fn n5_devices_out_of_confidential_computing_or_in_developer_mode_are_refused() {
        let off = Statement { mode: Mode::Off, ..statement() };
        assert_eq!(join(&off, devices()), Err(CompositeError::Off));
        let developer = Statement { mode: Mode::DeveloperTools, ..statement() };
        assert_eq!(join(&developer, devices()), Err(CompositeError::DeveloperTools));
    }

    #[test]
    fn n5_a_device_that_may_have_been_revoked_joins_where_the_owner_admits_it() {
        let mut unknown = devices();
        unknown[1].0.assurance = Assurance::RevocationUnknown;
        let refused = CompositeError::Assurance { chip: "chip 1".to_owned(), assurance: Assurance::RevocationUnknown };
        assert_eq!(join(&statement(), unknown.clone()), Err(refused));
        let admits = BTreeSet::from(["affirmed".to_owned(), "revocation-unknown".to_owned()]);
        let joined = Composite::join(processor(Platform::Tdx), &statement(), unknown, &HardwareIds::Any, &admits);
        assert_eq!(joined.unwrap().devices().len(), 3);
    }

    #[test]
    fn a10_a_chip_that_is_not_listed_or_is_there_twice_is_refused() {
        let mut twice = devices();
        twice[1].0.hardware_id = Some("chip 0".to_owned());
        assert_eq!(join(&statement(), twice), Err(CompositeError::Twice("chip 0".to_owned())));
        let listed = |chips: &[&str]| {
            let chips = HardwareIds::Listed(chips.iter().map(|chip| (*chip).to_owned()).collect());
            Composite::join(processor(Platform::Tdx), &statement(), devices(), &chips, &affirmed()).map(|_| ())
        };
        assert_eq!(listed(&["chip 0", "chip 1", "chip 2"]), Ok(()));
        assert_eq!(listed(&["chip 0", "chip 2"]), Err(CompositeError::NotListed("chip 1".to_owned())));
        assert_eq!(listed(&[]), Err(CompositeError::NotListed("chip 0".to_owned())));
    }

    #[test]
    fn what_is_no_processor_or_no_one_fabric_is_refused() {
        for platform in [Platform::NvidiaGpu, Platform::NvidiaSwitch, Platform::RiscZero] {
            let refused = Composite::join(processor(platform), &statement(), devices(), &HardwareIds::Any, &affirmed());
            assert_eq!(refused, Err(CompositeError::NotProcessor(platform)));
        }
        let mut devices = devices();
        devices[0].0.claims.push(claim("protected_pcie", "on", ""));
        devices[1].0.claims.push(claim("protected_pcie", "off", ""));
        assert_eq!(join(&statement(), devices), Err(CompositeError::Fabric));
    }
}
