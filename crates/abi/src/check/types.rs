//! Types: recursion groups, references between types, and declared supertypes.
//!
//! A supertype must be what its subtypes claim: compiled code reads a field at the place that the
//! supertype tells.

use super::{Check, InvalidModule, Result, ensure};
use crate::heap::{DEEP, MAX_FIELDS};
use crate::index::TypeIndex;
use crate::types::{
    CompositeType, FieldType, FuncType, HeapType, RefType, StorageType, SubType, ValType,
};

impl Check<'_> {
    pub(super) fn types(&self) -> Result {
        let mut next = 0;
        for group in &self.module.rec_groups {
            ensure(group.start == next && group.end > next, || {
                format!("recursion group {group:?} after type {next}")
            })?;
            next = group.end;
            for index in group.clone() {
                let ty = self.module.types.get(index as usize);
                let ty = ty.ok_or_else(|| InvalidModule(format!("no type {index}")))?;
                self.sub_type(index, ty, group.end)?;
            }
        }
        ensure(next as usize == self.module.types.len(), || {
            "a type without recursion group".to_owned()
        })?;
        self.supertypes()
    }

    /// A type that may refer to types below `limit`.
    fn sub_type(&self, index: u32, ty: &SubType, limit: u32) -> Result {
        if let Some(supertype) = ty.supertype {
            ensure(supertype.as_u32() < index, || {
                format!("type {index}: supertype {} comes later", supertype.as_u32())
            })?;
        }
        match &ty.composite {
            CompositeType::Func(func) => func
                .params
                .iter()
                .chain(&func.results)
                .try_for_each(|t| self.val_type(t, limit)),
            CompositeType::Struct(fields) => {
                ensure(fields.len() <= MAX_FIELDS, || {
                    format!("type {index}: {} fields", fields.len())
                })?;
                fields
                    .iter()
                    .try_for_each(|field| self.field_type(field, limit))
            }
            CompositeType::Array(field) => self.field_type(field, limit),
            CompositeType::Cont(func) => self.heap_type(HeapType::ConcreteFunc(*func), limit),
        }
    }

    /// What only makes sense once every reference is known to name a type.
    fn supertypes(&self) -> Result {
        let mut depths = vec![0_u8; self.module.types.len()];
        for (index, ty) in self.module.types.iter().enumerate() {
            let Some(supertype) = ty.supertype else {
                continue;
            };
            let wrong = |what: &str| InvalidModule(format!("type {index}: {what}"));
            depths[index] = depths[supertype.index()] + 1;
            if usize::from(depths[index]) >= DEEP {
                return Err(wrong("it has too many supertypes"));
            }
            let supertype = &self.module.types[supertype.index()];
            if supertype.is_final || !self.extends(&ty.composite, &supertype.composite) {
                return Err(wrong("it cannot have this supertype"));
            }
        }
        Ok(())
    }

    /// Core specification, §3.3 "Matching": composite types.
    fn extends(&self, actual: &CompositeType, expected: &CompositeType) -> bool {
        match (actual, expected) {
            (CompositeType::Func(actual), CompositeType::Func(expected)) => {
                self.func_extends(actual, expected)
            }
            (CompositeType::Struct(actual), CompositeType::Struct(expected)) => {
                actual.len() >= expected.len()
                    && core::iter::zip(actual, expected).all(|(a, e)| self.field_extends(a, e))
            }
            (CompositeType::Array(actual), CompositeType::Array(expected)) => {
                self.field_extends(actual, expected)
            }
            (CompositeType::Cont(actual), CompositeType::Cont(expected)) => {
                let continued = |func| {
                    ValType::Ref(RefType {
                        nullable: false,
                        heap: HeapType::ConcreteFunc(func),
                    })
                };
                self.types
                    .is_val_subtype(continued(*actual), continued(*expected))
            }
            _ => false,
        }
    }

    fn func_extends(&self, actual: &FuncType, expected: &FuncType) -> bool {
        let all = |actual: &[ValType], expected: &[ValType]| {
            actual.len() == expected.len()
                && core::iter::zip(actual, expected).all(|(&a, &e)| self.types.is_val_subtype(a, e))
        };
        all(&expected.params, &actual.params) && all(&actual.results, &expected.results)
    }

    fn field_extends(&self, actual: &FieldType, expected: &FieldType) -> bool {
        let extends = |a: &StorageType, e: &StorageType| match (a, e) {
            (StorageType::Val(a), StorageType::Val(e)) => self.types.is_val_subtype(*a, *e),
            _ => a == e,
        };
        actual.mutable == expected.mutable
            && extends(&actual.storage, &expected.storage)
            && (!actual.mutable || extends(&expected.storage, &actual.storage))
    }

    fn field_type(&self, field: &FieldType, limit: u32) -> Result {
        self.val_type(&field.storage.unpacked(), limit)
    }

    fn val_type(&self, ty: &ValType, limit: u32) -> Result {
        match ty {
            ValType::Ref(reference) => self.heap_type(reference.heap, limit),
            _ => Ok(()),
        }
    }

    /// A concrete heap type must name a type below `limit`, of the kind that it says.
    pub(super) fn heap_type(&self, heap: HeapType, limit: u32) -> Result {
        let Some(index) = heap.concrete() else {
            return Ok(());
        };
        let ty = self
            .module
            .types
            .get(index.index())
            .filter(|_| index.as_u32() < limit);
        let is_right = ty.is_some_and(|ty| {
            matches!(
                (heap, &ty.composite),
                (HeapType::ConcreteFunc(_), CompositeType::Func(_))
                    | (HeapType::ConcreteStruct(_), CompositeType::Struct(_))
                    | (HeapType::ConcreteArray(_), CompositeType::Array(_))
                    | (HeapType::ConcreteCont(_), CompositeType::Cont(_))
            )
        });
        ensure(is_right, || {
            format!("a reference to {heap:?}, which is none")
        })
    }

    pub(super) fn any_val_type(&self, ty: &ValType) -> Result {
        self.val_type(ty, u32::MAX)
    }

    pub(super) fn any_ref_type(&self, ty: &RefType) -> Result {
        self.heap_type(ty.heap, u32::MAX)
    }

    pub(super) fn func_type(&self, index: TypeIndex) -> Result {
        self.heap_type(HeapType::ConcreteFunc(index), u32::MAX)
    }
}
