//! `soak-wasmtime`: what `soak` does, with Wasmtime as the other runtime; see [`sarsen_fuzz::soak`].

mod theirs;

use std::process::ExitCode;

fn main() -> ExitCode {
    sarsen_fuzz::soak::<theirs::Wasmtime>()
}
