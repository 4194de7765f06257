//! Why compiled code is being left: what a failing builtin or host function puts into its store
//! before it returns [`sarsen_abi::builtin::STATUS_RAISE`].
//!
//! `exec` takes it out again when the stay in compiled code has ended.

pub use crate::gc::HostError;
use sarsen_abi::TrapCode;
use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;

/// Why compiled code was left before it returned.
pub enum Reason {
    /// The guest did something wrong.
    Trap(TrapCode),
    /// A reference could not be cast: [`TrapCode::CastFailure`], and the two types.
    Cast(Box<str>),
    /// An exception was thrown. The reference is raw: whoever takes the reason out looks for a handler, or
    /// roots it, before anything is collected.
    Exception {
        /// The exception.
        exception: NonZeroU32,
        /// What the host function that threw it returned, if one did.
        error: Option<HostError>,
    },
    /// A host function or an upcall returned an error.
    Error(HostError),
    /// A host function or an upcall panicked; the payload of the panic.
    Panic(Box<dyn Any + Send>),
}

impl From<TrapCode> for Reason {
    fn from(code: TrapCode) -> Self {
        Reason::Trap(code)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Trap(code) => f.debug_tuple("Trap").field(code).finish(),
            Reason::Cast(types) => f.debug_tuple("Cast").field(types).finish(),
            Reason::Exception { exception, .. } => {
                f.debug_tuple("Exception").field(exception).finish()
            }
            Reason::Error(_) => f.write_str("Error(..)"),
            Reason::Panic(_) => f.write_str("Panic(..)"),
        }
    }
}
