//! Calls by reference that are compared with likely callees: between instances, of many values, with exceptions.
//!
//! Everything is done with and without inlining, which the comparisons come with, and must come to the same.

use sarsen::{Config, Engine, Instance, Linker, Module, Store, Trap, TypedFunc};
use std::num::NonZeroU32;

const TYPES: &str = r#"(rec
    (type $s (sub (struct (field (mut i32)))))
    (type $t (sub $s (struct (field (mut i32)) (field i64))))
    (type $many (func (param i32 v128 f64 (ref null $s)) (result v128 f64 (ref null $s) i32)))
    (type $wide (sub (func (param (ref $t)) (result (ref null $s)))))
    (type $narrow (sub $wide (func (param (ref null $s)) (result (ref $t)))))
    (type $v (struct (field $many (ref $many)) (field $wide (mut (ref null $wide)))))
    (type $array (array (ref null $many))))"#;

/// Each instance counts the calls of its own functions. `call` gets objects of its own and of others.
const METHODS: &str = r#"
    (tag $e (param i32))
    (global $count (export "count") (mut i32) (i32.const 0))
    (func $counted (global.set $count (i32.add (global.get $count) (i32.const 1))))
    (func $same (type $many)
      (call $counted) (local.get 1) (local.get 2) (local.get 3) (local.get 0))
    (func $changed (type $many)
      (if (i32.eq (local.get 0) (i32.const 98)) (then (throw $e (local.get 0))))
      (if (i32.eq (local.get 0) (i32.const 99)) (then unreachable))
      (v128.not (local.get 1)) (f64.neg (local.get 2)) (struct.new $s (local.get 0)) (local.get 0))
    (func $early (type $many) (local $new (ref null $s))
      (local.set $new (struct.new $t (i32.const 5) (i64.const 6)))
      (loop $again
        (if (i32.gt_s (local.get 0) (i32.const 50)) (then
          (return (local.get 1) (local.get 2) (local.get $new) (local.get 0))))
        (local.set 0 (i32.add (local.get 0) (i32.const 7)))
        (br $again))
      unreachable)
    (func $on (type $many)
      (return_call_ref $many (local.get 0) (local.get 1) (local.get 2) (local.get 3) (global.get $last)))
    (func $large (type $many)
      (call $counted) (call $counted) (call $counted) (call $counted) (call $counted) (call $counted) (call $counted)
      (call $counted) (call $counted) (call $counted) (call $counted) (call $counted) (call $counted) (call $counted)
      (call $counted) (call $counted) (call $counted) (call $counted) (call $counted) (call $counted) (call $counted)
      (return_call_ref $many (local.get 0) (local.get 1) (local.get 2) (local.get 3) (global.get $last)))
    (func $as_is (type $wide) (call $counted) (local.get 0))
    (func $made (type $narrow) (struct.new $t (i32.const 3) (i64.const 4)))
    (global $last (mut (ref $many)) (ref.func $changed))
    (global $array (ref $array) (array.new_fixed $array 4
      (ref.func $same) (ref.func $changed) (ref.null $many) (ref.func $early)))
    (global $v0 (ref $v) (struct.new $v (ref.func $same) (ref.func $as_is)))
    (global $v1 (ref $v) (struct.new $v (ref.func $changed) (ref.func $made)))
    (global $v2 (ref $v) (struct.new $v (ref.func $early) (ref.null $wide)))
    (global $v3 (ref $v) (struct.new $v (ref.func $on) (ref.func $made)))
    (table funcref (elem $same $changed $early $large $made))
    (func (export "object") (param i32) (result (ref null $v))
      (block (block (block (block (block
        (br_table 0 1 2 3 4 (local.get 0)))
        (return (global.get $v0)))
        (return (global.get $v1)))
        (return (global.get $v2)))
        (return (global.get $v3)))
      (if (i32.eq (local.get 0) (i32.const 4)) (then
        (return (struct.new $v (ref.func $large) (ref.func $as_is)))))
      (ref.null $v))
    (func $through (type $many)
      (return_call_ref $many (local.get 0) (local.get 1) (local.get 2) (local.get 3)
        (array.get $array (global.get $array) (i32.and (local.get 0) (i32.const 7)))))
    (func $sum (param v128 f64 (ref null $s) i32) (result i32)
      (i32.add (local.get 3)
        (i32.mul (i32.const 3) (i32.add (i8x16.extract_lane_s 5 (local.get 0))
        (i32.mul (i32.const 5) (i32.add (i32.trunc_f64_s (local.get 1))
        (i32.mul (i32.const 7) (if (result i32) (ref.is_null (local.get 2)) (then (i32.const 1))
          (else (struct.get $s 0 (local.get 2)))))))))))
    (func (export "call") (param $v (ref null $v)) (param $x i32) (result i32)
      (local $kept (ref null $s)) (local $sum i32)
      (local.set $kept (struct.new $s (i32.const 77)))
      (local.set $sum
        (block $caught (result i32)
          (try_table (result i32) (catch $e $caught)
            (call $sum (call_ref $many
              (local.get $x) (i8x16.splat (local.get $x)) (f64.convert_i32_s (local.get $x)) (local.get $kept)
              (struct.get $v $many (local.get $v)))))))
      (local.set $sum (i32.add (local.get $sum) (block $caught (result i32)
        (try_table (result i32) (catch $e $caught)
          (call $sum (call $through
            (local.get $x) (i8x16.splat (local.get $x)) (f64.convert_i32_s (local.get $x)) (local.get $kept)))))))
      (local.set $sum (i32.add (local.get $sum) (block $caught (result i32)
        (try_table (result i32) (catch $e $caught)
          (call $sum (call_indirect (type $many)
            (local.get $x) (i8x16.splat (local.get $x)) (f64.convert_i32_s (local.get $x)) (local.get $kept)
            (i32.and (local.get $x) (i32.const 7))))))))
      (local.set $kept (call_ref $wide (struct.new $t (i32.const 8) (i64.const 9))
        (struct.get $v $wide (local.get $v))))
      (i32.add (local.get $sum) (struct.get $s 0 (local.get $kept))))
    (func $tail (export "tail") (type $many) (local $v (ref null $v))
      (local.set $v (global.get $v1))
      (if (i32.and (local.get 0) (i32.const 1)) (then (local.set $v (global.get $v0))))
      (return_call_ref $many (local.get 0) (local.get 1) (local.get 2) (local.get 3)
        (struct.get $v $many (local.get $v)))
      (call_ref $many (struct.get $v $many (local.get $v))))
    (func (export "sum_of_tail") (param $x i32) (result i32)
      (call $sum (call_ref $many
        (local.get $x) (i8x16.splat (local.get $x)) (f64.convert_i32_s (local.get $x)) (ref.null $s)
        (ref.func $tail))))
    (elem declare func $tail)
"#;

/// Calls one instance's function with an object of another.
const BETWEEN: &str = r#"
    (import "callee" "object" (func $object (param i32) (result (ref null $v))))
    (import "caller" "call" (func $call (param (ref null $v) i32) (result i32)))
    (func (export "run") (param i32 i32) (result i32)
      (call $call (call $object (local.get 0)) (local.get 1)))
"#;

fn configs() -> impl Iterator<Item = Config> {
    [(false, false), (true, false), (true, true), (false, true)]
        .into_iter()
        .map(|(inlining, fuel)| {
            let mut config = Config::new();
            config
                .compiler_inlining(inlining)
                .consume_fuel(fuel)
                .epoch_interruption(fuel)
                .gc_zeal(inlining.then_some(NonZeroU32::MIN));
            config
        })
}

/// What calls end with, how often each instance's functions were called, and the fuel that those took that
/// returned.
#[derive(PartialEq, Debug)]
struct Outcome {
    results: Vec<Result<i32, Option<Trap>>>,
    counts: Vec<i32>,
    fuel: Vec<u64>,
}

fn outcome(config: &Config) -> Outcome {
    let engine = Engine::new(config).unwrap();
    let methods = Module::new(&engine, format!("(module {TYPES} {METHODS})")).unwrap();
    let between = Module::new(&engine, format!("(module {TYPES} {BETWEEN})")).unwrap();
    let mut store = Store::new(&engine, ());
    let with_fuel = store.set_fuel(1 << 40).is_ok();
    if with_fuel {
        store.set_epoch_deadline(1);
    }
    let instances = [(); 2].map(|()| Instance::new(&mut store, &methods, &[]).unwrap());
    let (mut results, mut counts, mut fuel) = (Vec::new(), Vec::new(), Vec::new());
    // The exceptions of one instance are not those that the other catches.
    let trap = |error: sarsen::Error| error.downcast_ref::<Trap>().copied();
    for caller in &instances {
        for callee in &instances {
            let mut linker: Linker<()> = Linker::new(&engine);
            linker.instance(&mut store, "caller", *caller).unwrap();
            linker.instance(&mut store, "callee", *callee).unwrap();
            let run = linker.instantiate(&mut store, &between).unwrap();
            let run: TypedFunc<(i32, i32), i32> = run.get_typed_func(&mut store, "run").unwrap();
            for object in 0..6 {
                for x in [0, 1, 2, 3, 4, 11, 51, 98, 99, 100] {
                    let before = store.get_fuel().unwrap_or(0);
                    results.push(run.call(&mut store, (object, x)).map_err(trap));
                    if with_fuel && results.last().is_some_and(Result::is_ok) {
                        fuel.push(before - store.get_fuel().unwrap());
                    }
                }
            }
            for instance in &instances {
                let count = instance.get_global(&mut store, "count").unwrap();
                counts.push(count.get(&mut store).i32().unwrap());
            }
        }
        let tail: TypedFunc<i32, i32> = caller.get_typed_func(&mut store, "sum_of_tail").unwrap();
        for x in [1, 2, 97, 100] {
            results.push(tail.call(&mut store, x).map_err(trap));
        }
    }
    Outcome {
        results,
        counts,
        fuel,
    }
}

#[test]
fn calls_between_instances_reach_their_functions_whether_compared_or_not() {
    let outcomes: Vec<Outcome> = configs().map(|config| outcome(&config)).collect();
    let [plain, likely, likely_with_fuel, plain_with_fuel] = &outcomes[..] else {
        unreachable!("there are as many as configurations");
    };
    assert_eq!(likely, plain);
    assert_eq!(likely_with_fuel.results, plain.results);
    assert_eq!(likely_with_fuel, plain_with_fuel);
    let returned = plain.results.iter().filter(|result| result.is_ok()).count();
    let failed = plain.results.len() - returned;
    assert!(returned > 50 && failed > 50, "{returned} and {failed}");
}
