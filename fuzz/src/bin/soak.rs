//! `soak`: compares with `wasmi` for as long as it is told to; see [`sarsen_fuzz::soak`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sarsen_fuzz::soak::<sarsen_fuzz::Wasmi>()
}
