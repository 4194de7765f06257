//! Continuations as a host sees them: what runs on which stack, where they end, and what they leave.

use crate::instance_in;
use sarsen::{Caller, Config, Engine, Func, Instance, Module, Store, Trap, WasmBacktrace};

fn config() -> Config {
    let mut config = Config::new();
    config.wasm_stack_switching(true);
    config
}

fn engine() -> Engine {
    Engine::new(&config()).unwrap()
}

/// Makes `n` continuations that are suspended, in a table; finishes those from `a` to `b`; drops all.
const MANY: &str = r#"(module
    (type $f (func)) (type $k (cont $f))
    (tag $y)
    (table $t 0 (ref null $k))
    (elem declare func $waits)
    (func $waits (suspend $y))
    (func (export "suspend") (param $n i32)
        (local $i i32)
        (drop (table.grow $t (ref.null $k) (local.get $n)))
        (loop $l
            (if (i32.eq (local.get $i) (local.get $n)) (then (return)))
            (local.get $i)
            (block $h (result (ref $k))
                (resume $k (on $y $h) (cont.new $k (ref.func $waits)))
                (unreachable))
            (table.set $t)
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $l)))
    (func (export "finish") (param $a i32) (param $b i32)
        (loop $l
            (if (i32.eq (local.get $a) (local.get $b)) (then (return)))
            (resume $k (table.get $t (local.get $a)))
            (local.set $a (i32.add (local.get $a) (i32.const 1)))
            (br $l)))
    (func (export "drop") (table.fill $t (i32.const 0) (ref.null $k) (table.size $t))))"#;

fn call(
    store: &mut Store<()>,
    instance: Instance,
    name: &str,
    arguments: &[i32],
) -> sarsen::Result<()> {
    let func = instance.get_func(&mut *store, name).unwrap();
    let arguments: Vec<sarsen::Val> = arguments.iter().map(|&n| sarsen::Val::I32(n)).collect();
    func.call(store, &arguments, &mut [])
}

#[test]
fn stacks_come_back_when_continuations_finish_or_die_and_when_their_store_is_dropped() {
    let engine = engine();
    let (mut store, instance) = instance_in(&engine, MANY);
    assert_eq!(store.continuation_stacks(), 0);
    // Few enough for systems whose guards take a mapping each, of which a process has 65,530.
    call(&mut store, instance, "suspend", &[16_000]).unwrap();
    assert_eq!(store.continuation_stacks(), 16_000);
    call(&mut store, instance, "finish", &[0, 6_000]).unwrap();
    assert_eq!(store.continuation_stacks(), 10_000);
    // Those that finished went back to the engine, all but a few.
    assert!(engine.continuation_stacks().in_use < 10_000 + 2_000);
    store.gc(None).unwrap();
    assert_eq!(store.continuation_stacks(), 10_000);
    let error = call(&mut store, instance, "finish", &[5_999, 6_000]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::ContinuationConsumed));
    call(&mut store, instance, "drop", &[]).unwrap();
    store.gc(None).unwrap();
    assert_eq!(store.continuation_stacks(), 0);
    let counts = engine.continuation_stacks();
    assert!(counts.in_use < 2_000, "{counts:?}");
    assert!(counts.warm < 10_000, "memory is kept: {counts:?}");
    call(&mut store, instance, "suspend", &[1000]).unwrap();
    drop(store);
    assert_eq!(engine.continuation_stacks().in_use, 0);
}

#[test]
fn what_needs_more_stacks_than_there_may_be_traps_unless_some_are_garbage() {
    let engine = Engine::new(config().max_continuation_stacks(50)).unwrap();
    let (mut store, instance) = instance_in(&engine, MANY);
    let error = call(&mut store, instance, "suspend", &[51]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfStacks));
    // Nobody refers to these any more.
    call(&mut store, instance, "drop", &[]).unwrap();
    call(&mut store, instance, "suspend", &[50]).unwrap();
    call(&mut store, instance, "finish", &[0, 50]).unwrap();
    // What one store keeps free, another cannot have; what it gives back, it can.
    drop(store);
    let (mut store, instance) = instance_in(&engine, MANY);
    call(&mut store, instance, "suspend", &[50]).unwrap();
}

#[test]
fn a_soak_of_continuations_that_are_forgotten_takes_no_more_and_more_stacks() {
    let engine = engine();
    let (mut store, instance) = instance_in(&engine, MANY);
    for round in 0..40 {
        call(&mut store, instance, "suspend", &[5000]).unwrap();
        let done = round * 97 % 5000;
        call(&mut store, instance, "finish", &[0, done]).unwrap();
        let counts = engine.continuation_stacks();
        let all = counts.in_use + counts.idle;
        assert!(all < 40_000, "round {round}: {counts:?}");
        call(&mut store, instance, "drop", &[]).unwrap();
    }
}

const NESTED: &str = r#"(module
    (import "" "host" (func $host (param i32)))
    (type $f (func (param i32))) (type $k (cont $f))
    (type $g (func)) (type $rest (cont $g))
    (tag $y)
    (elem declare func $inner $middle $waits)
    (func $leaf (param i32) (call $host (local.get 0)))
    (func $inner (type $f) (call $leaf (local.get 0)))
    (func $middle (type $f) (resume $k (local.get 0) (cont.new $k (ref.func $inner))))
    (func $outer (export "run") (param i32) (resume $k (local.get 0) (cont.new $k (ref.func $middle))))
    (func $waits (type $f) (suspend $y))
    (func (export "suspends") (suspend $y))
    (func (export "handles") (param i32)
        (block $h (result (ref $rest))
            (resume $k (on $y $h) (local.get 0) (cont.new $k (ref.func $inner)))
            (return))
        (unreachable)))"#;

fn nested<T: 'static>(
    engine: &Engine,
    data: T,
    host: impl Fn(Caller<'_, T>, i32) -> sarsen::Result<()> + Send + Sync + 'static,
) -> (Store<T>, Instance) {
    let mut store = Store::new(engine, data);
    let module = Module::new(engine, NESTED).unwrap();
    let host = Func::wrap(&mut store, host);
    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
    (store, instance)
}

fn names(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &sarsen::FrameInfo| frame.func_name().unwrap_or("?").to_owned();
    backtrace.frames().iter().map(name).collect()
}

#[test]
fn a_backtrace_goes_from_the_innermost_continuation_to_what_resumed_it() {
    let engine = engine();
    let chain = ["leaf", "inner", "middle", "outer"];
    let (mut store, instance) = nested(&engine, (), move |caller, trap| {
        assert_eq!(names(&WasmBacktrace::capture(&caller)), chain);
        if trap != 0 {
            sarsen::bail!("the host's error");
        }
        Ok(())
    });
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, 0).unwrap();
    let error = run.call(&mut store, 1).unwrap_err();
    assert_eq!(names(error.downcast_ref().unwrap()), chain);
    assert!(format!("{error:#}").contains("the host's error"));
    assert_eq!(store.continuation_stacks(), 0);
    run.call(&mut store, 0).unwrap();
}

#[test]
fn host_functions_run_on_the_threads_own_stack_and_may_call_back_and_panic() {
    let engine = engine();
    let here = 0u8;
    let here = std::ptr::from_ref(&here).addr();
    let (mut store, instance) = nested(&engine, 0, move |mut caller: Caller<'_, i32>, n| {
        let local = 0u8;
        assert!(std::ptr::from_ref(&local).addr().abs_diff(here) < 1 << 20);
        // More than a continuation's stack has.
        let mut large = [n as u8; 128 << 10];
        std::hint::black_box(&mut large);
        if n == 100 {
            panic!("the host's panic");
        }
        *caller.data_mut() += 1;
        if n > 0 {
            let run = caller.get_export("run").unwrap().into_func().unwrap();
            run.typed::<i32, ()>(&caller)?.call(&mut caller, n - 1)?;
        }
        Ok(())
    });
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, 3).unwrap();
    assert_eq!(*store.data(), 4);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = run.call(&mut store, 100);
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"the host's panic"));
    assert_eq!(store.continuation_stacks(), 0);
    run.call(&mut store, 3).unwrap();
}

#[test]
fn a_host_frame_is_a_barrier_for_suspensions() {
    let engine = engine();
    let (mut store, instance) = nested(&engine, false, |mut caller: Caller<'_, bool>, _| {
        let suspends = caller.get_export("suspends").unwrap().into_func().unwrap();
        let suspends = suspends.typed::<(), ()>(&caller)?;
        let error = suspends.call(&mut caller, ()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnhandledTag));
        *caller.data_mut() = true;
        Ok(())
    });
    let handles = instance
        .get_typed_func::<i32, ()>(&mut store, "handles")
        .unwrap();
    handles.call(&mut store, 0).unwrap();
    assert!(*store.data());
}

#[test]
fn a_larger_stack_lets_a_continuation_go_deeper() {
    let depth = |size: usize| {
        let engine = Engine::new(config().continuation_stack_size(size)).unwrap();
        let text = r#"(module
            (type $f (func)) (type $k (cont $f))
            (global $depth (export "depth") (mut i32) (i32.const 0))
            (elem declare func $deeper)
            (func $deeper (type $f)
                (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                (call $deeper)
                (global.set $depth (i32.sub (global.get $depth) (i32.const 1))))
            (func (export "run") (resume $k (cont.new $k (ref.func $deeper)))))"#;
        let (mut store, instance) = instance_in(&engine, text);
        let error = call(&mut store, instance, "run", &[]).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
        let depth = instance.get_global(&mut store, "depth").unwrap();
        depth.get(&mut store).i32().unwrap()
    };
    let (small, large) = (depth(64 << 10), depth(1 << 20));
    assert!(small > 100 && large > 10 * small, "{small}, {large}");
}

#[test]
fn a_function_with_more_values_than_a_stack_has_room_for_traps() {
    let engine = engine();
    let many = "v128 ".repeat(1000);
    let text = format!(
        "(module
            (type $f (func (param {many}))) (type $k (cont $f))
            (elem declare func $f)
            (func $f (type $f))
            (func (export \"run\") {} (resume $k (cont.new $k (ref.func $f)))))",
        "(v128.const i64x2 0 0)".repeat(1000)
    );
    let (mut store, instance) = instance_in(&engine, &text);
    let error = call(&mut store, instance, "run", &[]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
}
