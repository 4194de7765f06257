//! Sarsen's compiler: WebAssembly bytes to an image of machine code.

#![forbid(unsafe_code)]

mod compiled;
mod error;
mod read;
mod target;

pub use error::CompileError;
pub use target::TargetDescription;
