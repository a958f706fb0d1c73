//! Intel SGX and TDX: quotes, their certification data, and the collateral that says what they are worth.
