//! Objects of the host's: they live as long as something refers to them, and no longer.

use crate::gc::{array_type, cell, var, zealous};
use sarsen::{
    ArrayRef, ArrayRefPre, Config, Engine, ExternRef, Global, GlobalType, Mutability, Ref, RefType,
    RootScope, Rooted, Store, StructRef, StructRefPre, StructType, Table, TableType, Val, ValType,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts those that were dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A counter, and what makes objects that it counts when they are dropped.
fn counter() -> (Arc<AtomicUsize>, impl Fn() -> Counted) {
    let count = Arc::new(AtomicUsize::new(0));
    let made = count.clone();
    (count, move || Counted(made.clone()))
}

#[test]
fn host_objects_are_dropped_once_nothing_refers_to_them() {
    for engine in [Engine::default(), zealous()] {
        let (dropped, counted) = counter();
        let mut store = Store::new(&engine, ());
        let kept = ExternRef::new(&mut store, counted()).unwrap();
        {
            let mut scope = RootScope::new(&mut store);
            for _ in 0..1000 {
                ExternRef::new(&mut scope, counted()).unwrap();
            }
        }
        store.gc(None).unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 1000);
        assert_eq!(store.gc_stats().host_objects, 1);
        assert!(kept.data(&store).unwrap().unwrap().is::<Counted>());
        drop(store);
        assert_eq!(dropped.load(Ordering::Relaxed), 1001);
    }
}

#[test]
fn fields_elements_globals_and_tables_keep_host_objects() {
    for engine in [Engine::default(), zealous()] {
        let (dropped, counted) = counter();
        let mut store = Store::new(&engine, ());
        let content = GlobalType::new(ValType::EXTERNREF, Mutability::Var);
        let global = Global::new(&mut store, content, Val::null_extern_ref()).unwrap();
        let content = TableType::new(RefType::EXTERNREF, 3, None);
        let table = Table::new(&mut store, content, Ref::Extern(None)).unwrap();
        let ty = StructType::new(store.engine(), [var(ValType::EXTERNREF)]).unwrap();
        let allocator = StructRefPre::new(&mut store, ty);
        let holder = StructRef::new(&mut store, &allocator, &[Val::null_extern_ref()]).unwrap();
        let ty = array_type(&store, ValType::EXTERNREF);
        let allocator = ArrayRefPre::new(&mut store, ty);
        let array = ArrayRef::new(&mut store, &allocator, &Val::null_extern_ref(), 10_000).unwrap();
        {
            let mut scope = RootScope::new(&mut store);
            let object = ExternRef::new(&mut scope, counted()).unwrap();
            global.set(&mut scope, object.into()).unwrap();
            let object = ExternRef::new(&mut scope, counted()).unwrap();
            table.set(&mut scope, 2, object.into()).unwrap();
            let object = ExternRef::new(&mut scope, counted()).unwrap();
            holder.set_field(&mut scope, 0, object.into()).unwrap();
            let object = ExternRef::new(&mut scope, counted()).unwrap();
            array.set(&mut scope, 9_999, object.into()).unwrap();
        }
        store.gc(None).unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        let mut expected = 0;
        let mut let_go = |store: &mut Store<()>| {
            store.gc(None).unwrap();
            expected += 1;
            assert_eq!(dropped.load(Ordering::Relaxed), expected);
        };
        global.set(&mut store, Val::null_extern_ref()).unwrap();
        let_go(&mut store);
        table.set(&mut store, 2, Ref::Extern(None)).unwrap();
        let_go(&mut store);
        holder
            .set_field(&mut store, 0, Val::null_extern_ref())
            .unwrap();
        let_go(&mut store);
        array
            .set(&mut store, 9_999, Val::null_extern_ref())
            .unwrap();
        let_go(&mut store);
    }
}

#[test]
fn cycles_through_structures_arrays_and_conversions_are_dropped() {
    for engine in [Engine::default(), zealous()] {
        let (dropped, counted) = counter();
        let mut store = Store::new(&engine, ());
        for _ in 0..100 {
            let mut scope = RootScope::new(&mut store);
            let object = ExternRef::new(&mut scope, counted()).unwrap();
            let inner = sarsen::AnyRef::convert_extern(&mut scope, object).unwrap();
            let first = cell(&mut scope, inner.into());
            let ty = sarsen::ArrayType::new(
                sarsen::AsContext::as_context(&scope).engine(),
                var(ValType::EXTERNREF),
            );
            let allocator = ArrayRefPre::new(&mut scope, ty);
            let elements = [object.into(), Val::null_extern_ref()];
            let array = ArrayRef::new_fixed(&mut scope, &allocator, &elements).unwrap();
            let second = cell(&mut scope, array.into());
            let outside = ExternRef::convert_any(&mut scope, second.to_anyref()).unwrap();
            array.set(&mut scope, 1, outside.into()).unwrap();
            first.set_field(&mut scope, 0, second.into()).unwrap();
        }
        store.gc(None).unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 100);
    }
}

#[test]
fn data_is_changed_in_place_and_stays_itself_when_its_box_moves() {
    let mut store = Store::new(&zealous(), ());
    let first = ExternRef::new(&mut store, vec![1u64]).unwrap();
    let second = ExternRef::new(&mut store, "two".to_owned()).unwrap();
    for n in 0..100 {
        ExternRef::new(&mut store, n).unwrap();
        let data = first.data_mut(&mut store).unwrap().unwrap();
        data.downcast_mut::<Vec<u64>>().unwrap().push(n);
    }
    store.gc(None).unwrap();
    let data = first.data(&store).unwrap().unwrap();
    assert_eq!(data.downcast_ref::<Vec<u64>>().unwrap().len(), 101);
    let data = second.data(&store).unwrap().unwrap();
    assert_eq!(data.downcast_ref::<String>().unwrap(), "two");
    assert!(!Rooted::ref_eq(&store, &first, &second).unwrap());
}

/// Panics when it is dropped.
struct Grenade(Arc<AtomicUsize>);

impl Drop for Grenade {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("dropped");
    }
}

#[test]
fn data_that_panics_when_dropped_reaches_the_host_and_keeps_nothing_from_being_dropped() {
    let (dropped, counted) = counter();
    let mut store = Store::<()>::default();
    let kept = ExternRef::new(&mut store, 7u8).unwrap();
    {
        let mut scope = RootScope::new(&mut store);
        ExternRef::new(&mut scope, counted()).unwrap();
        ExternRef::new(&mut scope, Grenade(dropped.clone())).unwrap();
        ExternRef::new(&mut scope, Grenade(dropped.clone())).unwrap();
        ExternRef::new(&mut scope, counted()).unwrap();
    }
    let panic = catch_unwind(AssertUnwindSafe(|| store.gc(None))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"dropped"));
    assert_eq!(dropped.load(Ordering::Relaxed), 4);
    store.gc(None).unwrap();
    assert_eq!(store.gc_stats().host_objects, 1);
    let data = kept.data(&store).unwrap().unwrap();
    assert_eq!(data.downcast_ref::<u8>(), Some(&7));
}

#[test]
fn without_a_collector_objects_live_as_long_as_the_store() {
    let (dropped, counted) = counter();
    let mut config = Config::new();
    config.collector(sarsen::Collector::Null);
    let mut store = Store::new(&Engine::new(&config).unwrap(), ());
    let first = cell(&mut store, Val::null_any_ref());
    {
        let mut scope = RootScope::new(&mut store);
        for _ in 0..10_000 {
            ExternRef::new(&mut scope, counted()).unwrap();
        }
    }
    store.gc(None).unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    let stats = store.gc_stats();
    assert_eq!(
        (stats.minor, stats.full, stats.host_objects),
        (0, 0, 10_000)
    );
    assert!(
        first
            .field(&mut store, 0)
            .unwrap()
            .ref_()
            .unwrap()
            .is_null()
    );
    drop(store);
    assert_eq!(dropped.load(Ordering::Relaxed), 10_000);
}
