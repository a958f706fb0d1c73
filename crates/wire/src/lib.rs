//! What travels, and the channel it travels in.
//!
//! [`messages`] has one type per request and answer; [`Code`] is the closed set of refusals with their HTTP status;
//! [`channel`] is TLS 1.3 with X25519MLKEM768 and nothing older, where a broker is known by its signing key and never by a
//! name; [`client`] speaks to a broker over it; [`signature`] authenticates reads (RFC 9421).
//!
//! Attestation comes after the handshake and is bound to the connection by its exporter, so the channel alone proves which
//! key is at the other end and nothing about the machine. Deliberately absent: session resumption, 0-RTT, DNS identity,
//! certificate authorities, and a way to connect without naming the broker's key.

pub mod attested;
pub mod channel;
pub mod client;
mod code;
pub mod kbs;
pub mod messages;
pub mod server;
pub mod signature;

pub use code::{Code, TABLE};
