//! Standard streams that are pipes, and pipes that nobody reads from.

use crate::scratch::{is_failure, stderr};
use crate::{Scratch, sample};
use std::io::{Read, Write};
use std::process::Stdio;

#[test]
fn gigabytes_into_a_closed_pipe_end() {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 16)
      (func (export "_start") (local $left i32)
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (i32.const 524288))
        (local.set $left (i32.const 8192))
        (loop $again
          (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
            (then (call $exit (i32.const 3))))
          (br_if $again
            (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#;
    let scratch = Scratch::with("flood.wat", text);
    let mut child = scratch
        .command(&["run", "flood.wat"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 4096];
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    // The guest is told, and leaves with a code of its own.
    is_failure(&child.wait_with_output().unwrap(), 3, &[]);
}

#[test]
fn results_into_a_closed_pipe_are_no_panic() {
    let scratch = Scratch::with("sample.wasm", sample());
    let mut child = scratch
        .command(&["run", "--invoke", "twice", "sample.wasm", "21"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    assert_ne!(output.status.code(), Some(101));
}

#[test]
fn a_module_from_standard_input_runs() {
    let scratch = Scratch::new();
    let mut child = scratch
        .command(&["run", "--invoke", "twice", "-", "4"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&sample()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "8\n");
}
