//! [`StructRef`]: making structures, and their fields.

use super::rooted::{GcRefImpl, Rooted, StructRef};
use crate::context::{AsContext, AsContextMut, StoreContextMut};
use crate::error::{OwnershipError, Result, TypeError, check_count};
use crate::store::StoreOpaque;
use crate::trap::Trap;
use crate::types::StructType;
use crate::val::{Val, ValRaw};
use anyhow::anyhow;
use sarsen_vm::gc::Place;
use sarsen_vm::instance::StoreId;
use smallvec::SmallVec;
use std::vec;

/// A structure type made ready for allocating in a store, so that each allocation only allocates.
///
/// See [`StructRef`] for an example.
#[derive(Clone, Debug)]
pub struct StructRefPre {
    store: StoreId,
    ty: StructType,
}

impl StructRefPre {
    /// Makes a type ready for `store`.
    ///
    /// # Panics
    ///
    /// Panics when the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: StructType) -> StructRefPre {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store
            .learn_type(ty.registered())
            .unwrap_or_else(|error| panic!("{error}"));
        StructRefPre {
            store: store.id(),
            ty,
        }
    }
}

impl StructRef {
    /// Allocates a structure with these fields, after a collection if need be. The reference is
    /// rooted in the innermost scope.
    ///
    /// # Errors
    ///
    /// When a value is not of its field's type, or there are too few or too many; when a value or the
    /// allocator belongs to another store; [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there
    /// is no room.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &StructRefPre,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.check_owns(allocator.store)?;
        let shape = allocator.ty.shape();
        check_count("fields", shape.fields.len(), fields.len())?;
        let mut raw: SmallVec<[ValRaw; 8]> = SmallVec::with_capacity(fields.len());
        for (index, (value, ty)) in fields.iter().zip(&shape.fields).enumerate() {
            raw.push(store.stored(value, &ty.storage, || format!("field {index}"))?);
        }
        let (id, size) = (allocator.ty.id(), shape.layout.size);
        // SAFETY: the store holds the allocator's type, and the values were checked.
        let object = unsafe { store.allocate_struct(id, size, &raw)? };
        Ok(Rooted::at(store.root(object)))
    }

    /// Its type.
    ///
    /// # Errors
    ///
    /// This and the other methods fail when the reference belongs to another store, or its scope has
    /// ended.
    pub fn ty(&self, store: impl AsContext) -> Result<StructType> {
        let store = store.as_context().opaque();
        let reference = store.reference(self.root())?;
        let ty = store.own_type(reference, Self::HEAP_TYPE)?;
        let id = ty.concrete().ok_or(Trap::HeapCorruption)?;
        Ok(StructType::from_id(store.engine(), id))
    }

    /// Whether it is a structure of type `ty`.
    ///
    /// # Errors
    ///
    /// As [`StructRef::ty`]; and when `ty` belongs to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &StructType) -> Result<bool> {
        let own = self.ty(store)?;
        if !crate::Engine::same(own.engine(), ty.engine()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        Ok(own.matches(ty))
    }

    /// The values of its fields. References are rooted in the innermost scope.
    ///
    /// # Errors
    ///
    /// As [`StructRef::ty`].
    pub fn fields<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<vec::IntoIter<Val>> {
        let mut store = store.into();
        let store = store.opaque();
        let count = {
            let object = store.reference(self.root())?;
            let (ty, _) = store.vm_mut().heap_mut().object(object)?;
            ty.as_struct().ok_or(Trap::HeapCorruption)?.fields.len()
        };
        let values: Vec<Val> = (0..count)
            .map(|index| self.field_in(store, index))
            .collect::<Result<_>>()?;
        Ok(values.into_iter())
    }

    /// The value of field `index`. Packed integers have no sign; a reference is rooted in the
    /// innermost scope.
    ///
    /// # Errors
    ///
    /// As [`StructRef::ty`]; and when there is no such field.
    #[inline]
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        self.field_in(store, index)
    }

    #[inline]
    fn field_in(&self, store: &mut StoreOpaque, index: usize) -> Result<Val> {
        let object = store.reference(self.root())?;
        let found = store.vm_mut().heap_mut().struct_access(object, index)?;
        let (access, at) = found.ok_or_else(|| no_field(index))?;
        // SAFETY: nothing was allocated since.
        match unsafe { store.read_access(access, at) } {
            Some(value) => Ok(value),
            None => {
                let place = self.place(store, index)?;
                store.read_place(&place)
            }
        }
    }

    fn place(&self, store: &mut StoreOpaque, index: usize) -> Result<Place> {
        let object = store.reference(self.root())?;
        match store.vm_mut().heap_mut().struct_place(object, index)? {
            Some(place) => Ok(place),
            None => Err(no_field(index)),
        }
    }

    /// Sets field `index`. Of a packed integer, only the lowest bits are stored.
    ///
    /// # Errors
    ///
    /// As [`StructRef::ty`]; and when there is no such field, it cannot be written, or the value is
    /// not of its type or belongs to another store.
    #[inline]
    pub fn set_field(&self, mut store: impl AsContextMut, index: usize, value: Val) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let object = store.reference(self.root())?;
        let found = store.vm_mut().heap_mut().struct_access(object, index)?;
        let (access, at) = found.ok_or_else(|| no_field(index))?;
        if !access.mutable {
            return Err(TypeError::Immutable.into());
        }
        // SAFETY: nothing was allocated since.
        if unsafe { store.write_access(object, access, at, &value)? } {
            return Ok(());
        }
        let place = self.place(store, index)?;
        store.write_place(&place, &value, || format!("field {index}"))
    }
}

#[cold]
fn no_field(index: usize) -> crate::Error {
    anyhow!("the structure has no field {index}")
}
