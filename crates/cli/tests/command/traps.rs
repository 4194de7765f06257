//! Backtraces of traps.

use crate::{Scratch, TRAP};

#[test]
fn a_trap_prints_its_backtrace() {
    let text = r#"(module $m
      (func $inner (param i32) (drop (i32.div_s (i32.const 1) (local.get 0))))
      (func $outer (call $inner (i32.const 0)))
      (func (export "_start") (call $outer)))"#;
    let scratch = Scratch::with("trap.wat", text);
    let parts = ["integer divide by zero", "inner", "outer", "_start"];
    scratch.fails(TRAP, &["run", "trap.wat"], &parts);
}

#[test]
fn infinite_recursion_is_a_trap_whose_backtrace_fits_a_screen() {
    let text = r#"(module (func $deep (param i64) (result i64)
        (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
      (func (export "_start") (drop (call $deep (i64.const 0)))))"#;
    let scratch = Scratch::with("deep.wat", text);
    let parts = ["call stack exhausted", "deep", "_start", "left out"];
    let message = scratch.fails(TRAP, &["run", "deep.wat"], &parts);
    assert!(message.lines().count() < 40, "{message}");

    let text = r#"(module (func $even (call $odd)) (func $odd (call $even))
      (func (export "_start") (call $even)))"#;
    scratch.write("turns.wat", text);
    let parts = ["call stack exhausted", "even", "odd", "left out"];
    let message = scratch.fails(TRAP, &["run", "turns.wat"], &parts);
    assert!(message.lines().count() < 40, "{message}");
}
