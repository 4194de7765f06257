//! Types of structures and arrays that the host defines.

use sarsen::{
    ArrayType, Engine, FieldType, Finality, FuncType, HeapType, Module, Mutability, OwnershipError,
    RefType, StorageType, StructType, TypeError, ValType,
};

fn var(ty: impl Into<StorageType>) -> FieldType {
    FieldType::new(Mutability::Var, ty.into())
}

fn constant(ty: impl Into<StorageType>) -> FieldType {
    FieldType::new(Mutability::Const, ty.into())
}

fn open_struct(
    engine: &Engine,
    supertype: Option<&StructType>,
    fields: Vec<FieldType>,
) -> sarsen::Result<StructType> {
    StructType::with_finality_and_supertype(engine, Finality::NonFinal, supertype, fields)
}

#[test]
fn a_type_of_the_host_is_the_same_type_as_a_modules() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (type $a (sub (struct (field i32) (field (mut i8)))))
             (type $b (sub final $a (struct (field i32) (field (mut i8)) (field anyref))))
             (type $c (array (mut (ref null $a))))
             (global (export "b") (ref null $b) (ref.null $b))
             (global (export "c") (ref null $c) (ref.null $c)))"#,
    )
    .unwrap();
    let a = vec![constant(ValType::I32), var(StorageType::I8)];
    let mut b = a.clone();
    b.push(constant(ValType::ANYREF));
    let a = open_struct(&engine, None, a).unwrap();
    let b = StructType::with_finality_and_supertype(&engine, Finality::Final, Some(&a), b).unwrap();
    let element = ValType::Ref(RefType::new(true, a.clone().into()));
    let c = ArrayType::new(&engine, var(element));

    let exported = |name: &str| {
        let ty = module.get_export(name).unwrap();
        let global = ty.global().unwrap().content().clone();
        global.unwrap_ref().heap_type().clone()
    };
    assert_eq!(exported("b"), HeapType::ConcreteStruct(b.clone()));
    assert_eq!(exported("c"), HeapType::ConcreteArray(c.clone()));
    let found = exported("b").unwrap_concrete_struct().clone();
    assert_eq!(found.supertype().unwrap(), a);
    assert_eq!(found.finality(), Finality::Final);
    assert_eq!(found.fields().len(), 3);
    assert_eq!(found.field(1).unwrap(), var(StorageType::I8));
    assert!(found.field(3).is_none());
    assert!(c.mutability().is_var());
    let element = c.element_type();
    let element = element.unwrap_val_type().unwrap_ref();
    assert_eq!(element.heap_type().as_concrete_struct(), Some(&a));
}

#[test]
fn subtypes_match_their_supertypes_and_only_those() {
    let engine = Engine::default();
    let top = open_struct(&engine, None, vec![constant(ValType::EQREF)]).unwrap();
    let middle = open_struct(&engine, Some(&top), vec![constant(ValType::I31REF)]).unwrap();
    let bottom = open_struct(
        &engine,
        Some(&middle),
        vec![constant(ValType::I31REF), var(ValType::I64)],
    )
    .unwrap();
    let other = open_struct(&engine, None, vec![constant(ValType::I31REF)]).unwrap();
    assert!(bottom.matches(&top) && bottom.matches(&middle) && bottom.matches(&bottom));
    assert!(!top.matches(&bottom) && !other.matches(&top) && !middle.matches(&other));
    let heap = HeapType::from(bottom.clone());
    for above in [HeapType::Struct, HeapType::Eq, HeapType::Any] {
        assert!(heap.matches(&above) && !above.matches(&heap));
    }
    for beside in [
        HeapType::Array,
        HeapType::I31,
        HeapType::Func,
        HeapType::Extern,
    ] {
        assert!(!heap.matches(&beside));
    }
    assert!(HeapType::None.matches(&heap) && heap.bottom().is_none() && heap.top().is_any());
}

#[test]
fn impossible_supertypes_are_refused_with_the_reason() {
    let engine = Engine::default();
    let sealed = StructType::new(&engine, [constant(ValType::I32)]).unwrap();
    let open = open_struct(&engine, None, vec![var(ValType::ANYREF)]).unwrap();
    let refused = |supertype: &StructType, fields| {
        let error = open_struct(&engine, Some(supertype), fields).unwrap_err();
        assert!(matches!(
            error.downcast_ref(),
            Some(TypeError::Definition { .. })
        ));
        error.to_string()
    };
    assert!(refused(&sealed, vec![constant(ValType::I32)]).contains("final"));
    // Fewer fields, another type, and a mutable field whose type is not the same.
    for fields in [
        vec![],
        vec![var(ValType::I32)],
        vec![var(ValType::EQREF)],
        vec![constant(ValType::ANYREF)],
    ] {
        assert!(refused(&open, fields).contains("match"));
    }
    let mut deep = open_struct(&engine, None, vec![]).unwrap();
    let too_deep = (0..100).find_map(|_| match open_struct(&engine, Some(&deep), vec![]) {
        Ok(deeper) => {
            deep = deeper;
            None
        }
        Err(error) => Some(error.to_string()),
    });
    assert!(too_deep.unwrap().contains("63"));
    let many = vec![constant(ValType::I32); 10_001];
    assert!(open_struct(&engine, None, many).is_err());
}

#[test]
fn types_of_another_engine_are_refused() {
    let (engine, other) = (Engine::default(), Engine::default());
    let foreign = open_struct(&other, None, vec![]).unwrap();
    let reference = ValType::Ref(RefType::new(true, foreign.clone().into()));
    let wrong = |error: sarsen::Error| {
        assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongEngine));
    };
    wrong(open_struct(&engine, Some(&foreign), vec![]).unwrap_err());
    wrong(StructType::new(&engine, [var(reference.clone())]).unwrap_err());
    let element = var(reference.clone());
    wrong(
        ArrayType::with_finality_and_supertype(&engine, Finality::Final, None, element)
            .unwrap_err(),
    );
    wrong(FuncType::try_new(&engine, [reference], []).unwrap_err());
    let own = open_struct(&engine, None, vec![]).unwrap();
    assert_ne!(own, foreign);
    assert!(!own.matches(&foreign));
    assert!(!HeapType::from(own).matches(&HeapType::from(foreign)));
}

#[test]
fn types_are_shown_as_in_the_text_format() {
    let engine = Engine::default();
    let ty = StructType::new(
        &engine,
        [
            constant(ValType::I32),
            var(StorageType::I16),
            constant(ValType::FUNCREF),
        ],
    )
    .unwrap();
    assert_eq!(
        ty.to_string(),
        "(struct (field i32) (field (mut i16)) (field funcref))"
    );
    assert_eq!(
        RefType::new(false, ty.into()).to_string(),
        "(ref (struct (field i32) (field (mut i16)) (field funcref)))"
    );
}
