//! Traps: each kind arrives as what it is, wherever it happens, and leaves the store usable.

use sarsen::{Engine, Instance, Module, Store, Trap, TypedFunc, WasmBacktrace, WasmParams};

fn instance(wat: &str) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

/// Calls a function without results that must trap.
fn trap<P: WasmParams>(store: &mut Store<()>, instance: &Instance, name: &str, params: P) -> Trap {
    let f: TypedFunc<P, ()> = instance.get_typed_func(&mut *store, name).unwrap();
    let error = f.call(&mut *store, params).unwrap_err();
    assert!(
        error.downcast_ref::<WasmBacktrace>().is_some(),
        "{name} has a backtrace"
    );
    *error
        .downcast_ref::<Trap>()
        .unwrap_or_else(|| panic!("{name}: {error:?}"))
}

const KINDS: &str = r#"
    (module
        (type $unary (func (param i32)))
        (memory 1)
        (table $t 4 funcref)
        (elem (i32.const 1) $add $ok)
        (global $one i32 (i32.const 1))
        (func $add (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func $ok (param i32))
        (func (export "ok") (result i32) (i32.const 42))
        (func (export "unreachable") unreachable)
        (func (export "div") (param i32 i32) (drop (i32.div_s (local.get 0) (local.get 1))))
        (func (export "rem64") (param i64 i64) (drop (i64.rem_u (local.get 0) (local.get 1))))
        (func (export "trunc") (param f64) (drop (i32.trunc_f64_s (local.get 0))))
        (func (export "call") (param i32)
            (call_indirect $t (type $unary) (i32.const 0) (local.get 0)))
        (func (export "get") (param i32) (drop (table.get $t (local.get 0))))
        (func (export "fill") (param i32) (table.fill $t (local.get 0) (ref.null func) (i32.const 9)))
        (func (export "memfill") (param i32)
            (memory.fill (local.get 0) (i32.const 7) (i32.const 9)))
        (func (export "load") (param i32) (drop (i32.load (local.get 0))))
        (func (export "null") (param funcref)
            (drop (ref.as_non_null (local.get 0)))))
"#;

#[test]
fn every_kind_of_trap_is_told_apart_and_the_store_goes_on() {
    let (mut store, instance) = instance(KINDS);
    let (s, i) = (&mut store, &instance);
    for _ in 0..3 {
        assert_eq!(trap(s, i, "unreachable", ()), Trap::Unreachable);
        assert_eq!(trap(s, i, "div", (1, 0)), Trap::IntegerDivisionByZero);
        assert_eq!(trap(s, i, "div", (i32::MIN, -1)), Trap::IntegerOverflow);
        assert_eq!(
            trap(s, i, "rem64", (1u64, 0u64)),
            Trap::IntegerDivisionByZero
        );
        assert_eq!(trap(s, i, "trunc", f64::NAN), Trap::BadConversionToInteger);
        assert_eq!(trap(s, i, "trunc", 1e30), Trap::IntegerOverflow);
        assert_eq!(trap(s, i, "call", 0), Trap::IndirectCallToNull);
        assert_eq!(trap(s, i, "call", 1), Trap::BadSignature);
        assert_eq!(trap(s, i, "call", 4), Trap::UndefinedElement);
        assert_eq!(trap(s, i, "call", -1), Trap::UndefinedElement);
        assert_eq!(trap(s, i, "get", 4), Trap::TableOutOfBounds);
        assert_eq!(trap(s, i, "fill", 0), Trap::TableOutOfBounds);
        assert_eq!(trap(s, i, "memfill", 65530), Trap::MemoryOutOfBounds);
        assert_eq!(trap(s, i, "load", 65533), Trap::MemoryOutOfBounds);
        assert_eq!(trap(s, i, "load", -4), Trap::MemoryOutOfBounds);
        assert_eq!(
            trap(s, i, "null", None::<sarsen::Func>),
            Trap::NullReference
        );
        let ok: TypedFunc<(), i32> = i.get_typed_func(&mut *s, "ok").unwrap();
        assert_eq!(ok.call(&mut *s, ()).unwrap(), 42);
    }
}

/// Every load and store of WebAssembly 1.0, at constant offsets up to the largest.
#[test]
fn the_largest_index_and_offset_trap_at_every_width() {
    let loads = [
        "i32.load",
        "i64.load",
        "f32.load",
        "f64.load",
        "i32.load8_s",
        "i32.load8_u",
        "i32.load16_s",
        "i32.load16_u",
        "i64.load8_s",
        "i64.load8_u",
        "i64.load16_s",
        "i64.load16_u",
        "i64.load32_s",
        "i64.load32_u",
    ];
    let stores = [
        ("i32.store", "i32.const 0"),
        ("i64.store", "i64.const 0"),
        ("f32.store", "f32.const 0"),
        ("f64.store", "f64.const 0"),
        ("i32.store8", "i32.const 0"),
        ("i32.store16", "i32.const 0"),
        ("i64.store8", "i64.const 0"),
        ("i64.store16", "i64.const 0"),
        ("i64.store32", "i64.const 0"),
    ];
    let offsets = ["0", "65536", "0x7fffffff", "0xfffffff0", "0xffffffff"];
    let mut wat = String::from("(module (memory 1)");
    let mut names = Vec::new();
    for offset in offsets {
        for op in loads {
            let name = format!("{op}+{offset}");
            wat += &format!(
                "(func (export \"{name}\") (param i32)
                    (drop ({op} offset={offset} (local.get 0))))"
            );
            names.push(name);
        }
        for (op, value) in stores {
            let name = format!("{op}+{offset}");
            wat += &format!(
                "(func (export \"{name}\") (param i32)
                    ({op} offset={offset} (local.get 0) ({value})))"
            );
            names.push(name);
        }
    }
    wat += ")";
    let (mut store, instance) = instance(&wat);
    for name in &names {
        for index in [-1, 0x7fff_ffff, i32::MIN, 65536] {
            let code = trap(&mut store, &instance, name, index);
            assert_eq!(code, Trap::MemoryOutOfBounds, "{name} at {index:#x}");
        }
    }
}

#[test]
fn a_trap_in_deep_recursion_lands_in_the_outermost_caller() {
    let (mut store, instance) = instance(
        r#"(module
            (func $f (export "f") (param i32)
                (if (i32.eqz (local.get 0)) (then unreachable))
                (call $f (i32.sub (local.get 0) (i32.const 1)))
                (drop (i32.const 1))))"#,
    );
    for depth in [0, 1, 10, 1000, 3000] {
        assert_eq!(trap(&mut store, &instance, "f", depth), Trap::Unreachable);
    }
}

#[test]
fn a_trap_keeps_the_callers_values() {
    // Callee-saved registers and the stack of the host's function must be as before.
    let (mut store, instance) = instance(
        r#"(module (func (export "f") (param i64 i64 i64 i64 i64 i64 i64 i64 f64 f64)
            unreachable))"#,
    );
    type Params = (u64, u64, u64, u64, u64, u64, u64, u64, f64, f64);
    let f: TypedFunc<Params, ()> = instance.get_typed_func(&mut store, "f").unwrap();
    let mut sum = 0u64;
    let mut product = 1.0f64;
    for n in 1..200u64 {
        let error = f
            .call(&mut store, (n, n, n, n, n, n, n, n, 0.5, 0.25))
            .unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Unreachable));
        sum += n;
        product *= 1.0 + 1.0 / n as f64;
    }
    assert_eq!(sum, 199 * 200 / 2);
    assert!((product - 200.0).abs() < 1e-9);
}

#[test]
fn threads_trap_at_the_same_time_without_disturbing_each_other() {
    let engine = Engine::default();
    let module = Module::new(&engine, KINDS).unwrap();
    let run = || {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for round in 0..500 {
            let (s, i) = (&mut store, &instance);
            match round % 4 {
                0 => assert_eq!(trap(s, i, "unreachable", ()), Trap::Unreachable),
                1 => assert_eq!(trap(s, i, "div", (1, 0)), Trap::IntegerDivisionByZero),
                2 => assert_eq!(trap(s, i, "load", -1), Trap::MemoryOutOfBounds),
                _ => assert_eq!(trap(s, i, "call", 0), Trap::IndirectCallToNull),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(run);
        }
    });
}

#[test]
fn a_store_traps_on_whatever_thread_it_was_moved_to() {
    let (mut store, instance) = instance(KINDS);
    for _ in 0..20 {
        store = std::thread::spawn(move || {
            assert_eq!(
                trap(&mut store, &instance, "unreachable", ()),
                Trap::Unreachable
            );
            assert_eq!(
                trap(&mut store, &instance, "load", -1),
                Trap::MemoryOutOfBounds
            );
            store
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_start_function_that_traps_fails_the_instantiation() {
    let engine = Engine::default();
    let wat = "(module (func $start unreachable) (start $start))";
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Unreachable));
}

#[test]
fn threads_that_have_trapped_leave_no_mapping_behind() {
    let engine = Engine::default();
    let module = Module::new(&engine, KINDS).unwrap();
    let mappings = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .count()
    };
    let run = || {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        assert_eq!(
            trap(&mut store, &instance, "unreachable", ()),
            Trap::Unreachable
        );
    };
    let run_in_thread = || std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    run_in_thread();
    let before = mappings();
    for _ in 0..200 {
        run_in_thread();
    }
    // Other tests run meanwhile, and map some.
    assert!(mappings() < before + 150);
}
