//! [`HeapRange`]: the 4 GiB in which a heap lies, and the [`RangePool`] that recycles them.
//!
//! # Invariants
//!
//! - Nothing is accessible below [`FIRST`], between the old space and the nursery, and after the
//!   nursery.
//! - An idle range is zero wherever it is accessible.

use crate::os::pages::{PAGE_SIZE, Protection, Reservation};
use rustix::io;
use sarsen_abi::heap::{FIRST, MAX_STRUCT, YOUNG, YOUNG_END};
use std::sync::{Mutex, PoisonError};

/// The reach of a 32-bit reference, in bytes.
const REACH: usize = 4 << 30;
/// Inaccessible bytes after it: more than any field's offset in a structure.
const GUARD: usize = 1 << 20;
/// How many ranges wait to be used again.
const MAX_IDLE: usize = 64;
/// Up to so many bytes of a range are made zero by writing zeroes.
const MEMSET_LIMIT: usize = 64 << 10;

/// The size of a range, in bytes.
pub(super) const RANGE: usize = REACH + GUARD;

const _: () = assert!(GUARD > MAX_STRUCT as usize + 16);

/// A range for a heap, in use or idle.
#[derive(Debug)]
pub(super) struct HeapRange {
    pages: Reservation,
    /// The end of what is accessible of the old space.
    old: u32,
    /// The end of what is accessible of the nursery.
    young: u32,
}

impl HeapRange {
    fn new() -> io::Result<HeapRange> {
        Ok(HeapRange {
            pages: Reservation::new(RANGE)?,
            old: FIRST,
            young: YOUNG,
        })
    }

    /// Where references count from.
    pub(super) fn base(&self) -> *mut u8 {
        self.pages.base()
    }

    /// Whether `address` lies in the range, guards included.
    pub(super) fn contains(&self, address: usize) -> bool {
        self.pages.contains(address)
    }

    /// Makes the old space accessible up to `old`, and the nursery up to `young`, at least.
    pub(super) fn commit(&mut self, old: u32, young: u32) -> io::Result<()> {
        assert!(old <= YOUNG && young <= YOUNG_END);
        self.old = self.extend(self.old, old)?;
        self.young = self.extend(self.young, young)?;
        Ok(())
    }

    fn extend(&self, from: u32, to: u32) -> io::Result<u32> {
        let (from, to) = (from as usize, (to as usize).next_multiple_of(PAGE_SIZE));
        if to > from {
            // SAFETY: making more accessible invalidates no reference.
            unsafe { self.pages.protect(from, to - from, Protection::ReadWrite)? };
        }
        Ok(from.max(to) as u32)
    }

    /// Gives the memory of whole pages between the two offsets back; they are zero then. Returns where
    /// these pages begin.
    pub(super) fn decommit(&self, from: u32, to: u32) -> io::Result<u32> {
        let from = (from as usize).next_multiple_of(PAGE_SIZE);
        let to = (to as usize).next_multiple_of(PAGE_SIZE);
        if to > from {
            // SAFETY: the caller has no objects there; nobody else knows of these bytes.
            unsafe { self.pages.decommit(from, to - from)? };
        }
        Ok(from as u32)
    }

    /// Makes it zero again; `old` and `young` are the ends of what may have been written.
    fn reset(&mut self, old: u32, young: u32) -> io::Result<()> {
        for (start, end, accessible) in [(FIRST, old, self.old), (YOUNG, young, self.young)] {
            let (start, len) = (start as usize, (end - start) as usize);
            if len <= MEMSET_LIMIT {
                // SAFETY: accessible, and the heap's store is gone.
                unsafe { self.pages.ptr_at(start).write_bytes(0, len) };
            } else {
                // SAFETY: the heap's store is gone.
                unsafe { self.pages.decommit(start, accessible as usize - start)? };
            }
        }
        Ok(())
    }
}

/// The idle ranges of an engine.
#[derive(Debug, Default)]
pub struct RangePool {
    idle: Mutex<Vec<HeapRange>>,
}

impl RangePool {
    /// Takes an idle range, or makes one.
    pub(super) fn take(&self) -> io::Result<HeapRange> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(HeapRange::new, Ok)
    }

    /// Takes a range back; `old` and `young` are the ends of what may have been written.
    pub(super) fn give_back(&self, mut range: HeapRange, old: u32, young: u32) {
        if range.reset(old, young).is_err() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(range);
        }
    }

    /// How many ranges wait to be used again.
    pub fn idle_ranges(&self) -> usize {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_range_is_clean_however_much_was_written() {
        let pool = RangePool::default();
        for (old, young) in [(100, 0), (5 << 20, 1 << 20), (8, 70 << 10)] {
            let mut range = pool.take().unwrap();
            let (old, young) = (FIRST + old, YOUNG + young);
            range.commit(old, young).unwrap();
            let base = range.base();
            for (start, end) in [(FIRST, old), (YOUNG, young)] {
                // SAFETY: accessible, and nobody else uses it.
                unsafe {
                    base.add(start as usize)
                        .write_bytes(7, (end - start) as usize)
                };
            }
            pool.give_back(range, old, young);
            let idle = pool.idle.lock().unwrap();
            let range = &idle[0];
            assert_eq!((idle.len(), range.base()), (1, base));
            for (start, end) in [(FIRST, range.old), (YOUNG, range.young)] {
                for at in start..end {
                    // SAFETY: accessible, and nobody else uses it.
                    assert_eq!(unsafe { base.add(at as usize).read() }, 0);
                }
            }
        }
    }
}
