//! AMD SEV-SNP: attestation reports and the keys that sign them.
