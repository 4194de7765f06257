//! Runs functions that nobody should trust: each is stopped by another bound, and the host goes on.

use sarsen::{
    Config, Engine, Instance, Module, Result, Store, StoreLimits, StoreLimitsBuilder, Trap,
    WasmBacktrace,
};
use std::time::Duration;

const GUEST: &str = r#"
(module
  (memory 1)
  (func (export "spin") (loop (br 0)))
  (func $dive (export "dive") (call $dive))
  (func (export "hoard")
    (if (i32.lt_s (memory.grow (i32.const 1000)) (i32.const 0)) (then unreachable)))
  (func (export "reach") (drop (i32.load (i32.const 100000))))
  (func $inner (param i32) (drop (i32.div_s (i32.const 1) (local.get 0))))
  (func (export "divide") (call $inner (i32.const 0))))"#;

pub(crate) fn main() -> Result<()> {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;

    let out_of_fuel = attempt(&engine, &module, "spin", 1_000_000)?;
    assert_eq!(out_of_fuel, Trap::OutOfFuel);

    // Every tick of the epoch reaches all stores of the engine.
    let ticking = engine.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        ticking.increment_epoch();
    });
    assert_eq!(
        attempt(&engine, &module, "spin", u64::MAX / 2)?,
        Trap::Interrupt
    );

    assert_eq!(
        attempt(&engine, &module, "dive", u64::MAX / 2)?,
        Trap::StackOverflow
    );
    // `memory.grow` tells the guest that it failed; this one gives up.
    assert_eq!(
        attempt(&engine, &module, "hoard", 1_000_000)?,
        Trap::Unreachable
    );
    assert_eq!(
        attempt(&engine, &module, "reach", 1_000_000)?,
        Trap::MemoryOutOfBounds
    );
    assert_eq!(
        attempt(&engine, &module, "divide", 1_000_000)?,
        Trap::IntegerDivisionByZero
    );
    Ok(())
}

/// Calls a function that does not return, in a store of its own.
fn attempt(engine: &Engine, module: &Module, name: &str, fuel: u64) -> Result<Trap> {
    let limits = StoreLimitsBuilder::new().memory_size(1 << 20).build();
    let mut store: Store<StoreLimits> = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(fuel)?;
    store.set_epoch_deadline(1);
    let instance = Instance::new(&mut store, module, &[])?;
    let func = instance.get_typed_func::<(), ()>(&mut store, name)?;
    let error = func.call(&mut store, ()).expect_err("these do not return");
    let trap = *error.downcast_ref::<Trap>().expect("a trap stopped it");
    println!("{name}: {trap}");
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        let names = backtrace
            .frames()
            .iter()
            .take(3)
            .map(|f| f.func_name().unwrap_or("?"));
        println!("  in {}", names.collect::<Vec<_>>().join(", called by "));
    }
    Ok(trap)
}
