//! TOML
