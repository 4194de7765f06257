//! What a collection of the nursery costs besides what survives: with very many suspended stacks, and with
//! very many frames.
//!
//! The nursery is as small as it can be, and nothing in it survives. What is shown is for one collection, with
//! the thousand allocations that lead to it.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sarsen::{Config, Engine, Instance, Module, Store, TypedFunc};
use std::thread;

/// The size of the nursery, in bytes, and how many objects it has room for.
const NURSERY: usize = 16 << 10;
const OBJECTS: i32 = (NURSERY / 16) as i32;
/// How many collections are made for each sample.
const COLLECTIONS: i32 = 50;
/// So many bytes of stack are enough for a frame.
const FRAME: usize = 128;
/// The most frames.
const FRAMES: usize = 100_000;

/// `fill` allocates so many objects; `suspend` leaves so many continuations suspended; `fill_below` allocates
/// below so many frames, each of which holds a reference.
const MODULE: &str = r#"(module
  (type $s (struct (field i64)))
  (type $f (func)) (type $k (cont $f))
  (type $d (func (param i32 i32) (result (ref null $s))))
  (tag $y)
  (table $waiting 0 (ref null $k))
  (table $indirect funcref (elem $below))
  (elem declare func $waits)
  (func $waits (suspend $y))
  (func $fill (export "fill") (param $n i32)
    (loop $again
      (drop (struct.new $s (i64.const 1)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "suspend") (param $n i32) (local $i i32)
    (drop (table.grow $waiting (ref.null $k) (local.get $n)))
    (loop $again
      (if (i32.eq (local.get $i) (local.get $n)) (then (return)))
      (local.get $i)
      (block $h (result (ref $k))
        (resume $k (on $y $h) (cont.new $k (ref.func $waits)))
        (unreachable))
      (table.set $waiting)
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $again)))
  (func $below (type $d) (local $held (ref null $s))
    (local.set $held (struct.new $s (i64.const 2)))
    (if (i32.gt_s (local.get 0) (i32.const 1))
      (then
        (drop
          (call_indirect $indirect (type $d)
            (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (i32.const 0))))
      (else (call $fill (local.get 1))))
    (local.get $held))
  (func (export "fill_below") (param i32 i32)
    (drop (call $below (local.get 0) (local.get 1)))))"#;

fn guest() -> (Store<()>, Instance) {
    let mut config = Config::new();
    config
        .wasm_stack_switching(true)
        .max_wasm_stack(FRAMES * FRAME)
        .gc_nursery_size(NURSERY, NURSERY)
        .gc_pause_target(None);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, MODULE).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[divan::bench(args = [0, 1000, 1_000_000], sample_size = 10)]
fn minor_with_suspended_stacks(bencher: Bencher<'_, '_>, stacks: i32) {
    let (mut store, instance) = guest();
    let mut func =
        |name: &str| -> TypedFunc<i32, ()> { instance.get_typed_func(&mut store, name).unwrap() };
    let (suspend, fill) = (func("suspend"), func("fill"));
    suspend.call(&mut store, stacks).unwrap();
    store.gc(None).unwrap();
    let bencher = bencher.counter(ItemsCount::new(COLLECTIONS as usize));
    bencher.bench_local(|| {
        fill.call(&mut store, black_box(COLLECTIONS * OBJECTS))
            .unwrap();
    });
    assert_eq!(store.continuation_stacks(), stacks as usize);
}

#[divan::bench(args = [1, 100, 10_000, FRAMES], sample_size = 1)]
fn minor_with_frames(bencher: Bencher<'_, '_>, frames: usize) {
    let (mut store, instance) = guest();
    let fill: TypedFunc<(i32, i32), ()> =
        instance.get_typed_func(&mut store, "fill_below").unwrap();
    let bencher = bencher.counter(ItemsCount::new(COLLECTIONS as usize));
    bencher.bench_local(|| {
        let objects = COLLECTIONS * OBJECTS;
        fill.call(&mut store, black_box((frames as i32, objects)))
            .unwrap();
    });
}

fn main() {
    // A stack with room for the frames.
    let thread = thread::Builder::new().stack_size(4 * FRAMES * FRAME);
    thread.spawn(divan::main).unwrap().join().unwrap();
}
