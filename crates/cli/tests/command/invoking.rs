//! `--invoke`: functions that there are not, arguments that do not fit, exit codes.

use crate::{FAILED, Scratch, sample};

#[test]
fn an_unknown_export_says_what_there_is() {
    let scratch = Scratch::with("sample.wasm", sample());
    let run = ["run", "--invoke", "thrice", "sample.wasm"];
    scratch.fails(FAILED, &run, &["thrice", "twice"]);
}

#[test]
fn arguments_of_an_invoked_function_are_checked() {
    let scratch = Scratch::with("sample.wasm", sample());
    let twice = |arguments: &[&'static str]| {
        [&["run", "--invoke", "twice", "sample.wasm"], arguments].concat()
    };
    scratch.fails(FAILED, &twice(&[]), &["twice", "1"]);
    scratch.fails(FAILED, &twice(&["1", "2"]), &["twice", "1", "2"]);
    scratch.fails(FAILED, &twice(&["many"]), &["many", "i32"]);
    scratch.fails(FAILED, &twice(&["4294967296"]), &["4294967296", "i32"]);
    assert_eq!(scratch.prints(&twice(&["21"])), "42\n");
}

#[test]
fn the_guests_exit_code_passes_through() {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (call $exit (i32.const 42))))"#;
    let scratch = Scratch::with("exit.wat", text);
    assert_eq!(scratch.run(&["run", "exit.wat"]).status.code(), Some(42));
    assert_eq!(scratch.run(&["exit.wat"]).status.code(), Some(42));
    let deep = ["run", "--max-wasm-stack", "64MiB", "exit.wat"];
    assert_eq!(scratch.run(&deep).status.code(), Some(42));
}
