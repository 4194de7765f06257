//! Structures, arrays and integers as the host makes, reads and writes them. What the other files of
//! garbage collection share is here.

use sarsen::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, AsContextMut, Config, Engine, ExternRef, FieldType,
    Finality, Func, Global, GlobalType, HeapType, I31, Mutability, Ref, RefType, Rooted,
    StorageType, Store, StructRef, StructRefPre, StructType, Table, TableType, Trap, TypeError,
    V128, Val, ValType,
};
use std::num::NonZeroU32;

/// An engine that collects at every allocation.
pub(crate) fn zealous() -> Engine {
    let mut config = Config::new();
    config.gc_zeal(Some(NonZeroU32::MIN));
    Engine::new(&config).unwrap()
}

pub(crate) fn var(ty: impl Into<StorageType>) -> FieldType {
    FieldType::new(Mutability::Var, ty.into())
}

fn new_struct(
    mut store: impl AsContextMut,
    fields: Vec<FieldType>,
    values: &[Val],
) -> Rooted<StructRef> {
    let ty = StructType::new(store.as_context_mut().engine(), fields).unwrap();
    let allocator = StructRefPre::new(&mut store, ty);
    StructRef::new(&mut store, &allocator, values).unwrap()
}

/// A structure with a variable `i32`.
pub(crate) fn number(store: impl AsContextMut, value: i32) -> Rooted<StructRef> {
    new_struct(store, vec![var(ValType::I32)], &[Val::I32(value)])
}

/// A structure with a variable `anyref`.
pub(crate) fn cell(store: impl AsContextMut, value: Val) -> Rooted<StructRef> {
    new_struct(store, vec![var(ValType::ANYREF)], &[value])
}

pub(crate) fn array_type(store: &Store<()>, element: impl Into<StorageType>) -> ArrayType {
    ArrayType::new(store.engine(), var(element))
}

/// Values of every type that a field can have, and a second one of each.
fn samples(store: &mut Store<()>) -> Vec<(StorageType, Val, Val)> {
    let one = number(&mut *store, 1);
    let object = ExternRef::new(&mut *store, "one").unwrap();
    let func = Func::wrap(&mut *store, || 1);
    let own = ValType::Ref(RefType::new(true, one.ty(&*store).unwrap().into()));
    let own_func = ValType::Ref(RefType::new(true, func.ty(&*store).into()));
    let i31 = AnyRef::from_i31(&mut *store, I31::wrapping_i32(-1));
    let bytes = array_type(store, StorageType::I8);
    let array = ArrayRefPre::new(&mut *store, bytes);
    let array = ArrayRef::new(&mut *store, &array, &Val::I32(1), 5).unwrap();
    let null = Val::null_any_ref();
    vec![
        (StorageType::I8, Val::I32(200), Val::I32(1)),
        (ValType::I32.into(), Val::I32(-5), Val::I32(i32::MAX)),
        (StorageType::I16, Val::I32(60_000), Val::I32(2)),
        (ValType::I64.into(), Val::I64(-5), Val::I64(1 << 40)),
        (
            ValType::F32.into(),
            Val::from(0.5f32),
            Val::F32(0x7fa0_0000),
        ),
        (ValType::F64.into(), Val::from(0.5f64), Val::F64(1)),
        (
            ValType::V128.into(),
            Val::V128(V128::from(u128::MAX - 7)),
            Val::V128(V128::from(3)),
        ),
        (ValType::ANYREF.into(), i31.into(), one.into()),
        (ValType::EQREF.into(), array.into(), i31.into()),
        (ValType::STRUCTREF.into(), one.into(), null),
        (ValType::ARRAYREF.into(), array.into(), null),
        (ValType::I31REF.into(), i31.into(), null),
        (
            ValType::EXTERNREF.into(),
            object.into(),
            Val::null_extern_ref(),
        ),
        (ValType::FUNCREF.into(), func.into(), Val::null_func_ref()),
        (own.into(), one.into(), null),
        (own_func.into(), func.into(), Val::null_func_ref()),
    ]
}

fn same(store: &Store<()>, a: &Val, b: &Val) -> bool {
    match (a, b) {
        (Val::AnyRef(Some(a)), Val::AnyRef(Some(b))) => Rooted::ref_eq(store, a, b).unwrap(),
        (Val::ExternRef(Some(a)), Val::ExternRef(Some(b))) => Rooted::ref_eq(store, a, b).unwrap(),
        (a, b) => format!("{a:?}") == format!("{b:?}"),
    }
}

#[test]
fn fields_of_every_type_keep_what_is_written() {
    for engine in [Engine::default(), zealous()] {
        let mut store = Store::new(&engine, ());
        let samples = samples(&mut store);
        let fields: Vec<FieldType> = samples.iter().map(|(ty, ..)| var(ty.clone())).collect();
        let first: Vec<Val> = samples.iter().map(|(_, value, _)| *value).collect();
        let object = new_struct(&mut store, fields, &first);
        store.gc(None).unwrap();
        let read: Vec<Val> = object.fields(&mut store).unwrap().collect();
        for (index, (_, first, second)) in samples.iter().enumerate() {
            assert!(
                same(&store, first, &read[index]),
                "{first:?} is {:?}",
                read[index]
            );
            object.set_field(&mut store, index, *second).unwrap();
        }
        store.gc(None).unwrap();
        for (index, (_, _, second)) in samples.iter().enumerate() {
            let found = object.field(&mut store, index).unwrap();
            assert!(same(&store, second, &found), "{second:?} is {found:?}");
        }
    }
}

#[test]
fn elements_of_every_type_keep_what_is_written() {
    for engine in [Engine::default(), zealous()] {
        let mut store = Store::new(&engine, ());
        for (ty, first, second) in samples(&mut store) {
            let ty = array_type(&store, ty);
            let allocator = ArrayRefPre::new(&mut store, ty.clone());
            let array = ArrayRef::new(&mut store, &allocator, &first, 1000).unwrap();
            array.set(&mut store, 999, second).unwrap();
            assert!(array.matches_ty(&store, &ty).unwrap());
            store.gc(None).unwrap();
            let all: Vec<Val> = array.elems(&mut store).unwrap().collect();
            assert_eq!((all.len(), array.len(&store).unwrap()), (1000, 1000));
            assert!(all[..999].iter().all(|value| same(&store, value, &first)));
            assert!(same(&store, &all[999], &second));
            let array = ArrayRef::new_fixed(&mut store, &allocator, &[second, first]).unwrap();
            let one = array.get(&mut store, 1).unwrap();
            assert!(same(&store, &one, &first));
            let error = array.get(&mut store, 2).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::ArrayOutOfBounds));
            let error = array.set(&mut store, u32::MAX, first).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::ArrayOutOfBounds));
        }
    }
}

#[test]
fn values_of_wrong_types_and_constant_fields_are_refused() {
    let mut store = Store::<()>::default();
    let samples = samples(&mut store);
    for (ty, good, _) in &samples {
        let array = array_type(&store, ty.clone());
        let allocator = ArrayRefPre::new(&mut store, array);
        let array = ArrayRef::new(&mut store, &allocator, good, 1).unwrap();
        for (other, value, _) in &samples {
            let fits = value.matches_ty(&store, ty.unpack()).unwrap();
            let set = array.set(&mut store, 0, *value);
            assert_eq!(set.is_ok(), fits, "{value:?} of {other} for {ty}");
            if let Err(error) = set {
                let error = error.downcast_ref::<TypeError>().unwrap().to_string();
                assert!(
                    error.contains("element 0") && error.contains("should be"),
                    "{error}"
                );
                assert!(ArrayRef::new(&mut store, &allocator, value, 1).is_err());
                assert!(ArrayRef::new_fixed(&mut store, &allocator, &[*value]).is_err());
            }
        }
    }
    let fields = vec![FieldType::new(Mutability::Const, ValType::I32.into())];
    let constant = new_struct(&mut store, fields, &[Val::I32(1)]);
    let error = constant.set_field(&mut store, 0, Val::I32(2)).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&TypeError::Immutable));
    assert!(constant.field(&mut store, 1).is_err());
    assert!(constant.set_field(&mut store, 1, Val::I32(2)).is_err());
    let ty = constant.ty(&store).unwrap();
    let allocator = StructRefPre::new(&mut store, ty);
    let error = StructRef::new(&mut store, &allocator, &[]).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(TypeError::Count { wanted: 1, .. })
    ));
}

#[test]
fn references_that_cannot_be_null_are_never_null() {
    let mut store = Store::<()>::default();
    let target = number(&mut store, 1);
    let ty = ValType::Ref(RefType::new(false, target.ty(&store).unwrap().into()));
    let holder = new_struct(&mut store, vec![var(ty)], &[target.into()]);
    let error = holder.set_field(&mut store, 0, Val::null_any_ref());
    assert!(error.unwrap_err().downcast_ref::<TypeError>().is_some());
    let other = cell(&mut store, Val::null_any_ref());
    assert!(holder.set_field(&mut store, 0, other.into()).is_err());
    holder.set_field(&mut store, 0, target.into()).unwrap();
}

#[test]
fn casts_tell_what_a_reference_is() {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let open =
        StructType::with_finality_and_supertype(&engine, Finality::NonFinal, None, []).unwrap();
    let derived =
        StructType::with_finality_and_supertype(&engine, Finality::Final, Some(&open), []).unwrap();
    let allocator = StructRefPre::new(&mut store, derived.clone());
    let object = StructRef::new(&mut store, &allocator, &[]).unwrap();
    let any = object.to_anyref();
    assert!(any.is_struct(&store).unwrap() && any.is_eqref(&store).unwrap());
    assert!(!any.is_array(&store).unwrap() && !any.is_i31(&store).unwrap());
    assert!(any.as_array(&store).unwrap().is_none());
    assert!(any.unwrap_eqref(&store).unwrap().is_struct(&store).unwrap());
    assert_eq!(
        any.ty(&store).unwrap(),
        HeapType::ConcreteStruct(derived.clone())
    );
    assert_eq!(object.ty(&store).unwrap(), derived);
    for (ty, expected) in [
        (HeapType::from(derived), true),
        (open.into(), true),
        (HeapType::Struct, true),
        (HeapType::Eq, true),
        (HeapType::Any, true),
        (HeapType::None, false),
        (HeapType::Array, false),
        (HeapType::I31, false),
        (HeapType::Extern, false),
        (HeapType::Func, false),
    ] {
        assert_eq!(any.matches_ty(&store, &ty).unwrap(), expected, "{ty}");
    }
    let number = AnyRef::from_i31(&mut store, I31::wrapping_u32(9));
    assert_eq!(number.ty(&store).unwrap(), HeapType::I31);
    assert!(number.is_eqref(&store).unwrap() && !number.is_struct(&store).unwrap());
    assert_eq!(number.unwrap_i31(&store).unwrap().get_u32(), 9);
    let again = AnyRef::from_i31(&mut store, I31::wrapping_u32(9));
    assert!(Rooted::ref_eq(&store, &number, &again).unwrap());
    assert!(!Rooted::rooted_eq(number, again));
}

#[test]
fn references_are_converted_between_the_guests_and_external_ones_and_back() {
    let mut store = Store::<()>::default();
    let object = ExternRef::new(&mut store, 5u8).unwrap();
    let any = AnyRef::convert_extern(&mut store, object).unwrap();
    assert!(!any.is_eqref(&store).unwrap() && !any.is_i31(&store).unwrap());
    assert_eq!(any.ty(&store).unwrap(), HeapType::Any);
    let back = ExternRef::convert_any(&mut store, any).unwrap();
    assert!(Rooted::ref_eq(&store, &object, &back).unwrap());
    assert!(back.data(&store).unwrap().is_some());

    let inside = number(&mut store, 3).to_anyref();
    let outside = ExternRef::convert_any(&mut store, inside).unwrap();
    assert!(outside.data(&store).unwrap().is_none());
    assert!(outside.data_mut(&mut store).unwrap().is_none());
    assert_eq!(outside.ty(&store).unwrap(), HeapType::Extern);
    let back = AnyRef::convert_extern(&mut store, outside).unwrap();
    assert!(Rooted::ref_eq(&store, &inside, &back).unwrap());

    let i31 = AnyRef::from_i31(&mut store, I31::wrapping_u32(1));
    let outside = ExternRef::convert_any(&mut store, i31).unwrap();
    assert!(outside.data(&store).unwrap().is_none());
}

#[test]
fn tables_and_globals_of_every_reference_type_are_made_by_the_host() {
    for engine in [Engine::default(), zealous()] {
        let mut store = Store::new(&engine, ());
        for (ty, first, second) in samples(&mut store) {
            let Some(reference) = ty.unpack().as_ref().cloned() else {
                continue;
            };
            let content = GlobalType::new(ty.unpack().clone(), Mutability::Var);
            let global = Global::new(&mut store, content, first).unwrap();
            let content = TableType::new(reference, 2, None);
            let (first, second) = (first.ref_().unwrap(), second.ref_().unwrap());
            let table = Table::new(&mut store, content, first).unwrap();
            table.grow(&mut store, 3, second).unwrap();
            number(&mut store, 5);
            store.gc(None).unwrap();
            let found = global.get(&mut store);
            assert!(same(&store, &found, &first.into()));
            for (index, expected) in [first, first, second, second, second].iter().enumerate() {
                let found = table.get(&mut store, index as u64).unwrap();
                assert!(same(&store, &found.into(), &Val::from(*expected)));
            }
            global.set(&mut store, second.into()).unwrap();
            table.set(&mut store, 0, second).unwrap();
            store.gc(None).unwrap();
            let found = table.get(&mut store, 0).unwrap();
            assert!(same(&store, &found.into(), &second.into()));
            // Neither takes what is of another type.
            let other = Ref::Extern(Some(ExternRef::new(&mut store, ()).unwrap()));
            let fits = ty.unpack() == &ValType::EXTERNREF;
            assert_eq!(table.set(&mut store, 1, other).is_ok(), fits);
            assert_eq!(global.set(&mut store, other.into()).is_ok(), fits);
        }
    }
}
