//! Registering the types of a module with ten thousand of them: first, and again while they are
//! registered; and asking about one. Up to a million types that are all different: each costs as much
//! however many there are.
//!
//! The types are like those of a compiled class hierarchy: for each class a structure that extends
//! another and refers to its table of functions, itself a structure of references to functions.

use divan::{Bencher, black_box, counter::ItemsCount};
use sarsen_abi::types::{
    AbstractHeapType, CompositeType, FieldType, FuncType, HeapType, RefType, StorageType, SubType,
    ValType,
};
use sarsen_abi::{Module, TypeIndex};
use sarsen_vm::types::Registry;
use std::sync::Arc;

/// How many classes there are, and types for each.
const CLASSES: u32 = 2_500;
const PER_CLASS: u32 = 4;

fn reference(heap: HeapType) -> ValType {
    ValType::Ref(RefType {
        nullable: false,
        heap,
    })
}

fn field(ty: ValType, mutable: bool) -> FieldType {
    FieldType {
        storage: StorageType::Val(ty),
        mutable,
    }
}

fn sub(supertype: Option<u32>, composite: CompositeType) -> SubType {
    SubType {
        is_final: false,
        supertype: supertype.map(TypeIndex::new),
        composite,
    }
}

/// The class below which this one is: each has ten below it.
fn superclass(class: u32) -> Option<u32> {
    class.checked_sub(1).map(|before| before / 10)
}

/// One recursion group: the object, its table, a method and an array of objects.
fn class(number: u32) -> Vec<SubType> {
    let at = |class: u32, position: u32| class * PER_CLASS + position;
    let own = |position| TypeIndex::new(at(number, position));
    let parent = superclass(number);
    let object = reference(HeapType::ConcreteStruct(own(0)));
    let table = reference(HeapType::ConcreteStruct(own(1)));
    let method = reference(HeapType::Abstract(AbstractHeapType::Func));
    let depth = std::iter::successors(parent, |&class| superclass(class)).count();
    let own_fields = [field(ValType::I32, true), field(ValType::F64, true)];
    let fields = std::iter::once(field(table, false));
    let fields = fields.chain(std::iter::repeat_n(own_fields, depth + 1).flatten());
    let methods = std::iter::repeat_n(field(method, false), depth + 1);
    // No two classes are equal.
    let parameters = (0..12).map(|bit| match number >> bit & 1 {
        0 => ValType::I32,
        _ => ValType::I64,
    });
    vec![
        sub(
            parent.map(|class| at(class, 0)),
            CompositeType::Struct(fields.collect()),
        ),
        sub(
            parent.map(|class| at(class, 1)),
            CompositeType::Struct(methods.collect()),
        ),
        sub(
            None,
            CompositeType::Func(FuncType {
                params: parameters.chain([object]).collect(),
                results: Box::new([object]),
            }),
        ),
        sub(None, CompositeType::Array(field(object, true))),
    ]
}

fn module() -> Module {
    let mut module = Module::default();
    for number in 0..CLASSES {
        let start = module.types.len() as u32;
        module.types.extend(class(number));
        module.rec_groups.push(start..module.types.len() as u32);
    }
    module
}

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new().unwrap())
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn ten_thousand_again(bencher: Bencher<'_, '_>) {
    let (registry, module) = (registry(), module());
    let held = registry.register_module(&module).unwrap();
    assert_eq!(registry.len() as u32, CLASSES * PER_CLASS);
    bencher.bench_local(|| registry.register_module(black_box(&module)).unwrap());
    drop(held);
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn ten_thousand_first(bencher: Bencher<'_, '_>) {
    let module = module();
    bencher
        .with_inputs(registry)
        .bench_local_refs(|registry| registry.register_module(black_box(&module)).unwrap());
}

/// Functions with so many parameters that each number gives a type of its own.
fn distinct(count: u32) -> Module {
    let parameters = |number: u32| (0..10).map(move |digit| digit_type(number >> (2 * digit) & 3));
    let mut module = Module::default();
    for number in 0..count {
        module.types.push(sub(
            None,
            CompositeType::Func(FuncType {
                params: parameters(number).collect(),
                results: Box::new([]),
            }),
        ));
        module.rec_groups.push(number..number + 1);
    }
    module
}

fn digit_type(digit: u32) -> ValType {
    match digit {
        0 => ValType::I32,
        1 => ValType::I64,
        2 => ValType::F32,
        _ => ValType::F64,
    }
}

#[divan::bench(sample_count = 5, sample_size = 1, args = [10_000, 100_000, 1_000_000])]
fn distinct_registered_and_dropped(bencher: Bencher<'_, '_>, count: u32) {
    let module = distinct(count);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(registry)
        .bench_local_refs(|registry| {
            drop(registry.register_module(black_box(&module)).unwrap());
            assert!(registry.is_empty());
        });
}

#[divan::bench]
fn is_subtype(bencher: Bencher<'_, '_>) {
    let (registry, module) = (registry(), module());
    let types = registry.register_module(&module).unwrap();
    let id = |class: u32| types.id(TypeIndex::new(class * PER_CLASS));
    let (last, first) = (id(CLASSES - 1), id(0));
    assert!(registry.is_subtype(last, first));
    bencher.bench_local(|| registry.is_subtype(black_box(last), black_box(first)));
}

fn main() {
    divan::main();
}
