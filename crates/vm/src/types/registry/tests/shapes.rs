//! Structures, arrays and continuations: what is known of them by id, and what matches what.

use super::*;
use crate::types::matching::{self, BadSupertype};
use crate::types::rows::Rows;
use sarsen_abi::heap::{CONT_TYPE, DEEP_SCALE, EXN_TYPE, SHALLOW, Slot};
use sarsen_abi::types::{AbstractHeapType, FieldType, StorageType};

fn field<R>(storage: StorageType<R>, mutable: bool) -> FieldType<R> {
    FieldType { storage, mutable }
}

fn sub(supertype: Option<u32>, composite: CompositeType) -> SubType {
    SubType {
        is_final: false,
        supertype: supertype.map(TypeIndex::new),
        composite,
    }
}

fn nullable<R>(heap: HeapType<R>) -> RefType<R> {
    RefType {
        nullable: true,
        heap,
    }
}

/// In one group: 0 a structure with a byte and an array 1, 1 an array of 0, 2 a continuation of 3,
/// a function; in another: 4 below 0, with a number more.
fn everything() -> Module {
    let index = TypeIndex::new;
    let to_array = ValType::Ref(nullable(HeapType::ConcreteArray(index(1))));
    let to_struct = ValType::Ref(nullable(HeapType::ConcreteStruct(index(0))));
    let byte = field(StorageType::I8, true);
    let list = field(StorageType::Val(to_array), false);
    let number = field(StorageType::Val(ValType::I64), true);
    module(vec![
        vec![
            sub(None, CompositeType::Struct(Box::new([byte, list]))),
            sub(
                None,
                CompositeType::Array(field(StorageType::Val(to_struct), true)),
            ),
            sub(None, CompositeType::Cont(index(3))),
            func(vec![to_struct]),
        ],
        vec![sub(
            Some(0),
            CompositeType::Struct(Box::new([byte, list, number])),
        )],
    ])
}

#[test]
fn a_type_is_found_by_its_id_with_the_layout_of_its_objects() {
    let registry = registry();
    let types = registry.register_module(&everything()).unwrap();
    let &[structure, array, cont, func, below] = types.ids() else {
        panic!("five types");
    };
    // SAFETY: `types` holds them.
    let defined = |id| unsafe { registry.defined_held(id) }.expect("registered");
    let kinds = types
        .ids()
        .iter()
        .map(|&id| (registry.kind(id), defined(id).kind()));
    let expected = [
        Kind::Struct,
        Kind::Array,
        Kind::Cont,
        Kind::Func,
        Kind::Struct,
    ];
    assert!(kinds.eq(expected.map(|kind| (kind, kind))));

    let shape = defined(below).as_struct().expect("a structure");
    assert_eq!(shape.layout.fields[2], (16, Slot::Number(8)));
    assert_eq!(shape.layout.size, 24);
    let list = StorageType::Val(ValType::Ref(nullable(HeapType::ConcreteArray(array))));
    assert_eq!(shape.fields[1], field(list, false));
    assert_eq!(defined(below).supertype, Some(structure));
    assert_eq!((registry.depth(structure), registry.depth(below)), (0, 1));

    assert_eq!(
        defined(array).as_array().unwrap().layout.slot,
        Slot::Reference
    );
    assert!(matches!(defined(cont).shape, Shape::Cont(id) if id == func));
    assert!(defined(structure).as_array().is_none() && defined(array).as_struct().is_none());
}

#[test]
fn compiled_code_finds_ancestors_at_ids_from_fixed_addresses() {
    let registry = registry();
    let (rows, deep) = (registry.rows_base(), registry.deep_base());
    let types = registry.register_module(&ladder(DEEP as u32)).unwrap();
    let read = |base: *const u8, at: usize| {
        assert!(registry.contains(base.addr() + at));
        // SAFETY: in the row of a type that is held.
        unsafe { base.add(at).cast::<u32>().read() }
    };
    for (depth, &id) in types.ids().iter().enumerate() {
        for (at, ancestor) in types.ids().iter().enumerate() {
            let expected = if at <= depth { ancestor.0 } else { 0 };
            if at < SHALLOW {
                assert_eq!(read(rows, id.0 as usize + 4 * at), expected);
            }
            if depth >= SHALLOW {
                assert_eq!(read(deep, (id.0 * DEEP_SCALE) as usize + 4 * at), expected);
            }
        }
    }
    assert_eq!((rows, deep), (registry.rows_base(), registry.deep_base()));
}

#[test]
fn any_number_as_an_id_leads_into_the_reservations() {
    let registry = registry();
    let last = u32::MAX as usize;
    for at in [0, last, last + ROW_SIZE as usize - 1] {
        assert!(registry.contains(registry.rows_base().addr() + at));
    }
    let displays = DEEP_SCALE as usize * last;
    for at in [0, displays, displays + 4 * DEEP - 1] {
        assert!(registry.contains(registry.deep_base().addr() + at));
    }
    assert!(!registry.contains(std::ptr::from_ref(&registry).addr()));
}

#[test]
fn reserved_ids_have_a_kind_and_no_type() {
    let rows = Rows::new().unwrap();
    for (id, kind) in [
        (EXTERN_TYPE, Kind::Extern),
        (EXN_TYPE, Kind::Exn),
        (CONT_TYPE, Kind::Cont),
        (TypeId(0), Kind::None),
    ] {
        assert_eq!(rows.kind(id), kind);
        assert!(rows.group(id).is_none());
        assert!(!rows.is_subtype(id, FIRST_TYPE));
    }
}

#[test]
fn defined_types_match_abstract_ones_of_their_hierarchy_only() {
    use AbstractHeapType as A;
    let registry = registry();
    let types = registry.register_module(&everything()).unwrap();
    let &[structure, array, cont, _, below] = types.ids() else {
        panic!("five types");
    };
    let above = |heap: HeapType<TypeId>| {
        A::ALL
            .into_iter()
            .filter(move |&a| matching::heap_type_matches(&registry, &heap, &HeapType::Abstract(a)))
    };
    let of = |heap| above.clone()(heap).collect::<Vec<_>>();
    assert_eq!(
        of(HeapType::ConcreteStruct(below)),
        [A::Any, A::Eq, A::Struct]
    );
    assert_eq!(
        of(HeapType::ConcreteArray(array)),
        [A::Any, A::Eq, A::Array]
    );
    assert_eq!(of(HeapType::ConcreteCont(cont)), [A::Cont]);
    let registry = types.registry();
    let matches = |a, b| matching::heap_type_matches(registry, &a, &b);
    let (structure, below) = (
        HeapType::ConcreteStruct(structure),
        HeapType::ConcreteStruct(below),
    );
    assert!(matches(below, structure) && !matches(structure, below));
    assert!(matches(HeapType::Abstract(A::None), structure));
    assert!(!matches(HeapType::Abstract(A::I31), structure));
    assert!(!matches(HeapType::Abstract(A::NoFunc), structure));
    assert!(matches(
        HeapType::Abstract(A::NoCont),
        HeapType::ConcreteCont(cont)
    ));
}

#[test]
fn a_host_type_below_one_that_it_does_not_fit_is_refused() {
    let registry = registry();
    let types = registry.register_module(&everything()).unwrap();
    let supertype = types.defined(TypeIndex::new(0));
    let CompositeType::Struct(fields) = &everything().types[0].composite else {
        panic!("a structure");
    };
    let fields: Vec<_> = fields.iter().map(|f| f.map(|i| types.id(i))).collect();
    let extends = |fields: &[FieldType<TypeId>]| {
        matching::extends(&registry, &CompositeType::Struct(fields.into()), supertype)
    };
    assert_eq!(extends(&fields), Ok(()));
    assert_eq!(extends(&fields[..1]), Err(BadSupertype::Mismatch));
    let mut other = fields.clone();
    other[0].mutable = false;
    assert_eq!(extends(&other), Err(BadSupertype::Mismatch));
    let not_null = |heap| {
        StorageType::Val(ValType::Ref(RefType {
            nullable: false,
            heap,
        }))
    };
    other = fields.clone();
    other[1].storage = not_null(HeapType::ConcreteArray(types.ids()[1]));
    assert_eq!(extends(&other), Ok(()), "it is only read");
    other[1].storage = not_null(HeapType::ConcreteStruct(types.ids()[0]));
    assert_eq!(extends(&other), Err(BadSupertype::Mismatch));

    let number = CompositeType::Array(field(StorageType::I8, true));
    assert_eq!(
        matching::extends(&registry, &number, supertype),
        Err(BadSupertype::Mismatch)
    );
    let last = registry
        .register_type(&SubType {
            is_final: true,
            supertype: Some(supertype.id),
            composite: CompositeType::Struct(fields.clone().into()),
        })
        .unwrap();
    assert!(registry.is_subtype(last.id(), supertype.id));
    assert_eq!(
        matching::extends(
            &registry,
            &CompositeType::Struct(fields.into()),
            last.defined()
        ),
        Err(BadSupertype::Final)
    );
}

#[test]
fn a_hierarchy_cannot_become_too_deep() {
    let registry = registry();
    let types = registry.register_module(&ladder(DEEP as u32)).unwrap();
    let empty = CompositeType::Func(FuncType {
        params: Box::default(),
        results: Box::default(),
    });
    let extends = |index: usize| {
        let supertype = types.defined(TypeIndex::from_usize(index));
        matching::extends(&registry, &empty, supertype)
    };
    assert_eq!(extends(DEEP - 2), Ok(()));
    assert_eq!(extends(DEEP - 1), Err(BadSupertype::TooDeep));
}

#[test]
fn finality_and_supertypes_and_mutability_tell_types_apart() {
    let registry = registry();
    let structure = |mutable| {
        sub(
            None,
            CompositeType::Struct(Box::new([field(StorageType::I8, mutable)])),
        )
    };
    let open = structure(true);
    let sealed = SubType {
        is_final: true,
        ..open.clone()
    };
    let child = SubType {
        supertype: Some(TypeIndex::new(0)),
        ..open.clone()
    };
    let array = sub(None, CompositeType::Array(field(StorageType::I8, true)));
    let groups = vec![
        vec![open.clone()],
        vec![sealed],
        vec![child],
        vec![structure(false)],
        vec![array],
        vec![open],
    ];
    let types = registry.register_module(&module(groups)).unwrap();
    let ids = types.ids();
    assert_eq!(ids[0], ids[5]);
    assert_eq!(registry.len(), 5);
}

/// `(rec $a $b)` where each refers to the other is not `(rec $b $a)`, nor two copies of the loop that
/// refer to each other: types are equal by the shape of their group, not by what they unfold to.
#[test]
fn recursive_types_are_equal_only_when_their_groups_are() {
    let registry = registry();
    let node = |next: u32, mutable| {
        let next = ValType::Ref(nullable(HeapType::ConcreteStruct(TypeIndex::new(next))));
        sub(
            None,
            CompositeType::Struct(Box::new([field(StorageType::Val(next), mutable)])),
        )
    };
    let ids = |group: Vec<SubType>| {
        let types = registry.register_module(&module(vec![group])).unwrap();
        let ids = types.ids().to_vec();
        (ids, types)
    };
    let (pair, _held) = ids(vec![node(1, true), node(0, false)]);
    let (again, _held) = ids(vec![node(1, true), node(0, false)]);
    let (turned, _held) = ids(vec![node(1, false), node(0, true)]);
    let (alone, _held) = ids(vec![node(0, true)]);
    let (unrolled, _held) = ids(vec![node(1, true), node(0, true)]);
    assert_eq!(pair, again);
    assert!(!turned.iter().any(|id| pair.contains(id)));
    assert!(!unrolled.contains(&alone[0]) && unrolled[0] != unrolled[1]);
}
