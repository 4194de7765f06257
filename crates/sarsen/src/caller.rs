//! [`Caller`]: what a host function knows of who calls it.

use crate::context::StoreContextMut;
use crate::engine::Engine;
use crate::error::Result;
use crate::externs::Extern;
use crate::gc::{GcHeapOutOfMemory, GcStats};
use crate::store::StoreInner;
use core::ptr::NonNull;
use sarsen_abi::vmctx::{VmCtxHeader, VmHostCtx};
use sarsen_vm::instance as vm;

/// The store that a host function is called in, and the instance that imported the function.
///
/// It can be used wherever a store is wanted.
///
/// ```
/// use sarsen::{Caller, Engine, Func, Store};
///
/// let mut store = Store::new(&Engine::default(), 0);
/// let count = Func::wrap(&mut store, |mut caller: Caller<'_, i32>, by: i32| {
///     *caller.data_mut() += by;
/// });
/// count.typed::<i32, ()>(&store)?.call(&mut store, 5)?;
/// assert_eq!(*store.data(), 5);
/// # Ok::<(), sarsen::Error>(())
/// ```
pub struct Caller<'a, T: 'static> {
    pub(crate) store: StoreContextMut<'a, T>,
    caller: Option<NonNull<VmCtxHeader>>,
}

// SAFETY: the calling instance is its store's, which is sent with it.
unsafe impl<T: Send> Send for Caller<'_, T> {}

impl<'a, T> Caller<'a, T> {
    /// # Safety
    ///
    /// `store` must be the store of which compiled code has just called `host`, for as long as the
    /// result is used, and nothing else may use the store meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn new(
        mut store: NonNull<StoreInner<T>>,
        host: NonNull<VmHostCtx>,
    ) -> Caller<'a, T> {
        // SAFETY: the caller's promise.
        unsafe {
            Caller {
                store: StoreContextMut(store.as_mut()),
                caller: NonNull::new(host.as_ref().caller),
            }
        }
    }

    /// What the calling instance exports by this name. `None` also when the function is not called by
    /// an instance that imported it.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        let vmctx = self.caller?;
        // SAFETY: instances live as long as their store, which is the one at hand.
        let instance = unsafe { vm::Instance::from_vmctx(vmctx.as_ptr()) };
        let export = instance.export(name)?;
        Some(Extern::new(self.store.opaque(), export))
    }

    /// The store's data.
    #[inline]
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The store's data.
    #[inline]
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// The store's engine.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// As [`Store::fuel_async_yield_interval`](crate::Store::fuel_async_yield_interval).
    ///
    /// # Errors
    ///
    /// As [`Store::fuel_async_yield_interval`](crate::Store::fuel_async_yield_interval).
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.store.fuel_async_yield_interval(interval)
    }

    /// As [`Store::gc`](crate::Store::gc).
    ///
    /// # Errors
    ///
    /// As [`Store::gc`](crate::Store::gc).
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.store.gc(why)
    }

    /// As [`Store::gc_stats`](crate::Store::gc_stats).
    pub fn gc_stats(&self) -> GcStats {
        self.store.gc_stats()
    }

    /// As [`Store::get_fuel`](crate::Store::get_fuel).
    ///
    /// # Errors
    ///
    /// As [`Store::get_fuel`](crate::Store::get_fuel).
    pub fn get_fuel(&self) -> Result<u64> {
        self.store.get_fuel()
    }

    /// As [`Store::set_fuel`](crate::Store::set_fuel).
    ///
    /// # Errors
    ///
    /// As [`Store::set_fuel`](crate::Store::set_fuel).
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.store.set_fuel(fuel)
    }
}
