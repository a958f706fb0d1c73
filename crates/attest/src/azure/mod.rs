//! Azure confidential virtual machines: hardware Evidence behind a vTPM.
