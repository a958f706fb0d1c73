//! One file that proves a run offline.
