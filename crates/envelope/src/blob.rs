//! Sealed blobs and results: age files that any age tool opens.
