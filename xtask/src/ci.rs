//! `cargo xtask ci`: everything that must pass before a change lands, cheapest first.

use crate::source;
use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

/// The cargo that runs us.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command in the checkout's root; an error names the step.
pub(crate) fn step(name: &str, mut command: Command) -> Result<(), String> {
    println!("== {name}");
    let start = Instant::now();
    let status = command
        .current_dir(source::root())
        .status()
        .map_err(|e| format!("{name}: cannot run {:?}: {e}", command.get_program()))?;
    println!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    if status.success() {
        Ok(())
    } else {
        Err(format!("{name} failed: {status}"))
    }
}

pub(crate) fn run() -> Result<(), String> {
    let cargo_step = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(cargo());
        // A panic that prints a backtrace walks over the frames that tests and compiled code have made, and so
        // finds more mistakes than one that does not.
        command.args(arguments).env("RUST_BACKTRACE", "1");
        step(name, command)
    };
    cargo_step("formatting", &["fmt", "--all", "--check"])?;
    cargo_step(
        "formatting of fuzz",
        &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"],
    )?;
    // Formatted only: the runtime that it compares with takes as long to build as everything else.
    cargo_step(
        "formatting of fuzz/wasmtime",
        &[
            "fmt",
            "--manifest-path",
            "fuzz/wasmtime/Cargo.toml",
            "--check",
        ],
    )?;
    crate::tidy::run()?;
    cargo_step(
        "lints",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    cargo_step(
        "first command",
        &["run", "--release", "--", "examples/wasi/mandelbrot.wat"],
    )?;
    cargo_step("tests", &["test"])?;
    cargo_step(
        "second opinion",
        &["test", "--manifest-path", "fuzz/Cargo.toml"],
    )
}
