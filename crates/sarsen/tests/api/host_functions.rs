//! Functions of the host that WebAssembly calls.

use sarsen::{
    Caller, Engine, Extern, ExternRef, Func, FuncType, Instance, Linker, Module, Result, Rooted,
    Store, Trap, TypeError, Val, ValType, WasmBacktrace,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

const CALLER: &str = r#"(module
  (import "" "f" (func $f (param i32 i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "run") (param i32) (result i64) (call $f (local.get 0) (i64.const 10))))"#;

fn run<T: 'static>(store: &mut Store<T>, f: Func, argument: i32) -> Result<i64> {
    let module = Module::new(store.engine(), CALLER)?;
    let instance = Instance::new(&mut *store, &module, &[f.into()])?;
    let run = instance.get_typed_func::<i32, i64>(&mut *store, "run")?;
    run.call(store, argument)
}

#[test]
fn closures_get_arguments_and_return_results() {
    let mut store = Store::new(&Engine::default(), ());
    let captured = [100, 200];
    let f = Func::wrap(&mut store, move |a: i32, b: i64| {
        i64::from(a) + b + captured[0]
    });
    assert_eq!(run(&mut store, f, 5).unwrap(), 115);
}

#[test]
fn the_caller_gives_data_and_exports() {
    let mut store = Store::new(&Engine::default(), Vec::new());
    let f = Func::wrap(
        &mut store,
        |mut caller: Caller<'_, Vec<i32>>, a: i32, b: i64| -> Result<i64> {
            caller.data_mut().push(a);
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let (bytes, data) = memory.unwrap().data_and_store_mut(&mut caller);
            bytes[0] = data.len() as u8;
            assert!(caller.get_export("nothing").is_none());
            assert!(caller.get_export("run").unwrap().into_func().is_some());
            let mut byte = [0];
            memory.unwrap().read(&caller, 0, &mut byte)?;
            Ok(b + i64::from(byte[0]))
        },
    );
    assert_eq!(run(&mut store, f, 7).unwrap(), 11);
    assert_eq!(store.data(), &[7]);
}

#[test]
fn a_host_function_called_by_the_host_has_no_caller() {
    let mut store = Store::new(&Engine::default(), ());
    let f = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        i32::from(caller.get_export("memory").is_some())
    });
    let f = f.typed::<(), i32>(&store).unwrap();
    assert_eq!(f.call(&mut store, ()).unwrap(), 0);
}

#[test]
fn dynamic_host_functions_get_values() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(&engine, [ValType::I32, ValType::I64], [ValType::I64]);
    let f = Func::new(&mut store, ty.clone(), |_, params, results| {
        assert!(matches!(results, [Val::I64(0)]));
        results[0] = Val::I64(i64::from(params[0].unwrap_i32()) * params[1].unwrap_i64());
        Ok(())
    });
    assert_eq!(run(&mut store, f, 7).unwrap(), 70);

    let wrong = Func::new(&mut store, ty.clone(), |_, _, results| {
        results[0] = Val::I32(0);
        Ok(())
    });
    let error = run(&mut store, wrong, 7).unwrap_err();
    assert!(error.downcast_ref::<TypeError>().is_some(), "{error:?}");

    // SAFETY: the function reads and writes values as its type has them.
    let raw = unsafe {
        Func::new_unchecked(&mut store, ty, |_, values| {
            values[0] = sarsen::ValRaw::i64(i64::from(values[0].get_i32()) - values[1].get_i64());
            Ok(())
        })
    };
    assert_eq!(run(&mut store, raw, 7).unwrap(), -3);
}

#[derive(Debug, PartialEq)]
struct MyError(u32);

impl std::fmt::Display for MyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "my error {}", self.0)
    }
}

impl std::error::Error for MyError {}

#[test]
fn an_error_comes_out_unchanged_with_a_backtrace() {
    let mut store = Store::new(&Engine::default(), ());
    let f = Func::wrap(&mut store, |a: i32, _: i64| -> Result<i64> {
        Err(MyError(a as u32).into())
    });
    let error = run(&mut store, f, 3).unwrap_err();
    assert_eq!(error.downcast_ref::<MyError>(), Some(&MyError(3)));
    assert_eq!(error.root_cause().to_string(), "my error 3");
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len(), 1);
    assert_eq!(backtrace.frames()[0].func_index(), 1);
    assert_eq!(error.downcast::<MyError>().unwrap(), MyError(3));

    let f = Func::wrap(&mut store, |_: i32, _: i64| -> Result<i64> {
        Err(Trap::IntegerOverflow.into())
    });
    let error = run(&mut store, f, 3).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::IntegerOverflow));
}

#[test]
fn a_panic_comes_out_as_that_panic_and_the_store_stays_usable() {
    let mut store = Store::new(&Engine::default(), 0);
    let f = Func::wrap(&mut store, |mut caller: Caller<'_, i32>, a: i32, b: i64| {
        *caller.data_mut() += 1;
        if a == 0 {
            std::panic::panic_any(MyError(77));
        }
        b
    });
    for _ in 0..3 {
        let panic = catch_unwind(AssertUnwindSafe(|| run(&mut store, f, 0))).unwrap_err();
        assert_eq!(panic.downcast_ref::<MyError>(), Some(&MyError(77)));
        assert_eq!(run(&mut store, f, 1).unwrap(), 10);
    }
    assert_eq!(*store.data(), 6);
}

#[test]
fn errors_and_panics_cross_nested_stays_in_wasm() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module $m
             (import "" "step" (func $step (param i32)))
             (func $run (export "run") (param i32) (call $step (local.get 0))))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "step", |mut caller: Caller<'_, ()>, n: i32| {
            match n {
                0 => return Err(MyError(1).into()),
                -1 => panic!("deep down"),
                _ => {}
            }
            let run = caller.get_export("run").unwrap().into_func().unwrap();
            let next = if n > 0 { n - 1 } else { n + 1 };
            run.typed::<i32, ()>(&caller)?.call(&mut caller, next)
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, 4).unwrap_err();
    assert_eq!(error.downcast_ref::<MyError>(), Some(&MyError(1)));
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len(), 5, "every stay in wasm is in it");
    assert_eq!(
        format!("{error:#}").matches("wasm backtrace").count(),
        1,
        "only the innermost call attaches a backtrace"
    );
    let panic = catch_unwind(AssertUnwindSafe(|| run.call(&mut store, -4))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"deep down"));
}

#[test]
fn many_results_and_no_results_are_returned() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "many" (func $many (param i32) (result i32 i64 f32 f64)))
             (import "" "none" (func $none))
             (func (export "run") (param i32) (result i32 i64 f32 f64)
               (call $none) (call $many (local.get 0))))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "many", |n: i32| {
            (n, i64::from(n) << 40, 0.5f32, -0.25f64)
        })
        .unwrap()
        .func_wrap("", "none", |mut caller: Caller<'_, u8>| {
            *caller.data_mut() += 1
        })
        .unwrap();
    let mut store = Store::new(&engine, 0u8);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, (i32, i64, f32, f64)>(&mut store, "run")
        .unwrap();
    let results = run.call(&mut store, -3).unwrap();
    assert_eq!(results, (-3, -3i64 << 40, 0.5, -0.25));
    assert_eq!(*store.data(), 1);
}

#[test]
fn references_pass_through_host_functions() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "wrap" (func $wrap (param externref i32) (result externref)))
             (import "" "pick" (func $pick (result funcref)))
             (table 1 funcref)
             (func (export "run") (param externref) (result externref)
               (table.set (i32.const 0) (call $pick))
               (call $wrap (local.get 0) (call_indirect (result i32) (i32.const 0)))))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap(
            "",
            "wrap",
            |mut caller: Caller<'_, ()>, inner: Option<Rooted<ExternRef>>, n: i32| {
                let text = match inner {
                    Some(inner) => {
                        let data = inner.data(&caller)?.unwrap();
                        data.downcast_ref::<String>().unwrap().clone()
                    }
                    None => "null".to_owned(),
                };
                ExternRef::new(&mut caller, format!("{text}+{n}")).map(Some)
            },
        )
        .unwrap()
        .func_wrap("", "pick", |mut caller: Caller<'_, ()>| {
            Some(Func::wrap(&mut caller, || 42))
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>>(&mut store, "run")
        .unwrap();
    for (argument, expected) in [(None, "null+42"), (Some("x"), "x+42")] {
        let argument = argument.map(|text| ExternRef::new(&mut store, text.to_owned()).unwrap());
        let result = run.call(&mut store, argument).unwrap().unwrap();
        let data = result.data(&store).unwrap().unwrap();
        assert_eq!(data.downcast_ref::<String>().unwrap(), expected);
    }
}

#[test]
fn each_importing_instance_is_its_own_caller() {
    let engine = Engine::default();
    let module = |number: i32| {
        Module::new(
            &engine,
            format!(
                r#"(module
                     (import "" "who" (func $who (result i32)))
                     (global (export "number") i32 (i32.const {number}))
                     (export "who" (func $who))
                     (func (export "run") (result i32) (call $who)))"#
            ),
        )
        .unwrap()
    };
    let mut store = Store::new(&engine, ());
    let who = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        let global = caller.get_export("number").unwrap().into_global().unwrap();
        global.get(&mut caller).unwrap_i32()
    });
    let first = Instance::new(&mut store, &module(1), &[who.into()]).unwrap();
    // The second imports what the first re-exports.
    let reexported = first.get_export(&mut store, "who").unwrap();
    let second = Instance::new(&mut store, &module(2), &[reexported]).unwrap();
    for (instance, expected) in [(first, 1), (second, 2), (first, 1)] {
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        assert_eq!(run.call(&mut store, ()).unwrap(), expected);
    }
}

#[test]
fn the_backtrace_can_be_captured_by_a_host_function() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "where" (func $where))
             (func $inner (call $where) (call $where))
             (func $outer (export "run") (call $inner)))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "where", |mut caller: Caller<'_, Vec<String>>| {
            let backtrace = WasmBacktrace::capture(&caller);
            let names = backtrace.frames().iter().map(|f| f.func_name().unwrap());
            let names = names.collect::<Vec<_>>().join(" < ");
            caller.data_mut().push(names);
        })
        .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    assert!(WasmBacktrace::capture(&store).frames().is_empty());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap();
    assert_eq!(store.data(), &["inner < outer", "inner < outer"]);
}
