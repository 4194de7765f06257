//! Errors: [`Error`] and [`Result`], and the typed errors of a host's misuse.
//!
//! An error of this crate is an [`anyhow::Error`]: what it is can be asked with `downcast_ref`. A
//! guest's fault is a [`Trap`](crate::Trap) with a [`WasmBacktrace`](crate::WasmBacktrace); a bad
//! module tells its byte offset; what the host does wrong is one of the types here.

use crate::gc::GcHeapOutOfMemory;
use crate::store::unwrap_host_error;
use crate::trap::Trap;
use crate::types::ExternType;
use core::fmt;
use sarsen_abi::Printable;
use sarsen_vm::gc::HeapError;
use sarsen_vm::instance::CreateError;

pub use anyhow::{Error, Result};

/// An import that nothing was defined for.
#[derive(Clone, Debug)]
pub struct UnknownImportError {
    module: String,
    name: String,
    ty: ExternType,
}

impl UnknownImportError {
    pub(crate) fn new(module: &str, name: &str, ty: ExternType) -> Self {
        UnknownImportError {
            module: module.to_owned(),
            name: name.to_owned(),
            ty,
        }
    }

    /// The module name imported from.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The name of the import.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that was wanted.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl fmt::Display for UnknownImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown import: `{}::{}` has not been defined; wanted: {}",
            Printable(&self.module),
            Printable(&self.name),
            self.ty
        )
    }
}

impl std::error::Error for UnknownImportError {}

/// An import whose definition has another type.
#[derive(Clone, Debug)]
pub struct IncompatibleImportError {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) wanted: ExternType,
    pub(crate) found: ExternType,
}

impl IncompatibleImportError {
    /// The module name imported from.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The name of the import.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that was wanted.
    pub fn wanted(&self) -> &ExternType {
        &self.wanted
    }

    /// The type that was found.
    pub fn found(&self) -> &ExternType {
        &self.found
    }
}

impl fmt::Display for IncompatibleImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "incompatible import type for `{}::{}`: wanted {}, found {}",
            Printable(&self.module),
            Printable(&self.name),
            self.wanted,
            self.found
        )
    }
}

impl std::error::Error for IncompatibleImportError {}

/// A name that is defined twice in a [`Linker`](crate::Linker).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DuplicateDefinitionError {
    pub(crate) module: String,
    pub(crate) name: String,
}

impl fmt::Display for DuplicateDefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (module, name) = (Printable(&self.module), Printable(&self.name));
        write!(f, "`{module}::{name}` is defined already")
    }
}

impl std::error::Error for DuplicateDefinitionError {}

/// A call with the wrong number or types of arguments, or a value of the wrong type.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TypeError {
    /// The number of values is wrong.
    Count {
        /// What is counted: "arguments", "results", …
        what: &'static str,
        /// How many are wanted.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// A value has the wrong type.
    Value {
        /// Which value it is.
        what: String,
        /// The type wanted.
        wanted: String,
        /// The type found.
        found: String,
    },
    /// A global, field or element that cannot be written was to be.
    Immutable,
    /// A type that cannot be defined, for example because its supertype is final.
    Definition {
        /// What is wrong.
        message: String,
    },
}

/// Checks that there are as many of `what` as are wanted.
#[inline]
pub(crate) fn check_count(what: &'static str, wanted: usize, found: usize) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    Err(TypeError::Count {
        what,
        wanted,
        found,
    }
    .into())
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeError::Count {
                what,
                wanted,
                found,
            } => write!(f, "wrong number of {what}: wanted {wanted}, found {found}"),
            TypeError::Value {
                what,
                wanted,
                found,
            } => write!(f, "type mismatch: {what} should be {wanted}, found {found}"),
            TypeError::Immutable => f.write_str("what is immutable cannot be set"),
            TypeError::Definition { message } => write!(f, "impossible type: {message}"),
        }
    }
}

impl std::error::Error for TypeError {}

/// An object that belongs to another store or engine than the one that it is used with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OwnershipError {
    /// The object belongs to another store.
    WrongStore,
    /// The object belongs to another engine.
    WrongEngine,
}

impl fmt::Display for OwnershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OwnershipError::WrongStore => "object used with the wrong store",
            OwnershipError::WrongEngine => "object used with the wrong engine",
        })
    }
}

impl std::error::Error for OwnershipError {}

/// A limit of the store's [`ResourceLimiter`](crate::ResourceLimiter) was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitError {
    pub(crate) message: String,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LimitError {}

/// A memory, table or instance that could not be made.
pub(crate) fn create_error(error: CreateError) -> Error {
    match error {
        CreateError::Host(error) => unwrap_host_error(error),
        CreateError::TooMany(_) | CreateError::MemoryRefused(_) | CreateError::TableRefused(_) => {
            LimitError {
                message: error.to_string(),
            }
            .into()
        }
        CreateError::Memory(error) => error.into(),
        CreateError::Table(error) => error.into(),
        CreateError::Heap(error) => heap_error(error, 0),
    }
}

/// An object, of so many bytes, that could not be allocated.
#[cold]
pub(crate) fn heap_error(error: HeapError, bytes: u64) -> Error {
    match error {
        HeapError::Full | HeapError::TooLarge => GcHeapOutOfMemory::new((), bytes).into(),
        HeapError::Corrupt => Trap::HeapCorruption.into(),
        HeapError::System(error) => {
            Error::from(error).context("the system has no room for the heap of collected objects")
        }
        HeapError::Host(error) => unwrap_host_error(error),
    }
}

/// Something that needs a [`Config`](crate::Config) setting that is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotConfiguredError {
    pub(crate) what: &'static str,
    pub(crate) setting: &'static str,
}

impl fmt::Display for NotConfiguredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not configured in this engine: `Config::{}` is off",
            self.what, self.setting
        )
    }
}

impl std::error::Error for NotConfiguredError {}

/// Something that may have to wait was needed in a call that is not asynchronous: an async host function, or
/// a yield when the epoch's deadline has passed.
///
/// Only what runs by [`Func::call_async`](crate::Func::call_async) and the like can wait; a synchronous call
/// that a host function makes inside of that cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AsyncRequiredError {
    what: &'static str,
}

impl AsyncRequiredError {
    pub(crate) fn new(what: &'static str) -> AsyncRequiredError {
        AsyncRequiredError { what }
    }
}

impl fmt::Display for AsyncRequiredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is possible in asynchronous calls only", self.what)
    }
}

impl std::error::Error for AsyncRequiredError {}

/// A function type for which no machine code can be made: the library was built without its
/// compiler, and no loaded module names the type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoStubError {
    pub(crate) ty: String,
}

impl fmt::Display for NoStubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no loaded module names the function type {}, and the compiler is not built in",
            self.ty
        )
    }
}

impl std::error::Error for NoStubError {}
