//! Fuel and epochs.

use sarsen::{
    Config, Engine, Instance, Module, NotConfiguredError, Store, Trap, TypedFunc, UpdateDeadline,
};
use std::sync::atomic::{AtomicBool, Ordering};

const LOOPS: &str = r#"(module
  (func (export "spin") (param i64) (result i64)
    (local $n i64)
    (loop $again
      (local.set $n (i64.add (local.get $n) (i64.const 1)))
      (br_if $again (i64.ne (local.get $n) (local.get 0))))
    (local.get $n)))"#;

fn spin<T>(engine: &Engine, data: T) -> (Store<T>, TypedFunc<i64, i64>) {
    let module = Module::new(engine, LOOPS).unwrap();
    let mut store = Store::new(engine, data);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let spin = instance.get_typed_func(&mut store, "spin").unwrap();
    (store, spin)
}

fn with_fuel() -> Engine {
    let mut config = Config::new();
    config.consume_fuel(true);
    Engine::new(&config).unwrap()
}

fn with_epochs() -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true);
    Engine::new(&config).unwrap()
}

#[test]
fn fuel_is_consumed_and_runs_out() {
    let (mut store, spin) = spin(&with_fuel(), ());
    assert_eq!(store.get_fuel().unwrap(), 0);
    let error = spin.call(&mut store, 10).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));

    let mut used = Vec::new();
    for rounds in [10, 20, 30] {
        store.set_fuel(1_000_000).unwrap();
        assert_eq!(spin.call(&mut store, rounds).unwrap(), rounds);
        used.push(1_000_000 - store.get_fuel().unwrap());
    }
    assert!(used[0] > 10, "{used:?}");
    assert_eq!(
        used[2] - used[1],
        used[1] - used[0],
        "the same for each round: {used:?}"
    );

    store.set_fuel(1000).unwrap();
    let error = spin.call(&mut store, 0).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    assert_eq!(store.get_fuel().unwrap(), 0);
}

#[test]
fn arrays_cost_fuel_by_their_length() {
    let module = r#"(module
      (type $a (array (mut i32)))
      (type $f (array (mut funcref)))
      (data $d "0123456789abcdef")
      (elem $e func 0)
      (func (export "f") (param $n i32) (result i32)
        (local $a (ref null $a))
        (drop (array.new_data $a $d (i32.const 0) (i32.const 2)))
        (drop (array.new_elem $f $e (i32.const 0) (i32.const 1)))
        (drop (array.new $a (i32.const 1) (local.get $n)))
        (local.set $a (array.new_default $a (local.get $n)))
        (array.init_data $a $d (local.get $a) (i32.const 0) (i32.const 0) (i32.const 1))
        (array.fill $a (local.get $a) (i32.const 0) (i32.const 7) (local.get $n))
        (array.copy $a $a (local.get $a) (i32.const 0) (local.get $a) (i32.const 0) (local.get $n))
        (array.get $a (local.get $a) (i32.sub (local.get $n) (i32.const 1)))))"#;
    let engine = with_fuel();
    let module = Module::new(&engine, module).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(1000).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance
        .get_typed_func::<i32, i32>(&mut store, "f")
        .unwrap();
    let mut used = |length| {
        store.set_fuel(1_000_000).unwrap();
        assert_eq!(f.call(&mut store, length).unwrap(), 7);
        1_000_000 - store.get_fuel().unwrap()
    };
    let (short, long) = (used(64), used(64_000));
    assert!(long > short + 3000, "{short} and {long}");
}

#[test]
fn any_amount_of_fuel_can_be_set() {
    let (mut store, spin) = spin(&with_fuel(), ());
    for fuel in [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        store.set_fuel(fuel).unwrap();
        assert_eq!(store.get_fuel().unwrap(), fuel);
    }
    spin.call(&mut store, 1000).unwrap();
    let left = store.get_fuel().unwrap();
    assert!(
        left < u64::MAX - 1000 && left > u64::MAX - 100_000,
        "{left}"
    );
}

#[test]
fn fuel_that_is_not_configured_is_an_error() {
    let mut store = Store::new(&Engine::default(), ());
    let error = store.set_fuel(1).unwrap_err();
    assert!(error.downcast_ref::<NotConfiguredError>().is_some());
    assert!(store.get_fuel().is_err());
}

#[test]
fn an_infinite_loop_ends_when_the_epoch_does() {
    let engine = with_epochs();
    let (mut store, spin) = spin(&engine, ());
    store.set_epoch_deadline(1);
    assert_eq!(spin.call(&mut store, 1000).unwrap(), 1000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                engine.increment_epoch();
                std::thread::yield_now();
            }
        });
        let error = spin.call(&mut store, 0).unwrap_err();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    });
    store.set_epoch_deadline(1);
    assert_eq!(spin.call(&mut store, 1000).unwrap(), 1000);
}

#[test]
fn a_new_stores_deadline_has_passed() {
    let (mut store, spin) = spin(&with_epochs(), ());
    let error = spin.call(&mut store, 1).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
}

#[test]
fn a_callback_decides_at_the_deadline() {
    let engine = with_epochs();
    let (mut store, spin) = spin(&engine, 0);
    store.epoch_deadline_callback(|mut context| {
        *context.data_mut() += 1;
        match *context.data() {
            1 => Ok(UpdateDeadline::Continue(1)),
            2 => Ok(UpdateDeadline::Interrupt),
            _ => sarsen::bail!("enough"),
        }
    });
    assert_eq!(spin.call(&mut store, 100).unwrap(), 100);
    assert_eq!(*store.data(), 1);
    engine.increment_epoch();
    let error = spin.call(&mut store, 100).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    let error = spin.call(&mut store, 100).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "enough");
    store.epoch_deadline_trap();
    let error = spin.call(&mut store, 100).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    assert_eq!(*store.data(), 3);
}

#[test]
fn fuel_that_a_host_function_sets_counts_at_once() {
    let engine = with_fuel();
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "refuel" (func $refuel (param i64) (result i64)))
             (func (export "run") (param i64 i64) (result i64)
               (local $left i64)
               (local.set $left (call $refuel (local.get 0)))
               (loop $again
                 (local.set 1 (i64.sub (local.get 1) (i64.const 1)))
                 (br_if $again (i64.gt_s (local.get 1) (i64.const 0))))
               (local.get $left)))"#,
    )
    .unwrap();
    let mut linker = sarsen::Linker::new(&engine);
    linker
        .func_wrap(
            "",
            "refuel",
            |mut caller: sarsen::Caller<'_, ()>, fuel: u64| {
                let left = caller.get_fuel()?;
                caller.set_fuel(fuel)?;
                Ok(left)
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(100).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(u64, u64), u64>(&mut store, "run")
        .unwrap();
    let left = run.call(&mut store, (100_000, 1000)).unwrap();
    assert!(
        left < 100 && left > 50,
        "the host sees what was used until then: {left}"
    );
    let left = store.get_fuel().unwrap();
    assert!(left > 80_000 && left < 99_000, "{left}");
    let error = run.call(&mut store, (100, 1000)).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
}

#[test]
fn a_panic_of_the_callback_comes_out_and_the_deadline_traps_then() {
    let (mut store, spin) = spin(&with_epochs(), ());
    store.epoch_deadline_callback(|_| panic!("at the deadline"));
    let panic = std::panic::AssertUnwindSafe(|| spin.call(&mut store, 1));
    let panic = std::panic::catch_unwind(panic).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"at the deadline"));
    let error = spin.call(&mut store, 1).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
}

#[test]
fn the_callback_may_use_the_store_and_call_wasm() {
    let engine = with_epochs();
    let (mut store, spin) = spin(&engine, Vec::new());
    store.epoch_deadline_callback(move |mut context| {
        let depth = context.data().len();
        context.data_mut().push(depth);
        if depth < 3 {
            assert_eq!(spin.call(&mut context, 10)?, 10);
        }
        Ok(UpdateDeadline::Continue(1))
    });
    // The callback is not asked while it runs itself: then the deadline traps.
    let error = spin.call(&mut store, 10).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    assert_eq!(store.data(), &[0]);
}

#[test]
fn straight_code_full_of_bulk_operations_is_interrupted() {
    let module = |operation: &str| {
        let operations = operation.repeat(50);
        format!(
            r#"(module (memory 1024) (table $t 1000000 funcref) (data $d "") (elem $e func)
                 (global $done (export "done") (mut i32) (i32.const 0))
                 (func (export "f") (param $n i32) {operations}))"#
        )
    };
    let count = "(global.set $done (i32.add (global.get $done) (i32.const 1)))";
    for operation in [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000))",
        "(memory.copy (i32.const 0) (i32.const 1) (local.get $n))",
        "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1000000))",
        "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 999999))",
    ] {
        let module = module(&format!("{operation}{count}"));
        let run = |engine: &Engine, prepare: &dyn Fn(&mut Store<()>)| {
            let (mut store, instance) = crate::instance_in(engine, &module);
            prepare(&mut store);
            let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
            let error = f.call(&mut store, 0x3ff_0000).unwrap_err();
            let done = instance.get_global(&mut store, "done").unwrap();
            let done = done.get(&mut store).unwrap_i32();
            (*error.downcast_ref::<Trap>().unwrap(), done)
        };
        let (trap, done) = run(&with_fuel(), &|store| store.set_fuel(5000).unwrap());
        assert_eq!(trap, Trap::OutOfFuel, "{operation}");
        assert!(done <= 1, "{operation}: {done}");
        let engine = with_epochs();
        let (trap, done) = run(&engine, &|store| {
            // The function's beginning looks first, then the first operation.
            let mut looks = 0;
            store.set_epoch_deadline(0);
            store.epoch_deadline_callback(move |_| {
                looks += 1;
                match looks {
                    1 => Ok(UpdateDeadline::Continue(0)),
                    _ => Err(Trap::Interrupt.into()),
                }
            });
        });
        assert_eq!((trap, done), (Trap::Interrupt, 0), "{operation}");
    }
}

#[test]
fn handles_that_the_callback_makes_end_with_it() {
    let engine = with_epochs();
    let (mut store, spin) = spin(&engine, 0);
    store.epoch_deadline_callback(|mut context| {
        sarsen::ExternRef::new(&mut context, 7)?;
        *context.data_mut() += 1;
        // The deadline passes again at once, until it has been often enough.
        Ok(UpdateDeadline::Continue(u64::from(*context.data() == 50)))
    });
    assert_eq!(spin.call(&mut store, 100).unwrap(), 100);
    assert_eq!(*store.data(), 50);
    assert_eq!(store.gc_stats().scoped_roots, 0);
}
