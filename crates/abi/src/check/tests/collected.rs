//! Structures and arrays: supertypes, and constant expressions that allocate.

use super::*;

fn field(ty: ValType, mutable: bool) -> FieldType {
    FieldType {
        storage: StorageType::Val(ty),
        mutable,
    }
}

fn structure(supertype: Option<u32>, fields: &[FieldType]) -> SubType {
    SubType {
        is_final: false,
        supertype: supertype.map(TypeIndex::new),
        composite: CompositeType::Struct(fields.into()),
    }
}

fn structure_ref(index: u32) -> ValType {
    ValType::Ref(RefType {
        nullable: true,
        heap: HeapType::ConcreteStruct(TypeIndex::new(index)),
    })
}

/// A module of these types, each in a recursion group of its own, and of a global with this value.
fn with_types(types: Vec<SubType>, content: ValType, value: &[ConstOp]) -> Module {
    Module {
        rec_groups: (0..types.len() as u32).map(|i| i..i + 1).collect(),
        types,
        globals: vec![global(content, false)],
        global_inits: vec![expr(value)],
        features: Features::default(),
        ..Module::default()
    }
}

#[test]
fn a_subtype_that_could_not_be_used_as_its_supertype_is_refused() {
    let i32_of = |mutable| field(ValType::I32, mutable);
    // Type 0 is empty, 1 extends it, 2 equals 1.
    let check = |parent: &[FieldType], child: &[FieldType]| {
        let types = vec![
            structure(None, &[]),
            structure(Some(0), &[i32_of(true)]),
            structure(Some(0), &[i32_of(true)]),
            structure(None, parent),
            structure(Some(3), child),
        ];
        let value = [ConstOp::I32Const(0)];
        with_types(types, ValType::I32, &value).check().is_ok()
    };
    let to = |index, mutable| field(structure_ref(index), mutable);
    let packed = FieldType {
        storage: StorageType::I8,
        mutable: false,
    };
    assert!(check(&[i32_of(true)], &[i32_of(true), packed]));
    assert!(check(&[to(0, false)], &[to(1, false)]));
    assert!(check(&[to(1, true)], &[to(2, true)]), "equal types");
    assert!(!check(&[to(1, false)], &[to(0, false)]));
    assert!(!check(&[to(0, true)], &[to(1, true)]), "it can be written");
    assert!(!check(&[i32_of(true)], &[i32_of(false)]));
    assert!(!check(&[i32_of(false)], &[packed]));
    assert!(!check(&[i32_of(true)], &[]), "a field is missing");
}

#[test]
fn too_many_supertypes_are_refused() {
    let chain = |len: u32| {
        let types = (0..len).map(|i| structure(i.checked_sub(1), &[])).collect();
        with_types(types, ValType::I32, &[ConstOp::I32Const(0)]).check()
    };
    assert_eq!(chain(64), Ok(()));
    assert!(chain(65).is_err());
}

#[test]
fn allocating_constant_expressions_need_operands_of_the_right_types() {
    let [s, list, numbers] = [0, 1, 2].map(TypeIndex::new);
    let check = |content: HeapType, value: &[ConstOp]| {
        let array = |element| SubType {
            is_final: true,
            supertype: None,
            composite: CompositeType::Array(element),
        };
        let not_null = ValType::Ref(RefType {
            nullable: false,
            heap: HeapType::ConcreteStruct(s),
        });
        let byte = FieldType {
            storage: StorageType::I8,
            mutable: true,
        };
        let types = vec![
            structure(None, &[byte, field(ValType::F64, false)]),
            array(field(not_null, true)),
            array(byte),
        ];
        let content = ValType::Ref(RefType {
            nullable: false,
            heap: content,
        });
        with_types(types, content, value).check()
    };
    let abstract_type = HeapType::Abstract;
    let structure = HeapType::ConcreteStruct(s);
    let (array, i31) = (AbstractHeapType::Array, AbstractHeapType::I31);
    let (any, outside) = (AbstractHeapType::Any, AbstractHeapType::Extern);
    let (number, float) = (ConstOp::I32Const(1), ConstOp::F64Const(0));
    let default = ConstOp::StructNewDefault(s);
    let null = ConstOp::RefNull(structure);
    for (content, value) in [
        (structure, &[number, float, ConstOp::StructNew(s)][..]),
        (abstract_type(AbstractHeapType::Eq), &[default]),
        (
            abstract_type(array),
            &[default, number, ConstOp::ArrayNew(list)],
        ),
        (
            HeapType::ConcreteArray(numbers),
            &[number, ConstOp::ArrayNewDefault(numbers)],
        ),
        (
            abstract_type(any),
            &[default, default, ConstOp::ArrayNewFixed(list, 2)],
        ),
        (abstract_type(i31), &[number, ConstOp::RefI31]),
        (
            abstract_type(outside),
            &[default, ConstOp::ExternConvertAny],
        ),
    ] {
        assert_eq!(check(content, value), Ok(()));
    }
    for (content, value) in [
        (structure, &[float, number, ConstOp::StructNew(s)][..]),
        (structure, &[float, ConstOp::StructNew(s)]),
        (structure, &[number, float, ConstOp::StructNew(list)]),
        (
            structure,
            &[number, float, ConstOp::StructNew(TypeIndex::new(9))],
        ),
        (abstract_type(array), &[default]),
        (
            abstract_type(array),
            &[number, ConstOp::ArrayNewDefault(list)],
        ),
        (abstract_type(array), &[number, ConstOp::ArrayNewDefault(s)]),
        (
            abstract_type(array),
            &[null, number, ConstOp::ArrayNew(list)],
        ),
        (
            abstract_type(array),
            &[default, ConstOp::ArrayNewFixed(list, u32::MAX)],
        ),
        (abstract_type(i31), &[float, ConstOp::RefI31]),
        (abstract_type(outside), &[default]),
        (abstract_type(outside), &[null, ConstOp::ExternConvertAny]),
        (abstract_type(any), &[default, ConstOp::AnyConvertExtern]),
    ] {
        assert!(check(content, value).is_err(), "{value:?}");
    }
}
