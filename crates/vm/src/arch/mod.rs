//! The machine: assembly that leaves compiled code, and what a signal interrupted.
//!
//! The only folder with `cfg(target_arch)`. It knows nothing of what it is used for: the addresses it
//! jumps to and the functions it calls are given by `os` and `exec`.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64_stacks;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_stacks::*;

#[cfg(target_arch = "x86_64")]
mod x86_64_resume;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_resume::*;

#[cfg(target_arch = "x86_64")]
mod x86_64_host;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_host::*;

#[cfg(target_arch = "x86_64")]
mod x86_64_features;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_features::has_cpu_feature;

#[cfg(target_arch = "x86_64")]
mod x86_64_bits;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_bits::count_ones;

#[cfg(target_arch = "x86_64")]
mod x86_64_cache;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_cache::prefetch;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("Sarsen's runtime is written and tested for x86-64 only");
