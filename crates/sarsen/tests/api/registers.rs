//! The registers that C keeps are the host's again, however compiled code was left.

use super::asynchronous::{Pending, poll};
use sarsen::{Caller, Config, Engine, Linker, Module, Store, Trap, TypedFunc};
use std::arch::naked_asm;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// `rbx`, `rbp` and `r12` to `r15` during a call.
const KEPT: [u64; 6] = [
    0x1111_2222_3333_0001,
    0x1111_2222_3333_0002,
    0x1111_2222_3333_0003,
    0x1111_2222_3333_0004,
    0x1111_2222_3333_0005,
    0x1111_2222_3333_0006,
];

/// Calls `run(action)` with the numbers of `registers` in the registers that C keeps, and replaces them by what
/// is there afterwards.
///
/// No function of Rust's own may do so: its frame could not be found any more through the frame pointer, by a
/// panic in `action` that prints a backtrace. This one has no unwind information, and there the backtrace ends.
#[unsafe(naked)]
unsafe extern "C" fn call_with_registers(
    run: extern "C" fn(&mut &mut dyn FnMut()),
    action: &mut &mut dyn FnMut(),
    registers: &mut [u64; 6],
) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdx",
        "mov rbx, [rdx]",
        "mov rbp, [rdx + 8]",
        "mov r12, [rdx + 16]",
        "mov r13, [rdx + 24]",
        "mov r14, [rdx + 32]",
        "mov r15, [rdx + 40]",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "pop rdx",
        "mov [rdx], rbx",
        "mov [rdx + 8], rbp",
        "mov [rdx + 16], r12",
        "mov [rdx + 24], r13",
        "mov [rdx + 32], r14",
        "mov [rdx + 40], r15",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Runs `action` with known values in the registers, and checks that they are there afterwards.
fn keeps_registers(what: &str, mut action: impl FnMut()) {
    extern "C" fn run(action: &mut &mut dyn FnMut()) {
        action();
    }
    let mut registers = KEPT;
    // SAFETY: `run` does not unwind: a panic that leaves a C function ends the process.
    unsafe { call_with_registers(run, &mut (&mut action as &mut dyn FnMut()), &mut registers) };
    assert_eq!(registers, KEPT, "{what}");
}

const MODULE: &str = r#"(module
    (import "host" "fails" (func $fails))
    (import "host" "panics" (func $panics))
    (import "host" "waits" (func $waits (param i64) (result i64)))
    (type $f (func (param i64) (result i64)))
    (type $c (cont $f))
    (tag $t)
    (tag $yield (param i64) (result i64))
    (memory 1)
    ;; More numbers than there are registers, over a call of whatever was chosen.
    (func $leave (param $how i64)
      (block $throw (block $return (block $fault (block $panic (block $fail (block $trap
        (br_table $trap $fail $panic $fault $throw $return (i32.wrap_i64 (local.get $how))))
        unreachable)
        (return (call $fails)))
        (return (call $panics)))
        (return (drop (i32.load offset=65536 (i32.const 65536)))))
        return)
      (throw $t))
    (func $run (export "run") (param $how i64) (result i64)
      (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f i64) (local $g i64)
      (local.set $a (i64.mul (local.get $how) (i64.const 3)))
      (local.set $b (i64.mul (local.get $a) (i64.const 5)))
      (local.set $c (i64.mul (local.get $b) (i64.const 7)))
      (local.set $d (i64.mul (local.get $c) (i64.const 9)))
      (local.set $e (i64.mul (local.get $d) (i64.const 11)))
      (local.set $f (i64.mul (local.get $e) (i64.const 13)))
      (local.set $g (i64.mul (local.get $f) (i64.const 15)))
      (call $leave (local.get $how))
      (i64.xor (local.get $a) (i64.xor (local.get $b) (i64.xor (local.get $c) (i64.xor (local.get $d)
        (i64.xor (local.get $e) (i64.xor (local.get $f) (local.get $g))))))))
    (func $suspends (param i64) (result i64)
      (i64.add (suspend $yield (local.get 0)) (call $run (local.get 0))))
    (elem declare func $suspends)
    (func (export "continue") (param $how i64) (result i64) (local $k (ref null $c))
      (local.set $k (cont.new $c (ref.func $suspends)))
      (block $on (result i64 (ref $c))
        (return (resume $c (on $yield $on) (local.get $how) (local.get $k))))
      (local.set $k) (drop)
      (resume $c (local.get $how) (local.get $k)))
    (func (export "wait") (param $how i64) (result i64)
      (i64.add (call $waits (local.get $how)) (call $run (local.get $how))))
)"#;

/// What the module knows how to do, and whether that ends the call.
const WAYS: [(&str, bool); 6] = [
    ("trap", true),
    ("error", true),
    ("panic", true),
    ("fault", true),
    ("exception", true),
    ("return", false),
];

fn instance() -> (Store<()>, sarsen::Instance) {
    let mut config = Config::new();
    config.wasm_stack_switching(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, MODULE).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "fails", |_: Caller<'_, ()>| -> sarsen::Result<()> {
            Err(Trap::IntegerOverflow.into())
        })
        .unwrap();
    linker
        .func_wrap(
            "host",
            "panics",
            |_: Caller<'_, ()>| -> sarsen::Result<()> { panic!("as asked") },
        )
        .unwrap();
    linker
        .func_wrap_async("host", "waits", |_: Caller<'_, ()>, (how,): (i64,)| {
            Box::new(async move {
                Pending(2).await;
                how
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

#[test]
fn whatever_ends_a_call_the_registers_of_the_host_are_kept() {
    let (mut store, instance) = instance();
    for export in ["run", "continue"] {
        let func: TypedFunc<i64, i64> = instance.get_typed_func(&mut store, export).unwrap();
        for (how, (name, fails)) in (0..).zip(WAYS) {
            keeps_registers(&format!("{export}, {name}"), || {
                let result = catch_unwind(AssertUnwindSafe(|| func.call(&mut store, how)));
                assert_eq!(!matches!(result, Ok(Ok(_))), fails, "{export}, {name}");
                assert_eq!(result.is_err(), name == "panic", "{export}, {name}");
            });
        }
    }
}

#[test]
fn whatever_ends_a_poll_the_registers_of_the_host_are_kept() {
    let (mut store, instance) = instance();
    for export in ["run", "continue", "wait"] {
        let func: TypedFunc<i64, i64> = instance.get_typed_func(&mut store, export).unwrap();
        for (how, (name, fails)) in (0..).zip(WAYS) {
            let mut future = pin!(func.call_async(&mut store, how));
            let mut polls = 0;
            let mut done = false;
            while !done {
                polls += 1;
                keeps_registers(&format!("{export}, {name}, poll {polls}"), || {
                    let result = catch_unwind(AssertUnwindSafe(|| poll(future.as_mut())));
                    done = !matches!(result, Ok(std::task::Poll::Pending));
                    let is_ok = matches!(result, Ok(std::task::Poll::Ready(Ok(_))));
                    assert!(!done || is_ok != fails, "{export}, {name}");
                    assert_eq!(result.is_err(), done && name == "panic", "{export}, {name}");
                });
            }
            assert_eq!(polls, if export == "wait" { 3 } else { 1 }, "{name}");
        }
    }
}
