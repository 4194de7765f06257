//! The price of exceptions: thrown over some number of frames, made and rethrown, and not thrown at all.
//!
//! Each bench runs a loop in the guest; what is shown is for one round of it.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sarsen::{Engine, Instance, Module, Store, TypedFunc};

/// `throw` unwinds so many frames and the one that throws; the calls are indirect, and may be of more
/// functions than are guessed, so that nothing is inlined. The others call without throwing.
const MODULE: &str = r#"(module
  (type $t (func (param i32)))
  (tag $e (param i32))
  (table funcref (elem $throw $deep $nothing $handles $some $unused))
  (func $throw (type $t) (throw $e (local.get 0)))
  (func $deep (type $t)
    (if (i32.gt_s (local.get 0) (i32.const 1))
      (then (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))
      (else (call_indirect (type $t) (local.get 0) (i32.const 0)))))
  (func $nothing (type $t))
  (func $some (type $t) (global.set $sum (i32.add (global.get $sum) (local.get 0))))
  (func $unused (type $t))
  (func $handles (type $t)
    (block $h (result i32)
      (try_table (catch $e $h) (call_indirect (type $t) (local.get 0) (i32.const 2)))
      (return))
    (drop))
  (func (export "throw") (param $rounds i32) (param $depth i32) (param $first i32)
    (loop $again
      (block $h (result i32)
        (try_table (catch $e $h) (call_indirect (type $t) (local.get $depth) (local.get $first)))
        (unreachable))
      (drop)
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))
  (func (export "call") (param $rounds i32) (param $unused i32) (param $callee i32)
    (loop $again
      (call_indirect (type $t) (local.get $rounds) (local.get $callee))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))
  (func (export "in loop") (param $rounds i32) (param $unused i32) (param $callee i32)
    (block $h (result i32)
      (try_table (catch $e $h)
        (loop $again
          (call_indirect (type $t) (local.get $rounds) (local.get $callee))
          (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))
      (return))
    (drop))
  (global $sum (mut i32) (i32.const 0))
  ;; Too large to be inlined; it does nothing but if its argument is zero, which it is once.
  (func $quiet (type $t) (if (i32.eqz (local.get 0)) (then QUIET)))
  (func (export "quiet") (param $rounds i32) (param $unused i32) (param $unused2 i32)
    (loop $again
      (call $quiet (local.get $rounds))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))
  (func (export "quiet in loop") (param $rounds i32) (param $unused i32) (param $unused2 i32)
    (block $h (result i32)
      (try_table (catch $e $h)
        (loop $again
          (call $quiet (local.get $rounds))
          (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))
      (return))
    (drop))
  (func $leaf (param i32) (if (i32.and (local.get 0) (i32.const 1)) (then (throw $e (local.get 0)))))
  (func (export "inlined") (param $rounds i32) (param $unused i32) (param $unused2 i32)
    (loop $again
      (block $done
        (block $h (result i32)
          (try_table (catch $e $h) (call $leaf (local.get $rounds)) (br $done))
          (unreachable))
        (drop))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))"#;

const ROUNDS: i32 = 10_000;

fn rounds(bencher: Bencher<'_, '_>, name: &str, depth: i32, first: i32) {
    let engine = Engine::default();
    let quiet = "(global.set $sum (i32.add (global.get $sum) (i32.const 1)))".repeat(20);
    let module = Module::new(&engine, MODULE.replace("QUIET", &quiet)).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run: TypedFunc<(i32, i32, i32), ()> = instance.get_typed_func(&mut store, name).unwrap();
    bencher
        .counter(ItemsCount::new(ROUNDS as u32))
        .bench_local(move || {
            run.call(&mut store, black_box((ROUNDS, depth, first)))
                .unwrap()
        });
}

#[divan::bench]
fn throw_1_frame(bencher: Bencher<'_, '_>) {
    rounds(bencher, "throw", 0, 0);
}

#[divan::bench]
fn throw_2_frames(bencher: Bencher<'_, '_>) {
    rounds(bencher, "throw", 1, 1);
}

#[divan::bench]
fn throw_10_frames(bencher: Bencher<'_, '_>) {
    rounds(bencher, "throw", 9, 1);
}

#[divan::bench]
fn throw_inlined(bencher: Bencher<'_, '_>) {
    rounds(bencher, "inlined", 0, 0);
}

#[divan::bench]
fn call_without_handlers(bencher: Bencher<'_, '_>) {
    rounds(bencher, "call", 0, 2);
}

#[divan::bench]
fn call_with_handlers(bencher: Bencher<'_, '_>) {
    rounds(bencher, "call", 0, 3);
}

#[divan::bench]
fn call_in_a_handler_around_the_loop(bencher: Bencher<'_, '_>) {
    rounds(bencher, "in loop", 0, 2);
}

/// As the two before, of a callee that does something: it adds to a global.
#[divan::bench]
fn call_of_work_without_handlers(bencher: Bencher<'_, '_>) {
    rounds(bencher, "call", 0, 4);
}

#[divan::bench]
fn call_of_work_in_a_handler_around_the_loop(bencher: Bencher<'_, '_>) {
    rounds(bencher, "in loop", 0, 4);
}

/// A callee that cannot throw, without a handler around the loop and with one.
#[divan::bench]
fn call_of_what_cannot_throw(bencher: Bencher<'_, '_>) {
    rounds(bencher, "quiet", 0, 0);
}

#[divan::bench]
fn call_of_what_cannot_throw_in_a_handler(bencher: Bencher<'_, '_>) {
    rounds(bencher, "quiet in loop", 0, 0);
}

fn main() {
    divan::main();
}
