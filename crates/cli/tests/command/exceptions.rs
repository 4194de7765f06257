//! Exceptions that a program does not catch, as the command shows them.

use crate::{Scratch, TRAP};

const PROGRAM: &str = r#"(module $program
  (tag $failed (export "failed") (param i32 externref))
  (tag $hidden (param f64))
  (func $deep (throw $failed (i32.const -5) (ref.null extern)))
  (func (export "_start") (call $deep))
  (func (export "hidden") (throw $hidden (f64.const 0.5))))"#;

#[test]
fn an_uncaught_exception_is_shown_with_its_tag_fields_and_backtrace() {
    let scratch = Scratch::with("program.wat", PROGRAM);
    let shown = "the program threw `failed` with -5, null, and did not catch it";
    scratch.fails(TRAP, &["program.wat"], &[shown, "deep"]);
    let hidden = ["run", "--invoke", "hidden", "program.wat"];
    scratch.fails(TRAP, &hidden, &["threw `hidden` with 0.5"]);
}

#[test]
fn an_exception_of_the_start_function_is_shown() {
    for (name, shown) in [("$e", "threw `e`,"), ("", "threw (tag (func)),")] {
        let text = format!("(module (tag {name}) (func $f (throw 0)) (start $f))");
        let scratch = Scratch::with("program.wat", &text);
        let shown = format!("{shown} and did not catch it");
        scratch.fails(TRAP, &["program.wat"], &[&shown]);
    }
}
