//! Whether one reference type of a module is a subtype of another (core specification, §3.3.3).

use crate::canonical::CanonicalGroup;
use crate::index::TypeIndex;
use crate::module::Module;
use crate::types::{AbstractHeapType, HeapType, RefType, TypeId, ValType};
use core::cell::OnceCell;
use core::ops::Range;
use std::collections::HashMap;

/// The types of a module, which must have been checked.
pub(super) struct Subtyping<'a> {
    module: &'a Module,
    /// For every type, a number that equal types share; made when first needed.
    canonical: OnceCell<Vec<TypeId>>,
}

impl<'a> Subtyping<'a> {
    /// The types of `module`.
    pub(super) fn new(module: &'a Module) -> Self {
        Subtyping {
            module,
            canonical: OnceCell::new(),
        }
    }

    /// Whether `actual` is a subtype of `expected`.
    pub(super) fn is_val_subtype(&self, actual: ValType, expected: ValType) -> bool {
        match (actual, expected) {
            (ValType::Ref(actual), ValType::Ref(expected)) => self.is_ref_subtype(actual, expected),
            _ => actual == expected,
        }
    }

    /// Whether `actual` is a subtype of `expected`.
    pub(super) fn is_ref_subtype(&self, actual: RefType, expected: RefType) -> bool {
        (expected.nullable || !actual.nullable) && self.is_heap_subtype(actual.heap, expected.heap)
    }

    /// Core specification, §3.3.3 "Heap types".
    fn is_heap_subtype(&self, actual: HeapType, expected: HeapType) -> bool {
        if actual == expected {
            return true;
        }
        if actual.hierarchy() != expected.hierarchy() {
            return false;
        }
        match (actual, expected) {
            (HeapType::Abstract(actual), HeapType::Abstract(expected)) => {
                is_abstract_subtype(actual, expected)
            }
            (HeapType::Abstract(actual), _) => is_bottom(actual),
            (_, HeapType::Abstract(expected)) => is_abstract_subtype(class_of(actual), expected),
            _ => match (actual.concrete(), expected.concrete()) {
                (Some(actual), Some(expected)) => self.is_declared_subtype(actual, expected),
                _ => false,
            },
        }
    }

    fn is_declared_subtype(&self, actual: TypeIndex, expected: TypeIndex) -> bool {
        if self.ancestors(actual).any(|index| index == expected) {
            return true;
        }
        let canonical = self.canonical.get_or_init(|| canonical_ids(self.module));
        self.ancestors(actual)
            .any(|index| canonical[index.index()] == canonical[expected.index()])
    }

    /// A type and its declared supertypes. A supertype has a smaller index, so this ends.
    fn ancestors(&self, ty: TypeIndex) -> impl Iterator<Item = TypeIndex> {
        core::iter::successors(Some(ty), |ty| self.module.types[ty.index()].supertype)
    }
}

/// Numbers the types so that equal types have equal numbers: the first index of such a type.
fn canonical_ids(module: &Module) -> Vec<TypeId> {
    let mut ids: Vec<TypeId> = Vec::with_capacity(module.types.len());
    let mut first_of_group = HashMap::new();
    for Range { start, end } in module.rec_groups.iter().cloned() {
        let types = &module.types[start as usize..end as usize];
        let group = CanonicalGroup::new(TypeIndex::new(start), types, |ty| ids[ty.index()]);
        let first: u32 = *first_of_group.entry(group).or_insert(start);
        ids.extend((0..end - start).map(|position| TypeId(first + position)));
    }
    ids
}

fn is_bottom(ty: AbstractHeapType) -> bool {
    use AbstractHeapType as A;
    matches!(ty, A::None | A::NoFunc | A::NoExtern | A::NoExn | A::NoCont)
}

/// The abstract type directly above a concrete one.
fn class_of(ty: HeapType) -> AbstractHeapType {
    match ty {
        HeapType::Abstract(ty) => ty,
        HeapType::ConcreteFunc(_) => AbstractHeapType::Func,
        HeapType::ConcreteStruct(_) => AbstractHeapType::Struct,
        HeapType::ConcreteArray(_) => AbstractHeapType::Array,
        HeapType::ConcreteCont(_) => AbstractHeapType::Cont,
    }
}

/// Of two types of one hierarchy.
fn is_abstract_subtype(actual: AbstractHeapType, expected: AbstractHeapType) -> bool {
    use AbstractHeapType as A;
    actual == expected
        || is_bottom(actual)
        || match expected {
            A::Any => true,
            A::Eq => matches!(actual, A::I31 | A::Struct | A::Array),
            _ => false,
        }
}
