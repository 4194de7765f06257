//! Objects that pass between the host and the guest, and what the guest does wrong with them.

use crate::gc::zealous;
use crate::instance_in;
use sarsen::{
    AnyRef, ArrayRef, Caller, Config, Engine, Extern, ExternRef, Func, GcHeapOutOfMemory, I31,
    Instance, Linker, Module, Rooted, Store, StoreLimitsBuilder, StructRef, StructRefPre, Trap,
    Val, WasmBacktrace,
};
use std::num::NonZeroU32;

fn trap(error: &sarsen::Error) -> Trap {
    *error
        .downcast_ref::<Trap>()
        .unwrap_or_else(|| panic!("{error:?}"))
}

const POINTS: &str = r#"(module
  (type $point (sub (struct (field $x (mut i32)) (field $next (mut (ref null $point))))))
  (type $point3 (sub $point
    (struct (field $x (mut i32)) (field $next (mut (ref null $point))) (field $z f64))))
  (type $other (struct (field i64)))
  (type $bytes (array (mut i8)))
  (func (export "new") (param i32) (result (ref $point))
    (struct.new $point (local.get 0) (ref.null $point)))
  (func (export "x") (param (ref null $point)) (result i32)
    (struct.get $point $x (local.get 0)))
  (func (export "link") (param (ref $point) (ref null $point)) (result structref)
    (struct.set $point $next (local.get 0) (local.get 1))
    (local.get 0))
  (func (export "new3") (result structref)
    (struct.new $point3 (i32.const 3) (ref.null $point) (f64.const 0.5)))
  (func (export "other") (result anyref) (struct.new $other (i64.const 1)))
  (func (export "cast") (param anyref) (result (ref $point)) (ref.cast (ref $point) (local.get 0)))
  (func (export "to i31") (param anyref) (result i31ref) (ref.cast i31ref (local.get 0)))
  (func (export "double") (param (ref null i31)) (result i31ref)
    (ref.i31 (i32.mul (i31.get_s (local.get 0)) (i32.const 2))))
  (func (export "bytes") (param i32) (result (ref $bytes))
    (array.new_default $bytes (local.get 0)))
  (func (export "copy") (param (ref $bytes) i32 i32)
    (array.copy $bytes $bytes (local.get 0) (local.get 1) (local.get 0) (i32.const 0) (local.get 2)))
  (func (export "get") (param (ref $bytes) i32) (result i32)
    (array.get_u $bytes (local.get 0) (local.get 1)))
  (func (export "depth") (param i32) (result i32)
    (local $list (ref null $point))
    (loop $again
      (local.set $list (struct.new $point (local.get 0) (local.get $list)))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if $again (local.get 0)))
    (loop $next
      (local.set 0 (i32.add (local.get 0) (i32.const 1)))
      (br_if $next (i32.eqz (ref.is_null
        (local.tee $list (struct.get $point $next (local.get $list)))))))
    (local.get 0))
  (global (export "global") (mut (ref null $point)) (ref.null $point))
  (table (export "table") 4 (ref null $point)))"#;

type Structure = Option<Rooted<StructRef>>;

#[test]
fn typed_functions_take_and_return_references() {
    for engine in [Engine::default(), zealous()] {
        let (mut store, instance) = instance_in(&engine, POINTS);
        let new = instance
            .get_typed_func::<i32, Rooted<StructRef>>(&mut store, "new")
            .unwrap();
        let x = instance
            .get_typed_func::<Structure, i32>(&mut store, "x")
            .unwrap();
        let link = instance
            .get_typed_func::<(Rooted<StructRef>, Structure), Structure>(&mut store, "link")
            .unwrap();
        let one = new.call(&mut store, 1).unwrap();
        let two = new.call(&mut store, 2).unwrap();
        let linked = link.call(&mut store, (one, Some(two))).unwrap().unwrap();
        assert!(Rooted::ref_eq(&store, &one, &linked).unwrap());
        store.gc(None).unwrap();
        assert_eq!(x.call(&mut store, Some(two)).unwrap(), 2);
        let next = one.field(&mut store, 1).unwrap();
        let next = next.unwrap_anyref().unwrap().unwrap_struct(&store).unwrap();
        assert_eq!(x.call(&mut store, Some(next)).unwrap(), 2);
        one.set_field(&mut store, 0, Val::I32(10)).unwrap();
        assert_eq!(x.call(&mut store, Some(one)).unwrap(), 10);
        assert_eq!(
            trap(&x.call(&mut store, None).unwrap_err()),
            Trap::NullReference
        );

        let new3 = instance
            .get_typed_func::<(), Structure>(&mut store, "new3")
            .unwrap();
        let three = new3.call(&mut store, ()).unwrap().unwrap();
        assert_eq!(three.field(&mut store, 2).unwrap().unwrap_f64(), 0.5);
        assert!(three.ty(&store).unwrap().matches(&one.ty(&store).unwrap()));
        assert_eq!(x.call(&mut store, Some(three)).unwrap(), 3);

        let double = instance
            .get_typed_func::<Option<I31>, Option<I31>>(&mut store, "double")
            .unwrap();
        let six = double.call(&mut store, I31::new_i32(-3)).unwrap().unwrap();
        assert_eq!(six.get_i32(), -6);
        let owned = one.to_owned_rooted(&mut store).unwrap();
        let x = instance
            .get_typed_func::<sarsen::OwnedRooted<StructRef>, i32>(&mut store, "x")
            .unwrap();
        assert_eq!(x.call(&mut store, owned).unwrap(), 10);
    }
}

#[test]
fn arguments_of_the_wrong_type_are_refused_before_the_call() {
    let (mut store, instance) = instance_in(&Engine::default(), POINTS);
    let other = instance
        .get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut store, "other")
        .unwrap();
    let other = other.call(&mut store, ()).unwrap().unwrap();
    let other = other.unwrap_struct(&store).unwrap();
    let x = instance
        .get_typed_func::<Structure, i32>(&mut store, "x")
        .unwrap();
    let before = store.gc_stats().scoped_roots;
    let error = x.call(&mut store, Some(other)).unwrap_err().to_string();
    assert!(
        error.contains("argument 0") && error.contains("i64"),
        "{error}"
    );
    assert_eq!(store.gc_stats().scoped_roots, before);
    let x = instance.get_func(&mut store, "x").unwrap();
    x.call(&mut store, &[other.into()], &mut [Val::I32(0)])
        .unwrap_err();
    assert!(
        instance
            .get_typed_func::<Option<Rooted<ArrayRef>>, i32>(&mut store, "x")
            .is_err()
    );
    assert!(
        instance
            .get_typed_func::<(), Structure>(&mut store, "bytes")
            .is_err()
    );
}

#[test]
fn objects_of_the_host_are_the_guests_and_the_other_way_round() {
    for engine in [Engine::default(), zealous()] {
        let (mut store, instance) = instance_in(&engine, POINTS);
        let new = instance
            .get_typed_func::<i32, Rooted<StructRef>>(&mut store, "new")
            .unwrap();
        let x = instance
            .get_typed_func::<Structure, i32>(&mut store, "x")
            .unwrap();
        let guests = new.call(&mut store, 1).unwrap();
        let ty = guests.ty(&store).unwrap();
        let allocator = StructRefPre::new(&mut store, ty);
        let fields = [Val::I32(7), guests.into()];
        let hosts = StructRef::new(&mut store, &allocator, &fields).unwrap();
        assert_eq!(x.call(&mut store, Some(hosts)).unwrap(), 7);
        let Some(Extern::Global(global)) = instance.get_export(&mut store, "global") else {
            panic!("it is exported")
        };
        let Some(Extern::Table(table)) = instance.get_export(&mut store, "table") else {
            panic!("it is exported")
        };
        global.set(&mut store, hosts.into()).unwrap();
        table.set(&mut store, 3, hosts.into()).unwrap();
        let foreign = instance.get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut store, "other");
        let foreign = foreign.unwrap().call(&mut store, ()).unwrap();
        assert!(global.set(&mut store, foreign.into()).is_err());
        assert!(table.set(&mut store, 0, foreign.into()).is_err());
        store.gc(None).unwrap();
        let found = table.get(&mut store, 3).unwrap();
        let found = found.unwrap_any().unwrap().unwrap_struct(&store).unwrap();
        assert_eq!(x.call(&mut store, Some(found)).unwrap(), 7);
        assert!(Rooted::ref_eq(&store, &found, &hosts).unwrap());
    }
}

#[test]
fn equal_types_of_two_modules_are_linked_and_others_are_not() {
    for engine in [Engine::default(), zealous()] {
        let (mut store, instance) = instance_in(&engine, POINTS);
        let mut linker = Linker::new(&engine);
        linker.instance(&mut store, "points", instance).unwrap();
        let user = Module::new(
            &engine,
            r#"(module
                 (type $point (sub (struct (field (mut i32)) (field (mut (ref null $point))))))
                 (import "points" "new" (func $new (param i32) (result (ref $point))))
                 (import "points" "global" (global $global (mut (ref null $point))))
                 (import "points" "table" (table $table 4 (ref null $point)))
                 (func (export "run") (result i32)
                   (global.set $global (call $new (i32.const 5)))
                   (table.set $table (i32.const 1) (struct.new $point (i32.const 6) (global.get $global)))
                   (i32.add
                     (struct.get $point 0 (global.get $global))
                     (struct.get $point 0 (table.get $table (i32.const 1))))))"#,
        )
        .unwrap();
        let user = linker.instantiate(&mut store, &user).unwrap();
        let run = user.get_typed_func::<(), i32>(&mut store, "run").unwrap();
        assert_eq!(run.call(&mut store, ()).unwrap(), 11);
        store.gc(None).unwrap();
        let other = Module::new(
            &engine,
            r#"(module
                 (type $point (sub (struct (field i32) (field (mut (ref null $point))))))
                 (import "points" "new" (func (param i32) (result (ref $point)))))"#,
        )
        .unwrap();
        assert!(linker.instantiate(&mut store, &other).is_err());
    }
}

#[test]
fn a_failed_cast_names_both_types() {
    let (mut store, instance) = instance_in(&Engine::default(), POINTS);
    let cast = instance.get_func(&mut store, "cast").unwrap();
    let other = instance.get_func(&mut store, "other").unwrap();
    let mut results = [Val::null_any_ref()];
    other.call(&mut store, &[], &mut results).unwrap();
    let number = AnyRef::from_i31(&mut store, I31::default());
    let object = ExternRef::new(&mut store, ()).unwrap();
    let object = AnyRef::convert_extern(&mut store, object).unwrap();
    for (value, found) in [
        (Val::null_any_ref(), "null"),
        (number.into(), "(ref i31)"),
        (object.into(), "(ref extern)"),
        (results[0], "(ref 2)"),
    ] {
        let error = cast
            .call(&mut store, &[value], &mut [Val::I32(0)])
            .unwrap_err();
        assert_eq!(trap(&error), Trap::CastFailure);
        assert!(error.downcast_ref::<WasmBacktrace>().is_some());
        let message = format!("{error:#}");
        let expected = format!("cast failure: expected (ref 0), found {found}");
        assert!(message.contains(&expected), "{message}");
    }
    let to_i31 = instance.get_func(&mut store, "to i31").unwrap();
    let error = to_i31
        .call(&mut store, &results, &mut [Val::null_any_ref()])
        .unwrap_err();
    assert_eq!(trap(&error), Trap::CastFailure);
    let expected = "cast failure: expected (ref null i31), found (ref 2)";
    assert!(format!("{error:#}").contains(expected), "{error:#}");
}

#[test]
fn arrays_of_impossible_sizes_and_copies_out_of_bounds_trap() {
    let mut config = Config::new();
    config.gc_heap_limit(64 << 20);
    let limited = Engine::new(&config).unwrap();
    // 2^31 elements are too many for this heap only; more than 3 GiB for any.
    for (engine, sizes) in [
        (limited, &[i32::MIN, -1, 1 << 26][..]),
        (Engine::default(), &[-0x4000_0000, -1]),
    ] {
        let (mut store, instance) = instance_in(&engine, POINTS);
        let bytes = instance
            .get_typed_func::<i32, Rooted<ArrayRef>>(&mut store, "bytes")
            .unwrap();
        for &size in sizes {
            let error = bytes.call(&mut store, size).unwrap_err();
            assert_eq!(trap(&error), Trap::AllocationTooLarge, "{size}");
        }
        bytes.call(&mut store, 1000).unwrap();
    }
    let (mut store, instance) = instance_in(&Engine::default(), POINTS);
    let bytes = instance
        .get_typed_func::<i32, Rooted<ArrayRef>>(&mut store, "bytes")
        .unwrap();
    let array = bytes.call(&mut store, 10).unwrap();
    let copy = instance
        .get_typed_func::<(Rooted<ArrayRef>, i32, i32), ()>(&mut store, "copy")
        .unwrap();
    copy.call(&mut store, (array, 5, 5)).unwrap();
    copy.call(&mut store, (array, 10, 0)).unwrap();
    for (to, count) in [
        (5, 6),
        (11, 0),
        (0, 11),
        (-1, 1),
        (0, -1),
        (i32::MAX, i32::MAX),
    ] {
        let error = copy.call(&mut store, (array, to, count)).unwrap_err();
        assert_eq!(trap(&error), Trap::ArrayOutOfBounds, "{to} {count}");
    }
    let get = instance
        .get_typed_func::<(Rooted<ArrayRef>, i32), i32>(&mut store, "get")
        .unwrap();
    assert_eq!(get.call(&mut store, (array, 9)).unwrap(), 0);
    for index in [10, -1, i32::MIN] {
        let error = get.call(&mut store, (array, index)).unwrap_err();
        assert_eq!(trap(&error), Trap::ArrayOutOfBounds);
    }
}

/// Calls a function that keeps 16 bytes alive for each of `count`, in a store that has less.
fn exhausts(store: &mut Store<sarsen::StoreLimits>, instance: Instance) {
    let depth = instance
        .get_typed_func::<i32, i32>(&mut *store, "depth")
        .unwrap();
    for _ in 0..3 {
        let error = depth.call(&mut *store, 200_000).unwrap_err();
        assert_eq!(trap(&error), Trap::AllocationTooLarge);
        assert!(error.downcast_ref::<WasmBacktrace>().is_some());
        // The store goes on.
        assert_eq!(depth.call(&mut *store, 10_000).unwrap(), 10_000);
    }
    // The host is told, too.
    let new = instance
        .get_typed_func::<i32, Rooted<StructRef>>(&mut *store, "new")
        .unwrap();
    let mut last = new.call(&mut *store, 0).unwrap();
    let allocator = {
        let ty = last.ty(&*store).unwrap();
        StructRefPre::new(&mut *store, ty)
    };
    let error = loop {
        match StructRef::new(&mut *store, &allocator, &[Val::I32(0), last.into()]) {
            Ok(object) => last = object,
            Err(error) => break error,
        }
    };
    let error = error.downcast_ref::<GcHeapOutOfMemory<()>>().unwrap();
    assert_eq!(error.bytes_needed(), 16);
}

#[test]
fn the_heaps_limit_is_a_trap_and_the_store_goes_on() {
    let mut config = Config::new();
    config.gc_heap_limit(1 << 20);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, POINTS).unwrap();
    let mut store = Store::new(&engine, StoreLimitsBuilder::new().build());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    exhausts(&mut store, instance);
    assert!(store.gc_heap_capacity() <= 1 << 20);

    let engine = Engine::default();
    let module = Module::new(&engine, POINTS).unwrap();
    let limits = StoreLimitsBuilder::new().heap_size(1 << 20).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    exhausts(&mut store, instance);
    assert!(store.gc_heap_capacity() <= 1 << 20);
}

#[test]
fn a_list_of_ten_million_is_collected_without_recursion() {
    let (mut store, instance) = instance_in(&Engine::default(), POINTS);
    let depth = instance
        .get_typed_func::<i32, i32>(&mut store, "depth")
        .unwrap();
    assert_eq!(depth.call(&mut store, 10_000_000).unwrap(), 10_000_000);
    store.gc(None).unwrap();
    let stats = store.gc_stats();
    assert!(
        stats.minor > 0 && stats.full > 0 && stats.bytes_live < 1 << 20,
        "{stats:?}"
    );
    assert!(stats.bytes_allocated >= 16 * 10_000_000);
}

#[test]
fn a_host_function_that_collects_leaves_the_guests_references_intact() {
    let engine = zealous();
    let module = Module::new(
        &engine,
        r#"(module
             (import "sarsen" "gc" (func $gc))
             (import "sarsen" "pass" (func $pass (param anyref) (result anyref)))
             (type $pair (struct (field anyref) (field anyref)))
             (func (export "run") (result i32)
               (local $a (ref null $pair)) (local $b anyref)
               (local.set $a (struct.new $pair (ref.i31 (i32.const 1)) (ref.i31 (i32.const 2))))
               (local.set $b (struct.new $pair (local.get $a) (local.get $a)))
               (call $gc)
               (local.set $b (call $pass (local.get $b)))
               (call $gc)
               (i32.add
                 (ref.eq (local.get $a)
                         (ref.cast eqref (struct.get $pair 1 (ref.cast (ref $pair) (local.get $b)))))
                 (i31.get_u (ref.cast i31ref (struct.get $pair 1 (local.get $a)))))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("sarsen", "gc", |mut caller: Caller<'_, ()>| caller.gc(None))
        .unwrap();
    linker
        .func_wrap(
            "sarsen",
            "pass",
            |mut caller: Caller<'_, ()>, object: Option<Rooted<AnyRef>>| {
                caller.gc(None)?;
                ExternRef::new(&mut caller, 1)?;
                Ok(object)
            },
        )
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), i32>(&mut store, "run")
        .unwrap();
    for _ in 0..100 {
        assert_eq!(run.call(&mut store, ()).unwrap(), 3);
    }
    assert_eq!(store.gc_stats().scoped_roots, 0);
}

#[test]
fn dynamic_host_functions_get_and_give_objects() {
    let engine = zealous();
    let (mut store, instance) = instance_in(&engine, POINTS);
    let new = instance.get_func(&mut store, "new").unwrap();
    let ty = new.ty(&store);
    let same = sarsen::FuncType::new(
        &engine,
        [ty.result(0).unwrap(), sarsen::ValType::ANYREF],
        [ty.result(0).unwrap()],
    );
    let first = Func::new(&mut store, same, |mut caller, params, results| {
        caller.gc(None)?;
        results[0] = params[0];
        Ok(())
    });
    let mut object = [Val::null_any_ref()];
    new.call(&mut store, &[Val::I32(9)], &mut object).unwrap();
    let mut result = [Val::null_any_ref()];
    first
        .call(&mut store, &[object[0], Val::null_any_ref()], &mut result)
        .unwrap();
    let found = result[0]
        .unwrap_anyref()
        .unwrap()
        .unwrap_struct(&store)
        .unwrap();
    assert_eq!(found.field(&mut store, 0).unwrap().unwrap_i32(), 9);
    // A result that may not be null must be set.
    let ty = sarsen::FuncType::new(&engine, [], [ty.result(0).unwrap()]);
    let nothing = Func::new(&mut store, ty, |_, _, _| Ok(()));
    assert!(nothing.call(&mut store, &[], &mut result).is_err());
}

#[test]
fn zeal_of_every_nth_allocation_collects_so_often() {
    let mut config = Config::new();
    config.gc_zeal(NonZeroU32::new(10));
    let (mut store, instance) = instance_in(&Engine::new(&config).unwrap(), POINTS);
    let depth = instance
        .get_typed_func::<i32, i32>(&mut store, "depth")
        .unwrap();
    assert_eq!(depth.call(&mut store, 1000).unwrap(), 1000);
    let minor = store.gc_stats().minor;
    assert!((90..=110).contains(&minor), "{minor}");
}
