//! Arm: CCA realm and platform tokens, PSA tokens.
