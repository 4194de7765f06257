//! A check of the whole heap, for zeal: simple, slow, and independent of the collector.
//!
//! Every object is one that is known and lies within its space, every reference leads to the beginning
//! of an object, and every young reference outside of the nursery is remembered.

use super::conts::owned_stacks;
use super::heap::Heap;
use super::remember::is_young;
use super::shapes::Content;
use super::world::Roots;
use hashbrown::HashSet;
use sarsen_abi::heap::{FIRST, HEADER_SIZE, I31_BIT, YOUNG};
use std::ops::Range;

/// What is written over what was freed: neither a type, nor a reference to anything.
const POISON: u8 = 0xfa;

impl Heap {
    /// Checks the heap if its configuration asks for that.
    ///
    /// # Panics
    ///
    /// Panics when the heap is not what it should be and nothing has reported that yet.
    pub(super) fn verify_with_zeal(&mut self, roots: &Roots) {
        if self.config.zeal.is_some() && !self.damaged {
            self.verify(roots);
        }
    }

    /// Checks the heap.
    ///
    /// # Panics
    ///
    /// Panics when the heap is not what it should be.
    pub(super) fn verify(&mut self, roots: &Roots) {
        let mut starts = HashSet::new();
        let mut references = Vec::new();
        for space in [FIRST..self.old_end(), YOUNG..self.young_end()] {
            self.objects(space, |at, slots| {
                starts.insert(at);
                references.extend(slots.map(|slot| (at, slot)));
            });
        }
        let remembered: HashSet<u64> = self.remembered_slots().iter().copied().collect();
        let all = self.remembered.overflowed;
        let is_remembered =
            |slot: *mut u32| all || remembered.contains(&(slot.expose_provenance() as u64));
        let is_good = |reference: u32| {
            reference == 0 || reference & I31_BIT != 0 || starts.contains(&reference)
        };
        let base = self.base();
        for (at, slot) in references {
            // SAFETY: a field of an object.
            let (slot, value) = unsafe {
                let slot = base.add(slot as usize).cast::<u32>();
                (slot, slot.read())
            };
            assert!(
                is_good(value),
                "{at:#x} refers to {value:#x}, which is no object"
            );
            assert!(
                at >= YOUNG || !is_young(value) || is_remembered(slot),
                "{at:#x} refers to {value:#x}, which is young, and is not remembered"
            );
        }
        for slot in roots.all() {
            // SAFETY: slots of roots are valid.
            let value = unsafe { slot.read() };
            assert!(
                is_good(value),
                "a root refers to {value:#x}, which is no object"
            );
        }
        let ctx = self.ctx.as_ptr();
        // SAFETY: no compiled code runs; what has an owner is suspended, and its frames stand.
        unsafe {
            for (stack, owner) in owned_stacks(ctx) {
                assert!(
                    starts.contains(&owner),
                    "{owner:#x}, no object, owns a stack"
                );
                let mut has_young = false;
                self.frame_maps.suspended(stack, &mut |slot| {
                    let value = slot.read();
                    has_young |= is_young(value);
                    assert!(
                        is_good(value),
                        "a suspended frame refers to {value:#x}, which is no object"
                    );
                });
                assert!(
                    !has_young || (*stack).ran_place != 0,
                    "a stack with young references is not known to have run"
                );
            }
        }
        for &(first, length) in &roots.tables {
            for slot in (0..length).map(|i| first.wrapping_add(i)) {
                // SAFETY: as above.
                let young = is_young(unsafe { slot.read() });
                assert!(
                    !young || is_remembered(slot),
                    "a table's element is not remembered"
                );
            }
        }
    }

    /// Calls `visit` with every object of a space and its references, all as offsets.
    fn objects(
        &mut self,
        space: Range<u32>,
        mut visit: impl FnMut(u32, &mut dyn Iterator<Item = u32>),
    ) {
        let mut at = space.start;
        while at < space.end {
            // SAFETY: within the space, and aligned.
            let word = unsafe { self.base().add(at as usize).cast::<u64>().read() };
            let (first, second) = (word as u32, (word >> 32) as u32);
            let shape = self.shapes.get(first);
            let size = shape.size_of(second);
            let size = size.filter(|&size| size <= u64::from(space.end - at));
            let size = size.unwrap_or_else(|| panic!("{at:#x} has the header {word:#x}")) as u32;
            let fields = at + HEADER_SIZE;
            match shape.content {
                Content::Small => {
                    let bits = (0..64).filter(|bit| shape.references >> bit & 1 != 0);
                    visit(at, &mut bits.map(|bit| fields + 4 * bit));
                }
                Content::Large | Content::Cont | Content::Exn => {
                    // SAFETY: an object of this shape and size.
                    let offsets = unsafe {
                        let object = self.base().add(at as usize);
                        self.shapes.listed(object, shape, second)
                    };
                    let offsets = offsets.unwrap_or_else(|| panic!("{at:#x} has no tag"));
                    visit(at, &mut offsets.iter().map(|offset| at + offset));
                }
                Content::References => visit(at, &mut (0..second).map(|i| fields + 4 * i)),
                Content::Numbers | Content::Extern | Content::Unknown => {
                    visit(at, &mut std::iter::empty());
                }
            }
            at += size;
        }
    }

    /// Overwrites what was freed, if the configuration asks for that.
    pub(super) fn poison(&self, at: u32, length: u32) {
        if self.config.zeal.is_some() {
            // SAFETY: accessible, and no object lies there.
            unsafe {
                self.base()
                    .add(at as usize)
                    .write_bytes(POISON, length as usize);
            }
        }
    }
}
