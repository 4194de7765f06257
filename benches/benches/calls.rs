//! The price of crossing between the host and compiled code.
//!
//! Wasm → host cannot be timed a call at a time: `wasm_to_host` runs a loop of
//! [`CALLS_PER_LOOP`] calls, so its figure is to be divided by that.

use divan::{Bencher, black_box, counter::ItemsCount};
use sarsen::{Engine, Func, Instance, Module, Store, TypedFunc, Val};

const CALLS_PER_LOOP: i32 = 10_000;

const MODULE: &str = r#"(module
  (import "host" "next" (func $next (param i32) (result i32)))
  (func (export "nop"))
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "loop") (param $n i32) (result i32)
    (local $x i32)
    (loop $l
      (local.set $x (call $next (local.get $x)))
      (br_if $l (i32.lt_s (local.get $x) (local.get $n))))
    (local.get $x)))"#;

fn instance() -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, MODULE).unwrap();
    let mut store = Store::new(&engine, ());
    let next = Func::wrap(&mut store, |x: i32| x + 1);
    let instance = Instance::new(&mut store, &module, &[next.into()]).unwrap();
    (store, instance)
}

#[divan::bench(sample_size = 2000)]
fn typed_nop(bencher: Bencher<'_, '_>) {
    let (mut store, instance) = instance();
    let nop: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "nop").unwrap();
    bencher.bench_local(move || nop.call(&mut store, ()).unwrap());
}

#[divan::bench(sample_size = 2000)]
fn typed_add(bencher: Bencher<'_, '_>) {
    let (mut store, instance) = instance();
    let add: TypedFunc<(i32, i32), i32> = instance.get_typed_func(&mut store, "add").unwrap();
    bencher.bench_local(move || add.call(&mut store, (black_box(1), black_box(2))).unwrap());
}

#[divan::bench(sample_size = 2000)]
fn dynamic_add(bencher: Bencher<'_, '_>) {
    let (mut store, instance) = instance();
    let add = instance.get_func(&mut store, "add").unwrap();
    let mut results = [Val::I32(0)];
    bencher.bench_local(move || {
        let arguments = [Val::I32(black_box(1)), Val::I32(black_box(2))];
        add.call(&mut store, &arguments, &mut results).unwrap();
    });
}

#[divan::bench]
fn wasm_to_host(bencher: Bencher<'_, '_>) {
    let (mut store, instance) = instance();
    let run: TypedFunc<i32, i32> = instance.get_typed_func(&mut store, "loop").unwrap();
    bencher
        .counter(ItemsCount::new(CALLS_PER_LOOP as usize))
        .bench_local(move || run.call(&mut store, black_box(CALLS_PER_LOOP)).unwrap());
}

fn main() {
    divan::main();
}
