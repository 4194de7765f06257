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
use super::world::Roots;
use crate::arch;
use crate::stack::{FrameMaps, ran_stacks, settle_ran};
use sarsen_abi::heap::{ALIGNMENT, ContLayout, EXN_TAG, FIRST, HEADER_SIZE, I31_BIT, YOUNG};
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

    /// Makes the reference in `slot` one to an old object.
    ///
    /// # Safety
    ///
    /// `slot` must be valid.
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
        let fields = self
            .base
            .wrapping_add((at + HEADER_SIZE) as usize)
            .cast::<u32>();
        match shape.content {
            Content::Small => {
                let mut left = shape.references;
                while left != 0 {
                    // SAFETY: a field of the object.
                    unsafe { self.visit(fields.add(left.trailing_zeros() as usize)) };
                    left &= left - 1;
                }
            }
            Content::References => {
                for element in 0..second as usize {
                    // SAFETY: an element of the object.
                    unsafe { self.visit(fields.add(element)) };
                }
            }
            Content::Large => self.scan_large(at, shape.references as usize),
            Content::Cont => self.scan_cont(at),
            Content::Exn => self.scan_exn(at, second),
            Content::Numbers | Content::Extern | Content::Unknown => {}
        }
        size
    }

    /// Visits what a continuation refers to. If it was moved and owns a stack, the stack follows it.
    #[inline(never)]
    fn scan_cont(&mut self, at: u32) {
        // SAFETY: words of the object; no compiled code runs, and the stack that it owns is suspended.
        unsafe {
            let object = self.base.add(at as usize);
            for field in [ContLayout::REFS, ContLayout::BITS] {
                self.visit(object.add(field as usize).cast());
            }
            let number = object.add(ContLayout::STACK as usize).cast::<u32>().read();
            let is_young = |of: u32| of >= YOUNG && of - YOUNG < self.used;
            let moved_here = |of: u32| is_young(of) && self.header(of).0 == at | MOVED;
            if let Some(stack) = owned_stack(self.ctx, number, moved_here) {
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

    #[inline(never)]
    fn scan_large(&mut self, at: u32, offsets: usize) {
        for field in 0..self.shapes.offsets[offsets].len() {
            let offset = self.shapes.offsets[offsets][field];
            // SAFETY: a field of the object.
            unsafe { self.visit(self.base.add((at + offset) as usize).cast()) };
        }
    }

    #[inline(never)]
    fn scan_exn(&mut self, at: u32, size: u32) {
        // SAFETY: within the object, whose size was checked.
        let tag = unsafe { self.base.add((at + EXN_TAG) as usize).cast::<u32>().read() };
        let Some(references) = self.shapes.exn_references(tag, size).cloned() else {
            self.report();
            return;
        };
        for &offset in &*references {
            // SAFETY: an argument of the exception.
            unsafe { self.visit(self.base.add((at + offset) as usize).cast()) };
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

impl Heap {
    /// Empties the nursery. Returns how much has survived, in bytes.
    pub(super) fn minor(&mut self, roots: &Roots) -> u32 {
        self.stats.minor += 1;
        self.hurry = false;
        let (begin, used) = (self.old_end, self.young_end() - YOUNG);
        let heap_start = self.base().addr();
        let remembered = std::mem::take(&mut self.remembered.overflowed);
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
            if remembered {
                evacuation.scan_old(begin);
                for slot in roots.all() {
                    evacuation.visit(slot);
                }
            }
            let slots = &*slots;
            for (position, &slot) in slots.iter().enumerate() {
                if let Some(&ahead) = slots.get(position + AHEAD) {
                    arch::prefetch(ptr::with_exposed_provenance(ahead as usize));
                }
                let offset = (slot as usize).wrapping_sub(heap_start);
                let is_old = offset >= FIRST as usize && offset + 4 <= begin as usize;
                if offset >= RANGE {
                    evacuation.visit(ptr::with_exposed_provenance_mut(slot as usize));
                } else if is_old && offset.is_multiple_of(4) {
                    evacuation.visit(evacuation.base.add(offset).cast());
                } else {
                    evacuation.report();
                }
            }
        }
        evacuation.scan_copies();
        evacuation.recycle_stacks();
        let (end, damaged) = (evacuation.end, evacuation.damaged);
        self.damaged |= damaged;
        let base = self.base();
        self.externs.after_minor(base, begin..end);
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
