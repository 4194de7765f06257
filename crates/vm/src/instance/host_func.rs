//! Host functions, as compiled code calls them.
//!
//! A [`HostFunc`] is what the host defines: a function and its data, of no store. Compiled code
//! calls it through a *context* ([`VmHostCtx`]) and a reference ([`VmFuncRef`]), of which there is
//! one per import, in the importing instance's block, so that the function knows its caller; and
//! one for each function that the host makes in a store by itself ([`HostFuncObject`]).
//!
//! # Stubs
//!
//! Compiled code enters a host function through the *exit stub* of its type. An importing module has
//! that stub, so an import is always complete. A function that the host makes may exist before any
//! image has stubs for its type: its reference is *unresolved* (its `code` is null) until
//! [`Store::resolve`] finds some, and must be resolved before compiled code gets it in any other
//! way than as an import.

use super::engine::Stubs;
use super::stable::Stable;
use super::store::Store;
use crate::types::RegisteredType;
use sarsen_abi::TypeId;
use sarsen_abi::vmctx::{
    ContextHeader, HOSTCTX_MAGIC, NO_FUNC_ID, ValRaw, VmCtxHeader, VmFuncRef, VmHostCtx,
};
use std::any::Any;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// What compiled code calls for a host function; see [`VmHostCtx::call`].
pub type HostCall = unsafe extern "C" fn(host: *mut VmHostCtx, values: *mut ValRaw) -> u64;

/// A host function of no store in particular: callable by every store of its engine.
pub struct HostFunc {
    ty: RegisteredType,
    call: HostCall,
    data: Box<dyn Any + Send + Sync>,
}

impl HostFunc {
    /// Defines a function of type `ty`. `call` finds the address of what `data` holds in
    /// [`VmHostCtx::data`], for as long as any store may call the function.
    ///
    /// # Safety
    ///
    /// `call` must do what its type promises: read arguments and write results of exactly that
    /// type, from any thread that uses a store, and not unwind.
    pub unsafe fn new(
        ty: RegisteredType,
        call: HostCall,
        data: Box<dyn Any + Send + Sync>,
    ) -> Arc<HostFunc> {
        Arc::new(HostFunc { ty, call, data })
    }

    /// Its type.
    #[inline]
    pub fn ty(&self) -> &RegisteredType {
        &self.ty
    }

    /// Its data.
    #[inline]
    pub fn data(&self) -> &(dyn Any + Send + Sync) {
        &*self.data
    }

    /// A context through which `caller` (or, when null, the host) calls this function in `store`.
    pub(super) fn context(&self, store: &Store, caller: *mut VmCtxHeader) -> VmHostCtx {
        VmHostCtx {
            context: ContextHeader {
                magic: HOSTCTX_MAGIC,
                reserved: 0,
                store: store.ctx(),
                builtins: store.engine().builtins(),
            },
            call: self.call,
            caller,
            data: ptr::from_ref(&*self.data).cast(),
            type_id: self.ty.id(),
        }
    }
}

impl fmt::Debug for HostFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFunc")
            .field("type", &self.ty.id())
            .finish_non_exhaustive()
    }
}

/// A host function that the host made in a store.
pub(super) struct HostFuncObject {
    context: VmHostCtx,
    funcref: VmFuncRef,
}

/// No image that is alive has the stubs of a function type: compile some, and
/// [`Store::resolve_with`] them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MissingStubs(
    /// The type.
    pub TypeId,
);

impl Store {
    /// Makes a host function callable in this store. The reference is resolved if an image that is
    /// alive has stubs for its type.
    pub fn new_host_func(&mut self, func: &Arc<HostFunc>) -> NonNull<VmFuncRef> {
        let object = Stable::new(HostFuncObject {
            context: func.context(self, ptr::null_mut()),
            funcref: VmFuncRef {
                code: ptr::null(),
                context: ptr::null_mut(),
                entry: ptr::null(),
                type_id: func.ty.id(),
                id: NO_FUNC_ID,
            },
        });
        let at = object.as_non_null().as_ptr();
        // SAFETY: `object` is ours, and its address does not change.
        let funcref = unsafe {
            (*at).funcref.context = (&raw mut (*at).context).cast();
            NonNull::new_unchecked(&raw mut (*at).funcref)
        };
        self.host_funcs.push(object);
        self.keep_host_func(Arc::clone(func));
        // When there are none yet, somebody resolves it later.
        // SAFETY: just made in this store.
        let _unresolved = unsafe { self.resolve(funcref) };
        funcref
    }

    /// Makes a function callable by more than those who import it: by the host, or as a reference.
    /// Does nothing for a function that is resolved already.
    ///
    /// # Errors
    ///
    /// When no image that is alive has stubs for its type.
    ///
    /// # Safety
    ///
    /// `func` must be a function of this store.
    pub unsafe fn resolve(&mut self, func: NonNull<VmFuncRef>) -> Result<(), MissingStubs> {
        // SAFETY: a function of this store, so alive; nobody writes it meanwhile.
        let VmFuncRef { code, type_id, .. } = unsafe { func.read() };
        if !code.is_null() {
            return Ok(());
        }
        let stubs = self.engine().stubs(type_id).ok_or(MissingStubs(type_id))?;
        // SAFETY: the caller's promise, and these are stubs of its type.
        unsafe { self.resolve_with(func, stubs) };
        Ok(())
    }

    /// Resolves a function with stubs that the caller has.
    ///
    /// # Safety
    ///
    /// `func` must be an unresolved function of this store, and `stubs` those of a function type
    /// with the same parameters and results, up to subtyping of references.
    pub unsafe fn resolve_with(&mut self, func: NonNull<VmFuncRef>, stubs: Stubs) {
        let func = func.as_ptr();
        // SAFETY: a function of this store, so alive; compiled code does not have it yet.
        unsafe {
            (*func).code = stubs.exit;
            (*func).entry = stubs.entry;
        }
        self.keep_module(stubs.module);
    }
}
