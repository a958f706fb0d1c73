//! Sealing and opening of tables: Parquet with modular encryption.
