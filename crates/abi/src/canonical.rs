//! The canonical form of a recursion group.
//!
//! Two recursion groups define the same types when they are equal after references inside the
//! group are written as positions and references outside it as engine-wide ids (core
//! specification, §3.1.4 "Recursive types": iso-recursive equivalence). The engine's registry
//! hash-conses groups in this form.

use crate::index::TypeIndex;
use crate::types::{SubType, TypeId};

/// A reference from a type in a canonical group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CanonicalRef {
    /// To the type at this position of the same group.
    InGroup(u32),
    /// To a type registered earlier.
    Outside(TypeId),
}

/// A recursion group whose equality and hash are those of the types that it defines.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CanonicalGroup {
    /// The group's types in order.
    pub types: Box<[SubType<CanonicalRef>]>,
}

impl CanonicalGroup {
    /// Canonicalizes the group whose first type has index `first`. `resolve` gives the engine-wide
    /// id of a type of an earlier group of the same module.
    pub fn new(
        first: TypeIndex,
        types: &[SubType],
        mut resolve: impl FnMut(TypeIndex) -> TypeId,
    ) -> Self {
        let range = first.as_u32()..first.as_u32() + types.len() as u32;
        let types = types
            .iter()
            .map(|ty| {
                ty.map(|index| {
                    if range.contains(&index.as_u32()) {
                        CanonicalRef::InGroup(index.as_u32() - range.start)
                    } else {
                        CanonicalRef::Outside(resolve(index))
                    }
                })
            })
            .collect();
        CanonicalGroup { types }
    }

    /// The engine-wide types that this group refers to, with repetitions.
    pub fn outside_refs(&self) -> Vec<TypeId> {
        let mut found = Vec::new();
        for ty in &self.types {
            ty.map(|r| {
                if let CanonicalRef::Outside(id) = r {
                    found.push(id);
                }
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CompositeType, FuncType, HeapType, RefType, ValType};

    fn self_referential(index: u32) -> SubType {
        let this = ValType::Ref(RefType {
            nullable: true,
            heap: HeapType::ConcreteFunc(TypeIndex::new(index)),
        });
        SubType {
            is_final: true,
            supertype: None,
            composite: CompositeType::Func(FuncType {
                params: Box::new([this]),
                results: Box::new([]),
            }),
        }
    }

    #[test]
    fn equal_groups_at_different_indices_are_equal() {
        let a = CanonicalGroup::new(
            TypeIndex::new(0),
            &[self_referential(0)],
            |_| unreachable!(),
        );
        let b = CanonicalGroup::new(
            TypeIndex::new(7),
            &[self_referential(7)],
            |_| unreachable!(),
        );
        assert_eq!(a, b);
        assert!(a.outside_refs().is_empty());
    }

    #[test]
    fn a_reference_outside_the_group_is_not_a_reference_inside() {
        let inside = CanonicalGroup::new(
            TypeIndex::new(1),
            &[self_referential(1)],
            |_| unreachable!(),
        );
        let outside = CanonicalGroup::new(TypeIndex::new(1), &[self_referential(0)], |_| TypeId(0));
        assert_ne!(inside, outside);
        assert_eq!(outside.outside_refs(), [TypeId(0)]);
    }
}
