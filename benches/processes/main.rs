//! What whole processes cost.

fn main() {}
