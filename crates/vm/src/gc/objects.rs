//! Typed, checked access to objects: what a reference leads to, fields, and elements.
//!
//! For the host and the runtime's builtins; compiled code has its own inline. Everything that is read
//! from the heap is checked before it is followed. What is *written* must be of the field's type: the
//! callers see to that.

use super::config::HeapError;
use super::heap::Heap;
use super::shapes::{Content, Shape};
use super::world::World;
use crate::types::matching;
use sarsen_abi::heap::{
    CONT_TYPE, EXN_TYPE, EXTERN_TYPE, HEADER_SIZE, I31_BIT, Kind, MAX_ARRAY, MAX_SMALL, Slot, YOUNG,
};
use sarsen_abi::types::{AbstractHeapType as A, HeapType, RefType};
use sarsen_abi::vmctx::{ValRaw, VmFuncRef};
use sarsen_abi::{TrapCode, TypeId};
use smallvec::SmallVec;
use std::ptr;

/// What a reference leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefKind {
    /// Nothing.
    Null,
    /// An unboxed integer of 31 bits, zero-extended.
    I31(u32),
    /// A structure of this type.
    Struct(TypeId),
    /// An array of this type.
    Array(TypeId),
    /// An object of the host's.
    Extern,
    /// An exception.
    Exn,
    /// A continuation.
    Cont,
}

/// An array whose header was checked.
#[derive(Clone, Copy, Debug)]
pub struct ArrayView {
    /// The reference to it.
    pub at: u32,
    /// Its length, in elements.
    pub length: u32,
    /// How an element is stored.
    pub slot: Slot,
}

impl ArrayView {
    /// The offset of the element at `index`, in bytes from the heap's base.
    pub(super) fn element(&self, index: u32) -> usize {
        (self.at + HEADER_SIZE) as usize + index as usize * self.slot.size() as usize
    }

    /// Checks that `length` elements from `index` lie in it.
    ///
    /// # Errors
    ///
    /// [`TrapCode::ArrayOutOfBounds`]
    pub fn check_range(&self, index: u32, length: u32) -> Result<(), TrapCode> {
        match index.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(TrapCode::ArrayOutOfBounds),
        }
    }
}

/// What a reference leads to.
impl Heap {
    /// The first word of the header that a reference leads to.
    #[inline]
    pub(super) fn type_of(&self, reference: u32) -> Result<TypeId, TrapCode> {
        let object = self.check(reference, u64::from(HEADER_SIZE))?;
        // SAFETY: a header's first word, in the heap.
        Ok(TypeId(unsafe { object.cast::<u32>().read() }))
    }

    /// What a reference leads to.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when it leads to no object of this heap.
    pub fn kind_of(&self, reference: u32) -> Result<RefKind, TrapCode> {
        if reference == 0 {
            return Ok(RefKind::Null);
        }
        if reference & I31_BIT != 0 {
            return Ok(RefKind::I31(reference >> 1));
        }
        let id = self.type_of(reference)?;
        match (id, self.registry.kind(id)) {
            (EXTERN_TYPE, _) => Ok(RefKind::Extern),
            (EXN_TYPE, _) => Ok(RefKind::Exn),
            (CONT_TYPE, _) => Ok(RefKind::Cont),
            (_, Kind::Struct) => Ok(RefKind::Struct(id)),
            (_, Kind::Array) => Ok(RefKind::Array(id)),
            _ => Err(TrapCode::HeapCorruption),
        }
    }

    /// Whether a collected reference is a value of type `ty`.
    ///
    /// # Errors
    ///
    /// As [`Heap::kind_of`].
    pub fn is_instance(&self, reference: u32, ty: &RefType<TypeId>) -> Result<bool, TrapCode> {
        if reference == 0 {
            return Ok(ty.nullable);
        }
        // Conversions between the two leave references as they are: either may lead to anything.
        if matches!(ty.heap, HeapType::Abstract(A::Any | A::Extern)) {
            return Ok(true);
        }
        let own = match self.kind_of(reference)? {
            RefKind::Null => return Ok(ty.nullable),
            RefKind::I31(_) => HeapType::Abstract(A::I31),
            RefKind::Struct(id) => HeapType::ConcreteStruct(id),
            RefKind::Array(id) => HeapType::ConcreteArray(id),
            // Below `any` too, but below nothing else there.
            RefKind::Extern => return Ok(false),
            RefKind::Exn => HeapType::Abstract(A::Exn),
            RefKind::Cont => HeapType::ConcreteCont(self.cont_type(reference)?),
        };
        Ok(matching::heap_type_matches(&self.registry, &own, &ty.heap))
    }

    /// The shape of the object that a reference leads to, and the second word of its header.
    #[inline]
    pub(super) fn shape_of(&mut self, reference: u32) -> Result<(Shape, u32), TrapCode> {
        let object = self.check(reference, u64::from(HEADER_SIZE))?;
        // SAFETY: a header in the heap, aligned.
        let word = unsafe { object.cast::<u64>().read() };
        let (first, second) = (word as u32, (word >> 32) as u32);
        let shape = self.shapes.get(first);
        let size = shape.size_of(second).ok_or(TrapCode::HeapCorruption)?;
        self.check(reference, size)?;
        Ok((shape, second))
    }

    /// The array that a reference leads to.
    ///
    /// # Errors
    ///
    /// [`TrapCode::NullReference`], and [`TrapCode::HeapCorruption`] when there is no array.
    #[inline]
    pub fn array(&mut self, reference: u32) -> Result<ArrayView, TrapCode> {
        if reference == 0 {
            return Err(TrapCode::NullReference);
        }
        let (shape, length) = self.shape_of(reference)?;
        let array = self.shapes.defined(shape).and_then(|ty| ty.as_array());
        let slot = array.ok_or(TrapCode::HeapCorruption)?.layout.slot;
        Ok(ArrayView {
            at: reference,
            length,
            slot,
        })
    }
}

/// Fields and elements.
impl Heap {
    /// Writes an element of an array.
    ///
    /// # Errors
    ///
    /// When `index` is out of bounds.
    ///
    /// # Safety
    ///
    /// `value` must be of the element's type, a function one of this store that compiled code can call;
    /// the heap must not have been collected since `array` was made.
    #[inline]
    pub unsafe fn array_set(
        &mut self,
        array: ArrayView,
        index: u32,
        value: ValRaw,
    ) -> Result<(), TrapCode> {
        array.check_range(index, 1)?;
        // SAFETY: the array was checked to lie in the heap as a whole.
        unsafe { self.write(array.element(index), array.slot, value) };
        Ok(())
    }

    /// # Safety
    ///
    /// `at` must be where a field or element stored like this is, from the heap's base.
    #[inline]
    pub(super) unsafe fn read(&self, at: usize, slot: Slot) -> Result<ValRaw, TrapCode> {
        let bits = match slot {
            Slot::Number(size) => {
                let mut bits = 0u128;
                // SAFETY: the caller's promise; a number has at most 16 bytes.
                unsafe {
                    let from = self.base().add(at);
                    match size {
                        4 => bits = u128::from(from.cast::<u32>().read()),
                        8 => bits = u128::from(from.cast::<u64>().read()),
                        _ => ptr::copy_nonoverlapping(from, (&raw mut bits).cast(), size as usize),
                    }
                }
                bits
            }
            // SAFETY: the caller's promise.
            Slot::Reference => u128::from(unsafe { self.base().add(at).cast::<u32>().read() }),
            Slot::Function => {
                // SAFETY: the caller's promise.
                let id = unsafe { self.base().add(at).cast::<u32>().read() };
                let func = self.funcs.get(id).ok_or(TrapCode::HeapCorruption)?;
                return Ok(ValRaw::funcref(func));
            }
        };
        Ok(ValRaw(bits))
    }

    /// # Safety
    ///
    /// `at` must be where a field or element stored like this is, from the heap's base, and `value`
    /// of its type.
    #[inline]
    pub(super) unsafe fn write(&mut self, at: usize, slot: Slot, value: ValRaw) {
        // SAFETY: the caller's promise, here and below.
        let bits = unsafe { self.stored(slot, value) };
        if slot == Slot::Reference && at < YOUNG as usize {
            // SAFETY: as above.
            unsafe {
                let slot = self.base().add(at).cast::<u32>();
                self.before_write(slot, slot.read(), bits as u32);
            }
        }
        // SAFETY: as above; the low bytes of a little-endian number come first.
        unsafe {
            let to = self.base().add(at);
            ptr::copy_nonoverlapping((&raw const bits).cast(), to, slot.size() as usize);
        }
    }

    /// The bits of a value as a field or element holds it.
    ///
    /// # Safety
    ///
    /// A function must be null or one of this store that compiled code can call.
    #[inline]
    pub(super) unsafe fn stored(&mut self, slot: Slot, value: ValRaw) -> u128 {
        match slot {
            Slot::Number(_) | Slot::Reference => value.0,
            Slot::Function => {
                let func: *const VmFuncRef = value.get_funcref();
                // SAFETY: the caller's promise.
                u128::from(unsafe { self.func_id(func) })
            }
        }
    }
}

/// New objects.
impl Heap {
    /// The shape of a type of which objects are to be made.
    fn shape_for(&mut self, ty: TypeId) -> Result<Shape, HeapError> {
        let shape = self.shapes.get(ty.0);
        match shape.content {
            Content::Unknown | Content::Extern | Content::Exn => Err(HeapError::Corrupt),
            _ => Ok(shape),
        }
    }

    /// An object of a registered structure or array type, filled with zeroes.
    ///
    /// # Errors
    ///
    /// When there is no room, or the heap is damaged.
    pub fn allocate_object(
        &mut self,
        ty: TypeId,
        length: u32,
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let shape = self.shape_for(ty)?;
        let word = match shape.content {
            Content::Small | Content::Large => shape.size,
            _ => length,
        };
        let size = shape.size_of(word).expect("what is to be allocated");
        if size > MAX_ARRAY {
            return Err(HeapError::TooLarge);
        }
        let at = self.allocate_zeroed(size, world)?;
        // SAFETY: just allocated, aligned.
        unsafe {
            let header = self.base().add(at as usize).cast::<[u32; 2]>();
            header.write([ty.0, word]);
        }
        Ok(at)
    }

    /// A structure with these fields.
    ///
    /// # Errors
    ///
    /// As [`Heap::allocate_object`].
    ///
    /// # Panics
    ///
    /// Panics unless `ty` is a structure type with so many fields.
    ///
    /// # Safety
    ///
    /// As [`Heap::array_set`], for each field.
    pub unsafe fn allocate_struct(
        &mut self,
        ty: TypeId,
        fields: &[ValRaw],
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let shape = self.shape_for(ty)?;
        let layout_of = |heap: &Heap| {
            let structure = heap.shapes.defined(shape).and_then(|ty| ty.as_struct());
            ptr::from_ref(&structure.expect("a structure type").layout)
        };
        // SAFETY: the type is held by this heap from now on, so that its layout stays.
        let layout = unsafe { &*layout_of(self) };
        assert_eq!(layout.fields.len(), fields.len(), "a value for each field");
        let is_reference = |at: usize| layout.fields[at].1 == Slot::Reference;
        let small = layout.size <= MAX_SMALL;
        let at_once = small
            .then(|| self.try_allocate_small(layout.size))
            .flatten();
        let (at, references) = match at_once {
            Some(at) => (at, None),
            None => {
                let held = (0..fields.len()).filter(|&at| is_reference(at));
                let mut held: SmallVec<[u32; 16]> = held.map(|at| fields[at].0 as u32).collect();
                let at = self.holding(&mut held, |heap| {
                    heap.allocate_zeroed(u64::from(layout.size), world)
                })?;
                (at, Some(held))
            }
        };
        // SAFETY: just allocated, aligned, so many bytes.
        unsafe {
            let object = self.base().add(at as usize);
            object.cast::<[u32; 2]>().write([ty.0, layout.size]);
        }
        // SAFETY: the new object's fields, which are written as the caller promises. It is old only when it is
        // large, and zero then.
        unsafe { self.write_new(at, &layout.fields, fields, references.as_deref()) };
        Ok(at)
    }

    /// Writes the fields of a new object. The references among the values are those in `held` where a
    /// collection may have moved what the values lead to, in the same order.
    ///
    /// # Safety
    ///
    /// The fields lie in a new object at `at`, whose references are null when it is old; the values are as for
    /// [`Heap::array_set`].
    pub(super) unsafe fn write_new(
        &mut self,
        at: u32,
        fields: &[(u32, Slot)],
        values: &[ValRaw],
        held: Option<&[u32]>,
    ) {
        let mut held = held.map(|held| held.iter());
        for (&(offset, slot), &value) in fields.iter().zip(values) {
            let value = match &mut held {
                Some(held) if slot == Slot::Reference => {
                    ValRaw(u128::from(*held.next().expect("one for each")))
                }
                _ => value,
            };
            // SAFETY: the caller's promise; what a young object held is overwritten unseen.
            unsafe {
                if at >= YOUNG || slot != Slot::Reference {
                    let bits = self.stored(slot, value);
                    let to = self.base().add((at + offset) as usize);
                    ptr::copy_nonoverlapping((&raw const bits).cast(), to, slot.size() as usize);
                } else {
                    self.write((at + offset) as usize, slot, value);
                }
            }
        }
    }
}
