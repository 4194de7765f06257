//! [`ContTypes`]: what a store has learnt of types of continuations.

use crate::engine::Engine;
use crate::error::Result;
use crate::types::{ContType, FuncType};
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use std::collections::HashMap;
use std::sync::Arc;

/// A type of continuations, and its function type.
pub(super) type Known = (TypeId, Arc<abi::FuncType<TypeId>>);

/// What a store has learnt of types of continuations. It keeps them registered.
#[derive(Default)]
pub(crate) struct ContTypes {
    known: HashMap<TypeId, (ContType, Arc<abi::FuncType<TypeId>>)>,
    /// The type of what is left of a continuation of the first type that was suspended with a tag of the
    /// second.
    suspended: HashMap<(TypeId, TypeId), TypeId>,
    /// The type of what is left of a continuation of a type of which so many arguments were bound.
    bound: HashMap<(TypeId, usize), TypeId>,
}

impl ContTypes {
    /// The type with this id, of continuations of the store.
    pub(super) fn get(&mut self, id: TypeId, engine: &Engine) -> Known {
        let (_, func) = self.known.entry(id).or_insert_with(|| {
            let ty = ContType::from_id(engine, id);
            let func = Arc::clone(ty.func_type().as_abi());
            (ty, func)
        });
        (id, Arc::clone(func))
    }

    fn keep(&mut self, ty: ContType) -> TypeId {
        let id = ty.id();
        let func = Arc::clone(ty.func_type().as_abi());
        self.known.entry(id).or_insert((ty, func));
        id
    }

    /// The type of what is left of a continuation that was suspended.
    pub(super) fn of_suspended(
        &mut self,
        id: TypeId,
        tag: TypeId,
        engine: &Engine,
    ) -> Result<TypeId> {
        if let Some(&known) = self.suspended.get(&(id, tag)) {
            return Ok(known);
        }
        let tag_type = FuncType::from_id(engine, tag);
        let func = ContType::from_id(engine, id).func_type();
        let func = FuncType::new(engine, tag_type.results(), func.results());
        let left = self.keep(ContType::new(&func)?);
        self.suspended.insert((id, tag), left);
        Ok(left)
    }

    /// The type of what is left of a continuation when its first `count` arguments, of which there must be so
    /// many, are bound.
    pub(super) fn of_bound(&mut self, id: TypeId, count: usize, engine: &Engine) -> Result<TypeId> {
        if let Some(&known) = self.bound.get(&(id, count)) {
            return Ok(known);
        }
        let func = ContType::from_id(engine, id).func_type();
        let func = FuncType::new(engine, func.params().skip(count), func.results());
        let left = self.keep(ContType::new(&func)?);
        self.bound.insert((id, count), left);
        Ok(left)
    }
}
