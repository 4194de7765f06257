//! What `--env` gives a program, and that it gets nothing else; and what the command's own surroundings refuse.

use crate::scratch::is_failure;
use crate::{FAILED, SAMPLE, Scratch, USAGE};
use std::process::Command;

/// Prints the environment, each variable ended by a zero byte.
const PRINT: &str = r#"(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 12)))
    (drop (call $get (i32.const 100) (i32.const 1000)))
    (i32.store (i32.const 8) (i32.const 1000))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))"#;

#[test]
fn a_program_sees_the_variables_that_it_was_given_and_no_others() {
    let scratch = Scratch::with("print.wat", PRINT);
    let shown = |arguments: &[&str]| {
        let arguments = [&["run"], arguments, &["print.wat"]].concat();
        let mut command = scratch.command(&arguments);
        command.env("OURS", "passed=on").env_remove("NOT_OURS");
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(shown(&[]), "");
    assert_eq!(shown(&["--env", "A=b=c", "--env", "E="]), "A=b=c\0E=\0");
    assert_eq!(
        shown(&["--env", "OURS", "--env", "NOT_OURS"]),
        "OURS=passed=on\0"
    );
}

#[test]
fn a_variable_without_a_name_is_refused() {
    for variable in ["", "=value"] {
        let run = ["run", "--env", variable, "program.wasm"];
        Scratch::new().fails(USAGE, &run, &["NAME"]);
    }
}

#[test]
fn too_little_address_space_is_told_as_what_it_is() {
    let scratch = Scratch::with("sample.wat", SAMPLE);
    let limited = scratch.command(&["run", "sample.wat"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 8000000 && exec \"$0\" \"$@\""]);
    shell.arg(limited.get_program()).args(limited.get_args());
    let output = shell.current_dir(scratch.folder()).output().unwrap();
    is_failure(&output, FAILED, &["address space", "`ulimit -v`"]);
}

#[test]
fn output_that_cannot_be_written_is_told_as_that() {
    let scratch = Scratch::with("sample.wat", SAMPLE);
    let commands = [
        &["run", "--invoke", "twice", "sample.wat", "21"][..],
        &["inspect", "sample.wat"],
        &["objdump", "sample.wat"],
    ];
    for arguments in commands {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = scratch.command(arguments);
        let output = command.stdout(full.unwrap()).output().unwrap();
        is_failure(&output, FAILED, &["standard output", "No space left"]);
    }
}
