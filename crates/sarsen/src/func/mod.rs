//! [`Func`]: a function in a store, of WebAssembly or of the host.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | [`Func`], and calls whose types are checked when they are made |
//! | `typed.rs` | [`TypedFunc`]: calls whose types were checked before |
//! | `asynchronous.rs` | calls that are futures, and functions of the host's that are |
//! | `host.rs` | functions that are written in Rust |
//! | `suspend.rs` | what functions of the host's suspend with |
//! | `wasm_ty.rs` | Rust types that stand for WebAssembly's |

pub(crate) mod asynchronous;
pub(crate) mod host;
mod suspend;
mod typed;
mod wasm_ty;

pub(crate) use asynchronous::Running;
pub(crate) use host::read_values;
pub use host::{IntoFunc, WasmRet};
pub use suspend::Suspend;
pub use typed::TypedFunc;
pub(crate) use typed::check_values;
pub(crate) use wasm_ty::{Fit, check_each, check_params, check_results};
pub use wasm_ty::{WasmParams, WasmResults, WasmTy};

use crate::caller::Caller;
use crate::context::{AsContext, AsContextMut};
use crate::error::{Result, check_count};
use crate::store::StoreOpaque;
use crate::trap;
use crate::types::FuncType;
use crate::val::Val;
use core::ffi::c_void;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_abi::vmctx::{ValRaw, VmFuncRef};
use sarsen_vm::exec;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::StoreId;
use std::sync::Arc;

/// A function in a store.
///
/// ```
/// use sarsen::{Engine, Func, Store, Val};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let add = Func::wrap(&mut store, |a: i32, b: i32| a + b);
///
/// let mut results = [Val::I32(0)];
/// add.call(&mut store, &[Val::I32(2), Val::I32(3)], &mut results)?;
/// assert_eq!(results[0].i32(), Some(5));
///
/// let add = add.typed::<(i32, i32), i32>(&store)?;
/// assert_eq!(add.call(&mut store, (2, 3))?, 5);
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Func {
    store: StoreId,
    funcref: NonNull<VmFuncRef>,
}

// SAFETY: the function is used only together with its store.
unsafe impl Send for Func {}
// SAFETY: as above.
unsafe impl Sync for Func {}

impl Func {
    /// A function of the host's, of a type that is known at run time.
    ///
    /// `func` gets the arguments, and must set every result, which are defaults of their types
    /// before (`Val::I32(0)` for references that cannot be null).
    ///
    /// # Panics
    ///
    /// Panics when the type belongs to another engine.
    pub fn new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Func {
        Func::from_host(
            store.as_context_mut().opaque(),
            &host::dynamic::<T>(ty, func),
        )
    }

    /// A function of the host's, of the type that its Rust type tells: any `Fn` whose parameters are
    /// [`WasmTy`], after an optional [`Caller`], and whose result is a [`WasmRet`].
    ///
    /// An error that it returns, or a panic, leaves WebAssembly and reaches the outermost caller.
    ///
    /// ```
    /// use sarsen::{Caller, Engine, Func, Store};
    ///
    /// let mut store = Store::new(&Engine::default(), vec![]);
    /// let push = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<i64>>, n: i64| {
    ///     if n < 0 {
    ///         sarsen::bail!("negative");
    ///     }
    ///     caller.data_mut().push(n);
    ///     Ok(())
    /// });
    /// let push = push.typed::<i64, ()>(&store)?;
    /// push.call(&mut store, 7)?;
    /// assert_eq!(push.call(&mut store, -1).unwrap_err().root_cause().to_string(), "negative");
    /// assert_eq!(store.data(), &[7]);
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics when the engine has no type ids left.
    pub fn wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Func {
        let mut store = store.as_context_mut();
        let host = func
            .into_host_func(store.engine())
            .unwrap_or_else(|error| panic!("{error}"));
        Func::from_host(store.opaque(), &host)
    }

    /// A function of the host's that reads its arguments from, and writes its results to, the start
    /// of an array of raw values.
    ///
    /// # Safety
    ///
    /// `func` must read and write values as `ty` has them, and references of the store only.
    ///
    /// # Panics
    ///
    /// Panics when the type belongs to another engine.
    pub unsafe fn new_unchecked<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
    ) -> Func {
        // SAFETY: the caller's promise.
        let host = unsafe { host::unchecked::<T>(ty, func) };
        Func::from_host(store.as_context_mut().opaque(), &host)
    }

    /// The function of `host`, which calls with the data of this store's type, in `store`.
    pub(crate) fn from_host(store: &mut StoreOpaque, host: &Arc<vm::HostFunc>) -> Func {
        assert!(
            Arc::ptr_eq(host.ty().registry(), store.engine().types()),
            "the function's type belongs to another engine"
        );
        let funcref = store.vm_mut().new_host_func(host);
        Func::new_handle(store.id(), funcref)
    }

    pub(crate) fn new_handle(store: StoreId, funcref: NonNull<VmFuncRef>) -> Func {
        Func { store, funcref }
    }

    #[inline]
    pub(crate) fn store_id(&self) -> StoreId {
        self.store
    }

    #[inline]
    pub(crate) fn as_raw(&self) -> *const VmFuncRef {
        self.funcref.as_ptr()
    }

    pub(crate) fn to_vm(self) -> vm::Extern {
        vm::Extern::Func(self.funcref)
    }

    /// # Safety
    ///
    /// `funcref` must be null or a function of `store`.
    #[inline]
    pub(crate) unsafe fn from_funcref(
        funcref: *const VmFuncRef,
        store: &StoreOpaque,
    ) -> Option<Func> {
        Some(Func::new_handle(
            store.id(),
            NonNull::new(funcref.cast_mut())?,
        ))
    }

    /// The id of its type. It must belong to `store`.
    #[inline]
    pub(crate) fn type_id(&self, _store: &StoreOpaque) -> TypeId {
        // SAFETY: a function of the store, which is borrowed: alive.
        unsafe { self.funcref.as_ref() }.type_id
    }

    /// Its type. It must belong to `store`.
    ///
    /// # Safety
    ///
    /// The result must not be used after the store is dropped. (It borrows nothing, so that the store
    /// can be used while arguments are checked.)
    #[inline]
    unsafe fn abi_type<'t>(&self, store: &StoreOpaque) -> &'t abi::FuncType<TypeId> {
        let id = self.type_id(store);
        // SAFETY: a store keeps the types of its functions registered, at addresses that do not
        // change.
        unsafe {
            let ty = store.engine().types().func_type_held(id);
            let ty = ty.expect("functions have function types");
            &*Arc::as_ptr(ty)
        }
    }

    pub(crate) fn type_in(&self, store: &StoreOpaque) -> FuncType {
        FuncType::from_id(store.engine(), self.type_id(store))
    }

    /// Its type.
    ///
    /// # Panics
    ///
    /// This and the other methods panic when the function belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        let store = store.as_context().opaque();
        store.assert_owns(self.store);
        self.type_in(store)
    }

    /// Whether it is a function of type `ty`.
    pub fn matches_ty(&self, store: impl AsContext, ty: &FuncType) -> bool {
        self.ty(store).matches(ty)
    }

    /// Makes it ready to be called by more than who imports it. It must belong to `store`.
    #[inline]
    pub(crate) fn resolve(&self, store: &mut StoreOpaque) -> Result<()> {
        // SAFETY: a function of the store, which is borrowed: alive.
        if unsafe { self.funcref.as_ref() }.code.is_null() {
            return self.resolve_now(store);
        }
        Ok(())
    }

    #[cold]
    fn resolve_now(&self, store: &mut StoreOpaque) -> Result<()> {
        // SAFETY: a function of this store.
        if let Err(missing) = unsafe { store.vm_mut().resolve(self.funcref) } {
            let stubs = store.engine().stubs(missing)?;
            // SAFETY: an unresolved function of this store, and stubs of its type.
            unsafe { store.vm_mut().resolve_with(self.funcref, stubs) };
        }
        Ok(())
    }

    /// Calls it with `params`, and writes what it returns to `results`.
    ///
    /// # Errors
    ///
    /// When there is another number of parameters or results, a parameter is of another type or
    /// belongs to another store, or the function traps or fails; see [`Trap`](crate::Trap).
    pub fn call(
        &self,
        mut store: impl AsContextMut,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        self.call_values(store.as_context_mut().opaque(), params, results)
    }

    fn call_values(
        &self,
        store: &mut StoreOpaque,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        store.assert_owns(self.store);
        self.resolve(store)?;
        // SAFETY: the store is borrowed until the function returns.
        let ty = unsafe { self.abi_type(store) };
        check_count("arguments", ty.params.len(), params.len())?;
        check_count("results", ty.results.len(), results.len())?;
        let mut few = [const { MaybeUninit::<ValRaw>::uninit() }; 8];
        let mut many = Vec::new();
        let needed = params.len().max(results.len());
        let values: &mut [MaybeUninit<ValRaw>] = if needed <= few.len() {
            &mut few
        } else {
            many.resize(needed, MaybeUninit::uninit());
            &mut many
        };
        for (index, (param, &ty)) in params.iter().zip(&ty.params).enumerate() {
            param.write_raw(store, ty, &mut values[index], || {
                format!("argument {index}")
            })?;
        }
        let values = values.as_mut_ptr().cast::<ValRaw>();
        // SAFETY: a function of this store, ready, with arguments of its types and room for its
        // results.
        unsafe { self.enter(store, values)? };
        for (index, (result, &ty)) in results.iter_mut().zip(&ty.results).enumerate() {
            // SAFETY: the function has returned a value of this type here.
            *result = unsafe { Val::read_raw(store, values.add(index), ty) };
        }
        Ok(())
    }

    /// Calls it with raw arguments at the start of `values`, where the results are afterwards.
    ///
    /// # Errors
    ///
    /// When the function traps or fails, or `values` has not as many as there are parameters or
    /// results, whichever is more.
    ///
    /// # Safety
    ///
    /// `values` must be valid, and hold arguments of the function's types, with references of this
    /// store only.
    pub unsafe fn call_unchecked(
        &self,
        mut store: impl AsContextMut,
        values: *mut [ValRaw],
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.store);
        self.resolve(store)?;
        // SAFETY: the store is borrowed until the function returns.
        let ty = unsafe { self.abi_type(store) };
        let needed = ty.params.len().max(ty.results.len());
        if values.len() < needed {
            check_count("values", needed, values.len())?;
        }
        // SAFETY: a function of this store, ready; the caller's promise for the values.
        unsafe { self.enter(store, values.cast()) }
    }

    /// # Safety
    ///
    /// The function must belong to `store` and be resolved; see [`exec::enter`] for `values`.
    #[inline(always)]
    unsafe fn enter(&self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
        // SAFETY: the caller's promise; the store is borrowed exclusively, and not used meanwhile
        // but by host functions that compiled code calls.
        unsafe { exec::enter(store.vm_ptr(), self.funcref.as_ptr(), values) }
            .map_err(|unwound| trap::into_error(unwound, store))
    }

    /// The same function, for calls with parameters and results of these Rust types.
    ///
    /// # Errors
    ///
    /// [`TypeError`](crate::TypeError) when its type is another one.
    pub fn typed<Params: WasmParams, Results: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<Params, Results>> {
        let store = store.as_context().opaque();
        store.assert_owns(self.store);
        // SAFETY: the store is borrowed until the function returns.
        let ty = unsafe { self.abi_type(store) };
        let types = store.engine().types();
        let fit = wasm_ty::check_params(types, Params::TYPES, &ty.params)?;
        wasm_ty::check_results(types, &ty.results, Results::TYPES)?;
        Ok(TypedFunc::new(*self, fit))
    }

    /// The function as an address that compiled code passes around.
    ///
    /// # Errors
    ///
    /// When no machine code can be made for its type.
    pub fn to_raw(&self, mut store: impl AsContextMut) -> Result<*mut c_void> {
        let mut store = store.as_context_mut();
        store.opaque().assert_owns(self.store);
        self.resolve(store.opaque())?;
        Ok(self.funcref.as_ptr().cast())
    }

    /// The function at an address that compiled code passed.
    ///
    /// # Safety
    ///
    /// `raw` must be null or a function of this store.
    pub unsafe fn from_raw(store: impl AsContextMut, raw: *mut c_void) -> Option<Func> {
        // SAFETY: the caller's promise.
        unsafe { Func::from_funcref(raw.cast(), store.as_context().opaque()) }
    }
}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Func({:p})", self.funcref)
    }
}

/// As [`run_start`], asynchronously.
pub(crate) async fn run_start_async(store: &mut StoreOpaque, start: Option<Func>) -> Result<()> {
    let Some(start) = start else {
        return Ok(());
    };
    start.resolve(store)?;
    // SAFETY: a function of this store, ready; as in `run_start`.
    let mut running = unsafe { Running::new(store, &start, 0)? };
    (&mut running).await
}

/// Runs a start function, if there is one.
pub(crate) fn run_start(store: &mut StoreOpaque, start: Option<Func>) -> Result<()> {
    let Some(start) = start else {
        return Ok(());
    };
    start.resolve(store)?;
    // SAFETY: a function of this store, ready; validation ensures that a start function has neither
    // parameters nor results.
    unsafe { start.enter(store, NonNull::dangling().as_ptr()) }
}
