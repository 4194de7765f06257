//! What a program may take: time, instructions, memory, stack. What is used up is told with the option
//! that set its limit.

use crate::{FAILED, Scratch, TRAP};

#[test]
fn a_memory_or_table_over_its_limit_is_refused() {
    let scratch = Scratch::new();
    let refused = |text: &str, part| {
        scratch.write("large.wat", text);
        let run = ["run", "--max-memory", "1000000", "large.wat"];
        scratch.fails(FAILED, &run, &[part, "--max-memory"]);
    };
    refused(
        r#"(module (memory 100) (func (export "_start")))"#,
        "memory",
    );
    let text = r#"(module (table 200000 funcref) (func (export "_start")))"#;
    refused(text, "table");
    // What no memory takes may not be taken by many.
    let text = r#"(module (memory 10) (memory 10) (func (export "_start")))"#;
    refused(text, "memory");
    let text = r#"(module (table 4294967295 funcref) (func (export "_start")))"#;
    scratch.write("table.wat", text);
    scratch.fails(FAILED, &["run", "table.wat"], &["table"]);
}

#[test]
fn a_memory_that_cannot_grow_is_an_answer_or_on_demand_a_trap() {
    let text = r#"(module (memory 1)
      (func $more (export "grow") (result i32) (memory.grow (i32.const 100))))"#;
    let scratch = Scratch::with("grows.wat", text);
    let grow = ["--max-memory", "1000000", "--invoke", "grow", "grows.wat"];
    assert_eq!(scratch.prints(&[&["run"], &grow[..]].concat()), "-1\n");
    let demand = [&["run", "--trap-on-grow-failure"], &grow[..]].concat();
    let parts = ["6619136 bytes", "--trap-on-grow-failure", "more"];
    scratch.fails(FAILED, &demand, &parts);
}

#[test]
fn an_infinite_loop_ends_with_its_time_or_its_fuel() {
    let text = r#"(module (func (export "_start") (loop (br 0))))"#;
    let scratch = Scratch::with("spin.wat", text);
    let parts = ["interrupt", "200ms", "--timeout"];
    scratch.fails(TRAP, &["run", "--timeout", "200ms", "spin.wat"], &parts);
    let parts = ["fuel of 100000", "--fuel"];
    scratch.fails(TRAP, &["run", "--fuel", "100000", "spin.wat"], &parts);
}

#[test]
fn a_guest_that_waits_for_nobody_ends_with_its_time() {
    let text = r#"(module
      (memory 1 1 shared)
      (func (export "_start")
        (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#;
    let scratch = Scratch::with("wait.wat", text);
    let run = ["run", "--timeout", "200ms", "wait.wat"];
    scratch.fails(TRAP, &run, &["interrupt"]);
}

#[test]
fn a_sleeping_guest_ends_with_its_time() {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 3600000000000))
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;
    let scratch = Scratch::with("sleep.wat", text);
    let run = ["run", "--timeout", "200ms", "sleep.wat"];
    scratch.fails(TRAP, &run, &["interrupt"]);
}

/// `down` calls itself as often as it is told.
const DEEP: &str = r#"(module (func $down (export "down") (param i32) (result i32)
  (if (result i32) (local.get 0)
    (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
    (else (i32.const 0)))))"#;

#[test]
fn calls_are_as_deep_as_the_stack_is_asked_to_be() {
    let scratch = Scratch::with("deep.wat", DEEP);
    let down = |options: &[&'static str], depth| {
        [&["run"], options, &["--invoke", "down", "deep.wat", depth]].concat()
    };
    assert_eq!(scratch.prints(&down(&[], "1000")), "1000\n");
    let parts = ["call stack exhausted", "512 KiB", "--max-wasm-stack"];
    scratch.fails(TRAP, &down(&[], "1000000"), &parts);
    // More than the main thread has.
    let large = ["--max-wasm-stack", "256MiB"];
    assert_eq!(scratch.prints(&down(&large, "1000000")), "1000000\n");
    let small = ["--max-wasm-stack", "16KiB"];
    scratch.fails(TRAP, &down(&small, "10000"), &["16 KiB"]);
    // As well for scripts.
    let script = format!(
        r#"{DEEP} (assert_return (invoke "down" (i32.const 1000000)) (i32.const 1000000))"#
    );
    scratch.write("deep.wast", script);
    let run = ["wast", "--max-wasm-stack=256MiB", "deep.wast"];
    assert_eq!(scratch.prints(&run), "deep.wast: 2 directives passed\n");
}

/// `down` calls itself on a continuation as often as it is told; `many` has so many that are suspended.
const CONTINUATIONS: &str = r#"(module
  (type $down (func (param i32) (result i32)))
  (type $cont (cont $down))
  (type $wait (func))
  (type $waiting (cont $wait))
  (tag $stop)
  (func $down (type $down)
    (if (result i32) (local.get 0)
      (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (i32.const 0))))
  (func $wait (type $wait) (suspend $stop))
  (elem declare func $down $wait)
  (table $kept 1000 (ref null $waiting))
  (func (export "down") (param i32) (result i32)
    (resume $cont (local.get 0) (cont.new $cont (ref.func $down))))
  (func (export "many") (param i32)
    (loop $again
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (table.set $kept (local.get 0)
        (block $stopped (result (ref $waiting))
          (resume $waiting (on $stop $stopped) (cont.new $waiting (ref.func $wait)))
          (return)))
      (br_if $again (local.get 0)))))"#;

#[test]
fn stacks_of_continuations_are_as_large_and_as_many_as_allowed() {
    let scratch = Scratch::with("conts.wat", CONTINUATIONS);
    let run = |option: &'static str, function, argument| {
        let wasm = "--wasm=stack-switching";
        [
            "run",
            wasm,
            option,
            "--invoke",
            function,
            "conts.wat",
            argument,
        ]
    };
    let small = "--continuation-stack-size=32KiB";
    assert_eq!(scratch.prints(&run(small, "down", "100")), "100\n");
    let parts = [
        "call stack exhausted",
        "32 KiB",
        "--continuation-stack-size",
    ];
    scratch.fails(TRAP, &run(small, "down", "10000"), &parts);
    let large = "--continuation-stack-size=8MiB";
    assert_eq!(scratch.prints(&run(large, "down", "10000")), "10000\n");
    let few = "--max-continuation-stacks=10";
    assert_eq!(scratch.prints(&run(few, "many", "10")), "");
    scratch.fails(
        TRAP,
        &run(few, "many", "1000"),
        &["--max-continuation-stacks"],
    );
}
