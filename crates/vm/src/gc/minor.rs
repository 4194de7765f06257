//! A minor collection: what is reachable in the nursery is copied to the end of the old space.
//!
//! ```text
//!   old space                                      nursery
//!   | old objects | scanned | to be scanned |      | objects, some of them moved  |
//!                 ^ begin   ^ scan          ^ end
//! ```
//!
//! Cheney's algorithm: roots first, that is slots outside of the heap and the remembered ones within;
//! then the copies are scanned in order, until there is none left. An object that has moved leaves its
//! new place in its header, plus one: type ids are even. Afterwards nothing is young, and the buffer of
//! remembered slots is empty. Old objects are not looked at, however many there are.
//!
//! # What is trusted
//!
//! Nothing in the heap. A reference that leads to no object becomes null and is reported
//! ([`Heap::damaged`](super::Heap)), and no more is copied than there is room for.

use super::conts::owned_stack;
use super::heap::Heap;
use super::range::RANGE;
use super::shapes::{Content, Shapes};
use super::trace::{Tracer, trace};
use super::world::Roots;
use crate::arch;
use crate::stack::{FrameMaps, ran_stacks, settle_ran};
use sarsen_abi::heap::{ALIGNMENT, ContLayout, FIRST, I31_BIT, YOUNG};
use sarsen_abi::stack::{OWNER_CLEAN, VmStack};
use sarsen_abi::vmctx::VmStoreCtx;
use std::ptr;

/// In the first word of a header: the object has moved, and the rest is where it is now.
const MOVED: u32 = 1;

/// How many remembered slots ahead of the current one are fetched.
const AHEAD: usize = 24;

/// A minor collection in progress.
struct Evacuation<'a> {
    base: *mut u8,
    shapes: &'a mut Shapes,
    /// The size of what has been allocated in the nursery.
    used: u32,
    /// Where the first copy is.
    begin: u32,
    /// Where the next copy goes.
    end: u32,
    /// Where the room for copies ends.
    room: u32,
    damaged: bool,
    ctx: *mut VmStoreCtx,
    frame_maps: &'a mut FrameMaps,
}

impl Evacuation<'_> {
    /// The two words of the header at `at`.
    ///
    /// # Safety
    ///
    /// `at` must be accessible and aligned.
    #[inline(always)]
    unsafe fn header(&self, at: u32) -> (u32, u32) {
        // SAFETY: the caller's promise.
        let word = unsafe { self.base.add(at as usize).cast::<u64>().read() };
        (word as u32, (word >> 32) as u32)
    }

    /// Where the young object at `at` is now; `None` when it was not moved.
    fn fate(&self, at: u32) -> Option<u32> {
        if at < YOUNG || at - YOUNG >= self.used {
            return None;
        }
        // SAFETY: in the nursery, of which whole objects are in use.
        let (first, _) = unsafe { self.header(at) };
        let to = first.wrapping_sub(MOVED);
        (first & MOVED != 0 && to >= self.begin && to < self.end).then_some(to)
    }

    /// What a reference that may be young becomes.
    #[inline(always)]
    fn moved(&mut self, reference: u32) -> u32 {
        if reference & I31_BIT != 0 {
            return reference;
        }
        let offset = reference - YOUNG;
        if offset >= self.used || !reference.is_multiple_of(ALIGNMENT) {
            return self.report();
        }
        // SAFETY: in the nursery, of which whole objects are in use.
        let (first, second) = unsafe { self.header(reference) };
        if first & MOVED != 0 {
            let to = first - MOVED;
            return if to >= self.begin && to < self.end {
                to
            } else {
                self.report()
            };
        }
        let shape = self.shapes.get(first);
        match shape.size_of(second) {
            Some(size) if size <= u64::from(self.used - offset) => {
                self.copy(reference, size as u32)
            }
            _ => self.report(),
        }
    }

    #[inline(always)]
    fn copy(&mut self, from: u32, size: u32) -> u32 {
        let to = self.end;
        if size > self.room - to {
            return self.report();
        }
        self.end = to + size;
        // SAFETY: the object lies in the nursery and the copy in the room for it; objects are aligned
        // and their sizes multiples of 8.
        unsafe {
            let source = self.base.add(from as usize).cast::<u64>();
            let target = self.base.add(to as usize).cast::<u64>();
            if size <= 64 {
                for word in 0..size as usize / 8 {
                    target.add(word).write(source.add(word).read());
                }
            } else {
                ptr::copy_nonoverlapping(source, target, size as usize / 8);
            }
            source.cast::<u32>().write(to | MOVED);
        }
        to
    }

    #[cold]
    #[inline(never)]
    fn report(&mut self) -> u32 {
        self.damaged = true;
        0
    }

    /// Scans the copies, which makes more, until none is left.
    fn scan_copies(&mut self) {
        let mut at = self.begin;
        while at < self.end {
            at += self.scan(at);
        }
    }

    /// Visits the references of the object at `at`; returns its size.
    ///
    /// # Panics
    ///
    /// Panics when there is no object: those that are scanned were checked.
    #[inline(always)]
    fn scan(&mut self, at: u32) -> u32 {
        // SAFETY: a whole object in the old space.
        let (first, second) = unsafe { self.header(at) };
        let shape = self.shapes.find(first);
        let size = shape.size_of(second).expect("checked before") as u32;
        let object = self.base.wrapping_add(at as usize);
        // SAFETY: an object of this shape and size.
        if !unsafe { trace(self, object, shape, second) } {
            self.report();
        }
        if shape.content == Content::Cont {
            self.follow(at);
        }
        size
    }

    /// If a continuation was moved and owns a stack, the stack follows it.
    #[inline(never)]
    fn follow(&mut self, at: u32) {
        // SAFETY: a word of the object; no compiled code runs, and the stack that it owns is suspended.
        unsafe {
            let word = self.base.add((at + ContLayout::STACK) as usize);
            let moved_here = |of: u32| self.fate(of) == Some(at);
            if let Some(stack) = owned_stack(self.ctx, word.cast::<u32>().read(), moved_here) {
                (*stack).owner = at;
                self.visit_frames(stack);
            }
        }
    }

    /// Visits the references in the frames of a suspended chain.
    ///
    /// # Safety
    ///
    /// `head` must be the head of a chain.
    unsafe fn visit_frames(&mut self, head: *mut VmStack) {
        let maps = ptr::from_mut(self.frame_maps);
        // SAFETY: visiting a slot does not touch the maps; the rest is the caller's promise.
        unsafe { (*maps).suspended(head, &mut |slot| self.visit(slot)) };
    }

    /// Visits the frames of suspended stacks that have run since the last collection, and whose owners are
    /// old.
    fn scan_ran_stacks(&mut self) {
        // SAFETY: no compiled code runs; what has an owner is suspended.
        unsafe {
            for stack in ran_stacks(self.ctx) {
                let owner = (*stack).owner & !OWNER_CLEAN;
                if owner != 0 && owner < YOUNG {
                    self.visit_frames(stack);
                }
            }
        }
    }

    /// Recycles the suspended stacks whose owners have not been moved out of the nursery.
    fn recycle_stacks(&mut self) {
        // SAFETY: no compiled code runs. A chain whose owner is dead is nobody's, and owners become young with
        // their stack noted as one that has run.
        unsafe { settle_ran(self.ctx, |owner| owner >= YOUNG) };
    }

    /// Visits the slots that are remembered: in old objects, or in tables.
    ///
    /// # Safety
    ///
    /// Slots outside of the heap's range must be valid; within it, they may be anything.
    unsafe fn scan_remembered(&mut self, slots: &[u64]) {
        let heap_start = self.base.addr();
        for (position, &slot) in slots.iter().enumerate() {
            if let Some(&ahead) = slots.get(position + AHEAD) {
                arch::prefetch(ptr::with_exposed_provenance(ahead as usize));
            }
            let offset = (slot as usize).wrapping_sub(heap_start);
            let is_old = offset >= FIRST as usize && offset + 4 <= self.begin as usize;
            if offset >= RANGE {
                // SAFETY: the caller's promise.
                unsafe { self.visit(ptr::with_exposed_provenance_mut(slot as usize)) };
            } else if is_old && offset.is_multiple_of(4) {
                // SAFETY: within the old space, which is accessible.
                unsafe { self.visit(self.base.add(offset).cast()) };
            } else {
                self.report();
            }
        }
    }

    /// Visits every object of the old space; `end` is where they ended before.
    fn scan_old(&mut self, end: u32) {
        let mut at = FIRST;
        while at < end {
            // SAFETY: objects lie there without gaps.
            let (first, second) = unsafe { self.header(at) };
            match self.shapes.get(first).size_of(second) {
                Some(size) if size <= u64::from(end - at) => at += self.scan(at),
                _ => {
                    self.report();
                    return;
                }
            }
        }
    }
}

impl Tracer for Evacuation<'_> {
    fn shapes(&self) -> &Shapes {
        self.shapes
    }

    /// Makes the reference in `slot` one to an old object.
    #[inline(always)]
    unsafe fn visit(&mut self, slot: *mut u32) {
        // SAFETY: the caller's promise.
        let reference = unsafe { slot.read() };
        if reference >= YOUNG {
            let moved = self.moved(reference);
            // SAFETY: the caller's promise.
            unsafe { slot.write(moved) };
        }
    }
}

impl Heap {
    /// Empties the nursery. Returns how much has survived, in bytes.
    pub(super) fn minor(&mut self, roots: &Roots) -> u32 {
        self.stats.minor += 1;
        self.hurry = false;
        let (begin, used) = (self.old_end, self.young_end() - YOUNG);
        let overflowed = std::mem::take(&mut self.remembered.overflowed);
        let slots = self.remembered_slots() as *const [u64];
        let mut evacuation = Evacuation {
            base: self.base(),
            shapes: &mut self.shapes,
            used,
            begin,
            end: begin,
            room: self.old_room,
            damaged: false,
            ctx: self.ctx.as_ptr(),
            frame_maps: &mut self.frame_maps,
        };
        // SAFETY: the slots of roots are valid (`World::roots`), as are the host's; remembered ones are
        // checked when they lie in the heap, and otherwise in tables, which tell when they move.
        unsafe {
            for &slot in &roots.slots {
                evacuation.visit(slot);
            }
            self.handles.visit(false, |slot| evacuation.visit(slot));
            evacuation.scan_ran_stacks();
            if overflowed {
                evacuation.scan_old(begin);
                for slot in roots.all() {
                    evacuation.visit(slot);
                }
            }
            evacuation.scan_remembered(&*slots);
        }
        evacuation.scan_copies();
        evacuation.recycle_stacks();
        self.externs.sweep_young(|at| evacuation.fate(at));
        let (end, damaged) = (evacuation.end, evacuation.damaged);
        self.damaged |= damaged;
        self.finish_minor(used, end);
        end - begin
    }

    fn finish_minor(&mut self, used: u32, end: u32) {
        let promoted = end - self.old_end;
        self.old_end = end;
        self.clean = self.clean.max(end);
        self.young_touched = self.young_touched.max(YOUNG + used);
        // Until there is room for another, there is no nursery.
        self.young_size = 0;
        self.with_ctx(|ctx| (ctx.alloc_next, ctx.alloc_end) = (YOUNG, 0));
        self.forget_slots();
        self.stats.bytes_allocated += u64::from(used);
        self.stats.bytes_promoted += u64::from(promoted);
        self.stats.bytes_freed += u64::from(used - promoted.min(used));
        self.poison(YOUNG, used);
    }
}
