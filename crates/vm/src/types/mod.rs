//! The engine's registry of WebAssembly types.
//!
//! Equal types have equal [`sarsen_abi::TypeId`]s within an engine, whichever modules they come
//! from, so that checking a type at run time is comparing numbers. [`Registry`] gives ids out,
//! [`matching`] says which types may stand in for which.
//!
//! This folder knows nothing of modules' code, instances or stores.

mod defined;
mod group;
pub mod matching;
mod registry;
mod rows;

pub use defined::{ArrayShape, Defined, Shape, StructShape};
pub use registry::{ModuleTypes, RegisteredType, Registry, TooManyTypes};
