//! Resuming continuations as a future.

use super::super::rooted::{ContRef, GcRefImpl};
use super::resume::{Args, Handlers, Ready, Resumed, read};
use super::typed::TypedCont;
use crate::context::AsContextMut;
use crate::error::Result;
use crate::func::{Running, WasmParams, WasmResults};
use crate::store::StoreOpaque;
use crate::val::{Val, ValRaw};
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;

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
        // SAFETY: the arguments were just checked.
        unsafe { resume(store, &ready, args, read).await }
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
        // SAFETY: the arguments and results are of the types that were checked when this was made.
        unsafe {
            resume(store, &ready, args, |store, values, _| {
                Results::load(store, values)
            })
            .await
        }
    }
}

/// # Safety
///
/// The arguments must be of the continuation's types, and nothing be allocated since they were made; and so must
/// be what `read` reads.
async unsafe fn resume<R>(
    store: &mut StoreOpaque,
    ready: &Ready<'_>,
    args: Args,
    read: impl FnOnce(&mut StoreOpaque, *const ValRaw, &[abi::ValType<TypeId>]) -> R,
) -> Result<Resumed<R>> {
    // SAFETY: the caller's promise. It is polled as soon as it is made, and what it has done is looked at as soon
    // as that is known.
    unsafe {
        let mut running =
            Running::resume(store, |store| ready.prepare(store, args), &ready.clauses)?;
        (&mut running).await?;
        let (store, done) = running.done();
        ready.done(store, done, read)
    }
}
