//! Messages, error codes, the attested channel and its clients.
