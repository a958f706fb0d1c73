//! IMA measurement lists.
