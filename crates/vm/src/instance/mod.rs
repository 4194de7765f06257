//! Stores and instances.
//!
//! # What is where
//!
//! | file | owns |
//! |---|---|
//! | `engine` | what all stores of an engine share: types, recycled storage, epoch, stubs |
//! | `module` | a module ready to be instantiated, shared by all stores |
//! | `store` | the untyped store: what lives and dies together |
//! | `exceptions` | exceptions, the pending one, who catches |
//! | `host_objects` | memories, tables, globals and tags that the host makes; growing them |
//! | `instance` | an instance: its vmctx, and finding things in it |
//! | `instantiate` | making one |
//! | `imports` | checking what is imported |
//! | `segments` | element and data segments |
//! | `bulk` | `memory.*` instructions, for `exec`'s builtins |
//! | `atomics` | waiting and notifying, for `exec`'s builtins |
//! | `parking` | threads that wait in shared memories |
//! | `alarm` | wakers that an epoch wakes |
//! | `const_expr` | initial values and offsets |
//! | `host_func` | host functions as compiled code calls them |
//! | `heap` | the collected heap: its roots, and what the API does with objects |
//! | `arrays` | allocation, arrays and casts, for `exec`'s builtins |
//! | `tables` | writing to tables, with the collector's barrier |
//! | `upcalls`, `reason`, `config` | what passes between a store and its embedder |
//!
//! This folder does not know how compiled code is entered or left: `exec` does.
//!
//! # References and pointers
//!
//! Everything in a store is reached from outside by a [`StoreId`] and a pointer; within, instances
//! point to each other's parts. Pointers are turned into references only while neither compiled code
//! nor the host runs, and never two mutable ones to the same thing: functions here take `&mut Store`,
//! or `&Instance` of a store that compiled code has just called out of, as the witness for that.
//! What changes inside an instance after it is made is in cells.

mod alarm;
mod arrays;
mod atomics;
mod bulk;
mod config;
mod const_expr;
mod continuations;
mod engine;
mod exceptions;
mod extern_type;
mod heap;
mod host_func;
mod host_objects;
mod imports;
#[expect(
    clippy::module_inception,
    reason = "the file is named after its type, as all are"
)]
mod instance;
mod instantiate;
mod module;
mod parking;
mod reason;
mod segments;
mod stable;
mod store;
mod tables;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upcalls;

pub use crate::gc::{
    CollectorKind, GcConfig, GcStats, HeapError, OwnedRoot, RefKind, RootIndex, RootScope,
};
pub(crate) use alarm::Alarm;
pub use config::{BacktraceLimits, StoreConfig};
pub use continuations::BindError;
pub use engine::{Engine, Stubs};
pub(crate) use exceptions::{CallHandlers, Catches, CaughtAt};
pub use extern_type::ExternType;
pub use heap::FrameRoots;
pub use host_func::{HostCall, HostFunc, MissingStubs};
pub use host_objects::CreateError;
pub use imports::{Import, ImportMismatch};
pub use instance::{Extern, Instance, InstanceMemory};
pub use instantiate::{InstantiateError, Instantiated};
pub use module::CompiledModule;
pub use parking::WaitResult;
pub use reason::{HostError, HostSuspension, Reason};
pub use store::{OwnedStore, Store, StoreId, TooMany};
pub use upcalls::{Deadline, ResourceCounts, Upcalls};
