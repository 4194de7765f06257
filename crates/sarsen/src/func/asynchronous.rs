//! Calls that are futures, and functions of the host's that are.
//!
//! ```text
//!   call_async ──► Running ── polls ──► sarsen_vm's AsyncCall ──► WebAssembly ──► async host function
//!                                          │  until it is ready ◄── HostJob ◄──── pending ─┘
//!                                          └─ polls ─────────────────► its future
//! ```
//!
//! An async host function's future is polled at once, where a synchronous one would run. Only when it is
//! pending it becomes a job that the next polls poll.

use super::host::{func_type, host_func, into_reason, read_arguments, write_results};
use super::wasm_ty::{WasmParams, WasmResults};
use super::{Func, TypedFunc, WasmRet};
use crate::caller::Caller;
use crate::context::AsContextMut;
use crate::engine::Engine;
use crate::error::{AsyncRequiredError, Result, check_count};
use crate::gc::Clauses;
use crate::store::{StoreInner, StoreOpaque, host_error};
use crate::trap;
use crate::types::FuncType;
use crate::val::Val;
use core::future::Future;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};
use sarsen_abi::vmctx::{ValRaw, VmHostCtx};
use sarsen_vm::exec::{self, Answer, AsyncCall, Prepared};
use sarsen_vm::gc::RootScope;
use sarsen_vm::instance::{HostCall, HostFunc, Reason, Store as VmStore};
use smallvec::SmallVec;
use std::sync::Arc;

/// What an async host function returns.
type HostFuture<'a, R> = Box<dyn Future<Output = R> + Send + 'a>;

/// A call that was begun.
pub(crate) struct Running<'a> {
    store: &'a mut StoreOpaque,
    call: AsyncCall,
}

// SAFETY: the call goes with its store; what makes it requires that the store's data is `Send`.
unsafe impl Send for Running<'_> {}

impl<'a> Running<'a> {
    /// A call of a function with so many parameters or results, whichever is more.
    ///
    /// # Safety
    ///
    /// The function must belong to `store` and be resolved; arguments must be written ([`Running::parts`])
    /// and the call polled before the store is used for anything else.
    pub(super) unsafe fn new(
        store: &'a mut StoreOpaque,
        func: &Func,
        values: usize,
    ) -> Result<Running<'a>> {
        // SAFETY: the caller's promise; the store outlives what borrows it. It is borrowed exclusively: no other call
        // of it that is between two polls will be heard of again.
        let call = unsafe { AsyncCall::new(store.vm_mut(), func.as_raw(), values) };
        let call = call.map_err(|unwound| trap::into_error(unwound, store))?;
        Ok(Running { store, call })
    }

    /// A call that resumes the continuation that `prepare` takes, with these clauses.
    ///
    /// # Safety
    ///
    /// The tags must belong to `store`; the call must be polled before the store is used for anything else.
    pub(crate) unsafe fn resume(
        store: &'a mut StoreOpaque,
        prepare: impl FnOnce(&mut StoreOpaque) -> Result<Prepared>,
        clauses: &Clauses,
    ) -> Result<Running<'a>> {
        // SAFETY: as in `Running::new`.
        let call = unsafe { AsyncCall::to_resume(store.vm_mut()) };
        let mut call = call.map_err(|unwound| trap::into_error(unwound, store))?;
        let prepared = prepare(store)?;
        // SAFETY: as above; just prepared.
        unsafe { call.resume(&prepared, &clauses.tags, clauses.switches) };
        Ok(Running { store, call })
    }

    /// The store, and what the continuation has done that the call has resumed, when it is ready.
    pub(crate) fn done(&mut self) -> (&mut StoreOpaque, exec::Resumed) {
        (self.store, self.call.resumed())
    }

    /// The store, and where arguments are written and results read.
    fn parts(&mut self) -> (&mut StoreOpaque, *mut ValRaw) {
        (self.store, self.call.values())
    }
}

impl Future for Running<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // SAFETY: the store is borrowed exclusively, and not used meanwhile but by host functions that
        // compiled code calls; arguments were written (`Running::new`).
        let polled = unsafe { self.call.poll(context) };
        let store = &*self.store;
        polled.map(|result| result.map_err(|unwound| trap::into_error(unwound, store)))
    }
}

impl Func {
    /// A function of the host's that may have to wait, of a type that is known at run time; otherwise as
    /// [`Func::new`]. `func` returns a future: `Box::new(async move { … })`.
    ///
    /// It can be called from WebAssembly that was called asynchronously ([`Func::call_async`]). Any other
    /// call of it fails with an [`AsyncRequiredError`].
    ///
    /// # Panics
    ///
    /// Panics when the type belongs to another engine.
    pub fn new_async<T, F>(mut store: impl AsContextMut<Data = T>, ty: FuncType, func: F) -> Func
    where
        T: Send + 'static,
        F: for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> HostFuture<'a, Result<()>>
            + Send
            + Sync
            + 'static,
    {
        Func::from_host(store.as_context_mut().opaque(), &dynamic::<T, F>(ty, func))
    }

    /// A function of the host's that may have to wait, of the type that its Rust type tells: a closure
    /// that takes a [`Caller`] and a tuple of [`WasmTy`](crate::WasmTy), and returns a boxed future of a
    /// [`WasmRet`]. See [`Func::new_async`].
    ///
    /// ```
    /// use sarsen::{Engine, Func, Store};
    ///
    /// let mut store = Store::new(&Engine::default(), ());
    /// let add = Func::wrap_async(&mut store, |_, (a, b): (i32, i32)| {
    ///     Box::new(async move { a + b })
    /// });
    /// # let _ = add;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics when the engine has no type ids left.
    pub fn wrap_async<T, F, P, R>(mut store: impl AsContextMut<Data = T>, func: F) -> Func
    where
        T: Send + 'static,
        F: for<'a> Fn(Caller<'a, T>, P) -> HostFuture<'a, R> + Send + Sync + 'static,
        P: WasmResults,
        R: WasmRet + 'static,
    {
        let mut store = store.as_context_mut();
        let host = typed(store.engine(), func).unwrap_or_else(|error| panic!("{error}"));
        Func::from_host(store.opaque(), &host)
    }

    /// As [`Func::call`], as a future: WebAssembly may call async host functions, and yields where the store
    /// says so ([`Store::epoch_deadline_async_yield_and_update`](crate::Store::epoch_deadline_async_yield_and_update)).
    /// It runs on a stack of its own ([`Config::async_stack_size`](crate::Config::async_stack_size)) while
    /// the future is polled, on whatever thread that is.
    ///
    /// Dropping the future stops the call wherever it waits. WebAssembly is not unwound then; memories and
    /// globals stay as they are, and the store is as usable as before.
    ///
    /// Forgetting it ([`mem::forget`](core::mem::forget)) does no harm either, but what host functions have in their
    /// futures is never dropped, and what they have rooted stays so for as long as the store. Its stacks are recycled
    /// when the store is dropped, or when it is used for another asynchronous call. If it waits in a shared memory, it
    /// is one of those that a notification there may wake.
    ///
    /// # Errors
    ///
    /// As [`Func::call`], and when there is no stack left ([`Trap::OutOfStacks`](crate::Trap::OutOfStacks)).
    ///
    /// # Panics
    ///
    /// As [`Func::call`].
    pub async fn call_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.store);
        self.resolve(store)?;
        // SAFETY: the store is borrowed until the function returns.
        let ty = unsafe { self.abi_type(store) };
        check_count("arguments", ty.params.len(), params.len())?;
        check_count("results", ty.results.len(), results.len())?;
        // SAFETY: a function of this store, ready; it is polled as soon as its arguments are there.
        let mut running = unsafe { Running::new(store, self, params.len().max(results.len()))? };
        {
            let (store, values) = running.parts();
            for (index, (param, &ty)) in params.iter().zip(&ty.params).enumerate() {
                // SAFETY: there is room for all.
                let into = unsafe { &mut *values.add(index).cast::<MaybeUninit<ValRaw>>() };
                param.write_raw(store, ty, into, || format!("argument {index}"))?;
            }
        }
        (&mut running).await?;
        let (store, values) = running.parts();
        for (index, (result, &ty)) in results.iter_mut().zip(&ty.results).enumerate() {
            // SAFETY: the function has returned a value of this type here.
            *result = unsafe { Val::read_raw(store, values.add(index), ty) };
        }
        Ok(())
    }
}

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    /// As [`TypedFunc::call`], as a future; see [`Func::call_async`].
    ///
    /// # Errors
    ///
    /// As [`TypedFunc::call`], and when there is no stack left.
    ///
    /// # Panics
    ///
    /// As [`TypedFunc::call`].
    pub async fn call_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        params: Params,
    ) -> Result<Results> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.assert_owns(self.func.store);
        self.func.resolve(store)?;
        let values = Params::TYPES.len().max(Results::TYPES.len());
        // SAFETY: a function of this store, ready; it is polled as soon as its arguments are there, for
        // which there is room.
        let mut running = unsafe { Running::new(store, &self.func, values)? };
        {
            let (store, values) = running.parts();
            // SAFETY: as above; the function's type was checked when `self` was made.
            unsafe {
                params.store(store, values)?;
                self.check_if_needed(store, values)?;
            }
        }
        (&mut running).await?;
        let (store, values) = running.parts();
        // SAFETY: the function has returned values of these types.
        Ok(unsafe { Results::load(store, values) })
    }
}

/// A future that writes what it gives to where compiled code finds it.
///
/// What is written is raw, as is the reason why it fails. So the host's future is dropped before: as that happens, it
/// may use its store.
trait Writes: Send {
    /// # Safety
    ///
    /// `values` must have room for the results, and `store` be the store of the function.
    unsafe fn poll(
        &mut self,
        store: NonNull<StoreOpaque>,
        values: *mut ValRaw,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>>;
}

/// A future of the host's, which is gone as soon as it is ready, or has panicked.
struct Fused<R>(Option<Pin<HostFuture<'static, R>>>);

impl<R> Fused<R> {
    fn new(future: HostFuture<'static, R>) -> Fused<R> {
        Fused(Some(Box::into_pin(future)))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<R> {
        let mut future = self.0.take().expect("polled until it is ready");
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(future);
        }
        polled
    }
}

/// Of a function whose type is known in Rust.
struct Typed<R>(Fused<R>);

impl<R: WasmRet> Writes for Typed<R> {
    #[inline]
    unsafe fn poll(
        &mut self,
        mut store: NonNull<StoreOpaque>,
        values: *mut ValRaw,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let polled = self.0.poll(context);
        // SAFETY: the caller's promise.
        polled.map(|results| unsafe { results.store(store.as_mut(), values) })
    }
}

/// Of a function whose type is known at run time. The future refers to the values: it is dropped first.
struct Dynamic {
    future: Fused<Result<()>>,
    vals: NonNull<SmallVec<[Val; 8]>>,
    ty: FuncType,
}

// SAFETY: the values are this one's alone.
unsafe impl Send for Dynamic {}

impl Writes for Dynamic {
    unsafe fn poll(
        &mut self,
        mut store: NonNull<StoreOpaque>,
        values: *mut ValRaw,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let Poll::Ready(result) = self.future.poll(context) else {
            return Poll::Pending;
        };
        let ty = self.ty.as_abi();
        // SAFETY: the future is gone, so that nobody else refers to the values; the caller's promise.
        Poll::Ready(result.and_then(|()| unsafe {
            let results = &self.vals.as_ref()[ty.params.len()..];
            write_results(store.as_mut(), ty, results, values)
        }))
    }
}

impl Drop for Dynamic {
    fn drop(&mut self) {
        self.future = Fused(None);
        // SAFETY: leaked when this was made; the future that referred to it is gone.
        drop(unsafe { Box::from_raw(self.vals.as_ptr()) });
    }
}

/// Ends the scope of handles that a host function has made.
struct EndScope {
    store: NonNull<StoreOpaque>,
    scope: Option<RootScope>,
}

impl Drop for EndScope {
    fn drop(&mut self) {
        if let Some(scope) = self.scope.take() {
            // SAFETY: the store outlives calls of its functions; nobody else refers to it now.
            unsafe { self.store.as_mut() }.end_scope(scope);
        }
    }
}

/// The future of a host function, while compiled code waits for it.
struct HostJob<W> {
    future: W,
    host: NonNull<VmHostCtx>,
    values: *mut ValRaw,
    end: EndScope,
}

// SAFETY: the pointers are to the store and the frames of the call that waits, which go with the job.
unsafe impl<W: Send> Send for HostJob<W> {}

impl<W: Writes> exec::Job for HostJob<W> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        let mut pending = false;
        let mut store = self.end.store;
        // SAFETY: compiled code waits, in a call of this function: its context and values are alive.
        let status = unsafe {
            exec::host_call(self.host, || {
                match self.future.poll(store, self.values, context) {
                    Poll::Ready(result) => {
                        result.map_err(|error| into_reason(error, store.as_mut(), self.host))
                    }
                    Poll::Pending => {
                        pending = true;
                        Ok(())
                    }
                }
            })
        };
        if pending {
            return Poll::Pending;
        }
        Poll::Ready([status, 0])
    }
}

/// As `host`'s function for synchronous ones: `start` makes the future.
///
/// # Safety
///
/// `host` must be what compiled code has just passed: a context made for a closure `F` and a store with data
/// `T`. `values` must have room for the results of the future.
#[inline(always)]
unsafe fn called<T: 'static, F, W: Writes + 'static>(
    host: *mut VmHostCtx,
    values: *mut ValRaw,
    start: impl FnOnce(NonNull<StoreInner<T>>, NonNull<VmHostCtx>, &F) -> W,
) -> u64 {
    // SAFETY: compiled code passes its context, and the context its store; both are alive while the
    // function runs, or waits. The closure is kept alive by the store.
    unsafe {
        let host = NonNull::new_unchecked(host);
        let vm = NonNull::new_unchecked(VmStore::from_ctx(host.as_ref().context.store));
        let inner = StoreInner::<T>::from_vm(vm);
        let mut store = NonNull::new_unchecked(&raw mut (*inner.as_ptr()).opaque);
        let func = &*host.as_ref().data.cast::<F>();
        let scope = Some(store.as_ref().scope());
        let end = EndScope { store, scope };
        let mut pending = None;
        let status = exec::host_call(host, || {
            if !exec::can_wait(vm) {
                let error = AsyncRequiredError::new("calling an async host function");
                return Err(Reason::Error(host_error(error.into())));
            }
            let mut future = start(inner, host, func);
            let polled = exec::with_context(vm, |context| future.poll(store, values, context));
            match polled.expect("just seen that it can wait") {
                Poll::Ready(result) => {
                    result.map_err(|error| into_reason(error, store.as_mut(), host))
                }
                Poll::Pending => {
                    pending = Some(future);
                    Ok(())
                }
            }
        });
        if let Some(future) = pending {
            let job = HostJob {
                future,
                host,
                values,
                end,
            };
            exec::wait_for(vm, Box::new(job));
        }
        status
    }
}

/// A host function of the type that its Rust type tells.
pub(crate) fn typed<T, F, P, R>(engine: &Engine, func: F) -> Result<Arc<HostFunc>>
where
    T: Send + 'static,
    F: for<'a> Fn(Caller<'a, T>, P) -> HostFuture<'a, R> + Send + Sync + 'static,
    P: WasmResults,
    R: WasmRet + 'static,
{
    unsafe extern "C" fn call<T, F, P, R>(host: *mut VmHostCtx, values: *mut ValRaw) -> u64
    where
        T: Send + 'static,
        F: for<'a> Fn(Caller<'a, T>, P) -> HostFuture<'a, R>,
        P: WasmResults,
        R: WasmRet + 'static,
    {
        // SAFETY: compiled code calls this with the context that was made with it, and with arguments of
        // the declared types. The caller is as good as the future, which compiled code waits for.
        unsafe {
            called::<T, F, Typed<R>>(host, values, |mut store, host, func| {
                let params = P::load(&mut store.as_mut().opaque, values);
                Typed(Fused::new(func(Caller::new(store, host), params)))
            })
        }
    }
    let ty = func_type::<R>(engine, P::TYPES)?;
    Ok(host_func(&ty, call::<T, F, P, R>, func))
}

/// A closure with values whose types are known at run time.
struct DynamicFunc<F> {
    ty: FuncType,
    func: F,
}

/// A host function of type `ty`.
pub(crate) fn dynamic<T, F>(ty: FuncType, func: F) -> Arc<HostFunc>
where
    T: Send + 'static,
    F: for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> HostFuture<'a, Result<()>>
        + Send
        + Sync
        + 'static,
{
    unsafe extern "C" fn call<T, F>(host: *mut VmHostCtx, values: *mut ValRaw) -> u64
    where
        T: Send + 'static,
        F: for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> HostFuture<'a, Result<()>>,
    {
        // SAFETY: as in `typed`. The values live until the future is gone.
        unsafe {
            called::<T, DynamicFunc<F>, Dynamic>(host, values, |mut store, host, dynamic| {
                let ty = dynamic.ty.clone();
                let vals = read_arguments(&mut store.as_mut().opaque, ty.as_abi(), values);
                let vals = NonNull::from(Box::leak(Box::new(vals)));
                let (params, results) = (*vals.as_ptr()).split_at_mut(ty.as_abi().params.len());
                // Made first: the closure may panic.
                let mut writes = Dynamic {
                    future: Fused(None),
                    vals,
                    ty,
                };
                let future = (dynamic.func)(Caller::new(store, host), params, results);
                writes.future = Fused::new(future);
                writes
            })
        }
    }
    let call: HostCall = call::<T, F>;
    host_func(&ty.clone(), call, DynamicFunc { ty, func })
}
