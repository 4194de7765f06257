//! Short programs that embed Sarsen, from ten lines up. Read them in this order:
//!
//! 1. `embedding/hello.rs`: compile a module and call it.
//! 2. `embedding/host_functions.rs`: give a module functions of the host, with state and memory.
//! 3. `embedding/untrusted.rs`: bound the time, instructions, memory and stack of a module that nobody
//!    trusts, and see where it stopped.
//! 4. `embedding/wasi.rs`: run a command-line program and capture what it prints.
//! 5. `embedding/precompiled.rs`: compile once, load everywhere, run on many threads.
//! 6. `embedding/generator.rs`: a coroutine of the guest's as a Rust iterator.
//! 7. `embedding/actors.rs`: actors in WebAssembly, with mailboxes and a scheduler in Rust.
//! 8. `embedding/effects.rs`: host functions that block the guest, and not the host.
//! 9. `embedding/asynchronous.rs`: run guests that wait, many on one thread.
//!
//! Run one with `cargo run --example hello`. Programs to run with the command `sarsen` are in `wasi/`.
