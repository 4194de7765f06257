//! [`TypedCont`]: continuations whose types are known in Rust.

use super::super::owned::OwnedRooted;
use super::super::rooted::{ContRef, ExnRef, GcRefImpl, Rooted};
use super::resume::{Args, Handlers, Ready, Resumed};
use super::usable_type;
use crate::context::AsContextMut;
use crate::error::Result;
use crate::func::{Fit, Func, WasmParams, WasmResults, check_params, check_results, check_values};
use crate::store::StoreOpaque;
use crate::types::ContType;
use crate::val::ValRaw;
use core::fmt;
use core::marker::PhantomData;
use smallvec::smallvec;

/// A continuation that is resumed with `Params` and returns `Results`: each a [`WasmTy`](crate::WasmTy), or a
/// tuple of them.
///
/// It owns its reference ([`OwnedRooted`]), and resuming it takes it away, as a continuation is resumed once. Made
/// by [`TypedCont::new`], or of a [`ContRef`] by [`ContRef::typed`].
///
/// ```
/// use sarsen::{Config, Engine, Instance, Module, Resumed, Store, TypedCont};
///
/// let engine = Engine::new(Config::new().wasm_stack_switching(true))?;
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (tag $yield (export "yield") (param i64) (result i32))
///         (func (export "count") (param $n i64) (result i32)
///             (loop $next (result i32)
///                 (local.set $n (i64.add (local.get $n) (i64.const 1)))
///                 (br_if $next (suspend $yield (local.get $n)))
///                 (i32.const 7))))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let count = instance.get_func(&mut store, "count").unwrap();
/// let yields = [instance.get_tag(&mut store, "yield").unwrap()];
///
/// let start = TypedCont::<i64, i32>::new(&mut store, &count)?;
/// let Resumed::Suspended(first) = start.resume(&mut store, 41, &yields)? else {
///     panic!("it yields");
/// };
/// assert_eq!(first.payload::<i64>(&mut store)?, 42);
/// let rest = first.continuation.typed::<i32, i32>(&mut store)?;
/// let Resumed::Returned(result) = rest.resume(&mut store, 0, &yields)? else {
///     panic!("it returns");
/// };
/// assert_eq!(result, 7);
/// # Ok::<(), sarsen::Error>(())
/// ```
pub struct TypedCont<Params, Results> {
    cont: OwnedRooted<ContRef>,
    /// Whether each argument's type must be checked.
    checked: bool,
    signature: PhantomData<fn(Params) -> Results>,
}

impl ContRef {
    /// The same continuation, to be resumed with parameters and results of these Rust types.
    ///
    /// # Errors
    ///
    /// [`TypeError`](crate::TypeError) when its type is another one; [`ConsumedError`](crate::ConsumedError); and as
    /// [`ContRef::ty`].
    pub fn typed<Params: WasmParams, Results: WasmResults>(
        &self,
        mut store: impl AsContextMut,
    ) -> Result<TypedCont<Params, Results>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let (_, func) = usable_type(store, self.root())?;
        let types = store.engine().types();
        let fit = check_params(types, Params::TYPES, &func.params)?;
        check_results(types, &func.results, Results::TYPES)?;
        Ok(TypedCont {
            cont: OwnedRooted::new(store, self.root())?,
            checked: matches!(fit, Fit::Dynamic),
            signature: PhantomData,
        })
    }
}

impl<Params: WasmParams, Results: WasmResults> TypedCont<Params, Results> {
    /// A continuation that begins `func` when it is resumed; see [`ContRef::new`].
    ///
    /// # Errors
    ///
    /// [`TypeError`](crate::TypeError) when the function's type is another one; and as [`ContRef::new`].
    ///
    /// # Panics
    ///
    /// Panics when the function belongs to another store.
    pub fn new(mut store: impl AsContextMut, func: &Func) -> Result<TypedCont<Params, Results>> {
        let mut store = store.as_context_mut();
        let ty = ContType::new(&func.ty(&store))?;
        let scope = store.opaque().scope();
        let cont = ContRef::new(&mut store, &ty, func);
        let cont = cont.and_then(|cont| cont.typed(&mut store));
        store.opaque().end_scope(scope);
        cont
    }

    /// The continuation, for as long as this exists.
    pub fn as_cont(&self) -> &OwnedRooted<ContRef> {
        &self.cont
    }

    /// Resumes it; see [`ContRef::resume`].
    ///
    /// # Errors
    ///
    /// As [`ContRef::resume`].
    pub fn resume<'h>(
        self,
        mut store: impl AsContextMut,
        args: Params,
        handlers: impl Into<Handlers<'h>>,
    ) -> Result<Resumed<Results>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let ready = Ready::new(store, self.cont.root(), handlers.into())?;
        let args = self.raw_args(store, args, &ready)?;
        // SAFETY: the arguments are of the types that were checked when this was made.
        let done = unsafe { ready.resume(store, args)? };
        // SAFETY: nothing was done with the store since; the results are of the types that were checked.
        unsafe { ready.done(store, done, |store, values, _| Results::load(store, values)) }
    }

    /// Resumes it by throwing `exception` where it was suspended; see [`ContRef::resume_throw`].
    ///
    /// # Errors
    ///
    /// As [`ContRef::resume_throw`].
    pub fn resume_throw<'h>(
        self,
        mut store: impl AsContextMut,
        exception: Rooted<ExnRef>,
        handlers: impl Into<Handlers<'h>>,
    ) -> Result<Resumed<Results>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let ready = Ready::new(store, self.cont.root(), handlers.into())?;
        let done = ready.resume_throw(store, exception)?;
        // SAFETY: nothing was done with the store since; the results are of the types that were checked.
        unsafe { ready.done(store, done, |store, values, _| Results::load(store, values)) }
    }

    /// The arguments. To be used before anything is allocated.
    pub(super) fn raw_args(
        &self,
        store: &mut StoreOpaque,
        args: Params,
        ready: &Ready<'_>,
    ) -> Result<Args> {
        let mut raw: Args = smallvec![ValRaw::default(); Params::TYPES.len()];
        // SAFETY: there is room for all; what was written are values of these types.
        unsafe {
            args.store(store, raw.as_mut_ptr())?;
            if self.checked {
                let wanted = &ready.ty.1.params;
                check_values(store, raw.as_ptr(), Params::TYPES, wanted, "argument")?;
            }
        }
        Ok(raw)
    }
}

impl<Params, Results> From<TypedCont<Params, Results>> for OwnedRooted<ContRef> {
    fn from(cont: TypedCont<Params, Results>) -> Self {
        cont.cont
    }
}

impl<Params, Results> fmt::Debug for TypedCont<Params, Results> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedCont").field(&self.cont).finish()
    }
}
