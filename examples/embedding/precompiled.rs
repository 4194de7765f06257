//! Compiles once, loads the image in another engine, and runs it on many threads.

use sarsen::{Engine, Instance, Module, Result, Store};

const GUEST: &str = r#"
(module (func $fib (export "fib") (param i32) (result i32)
  (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
    (then (local.get 0))
    (else (i32.add
      (call $fib (i32.sub (local.get 0) (i32.const 1)))
      (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#;

pub(crate) fn main() -> Result<()> {
    // On the machine that builds:
    let image = Engine::default().precompile_module(GUEST.as_bytes())?;

    // On the machines that run, at every start:
    let engine = Engine::default();
    // SAFETY: the image comes from `precompile_module`, and nobody else had it in hand. An image is
    // machine code: loading one is trusting whoever made it.
    let module = unsafe { Module::deserialize(&engine, &image)? };

    // An engine and its modules belong to all threads, a store to one.
    let results: Vec<i32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (20..24)
            .map(|n| {
                scope.spawn({
                    let (engine, module) = (&engine, &module);
                    move || fib(engine, module, n)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect::<Result<_>>()
    })?;
    println!("fib(20..24) = {results:?}");
    assert_eq!(results, [6765, 10946, 17711, 28657]);
    Ok(())
}

fn fib(engine: &Engine, module: &Module, n: i32) -> Result<i32> {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[])?;
    let fib = instance.get_typed_func::<i32, i32>(&mut store, "fib")?;
    fib.call(&mut store, n)
}
