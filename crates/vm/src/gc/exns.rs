//! Exceptions as objects: which arguments they have is told by their tag.
//!
//! Every tag of a store has a number, which its exceptions hold. An exception is checked when it is found:
//! that there is such a tag, and that the object has the size of its exceptions.

use super::config::HeapError;
use super::fields::Place;
use super::heap::Heap;
use super::shapes::Shapes;
use super::world::World;
use crate::types::RegisteredType;
use sarsen_abi::TrapCode;
use sarsen_abi::heap::{EXN_TAG, EXN_TYPE, ExnLayout, MAX_SMALL, Slot, YOUNG};
use sarsen_abi::types::{FieldType, StorageType};
use sarsen_abi::vmctx::{ValRaw, VmTag};
use smallvec::SmallVec;
use std::ptr::NonNull;
use std::sync::Arc;

/// A tag, and what its exceptions look like.
#[derive(Clone, Debug)]
pub(super) struct TagShape {
    tag: NonNull<VmTag>,
    /// Its function type, which is held here.
    ty: RegisteredType,
    layout: Arc<ExnLayout>,
    /// The offsets of the references among its arguments.
    references: Arc<[u32]>,
}

impl Shapes {
    /// Where the references are in an exception with a tag of this number and this size, as offsets;
    /// `None` when there is no such exception.
    #[inline]
    pub(super) fn exn_references(&self, tag: u32, size: u32) -> Option<&[u32]> {
        let shape = self.tag(tag)?;
        (shape.layout.size == size).then_some(&*shape.references)
    }

    /// The tag of a number. The first has number 1.
    fn tag(&self, number: u32) -> Option<&TagShape> {
        self.tags.get((number as usize).checked_sub(1)?)
    }
}

impl Heap {
    /// Gives a tag its number. Its type must be a function type that is registered.
    ///
    /// # Panics
    ///
    /// Panics when its type is none, or there are four thousand million tags.
    pub fn add_tag(&mut self, tag: NonNull<VmTag>, ty: sarsen_abi::TypeId) -> u32 {
        let alike = self.shapes.tags.iter().rev().take(8);
        let alike = alike.into_iter().find(|known| known.ty.id() == ty).cloned();
        let shape = match alike {
            Some(alike) => TagShape { tag, ..alike },
            None => {
                let ty = self
                    .registry
                    .retain(ty)
                    .expect("a tag's type is registered");
                let func = ty.defined().as_func().expect("a tag has a function type");
                let layout = ExnLayout::new(func);
                let references = layout.fields.iter().filter(|f| f.1 == Slot::Reference);
                TagShape {
                    tag,
                    references: references.map(|field| field.0).collect(),
                    layout: Arc::new(layout),
                    ty,
                }
            }
        };
        self.shapes.tags.push(shape);
        u32::try_from(self.shapes.tags.len()).expect("fewer tags than numbers")
    }

    fn exn_shape(&mut self, exception: u32) -> Result<TagShape, TrapCode> {
        let (_, size) = self.shape_of(exception)?;
        let object = self.check(exception, u64::from(size))?;
        // SAFETY: the header and the tag's number, of an object that was just checked.
        let (id, number) = unsafe {
            let words = object.cast::<u32>();
            (words.read(), words.add(EXN_TAG as usize / 4).read())
        };
        let shape = self.shapes.tag(number).filter(|_| id == EXN_TYPE.0);
        shape
            .filter(|shape| shape.layout.size == size)
            .cloned()
            .ok_or(TrapCode::HeapCorruption)
    }

    /// The number of an exception's tag, which may be none.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when the reference leads out of the heap.
    #[inline]
    pub fn exn_tag_id(&self, exception: u32) -> Result<u32, TrapCode> {
        let object = self.check(exception, u64::from(EXN_TAG) + 4)?;
        // SAFETY: within the heap, and aligned.
        Ok(unsafe { object.cast::<u32>().add(EXN_TAG as usize / 4).read() })
    }

    /// The tag of an exception.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when the reference leads to no exception of this heap.
    pub fn exn_tag(&mut self, exception: u32) -> Result<NonNull<VmTag>, TrapCode> {
        Ok(self.exn_shape(exception)?.tag)
    }

    /// Argument `index` of an exception; `None` when it has no such argument.
    ///
    /// # Errors
    ///
    /// As [`Heap::exn_tag`].
    pub fn exn_place(&mut self, exception: u32, index: usize) -> Result<Option<Place>, TrapCode> {
        let shape = self.exn_shape(exception)?;
        let func = shape
            .ty
            .defined()
            .as_func()
            .expect("checked when it was added");
        let field = func.params.get(index).zip(shape.layout.fields.get(index));
        Ok(field.map(|(&param, &(offset, slot))| {
            let ty = FieldType {
                storage: StorageType::Val(param),
                mutable: false,
            };
            Place::new(ty, (exception + offset) as usize, slot)
        }))
    }

    /// An exception with the tag of this number, with its header and tag, and zeroes.
    ///
    /// # Errors
    ///
    /// When there is no room, or the heap is damaged.
    pub fn allocate_exn(&mut self, tag: u32, world: &mut dyn World) -> Result<u32, HeapError> {
        let size = self.shapes.tag(tag).ok_or(HeapError::Corrupt)?.layout.size;
        let at = self.allocate_zeroed(u64::from(size), world)?;
        // SAFETY: just allocated, aligned, so many bytes.
        unsafe {
            let words = self.base().add(at as usize).cast::<u32>();
            words.cast::<[u32; 2]>().write([EXN_TYPE.0, size]);
            words.add(EXN_TAG as usize / 4).write(tag);
        }
        Ok(at)
    }

    /// An exception with the tag of this number and these arguments.
    ///
    /// # Errors
    ///
    /// As [`Heap::allocate_exn`].
    ///
    /// # Panics
    ///
    /// Panics unless there is an argument for each parameter.
    ///
    /// # Safety
    ///
    /// As [`Heap::array_set`], for each argument.
    pub unsafe fn allocate_exn_of(
        &mut self,
        tag: u32,
        arguments: &[ValRaw],
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let layout = Arc::clone(&self.shapes.tag(tag).ok_or(HeapError::Corrupt)?.layout);
        assert_eq!(layout.fields.len(), arguments.len(), "an argument each");
        let slots = layout.fields.iter().map(|field| field.1);
        let references = slots
            .zip(arguments)
            .filter(|(slot, _)| *slot == Slot::Reference);
        let mut held: SmallVec<[u32; 16]> = references.map(|(_, value)| value.0 as u32).collect();
        let at = self.holding(&mut held, |heap| heap.allocate_exn(tag, world))?;
        debug_assert!(at >= YOUNG || layout.size > MAX_SMALL || !self.collects());
        // SAFETY: the parts of the new object, which is zero; the caller's promise.
        unsafe { self.write_new(at, &layout.fields, arguments, Some(&held)) };
        Ok(at)
    }
}
