//! What is inlined, and that it can be told afterwards.

use super::{clif, clif_under, count, lower};
use sarsen_abi::Settings;

#[test]
fn a_small_leaf_leaves_no_call() {
    let code = clif(
        "(module
           (func $add (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
           (func (param i32) (result i32)
             (call $add (call $add (local.get 0) (i32.const 1)) (i32.const 2))))",
    );
    assert_eq!(count(&code, "call"), 0, "{code}");
    assert_eq!(
        count(&code, "block"),
        1,
        "straight code stays straight: {code}"
    );
}

#[test]
fn nothing_is_inlined_when_it_is_switched_off() {
    let settings = Settings {
        inlining: false,
        ..Settings::default()
    };
    let code = clif_under("(module (func $f) (func (call $f)))", &settings);
    assert_eq!(count(&code, "call fn"), 1, "{code}");
}

#[test]
fn a_recursive_function_still_calls_itself() {
    let code = clif(
        "(module (func $f (param i32) (result i32)
           (if (result i32) (local.get 0)
             (then (call $f (i32.sub (local.get 0) (i32.const 1))))
             (else (i32.const 0)))))",
    );
    assert_eq!(count(&code, "call fn"), 1, "{code}");
}

#[test]
fn mutual_recursion_still_uses_the_stack() {
    let code = clif("(module (func $a (call $b)) (func $b (call $a)))");
    assert_eq!(count(&code, "call fn"), 1, "{code}");
}

#[test]
fn locals_of_an_inlined_function_are_zero_in_every_round() {
    let functions = lower(
        "(module
           (func $once (result i32) (local i32)
             (local.get 0)
             (local.set 0 (i32.const 7)))
           (func (result i32) (local i32)
             (loop $l
               (local.set 0 (i32.add (local.get 0) (call $once)))
               (br_if $l (local.get 0)))
             (local.get 0)))",
        &Settings::default(),
    );
    let code = functions[1].clif.to_string();
    // The loop carries the caller's local and nothing else.
    let header = code.lines().find(|line| line.trim().starts_with("block1("));
    let header = header.unwrap_or_else(|| panic!("{code}"));
    assert_eq!(count(header, "i32"), 1, "{code}");
}

#[test]
fn returning_from_an_inlined_function_continues_in_the_caller() {
    let code = clif(
        "(module
           (func $max (param i32 i32) (result i32)
             (if (i32.gt_s (local.get 0) (local.get 1)) (then (return (local.get 0))))
             (local.get 1))
           (func (param i32) (result i32)
             (i32.mul (call $max (local.get 0) (i32.const 10)) (i32.const 2))))",
    );
    assert_eq!(count(&code, "return"), 1, "{code}");
    assert_eq!(count(&code, "imul"), 1, "{code}");
}

#[test]
fn a_tail_call_in_an_inlined_function_comes_back_to_the_caller() {
    let code = clif(
        "(module
           (import \"\" \"f\" (func $f (result i32)))
           (func $g (result i32) (return_call $f))
           (func (result i32) (i32.add (call $g) (i32.const 1))))",
    );
    assert_eq!(count(&code, "return_call"), 0, "{code}");
    assert_eq!(count(&code, "call_indirect"), 1, "{code}");
    assert_eq!(count(&code, "iadd"), 1, "{code}");
}

#[test]
fn inlined_traps_know_callee_and_call_site() {
    let wat = "(module
         (func $fail unreachable)
         (func $middle (call $fail))
         (func (nop) (call $middle)))";
    let functions = lower(wat, &Settings::default());
    let outer = &functions[2];
    let code = outer.clif.to_string();
    assert_eq!(count(&code, "trap user10"), 1, "{code}");
    let contexts = &outer.source.contexts;
    let inlined: Vec<u32> = contexts.iter().map(|c| c.func.as_u32()).collect();
    assert_eq!(inlined, [1, 0]);
    let trap = outer.source.points.last().expect("the trap has one");
    assert_eq!(trap.context, 2);
    let call_of_fail = outer.source.points[contexts[1].parent_point as usize];
    assert_eq!(call_of_fail.context, 1);
    let call_of_middle = outer.source.points[contexts[0].parent_point as usize];
    assert_eq!(call_of_middle.context, 0);
    assert!(trap.wasm_offset < call_of_fail.wasm_offset);
    assert!(call_of_fail.wasm_offset < call_of_middle.wasm_offset);
}

#[test]
fn a_function_grows_within_its_budget() {
    let body = "(local.set 0 (i32.add (local.get 0) (i32.const 1000)))".repeat(3);
    let calls = "(call $f (i32.const 1))".repeat(200);
    let code = clif(&format!(
        "(module (func $f (param i32) {body}) (func {calls}))"
    ));
    let left = count(&code, "call fn");
    assert!((1..200).contains(&left), "{left} calls are left");
}
