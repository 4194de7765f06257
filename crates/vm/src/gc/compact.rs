//! A full collection: marking, then sliding what is live together at the beginning of the old space.
//!
//! Objects keep their order and none is copied elsewhere first, so that no second space is needed. Where
//! an object goes is computed from the [`LiveMap`], without writing to the heap; one pass over the live
//! objects in ascending order corrects their references and moves them. What is dense from the
//! beginning stays where it is.

use super::conts::{fetched, recycle_dead};
use super::heap::Heap;
use super::live_map::LiveMap;
use super::mark::{MIN_STACK, Marking};
use super::shapes::Shapes;
use super::trace::{Tracer, trace};
use super::world::Roots;
use sarsen_abi::heap::{FIRST, HEADER_SIZE, I31_BIT};
use sarsen_abi::stack::{OWNER_CLEAN, VmStack};
use std::ptr;

/// So many bytes after the old objects keep their memory at least.
const KEEP: u32 = 4 << 20;

/// Sliding in progress.
struct Sliding<'a> {
    base: *mut u8,
    shapes: &'a Shapes,
    live: &'a LiveMap,
    /// The end of the old objects.
    end: u32,
}

impl Sliding<'_> {
    /// What a reference becomes.
    #[inline(always)]
    fn moved(&self, reference: u32) -> u32 {
        if reference & I31_BIT != 0 || reference < FIRST || reference >= self.end {
            return reference;
        }
        self.live.new_place(reference)
    }

    /// Moves everything. Returns the end of what is live.
    fn slide(&mut self) -> u32 {
        let mut to = FIRST;
        let mut at = FIRST;
        while let Some(from) = self.live.next_live(at) {
            let size = self.correct(from);
            self.copy(from, to, size);
            to += size;
            at = from + size;
        }
        to
    }

    /// Corrects the references of the object at `at`; returns its size.
    #[inline(always)]
    fn correct(&mut self, at: u32) -> u32 {
        // SAFETY: among the old objects; whatever is read there is checked.
        let word = unsafe { self.base.add(at as usize).cast::<u64>().read() };
        let (first, second) = (word as u32, (word >> 32) as u32);
        let shape = self.shapes.find(first);
        let size = match shape.size_of(second) {
            Some(size) if size <= u64::from(self.end - at) => size as u32,
            // Reported by `mark`: a word that something refers to, but no object.
            _ => return HEADER_SIZE,
        };
        let object = self.base.wrapping_add(at as usize);
        // SAFETY: an object of this shape and size. An exception without a tag was reported by `mark`.
        unsafe { trace(self, object, shape, second) };
        size
    }

    #[inline(always)]
    fn copy(&self, from: u32, to: u32, size: u32) {
        debug_assert!(to <= from);
        if to == from {
            return;
        }
        // SAFETY: `to` never overtakes `from`, so that both ranges lie among the old objects and nothing
        // is overwritten that is still to be read; sizes are multiples of 8.
        unsafe {
            let source = self.base.add(from as usize).cast::<u64>();
            let target = self.base.add(to as usize).cast::<u64>();
            if size <= 64 {
                for word in 0..size as usize / 8 {
                    target.add(word).write(source.add(word).read());
                }
            } else {
                ptr::copy(source, target, size as usize / 8);
            }
        }
    }
}

impl Tracer for Sliding<'_> {
    fn shapes(&self) -> &Shapes {
        self.shapes
    }

    #[inline(always)]
    unsafe fn visit(&mut self, slot: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { slot.write(self.moved(slot.read())) };
    }
}

impl Heap {
    /// Collects the old space. The nursery is empty.
    pub(super) fn full(&mut self, roots: &Roots) {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => match LiveMap::new() {
                Ok(live) => live,
                // Without address space for the map, everything stays alive.
                Err(_) => return,
            },
        };
        self.stats.full += 1;
        let stacks = self.mark(roots, &mut live);
        live.place();
        let mut sliding = Sliding {
            base: self.base(),
            shapes: &self.shapes,
            live: &live,
            end: self.old_end,
        };
        // SAFETY: slots of roots and in frames are valid; no compiled code runs.
        unsafe {
            for slot in roots.all() {
                sliding.visit(slot);
            }
            self.handles.visit(true, |slot| sliding.visit(slot));
            for stack in fetched(&stacks) {
                self.frame_maps
                    .suspended(stack, &mut |slot| sliding.visit(slot));
                (*stack).owner = sliding.moved((*stack).owner & !OWNER_CLEAN) | OWNER_CLEAN;
            }
        }
        let new_end = sliding.slide();
        self.externs.sweep(|at| live.fate(at));
        live.clear();
        self.live = Some(live);
        self.finish_full(new_end);
    }

    /// Marks what is reachable, and recycles the stacks of continuations that are not. Returns the heads of the
    /// suspended chains that stay.
    fn mark(&mut self, roots: &Roots, live: &mut LiveMap) -> Vec<*mut VmStack> {
        let (base, end, ctx) = (self.base(), self.old_end, self.ctx.as_ptr());
        let limit = (self.old_used() / 128).max(MIN_STACK);
        let maps = &mut self.frame_maps;
        // SAFETY: objects lie up to `end`; no compiled code runs. Slots of roots are valid.
        unsafe {
            let mut marking = Marking::new(base, end, &mut self.shapes, live, limit, ctx, maps);
            for slot in roots.all() {
                marking.visit(slot);
            }
            self.handles.visit(true, |slot| marking.visit(slot));
            marking.finish();
            self.damaged |= marking.damaged;
            let mut stacks = marking.stacks;
            // A continuation may have been visited twice.
            stacks.sort_unstable();
            stacks.dedup();
            recycle_dead(ctx, |owner| live.is_live(owner));
            stacks
        }
    }

    fn finish_full(&mut self, new_end: u32) {
        let freed = self.old_end - new_end;
        self.stats.bytes_freed += u64::from(freed);
        self.poison(new_end, freed);
        self.old_end = new_end;
        self.stats.bytes_live = self.old_used() as u64;
        // Memory that the heap does not need soon goes back to the system.
        let keep = new_end.saturating_add((new_end - FIRST).max(KEEP));
        if self.clean > keep.saturating_add(KEEP)
            && let Ok(clean) = self.range().decommit(keep, self.clean)
        {
            self.clean = clean;
        }
    }
}
