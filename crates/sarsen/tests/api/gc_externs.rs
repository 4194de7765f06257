//! Objects of the host's: they live as long as something refers to them, and no longer.

use crate::gc::{array_type, cell, var, zealous};
use crate::instance_in;
use sarsen::{
    ArrayRef, ArrayRefPre, ArrayType, AsContextMut, Config, Engine, ExternRef, Global, GlobalType,
    Mutability, Ref, RefType, ResourceLimiter, Result, RootScope, Rooted, Store, StructRef,
    StructRefPre, StructType, Table, TableType, Trap, Val, ValRaw, ValType,
};
use std::num::NonZeroU32;
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
fn a_panic_of_dropped_data_while_the_guest_allocates_leaves_a_whole_heap() {
    let (mut store, instance) = instance_in(
        &zealous(),
        r#"(module
            (type $s (struct (field i64 (ref null $s) i32)))
            (func (export "make") (drop (struct.new_default $s))))"#,
    );
    let make = instance
        .get_typed_func::<(), ()>(&mut store, "make")
        .unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    {
        let mut scope = RootScope::new(&mut store);
        ExternRef::new(&mut scope, Grenade(dropped.clone())).unwrap();
    }
    let call = AssertUnwindSafe(|| make.call(&mut store, ()));
    let panic = catch_unwind(call).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"dropped"));
    make.call(&mut store, ()).unwrap();
    store.gc(None).unwrap();
}

#[test]
fn a_store_drops_all_of_its_data_whatever_panics() {
    let with_data = |count: &Arc<AtomicUsize>| {
        let mut store = Store::<()>::default();
        for _ in 0..3 {
            ExternRef::new(&mut store, Grenade(count.clone())).unwrap();
        }
        store
    };
    let dropped = Arc::new(AtomicUsize::new(0));
    let store = with_data(&dropped);
    let panic = catch_unwind(AssertUnwindSafe(|| drop(store))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"dropped"));
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
    // Where a panic drops it, that is the one that goes on.
    let store = with_data(&dropped);
    let panic = catch_unwind(AssertUnwindSafe(move || {
        let _store = store;
        panic!("something else");
    }));
    assert_eq!(
        panic.unwrap_err().downcast_ref::<&str>(),
        Some(&"something else")
    );
    assert_eq!(dropped.load(Ordering::Relaxed), 6);
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

#[test]
fn a_limiters_panic_while_something_is_made_keeps_nothing_alive() {
    struct Panics(bool);
    impl ResourceLimiter for Panics {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
        fn heap_growing(&mut self, _: usize, _: usize) -> Result<bool> {
            assert!(!self.0, "no heap today");
            Ok(true)
        }
    }
    let engine = Engine::default();
    let mut store = Store::new(&engine, Panics(false));
    store.limiter(|state| state);
    let ty = ArrayType::new(&engine, var(ValType::EXTERNREF));
    let allocator = ArrayRefPre::new(&mut store, ty);
    {
        let mut scope = RootScope::new(&mut store);
        let held = ExternRef::new(&mut scope, 7).unwrap();
        scope.as_context_mut().data_mut().0 = true;
        let make = || ArrayRef::new(&mut scope, &allocator, &held.into(), 32 << 20);
        let panic = catch_unwind(AssertUnwindSafe(make)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"no heap today"));
        scope.as_context_mut().data_mut().0 = false;
        assert_eq!(held.data(&scope).unwrap().unwrap().downcast_ref(), Some(&7));
        ArrayRef::new(&mut scope, &allocator, &held.into(), 100).unwrap();
    }
    store.gc(None).unwrap();
    assert_eq!(store.gc_stats().host_objects, 0);
    assert_eq!(store.gc_stats().bytes_live, 0);
}

#[test]
fn a_panic_of_dropped_data_while_a_segment_is_evaluated_keeps_nothing_alive() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let mut config = Config::new();
    config.gc_zeal(NonZeroU32::new(2));
    let engine = Engine::new(&config).unwrap();
    let module = r#"(module
        (type $s (struct (field i64)))
        (type $a (array (ref null $s)))
        (elem $e (ref null $s)
            (item (struct.new $s (i64.const 1)))
            (item (struct.new $s (i64.const 2))))
        (func (export "f") (result i32)
            (array.len (array.new_elem $a $e (i32.const 0) (i32.const 2)))))"#;
    let (mut store, instance) = instance_in(&engine, module);
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    {
        let mut scope = RootScope::new(&mut store);
        ExternRef::new(&mut scope, 7).unwrap();
        // Every second allocation collects: after this one, that of the second element.
        ExternRef::new(&mut scope, Panics).unwrap();
    }
    let call = AssertUnwindSafe(|| f.call(&mut store, ()));
    let panic = catch_unwind(call).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"dropped"));
    store.gc(None).unwrap();
    assert_eq!(
        store.gc_stats().bytes_live,
        0,
        "the first element was let go of"
    );
    assert_eq!(f.call(&mut store, ()).unwrap(), 2);
}

#[test]
fn a_damaged_heap_is_an_error_of_the_collection_and_the_process_goes_on() {
    let text = r#"(module (global $g (mut externref) (ref.null extern))
        (func (export "f") (param externref) (global.set $g (local.get 0))))"#;
    let (mut store, instance) = instance_in(&Engine::default(), text);
    let object = ExternRef::new(&mut store, 7).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let mut values = [ValRaw::externref(0x7000_0000)];
    // SAFETY: that the reference leads nowhere is what is tested: the runtime trusts none.
    unsafe { f.call_unchecked(&mut store, &raw mut values[..]) }.unwrap();
    for _ in 0..2 {
        let error = store.gc(None).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::HeapCorruption));
    }
    assert!(object.data(&store).unwrap().unwrap().is::<i32>());
    assert!(ExternRef::new(&mut store, 8).is_err());
}
