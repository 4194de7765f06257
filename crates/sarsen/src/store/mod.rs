//! [`Store`]: a host's data together with everything that instances own.
//!
//! ```text
//!   Store<T> ──► StoreInner<T>            at a fixed address, until the store is dropped
//!                ├ opaque: StoreOpaque ──► sarsen_vm's untyped store
//!                ├ limiter, deadline          ▲ │ asks (Upcalls): may it grow? what now?
//!                └ data: T                    │ └────────────► this StoreInner
//!                                             │
//!   handles (Func, Memory, …): a store's id and a pointer into it
//! ```
//!
//! A host function gets back from the untyped store, which compiled code knows, to its `StoreInner`
//! by the pointer that is registered for questions. While WebAssembly runs, some caller up the stack
//! holds a `&mut StoreInner` that it does not use, and the host function makes another; that is why
//! both structs are `!Unpin`.

mod upcalls;

use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::engine::Engine;
use crate::error::{NotConfiguredError, OwnershipError, Result};
use crate::gc::{ContTypes, GcHeapOutOfMemory, GcStats};
use crate::limits::ResourceLimiter;
use crate::types::ValType;
use anyhow::Context as _;
use core::any::{TypeId, type_name};
use core::fmt;
use core::marker::PhantomPinned;
use core::num::NonZeroU64;
use core::ptr::NonNull;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::{HostError, ResourceCounts, StoreId};

/// What to do when a store's epoch deadline has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UpdateDeadline {
    /// Go on for this many more ticks.
    Continue(u64),
    /// Stop with [`Trap::Interrupt`](crate::Trap::Interrupt).
    Interrupt,
    /// End the poll of the asynchronous call that runs ([`Func::call_async`](crate::Func::call_async)), and
    /// go on with the next one, for this many more ticks. In a call that is not asynchronous, this is an
    /// [`AsyncRequiredError`](crate::AsyncRequiredError).
    Yield(u64),
}

type Limiter<T> = Box<dyn (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync>;
type DeadlineCallback<T> =
    Box<dyn FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync>;

/// A host's data `T` together with everything that instances own.
///
/// Instances, functions, memories, tables and globals live in a store and are freed with it, not before;
/// structures, arrays and the host's objects, when the collector finds that nothing refers to them. A store is used by one thread at a time; it is [`Send`] when `T` is.
///
/// ```
/// use sarsen::{Engine, Store};
///
/// let mut store = Store::new(&Engine::default(), 5);
/// *store.data_mut() += 1;
/// assert_eq!(store.into_data(), 6);
/// ```
pub struct Store<T: 'static> {
    inner: NonNull<StoreInner<T>>,
}

// SAFETY: a store owns everything that it points to, and only `T` is not known to be `Send`.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: shared access to a store only reads.
unsafe impl<T: Sync> Sync for Store<T> {}

/// What a [`Store`] owns; see the module's page.
pub(crate) struct StoreInner<T: 'static> {
    pub(crate) opaque: StoreOpaque,
    limiter: Option<Limiter<T>>,
    limits: ResourceCounts,
    deadline: Option<DeadlineCallback<T>>,
    pub(crate) data: T,
}

// SAFETY: as of `Store`, whose borrow sends it.
unsafe impl<T: Send> Send for StoreInner<T> {}

/// The part of a store that does not depend on the type of its data.
pub struct StoreOpaque {
    vm: vm::OwnedStore,
    id: StoreId,
    engine: Engine,
    cont_types: ContTypes,
    /// The type of the host's data, and its name.
    data_type: (TypeId, &'static str),
    _pinned: PhantomPinned,
}

impl<T> Store<T> {
    /// An empty store.
    pub fn new(engine: &Engine, data: T) -> Store<T> {
        let vm = vm::Store::new(engine.vm(), engine.config().store_config());
        let inner = Box::new(StoreInner {
            opaque: StoreOpaque {
                id: vm.id(),
                vm,
                engine: engine.clone(),
                cont_types: ContTypes::default(),
                data_type: (TypeId::of::<T>(), type_name::<T>()),
                _pinned: PhantomPinned,
            },
            limiter: None,
            limits: ResourceCounts::default(),
            deadline: None,
            data,
        });
        let inner = NonNull::from(Box::leak(inner));
        // SAFETY: `inner` is valid until the store is dropped, with the untyped store; nobody uses a
        // reference to it while the untyped store runs something; and it is sent with the store.
        unsafe { (*inner.as_ptr()).opaque.vm.set_upcalls(inner) };
        Store { inner }
    }

    #[inline]
    pub(crate) fn inner(&self) -> &StoreInner<T> {
        // SAFETY: ours, and borrowed.
        unsafe { self.inner.as_ref() }
    }

    #[inline]
    pub(crate) fn inner_mut(&mut self) -> &mut StoreInner<T> {
        // SAFETY: ours, and borrowed exclusively.
        unsafe { self.inner.as_mut() }
    }

    /// The store's engine.
    pub fn engine(&self) -> &Engine {
        self.inner().opaque.engine()
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// The host's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// Drops everything but the host's data.
    pub fn into_data(self) -> T {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: made from a `Box` in `Store::new`, and not dropped again by `this`.
        let inner = unsafe { Box::from_raw(this.inner.as_ptr()) };
        inner.data
    }

    /// Lets what `limiter` finds in the host's data decide what the store may take.
    ///
    /// ```
    /// use sarsen::{Engine, Store, StoreLimits, StoreLimitsBuilder};
    ///
    /// struct State {
    ///     limits: StoreLimits,
    /// }
    ///
    /// let limits = StoreLimitsBuilder::new().memory_size(16 << 20).build();
    /// let mut store = Store::new(&Engine::default(), State { limits });
    /// store.limiter(|state| &mut state.limits);
    /// ```
    pub fn limiter(
        &mut self,
        mut limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        let inner = self.inner_mut();
        let limits = limiter(&mut inner.data);
        inner.limits = ResourceCounts {
            instances: limits.instances(),
            memories: limits.memories(),
            tables: limits.tables(),
        };
        inner.limiter = Some(Box::new(limiter));
    }

    /// The fuel that is left.
    ///
    /// # Errors
    ///
    /// When [`Config::consume_fuel`](crate::Config::consume_fuel) is off.
    pub fn get_fuel(&self) -> Result<u64> {
        self.inner().opaque.fuel()
    }

    /// Sets the fuel that is left. Executing about one instruction takes one, and bulk operations one
    /// for 64 bytes or elements more, while they run; at zero, WebAssembly stops with
    /// [`Trap::OutOfFuel`](crate::Trap::OutOfFuel). A new store has none.
    ///
    /// # Errors
    ///
    /// When [`Config::consume_fuel`](crate::Config::consume_fuel) is off.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.inner_mut().opaque.set_fuel(fuel)
    }

    /// Lets WebAssembly run until the engine's epoch
    /// ([`Engine::increment_epoch`](crate::Engine::increment_epoch)) has advanced by
    /// `ticks_beyond_current`. A new store's deadline has passed already. A thread that waits in a shared
    /// memory is woken when the deadline passes, and goes on waiting or stops, as it is decided then.
    ///
    /// Does nothing when [`Config::epoch_interruption`](crate::Config::epoch_interruption) is off.
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.inner_mut()
            .opaque
            .set_epoch_deadline(ticks_beyond_current);
    }

    /// Makes a passed deadline [`Trap::Interrupt`](crate::Trap::Interrupt). So it is in a new store.
    pub fn epoch_deadline_trap(&mut self) {
        self.inner_mut().epoch_deadline_trap();
    }

    /// Lets `callback` decide what to do when the deadline has passed. An error of it stops
    /// WebAssembly as a host function's error does.
    pub fn epoch_deadline_callback(
        &mut self,
        callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync + 'static,
    ) {
        self.inner_mut().deadline = Some(Box::new(callback));
    }

    /// Makes a passed deadline end the poll of an asynchronous call; the next poll goes on, until `delta`
    /// ticks later. The task asks to be polled again at once.
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.epoch_deadline_callback(move |_| Ok(UpdateDeadline::Yield(delta)));
    }

    /// Makes an asynchronous call end its poll whenever it has used so much fuel; the next poll goes on. The
    /// task asks to be polled again at once. `None`, which a new store has, makes it use all in one poll.
    ///
    /// # Errors
    ///
    /// When [`Config::consume_fuel`](crate::Config::consume_fuel) is off, or the interval is zero.
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.as_context_mut().fuel_async_yield_interval(interval)
    }

    /// Collects all garbage. The host's objects that nothing refers to any more are dropped.
    ///
    /// It is never necessary: an allocation that finds no room collects by itself. `why` may be the
    /// error of one that found none even so; nothing depends on it.
    ///
    /// # Errors
    ///
    /// When the heap is found damaged.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a host's object that panics when it is dropped; the others are dropped all
    /// the same.
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.as_context_mut().gc(why)
    }

    /// What the collector has done so far.
    ///
    /// ```
    /// use sarsen::{Engine, Store};
    ///
    /// let mut store = Store::new(&Engine::default(), ());
    /// println!("{}", store.gc_stats());
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    pub fn gc_stats(&self) -> GcStats {
        self.as_context().gc_stats()
    }

    /// How many stacks the store's continuations have: those that are suspended, or run.
    pub fn continuation_stacks(&self) -> usize {
        let (all, free) = self.as_context().opaque().vm().stack_counts();
        all - free
    }

    /// How much memory the heap of collected objects has now, in bytes.
    pub fn gc_heap_capacity(&self) -> usize {
        self.gc_stats().bytes_committed as usize
    }
}

impl<T> StoreContext<'_, T> {
    /// As [`Store::gc_stats`].
    pub fn gc_stats(&self) -> GcStats {
        self.opaque().vm().gc_stats()
    }
}

impl<T> StoreContextMut<'_, T> {
    /// As [`Store::epoch_deadline_async_yield_and_update`].
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.0.deadline = Some(Box::new(move |_| Ok(UpdateDeadline::Yield(delta))));
    }

    /// As [`Store::fuel_async_yield_interval`].
    ///
    /// # Errors
    ///
    /// As [`Store::fuel_async_yield_interval`].
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        let opaque = self.opaque();
        opaque.check_fuel()?;
        let interval = match interval {
            Some(fuel) => Some(NonZeroU64::new(fuel).context("the interval must not be zero")?),
            None => None,
        };
        opaque.vm.set_fuel_yield_interval(interval);
        Ok(())
    }

    /// As [`Store::gc`].
    ///
    /// # Errors
    ///
    /// As [`Store::gc`].
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        let _ = why;
        self.opaque().collect()
    }

    /// As [`Store::gc_stats`].
    pub fn gc_stats(&self) -> GcStats {
        self.as_context().gc_stats()
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: made from a `Box` in `Store::new`.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl<T: Default> Default for Store<T> {
    /// A store of a default engine.
    fn default() -> Self {
        Store::new(&Engine::default(), T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.inner().opaque.id)
            .field("data", self.data())
            .finish()
    }
}

impl StoreOpaque {
    #[inline]
    pub(crate) fn id(&self) -> StoreId {
        self.id
    }

    #[inline]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The type of the host's data, and its name.
    pub(crate) fn data_type(&self) -> (TypeId, &'static str) {
        self.data_type
    }

    pub(crate) fn cont_types_mut(&mut self) -> (&mut ContTypes, &Engine) {
        (&mut self.cont_types, &self.engine)
    }

    #[inline]
    pub(crate) fn vm(&self) -> &vm::Store {
        &self.vm
    }

    #[inline]
    pub(crate) fn vm_mut(&mut self) -> &mut vm::Store {
        &mut self.vm
    }

    /// The untyped store, for entering it.
    #[inline]
    pub(crate) fn vm_ptr(&mut self) -> NonNull<vm::Store> {
        self.vm.as_non_null()
    }

    /// Checks that a handle belongs to this store.
    ///
    /// # Panics
    ///
    /// Panics when it belongs to another one.
    #[inline(always)]
    pub(crate) fn assert_owns(&self, id: StoreId) {
        if id != self.id {
            wrong_store();
        }
    }

    /// As [`StoreOpaque::assert_owns`], for what reports errors.
    #[inline]
    pub(crate) fn check_owns(&self, id: StoreId) -> Result<()> {
        if id == self.id {
            Ok(())
        } else {
            Err(OwnershipError::WrongStore.into())
        }
    }

    /// Keeps the types that `ty` names registered for as long as the store.
    pub(crate) fn keep_type(&mut self, ty: &ValType) -> Result<()> {
        if !ty.belongs_to(&self.engine) {
            return Err(OwnershipError::WrongEngine.into());
        }
        if let ValType::Ref(r) = ty
            && let Some(id) = r.to_abi().heap.concrete()
        {
            let registered = self.engine.registered_type(id);
            self.vm.keep_type(registered);
        }
        Ok(())
    }

    pub(crate) fn fuel(&self) -> Result<u64> {
        self.check_fuel()?;
        Ok(self.vm.fuel())
    }

    pub(crate) fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.check_fuel()?;
        self.vm.set_fuel(fuel);
        Ok(())
    }

    fn check_fuel(&self) -> Result<()> {
        if self.engine.config().settings().consume_fuel {
            return Ok(());
        }
        Err(NotConfiguredError {
            what: "fuel",
            setting: "consume_fuel",
        }
        .into())
    }

    pub(crate) fn set_epoch_deadline(&mut self, ticks: u64) {
        self.vm.set_epoch_deadline(ticks);
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn wrong_store() -> ! {
    panic!("{}", OwnershipError::WrongStore)
}

impl<T> StoreInner<T> {
    /// The store of which compiled code knows `vm`.
    ///
    /// # Safety
    ///
    /// `vm` must be alive and belong to a `Store<T>` of this crate, with this `T`.
    #[inline(always)]
    pub(crate) unsafe fn from_vm(vm: NonNull<vm::Store>) -> NonNull<StoreInner<T>> {
        // SAFETY: the store is alive.
        let upcalls = unsafe { vm.as_ref() }.upcalls();
        upcalls
            .expect("registered when the store was made")
            .cast::<StoreInner<T>>()
    }

    pub(crate) fn epoch_deadline_trap(&mut self) {
        self.deadline = None;
    }
}

/// An error of the host on its way through the runtime.
pub(crate) fn host_error(error: crate::Error) -> HostError {
    Box::new(error)
}

/// The error that [`host_error`] wrapped.
pub(crate) fn unwrap_host_error(error: HostError) -> crate::Error {
    *error
        .downcast::<crate::Error>()
        .expect("errors of the host are wrapped by `host_error` only")
}
