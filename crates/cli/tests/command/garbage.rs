//! What the command does for programs whose objects are collected: statistics, limits, messages.

use crate::scratch::stderr;
use crate::{Scratch, TRAP};
use std::process::Output;

/// `garbage` makes objects that die at once, `keep` keeps them, `cast` casts to another type.
const PROGRAM: &str = r#"(module
  (type $list (struct (field i64) (field (ref null $list))))
  (type $other (struct (field i32)))
  (func (export "garbage") (param i32)
    (loop $again
      (drop (struct.new $list (i64.const 1) (ref.null $list)))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if $again (local.get 0))))
  (func (export "keep") (param i32)
    (local $list (ref null $list))
    (loop $again
      (local.set $list (struct.new $list (i64.const 1) (local.get $list)))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if $again (local.get 0))))
  (func (export "cast") (result i32)
    (local $any anyref)
    (local.set $any (struct.new $other (i32.const 1)))
    (ref.is_null (ref.cast (ref $list) (local.get $any))))
  (func (export "i31") (result i31ref) (ref.i31 (i32.const 5)))
  (func (export "object") (result anyref) (struct.new $other (i32.const 1))))"#;

fn sarsen(arguments: &[&str]) -> Output {
    Scratch::with("program.wat", PROGRAM).run(arguments)
}

#[test]
fn statistics_are_shown_at_the_end_also_of_a_program_that_traps() {
    let output = sarsen(&[
        "run",
        "--gc-stats",
        "--gc-nursery",
        "1MiB",
        "--invoke",
        "garbage",
        "program.wat",
        "1000000",
    ]);
    let message = stderr(&output);
    assert!(output.status.success(), "{message}");
    assert!(
        message.contains("minor") && message.contains("allocated"),
        "{message}"
    );
    let collections = message.trim_start_matches("collections: ");
    let minor: u64 = collections.split(' ').next().unwrap().parse().unwrap();
    assert!((20..30).contains(&minor), "{message}");

    let output = sarsen(&["run", "--gc-stats", "--invoke", "cast", "program.wat"]);
    assert_eq!(output.status.code(), Some(TRAP));
    assert!(stderr(&output).contains("minor"), "{}", stderr(&output));
}

#[test]
fn a_heap_that_is_full_is_a_trap_that_says_what_to_do() {
    for limit in ["--gc-heap-limit", "--max-memory"] {
        let output = sarsen(&[
            "run",
            limit,
            "4MiB",
            "--invoke",
            "keep",
            "program.wat",
            "1000000",
        ]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(TRAP), "{message}");
        for part in [
            "found no room",
            "--gc-heap-limit",
            "by as much as is needed",
            "allocation size too large",
            "keep",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let output = sarsen(&[
            "run",
            limit,
            "4MiB",
            "--invoke",
            "garbage",
            "program.wat",
            "1000000",
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn without_a_collector_garbage_fills_the_heap() {
    let run = |count| {
        sarsen(&[
            "run",
            "--collector=null",
            "--gc-heap-limit=16MiB",
            "--invoke",
            "garbage",
            "program.wat",
            count,
        ])
    };
    assert!(run("10000").status.success());
    assert_eq!(run("1000000").status.code(), Some(TRAP));
}

#[test]
fn a_failed_cast_tells_both_types() {
    let output = sarsen(&["run", "--invoke", "cast", "program.wat"]);
    assert_eq!(output.status.code(), Some(TRAP));
    let message = stderr(&output);
    assert!(
        message.contains("expected (ref 0), found (ref 1)"),
        "{message}"
    );
}

#[test]
fn references_among_results_are_shown_by_what_they_are() {
    let printed = |name| {
        let output = sarsen(&["run", "--invoke", name, "program.wat"]);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(printed("i31"), "(ref.i31 5)\n");
    assert_eq!(printed("object"), "(ref (struct (field i32)))\n");
}

#[test]
fn scripts_can_collect_and_run_with_zeal() {
    let script = r#"
      (module
        (import "sarsen" "gc" (func $gc))
        (type $box (struct (field (mut externref))))
        (global $box (ref $box) (struct.new $box (ref.null extern)))
        (func (export "set") (param externref)
          (struct.set $box 0 (global.get $box) (local.get 0))
          (call $gc))
        (func (export "get") (result externref)
          (call $gc)
          (struct.get $box 0 (global.get $box)))
        (func (export "any") (param anyref) (result anyref) (call $gc) (local.get 0)))
      (invoke "set" (ref.extern 7))
      (assert_return (invoke "get") (ref.extern 7))
      (assert_return (invoke "any" (ref.host 3)) (ref.host 3))
      (assert_return (invoke "any" (ref.null any)) (ref.null any))"#;
    for zeal in [
        &[][..],
        &["--gc-zeal"],
        &["--gc-zeal=3", "--gc-heap-limit", "1MiB"],
    ] {
        let scratch = Scratch::with("script.wast", script);
        let printed = scratch.prints(&[&["wast", "script.wast"], zeal].concat());
        assert!(printed.contains("5 directives passed"), "{printed}");
    }
}
