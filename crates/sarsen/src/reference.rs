//! [`Ref`]: a reference whose type is known at run time only.

use crate::context::AsContext;
use crate::error::Result;
use crate::func::Func;
use crate::rooted::{AnyRef, ContRef, ExnRef, ExternRef, Rooted};
use crate::store::StoreOpaque;
use crate::types::{HeapType, RefType, ValType};
use crate::val::{Val, ValRaw};
use sarsen_abi::TypeId;
use sarsen_abi::types::{self as abi, Hierarchy};
use sarsen_vm::types::matching;

/// A reference: the elements of tables.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Ref {
    /// A function, or null.
    Func(Option<Func>),
    /// Anything of the host, or null.
    Extern(Option<Rooted<ExternRef>>),
    /// An object of the guest, or null.
    Any(Option<Rooted<AnyRef>>),
    /// An exception, or null.
    Exn(Option<Rooted<ExnRef>>),
    /// A continuation, or null.
    Cont(Option<Rooted<ContRef>>),
}

impl Ref {
    /// The null of the hierarchy of `heap_type`.
    pub fn null(heap_type: &HeapType) -> Ref {
        Ref::null_of(heap_type.to_abi().hierarchy())
    }

    fn null_of(hierarchy: Hierarchy) -> Ref {
        match hierarchy {
            Hierarchy::Func => Ref::Func(None),
            Hierarchy::Extern => Ref::Extern(None),
            Hierarchy::Any => Ref::Any(None),
            Hierarchy::Exn => Ref::Exn(None),
            Hierarchy::Cont => Ref::Cont(None),
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        match self {
            Ref::Func(r) => r.is_none(),
            Ref::Extern(r) => r.is_none(),
            Ref::Any(r) => r.is_none(),
            Ref::Exn(r) => r.is_none(),
            Ref::Cont(r) => r.is_none(),
        }
    }

    /// Whether it is not null.
    pub fn is_non_null(&self) -> bool {
        !self.is_null()
    }

    /// The function or null, if it is a function reference.
    pub fn as_func(&self) -> Option<Option<&Func>> {
        match self {
            Ref::Func(func) => Some(func.as_ref()),
            _ => None,
        }
    }

    /// The function or null.
    ///
    /// # Panics
    ///
    /// Panics when it is no function reference.
    pub fn unwrap_func(&self) -> Option<&Func> {
        self.as_func()
            .unwrap_or_else(|| panic!("{self:?} is not a function reference"))
    }

    /// The host's object or null, if it is an external reference.
    pub fn as_extern(&self) -> Option<Option<&Rooted<ExternRef>>> {
        match self {
            Ref::Extern(object) => Some(object.as_ref()),
            _ => None,
        }
    }

    /// The host's object or null.
    ///
    /// # Panics
    ///
    /// Panics when it is no external reference.
    pub fn unwrap_extern(&self) -> Option<&Rooted<ExternRef>> {
        self.as_extern()
            .unwrap_or_else(|| panic!("{self:?} is not an external reference"))
    }

    /// The reference's own type: the most precise one that is known.
    ///
    /// # Errors
    ///
    /// When the reference belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<RefType> {
        let store = store.as_context().opaque();
        Val::from(*self).check_store(store)?;
        Ok(self.own_type(store))
    }

    /// Whether it is a value of type `ty`.
    ///
    /// # Errors
    ///
    /// When the reference belongs to another store.
    pub fn matches_ty(&self, store: impl AsContext, ty: &RefType) -> Result<bool> {
        Val::from(*self).matches_ty(store, &ValType::Ref(ty.clone()))
    }

    pub(crate) fn own_type(&self, store: &StoreOpaque) -> RefType {
        let (is_null, heap_type) = match self {
            Ref::Func(None) => (true, HeapType::NoFunc),
            Ref::Func(Some(func)) => (false, HeapType::ConcreteFunc(func.type_in(store))),
            Ref::Extern(None) => (true, HeapType::NoExtern),
            Ref::Extern(Some(_)) => (false, HeapType::Extern),
            Ref::Any(None) => (true, HeapType::None),
            Ref::Any(Some(object)) => object.never(),
            Ref::Exn(None) => (true, HeapType::NoExn),
            Ref::Exn(Some(exception)) => exception.never(),
            Ref::Cont(None) => (true, HeapType::NoCont),
            Ref::Cont(Some(continuation)) => continuation.never(),
        };
        RefType::new(is_null, heap_type)
    }

    pub(crate) fn matches_abi(&self, store: &StoreOpaque, ty: abi::RefType<TypeId>) -> bool {
        match (self, ty.heap.hierarchy()) {
            (Ref::Func(None), Hierarchy::Func)
            | (Ref::Extern(None), Hierarchy::Extern)
            | (Ref::Any(None), Hierarchy::Any)
            | (Ref::Exn(None), Hierarchy::Exn)
            | (Ref::Cont(None), Hierarchy::Cont) => ty.nullable,
            (Ref::Func(Some(func)), Hierarchy::Func) => {
                let own = abi::HeapType::ConcreteFunc(func.type_id(store));
                matching::heap_type_matches(store.engine().types(), &own, &ty.heap)
            }
            (Ref::Extern(Some(_)), Hierarchy::Extern) => {
                ty.heap == abi::HeapType::Abstract(abi::AbstractHeapType::Extern)
            }
            _ => false,
        }
    }

    /// # Safety
    ///
    /// `raw` must be a value of type `ty`, of `store`.
    pub(crate) unsafe fn from_abi(
        store: &StoreOpaque,
        raw: ValRaw,
        ty: abi::RefType<TypeId>,
    ) -> Ref {
        match ty.heap.hierarchy() {
            // SAFETY: the caller's promise.
            Hierarchy::Func => Ref::Func(unsafe { Func::from_funcref(raw.get_funcref(), store) }),
            Hierarchy::Extern => {
                // SAFETY: the caller's promise.
                Ref::Extern(unsafe { Rooted::from_abi(raw.get_externref(), store) })
            }
            // Nothing allocates objects of these hierarchies: null is their only value.
            hierarchy => Ref::null_of(hierarchy),
        }
    }

    /// # Safety
    ///
    /// `element` must come from a table of `store` of this element type.
    pub(crate) unsafe fn from_table_element(
        store: &StoreOpaque,
        element: u64,
        ty: abi::RefType<TypeId>,
    ) -> Ref {
        // SAFETY: the caller's promise; both are zero-extended in the same way.
        unsafe { Ref::from_abi(store, ValRaw::u64(element), ty) }
    }
}

impl From<Func> for Ref {
    fn from(func: Func) -> Self {
        Ref::Func(Some(func))
    }
}

impl From<Option<Func>> for Ref {
    fn from(func: Option<Func>) -> Self {
        Ref::Func(func)
    }
}

impl From<Rooted<ExternRef>> for Ref {
    fn from(object: Rooted<ExternRef>) -> Self {
        Ref::Extern(Some(object))
    }
}

impl From<Option<Rooted<ExternRef>>> for Ref {
    fn from(object: Option<Rooted<ExternRef>>) -> Self {
        Ref::Extern(object)
    }
}
