//! The tiers of assurance, weakest first, and the words in which each is told to people.
//!
//! A tier follows from who vouches for the Attester, never from what the Attester says.

use serde::{Deserialize, Serialize};

/// How strong the ground is on which an Attestation Result stands. Ordered: a stronger tier is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// A TPM in software (swtpm). Refused unless an agreement says otherwise.
    SoftwareTpm,
    /// A discrete TPM, or the virtual TPM of a cloud. The floor where none is named.
    #[default]
    Tpm,
    /// An Intel SGX enclave.
    Sgx,
    /// A confidential virtual machine or its like: SNP, TDX, CCA, Nitro.
    ConfidentialVm,
    /// Hardware that is listed by its identity.
    AllowListed,
    /// Several vendors at once.
    SeveralVendors,
}

impl Tier {
    /// The name that documents use.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::SoftwareTpm => "software-tpm",
            Tier::Tpm => "tpm",
            Tier::Sgx => "sgx",
            Tier::ConfidentialVm => "confidential-vm",
            Tier::AllowListed => "allow-listed",
            Tier::SeveralVendors => "several-vendors",
        }
    }

    /// What the tier means, in a sentence for people.
    pub const fn words(self) -> &'static str {
        match self {
            Tier::SoftwareTpm => {
                "a TPM in software: this does not prove which code ran, since whoever runs that TPM and its launcher can \
                 report any measurement"
            }
            Tier::Tpm => {
                "a discrete or cloud TPM: it proves how the machine was started, to whoever trusts the TPM's maker and the \
                 machine's physical keeper"
            }
            Tier::Sgx => {
                "an SGX enclave: the processor's maker vouches for the code, and the operating system is not trusted"
            }
            Tier::ConfidentialVm => {
                "a confidential virtual machine: the processor's maker vouches for its start, and the host is not trusted"
            }
            Tier::AllowListed => {
                "listed hardware: a confidential machine whose very processor is on the agreement's list"
            }
            Tier::SeveralVendors => "several vendors at once: no single maker's failure is enough to deceive",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
