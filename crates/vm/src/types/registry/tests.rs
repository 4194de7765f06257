//! Tests of the registry: equality, hierarchies, and that nothing leaks or dies too early.

mod interleavings;
mod shapes;
mod stress;

use super::*;
use crate::types::Shape;
use sarsen_abi::heap::{DEEP, EXTERN_TYPE};
use sarsen_abi::types::{HeapType, RefType, ValType};
use std::sync::Barrier;
use std::sync::atomic::AtomicU32;

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new().unwrap())
}

fn func(params: Vec<ValType>) -> SubType {
    SubType {
        is_final: false,
        supertype: None,
        composite: CompositeType::Func(FuncType {
            params: params.into(),
            results: Box::new([]),
        }),
    }
}

fn reference(index: u32) -> ValType {
    ValType::Ref(RefType {
        nullable: true,
        heap: HeapType::ConcreteFunc(TypeIndex::new(index)),
    })
}

/// A module of recursion groups of these types.
fn module(groups: Vec<Vec<SubType>>) -> Module {
    let mut module = Module::default();
    for group in groups {
        let start = module.types.len() as u32;
        module.types.extend(group);
        module.rec_groups.push(start..module.types.len() as u32);
    }
    module
}

/// Types of which each names the one before.
fn chain(len: u32) -> Module {
    let link = |i: u32| match i {
        0 => func(vec![]),
        _ => func(vec![reference(i - 1)]),
    };
    module((0..len).map(|i| vec![link(i)]).collect())
}

#[test]
fn equal_types_of_different_modules_have_equal_ids() {
    let registry = registry();
    let a = module(vec![
        vec![func(vec![ValType::I32])],
        vec![func(vec![reference(0)])],
    ]);
    let b = module(vec![
        vec![func(vec![])],
        vec![func(vec![ValType::I32])],
        vec![func(vec![reference(1)])],
    ]);
    let a = registry.register_module(&a).unwrap();
    let b = registry.register_module(&b).unwrap();
    assert_eq!(a.ids()[0], b.ids()[1]);
    assert_eq!(a.ids()[1], b.ids()[2]);
    assert_ne!(b.ids()[0], b.ids()[1]);
    assert_eq!(registry.len(), 3);
    assert_eq!(a.index_of(b.ids()[2]), Some(TypeIndex::new(1)));
    assert_eq!(a.index_of(b.ids()[0]), None);
    let ty = b.func_type(TypeIndex::new(2)).unwrap();
    assert_eq!(ty.params[0], reference_to(a.ids()[0]));
}

fn reference_to(id: TypeId) -> ValType<TypeId> {
    ValType::Ref(RefType {
        nullable: true,
        heap: HeapType::ConcreteFunc(id),
    })
}

#[test]
fn types_of_equal_shape_in_different_groups_are_different() {
    let registry = registry();
    let alone = module(vec![vec![func(vec![])]]);
    let together = module(vec![vec![func(vec![]), func(vec![])]]);
    let alone = registry.register_module(&alone).unwrap();
    let together = registry.register_module(&together).unwrap();
    let ids = [alone.ids(), together.ids()].concat();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    assert!(!registry.is_subtype(ids[1], ids[2]));
}

#[test]
fn nothing_is_left_when_everybody_has_let_go() {
    let registry = registry();
    let types = registry.register_module(&chain(10)).unwrap();
    let again = registry.register_module(&chain(10)).unwrap();
    let last = registry.retain(types.ids()[9]).unwrap();
    let host = FuncType {
        params: Box::new([reference_to(types.ids()[9])]),
        results: Box::new([ValType::I32]),
    };
    let host = registry.register_func_type(&host).unwrap();
    assert_eq!(registry.len(), 11);
    drop(types);
    drop(again);
    assert_eq!(registry.len(), 11, "the host's type names the last one");
    drop(host);
    assert_eq!(registry.len(), 10, "the last one is still held");
    let ids = last.group.ids.clone();
    drop(last.clone());
    assert_eq!(registry.func_type(ids[0]).unwrap().params.len(), 1);
    drop(last);
    assert!(registry.is_empty());
    assert!(registry.retain(ids[0]).is_none());
    assert!(registry.func_type(ids[0]).is_none());
    assert!(registry.lock().groups.is_empty());
}

#[test]
fn ids_are_used_again_and_never_zero() {
    let registry = registry();
    for _ in 0..100 {
        let types = registry.register_module(&chain(100)).unwrap();
        let number = |id: &TypeId| (id.0 - FIRST_TYPE.0) / ROW_SIZE;
        assert!(types.ids().iter().all(|id| id.0.is_multiple_of(ROW_SIZE)));
        assert!(types.ids().iter().all(|id| number(id) < 100));
    }
}

#[test]
fn dropping_a_long_chain_of_types_does_not_overflow_the_stack() {
    let registry = registry();
    let len = 200_000;
    let types = registry.register_module(&chain(len)).unwrap();
    let last = registry.retain(types.ids()[len as usize - 1]).unwrap();
    drop(types);
    assert_eq!(registry.len(), len as usize);
    drop(last);
    assert!(registry.is_empty());
}

#[test]
fn dropping_the_registry_with_a_long_chain_does_not_overflow_the_stack() {
    let registry = registry();
    let types = registry.register_module(&chain(100_000)).unwrap();
    std::mem::forget(types);
    drop(registry);
}

/// A module in which each type is a subtype of the one before.
fn ladder(len: u32) -> Module {
    let rung = |i: u32| SubType {
        supertype: i.checked_sub(1).map(TypeIndex::new),
        ..func(vec![])
    };
    module((0..len).map(|i| vec![rung(i)]).collect())
}

#[test]
fn every_ancestor_is_a_supertype_however_deep() {
    let registry = registry();
    let types = registry.register_module(&ladder(DEEP as u32)).unwrap();
    let other = registry
        .register_module(&module(vec![vec![func(vec![ValType::I64])]]))
        .unwrap();
    for (i, &a) in types.ids().iter().enumerate() {
        for (j, &b) in types.ids().iter().enumerate() {
            assert_eq!(registry.is_subtype(a, b), i >= j, "{i} <: {j}");
        }
        assert!(!registry.is_subtype(a, other.ids()[0]));
        assert!(!registry.is_subtype(other.ids()[0], a));
    }
    let ids = types.ids().to_vec();
    drop(types);
    for &a in &ids {
        for &b in ids.iter().filter(|&&b| a != b) {
            assert!(!registry.is_subtype(a, b), "rows are cleared");
        }
    }
}

#[test]
fn supertypes_within_a_group_count() {
    let registry = registry();
    let child = SubType {
        supertype: Some(TypeIndex::new(0)),
        ..func(vec![])
    };
    let types = registry
        .register_module(&module(vec![vec![func(vec![]), child]]))
        .unwrap();
    assert!(registry.is_subtype(types.ids()[1], types.ids()[0]));
    assert!(!registry.is_subtype(types.ids()[0], types.ids()[1]));
}

#[test]
fn ids_that_never_existed_are_harmless() {
    let registry = registry();
    for id in [0, 1, FIRST_TYPE.0, FIRST_TYPE.0 + 1, 1 << 20, u32::MAX].map(TypeId) {
        assert!(registry.retain(id).is_none());
        assert!(registry.func_type(id).is_none());
        assert_eq!(registry.kind(id), Kind::None);
        assert!(!registry.is_subtype(id, EXTERN_TYPE));
        assert!(!registry.is_subtype(EXTERN_TYPE, id));
    }
}

/// Threads register and drop the same types over and over: an id that somebody holds always means
/// the same type, and two threads that hold it at the same time agree on it.
#[test]
fn types_found_while_they_are_dropped_are_revived_not_duplicated() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 3_000;
    let registry = registry();
    let shared = AtomicU32::new(0);
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (registry, shared, barrier) = (&registry, &shared, &barrier);
            scope.spawn(move || {
                let module = chain(3);
                barrier.wait();
                for round in 0..ROUNDS {
                    let types = registry.register_module(&module).unwrap();
                    let last = types.ids()[2];
                    // Published while held: whoever retains it successfully gets a live type.
                    shared.store(last.0, Ordering::Release);
                    let seen = TypeId(shared.load(Ordering::Acquire));
                    if let Some(retained) = registry.retain(seen) {
                        let ty = retained.func_type().expect("only function types here");
                        assert!(ty.params.len() <= 1);
                        drop(types);
                        assert_eq!(retained.clone(), retained);
                    } else {
                        assert_ne!(seen, last, "a held type is found");
                    }
                    let again = registry.register_module(&module).unwrap();
                    let ids = again.ids();
                    let ty = again.func_type(TypeIndex::new(2)).unwrap();
                    assert_eq!(ty.params[0], reference_to(ids[1]));
                    if (round + thread) % 7 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    assert!(registry.is_empty());
    assert!(registry.lock().groups.is_empty());
    let state = registry.lock();
    let given = (state.next.0 - FIRST_TYPE.0) / ROW_SIZE;
    assert_eq!(state.free.len() as u32, given, "no id is lost");
}
