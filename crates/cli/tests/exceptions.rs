//! Exceptions that a program does not catch, as the command shows them.

use std::fs;
use std::process::{Command, Output};

const PROGRAM: &str = r#"(module $program
  (tag $failed (export "failed") (param i32 externref))
  (tag $hidden (param f64))
  (func $deep (throw $failed (i32.const -5) (ref.null extern)))
  (func (export "_start") (call $deep))
  (func (export "hidden") (throw $hidden (f64.const 0.5))))"#;

fn run(text: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("program.wat"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sarsen"));
    command.arg("run").args(arguments).arg("program.wat");
    command
        .env_remove("RUST_BACKTRACE")
        .current_dir(folder.path());
    command.output().unwrap()
}

#[test]
fn an_uncaught_exception_is_shown_with_its_tag_fields_and_backtrace() {
    let output = run(PROGRAM, &[]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(134), "{message}");
    assert!(
        message.starts_with("the program threw `failed` with -5, null, and did not catch it"),
        "{message}"
    );
    assert!(message.contains("deep"), "{message}");

    let output = run(PROGRAM, &["--invoke", "hidden"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(134), "{message}");
    assert!(
        message.contains("(tag (func (param f64))) with 0.5"),
        "{message}"
    );
}

#[test]
fn an_exception_of_the_start_function_is_shown() {
    let output = run("(module (tag $e) (func $f (throw $e)) (start $f))", &[]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(134), "{message}");
    assert!(
        message.contains("(tag (func)), and did not catch it"),
        "{message}"
    );
}
