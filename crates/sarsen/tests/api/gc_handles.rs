//! Handles of objects: scopes, owners, and what happens when they are used where they must not be.

use crate::gc::{cell, number, zealous};
use sarsen::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, Caller, Engine, ExternRef, FieldType, Func, Global,
    GlobalType, I31, Instance, Module, Mutability, OwnedRooted, OwnershipError, Ref, RefType,
    RootScope, Rooted, Store, StructRef, StructRefPre, StructType, Table, TableType, UnrootedError,
    Val, ValType,
};

fn is_unrooted<T>(result: sarsen::Result<T>) {
    let error = result.err().expect("an unrooted reference is refused");
    assert!(error.downcast_ref::<UnrootedError>().is_some(), "{error}");
    assert!(format!("{error:#}").contains("scope"), "{error:#}");
}

fn is_foreign<T>(result: sarsen::Result<T>) {
    let error = result.err().expect("another store's reference is refused");
    assert_eq!(
        error.downcast_ref(),
        Some(&OwnershipError::WrongStore),
        "{error}"
    );
}

/// A structure with one `i32`, and one with one `anyref`.
fn structs(store: &mut Store<()>) -> (Rooted<StructRef>, Rooted<StructRef>) {
    let number = number(&mut *store, 7);
    let cell = cell(&mut *store, number.into());
    (number, cell)
}

/// Uses a structure, which has an `anyref`, in every way there is, in a store.
fn use_everywhere(store: &mut Store<()>, object: Rooted<StructRef>, check: fn(sarsen::Result<()>)) {
    let (_, good) = structs(store);
    check(object.field(&mut *store, 0).map(drop));
    check(object.set_field(&mut *store, 0, Val::null_any_ref()));
    check(object.fields(&mut *store).map(drop));
    check(object.ty(&*store).map(drop));
    check(object.to_owned_rooted(&mut *store).map(drop));
    check(good.set_field(&mut *store, 0, object.into()));
    check(Rooted::ref_eq(&*store, &good, &object).map(drop));
    let any = object.to_anyref();
    check(any.is_struct(&*store).map(drop));
    check(any.as_i31(&*store).map(drop));
    check(any.unwrap_struct(&*store).map(drop));
    check(any.to_raw(&mut *store).map(drop));
    check(ExternRef::convert_any(&mut *store, any).map(drop));
    check(
        Val::from(object)
            .matches_ty(&*store, &ValType::ANYREF)
            .map(drop),
    );
    check(Val::from(object).to_raw(&mut *store).map(drop));
    let ty = GlobalType::new(ValType::ANYREF, Mutability::Var);
    let global = Global::new(&mut *store, ty.clone(), Val::null_any_ref()).unwrap();
    check(global.set(&mut *store, object.into()));
    check(Global::new(&mut *store, ty, object.into()).map(drop));
    let ty = TableType::new(RefType::ANYREF, 1, None);
    let table = Table::new(&mut *store, ty.clone(), Ref::Any(None)).unwrap();
    check(table.set(&mut *store, 0, object.into()));
    check(table.grow(&mut *store, 1, object.into()).map(drop));
    check(table.fill(&mut *store, 0, object.into(), 1));
    check(Table::new(&mut *store, ty, object.into()).map(drop));
    let func = Func::wrap(&mut *store, |_: Option<Rooted<AnyRef>>| {});
    check(func.call(&mut *store, &[object.into()], &mut []));
    let typed = func.typed::<Option<Rooted<AnyRef>>, ()>(&*store).unwrap();
    check(typed.call(&mut *store, Some(any)));
    let gives = Func::wrap(&mut *store, move || object.to_anyref());
    check(gives.call(&mut *store, &[], &mut [Val::I32(0)]));
    let allocator = {
        let ty = good.ty(&*store).unwrap();
        StructRefPre::new(&mut *store, ty)
    };
    check(StructRef::new(&mut *store, &allocator, &[object.into()]).map(drop));
    let ty = ArrayType::new(
        store.engine(),
        FieldType::new(Mutability::Var, ValType::ANYREF.into()),
    );
    let allocator = ArrayRefPre::new(&mut *store, ty);
    check(ArrayRef::new(&mut *store, &allocator, &object.into(), 3).map(drop));
    check(ArrayRef::new_fixed(&mut *store, &allocator, &[object.into()]).map(drop));
}

#[test]
fn a_handle_whose_scope_has_ended_is_refused_everywhere() {
    let mut store = Store::<()>::default();
    let object = {
        let mut scope = RootScope::new(&mut store);
        cell(&mut scope, Val::null_any_ref())
    };
    // Others take its place.
    structs(&mut store);
    use_everywhere(&mut store, object, is_unrooted);
}

#[test]
fn a_handle_of_another_store_is_refused_everywhere() {
    let engine = Engine::default();
    let mut other = Store::new(&engine, ());
    let object = cell(&mut other, Val::null_any_ref());
    let mut store = Store::new(&engine, ());
    use_everywhere(&mut store, object, is_foreign);
    let owned = object.to_owned_rooted(&mut other).unwrap();
    is_foreign(owned.field(&mut store, 0));
    let ty = object.ty(&other).unwrap();
    let allocator = StructRefPre::new(&mut other, ty);
    let fields = [Val::null_any_ref()];
    is_foreign(StructRef::new(&mut store, &allocator, &fields));
    // They remain what they are where they belong.
    assert!(
        owned
            .field(&mut other, 0)
            .unwrap()
            .ref_()
            .unwrap()
            .is_null()
    );
}

#[test]
fn types_of_another_engine_are_refused_where_objects_are_made_and_tested() {
    let mut store = Store::<()>::default();
    let (number, _) = structs(&mut store);
    let engine = Engine::default();
    let foreign = StructType::new(&engine, []).unwrap();
    let wrong = |error: sarsen::Error| {
        assert_eq!(error.downcast_ref(), Some(&OwnershipError::WrongEngine));
    };
    wrong(number.matches_ty(&store, &foreign).unwrap_err());
    let heap = foreign.clone().into();
    wrong(number.to_anyref().matches_ty(&store, &heap).unwrap_err());
    let reference = ValType::Ref(RefType::new(true, heap));
    wrong(
        Val::from(number)
            .matches_ty(&store, &reference)
            .unwrap_err(),
    );
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        StructRefPre::new(&mut store, foreign)
    }));
    made.unwrap_err();
}

#[test]
fn scopes_nest_and_end_what_was_made_in_them_only() {
    let mut store = Store::<()>::default();
    let outer = number(&mut store, 1);
    let (inner, innermost);
    {
        let mut scope = RootScope::new(&mut store);
        inner = number(&mut scope, 2);
        {
            let mut scope = RootScope::new(&mut scope);
            scope.reserve(10);
            innermost = number(&mut scope, 3);
            assert_eq!(innermost.field(&mut scope, 0).unwrap().unwrap_i32(), 3);
        }
        is_unrooted(innermost.field(&mut scope, 0));
        assert_eq!(inner.field(&mut scope, 0).unwrap().unwrap_i32(), 2);
    }
    is_unrooted(inner.field(&mut store, 0));
    assert_eq!(outer.field(&mut store, 0).unwrap().unwrap_i32(), 1);
}

#[test]
fn a_million_handles_leave_nothing_behind() {
    let mut store = Store::<()>::default();
    let object = number(&mut store, 5);
    let before = store.gc_stats();
    for _ in 0..2 {
        let owned: Vec<OwnedRooted<StructRef>> = (0..1_000_000)
            .map(|_| object.to_owned_rooted(&mut store).unwrap())
            .collect();
        assert_eq!(store.gc_stats().owned_roots, before.owned_roots + 1_000_000);
        let clones = owned.clone();
        drop(owned);
        assert_eq!(store.gc_stats().owned_roots, before.owned_roots + 1_000_000);
        drop(clones);
        assert_eq!(store.gc_stats().owned_roots, before.owned_roots);
        let mut scope = RootScope::new(&mut store);
        for _ in 0..1_000_000 {
            object.fields(&mut scope).unwrap();
            AnyRef::from_i31(&mut scope, I31::default());
        }
    }
    store.gc(None).unwrap();
    let after = store.gc_stats();
    assert_eq!(
        (after.owned_roots, after.scoped_roots),
        (before.owned_roots, before.scoped_roots)
    );
    assert_eq!(object.field(&mut store, 0).unwrap().unwrap_i32(), 5);
}

#[test]
fn owned_handles_can_be_dropped_elsewhere_and_after_their_store() {
    let mut store = Store::<()>::default();
    let owned = number(&mut store, 5).to_owned_rooted(&mut store).unwrap();
    let other = owned.clone();
    std::thread::spawn(move || drop(other)).join().unwrap();
    assert_eq!(owned.field(&mut store, 0).unwrap().unwrap_i32(), 5);
    drop(store);
    drop(owned);
}

#[test]
fn each_call_of_a_host_function_is_a_scope() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "host" "keep" (func $keep (param externref) (result externref)))
             (func (export "run") (param externref i32) (result externref)
               (loop $again
                 (local.set 0 (call $keep (local.get 0)))
                 (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
                 (br_if $again (local.get 1)))
               (local.get 0)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, Vec::<Rooted<ExternRef>>::new());
    let keep = Func::wrap(
        &mut store,
        |mut caller: Caller<'_, Vec<Rooted<ExternRef>>>, object: Option<Rooted<ExternRef>>| {
            caller.data_mut().extend(object);
            object
        },
    );
    let instance = Instance::new(&mut store, &module, &[keep.into()]).unwrap();
    let run = instance
        .get_typed_func::<(Option<Rooted<ExternRef>>, i32), Option<Rooted<ExternRef>>>(
            &mut store, "run",
        )
        .unwrap();
    let object = ExternRef::new(&mut store, 7u8).unwrap();
    let before = store.gc_stats().scoped_roots;
    let same = run.call(&mut store, (Some(object), 1000)).unwrap().unwrap();
    // The result is the only one that is left.
    assert_eq!(store.gc_stats().scoped_roots, before + 1);
    assert!(Rooted::ref_eq(&store, &object, &same).unwrap());
    let kept = store.data()[999];
    is_unrooted(kept.data(&store));
}

#[test]
fn a_scope_ends_also_when_the_host_function_fails_or_panics() {
    let mut store = Store::<()>::default();
    let fails = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, panic: i32| {
        number(&mut caller, 1);
        assert_eq!(panic, 0);
        Err::<(), _>(sarsen::Error::msg("no"))
    });
    let before = store.gc_stats().scoped_roots;
    fails.call(&mut store, &[Val::I32(0)], &mut []).unwrap_err();
    let panics = std::panic::AssertUnwindSafe(|| fails.call(&mut store, &[Val::I32(1)], &mut []));
    std::panic::catch_unwind(panics).unwrap_err();
    assert_eq!(store.gc_stats().scoped_roots, before);
}

#[test]
fn what_only_the_host_refers_to_survives_every_collection() {
    let mut store = Store::new(&zealous(), ());
    let mut list = cell(&mut store, Val::null_any_ref());
    let mut owned = Vec::new();
    for n in 0..200 {
        let mut scope = RootScope::new(&mut store);
        let item = number(&mut scope, n);
        let tail = cell(&mut scope, item.into());
        if n % 3 == 0 {
            owned.push((n, tail.to_owned_rooted(&mut scope).unwrap()));
        }
        if n % 5 == 0 {
            list.set_field(&mut scope, 0, tail.into()).unwrap();
        }
    }
    for (n, tail) in &owned {
        let item = tail.field(&mut store, 0).unwrap();
        let item = item.unwrap_anyref().unwrap().unwrap_struct(&store).unwrap();
        assert_eq!(item.field(&mut store, 0).unwrap().unwrap_i32(), *n);
    }
    for expected in [195] {
        let tail = list.field(&mut store, 0).unwrap();
        list = tail.unwrap_anyref().unwrap().unwrap_struct(&store).unwrap();
        let item = list.field(&mut store, 0).unwrap();
        let item = item.unwrap_anyref().unwrap().unwrap_struct(&store).unwrap();
        assert_eq!(item.field(&mut store, 0).unwrap().unwrap_i32(), expected);
    }
    assert!(store.gc_stats().minor > 200);
}
