//! Which types may stand in for which.
//!
//! Specification: core, §3.3 "Matching". Between defined types only declared supertypes count, so
//! that no structure is compared here. Types are those of one engine.
//!
//! Callers: linking (`instance`), and the checks of values that the host passes in.

use super::Registry;
use sarsen_abi::TypeId;
use sarsen_abi::types::{AbstractHeapType as A, GlobalType, HeapType, RefType, ValType};

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
