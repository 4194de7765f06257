//! What branch hints make cold, in CLIF and in machine code.

use super::{assembly, clif, count};
use sarsen_abi::Settings;

/// A hint, and the name of what it means.
const UNLIKELY: &str = r#"(@metadata.code.branch_hint "\00")"#;
const LIKELY: &str = r#"(@metadata.code.branch_hint "\01")"#;

/// How many blocks are cold in a function of this body.
fn cold_blocks(body: &str) -> usize {
    let code = clif(&format!(
        r#"(module (import "" "" (func $f)) (func (param i32) {body}))"#
    ));
    count(&code, "cold")
}

#[test]
fn the_side_of_an_if_that_a_hint_calls_unlikely_is_cold() {
    let both = "(if (local.get 0) (then (call $f)) (else (call $f) (call $f)))";
    assert_eq!(cold_blocks(both), 0);
    let cold_calls = |hint: &str| {
        let code = clif(&format!(
            r#"(module (import "" "" (func $f)) (func (param i32) {hint} {both}))"#
        ));
        let cold = code.split("cold:").nth(1).expect("one block is cold");
        count(cold.split("jump").next().unwrap_or(cold), "call_indirect")
    };
    assert_eq!(cold_calls(UNLIKELY), 1);
    assert_eq!(cold_calls(LIKELY), 2);
}

#[test]
fn a_branch_that_is_unlikely_makes_cold_what_nothing_else_leads_to() {
    let body = |hint: &str, before_end: &str| {
        format!("(block {hint} (br_if 0 (local.get 0)) (call $f) {before_end}) (call $f)")
    };
    assert_eq!(cold_blocks(&body(UNLIKELY, "(return)")), 1);
    assert_eq!(
        cold_blocks(&body(UNLIKELY, "")),
        0,
        "the join is also fallen into"
    );
    assert_eq!(cold_blocks(&body(LIKELY, "")), 1, "what is skipped");
    assert_eq!(cold_blocks(&body("", "(return)")), 0);
}

#[test]
fn what_only_cold_code_leads_to_is_cold() {
    let body = format!(
        "{UNLIKELY} (if (local.get 0) (then
           (loop (call $f)
             (if (local.get 0) (then (call $f)) (else (call $f)))
             (br_if 0 (local.get 0)))))"
    );
    assert_eq!(cold_blocks(&body), 6);
}

#[test]
fn hints_of_an_inlined_function_count() {
    let code = clif(&format!(
        r#"(module (import "" "" (func $f))
             (func $small (param i32) {UNLIKELY} (if (local.get 0) (then (call $f))))
             (func (param i32) (call $small (local.get 0))))"#
    ));
    assert_eq!(count(&code, "cold"), 1, "{code}");
}

#[test]
fn cold_code_lies_behind_the_hot() {
    // The instruction that only the unlikely side has is the last, though first in the source.
    let order = |hint: &str| {
        let code = assembly(
            &format!(
                r#"(module (func (param i32 f64) (result f64)
                     {hint}
                     (if (result f64) (local.get 0)
                       (then (f64.sqrt (local.get 1)))
                       (else (f64.div (local.get 1) (local.get 1))))))"#
            ),
            &Settings::default(),
        );
        let at = |what: &str| code.find(what).expect("both sides are there");
        let of_return = code.find("ret").expect("it returns");
        (at("sqrtsd") < of_return, at("divsd") < of_return)
    };
    assert_eq!(order(UNLIKELY), (false, true));
    assert_eq!(order(LIKELY), (true, false));
}

#[test]
fn a_branch_on_a_test_of_a_type_takes_its_hint() {
    let cold_blocks = |hint: &str| {
        let code = clif(&format!(
            r#"(module (import "" "" (func $f)) (type $t (sub (struct)))
                 (func (param anyref)
                   (ref.test (ref $t) (local.get 0)) {hint} (if (then (call $f)) (else (call $f)))))"#
        ));
        count(&code, "cold")
    };
    assert_eq!(cold_blocks(""), 0);
    assert_eq!(cold_blocks(UNLIKELY), 1);
    assert_eq!(cold_blocks(LIKELY), 1);
}
