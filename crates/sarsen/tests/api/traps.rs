//! Traps, their backtraces, and what they print.

use crate::{instance, instance_in};
use sarsen::{Config, Engine, Instance, Module, Store, Trap, WasmBacktrace};

#[test]
fn every_kind_of_fault_is_its_trap() {
    let (mut store, instance) = instance(
        r#"(module
             (type $v (func))
             (memory 1)
             (table 2 funcref)
             (elem (i32.const 1) $wrong)
             (func $wrong (param i32))
             (func (export "unreachable") unreachable)
             (func (export "div") (drop (i32.div_s (i32.const 1) (i32.const 0))))
             (func (export "overflow") (drop (i32.div_s (i32.const -2147483648) (i32.const -1))))
             (func (export "convert") (drop (i32.trunc_f64_s (f64.const nan))))
             (func (export "convert-large") (drop (i32.trunc_f64_s (f64.const 1e10))))
             (func (export "load") (drop (i32.load (i32.const -1))))
             (func (export "load-offset") (drop (i64.load offset=0xffffffff (i32.const -1))))
             (func (export "store") (i32.store (i32.const 65533) (i32.const 0)))
             (func (export "fill") (memory.fill (i32.const 65530) (i32.const 0) (i32.const 7)))
             (func (export "table") (drop (table.get (i32.const 2))))
             (func (export "undefined") (call_indirect (i32.const 2)))
             (func (export "null") (call_indirect (i32.const 0)))
             (func (export "signature") (call_indirect (i32.const 1)))
             (func (export "ref") (call_ref $v (ref.null $v)))
             (func $deep (export "deep") (call $deep)))"#,
    );
    for (name, expected) in [
        ("unreachable", Trap::Unreachable),
        ("div", Trap::IntegerDivisionByZero),
        ("overflow", Trap::IntegerOverflow),
        ("convert", Trap::BadConversionToInteger),
        ("convert-large", Trap::IntegerOverflow),
        ("load", Trap::MemoryOutOfBounds),
        ("load-offset", Trap::MemoryOutOfBounds),
        ("store", Trap::MemoryOutOfBounds),
        ("fill", Trap::MemoryOutOfBounds),
        ("table", Trap::TableOutOfBounds),
        ("undefined", Trap::UndefinedElement),
        ("null", Trap::IndirectCallToNull),
        ("signature", Trap::BadSignature),
        ("ref", Trap::NullReference),
        ("deep", Trap::StackOverflow),
    ] {
        let f = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        assert_eq!(
            error.downcast_ref::<Trap>(),
            Some(&expected),
            "{name}: {error:?}"
        );
        assert!(error.downcast_ref::<WasmBacktrace>().is_some(), "{name}");
    }
}

const NAMED: &str = r#"(module $shop
  (func $innermost (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))
  (func $middle (param i32) (call $innermost (local.get 0)) (call $innermost (i32.const 0)))
  (func (export "run") (param i32) (call $middle (local.get 0))))"#;

#[test]
fn a_backtrace_names_functions_and_offsets_whether_inlined_or_not() {
    for inlining in [false, true] {
        let mut config = Config::new();
        config.compiler_inlining(inlining);
        let engine = Engine::new(&config).unwrap();
        let (mut store, instance) = instance_in(&engine, NAMED);
        let run = instance
            .get_typed_func::<i32, ()>(&mut store, "run")
            .unwrap();
        let mut offsets = Vec::new();
        for argument in [0, 1] {
            let error = run.call(&mut store, argument).unwrap_err();
            let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
            let names: Vec<_> = backtrace.frames().iter().map(|f| f.func_name()).collect();
            assert_eq!(names, [Some("innermost"), Some("middle"), None]);
            let indices: Vec<_> = backtrace.frames().iter().map(|f| f.func_index()).collect();
            assert_eq!(indices, [0, 1, 2]);
            assert_eq!(backtrace.frames()[0].module_name(), Some("shop"));
            assert_eq!(backtrace.omitted(), None);
            offsets.push(backtrace.frames()[1].module_offset().unwrap());
        }
        assert!(
            offsets[0] < offsets[1],
            "each call has its own offset: {offsets:?}"
        );
    }
}

#[test]
fn an_error_prints_its_backtrace_and_its_cause() {
    let (mut store, instance) = instance(NAMED);
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, 0).unwrap_err();
    let text = format!("{error:?}");
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("error while executing at wasm backtrace:")
    );
    for (number, function) in ["innermost", "middle", "run"].iter().enumerate() {
        let line = lines.next().unwrap();
        assert!(line.starts_with(&format!("    {number:>3}: ")), "{line}");
        assert!(line.contains(" 0x"), "{line}");
        assert!(line.ends_with(&format!(" - shop!{function}")), "{line}");
    }
    assert!(text.contains("Caused by:"), "{text}");
    assert!(text.contains("wasm trap: integer divide by zero"), "{text}");
}

#[test]
fn deep_backtraces_keep_both_ends_and_count_the_rest() {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(9).compiler_inlining(false);
    let engine = Engine::new(&config).unwrap();
    let (mut store, instance) = instance_in(
        &engine,
        r#"(module
             (func $down (param i32)
               (if (local.get 0)
                 (then (call $down (i32.sub (local.get 0) (i32.const 1))))
                 (else unreachable)))
             (func $start (export "run") (param i32) (call $down (local.get 0))))"#,
    );
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, 100).unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len(), 9);
    assert_eq!(backtrace.omitted(), Some((6, 93)));
    assert_eq!(backtrace.frames()[8].func_name(), Some("start"));
    let text = backtrace.to_string();
    assert!(text.contains("93 frames left out"), "{text}");
    assert!(
        text.contains("101: "),
        "numbers go on after the gap: {text}"
    );
}

#[test]
fn backtraces_can_be_switched_off() {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(0);
    let engine = Engine::new(&config).unwrap();
    let (mut store, instance) = instance_in(&engine, NAMED);
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, 0).unwrap_err();
    assert!(error.downcast_ref::<WasmBacktrace>().is_none());
    assert_eq!(error.to_string(), "wasm trap: integer divide by zero");
}

#[test]
fn a_trap_leaves_the_store_and_its_memory_usable() {
    let (mut store, instance) = instance(
        r#"(module
             (memory (export "memory") 1)
             (func (export "run") (param i32)
               (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
               (i32.store (local.get 0) (i32.const 0x01010101))))"#,
    );
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    for _ in 0..100 {
        assert!(run.call(&mut store, -1).is_err());
    }
    run.call(&mut store, 4).unwrap();
    assert_eq!(memory.data(&store)[..8], [101, 0, 0, 0, 1, 1, 1, 1]);
}

#[test]
fn traps_at_instantiation_are_errors() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let start = Module::new(&engine, "(module (func $f unreachable) (start $f))").unwrap();
    let error = Instance::new(&mut store, &start, &[]).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Unreachable));
    let segment = r#"(module (memory 1) (data (i32.const 65534) "abc"))"#;
    let segment = Module::new(&engine, segment).unwrap();
    let error = Instance::new(&mut store, &segment, &[]).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
}

#[test]
fn traps_on_many_threads_stay_on_theirs() {
    let engine = Engine::default();
    let module = Module::new(&engine, NAMED).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..50 {
                    let mut store = Store::new(&engine, ());
                    let instance = Instance::new(&mut store, &module, &[]).unwrap();
                    let run = instance
                        .get_typed_func::<i32, ()>(&mut store, "run")
                        .unwrap();
                    let error = run.call(&mut store, round % 2).unwrap_err();
                    let trap = error.downcast_ref::<Trap>();
                    assert_eq!(trap, Some(&Trap::IntegerDivisionByZero));
                }
            });
        }
    });
}

#[test]
fn a_store_moves_between_threads() {
    let (mut store, instance) = instance(NAMED);
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    for _ in 0..4 {
        store = std::thread::spawn(move || {
            assert!(run.call(&mut store, 0).is_err());
            store
        })
        .join()
        .unwrap();
    }
}
