//! A store's heap: where its roots are, and what the API and the builtins do with objects.
//!
//! The heap itself is in [`crate::gc`]. It is made when it is first needed; it takes address space when
//! a module that uses it is instantiated or something is allocated.
//!
//! Functions that may collect take `&mut Store`, and raw references that a caller has across them are
//! stale afterwards: see `docs/gc-safe-code.md`.

use super::instance::Instance;
use super::reason::{HostError, Reason};
use super::store::{Store, ask};
use crate::gc::{GcStats, Heap, HeapError, OwnedRoot, RefKind, RootIndex, RootScope, Roots, World};
use crate::mem::{Table, TableElements};
use crate::os::panics;
use crate::stack::DeadFrames;
use sarsen_abi::types::{AbstractHeapType as A, HeapType, RefType};
use sarsen_abi::vmctx::ValRaw;
use sarsen_abi::{TrapCode, TypeId};
use std::any::Any;
use std::num::NonZeroU32;
use std::panic;
use std::ptr::NonNull;

/// Calls a function with every slot in a store's frames that holds a collected reference: what `exec`
/// knows and this folder does not.
pub type FrameRoots = fn(&Store, &mut dyn FnMut(*mut u32));

impl From<HeapError> for Reason {
    fn from(error: HeapError) -> Self {
        match error {
            HeapError::Full | HeapError::TooLarge | HeapError::System(_) => {
                Reason::Trap(TrapCode::AllocationTooLarge)
            }
            HeapError::Corrupt => Reason::Trap(TrapCode::HeapCorruption),
            HeapError::Host(error) => Reason::Error(error),
        }
    }
}

/// A store without its heap, as the heap sees it.
struct Outside<'a>(&'a mut Store);

impl World for Outside<'_> {
    fn roots(&mut self, roots: &mut Roots) {
        let store = &*self.0;
        (store.engine.frame_roots())(store, &mut |slot| roots.slot(slot));
        roots.slot(&raw mut self.0.pending_exception);
        let store = &*self.0;
        for &global in &store.collected_globals {
            roots.slot(global.as_ptr().cast());
        }
        for table in &store.tables {
            // SAFETY: the store's own, and nothing of the store runs.
            add_table(unsafe { table.as_non_null().as_ref() }, roots);
        }
        for instance in &store.instances {
            // SAFETY: as above; only shared references to an instance are made once it is here.
            add_instance(unsafe { instance.as_non_null().as_ref() }, roots);
        }
    }

    fn may_grow(&mut self, now: usize, wanted: usize) -> Result<bool, HostError> {
        ask(self.0.upcalls(), |u| u.heap_growing(now, wanted)).unwrap_or(Ok(true))
    }
}

fn add_table(table: &Table, roots: &mut Roots) {
    if table.elements() == TableElements::Collected {
        // SAFETY: the cell of a table that is alive.
        let vm = unsafe { table.vm().read() };
        roots.table(vm.base.cast(), vm.length as usize);
    }
}

fn add_instance(instance: &Instance, roots: &mut Roots) {
    for &global in instance.module().collected_globals() {
        roots.slot(instance.global(global).as_ptr().cast());
    }
    for table in &instance.own_tables {
        // SAFETY: the instance's own, and nothing of the store runs.
        add_table(unsafe { table.as_non_null().as_ref() }, roots);
    }
    instance.evaluated.slots(|slot| roots.slot(slot));
}

/// The store while its heap is taken out; puts it back, also when the embedder's limiter panics. Then
/// everybody who holds references in the heap meanwhile is being left, too.
struct Apart<'a> {
    store: &'a mut Store,
    heap: Option<Box<Heap>>,
    finished: bool,
}

impl Drop for Apart<'_> {
    fn drop(&mut self) {
        if !self.finished
            && let Some(heap) = &mut self.heap
        {
            heap.release_all();
        }
        self.store.heap = self.heap.take();
    }
}

impl Store {
    /// The heap, which takes no address space yet when it is new.
    #[inline]
    pub fn heap_mut(&mut self) -> &mut Heap {
        if self.heap.is_none() {
            self.make_heap();
        }
        self.heap.as_mut().expect("just made")
    }

    /// The heap, if it was needed before.
    #[inline]
    pub fn heap(&self) -> Option<&Heap> {
        self.heap.as_deref()
    }

    #[cold]
    fn make_heap(&mut self) {
        let ctx = NonNull::new(self.ctx()).expect("a store has an address");
        let (types, pool) = (self.engine.types(), self.engine.heaps());
        // SAFETY: the context lives as long as the store, which drops the heap before; only code of this
        // store uses it, and none runs while the store is borrowed here.
        let heap = unsafe { Heap::new(ctx, &self.config().gc, types, pool) };
        self.heap = Some(Box::new(heap));
    }

    /// Does something with the heap that may collect. The host's data that was found dead is dropped
    /// afterwards, and what host functions have left on stacks that were recycled.
    ///
    /// # Panics
    ///
    /// Resumes panics of the embedder's limiter, and of the host's data.
    pub(super) fn with_heap<R>(&mut self, f: impl FnOnce(&mut Heap, &mut dyn World) -> R) -> R {
        self.heap_mut();
        let mut apart = Apart {
            heap: self.heap.take(),
            store: self,
            finished: false,
        };
        let heap = apart.heap.as_mut().expect("just made");
        let before = heap.collections();
        let result = f(heap, &mut Outside(apart.store));
        let dead = heap.take_dead();
        let after = heap.collections();
        apart.finished = true;
        drop(apart);
        let mut frames = DeadFrames::default();
        if before != after
            && let Some(stacks) = &mut self.stacks
        {
            stacks.after_collection(before.1 != after.1);
            frames = stacks.take_dead();
        }
        if let Err(payload) = panics::first(dead.drop_all(), frames.drop_all()) {
            self.heap_mut().release_all();
            panic::resume_unwind(payload);
        }
        result
    }

    /// Takes address space for the heap: compiled code that uses it is about to run.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub(super) fn reserve_heap(&mut self) -> Result<(), HeapError> {
        self.heap_mut().reserve()
    }

    /// Collects all garbage.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when the heap is found damaged.
    ///
    /// # Panics
    ///
    /// Resumes a panic of the host's data that was dropped.
    pub fn gc(&mut self) -> Result<(), TrapCode> {
        if self.heap.is_none() {
            return Ok(());
        }
        match self.with_heap(|heap, world| heap.collect(true, world)) {
            Err(HeapError::Corrupt) => Err(TrapCode::HeapCorruption),
            // That there is no room for a nursery matters when something is allocated.
            _ => Ok(()),
        }
    }

    /// What the collector has done so far.
    pub fn gc_stats(&self) -> GcStats {
        self.heap
            .as_ref()
            .map_or_else(GcStats::default, |heap| heap.stats())
    }
}

/// New objects. Values are as compiled code passes them; references among them are followed through a
/// collection. The result is raw: it must be rooted before the next allocation.
impl Store {
    /// A structure with these fields.
    ///
    /// # Errors
    ///
    /// When there is no room.
    ///
    /// # Panics
    ///
    /// Panics unless `ty` is a structure type with so many fields.
    ///
    /// # Safety
    ///
    /// The values must be of this store and of the fields' types; functions must be resolved.
    pub unsafe fn alloc_struct(
        &mut self,
        ty: TypeId,
        fields: &[ValRaw],
    ) -> Result<NonZeroU32, HeapError> {
        // SAFETY: the caller's promise.
        self.with_heap(|heap, world| unsafe { heap.allocate_struct(ty, fields, world) })
            .map(not_null)
    }

    /// A structure whose fields have their default values.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn alloc_struct_default(&mut self, ty: TypeId) -> Result<NonZeroU32, HeapError> {
        self.with_heap(|heap, world| heap.allocate_object(ty, 0, world))
            .map(not_null)
    }

    /// An array of `length` times `value`.
    ///
    /// # Errors
    ///
    /// When there is no room.
    ///
    /// # Panics
    ///
    /// Panics unless `ty` is an array type.
    ///
    /// # Safety
    ///
    /// As [`Store::alloc_struct`].
    pub unsafe fn alloc_array(
        &mut self,
        ty: TypeId,
        length: u32,
        value: ValRaw,
    ) -> Result<NonZeroU32, HeapError> {
        // SAFETY: the caller's promise.
        self.with_heap(|heap, world| unsafe { heap.allocate_array(ty, length, value, world) })
            .map(not_null)
    }

    /// An array of these elements.
    ///
    /// # Errors
    ///
    /// When there is no room.
    ///
    /// # Panics
    ///
    /// Panics unless `ty` is an array type.
    ///
    /// # Safety
    ///
    /// As [`Store::alloc_struct`].
    pub unsafe fn alloc_array_of(
        &mut self,
        ty: TypeId,
        elements: &[ValRaw],
    ) -> Result<NonZeroU32, HeapError> {
        // SAFETY: the caller's promise.
        self.with_heap(|heap, world| unsafe { heap.allocate_array_of(ty, elements, world) })
            .map(not_null)
    }

    /// Makes an `externref` to `data`, which is dropped when nothing refers to it any more.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn new_externref(
        &mut self,
        data: Box<dyn Any + Send + Sync>,
    ) -> Result<NonZeroU32, HeapError> {
        self.with_heap(|heap, world| heap.new_extern(data, world))
    }
}

fn not_null(reference: u32) -> NonZeroU32 {
    NonZeroU32::new(reference).expect("nothing is allocated at null")
}

/// Access to objects.
impl Store {
    fn heap_ref(&self) -> Result<&Heap, TrapCode> {
        self.heap.as_deref().ok_or(TrapCode::HeapCorruption)
    }

    /// What a collected reference leads to.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when it is none of this store's.
    pub fn ref_kind(&self, reference: u32) -> Result<RefKind, TrapCode> {
        match &self.heap {
            Some(heap) => heap.kind_of(reference),
            None if reference == 0 => Ok(RefKind::Null),
            None if reference & 1 != 0 => Ok(RefKind::I31(reference >> 1)),
            None => Err(TrapCode::HeapCorruption),
        }
    }

    /// Whether a collected reference is a value of type `ty`.
    ///
    /// # Errors
    ///
    /// As [`Store::ref_kind`].
    pub fn is_instance(&self, reference: u32, ty: &RefType<TypeId>) -> Result<bool, TrapCode> {
        match &self.heap {
            Some(heap) => heap.is_instance(reference, ty),
            // Null and integers need none.
            None => match (self.ref_kind(reference)?, ty.heap) {
                (RefKind::Null, _) => Ok(ty.nullable),
                (_, HeapType::Abstract(A::I31 | A::Eq | A::Any | A::Extern)) => Ok(true),
                _ => Ok(false),
            },
        }
    }

    /// The type of a continuation.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when the reference leads to none of this store.
    pub fn cont_type(&self, reference: u32) -> Result<TypeId, TrapCode> {
        self.heap_ref()?.cont_type(reference)
    }

    /// The host's data behind an `externref`; `None` for a guest's object that was converted to one.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when it refers to no object of this store.
    pub fn externref_data(
        &self,
        reference: NonZeroU32,
    ) -> Result<Option<&(dyn Any + Send + Sync)>, TrapCode> {
        match self.ref_kind(reference.get())? {
            RefKind::Extern => Ok(Some(self.heap_ref()?.extern_data(reference.get())?)),
            _ => Ok(None),
        }
    }

    /// As [`Store::externref_data`].
    ///
    /// # Errors
    ///
    /// As [`Store::externref_data`].
    pub fn externref_data_mut(
        &mut self,
        reference: NonZeroU32,
    ) -> Result<Option<&mut (dyn Any + Send + Sync)>, TrapCode> {
        match self.ref_kind(reference.get())? {
            RefKind::Extern => Ok(Some(self.heap_mut().extern_data_mut(reference.get())?)),
            _ => Ok(None),
        }
    }
}

/// References that the host holds.
impl Store {
    /// Pushes a root, which is valid until its scope ends.
    #[inline]
    pub fn push_root(&mut self, reference: u32) -> RootIndex {
        self.heap_mut().push_root(reference)
    }

    /// The reference of a root, unless its scope has ended.
    #[inline]
    pub fn root(&self, at: RootIndex) -> Option<u32> {
        self.heap.as_ref()?.root(at)
    }

    /// Begins a scope of roots. Scopes are ended in reverse order.
    #[inline]
    pub fn root_scope_enter(&self) -> RootScope {
        self.heap
            .as_ref()
            .map_or_else(RootScope::default, |heap| heap.enter_scope())
    }

    /// Ends a scope of roots.
    #[inline]
    pub fn root_scope_exit(&mut self, scope: RootScope) {
        if let Some(heap) = &mut self.heap {
            heap.exit_scope(scope);
        }
    }

    /// Makes a root that lives as long as the result or a clone of it.
    pub fn own_root(&mut self, reference: u32) -> OwnedRoot {
        self.heap_mut().own_root(reference)
    }

    /// The reference of an owned root of this store.
    ///
    /// # Panics
    ///
    /// Panics when it is of another store.
    pub fn owned_root(&self, root: &OwnedRoot) -> u32 {
        let heap = self.heap.as_ref().expect("a store with roots has a heap");
        heap.owned_root(root)
    }
}
