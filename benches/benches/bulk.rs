//! `memory.copy`, `memory.fill` and their like for arrays beside what the host's `memmove` and `memset` cost.
//!
//! Each figure is that of [`times`] operations, so that what entering compiled code costs does not
//! count. Lengths are not known when the code is compiled, but for `copy_known`.

use divan::{Bencher, black_box, counter::BytesCount};
use sarsen::{Config, Engine, Instance, Module, Store};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const LENGTHS: &[usize] = &[1, 16, 256, KIB, 64 * KIB, 16 * MIB, 64 * MIB];

/// Copies, fills or makes `n` bytes of an array, `times` times.
const ARRAYS: &str = r#"(module
  (type $bytes (array (mut i8)))
  (global $to (mut (ref null $bytes)) (ref.null $bytes))
  (global $from (mut (ref null $bytes)) (ref.null $bytes))
  (func (export "make") (param $n i32)
    (global.set $to (array.new $bytes (i32.const 1) (local.get $n)))
    (global.set $from (array.new $bytes (i32.const 2) (local.get $n))))
  (func (export "copy") (param $n i32) (param $times i32)
    (loop $again
      (array.copy $bytes $bytes
        (global.get $to) (i32.const 0) (global.get $from) (i32.const 0) (local.get $n))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
  (func (export "fill") (param $n i32) (param $times i32)
    (loop $again
      (array.fill $bytes (global.get $to) (i32.const 0) (local.get $times) (local.get $n))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
  (func (export "new") (param $n i32) (param $times i32)
    (loop $again
      (global.set $to (array.new $bytes (local.get $times) (local.get $n)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))"#;

/// How often an operation is done in one round: less than a tenth of a second altogether.
fn times(length: usize) -> usize {
    (64 * MIB / length).clamp(1, 1000)
}

/// Functions that copy or fill `n` bytes, `times` times.
fn module(known: usize) -> String {
    let repeat = |operation: &str| {
        format!(
            "(param $to i32) (param $from i32) (param $n i32) (param $times i32)
             (loop $again {operation}
               (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))"
        )
    };
    let copy = repeat("(memory.copy (local.get $to) (local.get $from) (local.get $n))");
    let fill = repeat("(memory.fill (local.get $to) (local.get $from) (local.get $n))");
    let known = repeat(&format!(
        "(memory.copy (local.get $to) (local.get $from) (i32.const {known}))"
    ));
    format!(
        r#"(module (memory 2100)
             (func (export "copy") {copy})
             (func (export "fill") {fill})
             (func (export "copy_known") {known}))"#
    )
}

fn guest(bencher: Bencher<'_, '_>, config: &Config, name: &str, length: usize) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, module(length)).unwrap();
    let mut store = Store::new(&engine, ());
    if name == "copy_interruptible" {
        store.set_epoch_deadline(1);
    }
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let fill = instance
        .get_typed_func::<(i32, i32, i32, i32), ()>(&mut store, "fill")
        .unwrap();
    // Every page is there before the clock starts.
    fill.call(&mut store, (0, 1, 2100 << 16, 1)).unwrap();
    let name = name.strip_suffix("_interruptible").unwrap_or(name);
    let run = instance
        .get_typed_func::<(i32, i32, i32, i32), ()>(&mut store, name)
        .unwrap();
    let times = times(length);
    let arguments = (65 * MIB as i32, 0, length as i32, times as i32);
    bencher
        .counter(BytesCount::new(length * times))
        .bench_local(move || run.call(&mut store, black_box(arguments)).unwrap());
}

#[divan::bench(args = LENGTHS)]
fn copy(bencher: Bencher<'_, '_>, length: usize) {
    guest(bencher, &Config::new(), "copy", length);
}

#[divan::bench(args = LENGTHS)]
fn copy_interruptible(bencher: Bencher<'_, '_>, length: usize) {
    guest(bencher, &interruptible(), "copy_interruptible", length);
}

#[divan::bench(args = LENGTHS)]
fn copy_known(bencher: Bencher<'_, '_>, length: usize) {
    guest(bencher, &Config::new(), "copy_known", length);
}

#[divan::bench(args = LENGTHS)]
fn copy_native(bencher: Bencher<'_, '_>, length: usize) {
    let mut bytes = vec![1u8; 2100 << 16];
    let times = times(length);
    bencher
        .counter(BytesCount::new(length * times))
        .bench_local(move || {
            for _ in 0..times {
                let length = black_box(length);
                black_box(&mut bytes[..]).copy_within(..length, 65 * MIB);
            }
        });
}

fn arrays(bencher: Bencher<'_, '_>, config: &Config, name: &str, length: usize) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, ARRAYS).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let make = instance.get_typed_func::<i32, ()>(&mut store, "make");
    make.unwrap().call(&mut store, length as i32).unwrap();
    store.gc(None).unwrap();
    let run = instance
        .get_typed_func::<(i32, i32), ()>(&mut store, name)
        .unwrap();
    let times = times(length);
    let arguments = (length as i32, times as i32);
    bencher
        .counter(BytesCount::new(length * times))
        .bench_local(move || run.call(&mut store, black_box(arguments)).unwrap());
}

fn interruptible() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config
}

#[divan::bench(args = LENGTHS)]
fn copy_array(bencher: Bencher<'_, '_>, length: usize) {
    arrays(bencher, &Config::new(), "copy", length);
}

#[divan::bench(args = LENGTHS)]
fn copy_array_interruptible(bencher: Bencher<'_, '_>, length: usize) {
    arrays(bencher, &interruptible(), "copy", length);
}

#[divan::bench(args = LENGTHS)]
fn fill_array_interruptible(bencher: Bencher<'_, '_>, length: usize) {
    arrays(bencher, &interruptible(), "fill", length);
}

/// Makes an array; what is collected of others counts.
#[divan::bench(args = [1, 16, 256, KIB, 64 * KIB, 16 * MIB])]
fn new_array_interruptible(bencher: Bencher<'_, '_>, length: usize) {
    arrays(bencher, &interruptible(), "new", length);
}

#[divan::bench(args = LENGTHS)]
fn fill(bencher: Bencher<'_, '_>, length: usize) {
    guest(bencher, &Config::new(), "fill", length);
}

#[divan::bench(args = LENGTHS)]
fn fill_native(bencher: Bencher<'_, '_>, length: usize) {
    let mut bytes = vec![1u8; 2100 << 16];
    let times = times(length);
    bencher
        .counter(BytesCount::new(length * times))
        .bench_local(move || {
            for _ in 0..times {
                let length = black_box(length);
                black_box(&mut bytes[..])[65 * MIB..][..length].fill(black_box(1));
            }
        });
}

fn main() {
    divan::main();
}
