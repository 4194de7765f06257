//! WASI preview 1 for Sarsen: the system interface of command-line programs, as
//! `wasi_snapshot_preview1` and as its predecessor `wasi_unstable`.
//!
//! [`WasiCtxBuilder`] decides what a guest can reach; [`add_to_linker`] gives it the functions.
//! A client of the `sarsen` crate: it uses only what that makes public.
//!
//! ```
//! use sarsen::{Engine, Linker, Module, Store};
//! use sarsen_wasi::{CapturedOutput, Output, WasiCtx, add_to_linker};
//!
//! let engine = Engine::default();
//! let module = Module::new(
//!     &engine,
//!     r#"(module
//!          (import "wasi_snapshot_preview1" "fd_write"
//!            (func $fd_write (param i32 i32 i32 i32) (result i32)))
//!          (memory (export "memory") 1)
//!          (data (i32.const 0) "\10\00\00\00\06\00\00\00")  ;; an iovec: address 16, length 6
//!          (data (i32.const 16) "hello\n")
//!          (func (export "_start")
//!            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
//! )?;
//!
//! let mut linker = Linker::new(&engine);
//! add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi)?;
//! let stdout = CapturedOutput::new(1024);
//! let wasi = WasiCtx::builder().stdout(Output::captured(&stdout)).build();
//! let mut store = Store::new(&engine, wasi);
//! let instance = linker.instantiate(&mut store, &module)?;
//! instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
//! assert_eq!(stdout.contents(), b"hello\n");
//! # Ok::<(), sarsen::Error>(())
//! ```
//!
//! # How it is laid out
//!
//! `link.rs` is the table of all functions, from names and wasm types to one function in the file of
//! its family: `args_environ.rs`, `clock.rs`, `fd.rs`, `file.rs`, `dir.rs`, `path.rs`, `poll.rs`,
//! `proc.rs`, `random.rs`, `sock.rs`. Those see the guest through `memory.rs` (nothing of a guest's
//! pointers and lengths is trusted), `abi.rs` (layouts) and `flags.rs`, and the host through
//! `context.rs`, `table.rs` and `descriptor.rs`. Whatever waits does it in `wait.rs`.
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
mod clock;
mod context;
mod descriptor;
mod dir;
mod errno;
mod fd;
mod file;
mod flags;
mod link;
mod memory;
mod own_bytes;
mod path;
mod poll;
mod proc;
mod random;
mod sock;
mod staged_bytes;
mod stdio;
mod table;
#[cfg(test)]
mod tests;
mod wait;

pub use clock::HostClock;
pub use context::{WasiCtx, WasiCtxBuilder};
pub use descriptor::{DirPerms, FilePerms};
pub use link::add_to_linker;
pub use proc::I32Exit;
pub use random::{RandomSource, SeededRandom};
pub use stdio::{CapturedOutput, Input, Output};
