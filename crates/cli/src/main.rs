//! The `sarsen` command.

fn main() {}
