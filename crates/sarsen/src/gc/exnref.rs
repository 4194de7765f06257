//! [`ExnRef`]: making exceptions, their tags and fields.

use super::rooted::{ExnRef, GcRefImpl, Rooted};
use crate::context::{AsContext, AsContextMut, StoreContextMut};
use crate::error::{OwnershipError, Result, TypeError, check_count, heap_error};
use crate::store::StoreOpaque;
use crate::tag::Tag;
use crate::types::{ExnType, HeapType};
use crate::val::{Val, ValRaw};
use anyhow::anyhow;
use sarsen_abi::types::StorageType;
use sarsen_vm::instance::StoreId;
use smallvec::SmallVec;
use std::vec;

/// A type of exceptions made ready for making exceptions in a store.
///
/// See [`Store::throw`](crate::Store::throw) for an example.
#[derive(Clone, Debug)]
pub struct ExnRefPre {
    store: StoreId,
    ty: ExnType,
}

impl ExnRefPre {
    /// Makes a type ready for `store`.
    ///
    /// # Panics
    ///
    /// Panics when the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: ExnType) -> ExnRefPre {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        assert!(
            crate::Engine::same(ty.engine(), store.engine()),
            "{}",
            OwnershipError::WrongEngine
        );
        ExnRefPre {
            store: store.id(),
            ty,
        }
    }
}

impl ExnRef {
    /// Makes an exception with this tag and these fields, after a collection if need be. The reference is
    /// rooted in the innermost scope.
    ///
    /// # Errors
    ///
    /// When the tag's type is not the allocator's; when a value is not of its field's type, or there are
    /// too few or too many; when a value, the tag or the allocator belongs to another store;
    /// [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there is no room.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        store.check_owns(allocator.store)?;
        store.check_owns(tag.store_id())?;
        let own = tag.type_in(store);
        let ty = allocator.ty.tag_type();
        if own != *ty {
            return Err(TypeError::Value {
                what: "the tag of an exception".to_owned(),
                wanted: ty.to_string(),
                found: own.to_string(),
            }
            .into());
        }
        let params = &ty.ty().as_abi().params;
        check_count("fields", params.len(), fields.len())?;
        let mut raw: SmallVec<[ValRaw; 8]> = SmallVec::with_capacity(fields.len());
        for (index, (value, &ty)) in fields.iter().zip(params.iter()).enumerate() {
            let storage = StorageType::Val(ty);
            raw.push(store.stored(value, &storage, || format!("field {index}"))?);
        }
        // SAFETY: the tag is of this store, and the values were checked.
        let made = unsafe { store.vm_mut().alloc_exn(tag.vm(), &raw) };
        let object = made.map_err(|error| heap_error(error, 16 * raw.len() as u64 + 16))?;
        Ok(Rooted::at(store.root(object.get())))
    }

    /// Its type.
    ///
    /// # Errors
    ///
    /// This and the other methods fail when the reference belongs to another store, or its scope has
    /// ended.
    pub fn ty(&self, mut store: impl AsContextMut) -> Result<ExnType> {
        let tag = self.tag(&mut store)?;
        ExnType::from_tag_type(tag.ty(store))
    }

    /// Whether it is of type `ty`: every exception is of [`HeapType::Exn`], and of no other type.
    ///
    /// # Errors
    ///
    /// As [`ExnRef::ty`]; and when `ty` belongs to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
        let store = store.as_context().opaque();
        if !ty.belongs_to(store.engine()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        let reference = store.reference(self.root())?;
        store.reference_is(reference, Self::HEAP_TYPE, &ty.to_abi())
    }

    /// Its tag.
    ///
    /// # Errors
    ///
    /// As [`ExnRef::ty`].
    pub fn tag(&self, mut store: impl AsContextMut) -> Result<Tag> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        let reference = store.reference(self.root())?;
        let tag = store.vm_mut().exn_tag(reference)?;
        Ok(Tag::new_handle(store.id(), tag))
    }

    /// The values of its fields. References are rooted in the innermost scope.
    ///
    /// # Errors
    ///
    /// As [`ExnRef::ty`].
    pub fn fields<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<vec::IntoIter<Val>> {
        let mut store = store.into();
        let count = self.ty(&mut store)?.fields().len();
        let store = store.opaque();
        let values: Vec<Val> = (0..count)
            .map(|index| self.field_in(store, index))
            .collect::<Result<_>>()?;
        Ok(values.into_iter())
    }

    /// The value of field `index`. A reference is rooted in the innermost scope.
    ///
    /// # Errors
    ///
    /// As [`ExnRef::ty`]; and when there is no such field.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let mut store = store.as_context_mut();
        self.field_in(store.opaque(), index)
    }

    fn field_in(&self, store: &mut StoreOpaque, index: usize) -> Result<Val> {
        let reference = store.reference(self.root())?;
        let place = store.vm_mut().exn_place(reference, index)?;
        let place = place.ok_or_else(|| anyhow!("the exception has no field {index}"))?;
        store.read_place(&place)
    }
}
