//! Resuming continuations as a future.

use super::super::rooted::{ContRef, ExnRef, GcRefImpl, Rooted};
use super::resume::{Handlers, Ready, Resumed, read};
use super::typed::TypedCont;
use crate::context::AsContextMut;
use crate::error::Result;
use crate::func::{Running, WasmParams, WasmResults};
use crate::store::StoreOpaque;
use crate::val::{Val, ValRaw};
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_vm::exec::Prepared;

impl ContRef {
    /// As [`ContRef::resume`], as a future: what runs inside may wait, as in [`Func::call_async`].
    ///
    /// Dropping the future stops the continuation wherever it waits. It is consumed then, and not unwound.
    ///
    /// # Errors
    ///
    /// As [`ContRef::resume`].
    ///
    /// [`Func::call_async`]: crate::Func::call_async
    pub async fn resume_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        args: &[Val],
        handlers: impl Into<Handlers<'_>>,
    ) -> Result<Resumed> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let ready = Ready::new(store, self.root(), handlers.into())?;
        let args = ready.checked_args(store, args)?;
        let prepare = |store: &mut StoreOpaque| {
            // SAFETY: the arguments were just checked.
            unsafe { ready.prepare(store, args) }
        };
        // SAFETY: what is read is of the types that the continuation has.
        unsafe { resume(store, &ready, prepare, read).await }
    }

    /// As [`ContRef::resume_throw`], as a future; see [`ContRef::resume_async`].
    ///
    /// # Errors
    ///
    /// As [`ContRef::resume_throw`].
    pub async fn resume_throw_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        exception: Rooted<ExnRef>,
        handlers: impl Into<Handlers<'_>>,
    ) -> Result<Resumed> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let ready = Ready::new(store, self.root(), handlers.into())?;
        let prepare = |store: &mut StoreOpaque| ready.prepare_throw(store, exception);
        // SAFETY: what is read is of the types that the continuation has.
        unsafe { resume(store, &ready, prepare, read).await }
    }
}

impl<Params: WasmParams, Results: WasmResults> TypedCont<Params, Results> {
    /// As [`TypedCont::resume`], as a future; see [`ContRef::resume_async`].
    ///
    /// # Errors
    ///
    /// As [`ContRef::resume`].
    pub async fn resume_async(
        self,
        mut store: impl AsContextMut<Data: Send>,
        args: Params,
        handlers: impl Into<Handlers<'_>>,
    ) -> Result<Resumed<Results>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let ready = Ready::new(store, self.as_cont().root(), handlers.into())?;
        let args = self.raw_args(store, args, &ready)?;
        let prepare = |store: &mut StoreOpaque| {
            // SAFETY: the arguments are of the types that were checked when this was made.
            unsafe { ready.prepare(store, args) }
        };
        // SAFETY: the results are, too.
        unsafe {
            resume(store, &ready, prepare, |store, values, _| {
                Results::load(store, values)
            })
            .await
        }
    }

    /// As [`TypedCont::resume_throw`], as a future; see [`ContRef::resume_async`].
    ///
    /// # Errors
    ///
    /// As [`ContRef::resume_throw`].
    pub async fn resume_throw_async(
        self,
        mut store: impl AsContextMut<Data: Send>,
        exception: Rooted<ExnRef>,
        handlers: impl Into<Handlers<'_>>,
    ) -> Result<Resumed<Results>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let ready = Ready::new(store, self.as_cont().root(), handlers.into())?;
        let prepare = |store: &mut StoreOpaque| ready.prepare_throw(store, exception);
        // SAFETY: the results are of the types that were checked when this was made.
        unsafe {
            resume(store, &ready, prepare, |store, values, _| {
                Results::load(store, values)
            })
            .await
        }
    }
}

/// Resumes the continuation that `prepare` takes: the one of `ready`.
///
/// # Safety
///
/// What `read` reads must be of the types of the continuation.
async unsafe fn resume<R>(
    store: &mut StoreOpaque,
    ready: &Ready<'_>,
    prepare: impl FnOnce(&mut StoreOpaque) -> Result<Prepared>,
    read: impl FnOnce(&mut StoreOpaque, *const ValRaw, &[abi::ValType<TypeId>]) -> R,
) -> Result<Resumed<R>> {
    // SAFETY: the caller's promise. It is polled as soon as it is made, and what it has done is looked at as soon
    // as that is known.
    unsafe {
        let mut running = Running::resume(store, prepare, &ready.clauses)?;
        (&mut running).await?;
        let (store, done) = running.done();
        ready.done(store, done, read)
    }
}
