//! [`Store`]: everything that a group of instances owns, without the embedder's type parameter.
//!
//! # What it owns, and for how long
//!
//! Instances (their vmctx, memories, tables), the contexts of host functions, what the host made
//! (memories, tables, globals, tags), the collected heap, and counts on the compiled
//! modules and registered types that any of it needs. All of it lives until the store is dropped,
//! at addresses that do not change: a handle is a [`StoreId`] and a pointer, and a pointer is valid
//! whenever the store with that id is at hand. An instance whose instantiation failed is kept too,
//! because its functions may already be in somebody's table.
//!
//! # Aliasing
//!
//! Compiled code, handles and builtins reach the store and what it owns by pointers. References to
//! them are made late and dropped before compiled code or the host can run; see `instance/mod.rs`.
//! A `Store` is `!Unpin`, and [`OwnedStore`] never moves it.
//!
//! A store is used by one thread at a time, and may move between threads while no compiled code of
//! it runs.

use super::config::StoreConfig;
use super::engine::Engine;
use super::exceptions::HandlerCache;
use super::host_func::{HostFunc, HostFuncObject};
use super::instance::Instance;
use super::module::CompiledModule;
use super::reason::Reason;
use super::stable::Stable;
use super::upcalls::{Deadline, ResourceCounts, Upcalls};
use crate::gc::Heap;
use crate::mem::{LinearMemory, Table};
use crate::stack::{Bases, Stacks};
use crate::types::RegisteredType;
use sarsen_abi::TrapCode;
use sarsen_abi::vmctx::{VmGlobal, VmStoreCtx, VmTag};
use smallvec::SmallVec;
use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomPinned;
use std::num::NonZeroU64;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A store's identity, different from that of every other store of this process, past or present.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StoreId(NonZeroU64);

impl StoreId {
    fn fresh() -> StoreId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        StoreId(NonZeroU64::new(id).expect("no process lives long enough to make 2^64 stores"))
    }

    /// The number behind it.
    #[inline]
    pub fn get(self) -> NonZeroU64 {
        self.0
    }
}

/// Everything that a group of instances owns. See the module's page.
#[repr(C)]
pub struct Store {
    /// What compiled code knows of the store; first, so that [`Store::from_ctx`] is a cast.
    ctx: UnsafeCell<VmStoreCtx>,
    /// Where the store is: the pointer from which all others are made.
    this: NonNull<Store>,
    id: StoreId,
    pub(super) engine: Arc<Engine>,
    config: StoreConfig,
    upcalls: Option<NonNull<dyn Upcalls>>,
    pending: Option<Reason>,
    /// Fuel that does not fit into the counter in `ctx`.
    fuel_reserve: u64,
    /// How much of it the counter gets at a time, if an asynchronous call yields in between.
    fuel_yield_interval: Option<NonZeroU64>,
    counts: ResourceCounts,
    pub(super) instances: SmallVec<[Stable<Instance>; 1]>,
    pub(super) host_funcs: Vec<Stable<HostFuncObject>>,
    pub(super) memories: Vec<Stable<LinearMemory>>,
    pub(super) tables: Vec<Stable<Table>>,
    pub(super) globals: Vec<Stable<VmGlobal>>,
    pub(super) tags: Vec<Stable<VmTag>>,
    /// Those of `globals` that hold collected references.
    pub(super) collected_globals: Vec<NonNull<VmGlobal>>,
    pub(super) heap: Option<Box<Heap>>,
    pub(super) stacks: Option<Box<Stacks>>,
    /// The stacks of asynchronous calls.
    pub(crate) bases: Bases,
    /// The exception that the host has thrown or not yet taken, or null.
    pub(super) pending_exception: u32,
    pub(crate) handlers: HandlerCache,
    kept: Vec<Kept>,
    _pinned: PhantomPinned,
}

/// Something kept alive for as long as the store.
#[expect(dead_code, reason = "held for their drop only")]
enum Kept {
    Module(Arc<CompiledModule>),
    Type(RegisteredType),
    HostFunc(Arc<HostFunc>),
    Data(Arc<dyn Any + Send + Sync>),
}

// SAFETY: everything that a store points to is its own, shared immutably (modules, engine), or
// vouched for by whoever gave it (`set_upcalls`, host data: `Send`). One thread uses it at a time.
unsafe impl Send for Store {}

impl Store {
    /// Creates an empty store.
    #[expect(clippy::new_ret_no_self, reason = "a store exists only where it stays")]
    pub fn new(engine: &Arc<Engine>, config: StoreConfig) -> OwnedStore {
        let store = Stable::new(Store {
            ctx: UnsafeCell::new(VmStoreCtx::new()),
            this: NonNull::dangling(),
            id: StoreId::fresh(),
            engine: Arc::clone(engine),
            config,
            upcalls: None,
            pending: None,
            fuel_reserve: 0,
            fuel_yield_interval: None,
            counts: ResourceCounts {
                instances: 0,
                memories: 0,
                tables: 0,
            },
            instances: SmallVec::new(),
            host_funcs: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            tags: Vec::new(),
            collected_globals: Vec::new(),
            heap: None,
            stacks: None,
            bases: Bases::default(),
            pending_exception: 0,
            handlers: HandlerCache::default(),
            kept: Vec::new(),
            _pinned: PhantomPinned,
        });
        let this = store.as_non_null();
        // SAFETY: ours, and nobody else knows of it yet.
        unsafe { (*this.as_ptr()).this = this };
        OwnedStore(store)
    }

    /// The store that compiled code knows as `ctx`.
    #[inline]
    pub fn from_ctx(ctx: *mut VmStoreCtx) -> *mut Store {
        ctx.cast()
    }

    /// What compiled code knows of the store. Valid as long as the store.
    #[inline]
    pub fn ctx(&self) -> *mut VmStoreCtx {
        self.this.as_ptr().cast()
    }

    /// Where the store is. Valid until it is dropped.
    #[inline]
    pub fn as_non_null(&self) -> NonNull<Store> {
        self.this
    }

    /// The store's identity.
    #[inline]
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// The engine whose code it runs.
    #[inline]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What it was configured with.
    #[inline]
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Registers who answers the store's questions.
    ///
    /// # Safety
    ///
    /// `upcalls` must stay valid for as long as the store is used, must not be referred to by a
    /// reference while the store runs something that may ask, and must be sendable to wherever the
    /// store is sent.
    pub unsafe fn set_upcalls(&mut self, upcalls: NonNull<dyn Upcalls>) {
        self.upcalls = Some(upcalls);
    }

    /// Who answers the store's questions, for the API crate to find its own store again.
    #[inline]
    pub fn upcalls(&self) -> Option<NonNull<dyn Upcalls>> {
        self.upcalls
    }

    /// Asks the embedder, if it has registered.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&mut dyn Upcalls) -> R) -> Option<R> {
        ask(self.upcalls, question)
    }

    /// Records why compiled code is about to be left.
    #[inline]
    pub fn set_pending(&mut self, reason: Reason) {
        debug_assert!(self.pending.is_none(), "two reasons for one exit");
        self.pending = Some(reason);
    }

    /// Why compiled code is about to be left, if it is.
    #[inline]
    pub fn pending(&self) -> Option<&Reason> {
        self.pending.as_ref()
    }

    /// Takes the reason out.
    #[inline]
    pub fn take_pending(&mut self) -> Option<Reason> {
        self.pending.take()
    }

    /// Keeps `data` alive for as long as the store; for what the contexts of host functions point to.
    pub fn keep(&mut self, data: Arc<dyn Any + Send + Sync>) {
        self.kept.push(Kept::Data(data));
    }

    /// Keeps a compiled module (its code, and its registered types) alive for as long as the store.
    pub fn keep_module(&mut self, module: Arc<CompiledModule>) {
        self.kept.push(Kept::Module(module));
    }

    /// Keeps a type registered for as long as the store.
    pub fn keep_type(&mut self, ty: RegisteredType) {
        self.kept.push(Kept::Type(ty));
    }

    pub(super) fn keep_host_func(&mut self, func: Arc<HostFunc>) {
        self.kept.push(Kept::HostFunc(func));
    }

    /// How much the store holds.
    pub fn counts(&self) -> ResourceCounts {
        self.counts
    }

    /// Counts what was created: [`Store::counts_with`].
    pub(super) fn set_counts(&mut self, counts: ResourceCounts) {
        self.counts = counts;
    }

    /// The counts with what is about to be created, unless that exceeds what the embedder allows.
    ///
    /// # Errors
    ///
    /// The name of what there would be too much of.
    pub(super) fn counts_with(&self, more: ResourceCounts) -> Result<ResourceCounts, TooMany> {
        let limits = self.ask(|upcalls| upcalls.limits()).unwrap_or_default();
        let checked = |what, now: usize, more: usize, limit: usize| match now.checked_add(more) {
            Some(sum) if sum <= limit => Ok(sum),
            _ => Err(TooMany { what, limit }),
        };
        let now = self.counts;
        Ok(ResourceCounts {
            instances: checked("instances", now.instances, more.instances, limits.instances)?,
            memories: checked("memories", now.memories, more.memories, limits.memories)?,
            tables: checked("tables", now.tables, more.tables, limits.tables)?,
        })
    }

    /// Whether a fault at `address` by compiled code of this store is a guest's fault: the address
    /// lies in something that the store reserved.
    pub fn owns_address(&self, address: usize) -> bool {
        // SAFETY: the store's own; called when nothing of the store runs.
        let memory =
            |m: &Stable<LinearMemory>| unsafe { m.as_non_null().as_ref() }.contains(address);
        // SAFETY: as above.
        let instance =
            |i: &Stable<Instance>| unsafe { i.as_non_null().as_ref() }.owns_address(address);
        self.instances.iter().any(instance)
            || self.memories.iter().any(memory)
            || self.engine().types().contains(address)
            || self.heap.as_ref().is_some_and(|heap| heap.owns(address))
    }
}

/// Asks who is registered in a store.
pub(super) fn ask<R>(
    upcalls: Option<NonNull<dyn Upcalls>>,
    question: impl FnOnce(&mut dyn Upcalls) -> R,
) -> Option<R> {
    // SAFETY: valid and not otherwise referred to (`set_upcalls`).
    upcalls.map(|mut upcalls| question(unsafe { upcalls.as_mut() }))
}

/// Why something was not created: the store would hold too much.
#[derive(Clone, Copy, Debug)]
pub struct TooMany {
    /// What there would be too much of, in the plural.
    pub what: &'static str,
    /// How many there may be.
    pub limit: usize,
}

/// Fuel: a counter in `ctx` that compiled code counts up from a negative number, and a reserve for
/// what exceeds 63 bits.
impl Store {
    /// Sets how much fuel the store has.
    pub fn set_fuel(&mut self, fuel: u64) {
        let most = self.fuel_yield_interval.map_or(u64::MAX, NonZeroU64::get);
        let counted = fuel.min(i64::MAX as u64).min(most);
        self.fuel_reserve = fuel - counted;
        // SAFETY: no compiled code of this store runs while it is borrowed here.
        unsafe { (*self.ctx()).fuel = -(counted as i64) };
    }

    /// How much fuel is left.
    pub fn fuel(&self) -> u64 {
        // SAFETY: as in `set_fuel`.
        let counter = unsafe { (*self.ctx()).fuel };
        let left = if counter < 0 {
            counter.unsigned_abs()
        } else {
            0
        };
        self.fuel_reserve + left
    }

    /// Sets how much fuel an asynchronous call uses until it yields; see [`Store::refuel`].
    pub fn set_fuel_yield_interval(&mut self, interval: Option<NonZeroU64>) {
        let fuel = self.fuel();
        self.fuel_yield_interval = interval;
        self.set_fuel(fuel);
    }

    /// Compiled code has used up the counter: refills it from the reserve. Returns whether an asynchronous
    /// call should yield.
    ///
    /// # Errors
    ///
    /// The embedder's reason when nothing is left in reserve, or
    /// [`TrapCode::OutOfFuel`] when nobody answers.
    pub(crate) fn refuel(&mut self) -> Result<bool, Reason> {
        // SAFETY: as in `set_fuel`.
        let owed = unsafe { (*self.ctx()).fuel }.max(0).unsigned_abs();
        let more = if self.fuel_reserve > 0 {
            self.fuel_reserve
        } else {
            self.ask(|upcalls| upcalls.out_of_fuel())
                .unwrap_or(Err(Reason::Trap(TrapCode::OutOfFuel)))?
        };
        self.set_fuel(more.saturating_sub(owed));
        Ok(self.fuel_yield_interval.is_some())
    }
}

/// Epochs.
impl Store {
    /// Lets compiled code run until the engine's epoch has advanced by `ticks`.
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        let deadline = self.engine.epoch().saturating_add(ticks);
        // SAFETY: no compiled code of this store runs while it is borrowed here.
        unsafe { (*self.ctx()).epoch_deadline = deadline };
    }

    /// Compiled code has seen the epoch reach its deadline: asks the embedder for a new one, sets it
    /// and returns it.
    ///
    /// # Errors
    ///
    /// The embedder's reason, or [`TrapCode::Interrupt`] when
    /// nobody answers.
    pub(crate) fn new_epoch(&mut self) -> Result<Deadline, Reason> {
        let epoch = self.engine.epoch();
        let deadline = self
            .ask(|upcalls| upcalls.new_epoch(epoch))
            .unwrap_or(Err(Reason::Trap(TrapCode::Interrupt)))?;
        if let Deadline::At(epoch) = deadline {
            // SAFETY: no compiled code of this store runs while it is borrowed here.
            unsafe { (*self.ctx()).epoch_deadline = epoch };
        }
        Ok(deadline)
    }

    /// The epoch at which compiled code asks for a new deadline, if it does.
    pub(crate) fn epoch_deadline(&self) -> Option<u64> {
        let asks = self.engine.settings().epoch_interruption;
        // SAFETY: no compiled code of this store runs while it is borrowed here.
        asks.then(|| unsafe { (*self.ctx()).epoch_deadline })
    }

    /// As [`Store::new_epoch`], for what waits, and so yields anyway: the deadline.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn new_epoch_of_wait(&mut self) -> Result<u64, Reason> {
        Ok(match self.new_epoch()? {
            Deadline::At(epoch) => epoch,
            Deadline::YieldThenTicks(ticks) => self.renew_epoch_deadline(ticks),
        })
    }

    /// As [`Store::set_epoch_deadline`]; returns the deadline.
    pub(crate) fn renew_epoch_deadline(&mut self, ticks: u64) -> u64 {
        self.set_epoch_deadline(ticks);
        // SAFETY: as above.
        unsafe { (*self.ctx()).epoch_deadline }
    }
}

/// A store and the right to drop it.
pub struct OwnedStore(Stable<Store>);

impl Deref for OwnedStore {
    type Target = Store;

    #[inline]
    fn deref(&self) -> &Store {
        // SAFETY: ours, and borrowed.
        unsafe { self.0.as_non_null().as_ref() }
    }
}

impl DerefMut for OwnedStore {
    #[inline]
    fn deref_mut(&mut self) -> &mut Store {
        // SAFETY: ours, and borrowed mutably.
        unsafe { self.0.as_non_null().as_mut() }
    }
}
