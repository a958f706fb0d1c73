//! Runs one entry on one input, and holds the limits that hold for every input: 64 MiB of memory and a second of processor time.
//!
//! libFuzzer's own limits look at the whole process and at the clock on the wall, with its corpus and its neighbours in them. So the
//! heap is counted here, and time is the thread's own. Both are met with AddressSanitizer and debug assertions on, which cost several times
//! what a release build does.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicIsize, Ordering::Relaxed},
};

/// Meets the parser, and panics where a limit is passed.
pub fn run(entry: hostile::Entry, input: &[u8]) {
    let held = HELD.load(Relaxed);
    MOST.store(held, Relaxed);
    let before = processor_time();
    entry(input);
    let took = processor_time() - before;
    let most = MOST.load(Relaxed) - held;
    assert!(most <= MOST_MEMORY, "{most} bytes of memory for an input of {} bytes", input.len());
    assert!(took <= MOST_TIME, "{took} ms of processor time for an input of {} bytes", input.len());
}

/// Counts what is on the heap.
struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;
static HELD: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator with the very arguments; beside it only numbers change.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size().cast_signed());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

fn add(size: isize) {
    let held = HELD.fetch_add(size, Relaxed) + size;
    MOST.fetch_max(held, Relaxed);
}

/// Of this thread, in milliseconds.
fn processor_time() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

const MOST_MEMORY: isize = 64 << 20;
const MOST_TIME: i64 = 1_000;
