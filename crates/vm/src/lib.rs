//! Sarsen's runtime: executes images of compiled WebAssembly.
//!
//! Everything that runs is here: pages and signals, assembly, the registry of types, code in
//! memory, linear memories and tables, instances and the untyped store, and entering, walking and
//! leaving compiled code. What an embedder sees is made of it in the crate `sarsen`; what turns
//! WebAssembly into an image is `sarsen-compile`, and **this crate knows nothing of it**: not of
//! WebAssembly's binary format, and not of how machine code is made.
//!
//! # Layers
//!
//! Folders depend downwards only:
//!
//! ```text
//!   exec      entering, walking, trapping, builtins, backtraces
//!   instance  stores and instances
//!   gc        the collected heap
//!   mem       linear memories, tables, recycled blocks
//!   stack     stacks of continuations and asynchronous calls, switching
//!   code      images in memory, pc lookup
//!   types     the registry of types
//!   arch      assembly; the only place with cfg(target_arch)
//!   os        pages, signals, stacks; the only place with cfg(target_os)
//! ```
//!
//! An upcall is a trait (or a function pointer that is registered) declared low and implemented
//! high.
//!
//! # Safety policy
//!
//! This is the crate where `unsafe` lives. Three things are trusted: images (their loader vouches
//! for them, as for a shared library), the layouts in [`sarsen_abi::vmctx`], which compiled code
//! shares, and the operating system. Nothing that a guest does is trusted: every address, index and
//! length that compiled code passes is checked here, and what a guest does wrong is a trap. A
//! violated invariant of our own is an assertion, or an abort where compiled code's memory safety
//! is in doubt.
//!
//! - Every `unsafe` block says which invariant it relies on and where that is kept.
//! - Raw pointers from compiled code become references only for as long as no compiled code and no
//!   host callback can run.
//! - Signal handlers do nothing that is not async-signal-safe; see [`exec`].

pub(crate) mod arch;
pub mod code;
pub mod exec;
pub mod gc;
pub mod instance;
pub mod mem;
pub(crate) mod os;
pub mod stack;
pub mod types;
