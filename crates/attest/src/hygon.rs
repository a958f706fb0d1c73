//! Hygon CSV: attestation reports signed with SM2.
