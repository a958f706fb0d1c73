//! NVIDIA GPUs and switches: SPDM measurements, device certificates and signed Reference Values.
//!
//! A device in confidential-computing mode answers a request of 32 bytes of nonce with its measurements and a signature by a key that
//! its own firmware holds; the certificates lead from that key through the very chip to NVIDIA's device root. [`Device::examine`] decides
//! whether such a report is genuine. [`Rim::verify`] decides whether a manifest of Reference Values is NVIDIA's, and
//! [`Device::compare`] whether the device measures what its manifests say. [`composite`] joins the devices of a machine with the
//! Evidence of its processor.
//!
//! A GPU without confidential computing gives no report, and nothing in a report says "developer mode" outright: what tells the modes apart
//! are the measurements, so a policy that means it compares them, either by [`Device::compare`] or by naming registers. What *is* said
//! and signed is refused by code: firmware that its certificate calls debug, recovery or not secure, and modes that are not known. The steps are
//! those of `docs/spec/platforms/nvidia.md`. Deliberately absent: fetching of manifests, certificates and statements on revocation.

mod chain;
pub mod composite;
mod device;
mod error;
mod opaque;
mod revocation;
mod rim;
mod spdm;
mod xml;

pub use chain::Chip;
pub use device::{Compared, Device, DeviceEvidence, Endorsements, Kind, ManifestOf, References, examine};
pub use error::NvidiaError;
pub use opaque::{Feature, Opaque, Switch};
pub use revocation::{RevocationError, Statements};
pub use rim::{Rim, RimError};
pub use spdm::Report;
pub use xml::XmlFault;
