//! D1: a length in the file never decides how much memory is taken. Alone in its process, whose peak is measured.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod room;

use room::*;
use table::OpenError;

/// The most address space that this process has had, in KiB: counts what is reserved but never touched too.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[test]
fn d1_hostile_lengths_take_less_than_16_mib() {
    let bytes = seal_rows(2_000, &key(), &file(1, 0));
    check(&bytes, &key(), &file(1, 0)).unwrap();
    let Some(before) = peak() else {
        println!("skipped: the peak of memory is read from /proc, which this system does not have");
        return;
    };
    let (first, tail) = (4, bytes.len() - 8);
    for length in (0..16).chain([0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff_u32]) {
        for at in [first, tail] {
            let mut changed = bytes.clone();
            changed[at..at + 4].copy_from_slice(&length.to_le_bytes());
            let error = check(&changed, &key(), &file(1, 0)).unwrap_err();
            assert!(at == tail || matches!(error, OpenError::Pages { .. }), "{error:?}");
        }
    }
    let grown = peak().unwrap() - before;
    assert!(grown < 16 << 10, "{grown} KiB more");
}
