//! H2: what a flood of challenges leaves in memory. Alone in its process, which it measures.
#![allow(clippy::unwrap_used, missing_docs)]

use broker::challenge::Challenges;
use jiff::Timestamp;
use wire::messages::ChallengeUse;

#[test]
fn h2_a_million_challenges_leave_nothing_behind() {
    let challenges = Challenges::new();
    let now = Timestamp::now();
    let ask = || {
        std::hint::black_box(challenges.issue(ChallengeUse::WorkerRelease, now));
    };
    (0..1_000).for_each(|_| ask());
    let before = resident();
    (0..1_000_000).for_each(|_| ask());
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "grew by {grown} bytes");
}

/// Resident memory in bytes, from `/proc/self/statm`.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
