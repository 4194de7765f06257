//! [`ArrayRef`]: making arrays, and their elements.

use super::rooted::{ArrayRef, GcRefImpl, Rooted};
use crate::context::{AsContext, AsContextMut, StoreContextMut};
use crate::error::{OwnershipError, Result, TypeError};
use crate::store::StoreOpaque;
use crate::trap::Trap;
use crate::types::ArrayType;
use crate::val::Val;
use sarsen_vm::instance::StoreId;
use std::vec;

/// An array type made ready for allocating in a store, so that each allocation only allocates.
///
/// See [`ArrayRef`] for an example.
#[derive(Clone, Debug)]
pub struct ArrayRefPre {
    store: StoreId,
    ty: ArrayType,
}

impl ArrayRefPre {
    /// Makes a type ready for `store`.
    ///
    /// # Panics
    ///
    /// Panics when the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: ArrayType) -> ArrayRefPre {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store
            .learn_type(ty.registered())
            .unwrap_or_else(|error| panic!("{error}"));
        ArrayRefPre {
            store: store.id(),
            ty,
        }
    }
}

impl ArrayRef {
    /// Allocates an array of `len` elements `elem`, after a collection if need be. The reference is
    /// rooted in the innermost scope.
    ///
    /// # Errors
    ///
    /// When `elem` is not of the elements' type; when it or the allocator belongs to another store;
    /// [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there is no room.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elem: &Val,
        len: u32,
    ) -> Result<Rooted<ArrayRef>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.check_owns(allocator.store)?;
        let shape = allocator.ty.shape();
        let value = store.stored(elem, &shape.element.storage, || "an element".to_owned())?;
        // SAFETY: the store holds the allocator's type, and the value was checked.
        let array =
            unsafe { store.allocate_array(allocator.ty.id(), shape.layout.size(len), len, value)? };
        Ok(Rooted::at(store.root(array)))
    }

    /// Allocates an array of these elements, after a collection if need be. The reference is rooted in
    /// the innermost scope.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::new`].
    pub fn new_fixed(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.check_owns(allocator.store)?;
        let shape = allocator.ty.shape();
        let mut raw = Vec::with_capacity(elems.len());
        for (index, value) in elems.iter().enumerate() {
            raw.push(store.stored(value, &shape.element.storage, || format!("element {index}"))?);
        }
        let len = u32::try_from(elems.len()).unwrap_or(u32::MAX);
        let size = shape.layout.size(len);
        // SAFETY: the store holds the allocator's type, and the values were checked.
        let array = unsafe { store.allocate_array_of(allocator.ty.id(), size, &raw)? };
        Ok(Rooted::at(store.root(array)))
    }

    /// Its type.
    ///
    /// # Errors
    ///
    /// This and the other methods fail when the reference belongs to another store, or its scope has
    /// ended.
    pub fn ty(&self, store: impl AsContext) -> Result<ArrayType> {
        let store = store.as_context().opaque();
        let reference = store.reference(self.root())?;
        let ty = store.own_type(reference, Self::HEAP_TYPE)?;
        let id = ty.concrete().ok_or(Trap::HeapCorruption)?;
        Ok(ArrayType::from_id(store.engine(), id))
    }

    /// Whether it is an array of type `ty`.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::ty`]; and when `ty` belongs to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ArrayType) -> Result<bool> {
        let own = self.ty(store)?;
        if !crate::Engine::same(own.engine(), ty.engine()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        Ok(own.matches(ty))
    }

    /// Its length, in elements.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::ty`].
    pub fn len(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context().opaque();
        let reference = store.reference(self.root())?;
        let heap = store.vm().heap().ok_or(Trap::HeapCorruption)?;
        Ok(heap.array_length(reference)?)
    }

    /// The elements' values. References are rooted in the innermost scope.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::ty`].
    pub fn elems<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<vec::IntoIter<Val>> {
        let mut store = store.into();
        let store = store.opaque();
        let array = store.reference(self.root())?;
        let (_, len) = store.vm_mut().heap_mut().object(array)?;
        let values: Vec<Val> = (0..len)
            .map(|index| self.get_in(store, index))
            .collect::<Result<_>>()?;
        Ok(values.into_iter())
    }

    /// The value of element `index`. Packed integers have no sign; a reference is rooted in the
    /// innermost scope.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::ty`]; and [`Trap::ArrayOutOfBounds`] when there is no such element.
    #[inline]
    pub fn get(&self, mut store: impl AsContextMut, index: u32) -> Result<Val> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        self.get_in(store, index)
    }

    #[inline]
    fn get_in(&self, store: &mut StoreOpaque, index: u32) -> Result<Val> {
        let array = store.reference(self.root())?;
        let place = store.vm_mut().heap_mut().array_place(array, index)?;
        store.read_place(&place)
    }

    /// Sets element `index`. Of a packed integer, only the lowest bits are stored.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::ty`]; [`Trap::ArrayOutOfBounds`] when there is no such element; and when
    /// elements cannot be written, or the value is not of their type or belongs to another store.
    #[inline]
    pub fn set(&self, mut store: impl AsContextMut, index: u32, value: Val) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let array = store.reference(self.root())?;
        let place = store.vm_mut().heap_mut().array_place(array, index)?;
        if !place.ty.mutable {
            return Err(TypeError::Immutable.into());
        }
        store.write_place(&place, &value, || format!("element {index}"))
    }
}
