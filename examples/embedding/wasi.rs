//! Runs a command-line program (WASI preview 1) with arguments, and captures what it prints.

use sarsen::{Engine, Linker, Module, Result, Store};
use sarsen_wasi::{CapturedOutput, I32Exit, Output, WasiCtx};

const GUEST: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\0e\00\00\00")
  (data (i32.const 16) "hello, world!\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const 3))))"#;

pub(crate) fn main() -> Result<()> {
    let engine = Engine::default();
    let mut linker: Linker<WasiCtx> = Linker::new(&engine);
    sarsen_wasi::add_to_linker(&mut linker, |context| context)?;

    // The guest reaches what its context gives it, and nothing else.
    let captured = CapturedOutput::new(1 << 20);
    let mut builder = WasiCtx::builder();
    builder
        .arg("hello")
        .env("LANG", "C")
        .stdout(Output::captured(&captured));
    let mut store = Store::new(&engine, builder.build());

    let module = Module::new(&engine, GUEST)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    let code = match start.call(&mut store, ()) {
        Ok(()) => 0,
        Err(error) => error.downcast::<I32Exit>()?.0,
    };
    let printed = captured.contents();
    println!(
        "it printed {:?} and exited with {code}",
        String::from_utf8_lossy(&printed)
    );
    assert_eq!((&*printed, code), (&b"hello, world!\n"[..], 3));
    Ok(())
}
