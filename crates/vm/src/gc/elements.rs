//! Many elements of arrays at once: filling, copying, and writing what comes from elsewhere.
//!
//! Numbers move as bytes. References need the barrier where the array is old; before many of them are
//! written, a minor collection makes everything old, so that nothing must be remembered.

use super::config::HeapError;
use super::heap::Heap;
use super::objects::ArrayView;
use super::remember::is_young;
use super::world::World;
use sarsen_abi::TypeId;
use sarsen_abi::heap::{Slot, YOUNG};
use sarsen_abi::vmctx::ValRaw;
use std::ptr;

/// So many references are written to an old array only when nothing is young.
const MANY: u32 = 1 << 12;

impl Heap {
    /// Prepares to write `length` references to the array `to`. What `to` and `others` refer to may
    /// have moved afterwards: they are updated.
    ///
    /// # Errors
    ///
    /// When the heap is damaged.
    pub fn prepare_references(
        &mut self,
        slot: Slot,
        to: &mut u32,
        length: u32,
        others: &mut [u32],
        world: &mut dyn World,
    ) -> Result<(), HeapError> {
        let nothing_young = self.young_end() == YOUNG;
        if slot != Slot::Reference || length < MANY || *to >= YOUNG || nothing_young {
            return Ok(());
        }
        let mut to_held = [*to];
        let result = self.holding(&mut to_held, |heap| {
            heap.holding(others, |heap| heap.collect(false, world))
        });
        *to = to_held[0];
        match result {
            // That there is no room for a nursery matters to the next allocation.
            Err(HeapError::Full) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Fills elements of `array`, which lie in it, with `value`.
    ///
    /// # Panics
    ///
    /// Panics when they do not.
    ///
    /// # Safety
    ///
    /// `value` must be of the element's type, as for [`Heap::array_set`]; the heap must not have been
    /// collected since `array` was made.
    pub unsafe fn fill_elements(
        &mut self,
        array: ArrayView,
        index: u32,
        length: u32,
        value: ValRaw,
    ) {
        assert!(array.check_range(index, length).is_ok());
        // SAFETY: the caller's promise.
        let bits = unsafe { self.stored(array.slot, value) };
        let at = array.element(index);
        let count = length as usize;
        if array.slot == Slot::Reference && array.at < YOUNG && is_young(bits as u32) {
            for element in 0..count {
                // SAFETY: an element of the array.
                unsafe {
                    let slot = self.base().add(at).cast::<u32>().add(element);
                    self.before_write(slot, slot.read(), bits as u32);
                }
            }
        }
        // SAFETY: the array was checked to lie in the heap as a whole. Elements of up to 8 bytes are
        // aligned to their size, larger ones to 8.
        unsafe {
            let to = self.base().add(at);
            match array.slot.size() {
                1 => to.write_bytes(bits as u8, count),
                2 => fill(to.cast(), count, bits as u16),
                4 => fill(to.cast(), count, bits as u32),
                8 => fill(to.cast(), count, bits as u64),
                _ => fill(to.cast(), count, [bits as u64, (bits >> 64) as u64]),
            }
        }
    }

    /// Copies elements, which lie in their arrays, from one array to another, or within one.
    ///
    /// # Panics
    ///
    /// Panics when they do not, or the elements are stored differently.
    ///
    /// # Safety
    ///
    /// The elements of `from` must be of the type of those of `to`; the heap must not have been
    /// collected since both were made.
    pub unsafe fn copy_elements(
        &mut self,
        to: ArrayView,
        to_index: u32,
        from: ArrayView,
        from_index: u32,
        length: u32,
    ) {
        assert!(to.check_range(to_index, length).is_ok());
        assert!(from.check_range(from_index, length).is_ok());
        assert_eq!(to.slot, from.slot);
        let (to_at, from_at) = (to.element(to_index), from.element(from_index));
        let something_young = self.young_end() != YOUNG;
        if to.slot == Slot::Reference && to.at < YOUNG && something_young {
            for element in 0..length as usize {
                // SAFETY: elements of both arrays.
                unsafe {
                    let slot = self.base().add(to_at).cast::<u32>().add(element);
                    let new = self.base().add(from_at).cast::<u32>().add(element).read();
                    self.before_write(slot, slot.read(), new);
                }
            }
        }
        let bytes = length as usize * to.slot.size() as usize;
        // SAFETY: both arrays were checked to lie in the heap as a whole.
        unsafe { ptr::copy(self.base().add(from_at), self.base().add(to_at), bytes) };
    }

    /// Writes bytes over elements, which lie in their array and are numbers.
    ///
    /// # Panics
    ///
    /// Panics when they do not, or are not.
    pub fn write_elements(&mut self, array: ArrayView, index: u32, bytes: &[u8]) {
        let Slot::Number(size) = array.slot else {
            panic!("references are not written as bytes")
        };
        let count = u32::try_from(bytes.len()).expect("within an array") / size;
        assert!(array.check_range(index, count).is_ok());
        // SAFETY: the array was checked to lie in the heap as a whole; `bytes` do not.
        unsafe {
            let to = self.base().add(array.element(index));
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }

    /// An array of `length` times `value`.
    ///
    /// # Errors
    ///
    /// As [`Heap::allocate_object`].
    ///
    /// # Panics
    ///
    /// Panics unless `ty` is an array type.
    ///
    /// # Safety
    ///
    /// `value` must be of the element's type, as for [`Heap::array_set`].
    pub unsafe fn allocate_array(
        &mut self,
        ty: TypeId,
        length: u32,
        value: ValRaw,
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let slot = self.element_slot(ty)?;
        let mut held = [if slot == Slot::Reference {
            value.0 as u32
        } else {
            0
        }];
        let mut at = self.holding(&mut held, |heap| heap.allocate_object(ty, length, world))?;
        if value.0 == 0 {
            return Ok(at);
        }
        self.prepare_references(slot, &mut at, length, &mut held, world)?;
        let value = if slot == Slot::Reference {
            ValRaw(u128::from(held[0]))
        } else {
            value
        };
        let view = ArrayView { at, length, slot };
        // SAFETY: the caller's promise.
        unsafe { self.fill_elements(view, 0, length, value) };
        Ok(at)
    }

    /// An array of these elements.
    ///
    /// # Errors
    ///
    /// As [`Heap::allocate_object`].
    ///
    /// # Panics
    ///
    /// Panics unless `ty` is an array type.
    ///
    /// # Safety
    ///
    /// The elements must be of the array's type, as for [`Heap::array_set`].
    pub unsafe fn allocate_array_of(
        &mut self,
        ty: TypeId,
        elements: &[ValRaw],
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let slot = self.element_slot(ty)?;
        let length = u32::try_from(elements.len()).map_err(|_| HeapError::TooLarge)?;
        let references = elements.iter().filter(|_| slot == Slot::Reference);
        let held = self.hold(references.map(|value| value.0 as u32));
        let at = self.allocate_object(ty, length, world);
        let now: Vec<u32> = self.release(held).collect();
        let view = ArrayView {
            at: at?,
            length,
            slot,
        };
        for index in 0..length {
            let value = match now.get(index as usize) {
                Some(&reference) => ValRaw(u128::from(reference)),
                None => elements[index as usize],
            };
            // SAFETY: the caller's promise; nothing was collected since the array was made.
            unsafe { self.array_set(view, index, value) }.expect("an element for each");
        }
        Ok(view.at)
    }

    /// How elements of an array type are stored.
    ///
    /// # Errors
    ///
    /// [`HeapError::Corrupt`] when there is no such type.
    ///
    /// # Panics
    ///
    /// Panics when it is no array type.
    pub fn element_slot(&mut self, ty: TypeId) -> Result<Slot, HeapError> {
        let shape = self.shapes.get(ty.0);
        let defined = self.shapes.defined(shape).ok_or(HeapError::Corrupt)?;
        Ok(defined.as_array().expect("an array type").layout.slot)
    }
}

/// # Safety
///
/// `to` must be valid for `count` values, and aligned.
unsafe fn fill<T: Copy>(to: *mut T, count: usize, value: T) {
    for at in 0..count {
        // SAFETY: the caller's promise.
        unsafe { to.add(at).write(value) };
    }
}
