//! The nouns of Sarsen, and the contract between compiled code and the runtime.
//!
//! Everything that both the compiler (`sarsen-compile`) and the runtime (`sarsen-vm`) must agree
//! on is defined here, once: WebAssembly types and their canonical form, what a validated module
//! declares ([`Module`]), the structs that compiled code reads and writes ([`vmctx`]), trap codes,
//! the table of runtime builtins, and the format of a compiled [`image`].
//!
//! This crate knows nothing of WebAssembly's binary format, of Cranelift, of operating systems, or
//! of how anything is executed; it contains no `unsafe` code.

#![forbid(unsafe_code)]

pub mod builtin;
pub mod canonical;
pub mod check;
pub mod const_expr;
pub mod features;
pub mod heap;
pub mod image;
pub mod index;
pub mod module;
mod printable;
pub mod settings;
pub mod stack;
mod text;
pub mod trap;
pub mod types;
pub mod vmctx;

pub use builtin::Builtin;
pub use const_expr::{ConstExpr, ConstOp};
pub use features::{Feature, Features};
pub use index::{
    DataIndex, DefinedFuncIndex, ElemIndex, EntityIndex, FuncIndex, GlobalIndex, MemoryIndex,
    TableIndex, TagIndex, TypeIndex,
};
pub use module::Module;
pub use printable::Printable;
pub use settings::Settings;
pub use text::write_limits;
pub use trap::TrapCode;
pub use types::TypeId;
