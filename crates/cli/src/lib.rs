//! The `sarsen` command: runs, compiles and inspects WebAssembly.
//!
//! [`main`] reads the command line and hands over to one file per subcommand under `command/`. What
//! they share: [`input`] reads files, [`options`], [`limits`] and [`stacks`] make an engine's configuration,
//! [`arguments`] reads and prints values, [`failure`] turns an error into a message and an exit code, [`backtrace`]
//! shortens what recursion repeats.
//!
//! [`script`] runs the official test scripts (`.wast`); the test-suite uses it too, which is why this
//! crate is a library at all.
//!
//! A client of the `sarsen` and `sarsen-wasi` crates: it uses only what these make public. It starts
//! nothing (threads, terminal, compiler) that the subcommand at hand does not need, because a short
//! program should run in milliseconds.

#![deny(unsafe_code)]

mod arguments;
mod backtrace;
mod budget;
mod command;
mod failure;
mod input;
mod limits;
mod options;
mod progress;
mod proposals;
pub mod script;
mod stacks;
mod uncaught;

pub use command::main;
