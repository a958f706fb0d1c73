//! GPUs and switches as part of a machine whose processor is appraised.
