//! [`ContRef`]: making continuations, binding arguments, and what can be asked of them.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | making, binding, discarding, backtraces |
//! | `resume.rs` | resuming them, and what they do then |
//! | `asynchronous.rs` | resuming them as a future |
//! | `typed.rs` | [`TypedCont`]: continuations whose types are known in Rust |
//! | `types.rs` | what a store has learnt of their types |

mod asynchronous;
mod resume;
mod typed;
mod types;

pub(crate) use resume::Clauses;
pub use resume::{Handlers, Resumed, Suspension};
pub use typed::TypedCont;
pub(crate) use types::ContTypes;

use super::rooted::{ContRef, GcRefImpl, RootIndex, Rooted};
use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::error::{OwnershipError, Result, TypeError, check_count, heap_error};
use crate::func::Func;
use crate::store::StoreOpaque;
use crate::trap::{Trap, WasmBacktrace};
use crate::types::ContType;
use crate::val::Val;
use core::fmt;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_vm::exec;
use sarsen_vm::instance::BindError;
use sarsen_vm::types::{Registry, matching};
use types::Known;

/// How much a continuation takes in the heap, in bytes.
const CONT_SIZE: u64 = 40;

/// A continuation that was resumed, bound or discarded before: each can be used once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumedError;

impl fmt::Display for ConsumedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the continuation is consumed: it was resumed, bound or discarded before")
    }
}

impl std::error::Error for ConsumedError {}

/// What is wrong with a continuation that cannot be used.
fn unusable(code: Trap) -> crate::Error {
    match code {
        Trap::ContinuationConsumed => ConsumedError.into(),
        code => code.into(),
    }
}

/// The type of a continuation, if it can be used.
fn usable_type(store: &mut StoreOpaque, cont: RootIndex) -> Result<Known> {
    let reference = store.reference(cont)?;
    store.vm_mut().check_cont(reference).map_err(unusable)?;
    let id = store.vm().cont_type(reference)?;
    let (types, engine) = store.cont_types_mut();
    Ok(types.get(id, engine))
}

fn are_subtypes(
    types: &Registry,
    given: &[abi::ValType<TypeId>],
    wanted: &[abi::ValType<TypeId>],
) -> bool {
    let mut pairs = given.iter().zip(wanted);
    given.len() == wanted.len()
        && pairs.all(|(given, wanted)| matching::val_type_matches(types, given, wanted))
}

impl ContRef {
    /// A continuation that begins `func` when it is resumed. It has no stack until then. The reference is rooted
    /// in the innermost scope.
    ///
    /// # Errors
    ///
    /// When the function is not of the function type of `ty`; when one of them belongs to another
    /// store or engine; [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there is no room.
    pub fn new(
        mut store: impl AsContextMut,
        ty: &ContType,
        func: &Func,
    ) -> Result<Rooted<ContRef>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.check_owns(func.store_id())?;
        if !Engine::same(ty.engine(), store.engine()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        let wanted = ty.func_type();
        let own = func.type_in(store);
        if !own.matches(&wanted) {
            return Err(TypeError::Value {
                what: "the function of a continuation".to_owned(),
                wanted: wanted.to_string(),
                found: own.to_string(),
            }
            .into());
        }
        func.resolve(store)?;
        let (types, engine) = store.cont_types_mut();
        types.get(ty.id(), engine);
        // SAFETY: a function of this store that was just resolved, and has the type.
        let made = unsafe { store.vm_mut().new_cont(ty.id(), func.as_raw()) };
        let object = made.map_err(|error| heap_error(error, CONT_SIZE))?;
        Ok(Rooted::at(store.root(object.get())))
    }

    /// Its type.
    ///
    /// # Errors
    ///
    /// This and the other methods fail when the reference belongs to another store, or its scope has
    /// ended.
    pub fn ty(&self, store: impl AsContext) -> Result<ContType> {
        self.ty_in(store.as_context().opaque())
    }

    fn ty_in(&self, store: &StoreOpaque) -> Result<ContType> {
        let id = store.vm().cont_type(store.reference(self.root())?)?;
        Ok(ContType::from_id(store.engine(), id))
    }

    /// Whether it is of type `ty`.
    ///
    /// # Errors
    ///
    /// As [`ContRef::ty`]; and when `ty` belongs to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ContType) -> Result<bool> {
        let own = self.ty(&store)?;
        if !Engine::same(ty.engine(), own.engine()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        Ok(own.matches(ty))
    }

    /// Whether it is consumed: it was resumed, bound or discarded before.
    ///
    /// # Errors
    ///
    /// As [`ContRef::ty`].
    pub fn is_consumed(&self, mut store: impl AsContextMut) -> Result<bool> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let reference = store.reference(self.root())?;
        match store.vm_mut().check_cont(reference) {
            Ok(()) => Ok(false),
            Err(Trap::ContinuationConsumed) => Ok(true),
            Err(code) => Err(code.into()),
        }
    }

    /// A continuation that is resumed with the rest of the arguments: the first ones are `args`. Consumes this
    /// one (`cont.bind`). The reference is rooted in the innermost scope.
    ///
    /// # Errors
    ///
    /// Without consuming it: [`ConsumedError`]; [`TypeError`] when there are more arguments than it takes, or one
    /// is of another type; [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there is no room; and as
    /// [`ContRef::ty`].
    pub fn bind(&self, mut store: impl AsContextMut, args: &[Val]) -> Result<Rooted<ContRef>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let (id, func) = self.bindable(store, args)?;
        let (types, engine) = store.cont_types_mut();
        let left = types.of_bound(id, args.len(), engine)?;
        self.bind_as(store, left, &func, args)
    }

    /// As [`ContRef::bind`], of the type `ty`. Without arguments, it is the same continuation with another type:
    /// where a recursive type is wanted, what is left of a continuation does not have it by itself.
    ///
    /// # Errors
    ///
    /// As [`ContRef::bind`]; [`TypeError`] when what is left of it is not of the function type of `ty`; and when
    /// `ty` belongs to another engine.
    pub fn bind_to(
        &self,
        mut store: impl AsContextMut,
        ty: &ContType,
        args: &[Val],
    ) -> Result<Rooted<ContRef>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        if !Engine::same(ty.engine(), store.engine()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        let (_, func) = self.bindable(store, args)?;
        let (types, engine) = store.cont_types_mut();
        let (wanted, wanted_func) = types.get(ty.id(), engine);
        let params = &func.params[args.len()..];
        let types = engine.types();
        // As WebAssembly has it, the types of the values count, and not of which type the function is.
        if !are_subtypes(types, &wanted_func.params, params)
            || !are_subtypes(types, &func.results, &wanted_func.results)
        {
            return Err(TypeError::Value {
                what: "what is left of a continuation".to_owned(),
                wanted: ty.func_type().to_string(),
                found: self.ty_in(store)?.func_type().to_string(),
            }
            .into());
        }
        self.bind_as(store, wanted, &func, args)
    }

    /// Its type, if so many arguments can be bound.
    fn bindable(&self, store: &mut StoreOpaque, args: &[Val]) -> Result<Known> {
        let (id, func) = usable_type(store, self.root())?;
        if args.len() > func.params.len() {
            check_count("arguments to bind", func.params.len(), args.len())?;
        }
        Ok((id, func))
    }

    /// `func` must be its type, and the store keep `ty` registered.
    fn bind_as(
        &self,
        store: &mut StoreOpaque,
        ty: TypeId,
        func: &abi::FuncType<TypeId>,
        args: &[Val],
    ) -> Result<Rooted<ContRef>> {
        let params = &func.params[..args.len()];
        let raw = resume::raw_values(store, args, params, "argument")?;
        let reference = store.reference(self.root())?;
        // SAFETY: the values were just checked, and nothing was allocated since.
        let bound = unsafe { store.vm_mut().bind_cont(reference, ty, params, &raw) };
        let object = bound.map_err(|reason| match reason {
            BindError::Unusable(code) => unusable(code),
            BindError::Heap(error) => heap_error(error, CONT_SIZE),
        })?;
        Ok(Rooted::at(store.root(object.get())))
    }

    /// Consumes it, and recycles its stacks at once, without running anything: not even what is to be
    /// cleaned up in WebAssembly. What a host function has left there ([`Suspend`](crate::Suspend)) is dropped.
    /// Continuations that only its stacks refer to are left to the collector.
    ///
    /// # Errors
    ///
    /// [`ConsumedError`]; and as [`ContRef::ty`].
    ///
    /// # Panics
    ///
    /// Resumes the panic of what is dropped.
    pub fn discard(&self, mut store: impl AsContextMut) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let reference = store.reference(self.root())?;
        store.vm_mut().discard_cont(reference).map_err(unusable)
    }

    /// Where it is suspended, innermost frame first: its own frames, and those of the continuations
    /// that it was suspended with. Without frames, when it has not begun or the engine is configured to keep
    /// none.
    ///
    /// # Errors
    ///
    /// [`ConsumedError`]; and as [`ContRef::ty`].
    pub fn backtrace(&self, mut store: impl AsContextMut) -> Result<WasmBacktrace> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let reference = store.reference(self.root())?;
        let captured = exec::capture_suspended(store.vm_mut(), reference).map_err(unusable)?;
        Ok(WasmBacktrace::new(captured, store))
    }
}
