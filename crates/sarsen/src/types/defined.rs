//! Types that a module defines and an engine registers: [`FuncType`], and the types of heap objects.
//!
//! Each keeps its definition registered. Equal ids mean equal types, so that comparing is comparing
//! ids, once the engine is the same.

use super::text::FuncTypeText;
use super::value::ValType;
use crate::engine::Engine;
use crate::error::{OwnershipError, Result};
use core::fmt;
use core::hash::{Hash, Hasher};
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_vm::types::RegisteredType;
use std::sync::Arc;

macro_rules! defined {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            engine: Engine,
            registered: RegisteredType,
        }

        impl $name {
            /// The engine that the type is registered in.
            pub fn engine(&self) -> &Engine {
                &self.engine
            }

            /// Whether everything of this type is also of type `other`.
            pub fn matches(&self, other: &Self) -> bool {
                self == other
                    || Engine::same(&self.engine, &other.engine)
                        && self.engine.types().is_subtype(self.id(), other.id())
            }

            /// The type with this id, which must be registered and of this kind.
            pub(crate) fn from_id(engine: &Engine, id: TypeId) -> $name {
                $name {
                    engine: engine.clone(),
                    registered: engine.registered_type(id),
                }
            }

            pub(crate) fn id(&self) -> TypeId {
                self.registered.id()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.id() == other.id() && Engine::same(&self.engine, &other.engine)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.id().hash(state);
            }
        }
    )*};
}

defined! {
    /// The type of a function.
    ///
    /// ```
    /// use sarsen::{Engine, FuncType, ValType};
    ///
    /// let engine = Engine::default();
    /// let ty = FuncType::new(&engine, [ValType::I32, ValType::I32], [ValType::I64]);
    /// assert_eq!(ty.to_string(), "(func (param i32 i32) (result i64))");
    /// ```
    FuncType;
    /// The type of a structure.
    StructType;
    /// The type of an array.
    ArrayType;
    /// The type of a continuation.
    ContType;
}

impl FuncType {
    /// The final type of functions with these parameters and results, and no supertype.
    ///
    /// # Panics
    ///
    /// Panics when one of the types belongs to another engine.
    pub fn new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> FuncType {
        Self::try_new(engine, params, results).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`FuncType::new`].
    ///
    /// # Errors
    ///
    /// [`OwnershipError::WrongEngine`] when one of the types belongs to another engine.
    pub fn try_new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<FuncType> {
        // The types stay alive until the new type, which counts them too, is registered.
        let params: Vec<ValType> = params.into_iter().collect();
        let results: Vec<ValType> = results.into_iter().collect();
        if !params.iter().chain(&results).all(|t| t.belongs_to(engine)) {
            return Err(OwnershipError::WrongEngine.into());
        }
        FuncType::register(
            engine,
            &abi::FuncType {
                params: params.iter().map(ValType::to_abi).collect(),
                results: results.iter().map(ValType::to_abi).collect(),
            },
        )
    }

    pub(crate) fn register(engine: &Engine, ty: &abi::FuncType<TypeId>) -> Result<FuncType> {
        Ok(FuncType {
            engine: engine.clone(),
            registered: engine.types().register_func_type(ty)?,
        })
    }

    pub(crate) fn as_abi(&self) -> &Arc<abi::FuncType<TypeId>> {
        self.registered
            .func_type()
            .expect("made of function types only")
    }

    pub(crate) fn registered(&self) -> &RegisteredType {
        &self.registered
    }

    /// The type of parameter `index`.
    pub fn param(&self, index: usize) -> Option<ValType> {
        let ty = self.as_abi().params.get(index)?;
        Some(ValType::from_abi(&self.engine, *ty))
    }

    /// The parameters' types.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.as_abi()
            .params
            .iter()
            .map(|ty| ValType::from_abi(&self.engine, *ty))
    }

    /// The type of result `index`.
    pub fn result(&self, index: usize) -> Option<ValType> {
        let ty = self.as_abi().results.get(index)?;
        Some(ValType::from_abi(&self.engine, *ty))
    }

    /// The results' types.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.as_abi()
            .results
            .iter()
            .map(|ty| ValType::from_abi(&self.engine, *ty))
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FuncTypeText(self.as_abi()).fmt(f)
    }
}

impl fmt::Debug for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! debug {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.id()).finish()
            }
        }
    )*};
}

debug! { StructType ArrayType ContType }
