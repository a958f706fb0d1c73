//! IBM Secure Execution: host-key documents.
