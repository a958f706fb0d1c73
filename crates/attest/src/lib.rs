//! Evidence, Endorsements, Reference Values, Appraisal Policy and Attestation Result.
