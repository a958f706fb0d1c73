//! Digests, canonical JSON, signed statements, wrapped keys, keys of tables, sealed blobs.
