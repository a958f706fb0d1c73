//! The vTPM of Google Cloud machines.
