//! The machine: assembly that leaves compiled code.
//!
//! The only folder with `cfg(target_arch)`.

#[cfg(not(target_arch = "x86_64"))]
compile_error!("Sarsen's runtime is written and tested for x86-64 only");
