//! CBOR (RFC 8949), strict and bounded.
