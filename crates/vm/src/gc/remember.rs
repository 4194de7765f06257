//! [`Remembered`]: the slots outside of the nursery that hold young references.
//!
//! Compiled code writes addresses of slots to a buffer, each once: when a slot that holds no young
//! reference gets one (`sarsen_abi::heap`). When the buffer is full it grows; when it is long, the next
//! allocation collects. A program that never allocates could go on for as many slots as its heap has:
//! so past a limit the buffer *overflows*, what it holds is forgotten, and the next minor collection
//! looks at all old objects and tables instead.

use super::heap::Heap;
use sarsen_abi::heap::{I31_BIT, YOUNG};
use std::ops::Range;

/// The first size of the buffer, in slots.
const FIRST_SLOTS: usize = 1 << 10;
/// A buffer of so many slots makes the next allocation collect.
const MANY_SLOTS: usize = 1 << 17;
/// The largest size of the buffer.
const MAX_SLOTS: usize = 1 << 19;

/// The buffer.
#[derive(Debug)]
pub(super) struct Remembered {
    slots: Box<[u64]>,
    /// Whether slots were forgotten.
    pub(super) overflowed: bool,
}

impl Remembered {
    pub(super) fn new() -> Remembered {
        Remembered {
            slots: vec![0; FIRST_SLOTS].into(),
            overflowed: false,
        }
    }

    /// What compiled code knows of an empty buffer: where the next slot goes, and the end.
    pub(super) fn bounds(&mut self) -> (*mut u64, *mut u64) {
        let bounds = self.slots.as_mut_ptr_range();
        (bounds.start, bounds.end)
    }

    /// Doubles the buffer.
    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2].into_boxed_slice();
        slots[..self.slots.len()].copy_from_slice(&self.slots);
        self.slots = slots;
    }
}

/// Whether this is a reference to a young object.
#[inline(always)]
pub fn is_young(reference: u32) -> bool {
    reference >= YOUNG && reference & I31_BIT == 0
}

impl Heap {
    /// How many slots are in the buffer.
    fn remembered_count(&self) -> usize {
        let next = self.with_ctx(|ctx| ctx.remembered_next);
        (next.addr() - self.remembered.slots.as_ptr().addr()) / size_of::<u64>()
    }

    /// The slots in the buffer.
    pub(super) fn remembered_slots(&self) -> &[u64] {
        &self.remembered.slots[..self.remembered_count()]
    }

    /// The barrier: `slot`, which lies outside of the nursery and holds `old`, is about to hold `new`.
    #[inline(always)]
    pub(super) fn before_write(&mut self, slot: *mut u32, old: u32, new: u32) {
        if is_young(new) && !is_young(old) {
            self.remember(slot);
        }
    }

    fn remember(&mut self, slot: *mut u32) {
        let full = self.with_ctx(|ctx| {
            // SAFETY: the buffer is never full between two operations.
            unsafe {
                ctx.remembered_next.write(slot.expose_provenance() as u64);
                ctx.remembered_next = ctx.remembered_next.add(1);
            }
            ctx.remembered_next == ctx.remembered_end
        });
        if full {
            self.remembered_full();
        }
    }

    /// The buffer is full: makes room.
    #[cold]
    #[inline(never)]
    pub fn remembered_full(&mut self) {
        let count = self.remembered_count();
        if count >= MAX_SLOTS {
            self.remembered.overflowed = true;
            self.forget_slots();
        } else {
            if count >= MANY_SLOTS {
                self.collect_soon(false);
            }
            self.remembered.grow();
            let Range { start, end } = self.remembered.slots.as_mut_ptr_range();
            self.with_ctx(|ctx| {
                ctx.remembered_next = start.wrapping_add(count);
                ctx.remembered_end = end;
            });
        }
    }

    /// Makes the buffer empty.
    pub(super) fn forget_slots(&mut self) {
        let (start, end) = self.remembered.bounds();
        self.with_ctx(|ctx| (ctx.remembered_next, ctx.remembered_end) = (start, end));
    }

    /// A table's elements have moved from `from` to `to`, `length` bytes of them.
    pub fn table_moved(&mut self, from: *const u8, to: *const u8, length: usize) {
        let count = self.remembered_count();
        for slot in &mut self.remembered.slots[..count] {
            let offset = slot.wrapping_sub(from.addr() as u64);
            if offset < length as u64 {
                *slot = to.expose_provenance() as u64 + offset;
            }
        }
    }

    /// A table's element, `slot`, is about to be `new` instead of `old`.
    #[inline]
    pub fn before_table_write(&mut self, slot: *mut u32, old: u32, new: u32) {
        self.before_write(slot, old, new);
    }
}
