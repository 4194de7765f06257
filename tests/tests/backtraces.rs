//! Backtraces: every frame, by the names and offsets that the program's author knows.

use sarsen::{Caller, Config, Engine, Error, Instance, Linker, Module, Store, WasmBacktrace};

fn call(config: &Config, wasm: &[u8], name: &str) -> Error {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, wasm).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
    f.call(&mut store, ()).unwrap_err()
}

fn names(backtrace: &WasmBacktrace) -> Vec<&str> {
    backtrace
        .frames()
        .iter()
        .map(|frame| frame.func_name().unwrap_or("?"))
        .collect()
}

const CHAIN: &str = r#"
    (module $chain
        (func $a (export "a") (nop) (call $b) (nop))
        (func $b (nop) (nop) (call $c) (nop))
        (func $c (nop) (nop) (nop) unreachable))
"#;

/// The offset in `wasm` of the `nth` instruction that has this byte, in the code section.
fn find(wasm: &[u8], opcode: &[u8], nth: usize) -> usize {
    let mut found = wasm
        .windows(opcode.len())
        .enumerate()
        .filter(|(_, w)| *w == opcode);
    found.nth(nth).unwrap().0
}

#[test]
fn frames_have_names_and_exact_offsets_whether_inlined_or_not() {
    let wasm = wat::parse_str(CHAIN).unwrap();
    for inlining in [false, true] {
        let error = call(Config::new().compiler_inlining(inlining), &wasm, "a");
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        assert_eq!(names(backtrace), ["c", "b", "a"], "inlining: {inlining}");
        let frames = backtrace.frames();
        let offsets: Vec<_> = frames.iter().map(|f| f.module_offset().unwrap()).collect();
        // `nop nop nop unreachable`, `nop nop call 2`, `nop call 1`.
        let unreachable = find(&wasm, &[1, 1, 1, 0], 0) + 3;
        let call_c = find(&wasm, &[1, 0x10, 2], 0) + 1;
        let call_b = find(&wasm, &[1, 0x10, 1], 0) + 1;
        assert_eq!(
            offsets,
            [unreachable, call_c, call_b],
            "inlining: {inlining}"
        );
        assert!(frames.iter().all(|f| f.module_name() == Some("chain")));
        assert_eq!(
            frames.iter().map(|f| f.func_index()).collect::<Vec<_>>(),
            [2, 1, 0]
        );
        let text = format!("{error:?}");
        for part in ["unreachable", "chain!c", "chain!b", "chain!a"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn a_call_by_reference_of_whom_it_was_compared_with_is_a_frame() {
    let wat = r#"(module $chain
        (type $f (func))
        (type $holder (struct (field $f (ref $f))))
        (func $c (nop) unreachable)
        (func $b (type $f) (nop) (nop) (call $c))
        (elem declare func $b)
        (func $a (export "a") (nop)
            (call_ref $f (struct.get $holder $f (struct.new $holder (ref.func $b))))))"#;
    let wasm = wat::parse_str(wat).unwrap();
    let mut told = Vec::new();
    for inlining in [false, true] {
        let error = call(Config::new().compiler_inlining(inlining), &wasm, "a");
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        assert_eq!(names(backtrace), ["c", "b", "a"], "inlining: {inlining}");
        let offsets = backtrace
            .frames()
            .iter()
            .map(|f| f.module_offset().unwrap());
        told.push(offsets.collect::<Vec<_>>());
    }
    assert_eq!(told[0], told[1]);
}

#[test]
fn a_trap_right_behind_a_branch_is_where_it_is() {
    let wat = r#"(module $chain
        (global $is-set (mut i32) (i32.const 1))
        (func $c (nop) (nop) (nop) unreachable)
        (func $b (nop) (nop) (call $c))
        (func $a (export "a") (nop) (if (global.get $is-set) (then (call $b)))))"#;
    let wasm = wat::parse_str(wat).unwrap();
    let unreachable = find(&wasm, &[1, 1, 1, 0], 0) + 3;
    for inlining in [false, true] {
        let error = call(Config::new().compiler_inlining(inlining), &wasm, "a");
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        assert_eq!(names(backtrace), ["c", "b", "a"], "inlining: {inlining}");
        assert_eq!(backtrace.frames()[0].module_offset(), Some(unreachable));
    }
}

#[test]
fn rust_and_cpp_names_are_demangled() {
    let wat = r#"(module
        (func $_ZN4core3fmt5Write9write_fmt17h3f1cd3a9d4b0f9e8E (export "f") (call $_ZN3foo3barEi))
        (func $_ZN3foo3barEi unreachable))"#;
    let error = call(&Config::new(), &wat::parse_str(wat).unwrap(), "f");
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let demangled: Vec<_> = backtrace
        .frames()
        .iter()
        .map(|f| f.demangled_name())
        .collect();
    assert_eq!(
        demangled,
        [Some("foo::bar(int)"), Some("core::fmt::Write::write_fmt")]
    );
}

#[test]
fn a_deep_stack_keeps_its_ends_and_counts_the_rest() {
    let wat = r#"(module
        (func $main (export "main") (call $down (i32.const 1000)))
        (func $down (param i32)
            (if (i32.eqz (local.get 0)) (then (call $bottom)))
            (call $down (i32.sub (local.get 0) (i32.const 1))))
        (func $bottom unreachable))"#;
    let wasm = wat::parse_str(wat).unwrap();
    let mut config = Config::new();
    config.compiler_inlining(false);
    for max in [3, 4, 20, 61, 1003, 5000] {
        config.wasm_backtrace_max_frames(max);
        let error = call(&config, &wasm, "main");
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        let names = names(backtrace);
        assert_eq!(names.len(), max.min(1003));
        assert_eq!((names[0], *names.last().unwrap()), ("bottom", "main"));
        assert!(names[1..names.len() - 1].iter().all(|&name| name == "down"));
        let omitted = backtrace.omitted().map_or(0, |(_, count)| count);
        assert_eq!(names.len() as u64 + omitted, 1003);
    }
    config.wasm_backtrace_max_frames(0);
    assert!(
        call(&config, &wasm, "main")
            .downcast_ref::<WasmBacktrace>()
            .is_none()
    );
}

#[test]
fn a_stack_overflow_has_a_backtrace_too() {
    let wat = r#"(module
        (func $main (export "main") (call $forever))
        (func $forever (call $forever) (nop)))"#;
    let error = call(&Config::new(), &wat::parse_str(wat).unwrap(), "main");
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let names = names(backtrace);
    assert_eq!((names[0], *names.last().unwrap()), ("forever", "main"));
    assert!(backtrace.omitted().unwrap().1 > 1000);
}

#[test]
fn a_host_function_sees_the_frames_of_all_activations() {
    let engine = Engine::default();
    let inner = r#"(module $inner
        (import "host" "look" (func $look))
        (func $leaf (export "leaf") (call $look)))"#;
    let outer = r#"(module $outer
        (import "host" "enter" (func $enter))
        (func $root (export "root") (call $middle))
        (func $middle (call $enter)))"#;
    let mut linker: Linker<Vec<String>> = Linker::new(&engine);
    linker
        .func_wrap("host", "look", |mut caller: Caller<'_, Vec<String>>| {
            let backtrace = WasmBacktrace::capture(&caller);
            let frames = backtrace.frames().iter();
            *caller.data_mut() = frames
                .map(|f| format!("{}!{}", f.module_name().unwrap(), f.func_name().unwrap()))
                .collect();
        })
        .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    assert!(WasmBacktrace::capture(&store).frames().is_empty());
    let inner = Module::new(&engine, inner).unwrap();
    let inner = linker.instantiate(&mut store, &inner).unwrap();
    linker
        .func_wrap(
            "host",
            "enter",
            move |mut caller: Caller<'_, Vec<String>>| {
                let leaf = inner.get_typed_func::<(), ()>(&mut caller, "leaf")?;
                leaf.call(&mut caller, ())
            },
        )
        .unwrap();
    let outer = Module::new(&engine, outer).unwrap();
    let outer = linker.instantiate(&mut store, &outer).unwrap();
    let root = outer.get_typed_func::<(), ()>(&mut store, "root").unwrap();
    root.call(&mut store, ()).unwrap();
    assert_eq!(store.data(), &["inner!leaf", "outer!middle", "outer!root"]);
}

#[test]
fn a_backtrace_outlives_engine_module_and_store() {
    let error = call(&Config::new(), &wat::parse_str(CHAIN).unwrap(), "a");
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(names(backtrace), ["c", "b", "a"]);
}

#[test]
fn tail_calls_leave_no_frames() {
    let wat = r#"(module
        (func $a (export "a") (call $b))
        (func $b (return_call $c (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
            (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8)))
        (func $c (param i64 i64 i64 i64 i64 i64 i64 i64) (return_call $d))
        (func $d unreachable))"#;
    let mut config = Config::new();
    config.compiler_inlining(false);
    let error = call(&config, &wat::parse_str(wat).unwrap(), "a");
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(names(backtrace), ["d", "a"]);
}
