//! A whole room in one process, a fixed clock, forged chains; never published.
