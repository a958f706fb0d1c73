//! AWS Nitro: documents of enclaves and of NitroTPM.
