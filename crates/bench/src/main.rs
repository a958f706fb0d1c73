//! What `make bench` measures: ratios in one run.

fn main() {}
