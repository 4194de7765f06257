//! Types of structures and arrays that the host defines.

use sarsen::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, Engine, ExternRef, FieldType, Finality, Func,
    FuncType, HeapType, I31, Module, Mutability, OwnershipError, RefType, Rooted, StorageType,
    Store, StructRef, StructRefPre, StructType, TypeError, Val, ValType,
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

/// Values of many types, and all types that a field of references can be declared with in this test.
fn references(engine: &Engine, store: &mut Store<()>) -> (Vec<Val>, Vec<HeapType>) {
    let upper = open_struct(engine, None, vec![]).unwrap();
    let lower = open_struct(engine, Some(&upper), vec![var(ValType::I32)]).unwrap();
    let other = StructType::new(engine, [var(ValType::I64)]).unwrap();
    let array = ArrayType::new(engine, var(StorageType::I8));
    let nothing = FuncType::with_finality_and_supertype(engine, Finality::NonFinal, None, [], []);
    let nothing = nothing.unwrap();
    let below = [
        FuncType::with_finality_and_supertype(engine, Finality::Final, Some(&nothing), [], [])
            .unwrap(),
        FuncType::new(engine, [ValType::I32], []),
    ];
    let mut values = vec![
        Val::null_any_ref(),
        Val::null_extern_ref(),
        Val::null_func_ref(),
        Val::null_exn_ref(),
        Val::I32(1),
        AnyRef::from_i31(&mut *store, I31::wrapping_u32(7)).into(),
    ];
    for (ty, fields) in [
        (&upper, &[][..]),
        (&lower, &[Val::I32(1)]),
        (&other, &[Val::I64(1)]),
    ] {
        let ty = StructRefPre::new(&mut *store, ty.clone());
        values.push(StructRef::new(&mut *store, &ty, fields).unwrap().into());
    }
    let pre = ArrayRefPre::new(&mut *store, array.clone());
    let bytes = ArrayRef::new(&mut *store, &pre, &Val::I32(1), 3).unwrap();
    values.push(bytes.into());
    let host = ExternRef::new(&mut *store, "host").unwrap();
    values.push(host.into());
    values.push(AnyRef::convert_extern(&mut *store, host).unwrap().into());
    let bytes = bytes.to_anyref();
    values.push(ExternRef::convert_any(&mut *store, bytes).unwrap().into());
    for ty in [&nothing, &below[0], &below[1]] {
        values.push(Func::new(&mut *store, ty.clone(), |_, _, _| Ok(())).into());
    }
    let [below, number] = below;
    let types = vec![
        HeapType::Any,
        HeapType::Eq,
        HeapType::I31,
        HeapType::Struct,
        HeapType::Array,
        HeapType::None,
        HeapType::ConcreteStruct(upper),
        HeapType::ConcreteStruct(lower),
        HeapType::ConcreteStruct(other),
        HeapType::ConcreteArray(array),
        HeapType::Extern,
        HeapType::NoExtern,
        HeapType::Func,
        HeapType::NoFunc,
        HeapType::ConcreteFunc(nothing),
        HeapType::ConcreteFunc(below),
        HeapType::ConcreteFunc(number),
        HeapType::Exn,
    ];
    (values, types)
}

/// The reference, without the kind of its handle.
fn same(store: &Store<()>, a: &Val, b: &Val) -> bool {
    match (a, b) {
        (Val::AnyRef(Some(a)), Val::AnyRef(Some(b))) => Rooted::ref_eq(store, a, b).unwrap(),
        (Val::ExternRef(Some(a)), Val::ExternRef(Some(b))) => Rooted::ref_eq(store, a, b).unwrap(),
        (Val::FuncRef(Some(a)), Val::FuncRef(Some(b))) => format!("{a:?}") == format!("{b:?}"),
        _ => format!("{a:?}") == format!("{b:?}"),
    }
}

#[test]
fn fields_and_elements_take_the_references_of_their_type_and_no_others() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let (values, types) = references(&engine, &mut store);
    let mut written = 0;
    for nullable in [true, false] {
        for heap in &types {
            let ty = ValType::Ref(RefType::new(nullable, heap.clone()));
            let fits: Vec<bool> = (values.iter())
                .map(|value| value.matches_ty(&store, &ty).unwrap())
                .collect();
            let Some(first) = fits.iter().position(|&fits| fits) else {
                continue;
            };
            let pre = StructType::new(&engine, [var(ty.clone())]).unwrap();
            let pre = StructRefPre::new(&mut store, pre);
            let object = StructRef::new(&mut store, &pre, &[values[first]]).unwrap();
            let pre = ArrayRefPre::new(&mut store, ArrayType::new(&engine, var(ty.clone())));
            let array = ArrayRef::new(&mut store, &pre, &values[first], 2).unwrap();
            // Old objects, young ones among the values: and the other way around.
            store.gc(None).unwrap();
            let mut now = values[first];
            for (value, &fits) in values.iter().zip(&fits) {
                assert_eq!(
                    object.set_field(&mut store, 0, *value).is_ok(),
                    fits,
                    "{ty} {value:?}"
                );
                assert_eq!(
                    array.set(&mut store, 1, *value).is_ok(),
                    fits,
                    "{ty} {value:?}"
                );
                if fits {
                    now = *value;
                    written += 1;
                }
                let field = object.field(&mut store, 0).unwrap();
                assert!(same(&store, &field, &now), "{ty} {field:?}");
                let element = array.get(&mut store, 1).unwrap();
                assert!(same(&store, &element, &now), "{ty} {element:?}");
            }
        }
    }
    assert!(written > 60, "{written}");
}

#[test]
fn a_field_takes_what_is_below_its_type_at_any_depth() {
    // From the twelfth on, a type's ancestors lie elsewhere.
    const DEPTHS: usize = 16;
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut types = vec![open_struct(&engine, None, vec![]).unwrap()];
    while types.len() < DEPTHS {
        types.push(open_struct(&engine, types.last(), vec![]).unwrap());
    }
    let values: Vec<Val> = (types.iter())
        .map(|ty| {
            let pre = StructRefPre::new(&mut store, ty.clone());
            StructRef::new(&mut store, &pre, &[]).unwrap().into()
        })
        .collect();
    for (depth, ty) in types.iter().enumerate() {
        let field = RefType::new(true, HeapType::ConcreteStruct(ty.clone()));
        let holder = StructType::new(&engine, [var(ValType::Ref(field))]).unwrap();
        let pre = StructRefPre::new(&mut store, holder);
        let holder = StructRef::new(&mut store, &pre, &[Val::null_any_ref()]).unwrap();
        for (below, value) in values.iter().enumerate() {
            let is_written = holder.set_field(&mut store, 0, *value).is_ok();
            assert_eq!(is_written, below >= depth, "{below} as {depth}");
        }
    }
}
