//! Keystone on RISC-V: enclave reports signed by a security monitor that its device signs.
