//! What is freed, and when.

use sarsen::{Caller, Engine, ExternRef, Func, FuncType, Instance, Linker, Module, Store, ValType};
use std::sync::Arc;

const TEXT: &str = r#"(module
  (import "" "f" (func $f))
  (memory 1)
  (table 1 externref)
  (func (export "run") (param externref)
    (table.set (i32.const 0) (local.get 0))
    (call $f)))"#;

#[test]
fn dropping_a_store_frees_all_that_it_had() {
    let alive = Arc::new(());
    let engine = Engine::default();
    let module = Module::new(&engine, TEXT).unwrap();
    for _ in 0..3 {
        let mut store = Store::new(&engine, alive.clone());
        let captured = alive.clone();
        let f = Func::wrap(&mut store, move || {
            let _ = &captured;
        });
        let captured = alive.clone();
        store.epoch_deadline_callback(move |_| {
            let _ = &captured;
            Ok(sarsen::UpdateDeadline::Interrupt)
        });
        let instance = Instance::new(&mut store, &module, &[f.into()]).unwrap();
        let object = ExternRef::new(&mut store, alive.clone()).unwrap();
        let run = instance.get_func(&mut store, "run").unwrap();
        run.call(&mut store, &[object.into()], &mut []).unwrap();
        assert_eq!(Arc::strong_count(&alive), 5);
        drop(store);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
    let store = Store::new(&engine, alive.clone());
    let data = store.into_data();
    assert_eq!(Arc::strong_count(&data), 2);
}

#[test]
fn a_linkers_functions_live_as_long_as_stores_that_import_them() {
    let alive = Arc::new(());
    let engine = Engine::default();
    let module = Module::new(&engine, TEXT).unwrap();
    let captured = alive.clone();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "f", move |mut caller: Caller<'_, usize>| {
            *caller.data_mut() += Arc::strong_count(&captured);
        })
        .unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    drop((linker, module, engine));
    let run = instance.get_func(&mut store, "run").unwrap();
    run.call(&mut store, &[sarsen::Val::ExternRef(None)], &mut [])
        .unwrap();
    assert_eq!(*store.data(), 2);
    drop(store);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn an_engine_is_freed_with_its_last_user() {
    let engine = Engine::default();
    let weak = engine.weak();
    let module = Module::new(&engine, TEXT).unwrap();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(&engine, [ValType::F32, ValType::EXTERNREF], [ValType::F32]);
    let f = Func::new(&mut store, ty, |_, params, results| {
        results[0] = params[0];
        Ok(())
    });
    let mut results = [sarsen::Val::I32(0)];
    let arguments = [sarsen::Val::F32(1), sarsen::Val::ExternRef(None)];
    f.call(&mut store, &arguments, &mut results).unwrap();
    drop(engine);
    assert!(weak.upgrade().is_some());
    drop(module);
    drop(store);
    assert!(
        weak.upgrade().is_none(),
        "nothing in an engine keeps it alive"
    );
}

#[test]
fn thousands_of_stores_come_and_go() {
    let engine = Engine::default();
    let module = Module::new(&engine, "(module (memory 1) (func (export \"f\")))").unwrap();
    for _ in 0..5000 {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        f.call(&mut store, ()).unwrap();
    }
}

#[test]
fn recycled_memory_is_zero() {
    let engine = Engine::default();
    let text = r#"(module (memory (export "m") 4) (data (i32.const 10) "data"))"#;
    let module = Module::new(&engine, text).unwrap();
    for _ in 0..5 {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let bytes = memory.data_mut(&mut store);
        assert_eq!(&bytes[10..14], b"data");
        assert!(bytes[..10].iter().chain(&bytes[14..]).all(|&b| b == 0));
        bytes.fill(0xaa);
    }
}
