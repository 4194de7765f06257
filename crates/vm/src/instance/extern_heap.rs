//! [`ExternHeap`]: the boxes behind `externref`s, in the store's collected heap.
//!
//! A reference is a 32-bit offset into a range of 4 GiB that the store reserves when it needs the
//! first one; null is 0, and the first 64 KiB are never accessible. What it refers to is a box with
//! the header of every collected object, and the id of the host's data in a table beside the heap:
//!
//! ```text
//!   +0  kind   u32   EXTERN_KIND
//!   +4  size   u32   16, in bytes
//!   +8  id     u32   of the host's data
//!   +12 zero   u32
//! ```
//!
//! Boxes are not collected yet: they live as long as their store.
//!
//! # Invariants
//!
//! - Everything between the range's beginning and `FIRST`, and from `committed` on, is inaccessible
//!   or zero.
//! - The heap is read as untrusted bytes: a reference is checked before it is followed, and so is
//!   what is found there.

use super::reason::{HostError, Reason};
use super::store::{Store, ask};
use crate::os::pages::{Protection, Reservation};
use sarsen_abi::TrapCode;
use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

/// The reach of a 32-bit reference, in bytes.
const REACH: usize = 4 << 30;
/// Inaccessible bytes after it: more than the largest fixed-size object.
const GUARD: usize = 1 << 20;
/// Where the first object is: what lies before is inaccessible.
const FIRST: u32 = 64 << 10;
/// How much is made accessible at a time, in bytes.
const CHUNK: usize = 64 << 10;
/// How many ranges wait to be used again.
const MAX_IDLE: usize = 64;

/// The kind of a box with host data.
const EXTERN_KIND: u32 = u32::from_le_bytes(*b"extr");
/// The alignment of objects, in bytes. A reference's lowest bit is for unboxed integers.
const ALIGNMENT: u32 = 8;

/// A box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
struct ExternBox {
    kind: u32,
    size: u32,
    id: u32,
    zero: u32,
}

const BOX_SIZE: u32 = size_of::<ExternBox>() as u32;

/// An object could not be allocated in a store's heap.
pub enum HeapError {
    /// The heap is full, or its limit was reached.
    Full,
    /// The system has no room.
    System(std::io::Error),
    /// The limiter returned this.
    Host(HostError),
}

impl fmt::Debug for HeapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeapError::Full => f.write_str("Full"),
            HeapError::System(error) => f.debug_tuple("System").field(error).finish(),
            HeapError::Host(_) => f.write_str("Host(..)"),
        }
    }
}

impl From<HeapError> for Reason {
    fn from(error: HeapError) -> Self {
        match error {
            HeapError::Full | HeapError::System(_) => Reason::Trap(TrapCode::AllocationTooLarge),
            HeapError::Host(error) => Reason::Error(error),
        }
    }
}

/// A range for a heap, in use or idle.
#[derive(Debug)]
struct HeapRange {
    pages: Reservation,
    /// The end of what is accessible, from the base. An idle range is zero.
    committed: usize,
}

impl HeapRange {
    fn new() -> rustix::io::Result<HeapRange> {
        Ok(HeapRange {
            pages: Reservation::new(REACH + GUARD)?,
            committed: FIRST as usize,
        })
    }

    /// Makes everything below `end` accessible, which is a multiple of [`CHUNK`].
    fn commit(&mut self, end: usize) -> rustix::io::Result<()> {
        if end > self.committed {
            let len = end - self.committed;
            // SAFETY: making more accessible invalidates no reference.
            unsafe {
                self.pages
                    .protect(self.committed, len, Protection::ReadWrite)?
            };
            self.committed = end;
        }
        Ok(())
    }

    /// Makes the first `used` bytes zero again.
    fn reset(&mut self, used: usize) -> rustix::io::Result<()> {
        let start = FIRST as usize;
        let len = used - start;
        if len <= CHUNK / 4 {
            // SAFETY: accessible, and the heap's store is gone.
            unsafe { self.pages.ptr_at(start).write_bytes(0, len) };
            Ok(())
        } else {
            // SAFETY: the heap's store is gone.
            unsafe { self.pages.decommit(start, self.committed - start) }
        }
    }
}

/// The idle ranges of an engine.
#[derive(Debug, Default)]
pub(super) struct HeapPool {
    idle: Mutex<Vec<HeapRange>>,
}

impl HeapPool {
    fn take(&self) -> rustix::io::Result<HeapRange> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.pop() {
            Some(range) => Ok(range),
            None => HeapRange::new(),
        }
    }

    fn give_back(&self, mut range: HeapRange, used: usize) {
        if range.reset(used).is_err() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(range);
        }
    }
}

/// A store's boxes. See the module's page.
pub(super) struct ExternHeap {
    /// `None` only while dropping.
    range: Option<HeapRange>,
    /// Where the next object goes.
    next: u32,
    /// How much the limiter has agreed to, from the base.
    granted: usize,
    /// The host's data, by id.
    data: Vec<Box<dyn Any + Send + Sync>>,
    pool: Arc<HeapPool>,
}

impl ExternHeap {
    fn new(pool: &Arc<HeapPool>) -> Result<ExternHeap, HeapError> {
        let range = pool.take().map_err(|e| HeapError::System(e.into()))?;
        Ok(ExternHeap {
            range: Some(range),
            next: FIRST,
            granted: FIRST as usize,
            data: Vec::new(),
            pool: Arc::clone(pool),
        })
    }

    fn range(&self) -> &HeapRange {
        self.range.as_ref().expect("present until dropped")
    }

    fn base(&self) -> *mut u8 {
        self.range().pages.base()
    }

    /// Whether `address` lies in the range, guards included.
    pub(super) fn owns(&self, address: usize) -> bool {
        self.range().pages.contains(address)
    }

    /// Boxes `data`. `may_grow` is asked when the heap is to have a number of bytes instead of
    /// another.
    fn insert(
        &mut self,
        data: Box<dyn Any + Send + Sync>,
        may_grow: impl FnOnce(usize, usize) -> Result<bool, HostError>,
    ) -> Result<NonZeroU32, HeapError> {
        let id = u32::try_from(self.data.len()).map_err(|_| HeapError::Full)?;
        let at = self.allocate(BOX_SIZE, may_grow)?;
        let object = ExternBox {
            kind: EXTERN_KIND,
            size: BOX_SIZE,
            id,
            zero: 0,
        };
        // SAFETY: `allocate` has made this much accessible there, aligned for the header.
        unsafe {
            self.base()
                .add(at as usize)
                .cast::<ExternBox>()
                .write(object)
        };
        self.data.push(data);
        Ok(NonZeroU32::new(at).expect("nothing is allocated at null"))
    }

    fn allocate(
        &mut self,
        size: u32,
        may_grow: impl FnOnce(usize, usize) -> Result<bool, HostError>,
    ) -> Result<u32, HeapError> {
        let at = self.next;
        let end = at.checked_add(size).ok_or(HeapError::Full)?;
        let next = end
            .checked_next_multiple_of(ALIGNMENT)
            .ok_or(HeapError::Full)?;
        if next as usize > self.granted {
            let granted = (next as usize).next_multiple_of(CHUNK);
            let first = FIRST as usize;
            if !may_grow(self.granted - first, granted - first).map_err(HeapError::Host)? {
                return Err(HeapError::Full);
            }
            let range = self.range.as_mut().expect("present until dropped");
            range
                .commit(granted)
                .map_err(|e| HeapError::System(e.into()))?;
            self.granted = granted;
        }
        self.next = next;
        Ok(at)
    }

    /// The host's data in the box at `reference`, unless there is no such box.
    fn get(&self, reference: NonZeroU32) -> Option<&(dyn Any + Send + Sync)> {
        let at = reference.get();
        let fits = at.checked_add(BOX_SIZE).is_some_and(|end| end <= self.next);
        if at < FIRST || !at.is_multiple_of(ALIGNMENT) || !fits {
            return None;
        }
        // SAFETY: everything between `FIRST` and `next` is accessible and initialized, and aligned
        // objects are aligned for the header.
        let object = unsafe { self.base().add(at as usize).cast::<ExternBox>().read() };
        let id = object.id as usize;
        let intact = object.kind == EXTERN_KIND && object.size == BOX_SIZE;
        self.data.get(id).filter(|_| intact).map(|data| &**data)
    }
}

impl Drop for ExternHeap {
    fn drop(&mut self) {
        if let Some(range) = self.range.take() {
            self.pool.give_back(range, self.next as usize);
        }
    }
}

impl Store {
    /// Makes an `externref` to `data`, which lives as long as the store.
    ///
    /// # Errors
    ///
    /// When the heap is full, its limiter refuses, or the system has no room.
    pub fn new_externref(
        &mut self,
        data: Box<dyn Any + Send + Sync>,
    ) -> Result<NonZeroU32, HeapError> {
        let upcalls = self.upcalls();
        let heap = match &mut self.heap {
            Some(heap) => heap,
            None => self.reserve_heap()?,
        };
        heap.insert(data, |now, wanted| {
            ask(upcalls, |u| u.heap_growing(now, wanted)).unwrap_or(Ok(true))
        })
    }

    fn reserve_heap(&mut self) -> Result<&mut ExternHeap, HeapError> {
        let heap = ExternHeap::new(&self.engine.heaps)?;
        // SAFETY: no compiled code of this store runs while it is borrowed here; the base does not
        // change again, because the heap is kept until the store is dropped.
        unsafe { (*self.ctx()).heap_base = heap.base() };
        Ok(self.heap.insert(heap))
    }

    /// The data of an `externref` of this store.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when it refers to no such thing: it is of another store, or the
    /// heap is damaged.
    pub fn externref_data(
        &self,
        reference: NonZeroU32,
    ) -> Result<&(dyn Any + Send + Sync), TrapCode> {
        let heap = self.heap.as_ref().ok_or(TrapCode::HeapCorruption)?;
        heap.get(reference).ok_or(TrapCode::HeapCorruption)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn heap(pool: &Arc<HeapPool>) -> ExternHeap {
        ExternHeap::new(pool).unwrap()
    }

    fn number(heap: &ExternHeap, reference: NonZeroU32) -> Option<u64> {
        heap.get(reference)?.downcast_ref().copied()
    }

    #[test]
    fn every_reference_finds_its_own_data() {
        let mut heap = heap(&Arc::default());
        let refs: Vec<_> = (0..20_000u64)
            .map(|n| heap.insert(Box::new(n), |_, _| Ok(true)).unwrap())
            .collect();
        for (n, &reference) in refs.iter().enumerate() {
            assert_eq!(number(&heap, reference), Some(n as u64));
            assert!(reference.get().is_multiple_of(ALIGNMENT) && reference.get() >= FIRST);
        }
    }

    #[test]
    fn references_to_nothing_are_recognized() {
        let mut heap = heap(&Arc::default());
        let good = heap.insert(Box::new(1u64), |_, _| Ok(true)).unwrap().get();
        for bad in [
            1,
            8,
            FIRST - 8,
            good + 8,
            good + 4,
            good + 16,
            u32::MAX,
            u32::MAX - 7,
        ] {
            assert_eq!(
                number(&heap, NonZeroU32::new(bad).unwrap()),
                None,
                "{bad:#x}"
            );
        }
        // What a damaged heap holds is not followed.
        // SAFETY: the box is there.
        unsafe { heap.base().add(good as usize + 8).cast::<u32>().write(77) };
        assert_eq!(number(&heap, NonZeroU32::new(good).unwrap()), None);
    }

    #[test]
    fn the_limiter_is_asked_for_each_chunk_and_obeyed() {
        let mut heap = heap(&Arc::default());
        let mut asked = Vec::new();
        let mut inserted = 0;
        let error = loop {
            let answer = |now, wanted| {
                asked.push((now, wanted));
                Ok(wanted <= 2 * CHUNK)
            };
            match heap.insert(Box::new(0u64), answer) {
                Ok(_) => inserted += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, HeapError::Full));
        assert_eq!(inserted, 2 * CHUNK / BOX_SIZE as usize);
        let chunks = [(0, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, 3 * CHUNK)];
        assert_eq!(asked, chunks);
        let refused = heap.insert(Box::new(0u64), |_, _| Err(Box::new("no")));
        assert!(matches!(refused, Err(HeapError::Host(_))));
    }

    #[test]
    fn data_is_dropped_with_the_heap_and_a_recycled_range_is_clean() {
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        struct Counted;
        impl Drop for Counted {
            fn drop(&mut self) {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        }
        let pool = Arc::new(HeapPool::default());
        for boxes in [3usize, 5000, 10] {
            DROPPED.store(0, Ordering::Relaxed);
            let mut heap = heap(&pool);
            for _ in 0..boxes {
                heap.insert(Box::new(Counted), |_, _| Ok(true)).unwrap();
            }
            let committed = heap.range().committed;
            let base = heap.base();
            drop(heap);
            assert_eq!(DROPPED.load(Ordering::Relaxed), boxes);
            let idle = pool.idle.lock().unwrap();
            assert_eq!(idle.len(), 1);
            assert_eq!(idle[0].pages.base(), base);
            for at in (FIRST as usize..committed).step_by(4) {
                // SAFETY: accessible, and nobody else uses it.
                assert_eq!(unsafe { base.add(at).cast::<u32>().read() }, 0);
            }
        }
    }
}
