//! Why compiled code is being left: what a failing builtin or host function puts into its store
//! before it returns [`sarsen_abi::builtin::STATUS_RAISE`].
//!
//! `exec` takes it out again when the stay in compiled code has ended.

pub use crate::gc::HostError;
use crate::stack::OnResume;
use sarsen_abi::TrapCode;
use sarsen_abi::vmctx::{ValRaw, VmTag};
use smallvec::SmallVec;
use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;
use std::ptr::NonNull;

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
    /// A host function suspends the continuation that it was called on.
    Suspend(Box<HostSuspension>),
    /// A host function or an upcall returned an error.
    Error(HostError),
    /// A host function or an upcall panicked; the payload of the panic.
    Panic(Box<dyn Any + Send>),
}

/// With what a host function suspends, and what happens when it is resumed.
pub struct HostSuspension {
    /// The tag.
    pub tag: NonNull<VmTag>,
    /// The values that come with it.
    pub payload: Box<[ValRaw]>,
    /// The positions of those that are collected references. They are raw, as an exception is.
    pub references: SmallVec<[usize; 4]>,
    /// How many values it is resumed with.
    pub arguments: usize,
    /// What happens then. Otherwise these values are the function's results, and must be of their types.
    pub on_resume: Option<Box<dyn OnResume>>,
}

// SAFETY: the tag is used only together with its store.
unsafe impl Send for HostSuspension {}

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
            Reason::Suspend(_) => f.write_str("Suspend(..)"),
            Reason::Error(_) => f.write_str("Error(..)"),
            Reason::Panic(_) => f.write_str("Panic(..)"),
        }
    }
}
