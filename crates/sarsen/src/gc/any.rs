//! What an [`AnyRef`] or [`EqRef`] is: tests and casts, and conversions between the guest's
//! references and external ones.

use super::i31::I31;
use super::rooted::{
    AnyRef, ArrayRef, ContRef, EqRef, ExnRef, ExternRef, GcRefImpl, Rooted, StructRef,
};
use crate::context::{AsContext, AsContextMut};
use crate::error::{OwnershipError, Result};
use crate::types::HeapType;
use sarsen_abi::types as abi;

/// What every kind of reference can be asked whose objects have types.
macro_rules! typed {
    ($($name:ident)*) => {$(
        impl $name {
            /// The object's own type: the most precise one.
            ///
            /// # Errors
            ///
            /// This and the other methods fail when the reference belongs to another store, or its
            /// scope has ended.
            pub fn ty(&self, store: impl AsContext) -> Result<HeapType> {
                let store = store.as_context().opaque();
                let reference = store.reference(self.root())?;
                let ty = store.own_type(reference, Self::HEAP_TYPE)?;
                Ok(HeapType::from_abi(store.engine(), ty))
            }

            /// Whether the object is of type `ty`.
            ///
            /// # Errors
            ///
            /// As [`Self::ty`]; and when `ty` belongs to another engine.
            pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
                let store = store.as_context().opaque();
                if !ty.belongs_to(store.engine()) {
                    return Err(OwnershipError::WrongEngine.into());
                }
                let reference = store.reference(self.root())?;
                store.reference_is(reference, Self::HEAP_TYPE, &ty.to_abi())
            }
        }
    )*};
}

typed! { AnyRef EqRef ExternRef }

/// Tests and casts to a kind that is below another.
macro_rules! casts {
    ($($is:ident $get:ident $unwrap:ident $to:ident $what:literal;)*) => {$(
        #[doc = concat!("Whether it refers to ", $what, ".")]
        ///
        /// # Errors
        ///
        /// As [`Self::ty`].
        pub fn $is(&self, store: impl AsContext) -> Result<bool> {
            let store = store.as_context().opaque();
            let reference = store.reference(self.root())?;
            let ty = abi::HeapType::Abstract($to::HEAP_TYPE);
            store.reference_is(reference, Self::HEAP_TYPE, &ty)
        }

        #[doc = concat!("The reference, if it is one to ", $what, ".")]
        ///
        /// # Errors
        ///
        /// As [`Self::ty`].
        pub fn $get(&self, store: impl AsContext) -> Result<Option<Rooted<$to>>> {
            Ok(self.$is(store)?.then(|| Rooted::at(self.root())))
        }

        #[doc = concat!("The reference, which must be one to ", $what, ".")]
        ///
        /// # Errors
        ///
        /// As [`Self::ty`].
        ///
        /// # Panics
        ///
        /// Panics when it refers to something else.
        pub fn $unwrap(&self, store: impl AsContext) -> Result<Rooted<$to>> {
            let found = self.$get(store)?;
            Ok(found.unwrap_or_else(|| panic!("{self:?} does not refer to {}", $what)))
        }
    )*};
}

/// Tests and casts of what may be an integer, a structure or an array.
macro_rules! comparable {
    ($($name:ident)*) => {$(
        impl $name {
            /// The integer as a reference, in the innermost scope. No object is made.
            pub fn from_i31(mut store: impl AsContextMut, value: I31) -> Rooted<$name> {
                let mut store = store.as_context_mut();
                Rooted::at(store.opaque().root(value.to_reference()))
            }

            /// Whether it is an integer.
            ///
            /// # Errors
            ///
            /// As [`Self::ty`].
            pub fn is_i31(&self, store: impl AsContext) -> Result<bool> {
                Ok(self.as_i31(store)?.is_some())
            }

            /// The integer, if it is one.
            ///
            /// # Errors
            ///
            /// As [`Self::ty`].
            pub fn as_i31(&self, store: impl AsContext) -> Result<Option<I31>> {
                let store = store.as_context().opaque();
                Ok(I31::from_reference(store.reference(self.root())?))
            }

            /// The integer, which it must be.
            ///
            /// # Errors
            ///
            /// As [`Self::ty`].
            ///
            /// # Panics
            ///
            /// Panics when it is something else.
            pub fn unwrap_i31(&self, store: impl AsContext) -> Result<I31> {
                let found = self.as_i31(store)?;
                Ok(found.unwrap_or_else(|| panic!("{self:?} is no integer")))
            }

            casts! {
                is_struct as_struct unwrap_struct StructRef "a structure";
                is_array as_array unwrap_array ArrayRef "an array";
            }
        }
    )*};
}

comparable! { AnyRef EqRef }

impl AnyRef {
    casts! {
        is_eqref as_eqref unwrap_eqref EqRef "something that can be compared";
    }
}

/// Between the guest's references and external ones: the same object, seen from the other side.
impl AnyRef {
    /// What an external reference refers to, as `any.convert_extern` makes it a reference of the
    /// guest's. An object of the host's can be converted back, and nothing else be done with it.
    ///
    /// # Errors
    ///
    /// When it belongs to another store, or its scope has ended.
    pub fn convert_extern(
        mut store: impl AsContextMut,
        externref: Rooted<ExternRef>,
    ) -> Result<Rooted<AnyRef>> {
        store
            .as_context_mut()
            .opaque()
            .reference(externref.root())?;
        Ok(Rooted::at(externref.root()))
    }
}

impl ExternRef {
    /// A reference of the guest's as an external one, as `extern.convert_any` makes it.
    ///
    /// # Errors
    ///
    /// When it belongs to another store, or its scope has ended.
    pub fn convert_any(
        mut store: impl AsContextMut,
        anyref: Rooted<AnyRef>,
    ) -> Result<Rooted<ExternRef>> {
        store.as_context_mut().opaque().reference(anyref.root())?;
        Ok(Rooted::at(anyref.root()))
    }
}

/// References as compiled code passes them.
macro_rules! raw {
    ($($name:ident)*) => {$(
        impl $name {
            /// The reference as compiled code passes it. It is of use until the next collection only,
            /// which may move the object.
            ///
            /// # Errors
            ///
            /// When it belongs to another store, or its scope has ended.
            pub fn to_raw(&self, mut store: impl AsContextMut) -> Result<u32> {
                store.as_context_mut().opaque().reference(self.root())
            }

            /// Roots a reference that compiled code has passed, in the innermost scope; `None` for
            /// null, and for what is no reference of this kind.
            pub fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<$name>> {
                let mut store = store.as_context_mut();
                let store = store.opaque();
                if raw == 0 {
                    return None;
                }
                store.own_type(raw, Self::HEAP_TYPE).ok()?;
                Some(Rooted::at(store.root(raw)))
            }
        }
    )*};
}

raw! { AnyRef ExternRef ExnRef ContRef }
