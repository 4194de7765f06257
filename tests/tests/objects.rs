//! Objects of sizes and types that the official suite leaves out: larger than what is allocated inline,
//! fields beyond what is unmapped below the heap, arrays of every element and many lengths, types deeper
//! than their rows. Each program also runs with a collection at every allocation.

use sarsen::{Config, Engine, Instance, Module, Store, Trap, Val};
use std::num::NonZeroU32;

/// What a call gives: a number, or the message of a trap.
type Outcome = Result<i64, &'static str>;

/// Runs `calls` in one instance of `wat` under the default settings, and in one that collects always.
fn run(wat: &str, calls: &[(String, Vec<i32>, Outcome)]) {
    for zeal in [None, NonZeroU32::new(1)] {
        let mut config = Config::new();
        config.gc_zeal(zeal);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wat).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for (name, args, expected) in calls {
            let func = instance.get_func(&mut store, name).unwrap();
            let args: Vec<Val> = args.iter().map(|&arg| Val::I32(arg)).collect();
            let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
            let outcome = func.call(&mut store, &args, &mut results);
            let found = match outcome {
                Ok(()) => Ok(results.first().map_or(0, number)),
                Err(error) => Err(error.downcast_ref::<Trap>().unwrap().to_string()),
            };
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name} {args:?}"),
                (Err(found), Err(expected)) => {
                    assert!(found.contains(expected), "{name} {args:?}: {found}");
                }
                _ => panic!("{name} {args:?}: {found:?}, expected {expected:?}"),
            }
        }
    }
}

fn number(value: &Val) -> i64 {
    match *value {
        Val::I32(value) => i64::from(value),
        Val::I64(value) => value,
        ref other => panic!("{other:?}"),
    }
}

fn call(name: impl Into<String>, args: &[i32], outcome: Outcome) -> (String, Vec<i32>, Outcome) {
    (name.into(), args.to_vec(), outcome)
}

/// A loop that makes garbage.
const CHURN: &str = "(func $churn (local $k i32)
    (loop $l
      (drop (struct.new $box (i32.const 9)))
      (br_if $l (i32.lt_u
        (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 500)))))";

#[test]
fn the_young_objects_that_a_large_structure_is_made_of_survive() {
    let fields = "(field (mut i64))".repeat(600);
    let values = "(i64.const 7)".repeat(600);
    let wat = format!(
        "(module
           (type $box (struct (field $v (mut i32))))
           (type $large (struct {fields}
             (field $r (mut (ref null $box))) (field $any (mut anyref)) (field $tail i8)))
           {CHURN}
           (func (export \"large\") (param i32) (result i32) (local $l (ref null $large))
             (local.set $l
               (struct.new $large {values}
                 (struct.new $box (local.get 0)) (ref.i31 (i32.const -5)) (i32.const 200)))
             (call $churn)
             (struct.set $large $any (local.get $l)
               (struct.new $box (i31.get_s (ref.cast i31ref (struct.get $large $any (local.get $l))))))
             (call $churn)
             (i32.add
               (i32.add (struct.get $box $v (struct.get $large $r (local.get $l)))
                        (i32.wrap_i64 (struct.get $large 599 (local.get $l))))
               (i32.add (struct.get $box $v (ref.cast (ref $box) (struct.get $large $any (local.get $l))))
                        (struct.get_s $large $tail (local.get $l))))))"
    );
    run(&wat, &[call("large", &[1000], Ok(1000 + 7 - 5 - 56))]);
}

#[test]
fn a_field_beyond_the_unmapped_beginning_of_the_heap_is_as_safe_as_others() {
    let fields = "(field v128)".repeat(4200);
    let wat = format!(
        "(module
           (type $box (struct (field $v (mut i32))))
           (type $huge (struct {fields} (field $r (mut (ref null $box))) (field $n (mut i32))))
           (func (export \"default\") (result i32) (local $h (ref $huge))
             (local.set $h (struct.new_default $huge))
             (struct.set $huge $r (local.get $h) (struct.new $box (i32.const 4)))
             (drop (struct.new $box (i32.const 1)))
             (struct.set $huge $n (local.get $h) (i32.const 3))
             (i32.add (struct.get $huge $n (local.get $h))
                      (struct.get $box $v (struct.get $huge $r (local.get $h)))))
           (func (export \"get\") (result i32) (local $h (ref null $huge))
             (struct.get $huge $n (local.get $h)))
           (func (export \"set\") (local $h (ref null $huge))
             (struct.set $huge $r (local.get $h) (struct.new $box (i32.const 1)))))"
    );
    run(
        &wat,
        &[
            call("default", &[], Ok(7)),
            call("get", &[], Err("null reference")),
            call("set", &[], Err("null reference")),
        ],
    );
}

#[test]
fn the_young_objects_that_a_large_array_is_made_of_survive() {
    const LENGTH: i64 = 1200;
    let elements: String = (0..LENGTH)
        .map(|n| format!("(struct.new $box (i32.add (local.get 0) (i32.const {n})))"))
        .collect();
    let wat = format!(
        "(module
           (type $box (struct (field $v (mut i32))))
           (type $refs (array (mut (ref null $box))))
           {CHURN}
           (func (export \"sum\") (param i32) (result i32)
             (local $a (ref $refs)) (local $k i32) (local $s i32)
             (local.set $a (array.new_fixed $refs {LENGTH} {elements}))
             (call $churn)
             (loop $l
               (local.set $s (i32.add (local.get $s)
                 (struct.get $box $v (array.get $refs (local.get $a) (local.get $k)))))
               (br_if $l (i32.lt_u
                 (local.tee $k (i32.add (local.get $k) (i32.const 1))) (array.len (local.get $a)))))
             (local.get $s)))"
    );
    let sum = (0..LENGTH).map(|n| n + 5).sum();
    run(&wat, &[call("sum", &[5], Ok(sum))]);
}

#[test]
fn arrays_of_every_element_and_length_have_the_right_elements_and_end() {
    let kinds = [
        ("i8", "(i32.const 0x1f7)", "", "array.get_u", 0xf7),
        ("i16", "(i32.const 0x1f7f7)", "", "array.get_s", -0x809),
        ("i32", "(i32.const 77)", "", "array.get", 77),
        ("i64", "(i64.const -77)", "i32.wrap_i64", "array.get", -77),
        ("f32", "(f32.const 3)", "i32.trunc_f32_s", "array.get", 3),
        ("f64", "(f64.const 4)", "i32.trunc_f64_s", "array.get", 4),
        (
            "v128",
            "(v128.const i32x4 1 2 3 4)",
            "i32x4.extract_lane 3",
            "array.get",
            4,
        ),
        (
            "i31ref",
            "(ref.i31 (i32.const -3))",
            "i31.get_s",
            "array.get",
            -3,
        ),
    ];
    let lengths = [
        0, 1, 2, 3, 5, 7, 8, 9, 100, 255, 256, 511, 1022, 1023, 4088, 4089, 10_000,
    ];
    for (storage, value, to_i32, get, expected) in kinds {
        let wat = format!(
            "(module
               (type $t (array (mut {storage})))
               (func (export \"new\") (param i32 i32) (result i32)
                 ({get} $t (array.new $t {value} (local.get 0)) (local.get 1)) {to_i32})
               (func (export \"set\") (param i32 i32) (result i32) (local $a (ref $t))
                 (local.set $a (array.new_default $t (local.get 0)))
                 (array.set $t (local.get $a) (local.get 1) {value})
                 ({get} $t (local.get $a) (local.get 1)) {to_i32})
               (func (export \"null\") (param i32) (result i32) (local $a (ref null $t))
                 ({get} $t (local.get $a) (local.get 0)) {to_i32}))"
        );
        let mut calls = vec![call("null", &[0], Err("null"))];
        for length in lengths {
            for name in ["new", "set"] {
                if length > 0 {
                    calls.push(call(name, &[length, length - 1], Ok(expected)));
                }
                let outside = Err("out of bounds array access");
                calls.push(call(name, &[length, length], outside));
                calls.push(call(name, &[length, -1], outside));
            }
        }
        run(&wat, &calls);
    }
}

#[test]
fn types_of_every_depth_are_told_from_each_other() {
    const DEEPEST: i32 = 63;
    let mut types = String::from("(type $t0 (sub (struct)))");
    let mut init = String::from("(table.set (i32.const 0) (struct.new $t0))");
    for depth in 1..=DEEPEST {
        types += &format!("(type $t{depth} (sub $t{} (struct)))", depth - 1);
        init += &format!("(table.set (i32.const {depth}) (struct.new $t{depth}))");
    }
    let asked = [0, 1, 10, 11, 12, 13, 30, 62, 63];
    let mut funcs = String::new();
    let mut calls = vec![call("init", &[], Ok(0))];
    for depth in asked {
        funcs += &format!(
            "(func (export \"is{depth}\") (param i32) (result i32)
               (ref.test (ref $t{depth}) (table.get (local.get 0))))
             (func (export \"cast{depth}\") (param i32)
               (drop (ref.cast (ref null $t{depth}) (table.get (local.get 0)))))"
        );
        for actual in (0..=DEEPEST).chain([64]) {
            // The last is of a type that branches off at depth 12.
            let is = if actual == 64 {
                depth <= 12
            } else {
                depth <= actual
            };
            calls.push(call(format!("is{depth}"), &[actual], Ok(is.into())));
            let cast = if is { Ok(0) } else { Err("cast failure") };
            calls.push(call(format!("cast{depth}"), &[actual], cast));
        }
    }
    let wat = format!(
        "(module {types} (type $other (sub $t12 (struct (field i32))))
           (table 65 (ref null $t0))
           (func (export \"init\") {init} (table.set (i32.const 64) (struct.new $other (i32.const 1))))
           {funcs})"
    );
    run(&wat, &calls);
}
