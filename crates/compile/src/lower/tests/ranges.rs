//! Which checks of array indices are found to be superfluous; `crate::optimize` removes them.

use super::{count, lower};
use crate::optimize::remove_checks;
use cranelift_codegen::Context;
use sarsen_abi::Settings;

/// How many checks are left in the last function of a module that has a type of arrays.
fn checks(code: &str) -> usize {
    let module = format!("(module (type $ints (array (mut i32))) {code})");
    let function = lower(&module, &Settings::default()).pop();
    let function = function.expect("it has a function");
    let before = function.array_checks.len();
    let mut context = Context::for_function(function.clif);
    assert_eq!(count(&context.func.to_string(), "trapnz"), before);
    remove_checks(&mut context, &function.array_checks);
    count(&context.func.to_string(), "trapnz")
}

/// How many checks a function has left whose body is `code`: `$a` is an array and `$n` a number, `$b` a
/// number, and `$i` a local.
fn left(code: &str) -> usize {
    checks(&format!(
        "(func $f (import \"\" \"\"))
         (func (param $a (ref $ints)) (param $n i32) (param $b i32) (local $i i32) {code})"
    ))
}

const GET: &str = "(drop (array.get $ints (local.get $a) (local.get $i)))";
const NEXT: &str = "(local.set $i (i32.add (local.get $i) (i32.const 1)))";
const LENGTH: &str = "(array.len (local.get $a))";

/// A loop that looks first: `while !(leave) { body; $i += 1 }`.
fn looks_first(leave: &str, body: &str) -> String {
    format!("(block $out (loop $l (br_if $out {leave}) {body} {NEXT} (br $l)))")
}

/// A loop that looks last, and is entered only if it would look: `if (cond) do { body; $i += 1 } while (cond)`.
fn looks_last(condition: &str, body: &str) -> String {
    format!("(if {condition} (then (loop $l {body} {NEXT} (br_if $l {condition}))))")
}

#[test]
fn a_check_that_an_earlier_one_dominates_goes() {
    assert_eq!(left(&format!("{GET} (call $f) {GET}")), 1);
    let set = "(array.set $ints (local.get $a) (local.get $i) (i32.const 1))";
    assert_eq!(left(&format!("{NEXT} {GET} {set}")), 1);
    assert_eq!(left(&format!("(if (local.get $n) (then {GET})) {GET}")), 2);
    assert_eq!(left(&format!("{GET} {NEXT} {GET}")), 2);
}

#[test]
fn a_branch_on_the_length_takes_the_place_of_the_check() {
    for condition in [
        format!("(i32.lt_u (local.get $i) {LENGTH})"),
        format!("(i32.gt_u {LENGTH} (local.get $i))"),
        format!("(i32.eqz (i32.ge_u (local.get $i) {LENGTH}))"),
    ] {
        let code = format!("{NEXT} (if {condition} (then {GET}))");
        assert_eq!(left(&code), 0, "{condition}");
        let code = format!("{NEXT} (if {condition} (then (nop)) (else {GET}))");
        assert_eq!(left(&code), 1, "{condition}");
        let code = format!("{NEXT} (if {condition} (then {NEXT} {GET}))");
        assert_eq!(left(&code), 1, "{condition}");
    }
    let code = format!("{NEXT} (if (i32.le_u (local.get $i) {LENGTH}) (then {GET}))");
    assert_eq!(left(&code), 1);
    let code = format!(
        "(local.set $i (local.get $n)) (if (i32.lt_s (local.get $i) {LENGTH}) (then {GET}))"
    );
    assert_eq!(left(&code), 1, "it may be negative");
}

#[test]
fn a_loop_up_to_the_length_checks_nothing() {
    for sign in ["s", "u"] {
        let leave = format!("(i32.ge_{sign} (local.get $i) {LENGTH})");
        assert_eq!(left(&looks_first(&leave, GET)), 0, "{sign}");
        let goes_on = format!("(i32.lt_{sign} (local.get $i) {LENGTH})");
        assert_eq!(left(&looks_last(&goes_on, GET)), 0, "{sign}");
        let with_call = format!("(call $f) {GET}");
        assert_eq!(left(&looks_first(&leave, &with_call)), 0, "{sign}");
        let with_continue = format!("(if (local.get $n) (then {NEXT} (br $l))) {GET}");
        assert_eq!(left(&looks_first(&leave, &with_continue)), 0, "{sign}");
    }
}

#[test]
fn a_loop_that_is_entered_if_there_is_an_element_checks_nothing() {
    for (sign, entered) in [("s", "i32.gt_s"), ("u", "i32.gt_u"), ("s", "i32.ge_s")] {
        let goes_on = format!("(i32.lt_{sign} (local.get $i) {LENGTH})");
        let code = format!(
            "(if ({entered} {LENGTH} (i32.const 0)) (then (loop $l {GET} {NEXT} (br_if $l {goes_on}))))"
        );
        let expected = usize::from(entered == "i32.ge_s");
        assert_eq!(left(&code), expected, "{sign} {entered}");
    }
}

#[test]
fn a_loop_of_a_constant_number_over_an_array_of_a_constant_length_checks_nothing() {
    let code = |times: u32| {
        checks(&format!(
            "(func (local $a (ref null $ints)) (local $i i32)
               (local.set $a (array.new_default $ints (i32.const 100)))
               (loop $l {GET} {NEXT} (br_if $l (i32.lt_s (local.get $i) (i32.const {times})))))"
        ))
    };
    assert_eq!(code(100), 0);
    assert_eq!(code(7), 0);
    assert_eq!(code(101), 1);
}

#[test]
fn an_inner_loop_may_begin_where_the_outer_one_is() {
    let inner = format!(
        "(local.set $b (local.get $i))
         (block $done (loop $m
           (br_if $done (i32.ge_s (local.get $b) {LENGTH}))
           (drop (array.get $ints (local.get $a) (local.get $b)))
           (local.set $b (i32.add (local.get $b) (i32.const 1)))
           (br $m)))"
    );
    let leave = format!("(i32.ge_s (local.get $i) {LENGTH})");
    assert_eq!(left(&looks_first(&leave, &inner)), 0);
}

#[test]
fn a_loop_that_may_leave_the_array_keeps_its_check() {
    let length = format!("(i32.lt_s (local.get $i) {LENGTH})");
    let leave = format!("(i32.ge_s (local.get $i) {LENGTH})");
    let steps = |step: &str| {
        format!(
            "(block $out (loop $l (br_if $out {leave}) {GET}
               (local.set $i (i32.add (local.get $i) (i32.const {step}))) (br $l)))"
        )
    };
    for (name, code) in [
        (
            "a number that is not the length",
            looks_first("(i32.ge_s (local.get $i) (local.get $n))", GET),
        ),
        (
            "one more than the length",
            looks_first(&format!("(i32.gt_s (local.get $i) {LENGTH})"), GET),
        ),
        (
            "counted before it is used",
            looks_first(&leave, &format!("{NEXT} {GET}")),
        ),
        (
            "not looked at before the first time",
            format!("(loop $l {GET} {NEXT} (br_if $l {length}))"),
        ),
        (
            "a way back that does not look",
            looks_last(
                &length,
                &format!("(br_if $l (local.get $n)) {NEXT} (br_if $l (local.get $b)) {GET}"),
            ),
        ),
        (
            "begins anywhere, signed",
            format!("(local.set $i (local.get $b)) {}", looks_first(&leave, GET)),
        ),
        (
            "begins below zero",
            format!("(local.set $i (i32.const -3)) {}", looks_first(&leave, GET)),
        ),
        ("counts down", steps("-1")),
        ("may overflow", steps("2")),
        (
            "set to something else",
            looks_first(
                &leave,
                &format!("{GET} (if (local.get $n) (then (local.set $i (local.get $b))))"),
            ),
        ),
        (
            "another array each time",
            looks_first(
                &leave,
                &format!("{GET} (local.set $a (array.new_default $ints (local.get $n))) {GET}"),
            ),
        ),
    ] {
        assert!(left(&code) >= 1, "{name}: {code}");
    }
}

#[test]
fn a_bound_that_the_loop_changes_proves_nothing() {
    // `$n` is the length when the loop is entered only.
    let code = format!(
        "(local.set $n {LENGTH})
         (if (i32.lt_u (local.get $i) (local.get $n))
           (then (loop $l
             {GET} {NEXT}
             (local.set $n (i32.add (local.get $n) (i32.const 1)))
             (br_if $l (i32.lt_u (local.get $i) (local.get $n))))))"
    );
    assert_eq!(left(&code), 1);
}

#[test]
fn many_checks_are_decided_in_little_time() {
    let body: String = (0..3000)
        .map(|n| format!("{GET} (drop (array.get $ints (local.get $a) (i32.add (local.get $i) (i32.const {n}))))"))
        .collect();
    let nest = "(loop ".repeat(200);
    let ends = ")".repeat(200);
    assert!(
        left(&format!(
            "{nest} {body} {NEXT} (br_if 7 (local.get $n)) {ends}"
        )) > 2000
    );
}
