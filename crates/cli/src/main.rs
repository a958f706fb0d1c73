//! The party's command.

fn main() {}
