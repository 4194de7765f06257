//! The registers that C keeps are the host's again, however compiled code was left.

use super::asynchronous::{Pending, poll};
use sarsen::{Caller, Config, Engine, Linker, Module, Store, Trap, TypedFunc};
use std::arch::asm;
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

/// Runs `action` with known values in the registers, and checks that they are there afterwards.
fn keeps_registers(what: &str, mut action: impl FnMut()) {
    extern "C" fn run(action: &mut &mut dyn FnMut()) {
        action();
    }
    let run: extern "C" fn(&mut &mut dyn FnMut()) = run;
    let mut action: &mut dyn FnMut() = &mut action;
    let (rbx, rbp, r12, r13, r14, r15);
    // SAFETY: a call of a C function, which does not unwind out of it; the two registers that the compiler
    // reserves are restored, and the stack is aligned as it was.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov rbx, rsi",
            "mov rbp, rdx",
            "call rax",
            "mov rax, rbx",
            "mov rdx, rbp",
            "pop rbp",
            "pop rbx",
            inout("rax") run as usize as u64 => rbx,
            in("rdi") &raw mut action,
            in("rsi") KEPT[0],
            inout("rdx") KEPT[1] => rbp,
            inout("r12") KEPT[2] => r12,
            inout("r13") KEPT[3] => r13,
            inout("r14") KEPT[4] => r14,
            inout("r15") KEPT[5] => r15,
            clobber_abi("sysv64"),
        );
    }
    let after: [u64; 6] = [rbx, rbp, r12, r13, r14, r15];
    assert_eq!(after, KEPT, "{what}");
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
