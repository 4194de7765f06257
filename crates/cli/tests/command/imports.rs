//! Imports that nothing provides, or something of another type.

use crate::{FAILED, Scratch, TRAP};

const LOGS: &str =
    r#"(module (import "env" "log" (func $log)) (func (export "_start") (call $log)))"#;

#[test]
fn a_missing_import_is_named_with_its_type() {
    let text = r#"(module (import "env" "log" (func (param i32 i64))) (func (export "_start")))"#;
    let scratch = Scratch::with("import.wat", text);
    let parts = ["env", "log", "i32", "i64"];
    scratch.fails(FAILED, &["run", "import.wat"], &parts);
    scratch.prints(&["run", "--unknown-imports=trap", "import.wat"]);
}

#[test]
fn an_import_of_another_type_says_what_was_wanted_and_found() {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "fd_write" (func (param i64) (result f32)))
      (memory (export "memory") 1)
      (func (export "_start")))"#;
    let scratch = Scratch::with("import.wat", text);
    let parts = ["fd_write", "i64", "f32", "i32"];
    scratch.fails(FAILED, &["run", "import.wat"], &parts);
}

#[test]
fn an_unknown_import_that_traps_does_so_only_when_called() {
    let scratch = Scratch::with("import.wat", LOGS);
    let run = ["run", "--unknown-imports=trap", "import.wat"];
    scratch.fails(TRAP, &run, &["env", "log"]);
    scratch.prints(&["run", "--unknown-imports=default", "import.wat"]);
}
