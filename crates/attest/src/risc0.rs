//! RISC Zero: receipts, a proof in place of a platform.
