//! A TPM 2.0 device or socket, and the few commands that a role needs.
