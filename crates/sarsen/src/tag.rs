//! [`Tag`]: a tag in a store, for exceptions and effects.

use crate::context::{AsContext, AsContextMut};
use crate::error::{OwnershipError, Result};
use crate::store::StoreOpaque;
use crate::types::{FuncType, TagType};
use core::fmt;
use core::ptr::NonNull;
use sarsen_abi::vmctx::VmTag;
use sarsen_vm::instance as vm;
use sarsen_vm::instance::StoreId;

/// A tag in a store. Its identity is what counts: two tags of one type are two tags.
#[derive(Clone, Copy)]
pub struct Tag {
    store: StoreId,
    tag: NonNull<VmTag>,
}

// SAFETY: the tag is used only together with its store.
unsafe impl Send for Tag {}
// SAFETY: as above.
unsafe impl Sync for Tag {}

impl Tag {
    /// A tag of this type.
    ///
    /// # Errors
    ///
    /// When the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: &TagType) -> Result<Tag> {
        let mut store = store.as_context_mut();
        let store = store.opaque();
        if !crate::Engine::same(ty.ty().engine(), store.engine()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        store.vm_mut().keep_type(ty.ty().registered().clone());
        let tag = store.vm_mut().new_tag(ty.ty().id());
        Ok(Tag::new_handle(store.id(), tag))
    }

    pub(crate) fn new_handle(store: StoreId, tag: NonNull<VmTag>) -> Tag {
        Tag { store, tag }
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.store
    }

    pub(crate) fn vm(&self) -> NonNull<VmTag> {
        self.tag
    }

    pub(crate) fn to_vm(self) -> vm::Extern {
        vm::Extern::Tag(self.tag)
    }

    /// Its type.
    ///
    /// # Panics
    ///
    /// Panics when the tag belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TagType {
        let store = store.as_context().opaque();
        store.assert_owns(self.store);
        self.type_in(store)
    }

    /// What a module that defines or imports it calls it, in its name section.
    ///
    /// ```
    /// use sarsen::{Engine, Instance, Module, Store};
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module (tag $failed (export "e") (param i32)))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let tag = instance.get_tag(&mut store, "e").unwrap();
    /// assert_eq!(tag.name(&store).as_deref(), Some("failed"));
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics when the tag belongs to another store.
    pub fn name(&self, store: impl AsContext) -> Option<String> {
        let store = store.as_context().opaque();
        store.assert_owns(self.store);
        store.vm().tag_name(self.tag).map(str::to_owned)
    }

    /// Its type. The store must be its own.
    pub(crate) fn type_in(&self, store: &StoreOpaque) -> TagType {
        // SAFETY: a tag of this store, which is borrowed.
        let id = unsafe { self.tag.as_ref() }.type_id;
        TagType::new(FuncType::from_id(store.engine(), id))
    }

    /// Whether `a` and `b`, both of `store`, are the same tag.
    pub fn eq(a: &Tag, b: &Tag, _store: impl AsContext) -> bool {
        a.is(b)
    }

    /// Whether it is this tag.
    pub(crate) fn is(&self, other: &Tag) -> bool {
        self.store == other.store && self.tag == other.tag
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:p})", self.tag)
    }
}
