//! Sarsen: a WebAssembly runtime to embed.
//!
//! An [`Engine`] compiles a [`Module`], which is instantiated in a [`Store`]: alone with
//! [`Instance::new`], or with a [`Linker`] that finds what it imports. Its functions are called as
//! [`TypedFunc`], when their types are known in Rust, or as [`Func`].
//!
//! ```
//! use sarsen::{Engine, Linker, Module, Store};
//!
//! let engine = Engine::default();
//! let module = Module::new(
//!     &engine,
//!     r#"(module
//!          (import "host" "double" (func $double (param i32) (result i32)))
//!          (func (export "quadruple") (param i32) (result i32)
//!            (call $double (call $double (local.get 0)))))"#,
//! )?;
//!
//! let mut linker = Linker::new(&engine);
//! linker.func_wrap("host", "double", |n: i32| n * 2)?;
//!
//! let mut store = Store::new(&engine, ());
//! let instance = linker.instantiate(&mut store, &module)?;
//! let quadruple = instance.get_typed_func::<i32, i32>(&mut store, "quadruple")?;
//! assert_eq!(quadruple.call(&mut store, 3)?, 12);
//! # Ok::<(), sarsen::Error>(())
//! ```
//!
//! Names and meanings are those that embedders know from Wasmtime, so that code written for it ports
//! by changing an import.
//!
//! # Safety and limits
//!
//! WebAssembly reaches nothing but its own store and what it imports. What it does wrong is a
//! [`Trap`]. How much it may take is limited by a [`ResourceLimiter`], how long it may run by fuel
//! ([`Store::set_fuel`]) or epochs ([`Store::set_epoch_deadline`]), how deep by
//! [`Config::max_wasm_stack`].
//!
//! # Signals
//!
//! Many traps begin as faults. When WebAssembly is first run, handlers of `SIGSEGV`, `SIGILL` and `SIGFPE` are
//! installed for the process, and each thread that runs it gets an alternate stack of 64 KiB, unless it has one as
//! large. What is no trap goes to the handler that was there before. Of a program with signal handlers of its own this
//! asks:
//!
//! - A handler of one of these signals that is installed later passes on what it does not know.
//! - Handlers of all other signals are installed with `SA_ONSTACK`. Continuations and asynchronous calls run on stacks
//!   of their own, and the guest decides how much of one is left: without that flag, the system ends the process
//!   where a handler finds no room.
//! - WebAssembly is not run by destructors of thread-local variables: the thread has no alternate stack any more, and
//!   where a continuation's stack overflows, the system ends the process.
//!
//! # Features
//!
//! `compile` (default) contains the compiler; without it, only precompiled images can be loaded.
//! `wat` (default) accepts modules in the text format.

mod caller;
mod code;
mod config;
mod context;
mod engine;
mod error;
mod exception;
mod externs;
mod func;
mod gc;
mod global;
mod instance;
mod limits;
mod linker;
mod memory;
mod module;
mod reference;
mod shared_memory;
mod store;
mod table;
mod tag;
mod trap;
mod types;
mod val;

pub use anyhow;
pub use anyhow::{Context, anyhow as format_err, bail, ensure};
pub use caller::Caller;
pub use code::{CodeFunction, ModuleCode, ModuleInfo, SourceLocation};
pub use config::{Collector, Config, Feature, Features, OptLevel};
pub use context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
pub use engine::{Engine, EngineWeak, StackCounts};
pub use error::{
    AsyncRequiredError, DuplicateDefinitionError, Error, IncompatibleImportError, LimitError,
    NoStubError, NotConfiguredError, OwnershipError, Result, TypeError, UnknownImportError,
};
pub use exception::ThrownException;
pub use externs::{Export, Extern};
pub use func::{Func, IntoFunc, Suspend, TypedFunc, WasmParams, WasmResults, WasmRet, WasmTy};
pub use gc::{
    AnyRef, ArrayRef, ArrayRefPre, ConsumedError, ContRef, EqRef, ExnRef, ExnRefPre, ExternRef,
    GcHeapOutOfMemory, GcRef, GcStats, Handlers, I31, OwnedRooted, Resumed, RootScope, Rooted,
    RootedGcRef, StructRef, StructRefPre, Suspension, TypedCont, UnrootedError,
};
pub use global::Global;
pub use instance::{Instance, InstancePre};
pub use limits::{
    DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT, ResourceLimiter,
    StoreLimits, StoreLimitsBuilder,
};
pub use linker::Linker;
pub use memory::{Memory, MemoryAccessError};
pub use module::Module;
pub use reference::Ref;
pub use shared_memory::{SharedMemory, WaitResult};
pub use store::{Store, UpdateDeadline};
pub use table::Table;
pub use tag::Tag;
pub use trap::{FrameInfo, FrameSymbol, Trap, WasmBacktrace};
pub use types::{
    ArrayType, ContType, ExnType, ExportType, ExternType, FieldType, Finality, FuncType,
    GlobalType, HeapType, ImportType, MemoryType, MemoryTypeBuilder, Mutability, RefType,
    StorageType, StructType, TableType, TagType, ValType,
};
pub use val::{V128, Val, ValRaw};
