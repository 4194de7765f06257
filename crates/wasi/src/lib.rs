//! WASI preview 1 for Sarsen: the system interface of command-line programs, as
//! `wasi_snapshot_preview1` and as its predecessor `wasi_unstable`.
//!
//! [`WasiCtxBuilder`] decides what a guest can reach; [`add_to_linker`] gives it the functions.
//! A client of the `sarsen` crate: it uses only what that makes public.
//!
//! # How it is laid out
//!
//! `link.rs` is the table of all functions, from names and wasm types to one function in the file of
//! its family: `args_environ.rs`, `clock.rs`, `fd.rs`, `file.rs`, `dir.rs`, `path.rs`, `poll.rs`,
//! `proc.rs`, `random.rs`, `sock.rs`. Those see the guest through `memory.rs` (nothing of a guest's
//! pointers and lengths is trusted) and `abi.rs` (layouts), and the host through `context.rs`,
//! `table.rs` and `descriptor.rs`. Whatever waits does it in `wait.rs`.
//!
//! It is for Linux at present: listings, positions and flags are those of its kernel.
//!
//! # Invariants
//!
//! - Nothing that a guest passes panics, or allocates memory in proportion to a number it passes.
//! - A path is resolved by cap-std only; this crate never opens a path that a guest gave otherwise.
//! - No file is read or written through a buffer of ours.
#![forbid(unsafe_code)]

mod abi;
mod args_environ;
#[cfg(test)]
mod behaviour;
mod clock;
mod context;
mod descriptor;
mod dir;
mod errno;
mod fd;
mod file;
#[cfg(test)]
mod guest;
mod link;
mod memory;
mod path;
mod poll;
mod proc;
mod random;
#[cfg(test)]
mod sandbox;
mod sock;
mod stdio;
mod table;
mod wait;

pub use clock::HostClock;
pub use context::{WasiCtx, WasiCtxBuilder};
pub use descriptor::{DirPerms, FilePerms};
pub use link::add_to_linker;
pub use proc::I32Exit;
pub use random::{RandomSource, SeededRandom};
pub use stdio::{CapturedOutput, Input, Output};
