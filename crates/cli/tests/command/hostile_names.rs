//! Names that a module chose cannot steer the terminal that shows them, nor forge lines of ours.

use crate::{FAILED, Scratch, TRAP};
use std::process::Output;

/// A name that would turn the terminal red, begin a line of its own, and ring.
const NAME: &str = r"\1b[31mred\0aerror: forged\07\c2\9b";

fn sarsen(arguments: &[&str], text: &str) -> (Option<i32>, String) {
    let arguments = [arguments, &["m.wat"]].concat();
    let Output {
        status,
        stdout,
        stderr,
    } = Scratch::with("m.wat", text).run(&arguments);
    let shown = [stdout, stderr].concat();
    (status.code(), String::from_utf8(shown).unwrap())
}

#[track_caller]
fn is_harmless(output: (Option<i32>, String), code: i32) {
    let (found, shown) = output;
    assert_eq!(found, Some(code), "{shown}");
    assert!(shown.contains("31mred"), "the name is missing:\n{shown}");
    let steers = |c: char| c.is_control() && c != '\n';
    assert!(!shown.contains(steers), "{shown:?}");
    assert!(
        !shown.lines().any(|line| line.starts_with("error: forged")),
        "{shown}"
    );
}

#[test]
fn backtraces_show_hostile_names_harmlessly() {
    let text = format!(r#"(module $"{NAME}" (func $"{NAME}" (export "f") unreachable))"#);
    is_harmless(sarsen(&["run", "--invoke", "f"], &text), TRAP);
    // Without a name of its own, a function is shown by that of its export.
    let text = format!(r#"(module (func (export "{NAME}") unreachable) (start 0))"#);
    is_harmless(sarsen(&["run"], &text), TRAP);
}

#[test]
fn errors_show_hostile_names_harmlessly() {
    let import = format!(r#"(module (import "{NAME}" "{NAME}" (func)))"#);
    is_harmless(sarsen(&["run"], &import), FAILED);
    let export = format!(r#"(module (func (export "{NAME}")))"#);
    is_harmless(sarsen(&["run", "--invoke", "f"], &export), FAILED);
    let twice = format!(r#"(module (func (export "{NAME}")) (func (export "{NAME}")))"#);
    is_harmless(sarsen(&["run"], &twice), FAILED);
    let invalid = format!(r#"(module (func $"{NAME}" (result i32) i64.const 1))"#);
    is_harmless(sarsen(&["run"], &invalid), FAILED);
    let text = "(module (func \u{1b}[31mred))";
    is_harmless(sarsen(&["run"], text), FAILED);
}

#[test]
fn inspect_and_objdump_show_hostile_names_harmlessly() {
    let text = format!(r#"(module $"{NAME}" (func $"{NAME}" (export "{NAME}")) (func (call 0)))"#);
    is_harmless(sarsen(&["inspect"], &text), 0);
    is_harmless(sarsen(&["objdump"], &text), 0);
    let import = format!(r#"(module (import "{NAME}" "{NAME}" (func $"{NAME}")))"#);
    is_harmless(sarsen(&["inspect"], &import), 0);
}
