//! Collected objects as the host sees them: handles, structures, arrays, and its own objects.
//!
//! | file | owns |
//! |---|---|
//! | `rooted.rs` | the kinds of references, and [`Rooted`]: handles that end with a scope |
//! | `owned.rs` | [`OwnedRooted`]: handles that end with their owner |
//! | `scope.rs` | [`RootScope`] |
//! | `any.rs` | tests and casts of [`AnyRef`] and [`EqRef`], and conversions from and to [`ExternRef`] |
//! | `structref.rs` | [`StructRef`] |
//! | `arrayref.rs` | [`ArrayRef`] |
//! | `exnref.rs` | [`ExnRef`]: exceptions |
//! | `cont` | [`ContRef`]: continuations, made, resumed and dropped |
//! | `externref.rs` | [`ExternRef`]: the host's own objects |
//! | `i31.rs` | [`I31`] |
//! | `asynchronous.rs` | making objects and collecting, as futures |
//! | `access.rs` | all of that on the untyped store: the only code here that reads and writes objects |
//! | `error.rs` | [`UnrootedError`], [`GcHeapOutOfMemory`] |
//!
//! **Invariant:** a bare reference (`u32`) is never kept across anything that may allocate: what comes
//! from a handle is looked up again.

mod access;
mod any;
mod arrayref;
mod asynchronous;
mod cont;
mod error;
mod exnref;
mod externref;
mod i31;
mod owned;
mod rooted;
mod scope;
mod structref;

pub use arrayref::ArrayRefPre;
pub(crate) use cont::{Clauses, ContTypes};
pub use cont::{ConsumedError, Handlers, Resumed, Suspension, TypedCont};
pub use error::{GcHeapOutOfMemory, UnrootedError};
pub use exnref::ExnRefPre;
pub use i31::I31;
pub use owned::OwnedRooted;
pub use rooted::{
    AnyRef, ArrayRef, ContRef, EqRef, ExnRef, ExternRef, GcRef, Rooted, RootedGcRef, StructRef,
};
pub(crate) use rooted::{GcRefImpl, RootIndex};
pub use sarsen_vm::gc::GcStats;
pub use scope::RootScope;
pub use structref::StructRefPre;
