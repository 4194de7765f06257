//! What asynchronous calls cost.
//!
//! The first two run a loop of [`CALLS_PER_LOOP`] calls of an async host function in one asynchronous call, so
//! their figures are to be divided by that. The executor is a loop that polls.

use divan::{Bencher, black_box, counter::ItemsCount};
use sarsen::{Engine, Func, Instance, Module, Store, TypedFunc};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

const CALLS_PER_LOOP: i32 = 10_000;

const MODULE: &str = r#"(module
  (import "host" "next" (func $next (param i32) (result i32)))
  (func (export "nop"))
  (func (export "loop") (param $n i32) (result i32)
    (local $x i32)
    (loop $l
      (local.set $x (call $next (local.get $x)))
      (br_if $l (i32.lt_s (local.get $x) (local.get $n))))
    (local.get $x)))"#;

/// Is pending once, if it is true.
struct PendingIf(bool);

impl Future for PendingIf {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match std::mem::take(&mut self.0) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn instance(pending: bool) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, MODULE).unwrap();
    let mut store = Store::new(&engine, ());
    let next = Func::wrap_async(&mut store, move |_, x: i32| {
        Box::new(async move {
            PendingIf(pending).await;
            x + 1
        })
    });
    let instance = Instance::new(&mut store, &module, &[next.into()]).unwrap();
    (store, instance)
}

fn calls(bencher: Bencher<'_, '_>, pending: bool) {
    let (mut store, instance) = instance(pending);
    let run: TypedFunc<i32, i32> = instance.get_typed_func(&mut store, "loop").unwrap();
    bencher
        .counter(ItemsCount::new(CALLS_PER_LOOP as usize))
        .bench_local(move || {
            block_on(run.call_async(&mut store, black_box(CALLS_PER_LOOP))).unwrap()
        });
}

#[divan::bench]
fn host_call_ready(bencher: Bencher<'_, '_>) {
    calls(bencher, false);
}

#[divan::bench]
fn host_call_pending_once(bencher: Bencher<'_, '_>) {
    calls(bencher, true);
}

#[divan::bench(sample_size = 2000)]
fn call_async_nop(bencher: Bencher<'_, '_>) {
    let (mut store, instance) = instance(false);
    let nop: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "nop").unwrap();
    bencher.bench_local(move || block_on(nop.call_async(&mut store, ())).unwrap());
}

fn main() {
    divan::main();
}
