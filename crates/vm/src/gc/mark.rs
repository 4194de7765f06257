//! Marking: which old objects are reachable. The first part of a full collection.
//!
//! Depth first, with a stack of our own whose size is bounded: when it is full, an object is marked but
//! not put on it, and the heap is walked afterwards for marked objects whose references are not. A large
//! array is scanned a piece at a time, so that it does not fill the stack by itself. What is popped
//! waits in a short queue while its memory is fetched.
//!
//! A reference that leads to no object becomes null and is reported.

use super::conts::owned_stack;
use super::live_map::LiveMap;
use super::shapes::{Content, Shape, Shapes};
use super::trace::{Tracer, trace, trace_elements};
use crate::arch;
use crate::stack::FrameMaps;
use sarsen_abi::heap::{ALIGNMENT, ContLayout, FIRST, I31_BIT};
use sarsen_abi::stack::VmStack;
use sarsen_abi::vmctx::VmStoreCtx;

/// How many objects wait for their memory.
const QUEUE: usize = 8;
/// How many elements of an array are scanned at a time.
const PIECE: u32 = 1 << 10;
/// The stack has room for so many objects at least.
pub(super) const MIN_STACK: usize = 1 << 16;

/// Marking in progress.
pub(super) struct Marking<'a> {
    base: *mut u8,
    shapes: &'a mut Shapes,
    live: &'a mut LiveMap,
    /// The end of the old objects.
    end: u32,
    stack: Vec<u32>,
    /// The largest size of `stack`.
    limit: usize,
    /// The lowest object that did not fit on the stack, or the largest number.
    missed: u32,
    queue: [u32; QUEUE],
    head: usize,
    /// Arrays that are partly scanned, and from where on they are not.
    arrays: Vec<(u32, u32)>,
    pub(super) damaged: bool,
    ctx: *mut VmStoreCtx,
    frame_maps: &'a mut FrameMaps,
    /// The heads of suspended chains whose owners are marked.
    pub(super) stacks: Vec<*mut VmStack>,
}

impl<'a> Marking<'a> {
    /// Marks below `end` in `live`.
    ///
    /// # Safety
    ///
    /// The heap at `base` must be accessible between [`FIRST`] and `end`, and used by nobody else; `ctx` must
    /// be its store's.
    pub(super) unsafe fn new(
        base: *mut u8,
        end: u32,
        shapes: &'a mut Shapes,
        live: &'a mut LiveMap,
        limit: usize,
        ctx: *mut VmStoreCtx,
        frame_maps: &'a mut FrameMaps,
    ) -> Self {
        live.begin(end);
        Marking {
            base,
            shapes,
            live,
            end,
            stack: Vec::new(),
            limit,
            missed: u32::MAX,
            queue: [0; QUEUE],
            head: 0,
            arrays: Vec::new(),
            damaged: false,
            ctx,
            frame_maps,
            stacks: Vec::new(),
        }
    }

    /// Marks everything that is reachable from what is marked.
    pub(super) fn finish(&mut self) {
        self.drain();
        while self.missed != u32::MAX {
            let from = std::mem::replace(&mut self.missed, u32::MAX);
            self.walk(from);
        }
    }

    fn drain(&mut self) {
        loop {
            if let Some(next) = self.stack.pop() {
                arch::prefetch(self.base.wrapping_add(next as usize));
                let object = std::mem::replace(&mut self.queue[self.head], next);
                self.head = (self.head + 1) % QUEUE;
                if object != 0 {
                    self.scan(object);
                }
            } else if !self.flush() && !self.scan_piece() {
                return;
            }
        }
    }

    /// Scans what waits in the queue; false when nothing does.
    fn flush(&mut self) -> bool {
        let mut any = false;
        for place in 0..QUEUE {
            let object = std::mem::take(&mut self.queue[place]);
            if object != 0 {
                any = true;
                self.scan(object);
            }
        }
        any
    }

    /// The shape of the object at `at`, the second word of its header, and its size, if it is one.
    #[inline(always)]
    fn object(&mut self, at: u32) -> Option<(Shape, u32, u32)> {
        // SAFETY: among the old objects, and aligned.
        let word = unsafe { self.base.add(at as usize).cast::<u64>().read() };
        let (first, second) = (word as u32, (word >> 32) as u32);
        let shape = self.shapes.get(first);
        let size = shape.size_of(second)?;
        (size <= u64::from(self.end - at)).then_some((shape, second, size as u32))
    }

    #[inline(always)]
    fn scan(&mut self, at: u32) {
        let Some((shape, second, size)) = self.object(at) else {
            self.damaged = true;
            return;
        };
        self.live.mark_all(at, size);
        self.visit_references(at, shape, second);
    }

    #[inline(always)]
    fn visit_references(&mut self, at: u32, shape: Shape, second: u32) {
        if shape.content == Content::References && second > PIECE {
            self.arrays.push((at, 0));
            return;
        }
        let object = self.base.wrapping_add(at as usize);
        // SAFETY: an object of this shape and size.
        if !unsafe { trace(self, object, shape, second) } {
            self.damaged = true;
        }
        if shape.content == Content::Cont {
            self.visit_stack(at);
        }
    }

    /// Visits the frames of the stack that a continuation owns, if it owns one.
    #[inline(never)]
    fn visit_stack(&mut self, at: u32) {
        // SAFETY: a word of the object; no compiled code runs, and the stack that it owns is suspended. Visiting
        // a slot does not touch the maps.
        unsafe {
            let word = self.base.add((at + ContLayout::STACK) as usize);
            if let Some(stack) = owned_stack(self.ctx, word.cast::<u32>().read(), |of| of == at) {
                self.stacks.push(stack);
                let maps = std::ptr::from_mut(self.frame_maps);
                (*maps).suspended(stack, &mut |slot| self.visit(slot));
            }
        }
    }

    /// Scans a piece of an array; false when there is none.
    fn scan_piece(&mut self) -> bool {
        let Some((at, start)) = self.arrays.pop() else {
            return false;
        };
        // It was one when it was put here; in a damaged heap, another object may lie over its header.
        let Some((_, length, _)) = self
            .object(at)
            .filter(|&(shape, length, _)| shape.content == Content::References && length > start)
        else {
            self.damaged = true;
            return true;
        };
        let end = length.min(start + PIECE);
        if end < length {
            self.arrays.push((at, end));
        }
        let object = self.base.wrapping_add(at as usize);
        // SAFETY: elements of the array, whose size was checked.
        unsafe { trace_elements(self, object, start..end) };
        true
    }

    /// Visits what every marked object from `from` on refers to.
    fn walk(&mut self, from: u32) {
        let mut at = FIRST;
        while at < self.end {
            let Some((shape, second, size)) = self.object(at) else {
                self.damaged = true;
                return;
            };
            if at >= from && self.live.is_live(at) {
                self.live.mark_all(at, size);
                self.visit_references(at, shape, second);
                self.drain();
            }
            at += size;
        }
    }
}

impl Tracer for Marking<'_> {
    fn shapes(&self) -> &Shapes {
        self.shapes
    }

    /// Marks what the reference in `slot` leads to; what that leads to is marked by [`Marking::finish`].
    #[inline(always)]
    unsafe fn visit(&mut self, slot: *mut u32) {
        // SAFETY: the caller's promise.
        let reference = unsafe { slot.read() };
        if reference == 0 || reference & I31_BIT != 0 {
            return;
        }
        if reference < FIRST || reference >= self.end || !reference.is_multiple_of(ALIGNMENT) {
            self.damaged = true;
            // SAFETY: the caller's promise.
            unsafe { slot.write(0) };
        } else if self.live.mark(reference) {
            if self.stack.len() < self.limit {
                self.stack.push(reference);
            } else {
                self.missed = self.missed.min(reference);
            }
        }
    }
}
