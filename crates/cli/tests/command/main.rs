//! The command, as a user meets it: on good input and bad, each run in a process of its own, so that a crash
//! is seen as one.
//!
//! One file a concept; [`Scratch`] is what they share.

mod commands;
mod environment;
mod exceptions;
mod files;
mod garbage;
mod hostile_names;
mod images;
mod imports;
mod invoking;
mod large_modules;
mod limits;
mod modules;
mod options;
mod pipes;
mod scratch;
mod traps;

use scratch::Scratch;

/// The exit code of a trap.
const TRAP: i32 = 134;
/// The exit code of anything else that is wrong with what the command was given to run.
const FAILED: i32 = 1;
/// The exit code of a command line that makes no sense.
const USAGE: i32 = 2;

/// A small module with a bit of everything: `twice` doubles a number, and the program does nothing that is
/// seen.
const SAMPLE: &str = r#"(module $sample
  (type $unary (func (param i32) (result i32)))
  (memory (export "memory") 1 2)
  (table 2 funcref)
  (global $g (mut i32) (i32.const 3))
  (data (i32.const 8) "data")
  (data "passive")
  (elem (i32.const 0) $twice)
  (func $twice (export "twice") (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func (export "_start")
    (global.set $g (call_indirect (type $unary) (i32.const 4) (i32.const 0)))
    (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 3))
    (block (loop (br_if 1 (i32.load8_u (i32.const 8))) (br 0)))))"#;

fn sample() -> Vec<u8> {
    wat::parse_str(SAMPLE).unwrap()
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}
