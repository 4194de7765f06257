//! Resuming continuations, and what they do then.

use super::super::rooted::{ContRef, ExnRef, GcRefImpl, RootIndex, Rooted};
use super::types::Known;
use super::usable_type;
use crate::context::AsContextMut;
use crate::error::{Result, check_count};
use crate::func::{WasmResults, check_each, check_results, read_values};
use crate::store::StoreOpaque;
use crate::tag::Tag;
use crate::trap;
use crate::val::{Val, ValRaw};
use core::num::NonZeroU32;
use core::ptr::NonNull;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_abi::vmctx::VmTag;
use sarsen_vm::exec::{self, Prepared};
use smallvec::SmallVec;
use std::sync::Arc;

/// What a continuation has done that was resumed.
#[derive(Debug)]
pub enum Resumed<Results = Vec<Val>> {
    /// Its function has returned these results. References are rooted in the innermost scope.
    Returned(Results),
    /// It was suspended with one of the tags that were named.
    Suspended(Suspension),
}

/// With what a continuation was suspended, and what is left of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Suspension {
    /// The tag.
    pub tag: Tag,
    /// The values that come with it. References are rooted in the innermost scope.
    pub payload: Vec<Val>,
    /// What is left to do. It is resumed with the results of the tag; rooted in the innermost scope.
    pub continuation: Rooted<ContRef>,
}

impl Suspension {
    /// Whether it is this tag.
    pub fn is_with(&self, tag: &Tag) -> bool {
        self.tag.is(tag)
    }

    /// The values that come with the tag, as Rust types.
    ///
    /// # Errors
    ///
    /// [`TypeError`](crate::TypeError) when the tag has others; and when a reference's scope has ended.
    ///
    /// # Panics
    ///
    /// Panics when the tag belongs to another store.
    pub fn payload<P: WasmResults>(&self, mut store: impl AsContextMut) -> Result<P> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.tag.store_id());
        let (_, ty) = tag_type(store, &self.tag);
        check_results(store.engine().types(), &ty.params, P::TYPES)?;
        let raw = raw_values(store, &self.payload, &ty.params, "value")?;
        // SAFETY: the values were just checked, and nothing was allocated since.
        Ok(unsafe { P::load(store, raw.as_ptr()) })
    }
}

/// The tags that a resumption handles. Made of the tags of suspensions alone, or of those of switches as well.
///
/// A continuation that is resumed with a tag for switches may take the place of another one (`switch`), which then is
/// what the host has resumed: its results, suspensions and failures are what the host learns of. The
/// continuation that it has left is with the other.
///
/// ```
/// use sarsen::{Handlers, Tag};
///
/// fn both<'a>(yields: &'a [Tag], switches: &'a [Tag]) -> Handlers<'a> {
///     Handlers::from(yields).switch(switches)
/// }
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct Handlers<'a> {
    suspend: &'a [Tag],
    switch: &'a [Tag],
}

impl<'a> Handlers<'a> {
    /// None at all.
    pub const fn new() -> Handlers<'a> {
        Handlers {
            suspend: &[],
            switch: &[],
        }
    }

    /// Suspensions with these tags end the resumption. If a tag is named twice, the first counts.
    pub const fn suspend(self, tags: &'a [Tag]) -> Handlers<'a> {
        Handlers {
            suspend: tags,
            ..self
        }
    }

    /// Switches with these tags are possible. Such a tag has no parameters, and its results are those of the
    /// continuation.
    pub const fn switch(self, tags: &'a [Tag]) -> Handlers<'a> {
        Handlers {
            switch: tags,
            ..self
        }
    }
}

impl<'a> From<&'a [Tag]> for Handlers<'a> {
    fn from(tags: &'a [Tag]) -> Self {
        Handlers::new().suspend(tags)
    }
}

impl<'a, const N: usize> From<&'a [Tag; N]> for Handlers<'a> {
    fn from(tags: &'a [Tag; N]) -> Self {
        Handlers::new().suspend(tags)
    }
}

impl<'a> From<&'a Vec<Tag>> for Handlers<'a> {
    fn from(tags: &'a Vec<Tag>) -> Self {
        Handlers::new().suspend(tags)
    }
}

impl ContRef {
    /// Resumes it with `args`, until its function returns, it is suspended with one of the tags that are named, or
    /// it fails. `handlers` are tags (`&[Tag]`), or [`Handlers`].
    ///
    /// The host's frame is a barrier: a tag that is not named here is handled inside of the continuation, or
    /// nowhere.
    ///
    /// # Errors
    ///
    /// Before anything has run, and without consuming it: [`ConsumedError`](crate::ConsumedError); [`TypeError`](crate::TypeError)
    /// when the number or types of the arguments are wrong, or the type of a tag for switches;
    /// [`OwnershipError`](crate::OwnershipError) when an argument or a tag belongs to another store;
    /// [`Trap::OutOfStacks`](crate::Trap::OutOfStacks) or [`Trap::StackOverflow`](crate::Trap::StackOverflow) when
    /// there is no stack for it.
    ///
    /// What happens inside is an error as it is of [`Func::call`](crate::Func::call): a
    /// [`Trap`](crate::Trap), a [`ThrownException`](crate::ThrownException), or the error of a host function. A
    /// suspension with another tag is a [`Trap::UnhandledTag`](crate::Trap::UnhandledTag). The continuation and
    /// its stacks are gone then.
    pub fn resume<'h>(
        &self,
        mut store: impl AsContextMut,
        args: &[Val],
        handlers: impl Into<Handlers<'h>>,
    ) -> Result<Resumed> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let ready = Ready::new(store, self.root(), handlers.into())?;
        let args = ready.checked_args(store, args)?;
        // SAFETY: the arguments were just checked.
        let done = unsafe { ready.resume(store, args)? };
        // SAFETY: nothing was done with the store since.
        unsafe { ready.done(store, done, read) }
    }

    /// Resumes it by throwing `exception` where it was suspended (`resume_throw`). One that has not begun is
    /// consumed, and the exception comes right back.
    ///
    /// # Errors
    ///
    /// As [`ContRef::resume`]; without consuming it also when the exception belongs to another store, or its scope
    /// has ended.
    pub fn resume_throw<'h>(
        &self,
        mut store: impl AsContextMut,
        exception: Rooted<ExnRef>,
        handlers: impl Into<Handlers<'h>>,
    ) -> Result<Resumed> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let ready = Ready::new(store, self.root(), handlers.into())?;
        let done = ready.resume_throw(store, exception)?;
        // SAFETY: nothing was done with the store since.
        unsafe { ready.done(store, done, read) }
    }
}

/// A continuation that is about to be resumed: it can be, and its tags are right.
pub(super) struct Ready<'h> {
    cont: RootIndex,
    pub(super) ty: Known,
    tags: &'h [Tag],
    pub(super) clauses: Clauses,
}

/// The tags that are handled, as the runtime knows them.
pub(crate) struct Clauses {
    pub(crate) tags: SmallVec<[NonNull<VmTag>; 4]>,
    /// How many of them, the last, are for switches.
    pub(crate) switches: usize,
}

// SAFETY: the tags are used only together with their store.
unsafe impl Send for Clauses {}
// SAFETY: as above.
unsafe impl Sync for Clauses {}

/// Raw arguments.
pub(super) type Args = SmallVec<[ValRaw; 4]>;

impl<'h> Ready<'h> {
    pub(super) fn new(
        store: &mut StoreOpaque,
        cont: RootIndex,
        handlers: Handlers<'h>,
    ) -> Result<Ready<'h>> {
        let ty = usable_type(store, cont)?;
        let mut tags = SmallVec::with_capacity(handlers.suspend.len() + handlers.switch.len());
        for tag in handlers.suspend {
            store.check_owns(tag.store_id())?;
            tags.push(tag.vm());
        }
        for tag in handlers.switch {
            store.check_owns(tag.store_id())?;
            check_switch(store, tag, &ty.1)?;
            tags.push(tag.vm());
        }
        Ok(Ready {
            cont,
            ty,
            tags: handlers.suspend,
            clauses: Clauses {
                tags,
                switches: handlers.switch.len(),
            },
        })
    }

    /// The arguments, checked. To be used before anything is allocated.
    pub(super) fn checked_args(&self, store: &mut StoreOpaque, args: &[Val]) -> Result<Args> {
        check_count("arguments", self.ty.1.params.len(), args.len())?;
        raw_values(store, args, &self.ty.1.params, "argument")
    }

    /// Takes the continuation to be resumed, and gives it these arguments. It must be resumed at once.
    ///
    /// # Safety
    ///
    /// The arguments must be of its types.
    pub(super) unsafe fn prepare(
        &self,
        store: &mut StoreOpaque,
        mut args: Args,
    ) -> Result<Prepared> {
        let params = &self.ty.1.params;
        let is_collected =
            |ty: &abi::ValType<TypeId>| matches!(ty, abi::ValType::Ref(ty) if ty.is_collected());
        // Finding a stack may collect.
        let references = args.iter().zip(params).filter(|(_, ty)| is_collected(ty));
        let references = references.map(|(value, _)| value.get_externref());
        let held = store.vm_mut().heap_mut().hold(references);
        let reference = store.reference(self.cont);
        // SAFETY: the store is borrowed exclusively.
        let prepared =
            reference.map(|cont| unsafe { exec::prepare(store.vm_ptr(), cont, self.ty.0) });
        let mut references = store.vm_mut().heap_mut().release(held);
        for (value, _) in args
            .iter_mut()
            .zip(params)
            .filter(|(_, ty)| is_collected(ty))
        {
            *value = ValRaw::externref(references.next().expect("as many as were held"));
        }
        drop(references);
        let prepared = prepared?.map_err(|unwound| trap::into_error(unwound, store))?;
        for (index, value) in args.into_iter().enumerate() {
            // SAFETY: there is room for all that it is resumed with.
            unsafe { prepared.values().add(index).write(value) };
        }
        Ok(prepared)
    }

    /// Resumes it. What it has done is to be looked at at once ([`Ready::done`]).
    ///
    /// # Safety
    ///
    /// As [`Ready::prepare`].
    pub(super) unsafe fn resume(
        &self,
        store: &mut StoreOpaque,
        args: Args,
    ) -> Result<exec::Resumed> {
        // SAFETY: the caller's promise; it is entered at once.
        unsafe {
            let prepared = self.prepare(store, args)?;
            self.enter(store, &prepared)
        }
    }

    /// Takes the continuation to be resumed with an exception. It must be resumed at once. Fails with the
    /// exception, when it has not begun.
    pub(super) fn prepare_throw(
        &self,
        store: &mut StoreOpaque,
        exception: Rooted<ExnRef>,
    ) -> Result<Prepared> {
        let thrown = store.reference(exception.root())?;
        let thrown = NonZeroU32::new(thrown).expect("no handle is to null");
        let cont = store.reference(self.cont)?;
        // SAFETY: the store is borrowed exclusively, and the exception of it.
        let prepared = unsafe { exec::prepare_throw(store.vm_ptr(), cont, self.ty.0, thrown) };
        match prepared.map_err(|unwound| trap::into_error(unwound, store))? {
            Some(prepared) => Ok(prepared),
            None => store.throw(exception),
        }
    }

    /// Resumes it with an exception. What it has done is to be looked at at once ([`Ready::done`]).
    pub(super) fn resume_throw(
        &self,
        store: &mut StoreOpaque,
        exception: Rooted<ExnRef>,
    ) -> Result<exec::Resumed> {
        let prepared = self.prepare_throw(store, exception)?;
        // SAFETY: just prepared; nothing was done with the store since.
        unsafe { self.enter(store, &prepared) }
    }

    /// # Safety
    ///
    /// What is prepared must be this continuation, since nothing else was done with the store.
    unsafe fn enter(&self, store: &mut StoreOpaque, prepared: &Prepared) -> Result<exec::Resumed> {
        let Clauses { tags, switches } = &self.clauses;
        // SAFETY: the caller's promise; the tags are of this store, which is borrowed exclusively.
        let done = unsafe { exec::resume(store.vm_ptr(), prepared, tags, *switches) };
        done.map_err(|unwound| trap::into_error(unwound, store))
    }

    /// What the host is told. `read` reads the results, of the types of the continuation.
    ///
    /// # Safety
    ///
    /// This continuation must have done it, and nothing else been done with the store since.
    pub(super) unsafe fn done<R>(
        &self,
        store: &mut StoreOpaque,
        done: exec::Resumed,
        read_results: impl FnOnce(&mut StoreOpaque, *const ValRaw, &[abi::ValType<TypeId>]) -> R,
    ) -> Result<Resumed<R>> {
        let (id, func) = &self.ty;
        match done {
            exec::Resumed::Returned(values) => Ok(Resumed::Returned(read_results(
                store,
                values,
                &func.results,
            ))),
            exec::Resumed::Suspended {
                clause,
                cont,
                values,
            } => {
                let continuation: Rooted<ContRef> = Rooted::at(store.root(cont.get()));
                let tag = self.tags[clause];
                let (tag_id, tag_type) = tag_type(store, &tag);
                let payload = read(store, values, &tag_type.params);
                let (types, engine) = store.cont_types_mut();
                let left = types.of_suspended(*id, tag_id, engine)?;
                // SAFETY: what was suspended just now is of this type, which the store keeps.
                unsafe { store.vm_mut().set_cont_type(cont, left) };
                Ok(Resumed::Suspended(Suspension {
                    tag,
                    payload,
                    continuation,
                }))
            }
        }
    }
}

/// Reads and roots values that compiled code has just given.
pub(super) fn read(
    store: &mut StoreOpaque,
    values: *const ValRaw,
    types: &[abi::ValType<TypeId>],
) -> Vec<Val> {
    // SAFETY: called with what the runtime has given, by `Ready::done` only: values of these types are there.
    unsafe { read_values(store, types, values) }.collect()
}

/// The values for compiled code, checked. To be used before anything is allocated.
pub(super) fn raw_values(
    store: &mut StoreOpaque,
    values: &[Val],
    types: &[abi::ValType<TypeId>],
    what: &str,
) -> Result<Args> {
    let checked = values.iter().zip(types).enumerate();
    checked
        .map(|(index, (value, &ty))| value.checked_raw(store, ty, || format!("{what} {index}")))
        .collect()
}

/// The type of a tag of this store.
pub(super) fn tag_type(store: &StoreOpaque, tag: &Tag) -> (TypeId, Arc<abi::FuncType<TypeId>>) {
    // SAFETY: a tag of this store, which keeps its type registered.
    unsafe {
        let id = tag.vm().as_ref().type_id;
        let ty = store.engine().types().func_type_held(id);
        (id, Arc::clone(ty.expect("a tag has a function type")))
    }
}

/// Checks that a continuation with a function of this type can be resumed with a tag for switches: whoever takes
/// its place gives the same results.
fn check_switch(store: &StoreOpaque, tag: &Tag, func: &abi::FuncType<TypeId>) -> Result<()> {
    let (_, ty) = tag_type(store, tag);
    check_count("parameters of a tag for switches", 0, ty.params.len())?;
    let types = store.engine().types();
    let names = [
        "results of a tag for switches",
        "the tag for switches, result",
    ];
    check_each(types, &ty.results, &func.results, names)?;
    check_each(types, &func.results, &ty.results, names)
}
