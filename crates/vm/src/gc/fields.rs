//! Fields and elements together with their types, as the host reads and writes them.
//!
//! One look at the header finds the type, which says what is stored and where: no lock is taken and
//! nothing allocated. A type that is found is held by the heap.

use super::heap::Heap;
use super::objects::{ArrayView, RefKind};
use crate::types::Defined;
use sarsen_abi::heap::{HEADER_SIZE, Slot};
use sarsen_abi::types::FieldType;
use sarsen_abi::vmctx::ValRaw;
use sarsen_abi::{TrapCode, TypeId};

/// A field or an element, in an object that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What it holds.
    pub ty: FieldType<TypeId>,
    /// Where it is, from the heap's base.
    at: usize,
    slot: Slot,
}

impl Place {
    /// A field that was found in an object which was checked.
    pub(super) fn new(ty: FieldType<TypeId>, at: usize, slot: Slot) -> Place {
        Place { ty, at, slot }
    }
}

impl Heap {
    /// Holds on to a structure or array type that is registered, for as long as the heap exists.
    pub fn learn_type(&mut self, ty: TypeId) {
        self.shapes.get(ty.0);
    }

    /// The type of the object that a reference leads to, and its length if it is an array.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when it leads to no structure or array of this heap.
    #[inline]
    pub fn object(&mut self, reference: u32) -> Result<(&Defined, u32), TrapCode> {
        let (shape, word) = self.shape_of(reference)?;
        let defined = self.shapes.defined(shape);
        Ok((defined.ok_or(TrapCode::HeapCorruption)?, word))
    }

    /// The length of the array that a reference leads to, in elements.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when it leads to no array of this heap.
    pub fn array_length(&self, reference: u32) -> Result<u32, TrapCode> {
        let RefKind::Array(_) = self.kind_of(reference)? else {
            return Err(TrapCode::HeapCorruption);
        };
        let object = self.check(reference, u64::from(HEADER_SIZE))?;
        // SAFETY: a header in the heap, aligned.
        Ok(unsafe { object.cast::<[u32; 2]>().read() }[1])
    }

    /// Field `index` of the structure that a reference leads to; `None` when it has no such field.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when it leads to no structure of this heap.
    #[inline]
    pub fn struct_place(
        &mut self,
        reference: u32,
        index: usize,
    ) -> Result<Option<Place>, TrapCode> {
        let (ty, _) = self.object(reference)?;
        let shape = ty.as_struct().ok_or(TrapCode::HeapCorruption)?;
        let field = shape.fields.get(index).zip(shape.layout.fields.get(index));
        Ok(field.map(|(&ty, &(offset, slot))| Place {
            ty,
            at: (reference + offset) as usize,
            slot,
        }))
    }

    /// Element `index` of the array that a reference leads to.
    ///
    /// # Errors
    ///
    /// [`TrapCode::ArrayOutOfBounds`], or [`TrapCode::HeapCorruption`] when it leads to no array of
    /// this heap.
    #[inline]
    pub fn array_place(&mut self, reference: u32, index: u32) -> Result<Place, TrapCode> {
        let (ty, length) = self.object(reference)?;
        let shape = ty.as_array().ok_or(TrapCode::HeapCorruption)?;
        if index >= length {
            return Err(TrapCode::ArrayOutOfBounds);
        }
        let slot = shape.layout.slot;
        let ty = shape.element;
        let at = (reference + HEADER_SIZE) as usize + index as usize * slot.size() as usize;
        Ok(Place { ty, at, slot })
    }

    /// What is there. A packed number is zero-extended.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when a function's number is none.
    ///
    /// # Safety
    ///
    /// The heap must not have been collected since the place was found.
    #[inline]
    pub unsafe fn read_place(&self, place: &Place) -> Result<ValRaw, TrapCode> {
        // SAFETY: the object was checked to lie in the heap as a whole, and is still there.
        unsafe { self.read(place.at, place.slot) }
    }

    /// Writes what is there.
    ///
    /// # Safety
    ///
    /// The heap must not have been collected since the place was found. `value` must be of the place's
    /// type; a function must be one of this store that compiled code can call.
    #[inline]
    pub unsafe fn write_place(&mut self, place: &Place, value: ValRaw) {
        // SAFETY: the object was checked to lie in the heap as a whole, and is still there.
        unsafe { self.write(place.at, place.slot, value) }
    }

    /// Bytes of elements, which are numbers.
    ///
    /// # Panics
    ///
    /// Panics when they are not, or do not lie in the array.
    pub fn read_elements(&self, array: ArrayView, index: u32, bytes: &mut [u8]) {
        let Slot::Number(size) = array.slot else {
            panic!("references are not read as bytes")
        };
        let count = u32::try_from(bytes.len()).expect("within an array") / size;
        assert!(array.check_range(index, count).is_ok());
        // SAFETY: the array was checked to lie in the heap as a whole; `bytes` do not.
        unsafe {
            let from = self.base().add(array.element(index));
            from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len());
        }
    }
}
