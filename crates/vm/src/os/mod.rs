//! The operating system: pages, signals, sleeping threads, the bounds of native stacks; and panics.
//!
//! The only folder with `cfg(target_os)`. It knows nothing of WebAssembly.

#[cfg(not(target_os = "linux"))]
compile_error!("Sarsen's runtime is written and tested for Linux only");

pub(crate) mod files;
pub(crate) mod pages;
pub(crate) mod panics;
pub(crate) mod park;
pub(crate) mod signals;
pub(crate) mod stack_bounds;
pub(crate) mod timer;
