//! Functions that are written in Rust: from a closure to what compiled code calls.
//!
//! For each type of closure there is one `extern "C"` function, which reads the arguments from the
//! array that the exit stub has filled, calls the closure, and writes its results there. Nothing is
//! allocated on the way. Errors and panics become a reason to leave compiled code.

use super::suspend;
use super::wasm_ty::{WasmResults, WasmTy, for_each_arity};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::exception::ThrownException;
use crate::store::{StoreInner, StoreOpaque, host_error};
use crate::types::FuncType;
use crate::val::Val;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::slice;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_abi::vmctx::{ValRaw, VmHostCtx};
use sarsen_vm::exec;
use sarsen_vm::instance::{HostCall, HostFunc, Reason, Store as VmStore};
use smallvec::SmallVec;
use std::sync::Arc;

/// A Rust closure that [`Func::wrap`](super::Func::wrap) and
/// [`Linker::func_wrap`](crate::Linker::func_wrap) take: an `Fn` whose parameters are [`WasmTy`],
/// after an optional [`Caller`], and whose result is a [`WasmRet`].
///
/// # Safety
///
/// Not to be implemented outside of this crate: what it makes is called with stores whose data is `T`.
pub unsafe trait IntoFunc<T: 'static, Params, Results>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_host_func(self, engine: &Engine) -> Result<Arc<HostFunc>>;
}

/// What a host function may return: nothing, one or a tuple of [`WasmTy`], or a [`Result`] of that.
///
/// # Safety
///
/// Not to be implemented outside of this crate.
pub unsafe trait WasmRet {
    /// The types.
    #[doc(hidden)]
    const TYPES: &'static [abi::ValType<TypeId>];

    /// Writes the values to the start of `values`.
    ///
    /// # Safety
    ///
    /// `values` must have room for as many as [`WasmRet::TYPES`] has.
    #[doc(hidden)]
    unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()>;
}

// SAFETY: as the results themselves.
unsafe impl<R: WasmResults> WasmRet for R {
    const TYPES: &'static [abi::ValType<TypeId>] = R::TYPES;

    #[inline(always)]
    unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { R::store(self, store, values) }
    }
}

// SAFETY: as the results themselves.
unsafe impl<R: WasmResults> WasmRet for Result<R, Error> {
    const TYPES: &'static [abi::ValType<TypeId>] = R::TYPES;

    #[inline(always)]
    unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { R::store(self?, store, values) }
    }
}

/// Whether one of these types is a reference, so that a handle is made for a value of it.
const fn has_references(types: &[abi::ValType<TypeId>]) -> bool {
    let mut at = 0;
    while at < types.len() {
        if matches!(types[at], abi::ValType::Ref(_)) {
            return true;
        }
        at += 1;
    }
    false
}

/// Runs `body` with the store and the closure that compiled code has called. `makes_handles` tells
/// whether it can make any: a closure that gets numbers only, and no [`Caller`], cannot.
///
/// # Safety
///
/// `host` must be what compiled code has just passed: a context made for a closure `F` and a store
/// with data `T`.
#[inline(always)]
unsafe fn called<T: 'static, F>(
    host: *mut VmHostCtx,
    makes_handles: bool,
    body: impl FnOnce(NonNull<StoreInner<T>>, NonNull<VmHostCtx>, &F) -> Result<()>,
) -> u64 {
    // SAFETY: compiled code passes its context. The closure is kept alive by the store.
    unsafe {
        let host = NonNull::new_unchecked(host);
        let func = &*host.as_ref().data.cast::<F>();
        within_call::<T>(host, makes_handles, |store, host| body(store, host, func))
    }
}

/// Runs the host's part of a call with its store.
///
/// # Safety
///
/// `host` must be what compiled code has passed, and waits for: a context made for a store with data `T`.
#[inline(always)]
pub(super) unsafe fn within_call<T: 'static>(
    host: NonNull<VmHostCtx>,
    makes_handles: bool,
    body: impl FnOnce(NonNull<StoreInner<T>>, NonNull<VmHostCtx>) -> Result<()>,
) -> u64 {
    // SAFETY: a context leads to its store; both are alive while the function runs.
    unsafe {
        let vm = VmStore::from_ctx(host.as_ref().context.store);
        let mut store = StoreInner::<T>::from_vm(NonNull::new_unchecked(vm));
        // A pointer, of which each use makes a reference of its own.
        let call = move || {
            exec::host_call(host, || {
                let mut failed = store;
                body(store, host)
                    .map_err(|error| into_reason(error, &mut failed.as_mut().opaque, host))
            })
        };
        if !makes_handles {
            return call();
        }
        // Handles that are made meanwhile end with the call, however it ends.
        let scope = store.as_ref().opaque.scope();
        let status = call();
        store.as_mut().opaque.end_scope(scope);
        status
    }
}

/// Why compiled code is to be left, or suspended, when the host function that it has called as `host` fails.
#[cold]
pub(super) fn into_reason(
    error: Error,
    store: &mut StoreOpaque,
    host: NonNull<VmHostCtx>,
) -> Reason {
    // Whoever fails with the promise that an exception was thrown throws it.
    if let Some(thrown) = error.downcast_ref::<ThrownException>()
        && let Some(exception) = store.take_thrown(thrown)
    {
        let error = Some(host_error(error));
        return Reason::Exception { exception, error };
    }
    match suspend::suspension(error, store, host) {
        Ok(suspension) => Reason::Suspend(Box::new(suspension)),
        Err(error) => Reason::Error(host_error(error)),
    }
}

/// # Panics
///
/// Panics when `ty` is of another registry than the engine's.
pub(super) fn host_func<F: Send + Sync + 'static>(
    ty: &FuncType,
    call: HostCall,
    func: F,
) -> Arc<HostFunc> {
    // SAFETY: the callers here pass a `call` that is made for `F` and reads and writes as `ty` says.
    unsafe { HostFunc::new(ty.registered().clone(), call, Box::new(func)) }
}

macro_rules! closures {
    ($(($count:literal $($arg:ident)*))*) => {$(
        // SAFETY: made for stores with this data.
        unsafe impl<T, F, $($arg,)* R> IntoFunc<T, ($($arg,)*), R> for F
        where
            T: 'static,
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            $($arg: WasmTy,)*
            R: WasmRet,
        {
            #[allow(unused, non_snake_case, reason = "made by a macro for any number of parameters")]
            fn into_host_func(self, engine: &Engine) -> Result<Arc<HostFunc>> {
                unsafe extern "C" fn call<T, F, $($arg,)* R>(
                    host: *mut VmHostCtx,
                    values: *mut ValRaw,
                ) -> u64
                where
                    T: 'static,
                    F: Fn($($arg),*) -> R,
                    $($arg: WasmTy,)*
                    R: WasmRet,
                {
                    // SAFETY: compiled code calls this with the context that was made with it, and
                    // with arguments of the declared types.
                    unsafe {
                        let makes_handles = const { has_references(&[$($arg::TYPE),*]) };
                        called::<T, F>(host, makes_handles, |mut store, _, func| {
                            let mut at = 0;
                            $(
                                let $arg = $arg::from_raw(
                                    values.add(at).read(),
                                    &mut store.as_mut().opaque,
                                );
                                at += 1;
                            )*
                            func($($arg),*).store(&mut store.as_mut().opaque, values)
                        })
                    }
                }
                let ty = func_type::<R>(engine, &[$($arg::TYPE),*])?;
                Ok(host_func(&ty, call::<T, F, $($arg,)* R>, self))
            }
        }

        // SAFETY: made for stores with this data.
        unsafe impl<T, F, $($arg,)* R> IntoFunc<T, (Caller<'_, T>, $($arg,)*), R> for F
        where
            T: 'static,
            F: Fn(Caller<'_, T>, $($arg),*) -> R + Send + Sync + 'static,
            $($arg: WasmTy,)*
            R: WasmRet,
        {
            #[allow(unused, non_snake_case, reason = "made by a macro for any number of parameters")]
            fn into_host_func(self, engine: &Engine) -> Result<Arc<HostFunc>> {
                unsafe extern "C" fn call<T, F, $($arg,)* R>(
                    host: *mut VmHostCtx,
                    values: *mut ValRaw,
                ) -> u64
                where
                    T: 'static,
                    F: Fn(Caller<'_, T>, $($arg),*) -> R,
                    $($arg: WasmTy,)*
                    R: WasmRet,
                {
                    // SAFETY: compiled code calls this with the context that was made with it, and
                    // with arguments of the declared types.
                    unsafe {
                        called::<T, F>(host, true, |mut store, host, func| {
                            let mut at = 0;
                            $(
                                let $arg = $arg::from_raw(
                                    values.add(at).read(),
                                    &mut store.as_mut().opaque,
                                );
                                at += 1;
                            )*
                            let caller = Caller::new(store, host);
                            func(caller, $($arg),*).store(&mut store.as_mut().opaque, values)
                        })
                    }
                }
                let ty = func_type::<R>(engine, &[$($arg::TYPE),*])?;
                Ok(host_func(&ty, call::<T, F, $($arg,)* R>, self))
            }
        }
    )*};
}

for_each_arity! { closures }

pub(super) fn func_type<R: WasmRet>(
    engine: &Engine,
    params: &[abi::ValType<TypeId>],
) -> Result<FuncType> {
    FuncType::register(
        engine,
        &abi::FuncType {
            params: params.into(),
            results: R::TYPES.into(),
        },
    )
}

/// A closure with values whose types are known at run time.
struct Dynamic<F> {
    ty: FuncType,
    func: F,
}

/// A host function of type `ty` that gets its arguments as [`Val`]s.
pub(crate) fn dynamic<T: 'static>(
    ty: FuncType,
    func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
) -> Arc<HostFunc> {
    unsafe extern "C" fn call<T, F>(host: *mut VmHostCtx, values: *mut ValRaw) -> u64
    where
        T: 'static,
        F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()>,
    {
        // SAFETY: compiled code calls this with the context that was made with it, and with
        // arguments of the declared types.
        unsafe {
            called::<T, Dynamic<F>>(host, true, |mut store, host, dynamic| {
                let ty = dynamic.ty.as_abi();
                let mut vals = read_arguments(&mut store.as_mut().opaque, ty, values);
                let (params, results) = vals.split_at_mut(ty.params.len());
                (dynamic.func)(Caller::new(store, host), params, results)?;
                write_results(&mut store.as_mut().opaque, ty, results, values)
            })
        }
    }
    fn of<T, F>(_: &F) -> HostCall
    where
        T: 'static,
        F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()>,
    {
        call::<T, F>
    }
    let call = of::<T, _>(&func);
    host_func(&ty.clone(), call, Dynamic { ty, func })
}

/// The arguments, and defaults of the results.
///
/// # Safety
///
/// `values` must hold arguments of the types of `ty`, of `store`.
pub(super) unsafe fn read_arguments(
    store: &mut StoreOpaque,
    ty: &abi::FuncType<TypeId>,
    values: *const ValRaw,
) -> SmallVec<[Val; 8]> {
    let mut vals = SmallVec::with_capacity(ty.params.len() + ty.results.len());
    // SAFETY: the caller's promise.
    vals.extend(unsafe { read_values(store, &ty.params, values) });
    vals.extend(default_values(store, &ty.results));
    vals
}

/// Values of these types.
///
/// # Safety
///
/// `values` must hold them, of `store`, for as long as the result is used.
pub(crate) unsafe fn read_values<'a>(
    store: &'a mut StoreOpaque,
    types: &'a [abi::ValType<TypeId>],
    values: *const ValRaw,
) -> impl ExactSizeIterator<Item = Val> + 'a {
    let types = types.iter().enumerate();
    // SAFETY: the caller's promise.
    types.map(move |(index, &ty)| unsafe { Val::read_raw(store, values.add(index), ty) })
}

/// Defaults of these types, for results that are not yet known. A reference that must not be null is null, and
/// is checked when it is used.
pub(super) fn default_values<'a>(
    store: &'a mut StoreOpaque,
    types: &'a [abi::ValType<TypeId>],
) -> impl ExactSizeIterator<Item = Val> + 'a {
    // SAFETY: zero is null or a number.
    (types.iter()).map(|&ty| unsafe { Val::from_abi(store, ValRaw::default(), ty) })
}

/// # Safety
///
/// `values` must have room for the results.
pub(super) unsafe fn write_results(
    store: &mut StoreOpaque,
    ty: &abi::FuncType<TypeId>,
    results: &[Val],
    values: *mut ValRaw,
) -> Result<()> {
    for (index, (result, &ty)) in results.iter().zip(&ty.results).enumerate() {
        // SAFETY: the caller's promise.
        let into = unsafe { &mut *values.add(index).cast::<MaybeUninit<ValRaw>>() };
        let what = || format!("result {index} of a host function");
        result.write_raw(store, ty, into, what)?;
    }
    Ok(())
}

/// A closure with raw values.
struct Unchecked<F> {
    /// How many values there are: parameters or results, whichever is more.
    values: usize,
    func: F,
}

/// A host function of type `ty` that gets its arguments raw.
///
/// # Safety
///
/// `func` must read and write values as `ty` has them, and references of its store only.
pub(crate) unsafe fn unchecked<T: 'static>(
    ty: FuncType,
    func: impl Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
) -> Arc<HostFunc> {
    unsafe extern "C" fn call<T, F>(host: *mut VmHostCtx, values: *mut ValRaw) -> u64
    where
        T: 'static,
        F: Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()>,
    {
        // SAFETY: compiled code calls this with the context that was made with it, and with room for
        // all values.
        unsafe {
            called::<T, Unchecked<F>>(host, true, |store, host, unchecked| {
                let values = slice::from_raw_parts_mut(values, unchecked.values);
                (unchecked.func)(Caller::new(store, host), values)
            })
        }
    }
    fn of<T, F>(_: &F) -> HostCall
    where
        T: 'static,
        F: Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()>,
    {
        call::<T, F>
    }
    let call = of::<T, _>(&func);
    let values = ty.as_abi().params.len().max(ty.as_abi().results.len());
    host_func(&ty, call, Unchecked { values, func })
}
