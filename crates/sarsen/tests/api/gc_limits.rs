//! How much of a limited heap a guest can use, and that its store goes on after it wanted more.

use crate::instance_in;
use sarsen::{Config, Engine, Instance, Module, Store, StoreLimitsBuilder, Trap, WasmBacktrace};

/// `keep` puts so many nodes before a list, each with an array of so many bytes, and makes as many that
/// nobody keeps; `check` follows the list and tells how long it is; `drop` forgets it.
const KEEPER: &str = r#"(module
  (type $bytes (array (mut i8)))
  (type $list (struct (field (ref null $list)) (field (ref $bytes)) (field i32)))
  (global $list (mut (ref null $list)) (ref.null $list))
  (global $length (mut i32) (i32.const 0))
  (func (export "keep") (param $count i32) (param $bytes i32)
    (loop $again
      (drop (array.new_default $bytes (local.get $bytes)))
      (global.set $length (i32.add (global.get $length) (i32.const 1)))
      (global.set $list (struct.new $list (global.get $list)
        (array.new $bytes (global.get $length) (local.get $bytes)) (global.get $length)))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "check") (result i32)
    (local $at (ref null $list)) (local $length i32)
    (local.set $at (global.get $list))
    (loop $next
      (if (ref.is_null (local.get $at)) (then (return (local.get $length))))
      (if (i32.ne
            (i32.and (struct.get $list 2 (local.get $at)) (i32.const 255))
            (array.get_u $bytes (struct.get $list 1 (local.get $at)) (i32.const 0)))
        (then unreachable))
      (local.set $at (struct.get $list 0 (local.get $at)))
      (local.set $length (i32.add (local.get $length) (i32.const 1)))
      (br $next))
    unreachable)
  (func (export "drop")
    (global.set $list (ref.null $list)) (global.set $length (i32.const 0))))"#;

/// What a node and its array take: headers of 8 bytes, and fields or elements, rounded up to as many.
fn node_size(bytes: i32) -> usize {
    let object = |bytes: usize| (8 + bytes).next_multiple_of(8);
    object(12) + object(bytes as usize)
}

/// Fills a heap of `limit` bytes to 85 % with live objects, then more, until it is full; twice.
fn fills<T>(store: &mut Store<T>, instance: &Instance, limit: usize, bytes: i32) {
    let keep = instance.get_typed_func::<(i32, i32), ()>(&mut *store, "keep");
    let keep = keep.unwrap();
    let check = instance.get_typed_func::<(), i32>(&mut *store, "check");
    let check = check.unwrap();
    let forget = instance.get_typed_func::<(), ()>(&mut *store, "drop");
    let forget = forget.unwrap();
    for _ in 0..2 {
        let count = (limit / 100 * 85 / node_size(bytes)) as i32;
        keep.call(&mut *store, (count, bytes)).unwrap();
        assert_eq!(check.call(&mut *store, ()).unwrap(), count);
        let error = keep.call(&mut *store, (count, bytes)).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::AllocationTooLarge));
        assert!(error.downcast_ref::<WasmBacktrace>().is_some());
        let kept = check.call(&mut *store, ()).unwrap();
        let room = (limit / node_size(bytes)) as i32;
        assert!(
            (count..=room).contains(&kept),
            "{kept} of {count} to {room}"
        );
        assert!(store.gc_heap_capacity() <= limit);
        forget.call(&mut *store, ()).unwrap();
        store.gc(None).unwrap();
        assert!(store.gc_stats().bytes_live < 1 << 20);
    }
}

fn limited_by_configuration(limit: usize, bytes: i32) {
    let mut config = Config::new();
    config.gc_heap_limit(limit);
    let engine = Engine::new(&config).unwrap();
    let (mut store, instance) = instance_in(&engine, KEEPER);
    fills(&mut store, &instance, limit, bytes);
}

#[test]
fn a_heap_of_64_mib_holds_its_limit_less_fifteen_percent() {
    // Small objects, and large ones, which are never young.
    for bytes in [100, 200_000] {
        limited_by_configuration(64 << 20, bytes);
    }
}

#[test]
fn a_heap_of_256_mib_holds_its_limit_less_fifteen_percent() {
    limited_by_configuration(256 << 20, 4000);
}

#[test]
fn a_limiter_bounds_the_heap_as_the_configuration_does() {
    const LIMIT: usize = 64 << 20;
    let engine = Engine::default();
    let module = Module::new(&engine, KEEPER).unwrap();
    let limits = StoreLimitsBuilder::new().heap_size(LIMIT).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    fills(&mut store, &instance, LIMIT, 4000);
}
