//! A program written for Wasmtime, of which only the import is another: it must compile as it is.

use sarsen as wasmtime;
use wasmtime::*;

struct State {
    name: String,
    count: usize,
}

#[test]
fn a_program_written_for_wasmtime_compiles_and_runs() -> wasmtime::Result<()> {
    let mut config = Config::new();
    config.wasm_bulk_memory(true).consume_fuel(true);
    let engine = Engine::new(&config)?;
    let wat = r#"
        (module
            (import "host" "hello" (func $host_hello (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (global $g (export "counter") (mut i32) (i32.const 0))
            (func (export "hello") (param i32) (result i32)
                (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (call $host_hello (i32.const 3) (local.get 0)))
        )
    "#;
    let module = Module::new(&engine, wat)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "hello",
        |mut caller: Caller<'_, State>, ptr: i32, len: i32| -> Result<i32> {
            let mem = match caller.get_export("memory") {
                Some(Extern::Memory(mem)) => mem,
                _ => bail!("failed to find host memory"),
            };
            let name = caller.data().name.clone();
            mem.data_mut(&mut caller)
                .get_mut(ptr as usize..)
                .and_then(|bytes| bytes.get_mut(..len as usize))
                .context("out of bounds")?
                .copy_from_slice(&name.as_bytes()[..len as usize]);
            caller.data_mut().count += 1;
            Ok(caller.data().count as i32)
        },
    )?;
    let state = State {
        name: "wasmtime".to_string(),
        count: 0,
    };
    let mut store = Store::new(&engine, state);
    store.set_fuel(10_000)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let hello: TypedFunc<(i32,), i32> = instance.get_typed_func(&mut store, "hello")?;
    assert_eq!(hello.call(&mut store, (4,))?, 1);
    let memory = instance
        .get_memory(&mut store, "memory")
        .ok_or(format_err!("failed to find `memory` export"))?;
    assert_eq!(&memory.data(&store)[3..7], b"wasm");
    let counter = instance.get_global(&mut store, "counter").unwrap();
    assert_eq!(counter.get(&mut store).i32(), Some(1));
    assert!(matches!(counter.ty(&store).mutability(), Mutability::Var));

    let err = hello.call(&mut store, (1 << 20,)).map(|_| ()).unwrap_err();
    assert!(format!("{err:?}").contains("wasm backtrace"), "{err:?}");
    assert_eq!(err.root_cause().to_string(), "out of bounds");
    assert_ne!(
        err.downcast_ref::<Trap>(),
        Some(&Trap::UnreachableCodeReached)
    );
    match err.downcast::<Trap>() {
        Ok(trap) => panic!("not a trap: {trap}"),
        Err(err) => assert!(err.is::<WasmBacktrace>()),
    }
    assert!(store.get_fuel()? < 10_000);

    let callback = Func::wrap(&mut store, |_caller: Caller<'_, State>, a: i32| a + 1);
    let mut results = vec![Val::null_func_ref(); 1];
    callback.call(&mut store, &[Val::I32(3)], &mut results)?;
    assert_eq!(results[0].unwrap_i32(), 4);
    Ok(())
}
