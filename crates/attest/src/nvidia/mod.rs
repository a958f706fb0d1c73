//! NVIDIA GPUs and switches: SPDM measurements, device certificates and signed Reference Values.
