//! Which calls by reference are compared with likely callees, and what they become.

use super::{assembly_of, clif, clif_under, count, isa, lower};
use crate::lower::targets::Targets;
use crate::read;
use sarsen_abi::{DefinedFuncIndex, Features, Settings, TypeIndex};

/// More than is inlined.
fn large_body() -> String {
    "(local.set 0 (i32.add (local.get 0) (i32.const 1000)))".repeat(40)
}

/// A call of a function of type `$f` in a field.
const CALL: &str = "(func (param (ref $holder)) (result i32)
    (call_ref $f (i32.const 1) (struct.get $holder $f (local.get 0))))";

const TYPES: &str = "
    (type $f (func (param i32) (result i32)))
    (type $holder (struct (field $f (ref null $f))))";

/// So many functions that are referred to, with this body.
fn functions(count: usize, body: &str) -> String {
    let functions: String = (0..count)
        .map(|n| format!("(func $f{n} (type $f) {body} (local.get 0))"))
        .collect();
    let names: String = (0..count).map(|n| format!("$f{n} ")).collect();
    format!("{functions} (elem declare func {names})")
}

#[test]
fn functions_in_fields_are_compared_by_number_and_inlined() {
    let code = clif(&format!("(module {TYPES} {} {CALL})", functions(2, "")));
    assert_eq!(count(&code, "brif"), 2, "{code}");
    assert_eq!(
        count(&code, "load.i32 notrap aligned region"),
        3,
        "two numbers, and the mask: {code}"
    );
    assert_eq!(count(&code, "call fn"), 0, "{code}");
    assert_eq!(count(&code, "call_indirect"), 1, "for all others: {code}");
    assert_eq!(count(&code, "cold"), 1, "{code}");
}

#[test]
fn of_large_functions_in_fields_no_more_than_two_are_called_directly() {
    for (functions_there, called) in [(1, 1), (2, 2), (3, 0)] {
        let functions = functions(functions_there, &large_body());
        let code = clif(&format!("(module {TYPES} {functions} {CALL})"));
        assert_eq!(count(&code, "call fn"), called, "{code}");
        assert_eq!(count(&code, "call_indirect"), 1, "{code}");
    }
}

#[test]
fn addresses_are_compared_only_with_what_is_inlined() {
    let by_address = "(func (param (ref null $f)) (result i32)
        (call_ref $f (i32.const 1) (local.get 0)))";
    let by_table = "(table 2 funcref) (func (param i32) (result i32)
        (call_indirect (type $f) (i32.const 1) (local.get 0)))";
    for call in [by_address, by_table] {
        let small = functions(4, "");
        let code = clif(&format!("(module {TYPES} {small} {call})"));
        assert_eq!(count(&code, "brif"), 4, "{code}");
        assert_eq!(count(&code, "call fn"), 0, "{code}");
        let large = functions(1, &large_body());
        let code = clif(&format!("(module {TYPES} {large} {call})"));
        assert_eq!(count(&code, "brif"), 0, "{code}");
        assert_eq!(count(&code, "call fn"), 0, "{code}");
    }
}

#[test]
fn what_may_be_many_functions_is_compared_with_none() {
    let code = clif(&format!("(module {TYPES} {} {CALL})", functions(5, "")));
    assert_eq!(count(&code, "brif"), 0, "{code}");
    assert_eq!(count(&code, "call_indirect"), 1, "{code}");
}

#[test]
fn nothing_is_compared_when_inlining_is_switched_off() {
    let settings = Settings {
        inlining: false,
        ..Settings::default()
    };
    let text = format!("(module {TYPES} {} {CALL})", functions(1, ""));
    let code = clif_under(&text, &settings);
    assert_eq!(count(&code, "brif"), 0, "{code}");
}

#[test]
fn a_field_that_nobody_calls_from_gives_a_reference() {
    let code = clif(&format!(
        "(module {TYPES} {} (func (param (ref $holder)) (result i32)
           (struct.get $holder $f (local.get 0)) (ref.is_null)))",
        functions(1, "")
    ));
    assert_eq!(count(&code, "call"), 0, "{code}");
}

#[test]
fn tail_calls_stay_tail_calls() {
    let code = clif(&format!(
        "(module {TYPES} {} (func (param (ref $holder)) (result i32)
           (return_call_ref $f (i32.const 1) (struct.get $holder $f (local.get 0)))))",
        functions(1, "")
    ));
    assert_eq!(count(&code, "return_call fn"), 1, "{code}");
    assert_eq!(count(&code, "return_call_indirect"), 1, "{code}");
}

#[test]
fn each_way_of_a_call_that_is_caught_has_its_handler() {
    let code = clif(&format!(
        "(module {TYPES} (import \"\" \"\" (func $import)) {}
           (func (param (ref $holder)) (result i32)
             (block $h
               (return (try_table (result i32) (catch_all $h)
                 (call_ref $f (i32.const 1) (struct.get $holder $f (local.get 0))))))
             (i32.const 0)))",
        functions(2, "(call $import)")
    ));
    assert_eq!(count(&code, "try_call_indirect"), 3, "{code}");
}

#[test]
fn traps_in_what_is_inlined_know_callee_and_call_site() {
    let wat = format!(
        "(module {TYPES} (func $fail (type $f) (i32.div_s (i32.const 1) (local.get 0)))
           (elem declare func $fail) {CALL})"
    );
    let functions = lower(&wat, &Settings::default());
    let contexts = &functions[1].source.contexts;
    assert_eq!(contexts.len(), 1);
    assert_eq!(contexts[0].func.as_u32(), 0);
    let points = &functions[1].source.points;
    let call = points[contexts[0].parent_point as usize];
    let division = points.iter().find(|point| point.context == 1).unwrap();
    assert_eq!(call.context, 0);
    assert!(division.wasm_offset < call.wasm_offset);
}

#[test]
fn calls_that_nest_within_what_is_inlined_end() {
    // Every function calls one of all four, and all are small.
    let call = "(call_ref $f (local.get 0) (struct.get $holder $f (global.get $holder))) (drop)";
    let functions_of_module = functions(4, call);
    let wat = format!(
        "(module {TYPES} (global $holder (import \"\" \"\") (ref $holder)) {functions_of_module}
           (func (param i32) (result i32) {call} {call} {call} (i32.const 0)))"
    );
    let isa = isa(&Settings::default());
    for function in lower(&wat, &Settings::default()) {
        let blocks = function.clif.layout.blocks().count();
        assert!(blocks < 1000, "{blocks} blocks");
        assembly_of(&function, &isa);
    }
}

fn targets(wat: &str) -> Targets {
    let wasm = wat::parse_str(wat).unwrap();
    Targets::find(&read::read(&wasm, Features::default()).unwrap().module)
}

fn defined<const N: usize>(functions: [u32; N]) -> [DefinedFuncIndex; N] {
    functions.map(DefinedFuncIndex::new)
}

#[test]
fn what_classes_hold_is_known_by_field_and_of_superclasses_too() {
    let targets = targets(
        "(module
           (type $m (func))
           (type $base (sub (struct (field (ref null $m)) (field (ref null $m)))))
           (type $left (sub $base (struct (field (ref null $m)) (field (ref null $m)))))
           (type $right (sub $base
             (struct (field (ref null $m)) (field (ref null $m)) (field (ref null $m)))))
           (type $never-made (struct (field (ref $m))))
           (func $a (type $m)) (func $b (type $m)) (func $c (type $m)) (func $d (type $m))
           (func $e (type $m))
           (global (ref $left) (struct.new $left (ref.func $a) (ref.null $m)))
           (global (ref $right) (struct.new $right
             (ref.func $b) (ref.func $c) (ref.func $d)))
           (global (ref $right) (struct.new $right
             (ref.func $b) (ref.func $e) (ref.null $m))))",
    );
    let of_field = |ty, field| targets.of_field(TypeIndex::new(ty), field);
    let [base, left, right, never_made] = [1, 2, 3, 4];
    assert_eq!(of_field(left, 0), Some(&defined([0])[..]));
    assert_eq!(of_field(left, 1), None);
    assert_eq!(of_field(right, 0), Some(&defined([1])[..]));
    assert_eq!(of_field(right, 1), Some(&defined([2, 4])[..]));
    assert_eq!(of_field(right, 2), Some(&defined([3])[..]));
    let both = of_field(base, 0).unwrap();
    assert!(both.len() == 2 && defined([0, 1]).iter().all(|func| both.contains(func)));
    assert_eq!(of_field(base, 1), Some(&defined([2, 4])[..]));
    assert_eq!(of_field(never_made, 0), None);
    assert_eq!(targets.of_type(TypeIndex::new(0)), [], "five are too many");
}

#[test]
fn a_type_has_what_is_referred_to_or_else_what_is_exported() {
    let targets = targets(
        "(module
           (type $super (sub (func)))
           (type $sub (sub $super (func)))
           (type $other (func (param i32)))
           (import \"\" \"\" (func $import (type $super)))
           (func $never (type $super))
           (func $in-table (type $super))
           (func $in-global (type $sub))
           (func (export \"a\") (type $super))
           (func (export \"b\") (type $other))
           (global funcref (ref.func $in-global))
           (elem declare func $import)
           (table funcref (elem $in-table $in-table)))",
    );
    let of_type = |ty| targets.of_type(TypeIndex::new(ty));
    assert_eq!(of_type(0), defined([1, 2]));
    assert_eq!(of_type(1), defined([2]));
    assert_eq!(of_type(2), defined([4]));
}
