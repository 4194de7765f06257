//! [`ContRef`]: making continuations, resuming them, and what they do then.

use super::rooted::{ContRef, ExnRef, GcRefImpl, Rooted};
use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::error::{OwnershipError, Result, TypeError, heap_error};
use crate::func::Func;
use crate::store::StoreOpaque;
use crate::tag::Tag;
use crate::trap::{self, Trap, WasmBacktrace};
use crate::types::{ContType, FuncType};
use crate::val::{Val, ValRaw};
use core::fmt;
use core::num::NonZeroU32;
use core::ptr::NonNull;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_abi::vmctx::VmTag;
use sarsen_vm::exec::{self, Prepared};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

/// How much a continuation takes in the heap, in bytes.
const CONT_SIZE: u64 = 40;

/// What a continuation has done that was resumed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Resumed {
    /// Its function has returned these results. References are rooted in the innermost scope.
    Returned(Vec<Val>),
    /// It was suspended with one of the tags that were named.
    #[non_exhaustive]
    Suspended {
        /// The tag.
        tag: Tag,
        /// The values that come with it. References are rooted in the innermost scope.
        payload: Vec<Val>,
        /// What is left to do. It is resumed with the results of the tag; rooted in the innermost scope.
        continuation: Rooted<ContRef>,
    },
}

/// A continuation that was resumed, bound or discarded before: each can be used once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumedError;

impl fmt::Display for ConsumedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the continuation is consumed: it was resumed, bound or discarded before")
    }
}

impl std::error::Error for ConsumedError {}

/// What a store has learnt of types of continuations. It keeps them registered.
#[derive(Default)]
pub(crate) struct ContTypes {
    known: HashMap<TypeId, Known>,
    /// The type of what is left of a continuation of the first type that was suspended with a tag of the
    /// second.
    suspended: HashMap<(TypeId, TypeId), TypeId>,
}

/// A type of continuations.
struct Known {
    ty: ContType,
    func: Arc<abi::FuncType<TypeId>>,
}

impl ContTypes {
    fn get(&mut self, id: TypeId, engine: &Engine) -> &Known {
        self.known.entry(id).or_insert_with(|| {
            let ty = ContType::from_id(engine, id);
            let func = Arc::clone(ty.func_type().as_abi());
            Known { ty, func }
        })
    }

    fn of_suspended(&mut self, id: TypeId, tag: TypeId, engine: &Engine) -> Result<TypeId> {
        if let Some(&known) = self.suspended.get(&(id, tag)) {
            return Ok(known);
        }
        let tag_type = FuncType::from_id(engine, tag);
        let func = self.get(id, engine).ty.func_type();
        let func = FuncType::new(engine, tag_type.results(), func.results());
        let left = ContType::new(&func)?;
        self.get(left.id(), engine);
        self.suspended.insert((id, tag), left.id());
        Ok(left.id())
    }
}

/// What is wrong with a continuation that cannot be used.
fn unusable(code: Trap) -> crate::Error {
    match code {
        Trap::ContinuationConsumed => ConsumedError.into(),
        code => code.into(),
    }
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
        let store = store.as_context().opaque();
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

    /// Resumes it with `args`, until its function returns, it is suspended with one of `tags`, or it
    /// fails. If a tag is named twice, the first counts.
    ///
    /// The host's frame is a barrier: a tag that is not named here is handled inside of the continuation, or
    /// nowhere.
    ///
    /// # Errors
    ///
    /// Before anything has run, and without consuming it: [`ConsumedError`]; [`TypeError`] when the number or
    /// types of the arguments are wrong; [`OwnershipError`] when an argument or a tag belongs to another store;
    /// [`Trap::OutOfStacks`] or [`Trap::StackOverflow`] when there is no stack for it.
    ///
    /// What happens inside is an error as it is of [`Func::call`]: a [`Trap`], a
    /// [`ThrownException`](crate::ThrownException), or the error of a host function. A suspension
    /// with another tag is a [`Trap::UnhandledTag`]. The continuation and its stacks are gone then.
    pub fn resume(
        &self,
        mut store: impl AsContextMut,
        args: &[Val],
        tags: &[Tag],
    ) -> Result<Resumed> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let (id, func) = self.usable_type(store)?;
        if args.len() != func.params.len() {
            return Err(TypeError::Count {
                what: "arguments",
                wanted: func.params.len(),
                found: args.len(),
            }
            .into());
        }
        // All is checked before the continuation is consumed.
        for (index, (value, &ty)) in args.iter().zip(&func.params).enumerate() {
            value.checked_raw(store, ty, || format!("argument {index}"))?;
        }
        let clauses = clauses(store, tags)?;
        let reference = store.reference(self.root())?;
        // SAFETY: the store is borrowed exclusively.
        let prepared = unsafe { exec::prepare(store.vm_ptr(), reference) };
        let prepared = prepared.map_err(trap::into_error)?;
        for (index, value) in args.iter().enumerate() {
            let raw = value.raw(store).expect("checked above");
            // SAFETY: there is room for all that it is resumed with.
            unsafe { prepared.values().add(index).write(raw) };
        }
        // SAFETY: just prepared, with arguments of its types; the tags are of this store.
        unsafe { run(store, &prepared, &clauses, tags, (id, &func)) }
    }

    /// Resumes it by throwing `exception` where it was suspended. One that has not begun is consumed, and
    /// the exception comes right back.
    ///
    /// # Errors
    ///
    /// As [`ContRef::resume`].
    pub fn resume_throw(
        &self,
        mut store: impl AsContextMut,
        exception: Rooted<ExnRef>,
        tags: &[Tag],
    ) -> Result<Resumed> {
        let mut store = store.as_context_mut();
        let (id, func) = self.usable_type(store.opaque())?;
        let clauses = clauses(store.opaque(), tags)?;
        let opaque = store.opaque();
        let thrown = opaque.reference(exception.root())?;
        let thrown = NonZeroU32::new(thrown).expect("no handle is to null");
        let reference = opaque.reference(self.root())?;
        // SAFETY: the store is borrowed exclusively, and the exception of it.
        let prepared = unsafe { exec::prepare_throw(opaque.vm_ptr(), reference, thrown) };
        match prepared.map_err(trap::into_error)? {
            // SAFETY: just prepared; the tags are of this store.
            Some(prepared) => unsafe { run(opaque, &prepared, &clauses, tags, (id, &func)) },
            None => store.throw(exception),
        }
    }

    /// Consumes it, and recycles its stacks at once, without running anything: not even what is to be
    /// cleaned up in WebAssembly. Continuations that only its stacks refer to are left to the collector.
    ///
    /// # Errors
    ///
    /// [`ConsumedError`]; and as [`ContRef::ty`].
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
        Ok(WasmBacktrace::of_suspended(captured))
    }

    /// Its type, if it can be used.
    fn usable_type(&self, store: &mut StoreOpaque) -> Result<(TypeId, Arc<abi::FuncType<TypeId>>)> {
        let reference = store.reference(self.root())?;
        store.vm_mut().check_cont(reference).map_err(unusable)?;
        let id = store.vm().cont_type(reference)?;
        let (types, engine) = store.cont_types_mut();
        Ok((id, Arc::clone(&types.get(id, engine).func)))
    }
}

type Clauses = SmallVec<[NonNull<VmTag>; 4]>;

fn clauses(store: &StoreOpaque, tags: &[Tag]) -> Result<Clauses> {
    tags.iter()
        .map(|tag| {
            store.check_owns(tag.store_id())?;
            Ok(tag.vm())
        })
        .collect()
}

/// # Safety
///
/// What is prepared must be so since nothing else was done with the store, and of this type; its arguments
/// must be written. `clauses` must be `tags`, of this store.
unsafe fn run(
    store: &mut StoreOpaque,
    prepared: &Prepared,
    clauses: &Clauses,
    tags: &[Tag],
    (id, func): (TypeId, &abi::FuncType<TypeId>),
) -> Result<Resumed> {
    // SAFETY: the caller's promise; the store is borrowed exclusively.
    let done = unsafe { exec::resume(store.vm_ptr(), prepared, clauses) };
    match done.map_err(trap::into_error)? {
        // SAFETY: the function has returned values of its types there.
        exec::Resumed::Returned(values) => Ok(Resumed::Returned(unsafe {
            read(store, values, &func.results)
        })),
        exec::Resumed::Suspended {
            clause,
            cont,
            values,
        } => {
            let continuation: Rooted<ContRef> = Rooted::at(store.root(cont.get()));
            let tag = tags[clause];
            // SAFETY: a tag of this store, which keeps its type registered.
            let (tag_id, tag_type) = unsafe {
                let id = tag.vm().as_ref().type_id;
                let ty = store.engine().types().func_type_held(id);
                (id, Arc::clone(ty.expect("a tag has a function type")))
            };
            // SAFETY: the tag's values are there.
            let payload = unsafe { read(store, values, &tag_type.params) };
            let (types, engine) = store.cont_types_mut();
            let left = types.of_suspended(id, tag_id, engine)?;
            store.vm_mut().set_cont_type(cont, left);
            Ok(Resumed::Suspended {
                tag,
                payload,
                continuation,
            })
        }
    }
}

/// Reads and roots values.
///
/// # Safety
///
/// They must be there, of these types and of this store.
unsafe fn read(
    store: &mut StoreOpaque,
    values: *const ValRaw,
    types: &[abi::ValType<TypeId>],
) -> Vec<Val> {
    let read = types.iter().enumerate();
    // SAFETY: the caller's promise.
    let read = read.map(|(index, &ty)| unsafe { Val::read_raw(store, values.add(index), ty) });
    read.collect()
}
