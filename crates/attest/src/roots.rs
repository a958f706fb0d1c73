//! The authorities that are pinned without anybody's configuration: the makers' own roots, by key.
//!
//! Each file under `roots/` is the certificate as its maker publishes it; the fingerprints stand in `docs/platforms.md`. A caller may pin others
//! in their place (a laboratory's, a test's): which anchors count is always an argument of an examination.

use crate::certificate::TrustAnchor;

/// The authorities that makers of hardware run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// Intel's provisioning root, for SGX and TDX.
    IntelSgx,
    /// AMD's root keys for Milan, Genoa (with Bergamo and Siena) and Turin.
    AmdMilan,
    /// See [`Authority::AmdMilan`].
    AmdGenoa,
    /// See [`Authority::AmdMilan`].
    AmdTurin,
    /// AWS Nitro Enclaves G1, also of NitroTPM.
    AwsNitro,
    /// Azure's virtual TPMs.
    AzureVtpm,
    /// The EK and AK authority of Google Cloud.
    GcpVtpm,
    /// NVIDIA's device identity root, for GPUs and switches.
    NvidiaDevice,
    /// NVIDIA's root for signed Reference Values (RIM).
    NvidiaRim,
}

impl Authority {
    /// The pinned key and name; empty only if the shipped file could not be read, which a test rules out.
    pub fn anchors(self) -> Vec<TrustAnchor> {
        TrustAnchor::pin(self.certificate()).into_iter().collect()
    }

    /// The certificate, PEM.
    pub const fn certificate(self) -> &'static [u8] {
        match self {
            Authority::IntelSgx => include_bytes!("../roots/intel_sgx_root_ca.pem"),
            Authority::AmdMilan => include_bytes!("../roots/amd_ark_milan.pem"),
            Authority::AmdGenoa => include_bytes!("../roots/amd_ark_genoa.pem"),
            Authority::AmdTurin => include_bytes!("../roots/amd_ark_turin.pem"),
            Authority::AwsNitro => include_bytes!("../roots/aws_nitro_enclaves_root_g1.pem"),
            Authority::AzureVtpm => include_bytes!("../roots/azure_tpm_root_2023.pem"),
            Authority::GcpVtpm => include_bytes!("../roots/gcp_ek_ak_root.pem"),
            Authority::NvidiaDevice => include_bytes!("../roots/nvidia_device_root.pem"),
            Authority::NvidiaRim => include_bytes!("../roots/nvidia_corim_root.pem"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_shipped_root_can_be_pinned() {
        let all = [
            (Authority::IntelSgx, "Intel SGX Root CA"),
            (Authority::AmdMilan, "ARK-Milan"),
            (Authority::AmdGenoa, "ARK-Genoa"),
            (Authority::AmdTurin, "ARK-Turin"),
            (Authority::AwsNitro, "aws.nitro-enclaves"),
            (Authority::AzureVtpm, "Azure Virtual TPM Root Certificate Authority 2023"),
            (Authority::GcpVtpm, "EK/AK CA Root"),
            (Authority::NvidiaDevice, "NVIDIA Device Identity CA"),
            (Authority::NvidiaRim, "NVIDIA CoRIM signing Root CA"),
        ];
        for (authority, name) in all {
            let anchors = authority.anchors();
            assert_eq!(anchors.first().map(TrustAnchor::common_name), Some(name));
        }
    }
}
