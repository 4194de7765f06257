//! Which types may stand in for which.
//!
//! Specification: core, §3.3 "Matching". Between defined types only declared supertypes count, so
//! that no structure is compared here. Types are those of one engine.
//!
//! Callers: linking (`instance`), and the checks of values that the host passes in.

use super::{Defined, Registry, Shape};
use core::fmt;
use sarsen_abi::TypeId;
use sarsen_abi::heap::DEEP;
use sarsen_abi::types::{
    AbstractHeapType as A, CompositeType, FieldType, FuncType, GlobalType, HeapType, RefType,
    StorageType, ValType,
};

/// Whether values of type `actual` are values of type `expected`.
pub fn val_type_matches(
    registry: &Registry,
    actual: &ValType<TypeId>,
    expected: &ValType<TypeId>,
) -> bool {
    match (actual, expected) {
        (ValType::Ref(actual), ValType::Ref(expected)) => {
            ref_type_matches(registry, actual, expected)
        }
        _ => actual == expected,
    }
}

/// Whether references of type `actual` are references of type `expected`.
pub fn ref_type_matches(
    registry: &Registry,
    actual: &RefType<TypeId>,
    expected: &RefType<TypeId>,
) -> bool {
    (expected.nullable || !actual.nullable)
        && heap_type_matches(registry, &actual.heap, &expected.heap)
}

/// Whether what `actual` describes is among what `expected` describes.
pub fn heap_type_matches(
    registry: &Registry,
    actual: &HeapType<TypeId>,
    expected: &HeapType<TypeId>,
) -> bool {
    match (actual.concrete(), expected.concrete()) {
        (Some(actual), Some(expected)) => registry.is_subtype(actual, expected),
        _ => abstract_heap_type_matches(actual, expected),
    }
}

/// As [`heap_type_matches`], of which at most one may be a defined type; needs no registry.
///
/// # Panics
///
/// Panics when both are defined types.
pub fn abstract_heap_type_matches(actual: &HeapType<TypeId>, expected: &HeapType<TypeId>) -> bool {
    match (actual.concrete(), expected.concrete()) {
        (Some(_), Some(_)) => panic!("only a registry can compare defined types"),
        (Some(_), None) => abstract_matches(kind(actual), kind(expected)),
        // Only the bottom of its hierarchy lies below a defined type.
        (None, Some(_)) => actual.hierarchy() == expected.hierarchy() && is_bottom(kind(actual)),
        (None, None) => abstract_matches(kind(actual), kind(expected)),
    }
}

/// Whether functions of type `actual` can be called as functions of type `expected`.
pub fn func_type_matches(
    registry: &Registry,
    actual: &FuncType<TypeId>,
    expected: &FuncType<TypeId>,
) -> bool {
    is_bound_func_type(registry, actual, 0, expected)
}

/// Whether functions of type `actual` can be called as functions of type `expected` when the first `bound` arguments
/// are there already.
pub fn is_bound_func_type(
    registry: &Registry,
    actual: &FuncType<TypeId>,
    bound: usize,
    expected: &FuncType<TypeId>,
) -> bool {
    let all = |actual: &[ValType<TypeId>], expected: &[ValType<TypeId>]| {
        actual.len() == expected.len()
            && std::iter::zip(actual, expected).all(|(a, e)| val_type_matches(registry, a, e))
    };
    let left = actual.params.get(bound..);
    left.is_some_and(|left| all(&expected.params, left)) && all(&actual.results, &expected.results)
}

/// Whether a field of type `actual` can be used as one of type `expected`: what is written must be
/// of the same type, what is only read may be of a subtype.
pub fn field_type_matches(
    registry: &Registry,
    actual: &FieldType<TypeId>,
    expected: &FieldType<TypeId>,
) -> bool {
    let matches = |a: &StorageType<TypeId>, e: &StorageType<TypeId>| match (a, e) {
        (StorageType::Val(a), StorageType::Val(e)) => val_type_matches(registry, a, e),
        (a, e) => a == e,
    };
    let forth = matches(&actual.storage, &expected.storage);
    let back = || matches(&expected.storage, &actual.storage);
    actual.mutable == expected.mutable && forth && (!actual.mutable || back())
}

/// Why a type cannot have another as its supertype.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadSupertype {
    /// The supertype is final.
    Final,
    /// Its values could not be used as those of the supertype.
    Mismatch,
    /// It would have too many supertypes.
    TooDeep,
}

impl fmt::Display for BadSupertype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadSupertype::Final => f.write_str("the supertype is final"),
            BadSupertype::Mismatch => f.write_str("the type does not match its supertype"),
            BadSupertype::TooDeep => write!(f, "a type has at most {} supertypes", DEEP - 1),
        }
    }
}

impl std::error::Error for BadSupertype {}

/// Whether a type composed like this may declare `supertype` as its supertype (core specification,
/// §3.3 "Matching").
///
/// # Errors
///
/// Says why not.
pub fn extends(
    registry: &Registry,
    composite: &CompositeType<TypeId>,
    supertype: &Defined,
) -> Result<(), BadSupertype> {
    if supertype.is_final {
        return Err(BadSupertype::Final);
    }
    let matches = match (composite, &supertype.shape) {
        (CompositeType::Func(actual), Shape::Func(expected)) => {
            func_type_matches(registry, actual, expected)
        }
        (CompositeType::Struct(actual), Shape::Struct(expected)) => {
            actual.len() >= expected.fields.len()
                && std::iter::zip(actual, &expected.fields)
                    .all(|(a, e)| field_type_matches(registry, a, e))
        }
        (CompositeType::Array(actual), Shape::Array(expected)) => {
            field_type_matches(registry, actual, &expected.element)
        }
        (CompositeType::Cont(actual), Shape::Cont(expected)) => {
            registry.is_subtype(*actual, *expected)
        }
        _ => false,
    };
    if !matches {
        return Err(BadSupertype::Mismatch);
    }
    if registry.depth(supertype.id) + 1 >= DEEP {
        return Err(BadSupertype::TooDeep);
    }
    Ok(())
}

/// Whether a global of type `actual` can be imported as `expected`.
pub fn global_type_matches(
    registry: &Registry,
    actual: &GlobalType<TypeId>,
    expected: &GlobalType<TypeId>,
) -> bool {
    let forth = val_type_matches(registry, &actual.content, &expected.content);
    let back = val_type_matches(registry, &expected.content, &actual.content);
    actual.mutable == expected.mutable && forth && (back || !actual.mutable)
}

/// Whether a table or memory of this size (now) and maximum can be imported where these limits are
/// declared.
pub fn limits_match(actual: (u64, Option<u64>), expected: (u64, Option<u64>)) -> bool {
    let maximum = match (actual.1, expected.1) {
        (_, None) => true,
        (Some(actual), Some(expected)) => actual <= expected,
        (None, Some(_)) => false,
    };
    actual.0 >= expected.0 && maximum
}

/// The abstract type that is nearest above: itself, or what a defined type is an instance of.
fn kind(heap: &HeapType<TypeId>) -> A {
    match heap {
        HeapType::Abstract(a) => *a,
        HeapType::ConcreteFunc(_) => A::Func,
        HeapType::ConcreteStruct(_) => A::Struct,
        HeapType::ConcreteArray(_) => A::Array,
        HeapType::ConcreteCont(_) => A::Cont,
    }
}

fn is_bottom(heap: A) -> bool {
    matches!(
        heap,
        A::NoFunc | A::NoExtern | A::None | A::NoExn | A::NoCont
    )
}

fn abstract_matches(actual: A, expected: A) -> bool {
    let same_hierarchy = || {
        let hierarchy = |a| HeapType::<TypeId>::Abstract(a).hierarchy();
        hierarchy(actual) == hierarchy(expected)
    };
    match (actual, expected) {
        _ if actual == expected => true,
        _ if is_bottom(actual) => same_hierarchy(),
        (A::Eq | A::I31 | A::Struct | A::Array, A::Any) => true,
        (A::I31 | A::Struct | A::Array, A::Eq) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_abstract_hierarchies_are_those_of_the_specification() {
        let chains: &[&[A]] = &[
            &[A::NoFunc, A::Func],
            &[A::NoExtern, A::Extern],
            &[A::None, A::I31, A::Eq, A::Any],
            &[A::None, A::Struct, A::Eq, A::Any],
            &[A::None, A::Array, A::Eq, A::Any],
            &[A::NoExn, A::Exn],
            &[A::NoCont, A::Cont],
        ];
        let all: Vec<A> = chains.iter().flat_map(|c| c.iter().copied()).collect();
        for &a in &all {
            for &b in &all {
                let expected = chains.iter().any(|chain| {
                    let at = |t| chain.iter().position(|&x| x == t);
                    matches!((at(a), at(b)), (Some(i), Some(j)) if i <= j)
                });
                assert_eq!(abstract_matches(a, b), expected, "{a:?} <: {b:?}");
            }
        }
    }

    #[test]
    fn limits_may_be_tighter_but_not_looser() {
        assert!(limits_match((2, Some(3)), (1, None)));
        assert!(limits_match((2, Some(3)), (2, Some(3))));
        assert!(!limits_match((1, Some(3)), (2, Some(3))));
        assert!(!limits_match((2, Some(4)), (2, Some(3))));
        assert!(!limits_match((2, None), (2, Some(3))));
    }
}
