//! COSE (RFC 9052): signed messages.
