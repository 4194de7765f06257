//! [`Heap`]: a store's collected heap.
//!
//! This file has its state and the checks before the heap's bytes are touched; what happens to them
//! is in the files beside it.
//!
//! # Invariants
//!
//! - Objects lie without a gap from [`FIRST`] to the end of the old space, and from [`YOUNG`] to where
//!   compiled code allocates next.
//! - Between two collections there is room in the old space for the whole nursery: a minor collection
//!   never fails.
//! - Every old object's field and every table's element that holds a young reference is remembered,
//!   or the buffer has overflowed (`remember`).
//! - From `clean` on, the old space is zero.

use super::accesses::Accesses;
use super::config::{CollectorKind, GcConfig, HeapError};
use super::externs::Externs;
use super::funcs::Funcs;
use super::handles::{Handles, OwnedRoot, RootIndex, RootScope};
use super::live_map::LiveMap;
use super::range::{HeapRange, RangePool};
use super::remember::Remembered;
use super::shapes::Shapes;
use super::stats::GcStats;
use super::world::{HostError, Roots};
use crate::stack::FrameMaps;
use crate::types::Registry;
use sarsen_abi::TrapCode;
use sarsen_abi::heap::{ALIGNMENT, FIRST, HEADER_SIZE, YOUNG};
use sarsen_abi::vmctx::VmStoreCtx;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// A store's collected heap. See the module's page.
pub struct Heap {
    pub(super) ctx: NonNull<VmStoreCtx>,
    pub(super) config: GcConfig,
    pub(super) registry: Arc<Registry>,
    pool: Arc<RangePool>,
    /// `None` until something is to be allocated.
    pub(super) range: Option<HeapRange>,
    /// The end of the old objects; without a collector, compiled code has it.
    pub(super) old_end: u32,
    /// The end of the room for old objects.
    pub(super) old_room: u32,
    /// From here on, the old space is zero.
    pub(super) clean: u32,
    /// The size of the nursery now, in bytes. Zero: nothing can be allocated there.
    pub(super) young_size: u32,
    /// The end of what was ever used of the nursery.
    pub(super) young_touched: u32,
    /// The size that the nursery should have.
    pub(super) young_wanted: u32,
    /// How many minor collections in a row took too long.
    pub(super) overlong: u8,
    /// How much the heap may have, in bytes: the limiter has agreed.
    pub(super) granted: usize,
    /// How large the old space is to be when it is collected next, in bytes.
    pub(super) next_full: usize,
    /// What the limiter returned when it failed last.
    pub(super) refusal: Option<HostError>,
    /// Whether the heap was found damaged.
    pub(super) damaged: bool,
    /// Whether the next allocation shall collect.
    pub(super) hurry: bool,
    /// Whether it shall then collect everything.
    pub(super) hurry_full: bool,
    /// With zeal: how many allocations are left until the next collection.
    pub(super) patience: u32,
    pub(super) remembered: Remembered,
    pub(super) shapes: Shapes,
    pub(super) accesses: Accesses,
    pub(super) externs: Externs,
    pub(super) funcs: Funcs,
    pub(super) handles: Handles,
    pub(super) stats: GcStats,
    /// Kept for its memory.
    pub(super) roots: Roots,
    pub(super) live: Option<LiveMap>,
    /// Where references are in the frames of suspended stacks; forgotten after each collection.
    pub(super) frame_maps: FrameMaps,
}

impl Heap {
    /// An empty heap that takes no memory yet, for the store that compiled code knows as `ctx`.
    ///
    /// # Safety
    ///
    /// `ctx` must be valid for as long as the heap is, and its fields for the heap written by compiled
    /// code of that store and by this heap only. Whoever has a `&mut Heap` must know that no such code
    /// runs: it has called out and waits.
    pub unsafe fn new(
        ctx: NonNull<VmStoreCtx>,
        config: &GcConfig,
        registry: &Arc<Registry>,
        pool: &Arc<RangePool>,
    ) -> Heap {
        let mut heap = Heap {
            ctx,
            config: config.clone(),
            registry: Arc::clone(registry),
            pool: Arc::clone(pool),
            range: None,
            old_end: FIRST,
            old_room: FIRST,
            clean: FIRST,
            young_size: 0,
            young_touched: YOUNG,
            young_wanted: 0,
            overlong: 0,
            granted: 0,
            next_full: 0,
            refusal: None,
            damaged: false,
            hurry: false,
            hurry_full: false,
            patience: 0,
            remembered: Remembered::new(),
            shapes: Shapes::new(registry),
            accesses: Accesses::new(),
            externs: Externs::default(),
            funcs: Funcs::new(),
            handles: Handles::default(),
            stats: GcStats::new(),
            roots: Roots::default(),
            live: None,
            frame_maps: FrameMaps::new(),
        };
        heap.configure();
        let (functions, remembered) = (heap.funcs.table(), heap.remembered.bounds());
        heap.with_ctx(|ctx| {
            (ctx.func_table, ctx.func_table_mask) = functions;
            (ctx.remembered_next, ctx.remembered_end) = remembered;
        });
        heap
    }

    /// What compiled code sees of the heap. Several threads may look at once.
    #[inline(always)]
    pub(super) fn seen(&self) -> &VmStoreCtx {
        // SAFETY: valid, and no compiled code runs (`Heap::new`); this heap writes it only while it is
        // borrowed mutably.
        unsafe { self.ctx.as_ref() }
    }

    /// Writes what compiled code sees of the heap.
    #[inline(always)]
    pub(super) fn with_ctx<R>(&mut self, f: impl FnOnce(&mut VmStoreCtx) -> R) -> R {
        // SAFETY: valid, and no compiled code runs (`Heap::new`); the reference ends here.
        f(unsafe { self.ctx.as_mut() })
    }

    /// Takes address space, unless it has some already. Compiled code that uses the heap runs only
    /// afterwards.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub fn reserve(&mut self) -> Result<(), HeapError> {
        if self.range.is_none() {
            let range = self.pool.take()?;
            let base = range.base();
            self.range = Some(range);
            self.with_ctx(|ctx| ctx.heap_base = base);
        }
        Ok(())
    }

    pub(super) fn range(&self) -> &HeapRange {
        self.range.as_ref().expect("reserved before it is used")
    }

    #[inline(always)]
    pub(super) fn base(&self) -> *mut u8 {
        self.seen().heap_base
    }

    /// Whether `address` lies in the heap's range, guards included.
    pub fn owns(&self, address: usize) -> bool {
        self.range.as_ref().is_some_and(|r| r.contains(address))
    }

    pub(super) fn collects(&self) -> bool {
        self.config.collector == CollectorKind::Generational
    }

    /// The end of the old objects.
    #[inline(always)]
    pub(super) fn old_end(&self) -> u32 {
        if self.collects() {
            self.old_end
        } else {
            self.seen().alloc_next.max(FIRST)
        }
    }

    /// The end of the young objects.
    #[inline(always)]
    pub(super) fn young_end(&self) -> u32 {
        if self.collects() {
            self.seen().alloc_next.max(YOUNG)
        } else {
            YOUNG
        }
    }

    /// How much the old objects take, in bytes.
    pub(super) fn old_used(&self) -> usize {
        (self.old_end() - FIRST) as usize
    }

    /// Where `size` bytes at `at` are, if objects lie there.
    ///
    /// # Errors
    ///
    /// When they are not among the heap's objects: the heap is damaged, or the reference is not one of
    /// this heap.
    #[inline(always)]
    pub(super) fn check(&self, at: u32, size: u64) -> Result<*mut u8, TrapCode> {
        let (object, room) = self.check_object(at)?;
        if size > u64::from(room) {
            return Err(TrapCode::HeapCorruption);
        }
        Ok(object)
    }

    /// Where the object at `at` is, if one with a header can lie there, and how many bytes there are from
    /// there to the end of the objects: its size is still to be compared with them.
    ///
    /// # Errors
    ///
    /// As [`Heap::check`].
    #[inline(always)]
    pub(super) fn check_object(&self, at: u32) -> Result<(*mut u8, u32), TrapCode> {
        let end = if at >= YOUNG {
            self.young_end()
        } else {
            self.old_end()
        };
        match end.checked_sub(at) {
            Some(room) if room >= HEADER_SIZE && at >= FIRST && at.is_multiple_of(ALIGNMENT) => {
                // SAFETY: objects lie in the range.
                Ok((unsafe { self.base().add(at as usize) }, room))
            }
            _ => Err(TrapCode::HeapCorruption),
        }
    }

    /// How many collections there were: of the nursery, and of all.
    pub fn collections(&self) -> (u64, u64) {
        (self.stats.minor, self.stats.full)
    }

    /// What the collector has done so far.
    pub fn stats(&self) -> GcStats {
        let mut stats = self.stats.clone();
        stats.bytes_committed = self.granted as u64;
        stats.host_objects = self.extern_count();
        (stats.scoped_roots, stats.owned_roots) = self.handles.count();
        let fresh = if self.collects() {
            u64::from(self.young_end() - YOUNG)
        } else {
            self.old_used() as u64
        };
        stats.bytes_allocated += fresh;
        stats
    }
}

/// The references that the host holds (`handles`).
impl Heap {
    /// Pushes a root on the host's stack.
    #[inline]
    pub fn push_root(&mut self, reference: u32) -> RootIndex {
        self.handles.push(reference)
    }

    /// The reference of a root, unless its scope has ended.
    #[inline]
    pub fn root(&self, at: RootIndex) -> Option<u32> {
        self.handles.get(at)
    }

    /// Begins a scope of roots.
    #[inline]
    pub fn enter_scope(&self) -> RootScope {
        self.handles.enter()
    }

    /// Ends a scope of roots.
    #[inline]
    pub fn exit_scope(&mut self, scope: RootScope) {
        self.handles.exit(scope);
    }

    /// Makes room for more roots on the host's stack.
    pub fn reserve_roots(&mut self, additional: usize) {
        self.handles.reserve(additional);
    }

    /// Makes an owned root.
    pub fn own_root(&mut self, reference: u32) -> OwnedRoot {
        self.handles.own(reference)
    }

    /// The reference of an owned root.
    ///
    /// # Panics
    ///
    /// Panics when it is of another store.
    pub fn owned_root(&self, root: &OwnedRoot) -> u32 {
        self.handles.owned(root)
    }

    /// Holds on to `references`, after what is held already. They are let go of in reverse order, by
    /// [`Heap::release`].
    pub fn hold(&mut self, references: impl IntoIterator<Item = u32>) -> Held {
        let start = self.handles.temporary.len();
        self.handles.temporary.extend(references);
        Held(start)
    }

    /// Lets go of what was held since, which is now what has become of it.
    pub fn release(&mut self, held: Held) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.handles.temporary.drain(held.0..)
    }

    /// Lets go of all that is held: whoever held it is being left by a panic.
    pub fn release_all(&mut self) {
        self.handles.temporary.clear();
    }

    /// Calls `f` with the heap while it also holds on to `references`, which are then what has become
    /// of them.
    pub(super) fn holding<R>(
        &mut self,
        references: &mut [u32],
        f: impl FnOnce(&mut Heap) -> R,
    ) -> R {
        let held = self.hold(references.iter().copied());
        let result = f(self);
        for (reference, now) in references.iter_mut().zip(self.release(held)) {
            *reference = now;
        }
        result
    }
}

/// What the runtime holds on to while it may collect; to be released.
#[must_use]
#[derive(Debug)]
pub struct Held(usize);

impl Drop for Heap {
    fn drop(&mut self) {
        let old = self.clean.max(self.old_end());
        let young = self.young_touched.max(self.young_end());
        if let Some(range) = self.range.take() {
            self.pool.give_back(range, old, young);
        }
    }
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap")
            .field("old_used", &self.old_used())
            .field("young_size", &self.young_size)
            .field("granted", &self.granted)
            .finish_non_exhaustive()
    }
}
