//! [`Ref`]: a reference whose type is known at run time only.

use crate::context::AsContext;
use crate::error::Result;
use crate::func::Func;
use crate::gc::{
    AnyRef, ArrayRef, ContRef, EqRef, ExnRef, ExternRef, GcRefImpl, RootIndex, Rooted, StructRef,
};
use crate::store::StoreOpaque;
use crate::types::{HeapType, RefType, ValType};
use crate::val::{Val, ValRaw};
use sarsen_abi::TypeId;
use sarsen_abi::types::{self as abi, AbstractHeapType, Hierarchy};
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

macro_rules! accessors {
    ($($variant:ident $is:ident $get:ident $unwrap:ident $ty:ty, $what:literal;)*) => {$(
        #[doc = concat!("Whether it is ", $what, ", or null in its hierarchy.")]
        pub fn $is(&self) -> bool {
            matches!(self, Ref::$variant(_))
        }

        #[doc = concat!("What it refers to or null, if it is ", $what, ".")]
        pub fn $get(&self) -> Option<Option<&$ty>> {
            match self {
                Ref::$variant(reference) => Some(reference.as_ref()),
                _ => None,
            }
        }

        #[doc = concat!("What it refers to or null; it must be ", $what, ".")]
        ///
        /// # Panics
        ///
        /// Panics when it is something else.
        pub fn $unwrap(&self) -> Option<&$ty> {
            self.$get()
                .unwrap_or_else(|| panic!("{self:?} is not {}", $what))
        }
    )*};
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

    accessors! {
        Func is_func as_func unwrap_func Func, "a function reference";
        Extern is_extern as_extern unwrap_extern Rooted<ExternRef>, "an external reference";
        Any is_any as_any unwrap_any Rooted<AnyRef>, "a reference of the guest's";
        Exn is_exn as_exn unwrap_exn Rooted<ExnRef>, "a reference to an exception";
        Cont is_cont as_cont unwrap_cont Rooted<ContRef>, "a reference to a continuation";
    }

    /// The reference's own type: the most precise one that is known.
    ///
    /// # Errors
    ///
    /// When the reference belongs to another store, or its scope has ended.
    pub fn ty(&self, store: impl AsContext) -> Result<RefType> {
        self.own_type(store.as_context().opaque())
    }

    /// Whether it is a value of type `ty`.
    ///
    /// # Errors
    ///
    /// When the reference or the type belongs to another store, or its scope has ended.
    pub fn matches_ty(&self, store: impl AsContext, ty: &RefType) -> Result<bool> {
        Val::from(*self).matches_ty(store, &ValType::Ref(ty.clone()))
    }

    /// The root of an object.
    fn root(&self) -> Option<(RootIndex, AbstractHeapType)> {
        match self {
            Ref::Func(_) => None,
            Ref::Extern(r) => Some((r.as_ref()?.root(), ExternRef::HEAP_TYPE)),
            Ref::Any(r) => Some((r.as_ref()?.root(), AnyRef::HEAP_TYPE)),
            Ref::Exn(r) => Some((r.as_ref()?.root(), ExnRef::HEAP_TYPE)),
            Ref::Cont(r) => Some((r.as_ref()?.root(), ContRef::HEAP_TYPE)),
        }
    }

    fn hierarchy(&self) -> Hierarchy {
        match self {
            Ref::Func(_) => Hierarchy::Func,
            Ref::Extern(_) => Hierarchy::Extern,
            Ref::Any(_) => Hierarchy::Any,
            Ref::Exn(_) => Hierarchy::Exn,
            Ref::Cont(_) => Hierarchy::Cont,
        }
    }

    pub(crate) fn own_type(&self, store: &StoreOpaque) -> Result<RefType> {
        let heap = match (self, self.root()) {
            (Ref::Func(Some(func)), _) => {
                store.check_owns(func.store_id())?;
                abi::HeapType::ConcreteFunc(func.type_id(store))
            }
            (_, Some((root, kind))) => store.own_type(store.reference(root)?, kind)?,
            (_, None) => {
                let top = HeapType::from_abstract(self.hierarchy().top());
                return Ok(RefType::new(true, top.bottom()));
            }
        };
        let heap_type = HeapType::from_abi(store.engine(), heap);
        Ok(RefType::new(false, heap_type))
    }

    /// Whether it may be used with `store`.
    pub(crate) fn check_store(&self, store: &StoreOpaque) -> Result<()> {
        match (self, self.root()) {
            (Ref::Func(Some(func)), _) => store.check_owns(func.store_id()),
            (_, Some((root, _))) => store.reference(root).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// The reference for compiled code, if it may be used with `store`. One to an object is of use
    /// until something allocates.
    pub(crate) fn raw(&self, store: &mut StoreOpaque) -> Result<ValRaw> {
        match (self, self.root()) {
            (Ref::Func(Some(func)), _) => {
                store.check_owns(func.store_id())?;
                func.resolve(store)?;
                Ok(ValRaw::funcref(func.as_raw()))
            }
            (_, Some((root, _))) => Ok(ValRaw::externref(store.reference(root)?)),
            _ => Ok(ValRaw::default()),
        }
    }

    /// Whether it is a value of type `ty`.
    ///
    /// # Errors
    ///
    /// When it cannot be used with `store`.
    pub(crate) fn matches_abi(
        &self,
        store: &StoreOpaque,
        ty: abi::RefType<TypeId>,
    ) -> Result<bool> {
        self.check_store(store)?;
        if self.hierarchy() != ty.heap.hierarchy() {
            return Ok(false);
        }
        match (self, self.root()) {
            (Ref::Func(Some(func)), _) => {
                let own = abi::HeapType::ConcreteFunc(func.type_id(store));
                let types = store.engine().types();
                Ok(matching::heap_type_matches(types, &own, &ty.heap))
            }
            (_, Some((root, kind))) => store.reference_is(store.reference(root)?, kind, &ty.heap),
            _ => Ok(ty.nullable),
        }
    }

    /// # Safety
    ///
    /// `raw` must be a value of type `ty`, of `store`.
    pub(crate) unsafe fn from_abi(
        store: &mut StoreOpaque,
        raw: ValRaw,
        ty: abi::RefType<TypeId>,
    ) -> Ref {
        let reference = raw.get_externref();
        // SAFETY: the caller's promise.
        unsafe {
            match ty.heap.hierarchy() {
                Hierarchy::Func => Ref::Func(Func::from_funcref(raw.get_funcref(), store)),
                Hierarchy::Extern => Ref::Extern(Rooted::from_abi(reference, store)),
                Hierarchy::Any => Ref::Any(Rooted::from_abi(reference, store)),
                Hierarchy::Exn => Ref::Exn(Rooted::from_abi(reference, store)),
                Hierarchy::Cont => Ref::Cont(Rooted::from_abi(reference, store)),
            }
        }
    }

    /// # Safety
    ///
    /// `element` must come from a table of `store` of this element type.
    pub(crate) unsafe fn from_table_element(
        store: &mut StoreOpaque,
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

/// Handles are references and values.
macro_rules! from_rooted {
    ($($kind:ident => $reference:ident $value:ident;)*) => {$(
        impl From<Rooted<$kind>> for Ref {
            fn from(handle: Rooted<$kind>) -> Self {
                Ref::$reference(Some(handle.into()))
            }
        }

        impl From<Option<Rooted<$kind>>> for Ref {
            fn from(handle: Option<Rooted<$kind>>) -> Self {
                Ref::$reference(handle.map(Into::into))
            }
        }

        impl From<Rooted<$kind>> for Val {
            fn from(handle: Rooted<$kind>) -> Self {
                Val::$value(Some(handle.into()))
            }
        }

        impl From<Option<Rooted<$kind>>> for Val {
            fn from(handle: Option<Rooted<$kind>>) -> Self {
                Val::$value(handle.map(Into::into))
            }
        }
    )*};
}

from_rooted! {
    ExternRef => Extern ExternRef;
    AnyRef => Any AnyRef;
    EqRef => Any AnyRef;
    StructRef => Any AnyRef;
    ArrayRef => Any AnyRef;
    ExnRef => Exn ExnRef;
    ContRef => Cont ContRef;
}
