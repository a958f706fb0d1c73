//! The worker: attesters, engines, and one exit through which every result leaves.
